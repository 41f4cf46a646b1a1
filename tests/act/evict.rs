//! Evictions: the order of the protocol, every way in which one is refused, and what the ledger says afterwards.

use std::time::Duration;

use grpc_hygiene::decide::{Because, Remediation, Restart, ledger::State};
use http::Method;
use serde_json::json;

use crate::{
    fake::{Answer, Fake, budget_forbids, status},
    world::{
        BUDGETS, DEPLOYMENT, EVICTION, LEDGER, NAMESPACE, POD, POLICY, REPLICA_SET, SWITCH, carry_out, carry_out_at,
        case, entry, evict_orders, ledger_of, now, plan, shop, states, word, workload, write_ledger,
    },
};

/// Nothing was evicted and nothing was written: not even the ledger.
fn assert_silence(fake: &Fake) {
    assert_eq!(fake.writes(), Vec::<String>::new());
}

/// One eviction was asked for, and its entry left the ledger again.
async fn assert_refused_once(fake: &Fake) {
    assert_eq!(fake.lines().iter().filter(|it| it.ends_with("/eviction")).count(), 1);
    assert_eq!(states(fake).await, []);
}

#[tokio::test]
async fn an_eviction_looks_debits_asks_once_and_settles() {
    let fake = shop();
    assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "done");
    assert_eq!(
        fake.lines(),
        [
            format!("GET {SWITCH}"),
            format!("GET {POLICY}"),
            format!("GET {NAMESPACE}"),
            format!("GET {POD}"),
            format!("GET {DEPLOYMENT}"),
            format!("GET {BUDGETS}"),
            format!("GET {REPLICA_SET}"),
            format!("GET {LEDGER}"),
            format!("PUT {LEDGER}"),
            format!("POST {EVICTION}"),
            format!("GET {LEDGER}"),
            format!("PUT {LEDGER}"),
        ]
    );
    assert_eq!(states(&fake).await, [State::Confirmed]);
}

#[tokio::test]
async fn an_eviction_is_about_this_pod_in_this_version_and_strictly_understood() {
    let fake = shop();
    let pod = fake.object(POD).expect("the pod");
    carry_out(&fake, &evict_orders()).await;
    let eviction = fake.written("/eviction");
    assert_eq!(eviction.query, "fieldValidation=Strict");
    let preconditions = json!({"uid": pod["metadata"]["uid"], "resourceVersion": pod["metadata"]["resourceVersion"]});
    assert_eq!(eviction.body["deleteOptions"], json!({"preconditions": preconditions}));
    assert_eq!(eviction.body["apiVersion"], "policy/v1");
}

#[tokio::test]
async fn the_debit_stands_in_the_ledger_before_the_eviction_is_asked_for() {
    let fake = shop();
    fake.script(
        Method::POST,
        EVICTION,
        Answer::After(Box::new(|fake| {
            let text = fake.object(LEDGER).expect("a ledger")["data"]["ledger.json"].to_string();
            assert!(text.contains("pending") || text.contains("Pending"), "{text}");
        })),
    );
    carry_out(&fake, &evict_orders()).await;
    assert_eq!(states(&fake).await, [State::Confirmed]);
}

#[tokio::test]
async fn a_budget_that_refuses_is_named_and_the_debit_is_taken_back() {
    let fake = shop();
    fake.script(Method::POST, EVICTION, budget_forbids("orders-pdb"));
    let outcomes = carry_out(&fake, &evict_orders()).await;
    assert_eq!(outcomes[0].result, Err(Because::DisruptionBudget { name: "orders-pdb".into() }));
    assert_refused_once(&fake).await;
}

#[tokio::test]
async fn a_definite_refusal_takes_the_debit_back() {
    for (code, reason, expected) in [
        (403, "Forbidden", "RequestFailed"),
        (404, "NotFound", "Changed"),
        (409, "Conflict", "Changed"),
        (429, "TooManyRequests", "RequestFailed"),
    ] {
        let fake = shop();
        let (code, body) = status(code, reason, "no");
        fake.script(Method::POST, EVICTION, Answer::Status(code, body));
        assert_eq!(word(&carry_out(&fake, &evict_orders()).await), expected, "{code}");
        assert_refused_once(&fake).await;
    }
}

#[tokio::test]
async fn a_pod_that_changes_between_look_and_eviction_is_left_alone() {
    let fake = shop();
    fake.script(
        Method::POST,
        EVICTION,
        Answer::After(Box::new(|it| it.touch(POD, &json!({"metadata": {"labels": {"x": "y"}}})))),
    );
    assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "Changed");
    assert!(fake.object(POD).is_some());
    assert_refused_once(&fake).await;
}

#[tokio::test(start_paused = true)]
async fn an_eviction_without_an_answer_stays_pending_and_forbids_the_next() {
    for answer in [Answer::Never, Answer::Lost] {
        let fake = shop();
        fake.script(Method::POST, EVICTION, answer);
        assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "RequestFailed");
        assert_eq!(states(&fake).await, [State::Pending]);
        workload(&fake, "orders");
        fake.forget_log();
        assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "Unsettled");
        assert_silence(&fake);
    }
}

#[tokio::test]
async fn a_broken_api_server_settles_nothing() {
    let fake = shop();
    let (code, body) = status(504, "Timeout", "couldn't update PodDisruptionBudget");
    fake.script(Method::POST, EVICTION, Answer::Status(code, body));
    assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "RequestFailed");
    assert_eq!(states(&fake).await, [State::Pending]);
    assert_eq!(fake.lines().iter().filter(|it| it.ends_with("/eviction")).count(), 1, "there is no second try");
}

#[tokio::test]
async fn a_lost_race_for_the_ledger_is_looked_at_again_once() {
    let fake = shop();
    fake.script(
        Method::PUT,
        LEDGER,
        Answer::After(Box::new(|fake| {
            let other = entry(fake, DEPLOYMENT, State::Confirmed, Duration::from_secs(86_400 * 2));
            write_ledger(fake, &[other]);
        })),
    );
    assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "done");
    assert_eq!(states(&fake).await, [State::Confirmed, State::Confirmed], "the other's entry was not overwritten");
}

#[tokio::test]
async fn whoever_loses_the_race_for_the_budget_does_not_evict() {
    let fake = shop();
    fake.script(
        Method::PUT,
        LEDGER,
        Answer::After(Box::new(|fake| {
            let other = entry(fake, DEPLOYMENT, State::Confirmed, Duration::from_secs(60));
            write_ledger(fake, &[other]);
        })),
    );
    assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "Cooldown");
    assert_eq!(fake.writes(), [format!("PUT {LEDGER}")]);
}

#[tokio::test]
async fn two_lost_races_are_enough() {
    let fake = shop();
    for _ in 0..2 {
        fake.script(
            Method::PUT,
            LEDGER,
            Answer::After(Box::new(|fake| {
                let other = entry(fake, DEPLOYMENT, State::Confirmed, Duration::from_secs(86_400 * 2));
                write_ledger(fake, &[other]);
            })),
        );
    }
    assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "Ledger");
    assert_eq!(fake.writes(), [format!("PUT {LEDGER}"), format!("PUT {LEDGER}")]);
}

#[tokio::test]
async fn a_ledger_that_cannot_be_understood_allows_nothing_and_is_not_touched() {
    for text in ["not JSON", r#"{"version":2,"since":"2026-11-23T10:00:00Z","entries":[]}"#] {
        let data = json!({"ledger.json": text});
        let fake = shop();
        fake.put(LEDGER, json!({"metadata": {}, "data": data}));
        assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "Ledger", "{data}");
        assert_silence(&fake);
    }
}

#[tokio::test(start_paused = true)]
async fn a_debit_without_an_answer_is_not_acted_upon() {
    let fake = shop();
    fake.script(Method::PUT, LEDGER, Answer::Lost);
    assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "Ledger");
    assert_eq!(fake.writes(), [format!("PUT {LEDGER}")]);
}

#[tokio::test(start_paused = true)]
async fn a_look_older_than_two_seconds_is_not_acted_upon() {
    let fake = shop();
    fake.script(Method::PUT, LEDGER, Answer::Late(Duration::from_millis(2_100)));
    assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "Changed");
    assert!(!fake.writes().contains(&format!("POST {EVICTION}")));
    assert_eq!(states(&fake).await, [], "what was never sent is taken back");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_answer_in_time_holds_nobody_up() {
    let fake = shop();
    fake.script(Method::GET, DEPLOYMENT, Answer::Never);
    let begun = tokio::time::Instant::now();
    assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "Changed");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_silence(&fake);
}

#[tokio::test]
async fn whatever_came_up_about_the_pod_withholds_before_anything_is_written() {
    for (change, expected) in [
        (json!({"metadata": {"uid": "another"}}), "Changed"),
        (json!({"metadata": {"deletionTimestamp": "2026-11-23T09:59:59Z"}}), "Changed"),
        (json!({"metadata": {"annotations": {"grpc-hygiene.io/exempt": "true"}}}), "Exempt"),
        (json!({"metadata": {"ownerReferences": null}}), "Changed"),
        (json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}), "PodNotReady"),
        (json!({"status": {"phase": "Pending"}}), "PodNotReady"),
    ] {
        let fake = shop();
        fake.touch(POD, &change);
        assert_eq!(word(&carry_out(&fake, &evict_orders()).await), expected, "{change}");
        assert_silence(&fake);
    }
    let fake = shop();
    fake.remove(POD);
    assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "Changed");
    assert_silence(&fake);
}

#[tokio::test]
async fn whatever_came_up_about_the_workload_withholds_before_anything_is_written() {
    for (change, expected) in [
        (json!({"metadata": {"generation": 2}}), "RolloutInProgress"),
        (json!({"status": {"updatedReplicas": 2}}), "RolloutInProgress"),
        (json!({"status": {"availableReplicas": 2}}), "TooFewAvailable"),
        (json!({"metadata": {"annotations": {"grpc-hygiene.io/exempt": "true"}}}), "Exempt"),
        (json!({"metadata": {"uid": "another"}}), "Changed"),
    ] {
        let fake = shop();
        fake.touch(DEPLOYMENT, &change);
        assert_eq!(word(&carry_out(&fake, &evict_orders()).await), expected, "{change}");
        assert_silence(&fake);
    }
    let fake = shop();
    fake.remove(DEPLOYMENT);
    assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "WorkloadUnknown");
    assert_silence(&fake);
}

#[tokio::test]
async fn a_budget_that_allows_nothing_is_not_even_asked() {
    let budget = |allowed: u32| {
        json!({"metadata": {"generation": 1}, "spec": {"selector": {"matchLabels": {"app": "orders"}}}, "status": {
            "disruptionsAllowed": allowed, "observedGeneration": 1, "currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3}})
    };
    let fake = shop();
    fake.put(&format!("{BUDGETS}/orders"), budget(0));
    let outcomes = carry_out(&fake, &evict_orders()).await;
    assert_eq!(outcomes[0].result, Err(Because::DisruptionBudget { name: "orders".into() }));
    assert_silence(&fake);
    let fake = shop();
    fake.put(&format!("{BUDGETS}/orders"), budget(1));
    assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "done");
}

#[tokio::test]
async fn a_restart_that_fails_does_not_stop_the_others() {
    let fake = shop();
    workload(&fake, "users");
    fake.script(Method::POST, EVICTION, budget_forbids("orders-pdb"));
    let cases = ["orders", "users"].map(|it| case(it, &[Remediation::Restart], Restart::Evict));
    let outcomes = carry_out(&fake, &plan(cases.into())).await;
    let words: Vec<&str> = outcomes.iter().map(|it| word(std::slice::from_ref(it))).collect();
    assert_eq!(words, ["PodDisruptionBudget", "done"]);
}

#[tokio::test]
async fn the_cooldown_of_the_ledger_holds_whatever_the_plan_says() {
    let fake = shop();
    carry_out(&fake, &evict_orders()).await;
    workload(&fake, "orders");
    fake.forget_log();
    assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "Cooldown");
    assert_silence(&fake);
    fake.wait(Duration::from_secs(3_606));
    let later = now() + Duration::from_secs(3_606);
    assert_eq!(word(&carry_out_at(&fake, &evict_orders(), later).await), "done");
    assert_eq!(ledger_of(&fake).await.entries.len(), 2);
}

#[tokio::test]
async fn without_a_ledger_nothing_is_restarted_and_none_is_made() {
    let fake = shop();
    fake.remove(LEDGER);
    let outcomes = carry_out(&fake, &evict_orders()).await;
    let Err(Because::Ledger { reason }) = &outcomes[0].result else { panic!("{outcomes:?}") };
    assert!(reason.contains("kubectl create configmap grpc-hygiene-ledger --namespace hygiene"), "{reason}");
    assert_silence(&fake);
}

#[tokio::test]
async fn an_empty_ledger_is_begun_and_allows_nothing_at_first() {
    let fake = shop();
    fake.put(LEDGER, json!({"metadata": {"labels": {"team": "platform"}}}));
    assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "NewLedger");
    assert_silence(&fake);
}

#[tokio::test]
async fn a_plan_that_is_old_or_of_the_future_by_the_api_server_s_clock_is_not_carried_out() {
    for off in [37, -7] {
        let fake = shop();
        let made = now() - jiff::SignedDuration::from_secs(off);
        assert_eq!(word(&carry_out_at(&fake, &evict_orders(), made).await), "ClockSkew");
        assert_silence(&fake);
    }
}

#[tokio::test]
async fn an_unknown_restart_of_the_namespace_and_of_the_cluster_counts() {
    for (namespaces, expected) in [(vec!["shop"; 3], "NamespaceLimit"), (vec!["billing"; 10], "ClusterLimit")] {
        let fake = shop();
        let others = (0..).zip(namespaces).map(|(n, namespace): (u32, &str)| {
            let mut other = entry(&fake, POD, State::Confirmed, Duration::from_secs(60));
            other.workload.name = format!("other-{n}");
            namespace.clone_into(&mut other.namespace);
            "cluster-wide".clone_into(&mut other.policy);
            other
        });
        let others: Vec<_> = others.collect();
        write_ledger(&fake, &others);
        assert_eq!(word(&carry_out(&fake, &evict_orders()).await), expected);
        assert_silence(&fake);
    }
}
