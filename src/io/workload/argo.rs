//! Rollouts of Argo Rollouts: what their state means for whoever wants to restart them. Argo's controller evicts the pods
//! that are older than `spec.restartAt`, one batch of `maxUnavailable` after the other; no new pod comes up first.
//!
//! See <https://argo-rollouts.readthedocs.io/en/stable/features/restart/>.

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::PodTemplateSpec, apimachinery::pkg::util::intstr::IntOrString};
use kube::{Api, Client, Error, api::ApiResource, core::Object};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    apps::{Rounding, count, of_all},
    common,
};
use crate::{decide::WorkloadState, io::acting::reason};

/// The kind.
pub(super) const KIND: &str = "Rollout";
/// The only phase in which a restart is safe (argo-rollouts#4221).
const HEALTHY: &str = "Healthy";

type Rollout = Object<Spec, Status>;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    replicas: Option<i32>,
    paused: bool,
    restart_at: Option<String>,
    strategy: Strategy,
    template: Option<PodTemplateSpec>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Strategy {
    canary: Option<Steps>,
    blue_green: Option<Steps>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Steps {
    max_unavailable: Option<IntOrString>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: Option<String>,
    updated_replicas: Option<i32>,
    ready_replicas: Option<i32>,
    available_replicas: Option<i32>,
    /// A text, of all things.
    observed_generation: Value,
    restarted_at: Option<String>,
}

pub(super) fn resource() -> ApiResource {
    ApiResource {
        group: "argoproj.io".to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: "argoproj.io/v1alpha1".to_owned(),
        kind: KIND.to_owned(),
        plural: "rollouts".to_owned(),
    }
}

pub(super) async fn read(client: &Client, namespace: &str, name: &str) -> Result<Option<WorkloadState>, String> {
    let api: Api<Rollout> = Api::namespaced_with(client.clone(), namespace, &resource());
    match api.get_opt(name).await {
        Ok(found) => Ok(found.map(rollout)),
        Err(Error::Api(status)) if status.code == 403 => {
            Err("the operator may not read Argo Rollouts: rbac.argoRollouts in the chart's values grants it".to_owned())
        }
        Err(error) => Err(reason(&error)),
    }
}

fn rollout(it: Rollout) -> WorkloadState {
    let (spec, status) = (it.spec, it.status.unwrap_or_default());
    let desired = count(spec.replicas.or(Some(1)));
    let phase = status.phase.as_deref().unwrap_or("unknown");
    let strategy = spec.strategy.canary.as_ref().or(spec.strategy.blue_green.as_ref());
    let unavailable = strategy.map_or(0, |it| of_all(it.max_unavailable.as_ref(), desired, Rounding::Down, "25%"));
    let blocked = match () {
        () if spec.paused => Some("it is paused".to_owned()),
        () if strategy.is_none() => Some("it has no strategy that is known".to_owned()),
        () if phase != HEALTHY => Some(format!("its phase is {phase}, not {HEALTHY}")),
        () if desired > 1 && unavailable >= desired => {
            Some("its maxUnavailable lets every pod stop at once".to_owned())
        }
        () => None,
    };
    WorkloadState {
        desired,
        ready: count(status.ready_replicas),
        available: count(status.available_replicas),
        rolling_out: phase != HEALTHY
            || !has_seen(&status.observed_generation, it.metadata.generation)
            || count(status.updated_replicas) < desired
            // Argo's controller says so when the last pod that is older is gone.
            || time(spec.restart_at.as_ref()) != time(status.restarted_at.as_ref()),
        surges: false,
        rollout_blocked: blocked,
        restarted_at: spec.restart_at,
        ..common(&it.metadata, spec.template.as_ref())
    }
}

/// The API server keeps a time as it was written, Argo's controller writes it in UTC.
fn time(text: Option<&String>) -> Option<Timestamp> {
    text.and_then(|it| it.parse().ok())
}

fn has_seen(observed: &Value, generation: Option<i64>) -> bool {
    let observed = observed.as_i64().or_else(|| observed.as_str()?.parse().ok());
    observed.is_some() && observed >= generation
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(change: impl FnOnce(&mut Value)) -> WorkloadState {
        let mut object = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "orders", "uid": "u", "resourceVersion": "7", "generation": 4},
            "spec": {"replicas": 3, "strategy": {"canary": {"steps": [{"setWeight": 20}]}},
                "restartAt": "2026-11-23T09:00:00Z", "template": {"metadata": {"labels": {"app": "orders"}}}},
            "status": {"phase": "Healthy", "observedGeneration": "4", "replicas": 3, "updatedReplicas": 3,
                "readyReplicas": 3, "availableReplicas": 3, "restartedAt": "2026-11-23T09:00:00Z"},
        });
        change(&mut object);
        rollout(serde_json::from_value(object).expect("a Rollout"))
    }

    #[test]
    fn a_healthy_rollout_is_at_rest_and_tells_when_it_was_restarted() {
        let healthy = state(|_| ());
        assert_eq!((healthy.desired, healthy.ready, healthy.available), (3, 3, 3));
        assert_eq!((healthy.rolling_out, healthy.surges, &healthy.rollout_blocked), (false, false, &None));
        assert_eq!(healthy.restarted_at.as_deref(), Some("2026-11-23T09:00:00Z"));
        assert!(!state(|it| it["spec"]["restartAt"] = json!("2026-11-23T10:00:00+01:00")).rolling_out);
        assert!(!state(|it| it["spec"]["strategy"] = json!({"blueGreen": {"activeService": "orders"}})).rolling_out);
    }

    #[test]
    fn whatever_is_unfinished_about_it_is_a_rollout_in_progress() {
        let changes: [fn(&mut Value); 6] = [
            |it| it["status"]["phase"] = json!("Progressing"),
            |it| it["status"]["observedGeneration"] = json!("3"),
            |it| it["status"]["observedGeneration"] = json!(null),
            |it| it["status"]["updatedReplicas"] = json!(2),
            |it| it["spec"]["restartAt"] = json!("2026-11-23T10:00:00Z"),
            |it| it["status"] = json!({}),
        ];
        for change in changes {
            assert!(state(change).rolling_out);
        }
    }

    #[test]
    fn it_is_restarted_only_when_healthy_and_never_all_at_once() {
        for phase in ["Progressing", "Paused", "Degraded"] {
            let blocked = state(|it| it["status"]["phase"] = json!(phase)).rollout_blocked;
            assert_eq!(blocked, Some(format!("its phase is {phase}, not Healthy")));
        }
        let blocked = |change: fn(&mut Value)| state(change).rollout_blocked.unwrap_or_default();
        assert!(blocked(|it| it["spec"]["paused"] = json!(true)).contains("paused"));
        assert!(blocked(|it| it["spec"]["strategy"] = json!({})).contains("strategy"));
        let at_once = blocked(|it| it["spec"]["strategy"]["canary"]["maxUnavailable"] = json!("100%"));
        assert!(at_once.contains("maxUnavailable"));
    }
}
