//! The disruption ledger: who was restarted when, written before the act and settled by evidence.
//!
//! Pure state machine; `io::ledger` keeps it in one ConfigMap of the operator's own namespace, by compare-and-swap, so
//! that one write keeps the limits of the workload, the namespace and the cluster at once. An entry is debited before
//! the act: a crash between the two can only cost a restart that is not made, never one too many. An entry never
//! leaves because of its age alone while it is unsettled: the request it stands for may still be in flight.
//!
//! This file is the record and how it changes. `limits` says what may be spent, `evidence` what the sight of an object
//! proves: `tests/ledger_model.rs` checks all three exhaustively. `text` reads and writes it.

mod evidence;
mod limits;
mod text;

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use evidence::{Evidence, Seen, conclusion, restarted_at};
pub use limits::{Limits, Rate, Rates, Refusal, Wish};
pub use text::{InvalidLedger, MAX_BYTES};

use crate::api::WorkloadRef;

/// The format that this program reads and writes. A ledger of another version is not touched.
pub const VERSION: u32 = 1;
/// How long a settled entry is kept at most: the longest cooldown.
const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// Within a day every entry counts. Of older ones, only so many of a workload matter for its cooldown and its debt.
const KEPT_OF_A_WORKLOAD: usize = 8;
const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);

/// The ledger of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ledger {
    /// Always [`VERSION`].
    pub version: u32,
    /// Since when it is kept. What was restarted before nobody knows, so nothing may be for a while.
    pub since: Timestamp,
    /// The newest storm, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storm: Option<Storm>,
    /// The restarts, oldest first.
    pub entries: Vec<Entry>,
}

/// So many workloads offended at once that the observer may be the sick one. Nothing is restarted until it is calm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Storm {
    /// When it was seen first.
    pub since: Timestamp,
    /// When it was seen last.
    pub seen: Timestamp,
    /// Under which policy, `namespace/name` or `name`.
    pub policy: String,
    /// What was seen, for people.
    pub why: String,
}

/// One restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// The namespace.
    pub namespace: String,
    /// The workload that was restarted, or whose pod was.
    pub workload: WorkloadRef,
    /// The revision of its template that ran then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// What for, where that matters for an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<String>,
    /// What the request was about.
    pub object: Object,
    /// Under which policy, `namespace/name` or `name`.
    pub policy: String,
    /// When it was debited, and once it is settled the latest time at which it may have happened. The API server's
    /// clock.
    pub at: Timestamp,
    /// Whether it is known to have happened.
    pub state: State,
}

/// The object of a request, exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Object {
    /// `Pod` for an eviction, else the workload's kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The resource version that the request demands.
    pub resource_version: String,
    /// The generation of a workload's spec before the request, which a rollout raises. Pods have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// Whether a restart is known to have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not known: the request may be in flight, or its reply was lost.
    Pending,
    /// It happened.
    Confirmed,
}

impl Ledger {
    /// An empty ledger that begins now.
    #[must_use]
    pub const fn begun(now: Timestamp) -> Self {
        Self { version: VERSION, since: now, storm: None, entries: Vec::new() }
    }

    /// The ledger with one more entry, which is pending.
    #[must_use]
    pub fn debited(&self, entry: Entry) -> Self {
        let mut after = self.clone();
        after.entries.push(Entry { state: State::Pending, ..entry });
        after
    }

    /// The ledger after looking at an object of pending entries: confirmed, dropped, or as it was. `now` is not before
    /// the look. What happened may have happened a moment ago, so it counts from now.
    #[must_use]
    pub fn settled(&self, object: &Object, evidence: Evidence, now: Timestamp) -> Self {
        let entries = self.entries.iter().filter_map(|it| match (it.state, evidence) {
            (State::Pending, Evidence::Happened) if it.object == *object => {
                Some(Entry { state: State::Confirmed, at: it.at.max(now), ..it.clone() })
            }
            (State::Pending, Evidence::CanNoLongerHappen) if it.object == *object => None,
            _ => Some(it.clone()),
        });
        Self { entries: entries.collect(), ..self.clone() }
    }

    /// The ledger without settled entries that no limit looks at any more.
    #[must_use]
    pub fn pruned(&self, now: Timestamp) -> Self {
        let mut newer: BTreeMap<(&str, &WorkloadRef), usize> = BTreeMap::new();
        let mut kept: Vec<Entry> = Vec::new();
        for entry in self.entries.iter().rev() {
            let newer = newer.entry((&entry.namespace, &entry.workload)).or_default();
            *newer += 1;
            let matters = within(entry.at, now, DAY) || *newer <= KEPT_OF_A_WORKLOAD && within(entry.at, now, KEPT);
            if entry.state == State::Pending || matters {
                kept.push(entry.clone());
            }
        }
        kept.reverse();
        Self { entries: kept, ..self.clone() }
    }

    /// The ledger when a storm is seen. One that goes on keeps its beginning, and is written down once a minute.
    #[must_use]
    pub fn stormy(&self, policy: &str, why: &str, calm: Duration, now: Timestamp) -> Self {
        let goes_on = self.storm.as_ref().filter(|it| within(it.seen, now, calm));
        if goes_on.is_some_and(|it| within(it.seen, now, MINUTE)) {
            return self.clone();
        }
        let since = goes_on.map_or(now, |it| it.since);
        let storm = Storm { since, seen: now, policy: policy.to_owned(), why: why.to_owned() };
        Self { storm: Some(storm), ..self.clone() }
    }

    /// The entries that are not settled.
    pub fn pending(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|it| it.state == State::Pending)
    }

    /// Restarts under a policy in the last 24 hours.
    #[must_use]
    pub fn restarts_last_day(&self, policy: &str, now: Timestamp) -> u32 {
        number(self.entries.iter().filter(|it| it.policy == policy && within(it.at, now, DAY)).count())
    }
}

/// An entry from the future (a clock that was set back) counts as recent.
fn within(at: Timestamp, now: Timestamp, span: Duration) -> bool {
    now.duration_since(at) < signed(span)
}

fn signed(span: Duration) -> SignedDuration {
    SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX)
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
