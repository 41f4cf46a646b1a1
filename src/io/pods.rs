//! Who is to be watched: the pods of a policy's scope, trimmed while they are decoded, with their owners.
//!
//! A full `Pod` costs 150 kB in memory; what is kept of one here costs about one. Nothing is cached but the owners
//! of ReplicaSets, which never change.

use std::{collections::BTreeMap, sync::Mutex};

use k8s_openapi::{
    api::{
        apps::v1::ReplicaSet,
        core::v1::{Namespace, Pod},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, OwnerReference, Time},
    },
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, ListParams, ObjectList, PartialObjectMeta},
    core::{Object, Selector},
};
use serde::{Deserialize, Serialize};

use crate::{
    api::{names::annotations, parse_quantity},
    decide::{Subject, Target, Workload, keepalive::Declaration, protection},
    signals::Scope,
};

/// Pods are listed in pages of so many: a page is in memory at once.
const PAGE: u32 = 250;
/// Why a pod is about to go when its node is emptied: `kubectl drain`, a descheduler or an autoscaler evicts it, or a taint
/// drives it out. See <https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions>.
const DRAINED_BY: [&str; 2] = ["EvictionByEvictionAPI", "DeletionByTaintManager"];
/// The kubelet's word for a container that the kernel killed for its memory.
const OOM_KILLED: &str = "OOMKilled";
/// How many owners are remembered. Forgetting costs one request each.
const MAX_OWNERS: usize = 20_000;

/// Owners of ReplicaSets by UID. `None`: it has none.
#[derive(Debug, Default)]
pub struct Owners(Mutex<BTreeMap<String, Option<Workload>>>);

/// A pod, as much of it as we look at.
type SlimPod = Object<PodSpec, PodStatus>;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    containers: Vec<Container>,
    host_network: bool,
    priority_class_name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    name: String,
    image: Option<String>,
    resources: Resources,
    ports: Vec<ContainerPort>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerPort {
    name: String,
    container_port: u16,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Resources {
    limits: BTreeMap<String, Quantity>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Vec<PodIp>,
    conditions: Vec<PodCondition>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct PodIp {
    ip: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct PodCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    state: ContainerState,
    last_state: ContainerState,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerState {
    running: Option<Running>,
    terminated: Option<Terminated>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Terminated {
    reason: Option<String>,
    finished_at: Option<Time>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Running {
    started_at: Option<Time>,
}

/// The names of the namespaces that a selector matches.
///
/// # Errors
/// The API fails.
pub async fn namespaces(client: &Client, selector: &Selector) -> Result<Vec<String>, kube::Error> {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let list = api.list(&ListParams::default().labels_from(selector)).await?;
    Ok(list.items.iter().map(ResourceExt::name_any).collect())
}

/// The running containers of the pods in scope that a selector matches (`None`: all pods).
///
/// `policy` is the policy's name as it stands in our annotations: only its own marks count as ours.
///
/// # Errors
/// The API fails, for any page.
pub async fn targets(
    client: &Client,
    owners: &Owners,
    scope: &Scope,
    selector: Option<&LabelSelector>,
    policy: &str,
) -> Result<Vec<Target>, kube::Error> {
    let mut params = ListParams::default().limit(PAGE);
    if let Some(selector) = selector.and_then(|it| Selector::try_from(it.clone()).ok()) {
        params = params.labels_from(&selector);
    }
    let mut targets = Vec::new();
    let mut drained: BTreeMap<Workload, String> = BTreeMap::new();
    for namespace in scope.iter() {
        let api: Api<SlimPod> = Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<Pod>(&()));
        let mut params = params.clone();
        loop {
            let page: ObjectList<SlimPod> = api.list(&params).await?;
            for pod in &page.items {
                let (running, leaves) = (running(pod), is_drained(pod));
                if running.is_none() && !leaves {
                    continue;
                }
                let workload = owners.of(client, namespace, pod.metadata.owner_references.as_deref()).await?;
                if let Some(running) = running {
                    targets.extend(containers(pod, running, namespace, workload.as_ref(), policy));
                }
                if let Some(workload) = workload.filter(|_| leaves) {
                    drained.insert(workload, pod.name_any());
                }
            }
            match page.metadata.continue_.filter(|it| !it.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
    }
    for target in &mut targets {
        target.draining = target.workload.as_ref().and_then(|it| drained.get(it)).cloned();
    }
    Ok(targets)
}

/// Whether a pod goes because its node is emptied. What has ended already does not.
fn is_drained(pod: &SlimPod) -> bool {
    let Some(status) = &pod.status else { return false };
    let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let told = |it: &PodCondition| is_drain(&it.kind, &it.status, &it.reason);
    !ended && status.conditions.iter().any(told)
}

/// Whether a condition of a pod says that its node is emptied.
#[must_use]
pub fn is_drain(kind: &str, status: &str, reason: &str) -> bool {
    kind == "DisruptionTarget" && status == "True" && DRAINED_BY.contains(&reason)
}

/// The Service in front of each pod, by the pod's UID.
///
/// # Errors
/// The API fails.
pub async fn services(client: &Client, namespace: &str) -> Result<BTreeMap<String, String>, kube::Error> {
    let api: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    let mut services = BTreeMap::new();
    for slice in api.list(&ListParams::default()).await? {
        let Some(service) = slice.labels().get("kubernetes.io/service-name").cloned() else { continue };
        let pods = slice.endpoints.iter().filter_map(|it| it.target_ref.as_ref()?.uid.clone());
        services.extend(pods.map(|uid| (uid, service.clone())));
    }
    Ok(services)
}

fn running(pod: &SlimPod) -> Option<&PodStatus> {
    let status = pod.status.as_ref()?;
    let running = status.phase.as_deref() == Some("Running") && pod.metadata.deletion_timestamp.is_none();
    running.then_some(status)
}

fn containers(
    pod: &SlimPod,
    status: &PodStatus,
    namespace: &str,
    workload: Option<&Workload>,
    policy: &str,
) -> Vec<Target> {
    let label = |key: &str| pod.labels().get(key).cloned();
    let ready = status.conditions.iter().any(|it| it.kind == "Ready" && it.status == "True");
    let annotation = |key: &str| pod.annotations().get(key).map(String::as_str);
    // Of all annotations only what these two say is kept, and once per pod.
    let keepalive = Declaration::of_annotations(
        annotation(annotations::KEEPALIVE_CLIENT),
        annotation(annotations::KEEPALIVE_SERVER),
    );
    let protected = protection(pod.annotations(), pod.spec.priority_class_name.as_deref());
    let target = |container: &Container| {
        let state = status.container_statuses.iter().find(|it| it.name == container.name)?;
        let started = state.state.running.as_ref()?.started_at.as_ref();
        Some(Target {
            subject: Subject {
                namespace: namespace.to_owned(),
                pod: pod.name_any(),
                uid: pod.uid().unwrap_or_default(),
                container: container.name.clone(),
            },
            workload: workload.cloned(),
            revision: label("pod-template-hash").or_else(|| label("controller-revision-hash")),
            image: container.image.clone(),
            started: started.map(|it| it.0.as_duration().as_secs_f64()),
            killed: state.last_state.terminated.as_ref().and_then(killed),
            memory_limit: container.resources.limits.get("memory").and_then(|it| parse_quantity(&it.0)),
            pod_ips: status.pod_ips.iter().map(|it| it.ip.clone()).collect(),
            ports: named(&container.ports),
            pprof: pod.annotations().get(annotations::PPROF).cloned(),
            host_network: pod.spec.host_network,
            containers_in_pod: pod.spec.containers.len(),
            service: None,
            ready,
            protected: protected.clone(),
            draining: None,
            annotated: annotation(annotations::POLICY).is_some_and(|it| it == policy),
            keepalive: keepalive.clone(),
        })
    };
    pod.spec.containers.iter().filter_map(target).collect()
}

/// When a life ended, if the kernel ended it for its memory.
fn killed(terminated: &Terminated) -> Option<f64> {
    let at = terminated.finished_at.as_ref().filter(|_| terminated.reason.as_deref() == Some(OOM_KILLED))?;
    Some(at.0.as_duration().as_secs_f64())
}

fn named(ports: &[ContainerPort]) -> BTreeMap<String, u16> {
    ports.iter().filter(|it| !it.name.is_empty()).map(|it| (it.name.clone(), it.container_port)).collect()
}

impl Owners {
    /// The controller at the top of an owner chain: a Deployment rather than its ReplicaSet.
    async fn of(
        &self,
        client: &Client,
        namespace: &str,
        owners: Option<&[OwnerReference]>,
    ) -> Result<Option<Workload>, kube::Error> {
        let Some(owner) = controller(owners) else { return Ok(None) };
        if kind(owner) != "ReplicaSet" {
            return Ok(Some(workload(namespace, owner)));
        }
        let known = self.0.lock().ok().and_then(|it| it.get(&owner.uid).cloned());
        if let Some(known) = known {
            return Ok(known);
        }
        let api: Api<PartialObjectMeta<ReplicaSet>> = Api::namespaced(client.clone(), namespace);
        let top = match api.get_opt(&owner.name).await? {
            // Another ReplicaSet of the same name is not the pod's owner.
            Some(set) if set.uid().as_deref() == Some(&owner.uid) => {
                controller(set.metadata.owner_references.as_deref())
                    .map_or_else(|| workload(namespace, owner), |it| workload(namespace, it))
            }
            _ => return Ok(None),
        };
        if let Ok(mut known) = self.0.lock() {
            if known.len() >= MAX_OWNERS {
                known.clear();
            }
            known.insert(owner.uid.clone(), Some(top.clone()));
        }
        Ok(Some(top))
    }
}

/// The owner that controls an object, among all that it has.
#[must_use]
pub fn controller(owners: Option<&[OwnerReference]>) -> Option<&OwnerReference> {
    owners?.iter().find(|it| it.controller == Some(true))
}

fn workload(namespace: &str, owner: &OwnerReference) -> Workload {
    Workload { namespace: namespace.to_owned(), kind: kind(owner), name: owner.name.clone() }
}

/// An owner's kind: with its group, as kubectl names it, where it is another one's kind of a name that we know.
#[must_use]
pub fn kind(owner: &OwnerReference) -> String {
    let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
    let ours = match owner.kind.as_str() {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => "apps",
        "Rollout" => "argoproj.io",
        _ => group,
    };
    if group == ours { owner.kind.clone() } else { format!("{}.{group}", owner.kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_another_group_is_not_taken_for_the_one_we_know() {
        let owner = |api: &str, kind: &str| OwnerReference {
            api_version: api.into(),
            kind: kind.into(),
            ..OwnerReference::default()
        };
        for (api, name, known) in [
            ("apps/v1", "StatefulSet", "StatefulSet"),
            ("apps.kruise.io/v1beta1", "StatefulSet", "StatefulSet.apps.kruise.io"),
            ("argoproj.io/v1alpha1", "Rollout", "Rollout"),
            ("rollouts.kruise.io/v1beta1", "Rollout", "Rollout.rollouts.kruise.io"),
            ("batch/v1", "Job", "Job"),
            ("v1", "Node", "Node"),
        ] {
            assert_eq!(kind(&owner(api, name)), known);
        }
    }

    #[test]
    fn what_others_say_of_a_pod_goes_with_its_containers() {
        let pod: SlimPod = serde_json::from_value(serde_json::json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "orders-1"},
            "spec": {"containers": [{"name": "app"}], "priorityClassName": "system-node-critical"},
            "status": {"phase": "Running", "containerStatuses": [{"name": "app", "state": {"running": {}}}]}
        }))
        .expect("a pod");
        let targets = containers(&pod, running(&pod).expect("running"), "shop", None, "shop/clients");
        assert_eq!(targets[0].protected.as_deref(), Some("its priority class is system-node-critical"));
    }

    #[test]
    fn a_pod_that_is_evicted_from_its_node_or_driven_out_by_a_taint_is_drained() {
        let drained = |phase: &str, status: &str, reason: &str| {
            let pod = serde_json::json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "orders-1"},
                "spec": {"containers": []},
                "status": {"phase": phase, "conditions": [
                    {"type": "Ready", "status": "True"}, {"type": "DisruptionTarget", "status": status, "reason": reason}]}
            });
            is_drained(&serde_json::from_value(pod).expect("a pod"))
        };
        assert!(drained("Running", "True", "EvictionByEvictionAPI"));
        assert!(drained("Pending", "True", "DeletionByTaintManager"));
        assert!(!drained("Running", "False", "EvictionByEvictionAPI"), "the eviction did not come");
        assert!(!drained("Running", "True", "PreemptionByScheduler"), "another pod takes its place, not the node");
        assert!(!drained("Failed", "True", "EvictionByEvictionAPI"), "it is over");
    }

    #[test]
    fn a_container_is_a_target_only_while_it_runs() {
        let pod: SlimPod = serde_json::from_value(serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "orders-1", "uid": "u1", "annotations": {
                "grpc-hygiene.io/policy": "shop/clients", "grpc-hygiene.io/keepalive-client": "time=1m,tme=1m"}},
            "spec": {"containers": [
                {"name": "app", "image": "shop:1", "ports": [{"name": "pprof", "containerPort": 6060}, {"containerPort": 80}],
                    "resources": {"limits": {"memory": "256Mi", "cpu": "1"}}},
                {"name": "waiting"}]},
            "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.7"}],
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [
                    {"name": "app", "state": {"running": {"startedAt": "2026-11-23T10:00:00Z"}},
                        "lastState": {"terminated": {"reason": "OOMKilled", "finishedAt": "2026-11-23T09:59:58Z"}}},
                    {"name": "waiting", "state": {"waiting": {}}}]}
        }))
        .expect("a pod");
        let targets = containers(&pod, running(&pod).expect("running"), "shop", None, "shop/clients");
        let [target] = targets.as_slice() else { panic!("one target, got {targets:?}") };
        assert_eq!(target.memory_limit, Some(268_435_456.0));
        assert_eq!(target.ports, BTreeMap::from([("pprof".to_owned(), 6060)]));
        assert_eq!((target.started, target.killed), (Some(1_795_428_000.0), Some(1_795_427_998.0)));
        assert!(target.ready && target.annotated && target.containers_in_pod == 2);
        let keepalive = target.keepalive.as_deref().expect("an annotation");
        assert!(keepalive.client.is_some() && keepalive.server.is_none() && keepalive.unreadable.len() == 1);
    }
}
