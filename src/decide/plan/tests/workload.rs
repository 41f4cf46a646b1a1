//! What is asked of a workload before one of its pods is disturbed. Each test falsifies one condition.

use super::*;
use crate::decide::Autoscaler;

/// The world with a workload of another kind.
fn of_kind(kind: &str) -> World {
    let mut other = world();
    other.findings[0].target.workload.as_mut().expect("an owner").kind = kind.into();
    other.history.past = BTreeMap::from([past(&other.findings[0])]);
    let reference = WorkloadRef { kind: kind.into(), name: "orders".into() };
    other.history.alerts = vec![AlertRecord { workload: reference, ..firing() }];
    let standing = other.history.workloads.pop_first().expect("a workload").1;
    other.history.workloads.insert(Workload { kind: kind.into(), ..workload() }, standing);
    other
}

impl World {
    fn any_state(&mut self) -> &mut WorkloadState {
        match self.history.workloads.first_entry().map(std::collections::btree_map::OccupiedEntry::into_mut) {
            Some(Standing::Known(state)) => state,
            other => panic!("{other:?}"),
        }
    }

    fn because(&self) -> String {
        self.decided("a").expect_err("withheld").expect("a reason").to_string()
    }
}

fn withheld(change: fn(&mut WorkloadState)) -> Result<Restart, &'static str> {
    let mut world = world();
    change(world.state());
    world.restart_of("a")
}

#[test]
fn each_doubt_about_the_workload_withholds_the_restart_by_name() {
    assert_eq!(withheld(|_| ()), Ok(Restart::Evict));
    assert_eq!(withheld(|it| (it.desired, it.ready, it.available) = (2, 2, 2)), Ok(Restart::Evict), "two are enough");
    assert_eq!(withheld(|it| it.exempt = true), Err("Exempt"));
    assert_eq!(withheld(|it| it.desired = 1), Err("OnlyReplica"));
    assert_eq!(withheld(|it| it.rolling_out = true), Err("RolloutInProgress"));
    assert_eq!(withheld(|it| it.blocking_budgets = vec!["orders".into()]), Err("PodDisruptionBudget"));
    let two = |it: &mut WorkloadState| it.blocking_budgets = vec!["a".into(), "b".into()];
    assert_eq!(withheld(two), Err("PodDisruptionBudgetMisconfigured"));
    assert_eq!(withheld(|it| it.ready = 2), Err("TooFewAvailable"));
    assert_eq!(withheld(|it| it.available = 2), Err("TooFewAvailable"));
    let mut unknown = world();
    unknown.history.workloads.insert(workload(), Standing::Unknown("timeout".into()));
    assert_eq!(unknown.restart_of("a"), Err("WorkloadUnknown"));
    unknown.history.workloads.clear();
    assert_eq!(unknown.restart_of("a"), Err("WorkloadUnknown"));
}

#[test]
fn the_same_doubts_withhold_a_rollout_and_so_does_what_blocks_one() {
    let withheld = |change: fn(&mut WorkloadState)| {
        let mut world = world();
        world.set("method", "Rollout");
        change(world.state());
        world.restart_of("a")
    };
    assert_eq!(withheld(|_| ()), Ok(Restart::Rollout));
    assert_eq!(withheld(|it| it.exempt = true), Err("Exempt"));
    assert_eq!(withheld(|it| it.desired = 1), Err("OnlyReplica"));
    assert_eq!(withheld(|it| it.rollout_blocked = Some("it is paused".into())), Err("RolloutBlocked"));
    assert_eq!(withheld(|it| it.rolling_out = true), Err("RolloutInProgress"));
    assert_eq!(withheld(|it| it.blocking_budgets = vec!["orders".into()]), Err("PodDisruptionBudget"));
    assert_eq!(withheld(|it| it.ready = 2), Err("TooFewAvailable"));
    assert_eq!(withheld(|it| it.available = 2), Err("TooFewAvailable"));
    // Both at once: what people can change is the better word.
    let stuck = |it: &mut WorkloadState| {
        (it.rolling_out, it.rollout_blocked) = (true, Some("it is past its deadline".into()));
    };
    assert_eq!(withheld(stuck), Err("RolloutBlocked"));
}

#[test]
fn a_policy_may_let_an_eviction_find_a_pod_missing_but_never_a_rollout_or_a_stateful_set() {
    for (kind, method, expected) in [
        ("Deployment", "Evict", Ok(Restart::Evict)),
        ("Deployment", "Rollout", Err("TooFewAvailable")),
        ("StatefulSet", "Evict", Err("TooFewAvailable")),
        ("Rollout", "Evict", Ok(Restart::Evict)),
    ] {
        let mut lax = of_kind(kind);
        lax.set("method", method);
        lax.set("maxUnavailable", 2);
        lax.any_state().available = 2;
        assert_eq!(lax.restart_of("a"), expected, "{kind}, {method}");
    }
}

#[test]
fn the_only_replica_is_restarted_only_by_choice_and_then_with_a_surge_or_an_accepted_gap() {
    let mut single = world();
    (single.state().desired, single.state().ready, single.state().available) = (1, 1, 1);
    for method in ["Auto", "Evict", "Rollout"] {
        single.set("method", method);
        assert_eq!(single.restart_of("a"), Err("OnlyReplica"), "{method}");
        assert!(single.because().contains("allowSingleReplica"), "{}", single.because());
    }
    single.set("allowSingleReplica", true);
    for (method, with_surge, without) in [
        ("Auto", Ok(Restart::Rollout), Err("OnlyReplica")),
        ("Rollout", Ok(Restart::Rollout), Err("OnlyReplica")),
        ("Evict", Ok(Restart::Evict), Ok(Restart::Evict)),
    ] {
        single.set("method", method);
        single.state().surges = true;
        assert_eq!(single.restart_of("a"), with_surge, "{method}");
        single.state().surges = false;
        assert_eq!(single.restart_of("a"), without, "{method}");
        if without.is_err() {
            assert!(single.because().contains("method: Evict"), "{}", single.because());
        }
    }
    single.set("method", "Auto");
    single.state().rollout_blocked = Some("it is paused".into());
    assert_eq!(single.restart_of("a"), Err("RolloutBlocked"));
}

#[test]
fn the_method_follows_the_replicas_unless_the_policy_chooses() {
    for kind in ["Deployment", "StatefulSet", "Rollout"] {
        let mut any = of_kind(kind);
        assert_eq!(any.restart_of("a"), Ok(Restart::Evict), "{kind}");
        any.set("method", "Rollout");
        assert_eq!(any.restart_of("a"), Ok(Restart::Rollout), "{kind}");
    }
}

#[test]
fn pods_of_a_daemon_set_are_restarted_only_by_choice() {
    let mut nodes = of_kind("DaemonSet");
    for method in ["Evict", "Rollout", "Auto"] {
        nodes.set("method", method);
        assert_eq!(nodes.restart_of("a"), Err("DaemonSet"), "{method}");
    }
    assert!(nodes.because().contains("allowDaemonSets"), "{}", nodes.because());
    nodes.set("allowDaemonSets", true);
    assert_eq!(nodes.restart_of("a"), Ok(Restart::Rollout));
    nodes.set("method", "Evict");
    assert_eq!(nodes.restart_of("a"), Ok(Restart::Evict));
}

#[test]
fn a_workload_that_was_just_scaled_or_cannot_grow_is_left_alone() {
    let at_rest = || Autoscaler { name: "orders".into(), max: 9, wanted: 3, scaled_at: Some(at(3_600 - 180)) };
    let with = |autoscaler: Autoscaler| {
        let mut scaled = world();
        scaled.state().autoscalers = vec![at_rest(), autoscaler];
        scaled
    };
    assert_eq!(with(at_rest()).restart_of("a"), Ok(Restart::Evict));
    assert_eq!(with(Autoscaler { scaled_at: None, ..at_rest() }).restart_of("a"), Ok(Restart::Evict));
    for (doubt, word) in [
        (Autoscaler { scaled_at: Some(at(3_600 - 179)), ..at_rest() }, "scaled the workload"),
        (Autoscaler { scaled_at: Some(at(3_700)), ..at_rest() }, "scaled the workload"),
        (Autoscaler { wanted: 9, ..at_rest() }, "maximum of 9"),
        (Autoscaler { wanted: 0, max: 3, ..at_rest() }, "maximum of 3"),
    ] {
        let doubtful = with(doubt);
        assert_eq!(doubtful.restart_of("a"), Err("Autoscaling"));
        assert!(doubtful.because().contains(word), "{}", doubtful.because());
    }
}
