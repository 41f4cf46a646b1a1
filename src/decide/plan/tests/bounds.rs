//! Restarts within the administrator's bounds, and in a storm.

use std::time::Duration;

use super::*;
use crate::decide::{Windows, overlap::Rival, storm::StormRule};

/// Three more workloads of the namespace, whose pods offend since `at(since)`.
fn struck(since: i64) -> World {
    let mut world = world();
    for name in ["users", "billing", "search"] {
        let mut other = finding(name);
        other.target.workload = Some(Workload { name: name.into(), ..workload() });
        let (subject, mut known) = past(&other);
        known.since = at(since);
        world.history.past.insert(subject, known);
        world.findings.push(other);
    }
    world
}

fn healthy(count: usize) -> impl Iterator<Item = Finding> {
    (0..count).map(|n| {
        let mut other = finding(&format!("calm-{n}"));
        other.target.workload = Some(Workload { name: format!("calm-{n}"), ..workload() });
        Finding { verdict: Verdict::Healthy, ..other }
    })
}

#[test]
fn when_many_workloads_begin_to_offend_within_minutes_nobody_is_restarted() {
    assert_eq!(struck(0).restart_of("a"), Ok(Restart::Evict), "an hour ago is not at once");
    let storm = struck(3_300);
    assert_eq!(storm.restart_of("a"), Err("Storm"));
    assert_eq!(storm.plan().storm.as_deref(), Some("3 of 4 workloads began to offend within 10m"));
    assert_eq!(storm.plan().alerts.len(), 4, "alerts go out all the same");
}

#[test]
fn many_is_at_least_three_and_a_third_of_all() {
    let mut large = struck(3_300);
    large.findings.extend(healthy(6));
    assert_eq!(large.restart_of("a"), Err("Storm"), "3 of 10");
    large.findings.extend(healthy(7).skip(6));
    assert_eq!(large.restart_of("a"), Ok(Restart::Evict), "3 of 11");
    let mut two = struck(3_300);
    two.findings.pop();
    assert_eq!(two.restart_of("a"), Ok(Restart::Evict), "2 of 3");
    let mut open = struck(3_300);
    open.history.guard.storm = StormRule { workloads: 4, ..StormRule::default() };
    assert_eq!(open.restart_of("a"), Ok(Restart::Evict));
}

#[test]
fn when_many_containers_lose_their_data_at_once_nobody_is_restarted() {
    let mut blind = world();
    blind.findings.extend(healthy(9).map(|it| Finding { verdict: Verdict::Healthy, ..it }));
    for finding in blind.findings.iter_mut().skip(1).take(3) {
        finding.verdict = Verdict::Inconclusive(Why::NoData);
    }
    assert_eq!(blind.restart_of("a"), Err("Storm"));
    assert_eq!(blind.plan().storm.as_deref(), Some("3 of 10 containers have no data any more"));
    blind.history.missing = 2;
    assert_eq!(blind.restart_of("a"), Ok(Restart::Evict), "most of them never had any");
}

#[test]
fn a_storm_in_the_ledger_holds_though_this_policy_sees_none() {
    let mut calm = world();
    let Some(Budget::Known(ledger)) = &calm.history.budget else { panic!("no ledger") };
    let ledger = ledger.stormy("billing/clients", "5 of 8 workloads", Duration::from_secs(900), at(3_000));
    calm.history.budget = Some(Budget::Known(ledger));
    assert_eq!(calm.restart_of("a"), Err("Storm"));
}

#[test]
fn restarts_are_made_in_the_administrator_s_namespaces_and_windows_only() {
    let mut elsewhere = world();
    elsewhere.history.guard.namespaces = Some(vec!["billing".into()]);
    assert_eq!(elsewhere.restart_of("a"), Err("NamespaceNotAllowed"));
    elsewhere.history.guard.namespaces = Some(vec!["shop".into()]);
    assert_eq!(elsewhere.restart_of("a"), Ok(Restart::Evict));
    let windows: Vec<crate::api::WindowSpec> =
        serde_json::from_value(serde_json::json!([{"from": "22:00", "to": "04:00"}])).expect("windows");
    elsewhere.history.guard.windows = Windows::parse(Some(&windows)).expect("valid");
    assert_eq!(elsewhere.restart_of("a"), Err("OutsideWindow"));
}

#[test]
fn where_somebody_stopped_restarts_it_is_said_so() {
    let mut stopped = world();
    stopped.history.stopped.insert("shop".into(), Because::Stopped { by: "namespace shop".into() });
    assert_eq!(stopped.restart_of("a"), Err("Stopped"));
}

/// The world with another policy that restarts the pod.
fn contested(restart: &serde_json::Value) -> World {
    let mut world = world();
    world.history.rivals = vec![Rival::new("all-shops", &enforcing(restart), &world.findings)];
    world
}

#[test]
fn of_two_policies_that_restart_a_pod_the_strictest_holds() {
    assert_eq!(contested(&serde_json::json!({})).restart_of("a"), Ok(Restart::Evict));
    let mut recent = contested(&serde_json::json!({"cooldown": "6h"}));
    recent.spend("x", at(-7_200), true);
    assert_eq!(recent.restart_of("a"), Err("Cooldown"));
    let mut often = contested(&serde_json::json!({"maxPerDay": 1}));
    often.spend("x", at(-7_200), true);
    assert_eq!(often.restart_of("a"), Err("DailyLimit"));
    for (stricter, reason) in [
        (serde_json::json!({"after": "2h"}), "TooSoon"),
        (serde_json::json!({"windows": [{"from": "22:00", "to": "04:00"}]}), "OutsideWindow"),
    ] {
        let contested = contested(&stricter);
        assert_eq!(contested.restart_of("a"), Err(reason));
        let rung = contested.plan().cases[0].rungs[2].clone();
        let Decision::Withheld(because) = rung.decision else { panic!("{rung:?}") };
        assert!(because.to_string().starts_with("policy all-shops, which selects the pod too: "), "{because}");
    }
}

#[test]
fn policies_that_share_pods_say_so_and_others_do_not() {
    let mut shared = contested(&serde_json::json!({"cooldown": "6h"}));
    assert_eq!(shared.plan().overlaps, ["all-shops"]);
    shared.history.rivals[0].pods = std::sync::Arc::default();
    assert_eq!(shared.plan().overlaps, Vec::<String>::new());
    shared.spend("x", at(-7_200), true);
    assert_eq!(shared.restart_of("a"), Ok(Restart::Evict), "its limits are not ours");
}

#[test]
fn of_many_that_look_sure_by_chance_none_is_restarted_and_the_rest_of_the_plan_stands() {
    // 0.1 % by itself is chance among four; beside one that is beyond doubt, too.
    let mut world = struck(0);
    let standing = world.history.workloads[&workload()].clone();
    for finding in &mut world.findings[1..] {
        let Verdict::Growing(growth) = &mut finding.verdict else { panic!("they offend") };
        growth.confidence = Confidence::from_p_value(0.02);
        let owner = finding.target.workload.clone().expect("an owner");
        world.history.alerts.push(AlertRecord { workload: owner.reference(), ..firing() });
        world.history.workloads.insert(owner, standing.clone());
    }
    assert_eq!(world.restart_of("a"), Ok(Restart::Evict));
    for name in ["users", "billing", "search"] {
        assert_eq!(world.restart_of(name), Err("NotConfirmed"), "{name}");
    }
    let plan = world.plan();
    assert!(plan.cases.iter().all(|it| it.does(Remediation::Annotate) && it.does(Remediation::Alert)), "{plan:?}");
}
