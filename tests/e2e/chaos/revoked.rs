//! Rights are taken away while restarts are due: that is said, nothing crashes, and all goes on when they are given back.

use std::time::{Duration, Instant};

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ObjectMeta, PostParams},
};

use super::super::world::{QUIET, World};
use super::{Scene, TURN, restarts};

/// The acting account may no longer evict. What it had is returned.
async fn revoke_evictions(world: &World) -> ClusterRole {
    let api: Api<ClusterRole> = Api::all(world.client.clone());
    let had = api.get("grpc-hygiene-actor").await.expect("the role");
    let mut has = had.clone();
    let evicts =
        |it: &k8s_openapi::api::rbac::v1::PolicyRule| it.resources.iter().flatten().any(|it| it == "pods/eviction");
    has.rules.iter_mut().for_each(|rules| rules.retain(|it| !evicts(it)));
    assert_ne!(had.rules, has.rules);
    api.replace("grpc-hygiene-actor", &PostParams::default(), &has).await.expect("replaced");
    had
}

async fn give_back(world: &World, had: &ClusterRole) {
    let api: Api<ClusterRole> = Api::all(world.client.clone());
    let mut role = api.get(&had.name_any()).await.expect("the role");
    role.rules.clone_from(&had.rules);
    api.replace(&had.name_any(), &PostParams::default(), &role).await.expect("replaced");
}

/// The binding of the observing account is away until `while_away` is over.
async fn blinded(world: &World, while_away: impl Future<Output = ()>) {
    let api: Api<ClusterRoleBinding> = Api::all(world.client.clone());
    let mut binding = api.get("grpc-hygiene").await.expect("the binding");
    api.delete("grpc-hygiene", &DeleteParams::default()).await.expect("deleted");
    while_away.await;
    let ObjectMeta { name, labels, annotations, .. } = binding.metadata;
    binding.metadata = ObjectMeta { name, labels, annotations, ..ObjectMeta::default() };
    api.create(&PostParams::default(), &binding).await.expect("given back");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn rights_that_are_taken_away_are_missed_by_name_and_used_again_when_they_are_back() {
    let undisturbed = QUIET.read().await;
    let scene = Scene::leaking("e2e-chaos-revoked", 2).await;
    let (shop, world) = (&scene.shop, &scene.shop.world);
    let turn = TURN.lock().await;
    let before = restarts(world).await.expect("the operator");
    let had = revoke_evictions(world).await;
    scene.make_due();
    let said = scene.withheld("RequestFailed").await;
    give_back(world, &had).await;
    assert!(said.contains("forbidden") && said.contains("pods/eviction"), "{said}");
    scene.more_evicted_than(0).await;
    scene.assert_accounted_for().await;

    // It sees nothing at all for a while, not even its policies.
    let blind = async {
        world.passed(&shop.namespace, Instant::now(), Duration::from_secs(30), "it was blind").await;
    };
    blinded(world, blind).await;
    scene.evaluated_for(Duration::from_secs(1)).await;
    assert_eq!(restarts(world).await.as_ref(), Ok(&before), "nothing crashed");
    drop(turn);
    scene.assert_accounted_for().await;
    shop.remove().await;
    drop(undisturbed);
}
