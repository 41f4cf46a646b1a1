//! Whether a workload stands well enough to lose a pod, or to be rolled out, and which of the two it is to be.

use jiff::{SignedDuration, Timestamp};

use super::{Because, Restart};
use crate::{
    api::RestartMethod,
    decide::{Autoscaler, Workload, WorkloadState, policy::RestartRule},
};

/// The kinds of owners that make a lost pod again and can be read.
const OWNERS: [&str; 4] = ["Deployment", "StatefulSet", "DaemonSet", "Rollout"];
/// So long after an autoscaler has changed the number of replicas its workload is left alone.
const SCALED: SignedDuration = SignedDuration::from_mins(3);

/// Whether pods of the workload's kind are restarted at all.
pub(super) fn is_restartable(workload: &Workload) -> Result<(), Because> {
    let kind = workload.kind.as_str();
    if OWNERS.contains(&kind) { Ok(()) } else { Err(Because::UnsupportedOwner { kind: kind.to_owned() }) }
}

/// How the policy wants it for a workload that stands so.
pub(super) fn method(method: RestartMethod, workload: &Workload, state: &WorkloadState) -> Restart {
    let others_carry_the_load = state.desired >= 2 && workload.kind != "DaemonSet";
    // Of a DaemonSet a rollout stops every pod in its turn; where it may be taken back, it would do so twice.
    let spares_others = workload.kind == "DaemonSet" && state.gitops.is_some();
    match method {
        RestartMethod::Evict => Restart::Evict,
        RestartMethod::Auto if others_carry_the_load || spares_others => Restart::Evict,
        RestartMethod::Auto | RestartMethod::Rollout => Restart::Rollout,
    }
}

/// Whether a workload stands well enough to be disturbed this way. Asked when planning, and again right before acting.
///
/// # Errors
/// It does not, by name.
pub fn may_be_disturbed(
    rule: &RestartRule,
    workload: &Workload,
    how: Restart,
    state: &WorkloadState,
    now: Timestamp,
) -> Result<(), Because> {
    if state.exempt {
        return Err(Because::Exempt);
    }
    if workload.kind == "DaemonSet" && !rule.allow_daemon_sets {
        return Err(Because::DaemonSet);
    }
    let single = state.desired < 2;
    if single && !rule.allow_single_replica {
        return Err(Because::OnlyReplica { allowed: false });
    }
    if let (Restart::Rollout, Some(reason)) = (how, &state.rollout_blocked) {
        return Err(Because::RolloutBlocked { reason: reason.clone() });
    }
    if state.rolling_out {
        return Err(Because::RolloutInProgress);
    }
    if single && how == Restart::Rollout && !state.surges {
        return Err(Because::OnlyReplica { allowed: true });
    }
    match state.blocking_budgets.as_slice() {
        [] => {}
        [name] => return Err(Because::DisruptionBudget { name: name.clone() }),
        names => return Err(Because::DisruptionBudgets { names: names.join(" and ") }),
    }
    state.autoscalers.iter().try_for_each(|it| is_at_rest(it, state, now))?;
    enough_are_available(rule, workload, how, state)
}

fn is_at_rest(autoscaler: &Autoscaler, state: &WorkloadState, now: Timestamp) -> Result<(), Because> {
    let Autoscaler { name, max, wanted, scaled_at } = autoscaler;
    let withheld = |why: String| Err(Because::Autoscaling { name: name.clone(), why });
    if (*wanted).max(state.desired) >= *max {
        return withheld(format!("is at its maximum of {max} replicas, so that the others could not be helped"));
    }
    match scaled_at {
        Some(at) if now.duration_since(*at) < SCALED => withheld(format!("scaled the workload at {at:.0}")),
        _ => Ok(()),
    }
}

/// A rollout replaces pods by the workload's own strategy, and the pods of a `StatefulSet` are no copies of each other:
/// they must start from a whole workload. An eviction may find as many pods missing as the policy says, less its own.
fn enough_are_available(
    rule: &RestartRule,
    workload: &Workload,
    how: Restart,
    state: &WorkloadState,
) -> Result<(), Because> {
    let whole = how == Restart::Rollout || workload.kind == "StatefulSet";
    let max_unavailable = if whole { 1 } else { rule.max_unavailable.of(state.desired) };
    let available = state.available.min(state.ready);
    if state.desired.saturating_sub(available) < max_unavailable {
        return Ok(());
    }
    Err(Because::TooFewAvailable { available, desired: state.desired, max_unavailable })
}
