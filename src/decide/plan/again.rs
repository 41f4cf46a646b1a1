//! What is asked once more right before a restart, of a workload and a clock that have gone on since the plan was made: by
//! the administrator, by the policy, and by every other policy that restarts the pod.

use jiff::Timestamp;

use super::{Because, Case, Restart, restart::about_the_time, workload::may_be_disturbed};
use crate::decide::{RestartRule, Windows, Workload, WorkloadState, overlap::Rival};

/// Who besides the policy has a say in its restarts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Others {
    /// When the administrator lets restarts be made.
    pub windows: Windows,
    /// The other policies that restart some of the same pods.
    pub rivals: Vec<Rival>,
}

impl Others {
    /// Whether the workload stands well enough, by all that have a say about the pod.
    ///
    /// # Errors
    /// It does not, by name.
    pub fn let_disturb(
        &self,
        rule: &RestartRule,
        (case, workload): (&Case, &Workload),
        how: Restart,
        state: &WorkloadState,
        now: Timestamp,
    ) -> Result<(), Because> {
        may_be_disturbed(rule, workload, how, state, now)?;
        self.of_rivals(case, |it| may_be_disturbed(it, workload, how, state, now))
    }

    /// Whether every window is open, of all that have a say about the pod.
    ///
    /// # Errors
    /// One is not.
    pub fn are_open(&self, rule: &RestartRule, case: &Case, now: Timestamp) -> Result<(), Because> {
        about_the_time(&self.windows, case, now)?;
        about_the_time(&rule.windows, case, now)?;
        self.of_rivals(case, |it| about_the_time(&it.windows, case, now))
    }

    fn of_rivals(&self, case: &Case, asked: impl Fn(&RestartRule) -> Result<(), Because>) -> Result<(), Because> {
        let mut rivals = self.rivals.iter().filter(|it| it.selects(&case.target.subject));
        rivals.try_for_each(|it| asked(&it.rule).map_err(|because| because.by(&it.policy)))
    }
}
