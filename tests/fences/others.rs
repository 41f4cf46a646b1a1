//! The fences around what is not a change of an object: evictions, ledgers, and what is never done at all.

use http::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::{
    kinds::pod,
    release::Release,
    tries::{Answer, Try, ledger, send},
};

fn fenced(by: &str) -> Answer {
    Answer::Fenced(by.to_owned())
}

/// Tries requests that one fence must refuse to both accounts and that somebody else may send; says what is otherwise.
async fn problems(release: &Release, fence: &str, tries: &[Try]) -> Vec<String> {
    let clients = [release.actor(), release.observer()].map(|it| release.client_of(&it));
    let mut problems = Vec::new();
    for it in tries {
        for client in &clients {
            let answer = send(client, it).await;
            if answer != fenced(fence) {
                problems.push(format!("{}: {answer:?}", it.what));
            }
        }
        // A connection cannot be tried without making it.
        if !it.what.starts_with("connect") {
            let other = send(&release.admin, &it.dry()).await;
            if matches!(other, Answer::Fenced(_)) || matches!(&other, Answer::Refused(code, _) if *code == 403) {
                problems.push(format!("{} by somebody else: {other:?}", it.what));
            }
        }
    }
    problems
}

async fn probe_of(client: &Client, namespace: &str) -> Pod {
    Api::<Pod>::namespaced(client.clone(), namespace).get("probe").await.expect("the pod")
}

fn eviction(what: &str, namespace: &str, options: &Value) -> Try {
    let mut body =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "probe", "namespace": namespace}});
    if !options.is_null() {
        body["deleteOptions"] = options.clone();
    }
    Try::post(what, &format!("/api/v1/namespaces/{namespace}/pods/probe/eviction"), body)
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn an_eviction_names_the_very_pod_and_changes_nothing_of_how_it_goes() {
    let release = Release::new("evictions", &[]).await.with_all_rights().await;
    let own = release.namespace.clone();
    let pod = probe_of(&release.admin, &own).await;
    let (uid, version) = (pod.uid().expect("a UID"), pod.resource_version().expect("a version"));
    let exact = json!({"preconditions": {"uid": uid, "resourceVersion": version}});
    let with = |field: &str, value: Value| {
        let mut options = exact.clone();
        options[field] = value;
        eviction(field, &own, &options)
    };
    let misspelt =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "probe"}, "delete_options": exact});
    let tries = [
        eviction("no options", &own, &Value::Null),
        eviction("no preconditions", &own, &json!({})),
        eviction("empty preconditions", &own, &json!({"preconditions": {}})),
        eviction("no version", &own, &json!({"preconditions": {"uid": uid}})),
        eviction("no UID", &own, &json!({"preconditions": {"resourceVersion": version}})),
        eviction("an empty UID", &own, &json!({"preconditions": {"uid": "", "resourceVersion": version}})),
        with("gracePeriodSeconds", 0.into()),
        with("propagationPolicy", "Orphan".into()),
        with("orphanDependents", true.into()),
        with("dryRun", json!(["All"])),
        Try::post("as kube 5.0 writes it", &eviction("", &own, &exact).path, misspelt),
    ];
    assert_eq!(problems(&release, "evictions", &tries).await, Vec::<String>::new());
    let alive = probe_of(&release.admin, &own).await;
    assert_eq!(
        (alive.uid().as_ref(), alive.metadata.deletion_timestamp),
        (Some(&uid), None),
        "no refusal left a trace"
    );
    let legal = eviction("as the operator writes it", &own, &exact);
    assert_eq!(send(&release.client_of(&release.observer()), &legal).await, fenced("evictions"));
    assert_eq!(send(&release.client_of(&release.actor()), &legal).await, Answer::Allowed);
    release.done().await;
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn nothing_is_restarted_in_the_clusters_own_namespaces() {
    let release = Release::new("system", &[]).await.with_all_rights().await;
    let pods = "/api/v1/namespaces/kube-public/pods";
    let made = send(&release.admin, &Try::post("a pod", pods, pod().object())).await;
    assert!(matches!(made, Answer::Allowed | Answer::Refused(409, _)), "{made:?}");
    let probe = probe_of(&release.admin, "kube-public").await;
    let exact = json!({"preconditions": {"uid": probe.uid(), "resourceVersion": probe.resource_version()}});
    let workload = crate::kinds::deployment();
    let path = workload.path("kube-public");
    send(&release.admin, &Try::post("", path.trim_end_matches("/probe"), workload.object())).await;
    let [restart, _] = workload.restarts.clone().expect("a restart");
    let actor = release.client_of(&release.actor());
    assert_eq!(send(&actor, &eviction("an eviction", "kube-public", &exact)).await, fenced("evictions"));
    assert_eq!(send(&actor, &Try::patch("a restart", &path, json!({"spec": restart}))).await, fenced("workloads"));
    for gone in [path, format!("{pods}/probe")] {
        assert_eq!(send(&release.admin, &Try::delete("", &gone)).await, Answer::Allowed);
    }
    release.done().await;
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn of_config_maps_only_ledgers_of_the_own_namespace_may_be_written() {
    let release = Release::new("ledgers", &[]).await.with_all_rights().await;
    let core = format!("/api/v1/namespaces/{}", release.namespace);
    let own = format!("{core}/configmaps");
    let data = json!({"ledger.json": "{}"});
    let map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
    let with = |what, field: &str, value: Value| {
        let mut it = ledger(what, &core, &data);
        it.body[field] = value;
        it
    };
    let named = |what, field: &str, value: Value| {
        let mut it = ledger(what, &core, &data);
        it.body["metadata"][field] = value;
        it
    };
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}]);
    let foreign = format!("{}-config", release.namespace);
    assert_eq!(send(&release.admin, &Try::post("", &own, map(&foreign))).await, Answer::Allowed);
    let tries = [
        Try::post("another ledger", &own, map("grpc-hygiene-ledger-shop")),
        Try::post("a ledger elsewhere", "/api/v1/namespaces/default/configmaps", map("grpc-hygiene-ledger")),
        ledger("another key", &core, &json!({"ledger.json": "{}", "more": ""})),
        ledger("no key", &core, &Value::Null),
        with("bytes", "binaryData", json!({"a": "YQ=="})),
        with("for ever", "immutable", json!(true)),
        named("a finalizer", "finalizers", json!(["example.com/stay"])),
        named("an owner", "ownerReferences", owner),
        Try::new(Method::PUT, "another map", &format!("{own}/{foreign}"), map(&foreign)),
    ];
    assert_eq!(problems(&release, "ledgers", &tries).await, Vec::<String>::new());
    let actor = release.client_of(&release.actor());
    assert_eq!(send(&actor, &ledger("the ledger", &core, &data)).await, Answer::Allowed);
    release.done().await;
}

/// What neither account may do though it had every right.
fn never(own: &str) -> Vec<Try> {
    let core = format!("/api/v1/namespaces/{own}");
    let apps = format!("/apis/apps/v1/namespaces/{own}");
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let pod = pod().object();
    let named = |kind: &str, version: &str, more: Value| {
        let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "new"}});
        object.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        object
    };
    let mut new = pod.clone();
    new["metadata"]["name"] = "new".into();
    let grant =
        json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}});
    let job = json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}}});
    let policy = named("GrpcClientPolicy", "grpc-hygiene.io/v1alpha1", json!({"spec": {"allPods": true}}));
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "a", "image": "a"}]}});
    vec![
        Try::post("create a pod", &format!("{core}/pods"), new),
        Try::delete("delete a pod", &format!("{core}/pods/probe")),
        Try::delete("delete all pods", &format!("{core}/pods")),
        Try::post("connect by exec", &format!("{core}/pods/probe/exec?command=id&stdout=true"), json!({})),
        Try::post("connect by attach", &format!("{core}/pods/probe/attach?stdout=true"), json!({})),
        Try::post("connect by port-forward", &format!("{core}/pods/probe/portforward?ports=80"), json!({})),
        Try::patch("debug a pod", &format!("{core}/pods/probe/ephemeralcontainers"), debug),
        Try::patch("resize a pod", &format!("{core}/pods/probe/resize"), json!({"metadata": {"labels": {"a": "b"}}})),
        Try::post("write a Secret", &format!("{core}/secrets"), named("Secret", "v1", json!({}))),
        Try::post("make an account", &format!("{core}/serviceaccounts"), named("ServiceAccount", "v1", json!({}))),
        Try::post(
            "mint a token",
            &format!("{core}/serviceaccounts/{own}/token"),
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}),
        ),
        Try::post("make a namespace", "/api/v1/namespaces", named("Namespace", "v1", json!({}))),
        Try::delete("delete a namespace", &format!("/api/v1/namespaces/{own}")),
        Try::post("make a node", "/api/v1/nodes", named("Node", "v1", json!({}))),
        Try::delete("delete a ConfigMap", &format!("{core}/configmaps/{own}-config")),
        Try::post("create a workload", &format!("{apps}/deployments"), {
            let mut new = crate::kinds::deployment().object();
            new["metadata"]["name"] = "new".into();
            new
        }),
        Try::delete("delete a workload", &format!("{apps}/deployments/probe")),
        Try::patch("scale a workload", &format!("{apps}/deployments/probe/scale"), json!({"spec": {"replicas": 1}})),
        Try::post("start a Job", &format!("/apis/batch/v1/namespaces/{own}/jobs"), named("Job", "batch/v1", job)),
        Try::post(
            "bind a role",
            &format!("{rbac}/clusterrolebindings"),
            named("ClusterRoleBinding", "rbac.authorization.k8s.io/v1", grant),
        ),
        Try::post(
            "make a role",
            &format!("{rbac}/namespaces/{own}/roles"),
            named("Role", "rbac.authorization.k8s.io/v1", json!({"rules": []})),
        ),
        Try::post(
            "make a budget",
            &format!("/apis/policy/v1/namespaces/{own}/poddisruptionbudgets"),
            named("PodDisruptionBudget", "policy/v1", json!({"spec": {}})),
        ),
        Try::post(
            "write a policy",
            &format!("/apis/grpc-hygiene.io/v1alpha1/namespaces/{own}/grpcclientpolicies"),
            policy,
        ),
    ]
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn neither_account_does_what_the_operator_never_does_though_it_had_every_right() {
    let release = Release::new("never", &[]).await.with_all_rights().await;
    let map = json!({"metadata": {"name": format!("{}-config", release.namespace)}});
    let maps = format!("/api/v1/namespaces/{}/configmaps", release.namespace);
    assert_eq!(send(&release.admin, &Try::post("another map", &maps, map)).await, Answer::Allowed);
    assert_eq!(problems(&release, "never", &never(&release.namespace)).await, Vec::<String>::new());
    release.done().await;
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn whoever_only_observes_writes_nothing_though_it_had_every_right() {
    let release = Release::new("observe", &["rbac.actions=false"]).await.with_all_rights().await;
    let own = release.namespace.clone();
    assert_eq!(release.policies(), ["never"]);
    let pod = probe_of(&release.admin, &own).await;
    let exact = json!({"preconditions": {"uid": pod.uid(), "resourceVersion": pod.resource_version()}});
    let mark = json!({"metadata": {"annotations": {"grpc-hygiene.io/diagnosis": "x"}}});
    let tries = [
        eviction("an eviction", &own, &exact),
        Try::patch("a mark on a pod", &crate::kinds::pod().path(&own), mark.clone()),
        Try::patch("a mark on a workload", &crate::kinds::deployment().path(&own), mark),
        Try::post(
            "a ledger",
            &format!("/api/v1/namespaces/{own}/configmaps"),
            json!({"metadata": {"name": "grpc-hygiene-ledger"}}),
        ),
    ];
    let observer = release.client_of(&release.observer());
    for it in
        tries.iter().chain(&never(&own).into_iter().filter(|it| it.what != "delete a ConfigMap").collect::<Vec<_>>())
    {
        assert_eq!(send(&observer, it).await, fenced("never"), "{}", it.what);
    }
    release.done().await;
}
