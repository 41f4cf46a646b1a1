//! The kinds that the operator writes, an object of each, and for each of its fields a change that the fence must refuse.
//! `schema` compares this list with what the API server knows.

use serde_json::{Value, json};

use crate::{
    release::Release,
    tries::{Answer, Try, send},
};

/// One kind.
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    /// The path of its API up to the namespace.
    pub api: &'static str,
    /// Its name in paths.
    pub plural: &'static str,
    /// The fence that guards it.
    pub fence: &'static str,
    /// The spec of the object that is tried on. No controller has anything to do for it.
    pub spec: Value,
    /// Changes of fields of the spec, which are merge patches of it.
    pub changes: Vec<Change>,
    /// The merge patch of the spec that restarts, and another one.
    pub restarts: Option<[Value; 2]>,
}

/// A change of one field of the spec.
pub struct Change {
    /// The field.
    pub field: &'static str,
    /// The merge patch of the spec.
    pub patch: Value,
    /// The API server refuses it to everybody, and before any policy is asked.
    pub immutable: bool,
}

impl Kind {
    /// The path of the object.
    pub fn path(&self, namespace: &str) -> String {
        format!("{}/namespaces/{namespace}/{}/probe", self.api, self.plural)
    }

    /// The object.
    pub fn object(&self) -> Value {
        let version = self.api.trim_start_matches("/apis/").trim_start_matches("/api/");
        json!({"apiVersion": version, "kind": self.name, "spec": self.spec, "metadata": {
            "name": "probe", "labels": {"team": "shop"}, "annotations": {"theirs": "1"}}})
    }

    /// Makes the object, as the administrator, unless it is there.
    pub async fn create(&self, release: &Release) {
        let path = self.path(&release.namespace);
        let made = send(&release.admin, &Try::post(self.name, path.trim_end_matches("/probe"), self.object())).await;
        assert!(matches!(made, Answer::Allowed | Answer::Refused(409, _)), "{}: {made:?}", self.name);
    }
}

fn may(field: &'static str, patch: Value) -> Change {
    Change { field, patch, immutable: false }
}

fn never(field: &'static str, patch: Value) -> Change {
    Change { field, patch, immutable: true }
}

/// Changes of a pod template.
fn templates() -> Vec<Change> {
    let metadata = |it: Value| json!({"template": {"metadata": it}});
    let spec = |it: Value| json!({"template": {"spec": it}});
    vec![
        may("template", spec(json!({"containers": [{"name": "app", "image": "another"}]}))),
        may("template", spec(json!({"serviceAccountName": "another"}))),
        may("template", spec(json!({"hostNetwork": true}))),
        may("template", spec(json!({"nodeSelector": {"a": "b"}}))),
        may("template", spec(json!({"terminationGracePeriodSeconds": 0}))),
        may("template", metadata(json!({"labels": {"more": "1"}}))),
        may("template", metadata(json!({"annotations": {"sidecar.istio.io/inject": "true"}}))),
        may("template", metadata(json!({"annotations": {"theirs": "2"}}))),
        may("template", metadata(json!({"annotations": {"theirs": null}}))),
        may("template", metadata(json!({"annotations": {"grpc-hygiene.io/diagnosis": "x"}}))),
    ]
}

fn template() -> Value {
    json!({
        "metadata": {"labels": {"app": "probe"}, "annotations": {"theirs": "1"}},
        "spec": {"containers": [{"name": "app", "image": "none"}]},
    })
}

fn restarts() -> Option<[Value; 2]> {
    let at = |it: &str| json!({"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": it}}}});
    Some([at("2026-11-23T10:00:00Z"), at("2026-11-23T11:00:00Z")])
}

fn selector() -> Value {
    json!({"matchLabels": {"app": "probe"}})
}

/// All of them.
pub fn all() -> Vec<Kind> {
    vec![pod(), deployment(), stateful_set(), daemon_set(), replica_set(), rollout()]
}

/// A pod on a node that is not there.
pub fn pod() -> Kind {
    Kind {
        name: "Pod",
        api: "/api/v1",
        plural: "pods",
        fence: "marks",
        spec: json!({"nodeName": "nowhere", "terminationGracePeriodSeconds": 0, "containers": [{"name": "app", "image": "none"}]}),
        changes: vec![
            may("containers", json!({"containers": [{"name": "app", "image": "another"}]})),
            may("activeDeadlineSeconds", json!({"activeDeadlineSeconds": 60})),
            never("nodeName", json!({"nodeName": "elsewhere"})),
        ],
        restarts: None,
    }
}

/// A Deployment of nothing.
pub fn deployment() -> Kind {
    let mut changes = vec![
        may("minReadySeconds", json!({"minReadySeconds": 9})),
        may("paused", json!({"paused": true})),
        may("progressDeadlineSeconds", json!({"progressDeadlineSeconds": 700})),
        may("replicas", json!({"replicas": 1})),
        may("revisionHistoryLimit", json!({"revisionHistoryLimit": 0})),
        may("strategy", json!({"strategy": {"type": "Recreate", "rollingUpdate": null}})),
        may("strategy", json!({"strategy": {"rollingUpdate": {"maxUnavailable": "100%"}}})),
        never("selector", json!({"selector": {"matchLabels": {"app": "another"}}})),
    ];
    changes.extend(templates());
    Kind {
        name: "Deployment",
        api: "/apis/apps/v1",
        plural: "deployments",
        fence: "workloads",
        spec: json!({"replicas": 0, "selector": selector(), "template": template()}),
        changes,
        restarts: restarts(),
    }
}

fn stateful_set() -> Kind {
    let mut changes = vec![
        may("minReadySeconds", json!({"minReadySeconds": 9})),
        may("ordinals", json!({"ordinals": {"start": 5}})),
        may(
            "persistentVolumeClaimRetentionPolicy",
            json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}),
        ),
        may("replicas", json!({"replicas": 1})),
        may("revisionHistoryLimit", json!({"revisionHistoryLimit": 0})),
        may("updateStrategy", json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}})),
        may("updateStrategy", json!({"updateStrategy": {"rollingUpdate": {"partition": 1}}})),
        never("podManagementPolicy", json!({"podManagementPolicy": "Parallel"})),
        never("selector", json!({"selector": {"matchLabels": {"app": "another"}}})),
        never("serviceName", json!({"serviceName": "another"})),
        never(
            "volumeClaimTemplates",
            json!({"volumeClaimTemplates": [{"metadata": {"name": "a"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]}),
        ),
    ];
    changes.extend(templates());
    Kind {
        name: "StatefulSet",
        api: "/apis/apps/v1",
        plural: "statefulsets",
        fence: "workloads",
        spec: json!({"replicas": 0, "serviceName": "probe", "selector": selector(), "template": template()}),
        changes,
        restarts: restarts(),
    }
}

fn daemon_set() -> Kind {
    let mut changes = vec![
        may("minReadySeconds", json!({"minReadySeconds": 9})),
        may("revisionHistoryLimit", json!({"revisionHistoryLimit": 0})),
        may("updateStrategy", json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}})),
        may("updateStrategy", json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": "100%"}}})),
        never("selector", json!({"selector": {"matchLabels": {"app": "another"}}})),
    ];
    changes.extend(templates());
    Kind {
        name: "DaemonSet",
        api: "/apis/apps/v1",
        plural: "daemonsets",
        fence: "workloads",
        spec: json!({"selector": selector(), "template": template()}),
        changes,
        restarts: restarts(),
    }
}

fn replica_set() -> Kind {
    let mut changes = vec![
        may("minReadySeconds", json!({"minReadySeconds": 9})),
        may("replicas", json!({"replicas": 1})),
        never("selector", json!({"selector": {"matchLabels": {"app": "another"}}})),
    ];
    changes.extend(templates());
    changes.extend(restarts().into_iter().flatten().map(|it| may("template", it)));
    Kind {
        name: "ReplicaSet",
        api: "/apis/apps/v1",
        plural: "replicasets",
        fence: "marks",
        spec: json!({"replicas": 0, "selector": selector(), "template": template()}),
        changes,
        restarts: None,
    }
}

/// An Argo Rollout. Its definition is made by the test: the API server's own is not ours to list.
fn rollout() -> Kind {
    let mut changes = vec![
        may("paused", json!({"paused": true})),
        may("replicas", json!({"replicas": 1})),
        may("strategy", json!({"strategy": {"canary": {"steps": []}}})),
        may("selector", json!({"selector": {"matchLabels": {"app": "another"}}})),
        may("workloadRef", json!({"workloadRef": {"kind": "Deployment", "name": "another"}})),
    ];
    changes.extend(templates());
    changes.extend(restarts().into_iter().flatten().map(|it| may("template", it)));
    Kind {
        name: "Rollout",
        api: "/apis/argoproj.io/v1alpha1",
        plural: "rollouts",
        fence: "rollouts",
        spec: json!({"replicas": 0, "selector": selector(), "template": template()}),
        changes,
        restarts: Some([json!({"restartAt": "2026-11-23T10:00:00Z"}), json!({"restartAt": "2026-11-23T11:00:00Z"})]),
    }
}

/// The definition of Argo Rollouts, as far as admission cares.
pub fn rollout_definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "rollouts.argoproj.io"},
        "spec": {
            "group": "argoproj.io", "scope": "Namespaced",
            "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true,
                "subresources": {"scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    })
}
