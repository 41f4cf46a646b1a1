//! Approvals at the wire: they are read once more right before the act, from the policy and nowhere else; and how a person
//! gives them.

use std::{collections::BTreeMap, time::Duration};

use grpc_hygiene::{
    api::names::annotations::APPROVED,
    decide::{
        Plan,
        approval::{Answer, Approval, Asked},
    },
    io::approvals::{find, write},
};
use http::Method;
use serde_json::{Value, json};

use crate::{
    fake::{Answer as Scripted, Fake},
    world::{EVICTION, POLICY, carry_out, evict_orders, ledger_of, now, shop, states, word},
};

const DIGEST: &str = "3fa1c0de12";
const RIVAL: &str = "/apis/grpc-hygiene.io/v1alpha1/clustergrpcclientpolicies/everybody";

fn given(policy: &str) -> Approval {
    let answer = Answer::Given { until: now() + Duration::from_secs(3_600) };
    Approval { policy: policy.into(), digest: DIGEST.into(), too_late: None, answer }
}

/// The plan of an approved restart.
fn approved() -> Plan {
    let mut plan = evict_orders();
    plan.cases[0].approvals = Asked { own: Some(given("shop/clients")), others: vec![] };
    plan
}

/// What people wrote on a policy.
fn annotate(fake: &Fake, policy: &str, value: &str) {
    fake.touch(policy, &json!({"metadata": {"annotations": {format!("{APPROVED}{DIGEST}"): value}}}));
}

async fn assert_waits(fake: &Fake, plan: &Plan) {
    assert_eq!(word(&carry_out(fake, plan).await), "AwaitingApproval");
    assert_eq!(fake.writes(), Vec::<String>::new());
    assert_eq!(states(fake).await, []);
}

#[tokio::test]
async fn an_approved_restart_is_made_and_what_it_was_for_stands_in_the_ledger() {
    let fake = shop();
    annotate(&fake, POLICY, "2026-11-23T11:00:00Z");
    assert_eq!(word(&carry_out(&fake, &approved()).await), "done");
    assert!(fake.writes().contains(&format!("POST {EVICTION}")));
    assert_eq!(ledger_of(&fake).await.entries[0].diagnosis.as_deref(), Some("DialPerCall"));
}

#[tokio::test]
async fn an_approval_that_was_taken_back_after_the_plan_was_made_stops_the_restart() {
    assert_waits(&shop(), &approved()).await;
    for value in ["2026-11-23T10:00:00Z", "2026-11-25T10:00:00Z", "yes"] {
        let fake = shop();
        annotate(&fake, POLICY, value);
        assert_waits(&fake, &approved()).await;
    }
    let other = shop();
    other.touch(
        POLICY,
        &json!({"metadata": {"annotations": {format!("{APPROVED}0000000000"): "2026-11-23T11:00:00Z"}}}),
    );
    assert_waits(&other, &approved()).await;
}

#[tokio::test]
async fn an_approval_that_ends_on_the_way_to_the_debit_stops_the_restart() {
    let fake = shop();
    annotate(&fake, POLICY, "2026-11-23T10:00:05Z");
    fake.wait(Duration::from_secs(5));
    assert_eq!(word(&carry_out(&fake, &approved()).await), "Changed");
    assert_eq!(fake.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn what_another_policy_asks_for_is_read_from_that_policy() {
    let mut plan = evict_orders();
    plan.cases[0].approvals = Asked { own: None, others: vec![given("everybody")] };
    let fake = shop();
    fake.put(RIVAL, json!({"apiVersion": "grpc-hygiene.io/v1alpha1", "kind": "ClusterGrpcClientPolicy", "metadata": {}, "spec": {}}));
    annotate(&fake, POLICY, "2026-11-23T11:00:00Z");
    assert_waits(&fake, &plan).await;
    annotate(&fake, RIVAL, "2026-11-23T11:00:00Z");
    assert_eq!(word(&carry_out(&fake, &plan).await), "done");
    let gone = shop();
    assert_eq!(word(&carry_out(&gone, &plan).await), "Changed");
    assert_eq!(gone.writes(), Vec::<String>::new());
}

/// A policy whose status says that a restart waits.
fn waiting() -> Fake {
    let offender = |pod: &str| {
        json!({
            "namespace": "shop", "pod": pod, "uid": pod, "container": "app", "diagnosis": "DialPerCall", "confidence": 99.9,
            "workload": {"kind": "Deployment", "name": "orders"}, "since": "2026-11-23T09:00:00Z", "message": "it leaks",
            "figures": {}, "remediations": [
                {"remediation": "Alert", "state": "Done"},
                {"remediation": "Restart", "state": "Withheld", "because": "AwaitingApproval",
                    "approval": {"digest": DIGEST, "state": "Waiting"}}]})
    };
    let fake = shop();
    fake.touch(POLICY, &json!({"status": {"offenders": [offender("orders-1"), offender("orders-2")]}}));
    fake
}

#[tokio::test]
async fn a_person_finds_what_waits_once_and_writes_nothing_but_the_approval() {
    let fake = waiting();
    let until = "2026-11-23T09:00:00Z";
    let annotations = json!({format!("{APPROVED}0000000000"): until, "team": "shop"});
    fake.touch(POLICY, &json!({"metadata": {"annotations": annotations}}));
    let client = fake.reading();
    let found = find(&client, "shop/clients").await.expect("an answer").expect("a policy");
    assert_eq!(found.asking.iter().map(|(_, it)| it.digest.as_str()).collect::<Vec<_>>(), [DIGEST]);
    assert_eq!(found.approvals.expired(now()), ["0000000000"]);
    fake.forget_log();
    let until = now() + Duration::from_secs(3_600);
    let changes = BTreeMap::from([(DIGEST.to_owned(), Some(until)), ("0000000000".to_owned(), None)]);
    write(&client, "shop/clients", &found, &changes).await.expect("written");
    let policy = fake.object(POLICY).expect("a policy");
    let expected = json!({"team": "shop", format!("{APPROVED}{DIGEST}"): "2026-11-23T11:00:00Z"});
    assert_eq!(policy["metadata"]["annotations"], expected);
    assert_eq!(fake.writes(), [format!("PATCH {POLICY}")]);
    let body: Value = fake.written(POLICY).body;
    assert_eq!(body.as_object().map(|it| it.keys().cloned().collect()), Some(vec!["metadata".to_owned()]));
    assert_eq!(body["metadata"]["uid"], policy["metadata"]["uid"], "of this very policy");
}

#[tokio::test]
async fn a_policy_that_is_not_there_or_may_not_be_read_has_nothing_to_approve() {
    let fake = shop();
    assert!(find(&fake.reading(), "shop/other").await.expect("an answer").is_none());
    let (code, body) = crate::fake::status(403, "Forbidden", "no");
    fake.script(Method::GET, POLICY, Scripted::Status(code, body));
    assert!(find(&fake.reading(), "shop/clients").await.is_err());
}
