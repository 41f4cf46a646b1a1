//! The disruption ledger: who was restarted when, written before the act and settled by evidence.
//!
//! Pure state machine; `io::ledger` keeps it in a ConfigMap of the operator's own namespace, one for each namespace
//! that is acted on, by compare-and-swap. An entry is debited before the act, so that a crash between the two can
//! only cost a restart that is not made, never one too many. An entry never leaves because of its age alone while it
//! is unsettled: the request it stands for may still be in flight.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::api::WorkloadRef;

/// The format that this program reads and writes. A ledger of another version is not touched.
pub const VERSION: u32 = 1;
/// How long settled entries are kept: the longest cooldown.
const KEPT: Duration = Duration::from_secs(7 * 86_400);
const DAY: Duration = Duration::from_secs(86_400);

/// The ledger of one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ledger {
    /// Always [`VERSION`].
    pub version: u32,
    /// The restarts, oldest first.
    pub entries: Vec<Entry>,
}

/// One restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// The workload that was restarted, or whose pod was.
    pub workload: WorkloadRef,
    /// What the request was about.
    pub object: Object,
    /// Under which policy, `namespace/name` or `name`.
    pub policy: String,
    /// When it was debited.
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
}

/// Whether a restart is known to have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not known: the request may be in flight, or its reply was lost.
    Pending,
    /// It happened.
    Confirmed,
}

/// What is seen of an entry's object now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The pod is gone or terminating, or the workload's template carries the entry's restart.
    Happened,
    /// The object lives and its resource version has moved past the entry's: a request still in flight can only
    /// be refused.
    CanNoLongerHappen,
    /// The object lives unchanged: the request may still arrive.
    MayStillHappen,
}

/// What may be spent on one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The shortest time between two restarts.
    pub cooldown: Duration,
    /// The most restarts in 24 hours.
    pub max_per_day: u32,
}

/// Why nothing may be spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// An earlier restart is not settled.
    Unsettled,
    /// The last restart is too recent.
    Cooldown {
        /// When the next may be.
        until: Timestamp,
    },
    /// Enough for a day.
    DailyLimit {
        /// How many there were.
        restarts: u32,
    },
}

impl Default for Ledger {
    fn default() -> Self {
        Self { version: VERSION, entries: Vec::new() }
    }
}

impl Ledger {
    /// Whether the workload may be restarted now.
    ///
    /// # Errors
    /// The limits forbid it, or an earlier restart of it is unsettled.
    pub fn allows(&self, workload: &WorkloadRef, limits: &Limits, now: Timestamp) -> Result<(), Refusal> {
        let own = || self.entries.iter().filter(|it| it.workload == *workload);
        if own().any(|it| it.state == State::Pending) {
            return Err(Refusal::Unsettled);
        }
        if let Some(last) = own().map(|it| it.at).max() {
            let until = last.saturating_add(signed(limits.cooldown)).unwrap_or(Timestamp::MAX);
            if now < until {
                return Err(Refusal::Cooldown { until });
            }
        }
        let restarts = u32::try_from(own().filter(|it| within(it.at, now, DAY)).count()).unwrap_or(u32::MAX);
        if restarts >= limits.max_per_day { Err(Refusal::DailyLimit { restarts }) } else { Ok(()) }
    }

    /// The ledger with one more entry, which is pending.
    #[must_use]
    pub fn debited(&self, entry: Entry) -> Self {
        let mut entries = self.entries.clone();
        entries.push(Entry { state: State::Pending, ..entry });
        Self { version: self.version, entries }
    }

    /// The ledger after looking at an object of pending entries: confirmed, dropped, or as it was.
    #[must_use]
    pub fn settled(&self, object: &Object, evidence: Evidence) -> Self {
        let entries = self.entries.iter().filter_map(|it| match (it.state, evidence) {
            (State::Pending, Evidence::Happened) if it.object == *object => {
                Some(Entry { state: State::Confirmed, ..it.clone() })
            }
            (State::Pending, Evidence::CanNoLongerHappen) if it.object == *object => None,
            _ => Some(it.clone()),
        });
        Self { version: self.version, entries: entries.collect() }
    }

    /// The ledger without settled entries that no limit looks at any more.
    #[must_use]
    pub fn pruned(&self, now: Timestamp) -> Self {
        let keep = |it: &&Entry| it.state == State::Pending || within(it.at, now, KEPT);
        Self { version: self.version, entries: self.entries.iter().filter(keep).cloned().collect() }
    }

    /// The entries that are not settled.
    pub fn pending(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|it| it.state == State::Pending)
    }

    /// Restarts under a policy in the last 24 hours.
    #[must_use]
    pub fn restarts_last_day(&self, policy: &str, now: Timestamp) -> u32 {
        let count = self.entries.iter().filter(|it| it.policy == policy && within(it.at, now, DAY)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// An entry from the future (a clock that was set back) counts as recent.
fn within(at: Timestamp, now: Timestamp, span: Duration) -> bool {
    now.duration_since(at) < signed(span)
}

fn signed(span: Duration) -> SignedDuration {
    SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { cooldown: Duration::from_secs(3_600), max_per_day: 2 };

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hours * 3_600).expect("a time")
    }

    fn orders() -> WorkloadRef {
        WorkloadRef { kind: "Deployment".into(), name: "orders".into() }
    }

    fn entry(pod: &str, when: Timestamp) -> Entry {
        Entry {
            workload: orders(),
            object: Object { kind: "Pod".into(), name: pod.into(), uid: pod.into(), resource_version: "7".into() },
            policy: "shop/clients".into(),
            at: when,
            state: State::Pending,
        }
    }

    fn confirmed(ledger: &Ledger, pod: &str, when: Timestamp) -> Ledger {
        let entry = entry(pod, when);
        ledger.debited(entry.clone()).settled(&entry.object, Evidence::Happened)
    }

    #[test]
    fn an_unsettled_restart_forbids_the_next_one_however_old_it_is() {
        let ledger = Ledger::default().debited(entry("a", at(0)));
        assert_eq!(ledger.allows(&orders(), &LIMITS, at(1_000)), Err(Refusal::Unsettled));
        assert_eq!(ledger.pruned(at(1_000)), ledger);
    }

    #[test]
    fn the_cooldown_counts_from_the_debit() {
        let ledger = confirmed(&Ledger::default(), "a", at(0));
        assert_eq!(ledger.allows(&orders(), &LIMITS, at(0)), Err(Refusal::Cooldown { until: at(1) }));
        assert_eq!(ledger.allows(&orders(), &LIMITS, at(1)), Ok(()));
    }

    #[test]
    fn the_daily_limit_looks_back_a_sliding_day() {
        let ledger = confirmed(&confirmed(&Ledger::default(), "a", at(0)), "b", at(20));
        assert_eq!(ledger.allows(&orders(), &LIMITS, at(23)), Err(Refusal::DailyLimit { restarts: 2 }));
        assert_eq!(ledger.allows(&orders(), &LIMITS, at(24)), Ok(()));
    }

    #[test]
    fn an_entry_that_can_no_longer_happen_gives_its_budget_back() {
        let debit = entry("a", at(0));
        let ledger = Ledger::default().debited(debit.clone());
        assert_eq!(ledger.settled(&debit.object, Evidence::CanNoLongerHappen), Ledger::default());
        assert_eq!(ledger.settled(&debit.object, Evidence::MayStillHappen), ledger);
    }

    #[test]
    fn a_clock_that_was_set_back_frees_nothing() {
        let ledger = confirmed(&Ledger::default(), "a", at(100));
        assert_eq!(ledger.allows(&orders(), &LIMITS, at(0)), Err(Refusal::Cooldown { until: at(101) }));
    }

    #[test]
    fn settled_entries_leave_when_no_limit_looks_at_them() {
        let ledger = confirmed(&Ledger::default(), "a", at(0));
        assert_eq!(ledger.pruned(at(24 * 7)).entries, []);
        assert_eq!(ledger.pruned(at(24 * 6)).entries.len(), 1);
    }

    #[test]
    fn other_workloads_have_their_own_limits() {
        let ledger = confirmed(&Ledger::default(), "a", at(0));
        let other = WorkloadRef { kind: "Deployment".into(), name: "users".into() };
        assert_eq!(ledger.allows(&other, &LIMITS, at(0)), Ok(()));
    }
}
