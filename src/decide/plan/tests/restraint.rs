//! Restarts that wait for a person, stand down for an alert, or wait for a quiet moment.

use super::*;
use crate::decide::{
    approval::{Answer, Approvals},
    overlap::Rival,
    quietest::DayLoad,
    stand_down::{AlertingRule, Firing},
};

/// A world that asks, of a revision that is known.
fn asking(rule: &str) -> World {
    let mut world = world();
    world.set("approval", rule);
    world.findings[0].target.revision = Some("7d".into());
    world
}

fn approval(world: &World) -> Option<crate::decide::approval::Approval> {
    world.plan().cases[0].approvals.own.clone()
}

fn digest(world: &World) -> String {
    approval(world).expect("an approval is asked for").digest
}

/// Somebody says yes for an hour.
fn approve(world: &mut World) {
    let key = format!("approved.grpc-hygiene.io/{}", digest(world));
    let annotations = BTreeMap::from([(key, at(7_200).to_string())]);
    world.history.approvals = Approvals::of(&annotations);
}

/// The workload was restarted for this diagnosis, of this revision.
fn restarted(world: &mut World, revision: &str, diagnosis: Option<&str>) {
    world.spend(&format!("{revision}-{diagnosis:?}"), at(-7_200), true);
    let Some(Budget::Known(ledger)) = &mut world.history.budget else { panic!("no ledger") };
    let last = ledger.entries.last_mut().expect("an entry");
    (last.revision, last.diagnosis) = (Some(revision.into()), diagnosis.map(str::to_owned));
}

#[test]
fn a_restart_that_needs_a_yes_waits_for_it_and_says_how_to_give_it_and_until_when() {
    for rule in ["First", "Always"] {
        let mut world = asking(rule);
        assert_eq!(world.restart_of("a"), Err("AwaitingApproval"), "{rule}");
        let says = world.decided("a").expect_err("withheld").expect("a reason").to_string();
        let digest = digest(&world);
        assert_eq!(digest.len(), 10);
        let expected = format!(
            "a person has to approve it: grpc-hygiene approve shop/clients {digest}; \
             after 2027-01-15T10:51:40Z it would come too late"
        );
        assert_eq!(says, expected);
        assert_eq!(world.plan().alerts[0].approval.as_ref(), Some(&expected), "the alert says so");
        approve(&mut world);
        assert_eq!(world.restart_of("a"), Ok(Restart::Evict), "{rule}");
        assert_eq!(world.plan().alerts[0].approval, None);
    }
}

#[test]
fn without_the_rule_and_in_a_dry_run_nobody_is_asked() {
    assert_eq!(approval(&world()), None);
    let mut dry = asking("Always");
    dry.spec["mode"] = "DryRun".into();
    assert_eq!((dry.restart_of("a"), approval(&dry)), (Err("WouldDo"), None));
}

#[test]
fn another_finding_needs_another_yes_and_the_same_one_none() {
    let before = digest(&asking("First"));
    let after = |change: fn(&mut World)| {
        let mut world = asking("First");
        change(&mut world);
        digest(&world)
    };
    assert_eq!(after(|it| it.findings[0].target.subject.pod = "b".into()), before, "another pod of the same workload");
    assert_eq!(after(|it| it.findings[0].evidence.memory = Some(1.0)), before, "figures move");
    assert_ne!(after(|it| it.findings[0].target.revision = Some("8e".into())), before);
    assert_ne!(after(|it| it.findings[0].target.revision = None), before);
    assert_ne!(after(|it| it.history.policy = "shop/others".into()), before);
    assert_ne!(after(|it| it.history.alerts[0].starts_at = Time(at(180))), before, "it began anew");
    assert_ne!(
        after(|it| if let Verdict::Growing(growth) = &mut it.findings[0].verdict {
            growth.diagnosis = Diagnosis::ConnectionLeak;
        }),
        before
    );
    assert_ne!(digest(&asking("First")), after(of_another_workload), "another workload");
}

fn of_another_workload(world: &mut World) {
    let other = Workload { name: "users".into(), ..workload() };
    let standing = world.history.workloads.pop_first().expect("a workload").1;
    world.history.workloads.insert(other.clone(), standing);
    world.history.alerts[0].workload = other.reference();
    world.findings[0].target.workload = Some(other);
}

#[test]
fn first_asks_for_the_first_restart_of_a_revision_for_a_diagnosis_and_always_for_each() {
    let asks = |rule: &str, revision: &str, diagnosis: Option<&str>| {
        let mut world = asking(rule);
        restarted(&mut world, revision, diagnosis);
        approval(&world).is_some()
    };
    assert!(!asks("First", "7d", Some("DialPerCall")));
    assert!(asks("First", "6c", Some("DialPerCall")), "another revision");
    assert!(asks("First", "7d", Some("ConnectionLeak")), "another diagnosis");
    assert!(asks("First", "7d", None), "nobody knows what for");
    assert!(asks("Always", "7d", Some("DialPerCall")));
    let mut unreadable = asking("First");
    unreadable.history.budget = None;
    assert!(approval(&unreadable).is_some(), "what is not known was not approved");
}

#[test]
fn with_always_and_for_an_unknown_revision_one_yes_is_one_restart() {
    for (rule, revision) in [("Always", Some("7d".to_owned())), ("First", None)] {
        let mut world = asking(rule);
        world.findings[0].target.revision = revision;
        approve(&mut world);
        assert_eq!(world.restart_of("a"), Ok(Restart::Evict));
        restarted(&mut world, "7d", Some("DialPerCall"));
        assert_eq!(world.restart_of("a"), Err("AwaitingApproval"), "{rule}");
    }
}

#[test]
fn people_are_asked_before_the_window_begins_but_not_about_what_is_not_sure_or_not_allowed_yet() {
    let mut closed = asking("First");
    closed.spec["remediation"]["restart"]["windows"] = serde_json::json!([{"from": "22:00", "to": "04:00"}]);
    assert_eq!(closed.restart_of("a"), Err("AwaitingApproval"));
    approve(&mut closed);
    assert_eq!(closed.restart_of("a"), Err("OutsideWindow"));
    let mut unsure = asking("First");
    unsure.history.past.values_mut().for_each(|it| it.offender.looks = "CAA".into());
    if let Verdict::Growing(growth) = &mut unsure.findings[0].verdict {
        growth.strength = Strength::Alertable;
    }
    assert_eq!(unsure.restart_of("a"), Err("NotConfirmed"));
    let mut spent = asking("First");
    spent.spend("y", at(60), true);
    assert_eq!(spent.restart_of("a"), Err("Cooldown"));
}

#[test]
fn what_another_policy_asks_for_is_waited_for_as_it_has_seen_it() {
    let mut two = world();
    let rival = Rival::new("everybody", &restart_rule(&asking("First").spec), &two.findings);
    two.history.rivals = vec![rival.clone()];
    assert_eq!(two.restart_of("a"), Err("AwaitingApproval"), "it has not judged the pod");
    let mut theirs = asking("First");
    theirs.history.policy = "everybody".into();
    approve(&mut theirs);
    two.history.rivals = vec![rival.clone().planned(&theirs.plan())];
    assert_eq!(two.restart_of("a"), Ok(Restart::Evict));
    assert_eq!(two.plan().cases[0].approvals.others[0].policy, "everybody", "it is asked once more before the act");
    let known = rival.planned(&theirs.plan()).approved;
    let late = known.values().cloned().map(|it| it.map(|it| Answer::Given { until: now() } == it.answer));
    assert_eq!(late.collect::<Vec<_>>(), [Some(false)]);
}

#[test]
fn before_the_act_the_workload_is_looked_at_again_by_all_rules_that_have_a_say() {
    let mut two = world();
    two.set("maxUnavailable", 2);
    let own = restart_rule(&two.spec);
    let asked = |world: &mut World, ready: u32| {
        let plan = world.plan();
        let state = WorkloadState { ready, available: ready, ..world.state().clone() };
        let again = plan.others.let_disturb(&own, (&plan.cases[0], &workload()), Restart::Evict, &state, now());
        again.map_err(|it| it.reason())
    };
    assert_eq!([3, 2, 1].map(|ready| asked(&mut two, ready)), [Ok(()), Ok(()), Err("TooFewAvailable")]);
    let strict = enforcing(&serde_json::json!({"maxUnavailable": 1}));
    two.history.rivals = vec![Rival::new("everybody", &strict, &two.findings)];
    assert_eq!([3, 2].map(|ready| asked(&mut two, ready)), [Ok(()), Err("TooFewAvailable")]);
}

fn alerting(rules: Vec<AlertingRule>) -> World {
    let mut world = world();
    world.set("standDown", serde_json::json!({"alerts": ["NodeDown"]}));
    world.history.alerting = Some(Ok(rules));
    world
}

fn rule(name: &str, namespace: Option<&str>) -> AlertingRule {
    let firing = namespace.map(|it| Firing { namespace: Some(it.to_owned()), since: Some(at(0)) });
    let state = if firing.is_some() { "firing" } else { "inactive" }.to_owned();
    let (health, evaluated) = ("ok".into(), Some(now()));
    AlertingRule { name: name.into(), state, health, evaluated, firing: firing.into_iter().collect() }
}

#[test]
fn while_an_alert_fires_that_the_policy_names_nothing_is_restarted() {
    assert_eq!(alerting(vec![rule("NodeDown", None)]).restart_of("a"), Ok(Restart::Evict));
    assert_eq!(alerting(vec![rule("NodeDown", Some("shop"))]).restart_of("a"), Err("StandDown"));
    assert_eq!(alerting(vec![rule("NodeDown", Some("bank"))]).restart_of("a"), Ok(Restart::Evict), "not about us");
    assert_eq!(alerting(vec![]).restart_of("a"), Err("StandDown"), "the rule is not there");
    let mut unknown = alerting(vec![]);
    unknown.history.alerting = Some(Err("HTTP 503".into()));
    assert_eq!(unknown.restart_of("a"), Err("StandDown"));
    unknown.history.alerting = None;
    assert_eq!(unknown.restart_of("a"), Err("StandDown"));
}

#[test]
fn the_administrators_alerts_and_those_of_other_policies_hold_as_well() {
    let mut guarded = world();
    guarded.history.guard.stand_down = ["EtcdDown".to_owned()].into();
    guarded.history.alerting = Some(Ok(vec![rule("EtcdDown", Some("kube-system"))]));
    assert_eq!(guarded.restart_of("a"), Err("StandDown"), "whatever namespace it is about");
    let mut two = world();
    let theirs = restart_rule(&alerting(vec![]).spec);
    two.history.rivals = vec![Rival::new("everybody", &theirs, &two.findings)];
    two.history.alerting = Some(Ok(vec![rule("NodeDown", Some("bank"))]));
    let because = two.decided("a").expect_err("withheld").expect("a reason");
    assert!(matches!(because, Because::Overlap { .. }) && because.reason() == "StandDown", "{because}");
}

#[test]
fn a_workload_that_loses_a_pod_to_its_nodes_end_loses_no_other() {
    let mut drained = world();
    drained.findings[0].target.draining = Some("orders-2".into());
    assert_eq!(drained.restart_of("a"), Err("Draining"));
}

/// Memory lasts for two days, and at noon much less is called than now.
fn busy() -> World {
    let mut world = world();
    let calls = (0..48).map(|slot| if slot == 24 { 10.0 } else { 340.0 });
    world.findings[0].evidence.load = Some(DayLoad::from(calls.collect::<Vec<_>>()));
    let forecast = Forecast { soonest: 172_800.0, expected: 200_000.0, latest: 300_000.0, restart_by: 172_500.0 };
    world.findings[0].evidence.forecast = Some(forecast);
    world
}

#[test]
fn a_restart_waits_for_the_quietest_moment_and_says_both_loads() {
    let because = busy().decided("a").expect_err("withheld").expect("a reason");
    assert_eq!(because.reason(), "QuieterLater");
    assert_eq!(
        because.to_string(),
        "about 10 calls a second are usual at 2027-01-15T12:00:00Z, and 340 now; memory leaves time until then, and \
         remediation.restart.when: Now does not wait"
    );
}

#[test]
fn nobody_waits_for_a_quiet_moment_who_was_told_not_to_or_has_no_time_no_window_or_no_load() {
    let restarted = |change: fn(&mut World)| {
        let mut world = busy();
        change(&mut world);
        assert_eq!(world.restart_of("a"), Ok(Restart::Evict));
    };
    restarted(|it| it.set("when", "Now"));
    restarted(|it| it.findings[0].evidence.load = None);
    restarted(|it| it.findings[0].evidence.forecast = world().findings[0].evidence.forecast);
    restarted(|it| it.set("windows", serde_json::json!([{"from": "08:00", "to": "11:00"}])));
    restarted(|it| {
        it.set("approval", "First");
        approve(it);
    });
}
