//! Scenario 2, first half: a dry run says what it would do and does none of it.

use std::collections::BTreeMap;

use grpc_hygiene::{api::RemediationState, io::ledger::NAME};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};
use kube::api::ListParams;
use serde_json::json;

use super::{
    audit::writes_of_the_operator,
    pages,
    shop::{Client, POLICY, Shop, marks, step},
    world::{DETECTION, QUIET, SOON, World, entries},
};

/// UID and resource version of every pod and workload.
async fn versions(shop: &Shop) -> BTreeMap<String, Option<String>> {
    let all = ListParams::default();
    let pods = shop.api::<Pod>().list(&all).await.expect("pods").items;
    let sets = shop.api::<ReplicaSet>().list(&all).await.expect("replica sets").items;
    let deployments = shop.api::<Deployment>().list(&all).await.expect("deployments").items;
    assert!(pods.iter().all(|it| marks(it).is_empty()) && deployments.iter().all(|it| marks(it).is_empty()));
    let pods = pods.into_iter().map(|it| it.metadata);
    let metadata =
        pods.chain(sets.into_iter().map(|it| it.metadata)).chain(deployments.into_iter().map(|it| it.metadata));
    metadata
        .map(|it| (format!("{} {}", it.name.unwrap_or_default(), it.uid.unwrap_or_default()), it.resource_version))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn a_dry_run_says_what_it_would_do_and_does_none_of_it() {
    let world = World::with_operator().await;
    let undisturbed = QUIET.read().await;
    let shop = Shop::open(world, "e2e-dry").await;
    shop.deploy(&[Client::plain("orders-leaky", 2)]).await;
    let before = versions(&shop).await;
    shop.policy(json!({"mode": "DryRun", "remediation": {
        "annotate": {}, "alert": {"after": "0s"}, "restart": {"after": "0s", "cooldown": "1m"}}}))
        .await;

    let would = |remediation: &'static str| {
        move |it: &grpc_hygiene::api::GrpcClientPolicyStatus| {
            it.offenders.iter().any(|it| step(it, remediation) == Some((RemediationState::WouldDo, None)))
        }
    };
    shop.wait(DETECTION, "annotate is what it would do", would("Annotate")).await;
    shop.wait(SOON, "alert is what it would do", would("Alert")).await;
    let status = shop.wait(SOON, "restart is what it would do", would("Restart")).await;
    assert!(status.alerts.is_empty() && status.annotated.is_empty(), "{status:?}");

    // Three more evaluations, in which it would have acted.
    let policy = format!("{}/{POLICY}", shop.namespace);
    let seen = pages::last_evaluation(&shop.world, &policy).await.expect("evaluated");
    let later = || async {
        let last = pages::last_evaluation(&shop.world, &policy).await?;
        if last >= seen + 30.0 { Ok(()) } else { Err(format!("the last evaluation is at {last}")) }
    };
    shop.world.eventually(&shop.namespace, SOON, "it was evaluated three times more", later).await;

    assert_eq!(versions(&shop).await, before, "no pod or workload was written, by whomever");
    for replica in [0, 1] {
        assert_eq!(pages::alerts(&shop.world, replica, &shop.namespace).await, Ok(vec![]));
    }
    nothing_but_reports_were_written(&shop).await;
    drop(undisturbed);
    shop.remove().await;
}

async fn nothing_but_reports_were_written(shop: &Shop) {
    let writes = writes_of_the_operator();
    let here = || writes.iter().filter(|it| it.namespace == shop.namespace);
    let of = |resource: &str| here().filter(|it| it.resource == resource).count();
    assert!(
        of("grpcclientpolicies/status") > 0 && of("events") > 0,
        "the log shows what it did write: {:?}",
        here().collect::<Vec<_>>()
    );
    let other: Vec<_> =
        here().filter(|it| !["grpcclientpolicies/status", "events"].contains(&it.resource.as_str())).collect();
    assert!(other.is_empty(), "{other:?}");
    // Outside, the operator writes its lease, and the ledger for those who enforce.
    let ledger = shop.world.ledgers().get_opt(NAME).await.expect("ConfigMaps");
    assert_eq!(entries(ledger.as_ref(), &shop.namespace), Vec::<serde_json::Value>::new());
}
