//! What is written back: status computed from what was seen, decided and done. Pure; `io::report` writes it, and
//! only when it says something new.

mod conditions;
mod keepalive;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{
        AlertRecord, Autonomy, Counts, Figures, GrpcClientPolicyStatus, InconclusiveGroup, Mode, Offender,
        ProfileRecord, RemediationState, RemediationStatus, RestartRecord, SourceInUse, Stage, names, print_duration,
    },
    decide::{
        Because, Case, Decision, Evidence, Finding, Outcome, Plan, QueryFailure, Remediation, Rung, Verdict, approval,
        concerns, keepalive::Declaration,
    },
    signals::Signal,
};

/// What a status can hold.
const MAX_OFFENDERS: usize = 50;
const MAX_GROUPS: usize = 20;
/// How old `lastEvaluationTime` may grow while nothing else changes.
const HEARTBEAT: SignedDuration = SignedDuration::from_mins(5);

/// What became of one evaluation.
#[derive(Clone, Debug)]
pub enum Observed<'a> {
    /// The policy was just seen; nothing is known yet.
    FirstSight,
    /// The spec cannot work.
    Invalid(String),
    /// The stored object cannot be read.
    Unreadable(String),
    /// The author suspended it.
    Suspended,
    /// The Kubernetes API failed before anything could be judged.
    ApiFailed(String),
    /// It was judged.
    Judged {
        /// The verdicts.
        findings: &'a [Finding],
        /// What was to be done.
        plan: &'a Plan,
        /// What became of it.
        outcomes: &'a [Outcome],
        /// The profiles that are remembered.
        profiles: &'a [ProfileRecord],
        /// Why the metrics backend could not even be probed, when there was nobody to ask it about.
        unreachable: Option<&'a QueryFailure>,
        /// Restarts under this policy in the last 24 hours.
        restarts_last_day: u32,
        /// What came of its restarts.
        restarts: &'a [RestartRecord],
        /// What `mode: Auto` has shown by now.
        autonomy: Option<&'a Autonomy>,
        /// What the policy declares about keepalive.
        keepalive: &'a Declaration,
    },
}

/// The status after an evaluation of `generation`. What the evaluation says nothing about stays as it was.
#[must_use]
pub fn status(
    old: Option<&GrpcClientPolicyStatus>,
    generation: Option<i64>,
    observed: &Observed<'_>,
    now: Timestamp,
) -> GrpcClientPolicyStatus {
    let mut status = old.cloned().unwrap_or_default();
    if !matches!(observed, Observed::FirstSight) {
        status.observed_generation = generation;
    }
    if let Observed::Judged {
        findings,
        plan,
        outcomes,
        profiles,
        restarts_last_day,
        keepalive,
        restarts,
        autonomy,
        ..
    } = observed
    {
        status.last_evaluation_time = Some(Time(now));
        status.counts = Some(counts(findings, plan, *restarts_last_day));
        status.sources = sources(findings);
        status.inconclusive = inconclusive(findings);
        status.offenders = plan.cases.iter().take(MAX_OFFENDERS).map(|it| offender(it, outcomes)).collect();
        status.offenders_omitted = count(plan.cases.len().saturating_sub(MAX_OFFENDERS));
        status.alerts = alerts(plan, outcomes);
        status.profiles = profiles.to_vec();
        status.restarts = restarts.to_vec();
        // Whom the administrator holds back keeps what it has earned; whoever leaves Auto begins anew when it comes back.
        if plan.mode == Mode::Auto || !plan.exceeded.contains(&"mode") {
            status.autonomy = autonomy.cloned();
        }
        // A dry run removes nothing, so what was written before stays on the list.
        if plan.stage >= Stage::Alert {
            status.annotated = plan.annotated.clone();
        }
        // What is not declared any more is neither agreed on nor disputed.
        if keepalive::agreed(keepalive).is_none() {
            status.conditions.retain(|it| it.type_ != names::conditions::KEEPALIVE_AGREED);
        }
    }
    if matches!(observed, Observed::Suspended) {
        status.alerts.clear();
    }
    for (kind, state, reason, message) in conditions::wanted(observed) {
        conditions::set_condition(&mut status.conditions, kind, state, reason, message, generation, now);
    }
    status
}

/// Whether `new` is worth a write: it differs in more than times and running texts, or its heartbeat is due.
#[must_use]
pub fn worth_writing(old: Option<&GrpcClientPolicyStatus>, new: &GrpcClientPolicyStatus) -> bool {
    let Some(old) = old else { return true };
    let evaluated = |it: &GrpcClientPolicyStatus| it.last_evaluation_time.as_ref().map(|it| it.0);
    let heartbeat = match (evaluated(old), evaluated(new)) {
        (Some(before), Some(after)) => after.duration_since(before) >= HEARTBEAT,
        (before, after) => before != after,
    };
    heartbeat || timeless(old) != timeless(new)
}

fn timeless(status: &GrpcClientPolicyStatus) -> GrpcClientPolicyStatus {
    let mut status = status.clone();
    status.last_evaluation_time = None;
    for condition in &mut status.conditions {
        condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
    }
    for offender in &mut status.offenders {
        offender.message.clear();
        offender.looked_at = None;
        offender.figures.time_to_limit = None;
        offender.figures.time_to_limit_soonest = None;
        offender.figures.time_to_limit_latest = None;
        offender.figures.restart_by = None;
        for step in &mut offender.remediations {
            if let Some(approval) = &mut step.approval {
                (approval.too_late_after, step.message) = (None, None);
            }
        }
    }
    for alert in &mut status.alerts {
        alert.summary.clear();
        alert.approval = alert.approval.take().map(|_| String::new());
    }
    for group in &mut status.inconclusive {
        group.example.clear();
    }
    status
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn counts(findings: &[Finding], plan: &Plan, restarts_last_day: u32) -> Counts {
    let is = |wanted: fn(&Verdict) -> bool| count(findings.iter().filter(|it| wanted(&it.verdict)).count());
    Counts {
        targets: count(findings.len()),
        healthy: is(|it| matches!(it, Verdict::Healthy)),
        violating: count(plan.cases.len()),
        inconclusive: is(|it| matches!(it, Verdict::Inconclusive(_))),
        restarts_last_day,
    }
}

fn sources(findings: &[Finding]) -> Vec<SourceInUse> {
    let mut used: BTreeMap<(Signal, &str), u32> = BTreeMap::new();
    for (signal, source) in findings.iter().flat_map(|it| &it.sources) {
        *used.entry((*signal, source)).or_default() += 1;
    }
    let entry = |((signal, source), containers): ((Signal, &str), u32)| SourceInUse {
        signal: signal.name().to_owned(),
        source: source.to_owned(),
        containers,
    };
    used.into_iter().map(entry).collect()
}

/// The alerts as they stand, marked when an Alertmanager has taken them now.
fn alerts(plan: &Plan, outcomes: &[Outcome]) -> Vec<AlertRecord> {
    let taken = |it: &Outcome| it.remediation == Remediation::Alert && it.result.is_ok();
    let heard = |record: &AlertRecord| {
        let of_subject = |case: &&Case| outcomes.iter().any(|it| taken(it) && it.subject == case.target.subject);
        plan.cases.iter().filter(of_subject).any(|it| concerns(record, &it.target))
    };
    plan.alerts.iter().map(|it| AlertRecord { delivered: it.delivered || heard(it), ..it.clone() }).collect()
}

fn inconclusive(findings: &[Finding]) -> Vec<InconclusiveGroup> {
    let mut groups: BTreeMap<&str, InconclusiveGroup> = BTreeMap::new();
    for finding in findings {
        let Verdict::Inconclusive(why) = &finding.verdict else { continue };
        let subject = &finding.target.subject;
        let group = groups.entry(why.reason()).or_insert_with(|| InconclusiveGroup {
            reason: why.reason().to_owned(),
            containers: 0,
            example: shortened(&format!("{}/{} ({}): {why}", subject.namespace, subject.pod, subject.container), 400),
        });
        group.containers += 1;
    }
    groups.into_values().take(MAX_GROUPS).collect()
}

pub(super) fn offender(case: &Case, outcomes: &[Outcome]) -> Offender {
    let subject = &case.target.subject;
    Offender {
        namespace: subject.namespace.clone(),
        pod: subject.pod.clone(),
        uid: subject.uid.clone(),
        container: subject.container.clone(),
        workload: case.target.workload.as_ref().map(crate::decide::Workload::reference),
        diagnosis: case.growth.diagnosis.name().to_owned(),
        confidence: (case.growth.confidence.percent() * 1_000.0).floor() / 1_000.0,
        since: Time(case.since),
        message: case.growth.message.clone(),
        figures: figures(&case.evidence),
        standing: case.standing,
        looks: case.looks.letters().to_owned(),
        looked_at: case.looks.at().map(Time),
        started_at: case.target.started.and_then(time),
        confirmed: case.confirmed,
        remediations: case.rungs.iter().map(|rung| remediation(case, rung, outcomes)).collect(),
    }
}

fn remediation(case: &Case, rung: &Rung, outcomes: &[Outcome]) -> RemediationStatus {
    let outcome = outcomes
        .iter()
        .find(|it| it.remediation == rung.remediation && it.subject == case.target.subject)
        .map(|it| &it.result);
    let (state, because): (_, Option<&Because>) = match (&rung.decision, outcome) {
        (Decision::WouldDo, _) => (RemediationState::WouldDo, None),
        (Decision::Do, Some(Ok(()))) => (RemediationState::Done, None),
        (Decision::Do, Some(Err(because @ Because::RequestFailed { .. }))) => (RemediationState::Failed, Some(because)),
        (Decision::Do, Some(Err(because))) | (Decision::Withheld(because), _) => {
            (RemediationState::Withheld, Some(because))
        }
        (Decision::Do, None) => (RemediationState::Failed, None),
    };
    RemediationStatus {
        remediation: rung.remediation.name().to_owned(),
        state,
        because: because.map(|it| it.reason().to_owned()),
        message: because.map(|it| shortened(&it.to_string(), 400)),
        approval: (rung.remediation == Remediation::Restart).then(|| approval::record(case, because)).flatten(),
    }
}

/// The figures, rounded to two significant digits, so that noise alone changes nothing.
#[must_use]
pub fn figures(evidence: &Evidence) -> Figures {
    let per_hour =
        |trend: &Option<crate::decide::stats::Trend>| trend.as_ref().map(|it| rounded(it.slope.per_second * 3_600.0));
    let time = |seconds: f64| print_duration(std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default());
    Figures {
        open_connections: evidence.open_connections.map(rounded),
        connections_per_hour: per_hour(&evidence.connections),
        calls_per_connection: evidence.calls_per_connection.map(rounded),
        leaked_per_thousand_calls: evidence.leaked_per_call.map(|it| rounded(it * 1_000.0)),
        goroutines: evidence.goroutines.map(rounded),
        goroutines_per_hour: per_hour(&evidence.goroutine_trend),
        memory_bytes: evidence.memory.map(rounded),
        memory_bytes_per_hour: per_hour(&evidence.memory_trend),
        bytes_per_connection: evidence.bytes_per_connection.map(rounded),
        memory_limit_bytes: evidence.memory_limit,
        time_to_limit_soonest: evidence.forecast.map(|it| time(it.soonest)),
        time_to_limit: evidence.forecast.map(|it| time(it.expected)),
        time_to_limit_latest: evidence.forecast.map(|it| time(it.latest)),
        restart_by: evidence.forecast.map(|it| time(it.restart_by)),
    }
}

/// To two significant digits.
#[must_use]
pub fn rounded(value: f64) -> f64 {
    if value.abs() < f64::EPSILON || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powf(1.0 - value.abs().log10().floor());
    // Values above 1 are whole numbers of something; divide exactly instead of multiplying by an inexact inverse.
    if scale < 1.0 { (value * scale).round() * (1.0 / scale).round() } else { (value * scale).round() / scale }
}

/// A time from Unix seconds, whole ones.
pub(super) fn time(seconds: f64) -> Option<Time> {
    Timestamp::from_second(seconds.round() as i64).ok().map(Time)
}

/// At most so many bytes, cut at a character.
#[must_use]
pub fn shortened(text: &str, bytes: usize) -> String {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests;
