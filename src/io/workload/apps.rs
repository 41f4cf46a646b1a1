//! What the state of a Deployment, a `StatefulSet` or a `DaemonSet` means for whoever wants to restart it.

use k8s_openapi::{
    api::apps::v1::{DaemonSet, Deployment, StatefulSet},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::common;
use crate::decide::WorkloadState;

/// Whether the controller has not yet seen what people wanted last.
pub(super) fn unobserved(metadata: &ObjectMeta, observed: Option<i64>) -> bool {
    observed < metadata.generation
}

pub(super) fn count(n: Option<i32>) -> u32 {
    u32::try_from(n.unwrap_or(0)).unwrap_or(0)
}

pub(super) fn deployment(it: Deployment) -> WorkloadState {
    let (spec, status) = (it.spec.unwrap_or_default(), it.status.unwrap_or_default());
    // The API server fills in 1 when replicas are not given.
    let desired = count(spec.replicas.or(Some(1)));
    let updated = count(status.updated_replicas);
    let progress = status.conditions.iter().flatten().find(|it| it.type_ == "Progressing");
    let late = progress.is_some_and(|it| it.reason.as_deref() == Some("ProgressDeadlineExceeded"));
    let progressing = progress.is_some_and(|it| {
        // A paused Deployment is not on its way; what it left half done shows in the numbers.
        !matches!(it.reason.as_deref(), Some("NewReplicaSetAvailable" | "DeploymentPaused"))
    });
    let strategy = spec.strategy.unwrap_or_default();
    let rolling = strategy.rolling_update.unwrap_or_default();
    let recreate = strategy.type_.as_deref() == Some("Recreate");
    let unavailable = of_all(rolling.max_unavailable.as_ref(), desired, Rounding::Down, "25%");
    let blocked = match () {
        () if spec.paused == Some(true) => Some("it is paused"),
        () if late => Some("its last rollout is past its progress deadline"),
        () if recreate => Some("its strategy is Recreate, which stops every pod at once"),
        () if desired > 1 && unavailable >= desired => Some("its maxUnavailable lets every pod stop at once"),
        () => None,
    };
    WorkloadState {
        desired,
        ready: count(status.ready_replicas),
        available: count(status.available_replicas),
        rolling_out: unobserved(&it.metadata, status.observed_generation)
            || updated < desired
            || count(status.replicas) != updated
            || progressing,
        surges: !recreate
            && of_all(rolling.max_surge.as_ref(), desired, Rounding::Up, "25%") > 0
            && unavailable < desired,
        rollout_blocked: blocked.map(str::to_owned),
        ..common(&it.metadata, Some(&spec.template))
    }
}

pub(super) fn stateful_set(it: StatefulSet) -> WorkloadState {
    let (spec, status) = (it.spec.unwrap_or_default(), it.status.unwrap_or_default());
    let desired = count(spec.replicas.or(Some(1)));
    let strategy = spec.update_strategy.unwrap_or_default();
    let partition = count(strategy.rolling_update.and_then(|it| it.partition));
    let on_delete = strategy.type_.as_deref() == Some("OnDelete");
    let revisions_differ = status.current_revision != status.update_revision;
    let blocked = match () {
        () if on_delete => Some("its update strategy is OnDelete".to_owned()),
        () if partition > 0 => Some(format!("its update strategy has partition {partition}")),
        () => None,
    };
    WorkloadState {
        desired,
        ready: count(status.ready_replicas),
        available: count(status.available_replicas),
        // With OnDelete the revisions may differ for good; the numbers tell whether a restart would bring a new one.
        rolling_out: unobserved(&it.metadata, status.observed_generation)
            || count(Some(status.replicas)) != desired
            || count(status.updated_replicas) < desired.saturating_sub(partition)
            || (blocked.is_none() && revisions_differ),
        surges: false,
        rollout_blocked: blocked,
        ..common(&it.metadata, Some(&spec.template))
    }
}

pub(super) fn daemon_set(it: DaemonSet) -> WorkloadState {
    let (spec, status) = (it.spec.unwrap_or_default(), it.status.unwrap_or_default());
    let desired = count(Some(status.desired_number_scheduled));
    let strategy = spec.update_strategy.unwrap_or_default();
    let rolling = strategy.rolling_update.unwrap_or_default();
    let unavailable = of_all(rolling.max_unavailable.as_ref(), desired, Rounding::Up, "1");
    let blocked = match () {
        () if strategy.type_.as_deref() == Some("OnDelete") => Some("its update strategy is OnDelete"),
        () if desired > 1 && unavailable >= desired => Some("its maxUnavailable lets every pod stop at once"),
        () => None,
    };
    WorkloadState {
        desired,
        ready: count(Some(status.number_ready)),
        available: count(status.number_available),
        rolling_out: unobserved(&it.metadata, status.observed_generation)
            || count(status.updated_number_scheduled) < desired
            || count(Some(status.current_number_scheduled)) < desired,
        surges: of_all(rolling.max_surge.as_ref(), desired, Rounding::Up, "0") > 0,
        rollout_blocked: blocked.map(str::to_owned),
        ..common(&it.metadata, Some(&spec.template))
    }
}

#[derive(Clone, Copy)]
pub(super) enum Rounding {
    Up,
    Down,
}

/// A number of pods, or a share of all of them. What cannot be read is none.
pub(super) fn of_all(value: Option<&IntOrString>, all: u32, rounding: Rounding, default: &str) -> u32 {
    let default = IntOrString::String(default.to_owned());
    match value.unwrap_or(&default) {
        IntOrString::Int(n) => count(Some(*n)),
        IntOrString::String(text) => match text.strip_suffix('%') {
            None => text.parse().unwrap_or(0),
            Some(percent) => {
                let pods = u64::from(all) * percent.parse::<u64>().unwrap_or(0);
                let pods = match rounding {
                    Rounding::Up => pods.div_ceil(100),
                    Rounding::Down => pods / 100,
                };
                u32::try_from(pods).unwrap_or(u32::MAX)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn deploy(spec: Value, status: Value) -> WorkloadState {
        let mut object = json!({
            "metadata": {"name": "orders", "uid": "u", "resourceVersion": "7", "generation": 2},
            "spec": {"replicas": 3, "selector": {}, "template": {}},
            "status": {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "readyReplicas": 3,
                "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]},
        });
        merge(&mut object["spec"], spec);
        merge(&mut object["status"], status);
        deployment(serde_json::from_value(object).expect("a Deployment"))
    }

    fn merge(into: &mut Value, from: Value) {
        let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) else { panic!("two objects") };
        into.extend(from);
    }

    #[test]
    fn a_deployment_at_rest_is_not_rolling_out_and_surges_by_default() {
        let state = deploy(json!({}), json!({}));
        assert_eq!((state.desired, state.ready, state.available), (3, 3, 3));
        assert!(!state.rolling_out && state.surges && !state.exempt);
        assert_eq!(state.rollout_blocked, None);
    }

    #[test]
    fn whatever_is_unfinished_about_a_deployment_is_a_rollout_in_progress() {
        for status in [
            json!({"observedGeneration": 1}),
            json!({"updatedReplicas": 2}),
            json!({"replicas": 4}),
            json!({"conditions": [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}]}),
            json!({"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}),
        ] {
            assert!(deploy(json!({}), status.clone()).rolling_out, "{status}");
        }
        assert!(deployment(Deployment::default()).rolling_out, "no status says that it is at rest");
    }

    #[test]
    fn a_deployment_that_has_not_finished_its_last_rollout_in_time_is_not_given_another() {
        let late = json!({"conditions": [
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]});
        let state = deploy(json!({}), late);
        assert!(state.rolling_out && state.rollout_blocked.is_some_and(|it| it.contains("deadline")));
    }

    #[test]
    fn the_time_of_the_last_restart_is_that_of_the_template() {
        let restarted =
            json!({"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}});
        assert_eq!(deploy(restarted, json!({})).restarted_at.as_deref(), Some("now"));
        assert_eq!(deploy(json!({}), json!({})).restarted_at, None);
    }

    #[test]
    fn a_rollout_that_would_stop_every_pod_or_none_is_blocked() {
        for (spec, word) in [
            (json!({"paused": true}), "paused"),
            (json!({"strategy": {"type": "Recreate"}}), "Recreate"),
            (json!({"strategy": {"rollingUpdate": {"maxUnavailable": "100%"}}}), "maxUnavailable"),
        ] {
            let state = deploy(spec, json!({}));
            assert!(state.rollout_blocked.as_ref().is_some_and(|it| it.contains(word)), "{state:?}");
        }
    }

    #[test]
    fn a_single_replica_surges_only_if_it_may_not_be_unavailable() {
        let single = |unavailable: Value| {
            let rolling = json!({"maxSurge": 1, "maxUnavailable": unavailable});
            deploy(json!({"replicas": 1, "strategy": {"rollingUpdate": rolling}}), json!({})).surges
        };
        assert!(single(json!("25%")));
        assert!(single(json!(0)));
        assert!(!single(json!(1)));
    }

    #[test]
    fn a_stateful_set_may_be_held_back_by_a_partition_or_by_on_delete() {
        let set = |strategy: Value, current: &str| {
            stateful_set(
                serde_json::from_value(json!({
                    "metadata": {"generation": 1},
                    "spec": {"replicas": 2, "selector": {}, "serviceName": "s", "template": {}, "updateStrategy": strategy},
                    "status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2,
                        "currentRevision": current, "updateRevision": "b"},
                }))
                .expect("a StatefulSet"),
            )
        };
        assert!(!set(json!({}), "b").rolling_out);
        assert!(set(json!({}), "a").rolling_out);
        assert!(!set(json!({"type": "OnDelete"}), "a").rolling_out);
        assert!(set(json!({"type": "OnDelete"}), "b").rollout_blocked.is_some());
        assert!(set(json!({"rollingUpdate": {"partition": 1}}), "b").rollout_blocked.is_some());
    }

    #[test]
    fn a_daemon_set_is_rolling_out_until_every_node_has_the_new_pod() {
        let set = |updated: i32, surge: i32| {
            daemon_set(
                serde_json::from_value(json!({
                    "metadata": {"generation": 1},
                    "spec": {"selector": {}, "template": {"metadata": {"annotations": {"grpc-hygiene.io/exempt": "true"}}},
                        "updateStrategy": {"rollingUpdate": {"maxSurge": surge}}},
                    "status": {"observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
                        "numberMisscheduled": 0, "numberReady": 2, "numberAvailable": 2, "updatedNumberScheduled": updated},
                }))
                .expect("a DaemonSet"),
            )
        };
        assert!(!set(2, 0).rolling_out && !set(2, 0).surges && set(2, 0).exempt);
        assert!(set(1, 1).rolling_out && set(1, 1).surges);
    }
}
