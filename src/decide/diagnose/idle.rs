//! What is left of channels that were never closed once their connections are gone.
//!
//! Since grpc-go 1.59 a channel drops its connection after 30 minutes without calls. A client that dials per call then
//! holds `rate x 1800 s` connections and no more, while three goroutines of each channel stay for ever. So connections
//! that do not rise say nothing; goroutines do, and the plateau's height tells what is behind it.

use super::{Facts, counted, words};
use crate::{
    decide::{Confidence, Diagnosis, Evidence, Growth, Policy, Verdict, assess::Rise, series::value_at},
    signals::Signal,
};

/// Goroutines that an idled, unclosed channel keeps: its three callback serializers.
const IDLED_GOROUTINES: f64 = 3.0;
/// What stays of each opened channel, goroutines: at least half of them, and no more than a live channel has.
const RESIDUE: std::ops::RangeInclusive<f64> = 1.5..=9.0;
/// More than so many, and most of the channels are still connected.
const LIVE_GOROUTINES: f64 = 4.2;
/// This share of the connections that goroutines speak of is enough to say that they are open.
const FOLLOW: f64 = 0.4;
/// The idle timeout of grpc-go, grpc-java and C-core, seconds.
const IDLE_TIMEOUT: f64 = 1_800.0;
/// The plateau is known to within this share: the load of the last half hour is not that of the last two hours.
const PLATEAU_SLACK: f64 = 0.35;
/// Memory per goroutine of an idled channel, bytes. Measured: 5 kB of heap and 7 kB of stack for three of them.
const BYTES_PER_GOROUTINE: std::ops::RangeInclusive<f64> = 1_500.0..=16_384.0;

/// A finding about channels whose connections are gone or on the plateau.
pub fn left_behind(policy: &Policy, facts: &Facts<'_>, evidence: &Evidence) -> Option<Verdict> {
    let rise = Facts::sure(facts.goroutines.as_ref(), policy);
    let since = rise.map_or(facts.now - facts.recent, |it| it.from);
    let opened = facts.counted(Signal::ConnectionsOpened, since, facts.now);
    if let Some(verdict) = opened.and_then(|it| with_opened(policy, facts, evidence, rise, it)) {
        return Some(verdict);
    }
    // Channels that never connect open nothing.
    let rise = rise.filter(|_| opened.is_none_or(|it| it < policy.connection_growth));
    let rise = rise.filter(|it| !connections_follow(facts, it) && !descriptors_follow(facts, it))?;
    let channels = rise.trend.slope.per_second / IDLED_GOROUTINES;
    if opened.is_none() && on_plateau(policy, facts, channels) {
        let each = facts.calls_per_connection(policy, channels * rise.span, rise.from);
        let habit = each.is_some_and(|it| it < policy.calls_per_connection);
        let diagnosis = if habit { Diagnosis::DialPerCall } else { Diagnosis::ConnectionLeak };
        return Some(growing(diagnosis, rise, plateau(evidence, channels)));
    }
    let calls = facts.counted(Signal::Calls, rise.from, facts.now).filter(|it| *it > 0.0)?;
    let per_goroutine = evidence.memory_trend?.slope.per_second / rise.trend.slope.per_second;
    let each = calls / (rise.growth / IDLED_GOROUTINES);
    let fits = BYTES_PER_GOROUTINE.contains(&per_goroutine) && (0.8..policy.calls_per_connection).contains(&each);
    fits.then(|| growing(Diagnosis::IdleChannelResidue, rise, residue(rise, rise.growth / IDLED_GOROUTINES, evidence)))
}

/// Whether open connections rise with goroutines, sure or not: then channels are open, not idle.
fn connections_follow(facts: &Facts<'_>, rise: &Rise) -> bool {
    let due = rise.trend.slope.per_second / LIVE_GOROUTINES * FOLLOW;
    let windows = facts.connections.iter().flat_map(|it| &it.windows);
    let mut near = windows.filter(|it| it.span() >= rise.span / 4.0 && it.span() <= rise.span * 4.0);
    near.any(|it| it.growth() > due * it.span())
}

/// Whether file descriptors rise with goroutines: an idle channel has none, a server's inbound connection has one to
/// its three goroutines.
fn descriptors_follow(facts: &Facts<'_>, rise: &Rise) -> bool {
    let Some(descriptors) = facts.observation.measured(Signal::FileDescriptors) else { return false };
    let at = |when| value_at(&descriptors.samples, when);
    // Of a long rise only its end may be known this finely.
    let from = descriptors.samples.first().map_or(rise.from, |it| it.at.max(rise.from));
    let due = (facts.now - from) * rise.trend.slope.per_second / IDLED_GOROUTINES * FOLLOW;
    at(facts.now).zip(at(from)).is_some_and(|(now, before)| now - before > due)
}

fn with_opened(
    policy: &Policy,
    facts: &Facts<'_>,
    evidence: &Evidence,
    rise: Option<&Rise>,
    opened: f64,
) -> Option<Verdict> {
    let from = rise.map_or(facts.now - facts.recent, |it| it.from);
    let each = facts.calls_per_connection(policy, opened, from).filter(|it| *it < policy.calls_per_connection);
    let rate = opened / (facts.now - from);
    let plateaus = facts.now - facts.from > IDLE_TIMEOUT && on_plateau(policy, facts, rate);
    match rise {
        // A channel that was closed leaves nothing; one that idled out leaves its three goroutines, an open one has
        // more.
        Some(rise) if RESIDUE.contains(&(rise.growth / opened.max(1.0))) && opened >= policy.connection_growth => {
            let habit = if each.is_some() { Diagnosis::DialPerCall } else { Diagnosis::ConnectionLeak };
            if plateaus {
                return Some(growing(habit, rise, plateau(evidence, rate)));
            }
            // Goroutines as of open connections, where those do not rise: something else makes them.
            let idled = rise.growth / opened < LIVE_GOROUTINES && !descriptors_follow(facts, rise);
            idled.then(|| growing(Diagnosis::IdleChannelResidue, rise, residue(rise, opened, evidence)))
        }
        // Without goroutines to count, only the plateau's height tells a leak from churn.
        None if plateaus && each.is_some() && facts.goroutines.is_none() => {
            Some(counted(Diagnosis::DialPerCall, plateau(evidence, rate)))
        }
        _ => None,
    }
}

/// Whether as many connections are open as channels of this rate, per second, hold until they are idle.
fn on_plateau(policy: &Policy, facts: &Facts<'_>, channels: f64) -> bool {
    let open = facts.evidence.open_connections.unwrap_or_default();
    let due = channels * IDLE_TIMEOUT;
    open >= policy.connection_growth && (open - due).abs() <= PLATEAU_SLACK * due
}

fn growing(diagnosis: Diagnosis, rise: &Rise, message: String) -> Verdict {
    let confidence = Confidence::from_p_value(rise.p_value);
    Verdict::Growing(Growth { diagnosis, confidence, strength: rise.strength(), message })
}

fn plateau(evidence: &Evidence, rate: f64) -> String {
    format!(
        "{:.0} connections are open and do not rise, which is the plateau of {:.1} new channels a minute that drop their \
         connection after 30 idle minutes and are never closed{}",
        evidence.open_connections.unwrap_or_default(),
        rate * 60.0,
        words::memory(evidence)
    )
}

fn residue(rise: &Rise, channels: f64, evidence: &Evidence) -> String {
    format!(
        "goroutines rise by {:.0} {}, {:.1} for each of {channels:.0} channels that were opened, faster than open \
         connections do{}",
        rise.growth,
        words::within(rise.span),
        rise.growth / channels.max(1.0),
        words::memory(evidence)
    )
}
