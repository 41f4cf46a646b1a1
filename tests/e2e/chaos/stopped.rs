//! The leader is stopped (SIGSTOP) for a minute between its debit and the request that the debit is for. Another takes over
//! meanwhile; what was stopped sends nothing when it goes on.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::{
    audit::{events_of_the_operator, resource},
    host::{Stopped, process},
    world::{HOME, QUIET, SOON},
};
use super::{Scene, TURN, restarts, webhook::Webhook};

const STOPPED: Duration = Duration::from_secs(60);

/// Pending restarts of a namespace in the ledger of an admission review's object.
fn pending(map: &Value, namespace: &str) -> usize {
    let ledger = map["data"]["ledger.json"].as_str().and_then(|it| serde_json::from_str::<Value>(it).ok());
    let entries = ledger.and_then(|it| it["entries"].as_array().cloned()).unwrap_or_default();
    entries.iter().filter(|it| it["namespace"] == namespace && it["state"] == "Pending").count()
}

/// What an address wrote since then, but for the lease.
fn written_by(address: &str, since: &str) -> Vec<String> {
    let wrote = |it: &Value| {
        let reads = ["get", "list", "watch"].iter().any(|verb| it["verb"] == *verb);
        let after = it["requestReceivedTimestamp"].as_str().is_some_and(|it| it >= since);
        after && !reads && it["sourceIPs"][0] == address && resource(it) != "leases"
    };
    let all = events_of_the_operator().into_iter().filter(wrote);
    all.map(|it| format!("{} {} {}", it["verb"], resource(&it), it["responseStatus"]["code"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn a_leader_stopped_for_a_minute_between_debit_and_eviction_sends_nothing_when_it_goes_on() {
    let undisturbed = QUIET.read().await;
    let scene = Scene::leaking("e2e-chaos-stopped", 2).await;
    let (shop, world) = (&scene.shop, &scene.shop.world);
    let turn = TURN.lock().await;
    let pod = world.leader().await.expect("a leader");
    let (name, process) =
        (pod.metadata.name.clone().expect("a name"), process(&pod, "grpc-hygiene").expect("its process"));
    let address = pod.status.as_ref().and_then(|it| it.pod_ip.clone()).expect("an address");
    let before = restarts(world).await.expect("the operator");

    // The API server asks before it stores the debit. By then the leader waits for the answer; it is stopped, and the
    // debit is stored.
    let stopped: Arc<Mutex<Option<Stopped>>> = Arc::default();
    let moment = {
        let (stopped, namespace) = (Arc::clone(&stopped), shop.namespace.clone());
        move |review: &Value| {
            let request = &review["request"];
            let debits = pending(&request["object"], &namespace) > pending(&request["oldObject"], &namespace);
            let mut stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner);
            if debits && stopped.is_none() {
                *stopped = Some(Stopped::new(process.clone()));
            }
        }
    };
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["configmaps"]});
    let webhook = Webhook::that_sees(world, "stopping", HOME, &rule, moment).await;
    scene.make_due();
    let is_stopped = || async {
        let stopped = stopped.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if stopped { Ok(()) } else { Err("no debit yet".to_owned()) }
    };
    world.eventually(&shop.namespace, 2 * SOON, "the leader is stopped after its debit", is_stopped).await;
    let since = Instant::now();
    webhook.remove().await;
    let another = || async {
        let now = world.leader().await?.metadata.name.unwrap_or_default();
        if now == name { Err(format!("{now} still leads")) } else { Ok(()) }
    };
    world.eventually(&shop.namespace, STOPPED, "another leads", another).await;
    world.passed(&shop.namespace, since, STOPPED, "it was stopped for a minute").await;

    let resumed = Timestamp::now().to_string();
    drop(stopped.lock().unwrap_or_else(PoisonError::into_inner).take());
    let began_again = || async {
        let now = restarts(world).await?;
        let count = |all: &[(String, i32)]| all.iter().find(|it| it.0 == name).map(|it| it.1);
        if count(&now) > count(&before) { Ok(()) } else { Err(format!("{before:?}, {now:?}")) }
    };
    world
        .eventually(&shop.namespace, SOON, "it found out, ended, and was started again as a standby", began_again)
        .await;
    assert_eq!(written_by(&address, &resumed), [""; 0], "it sent something when it went on");
    let log = world.kubectl(&["logs", "--namespace", HOME, &name, "--previous", "--tail", "5"]);
    println!("{}: the last words of the stopped leader:\n{log}", shop.namespace);
    drop(turn);
    scene.more_evicted_than(0).await;
    scene.assert_accounted_for().await;
    shop.remove().await;
    drop(undisturbed);
}
