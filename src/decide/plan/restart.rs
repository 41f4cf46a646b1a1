//! Whether and how an offender may be restarted. The checks go from what is about the finding to what is about the
//! workload, the time and the budget, so that the reason shown is the one that a person would name first.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::{
    Because, Case, Decision, Means, Remediation, Restart, Rung, confirmed,
    gitops::not_reverted,
    marks::concerns,
    waited,
    workload::{is_restartable, may_be_disturbed, method},
};
use crate::{
    api::{Stage, When},
    decide::{
        Budget, Finding, History, Policy, Standing, Strength, Target, Windows, Workload, WorkloadState,
        ledger::{Ledger, Limits, Rates, Refusal, Wish},
        policy::RestartRule,
        profiles,
        quietest::Bounds,
        stand_down,
        stats::benjamini_hochberg,
    },
};

/// The share of restarts that may rest on chance (Benjamini & Hochberg 1995).
const FALSE_DISCOVERIES: f64 = 0.01;
/// How namespaces begin that hold the cluster's own machinery: the prefix is Kubernetes' own.
const SYSTEM: &str = "kube-";

/// How the offender is restarted now, or why it is not.
pub(super) fn decide(means: &Means<'_>, rule: &RestartRule, case: &Case) -> Result<Restart, Because> {
    let Means { policy, history, now, .. } = *means;
    about_the_finding(policy, case)?;
    let workload = about_the_pod(history, &case.target)?;
    if let Some(stopped) = history.stopped.get(&workload.namespace) {
        return Err(stopped.clone());
    }
    alerts_are_quiet(means, rule, &case.target)?;
    // A dry run sends no alert; it says what would follow if it did.
    if policy.stage >= Stage::Alert && !alert_was_sent(history, &case.target) {
        return Err(Because::AlertFirst);
    }
    if let Some(until) = history.quiet_until.filter(|until| now < *until) {
        return Err(Because::QuietPeriod { until });
    }
    let state = known(history, workload)?;
    let how = about_the_workload(rule, workload, state, now)?;
    if !history.guard.allows_in(&workload.namespace) {
        return Err(Because::NamespaceNotAllowed);
    }
    let budget = about_the_budget(means, case, workload, how, state);
    // People are asked before the window begins, but not about what the ledger forbids or looks do not confirm.
    if budget.is_ok() && confirmed(case, Strength::Certain).is_ok() {
        case.approvals.given()?;
    }
    about_the_time(&history.guard.windows, case, now)?;
    about_the_time(&rule.windows, case, now)?;
    budget?;
    for rival in history.rivals.iter().filter(|it| it.selects(&case.target.subject)) {
        also_by(means, &rival.rule, case, workload, how, state).map_err(|because| because.by(&rival.policy))?;
    }
    // Last, so that nobody is asked for a profile while something else forbids the restart.
    profiles::suffices(policy, rule, case, history)?;
    about_the_load(means, rule, case)?;
    Ok(how)
}

/// Whether no alert fires that stops restarts by the word of the administrator, of the policy, or of another one that
/// restarts the pod.
fn alerts_are_quiet(means: &Means<'_>, rule: &RestartRule, target: &Target) -> Result<(), Because> {
    let Means { history, now, .. } = *means;
    let quiet = |names, within| stand_down::is_quiet(names, within, history.alerting.as_ref(), now);
    quiet(&history.guard.stand_down, None)?;
    quiet(&rule.stand_down, stand_down::namespace_of(&history.policy))?;
    history.rivals.iter().filter(|it| it.selects(&target.subject)).try_for_each(|it| {
        let own = quiet(&it.rule.stand_down, stand_down::namespace_of(&it.policy));
        own.map_err(|because| because.by(&it.policy))
    })
}

/// Whether it is to be expected that fewer calls are disturbed later, at a moment that is allowed and not too late.
fn about_the_load(means: &Means<'_>, rule: &RestartRule, case: &Case) -> Result<(), Because> {
    let Means { policy, history, now, .. } = *means;
    let (Some(load), Some(forecast), When::Quietest) = (&case.evidence.load, &case.evidence.forecast, rule.when) else {
        return Ok(());
    };
    let rivals = history.rivals.iter().filter(|it| it.selects(&case.target.subject)).map(|it| &it.rule.windows);
    let windows: Vec<&Windows> = [&history.guard.windows, &rule.windows].into_iter().chain(rivals).collect();
    let approved = case.approvals.given().ok().flatten().unwrap_or(Timestamp::MAX);
    let bounds = Bounds { until: forecast.too_late(now).min(approved), interval: policy.interval, windows: &windows };
    load.quieter(now, &bounds).map_or(Ok(()), |it| Err(Because::QuieterLater(it)))
}

/// What another policy that restarts the same pod asks for, besides its limits, which hold already.
fn also_by(
    means: &Means<'_>,
    rule: &RestartRule,
    case: &Case,
    workload: &Workload,
    how: Restart,
    state: &WorkloadState,
) -> Result<(), Because> {
    waited(case.since, rule.after, means.now)?;
    may_be_disturbed(rule, workload, how, state, means.now)?;
    about_the_time(&rule.windows, case, means.now)?;
    profiles::suffices(means.policy, rule, case, means.history)
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
        rung.decision = Decision::Withheld(Refusal::Storm { until, why: why.to_owned() }.into());
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

fn about_the_pod<'a>(history: &History, target: &'a Target) -> Result<&'a Workload, Because> {
    let namespace = &target.subject.namespace;
    // Nor the operator, and what watches it and stands beside it.
    if namespace.starts_with(SYSTEM) || *namespace == history.namespace {
        return Err(Because::SystemNamespace);
    }
    if let Some(by) = &target.protected {
        return Err(Because::Protected { by: by.clone() });
    }
    let workload = target.workload.as_ref().ok_or(Because::NoWorkload)?;
    is_restartable(workload)?;
    if !target.ready {
        return Err(Because::PodNotReady);
    }
    target.draining.as_ref().map_or(Ok(workload), |pod| Err(Because::Draining { pod: pod.clone() }))
}

fn known<'a>(history: &'a History, workload: &Workload) -> Result<&'a WorkloadState, Because> {
    match history.workloads.get(workload) {
        Some(Standing::Known(state)) => Ok(state),
        Some(Standing::Unknown(reason)) => Err(Because::WorkloadUnknown { reason: reason.clone() }),
        None => Err(Because::WorkloadUnknown { reason: "it was not looked at".to_owned() }),
    }
}

/// The ladder: people hear of it before it is restarted. What counts is a firing alert that an Alertmanager has taken.
fn alert_was_sent(history: &History, target: &Target) -> bool {
    history.alerts.iter().any(|it| it.delivered && it.ends_at.is_none() && concerns(it, target))
}

fn about_the_workload(
    rule: &RestartRule,
    workload: &Workload,
    state: &WorkloadState,
    now: Timestamp,
) -> Result<Restart, Because> {
    let how = method(rule.method, workload, state);
    may_be_disturbed(rule, workload, how, state, now).map(|()| how)
}

/// People said when. That memory runs out before then does not change it, but they are told.
pub(super) fn about_the_time(windows: &Windows, case: &Case, now: Timestamp) -> Result<(), Because> {
    if windows.is_open(now) {
        return Ok(());
    }
    let opens = windows.next_open(now);
    let restart_by = case.evidence.forecast.as_ref().map_or(f64::INFINITY, |it| it.restart_by);
    let in_time = opens.is_some_and(|it| it.duration_since(now).as_secs_f64() <= restart_by);
    Err(Because::OutsideWindow { opens, in_time })
}

fn ledger(history: &History) -> Result<&Ledger, Because> {
    match &history.budget {
        Some(Budget::Known(ledger)) => Ok(ledger),
        Some(Budget::Unreadable(reason)) => Err(Because::Ledger { reason: reason.clone() }),
        Some(Budget::Skewed { seconds }) => Err(Because::ClockSkew { seconds: *seconds }),
        None => Err(Because::Ledger { reason: "it was not read".to_owned() }),
    }
}

fn about_the_budget(
    means: &Means<'_>,
    case: &Case,
    workload: &Workload,
    how: Restart,
    state: &WorkloadState,
) -> Result<(), Because> {
    let Means { history, now, .. } = *means;
    let ledger = ledger(history)?;
    if how == Restart::Rollout {
        not_reverted(ledger, workload, state, now)?;
    }
    let limits = means.limits.ok_or_else(|| Because::Ledger { reason: "there are no limits".to_owned() })?;
    ledger.allows(&wish(&history.policy, &case.target, workload, state), limits, now).map_err(Because::from)
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
