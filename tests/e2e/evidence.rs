//! Evidence first: the alert of a leak carries the three lines of code with every version of grpc-go, the profile is
//! stored before the pod is evicted and opens in `go tool pprof` when the pod is gone; and where no profile can be had
//! and one is required, the restart is held back until memory is about to run out.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use grpc_hygiene::api::{GrpcClientPolicyStatus, ProfileRecord, RemediationState};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

use super::{
    audit::evicted,
    pages,
    shop::{Client, Shop, step},
    world::{DETECTION, HOME, QUIET, SOON, World, cluster_dir},
};

/// The functions that dial per call, with the file and the line of the call.
const LEAKS: [&str; 3] =
    ["GetUser (handlers/orders.go:47)", "ReserveStock (handlers/orders.go:63)", "notify (handlers/orders.go:79)"];
/// Memory is full after a quarter of an hour.
const LAST_MOMENT: Duration = Duration::from_secs(15 * 60);

/// Each leaks 4.5 channels a second. At the usual rate that is one sample a minute for each of the three sites (the profiles
/// in `tests/profiles` are of that rate); here the heap is sampled 16 times as finely.
fn clients() -> [Client; 3] {
    const MIDDLEWARE: &[&str] = &["--metrics=middleware"];
    let client = |name, version, arguments| Client {
        sampled_in: Some(32_768),
        ..Client::one(name, "orders-leaky", version, arguments)
    };
    [
        client("orders-145", "1.45", MIDDLEWARE),
        client("orders-175", "1.75", MIDDLEWARE),
        client("orders-185", "1.85", &[]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn the_alert_names_the_lines_and_the_profile_outlives_the_pod() {
    let world = World::with_operator().await;
    let undisturbed = QUIET.read().await;
    let (began, shop) = (Timestamp::now().to_string(), Shop::open(world, "e2e-evidence").await);
    shop.deploy(&clients()).await;
    shop.policy(json!({"mode": "Enforce", "profiles": {"port": "http"}, "remediation": {
        "annotate": {}, "alert": {"after": "0s"},
        "restart": {"after": "10s", "method": "Evict", "allowSingleReplica": true, "cooldown": "1m",
            "evidence": "Required"}}}))
        .await;

    for client in clients() {
        let (world, namespace) = (&shop.world, shop.namespace.as_str());
        let named = || async move {
            let alerts = pages::alerts(world, 0, namespace).await?;
            let alert = alerts.into_iter().find(|it| it["labels"]["workload"] == client.name);
            let sites = alert.map(|it| it["annotations"]["sites"].as_str().unwrap_or_default().to_owned());
            sites.filter(|it| it.matches(".go:").count() == 3).ok_or_else(|| "no alert with three sites yet".to_owned())
        };
        let sites = world.eventually(namespace, DETECTION, client.name, named).await;
        assert_names_exactly_the_leaks(&sites);
    }
    let profiles = |it: &GrpcClientPolicyStatus| clients().iter().all(|client| profile_of(it, client.name).is_some());
    let status = shop.wait(SOON, "a profile of each is stored", profiles).await;
    let gone = shop.evicted(&began, 2, DETECTION, "pods are evicted").await;
    let port = Forward::to_the_leader(&shop.world).await;
    for pod in gone {
        let stored = status.profiles.iter().find(|it| it.pod == pod && it.file.is_some());
        let file = stored
            .and_then(|it| it.file.clone())
            .unwrap_or_else(|| panic!("{pod} was evicted without a profile: {status:?}"));
        assert_opens_in_pprof(&format!("http://127.0.0.1:{}/profiles/{file}", port.number));
    }
    drop(undisturbed);
    shop.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn without_the_profile_that_is_required_a_restart_waits_for_the_last_moment_and_says_so() {
    let world = World::with_operator().await;
    let undisturbed = QUIET.read().await;
    let (began, shop) = (Timestamp::now().to_string(), Shop::open(world, "e2e-no-evidence").await);
    // Nobody listens on port 9 of the pod.
    shop.deploy(&[Client::one("orders-leaky", "orders-leaky", "1.45", &["--metrics=middleware"])]).await;
    shop.policy(json!({"mode": "Enforce", "profiles": {"port": 9}, "remediation": {
        "annotate": {}, "alert": {"after": "0s"},
        "restart": {"after": "10s", "method": "Evict", "allowSingleReplica": true, "cooldown": "1m",
            "evidence": "Required"}}}))
        .await;

    let held = |it: &GrpcClientPolicyStatus| {
        let waits = |it| step(it, "Restart") == Some((RemediationState::Withheld, Some("NoEvidence".into())));
        it.offenders.iter().any(waits)
    };
    let status = shop.wait(DETECTION, "the restart waits for evidence", held).await;
    let said = status.offenders.iter().flat_map(|it| &it.remediations).filter_map(|it| it.message.as_deref());
    let said: Vec<&str> = said.collect();
    assert!(said.iter().any(|it| it.contains("refused") && it.contains("about to run out")), "{said:?}");
    assert!(status.profiles.iter().all(|it| it.file.is_none()), "{:?}", status.profiles);
    assert_eq!(evicted(&shop.namespace, &began), [""; 0], "it is held back");
    let restarts = |pods: &[k8s_openapi::api::core::v1::Pod]| -> i32 {
        let statuses = pods.iter().filter_map(|it| it.status.as_ref()?.container_statuses.as_ref());
        statuses.flatten().map(|it| it.restart_count).sum()
    };
    let last_moment = || async {
        assert_eq!(restarts(&shop.pods("orders-leaky").await), 0, "memory ran out first");
        let gone = evicted(&shop.namespace, &began);
        if gone.is_empty() { Err("not yet evicted".to_owned()) } else { Ok(()) }
    };
    shop.world.eventually(&shop.namespace, LAST_MOMENT, "it is restarted in time all the same", last_moment).await;
    drop(undisturbed);
    shop.remove().await;
}

fn assert_names_exactly_the_leaks(sites: &str) {
    let missing: Vec<_> = LEAKS.iter().filter(|it| !sites.contains(**it)).collect();
    assert!(missing.is_empty() && sites.matches(".go:").count() == 3, "{missing:?} in {sites}");
}

/// The stored profile of a deployment's pod, if it names the three lines.
fn profile_of<'a>(status: &'a GrpcClientPolicyStatus, deployment: &str) -> Option<&'a ProfileRecord> {
    let names = |it: &&ProfileRecord| it.pod.starts_with(deployment) && it.file.is_some() && it.sites.len() == 3;
    status.profiles.iter().find(names)
}

/// `kubectl port-forward` to the leader's loopback port, as people do it.
struct Forward {
    child: Child,
    /// It writes on, and ends when nobody reads.
    _said: BufReader<ChildStdout>,
    number: u16,
}

impl Forward {
    /// Only who evaluates has profiles.
    async fn to_the_leader(world: &World) -> Self {
        let leader = world.leader().await.expect("a leader").name_any();
        let mut kubectl = world.tool("kubectl");
        kubectl.args(["--namespace", HOME, "port-forward", &format!("pod/{leader}"), ":8081"]);
        let mut child = kubectl.stdout(Stdio::piped()).spawn().expect("kubectl starts");
        let (mut line, mut said) = (String::new(), BufReader::new(child.stdout.take().expect("piped")));
        said.read_line(&mut line).expect("kubectl says the port");
        let number = line.split("127.0.0.1:").nth(1).and_then(|it| it.split(' ').next()).and_then(|it| it.parse().ok());
        Self { child, _said: said, number: number.unwrap_or_else(|| panic!("kubectl port-forward said {line:?}")) }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn assert_opens_in_pprof(url: &str) {
    let mut pprof = Command::new("go");
    // Downloads are kept with the rest of the cluster's files.
    pprof.args(["tool", "pprof", "-sample_index=inuse_space", "-top", "-cum", url]).env("PPROF_TMPDIR", cluster_dir());
    let said = pprof.output().expect("go is installed");
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && text.contains("handlers.(*Orders).GetUser"), "{url}: {said:?}");
}
