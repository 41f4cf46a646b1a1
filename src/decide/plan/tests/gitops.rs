//! Rollouts that somebody takes back are not made again.

use super::*;
use crate::decide::ledger::restarted_at;

/// A world in which the policy rolls out, and did so at this time; now the workload carries this time of a restart.
fn rolled_out(when: Timestamp, carried: Option<Timestamp>) -> World {
    let mut world = world();
    world.set("method", "Rollout");
    world.state().uid = "u".into();
    world.state().restarted_at = carried.map(restarted_at);
    let Some(Budget::Known(ledger)) = &world.history.budget else { panic!("no ledger") };
    let object = Object {
        kind: "Deployment".into(),
        name: "orders".into(),
        uid: "u".into(),
        resource_version: "1".into(),
        generation: Some(1),
    };
    let entry = Entry {
        diagnosis: None,
        namespace: "shop".into(),
        workload: workload().reference(),
        revision: None,
        object: object.clone(),
        policy: "another".into(),
        at: when,
        state: State::Pending,
    };
    // It is settled a moment later than it was written.
    let settled = ledger.debited(entry).settled(&object, Settled::Happened, when + SignedDuration::from_secs(2));
    world.history.budget = Some(Budget::Known(settled));
    world
}

/// Longer ago than the cooldown.
fn earlier() -> Timestamp {
    at(-7_200)
}

#[test]
fn a_rollout_that_was_taken_away_or_changed_back_is_not_made_again() {
    for carried in [None, Some(at(-90_000))] {
        assert_eq!(rolled_out(earlier(), carried).restart_of("a"), Err("RestartReverted"), "{carried:?}");
    }
    let mut unreadable = rolled_out(earlier(), None);
    unreadable.state().restarted_at = Some("yesterday".into());
    assert_eq!(unreadable.restart_of("a"), Err("RestartReverted"));
}

#[test]
fn a_rollout_that_stands_or_was_followed_by_somebody_else_s_is_no_reason() {
    for carried in [earlier(), at(0)] {
        assert_eq!(rolled_out(earlier(), Some(carried)).restart_of("a"), Ok(Restart::Rollout));
    }
}

#[test]
fn what_was_taken_back_is_forgotten_after_a_day_and_with_the_workload_and_matters_to_no_eviction() {
    assert_eq!(rolled_out(at(3_600 - 86_400 - 2), None).restart_of("a"), Ok(Restart::Rollout));
    let mut made_anew = rolled_out(earlier(), None);
    made_anew.state().uid = "another".into();
    assert_eq!(made_anew.restart_of("a"), Ok(Restart::Rollout));
    let mut evicted = rolled_out(earlier(), None);
    evicted.set("method", "Auto");
    assert_eq!(evicted.restart_of("a"), Ok(Restart::Evict));
}

#[test]
fn an_eviction_of_before_leaves_nothing_that_could_be_taken_back() {
    let mut evicted = world();
    evicted.spend("x", earlier(), true);
    evicted.set("method", "Rollout");
    assert_eq!(evicted.restart_of("a"), Ok(Restart::Rollout));
}

#[test]
fn the_refusal_names_who_it_seems_to_be_and_what_to_do() {
    let mut reverted = rolled_out(earlier(), None);
    reverted.state().gitops = Some("Flux");
    let said = reverted.decided("a").expect_err("withheld").expect("a reason").to_string();
    assert!(said.contains("by Flux") && said.contains("method: Evict"), "{said}");
}

#[test]
fn where_a_rollout_may_be_taken_back_auto_evicts_even_the_pod_of_a_daemon_set() {
    let mut nodes = world();
    nodes.set("allowDaemonSets", true);
    let daemon_set = Workload { kind: "DaemonSet".into(), ..workload() };
    nodes.findings[0].target.workload = Some(daemon_set.clone());
    nodes.history.alerts = vec![AlertRecord { workload: daemon_set.reference(), ..firing() }];
    nodes.state().gitops = Some("Argo CD");
    let standing = nodes.history.workloads[&workload()].clone();
    nodes.history.workloads.insert(daemon_set, standing);
    assert_eq!(nodes.restart_of("a"), Ok(Restart::Evict));
    nodes.set("method", "Rollout");
    assert_eq!(nodes.restart_of("a"), Ok(Restart::Rollout));
}
