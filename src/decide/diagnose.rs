//! What the figures mean together: the seven diagnoses, and the doubts that forbid one.
//!
//! The order of the questions is the order of trust: what is counted per call is asked before what merely grows. The
//! figures come from [`super::assess`], the sentences from [`words`]; the law of the idle plateau is in [`idle`], and who
//! broke which rule of keepalive in [`rejected`].

mod idle;
mod rejected;
mod words;

use std::collections::BTreeMap;

use crate::{
    decide::{
        Confidence, Diagnosis, Evidence, Forecast, Growth, Observation, Policy, Verdict, Why,
        assess::{Counter, Rise, Rises, Strength},
        forecast,
        lineage::Ancestor,
    },
    signals::Signal,
};

/// Memory per leaked connection, bytes: below, memory grows for another reason; above, too. Measured for grpc-go 1.45
/// to 1.85: 19 kB (1.85 plaintext) to 111 kB (1.45), with room for TLS and other runtimes.
const BYTES_PER_CONNECTION: std::ops::RangeInclusive<f64> = 2_048.0..=1_048_576.0;
/// The same with little room: where there is no better evidence, so much memory speaks for connections.
const USUAL_BYTES_PER_CONNECTION: std::ops::RangeInclusive<f64> = 16_384.0..=131_072.0;
/// Goroutines per open connection. Measured for grpc-go 1.45 to 1.85: a server's has 3; a client's has 4 since 1.56, 5
/// since 1.60, and 3 before. So more than 3 tell a client, and 3 tell nothing.
const CLIENT_GOROUTINES: f64 = 3.7;
/// A rise this sure is not called healthy, even though it is not called a finding either.
const DOUBTFUL_P_VALUE: f64 = 0.01;
/// Memory alone is judged in windows of at least this part of the policy's window,
const MEMORY_SHARE: f64 = 30.0;
/// and extrapolated by no more than this share of what was observed.
const PATIENCE: f64 = 0.7;
/// A memory limit is near when it is no further away than was observed, and than this part of it where memory does not
/// fit the connections.
const UNUSUALLY_NEAR: f64 = 0.4;
/// Predecessors rose alike when their rate was within this factor,
const ALIKE: f64 = 3.0;
/// if so many of those who lived long enough did,
const MOST: f64 = 0.75;
/// and age is behind it when one of them began at another hour of the day, seconds apart.
const OTHER_HOUR: f64 = 4.0 * 3_600.0;
const WHOLE_DAY: f64 = 86_400.0;
/// A level that a predecessor held for so long, seconds, is where memory may come to rest,
const PLATEAU: f64 = 4.0 * 3_600.0;
/// and a little above it, too.
const WARM: f64 = 1.1;
/// Events before a rate of failures or rejections is believed.
const MIN_EVENTS: f64 = 5.0;
/// A connection that lives no longer than this, seconds, was opened for a call; one that a server's limit of age or
/// idleness ends lives longer.
const CHURN_LIFE: f64 = 60.0;
/// Without calls a pool that follows the day cannot be told from a leak, unless the whole day is seen, seconds,
const DAY: f64 = 20.0 * 3_600.0;
/// or this part of the window, if that is shorter.
const DAY_SHARE: f64 = 4.0;

/// The figures of one subject.
pub struct Facts<'a> {
    /// What was seen.
    pub observation: &'a Observation,
    /// Open connections.
    pub connections: Option<Rises>,
    /// Memory, bytes.
    pub memory: Option<Rises>,
    /// Goroutines.
    pub goroutines: Option<Rises>,
    /// What was counted.
    pub counters: BTreeMap<Signal, Vec<Counter>>,
    /// Whether open connections include inbound ones.
    pub direction_blind: bool,
    /// When it was seen, Unix seconds.
    pub now: f64,
    /// From when on it is judged, Unix seconds.
    pub from: f64,
    /// How far back open connections are known, seconds.
    pub seen_for: f64,
    /// How long what only counts is counted, seconds.
    pub recent: f64,
    /// The figures that need no trend.
    pub evidence: Evidence,
}

impl Facts<'_> {
    fn counted(&self, signal: Signal, from: f64, to: f64) -> Option<f64> {
        Counter::grown(self.counters.get(&signal)?, from, to)
    }

    fn recently(&self, signal: Signal) -> Option<f64> {
        self.counted(signal, self.now - self.recent, self.now)
    }

    /// Whether the counter grows in each third of the recent time.
    fn keeps_growing(&self, signal: Signal) -> bool {
        let third = self.recent / 3.0;
        let grows = |part: f64| {
            let from = self.now - self.recent + part * third;
            self.counted(signal, from, from + third).is_some_and(|it| it > 0.0)
        };
        [0.0, 1.0, 2.0].into_iter().all(grows)
    }

    fn knows_load(&self) -> bool {
        self.counters.contains_key(&Signal::Calls)
            || self.direction_blind && self.counters.contains_key(&Signal::CallsServed)
    }

    /// The rise of open connections, if it is beyond doubt.
    fn leak(&self, policy: &Policy) -> Option<&Rise> {
        let rises = self.connections.as_ref()?;
        let sure = |it: &&Rise| it.is_significant(policy.max_p_value);
        if self.knows_load() {
            return rises.best(0.0).filter(sure);
        }
        let day = DAY.min(policy.window.as_secs_f64() / DAY_SHARE);
        // Patience: memory that runs out before long does not wait for the day to end.
        let near = |rise: &Rise| self.forecast().is_some_and(|it| it.expected <= self.usualness(rise) * self.seen_for);
        let besides = |it: &&Rise| self.recurs(policy, it) || near(it);
        rises.best(day).filter(sure).or_else(|| rises.best(0.0).filter(sure).filter(besides))
    }

    /// What becomes of patience where memory does not fit the connections: load may be behind both.
    fn usualness(&self, connections: &Rise) -> f64 {
        let each = self.rising_memory().map(|it| it.trend.slope.per_second / connections.trend.slope.per_second);
        if each.is_some_and(|it| USUAL_BYTES_PER_CONNECTION.contains(&it)) { 1.0 } else { UNUSUALLY_NEAR }
    }

    /// Whether load may be behind it for all that is known, or a server's clients: nothing tells inbound from outbound
    /// connections or what the process had to do, and no predecessor says that it is age.
    fn may_serve(&self, policy: &Policy, leak: &Rise) -> bool {
        self.direction_blind && !self.knows_load() && !self.recurs(policy, leak)
    }

    fn sure<'a>(rises: Option<&'a Rises>, policy: &Policy) -> Option<&'a Rise> {
        rises.and_then(|it| it.best(0.0)).filter(|it| it.is_significant(policy.max_p_value))
    }

    /// How memory rises, sure or not.
    fn rising_memory(&self) -> Option<&Rise> {
        self.memory.as_ref()?.best(0.0).filter(|it| it.still_rising)
    }

    fn forecast(&self) -> Option<Forecast> {
        self.forecast_by(self.rising_memory()?)
    }

    fn forecast_by(&self, rise: &Rise) -> Option<Forecast> {
        let scores = self.memory.as_ref()?.window(rise).map(forecast::scores).unwrap_or_default();
        forecast::forecast(rise.now, self.evidence.memory_limit?, rise.trend.slope.per_second, &scores, rise.span)
    }

    /// The forecast while memory stands still and connections leak: a heap grows in steps of many minutes, between which
    /// it reuses what it has. Memory then answers for connections when there is about as much of it for each as is usual.
    fn forecast_by_balance(&self, leak: &Rise) -> Option<Forecast> {
        let (memory, open) = (self.evidence.memory?, self.evidence.open_connections?);
        let each = memory / open;
        if self.memory.is_none() || self.direction_blind || !USUAL_BYTES_PER_CONNECTION.contains(&each) {
            return None;
        }
        let slope = each * leak.trend.slope.per_second;
        forecast::forecast(memory, self.evidence.memory_limit?, slope, &[], leak.span)
    }

    /// Whether those who ran before rose as this one does, and not all at the same hour: then it is age, not load.
    fn recurs(&self, policy: &Policy, rise: &Rise) -> bool {
        let as_old: Vec<&Ancestor> =
            self.observation.ancestors.iter().filter(|it| it.lived >= rise.span / 2.0).collect();
        let is_alike = |it: &Ancestor| {
            let course = it.courses.get(&Signal::OpenConnections);
            let rate = course.map_or(0.0, |it| it.per_second / rise.trend.slope.per_second);
            let grown = course.map_or(0.0, |it| it.end - it.start);
            (1.0 / ALIKE..=ALIKE).contains(&rate) && grown >= policy.connection_growth
        };
        let alike: Vec<&Ancestor> = as_old.iter().copied().filter(|it| is_alike(it)).collect();
        let phase = |it: f64| it.rem_euclid(WHOLE_DAY);
        let apart = |it: f64| {
            let apart = (phase(it) - phase(self.from)).abs();
            apart.min(WHOLE_DAY - apart)
        };
        alike.len() >= 2
            && alike.len() as f64 >= MOST * as_old.len() as f64
            && alike.iter().any(|it| apart(it.born) >= OTHER_HOUR)
    }

    /// Whether memory has not yet left behind the level at which a predecessor stood still.
    fn still_warming(&self, level: f64) -> bool {
        self.observation.ancestors.iter().any(|it| {
            let course = it.courses.get(&Signal::Memory);
            it.lived >= PLATEAU && course.is_some_and(|course| course.flat && level < WARM * course.end)
        })
    }

    /// Calls per opened connection between two times. `None` when either is unknown or too few were opened to say.
    fn calls_per_connection(&self, policy: &Policy, opened: f64, from: f64) -> Option<f64> {
        let calls = self.counted(Signal::Calls, from, self.now).filter(|it| *it > 0.0)?;
        (opened >= policy.connection_growth).then(|| calls / opened)
    }
}

/// The verdict, and the figures behind it.
pub fn diagnose(policy: &Policy, facts: &Facts<'_>) -> (Verdict, Evidence) {
    let leak = facts.leak(policy);
    let evidence = evidence(policy, facts, leak);
    let accused = leak.map(|leak| leaking(policy, facts, leak, &evidence));
    let (doubt, accused) = match accused {
        Some(doubt @ Verdict::Inconclusive(_)) => (Some(doubt), None),
        other => (None, other),
    };
    let verdict = accused
        .or_else(|| rejected::rejected(policy, facts))
        .or_else(|| unreachable(facts))
        .or_else(|| idle::left_behind(policy, facts, &evidence))
        .or_else(|| churn(policy, facts))
        .or_else(|| memory_elsewhere(policy, facts, &evidence))
        .or(doubt)
        .or_else(|| doubtful(facts))
        .unwrap_or(Verdict::Healthy);
    (verdict, evidence)
}

fn evidence(policy: &Policy, facts: &Facts<'_>, leak: Option<&Rise>) -> Evidence {
    let memory = Facts::sure(facts.memory.as_ref(), policy);
    let since = leak.map_or(facts.now - facts.recent, |it| it.from);
    let opened = facts.counted(Signal::ConnectionsOpened, since, facts.now);
    let grown = opened.or(leak.map(|it| it.growth));
    let vouched = |signal, rises: bool| {
        let measured = facts.observation.measured(signal).filter(|it| rises && it.witnessed)?;
        Some(format!("{} ({})", measured.source, signal.name()))
    };
    let witnesses = [vouched(Signal::OpenConnections, leak.is_some()), vouched(Signal::Memory, memory.is_some())];
    Evidence {
        connections: leak.map(|it| it.trend),
        residuals: leak.map(|it| it.residuals.clone()).unwrap_or_default(),
        opened,
        calls: facts.counted(Signal::Calls, since, facts.now),
        calls_per_connection: grown.and_then(|it| facts.calls_per_connection(policy, it, since)),
        leaked_per_call: leak.and_then(|it| it.per_call),
        goroutine_trend: Facts::sure(facts.goroutines.as_ref(), policy).map(|it| it.trend),
        memory_trend: memory.map(|it| it.trend),
        bytes_per_connection: leak
            .zip(memory)
            .map(|(leak, memory)| memory.trend.slope.per_second / leak.trend.slope.per_second),
        forecast: match (memory, leak) {
            (Some(_), _) => facts.forecast(),
            (None, Some(leak)) => facts.forecast_by_balance(leak),
            (None, None) => None,
        },
        witnesses: witnesses.into_iter().flatten().collect(),
        span: Some(leak.map_or(facts.recent, |it| it.span)),
        ..facts.evidence.clone()
    }
}

/// Open connections rise. Is it the client's doing, and do calls or memory confirm it?
fn leaking(policy: &Policy, facts: &Facts<'_>, leak: &Rise, evidence: &Evidence) -> Verdict {
    if let Some(serves) = may_be_inbound(policy, facts, leak) {
        return Verdict::Inconclusive(Why::DirectionUnknown { serves });
    }
    if evidence.calls_per_connection.is_some_and(|it| it < policy.calls_per_connection) {
        return Verdict::Growing(Growth {
            diagnosis: Diagnosis::DialPerCall,
            confidence: Confidence::from_p_value(leak.p_value),
            strength: leak.strength(),
            message: words::dials_per_call(leak, evidence),
        });
    }
    // Without a telling ratio the rise alone may be a pool that follows load: memory or goroutines must confirm it,
    // or load must be known, so that what follows it has been taken off.
    let explained = evidence.bytes_per_connection.is_some_and(|it| BYTES_PER_CONNECTION.contains(&it));
    let something_else = evidence.bytes_per_connection.is_some() && !explained && !facts.knows_load();
    let confirmed = explained || evidence.goroutine_trend.is_some() && !something_else;
    let revisited = facts.connections.as_ref().is_some_and(|it| it.stood_as_high_before(leak));
    if !revisited && (confirmed || facts.knows_load() && leak.strength() >= Strength::Alertable) {
        // Nobody is restarted for connections that memory does not answer for.
        let certain = explained && !facts.may_serve(policy, leak);
        let strength = if certain { leak.strength() } else { leak.strength().min(Strength::Alertable) };
        let confidence = Confidence::from_p_value(leak.p_value);
        let (diagnosis, message) = (Diagnosis::ConnectionLeak, words::leaks(leak, evidence));
        return Verdict::Growing(Growth { diagnosis, confidence, strength, message });
    }
    let confidence = sureness(facts.memory.as_ref().and_then(|it| it.best(0.0)));
    Verdict::Inconclusive(Why::Unclear { signal: Signal::Memory, confidence })
}

/// Whether rising sockets may be those of the pod's own clients, and why it is taken for a server.
fn may_be_inbound(policy: &Policy, facts: &Facts<'_>, leak: &Rise) -> Option<String> {
    if !facts.direction_blind {
        return None;
    }
    let counted = |signal| facts.counted(signal, leak.from, facts.now).filter(|it| *it > 0.0);
    let (served, made) = (counted(Signal::CallsServed), counted(Signal::Calls));
    let goroutines = facts.goroutines.as_ref().and_then(|it| it.rate(leak.span));
    let per_connection = goroutines.map(|it| it / leak.trend.slope.per_second);
    if per_connection.is_some_and(|it| it >= CLIENT_GOROUTINES) {
        return None;
    }
    let habit = made.is_some_and(|it| it / leak.growth < policy.calls_per_connection);
    match (&facts.observation.target.service, served, per_connection) {
        (_, Some(served), _) => Some(format!("it served {served:.0} gRPC calls {}", words::within(leak.span))),
        (Some(service), None, _) => Some(format!("it stands behind Service {service}")),
        (None, None, Some(each)) if !habit => Some(format!("each has {each:.1} goroutines, as a server's have")),
        (None, None, _) => None,
    }
}

fn unreachable(facts: &Facts<'_>) -> Option<Verdict> {
    let failed = facts.recently(Signal::ConnectionsFailed).filter(|it| *it >= MIN_EVENTS)?;
    let opened = facts.recently(Signal::ConnectionsOpened).unwrap_or_default();
    (failed > opened && facts.keeps_growing(Signal::ConnectionsFailed))
        .then(|| counted(Diagnosis::TargetUnreachable, words::unreachable(failed, opened, facts.recent)))
}

fn churn(policy: &Policy, facts: &Facts<'_>) -> Option<Verdict> {
    let opened = facts.recently(Signal::ConnectionsOpened)?;
    let each = facts.calls_per_connection(policy, opened, facts.now - facts.recent)?;
    let calls = facts.recently(Signal::Calls)?;
    // Little's law: as many are open as are opened in the time that one lives.
    let life = facts.evidence.open_connections.unwrap_or_default() * facts.recent / opened;
    let brief = life <= CHURN_LIFE && facts.keeps_growing(Signal::ConnectionsOpened);
    (brief && each < policy.calls_per_connection)
        .then(|| counted(Diagnosis::ConnectionChurn, words::churns(opened, calls, each, facts.recent)))
}

/// Memory rises towards its limit while connections are known not to.
fn memory_elsewhere(policy: &Policy, facts: &Facts<'_>, evidence: &Evidence) -> Option<Verdict> {
    facts.connections.as_ref()?;
    // The saw-teeth of a rarely collected heap are a trend for as long as one tooth lasts.
    // Where sockets rise, too, it is no tooth.
    let sockets = facts.leak(policy).filter(|_| facts.direction_blind);
    let long = if sockets.is_some() { 0.0 } else { policy.window.as_secs_f64() / MEMORY_SHARE };
    let rise = facts.memory.as_ref()?.best(long).filter(|it| it.is_significant(policy.max_p_value))?;
    if facts.still_warming(rise.now) {
        return None;
    }
    let forecast = facts.forecast_by(rise)?;
    // Patience: a cache that fills looks like a leak. Never extrapolate further than was observed.
    let patience = PATIENCE * sockets.map_or(1.0, |it| facts.usualness(it));
    let near = forecast.expected <= (patience * rise.span).min(policy.time_to_memory_limit.as_secs_f64());
    near.then(|| {
        Verdict::Growing(Growth {
            diagnosis: Diagnosis::MemoryLeakElsewhere,
            confidence: Confidence::from_p_value(rise.p_value),
            strength: rise.strength(),
            message: words::elsewhere(sockets.is_some(), evidence),
        })
    })
}

/// A rise that is too likely for `Healthy` and not sure enough for a finding.
fn doubtful(facts: &Facts<'_>) -> Option<Verdict> {
    let rises = facts.connections.as_ref()?;
    let unclear = |confidence| Verdict::Inconclusive(Why::Unclear { signal: Signal::OpenConnections, confidence });
    match rises.best(0.0) {
        Some(rise) if rise.still_rising && rise.p_value <= DOUBTFUL_P_VALUE => Some(unclear(sureness(Some(rise)))),
        None if rises.abstained => Some(Verdict::Inconclusive(Why::LoadRisesToo)),
        _ => rises.creeps.then_some(Verdict::Inconclusive(Why::Creeps)),
    }
}

/// A finding that rests on counted events, not on a trend: they happened.
fn counted(diagnosis: Diagnosis, message: String) -> Verdict {
    let (confidence, strength) = (Confidence::from_p_value(0.0), Strength::Certain);
    Verdict::Growing(Growth { diagnosis, confidence, strength, message })
}

fn sureness(rise: Option<&Rise>) -> f64 {
    rise.map_or(0.0, |it| Confidence::from_p_value(it.p_value).percent())
}
