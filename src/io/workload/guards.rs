//! What a namespace's budgets for disruptions and its autoscalers say about a pod and its workload. Each kind is listed
//! once, whatever the number of workloads.

use std::collections::BTreeMap;

use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod, policy::v1::PodDisruptionBudget};
use kube::{
    Api, Client, Error, ResourceExt,
    api::ListParams,
    core::{Selector, SelectorExt},
};

use crate::{
    decide::{Autoscaler, Workload},
    io::acting::reason,
};

/// The guards of a namespace.
#[derive(Clone, Debug, Default)]
pub struct Guards {
    budgets: Vec<PodDisruptionBudget>,
    autoscalers: Vec<HorizontalPodAutoscaler>,
}

/// The guards of a namespace as they stand now.
///
/// # Errors
/// They cannot be listed: the reason, for people.
pub async fn guards(client: &Client, namespace: &str) -> Result<Guards, String> {
    let said = |error: Error| reason(&error);
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), namespace);
    let budgets = budgets.list(&ListParams::default()).await.map_err(said)?.items;
    let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), namespace);
    let autoscalers = autoscalers.list(&ListParams::default()).await.map_err(said)?.items;
    Ok(Guards { budgets, autoscalers })
}

impl Guards {
    /// The budgets that forbid to disturb a pod.
    pub(super) async fn blocking(&self, client: &Client, namespace: &str, pod: &str) -> Result<Vec<String>, Error> {
        if self.budgets.is_empty() {
            return Ok(Vec::new());
        }
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let labels = pods.get_metadata(pod).await?.metadata.labels.unwrap_or_default();
        Ok(blocking(&self.budgets, &labels))
    }

    /// The autoscalers of a workload.
    pub(super) fn of(&self, workload: &Workload) -> Vec<Autoscaler> {
        self.autoscalers.iter().filter(|it| targets(it, workload)).map(autoscaler).collect()
    }
}

fn targets(autoscaler: &HorizontalPodAutoscaler, workload: &Workload) -> bool {
    let target = autoscaler.spec.as_ref().map(|it| &it.scale_target_ref);
    // The group is left out: what another group's kind of the same name scales is a reason to wait, too.
    target.is_some_and(|it| it.kind == workload.kind && it.name == workload.name)
}

fn autoscaler(it: &HorizontalPodAutoscaler) -> Autoscaler {
    let count = |n: i32| u32::try_from(n).unwrap_or(0);
    let status = it.status.as_ref();
    Autoscaler {
        name: it.name_any(),
        max: it.spec.as_ref().map_or(0, |it| count(it.max_replicas)),
        wanted: status.map_or(0, |it| count(it.desired_replicas.max(it.current_replicas.unwrap_or(0)))),
        scaled_at: status.and_then(|it| it.last_scale_time.as_ref()).map(|it| it.0),
    }
}

/// The budgets that forbid to evict a pod with these labels: one that allows nothing, or all when there are more than one.
fn blocking(budgets: &[PodDisruptionBudget], labels: &BTreeMap<String, String>) -> Vec<String> {
    let covering: Vec<&PodDisruptionBudget> = budgets.iter().filter(|it| covers(it, labels)).collect();
    // The eviction API refuses a pod that has more than one, whatever they allow.
    let too_many = covering.len() > 1;
    covering.into_iter().filter(|it| too_many || forbids(it)).map(ResourceExt::name_any).collect()
}

fn covers(budget: &PodDisruptionBudget, labels: &BTreeMap<String, String>) -> bool {
    let selector = budget.spec.as_ref().and_then(|it| it.selector.clone());
    // In policy/v1 no selector is no pod, and an empty one is every pod. What cannot be read may cover the pod.
    selector.is_some_and(|it| Selector::try_from(it).map_or(true, |it| it.matches(labels)))
}

fn forbids(budget: &PodDisruptionBudget) -> bool {
    let Some(status) = &budget.status else { return true };
    status.disruptions_allowed <= 0 || status.observed_generation < budget.metadata.generation
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn budget(name: &str, selector: &Value, status: &Value) -> PodDisruptionBudget {
        let object =
            json!({"metadata": {"name": name, "generation": 2}, "spec": {"selector": selector}, "status": status});
        serde_json::from_value(object).expect("a budget")
    }

    fn allowing(n: i32, observed: i64) -> Value {
        json!({"disruptionsAllowed": n, "observedGeneration": observed, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3})
    }

    #[test]
    fn a_budget_blocks_the_pods_it_covers_when_it_allows_nothing_or_is_not_up_to_date() {
        let labels = BTreeMap::from([("app".to_owned(), "orders".to_owned())]);
        let orders = json!({"matchLabels": {"app": "orders"}});
        let names = |budgets: &[PodDisruptionBudget]| blocking(budgets, &labels);
        assert_eq!(names(&[budget("a", &orders, &allowing(1, 2))]), Vec::<String>::new());
        assert_eq!(names(&[budget("a", &orders, &allowing(0, 2))]), ["a"]);
        assert_eq!(names(&[budget("a", &orders, &allowing(1, 1))]), ["a"]);
        assert_eq!(
            names(&[budget("a", &json!({"matchLabels": {"app": "users"}}), &allowing(0, 2))]),
            Vec::<String>::new()
        );
        assert_eq!(names(&[budget("a", &json!({}), &allowing(0, 2))]), ["a"]);
        assert_eq!(names(&[budget("a", &json!(null), &allowing(0, 2))]), Vec::<String>::new());
        assert_eq!(names(&[budget("a", &orders, &allowing(1, 2)), budget("b", &orders, &allowing(1, 2))]), ["a", "b"]);
    }

    #[test]
    fn an_autoscaler_is_that_of_the_workload_that_it_names() {
        let scaler = |kind: &str, name: &str| -> HorizontalPodAutoscaler {
            serde_json::from_value(json!({
                "metadata": {"name": "orders"},
                "spec": {"maxReplicas": 9, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": name}},
                "status": {"currentReplicas": 3, "desiredReplicas": 5, "lastScaleTime": "2026-11-23T09:58:00Z"},
            }))
            .expect("an autoscaler")
        };
        let orders = Workload { namespace: "shop".into(), kind: "Deployment".into(), name: "orders".into() };
        let all = [scaler("Deployment", "orders"), scaler("StatefulSet", "orders"), scaler("Deployment", "users")];
        let guards = Guards { autoscalers: all.into(), ..Guards::default() };
        let scaled_at = Some("2026-11-23T09:58:00Z".parse().expect("a time"));
        assert_eq!(guards.of(&orders), [Autoscaler { name: "orders".into(), max: 9, wanted: 5, scaled_at }]);
    }
}
