//! A process for each run. What a program counts for all of its threads (tokio's generator of random numbers, which orders
//! who is woken first) begins anew with a process and not with a thread, so that a seed is the same run wherever and after
//! whatever it runs. The runs of one call go side by side, as many as there are processors.

use std::{
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    run::{Report, run},
    settings::Script,
};

/// Names the script to the process that runs it.
const SCRIPT: &str = "SIMULATION_SCRIPT";
/// What the line of a report begins with.
const REPORT: &str = "the report: ";
/// Deep enough for futures that nobody optimised.
const STACK: usize = 16 << 20;

/// Runs scripts side by side, until a report is all that was wanted. The reports are in the order of the scripts.
pub fn all(scripts: &[Script], suffices: impl Fn(&Report) -> bool + Sync) -> Vec<Report> {
    let (next, reports) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(script) = scripts.get(number) else { return };
            let report = alone(script);
            if suffices(&report) {
                next.store(scripts.len(), Ordering::Relaxed);
            }
            reports.lock().expect("no panic").push((number, report));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut reports = reports.into_inner().expect("no panic");
    reports.sort_by_key(|(number, _)| *number);
    reports.into_iter().map(|(_, it)| it).collect()
}

/// Runs a script in a process of its own. A process that does not come to an end in order is a failed run.
fn alone(script: &Script) -> Report {
    let program = std::env::current_exe().expect("a program");
    let text = serde_json::to_string(script).expect("JSON");
    let output = Command::new(program)
        .args(["--exact", "process::a_run_in_a_process_of_its_own", "--ignored", "--nocapture"])
        .env(SCRIPT, text)
        .output()
        .expect("a process");
    let said = String::from_utf8_lossy(&output.stdout);
    if script.verbose {
        println!("{said}");
    }
    let report = said.lines().find_map(|it| it.strip_prefix(REPORT)).and_then(|it| serde_json::from_str(it).ok());
    report.unwrap_or_else(|| Report {
        seed: script.seed,
        broken: vec![format!("the run failed: {}", String::from_utf8_lossy(&output.stderr))],
        ..Report::default()
    })
}

#[test]
#[ignore = "what the others start: it runs the script that SIMULATION_SCRIPT holds"]
fn a_run_in_a_process_of_its_own() {
    let Ok(text) = std::env::var(SCRIPT) else { return };
    let script: Script = serde_json::from_str(&text).expect("a script");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let running = thread::Builder::new().stack_size(STACK).spawn(move || run(&script)).expect("a thread");
    let report = running.join().expect("no panic");
    println!("\n{REPORT}{}", serde_json::to_string(&report).expect("JSON"));
}
