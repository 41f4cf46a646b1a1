//! From answers to observations: which series is about which container, which life of it, and whether it can be used.
//!
//! Nothing is ever added up that might be counted twice, nothing of a dead incarnation is kept, and what is odd is
//! named, not repaired.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    decide::{
        Matrix, Observation, Reading, Sample, Samples, Series, Target, Why, lineage,
        observation::Measured,
        scales::BUCKETS,
        series::{Level, clean, interval, step, unwrapped, value_at},
    },
    signals::{Merge, Signal, Source, Witness},
};

/// Samples may be this far ahead of us before a clock is called wrong, seconds.
const SKEW: f64 = 5.0;
/// No series is stale before this age, seconds: kubelets measure every 10 to 15 s, some are scraped once a minute, and
/// clocks of nodes differ by two minutes in earnest.
const MIN_STALE: f64 = 240.0;
/// Two tellings of one figure may differ by so much, in the figure's unit, and by this share of it.
const SAME: f64 = 2.0;
const SAME_SHARE: f64 = 0.05;

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
    /// The width of the buckets that the backend was asked for. `None`: raw samples.
    pub width: Option<Duration>,
    /// The answer.
    pub result: Result<Arc<Matrix>, QueryFailure>,
}

/// One observation per target. `answers` are in order of preference within a signal; buckets may stand anywhere.
#[must_use]
pub fn gather(answers: &[Answer], targets: Vec<Target>, window: Duration, now: Timestamp) -> Vec<Observation> {
    let (raw, coarse): (Vec<&Answer>, Vec<&Answer>) = answers.iter().partition(|it| it.width.is_none());
    let raw: Vec<Indexed<'_>> = raw.into_iter().map(Indexed::new).collect();
    let coarse: Vec<Indexed<'_>> = coarse.into_iter().map(Indexed::new).collect();
    let ancestors = lineage::of_targets(&coarse, &targets);
    let observe = |target: Target| {
        let mut signals = BTreeMap::new();
        for answer in &raw {
            let known = signals.entry(answer.source.signal).or_insert(Reading::Absent);
            // Only a source that has nothing hands over to the next one. Doubt stays doubt.
            if *known == Reading::Absent {
                *known = answer.read(&target, &coarse, now);
            }
        }
        let key = target.workload.clone().map(|it| (it, target.subject.container.clone()));
        let ancestors = key.and_then(|it| ancestors.get(&it).cloned()).unwrap_or_default();
        Observation { target, signals, ancestors, window, at: now }
    };
    targets.into_iter().map(observe).collect()
}

/// Those of whom an answer says nothing. Doubt is something.
#[must_use]
pub fn without_data<'t>(answer: &Answer, mut targets: Vec<&'t Target>, now: Timestamp) -> Vec<&'t Target> {
    let answer = Indexed::new(answer);
    targets.retain(|it| matches!(answer.read(it, &[], now), Reading::Absent));
    targets
}

/// One signal of one life of a container, as one source tells it.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The signal.
    pub signal: Signal,
    /// The samples and who told them.
    pub measured: Measured,
}

impl Run {
    /// The samples from one time to another as a reading at the latter.
    pub fn reading(&self, from: f64, now: f64) -> Reading {
        let all = &self.measured.samples;
        let samples = all.piece(all.partition_point(|it| it.at < from)..all.partition_point(|it| it.at <= now));
        match aged(self.signal, &samples, now) {
            _ if samples.is_empty() => Reading::Absent,
            Some(why) => Reading::Unusable(why),
            None => {
                let whole =
                    |it: &Level| Level { width: it.width, points: it.between(f64::NEG_INFINITY, now).newest(BUCKETS) };
                let levels = self.measured.levels.iter().map(whole).collect();
                let Measured { source, witnessed, direction_blind, .. } = &self.measured;
                let (source, witnessed, direction_blind) = (source.clone(), *witnessed, *direction_blind);
                Reading::Usable(Measured { source, samples, levels, witnessed, direction_blind })
            }
        }
    }
}

/// Every run of one life of a container, from `life.0` up to but without `life.1`, in the answers' order, or why a
/// source's series cannot be used.
pub(super) fn runs(answers: &[Indexed<'_>], target: &Target, life: (f64, f64)) -> Vec<(Signal, Result<Run, Why>)> {
    let run = |it: &Indexed<'_>| {
        let signal = it.source.signal;
        match it.merged(target, life) {
            Ok(None) => None,
            Ok(Some((samples, series))) => {
                Some((signal, Ok(Run { signal, measured: it.measured(samples, series, target) })))
            }
            Err(why) => Some((signal, Err(why))),
        }
    };
    answers.iter().filter_map(run).collect()
}

/// One series, and its samples of one life.
type Part<'a> = (&'a Series, Samples);

/// An answer whose series can be found by pod.
pub(super) struct Indexed<'a> {
    source: &'a Source,
    width: Option<Duration>,
    doubt: Option<Why>,
    by_pod: BTreeMap<(&'a str, &'a str), Vec<&'a Series>>,
}

impl<'a> Indexed<'a> {
    pub fn new(answer: &'a Answer) -> Self {
        let Answer { source, width, result } = answer;
        let (signal, width) = (source.signal, *width);
        let matrix = match result {
            Ok(matrix) => matrix,
            Err(failure) => {
                let doubt = Some(Why::QueryFailed { signal, reason: failure.to_string() });
                return Self { source, width, doubt, by_pod: BTreeMap::new() };
            }
        };
        let mut by_pod: BTreeMap<(&str, &str), Vec<&Series>> = BTreeMap::new();
        for series in &matrix.series {
            if let Some(whom) = source.naming.whom(&series.labels) {
                by_pod.entry((whom.namespace, whom.pod)).or_default().push(series);
            }
        }
        let doubt = match matrix.warnings.first() {
            Some(warning) => Some(Why::Warnings { signal, warning: warning.clone() }),
            None if by_pod.is_empty() && !matrix.series.is_empty() => {
                let label = source.naming.pod_label().to_owned();
                Some(Why::Unattributed { signal, source: source.name.clone(), label })
            }
            None => None,
        };
        Self { source, width, doubt, by_pod }
    }

    /// What it tells.
    pub const fn signal(&self) -> Signal {
        self.source.signal
    }

    /// The width of its buckets, seconds.
    pub fn width(&self) -> Option<f64> {
        self.width.map(|it| it.as_secs_f64())
    }

    /// Namespace and name of every pod that it tells of.
    pub fn pods(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.by_pod.keys().copied()
    }

    /// The points about a target up to a time; `None` when they cannot be used.
    pub fn points(&self, target: &Target, until: f64) -> Option<Samples> {
        let told = self.merged(target, (f64::NEG_INFINITY, until)).ok()?;
        Some(told.map(|(points, _)| points).unwrap_or_default())
    }

    /// The series about a target, of all its lives; none when they cannot be told from others'.
    pub fn told(&self, target: &Target) -> Vec<&'a Series> {
        self.about(target).unwrap_or_default()
    }

    fn read(&self, target: &Target, coarse: &[Indexed<'_>], now: Timestamp) -> Reading {
        let usable = || -> Result<Option<Measured>, Why> {
            if let Some(why) = &self.doubt {
                return Err(why.clone());
            }
            let life = (life_start(target), f64::INFINITY);
            let Some((samples, series)) = self.merged(target, life)? else { return Ok(None) };
            if let Some(why) = aged(self.source.signal, &samples, now.as_duration().as_secs_f64()) {
                return Err(why);
            }
            let mut measured = self.measured(samples, series, target);
            for buckets in coarse.iter().filter(|it| it.source == self.source) {
                measured.levels.extend(buckets.level(target)?);
            }
            Ok(Some(measured))
        };
        match usable() {
            Ok(None) => Reading::Absent,
            Ok(Some(measured)) => Reading::Usable(measured),
            Err(why) => Reading::Unusable(why),
        }
    }

    fn measured(&self, samples: Samples, series: &Series, target: &Target) -> Measured {
        Measured {
            source: self.source.name.clone(),
            samples,
            levels: Vec::new(),
            witnessed: self.source.witness == Witness::Platform || scraped_from(series, target),
            direction_blind: self.source.direction_blind,
        }
    }

    /// What the backend computed per bucket, without the bucket in which the life began.
    fn level(&self, target: &Target) -> Result<Option<Level>, Why> {
        let Some(width) = self.width.map(|it| it.as_secs_f64()) else { return Ok(None) };
        if let Some(why) = &self.doubt {
            return Err(why.clone());
        }
        let points = self.merged(target, (life_start(target) + width, f64::INFINITY))?;
        Ok(points.map(|(points, _)| Level { width, points }))
    }

    /// The samples of one life of the target as one run, and one of the series they come from.
    fn merged(&self, target: &Target, (from, to): (f64, f64)) -> Result<Option<(Samples, &'a Series)>, Why> {
        let signal = self.source.signal;
        let bad = |what| Why::BadValues { signal, what };
        let mut parts: BTreeMap<Vec<(&str, &str)>, Vec<Part<'a>>> = BTreeMap::new();
        for series in self.about(target)? {
            let samples = clean(&series.samples).map_err(bad)?;
            let samples =
                samples.piece(samples.partition_point(|it| it.at < from)..samples.partition_point(|it| it.at < to));
            if !samples.is_empty() {
                parts.entry(self.identity(series)).or_default().push((series, samples));
            }
        }
        let count = parts.len();
        let mut tellings = parts.into_values().map(|parts| self.joined(&parts, to.is_finite()));
        let Some(mut best) = tellings.next() else { return Ok(None) };
        for other in tellings {
            // A pair of Prometheus servers, or two jobs, tell the same story twice; the fuller telling is kept.
            if !same_story(&best.0, &other.0, signal.is_counter()) {
                return Err(Why::Duplicates { signal, source: self.source.name.clone(), count });
            }
            if other.0.len() > best.0.len() {
                best = other;
            }
        }
        Ok(Some(best))
    }

    /// The parts of one telling as one run. Of the incarnations in a life that is over the fullest is meant: the clock
    /// that said when the next one started may have been late.
    fn joined(&self, parts: &[Part<'a>], over: bool) -> (Samples, &'a Series) {
        let runs = parts.iter().map(|(_, samples)| samples);
        let samples = match self.source.merge {
            Merge::SumOver(_) => sum(runs, self.source.signal.is_counter()),
            Merge::NewestOf(_) | Merge::One if over => runs.max_by_key(|it| it.len()).cloned().unwrap_or_default(),
            Merge::NewestOf(_) | Merge::One => newest(runs),
        };
        (samples, parts[0].0)
    }

    /// The series about one container.
    fn about(&self, target: &Target) -> Result<Vec<&'a Series>, Why> {
        let subject = &target.subject;
        let naming = &self.source.naming;
        let mut about = Vec::new();
        for series in self.by_pod.get(&(subject.namespace.as_str(), subject.pod.as_str())).into_iter().flatten() {
            // A series that names another incarnation of the pod is about somebody else.
            let other_uid = |it: &str| !it.is_empty() && !subject.uid.is_empty() && it != subject.uid;
            if series.labels.get("uid").is_some_and(other_uid) {
                continue;
            }
            match naming.whom(&series.labels).and_then(|it| it.container) {
                Some(container) if container == subject.container => about.push(*series),
                Some(_) => {}
                None if target.containers_in_pod == 1 => about.push(*series),
                None => {
                    return Err(Why::Unattributed {
                        signal: self.source.signal,
                        source: self.source.name.clone(),
                        label: naming.container_label().to_owned(),
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
        series.labels.iter().filter(|(name, _)| counts(name)).collect()
    }
}

fn aged(signal: Signal, samples: &[Sample], now: f64) -> Option<Why> {
    let age = now - samples.last()?.at;
    let stale = (2.5 * interval(samples).unwrap_or(MIN_STALE)).max(MIN_STALE);
    match age {
        age if age < -SKEW => Some(Why::Future { signal }),
        age if age > stale => Some(Why::Stale { signal, age }),
        _ => None,
    }
}

/// Whether two runs measure the same thing: where they overlap, they say nearly the same nearly always.
fn same_story(a: &[Sample], b: &[Sample], counter: bool) -> bool {
    let (a, b) = if counter { (unwrapped(a), unwrapped(b)) } else { (a.to_vec(), b.to_vec()) };
    let (Some(first), Some(last)) = (b.first(), b.last()) else { return true };
    let step = interval(&b).unwrap_or(0.0);
    // Unwrapped counters begin at zero where their own samples do.
    let offset =
        if counter { value_at(&b, a[0].at).unwrap_or(0.0) - value_at(&a, b[0].at).unwrap_or(0.0) } else { 0.0 };
    let overlapping = a.iter().filter(|it| first.at <= it.at && it.at <= last.at);
    let (mut agree, mut differ) = (0_usize, 0_usize);
    for sample in overlapping {
        // Between two samples anything the neighbours allow may have been measured.
        let near = [-step, 0.0, step].map(|shift| value_at(&b, sample.at + shift).unwrap_or(sample.value) - offset);
        let slack = SAME + SAME_SHARE * sample.value.abs();
        let (low, high) = near.iter().fold((f64::MAX, f64::MIN), |(low, high), it| (low.min(*it), high.max(*it)));
        if low - slack <= sample.value && sample.value <= high + slack { agree += 1 } else { differ += 1 }
    }
    differ * 10 <= agree
}

/// Samples from before this time belong to an earlier life, Unix seconds.
fn life_start(target: &Target) -> f64 {
    target.started.unwrap_or(f64::NEG_INFINITY)
}

/// Whether the pod's own address was scraped: a tenant can expose any labels, but not another pod's address.
fn scraped_from(series: &Series, target: &Target) -> bool {
    let Some(instance) = series.labels.get("instance") else { return false };
    let host = instance.rsplit_once(':').map_or(instance, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    target.pod_ips.iter().any(|it| it == host)
}

/// One run out of the parts of one client (its targets, methods, …), which are scraped at the same instants. A
/// counter becomes the growth since the first instant, so that a part that ends is not taken for a reset.
fn sum<'a>(runs: impl Iterator<Item = &'a Samples>, counter: bool) -> Samples {
    let runs: Vec<&Samples> = runs.collect();
    if let ([one], false) = (runs.as_slice(), counter) {
        return (*one).clone();
    }
    let first = runs.iter().filter_map(|it| it.first()).map(|it| it.at).fold(f64::INFINITY, f64::min);
    let mut at: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for run in runs {
        let mut before = None;
        for sample in run {
            let (value, compare) = match (counter, before) {
                (true, Some(before)) => step(before, sample.value),
                (true, None) if sample.at <= first => (0.0, sample.value),
                // A counter that was born after the first instant counts from zero.
                (true | false, _) => (sample.value, sample.value),
            };
            before = Some(compare);
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
fn newest<'a>(runs: impl Iterator<Item = &'a Samples>) -> Samples {
    let last = |run: &&Samples| run.last().map_or(f64::NEG_INFINITY, |it| it.at);
    runs.max_by(|a, b| last(a).total_cmp(&last(b))).cloned().unwrap_or_default()
}

/// The signals that a policy's evaluation asks for, in the order in which they are asked.
#[must_use]
pub fn wanted() -> Vec<Signal> {
    Signal::ALL.into_iter().filter(|it| !Signal::DESCRIPTIVE.contains(it)).collect()
}

#[cfg(test)]
mod tests;
