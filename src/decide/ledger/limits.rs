//! What may be spent: the limits of the policy, of the administrator, and those that nobody can raise (an unsettled
//! restart, a new ledger, a storm, the debt of a revision that leaks again after each restart).
//!
//! Windows slide. Each is longer by the difference that two API servers' clocks may have.

use std::{fmt, time::Duration};

use jiff::Timestamp;

use super::{DAY, Entry, Ledger, State, number, signed, within};
use crate::{api::WorkloadRef, decide::observation::may_be_same_revision};

/// Two clocks of the control plane may differ by so much.
const SKEW: Duration = Duration::from_secs(5);

/// Who is to be restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The namespace.
    pub namespace: String,
    /// The workload.
    pub workload: WorkloadRef,
    /// The revision that runs now. One that is not known counts as the same as any other.
    pub revision: Option<String>,
    /// Its replicas: a round of evictions is so many.
    pub replicas: u32,
    /// The policy, `namespace/name` or `name`.
    pub policy: String,
}

/// What may be spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The shortest time between two restarts of the workload.
    pub cooldown: Duration,
    /// The most restarts of the workload in 24 hours.
    pub max_per_day: u32,
    /// How many of the policy's restarts may be under way at once.
    pub at_once: u32,
    /// The administrator's limits.
    pub rates: Rates,
}

/// The administrator's limits, which no policy can raise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Restarts in any one namespace.
    pub namespace: Rate,
    /// Restarts in the cluster.
    pub cluster: Rate,
    /// The share of a policy's pods that may be restarted at once, percent.
    pub at_once_percent: u32,
    /// How long a restart is under way: until the new pod carries its load.
    pub settling: Duration,
    /// How long a workload waits when a whole round of restarts has not helped; twice as long after each further round,
    /// at most a day.
    pub back_off: Duration,
    /// How long it must be calm after a storm.
    pub calm: Duration,
}

/// At most so many in any window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub max: u32,
    /// In which time.
    pub window: Duration,
}

/// Why nothing may be spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody knows what was restarted before the ledger began.
    NewLedger {
        /// When that no longer matters.
        until: Timestamp,
    },
    /// Many workloads offended at once.
    Storm {
        /// When it will have been calm for long enough, if it stays calm.
        until: Timestamp,
        /// What was seen.
        why: String,
    },
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
    /// The same revision leaks again after it was restarted.
    Debt {
        /// How many restarts did not help.
        restarts: u32,
        /// When the next may be.
        until: Timestamp,
    },
    /// Enough of the policy's pods are being restarted now.
    AtOnce {
        /// How many.
        restarts: u32,
    },
    /// Enough in the namespace.
    NamespaceLimit {
        /// How many there were.
        restarts: u32,
        /// When the next may be.
        until: Timestamp,
    },
    /// Enough in the cluster.
    ClusterLimit {
        /// How many there were.
        restarts: u32,
        /// When the next may be.
        until: Timestamp,
    },
}

impl Refusal {
    /// One word for status and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NewLedger { .. } => "NewLedger",
            Self::Storm { .. } => "Storm",
            Self::Unsettled => "Unsettled",
            Self::Cooldown { .. } => "Cooldown",
            Self::DailyLimit { .. } => "DailyLimit",
            Self::Debt { .. } => "RestartDebt",
            Self::AtOnce { .. } => "AtOnce",
            Self::NamespaceLimit { .. } => "NamespaceLimit",
            Self::ClusterLimit { .. } => "ClusterLimit",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cooldown { until } => {
                write!(f, "the workload was restarted recently; the cooldown ends at {until:.0}")
            }
            Self::DailyLimit { restarts } => write!(f, "the workload was restarted {restarts} times in 24 hours"),
            Self::Debt { restarts, until } => write!(
                f,
                "the same revision leaks again after {restarts} restarts; the back-off, which doubles, ends at {until:.0}"
            ),
            Self::AtOnce { restarts } => {
                write!(f, "{restarts} of the policy's pods are being restarted now, which is enough at once")
            }
            Self::NamespaceLimit { restarts, until } => {
                write!(f, "{restarts} restarts in the namespace are enough; the next may be at {until:.0}")
            }
            Self::ClusterLimit { restarts, until } => {
                write!(f, "{restarts} restarts in the cluster are enough; the next may be at {until:.0}")
            }
            Self::Storm { until, why } => {
                write!(f, "{why}: perhaps what measures them is sick; if it stays calm, restarts go on at {until:.0}")
            }
            Self::Unsettled => f.write_str("an earlier restart of the workload is not settled yet"),
            Self::NewLedger { until } => {
                write!(
                    f,
                    "the ledger of restarts is new, and what it replaces is not known; it allows nothing before {until:.0}"
                )
            }
        }
    }
}

impl Default for Rates {
    /// Three restarts an hour in a namespace, ten in the cluster, and a tenth of a policy's pods at once.
    fn default() -> Self {
        let hour = Duration::from_secs(3_600);
        Self {
            namespace: Rate { max: 3, window: hour },
            cluster: Rate { max: 10, window: hour },
            at_once_percent: 10,
            settling: Duration::from_secs(300),
            back_off: Duration::from_secs(30 * 60),
            calm: Duration::from_secs(15 * 60),
        }
    }
}

impl Rates {
    /// How many of so many pods may be restarted at once.
    #[must_use]
    pub fn at_once(&self, pods: u32) -> u32 {
        let share = u64::from(pods) * u64::from(self.at_once_percent) / 100;
        u32::try_from(share).unwrap_or(u32::MAX).max(1)
    }
}

impl Ledger {
    /// Whether the workload may be restarted now.
    ///
    /// # Errors
    /// A limit forbids it, by name.
    pub fn allows(&self, wish: &Wish, limits: &Limits, now: Timestamp) -> Result<(), Refusal> {
        self.is_old_enough(limits, now)?;
        if let Some(storm) = self.storm.as_ref().filter(|it| within(it.seen, now, limits.rates.calm)) {
            return Err(Refusal::Storm { until: after(storm.seen, limits.rates.calm), why: storm.why.clone() });
        }
        let own: Vec<&Entry> =
            self.entries.iter().filter(|it| it.namespace == wish.namespace && it.workload == wish.workload).collect();
        of_the_workload(&own, limits, now)?;
        debt(&own, wish, limits.rates.back_off, now)?;
        self.at_once(wish, limits, now)?;
        let rate = limits.rates.namespace;
        used(self.entries.iter().filter(|it| it.namespace == wish.namespace), rate, now)
            .map_err(|(restarts, until)| Refusal::NamespaceLimit { restarts, until })?;
        used(self.entries.iter(), limits.rates.cluster, now)
            .map_err(|(restarts, until)| Refusal::ClusterLimit { restarts, until })
    }

    /// A ledger that was lost is begun anew: what it held counts as spent, so nothing is spent until that is history.
    fn is_old_enough(&self, limits: &Limits, now: Timestamp) -> Result<(), Refusal> {
        let longest = limits.cooldown.max(limits.rates.namespace.window).max(limits.rates.cluster.window);
        let until = after(self.since, longest + SKEW);
        if within(self.since, now, longest + SKEW) { Err(Refusal::NewLedger { until }) } else { Ok(()) }
    }

    fn at_once(&self, wish: &Wish, limits: &Limits, now: Timestamp) -> Result<(), Refusal> {
        let under_way = |it: &&Entry| it.state == State::Pending || within(it.at, now, limits.rates.settling);
        let restarts = number(self.entries.iter().filter(|it| it.policy == wish.policy).filter(under_way).count());
        if restarts >= limits.at_once { Err(Refusal::AtOnce { restarts }) } else { Ok(()) }
    }
}

fn of_the_workload(own: &[&Entry], limits: &Limits, now: Timestamp) -> Result<(), Refusal> {
    if own.iter().any(|it| it.state == State::Pending) {
        return Err(Refusal::Unsettled);
    }
    let cooldown = limits.cooldown + SKEW;
    if let Some(last) = own.iter().map(|it| it.at).max().filter(|it| within(*it, now, cooldown)) {
        return Err(Refusal::Cooldown { until: after(last, cooldown) });
    }
    let restarts = number(own.iter().filter(|it| within(it.at, now, DAY + SKEW)).count());
    if restarts >= limits.max_per_day { Err(Refusal::DailyLimit { restarts }) } else { Ok(()) }
}

/// A revision that leaks again when all its replicas have been restarted is not cured by restarting: each further round
/// waits twice as long, at most a day.
fn debt(own: &[&Entry], wish: &Wish, first: Duration, now: Timestamp) -> Result<(), Refusal> {
    let same = |it: &&Entry| may_be_same_revision(it.revision.as_ref(), wish.revision.as_ref());
    let same: Vec<&Entry> = own.iter().copied().filter(same).collect();
    let replicas = wish.replicas.max(1);
    let restarted = |it: &&Entry| if it.object.kind == "Pod" { 1 } else { replicas };
    let pods = same.iter().map(restarted).fold(0, u32::saturating_add);
    let (Some(last), Some(doublings)) = (same.iter().map(|it| it.at).max(), (pods / replicas).checked_sub(1)) else {
        return Ok(());
    };
    let back_off = first.saturating_mul(1 << doublings.min(6)).min(DAY);
    let until = after(last, back_off + SKEW);
    let owes = within(last, now, back_off + SKEW);
    if owes { Err(Refusal::Debt { restarts: number(same.len()), until }) } else { Ok(()) }
}

/// How many of these fall into the window, and when there will be room again, if they are too many. What is pending
/// counts as happening now.
fn used<'a>(entries: impl Iterator<Item = &'a Entry>, rate: Rate, now: Timestamp) -> Result<(), (u32, Timestamp)> {
    let mut times: Vec<Timestamp> = entries
        .map(|it| if it.state == State::Pending { it.at.max(now) } else { it.at })
        .filter(|at| within(*at, now, rate.window + SKEW))
        .collect();
    let restarts = number(times.len());
    if restarts < rate.max {
        return Ok(());
    }
    times.sort_unstable();
    let surplus = usize::try_from(restarts - rate.max).unwrap_or(usize::MAX);
    let leaves = times.get(surplus).copied().unwrap_or(now);
    Err((restarts, after(leaves, rate.window + SKEW)))
}

fn after(at: Timestamp, span: Duration) -> Timestamp {
    at.saturating_add(signed(span)).unwrap_or(Timestamp::MAX)
}
