//! Metrics are claims: a pod whose scrape honours labels tells of connections that leak in the name of others. Nobody is
//! restarted for it, whether the victim has metrics of its own or none, while a real leak beside it is acted upon.

use std::time::Duration;

use grpc_hygiene::api::{GrpcClientPolicyStatus, Offender};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ObjectMeta, PostParams},
};
use serde_json::json;

use super::super::{
    shop::{Client, step},
    world::{QUIET, SOON, World},
};
use super::{LEAKY, NOW, Scene, enforced, leaky};

const EVIL: &str = "e2e-chaos-claims-evil";
/// A victim with metrics of its own, and one that exposes none.
const VICTIMS: [&str; 2] = ["orders-fixed", "fixed-silent"];
/// So long the claims stand before it is asked who was believed: as long as a real leak takes to be found, and more.
const CLAIMED: Duration = Duration::from_secs(180);

/// Serves a page of claims about every victim, by the clock: five connections and five attempts a second.
fn liar(victims: &[(String, String)]) -> Pod {
    let mut lines = String::new();
    for (pod, address) in victims {
        for (metric, value) in [
            ("grpc_subchannel_open_connections", "$n"),
            ("grpc_subchannel_connection_attempts_succeeded_total", "$n"),
            ("grpc_client_attempt_started_total", "$n"),
            ("process_open_fds", "$n"),
            ("go_goroutines", "$((n * 3))"),
        ] {
            let labels = format!(
                r#"namespace=\"e2e-chaos-claims\",pod=\"{pod}\",container=\"shop\",instance=\"{address}:8080\""#
            );
            lines += &format!("echo \"{metric}{{{labels}}} {value}\"; ");
        }
    }
    let script = format!(
        "mkdir /tmp/page; began=$(date +%s); httpd -p 8080 -h /tmp/page; while true; do \
         n=$((($(date +%s) - began) * 5)); {{ {lines} }} >/tmp/page/new; mv /tmp/page/new /tmp/page/metrics; sleep 1; done"
    );
    serde_json::from_value(json!({
        "metadata": {"name": "liar", "annotations": {"grpc-hygiene-test/honor-labels": "true"}},
        "spec": {"terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false, "containers": [{
            "name": "liar", "image": "localhost/toolbox:local", "imagePullPolicy": "Never",
            "command": ["sh", "-c", script], "ports": [{"containerPort": 8080}],
        }]},
    }))
    .expect("a pod")
}

async fn begin_to_lie(world: &World, victims: &[(String, String)]) {
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    stop_lying(world).await;
    let metadata = ObjectMeta { name: Some(EVIL.to_owned()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    namespaces.create(&PostParams::default(), &namespace).await.expect("a namespace");
    let pods: &Api<Pod> = &Api::namespaced(world.client.clone(), EVIL);
    let made = || async { pods.create(&PostParams::default(), &liar(victims)).await.map_err(|it| it.to_string()) };
    world.eventually(EVIL, SOON, "the liar is made", made).await;
}

async fn stop_lying(world: &World) {
    let namespaces: &Api<Namespace> = &Api::all(world.client.clone());
    if namespaces.get_opt(EVIL).await.expect("namespaces").is_some() {
        namespaces.delete(EVIL, &DeleteParams::default()).await.expect("deleted");
    }
    let gone = || async {
        let found = namespaces.get_opt(EVIL).await.map_err(|it| it.to_string())?;
        found.map_or(Ok(()), |_| Err("it is there".to_owned()))
    };
    world.eventually(EVIL, SOON, "the liar is gone", gone).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn nobody_is_restarted_for_what_a_stranger_claims_in_his_name() {
    let undisturbed = QUIET.read().await;
    let scene = Scene::open("e2e-chaos-claims").await;
    let (shop, world) = (&scene.shop, &scene.shop.world);
    shop.deploy(&[
        Client { replicas: 2, ..Client::one("orders-fixed", "orders-fixed", "1.85", &["--rate=5"]) },
        Client { replicas: 2, ..Client::one("fixed-silent", "orders-fixed", "1.85", &["--rate=5", "--metrics=none"]) },
        leaky(2),
    ])
    .await;
    let mut victims = Vec::new();
    for pod in [shop.pods(VICTIMS[0]).await, shop.pods(VICTIMS[1]).await].concat() {
        let address = pod.status.as_ref().and_then(|it| it.pod_ip.clone()).expect("an address");
        victims.push((pod.name_any(), address));
    }
    begin_to_lie(world, &victims).await;
    shop.policy(enforced(NOW)).await;
    claims_arrive(world, &victims[0].0).await;

    scene.more_evicted_than(0).await;
    scene.evaluated_for(CLAIMED).await;
    let evicted = scene.evicted();
    let blamed: Vec<&String> = evicted.iter().filter(|it| !it.starts_with(LEAKY)).collect();
    assert_eq!(blamed, [""; 0], "restarted on a stranger's word");
    held_back(&shop.status().await.expect("a status"));
    for victim in VICTIMS {
        let deployment = shop.api::<Deployment>().get(victim).await.expect("the deployment");
        let template = deployment.spec.and_then(|it| it.template.metadata).and_then(|it| it.annotations);
        let rolled_out = template.unwrap_or_default().contains_key("kubectl.kubernetes.io/restartedAt");
        assert!(!rolled_out, "{victim} was rolled out instead");
    }
    scene.assert_accounted_for().await;
    stop_lying(world).await;
    shop.remove().await;
    drop(undisturbed);
}

/// The victim without metrics of its own is suspected, which alerts people; what holds its restart back is named. Of the
/// other there are two stories, and none is believed.
fn held_back(status: &GrpcClientPolicyStatus) {
    let of = |name: &'static str| {
        let is = move |it: &&Offender| it.workload.as_ref().is_some_and(|it| it.name == name);
        status.offenders.iter().filter(is).filter_map(|it| step(it, "Restart"))
    };
    let because: Vec<Option<String>> = of(VICTIMS[1]).map(|(_, because)| because).collect();
    println!("{EVIL}: {} is suspected, and not restarted because of {because:?}", VICTIMS[1]);
    assert!(because.iter().all(Option::is_some), "{because:?}");
    assert_eq!(of(VICTIMS[0]).count(), 0, "{:?}", status.offenders);
}

/// A scenario in which nobody hears the liar would prove nothing.
async fn claims_arrive(world: &World, victim: &str) {
    let query = format!("grpc_subchannel_open_connections%7Bjob%3D%22honoring%22%2Cpod%3D%22{victim}%22%7D");
    let path = format!("/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1/query?query={query}");
    let heard = || async {
        let page = super::pages::page(world, &path).await?;
        if page.contains(victim) { Ok(()) } else { Err(page) }
    };
    world.eventually(EVIL, 2 * SOON, "Prometheus has the claims", heard).await;
}
