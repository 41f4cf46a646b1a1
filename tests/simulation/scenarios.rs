//! Runs in which nothing goes wrong but one thing, for every such thing: a strike at each write, each reason not to
//! restart, clocks, mass suspicion, a ledger that nobody can write, a receiver that never answers.

use std::collections::BTreeSet;

use crate::{
    backends::SLOW,
    process,
    run::Report,
    settings::{Condition, Hurt, Scene, Script},
    world::Millis,
};

fn script(scene: Scene) -> Script {
    Script { seed: 1, scene, ..Script::default() }
}

fn run(scenes: impl IntoIterator<Item = Scene>) -> Vec<Report> {
    let scripts: Vec<Script> = scenes.into_iter().map(script).collect();
    let reports = process::all(&scripts, |_| false);
    let broken = |(script, report): (&Script, &Report)| {
        (!report.broken.is_empty()).then(|| format!("{:?}: {}", script.scene, report.broken.join("\n    ")))
    };
    let failed: Vec<String> = scripts.iter().zip(&reports).filter_map(broken).collect();
    assert!(failed.is_empty(), "{} of {} runs failed:\n{}", failed.len(), reports.len(), failed.join("\n"));
    reports
}

fn peace() -> Report {
    run([Scene::Peace]).remove(0)
}

/// How often pods of a workload were disturbed.
fn restarts(report: &Report, workload: &str) -> usize {
    report.disturbed.iter().filter(|(_, it)| it == workload).count()
}

#[test]
#[ignore = "seconds of computing: tests/run simulation"]
fn where_nothing_goes_wrong_every_pod_that_leaks_is_restarted_once_and_the_run_comes_to_rest() {
    let report = peace();
    println!("{}\n{:?}\n{} writes", report.end, report.disturbed, report.writes);
    assert!(report.end.ends_with("marks: []"), "{}", report.end);
    assert_eq!(["orders", "ledgers", "search"].map(|it| restarts(&report, it)), [2, 2, 0]);
}

#[test]
#[ignore = "minutes of computing: tests/run simulation"]
fn a_process_that_dies_or_stands_still_at_any_write_changes_nothing_about_the_end() {
    let peace = peace();
    let points = |write| Hurt::ALL.map(|how| Scene::Hurt { write, how });
    let scenes: Vec<Scene> = (0..peace.writes).flat_map(points).collect();
    let reports = run(scenes.clone());
    let other: Vec<String> = scenes
        .iter()
        .zip(&reports)
        .filter(|(_, it)| it.end != peace.end)
        .map(|(scene, it)| format!("{scene:?}:\n{}", it.end))
        .collect();
    println!("{} writes, {} runs", peace.writes, reports.len());
    assert!(
        other.is_empty(),
        "{} of {} end otherwise than\n{}\n{}",
        other.len(),
        reports.len(),
        peace.end,
        other.join("\n")
    );
    // What never happened cannot have been survived.
    let struck = reports.iter().filter(|it| it.counts != peace.counts).count();
    assert!(struck * 10 >= reports.len() * 9, "only {struck} of {} runs were struck", reports.len());
}

#[test]
#[ignore = "seconds of computing: tests/run simulation"]
fn each_reason_not_to_restart_is_enough() {
    let reports = run(Condition::ALL.map(Scene::But));
    for (condition, report) in Condition::ALL.iter().zip(&reports) {
        let [orders, users, ledgers] = ["orders", "users", "ledgers"].map(|it| restarts(report, it));
        println!("{condition:?}: {orders} {users} {ledgers}");
        assert_eq!(orders, 0, "{condition:?}");
        let [shop, all] = match condition {
            Condition::SwitchOff => [true, true],
            Condition::NamespaceOff | Condition::Suspended => [true, false],
            _ => [false, false],
        };
        assert_eq!((users == 0, ledgers == 0), (shop, all), "{condition:?}: {users} of users, {ledgers} of ledgers");
    }
}

#[test]
#[ignore = "seconds of computing: tests/run simulation"]
fn clocks_that_are_too_far_off_restart_nobody_and_those_that_agree_do() {
    const SECONDS: [i64; 12] = [0, 1, 2, 4, 5, 8, 10, 20, 60, 300, 1_800, 3_600];
    let all: Vec<i64> = SECONDS.iter().flat_map(|it| [*it, -it]).collect();
    let reports = run(all.iter().map(|it| Scene::Clocks { ahead: it * 1_000 }));
    for (seconds, report) in all.iter().zip(&reports) {
        println!("{seconds} s ahead: {} restarts", report.disturbed.len());
        match seconds.abs() {
            0..=4 => assert_eq!(report.disturbed.len(), 6, "{seconds} s"),
            // Whole seconds of a header, and the way of the answer, lie between.
            5..=7 => {}
            _ => assert_eq!(report.disturbed, [], "{seconds} s"),
        }
    }
}

#[test]
#[ignore = "seconds of computing: tests/run simulation"]
fn mass_suspicion_restarts_nobody_and_less_is_none() {
    const OF_TWENTY: [usize; 8] = [1, 2, 4, 5, 6, 10, 15, 20];
    let reports = run(OF_TWENTY.map(|count| Scene::Offenders { count }));
    for (count, report) in OF_TWENTY.iter().zip(&reports) {
        let workloads: BTreeSet<&String> = report.disturbed.iter().map(|(_, it)| it).collect();
        println!("{count} of 20 workloads: {} restarts of {} workloads", report.disturbed.len(), workloads.len());
        // 30 % and at least three are a storm.
        assert_eq!(workloads.len(), if *count < 6 { *count } else { 0 }, "{count} of 20");
    }
}

#[test]
#[ignore = "seconds of computing: tests/run simulation"]
fn what_cannot_be_written_down_is_not_done() {
    let report = run([Scene::NoLedger]).remove(0);
    assert_eq!(report.disturbed, []);
    assert!(report.counts.get("ledger: not written").is_some_and(|it| *it > 3), "{:?}", report.counts);
}

#[test]
#[ignore = "seconds of computing: tests/run simulation"]
fn a_receiver_that_never_answers_delays_no_other() {
    let [peace, slow] = run([Scene::Peace, Scene::SlowReceiver]).try_into().expect("two");
    let of = |report: &Report, receiver: &str| -> Vec<Millis> {
        report.taken.iter().filter(|(_, it)| it == receiver).map(|(at, _)| *at).collect()
    };
    assert!(of(&slow, SLOW).is_empty() && !of(&peace, SLOW).is_empty());
    let receivers: BTreeSet<&String> = peace.taken.iter().map(|(_, it)| it).filter(|it| *it != SLOW).collect();
    assert_eq!(receivers.len(), 3);
    for receiver in receivers {
        let (before, after) = (of(&peace, receiver), of(&slow, receiver));
        println!("{receiver}: {} and {}", before.len(), after.len());
        assert_eq!(before.len(), after.len(), "{receiver}");
        let late = before.iter().zip(&after).map(|(before, after)| after.saturating_sub(*before)).max();
        assert!(late <= Some(100), "{receiver} hears {late:?} ms later");
    }
}
