//! Stopping: whatever the plan says, people have the last word, and doubt about it is a no.

use grpc_hygiene::decide::ledger::State;
use http::Method;
use serde_json::{Value, json};

use crate::{
    fake::{Answer, Fake, status},
    world::{NAMESPACE, POLICY, SWITCH, carry_out, evict_orders, shop, states, word},
};

async fn assert_withheld(fake: &Fake, expected: &str) {
    assert_eq!(word(&carry_out(fake, &evict_orders()).await), expected);
    assert_eq!(fake.writes(), Vec::<String>::new());
    assert_eq!(states(fake).await, []);
}

fn switch(data: &Value) -> Fake {
    let fake = shop();
    fake.put(SWITCH, json!({"metadata": {}, "data": data}));
    fake
}

#[tokio::test]
async fn a_switch_that_is_not_on_stops_every_restart() {
    for data in [json!({"restarts": "off"}), json!({"restarts": "false"}), json!({"restart": "on"}), Value::Null] {
        assert_withheld(&switch(&data), "Stopped").await;
    }
    let on = switch(&json!({"restarts": "on\n"}));
    assert_eq!(word(&carry_out(&on, &evict_orders()).await), "done");
}

#[tokio::test]
async fn a_label_on_the_namespace_stops_the_restarts_in_it() {
    let fake = shop();
    fake.touch(NAMESPACE, &json!({"metadata": {"labels": {"grpc-hygiene.io/restarts": "off"}}}));
    assert_withheld(&fake, "Stopped").await;
    fake.touch(NAMESPACE, &json!({"metadata": {"labels": {"grpc-hygiene.io/restarts": "on"}}}));
    assert_eq!(word(&carry_out(&fake, &evict_orders()).await), "done");
}

#[tokio::test]
async fn what_cannot_be_read_counts_as_stopped() {
    for path in [SWITCH, NAMESPACE] {
        let fake = shop();
        let (code, body) = status(403, "Forbidden", "no");
        fake.script(Method::GET, path, Answer::Status(code, body));
        assert_withheld(&fake, "Stopped").await;
    }
}

#[tokio::test]
async fn a_policy_that_was_suspended_changed_or_deleted_a_moment_ago_restarts_nobody() {
    let fake = shop();
    fake.touch(POLICY, &json!({"spec": {"suspend": true}}));
    assert_withheld(&fake, "Stopped").await;
    let fake = shop();
    fake.touch(POLICY, &json!({"metadata": {"generation": 2}}));
    assert_withheld(&fake, "Changed").await;
    let fake = shop();
    fake.touch(POLICY, &json!({"metadata": {"deletionTimestamp": "2026-11-23T09:59:59Z"}}));
    assert_withheld(&fake, "Changed").await;
    let fake = shop();
    fake.remove(POLICY);
    assert_withheld(&fake, "Changed").await;
}

#[tokio::test]
async fn what_stops_restarts_stops_no_annotation() {
    use grpc_hygiene::decide::{Remediation, Restart};
    let fake = switch(&json!({"restarts": "off"}));
    let plan = crate::world::plan(vec![crate::world::case("orders", &[Remediation::Annotate], Restart::Evict)]);
    assert_eq!(word(&carry_out(&fake, &plan).await), "done");
    assert_eq!(states(&fake).await, Vec::<State>::new());
}
