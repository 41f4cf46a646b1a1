//! Whether and how an offender may be restarted. The checks go from what is about the finding to what is about the
//! workload, the time and the budget, so that the reason shown is the one that a person would name first.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::{Because, Case, Decision, Means, Remediation, Restart, Rung, marks::concerns};
use crate::{
    api::{Mode, RestartMethod},
    decide::{
        Budget, Finding, History, Policy, Standing, Target, Windows, Workload, WorkloadState,
        ledger::{Limits, Rates, Refusal, Wish},
        policy::RestartRule,
        profiles,
        stats::benjamini_hochberg,
    },
};

/// The share of restarts that may rest on chance (Benjamini & Hochberg 1995).
const FALSE_DISCOVERIES: f64 = 0.01;
/// Namespaces that hold the cluster's own machinery.
const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// How the offender is restarted now, or why it is not.
pub(super) fn decide(means: &Means<'_>, rule: &RestartRule, case: &Case) -> Result<Restart, Because> {
    let Means { policy, history, now, .. } = *means;
    about_the_finding(policy, case)?;
    let workload = about_the_pod(&case.target)?;
    if let Some(stopped) = history.stopped.get(&workload.namespace) {
        return Err(stopped.clone());
    }
    // A dry run sends no alert; it says what would follow if it did.
    if policy.mode == Mode::Enforce && !alert_was_sent(history, &case.target) {
        return Err(Because::AlertFirst);
    }
    if let Some(until) = history.quiet_until.filter(|until| now < *until) {
        return Err(Because::QuietPeriod { until });
    }
    let state = match history.workloads.get(workload) {
        Some(Standing::Known(state)) => state,
        Some(Standing::Unknown(reason)) => return Err(Because::WorkloadUnknown { reason: reason.clone() }),
        None => return Err(Because::WorkloadUnknown { reason: "it was not looked at".to_owned() }),
    };
    let how = about_the_workload(rule, workload, state)?;
    if !history.guard.allows_in(&workload.namespace) {
        return Err(Because::NamespaceNotAllowed);
    }
    about_the_time(&history.guard.windows, case, now)?;
    about_the_time(&rule.windows, case, now)?;
    about_the_budget(means, &wish(&history.policy, &case.target, workload, state))?;
    // Last, so that nobody is asked for a profile while something else forbids the restart.
    profiles::suffices(policy, rule, case, history)?;
    Ok(how)
}

/// Of many candidates a share may look sure by chance: those stand that hold at a false discovery rate of 1 % among all
/// that would be restarted now.
pub(super) fn not_by_chance(cases: &mut [Case]) {
    let wants = |it: &Rung| it.remediation == Remediation::Restart && it.decision == Decision::Do;
    let rungs: Vec<(f64, &mut Rung)> = cases
        .iter_mut()
        .flat_map(|case| {
            let p = 1.0 - case.growth.confidence.percent() / 100.0;
            case.rungs.iter_mut().map(move |rung| (p, rung))
        })
        .filter(|(_, rung)| wants(rung))
        .collect();
    let p_values: Vec<f64> = rungs.iter().map(|(p, _)| *p).collect();
    let adjusted = benjamini_hochberg(&p_values).unwrap_or_else(|| vec![1.0; p_values.len()]);
    for ((_, rung), p) in rungs.into_iter().zip(adjusted) {
        if p > FALSE_DISCOVERIES {
            rung.decision = Decision::Withheld(Because::NotConfirmed { looks: 0 });
            rung.restart = None;
        }
    }
}

/// Nobody is restarted in a storm.
pub(super) fn hold_all(cases: &mut [Case], why: &str, calm: Duration, now: Timestamp) {
    let calm = jiff::SignedDuration::try_from(calm).unwrap_or(jiff::SignedDuration::MAX);
    let until = now.saturating_add(calm).unwrap_or(Timestamp::MAX);
    let rungs = cases.iter_mut().flat_map(|it| &mut it.rungs);
    for rung in rungs.filter(|it| it.remediation == Remediation::Restart && it.decision == Decision::Do) {
        rung.decision = Decision::Withheld(Because::Storm { until, why: why.to_owned() });
        rung.restart = None;
    }
}

/// At most one restart per workload and plan: the most urgent case goes first.
pub(super) fn one_at_a_time(cases: &mut [Case]) {
    let mut busy: Vec<Workload> = Vec::new();
    for case in cases {
        let Some(workload) = case.target.workload.clone() else { continue };
        for rung in &mut case.rungs {
            if rung.remediation != Remediation::Restart || rung.decision != Decision::Do {
                continue;
            }
            if busy.contains(&workload) {
                rung.decision = Decision::Withheld(Because::OneAtATime);
                rung.restart = None;
            } else {
                busy.push(workload.clone());
            }
        }
    }
}

fn about_the_finding(policy: &Policy, case: &Case) -> Result<(), Because> {
    if case.standing {
        return Err(Because::NotJudgedNow);
    }
    let diagnosis = case.growth.diagnosis;
    if !diagnosis.restart_helps() {
        return Err(Because::RestartDoesNotHelp { diagnosis });
    }
    if case.evidence.witnesses.is_empty() {
        return Err(Because::NoSecondWitness);
    }
    let forecast = case.evidence.forecast.as_ref().ok_or(Because::NoForecast)?;
    if forecast.soonest > policy.time_to_memory_limit.as_secs_f64() {
        let soonest = Duration::try_from_secs_f64(forecast.soonest).unwrap_or(Duration::MAX);
        return Err(Because::LimitFarAway { soonest });
    }
    Ok(())
}

fn about_the_pod(target: &Target) -> Result<&Workload, Because> {
    if SYSTEM_NAMESPACES.contains(&target.subject.namespace.as_str()) {
        return Err(Because::SystemNamespace);
    }
    let workload = target.workload.as_ref().ok_or(Because::NoWorkload)?;
    if target.ready { Ok(workload) } else { Err(Because::PodNotReady) }
}

/// The ladder: people hear of it before it is restarted. What counts is a firing alert that an Alertmanager has taken.
fn alert_was_sent(history: &History, target: &Target) -> bool {
    history.alerts.iter().any(|it| it.delivered && it.ends_at.is_none() && concerns(it, target))
}

fn about_the_workload(rule: &RestartRule, workload: &Workload, state: &WorkloadState) -> Result<Restart, Because> {
    let how = method(rule.method, workload, state);
    may_be_disturbed(rule, how, state)?;
    if how == Restart::Rollout && state.desired < 2 && !state.surges { Err(Because::OnlyReplica) } else { Ok(how) }
}

/// Whether a workload stands well enough to be disturbed this way. Asked when planning, and again right before acting.
///
/// # Errors
/// It does not, by name.
pub fn may_be_disturbed(rule: &RestartRule, how: Restart, state: &WorkloadState) -> Result<(), Because> {
    if state.exempt {
        return Err(Because::Exempt);
    }
    if state.rolling_out {
        return Err(Because::RolloutInProgress);
    }
    if let Some(name) = state.blocking_budgets.first() {
        return Err(Because::DisruptionBudget { name: name.clone() });
    }
    let max_unavailable = rule.max_unavailable.of(state.desired);
    let unavailable = state.desired.saturating_sub(state.available);
    match (how, &state.rollout_blocked) {
        (Restart::Rollout, Some(reason)) => Err(Because::RolloutBlocked { reason: reason.clone() }),
        // A rollout replaces pods by the workload's own strategy; it must start from a whole workload.
        (Restart::Rollout, None) if unavailable == 0 => Ok(()),
        (Restart::Evict, _) if unavailable < max_unavailable => Ok(()),
        _ => Err(Because::TooFewAvailable { available: state.available, desired: state.desired, max_unavailable }),
    }
}

fn method(method: RestartMethod, workload: &Workload, state: &WorkloadState) -> Restart {
    match method {
        RestartMethod::Evict => Restart::Evict,
        // Every node needs its own pod of a DaemonSet: no other replica can carry its load.
        RestartMethod::Auto if state.desired >= 2 && workload.kind != "DaemonSet" => Restart::Evict,
        RestartMethod::Auto | RestartMethod::Rollout => Restart::Rollout,
    }
}

/// People said when. That memory runs out before then does not change it, but they are told.
fn about_the_time(windows: &Windows, case: &Case, now: Timestamp) -> Result<(), Because> {
    if windows.is_open(now) {
        return Ok(());
    }
    let opens = windows.next_open(now);
    let restart_by = case.evidence.forecast.as_ref().map_or(f64::INFINITY, |it| it.restart_by);
    let in_time = opens.is_some_and(|it| it.duration_since(now).as_secs_f64() <= restart_by);
    Err(Because::OutsideWindow { opens, in_time })
}

fn about_the_budget(means: &Means<'_>, wish: &Wish) -> Result<(), Because> {
    let ledger = match &means.history.budget {
        Some(Budget::Known(ledger)) => ledger,
        Some(Budget::Unreadable(reason)) => return Err(Because::Ledger { reason: reason.clone() }),
        Some(Budget::Skewed { seconds }) => return Err(Because::ClockSkew { seconds: *seconds }),
        None => return Err(Because::Ledger { reason: "it was not read".to_owned() }),
    };
    let limits = means.limits.ok_or_else(|| Because::Ledger { reason: "there are no limits".to_owned() })?;
    ledger.allows(wish, limits, means.now).map_err(Because::from)
}

/// What the policy and the administrator let be spent on these pods.
pub(super) fn limits(rule: &RestartRule, findings: &[Finding], rates: &Rates) -> Limits {
    let pods: BTreeSet<_> = findings.iter().map(|it| (&it.target.subject.namespace, &it.target.subject.pod)).collect();
    Limits {
        cooldown: rule.cooldown,
        max_per_day: rule.max_per_day,
        at_once: rates.at_once(u32::try_from(pods.len()).unwrap_or(u32::MAX)),
        rates: rates.clone(),
    }
}

/// What is asked of the ledger for an offender, whose workload stands so.
#[must_use]
pub fn wish(policy: &str, target: &Target, workload: &Workload, state: &WorkloadState) -> Wish {
    Wish {
        namespace: workload.namespace.clone(),
        workload: workload.reference(),
        revision: target.revision.clone(),
        replicas: state.desired,
        policy: policy.to_owned(),
    }
}

impl From<Refusal> for Because {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unsettled => Self::Unsettled,
            Refusal::Cooldown { until } => Self::Cooldown { until },
            Refusal::DailyLimit { restarts } => Self::DailyLimit { restarts },
            Refusal::NewLedger { until } => Self::NewLedger { until },
            Refusal::Storm { until, why } => Self::Storm { until, why },
            Refusal::Debt { restarts, until } => Self::RestartDebt { restarts, until },
            Refusal::AtOnce { restarts } => Self::AtOnce { restarts },
            Refusal::NamespaceLimit { restarts, until } => Self::NamespaceLimit { restarts, until },
            Refusal::ClusterLimit { restarts, until } => Self::ClusterLimit { restarts, until },
        }
    }
}
