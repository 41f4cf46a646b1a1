//! Scenario 4: the operator is killed at random moments while it restarts pods. What it did stands in the cluster:
//! the next one neither repeats a restart nor forgets one.

use std::{collections::BTreeSet, time::Duration};

use grpc_hygiene::io::ledger::NAME;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use super::{
    audit::evicted,
    random::Random,
    shop::{Client, Shop},
    world::{DETECTION, HOME, OPERATORS, QUIET, SOON, World, entries},
};

/// How often it is killed.
const KILLS: u64 = 4;
const COOLDOWN: i64 = 60;

/// Kills the operator's pods without grace: no lease is released, nothing is finished.
pub async fn kill(world: &World) {
    world.delete_at_once(HOME, OPERATORS).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn an_operator_killed_while_it_acts_neither_repeats_nor_forgets_a_restart() {
    let world = World::with_operator().await;
    let mut random = Random::seeded();
    let undisturbed = QUIET.read().await;
    let (began, shop) = (Timestamp::now().to_string(), Shop::open(world, "e2e-killed").await);
    shop.deploy(&[Client::plain("orders-leaky", 4)]).await;
    // While others run, a long time before it holds the restart back.
    let remediation = |after: &str| {
        json!({"annotate": {}, "alert": {"after": "0s"},
        "restart": {"after": after, "method": "Evict", "cooldown": "1m", "maxPerDay": 100}})
    };
    shop.policy(json!({"mode": "Enforce", "remediation": remediation("7d")})).await;
    let all = |it: &grpc_hygiene::api::GrpcClientPolicyStatus| it.offenders.len() == 4 && !it.alerts.is_empty();
    shop.wait(DETECTION, "all four pods are found", all).await;
    drop(undisturbed);

    let alone = QUIET.write().await;
    let patch = json!({"spec": {"remediation": remediation("1s")}}).to_string();
    shop.world.kubectl(&[
        "patch",
        "gcpol",
        "clients",
        "--namespace",
        &shop.namespace,
        "--type",
        "merge",
        "--patch",
        &patch,
    ]);
    for round in 1..=KILLS {
        strike(&shop, round, &mut random).await;
    }
    // Undisturbed, it finishes: another restart, and an account that is settled.
    let killed_with = evicted(&shop.namespace, &began).len();
    let ledgers = &shop.world.ledgers();
    let settled = || async {
        let ledger = ledgers.get_opt(NAME).await.map_err(|it| it.to_string())?;
        let (evicted, entries) = (evicted(&shop.namespace, &began), entries(ledger.as_ref(), &shop.namespace));
        let confirmed = entries.iter().filter(|it| it["state"] == "Confirmed").count();
        let finished = evicted.len() > killed_with.min(3) && confirmed == entries.len();
        if finished { Ok((evicted, entries)) } else { Err(format!("evicted {evicted:?}, ledger {entries:?}")) }
    };
    let (evicted, entries) = shop.world.eventually(&shop.namespace, DETECTION, "the ledger is settled", settled).await;
    let unique: BTreeSet<&String> = evicted.iter().collect();
    assert_eq!(unique.len(), evicted.len(), "no pod was evicted twice: {evicted:?}");
    assert_eq!(entries.len(), evicted.len(), "the ledger tells every eviction, and no other: {evicted:?} {entries:?}");
    cooled_down(&entries);
    drop(alone);
    shop.remove().await;
}

/// Kills the operator at a random moment: in every second round right after it entered a restart in the ledger, which
/// is the middle of an act; else at any time of the quiet period that the last kill began, or the evaluation after it.
async fn strike(shop: &Shop, round: u64, random: &mut Random) {
    let in_the_act = round.is_multiple_of(2);
    if in_the_act {
        let (ledgers, namespace) = (shop.world.ledgers(), &shop.namespace);
        let seen = entries(ledgers.get_opt(NAME).await.expect("ledgers").as_ref(), namespace).len();
        let entered = await_condition(ledgers, NAME, |it: Option<&ConfigMap>| entries(it, namespace).len() > seen);
        let entered =
            tokio::time::timeout(2 * SOON, entered).await.expect("a restart is entered in the ledger in time");
        entered.expect("the ledger can be watched");
    }
    let delay = Duration::from_millis(random.below(if in_the_act { 100 } else { 30_000 }));
    tokio::time::sleep(delay).await;
    kill(&shop.world).await;
    println!("{}: round {round}: killed after {delay:?}{}", shop.namespace, if in_the_act { " in an act" } else { "" });
    let home = ["--namespace", HOME, "--timeout=120s"];
    shop.world.kubectl(&[&["rollout", "status", "deployment/grpc-hygiene"], &home[..]].concat());
}

/// Restarts of the one workload keep their distance, whoever led.
pub fn cooled_down(entries: &[Value]) {
    let mut times: Vec<Timestamp> = entries.iter().filter_map(|it| it["at"].as_str()?.parse().ok()).collect();
    assert_eq!(times.len(), entries.len(), "{entries:?}");
    times.sort();
    for pair in times.windows(2) {
        let apart = pair[1].duration_since(pair[0]).as_secs();
        assert!(apart >= COOLDOWN, "restarts {apart} s apart, the cooldown is {COOLDOWN} s: {times:?}");
    }
}
