//! A file of tests: its format, and everything that can be wrong with it before anything is replayed.
//!
//! What is refused here would otherwise pass without testing anything: a misspelt field or metric, an expectation
//! about nobody or about a time after the series end, a test that expects nothing.

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{
    expectation::{Expectation, When, Written},
    timeline::Who,
};
use crate::{
    api::{DurationText, parse_duration, print_duration},
    cli::policies::{Known, KnownReach, from_document, from_file},
    decide::{Policy, Series, notation, replay::Recording, scales::look_distance},
    signals::{namespace_of, whom_of},
};

/// The time of the first sample when a file does not say `start`.
const START: &str = "2026-01-01T00:00:00Z";

/// A file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    policy: Value,
    #[serde(default = "minute")]
    interval: DurationText,
    start: Option<String>,
    step: Option<DurationText>,
    tests: Vec<WrittenTest>,
}

fn minute() -> DurationText {
    "1m".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTest {
    name: String,
    input_series: Vec<WrittenSeries>,
    #[serde(default)]
    expect: Vec<Written>,
    #[serde(default)]
    inconclusive: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSeries {
    series: String,
    values: String,
}

/// A file that makes sense.
#[derive(Debug)]
pub struct File {
    /// The policy under test.
    pub policy: Policy,
    /// The policy's name, `namespace/name` or `name`.
    pub key: String,
    /// When the series begin.
    pub start: Timestamp,
    /// From one evaluation to the next.
    pub step: Duration,
    /// The tests, in the order in which they are written.
    pub tests: Vec<Test>,
}

/// A test that makes sense.
#[derive(Debug)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// The series.
    pub recording: Recording,
    /// The time of the last sample.
    pub end: Timestamp,
    /// What is expected, and of whom each.
    pub expect: Vec<(Expectation, Vec<Who>)>,
    /// The reasons for which somebody is expected not to be judged at some time.
    pub inconclusive: Vec<String>,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is not YAML, or does not make sense; the error names the place.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).context("cannot be read")?;
        let value: Value = serde_saphyr::from_str(&text).context("is not YAML")?;
        let written: WrittenFile = serde_path_to_error::deserialize(value)?;
        let known = policy(&written.policy, path).context("policy")?;
        let policy = Policy::parse(&known.rules).context("policy")?;
        let start: Timestamp = written.start.as_deref().unwrap_or(START).parse().context("start")?;
        let interval = positive(&written.interval).context("interval")?;
        let default_step = look_distance(policy.window, policy.interval);
        let step = written.step.as_ref().map_or(Ok(default_step), positive).context("step")?;
        ensure!(!written.tests.is_empty(), "tests: there is none");
        let mut names = BTreeSet::new();
        let mut tests = Vec::new();
        for (index, test) in written.tests.iter().enumerate() {
            ensure!(names.insert(test.name.as_str()), "tests[{index}]: there are two tests {:?}", test.name);
            let read = test.read(start, interval, &known.reach);
            tests.push(read.with_context(|| format!("tests[{index}] ({})", test.name))?);
        }
        Ok(Self { policy, key: known.key, start, step, tests })
    }
}

/// The policy under test: written in the file, or in another one beside it.
fn policy(written: &Value, path: &Path) -> anyhow::Result<Known> {
    let Value::String(other) = written else { return from_document(written.clone()) };
    let other = path.parent().unwrap_or(Path::new("")).join(other);
    let mut known = from_file(&other)?;
    ensure!(known.len() == 1, "{} holds {} policies, and a test is about one", other.display(), known.len());
    known.pop().context("there is none")
}

fn positive(text: &DurationText) -> anyhow::Result<Duration> {
    let duration = parse_duration(&text.0)?;
    ensure!(!duration.is_zero(), "may not be zero");
    Ok(duration)
}

impl WrittenTest {
    fn read(&self, start: Timestamp, interval: Duration, reach: &KnownReach) -> anyhow::Result<Test> {
        ensure!(
            !self.expect.is_empty() || !self.inconclusive.is_empty(),
            "it expects nothing, so it could not fail: write expect or inconclusive"
        );
        let (series, length) = self.series(start, interval)?;
        let long = interval.saturating_mul(u32::try_from(length.saturating_sub(1)).unwrap_or(u32::MAX));
        let end = start.checked_add(long).context("input_series: they end in a year that has no number")?;
        let recording = Recording::of(series.clone());
        if let Some(unknown) = recording.others.first() {
            bail!("input_series: no source knows {}: see docs/metric-sources.md", printed(unknown));
        }
        check_reach(&series, reach)?;
        let mut expect = Vec::new();
        for (index, written) in self.expect.iter().enumerate() {
            let read = resolved(written, &series, long);
            expect.push(read.with_context(|| format!("expect[{index}]"))?);
        }
        Ok(Test { name: self.name.clone(), recording, end, expect, inconclusive: self.inconclusive.clone() })
    }

    /// The series, and the length of the longest in samples, missing ones included.
    fn series(&self, start: Timestamp, interval: Duration) -> anyhow::Result<(Vec<Series>, usize)> {
        let (mut all, mut longest) = (Vec::<Series>::new(), 0);
        for (index, WrittenSeries { series, values }) in self.input_series.iter().enumerate() {
            let place = || format!("input_series[{index}]");
            let labels = notation::labels(series).with_context(place)?;
            let values = notation::values(values).with_context(place)?;
            longest = longest.max(values.len());
            ensure!(all.iter().all(|it| it.labels != labels), "{}: {series} is given twice", place());
            all.push(Series { labels, samples: notation::samples(&values, start, interval).into() });
        }
        ensure!(!all.is_empty(), "input_series: there is none");
        Ok((all, longest))
    }
}

/// A policy of one namespace never sees another's series: a test that holds some would show what cannot happen.
fn check_reach(series: &[Series], reach: &KnownReach) -> anyhow::Result<()> {
    let KnownReach::Namespace(only) = reach else { return Ok(()) };
    let foreign = |it: &&Series| !only.is_empty() && namespace_of(&it.labels).is_some_and(|it| it != only);
    match series.iter().find(foreign) {
        Some(it) => bail!("input_series: the policy looks into namespace {only}, which {} is not in", printed(it)),
        None => Ok(()),
    }
}

/// An expectation and everybody it is about.
fn resolved(written: &Written, series: &[Series], long: Duration) -> anyhow::Result<(Expectation, Vec<Who>)> {
    let expectation = written.parse().map_err(anyhow::Error::msg)?;
    if let When::At(after) | When::By(after) = expectation.when {
        ensure!(
            after <= long,
            "the series end {} after the start: make one longer, with _xn if samples are to be missing",
            print_duration(long)
        );
    }
    let asked = |wanted: &Option<String>, has: Option<&str>| wanted.as_deref().is_none_or(|it| has == Some(it));
    let about = |it: &Series| {
        let whom = whom_of(&it.labels)?;
        let who = Who {
            namespace: whom.namespace.to_owned(),
            pod: whom.pod.to_owned(),
            container: written.container.clone(),
        };
        let meant = asked(&written.namespace, Some(&who.namespace))
            && asked(&written.pod, Some(&who.pod))
            && asked(&written.container, whom.container);
        meant.then_some(who)
    };
    let who: BTreeSet<Who> = series.iter().filter_map(about).collect();
    ensure!(!who.is_empty(), "no series is about {}", asked_for(written));
    Ok((expectation, who.into_iter().collect()))
}

fn asked_for(written: &Written) -> String {
    let part = |what: &str, it: &Option<String>| it.as_ref().map(|it| format!("{what} {it}"));
    let parts =
        [part("namespace", &written.namespace), part("pod", &written.pod), part("container", &written.container)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "any pod of any namespace".to_owned() } else { parts.join(", ") }
}

fn label<'a>(series: &'a Series, name: &str) -> Option<&'a str> {
    series.labels.filled(name)
}

fn printed(series: &Series) -> String {
    let labels = series.labels.iter().filter(|(name, _)| *name != "__name__");
    let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{}{{{}}}", label(series, "__name__").unwrap_or_default(), labels.join(", "))
}

#[cfg(test)]
mod tests;
