//! Rollouts that somebody takes back. Tools that keep a cluster as Git has it remove the time of a restart from a
//! workload, which restarts its pods a second time; a controller that writes it again would never end that.

use jiff::{SignedDuration, Timestamp};

use super::Because;
use crate::decide::{
    Workload, WorkloadState,
    ledger::{Ledger, State},
};

/// How long a rollout that was taken back is remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);
/// The ledger says when a rollout happened at the latest: later than the time that was written, by as much as it took to
/// settle it.
const SETTLED_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// Whether the workload still carries its last rollout of ours, if there was one in the last day. Asked before the next
/// rollout; an eviction writes nothing that could be taken back.
///
/// # Errors
/// It was taken away or changed back.
pub fn not_reverted(
    ledger: &Ledger,
    workload: &Workload,
    state: &WorkloadState,
    now: Timestamp,
) -> Result<(), Because> {
    let last = ledger
        .entries
        .iter()
        // A UID is of this workload alone, and not of another that had its name before.
        .filter(|it| it.object.kind == workload.kind && it.object.uid == state.uid)
        .filter(|it| it.state == State::Confirmed && now.duration_since(it.at) < REMEMBERED)
        .max_by_key(|it| it.at);
    let Some(last) = last else { return Ok(()) };
    let carried: Option<Timestamp> = state.restarted_at.as_ref().and_then(|it| it.parse().ok());
    let is_ours_or_newer = carried.is_some_and(|it| last.at.duration_since(it) <= SETTLED_WITHIN);
    if is_ours_or_newer { Ok(()) } else { Err(Because::RestartReverted { by: state.gitops }) }
}
