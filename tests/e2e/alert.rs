//! Scenario 3: both Alertmanagers hold the alert with its labels while the service leaks; it is resolved, and the
//! annotations go, when the fix is deployed.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use super::{
    pages,
    shop::{Client, Shop, marks},
    world::{DETECTION, QUIET, SOON, World},
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn the_alert_fires_while_it_leaks_and_is_resolved_by_the_fix() {
    let world = World::with_operator().await;
    let undisturbed = QUIET.read().await;
    let shop = Shop::open(world, "e2e-alert").await;
    shop.deploy(&[Client::plain("orders-leaky", 1)]).await;
    let remediation = json!({"annotate": {}, "alert": {"after": "0s", "severity": "critical"}});
    shop.policy(json!({"mode": "Enforce", "remediation": remediation})).await;

    let (world, namespace) = (&shop.world, shop.namespace.as_str());
    for replica in [0, 1] {
        let fires = || async move {
            let alerts = pages::alerts(world, replica, namespace).await?;
            alerts.into_iter().next().ok_or_else(|| "no alert yet".to_owned())
        };
        let alert = world.eventually(namespace, DETECTION, "the alert fires", fires).await;
        assert_labels(&alert, namespace);
    }

    shop.fix("orders-leaky").await;
    for replica in [0, 1] {
        let resolved = || async move {
            let alerts = pages::alerts(world, replica, namespace).await?;
            if alerts.is_empty() { Ok(()) } else { Err(format!("{alerts:?}")) }
        };
        world.eventually(namespace, DETECTION, "the alert is resolved", resolved).await;
    }
    // The status is written after the receivers have answered, so it may follow; an alert that ran out by itself would
    // be ended there only later than both receivers dropped it.
    let dropped = Timestamp::now();
    let ended = || async {
        let status = shop.status().await?;
        let ends: Vec<_> = status.alerts.iter().map(|it| it.ends_at.as_ref().map(|it| it.0)).collect();
        let all = !ends.is_empty() && ends.iter().all(Option::is_some);
        if all { Ok((status, ends)) } else { Err(format!("{status:?}")) }
    };
    let (status, ends) = world.eventually(namespace, SOON, "the status says that the alert has ended", ended).await;
    assert!(status.offenders.is_empty(), "{status:?}");
    assert!(ends.iter().flatten().all(|at| *at <= dropped), "it was resolved, and did not run out: {status:?}");
    let clean = || async {
        let deployment = shop.api::<Deployment>().get("orders-leaky").await.map_err(|it| it.to_string())?;
        let marks = format!("{:?}", marks(&deployment));
        if marks == "{}" { Ok(()) } else { Err(marks) }
    };
    world.eventually(namespace, SOON, "the annotations are removed", clean).await;
    drop(undisturbed);
    shop.remove().await;
}

fn assert_labels(alert: &Value, namespace: &str) {
    let labels = json!({
        "alertname": "GrpcClientHygiene", "severity": "critical", "namespace": namespace, "workload_kind": "Deployment",
        "workload": "orders-leaky", "container": "shop", "diagnosis": "DialPerCall", "policy": format!("{namespace}/clients"),
    });
    assert_eq!(alert["labels"], labels);
    let text = |key: &str| alert["annotations"][key].as_str().unwrap_or_default().to_owned();
    assert!(text("runbook_url").ends_with("/docs/runbooks/DialPerCall.md"), "{alert}");
    assert!(text("description").contains("share it"), "{alert}");
}
