//! Many alerts that begin together, at the wire: one summary, and nobody who is lost.

use grpc_hygiene::{
    api::AlertRecord,
    decide::{Because, Plan, Remediation, Restart},
    io::{
        act::{Hands, act},
        notify::Alerts,
    },
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use crate::{
    alerts::{Receiver, from_yaml, record, sending},
    world::{as_leader, case, hands, now, plan, policy, shop},
};

/// Alerts of which three within ten minutes are many.
fn summing_up(receiver: &Receiver) -> Alerts {
    from_yaml(&format!(
        "alertmanagers: [{{url: '{}'}}]\ncluster: east\nalerts: {{collapse: {{count: 3}}}}",
        receiver.url
    ))
}

/// An alert that begins now.
fn begins(name: &str) -> AlertRecord {
    AlertRecord { starts_at: Time(Timestamp::now()), ..record(name) }
}

/// What fires in a body, by workload; the summary by its `alertname`.
fn firing(body: &Value) -> Vec<String> {
    let clock = Timestamp::now();
    let fires =
        |it: &&Value| it["endsAt"].as_str().and_then(|it| it.parse().ok()).is_some_and(|it: Timestamp| it > clock);
    let name = |it: &Value| it["labels"]["workload"].as_str().or(it["labels"]["alertname"].as_str()).map(str::to_owned);
    body.as_array().expect("a list").iter().filter(fires).filter_map(name).collect()
}

#[tokio::test]
async fn many_that_begin_together_are_one_alert_and_what_fired_before_goes_on() {
    let receiver = Receiver::willing().await;
    let alerts = summing_up(&receiver);
    sending(&alerts, async {
        let first = alerts.set("shop/clients", vec![begins("orders"), begins("users")]);
        assert_eq!(alerts.delivered(first).await, Ok(()));
        let critical = AlertRecord { severity: "critical".into(), ..begins("carts") };
        let more = alerts.set("shop/others", vec![begins("mails"), critical]);
        assert_eq!(alerts.delivered(more).await, Ok(()));
    })
    .await;
    let body = receiver.bodies(2).await.pop().expect("a body");
    assert_eq!(firing(&body), ["orders", "users", "GrpcClientHygieneMany"]);
    let summary = &body[2];
    let labels = serde_json::json!({"alertname": "GrpcClientHygieneMany", "severity": "critical", "cluster": "east"});
    assert_eq!(summary["labels"], labels);
    let told = |it: &str| summary["annotations"][it].as_str().expect("an annotation").to_owned();
    assert_eq!(told("summary"), "2 gRPC clients began to break their policies at about the same time");
    assert_eq!((told("diagnoses"), told("namespaces")), ("DialPerCall 2".into(), "shop 2".into()));
    assert_eq!(told("worst"), "Deployment shop/carts (app): DialPerCall; Deployment shop/mails (app): DialPerCall");
    assert!(told("description").contains("kubectl get gcpol,cgcpol -A"));
}

#[tokio::test]
async fn every_alert_that_was_summed_up_and_still_fires_afterwards_is_sent() {
    let receiver = Receiver::willing().await;
    let alerts = summing_up(&receiver);
    let all: Vec<AlertRecord> = (0..25).map(|it| begins(&format!("w{it:02}"))).collect();
    sending(&alerts, async {
        let news = alerts.set("shop/clients", all.clone());
        assert_eq!(alerts.delivered(news).await, Ok(()));
        assert_eq!(firing(&receiver.bodies(1).await[0]), ["GrpcClientHygieneMany"]);
        // Down to two, which are fewer than many.
        let news = alerts.set("shop/clients", all[..2].to_vec());
        assert_eq!(alerts.delivered(news).await, Ok(()));
    })
    .await;
    let body = receiver.bodies(2).await.pop().expect("a body");
    assert_eq!(firing(&body), ["w00", "w01"]);
    let resolved: Vec<&Value> = body.as_array().expect("a list").iter().skip(2).collect();
    assert_eq!(resolved.len(), 1, "nobody is told that it ended who was never told that it began: {resolved:?}");
    assert_eq!(resolved[0]["labels"]["alertname"], "GrpcClientHygieneMany");
}

#[tokio::test]
async fn another_leader_goes_on_with_the_same_summary() {
    let (first, second) = (Receiver::willing().await, Receiver::willing().await);
    let before = summing_up(&first);
    let all: Vec<AlertRecord> = (0..4).map(|it| begins(&format!("w{it}"))).collect();
    sending(&before, async {
        let news = before.set("shop/clients", all.clone());
        assert_eq!(before.delivered(news).await, Ok(()));
    })
    .await;
    let written = before.noted("shop/clients", all);
    assert!(written.iter().all(|it| it.collapsed.is_some()));
    let after = summing_up(&second);
    sending(&after, async {
        // Of two policies it has seen one, whose alerts alone would not be many.
        let news = after.set("shop/clients", written[..2].to_vec());
        assert_eq!(after.delivered(news).await, Ok(()));
    })
    .await;
    let [told, again] = [first.bodies(1).await.remove(0), second.bodies(1).await.remove(0)];
    assert_eq!(firing(&again), ["GrpcClientHygieneMany"]);
    assert_eq!((&told[0]["labels"], &told[0]["startsAt"]), (&again[0]["labels"], &again[0]["startsAt"]));
}

#[tokio::test]
async fn whoever_is_summed_up_was_not_told_of_and_says_so() {
    let receiver = Receiver::willing().await;
    let alerts = summing_up(&receiver);
    let names = ["orders", "users", "carts"];
    let cases = names.map(|it| case(it, &[Remediation::Alert], Restart::Evict)).to_vec();
    let many = Plan { alerts: names.map(begins).to_vec(), ..plan(cases) };
    let outcomes = as_leader(async |leadership| {
        let hands = Hands { alerts: alerts.clone(), ..hands(&shop(), &leadership) };
        sending(&alerts, act(&hands, &policy(), &many, now())).await
    })
    .await;
    let because: Vec<_> = outcomes.iter().map(|it| it.result.as_ref().map_err(Because::reason)).collect();
    assert_eq!(because, [Err("Collapsed"); 3]);
}

#[tokio::test]
async fn a_mail_of_several_batches_is_carried_by_one_client() {
    let receiver = Receiver::willing().await;
    let alerts =
        from_yaml(&format!("alertmanagers: [{{url: '{}'}}]\nalerts: {{collapse: {{count: 0}}}}", receiver.url));
    sending(&alerts, async {
        let news = alerts.set("shop/clients", (0..300).map(|it| begins(&format!("w{it}"))).collect());
        assert_eq!(alerts.delivered(news).await, Ok(()));
    })
    .await;
    let sizes: Vec<usize> = receiver.bodies(2).await.iter().filter_map(|it| it.as_array().map(Vec::len)).collect();
    assert_eq!(sizes, [256, 44]);
    let callers: std::collections::BTreeSet<_> = receiver.callers().into_iter().collect();
    assert_eq!(callers.len(), 1, "over one connection");
}
