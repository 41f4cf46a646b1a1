//! A rollout that does not end, started anew again and again, while restarts are due: nobody is restarted beside it, and
//! no more than one pod is ever missing.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::super::{
    enforce::least_ready,
    world::{QUIET, SOON},
};
use super::{LEAKY, Scene};

/// So long a new rollout is begun every few seconds.
const LOOP: Duration = Duration::from_secs(60);

async fn change(api: &Api<Deployment>, spec: Value) {
    let patch = Patch::Strategic(json!({"spec": spec}));
    api.patch(LEAKY, &PatchParams::default(), &patch).await.expect("patched");
}

/// A template whose image is on no node: old pods stay until a new one is ready, and none ever is.
fn stuck(round: u64) -> Value {
    json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {"spec": {"containers": [{"name": "shop", "image": format!("localhost/none:{round}")}]}}})
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn beside_a_rollout_that_never_ends_nobody_is_restarted_and_one_pod_at_most_is_missing() {
    let undisturbed = QUIET.read().await;
    let scene = Scene::leaking("e2e-chaos-rollout", 3).await;
    let (shop, api) = (&scene.shop, &scene.shop.api::<Deployment>());
    let watching = least_ready(shop.api(), LEAKY);
    change(api, stuck(0)).await;
    scene.make_due();
    scene.withheld("RolloutInProgress").await;
    let (since, rounds) = (Instant::now(), &std::sync::atomic::AtomicU64::new(1));
    let looped = || async move {
        let round = rounds.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if round.is_multiple_of(5) {
            change(api, stuck(round)).await;
        }
        if since.elapsed() >= LOOP { Ok(()) } else { Err(format!("round {round}")) }
    };
    shop.world.eventually(&shop.namespace, LOOP + SOON, "rollouts began again and again", looped).await;
    assert_eq!(scene.evicted(), [""; 0], "nobody beside a rollout");

    // Back to the template of the old pods: they stay, and the rollout is over.
    let image = json!({"template": {"spec": {"containers": [{"name": "shop", "image": "localhost/shop:grpc-1.85"}]}}});
    change(api, image).await;
    scene.more_evicted_than(0).await;
    scene.assert_accounted_for().await;
    assert!(!watching.is_finished(), "{:?}", watching.await);
    watching.abort();
    shop.remove().await;
    drop(undisturbed);
}
