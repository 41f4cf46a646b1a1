//! Settling: what the sight of an object says about a restart whose answer was lost.

use std::time::Duration;

use grpc_hygiene::{
    decide::ledger::{Entry, Ledger, State, restarted_at},
    io::{act, acting, ledger::Book},
};
use http::Method;
use serde_json::json;

use crate::{
    fake::{Answer, Fake, status},
    world::{
        DEPLOYMENT, LEDGER, OWN, POD, as_leader, entry, hands, ledger_of, now, policy, shop, states, write_ledger,
    },
};

const OLD: Duration = Duration::from_secs(60);

async fn settle(fake: &Fake) {
    as_leader(async |leadership| {
        let (reading, acting) = (fake.reading(), fake.acting(&leadership));
        Book { reading: &reading, acting: &acting, own: OWN }.settle().await.map(drop).expect("a ledger");
    })
    .await;
}

/// The shop with a restart of this object that is not settled.
fn pending(path: &str) -> Fake {
    let fake = shop();
    let entry = entry(&fake, path, State::Pending, OLD);
    write_ledger(&fake, &[entry]);
    fake
}

#[tokio::test]
async fn a_pod_that_is_gone_was_evicted_at_the_latest_now() {
    let fake = pending(POD);
    fake.remove(POD);
    settle(&fake).await;
    let entries = ledger_of(&fake).await.entries;
    assert_eq!(entries.iter().map(|it| (it.state, it.at)).collect::<Vec<_>>(), [(State::Confirmed, now())]);
    assert_eq!(fake.writes(), [format!("PUT {LEDGER}")]);
}

#[tokio::test]
async fn a_pod_that_lives_is_fenced_before_its_entry_is_dropped() {
    let fake = pending(POD);
    let before = fake.object(POD).expect("the pod");
    settle(&fake).await;
    assert_eq!(fake.writes(), [format!("PATCH {POD}"), format!("PUT {LEDGER}")]);
    let fence = fake.written(POD).body["metadata"].clone();
    assert_eq!(
        (&fence["uid"], &fence["resourceVersion"]),
        (&before["metadata"]["uid"], &before["metadata"]["resourceVersion"])
    );
    assert_ne!(
        fake.object(POD).expect("the pod")["metadata"]["resourceVersion"],
        before["metadata"]["resourceVersion"]
    );
    assert_eq!(states(&fake).await, []);
}

/// The API server's own write during an eviction moves the version, and its deletion demands the moved one.
#[tokio::test]
async fn a_pod_whose_version_has_moved_is_fenced_all_the_same() {
    let fake = pending(POD);
    fake.touch(POD, &json!({"status": {"conditions": [{"type": "DisruptionTarget", "status": "True"}]}}));
    settle(&fake).await;
    assert_eq!(fake.writes(), [format!("PATCH {POD}"), format!("PUT {LEDGER}")]);
    assert_eq!(states(&fake).await, []);
}

#[tokio::test]
async fn a_fence_that_fails_settles_nothing() {
    let (code, body) = status(403, "Forbidden", "no");
    for answer in [
        Answer::After(Box::new(|it| it.touch(POD, &json!({"metadata": {"labels": {"x": "y"}}})))),
        Answer::Status(code, body),
    ] {
        let fake = pending(POD);
        fake.script(Method::PATCH, POD, answer);
        settle(&fake).await;
        assert_eq!(fake.writes(), [format!("PATCH {POD}")]);
        assert_eq!(states(&fake).await, [State::Pending]);
    }
}

#[tokio::test]
async fn a_restart_that_may_be_in_flight_is_left_alone() {
    let fake = shop();
    let young = entry(&fake, POD, State::Pending, Duration::from_secs(19));
    write_ledger(&fake, &[young]);
    settle(&fake).await;
    assert_eq!(fake.lines(), [format!("GET {LEDGER}")]);
}

#[tokio::test]
async fn a_rollout_is_recognised_by_the_time_it_wrote() {
    let fake = pending(DEPLOYMENT);
    let at = restarted_at(now() - OLD);
    fake.touch(
        DEPLOYMENT,
        &json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": at}}}}}),
    );
    settle(&fake).await;
    assert_eq!(states(&fake).await, [State::Confirmed]);
}

#[tokio::test]
async fn a_workload_whose_status_moved_can_no_longer_be_restarted_by_the_old_request() {
    let fake = pending(DEPLOYMENT);
    fake.touch(DEPLOYMENT, &json!({"status": {"availableReplicas": 2}}));
    settle(&fake).await;
    assert_eq!(states(&fake).await, []);
    let fake = pending(DEPLOYMENT);
    settle(&fake).await;
    assert_eq!(fake.writes(), [format!("PATCH {DEPLOYMENT}"), format!("PUT {LEDGER}")]);
    assert!(fake.written(DEPLOYMENT).body.get("spec").is_none(), "the fence does not roll the workload out");
    assert_eq!(states(&fake).await, []);
}

/// Somebody may have restarted it after us, or taken our annotation away again.
#[tokio::test]
async fn a_workload_whose_spec_changed_may_have_been_restarted_by_us_and_counts() {
    let fake = pending(DEPLOYMENT);
    fake.touch(DEPLOYMENT, &json!({"metadata": {"generation": 3}, "spec": {"replicas": 4}}));
    settle(&fake).await;
    assert_eq!(states(&fake).await, [State::Confirmed]);
}

#[tokio::test]
async fn an_empty_config_map_becomes_a_ledger_that_begins_now_and_keeps_its_labels() {
    let fake = shop();
    fake.put(LEDGER, json!({"metadata": {"labels": {"team": "platform"}}}));
    settle(&fake).await;
    assert_eq!(ledger_of(&fake).await, Ledger::begun(now()));
    assert_eq!(fake.object(LEDGER).expect("the ConfigMap")["metadata"]["labels"]["team"], "platform");
}

#[tokio::test]
async fn what_was_written_meanwhile_survives_the_settlement() {
    let fake = pending(POD);
    fake.remove(POD);
    fake.script(
        Method::PUT,
        LEDGER,
        Answer::After(Box::new(|fake| {
            let other = Entry { state: State::Confirmed, ..entry(fake, DEPLOYMENT, State::Confirmed, Duration::ZERO) };
            let mut text =
                fake.object(LEDGER).expect("a ledger")["data"]["ledger.json"].as_str().expect("text").to_owned();
            text.truncate(text.len() - "]}".len());
            text += &format!(",{}]}}", serde_json::to_string(&other).expect("JSON"));
            fake.touch(LEDGER, &json!({"data": {"ledger.json": text}}));
        })),
    );
    settle(&fake).await;
    assert_eq!(states(&fake).await, [State::Confirmed, State::Confirmed]);
}

#[tokio::test]
async fn a_fenced_eviction_that_arrives_late_is_refused() {
    let fake = pending(POD);
    let late = entry(&fake, POD, State::Pending, OLD).object;
    settle(&fake).await;
    let body = json!({"metadata": {"name": late.name}, "deleteOptions": {"preconditions": {"uid": late.uid, "resourceVersion": late.resource_version}}});
    let request =
        http::Request::post(format!("{POD}/eviction")).body(body.to_string().into_bytes()).expect("a request");
    let error = fake.reading().request_text(request).await.expect_err("a refusal");
    assert!(acting::proves_nothing_happened(&error));
    assert!(fake.object(POD).is_some());
}

/// A new leader meets its predecessor's last restart while its answer may still be on its way, and nobody offends any more.
#[tokio::test]
async fn what_is_too_young_to_be_settled_is_looked_at_again_though_nobody_offends() {
    let fake = shop();
    let young = entry(&fake, POD, State::Pending, Duration::from_secs(5));
    write_ledger(&fake, std::slice::from_ref(&young));
    fake.remove(POD);
    as_leader(async |leadership| {
        let hands = hands(&fake, &leadership);
        act::settle(&hands, &policy(), None).await;
        assert_eq!(states(&fake).await, [State::Pending]);
        write_ledger(&fake, &[Entry { at: young.at - OLD, ..young.clone() }]);
        act::settle(&hands, &policy(), None).await;
        assert_eq!(states(&fake).await, [State::Confirmed]);
        fake.forget_log();
        act::settle(&hands, &policy(), None).await;
        assert_eq!(fake.lines(), [""; 0], "nothing is open, so nobody looks");
    })
    .await;
}
