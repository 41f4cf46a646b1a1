//! Each diagnosis on real programs, with every version of grpc-go that shows it, and none of the healthy
//! ones blamed. Dialling per call, churn and leaks seen by sockets alone are in `detection.rs`.
//!
//! What is not here, because the library does not say it (gRFC A94's connection metrics came with grpc-go 1.78):
//!
//! - `KeepaliveRejected` and `TargetUnreachable` with 1.45 and 1.75: there is no metric of rejected connections nor of
//!   failed attempts; only their logs tell. With an unreachable target they must still not be blamed for a leak.
//! - `ConnectionChurn` with 1.45 and 1.75: nothing counts opened connections, and one socket more or less is no trend.
//! - `IdleChannelResidue` with 1.45: `WithIdleTimeout` came with 1.56. When the server closes idle connections
//!   (`--max-connection-idle`), a 1.45 channel with `passthrough` keeps one goroutine and 75 kB, which is no signature of
//!   gRPC's: it is `MemoryLeakElsewhere` when memory runs out. With `dns` the channel connects anew.

use std::{collections::BTreeSet, sync::Mutex};

use serde_json::json;

use super::{
    detection::judged,
    shop::{Client, Shop, diagnoses},
    world::{DETECTION, QUIET, World},
};

/// A client, what must be said about it, and what may be said before.
struct Case {
    client: Client,
    diagnosis: &'static str,
    /// Connections rise until the first ones idle out: until then it is a leak like any other.
    meanwhile: &'static [&'static str],
}

impl Case {
    const fn of(diagnosis: &'static str, client: Client) -> Self {
        Self { client, diagnosis, meanwhile: &[] }
    }
}

fn cases() -> Vec<Case> {
    const IDLE: &[&str] = &["--metrics=middleware", "--rate=10", "--idle-timeout=30s"];
    let residue =
        |client| Case { meanwhile: &["DialPerCall", "ConnectionLeak"], ..Case::of("IdleChannelResidue", client) };
    let hoard = |name, version| {
        Case::of(
            "MemoryLeakElsewhere",
            Client {
                // Full after about 7 minutes.
                memory_limit: Some("128Mi"),
                ..Client::one(name, "orders-fixed", version, &["--rate=5", "--leak-mem=15"])
            },
        )
    };
    vec![
        residue(Client::one("residue-175", "orders-leaky", "1.75", IDLE)),
        residue(Client::one("residue-185", "orders-leaky", "1.85", &["--rate=10", "--idle-timeout=30s"])),
        hoard("hoard-145", "1.45"),
        hoard("hoard-175", "1.75"),
        hoard("hoard-185", "1.85"),
        Case::of("KeepaliveRejected", Client::plain("pinger", 1)),
        Case::of("TargetUnreachable", Client::one("unreachable-185", "pool", "1.85", UNREACHABLE)),
    ]
}

/// Nobody listens on port 9 of the pod itself.
const UNREACHABLE: &[&str] = &["--rate=5", "--target=127.0.0.1:9"];

/// Nobody who has a bad habit that the operator could see.
fn others() -> [Client; 6] {
    let slow = &["--rate=5"];
    [
        Client::one("unreachable-145", "pool", "1.45", UNREACHABLE),
        Client::one("unreachable-175", "pool", "1.75", UNREACHABLE),
        Client::one("fixed-145", "orders-fixed", "1.45", slow),
        Client::one("fixed-175", "orders-fixed", "1.75", slow),
        Client::one("pool-145", "pool", "1.45", slow),
        Client::one("pool-175", "pool", "1.75", slow),
    ]
}

/// Waits until each diagnosis was made at least once (memory that is full ends a life), and fails at once when
/// something else is said.
async fn diagnosed(shop: &Shop, cases: &[Case]) {
    let made: Mutex<BTreeSet<&str>> = Mutex::default();
    let ask = || async {
        let found = diagnoses(&shop.status().await?);
        for (workload, names) in &found {
            let case = cases.iter().find(|it| it.client.name == workload);
            let allowed =
                |name: &String| case.is_some_and(|it| it.diagnosis == name || it.meanwhile.contains(&name.as_str()));
            assert!(names.iter().all(allowed), "{}: {workload} is blamed for {names:?}", shop.namespace);
        }
        let is = |case: &&Case| found.get(case.client.name).is_some_and(|it| it.iter().any(|it| it == case.diagnosis));
        let mut made = made.lock().expect("no panic holds it");
        made.extend(cases.iter().filter(is).map(|it| it.client.name));
        let missing: Vec<&str> = cases.iter().map(|it| it.client.name).filter(|it| !made.contains(it)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("not yet {missing:?}; now {found:?}")) }
    };
    shop.world.eventually(&shop.namespace, DETECTION, "each diagnosis is made", ask).await;
}

/// Rejected pings are told with the numbers of both sides, as the pod's annotations declare them.
async fn quarrel(shop: &Shop) {
    let status = shop.status().await.expect("a status");
    let rejected = status.offenders.iter().find(|it| it.diagnosis == "KeepaliveRejected").expect("pinger is found");
    for part in ["pings every 10s", "also without calls", "permits one every 5m", "only during calls"] {
        assert!(rejected.message.contains(part), "{part:?} in {:?}", rejected.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn each_diagnosis_is_made_with_every_version_that_shows_it() {
    let world = World::with_operator().await;
    let undisturbed = QUIET.read().await;
    let shop = Shop::open(world, "e2e-diagnoses").await;
    let cases = cases();
    let clients: Vec<Client> = cases.iter().map(|it| it.client.clone()).chain(others()).collect();
    shop.deploy(&clients).await;
    shop.policy(json!({})).await;
    diagnosed(&shop, &cases).await;
    quarrel(&shop).await;
    let names = others().map(|it| it.name);
    judged(&shop, &names, &["Healthy"]).await;
    judged(&shop, &["shop-server"], &["Healthy", "Inconclusive DirectionUnknown"]).await;
    drop(undisturbed);
    shop.remove().await;
}
