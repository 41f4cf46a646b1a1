//! The soak: twenty tenants on a real cluster for hours, one disturbance a minute, and limits that bind. `make soak` runs
//! it on a cluster that is up, with nobody else on it; docs/safety.md says what it found.
//!
//! Half of the tenants leak. What the operator stands on, and the operator itself, is killed, stopped, emptied and cut off
//! at random ([`disturb`]); in the last third the operator itself is left alone, so that its memory can be told. Every 15 s it
//! is looked at what there is ([`watch`]), and every minute what was written is held against the promises ([`judge`]): a
//! promise that is broken is said at once and counted, and the test fails at the end, when all figures are there.
//!
//! It is the operator as the chart installs it, with its usual image; only the limits are narrower, and a storm is over
//! after a minute. Cut off is a pod from the API server, by a rule in the pod's own network namespace. What it does not
//! do: disturb the API server or etcd, for by their log and clock all else is judged; lose a node, for there is one; change
//! clocks, for a host has one. An end by a signal undoes nothing; a panic undoes all.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures::future::join_all;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{ResourceExt, api::ListParams};
use serde_json::json;

use super::{
    random::Random,
    shop::{Client, Shop, marks},
    world::{DETECTION, QUIET, World},
};

#[path = "soak/disturb.rs"]
mod disturb;
#[path = "soak/judge.rs"]
mod judge;
#[path = "soak/memory.rs"]
mod memory;
#[path = "soak/watch.rs"]
mod watch;

use disturb::Disturbances;
use watch::Watch;

const TENANTS: usize = 20;
/// So many are opened at once.
const AT_ONCE: usize = 4;
const MINUTE: Duration = Duration::from_secs(60);
const LEAKY: &str = "orders-leaky";
const COOLDOWN: Duration = Duration::from_secs(180);
const DAY: Duration = Duration::from_secs(86_400);
/// Restarts in a namespace and in the cluster, and in which time: fewer than the tenants would need.
const IN_A_NAMESPACE: usize = 2;
const IN_THE_CLUSTER: usize = 8;
const WINDOW: Duration = Duration::from_secs(600);
/// A namespace, and what is in it.
#[derive(Clone, Debug)]
struct Tenant {
    namespace: String,
    leaks: bool,
    /// Restarts in a day: few of a third of them, so that this limit binds, too.
    per_day: usize,
    good: Client,
}

/// The limits as the chart takes them. A storm would otherwise hold everything back for a quarter of an hour whenever
/// Prometheus is emptied; and a summary in place of the alerts would hide whose alert is missing.
fn settings() -> [String; 6] {
    let window = WINDOW.as_secs();
    [
        format!("limits.namespace.restarts={IN_A_NAMESPACE}"),
        format!("limits.namespace.window={window}s"),
        format!("limits.cluster.restarts={IN_THE_CLUSTER}"),
        format!("limits.cluster.window={window}s"),
        "limits.storm.calm=1m".to_owned(),
        "alerts.collapse.count=0".to_owned(),
    ]
}

fn tenants() -> Vec<Tenant> {
    let tenant = |index: usize| Tenant {
        namespace: format!("e2e-soak-{index:02}"),
        leaks: index.is_multiple_of(2),
        per_day: if index.is_multiple_of(3) { 3 } else { 100 },
        good: match index % 4 {
            0 | 1 => Client::one("orders-fixed", "orders-fixed", "1.85", &["--rate=5"]),
            _ => Client::one("pool", "pool", "1.85", &["--rate=5"]),
        },
    };
    (0..TENANTS).map(tenant).collect()
}

impl Tenant {
    /// A fresh namespace with a server, the good one, and perhaps the leaking one. Its memory is small, for there are many.
    async fn open(&self, world: World) -> Shop {
        let shop = Shop::open(world, &self.namespace).await;
        let leaky = Client { replicas: 2, ..Client::one(LEAKY, LEAKY, "1.85", &["--rate=5"]) };
        let leaky = Client { memory_limit: Some("128Mi"), ..leaky };
        let clients = if self.leaks { vec![self.good.clone(), leaky] } else { vec![self.good.clone()] };
        shop.deploy(&clients).await;
        shop.policy(json!({"mode": "Enforce", "remediation": {"annotate": {}, "alert": {"after": "0s"}, "restart": {
            "after": "10s", "method": "Evict", "cooldown": format!("{}s", COOLDOWN.as_secs()), "maxPerDay": self.per_day}}}))
            .await;
        shop
    }
}

/// Takes back what the soak has made, also when it fails: that much leaks on, and other tests have other limits.
struct Undo(World);

impl Drop for Undo {
    fn drop(&mut self) {
        let mut kubectl = self.0.tool("kubectl");
        kubectl.args(["delete", "namespace", "--ignore-not-found", "--wait=false"]);
        kubectl.args(tenants().iter().map(|it| it.namespace.as_str()));
        let deleted = kubectl.output().is_ok_and(|it| it.status.success());
        let limits = self.0.upgrade(&[]);
        if !deleted || limits.is_err() {
            println!("soak: not all is as it was: namespaces deleted: {deleted}, usual limits: {limits:?}");
        }
    }
}

/// The minutes that `SOAK_MINUTES` asks for.
fn minutes(asked: Option<&str>) -> Result<u64, String> {
    let asked = asked.ok_or("SOAK_MINUTES is not set: how many minutes? `make soak SOAK_MINUTES=10`")?;
    let minutes = asked.trim().parse().ok().filter(|it| (3..=1_440).contains(it));
    minutes.ok_or_else(|| format!("SOAK_MINUTES={asked}: it must be a whole number of minutes, 3 to 1440"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster for hours: make soak"]
async fn for_hours_of_disturbances_no_limit_is_overrun_no_good_one_touched_and_no_alert_lost() {
    let minutes = minutes(std::env::var("SOAK_MINUTES").ok().as_deref()).unwrap_or_else(|said| panic!("{said}"));
    let mut random = Random::seeded();
    let world = World::new().await;
    let alone = QUIET.write().await;
    let undo = Undo(world.clone());
    world.install(&settings().each_ref().map(String::as_str)).await;
    let watch = Watch::begin(world.clone(), tenants());
    let shops = open(&world).await;
    let good = good_pods(&shops).await;
    watch.told(&shops).await;

    let mut disturbances = Disturbances::default();
    let began = Instant::now();
    for minute in 1..=minutes {
        let operator_is_left_alone = minute * 3 > minutes * 2;
        let kind = disturbances.choose(&mut random, minute, operator_is_left_alone);
        let what = format!("minute {minute} of {minutes} is over");
        let end = MINUTE * u32::try_from(minute).expect("minutes of a day");
        // Both, at the same time: the watching ends with the minute.
        let ((), ()) = tokio::join!(disturb::strike(&world, kind, &mut random), watch.until(began, end, &what));
        println!("soak: minute {minute} of {minutes}: {}; {}", kind.name(), watch.progress().await);
    }
    let verdict = watch.settled().await.and(good_at_the_end(&shops, &good).await);
    println!("{}", verdict.table(minutes, &disturbances));
    drop((undo, alone));
    verdict.assert_kept(minutes);
}

/// Opens the tenants, a few at a time.
async fn open(world: &World) -> Vec<Shop> {
    let mut shops = Vec::new();
    for some in tenants().chunks(AT_ONCE) {
        shops.extend(join_all(some.iter().map(|it| it.open(world.clone()))).await);
    }
    shops
}

/// The pods that do not leak, by their UID.
async fn good_pods(shops: &[Shop]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for shop in shops {
        let pods = shop.api::<Pod>().list(&ListParams::default()).await.expect("pods").items;
        all.extend(pods.iter().filter(|it| !it.name_any().starts_with(LEAKY)).filter_map(ResourceExt::uid));
    }
    all
}

/// What has become of the good ones: each is there, and none carries a mark, nor does its workload.
async fn good_at_the_end(shops: &[Shop], before: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let now = good_pods(shops).await;
    wrong.extend(before.difference(&now).map(|uid| format!("the pod {uid} did not leak, and is gone")));
    for shop in shops {
        let pods = shop.api::<Pod>().list(&ListParams::default()).await.expect("pods").items;
        let deployments = shop.api::<Deployment>().list(&ListParams::default()).await.expect("deployments").items;
        let marked = pods.iter().filter(|it| !marks(*it).is_empty()).map(ResourceExt::name_any);
        let marked = marked.chain(deployments.iter().filter(|it| !marks(*it).is_empty()).map(ResourceExt::name_any));
        let good = marked.filter(|it| !it.starts_with(LEAKY));
        wrong.extend(good.map(|it| format!("{}/{it} does not leak, and is annotated", shop.namespace)));
    }
    wrong
}

#[test]
fn a_number_of_minutes_that_is_none_is_refused_with_a_sentence() {
    assert_eq!(minutes(Some(" 120 ")), Ok(120));
    for nonsense in [None, Some(""), Some("two"), Some("0"), Some("-5"), Some("1h"), Some("1441")] {
        assert!(minutes(nonsense).is_err_and(|it| it.contains("SOAK_MINUTES")), "{nonsense:?}");
    }
}
