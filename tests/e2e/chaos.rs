//! Chaos on a real cluster: what the operator stands on is stopped, emptied, revoked, hung or lied to while restarts are
//! due, and the audit log, the ledger and the pods say what came of it. Two replicas of the operator run throughout.
//!
//! This file is what the scenarios share; each has a file of its own. They leak at the same time, and then take turns:
//! who disturbs the operator alone holds [`TURN`], who takes from everybody what they are judged by holds
//! [`super::world::QUIET`] to write.

use std::{collections::BTreeSet, time::Duration};

use grpc_hygiene::{
    api::{GrpcClientPolicyStatus, RemediationState},
    io::ledger::NAME,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::sync::{Mutex, RwLock};

use super::{
    audit::evicted,
    pages,
    shop::{Client, POLICY, Shop, step},
    world::{DETECTION, SOON, World, entries},
};

#[path = "chaos/alertmanager.rs"]
mod alertmanager;
#[path = "chaos/api_server.rs"]
mod api_server;
#[path = "chaos/budgets.rs"]
mod budgets;
#[path = "chaos/claims.rs"]
mod claims;
#[path = "chaos/hanging.rs"]
mod hanging;
#[path = "chaos/ledger.rs"]
mod ledger;
#[path = "chaos/namesake.rs"]
mod namesake;
#[path = "chaos/prometheus.rs"]
mod prometheus;
#[path = "chaos/reverted.rs"]
mod reverted;
#[path = "chaos/revoked.rs"]
mod revoked;
#[path = "chaos/rollout.rs"]
mod rollout;
#[path = "chaos/stopped.rs"]
mod stopped;
#[path = "chaos/webhook.rs"]
mod webhook;

/// Held by whoever disturbs the operator, but takes nothing away that others are judged by: they are only delayed.
static TURN: Mutex<()> = Mutex::const_new(());
/// Held to read by whoever is still to be judged by what Prometheus has; to write by the one who empties it, after all.
static MEASURED: RwLock<()> = RwLock::const_new(());
/// A restart that never becomes due.
const NEVER: &str = "7d";
/// A restart that is due when the leak is found.
const NOW: &str = "1s";
/// What most scenarios are about.
const LEAKY: &str = "orders-leaky";

/// Restarts become due after a time; whatever holds them back then is the scenario's doing.
fn remediation(after: &str) -> Value {
    json!({"annotate": {}, "alert": {"after": "0s"},
        "restart": {"after": after, "method": "Evict", "cooldown": "1m", "maxPerDay": 100}})
}

fn enforced(after: &str) -> Value {
    json!({"mode": "Enforce", "remediation": remediation(after)})
}

/// So many leaking pods. There are many at once, so each leaks at a third of the usual rate.
fn leaky(replicas: i32) -> Client {
    Client { replicas, ..Client::one(LEAKY, LEAKY, "1.85", &["--rate=5"]) }
}

/// A scenario whose leak has been found and told, with no restart due.
struct Scene {
    shop: Shop,
    /// When it began, as the audit log has it.
    began: String,
}

impl Scene {
    /// A shop of its own with so many leaking pods.
    async fn leaking(namespace: &str, replicas: i32) -> Self {
        let scene = Self::open(namespace).await;
        scene.shop.deploy(&[leaky(replicas)]).await;
        scene.shop.policy(enforced(NEVER)).await;
        scene.found(usize::try_from(replicas).expect("a few")).await;
        scene
    }

    async fn open(namespace: &str) -> Self {
        let world = World::with_operator().await;
        let began = Timestamp::now().to_string();
        Self { shop: Shop::open(world, namespace).await, began }
    }

    /// Waits until so many offend, and people have heard.
    async fn found(&self, offenders: usize) {
        let all = |it: &GrpcClientPolicyStatus| it.offenders.len() >= offenders && !it.alerts.is_empty();
        self.shop.wait(DETECTION, "the leak is found and told", all).await;
    }

    /// Makes restarts due.
    fn make_due(&self) {
        self.change(&json!({"spec": enforced(NOW)}));
    }

    /// Changes the policy.
    fn change(&self, patch: &Value) {
        let patch = patch.to_string();
        let namespace = ["--namespace", self.shop.namespace.as_str()];
        let arguments = ["patch", "gcpol", POLICY, "--type", "merge", "--patch", &patch];
        self.shop.world.kubectl(&[&arguments, &namespace[..]].concat());
    }

    /// The pods that were evicted, in this order.
    fn evicted(&self) -> Vec<String> {
        evicted(&self.shop.namespace, &self.began)
    }

    /// Waits until somebody's restart is held back, or was refused, for this reason, and returns what is said about it.
    async fn withheld(&self, because: &str) -> String {
        let what = format!("restarts are held back: {because}");
        let is = |it: &GrpcClientPolicyStatus| said(it, because).is_some();
        let status = self.shop.wait(2 * SOON, &what, is).await;
        said(&status, because).expect("it was said")
    }

    /// Waits until more than so many pods were evicted.
    async fn more_evicted_than(&self, before: usize) -> Vec<String> {
        self.shop.evicted(&self.began, before + 1, DETECTION, "a pod is evicted").await
    }

    /// Waits until the policy was evaluated for so long, whoever leads.
    async fn evaluated_for(&self, time: Duration) {
        let policy = format!("{}/{POLICY}", self.shop.namespace);
        let from = Timestamp::now().as_second() as f64;
        let later = || async {
            let last = pages::last_evaluation(&self.shop.world, &policy).await?;
            if last >= from + time.as_secs_f64() { Ok(()) } else { Err(format!("the last evaluation is at {last}")) }
        };
        let what = format!("it was evaluated for {time:?}");
        self.shop.world.eventually(&self.shop.namespace, time + 2 * SOON, &what, later).await;
    }

    /// Waits until the ledger is settled, and asserts that it tells every eviction and no other.
    async fn assert_accounted_for(&self) {
        let ledgers = &self.shop.world.ledgers();
        let settled = || async {
            let ledger = ledgers.get_opt(NAME).await.map_err(|it| it.to_string())?;
            let entries = entries(ledger.as_ref(), &self.shop.namespace);
            let open = entries.iter().filter(|it| it["state"] != "Confirmed").count();
            if open == 0 { Ok(entries) } else { Err(format!("{entries:?}")) }
        };
        let entries =
            self.shop.world.eventually(&self.shop.namespace, 2 * SOON, "the ledger is settled", settled).await;
        let written: BTreeSet<&str> = entries.iter().filter_map(|it| it["object"]["name"].as_str()).collect();
        let evicted = self.evicted();
        let done: BTreeSet<&str> = evicted.iter().map(String::as_str).collect();
        assert_eq!((written, entries.len()), (done, evicted.len()), "ledger {entries:?}, audit log {evicted:?}");
        super::killed::cooled_down(&entries);
    }
}

/// What is said about a restart that was not made for this reason.
fn said(status: &GrpcClientPolicyStatus, because: &str) -> Option<String> {
    let is = |it: &&grpc_hygiene::api::Offender| {
        step(it, "Restart").is_some_and(|(state, why)| {
            matches!(state, RemediationState::Withheld | RemediationState::Failed) && why.as_deref() == Some(because)
        })
    };
    let offender = status.offenders.iter().find(is)?;
    let restart = offender.remediations.iter().find(|it| it.remediation == "Restart")?;
    Some(restart.message.clone().unwrap_or_default())
}

/// How often the containers of each of the operator's pods were started again.
async fn restarts(world: &World) -> Result<Vec<(String, i32)>, String> {
    let pods = world.operators().await?;
    let count = |it: &Pod| {
        let statuses = it.status.as_ref().and_then(|it| it.container_statuses.as_ref());
        statuses.into_iter().flatten().map(|it| it.restart_count).sum()
    };
    Ok(pods.iter().map(|it| (it.name_any(), count(it))).collect())
}
