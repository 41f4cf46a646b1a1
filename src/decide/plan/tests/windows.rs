//! Restarts in and outside of their windows. It is 15 January 2027, 09:00 UTC, a Friday.

use super::*;
use crate::decide::overlap::Rival;

fn withheld(windows: serde_json::Value, change: fn(&mut World)) -> Option<Because> {
    let mut world = world();
    world.spec["remediation"]["restart"]["windows"] = windows;
    change(&mut world);
    let plan = world.plan();
    assert!(plan.cases[0].does(Remediation::Alert), "alerts do not wait");
    assert_eq!(plan.alerts.len(), 1);
    assert_eq!(AlertRecord { restarts: None, ..plan.alerts[0].clone() }, firing());
    let rung = plan.cases[0].rungs.iter().find(|it| it.remediation == Remediation::Restart).expect("a restart");
    match &rung.decision {
        Decision::Withheld(because) => Some(because.clone()),
        Decision::Do | Decision::WouldDo => None,
    }
}

fn as_it_is(_: &mut World) {}

#[test]
fn in_a_window_a_restart_is_made_as_without_any() {
    assert_eq!(now().to_string(), "2027-01-15T09:00:00Z");
    assert_eq!(withheld(serde_json::json!([{"from": "09:00", "to": "09:01"}]), as_it_is), None);
    let berlin = serde_json::json!([{"days": ["Fri"], "from": "10:00", "to": "12:00", "timeZone": "Europe/Berlin"}]);
    assert_eq!(withheld(berlin, as_it_is), None);
}

#[test]
fn outside_of_all_windows_a_restart_is_withheld_until_the_next_begins() {
    let windows = serde_json::json!([
        {"from": "22:00", "to": "04:00"},
        {"days": ["Fri"], "from": "11:30", "to": "12:00", "timeZone": "Europe/Berlin"}]);
    let because = withheld(windows, as_it_is).expect("withheld");
    assert_eq!(because, Because::OutsideWindow { opens: Some(now() + SignedDuration::from_mins(90)), in_time: true });
    assert_eq!(because.reason(), "OutsideWindow");
    assert_eq!(because.to_string(), "no window for restarts is open; the next begins at 2027-01-15T10:30:00Z");
}

#[test]
fn a_window_that_begins_too_late_is_waited_for_all_the_same_and_people_are_told() {
    // A restart is in time for 6,700 seconds more.
    let at = |minute: &str| serde_json::json!([{"from": minute, "to": "12:00"}]);
    let in_time = |because: Option<Because>| match because {
        Some(Because::OutsideWindow { in_time, .. }) => in_time,
        other => panic!("{other:?}"),
    };
    assert!(in_time(withheld(at("10:51"), as_it_is)));
    let late = withheld(at("10:52"), as_it_is);
    let says = late.as_ref().map(ToString::to_string).unwrap_or_default();
    assert!(says.ends_with("10:52:00Z, and memory is forecast to run out before that: the alert stands"), "{says}");
    assert!(!in_time(late));
}

#[test]
fn before_the_act_every_window_is_looked_at_again_whoever_asked_for_it() {
    let any_time = enforcing(&serde_json::json!({}));
    let morning = enforcing(&serde_json::json!({"windows": [{"from": "08:00", "to": "10:00"}]}));
    let mut world = world();
    let asked = |world: &World, rule: &RestartRule, minutes: i64| {
        let plan = world.plan();
        let later = now() + SignedDuration::from_mins(minutes);
        plan.others.are_open(rule, &plan.cases[0], later).map_err(|it| it.reason())
    };
    assert_eq!([0, 61].map(|it| asked(&world, &any_time, it)), [Ok(()), Ok(())]);
    assert_eq!([0, 61].map(|it| asked(&world, &morning, it)), [Ok(()), Err("OutsideWindow")]);
    world.history.rivals = vec![Rival::new("everybody", &morning, &world.findings)];
    assert_eq!([0, 61].map(|it| asked(&world, &any_time, it)), [Ok(()), Err("OutsideWindow")]);
    world.history.rivals.clear();
    world.history.guard.windows = morning.windows;
    assert_eq!([0, 61].map(|it| asked(&world, &any_time, it)), [Ok(()), Err("OutsideWindow")]);
}

#[test]
fn what_is_about_the_workload_is_said_before_the_window_and_what_is_about_the_budget_after() {
    let closed = || serde_json::json!([{"from": "22:00", "to": "04:00"}]);
    let reason = |change| withheld(closed(), change).map(|it| it.reason());
    assert_eq!(reason(|it| it.state().available = 2), Some("TooFewAvailable"));
    assert_eq!(reason(|it| it.spend("y", at(60), true)), Some("OutsideWindow"));
    assert_eq!(reason(|it| it.history.budget = None), Some("OutsideWindow"));
}

#[test]
fn a_dry_run_says_that_it_would_wait_for_the_window() {
    let mut dry = world();
    dry.spec["mode"] = "DryRun".into();
    dry.spec["remediation"]["restart"]["windows"] = serde_json::json!([{"from": "22:00", "to": "04:00"}]);
    assert_eq!(dry.restart_of("a"), Err("OutsideWindow"));
}
