//! What the figures mean together: the seven diagnoses, and the doubts that forbid one.
//!
//! The order of the questions is the order of trust: what is counted per call is asked before what merely grows.

use std::time::Duration;

use crate::{
    api::print_duration,
    decide::{Confidence, Diagnosis, Evidence, Growth, Policy, Verdict, Why, assess::Rise},
    signals::Signal,
};

/// Open connections must grow by this share of their level at the scale's start: pools breathe.
const GROWTH_SHARE: f64 = 0.25;
/// Memory per leaked connection, bytes: below, memory grows for another reason; above, too. Measured for grpc-go 1.45
/// to 1.85: 19 kB (1.85 plaintext) to 111 kB (1.45), with room for TLS and other runtimes.
const BYTES_PER_CONNECTION: std::ops::RangeInclusive<f64> = 2_048.0..=1_048_576.0;
/// Goroutines per open connection. Measured for grpc-go 1.45 to 1.85: a server's has 3; a client's has 5 since 1.56,
/// and 3 before. So 5 tells a client, and 3 tells nothing.
const CLIENT_GOROUTINES: f64 = 4.5;
/// Goroutines that an idled, unclosed channel keeps.
const IDLED_GOROUTINES: f64 = 3.0;
/// Memory growth below this share of the limit does not matter yet.
const MEMORY_SHARE: f64 = 0.02;
/// A rise this sure is not called healthy, even though it is not called a finding either.
const DOUBTFUL_P_VALUE: f64 = 0.01;
/// Events before a rate of failures or rejections is believed.
const MIN_EVENTS: f64 = 5.0;

/// The figures of one subject.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Open connections.
    pub connections: Option<Rise>,
    /// Memory, bytes.
    pub memory: Option<Rise>,
    /// Goroutines.
    pub goroutines: Option<Rise>,
    /// Connections opened in the judged scale.
    pub opened: Option<f64>,
    /// Connection attempts that failed in it.
    pub failed: Option<f64>,
    /// Calls made in it.
    pub calls: Option<f64>,
    /// Calls received in it.
    pub served: Option<f64>,
    /// Connections rejected because of keepalive in it.
    pub keepalive_violations: Option<f64>,
    /// Whether open connections include inbound ones.
    pub direction_blind: bool,
    /// The Service in front of the pod.
    pub service: Option<String>,
    /// How long the subject has been judged, seconds.
    pub judged_for: f64,
    /// The same figures for people.
    pub evidence: Evidence,
}

impl Facts {
    /// The rise of open connections, if it is beyond doubt and large enough to matter.
    fn leak(&self, policy: &Policy) -> Option<&Rise> {
        self.connections.as_ref().filter(|it| it.is_significant(policy.max_p_value) && matters(policy, it))
    }

    /// Connections opened: counted, or at least as many as are open now and were not before.
    pub(super) fn opened_or_grown(&self, policy: &Policy) -> Option<f64> {
        self.opened.or_else(|| self.leak(policy).map(|it| it.growth))
    }

    /// Calls per opened connection. `None` when either is unknown or too few were opened to say.
    pub(super) fn calls_per_connection(&self, policy: &Policy) -> Option<f64> {
        let opened = self.opened_or_grown(policy).filter(|it| *it >= policy.connection_growth)?;
        self.calls.filter(|it| *it > 0.0).map(|calls| calls / opened)
    }

    fn dials_per_call(&self, policy: &Policy) -> bool {
        self.calls_per_connection(policy).is_some_and(|it| it < policy.calls_per_connection)
    }

    fn rises(rise: Option<&Rise>, policy: &Policy) -> bool {
        rise.is_some_and(|it| it.is_significant(policy.max_p_value))
    }
}

/// Whether open connections grew by enough to matter, beyond doubt or not.
fn matters(policy: &Policy, rise: &Rise) -> bool {
    rise.growth >= policy.connection_growth.max(GROWTH_SHARE * rise.start)
}

/// The verdict.
pub fn diagnose(policy: &Policy, facts: &Facts) -> Verdict {
    if let Some(leak) = facts.leak(policy) {
        return leaking(policy, facts, leak);
    }
    if facts.keepalive_violations.is_some_and(|it| it >= MIN_EVENTS) {
        let count = facts.keepalive_violations.unwrap_or_default();
        return counted(
            Diagnosis::KeepaliveRejected,
            format!("the server closed {count:.0} connections because of too many pings {}", within(facts)),
        );
    }
    if let Some(message) = unreachable(facts) {
        return counted(Diagnosis::TargetUnreachable, message);
    }
    if let Some(verdict) = residue(policy, facts) {
        return verdict;
    }
    if facts.opened.is_some() && facts.dials_per_call(policy) {
        return counted(
            Diagnosis::ConnectionChurn,
            format!("connections are opened and closed again: {}", ratio(policy, facts)),
        );
    }
    if let Some(verdict) = memory_elsewhere(policy, facts) {
        return verdict;
    }
    doubtful(policy, facts).map_or(Verdict::Healthy, Verdict::Inconclusive)
}

/// Open connections rise. Is it the client's doing, and do calls or memory confirm it?
fn leaking(policy: &Policy, facts: &Facts, leak: &Rise) -> Verdict {
    if let Some(serves) = may_be_inbound(facts) {
        return Verdict::Inconclusive(Why::DirectionUnknown { serves });
    }
    let confidence = Confidence::from_p_value(leak.p_value);
    let rise = describe_connections(leak);
    if facts.dials_per_call(policy) {
        let message = format!("{rise}, {}{}", ratio(policy, facts), describe_memory(policy, facts));
        return Verdict::Growing(Growth { diagnosis: Diagnosis::DialPerCall, confidence, message });
    }
    // Without a telling ratio the rise alone may be a pool that follows load: memory or goroutines must confirm it.
    let explained = facts.evidence.bytes_per_connection.is_some_and(|it| BYTES_PER_CONNECTION.contains(&it));
    if explained || Facts::rises(facts.goroutines.as_ref(), policy) {
        let message = format!("{rise}{}", describe_memory(policy, facts));
        return Verdict::Growing(Growth { diagnosis: Diagnosis::ConnectionLeak, confidence, message });
    }
    Verdict::Inconclusive(Why::Unclear { signal: Signal::Memory, confidence: sureness(facts.memory.as_ref()) })
}

/// Whether rising sockets may be those of the pod's own clients, and why it is taken for a server.
fn may_be_inbound(facts: &Facts) -> Option<String> {
    if !facts.direction_blind {
        return None;
    }
    let serves = match (&facts.service, facts.served.filter(|it| *it > 0.0)) {
        (_, Some(served)) => format!("it served {served:.0} gRPC calls {}", within(facts)),
        (Some(service), None) => format!("it stands behind Service {service}"),
        (None, None) => return None,
    };
    let per_connection = facts
        .goroutines
        .as_ref()
        .zip(facts.connections.as_ref())
        .map(|(goroutines, connections)| goroutines.trend.slope.per_second / connections.trend.slope.per_second);
    if per_connection.is_some_and(|it| it >= CLIENT_GOROUTINES) { None } else { Some(serves) }
}

fn unreachable(facts: &Facts) -> Option<String> {
    let failed = facts.failed.filter(|it| *it >= MIN_EVENTS)?;
    let succeeded = facts.opened.unwrap_or_default();
    (failed > succeeded)
        .then(|| format!("{failed:.0} connection attempts failed and {succeeded:.0} succeeded {}", within(facts)))
}

/// Connections are flat, but goroutines pile up and the client is known to dial per call.
fn residue(policy: &Policy, facts: &Facts) -> Option<Verdict> {
    let rise = facts.goroutines.as_ref().filter(|it| it.is_significant(policy.max_p_value))?;
    let opened = facts.opened.filter(|_| facts.dials_per_call(policy))?;
    let residue = rise.growth / opened;
    // A channel that was closed leaves nothing; one that idled out leaves its three goroutines.
    (residue >= 0.5 * IDLED_GOROUTINES).then(|| {
        Verdict::Growing(Growth {
            diagnosis: Diagnosis::IdleChannelResidue,
            confidence: Confidence::from_p_value(rise.p_value),
            message: format!(
                "open connections do not rise, but goroutines do, by {:.0} {}: {residue:.1} for each of {opened:.0} \
                 channels that were opened{}",
                rise.growth,
                within(facts),
                describe_memory(policy, facts)
            ),
        })
    })
}

/// Memory rises towards its limit while connections are known not to.
fn memory_elsewhere(policy: &Policy, facts: &Facts) -> Option<Verdict> {
    let rise = facts.memory.as_ref().filter(|it| it.is_significant(policy.max_p_value))?;
    facts.connections.as_ref()?;
    let limit = facts.evidence.memory_limit?;
    let forecast = facts.evidence.forecast.as_ref()?;
    // Patience: a cache that fills looks like a leak. Never extrapolate further than was observed.
    let near = forecast.expected <= rise.span.min(policy.time_to_memory_limit.as_secs_f64());
    (near && rise.growth >= MEMORY_SHARE * limit).then(|| {
        Verdict::Growing(Growth {
            diagnosis: Diagnosis::MemoryLeakElsewhere,
            confidence: Confidence::from_p_value(rise.p_value),
            message: format!("connections do not rise{}", describe_memory(policy, facts)),
        })
    })
}

/// A rise that is too likely for `Healthy` and not sure enough for a finding.
fn doubtful(policy: &Policy, facts: &Facts) -> Option<Why> {
    let rise = facts.connections.as_ref()?;
    (matters(policy, rise) && rise.still_rising && rise.p_value <= DOUBTFUL_P_VALUE)
        .then(|| Why::Unclear { signal: Signal::OpenConnections, confidence: sureness(Some(rise)) })
}

/// A finding that rests on counted events, not on a trend: they happened.
fn counted(diagnosis: Diagnosis, message: String) -> Verdict {
    Verdict::Growing(Growth { diagnosis, confidence: Confidence::from_p_value(0.0), message })
}

fn sureness(rise: Option<&Rise>) -> f64 {
    rise.map_or(0.0, |it| Confidence::from_p_value(it.p_value).percent())
}

fn within(facts: &Facts) -> String {
    format!("in {}", print_seconds(facts.connections.as_ref().map_or(facts.judged_for, |it| it.span)))
}

fn print_seconds(seconds: f64) -> String {
    print_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn describe_connections(leak: &Rise) -> String {
    format!(
        "open connections rose from {:.0} to {:.0} in {} ({:.0} per hour)",
        leak.start.max(0.0),
        leak.now,
        print_seconds(leak.span),
        leak.trend.slope.per_second * 3_600.0
    )
}

fn ratio(policy: &Policy, facts: &Facts) -> String {
    let opened = facts.opened_or_grown(policy).unwrap_or_default();
    let calls = facts.calls.unwrap_or_default();
    let each = facts.calls_per_connection(policy).unwrap_or_default();
    format!("{opened:.0} connections opened for {calls:.0} calls: one per {each:.1} calls")
}

fn describe_memory(policy: &Policy, facts: &Facts) -> String {
    let Some(rise) = facts.memory.as_ref().filter(|it| it.is_significant(policy.max_p_value)) else {
        return String::new();
    };
    let rate = format!("; memory rises by {:.1} MiB per hour", rise.trend.slope.per_second * 3_600.0 / 1_048_576.0);
    let limit =
        facts.evidence.forecast.as_ref().map(|it| format!(" and reaches its limit in {}", print_seconds(it.expected)));
    rate + &limit.unwrap_or_default()
}
