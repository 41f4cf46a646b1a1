//! Two `PodDisruptionBudget`s cover the same pods, and the API server would refuse every eviction: none is asked for.
//! A budget that allows nothing is in `enforce.rs`.

use std::time::Duration;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::super::{audit::writes_of_the_operator, world::QUIET};
use super::{LEAKY, Scene};

fn budget(name: &str) -> PodDisruptionBudget {
    let selector = json!({"matchLabels": {"app.kubernetes.io/name": LEAKY}});
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"maxUnavailable": 1, "selector": selector}}))
        .expect("a budget")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn where_two_budgets_cover_a_pod_no_eviction_is_even_asked_for() {
    let undisturbed = QUIET.read().await;
    let scene = Scene::leaking("e2e-chaos-budgets", 2).await;
    let api = scene.shop.api::<PodDisruptionBudget>();
    for name in ["one", "two"] {
        api.create(&PostParams::default(), &budget(name)).await.expect("a budget");
    }
    scene.make_due();
    let said = scene.withheld("PodDisruptionBudgetMisconfigured").await;
    assert!(said.contains("one") && said.contains("two"), "{said}");
    scene.evaluated_for(Duration::from_secs(30)).await;
    let asked = writes_of_the_operator().into_iter().filter(|it| it.resource == "pods/eviction");
    let asked: Vec<_> = asked.filter(|it| it.namespace == scene.shop.namespace && it.at >= scene.began).collect();
    assert_eq!(asked, [], "no budget was spent by a request that is refused");

    api.delete("two", &DeleteParams::default()).await.expect("deleted");
    scene.more_evicted_than(0).await;
    scene.assert_accounted_for().await;
    scene.shop.remove().await;
    drop(undisturbed);
}
