//! What the alert of a workload that was restarted says of it.

use super::*;

#[test]
fn an_alert_tells_what_restarts_have_cost_and_goes_on_telling_it_while_nobody_can_look() {
    let mut debt = world();
    assert_eq!(debt.plan().alerts[0].restarts, None, "it was never restarted");
    for (uid, when) in [("x", -7_200), ("y", -3_660), ("z", -60)] {
        debt.spend(uid, at(when), true);
    }
    let told = debt.plan().alerts.remove(0);
    let text = "restarted 3 times in 24h, each bought about 1h";
    assert!(told.restarts.as_ref().is_some_and(|it| it.starts_with(text)), "{:?}", told.restarts);
    assert!(told.restarts.as_ref().is_some_and(|it| it.contains("no more restarts now")), "{:?}", told.restarts);
    debt.history.alerts = vec![told.clone()];
    debt.history.budget = None;
    assert_eq!(debt.plan().alerts, [told]);
}
