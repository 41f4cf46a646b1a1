//! Scenario 2, first half: a dry run says what it would do and does none of it, and so does a policy that has to earn
//! trust first. What that has earned, it does.

use std::collections::BTreeMap;

use grpc_hygiene::{
    api::{CaseKind, GrpcClientPolicy, RemediationState, Stage},
    io::ledger::NAME,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use super::{
    audit::{evicted, writes_of_the_operator},
    pages,
    shop::{Client, POLICY, Shop, marks, step},
    world::{DETECTION, QUIET, SOON, World, entries},
};

const AUTO: &str = "auto";

/// UID and resource version of every pod and workload.
async fn versions(shop: &Shop) -> BTreeMap<String, Option<String>> {
    let all = ListParams::default();
    let pods = shop.api::<Pod>().list(&all).await.expect("pods").items;
    let sets = shop.api::<ReplicaSet>().list(&all).await.expect("replica sets").items;
    let deployments = shop.api::<Deployment>().list(&all).await.expect("deployments").items;
    assert!(pods.iter().all(|it| marks(it).is_empty()) && deployments.iter().all(|it| marks(it).is_empty()));
    let pods = pods.into_iter().map(|it| it.metadata);
    let metadata =
        pods.chain(sets.into_iter().map(|it| it.metadata)).chain(deployments.into_iter().map(|it| it.metadata));
    metadata
        .map(|it| (format!("{} {}", it.name.unwrap_or_default(), it.uid.unwrap_or_default()), it.resource_version))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn a_dry_run_says_what_it_would_do_and_does_none_of_it_and_trust_is_earned_step_by_step() {
    let world = World::with_operator().await;
    let undisturbed = QUIET.read().await;
    let (began, shop) = (Timestamp::now().to_string(), Shop::open(world, "e2e-dry").await);
    shop.deploy(&[Client::plain("orders-leaky", 2)]).await;
    let before = versions(&shop).await;
    let remediation = json!({
        "annotate": {}, "alert": {"after": "0s"}, "restart": {"after": "0s", "cooldown": "1m"}});
    shop.policy(json!({"mode": "DryRun", "remediation": remediation})).await;
    shop.policy_named(AUTO, json!({"mode": "Auto", "remediation": remediation})).await;

    let would = |remediation: &'static str| {
        move |it: &grpc_hygiene::api::GrpcClientPolicyStatus| {
            it.offenders.iter().any(|it| step(it, remediation) == Some((RemediationState::WouldDo, None)))
        }
    };
    shop.wait(DETECTION, "annotate is what it would do", would("Annotate")).await;
    shop.wait(SOON, "alert is what it would do", would("Alert")).await;
    let status = shop.wait(SOON, "restart is what it would do", would("Restart")).await;
    assert!(status.alerts.is_empty() && status.annotated.is_empty(), "{status:?}");

    // Three more evaluations, in which it would have acted.
    let policy = format!("{}/{POLICY}", shop.namespace);
    let seen = pages::last_evaluation(&shop.world, &policy).await.expect("evaluated");
    let later = || async {
        let last = pages::last_evaluation(&shop.world, &policy).await?;
        if last >= seen + 30.0 { Ok(()) } else { Err(format!("the last evaluation is at {last}")) }
    };
    shop.world.eventually(&shop.namespace, SOON, "it was evaluated three times more", later).await;

    assert_eq!(versions(&shop).await, before, "no pod or workload was written, by whomever");
    for replica in [0, 1] {
        assert_eq!(pages::alerts(&shop.world, replica, &shop.namespace).await, Ok(vec![]));
    }
    nothing_but_reports_were_written(&shop, &began).await;
    what_is_earned_is_done(&shop).await;
    assert_eq!(evicted(&shop.namespace, &began), [""; 0]);
    drop(undisturbed);
    shop.remove().await;
}

/// Seven cases that were right, and a day: the record is written here as if both had been, and what follows is the
/// operator's. It may alert now, and not restart.
async fn what_is_earned_is_done(shop: &Shop) {
    let so_far = shop.status_of(AUTO).await.expect("a status").autonomy.expect("a record");
    assert_eq!(so_far.stage, Stage::DryRun, "{so_far:?}");
    let case = so_far.open.first().expect("what it would alert about is a case");
    let (yesterday, lately) = (hours_ago(25), hours_ago(1));
    let right = |n: usize| {
        let life = json!({"namespace": shop.namespace, "pod": format!("earlier-{n}"), "uid": n.to_string(), "container": "shop"});
        json!({"kind": "Alert", "life": life, "outcome": "WentOn", "at": lately})
    };
    assert_eq!(case.kind, CaseKind::Alert);
    let earned = json!({"since": yesterday, "closed": (0..7).map(right).collect::<Vec<_>>()});
    let patch = Patch::Merge(json!({"status": {"autonomy": earned}}));
    let policies = shop.api::<GrpcClientPolicy>();
    policies.patch_status(AUTO, &PatchParams::default(), &patch).await.expect("the status is written");

    let promoted = || async {
        let record = shop.status_of(AUTO).await?.autonomy.ok_or("no record")?;
        if record.stage == Stage::Alert { Ok(record) } else { Err(format!("{record:?}")) }
    };
    let record = shop.world.eventually(&shop.namespace, SOON, "it may alert", promoted).await;
    assert!(record.missing.starts_with("to Restart: 7 of 16 cases"), "{}", record.missing);
    for replica in [0, 1] {
        let alerted = || async move {
            let alerts = pages::alerts(&shop.world, replica, &shop.namespace).await?;
            let of = alerts.iter().filter_map(|it| it["labels"]["policy"].as_str()).collect::<Vec<_>>();
            if of == ["e2e-dry/auto"] { Ok(()) } else { Err(format!("{of:?}")) }
        };
        shop.world.eventually(&shop.namespace, SOON, "it alerts", alerted).await;
    }
    let annotated = || async {
        let deployment = shop.api::<Deployment>().get("orders-leaky").await.map_err(|it| it.to_string())?;
        if marks(&deployment).is_empty() { Err("not annotated".to_owned()) } else { Ok(()) }
    };
    shop.world.eventually(&shop.namespace, SOON, "it annotates", annotated).await;
    // Only the restart is held back by the stage.
    let would = || async {
        let offenders = shop.status_of(AUTO).await?.offenders;
        let restarts: Vec<_> = offenders.iter().filter_map(|it| step(it, "Restart")).collect();
        assert!(restarts.iter().all(|it| it.0 != RemediationState::Done), "{restarts:?}");
        let would = restarts.contains(&(RemediationState::WouldDo, None));
        if would { Ok(()) } else { Err(format!("{restarts:?}")) }
    };
    shop.world.eventually(&shop.namespace, SOON, "a restart is what it would do", would).await;
}

fn hours_ago(hours: i64) -> String {
    (Timestamp::now() - SignedDuration::from_hours(hours)).to_string()
}

async fn nothing_but_reports_were_written(shop: &Shop, since: &str) {
    let writes = writes_of_the_operator();
    let here = || writes.iter().filter(|it| it.namespace == shop.namespace && it.at.as_str() >= since);
    let of = |resource: &str| here().filter(|it| it.resource == resource).count();
    assert!(
        of("grpcclientpolicies/status") > 0 && of("events") > 0,
        "the log shows what it did write: {:?}",
        here().collect::<Vec<_>>()
    );
    let other: Vec<_> =
        here().filter(|it| !["grpcclientpolicies/status", "events"].contains(&it.resource.as_str())).collect();
    assert!(other.is_empty(), "{other:?}");
    // Outside, the operator writes its lease, and the ledger for those who enforce.
    let ledger = shop.world.ledgers().get_opt(NAME).await.expect("ConfigMaps");
    assert_eq!(entries(ledger.as_ref(), &shop.namespace), Vec::<serde_json::Value>::new());
}
