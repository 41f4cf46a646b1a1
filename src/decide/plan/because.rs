//! Every reason for which a remediation is not taken. `docs/safety.md` explains each to users.

use std::{fmt, time::Duration};

use jiff::Timestamp;

use crate::{
    api::print_duration,
    decide::{Diagnosis, approval::Approval, ledger::Refusal, quietest::Quieter, status::rounded},
};

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
    /// A person has to say yes first.
    AwaitingApproval(Approval),
    /// An alert stops restarts while it fires, or nobody knows whether it does.
    StandDown {
        /// Which, and why.
        why: String,
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
    /// A node that runs the workload is being emptied.
    Draining {
        /// A pod that goes.
        pod: String,
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
    /// Fewer calls are to be expected later, and memory leaves time until then.
    QuieterLater(Quieter),
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
    /// Nothing may be spent on it.
    Budget(Refusal),
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
            Self::AwaitingApproval(_) => "AwaitingApproval",
            Self::StandDown { .. } => "StandDown",
            Self::QuietPeriod { .. } => "QuietPeriod",
            Self::PodNotReady => "PodNotReady",
            Self::NoWorkload => "NoWorkload",
            Self::Exempt => "Exempt",
            Self::SystemNamespace => "SystemNamespace",
            Self::Protected { .. } => "Protected",
            Self::Draining { .. } => "Draining",
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
            Self::QuieterLater(_) => "QuieterLater",
            Self::NoEvidence { .. } => "NoEvidence",
            Self::Overlap { because, .. } => because.reason(),
            Self::OneAtATime => "OneAtATime",
            Self::Budget(refusal) => refusal.reason(),
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
            Self::AwaitingApproval(approval) => approval.fmt(f),
            Self::StandDown { why } => write!(f, "restarts stand down: {why}"),
            Self::QuietPeriod { until } => write!(f, "the operator has just started; restarts may begin at {until:.0}"),
            Self::PodNotReady => f.write_str("the pod is not ready"),
            Self::NoWorkload => f.write_str("the pod has no owner that would replace it"),
            Self::Exempt => f.write_str("exempted by the annotation grpc-hygiene.io/exempt"),
            Self::SystemNamespace => {
                f.write_str("pods of system namespaces and of the operator's own namespace are never restarted")
            }
            Self::Protected { by } => write!(f, "the pod is not to be disturbed: {by}"),
            Self::Draining { pod } => {
                write!(f, "pod {pod} of the workload is being evicted from its node; one pod less is enough at a time")
            }
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
            Self::QuieterLater(Quieter { at, now, then }) => write!(
                f,
                "about {} calls a second are usual at {at:.0}, and {} now; memory leaves time until then, and \
                 remediation.restart.when: Now does not wait",
                rounded(*then),
                rounded(*now)
            ),
            Self::NoEvidence { why } => write!(
                f,
                "no heap profile is stored that names the lines; the restart waits for one until memory is about to run out: {why}"
            ),
            Self::Overlap { policy, because } => write!(f, "policy {policy}, which selects the pod too: {because}"),
            Self::OneAtATime => f.write_str("another pod of the workload goes first"),
            Self::Budget(refusal) => refusal.fmt(f),
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

impl Because {
    /// The same, as another policy says it that may restart the same pod.
    #[must_use]
    pub fn by(self, policy: &str) -> Self {
        Self::Overlap { policy: policy.to_owned(), because: Box::new(self) }
    }
}

impl From<Refusal> for Because {
    fn from(refusal: Refusal) -> Self {
        Self::Budget(refusal)
    }
}
