//! Every Alertmanager is away: nobody is restarted before people have heard, and they hear when one is back.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::super::world::{DETECTION, QUIET, SOON, World};
use super::{NOW, Scene, TURN, enforced, leaky, pages};

/// An alert that was not taken is tried again within so long.
const PAGED: Duration = Duration::from_secs(65);

async fn scale(world: &World, replicas: i32) {
    let api: Api<StatefulSet> = Api::namespaced(world.client.clone(), "monitoring");
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    api.patch("alertmanager", &PatchParams::default(), &patch).await.expect("scaled");
    let is_so = || async {
        let status = api.get("alertmanager").await.map_err(|it| it.to_string())?.status.unwrap_or_default();
        let found = (status.replicas, status.ready_replicas.unwrap_or_default());
        if found == (replicas, replicas) { Ok(()) } else { Err(format!("{found:?}")) }
    };
    world.eventually("monitoring", SOON, &format!("there are {replicas} Alertmanagers"), is_so).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn while_no_alertmanager_is_there_nobody_is_restarted_and_the_page_arrives_when_one_is_back() {
    let undisturbed = QUIET.read().await;
    let scene = Scene::open("e2e-chaos-pages").await;
    let shop = &scene.shop;
    shop.deploy(&[leaky(2)]).await;
    // Nobody has heard of a leak that only a dry run saw.
    shop.policy(json!({"mode": "DryRun", "remediation": super::remediation(NOW)})).await;
    shop.wait(DETECTION, "the leak is found", |it| it.offenders.len() == 2).await;

    let turn = TURN.lock().await;
    scale(&shop.world, 0).await;
    scene.change(&json!({"spec": enforced(NOW)}));
    scene.withheld("AlertFirst").await;
    scene.evaluated_for(Duration::from_secs(30)).await;
    assert_eq!(scene.evicted(), [""; 0], "people hear first");
    scale(&shop.world, 2).await;
    for replica in [0, 1] {
        let paged = || async {
            let alerts = pages::alerts(&shop.world, replica, &shop.namespace).await?;
            if alerts.is_empty() { Err("no alert yet".to_owned()) } else { Ok(()) }
        };
        shop.world.eventually(&shop.namespace, PAGED, "the page arrives", paged).await;
    }
    drop(turn);
    scene.more_evicted_than(0).await;
    scene.assert_accounted_for().await;
    shop.remove().await;
    drop(undisturbed);
}
