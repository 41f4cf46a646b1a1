//! Scenario 4: the operator is killed at random moments while it restarts pods. What it did stands in the cluster:
//! the next one neither repeats a restart nor forgets one.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};

use super::{
    audit::evicted,
    shop::{Client, Shop},
    world::{DETECTION, HOME, QUIET, SOON, World},
};

/// How often it is killed.
const KILLS: u64 = 4;
const COOLDOWN: i64 = 60;

/// A small generator, so that a run can be repeated: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

async fn entries(world: &World, namespace: &str) -> Result<Vec<Value>, String> {
    let api: Api<ConfigMap> = Api::namespaced(world.client.clone(), HOME);
    let found = api.get_opt(&format!("grpc-hygiene-ledger-{namespace}")).await.map_err(|it| it.to_string())?;
    let Some(text) = found.and_then(|it| it.data).and_then(|mut it| it.remove("ledger.json")) else {
        return Ok(vec![]);
    };
    let ledger: Value = serde_json::from_str(&text).map_err(|it| it.to_string())?;
    Ok(ledger["entries"].as_array().cloned().unwrap_or_default())
}

/// Kills the operator's pods without grace: no lease is released, nothing is finished.
async fn kill(world: &World) {
    let api: Api<Pod> = Api::namespaced(world.client.clone(), HOME);
    let labels = ListParams::default().labels("app.kubernetes.io/component=operator");
    let now = DeleteParams::default().grace_period(0);
    api.delete_collection(&now, &labels).await.expect("killed");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn an_operator_killed_while_it_acts_neither_repeats_nor_forgets_a_restart() {
    let world = World::with_operator().await;
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|it| it.parse().ok())
        .unwrap_or_else(|| Timestamp::now().as_second() as u64);
    println!("SEED={seed}");
    let mut random = Random(seed);
    let undisturbed = QUIET.read().await;
    let (began, shop) = (Timestamp::now().to_string(), Shop::open(world, "e2e-killed").await);
    shop.deploy(&[Client::plain("orders-leaky", 4)]).await;
    // Until the others are done, the alert's time holds the restart back.
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
        strike(&shop, &began, round, &mut random).await;
    }
    // Undisturbed, it finishes: another restart, and an account that is settled.
    let killed_with = evicted(&shop.namespace, &began).len();
    let settled = || async {
        let (evicted, entries) = (evicted(&shop.namespace, &began), entries(&shop.world, &shop.namespace).await?);
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

/// Waits until the operator is about to act or acting, and kills it at a random moment of that time.
async fn strike(shop: &Shop, began: &str, round: u64, random: &mut Random) {
    let delay = Duration::from_millis(random.below(12_000));
    // Half of the rounds wait for an entry in the ledger, which is the middle of an act; the others for none.
    let in_the_act = round % 2 == 0;
    let seen = evicted(&shop.namespace, began).len();
    if in_the_act {
        let acting = || async {
            let entries = entries(&shop.world, &shop.namespace).await?;
            if entries.len() > seen { Ok(()) } else { Err(format!("{} entries in the ledger", entries.len())) }
        };
        shop.world.eventually(&shop.namespace, 2 * SOON, "a restart is entered in the ledger", acting).await;
    } else {
        tokio::time::sleep(delay).await;
    }
    println!("round {round}: killed {}", if in_the_act { "in the act".to_owned() } else { format!("after {delay:?}") });
    kill(&shop.world).await;
    shop.world.kubectl(&["rollout", "status", "deployment/grpc-hygiene", "--namespace", HOME, "--timeout=120s"]);
}

/// Restarts of the one workload keep their distance, whoever led.
fn cooled_down(entries: &[Value]) {
    let mut times: Vec<Timestamp> = entries.iter().filter_map(|it| it["at"].as_str()?.parse().ok()).collect();
    assert_eq!(times.len(), entries.len(), "{entries:?}");
    times.sort();
    for pair in times.windows(2) {
        let apart = pair[1].duration_since(pair[0]).as_secs();
        assert!(apart >= COOLDOWN, "restarts {apart} s apart, the cooldown is {COOLDOWN} s: {times:?}");
    }
}
