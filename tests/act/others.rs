//! Windows and other policies have their say once more right before the act.

use std::{collections::BTreeSet, sync::Arc};

use grpc_hygiene::{
    api::WindowSpec,
    decide::{Others, Plan, Windows, overlap::Rival, policy::MaxUnavailable},
    io::act::act,
};
use jiff::SignedDuration;
use serde_json::json;

use crate::{
    fake::Fake,
    world::{DEPLOYMENT, as_leader, carry_out_at, evict_orders, hands, now, policy, shop, states, word},
};

#[tokio::test]
async fn a_window_that_closes_after_the_plan_was_made_stops_the_restart_at_the_debit() {
    let until = |to: &str| {
        let spec: WindowSpec = serde_json::from_value(json!({"from": "09:00", "to": to})).expect("a window");
        let windows = Windows::parse(Some(&[spec])).expect("valid");
        Plan { others: Others { windows, rivals: vec![] }, ..evict_orders() }
    };
    let planned = now() - SignedDuration::from_secs(20);
    let closed = shop();
    assert_eq!(word(&carry_out_at(&closed, &until("10:00"), planned).await), "OutsideWindow");
    assert_eq!((closed.writes(), states(&closed).await), (vec![], vec![]));
    assert_eq!(word(&carry_out_at(&shop(), &until("10:01"), planned).await), "done");
}

#[tokio::test]
async fn another_policy_that_allows_fewer_missing_pods_is_asked_about_the_workload_as_it_is_now() {
    let mut lenient = policy();
    lenient.restart.as_mut().expect("a rule").max_unavailable = MaxUnavailable::Pods(2);
    let rival = |pod: &str| Rival {
        policy: "everybody".into(),
        rule: policy().restart.expect("a rule"),
        pods: Arc::new(BTreeSet::from([("shop".to_owned(), pod.to_owned())])),
        approved: Arc::default(),
    };
    let carried_out = async |fake: &Fake, rivals: Vec<Rival>| {
        fake.touch(DEPLOYMENT, &json!({"status": {"availableReplicas": 2, "readyReplicas": 2}}));
        let plan = Plan { others: Others { rivals, ..Others::default() }, ..evict_orders() };
        as_leader(async |leadership| word(&act(&hands(fake, &leadership), &lenient, &plan, now()).await)).await
    };
    assert_eq!(carried_out(&shop(), vec![]).await, "done");
    assert_eq!(carried_out(&shop(), vec![rival("users-1")]).await, "done", "it is about other pods");
    let fake = shop();
    assert_eq!(carried_out(&fake, vec![rival("orders-1")]).await, "TooFewAvailable");
    assert_eq!(fake.writes(), Vec::<String>::new());
}
