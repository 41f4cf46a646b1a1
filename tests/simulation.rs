//! Deterministic simulation of the whole loop: two replicas of the operator, each with production's election and
//! production's work (controller, evaluation, hands), over a fake API server, metrics backend and Alertmanager, in
//! simulated time. Requests are delayed, lost and refused, processes killed, stopped and given wrong clocks, evidence
//! goes bad, people meddle; what is seen at the sockets is held against the project's invariants.
//!
//! A seed is a run, in a process of its own. `tests/run simulation` runs a thousand and all the rest in minutes;
//! `SIMULATION_SEED=7 cargo test --profile simulation --test simulation -- --ignored no_seed` repeats one,
//! `SIMULATION_TRACE=1` prints its requests, `make soak-sim SEEDS=100000` runs so many.
//!
//! Covered: a process dies or stands still before or after any request that it sends, at the moment between the last
//! queue and the last gate, at any answer, and at times that have nothing to do with requests; two replicas, both of
//! which may believe that they lead; wall clocks that are off by a second to an hour; requests and answers of each kind
//! lost, late or refused; a process cut off from the API server, wholly or in its election. `scenarios` strikes at every
//! write of a run once, one at a time.
//!
//! Not covered: HTTP itself (`kube`'s connections, retries of the reading client, Prometheus' and Alertmanager's wire:
//! `tests/act`, `tests/prometheus`), admission, profiles, policies of the cluster's kind, monotonic clocks that run at
//! different speeds, and what real controllers and kubelets do otherwise (`tests/e2e`). `contract` holds the fake API
//! server against a real one.

#[path = "simulation/backends.rs"]
mod backends;
#[path = "simulation/cluster.rs"]
mod cluster;
#[path = "simulation/conditions.rs"]
mod conditions;
#[path = "simulation/contract.rs"]
mod contract;
#[path = "simulation/dice.rs"]
mod dice;
#[path = "simulation/eviction.rs"]
mod eviction;
#[path = "simulation/place.rs"]
mod place;
#[path = "simulation/process.rs"]
mod process;
#[path = "simulation/replica.rs"]
mod replica;
#[path = "simulation/run.rs"]
mod run;
#[path = "simulation/scenarios.rs"]
mod scenarios;
#[path = "simulation/server.rs"]
mod server;
#[path = "simulation/settings.rs"]
mod settings;
#[path = "simulation/trouble.rs"]
mod trouble;
#[path = "simulation/wire.rs"]
mod wire;
#[path = "simulation/witness.rs"]
mod witness;
#[path = "simulation/world.rs"]
mod world;

use std::{collections::BTreeMap, ops::Range, time::Instant};

use run::Report;
use settings::{Broken, Script};

/// Seeds when nobody says how many.
const SEEDS: u64 = 1_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|it| it.parse().expect("a number"))
}

fn seeds(seeds: Range<u64>, broken: Broken) -> Vec<Script> {
    let verbose = std::env::var("SIMULATION_TRACE").is_ok();
    seeds.map(|seed| Script { seed, broken, verbose, ..Script::default() }).collect()
}

fn assert_unbroken(reports: &[Report]) {
    let failed: Vec<String> = reports
        .iter()
        .filter(|it| !it.broken.is_empty())
        .map(|it| {
            format!(
                "SIMULATION_SEED={} cargo test --profile simulation --test simulation -- --ignored no_seed\n    {}",
                it.seed,
                it.broken.join("\n    ")
            )
        })
        .collect();
    assert!(failed.is_empty(), "{} of {} seeds failed:\n{}", failed.len(), reports.len(), failed.join("\n"));
}

#[test]
#[ignore = "minutes of computing: tests/run simulation"]
fn no_seed_breaks_an_invariant() {
    let began = Instant::now();
    let seeds = seeds(
        match number("SIMULATION_SEED") {
            Some(seed) => seed..seed + 1,
            None => 0..number("SIMULATION_SEEDS").unwrap_or(SEEDS),
        },
        Broken::Nothing,
    );
    let reports = process::all(&seeds, |_| false);
    let seconds = began.elapsed().as_secs_f64();
    println!("{} seeds in {seconds:.0} s, {:.1} a second", reports.len(), reports.len() as f64 / seconds);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (what, count) in reports.iter().flat_map(|it| &it.counts) {
        *counts.entry(what).or_default() += count;
    }
    for (what, count) in &counts {
        println!("{count:>9}  {what}");
    }
    let late: Vec<u64> = reports.iter().flat_map(|it| it.after_stop.iter().copied()).collect();
    let latest = late.iter().max().copied().unwrap_or(0);
    println!("{} restarts were still sent after people had stopped them, the latest {latest} ms later", late.len());
    assert_unbroken(&reports);
    // Whoever restarts nobody breaks nothing.
    let disturbed = reports.iter().filter(|it| !it.disturbed.is_empty()).count();
    println!("{disturbed} runs with restarts");
    assert!(reports.len() < 10 || disturbed * 2 > reports.len(), "restarts in {disturbed} of {} runs", reports.len());
}

#[test]
#[ignore = "seconds of computing: tests/run simulation"]
fn a_seed_is_the_same_run_every_time() {
    let seeds = seeds(0..number("SIMULATION_SEEDS").unwrap_or(6).min(6), Broken::Nothing);
    let [one, other] = [0, 1].map(|_| process::all(&seeds, |_| false));
    assert_eq!(one, other);
}

/// What is broken on purpose is noticed, by one of the invariants that it breaks, within so many seeds.
fn assert_noticed(broken: Broken, invariants: &[u32], within: u64) {
    let is_sign = |it: &&String| invariants.iter().any(|number| it.starts_with(&format!("invariant {number},")));
    let reports = process::all(&seeds(0..within, broken), |it| it.broken.iter().any(|it| is_sign(&it)));
    let noticed = reports.iter().find(|it| it.broken.iter().any(|it| is_sign(&it)));
    let noticed =
        noticed.unwrap_or_else(|| panic!("{broken:?} breaks nothing in {within} seeds, so the check does not bite"));
    let first = noticed.broken.iter().find(is_sign);
    println!("{broken:?}: seed {} of {within}: {first:?}", noticed.seed);
}

#[test]
#[ignore = "seconds of computing: tests/run simulation"]
fn limits_that_the_operator_does_not_know_are_missed() {
    assert_noticed(Broken::Limits, &[14], 40);
}

#[test]
#[ignore = "seconds of computing: tests/run simulation"]
fn an_operator_that_acts_right_after_its_start_is_noticed() {
    assert_noticed(Broken::Quiet, &[8], 40);
}

#[test]
#[ignore = "seconds of computing: tests/run simulation"]
fn an_operator_that_does_not_ask_whether_it_leads_is_noticed() {
    assert_noticed(Broken::Gate, &[19], 200);
}

#[test]
#[ignore = "seconds of computing: tests/run simulation"]
fn an_operator_that_reports_without_asking_whether_it_leads_is_noticed() {
    assert_noticed(Broken::Reports, &[19], 200);
}

#[test]
#[ignore = "seconds of computing: tests/run simulation"]
fn an_operator_that_does_not_ask_whether_its_decision_is_fresh_is_noticed() {
    assert_noticed(Broken::Gate, &[7], 200);
}

#[test]
#[ignore = "seconds of computing: tests/run simulation"]
fn an_api_server_that_ignores_preconditions_is_noticed() {
    assert_noticed(Broken::Preconditions, &[14, 22], 200);
}

#[test]
#[ignore = "seconds of computing: tests/run simulation"]
fn a_ledger_that_takes_any_version_is_noticed() {
    assert_noticed(Broken::Swap, &[14, 18, 22], 200);
}

#[test]
#[ignore = "seconds of computing: tests/run simulation"]
fn acts_on_evidence_that_hides_its_faults_are_noticed() {
    assert_noticed(Broken::Evidence, &[1], 100);
}
