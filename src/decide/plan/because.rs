//! Every reason for which a remediation is not taken. `docs/safety.md` explains each to users.

use std::{fmt, time::Duration};

use jiff::Timestamp;

use crate::{api::print_duration, decide::Diagnosis};

/// Why a remediation is withheld, or did not succeed.
#[derive(Clone, Debug, PartialEq)]
pub enum Because {
    /// The finding has not stood for the step's `after`.
    TooSoon {
        /// How much longer.
        remaining: Duration,
    },
    /// Too few looks agree that the subject grows, surely enough for this step.
    NotConfirmed {
        /// How many of the newest three do.
        looks: usize,
    },
    /// The newest evaluation could not judge the subject, or missed it.
    NotJudgedNow,
    /// A restart would not cure this.
    RestartDoesNotHelp {
        /// The diagnosis.
        diagnosis: Diagnosis,
    },
    /// Only the application itself says that it grows.
    NoSecondWitness,
    /// Nothing says when memory runs out: there is no memory limit, or memory does not rise.
    NoForecast,
    /// Memory runs out later than the policy cares.
    LimitFarAway {
        /// When, at the soonest.
        soonest: Duration,
    },
    /// The alert has not been sent yet.
    AlertFirst,
    /// It began with many others, and a summary stands for all of them.
    Collapsed {
        /// Since when the summary fires.
        since: Timestamp,
    },
    /// People stopped restarts.
    Stopped {
        /// Where.
        by: String,
    },
    /// The operator has just started or become leader.
    QuietPeriod {
        /// Until when.
        until: Timestamp,
    },
    /// The pod is not ready: somebody else has a problem with it.
    PodNotReady,
    /// Nothing would make the pod again.
    NoWorkload,
    /// People exempted it.
    Exempt,
    /// A system namespace is never touched, and the operator's own neither.
    SystemNamespace,
    /// Something on the pod says that it is not to be disturbed.
    Protected {
        /// What.
        by: String,
    },
    /// Its owner is of a kind that is not restarted.
    UnsupportedOwner {
        /// The kind.
        kind: String,
    },
    /// It belongs to a `DaemonSet`, and the policy does not allow to restart those.
    DaemonSet,
    /// The administrator allows restarts in other namespaces only.
    NamespaceNotAllowed,
    /// The workload's state could not be read.
    WorkloadUnknown {
        /// Why.
        reason: String,
    },
    /// A rollout is in progress.
    RolloutInProgress,
    /// A rollout cannot be started.
    RolloutBlocked {
        /// Why.
        reason: String,
    },
    /// Too few pods are available.
    TooFewAvailable {
        /// Available pods.
        available: u32,
        /// Wanted pods.
        desired: u32,
        /// How many may be unavailable.
        max_unavailable: u32,
    },
    /// The only replica.
    OnlyReplica {
        /// Whether the policy allows to restart it, so that what forbids it is a rollout that would stop it first.
        allowed: bool,
    },
    /// A `PodDisruptionBudget` allows no disruption now.
    DisruptionBudget {
        /// Its name, or what the API server said.
        name: String,
    },
    /// More than one `PodDisruptionBudget` covers the pod, so that the API server evicts nothing.
    DisruptionBudgets {
        /// Their names.
        names: String,
    },
    /// Its number of replicas was just changed, or cannot grow.
    Autoscaling {
        /// The `HorizontalPodAutoscaler`.
        name: String,
        /// What speaks against it.
        why: String,
    },
    /// Somebody took the last rollout back, and would take back the next.
    RestartReverted {
        /// Who, if the workload's marks tell.
        by: Option<&'static str>,
    },
    /// People said when restarts may be made, and it is another time.
    OutsideWindow {
        /// When the next window begins.
        opens: Option<Timestamp>,
        /// Whether that is before a restart would be too late.
        in_time: bool,
    },
    /// No profile is stored yet that would outlive the restart.
    NoEvidence {
        /// Why not.
        why: String,
    },
    /// Another policy that may restart the same pod is stricter.
    Overlap {
        /// Which, `namespace/name` or `name`.
        policy: String,
        /// What it says.
        because: Box<Because>,
    },
    /// Another pod of the workload goes first.
    OneAtATime,
    /// The last restart of the workload is too recent.
    Cooldown {
        /// When the next may be.
        until: Timestamp,
    },
    /// Enough restarts of the workload for a day.
    DailyLimit {
        /// How many there were.
        restarts: u32,
    },
    /// The same revision leaks again after it was restarted.
    RestartDebt {
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
    /// Enough restarts in the namespace.
    NamespaceLimit {
        /// How many there were.
        restarts: u32,
        /// When the next may be.
        until: Timestamp,
    },
    /// Enough restarts in the cluster.
    ClusterLimit {
        /// How many there were.
        restarts: u32,
        /// When the next may be.
        until: Timestamp,
    },
    /// So many workloads offend at once that the observer may be the sick one.
    Storm {
        /// When it will have been calm for long enough, if it stays calm.
        until: Timestamp,
        /// What was seen.
        why: String,
    },
    /// An earlier restart of the workload is not settled.
    Unsettled,
    /// The ledger began a short while ago: nobody knows what was restarted before.
    NewLedger {
        /// When that no longer matters.
        until: Timestamp,
    },
    /// The API server's clock and ours differ.
    ClockSkew {
        /// By how much, seconds.
        seconds: i64,
    },
    /// The ledger of restarts could not be read or written.
    Ledger {
        /// Why.
        reason: String,
    },
    /// This replica is not, or no longer, the leader.
    NotLeader,
    /// The subject changed between the decision and the act.
    Changed {
        /// What changed.
        what: String,
    },
    /// The request failed.
    RequestFailed {
        /// What the server said, shortened.
        reason: String,
    },
}

impl Because {
    /// One word for status and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooSoon { .. } => "TooSoon",
            Self::NotConfirmed { .. } => "NotConfirmed",
            Self::NotJudgedNow => "NotJudgedNow",
            Self::RestartDoesNotHelp { .. } => "RestartDoesNotHelp",
            Self::NoSecondWitness => "NoSecondWitness",
            Self::NoForecast => "NoForecast",
            Self::LimitFarAway { .. } => "LimitFarAway",
            Self::AlertFirst => "AlertFirst",
            Self::Collapsed { .. } => "Collapsed",
            Self::Stopped { .. } => "Stopped",
            Self::QuietPeriod { .. } => "QuietPeriod",
            Self::PodNotReady => "PodNotReady",
            Self::NoWorkload => "NoWorkload",
            Self::Exempt => "Exempt",
            Self::SystemNamespace => "SystemNamespace",
            Self::Protected { .. } => "Protected",
            Self::UnsupportedOwner { .. } => "UnsupportedOwner",
            Self::DaemonSet => "DaemonSet",
            Self::NamespaceNotAllowed => "NamespaceNotAllowed",
            Self::WorkloadUnknown { .. } => "WorkloadUnknown",
            Self::RolloutInProgress => "RolloutInProgress",
            Self::RolloutBlocked { .. } => "RolloutBlocked",
            Self::TooFewAvailable { .. } => "TooFewAvailable",
            Self::OnlyReplica { .. } => "OnlyReplica",
            Self::DisruptionBudget { .. } => "PodDisruptionBudget",
            Self::DisruptionBudgets { .. } => "PodDisruptionBudgetMisconfigured",
            Self::Autoscaling { .. } => "Autoscaling",
            Self::RestartReverted { .. } => "RestartReverted",
            Self::OutsideWindow { .. } => "OutsideWindow",
            Self::NoEvidence { .. } => "NoEvidence",
            Self::Overlap { because, .. } => because.reason(),
            Self::OneAtATime => "OneAtATime",
            Self::Cooldown { .. } => "Cooldown",
            Self::DailyLimit { .. } => "DailyLimit",
            Self::RestartDebt { .. } => "RestartDebt",
            Self::AtOnce { .. } => "AtOnce",
            Self::NamespaceLimit { .. } => "NamespaceLimit",
            Self::ClusterLimit { .. } => "ClusterLimit",
            Self::Storm { .. } => "Storm",
            Self::Unsettled => "Unsettled",
            Self::NewLedger { .. } => "NewLedger",
            Self::ClockSkew { .. } => "ClockSkew",
            Self::Ledger { .. } => "Ledger",
            Self::NotLeader => "NotLeader",
            Self::Changed { .. } => "Changed",
            Self::RequestFailed { .. } => "RequestFailed",
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Times that count down are left out: status would be written for nothing else.
            Self::TooSoon { .. } => f.write_str("the finding has not stood long enough"),
            Self::NotConfirmed { looks } => {
                write!(f, "{looks} of the last 3 looks are sure enough for this step; 2 must agree")
            }
            Self::NotJudgedNow => f.write_str("the newest evaluation could not judge it"),
            Self::RestartDoesNotHelp { diagnosis } => write!(f, "a restart does not cure {diagnosis}"),
            Self::NoSecondWitness => {
                f.write_str("only the application itself says that it grows; a restart needs a second witness")
            }
            Self::NoForecast => {
                f.write_str("nothing says when memory runs out: no memory limit, or memory does not rise")
            }
            Self::LimitFarAway { soonest } => {
                write!(
                    f,
                    "memory reaches its limit in {} at the soonest, later than thresholds.timeToMemoryLimit",
                    print_duration(*soonest)
                )
            }
            Self::AlertFirst => f.write_str("the alert has not been sent yet"),
            Self::Collapsed { since } => write!(
                f,
                "it began with many others, and the alert GrpcClientHygieneMany stands for all of them since {since:.0}"
            ),
            Self::Stopped { by } => write!(f, "somebody stopped restarts: {by}"),
            Self::QuietPeriod { until } => write!(f, "the operator has just started; restarts may begin at {until:.0}"),
            Self::PodNotReady => f.write_str("the pod is not ready"),
            Self::NoWorkload => f.write_str("the pod has no owner that would replace it"),
            Self::Exempt => f.write_str("exempted by the annotation grpc-hygiene.io/exempt"),
            Self::SystemNamespace => {
                f.write_str("pods of system namespaces and of the operator's own namespace are never restarted")
            }
            Self::Protected { by } => write!(f, "the pod is not to be disturbed: {by}"),
            Self::UnsupportedOwner { kind } => {
                write!(f, "its owner is a {kind}, and pods of that kind are never restarted")
            }
            Self::DaemonSet => f.write_str(
                "it belongs to a DaemonSet, and no other replica carries the load of a node's own pod; \
                 remediation.restart.allowDaemonSets accepts that",
            ),
            Self::NamespaceNotAllowed => {
                f.write_str("the administrator's limits.namespaces allow no restarts in this namespace")
            }
            Self::WorkloadUnknown { reason } => write!(f, "the workload could not be read: {reason}"),
            Self::RolloutInProgress => f.write_str("a rollout of the workload is in progress"),
            Self::RolloutBlocked { reason } => write!(f, "the workload cannot be rolled out: {reason}"),
            Self::TooFewAvailable { available, desired, max_unavailable } => {
                write!(f, "{available} of {desired} pods are available, and maxUnavailable is {max_unavailable}")
            }
            Self::OnlyReplica { allowed: false } => {
                f.write_str("it is the only replica; add one, or set remediation.restart.allowSingleReplica")
            }
            Self::OnlyReplica { allowed: true } => f.write_str(
                "it is the only replica and a rollout would stop it first; set method: Evict to accept the gap",
            ),
            Self::DisruptionBudget { name } => write!(f, "PodDisruptionBudget {name} allows no disruption now"),
            Self::DisruptionBudgets { names } => write!(
                f,
                "more than one PodDisruptionBudget covers the pod ({names}), and the API server then refuses every eviction"
            ),
            Self::Autoscaling { name, why } => write!(f, "HorizontalPodAutoscaler {name} {why}"),
            Self::RestartReverted { by } => write!(
                f,
                "the last rollout was taken back{}, which restarted the pods once more; let it ignore the restart, or set \
                 method: Evict",
                by.map_or_else(String::new, |it| format!(", it seems by {it}"))
            ),
            Self::OutsideWindow { opens, in_time } => outside(f, *opens, *in_time),
            Self::NoEvidence { why } => write!(
                f,
                "no heap profile is stored that names the lines; the restart waits for one until memory is about to run out: {why}"
            ),
            Self::Overlap { policy, because } => write!(f, "policy {policy}, which selects the pod too: {because}"),
            Self::OneAtATime => f.write_str("another pod of the workload goes first"),
            Self::Cooldown { until } => {
                write!(f, "the workload was restarted recently; the cooldown ends at {until:.0}")
            }
            Self::DailyLimit { restarts } => write!(f, "the workload was restarted {restarts} times in 24 hours"),
            Self::RestartDebt { restarts, until } => write!(
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
            Self::ClockSkew { seconds } => {
                write!(f, "the clocks of the API server and of the operator differ by {seconds} s")
            }
            Self::Ledger { reason } => write!(f, "the ledger of restarts is not usable: {reason}"),
            Self::NotLeader => f.write_str("this replica is not the leader"),
            Self::Changed { what } => write!(f, "it changed in the meantime: {what}"),
            Self::RequestFailed { reason } => write!(f, "the request failed: {reason}"),
        }
    }
}

fn outside(f: &mut fmt::Formatter<'_>, opens: Option<Timestamp>, in_time: bool) -> fmt::Result {
    let Some(opens) = opens else { return f.write_str("no window for restarts is open, and none is known to begin") };
    write!(f, "no window for restarts is open; the next begins at {opens:.0}")?;
    if in_time { Ok(()) } else { f.write_str(", and memory is forecast to run out before that: the alert stands") }
}
