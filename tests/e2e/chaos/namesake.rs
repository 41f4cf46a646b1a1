//! A pod of a `StatefulSet` is deleted and made again under its name while its restart is due: the new one is not hit for
//! what the old one did.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::DeleteParams};

use super::super::{
    audit::evicted,
    shop::{Shop, marks},
    world::{QUIET, SOON},
};
use super::{LEAKY, NEVER, Scene, enforced, leaky};

/// No leak is found sooner: 16 scrapes, one in five seconds, and two looks of three.
const TOO_YOUNG: Duration = Duration::from_secs(75);

async fn uids(shop: &Shop) -> BTreeMap<String, Option<String>> {
    shop.pods(LEAKY).await.iter().map(|it| (it.name_any(), it.uid())).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn a_pod_made_again_under_its_name_is_not_hit_for_what_its_namesake_did() {
    let undisturbed = QUIET.read().await;
    let scene = Scene::open("e2e-chaos-namesake").await;
    let shop = &scene.shop;
    shop.deploy_set(&leaky(2)).await;
    shop.policy(enforced(NEVER)).await;
    scene.found(2).await;
    let old = uids(shop).await;

    let gone = Timestamp::now().to_string();
    let pods = shop.api::<Pod>();
    for name in old.keys() {
        pods.delete(name, &DeleteParams::default().grace_period(0)).await.expect("deleted");
    }
    scene.make_due();
    let again = || async {
        let new = uids(shop).await;
        let all = new.len() == old.len() && new.iter().all(|(name, uid)| old.get(name).is_some_and(|it| it != uid));
        if all { Ok(new) } else { Err(format!("{new:?}")) }
    };
    let new = shop.world.eventually(&shop.namespace, SOON, "both are there again", again).await;
    scene.evaluated_for(TOO_YOUNG).await;
    assert_eq!(evicted(&shop.namespace, &gone), [""; 0], "the names offended, these pods did not");
    assert_eq!(uids(shop).await, new, "they are still the same");
    let status = shop.status().await.expect("a status");
    let inherited: Vec<_> =
        status.offenders.iter().filter(|it| new.values().flatten().any(|uid| *uid == it.uid)).collect();
    println!("{}: found of the new ones by now: {}", shop.namespace, inherited.len());
    for offender in inherited {
        assert!(offender.since.0.to_string() > gone, "growth was carried over: {offender:?}");
    }
    for pod in shop.pods(LEAKY).await {
        let since = marks(&pod).get("grpc-hygiene.io/since").map(|it| (*it).to_owned());
        assert!(since.is_none_or(|it| it > gone), "{pod:?}");
    }
    shop.remove().await;
    drop(undisturbed);
}
