//! Cases: when one begins, and what closes it. Only what the operator sees itself counts, and only what it sees after the
//! case began: the data that a finding was made from prove nothing about it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{SKEW, Seen};
use crate::{
    api::{Autonomy, CaseKind, CaseOutcome, ClosedCase, Effect, Levels, Life, OpenCase, RestartRecord},
    decide::{
        Case, Decision, Diagnosis, Evidence, Finding, Remediation, Target, Verdict,
        assess::{GOROUTINES, GROWTH_SHARE, least_memory},
        status::{rounded, time},
    },
};

/// A finding has gone on when it stood for this part of the window, at least and at most so long. By then most of what it
/// was made from has left the shortest scales.
const PATIENCE_SHARE: u32 = 24;
const PATIENCE: (Duration, Duration) = (Duration::from_secs(1_800), Duration::from_secs(12 * 3_600));
/// A pod that is missed may be one that is just being started again.
const MISSED: SignedDuration = SignedDuration::from_mins(30);
/// So long a new revision is waited for to grow as old as the one that was found.
const COMPARED: SignedDuration = SignedDuration::from_hours(48);
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// A case that nothing has decided by then never will be.
const UNDECIDED: SignedDuration = SignedDuration::from_hours(7 * 24);
/// What is kept of the level, where the load has stopped.
const KEPT_LEVEL: f64 = 0.9;
/// The load has stopped when it is less than this share of what it was.
const STOPPED: f64 = 0.5;

const MAX_OPEN: usize = 40;
const REMEMBERED: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Of one leak (a container of a workload, in one revision) so many cases count as right: seen again and again, it proves
/// itself, not the detector.
pub(super) const PER_LEAK: usize = 3;

impl CaseKind {
    /// The step that it is about.
    const fn step(self) -> Remediation {
        match self {
            Self::Alert => Remediation::Alert,
            Self::Restart => Remediation::Restart,
        }
    }

    /// How many closed cases are remembered.
    pub(super) const fn remembered(self) -> usize {
        match self {
            Self::Alert => 64,
            Self::Restart => 44,
        }
    }
}

impl CaseOutcome {
    /// Whether the case was right; `None` when nobody knows.
    pub(super) const fn is_right(self, kind: CaseKind) -> Option<bool> {
        match (self, kind) {
            (Self::OutOfMemory | Self::WentOn | Self::CameBack, _) | (Self::Fixed, CaseKind::Alert) => Some(true),
            (Self::WentAway | Self::Useless, _) => Some(false),
            // Somebody changed the code: there was something to alert about. What a restart would have done nobody knows.
            (Self::Fixed, CaseKind::Restart) | (Self::LoadStopped | Self::Ended | Self::Gone | Self::Undecided, _) => {
                None
            }
        }
    }
}

/// Closes the cases whose outcome is known now, and takes back those that were called right too soon.
pub(super) fn settle(record: &mut Autonomy, seen: &Seen<'_>) {
    for mut case in std::mem::take(&mut record.open) {
        match fate(&case, seen) {
            Fate::Open { gone } => {
                case.gone = if gone { case.gone.or(Some(Time(seen.now))) } else { None };
                record.open.push(case);
            }
            Fate::Closed(outcome) => {
                let levels = (outcome == CaseOutcome::WentOn).then_some(case.levels);
                let OpenCase { kind, life, .. } = case;
                record.closed.push(ClosedCase { kind, life, outcome, at: Time(seen.now), levels });
            }
        }
    }
    for case in &mut record.closed {
        if went_away_after_all(case, seen) {
            (case.outcome, case.at, case.levels) = (CaseOutcome::WentAway, Time(seen.now), None);
        }
    }
    forget(&mut record.closed, seen.now);
}

/// Begins a case for each workload and container that would be alerted about, or restarted, and has none.
pub(super) fn begin(record: &mut Autonomy, seen: &Seen<'_>) {
    for case in &seen.plan.cases {
        for kind in [CaseKind::Alert, CaseKind::Restart] {
            let life = life(&case.target);
            let known = record.open.iter().any(|it| it.kind == kind && is_kin(&it.life, &life))
                || record.closed.iter().any(|it| it.kind == kind && it.life == life);
            if known || !foretells(case, kind) || record.open.len() >= MAX_OPEN {
                continue;
            }
            record.open.push(OpenCase {
                kind,
                life,
                diagnosis: case.growth.diagnosis.name().to_owned(),
                since: Time(seen.now),
                levels: levels(&case.evidence),
                gone: None,
            });
        }
    }
}

/// Whether the step is done about it now, or would be. What could not be judged now is not foretold anew.
fn foretells(case: &Case, kind: CaseKind) -> bool {
    let is_due = |it: &Decision| matches!(it, Decision::Do | Decision::WouldDo);
    !case.standing && case.rungs.iter().any(|it| it.remediation == kind.step() && is_due(&it.decision))
}

/// The life that a target lives now.
pub(super) fn life(target: &Target) -> Life {
    let subject = target.subject.clone();
    Life {
        namespace: subject.namespace,
        workload: target.workload.as_ref().map(crate::decide::Workload::reference),
        pod: subject.pod,
        uid: subject.uid,
        container: subject.container,
        started: target.started.and_then(time),
        revision: target.revision.clone(),
    }
}

/// Whether two lives are of the same container of the same workload, or of the same pod where nothing owns it.
fn is_kin(a: &Life, b: &Life) -> bool {
    let alone = a.workload.is_none() && a.pod != b.pod;
    a.namespace == b.namespace && a.container == b.container && a.workload == b.workload && !alone
}

fn levels(evidence: &Evidence) -> Levels {
    let calls = evidence.calls.zip(evidence.span.filter(|it| *it > 0.0)).map(|(calls, span)| calls * 3_600.0 / span);
    Levels {
        connections: evidence.open_connections.map(rounded),
        goroutines: evidence.goroutines.map(rounded),
        memory: evidence.memory.map(rounded),
        calls_per_hour: calls.map(rounded),
    }
}

/// What becomes of an open case.
enum Fate {
    /// Nothing yet.
    Open {
        /// The pod was not seen.
        gone: bool,
    },
    Closed(CaseOutcome),
}

fn fate(case: &OpenCase, seen: &Seen<'_>) -> Fate {
    let stays = |gone| {
        if seen.now.duration_since(case.since.0) < UNDECIDED {
            Fate::Open { gone }
        } else {
            Fate::Closed(CaseOutcome::Undecided)
        }
    };
    let Some(finding) = seen.findings.iter().find(|it| is_of(&case.life, &it.target)) else {
        return without_pod(case, seen).map_or_else(|| stays(true), Fate::Closed);
    };
    let began = case.since.0.as_duration().as_secs_f64();
    if finding.target.killed.is_some_and(|it| it >= began) {
        return Fate::Closed(CaseOutcome::OutOfMemory);
    }
    if life(&finding.target).started != case.life.started {
        return Fate::Closed(CaseOutcome::Ended);
    }
    let planned = seen.plan.cases.iter().find(|it| it.target.subject == finding.target.subject);
    match (planned, &finding.verdict) {
        (Some(planned), Verdict::Growing(_)) if has_gone_on(case, planned, seen) => Fate::Closed(CaseOutcome::WentOn),
        (None, Verdict::Healthy) => Fate::Closed(over(&case.levels, finding)),
        _ => stays(false),
    }
}

fn is_of(life: &Life, target: &Target) -> bool {
    let subject = &target.subject;
    (&life.namespace, &life.pod, &life.uid, &life.container)
        == (&subject.namespace, &subject.pod, &subject.uid, &subject.container)
}

/// It stood for as long as patience asks, is confirmed now, and has grown further by as much as makes a finding. A habit
/// that shows by what is counted does not grow; it goes on when it is still counted.
fn has_gone_on(case: &OpenCase, planned: &Case, seen: &Seen<'_>) -> bool {
    let stood = seen.now.duration_since(case.since.0) >= patience(seen);
    let agreed = !planned.standing && planned.looks.confirm(crate::decide::Strength::Alertable);
    let habit = Diagnosis::ALL.into_iter().find(|it| it.name() == case.diagnosis).is_some_and(is_habit);
    stood && agreed && (habit || has_grown(case, planned, seen))
}

const fn is_habit(diagnosis: Diagnosis) -> bool {
    matches!(diagnosis, Diagnosis::ConnectionChurn | Diagnosis::KeepaliveRejected | Diagnosis::TargetUnreachable)
}

fn has_grown(case: &OpenCase, planned: &Case, seen: &Seen<'_>) -> bool {
    let (then, now) = (&case.levels, &planned.evidence);
    let by = |then: Option<f64>, now: Option<f64>, least: &dyn Fn(f64) -> f64| {
        then.zip(now).is_some_and(|(then, now)| now - then >= least(then))
    };
    let memory = by(then.memory, now.memory, &|_| least_memory(planned.target.memory_limit));
    let connections =
        by(then.connections, now.open_connections, &|it| seen.policy.connection_growth.max(it * GROWTH_SHARE));
    // A restart is made for memory's sake.
    let others = case.kind == CaseKind::Alert;
    memory || others && (connections || by(then.goroutines, now.goroutines, &|_| GOROUTINES))
}

fn patience(seen: &Seen<'_>) -> SignedDuration {
    let patience = (seen.policy.window / PATIENCE_SHARE).clamp(PATIENCE.0, PATIENCE.1);
    SignedDuration::try_from(patience).unwrap_or(SignedDuration::MAX)
}

/// It is clean in the same life. What stopped when the load did, and kept what it had taken, was not wrong.
fn over(then: &Levels, finding: &Finding) -> CaseOutcome {
    let now = levels(&finding.evidence);
    let share =
        |then: Option<f64>, now: Option<f64>| then.zip(now).map(|(then, now)| now / then.max(f64::MIN_POSITIVE));
    let stopped = share(then.calls_per_hour, now.calls_per_hour).is_some_and(|it| it < STOPPED);
    let kept = |then, now| share(then, now).is_some_and(|it| it >= KEPT_LEVEL);
    if stopped && (kept(then.memory, now.memory) || kept(then.goroutines, now.goroutines)) {
        CaseOutcome::LoadStopped
    } else {
        CaseOutcome::WentAway
    }
}

/// Within a day of having gone on it went away by itself.
fn went_away_after_all(case: &ClosedCase, seen: &Seen<'_>) -> bool {
    let Some(levels) = case.levels.filter(|_| seen.now.duration_since(case.at.0) < DAY) else { return false };
    let finding = seen.findings.iter().find(|it| is_of(&case.life, &it.target) && it.verdict == Verdict::Healthy);
    finding.is_some_and(|it| {
        life(&it.target).started == case.life.started
            && !seen.plan.cases.iter().any(|planned| planned.target.subject == it.target.subject)
            && over(&levels, it) == CaseOutcome::WentAway
    })
}

/// The pod is gone: by our restart, for a new revision, or for a reason that is not ours to know.
fn without_pod(case: &OpenCase, seen: &Seen<'_>) -> Option<CaseOutcome> {
    let gone = case.gone.as_ref().map_or(SignedDuration::ZERO, |it| seen.now.duration_since(it.0));
    if let Some(restart) = seen.restarts.iter().find(|it| ended(it, case)) {
        return match restart.effect {
            Effect::LeaksAgain => Some(CaseOutcome::CameBack),
            Effect::Useless => Some(CaseOutcome::Useless),
            Effect::Helped | Effect::Unknown => Some(CaseOutcome::Gone),
            Effect::Pending => None,
        };
    }
    let mut newer = successors(case, seen).peekable();
    if newer.peek().is_none() {
        return (gone >= MISSED).then_some(CaseOutcome::Gone);
    }
    let is_planned = |it: &Finding| seen.plan.cases.iter().any(|case| case.target.subject == it.target.subject);
    let mut healthy = false;
    for finding in newer {
        if is_planned(finding) {
            return Some(CaseOutcome::Gone);
        }
        healthy |= finding.verdict == Verdict::Healthy && is_as_old(case, &finding.target, seen.now);
    }
    let late = gone >= COMPARED;
    if healthy { Some(CaseOutcome::Fixed) } else { late.then_some(CaseOutcome::Gone) }
}

/// Whether our restart ended the life that a case is about. The ledger tells time by another clock, in whole seconds.
fn ended(restart: &RestartRecord, case: &OpenCase) -> bool {
    let life = &case.life;
    let rolled_out = restart.rollout && life.workload.as_ref() == Some(&restart.workload);
    restart.namespace == life.namespace
        && restart.container == life.container
        && (rolled_out || restart.uid == life.uid)
        && restart.at.0.duration_since(case.since.0) >= -SKEW
}

/// Containers of the same workload that run a newer revision.
fn successors<'a>(case: &'a OpenCase, seen: &'a Seen<'_>) -> impl Iterator<Item = &'a Finding> {
    let since = case.since.0.as_duration().as_secs_f64();
    seen.findings.iter().filter(move |it| {
        let other = life(&it.target);
        let newer = it.target.started.is_some_and(|it| it >= since);
        other.workload.is_some() && is_kin(&other, &case.life) && other.revision != case.life.revision && newer
    })
}

/// Whether a container is as old as the other was when it was found, or a day.
fn is_as_old(case: &OpenCase, target: &Target, now: Timestamp) -> bool {
    let found = case.life.started.as_ref().map_or(DAY, |it| case.since.0.duration_since(it.0).min(DAY));
    target.started.is_some_and(|it| now.as_duration().as_secs_f64() - it >= found.as_secs_f64())
}

/// Drops what is old; of one leak the oldest right ones; and else the oldest, those first that count for nothing.
fn forget(closed: &mut Vec<ClosedCase>, now: Timestamp) {
    closed.sort_by_key(|it| it.at.0);
    closed.retain(|it| now.duration_since(it.at.0) < REMEMBERED);
    let same_leak = |a: &ClosedCase, b: &ClosedCase| {
        a.kind == b.kind && is_kin(&a.life, &b.life) && a.life.revision == b.life.revision
    };
    let is_right = |it: &ClosedCase| it.outcome.is_right(it.kind) == Some(true);
    let newer_alike = |n: usize| closed[n + 1..].iter().filter(|it| is_right(it) && same_leak(it, &closed[n])).count();
    let surplus: Vec<bool> = (0..closed.len()).map(|n| is_right(&closed[n]) && newer_alike(n) >= PER_LEAK).collect();
    let mut surplus = surplus.into_iter();
    closed.retain(|_| !surplus.next().unwrap_or(false));
    for kind in [CaseKind::Alert, CaseKind::Restart] {
        while closed.iter().filter(|it| it.kind == kind).count() > kind.remembered() {
            let unknown = closed.iter().position(|it| it.kind == kind && it.outcome.is_right(kind).is_none());
            let Some(oldest) = unknown.or_else(|| closed.iter().position(|it| it.kind == kind)) else { break };
            closed.remove(oldest);
        }
    }
}
