//! The ledger is deleted while restarts are due: nobody is restarted without it, nor by a new one that knows nothing yet.

use std::time::Duration;

use grpc_hygiene::io::ledger::NAME;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ObjectMeta, PostParams};

use super::super::world::QUIET;
use super::{MEASURED, Scene};

/// As whoever deleted it would make it again: with the marks of the chart, and nothing in it.
fn emptied(ledger: ConfigMap) -> ConfigMap {
    let ObjectMeta { name, namespace, labels, annotations, .. } = ledger.metadata;
    let metadata = ObjectMeta { name, namespace, labels, annotations, ..ObjectMeta::default() };
    ConfigMap { metadata, ..ConfigMap::default() }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn without_its_ledger_it_restarts_nobody_and_a_new_one_is_not_trusted_at_once() {
    let measured = MEASURED.read().await;
    let undisturbed = QUIET.read().await;
    let scene = Scene::leaking("e2e-chaos-ledger", 2).await;
    drop(undisturbed);
    let alone = QUIET.write().await;
    let ledgers = scene.shop.world.ledgers();
    let before = ledgers.get(NAME).await.expect("the ledger");
    ledgers.delete(NAME, &DeleteParams::default()).await.expect("deleted");
    scene.make_due();
    let said = scene.withheld("Ledger").await;
    assert!(said.contains("missing") && said.contains(NAME), "{said}");
    scene.evaluated_for(Duration::from_secs(20)).await;
    assert_eq!(scene.evicted(), [""; 0], "nothing without a ledger");
    assert_eq!(ledgers.get_opt(NAME).await.expect("ledgers"), None, "it makes none itself");

    ledgers.create(&PostParams::default(), &emptied(before)).await.expect("a new ledger");
    scene.withheld("NewLedger").await;
    scene.evaluated_for(Duration::from_secs(20)).await;
    assert_eq!(scene.evicted(), [""; 0], "nobody knows what was restarted before");
    // The longest window and the cooldown are a minute here.
    scene.more_evicted_than(0).await;
    scene.assert_accounted_for().await;
    scene.shop.remove().await;
    drop((alone, measured));
}
