//! Argo Rollouts: restarted by `spec.restartAt`, recognised by it, and left alone where the kind is not there or not ours.

use std::time::Duration;

use grpc_hygiene::{
    decide::{
        Because, Plan, Remediation, Restart, Workload,
        ledger::{Entry, State, restarted_at},
    },
    io::ledger::Book,
};
use http::Method;
use serde_json::{Value, json};

use crate::{
    fake::{Answer, Fake, status},
    world::{
        OWN, POD, REPLICA_SET, as_leader, carry_out, case, entry, ledger_of, now, owner, plan, shop, states, word,
        write_ledger,
    },
};

const ROLLOUT: &str = "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/orders";

/// The shop with a Rollout in place of the Deployment.
fn argo() -> Fake {
    let fake = shop();
    fake.put(
        ROLLOUT,
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"uid": "uid-argo", "generation": 1},
            "spec": {"replicas": 3, "strategy": {"canary": {}}, "template": {"metadata": {"labels": {"app": "orders"}}}},
            "status": {"phase": "Healthy", "observedGeneration": "1", "replicas": 3, "updatedReplicas": 3,
                "availableReplicas": 3, "readyReplicas": 3},
        }),
    );
    let mut owner = owner("Rollout", "orders", "uid-argo");
    owner["apiVersion"] = json!("argoproj.io/v1alpha1");
    fake.touch(REPLICA_SET, &json!({"metadata": {"ownerReferences": [owner]}}));
    fake
}

fn of_argo(remediation: Remediation, how: Restart) -> Plan {
    let mut plan = plan(vec![case("orders", &[remediation], how)]);
    plan.cases[0].target.workload =
        Some(Workload { namespace: "shop".into(), kind: "Rollout".into(), name: "orders".into() });
    plan
}

async fn roll_out(fake: &Fake) -> &'static str {
    word(&carry_out(fake, &of_argo(Remediation::Restart, Restart::Rollout)).await)
}

#[tokio::test]
async fn a_rollout_of_argo_is_restarted_by_the_time_that_stands_in_the_ledger() {
    let fake = argo();
    let before = fake.object(ROLLOUT).expect("the Rollout");
    assert_eq!(roll_out(&fake).await, "done");
    let patch = fake.written(ROLLOUT);
    assert_eq!((patch.method, patch.query.as_str()), (Method::PATCH, "fieldManager=grpc-hygiene"));
    assert_eq!(
        patch.body,
        json!({
            "metadata": {"uid": "uid-argo", "resourceVersion": before["metadata"]["resourceVersion"]},
            "spec": {"restartAt": "2026-11-23T10:00:00Z"},
        })
    );
    let entries = ledger_of(&fake).await.entries;
    assert_eq!((entries[0].object.kind.as_str(), entries[0].state), ("Rollout", State::Confirmed));
}

#[tokio::test]
async fn a_pod_of_argo_is_evicted_like_any_other() {
    let fake = argo();
    assert_eq!(word(&carry_out(&fake, &of_argo(Remediation::Restart, Restart::Evict)).await), "done");
    assert!(fake.object(POD).is_none());
}

#[tokio::test]
async fn it_is_restarted_only_while_it_is_healthy_and_at_rest() {
    for (change, expected) in [
        (json!({"status": {"phase": "Degraded"}}), "RolloutBlocked"),
        (json!({"status": {"phase": "Paused"}}), "RolloutBlocked"),
        (json!({"spec": {"paused": true}}), "RolloutBlocked"),
        (json!({"status": {"observedGeneration": "0"}}), "RolloutInProgress"),
        (json!({"spec": {"restartAt": "2026-11-23T09:59:00Z"}}), "RolloutInProgress"),
        (json!({"status": {"readyReplicas": 2}}), "TooFewAvailable"),
    ] {
        let fake = argo();
        fake.touch(ROLLOUT, &change);
        assert_eq!(roll_out(&fake).await, expected, "{change}");
        assert_eq!(fake.writes(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn where_the_kind_is_not_there_or_not_granted_nothing_is_restarted_and_the_pod_is_marked_all_the_same() {
    let not_there = status(404, "NotFound", "the server could not find the requested resource");
    let not_granted = status(403, "Forbidden", "rollouts.argoproj.io is forbidden");
    for ((code, body), said) in [(not_there, "does not exist"), (not_granted, "rbac.argoRollouts")] {
        let fake = argo();
        fake.script(Method::GET, ROLLOUT, Answer::Status(code, body.clone()));
        let outcomes = carry_out(&fake, &of_argo(Remediation::Restart, Restart::Evict)).await;
        let Err(Because::WorkloadUnknown { reason }) = &outcomes[0].result else { panic!("{outcomes:?}") };
        assert!(reason.contains(said), "{reason}");
        fake.script(Method::GET, ROLLOUT, Answer::Status(code, body));
        assert_eq!(word(&carry_out(&fake, &of_argo(Remediation::Annotate, Restart::Evict)).await), "done");
        assert_eq!(fake.writes(), [format!("PATCH {POD}")]);
    }
}

/// What settling makes of a restart of the Rollout whose answer was lost.
async fn settled(change: &Value) -> Vec<State> {
    let fake = argo();
    let pending = Entry {
        workload: grpc_hygiene::api::WorkloadRef { kind: "Rollout".into(), name: "orders".into() },
        ..entry(&fake, ROLLOUT, State::Pending, Duration::from_secs(60))
    };
    write_ledger(&fake, &[pending]);
    fake.touch(ROLLOUT, change);
    as_leader(async |leadership| {
        let (reading, acting) = (fake.reading(), fake.acting(&leadership));
        Book { reading: &reading, acting: &acting, own: OWN }.settle().await.expect("a ledger");
    })
    .await;
    states(&fake).await
}

#[tokio::test]
async fn its_restart_is_recognised_by_the_time_it_wrote() {
    let at = restarted_at(now() - Duration::from_secs(60));
    assert_eq!(settled(&json!({"spec": {"restartAt": at}})).await, [State::Confirmed]);
    assert_eq!(settled(&json!({"status": {"phase": "Healthy"}})).await, []);
}
