//! An admission webhook lets evictions hang: what became of one is not known, so nothing more is done until it is settled
//! by looking, and then the budget has been kept.

use std::time::Duration;

use super::super::world::{HOME, QUIET, SOON, entries};
use super::{Scene, webhook::Webhook};
use grpc_hygiene::io::ledger::NAME;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn an_eviction_that_hangs_in_a_webhook_is_settled_by_looking_and_costs_no_second_one() {
    let undisturbed = QUIET.read().await;
    let scene = Scene::leaking("e2e-chaos-hanging", 2).await;
    let (shop, world) = (&scene.shop, &scene.shop.world);
    let rule =
        json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods/eviction"]});
    let webhook = Webhook::that_hangs(world, "hanging", &shop.namespace, &rule).await;
    scene.make_due();
    let said = scene.withheld("RequestFailed").await;
    assert!(said.contains("timed out") || said.contains("no answer"), "{said}");
    let ledgers: Api<ConfigMap> = Api::namespaced(world.client.clone(), HOME);
    let ledger = ledgers.get_opt(NAME).await.expect("ledgers");
    let entered = entries(ledger.as_ref(), &shop.namespace);
    assert_eq!(entered.len(), 1, "the one whose fate is not known, and no other: {entered:?}");
    assert_eq!(entered[0]["state"], "Pending", "{entered:?}");

    // It looks after it: the pod is fenced, or was evicted after all.
    let settled = || async {
        let ledger = ledgers.get_opt(NAME).await.map_err(|it| it.to_string())?;
        let entries = entries(ledger.as_ref(), &shop.namespace);
        let same = entries.iter().any(|it| it["object"] == entered[0]["object"] && it["state"] == "Pending");
        if same { Err(format!("{entries:?}")) } else { Ok(()) }
    };
    world.eventually(&shop.namespace, 2 * SOON, "the lost eviction is settled", settled).await;
    webhook.remove().await;
    scene.more_evicted_than(0).await;
    scene.evaluated_for(Duration::from_secs(20)).await;
    scene.assert_accounted_for().await;
    shop.remove().await;
    drop(undisturbed);
}
