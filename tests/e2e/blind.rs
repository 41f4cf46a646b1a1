//! Scenario 5: Prometheus is away. Conditions and an alert of the operator's own say so, nothing is restarted, alerts that
//! fire are not resolved; it comes back, and all goes on.

use grpc_hygiene::api::{GrpcClientPolicyStatus, RemediationState};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    audit::evicted,
    pages,
    shop::{Client, POLICY, Shop, is, step},
    world::{DETECTION, QUIET, SOON, World},
};

async fn scale_prometheus(world: &World, replicas: i32) {
    let api: Api<Deployment> = Api::namespaced(world.client.clone(), "monitoring");
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    api.patch("prometheus", &PatchParams::default(), &patch).await.expect("scaled");
    let is_so = || async {
        let status = api.get("prometheus").await.map_err(|it| it.to_string())?.status.unwrap_or_default();
        let found = (status.replicas.unwrap_or_default(), status.ready_replicas.unwrap_or_default());
        if found == (replicas, replicas) { Ok(()) } else { Err(format!("{found:?}")) }
    };
    world.eventually("monitoring", SOON, &format!("Prometheus has {replicas} replicas"), is_so).await;
}

/// Restarts are due, and held back for want of data.
fn held_back(status: &GrpcClientPolicyStatus) -> bool {
    let blind = Some((RemediationState::Withheld, Some("NotJudgedNow".to_owned())));
    is(status, "DataSourceReachable", "False")
        && is(status, "Ready", "False")
        && status.offenders.iter().all(|it| it.standing && step(it, "Restart") == blind)
}

/// The operator's own alert, which rules of the Prometheus that is away could not raise.
async fn said_itself(shop: &Shop, fires: bool) {
    for replica in [0, 1] {
        let so = || async move {
            let all = pages::all_alerts(&shop.world, replica).await?;
            let own: Vec<_> = all.iter().filter(|it| it["labels"]["alertname"] == "GrpcHygieneBlind").collect();
            if own.len() == usize::from(fires) { Ok(()) } else { Err(format!("{own:?}")) }
        };
        shop.world.eventually(&shop.namespace, SOON, &format!("that it is blind fires: {fires}"), so).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn without_prometheus_it_says_so_restarts_nothing_and_resolves_nothing() {
    let world = World::with_operator().await;
    let undisturbed = QUIET.read().await;
    let (began, shop) = (Timestamp::now().to_string(), Shop::open(world, "e2e-blind").await);
    shop.deploy(&[Client::plain("orders-leaky", 3)]).await;
    let remediation = |after: &str| {
        json!({"annotate": {}, "alert": {"after": "0s"},
        "restart": {"after": after, "method": "Evict", "cooldown": "1m"}})
    };
    shop.policy(json!({"mode": "Enforce", "remediation": remediation("7d")})).await;
    let firing = |it: &GrpcClientPolicyStatus| it.offenders.len() == 3 && !it.alerts.is_empty();
    shop.wait(DETECTION, "all are found and the alert fires", firing).await;
    drop(undisturbed);

    let alone = QUIET.write().await;
    scale_prometheus(&shop.world, 0).await;
    shop.wait(SOON, "the conditions say that Prometheus is away", |it| is(it, "DataSourceReachable", "False")).await;
    let patch = json!({"spec": {"remediation": remediation("1s")}}).to_string();
    shop.world.kubectl(&[
        "patch",
        "gcpol",
        POLICY,
        "--namespace",
        &shop.namespace,
        "--type",
        "merge",
        "--patch",
        &patch,
    ]);
    let status = shop.wait(SOON, "restarts are due and held back", held_back).await;
    assert!(status.alerts.iter().all(|it| it.ends_at.is_none()) && !status.alerts.is_empty(), "{status:?}");
    for replica in [0, 1] {
        let alerts = pages::alerts(&shop.world, replica, &shop.namespace).await.expect("Alertmanager answers");
        assert_eq!(alerts.len(), 1, "it still fires: {alerts:?}");
    }
    assert_eq!(evicted(&shop.namespace, &began), [""; 0], "nothing was restarted");
    said_itself(&shop, true).await;

    scale_prometheus(&shop.world, 1).await;
    drop(alone);
    let undisturbed = QUIET.read().await;
    shop.wait(SOON, "the conditions say that it is back", |it| is(it, "DataSourceReachable", "True")).await;
    said_itself(&shop, false).await;
    shop.evicted(&began, 1, DETECTION, "restarts go on").await;
    drop(undisturbed);
    shop.remove().await;
}
