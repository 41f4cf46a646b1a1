//! Scenario 2, second half: a `PodDisruptionBudget` holds a restart back and status names it; then only leaking pods
//! are evicted, never more at a time than `maxUnavailable` allows.

use std::collections::BTreeSet;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Pod, policy::v1::PodDisruptionBudget};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
    runtime::{WatchStreamExt, reflector, watcher},
};
use serde_json::json;
use tokio::task::JoinHandle;

use super::{
    audit::evicted,
    shop::{Client, Shop, marks, withheld},
    world::{DETECTION, QUIET, SOON, World},
};

/// Watches the pods of a deployment of three from now on, and fails when more than one of them is not ready.
pub fn least_ready(api: Api<Pod>, deployment: &str) -> JoinHandle<()> {
    let (reader, writer) = reflector::store();
    let config = watcher::Config::default().labels(&format!("app.kubernetes.io/name={deployment}"));
    let mut events = watcher(api, config).default_backoff().reflect(writer).boxed();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let settled = matches!(event, Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_)));
            let ready = reader.state().iter().filter(|it| is_ready(it)).count();
            assert!(!settled || ready >= 2, "only {ready} of 3 pods are ready: more than maxUnavailable: 1");
        }
    })
}

/// Whether a pod is ready, and stays.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|it| it.conditions.as_ref());
    let ready = conditions.into_iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

fn budget() -> PodDisruptionBudget {
    serde_json::from_value(json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "no-headroom"},
        "spec": {"minAvailable": "100%", "selector": {"matchLabels": {"app.kubernetes.io/name": "orders-leaky"}}},
    }))
    .expect("a budget")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn only_leaking_pods_are_evicted_one_at_a_time_and_never_against_a_budget() {
    let world = World::with_operator().await;
    let undisturbed = QUIET.read().await;
    let (began, shop) = (Timestamp::now().to_string(), Shop::open(world, "e2e-enforce").await);
    let params = PostParams::default();
    shop.api::<PodDisruptionBudget>().create(&params, &budget()).await.expect("a budget");
    shop.deploy(&[Client::plain("orders-leaky", 3), Client::plain("orders-fixed", 2)]).await;
    let leaking: BTreeSet<String> = shop.pods("orders-leaky").await.iter().map(ResourceExt::name_any).collect();
    let fixed: BTreeSet<Option<String>> = shop.pods("orders-fixed").await.iter().map(ResourceExt::uid).collect();
    shop.policy(json!({"mode": "Enforce", "remediation": {
        "annotate": {}, "alert": {"after": "0s"},
        "restart": {"after": "10s", "method": "Evict", "cooldown": "1m", "maxUnavailable": 1}}}))
        .await;

    let held = |it: &_| withheld(it, "PodDisruptionBudget");
    let status = shop.wait(DETECTION, "the budget holds the restart back", held).await;
    let said = status.offenders.iter().flat_map(|it| &it.remediations).filter_map(|it| it.message.as_deref());
    assert!(said.clone().any(|it| it.contains("no-headroom")), "{:?}", said.collect::<Vec<_>>());
    assert_eq!(evicted(&shop.namespace, &began), [""; 0], "the budget held");
    annotated(&shop).await;

    let watching = least_ready(shop.api(), "orders-leaky");
    shop.api::<PodDisruptionBudget>().delete("no-headroom", &DeleteParams::default()).await.expect("deleted");
    let evicted = shop.evicted(&began, 2, 2 * DETECTION, "two pods are evicted").await;
    let unique: BTreeSet<String> = evicted.iter().cloned().collect();
    assert!(unique.is_subset(&leaking), "{evicted:?} of {leaking:?}");
    assert_eq!(unique.len(), evicted.len(), "no pod twice: {evicted:?}");
    let after: BTreeSet<Option<String>> = shop.pods("orders-fixed").await.iter().map(ResourceExt::uid).collect();
    assert_eq!(after, fixed, "the service done right was left alone");
    assert!(!watching.is_finished(), "{:?}", watching.await);
    watching.abort();
    drop(undisturbed);
    shop.remove().await;
}

/// The finding stands on pods and workload, and on nobody else.
async fn annotated(shop: &Shop) {
    let deployments = shop.api::<k8s_openapi::api::apps::v1::Deployment>();
    let marked = || async {
        let leaky = deployments.get("orders-leaky").await.map_err(|it| it.to_string())?;
        let diagnosis = marks(&leaky).get("grpc-hygiene.io/diagnosis").map(|it| (*it).to_owned());
        diagnosis.ok_or_else(|| "the workload is not annotated".to_owned())
    };
    let diagnosis = shop.world.eventually(&shop.namespace, SOON, "the workload is annotated", marked).await;
    assert_eq!(diagnosis, "DialPerCall");
    let pods = shop.pods("orders-leaky").await;
    assert!(pods.iter().any(|it| marks(it).get("grpc-hygiene.io/diagnosis") == Some(&"DialPerCall")));
    let fixed = deployments.get("orders-fixed").await.expect("the deployment");
    assert!(marks(&fixed).is_empty() && shop.pods("orders-fixed").await.iter().all(|it| marks(it).is_empty()));
}
