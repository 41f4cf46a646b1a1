//! Mass suspicion: when many workloads begin to offend at once, or many containers vanish from the metrics at once, the
//! likelier fault is that of the observer, or of something that all of them depend on; restarting is no cure for either.
//!
//! What is seen is written into the ledger by whoever acts, so that every policy's restarts stop, and stop for a while.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::decide::{Case, Finding, Verdict};

/// When suspicion is mass suspicion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StormRule {
    /// So many workloads at least.
    pub workloads: u32,
    /// That are this share of the policy's, percent.
    pub percent: u32,
    /// Within this time.
    pub within: Duration,
    /// Containers without data, this share of the policy's more than before, percent. At least as many as `workloads`.
    pub vanished_percent: u32,
}

impl Default for StormRule {
    /// Three workloads that are 30 % of all within 10 minutes, or a fifth of the containers.
    fn default() -> Self {
        Self { workloads: 3, percent: 30, within: Duration::from_secs(600), vanished_percent: 20 }
    }
}

/// What is seen of a storm, for people. `missing_before`: containers that had no data at the last evaluation.
#[must_use]
pub fn storm(
    rule: &StormRule,
    findings: &[Finding],
    cases: &[Case],
    missing_before: usize,
    now: Timestamp,
) -> Option<String> {
    let all: BTreeSet<_> = findings.iter().filter_map(|it| it.target.workload.as_ref()).collect();
    let within = SignedDuration::try_from(rule.within).unwrap_or(SignedDuration::MAX);
    let young = |it: &&Case| now.duration_since(it.since) < within;
    let struck: BTreeSet<_> = cases.iter().filter(young).filter_map(|it| it.target.workload.as_ref()).collect();
    if is_many(struck.len(), all.len(), rule.workloads, rule.percent) {
        let (struck, all, within) = (struck.len(), all.len(), crate::api::print_duration(rule.within));
        return Some(format!("{struck} of {all} workloads began to offend within {within}"));
    }
    let vanished = missing(findings).saturating_sub(missing_before);
    is_many(vanished, findings.len(), rule.workloads, rule.vanished_percent)
        .then(|| format!("{vanished} of {} containers have no data any more", findings.len()))
}

/// Containers whose samples are missing or old.
fn missing(findings: &[Finding]) -> usize {
    let vanished = |it: &&Finding| matches!(&it.verdict, Verdict::Inconclusive(why) if is_missing(why.reason()));
    findings.iter().filter(vanished).count()
}

/// Whether a container that is inconclusive for this reason has vanished from the metrics. The last evaluation's reasons
/// stand in status as words.
pub(super) fn is_missing(reason: &str) -> bool {
    matches!(reason, "NoData" | "Stale")
}

fn is_many(some: usize, all: usize, least: u32, percent: u32) -> bool {
    let (least, percent) =
        (usize::try_from(least).unwrap_or(usize::MAX), usize::try_from(percent).unwrap_or(usize::MAX));
    some > 0 && some >= least && some.saturating_mul(100) >= all.saturating_mul(percent)
}
