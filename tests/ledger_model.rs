//! The disruption ledger, checked exhaustively: the state machine that production runs, between controllers that may
//! crash, stand still for any time and both believe that they lead, and an API server whose answers may be lost.
//!
//! Never more than B restarts fall into one window. That the check bites is shown by four designs that other tools
//! use, each of which fails it. `model` is the world, `designs` the ways to keep a budget.

#[path = "ledger_model/designs.rs"]
mod designs;
#[path = "ledger_model/model.rs"]
mod model;

use std::thread::available_parallelism;

use designs::Design;
use model::{ALL_RESTARTED, Kind, Protocol, Scope, WINDOW_HOLDS};
use stateright::{Checker, HasDiscoveries, Model};

/// Two controllers and three pods of three workloads in one namespace, which may have one restart in two ticks.
const TWO_BY_THREE: Protocol = Protocol {
    design: Design::Production,
    kind: Kind::Pod,
    scope: Scope::Namespace,
    budget: 1,
    controllers: 2,
    objects: 3,
    ticks: 4,
};

/// Checks every reachable state.
fn assert_holds(protocol: Protocol) {
    let checker = protocol.checker().threads(threads()).finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.symmetry().spawn_dfs().join();
    println!("{protocol:?}: {} states", checker.unique_state_count());
    if let Some(broken) = checker.discovery(WINDOW_HOLDS) {
        let tell = |(world, step)| format!("{world:?}\n    {step:?}\n");
        panic!("{protocol:?}\n{}", broken.into_vec().into_iter().map(tell).collect::<String>());
    }
    assert!(checker.is_done(), "the whole space was searched");
    checker.assert_any_discovery(ALL_RESTARTED);
}

fn threads() -> usize {
    available_parallelism().map_or(1, usize::from)
}

#[test]
fn one_restart_in_a_window_whatever_two_controllers_go_through() {
    assert_holds(TWO_BY_THREE);
}

#[test]
fn two_restarts_in_a_window_whatever_two_controllers_go_through() {
    assert_holds(Protocol { budget: 2, ticks: 3, ..TWO_BY_THREE });
}

#[test]
fn one_restart_in_a_window_whatever_three_controllers_go_through() {
    assert_holds(Protocol { controllers: 3, objects: 2, ..TWO_BY_THREE });
}

#[test]
fn one_restart_of_a_workload_in_its_cooldown() {
    assert_holds(Protocol { scope: Scope::Workload, ..TWO_BY_THREE });
}

#[test]
fn one_restart_in_the_cluster_though_the_namespaces_differ() {
    assert_holds(Protocol { scope: Scope::Cluster, objects: 2, ..TWO_BY_THREE });
}

#[test]
fn one_rollout_in_a_window_though_people_change_the_workloads_meanwhile() {
    assert_holds(Protocol { kind: Kind::Rollout, objects: 2, ..TWO_BY_THREE });
}

#[test]
fn the_designs_that_others_use_break() {
    for design in [Design::MemoryCounter, Design::LedgerAfter, Design::BlindWrite, Design::AgedOut] {
        let protocol = Protocol { design, ..TWO_BY_THREE };
        let checker = protocol.checker().threads(threads()).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let broken = checker.discovery(WINDOW_HOLDS);
        let steps = broken.unwrap_or_else(|| panic!("{design:?} holds, so the check does not bite")).into_actions();
        println!("{design:?} breaks in {} steps: {steps:?}", steps.len());
    }
}
