//! Something like a GitOps tool takes each rollout back: one restart, its revert, and then silence.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{sync::Mutex, task::JoinHandle};

use super::super::world::{DETECTION, QUIET};
use super::{LEAKY, Scene, leaky};

const KEY: &str = "kubectl.kubernetes.io/restartedAt";

/// Takes the time of a restart out of the template again, every second, and keeps what it took.
fn revert(api: Api<Deployment>, taken: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    tokio::spawn(async move {
        loop {
            ticks.tick().await;
            let Ok(found) = api.get(LEAKY).await else { continue };
            let annotations = found.spec.and_then(|it| it.template.metadata).and_then(|it| it.annotations);
            let Some(time) = annotations.and_then(|it| it.get(KEY).cloned()) else { continue };
            let patch = json!({"spec": {"template": {"metadata": {"annotations": {KEY: null}}}}});
            if api.patch(LEAKY, &PatchParams::default(), &Patch::Merge(patch)).await.is_ok() {
                taken.lock().await.push(time);
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn a_rollout_that_is_taken_back_is_made_once_and_then_never_again() {
    let undisturbed = QUIET.read().await;
    let scene = Scene::open("e2e-chaos-reverted").await;
    let shop = &scene.shop;
    shop.deploy(&[leaky(2)]).await;
    let taken = Arc::<Mutex<Vec<String>>>::default();
    let reverting = revert(shop.api(), Arc::clone(&taken));
    let restart = json!({"after": "1s", "method": "Rollout", "cooldown": "1m", "maxPerDay": 100});
    shop.policy(
        json!({"mode": "Enforce", "remediation": {"annotate": {}, "alert": {"after": "0s"}, "restart": restart}}),
    )
    .await;
    let rolled = || async {
        let taken = taken.lock().await.clone();
        if taken.is_empty() { Err("not rolled out yet".to_owned()) } else { Ok(()) }
    };
    shop.world.eventually(&shop.namespace, DETECTION, "a rollout is taken back", rolled).await;
    let said =
        shop.wait(DETECTION, "it leaks again, and is left alone", |it| super::said(it, "RestartReverted").is_some());
    said.await;
    scene.evaluated_for(Duration::from_secs(60)).await;
    assert!(!reverting.is_finished(), "{:?}", reverting.await);
    reverting.abort();
    let taken = taken.lock().await.clone();
    assert_eq!(taken.len(), 1, "one restart, its revert, and silence: {taken:?}");
    assert_eq!(scene.evicted(), [""; 0]);
    shop.remove().await;
    drop(undisturbed);
}
