//! What will be done, what a dry run would do, and what is held back and why: one value, computed from findings and
//! history, that `io::act` carries out to the letter. Cannot fail; every refusal has a name ([`Because`]).
//!
//! This file climbs the ladder for each offender. `because` names the refusals, `restart` decides about restarts with
//! what `workload` says of the workload and `gitops` of its last rollout, `again` is asked once more before the act, `marks` keeps alerts and annotations.

mod again;
mod because;
mod gitops;
mod marks;
mod restart;
mod workload;

use std::{cmp::Ordering, time::Duration};

use jiff::{SignedDuration, Timestamp};

pub use again::Others;
pub use because::Because;
pub use gitops::not_reverted;
pub use marks::{RESOLVED_KEPT, concerns};
pub use restart::wish;

use crate::{
    api::{AlertRecord, AnnotatedWorkload, Mode, Offender, ProfileRecord, Stage},
    decide::{
        Confidence, Diagnosis, Evidence, Finding, Growth, History, Past, Policy, Strength, Subject, Target, Verdict,
        Workload,
        approval::{self, Asked},
        ledger::Limits,
        looks::Looks,
        overlap::overlapping,
        scales::look_distance,
        storm::storm,
    },
};

/// A step of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Remediation {
    /// Write the diagnosis on pod and workload.
    Annotate,
    /// Tell the people on call.
    Alert,
    /// Restart.
    Restart,
}

impl Remediation {
    /// Its name in status and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Annotate => "Annotate",
            Self::Alert => "Alert",
            Self::Restart => "Restart",
        }
    }

    /// Whether it may be done at a stage.
    #[must_use]
    pub fn is_allowed_at(self, stage: Stage) -> bool {
        match self {
            Self::Annotate | Self::Alert => stage >= Stage::Alert,
            Self::Restart => stage >= Stage::Restart,
        }
    }
}

/// How a restart is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Evict the pod.
    Evict,
    /// Restart the workload.
    Rollout,
}

/// What is to happen with one step.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Do it.
    Do,
    /// A dry run, or a stage that allows less: say it and do not do it.
    WouldDo,
    /// Do not do it.
    Withheld(Because),
}

/// One step of the ladder for one offender.
#[derive(Clone, Debug, PartialEq)]
pub struct Rung {
    /// Which.
    pub remediation: Remediation,
    /// What is to happen with it.
    pub decision: Decision,
    /// How, for a restart that is not withheld.
    pub restart: Option<Restart>,
}

/// One offender and its ladder.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Who.
    pub target: Target,
    /// What for.
    pub growth: Growth,
    /// The numbers.
    pub evidence: Evidence,
    /// Since when.
    pub since: Timestamp,
    /// The newest evaluation could not judge it or missed it; the last known finding stands, and never leads to a
    /// restart.
    pub standing: bool,
    /// What the newest looks saw.
    pub looks: Looks,
    /// Whether two looks have agreed since it began.
    pub confirmed: bool,
    /// The newest profile of it, if one was asked for.
    pub profile: Option<ProfileRecord>,
    /// The approvals that its restart needs.
    pub approvals: Asked,
    /// The steps that the policy lists.
    pub rungs: Vec<Rung>,
}

impl Case {
    /// Whether a step is to be done.
    #[must_use]
    pub fn does(&self, remediation: Remediation) -> bool {
        self.rungs.iter().any(|it| it.remediation == remediation && it.decision == Decision::Do)
    }
}

/// What was written about somebody who is clean now, and is to be removed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cleared {
    /// Pods that carry our annotations.
    pub pods: Vec<Subject>,
    /// Workloads that carry our annotations.
    pub workloads: Vec<Workload>,
}

/// All that is to happen, and all that is not. The default is a dry run that nothing follows from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The policy, `namespace/name` or `name`.
    pub policy: String,
    /// The policy's generation that it was made by.
    pub generation: Option<i64>,
    /// What the author lets be done.
    pub mode: Mode,
    /// What of it may be done now. At `DryRun` the plan is never handed to `act`.
    pub stage: Stage,
    /// The offenders, the most urgent first.
    pub cases: Vec<Case>,
    /// What is to be removed.
    pub cleared: Cleared,
    /// The workloads that carry our annotations when the plan has been carried out.
    pub annotated: Vec<AnnotatedWorkload>,
    /// The alerts as they stand when the plan has been carried out.
    pub alerts: Vec<AlertRecord>,
    /// The fields of the policy that went beyond the administrator's bounds, and were cut down.
    pub exceeded: Vec<&'static str>,
    /// Other policies that restart some of the same pods: the strictest holds.
    pub overlaps: Vec<String>,
    /// Who besides the policy has a say in its restarts, and is asked once more right before one.
    pub others: Others,
    /// What is seen of a storm, for people.
    pub storm: Option<String>,
    /// What the restarts may spend. `None`: the policy restarts nobody.
    pub limits: Option<Limits>,
}

/// What became of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// For whom.
    pub subject: Subject,
    /// Which step.
    pub remediation: Remediation,
    /// Done, or why not.
    pub result: Result<(), Because>,
}

/// Decides. Total: whatever is missing or doubtful withholds, by name.
#[must_use]
pub fn plan(policy: &Policy, findings: &[Finding], history: &History, now: Timestamp) -> Plan {
    let overlapping = overlapping(&history.rivals, findings);
    let limits = policy.restart.as_ref().map(|rule| {
        let own = restart::limits(rule, findings, &history.guard.rates);
        overlapping.iter().fold(own, |limits, it| it.tighten(limits))
    });
    let means = Means { policy, history, limits: limits.as_ref(), now };
    let mut cases: Vec<Case> = findings.iter().filter_map(|it| case(&means, it)).collect();
    cases.sort_by(most_urgent_first);
    restart::not_by_chance(&mut cases);
    restart::one_at_a_time(&mut cases);
    let storm = storm(&history.guard.storm, findings, &cases, history.missing, now);
    if let Some(why) = &storm {
        restart::hold_all(&mut cases, why, history.guard.rates.calm, now);
    }
    let beyond = |it: &&mut Rung| it.decision == Decision::Do && !it.remediation.is_allowed_at(policy.stage);
    for rung in cases.iter_mut().flat_map(|it| &mut it.rungs).filter(beyond) {
        rung.decision = Decision::WouldDo;
    }
    Plan {
        policy: history.policy.clone(),
        generation: history.generation,
        mode: policy.mode,
        stage: policy.stage,
        cleared: marks::cleared(&cases, findings, history),
        annotated: marks::annotated(&cases, findings, history),
        alerts: marks::alerts(policy, &cases, findings, history, now),
        cases,
        limits,
        storm,
        exceeded: history.exceeded.clone(),
        overlaps: overlapping.iter().map(|it| it.policy.clone()).collect(),
        others: Others { windows: history.guard.windows.clone(), rivals: overlapping.into_iter().cloned().collect() },
    }
}

/// What a decision rests on, besides the finding.
#[derive(Clone, Copy)]
struct Means<'a> {
    policy: &'a Policy,
    history: &'a History,
    limits: Option<&'a Limits>,
    now: Timestamp,
}

fn case(means: &Means<'_>, finding: &Finding) -> Option<Case> {
    let Means { policy, history, now, .. } = *means;
    let past = history.past.get(&finding.target.subject);
    let before = past.map(|it| looks_of(&it.offender)).unwrap_or_default();
    let distance = look_distance(policy.window, policy.interval);
    let (growth, standing, looks) = match &finding.verdict {
        Verdict::Growing(growth) => (growth.clone(), false, before.with(Some(growth.strength), now, distance)),
        Verdict::Inconclusive(_) => (remembered(past?)?, true, before),
        Verdict::Healthy => (remembered(past?)?, true, before.with(None, now, distance)),
    };
    if looks.are_clean() {
        return None;
    }
    let mut case = Case {
        target: finding.target.clone(),
        growth,
        evidence: finding.evidence.clone(),
        since: past.map_or(now, |it| it.since).min(now),
        standing,
        confirmed: looks.confirm(Strength::Alertable) || past.is_some_and(|it| it.offender.confirmed),
        looks,
        profile: history.profile_of(&finding.target.subject).cloned(),
        approvals: Asked::default(),
        rungs: Vec::new(),
    };
    case.approvals = approval::asked(policy, history, &case, now);
    case.rungs = ladder(means, &case);
    Some(case)
}

fn looks_of(offender: &Offender) -> Looks {
    Looks::of(&offender.looks, offender.looked_at.as_ref().map(|it| it.0))
}

/// The last known finding of somebody who cannot be judged now, or was missed.
fn remembered(past: &Past) -> Option<Growth> {
    let diagnosis = Diagnosis::ALL.into_iter().find(|it| it.name() == past.offender.diagnosis)?;
    Some(Growth {
        diagnosis,
        confidence: Confidence::from_p_value(1.0 - past.offender.confidence / 100.0),
        strength: Strength::Suspected,
        message: past.offender.message.clone(),
    })
}

fn ladder(means: &Means<'_>, case: &Case) -> Vec<Rung> {
    let Means { policy, now, .. } = *means;
    let plain = |remediation, after| Rung {
        remediation,
        decision: waited(case.since, after, now).map_or_else(Decision::Withheld, |()| Decision::Do),
        restart: None,
    };
    let annotate = policy.annotate_after.map(|after| plain(Remediation::Annotate, after));
    let alert = policy.alert.as_ref().map(|rule| {
        let decided = confirmed(case, Strength::Alertable).and_then(|()| waited(case.since, rule.after, now));
        let decision = decided.map_or_else(Decision::Withheld, |()| Decision::Do);
        Rung { remediation: Remediation::Alert, decision, restart: None }
    });
    let restart = policy.restart.as_ref().map(|rule| {
        let decided = waited(case.since, rule.after, now)
            .and_then(|()| restart::decide(means, rule, case))
            .and_then(|how| confirmed(case, Strength::Certain).map(|()| how));
        let (decision, restart) = match decided {
            Ok(how) => (Decision::Do, Some(how)),
            Err(because) => (Decision::Withheld(because), None),
        };
        Rung { remediation: Remediation::Restart, decision, restart }
    });
    [annotate, alert, restart].into_iter().flatten().collect()
}

/// Whether looks agree. What was confirmed once may go on being said; a restart asks again.
fn confirmed(case: &Case, strength: Strength) -> Result<(), Because> {
    let agreed = if strength == Strength::Certain { case.looks.confirm(strength) } else { case.confirmed };
    if agreed { Ok(()) } else { Err(Because::NotConfirmed { looks: case.looks.hits(strength) }) }
}

fn waited(since: Timestamp, after: Duration, now: Timestamp) -> Result<(), Because> {
    let after = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
    let stood = now.duration_since(since);
    if stood >= after {
        Ok(())
    } else {
        Err(Because::TooSoon { remaining: Duration::try_from(after - stood).unwrap_or_default() })
    }
}

/// Who reaches the memory limit first comes first; then the surer finding; then by name, so that the order is stable.
fn most_urgent_first(a: &Case, b: &Case) -> Ordering {
    let soonest = |it: &Case| it.evidence.forecast.as_ref().map_or(f64::INFINITY, |it| it.soonest);
    soonest(a)
        .total_cmp(&soonest(b))
        .then(b.growth.confidence.percent().total_cmp(&a.growth.confidence.percent()))
        .then_with(|| a.target.subject.cmp(&b.target.subject))
}

#[cfg(test)]
mod tests;
