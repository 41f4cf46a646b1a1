//! A library that brings its own channels: a real etcd and a client that is shared are healthy, with keepalive settings
//! that are used in earnest; who makes a client per call is found, and the line that makes it is named.

use grpc_hygiene::api::{GrpcClientPolicyStatus, ProfileRecord};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{
    detection::judged,
    pages,
    shop::{Client, Shop, diagnoses, is},
    world::{DETECTION, QUIET, SOON, World, repository},
};

const LEAKY: &str = "locks-leaky";
/// What the profile may be wrong by, having some 80 samples.
const TOLERANCE: f64 = 0.25;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn etcd_and_a_shared_client_are_healthy_and_the_line_that_makes_a_client_per_call_is_named() {
    let world = World::with_operator().await;
    let undisturbed = QUIET.read().await;
    let shop = Shop::open_with(world, "e2e-etcd", Client::plain("etcd", 1)).await;
    shop.deploy(&[Client::plain("locks-shared", 1)]).await;
    shop.policy(json!({"mode": "Enforce", "profiles": {"port": "http"},
        // What the clients set is what kube-apiserver sets for its etcd.
        "keepalive": {"client": {"preset": "kube-apiserver"}, "server": {"preset": "etcd"}},
        "remediation": {"annotate": {}, "alert": {"after": "0s"}}}))
        .await;
    let healthy = |it: &GrpcClientPolicyStatus| {
        assert!(it.offenders.is_empty(), "{:?}", it.offenders);
        it.counts.as_ref().is_some_and(|it| (it.targets, it.healthy) == (2, 2))
    };
    let status = shop.wait(DETECTION, "etcd and its client are healthy", healthy).await;
    assert!(is(&status, "KeepaliveAgreed", "True"), "{:?}", status.conditions);
    for (signal, source) in [("CallsServed", "GoGrpcMiddleware"), ("OpenConnections", "OpenTelemetry")] {
        let read = status.sources.iter().any(|it| it.signal == signal && it.source == source);
        assert!(read, "{signal} tells of one of them: {:?}", status.sources);
    }

    shop.deploy(&[Client::plain(LEAKY, 1)]).await;
    let sites = alerted(&shop).await;
    let line = format!("main.(*store).Acquire (locks/main.go:{}) holds ", line_of_the_leak());
    assert!(sites.starts_with(&line) && sites.matches(".go:").count() == 1, "{line:?} in {sites:?}");
    let stored = |it: &GrpcClientPolicyStatus| it.profiles.iter().any(|it| it.file.is_some() && it.sites.len() == 1);
    let status = shop.wait(SOON, "its profile is stored", stored).await;
    let profile = status.profiles.iter().find(|it| it.sites.len() == 1).expect("it was there");
    assert_counts_a_channel_a_second(profile, &shop.pods(LEAKY).await);

    judged(&shop, &["locks-shared"], &["Healthy"]).await;
    // Its sockets rise, which is its client's doing.
    judged(&shop, &["etcd"], &["Inconclusive DirectionUnknown"]).await;
    assert_was_never_cut_off(&shop).await;
    drop(undisturbed);
    shop.remove().await;
}

/// The sites in the alert about the leaky client. Fails at once when somebody else is blamed.
async fn alerted(shop: &Shop) -> String {
    let named = || async {
        let blamed = diagnoses(&shop.status().await?);
        let leaks = |names: &Vec<String>| names.iter().all(|it| it == "ConnectionLeak");
        assert!(blamed.iter().all(|(who, what)| who == LEAKY && leaks(what)), "{blamed:?}");
        let alerts: Vec<Value> = pages::alerts(&shop.world, 0, &shop.namespace).await?;
        let sites = alerts.iter().find_map(|it| it["annotations"]["sites"].as_str());
        sites.map(str::to_owned).ok_or_else(|| format!("no alert with a site yet: {alerts:?}"))
    };
    shop.world.eventually(&shop.namespace, DETECTION, "the alert names the site", named).await
}

/// By now the shared client has pinged often enough for a server that does not permit it to have closed its connection.
async fn assert_was_never_cut_off(shop: &Shop) {
    let name = shop.pods("locks-shared").await[0].metadata.name.clone().expect("a name");
    let path = format!("/api/v1/namespaces/{}/pods/{name}:8080/proxy/metrics", shop.namespace);
    let page = pages::page(&shop.world, &path).await.expect("its metrics");
    let of = |metric: &str| -> Vec<&str> { page.lines().filter(|it| it.starts_with(metric)).collect() };
    let opened = of("grpc_subchannel_connection_attempts_succeeded_total{");
    assert!(matches!(opened.as_slice(), [one] if one.ends_with(" 1")), "{opened:?}");
    assert_eq!(of("grpc_subchannel_disconnections_total{"), [""; 0]);
}

/// The line in the client's source on which it makes a client per call.
fn line_of_the_leak() -> usize {
    let path = repository().join("tests/workloads/locks/main.go");
    let source = std::fs::read_to_string(&path).expect("the source of locks");
    let leaks = |it: &&(usize, &str)| it.1.contains("clientv3.New(") && it.1.contains("this is the leak");
    let lines: Vec<_> = source.lines().enumerate().collect();
    lines.iter().find(leaks).expect("the leak is marked").0 + 1
}

/// It makes a client a second: so many are there as its container was seconds old when the profile was taken.
fn assert_counts_a_channel_a_second(profile: &ProfileRecord, pods: &[Pod]) {
    let containers = pods.iter().filter_map(|it| it.status.as_ref()?.container_statuses.as_ref()).flatten();
    let started = containers.filter_map(|it| it.state.as_ref()?.running.as_ref()?.started_at.as_ref()).next();
    let started: Timestamp = started.expect("it runs").0;
    let made = profile.taken_at.0.duration_since(started).as_secs_f64();
    let held = profile.sites[0].channels;
    println!("{held} channels of about {made:.0} are seen in the profile");
    assert!((held / made - 1.0).abs() <= TOLERANCE, "{made} seconds: {profile:?}");
}
