//! From an observation to a finding. Total: data that are missing, short, stale, partial or odd give
//! `Inconclusive(why)`, a value, and never lead to a restart.
//!
//! Each signal is judged at several scales at once, from the whole window down to an eighth of it, so that a long
//! window does not make a fast leak late. What the figures mean together is decided in [`super::diagnose`].

use jiff::Timestamp;

use crate::{
    decide::{
        Evidence, Finding, Observation, Policy, Reading, Sample, Verdict, Why,
        diagnose::{Facts, diagnose},
        forecast,
        observation::Measured,
        series::{floors, increase, interval, largest_gap, since},
        stats::{Trend, trend},
    },
    signals::Signal,
};

/// Buckets that a scale is cut into. More would cost time and win nothing: the trend test is quadratic.
const BUCKETS: f64 = 48.0;
/// Fewer buckets than this are not judged: short series inflate the size of the trend test (1.3 % at z = 3 for ten
/// points of AR(1) noise with φ = 0.95, against 0.3 % for twenty), and ten seconds is how often kubelets measure.
pub const MIN_BUCKETS: usize = 15;
/// The scales, as shares of the time that can be judged.
const SCALES: [f64; 3] = [1.0, 1.0 / 3.0, 1.0 / 9.0];
/// The least share of the samples that a scale should have by the usual distance between them.
const COVERAGE: f64 = 0.7;
/// No shorter silence is a gap, seconds: kubelets stretch the time between two measurements to 15 s as they please.
const MIN_GAP: f64 = 20.0;
/// The confidence of slope intervals.
const SLOPE_CONFIDENCE: f64 = 0.95;
/// A rise whose last third is flatter than this share of the whole is over, or saturates.
const STILL_RISING: f64 = 0.35;

/// How a signal moved at the scale that shows its rise best.
#[derive(Clone, Debug, PartialEq)]
pub struct Rise {
    /// Trend of the floors.
    pub trend: Trend,
    /// p-value of an upward trend, corrected for the number of scales that were looked at.
    pub p_value: f64,
    /// Growth of the floors over the scale, in the signal's unit.
    pub growth: f64,
    /// Floor at the scale's start.
    pub start: f64,
    /// Newest sample.
    pub now: f64,
    /// Where the scale begins, Unix seconds.
    pub from: f64,
    /// Its length, seconds.
    pub span: f64,
    /// Whether its last third rises, too.
    pub still_rising: bool,
}

impl Rise {
    /// Whether the rise is beyond doubt and goes on.
    #[must_use]
    pub fn is_significant(&self, max_p_value: f64) -> bool {
        self.p_value <= max_p_value && self.still_rising && self.growth > 0.0
    }
}

/// Judges one subject.
#[must_use]
pub fn assess(policy: &Policy, observation: &Observation, now: Timestamp) -> Finding {
    let (verdict, evidence) = match facts(policy, observation, now) {
        Ok(facts) => (diagnose(policy, &facts), facts.evidence),
        Err((why, evidence)) => (Verdict::Inconclusive(why), *evidence),
    };
    let sources = observation
        .signals
        .keys()
        .filter_map(|signal| observation.measured(*signal).map(|it| (*signal, it.source.clone())));
    Finding { target: observation.target.clone(), verdict, evidence, sources: sources.collect() }
}

/// The signals whose doubt is the verdict's doubt.
const DECISIVE: [Signal; 7] = [
    Signal::OpenConnections,
    Signal::ConnectionsOpened,
    Signal::ConnectionsFailed,
    Signal::Calls,
    Signal::Memory,
    Signal::Goroutines,
    Signal::KeepaliveViolations,
];

type Doubt = (Why, Box<Evidence>);

fn facts(policy: &Policy, observation: &Observation, now: Timestamp) -> Result<Facts, Doubt> {
    let now = now.as_duration().as_secs_f64();
    let evidence = levels(observation);
    let doubt = |why| (why, Box::new(evidence.clone()));
    for signal in DECISIVE {
        if let Some(Reading::Unusable(why)) = observation.signals.get(&signal) {
            return Err(doubt(why.clone()));
        }
    }
    let open = observation.measured(Signal::OpenConnections);
    if open.is_none() && observation.measured(Signal::ConnectionsOpened).is_none() {
        return Err(doubt(Why::NoData));
    }
    let from = judged_from(policy, observation, now).map_err(doubt)?;
    let rise = |signal| observation.measured(signal).map(|it| best_rise(signal, it, from, now)).transpose();
    // A short history of what merely confirms is the same as none: it withholds confirmation, not the judgement.
    let confirming =
        |signal| rise(signal).or_else(|why| if matches!(why, Why::TooShort { .. }) { Ok(None) } else { Err(why) });
    let connections = rise(Signal::OpenConnections).map_err(doubt)?;
    let memory = confirming(Signal::Memory).map_err(doubt)?;
    let goroutines = confirming(Signal::Goroutines).map_err(doubt)?;
    let span_from = connections.as_ref().map_or(from, |it| it.from);
    let counted = |signal| observation.measured(signal).map(|it| increase(since(&it.samples, span_from)));
    let mut facts = Facts {
        opened: counted(Signal::ConnectionsOpened),
        failed: counted(Signal::ConnectionsFailed),
        calls: counted(Signal::Calls),
        served: counted(Signal::CallsServed),
        keepalive_violations: counted(Signal::KeepaliveViolations),
        direction_blind: open.is_some_and(|it| it.direction_blind),
        service: observation.target.service.clone(),
        judged_for: now - from,
        connections,
        memory,
        goroutines,
        evidence,
    };
    facts.evidence = completed(policy, &facts, observation);
    Ok(facts)
}

/// The figures that need no trend.
fn levels(observation: &Observation) -> Evidence {
    let last = |signal| observation.measured(signal).and_then(|it| it.samples.last()).map(|it| it.value);
    Evidence {
        open_connections: last(Signal::OpenConnections),
        goroutines: last(Signal::Goroutines),
        memory: last(Signal::Memory),
        memory_limit: observation.target.memory_limit,
        ..Evidence::default()
    }
}

/// The figures that follow from trends.
fn completed(policy: &Policy, facts: &Facts, observation: &Observation) -> Evidence {
    let significant = |rise: &Option<Rise>| rise.clone().filter(|it| it.is_significant(policy.max_p_value));
    let (connections, memory) = (significant(&facts.connections), significant(&facts.memory));
    let forecast = memory
        .as_ref()
        .zip(observation.target.memory_limit)
        .and_then(|(rise, limit)| forecast::forecast(rise.now, limit, &rise.trend));
    let bytes = connections
        .as_ref()
        .zip(memory.as_ref())
        .map(|(conns, memory)| memory.trend.slope.per_second / conns.trend.slope.per_second);
    Evidence {
        connections: facts.connections.as_ref().map(|it| it.trend),
        opened: facts.opened_or_grown(policy),
        calls: facts.calls,
        calls_per_connection: facts.calls_per_connection(policy),
        goroutine_trend: facts.goroutines.as_ref().map(|it| it.trend),
        memory_trend: facts.memory.as_ref().map(|it| it.trend),
        bytes_per_connection: bytes,
        forecast,
        witnesses: witnesses(observation, connections.is_some(), memory.is_some()),
        span: Some(facts.connections.as_ref().map_or(facts.judged_for, |it| it.span)),
        ..facts.evidence.clone()
    }
}

/// Who besides the application saw something grow.
fn witnesses(observation: &Observation, connections: bool, memory: bool) -> Vec<String> {
    let vouched = |signal, rises: bool| {
        observation
            .measured(signal)
            .filter(|it| rises && it.witnessed)
            .map(|it| format!("{} ({})", it.source, signal.name()))
    };
    [vouched(Signal::OpenConnections, connections), vouched(Signal::Memory, memory)].into_iter().flatten().collect()
}

/// From when on the subject is judged, Unix seconds: its start plus the warm-up, at most the window ago.
fn judged_from(policy: &Policy, observation: &Observation, now: f64) -> Result<f64, Why> {
    let first = |signal| observation.measured(signal).and_then(|it| it.samples.first()).map(|it| it.at);
    let seen = [Signal::OpenConnections, Signal::ConnectionsOpened, Signal::Memory].into_iter().filter_map(first);
    let started = observation.target.started.unwrap_or_else(|| seen.fold(now, f64::min));
    let warm = started + policy.warm_up.as_secs_f64();
    if now < warm {
        return Err(Why::WarmingUp { remaining: warm - now });
    }
    Ok(warm.max(now - policy.window.as_secs_f64()))
}

/// The rise at the scale that shows it best, among the scales that have data enough.
///
/// # Errors
/// No scale has.
fn best_rise(signal: Signal, measured: &Measured, from: f64, now: f64) -> Result<Rise, Why> {
    let mut best: Option<Rise> = None;
    let mut doubt = None;
    let mut looked_at = 0.0;
    for share in SCALES {
        match rise(signal, measured, now - (now - from) * share, now) {
            Ok(rise) => {
                looked_at += 1.0;
                if best.as_ref().is_none_or(|it| rise.trend.z > it.trend.z) {
                    best = Some(rise);
                }
            }
            // The longest scale says best what is missing; but a gap in it is forgiven by a shorter one.
            Err(why) => doubt = doubt.or(Some(why)),
        }
    }
    match best {
        Some(rise) => Ok(Rise { p_value: (rise.p_value * looked_at).min(1.0), ..rise }),
        None => Err(doubt.unwrap_or(Why::TooShort { signal, have: 0, need: MIN_BUCKETS })),
    }
}

fn rise(signal: Signal, measured: &Measured, from: f64, now: f64) -> Result<Rise, Why> {
    let samples = since(&measured.samples, from);
    let too_short = |have| Why::TooShort { signal, have, need: MIN_BUCKETS };
    let step = interval(samples).ok_or(too_short(samples.len()))?;
    let width = ((now - from) / BUCKETS).max(step);
    let floors = floors(samples, width);
    if floors.len() < MIN_BUCKETS {
        return Err(too_short(floors.len()));
    }
    let gap = largest_gap(samples);
    // Scrapes come a little early or late; two missing in a row are a gap.
    if gap > (2.5 * step).max(2.0 * width).max(MIN_GAP) || (samples.len() as f64) < COVERAGE * (now - from) / step {
        return Err(Why::Gaps { signal, gap: gap.max(samples.first().map_or(0.0, |it| it.at - from)) });
    }
    measure(&floors, samples.last().map_or(0.0, |it| it.value)).ok_or(too_short(floors.len()))
}

fn measure(floors: &[Sample], now: f64) -> Option<Rise> {
    let (first, last) = (floors.first()?, floors.last()?);
    let at: Vec<f64> = floors.iter().map(|it| it.at - first.at).collect();
    let values: Vec<f64> = floors.iter().map(|it| it.value).collect();
    let trend = trend(&at, &values, SLOPE_CONFIDENCE)?;
    let third = floors.len() - floors.len() / 3;
    let tail = super::stats::theil_sen(&at[third..], &values[third..], SLOPE_CONFIDENCE);
    Some(Rise {
        p_value: trend.p_value,
        growth: trend.slope.per_second * (last.at - first.at),
        start: trend.slope.intercept.min(first.value),
        now,
        from: first.at,
        span: last.at - first.at,
        still_rising: tail.is_some_and(|it| it.per_second > STILL_RISING * trend.slope.per_second),
        trend,
    })
}

#[cfg(test)]
mod tests;
