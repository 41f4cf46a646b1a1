//! Bad input that no `kubectl apply` lets through any more: a stored policy that does not parse stops only itself.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    shop::{Shop, is},
    world::{QUIET, SOON, World},
};

const DEFINITION: &str = "grpcclientpolicies.grpc-hygiene.io";
const MODES: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mode/enum";

/// The modes that the definition allows. Others use the same one at the same time.
async fn allowed(client: &Client) -> Vec<Value> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = serde_json::to_value(api.get(DEFINITION).await.expect("a definition")).expect("JSON");
    definition.pointer(MODES).and_then(Value::as_array).cloned().expect("modes")
}

/// Replaces them.
async fn allow(client: &Client, modes: &[Value]) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let patch = serde_json::from_value(json!([{"op": "replace", "path": MODES, "value": modes}])).expect("a patch");
    api.patch(DEFINITION, &PatchParams::default(), &Patch::<()>::Json(patch)).await.expect("patched");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn a_stored_policy_that_does_not_parse_stops_only_itself() {
    let world = World::with_operator().await;
    let undisturbed = QUIET.read().await;
    let shop = &Shop::open(world, "e2e-unreadable").await;
    let resource = ApiResource::erase::<grpc_hygiene::api::GrpcClientPolicy>(&());
    let policies: &Api<DynamicObject> = &Api::namespaced_with(shop.world.client.clone(), &shop.namespace, &resource);
    let broken: &DynamicObject = &serde_json::from_value(json!({
        "apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "broken"},
        "spec": {"allPods": true, "mode": "Sometimes"},
    }))
    .expect("an object");

    // As an older version of the program would have left it: stored when the definition allowed it.
    let usual = allowed(&shop.world.client).await;
    allow(&shop.world.client, &[usual.as_slice(), &["Sometimes".into()]].concat()).await;
    let stored = || async { policies.create(&PostParams::default(), broken).await.map_err(|it| it.to_string()) };
    shop.world.eventually(&shop.namespace, SOON, "the broken policy is stored", stored).await;
    allow(&shop.world.client, &usual).await;
    shop.policy(json!({})).await;

    let stalled = || async {
        let found = policies.get("broken").await.map_err(|it| it.to_string())?;
        let conditions = found.data.pointer("/status/conditions").and_then(Value::as_array).cloned();
        let stalled =
            conditions.unwrap_or_default().into_iter().find(|it| it["type"] == "Stalled" && it["status"] == "True");
        stalled.ok_or_else(|| format!("{:?}", found.data.get("status")))
    };
    let stalled = shop.world.eventually(&shop.namespace, SOON, "the broken policy is stalled", stalled).await;
    assert_eq!(stalled["reason"], "Unreadable");
    assert!(stalled["message"].as_str().is_some_and(|it| it.contains("Sometimes")), "{stalled}");
    shop.wait(SOON, "the other policy is evaluated", |it| is(it, "Ready", "True") && it.counts.is_some()).await;
    drop(undisturbed);
    shop.remove().await;
}
