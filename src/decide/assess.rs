//! From observations to findings. Total: data that are missing, short, stale, partial or odd give
//! `Inconclusive(why)`, a value, and never lead to a restart.
//!
//! Each signal is judged at several scales at once ([`windows`]), each window by itself ([`rise`]); what the figures
//! mean together is decided in [`super::diagnose`], and what the pods of one workload say about each other in
//! [`peers`].

mod peers;
mod rise;
mod windows;

use std::collections::BTreeMap;

use jiff::Timestamp;

use rise::Past;
pub use rise::{Need, Rise, Rises, Strength};
pub use windows::{Counter, Load, Window};

use crate::{
    decide::{
        Evidence, Finding, Observation, Policy, Reading, Verdict, Why,
        diagnose::{Facts, diagnose},
        observation::Measured,
        quietest::DayLoad,
        scales::{Scale, scales},
    },
    signals::Signal,
};

/// Open connections must grow by this share of their level at the window's start: pools breathe.
pub(super) const GROWTH_SHARE: f64 = 0.25;
/// Memory growth below this share of the limit, or below so many bytes without a limit, does not matter.
const MEMORY_SHARE: f64 = 0.02;
const MEMORY_BYTES: f64 = 8.0 * 1_048_576.0;
/// Goroutines that must have come.
pub(super) const GOROUTINES: f64 = 30.0;
/// What only counts is counted for at least so long, seconds.
const LEAST_RECENT: f64 = 300.0;
/// What only counts is counted for this part of the window.
const RECENT_SHARE: f64 = 48.0;

/// Judges containers. Those of one workload are judged together; the findings are in the observations' order.
#[must_use]
pub fn assess(policy: &Policy, observations: &[Observation], now: Timestamp) -> Vec<Finding> {
    let alone: Vec<Finding> = observations.iter().map(|it| assess_one(policy, it, now)).collect();
    peers::compared(policy, observations, alone)
}

fn assess_one(policy: &Policy, observation: &Observation, now: Timestamp) -> Finding {
    let (verdict, evidence) = match facts(policy, observation, now) {
        Ok(facts) => match diagnose(policy, &facts) {
            (verdict @ Verdict::Growing(_), evidence) if policy.restart.is_some() => {
                (verdict, Evidence { load: DayLoad::of(observation), ..evidence })
            }
            other => other,
        },
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

fn facts<'a>(policy: &Policy, observation: &'a Observation, now: Timestamp) -> Result<Facts<'a>, Doubt> {
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
    let counters = counters(observation);
    let look = Look { scales: scales(policy.window), from, now, load: load(&counters) };
    let least_memory = least_memory(observation.target.memory_limit);
    let connections = Need { least: policy.connection_growth, share: GROWTH_SHARE, unheard_of: true };
    // A short history of what merely confirms is the same as none: it withholds confirmation, not the judgement.
    // Memory breathes with its collector however much of it leaks.
    let confirming = |signal, least| {
        let need = Need { least, share: 0.0, unheard_of: signal != Signal::Memory };
        match look.at(signal, observation.measured(signal), need) {
            Err(Why::TooShort { .. } | Why::Gaps { .. }) => Ok(None),
            other => other,
        }
    };
    let connections = look.at(Signal::OpenConnections, open, connections).map_err(doubt)?;
    let memory = confirming(Signal::Memory, least_memory).map_err(doubt)?;
    let goroutines = confirming(Signal::Goroutines, GOROUTINES).map_err(doubt)?;
    Ok(Facts {
        connections,
        memory,
        goroutines,
        observation,
        counters,
        direction_blind: open.is_some_and(|it| it.direction_blind),
        now,
        from,
        seen_for: now - open.and_then(first_at).map_or(from, |it| it.max(from)),
        recent: (policy.window.as_secs_f64() / RECENT_SHARE).max(LEAST_RECENT).min(now - from),
        evidence,
    })
}

/// Memory growth that matters, bytes.
pub(super) fn least_memory(limit: Option<f64>) -> f64 {
    limit.map_or(MEMORY_BYTES, |it| it * MEMORY_SHARE)
}

/// How everything is looked at.
struct Look<'a> {
    scales: [Scale; 5],
    from: f64,
    now: f64,
    load: &'a [Counter],
}

impl Look<'_> {
    fn at(&self, signal: Signal, measured: Option<&Measured>, need: Need) -> Result<Option<Rises>, Why> {
        let Some(measured) = measured else { return Ok(None) };
        let windows = windows::windows(signal, measured, &self.scales, self.from, self.now)?;
        let load = |it: &Window| Load::in_window(self.load, it);
        let newest = measured.samples.last().map_or(0.0, |it| it.value);
        let past = Past { whole: self.scales[0].span, due: self.now - self.from };
        Ok(Some(rise::rises(windows, load, need, newest, past)))
    }
}

type Counters = BTreeMap<Signal, Vec<Counter>>;

fn counters(observation: &Observation) -> Counters {
    let counters = observation.signals.keys().filter(|it| it.is_counter());
    counters.filter_map(|it| Some((*it, Counter::all(observation.measured(*it)?)))).collect()
}

/// What the container had to do: calls made, or, where it makes none, calls served.
fn load(counters: &Counters) -> &[Counter] {
    let counter = |signal| counters.get(&signal).map(Vec::as_slice);
    counter(Signal::Calls).or_else(|| counter(Signal::CallsServed)).unwrap_or_default()
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

/// From when on the subject is judged, Unix seconds: its start plus the warm-up, at most the window ago.
fn judged_from(policy: &Policy, observation: &Observation, now: f64) -> Result<f64, Why> {
    let first = |signal| observation.measured(signal).and_then(first_at);
    let seen = [Signal::OpenConnections, Signal::ConnectionsOpened, Signal::Memory].into_iter().filter_map(first);
    let started = observation.target.started.unwrap_or_else(|| seen.fold(now, f64::min));
    let warm = started + policy.warm_up.as_secs_f64();
    if now < warm {
        return Err(Why::WarmingUp { remaining: warm - now });
    }
    Ok(warm.max(now - policy.window.as_secs_f64()))
}

/// When the first thing known of a signal was measured.
fn first_at(measured: &Measured) -> Option<f64> {
    let levels = measured.levels.iter().filter_map(|it| it.points.first()).map(|it| it.at);
    measured.samples.first().map(|it| it.at).into_iter().chain(levels).reduce(f64::min)
}

#[cfg(test)]
mod tests;
