//! A person's yes to a restart: which finding it is about, and whether it was given. It stands on the policy as an
//! annotation, for whoever may change the policy may as well ask for no approval; on a tenant's pod or workload it would
//! let the tenant say yes.
//!
//! A yes names a digest of the finding. When the finding changes, so does its digest, and a new yes is needed. `io::switch`
//! reads it once more right before the act.

use std::{collections::BTreeMap, fmt};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ring::digest::{Context, SHA256};

use crate::{
    api::{ApprovalRule, ApprovalState, ApprovalStatus, Mode, names::annotations::APPROVED},
    decide::{
        Because, Budget, Case, History, Policy, RestartRule, Target, Workload, concerns,
        ledger::{Entry, Ledger},
        overlap::Rival,
    },
};

/// A yes for longer is none,
pub const LONGEST: SignedDuration = SignedDuration::from_hours(24);
/// but for what the clock of whoever gave it may be ahead.
const CLOCKS: SignedDuration = SignedDuration::from_mins(1);
/// Bytes of a digest that are shown.
const SHOWN: usize = 5;

/// The approvals that stand on a policy: by digest, until when as it is written there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approvals(BTreeMap<String, String>);

/// What a person said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    None,
    /// Yes.
    Given {
        /// Until when.
        until: Timestamp,
    },
    /// Yes, for a time that is over.
    Expired {
        /// Since when.
        at: Timestamp,
    },
    /// Yes, for longer than a yes may be given for.
    TooLong {
        /// Until when.
        until: Timestamp,
    },
    /// Something that is not a time.
    Unreadable,
}

/// A restart that needs a yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The policy that asks for it, `namespace/name` or `name`.
    pub policy: String,
    /// What names the finding.
    pub digest: String,
    /// When a restart is no longer in time.
    pub too_late: Option<Timestamp>,
    /// What was said.
    pub answer: Answer,
}

impl Approvals {
    /// Those among a policy's annotations.
    #[must_use]
    pub fn of(annotations: &BTreeMap<String, String>) -> Self {
        let approved = |(key, value): (&String, &String)| Some((key.strip_prefix(APPROVED)?.to_owned(), value.clone()));
        Self(annotations.iter().filter_map(approved).collect())
    }

    /// What was said about a digest.
    #[must_use]
    pub fn answer(&self, digest: &str, now: Timestamp) -> Answer {
        match self.0.get(digest).map(|it| it.parse::<Timestamp>()) {
            None => Answer::None,
            Some(Err(_)) => Answer::Unreadable,
            Some(Ok(at)) if at <= now => Answer::Expired { at },
            Some(Ok(until)) if until.duration_since(now) > LONGEST + CLOCKS => Answer::TooLong { until },
            Some(Ok(until)) => Answer::Given { until },
        }
    }

    /// What they are about.
    pub fn digests(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The digests whose time is over.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> Vec<&str> {
        let is_over = |it: &&String| matches!(self.answer(it, now), Answer::Expired { .. });
        self.0.keys().filter(is_over).map(String::as_str).collect()
    }
}

impl Approval {
    /// Until when it was given.
    ///
    /// # Errors
    /// [`Because::AwaitingApproval`]: it was not.
    pub fn given(&self) -> Result<Timestamp, Because> {
        match self.answer {
            Answer::Given { until } => Ok(until),
            _ => Err(Because::AwaitingApproval(self.clone())),
        }
    }

    /// The same with what stands on the policy now.
    #[must_use]
    pub fn renewed(&self, approvals: &Approvals, now: Timestamp) -> Self {
        Self { answer: approvals.answer(&self.digest, now), ..self.clone() }
    }
}

impl fmt::Display for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, digest, too_late, answer } = self;
        match answer {
            Answer::None | Answer::Given { .. } => {}
            Answer::Expired { at } => write!(f, "the approval expired at {at:.0}; ")?,
            Answer::TooLong { until } => {
                write!(f, "the approval until {until:.0} is longer than 24h and counts for nothing; ")?;
            }
            Answer::Unreadable => f.write_str("the approval on the policy is no time (RFC 3339); ")?,
        }
        if digest.is_empty() {
            return write!(f, "a person has to approve it, and policy {policy} has not judged it yet");
        }
        write!(f, "a person has to approve it: grpc-hygiene approve {policy} {digest}")?;
        too_late.map_or(Ok(()), |it| write!(f, "; after {it:.0} it would come too late"))
    }
}

/// The approvals that a restart needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The policy's own.
    pub own: Option<Approval>,
    /// Those of other policies that restart the same pod.
    pub others: Vec<Approval>,
}

impl Asked {
    /// Until when all were given; `None` when none is needed.
    ///
    /// # Errors
    /// One was not, by name.
    pub fn given(&self) -> Result<Option<Timestamp>, Because> {
        let own = self.own.as_ref().map(Approval::given).transpose()?;
        let others = self.others.iter().map(|it| it.given().map_err(|because| because.by(&it.policy)));
        others.chain(own.map(Ok)).try_fold(None, |first: Option<Timestamp>, until| {
            let until = until?;
            Ok(Some(first.map_or(until, |it| it.min(until))))
        })
    }

    /// Whether none is needed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.own.is_none() && self.others.is_empty()
    }
}

/// The approvals that a restart of an offender needs. A dry run asks nobody.
pub(super) fn asked(policy: &Policy, history: &History, case: &Case, now: Timestamp) -> Asked {
    let (Some(rule), Mode::Enforce) = (&policy.restart, policy.mode) else { return Asked::default() };
    let too_late = case.evidence.forecast.map(|it| it.too_late(now));
    let own = own(rule, history, case).map(|digest| {
        let answer = history.approvals.answer(&digest, now);
        Approval { policy: history.policy.clone(), digest, too_late, answer }
    });
    let others = history.rivals.iter().filter_map(|it| of_rival(it, case, too_late, now)).collect();
    Asked { own, others }
}

/// What stands in the status about a restart that is withheld for this reason, if for one.
#[must_use]
pub fn record(case: &Case, because: Option<&Because>) -> Option<ApprovalStatus> {
    let status = |approval: &Approval, state, until: Option<Timestamp>| ApprovalStatus {
        digest: approval.digest.clone(),
        state,
        revision: case.target.revision.clone(),
        too_late_after: approval.too_late.map(Time),
        until: until.map(Time),
    };
    match (because, &case.approvals.own) {
        (Some(Because::AwaitingApproval(approval)), _) => Some(status(approval, ApprovalState::Waiting, None)),
        (_, Some(approval @ Approval { answer: Answer::Given { until }, .. })) => {
            Some(status(approval, ApprovalState::Approved, Some(*until)))
        }
        _ => None,
    }
}

/// What names the finding, if its restart needs a yes.
fn own(rule: &RestartRule, history: &History, case: &Case) -> Option<String> {
    let workload = case.target.workload.as_ref()?;
    let ledger = match &history.budget {
        Some(Budget::Known(ledger)) => Some(ledger),
        _ => None,
    };
    let known = case.target.revision.is_some();
    match rule.approval {
        ApprovalRule::None => None,
        ApprovalRule::First if ledger.is_some_and(|it| was_restarted(it, workload, case)) => None,
        ApprovalRule::First if known => Some(digest(history, case, workload, None)),
        // Of a revision that is not known nobody can say whether a restart is its first.
        ApprovalRule::First | ApprovalRule::Always => {
            Some(digest(history, case, workload, ledger.and_then(|it| last(it, workload)).as_deref()))
        }
    }
}

fn was_restarted(ledger: &Ledger, workload: &Workload, case: &Case) -> bool {
    let (revision, diagnosis) = (case.target.revision.as_deref(), case.growth.diagnosis.name());
    let same = |it: &str| revision == Some(it);
    of(ledger, workload)
        .any(|it| it.revision.as_deref().is_some_and(same) && it.diagnosis.as_deref() == Some(diagnosis))
}

/// The workload's last restart. What it was about stays the same when it is settled.
fn last(ledger: &Ledger, workload: &Workload) -> Option<String> {
    let last = of(ledger, workload).max_by_key(|it| it.at)?;
    Some(format!("{}/{}", last.object.uid, last.object.resource_version))
}

fn of<'a>(ledger: &'a Ledger, workload: &'a Workload) -> impl Iterator<Item = &'a Entry> {
    ledger.entries.iter().filter(|it| workload.is(&it.namespace, &it.workload))
}

/// Names what stays the same while nothing new is found: of the figures none, and not which of the workload's pods it is.
fn digest(history: &History, case: &Case, workload: &Workload, last: Option<&str>) -> String {
    let Target { subject, revision, .. } = &case.target;
    let since = format!("{:.0}", since(history, case));
    let mut hash = Context::new(&SHA256);
    for part in [
        history.policy.as_str(),
        &workload.namespace,
        &workload.kind,
        &workload.name,
        revision.as_deref().unwrap_or_default(),
        &subject.container,
        case.growth.diagnosis.name(),
        &since,
        last.unwrap_or_default(),
    ] {
        // No part holds a line's end, so that no two lists of parts are the same text.
        hash.update(part.as_bytes());
        hash.update(b"\n");
    }
    hash.finish().as_ref().iter().take(SHOWN).map(|it| format!("{it:02x}")).collect()
}

/// Since when people know of the finding: pods come and go while its alert fires.
fn since(history: &History, case: &Case) -> Timestamp {
    let alert = history.alerts.iter().find(|it| it.ends_at.is_none() && concerns(it, &case.target));
    alert.map_or(case.since, |it| it.starts_at.0)
}

/// What another policy that restarts the pod asks for. Whether it was given is as that policy saw it last; what it has not
/// judged is not approved.
fn of_rival(rival: &Rival, case: &Case, too_late: Option<Timestamp>, now: Timestamp) -> Option<Approval> {
    if rival.rule.approval == ApprovalRule::None || !rival.selects(&case.target.subject) {
        return None;
    }
    let unjudged = || Approval { policy: rival.policy.clone(), digest: String::new(), too_late, answer: Answer::None };
    let known = rival.approved.get(&case.target.subject).cloned();
    known.unwrap_or_else(|| Some(unjudged())).map(|it| match it.answer {
        Answer::Given { until } if until <= now => Approval { answer: Answer::Expired { at: until }, ..it },
        _ => it,
    })
}

#[cfg(test)]
mod tests;
