//! `grpc-hygiene test`: unit tests of policies. Made-up series go through the same replay as `backtest`, and what
//! would have been said and done is compared with what the author expects.
//!
//! It needs neither a cluster nor a metrics backend, and judges nothing itself. [`file`] is the format.

mod expectation;
mod file;
mod junit;
mod timeline;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use jiff::Timestamp;
use regex::Regex;
use walkdir::WalkDir;

use self::{
    expectation::Expectation,
    file::{File, Test},
    timeline::Who,
};
use crate::{
    api::print_duration,
    args::TestArgs,
    decide::replay::{Event, EventKind, Replayed, replay},
};

/// The endings of a test file's name.
const ENDINGS: [&str; 4] = ["_test.yaml", "_test.yml", ".test.yaml", ".test.yml"];
/// Events shown of one pod at most.
const SHOWN_EVENTS: usize = 12;

const PASSED: u8 = 0;
const FAILED: u8 = 1;
const UNUSABLE: u8 = 2;

/// One test that was run.
struct Ran {
    name: String,
    /// What was expected and what happened instead, a few lines each.
    failures: Vec<String>,
}

/// One file, and its tests that were run, or why it cannot be used.
struct RanFile {
    path: PathBuf,
    tests: anyhow::Result<Vec<Ran>>,
}

/// Runs tests and prints how they ended.
///
/// # Errors
/// There is no test file, `--run` is no regular expression or matches nothing, or the report cannot be written.
pub fn test(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let filter = args.run.as_deref().map(Regex::new).transpose().context("--run")?;
    let mut all = Vec::new();
    for path in found(&args.paths)? {
        let ran = RanFile { tests: run(&path, filter.as_ref()), path };
        // Each file when it is done: a long run shows how far it is.
        print!("{}", text(&ran));
        all.push(ran);
    }
    if let Some(path) = &args.junit {
        junit::write(&all, path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let tests = || all.iter().filter_map(|it| it.tests.as_ref().ok()).flatten();
    let failed = tests().filter(|it| !it.failures.is_empty()).count();
    let unusable = all.iter().filter(|it| it.tests.is_err()).count();
    if tests().next().is_none() && unusable == 0 {
        bail!("no test's name matches --run {:?}", args.run.as_deref().unwrap_or_default());
    }
    let also = if unusable == 0 { String::new() } else { format!(", {unusable} unusable") };
    println!("{} passed, {failed} failed{also}", tests().count() - failed);
    Ok(ExitCode::from(match (unusable, failed) {
        (0, 0) => PASSED,
        (0, _) => FAILED,
        _ => UNUSABLE,
    }))
}

/// The test files: those named, and those in the folders named, by name.
fn found(paths: &[PathBuf]) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for path in paths {
        if !path.is_dir() {
            // A file that is named is read, whatever its name, and complained about if it is not there.
            found.insert(path.clone());
            continue;
        }
        let before = found.len();
        for entry in WalkDir::new(path) {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy();
            if entry.file_type().is_file() && ENDINGS.iter().any(|it| name.ends_with(it)) {
                found.insert(entry.into_path());
            }
        }
        if found.len() == before {
            bail!("{} holds no test: their names end in _test.yaml or .test.yaml", path.display());
        }
    }
    Ok(found)
}

fn run(path: &Path, filter: Option<&Regex>) -> anyhow::Result<Vec<Ran>> {
    let file = File::read(path)?;
    let wanted = file.tests.iter().filter(|test| filter.is_none_or(|it| it.is_match(&test.name)));
    Ok(wanted
        .map(|test| {
            let span = (file.start, test.end);
            let replayed = replay(&file.policy, &file.key, &test.recording, span, file.step, &mut |_| {});
            Ran { name: test.name.clone(), failures: failures(test, &replayed, file.start) }
        })
        .collect())
}

/// What is not as expected.
fn failures(test: &Test, replayed: &Replayed, start: Timestamp) -> Vec<String> {
    let Replayed { events, inconclusive, judgements, .. } = replayed;
    let blind = *judgements <= inconclusive.values().sum();
    let mut failures = Vec::new();
    for (expectation, all) in &test.expect {
        for who in all.iter().filter(|it| !expectation.is_met(it, events, start)) {
            failures.push(format!("{}\nhappened {}", expected(expectation, who), story(who, events, start)));
        }
        // Silence says something only about somebody who was judged.
        if blind && test.inconclusive.is_empty() && expectation.holds_of_silence() {
            failures.push(format!("expected {expectation}\nhappened nobody could be judged{}", reasons(replayed)));
        }
    }
    for reason in test.inconclusive.iter().filter(|it| !inconclusive.contains_key(it.as_str())) {
        failures.push(format!(
            "expected somebody to be inconclusive because of {reason}\nhappened not{}",
            reasons(replayed)
        ));
    }
    failures
}

fn expected(expectation: &Expectation, who: &Who) -> String {
    let container = who.container.as_ref().map_or_else(String::new, |it| format!(", container {it}"));
    format!("expected {}/{}{container}: {expectation}", who.namespace, who.pod)
}

/// How often somebody could not be judged, by reason.
fn reasons(replayed: &Replayed) -> String {
    let Replayed { judgements, inconclusive, .. } = replayed;
    let each: Vec<String> = inconclusive.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    if each.is_empty() { String::new() } else { format!(" ({judgements} judgements, of these {})", each.join(", ")) }
}

fn story(who: &Who, events: &[Event], start: Timestamp) -> String {
    let about: Vec<&Event> = events.iter().filter(|it| who.concerns(it)).collect();
    if about.is_empty() {
        return "nothing".to_owned();
    }
    let mut lines: Vec<String> = about.iter().take(SHOWN_EVENTS).map(|it| line(it, start)).collect();
    if about.len() > SHOWN_EVENTS {
        lines.push(format!("and {} events more", about.len() - SHOWN_EVENTS));
    }
    lines.join("\n         ")
}

fn line(event: &Event, start: Timestamp) -> String {
    let after = print_duration(event.at.duration_since(start).unsigned_abs());
    let diagnosis = || event.diagnosis.map_or("", crate::decide::Diagnosis::name);
    let what = match event.kind {
        EventKind::Finding => format!("finding {}: {}", diagnosis(), event.message),
        EventKind::Cleared => "finding cleared".to_owned(),
        EventKind::Annotate => "Annotate".to_owned(),
        EventKind::Alert => "Alert".to_owned(),
        EventKind::Resolve => "alert resolved".to_owned(),
        EventKind::Restart => format!("Restart ({})", event.method.unwrap_or("how is not known")),
        EventKind::Withheld => {
            format!("restart withheld because {}: {}", event.because.unwrap_or_default(), event.message)
        }
    };
    format!("after {after} in {}: {what}", event.container)
}

fn text(ran: &RanFile) -> String {
    let mut text = format!("{}\n", ran.path.display());
    match &ran.tests {
        Err(error) => text += &format!("  UNUSABLE  {error:#}\n"),
        Ok(tests) => {
            for Ran { name, failures } in tests {
                text += &format!("  {:<8}  {name}\n", if failures.is_empty() { "ok" } else { "FAILED" });
                for line in failures.iter().flat_map(|it| it.lines()) {
                    text += &format!("              {line}\n");
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests;
