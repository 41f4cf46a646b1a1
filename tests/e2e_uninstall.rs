//! Uninstalling on a real cluster, the last scenario: it takes the operator, and at the end all policies, from
//! everybody else; before, it compares the operator's rights with what all scenarios used, and looks for its secret.
//! `tests/run` starts it after `e2e.rs`; that file says what both need.

// The tests tidy up after themselves; what they try is not what they tidy with.
#![allow(clippy::disallowed_methods)]

#[path = "e2e/audit.rs"]
#[allow(dead_code, reason = "the other scenarios use the rest")]
mod audit;
#[path = "e2e/pages.rs"]
#[allow(dead_code, reason = "the other scenarios use the rest")]
mod pages;
#[path = "e2e/rights.rs"]
mod rights;
#[path = "e2e/secrets.rs"]
mod secrets;
#[path = "e2e/shop.rs"]
#[allow(dead_code, reason = "the other scenarios use the rest")]
mod shop;
#[path = "e2e/world.rs"]
#[allow(dead_code, reason = "the other scenarios use the rest")]
mod world;

use k8s_openapi::{
    api::apps::v1::Deployment, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::Api;
use serde_json::json;

use shop::{Client, Shop, marks};
use world::{DETECTION, HOME, SOON, World};

const DEFINITION: &str = "grpcclientpolicies.grpc-hygiene.io";

async fn definition(world: &World) -> Option<CustomResourceDefinition> {
    let api: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    api.get_opt(DEFINITION).await.expect("definitions")
}

fn uninstall(world: &World) {
    let mut helm = world.tool("helm");
    helm.args(["uninstall", "grpc-hygiene", "--namespace", HOME, "--wait", "--timeout", "3m"]);
    let output = helm.output().expect("helm starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn uninstalling_removes_the_annotations_and_keeps_the_definitions_as_configured() {
    let world = World::with_operator().await;
    let shop = Shop::open(world.clone(), "e2e-uninstall").await;
    shop.deploy(&[Client::plain("orders-leaky", 1)]).await;
    shop.policy(json!({"mode": "Enforce", "remediation": {"annotate": {}}})).await;
    let deployments = &shop.api::<Deployment>();
    let marked = || async {
        let deployment = deployments.get("orders-leaky").await.map_err(|it| it.to_string())?;
        let pods = shop.pods("orders-leaky").await;
        let all = !marks(&deployment).is_empty() && pods.iter().all(|it| !marks(it).is_empty());
        if all { Ok(()) } else { Err("not all annotated".to_owned()) }
    };
    world.eventually(&shop.namespace, DETECTION, "pod and workload are annotated", marked).await;

    // The last moment with everything that was done in the log and every role in the cluster.
    rights::are_those_that_were_used(&world).await;
    secrets::are_nowhere(&world).await;

    uninstall(&world);
    let deployment = deployments.get("orders-leaky").await.expect("the deployment");
    assert!(marks(&deployment).is_empty(), "{:?}", marks(&deployment));
    for pod in shop.pods("orders-leaky").await {
        assert!(marks(&pod).is_empty(), "{:?}", marks(&pod));
    }
    assert!(definition(&world).await.is_some(), "crds.keep is true unless configured");
    shop.status().await.expect("the policy is kept with its definition");
    shop.remove().await;

    world.install(&["crds.keep=false"]).await;
    uninstall(&world);
    let gone = || async { definition(&world).await.map_or(Ok(()), |_| Err("the definition is there".to_owned())) };
    world.eventually(&shop.namespace, SOON, "the definitions went with the release", gone).await;
}
