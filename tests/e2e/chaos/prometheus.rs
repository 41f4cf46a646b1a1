//! Prometheus starts again with nothing: what it does not know is not zero, and nobody is restarted by it.

use std::time::Duration;

use grpc_hygiene::api::GrpcClientPolicyStatus;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

use super::super::{
    enforce::is_ready,
    shop::is,
    world::{QUIET, SOON, World},
};
use super::{MEASURED, Scene, said};

/// No leak is found sooner by new data alone.
const TOO_FEW: Duration = Duration::from_secs(40);

/// Its data are in an `emptyDir`, and go with the pod.
async fn empty(world: &World) {
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "monitoring");
    let all = ListParams::default().labels("app=prometheus");
    let before = pods.list(&all).await.expect("pods").items.into_iter().next().and_then(|it| it.metadata.uid);
    world.delete_at_once("monitoring", "app=prometheus").await;
    // The deployment's status is about the old one for a moment.
    let back = || async {
        let found = pods.list(&all).await.map_err(|it| it.to_string())?.items;
        let ready = found.iter().any(|it| it.metadata.uid != before && is_ready(it));
        if ready { Ok(()) } else { Err("not ready".to_owned()) }
    };
    world.eventually("monitoring", SOON, "another Prometheus is there", back).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn a_prometheus_that_starts_empty_lets_nobody_be_restarted_and_nobody_be_healthy() {
    let undisturbed = QUIET.read().await;
    let scene = Scene::leaking("e2e-chaos-empty", 2).await;
    drop(undisturbed);
    let last = MEASURED.write().await;
    let alone = QUIET.write().await;
    let shop = &scene.shop;
    let fires = |it: &GrpcClientPolicyStatus| it.alerts.iter().any(|it| it.ends_at.is_none());
    shop.wait(SOON, "the alert fires", fires).await;
    empty(&shop.world).await;
    // An answer is shared for five seconds; what it says may still be acted upon. Only then is it blind.
    let blind = |it: &GrpcClientPolicyStatus| {
        let unjudged = !it.offenders.is_empty() && it.offenders.iter().all(|it| it.standing);
        unjudged && is(it, "DataSourceReachable", "True")
    };
    shop.wait(SOON, "it is reached, and nobody is judged", blind).await;
    scene.make_due();
    let held = |it: &GrpcClientPolicyStatus| blind(it) && said(it, "NotJudgedNow").is_some();
    let status = shop.wait(SOON, "restarts are due, and held back", held).await;
    assert_eq!(status.counts.as_ref().map(|it| it.healthy), Some(0), "no data is not health: {status:?}");
    assert!(fires(&status), "nor is it resolved: {status:?}");
    scene.evaluated_for(TOO_FEW).await;
    assert_eq!(scene.evicted(), [""; 0], "nothing is done by so little");
    shop.remove().await;
    drop((alone, last));
}
