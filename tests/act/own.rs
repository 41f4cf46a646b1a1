//! What the operator says about itself reaches the receivers though nobody offends, and is resolved.

use grpc_hygiene::io::notify::Alerts;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::alerts::{Receiver, from_yaml, sending};

fn alerts(receiver: &Receiver, more: &str) -> Alerts {
    from_yaml(&format!("alertmanagers: [{{url: '{}'}}]\n{more}", receiver.url))
}

fn time(alert: &Value, field: &str) -> Timestamp {
    alert[field].as_str().and_then(|it| it.parse().ok()).expect("a time")
}

#[tokio::test]
async fn that_the_backend_does_not_answer_is_said_at_once_and_resolved_when_it_answers_everybody() {
    let receiver = Receiver::willing().await;
    let alerts = alerts(&receiver, "");
    let since = Timestamp::now() - SignedDuration::from_mins(6);
    sending(&alerts, async {
        alerts.blind("shop/clients", Some(since));
        receiver.bodies(1).await;
        alerts.end("shop/clients");
        receiver.bodies(2).await;
    })
    .await;
    let bodies = receiver.bodies(2).await;
    let [fires, ended] = [&bodies[0][0], &bodies[1][0]];
    assert_eq!(fires["labels"], serde_json::json!({"alertname": "GrpcHygieneBlind", "severity": "warning"}));
    assert!(fires["annotations"]["description"].as_str().is_some_and(|it| it.contains("shop/clients")), "{fires}");
    assert!(time(fires, "startsAt") < since + SignedDuration::from_secs(1) && time(fires, "endsAt") > Timestamp::now());
    assert_eq!(ended["labels"], fires["labels"]);
    assert!(time(ended, "endsAt") <= Timestamp::now(), "{ended}");
}

#[tokio::test]
async fn a_watchdog_is_sent_where_nothing_else_is_to_be_said() {
    let receiver = Receiver::willing().await;
    let alerts = alerts(&receiver, "alerts: {watchdog: true}");
    sending(&alerts, async {
        receiver.bodies(1).await;
    })
    .await;
    let body = &receiver.bodies(1).await[0];
    assert_eq!(body[0]["labels"]["alertname"], "GrpcHygieneWatchdog");
    assert_eq!(body.as_array().map(Vec::len), Some(1));
}
