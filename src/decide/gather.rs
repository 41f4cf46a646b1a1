//! From answers to observations: which series is about which container, which life of it, and whether it can be used.
//!
//! Nothing is ever added up that might be counted twice, nothing of a dead incarnation is kept, and what is odd is
//! named, not repaired.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    decide::{
        Matrix, Observation, Reading, Sample, Series, Target, Why,
        observation::Measured,
        series::{clean, interval, since},
    },
    signals::{Merge, Signal, Source, Witness},
};

/// Samples may be this far ahead of us before a clock is called wrong, seconds.
const SKEW: f64 = 5.0;
/// No series is stale before this age, seconds: kubelets measure every 10 to 15 s, and some are scraped once a minute.
const MIN_STALE: f64 = 60.0;

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", kind.reason())]
pub struct QueryFailure {
    /// What kind of trouble.
    pub kind: FailureKind,
    /// What the backend said, at most 256 characters.
    pub message: String,
}

/// What kind of trouble a query had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// No connection, TLS refused, or no reply in time.
    Unreachable,
    /// The backend refused the query (400, 404, 422).
    Refused,
    /// The backend refused us (401, 403).
    Unauthorized,
    /// The backend is busy (429, 503).
    Overloaded,
    /// The answer is larger than we read.
    TooLarge,
    /// The answer is not JSON.
    NotJson,
    /// The answer is JSON, but not one to a range query.
    Unexpected,
}

impl FailureKind {
    /// One word for status and metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unreachable => "Unreachable",
            Self::Refused => "Refused",
            Self::Unauthorized => "Unauthorized",
            Self::Overloaded => "Overloaded",
            Self::TooLarge => "TooLarge",
            Self::NotJson => "NotJson",
            Self::Unexpected => "Unexpected",
        }
    }
}

/// What one source said, or why it said nothing.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Who was asked.
    pub source: Source,
    /// The answer.
    pub result: Result<Arc<Matrix>, QueryFailure>,
}

/// One observation per target. `answers` are in order of preference within a signal.
#[must_use]
pub fn gather(answers: &[Answer], targets: Vec<Target>, window: Duration, now: Timestamp) -> Vec<Observation> {
    let indexed: Vec<Indexed<'_>> = answers.iter().map(Indexed::new).collect();
    let observe = |target: Target| {
        let mut signals = BTreeMap::new();
        for answer in &indexed {
            let known = signals.entry(answer.source.signal).or_insert(Reading::Absent);
            // Only a source that has nothing hands over to the next one. Doubt stays doubt.
            if *known == Reading::Absent {
                *known = answer.read(&target, now);
            }
        }
        Observation { target, signals, window, at: now }
    };
    targets.into_iter().map(observe).collect()
}

/// An answer whose series can be found by pod.
struct Indexed<'a> {
    source: &'a Source,
    doubt: Option<Why>,
    by_pod: BTreeMap<(&'a str, &'a str), Vec<&'a Series>>,
}

impl<'a> Indexed<'a> {
    fn new(answer: &'a Answer) -> Self {
        let Answer { source, result } = answer;
        let signal = source.signal;
        let matrix = match result {
            Ok(matrix) => matrix,
            Err(failure) => {
                let doubt = Some(Why::QueryFailed { signal, reason: failure.to_string() });
                return Self { source, doubt, by_pod: BTreeMap::new() };
            }
        };
        let label =
            |series: &'a Series, name: &str| series.labels.get(name).map(String::as_str).filter(|it| !it.is_empty());
        let mut by_pod: BTreeMap<(&str, &str), Vec<&Series>> = BTreeMap::new();
        for series in &matrix.series {
            if let (Some(namespace), Some(pod)) =
                (label(series, &source.labels.namespace), label(series, &source.labels.pod))
            {
                by_pod.entry((namespace, pod)).or_default().push(series);
            }
        }
        let doubt = match matrix.warnings.first() {
            Some(warning) => Some(Why::Warnings { signal, warning: warning.clone() }),
            None if by_pod.is_empty() && !matrix.series.is_empty() => {
                Some(Why::Unattributed { signal, source: source.name.clone(), label: source.labels.pod.clone() })
            }
            None => None,
        };
        Self { source, doubt, by_pod }
    }

    fn read(&self, target: &Target, now: Timestamp) -> Reading {
        if let Some(why) = &self.doubt {
            return Reading::Unusable(why.clone());
        }
        match self.merged(target) {
            Ok(None) => Reading::Absent,
            Err(why) => Reading::Unusable(why),
            Ok(Some((samples, series))) => match self.aged(&samples, now) {
                Some(why) => Reading::Unusable(why),
                None => Reading::Usable(Measured {
                    source: self.source.name.clone(),
                    samples,
                    witnessed: self.source.witness == Witness::Platform || scraped_from(series, target),
                    direction_blind: self.source.direction_blind,
                }),
            },
        }
    }

    /// The samples of the target's current life as one run, and one of the series they come from.
    fn merged(&self, target: &Target) -> Result<Option<(Vec<Sample>, &'a Series)>, Why> {
        let signal = self.source.signal;
        let bad = |what| Why::BadValues { signal, what };
        let mut runs: Vec<(&Series, Vec<Sample>)> = Vec::new();
        for series in self.about(target)? {
            let samples =
                since(&clean(&series.samples, signal.is_counter()).map_err(bad)?, life_start(target)).to_vec();
            if !samples.is_empty() {
                runs.push((series, samples));
            }
        }
        let identities: BTreeSet<Vec<(&str, &str)>> = runs.iter().map(|(it, _)| self.identity(it)).collect();
        if identities.len() > 1 {
            return Err(Why::Duplicates { signal, source: self.source.name.clone(), count: identities.len() });
        }
        let Some((first, _)) = runs.first() else { return Ok(None) };
        let first: &Series = first;
        let samples = match self.source.merge {
            Merge::SumOver(_) => sum(runs.iter().map(|(_, samples)| samples.as_slice()), signal.is_counter()),
            Merge::NewestOf(_) | Merge::One => newest(runs.iter().map(|(_, samples)| samples.as_slice())),
        };
        Ok(Some((samples, first)))
    }

    /// The series about one container.
    fn about(&self, target: &Target) -> Result<Vec<&'a Series>, Why> {
        let subject = &target.subject;
        let label = &self.source.labels.container;
        let mut about = Vec::new();
        for series in self.by_pod.get(&(subject.namespace.as_str(), subject.pod.as_str())).into_iter().flatten() {
            // A series that names another incarnation of the pod is about somebody else.
            let other_uid = |it: &String| !it.is_empty() && !subject.uid.is_empty() && *it != subject.uid;
            if series.labels.get("uid").is_some_and(other_uid) {
                continue;
            }
            match series.labels.get(label).filter(|it| !it.is_empty()) {
                Some(container) if *container == subject.container => about.push(*series),
                Some(_) => {}
                None if target.containers_in_pod == 1 => about.push(*series),
                None => {
                    return Err(Why::Unattributed {
                        signal: self.source.signal,
                        source: self.source.name.clone(),
                        label: label.clone(),
                    });
                }
            }
        }
        Ok(about)
    }

    /// What tells duplicates from parts: all labels but those that the source's merge rule allows to differ.
    fn identity<'s>(&self, series: &'s Series) -> Vec<(&'s str, &'s str)> {
        let free = match self.source.merge {
            Merge::SumOver(labels) | Merge::NewestOf(labels) => labels,
            Merge::One => &[],
        };
        let counts = |name: &str| name != "__name__" && !free.contains(&name);
        series.labels.iter().filter(|(name, _)| counts(name)).map(|(n, v)| (n.as_str(), v.as_str())).collect()
    }

    fn aged(&self, samples: &[Sample], now: Timestamp) -> Option<Why> {
        let signal = self.source.signal;
        let now = now.as_duration().as_secs_f64();
        let age = now - samples.last()?.at;
        let stale = (2.5 * interval(samples).unwrap_or(MIN_STALE)).max(MIN_STALE);
        match age {
            age if age < -SKEW => Some(Why::Future { signal }),
            age if age > stale => Some(Why::Stale { signal, age }),
            _ => None,
        }
    }
}

/// Samples from before this time belong to an earlier life, Unix seconds.
fn life_start(target: &Target) -> f64 {
    target.started.unwrap_or(f64::NEG_INFINITY)
}

/// Whether the pod's own address was scraped: a tenant can expose any labels, but not another pod's address.
fn scraped_from(series: &Series, target: &Target) -> bool {
    let Some(instance) = series.labels.get("instance") else { return false };
    let host = instance.rsplit_once(':').map_or(instance.as_str(), |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    target.pod_ips.iter().any(|it| it == host)
}

/// One run out of the parts of one client (its targets, methods, …), which are scraped at the same instants. A
/// counter becomes the growth since the first instant, so that a part that ends is not taken for a reset.
fn sum<'a>(runs: impl Iterator<Item = &'a [Sample]>, counter: bool) -> Vec<Sample> {
    let runs: Vec<&[Sample]> = runs.collect();
    let first = runs.iter().filter_map(|it| it.first()).map(|it| it.at).fold(f64::INFINITY, f64::min);
    let mut at: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for run in runs {
        let mut before = None;
        for sample in run {
            let value = match (counter, before) {
                (true, Some(before)) if sample.value >= before => sample.value - before,
                (true, None) if sample.at <= first => 0.0,
                // A counter that was born after the first instant, or reset, counts from zero.
                (true | false, _) => sample.value,
            };
            before = Some(sample.value);
            // Times are positive, so that their bits sort as they do.
            at.entry(sample.at.to_bits()).or_insert((sample.at, 0.0)).1 += value;
        }
    }
    let mut total = 0.0;
    let cumulate = |(at, value): (f64, f64)| {
        total = if counter { total + value } else { value };
        Sample { at, value: total }
    };
    at.into_values().map(cumulate).collect()
}

/// The run whose last sample is newest: the current incarnation.
fn newest<'a>(runs: impl Iterator<Item = &'a [Sample]>) -> Vec<Sample> {
    let last = |run: &&[Sample]| run.last().map_or(f64::NEG_INFINITY, |it| it.at);
    runs.max_by(|a, b| last(a).total_cmp(&last(b))).map(<[Sample]>::to_vec).unwrap_or_default()
}

/// The signals that a policy's evaluation asks for, in the order in which they are asked.
#[must_use]
pub fn wanted() -> Vec<Signal> {
    Signal::ALL.into_iter().filter(|it| !Signal::DESCRIPTIVE.contains(it)).collect()
}

#[cfg(test)]
mod tests;
