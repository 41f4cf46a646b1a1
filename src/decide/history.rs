//! What was done before and how the suspects' workloads stand, read back from the cluster: the operator keeps no
//! state of its own. Plain data that `io::recall` fills and `plan` reads.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    api::{AlertRecord, AnnotatedWorkload, GrpcClientPolicyStatus, Offender, ProfileRecord, RestartRecord},
    decide::{
        Because, Guard, Subject, Workload,
        approval::Approvals,
        ledger::Ledger,
        overlap::Rival,
        profiles::{Held, is_about},
        stand_down::Told,
        storm::is_missing,
    },
};

/// The past of one policy.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The policy, `namespace/name` or `name`, as it stands in the ledger and on alerts.
    pub policy: String,
    /// Who offended when the policy was last evaluated.
    pub past: BTreeMap<Subject, Past>,
    /// The alerts that fire or were resolved recently.
    pub alerts: Vec<AlertRecord>,
    /// The workloads that carry our annotations.
    pub annotated: Vec<AnnotatedWorkload>,
    /// The restarts under the policy, and what came of each.
    pub restarts: Vec<RestartRecord>,
    /// The disruption ledger. `None`: nobody looked, for nobody is to be restarted.
    pub budget: Option<Budget>,
    /// The administrator's bounds.
    pub guard: Guard,
    /// The fields of the policy that went beyond them.
    pub exceeded: Vec<&'static str>,
    /// The other policies that restart.
    pub rivals: Vec<Rival>,
    /// Containers that had no data at the last evaluation.
    pub missing: usize,
    /// The suspects' workloads as they stand now.
    pub workloads: BTreeMap<Workload, Standing>,
    /// The namespaces in which people stopped restarts, and how.
    pub stopped: BTreeMap<String, Because>,
    /// The policy's generation that is evaluated.
    pub generation: Option<i64>,
    /// The profiles that were taken, one of each subject.
    pub profiles: Vec<ProfileRecord>,
    /// The files of profiles that this operator has stored.
    pub held: Held,
    /// The operator's own namespace, in which nothing is restarted.
    pub namespace: String,
    /// The operator's pod, as it stands on the profiles that it has stored.
    pub operator: String,
    /// What people approved, as it stands on the policy.
    pub approvals: Approvals,
    /// The alerting rules that stop restarts. `None`: nobody asked.
    pub alerting: Option<Told>,
    /// No restart before this time: the operator has just started, or become leader.
    pub quiet_until: Option<Timestamp>,
}

/// One offender of the last evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// Since when.
    pub since: Timestamp,
    /// As it stood in status.
    pub offender: Offender,
}

/// The ledger, or why it cannot be used. What cannot be used allows nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Budget {
    /// It was read.
    Known(Ledger),
    /// It could not be read: the reason, for people.
    Unreadable(String),
    /// The API server's clock and ours differ: nobody knows how old anything is.
    Skewed {
        /// By how much, seconds.
        seconds: i64,
    },
}

/// A workload's state, or why it is not known. What is not known is not restarted.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// It was read.
    Known(WorkloadState),
    /// It could not be read: the reason, for people.
    Unknown(String),
}

/// What matters about a workload before one of its pods is disturbed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkloadState {
    /// Its UID.
    pub uid: String,
    /// Its resource version, which a rollout's patch demands.
    pub resource_version: String,
    /// The generation of its spec, which a rollout raises.
    pub generation: Option<i64>,
    /// Replicas that are wanted.
    pub desired: u32,
    /// Replicas that are ready.
    pub ready: u32,
    /// Replicas that have been ready for the workload's `minReadySeconds`.
    pub available: u32,
    /// A rollout is in progress, or the controller has not seen the newest generation.
    pub rolling_out: bool,
    /// A rollout starts the new pod before it stops the old one.
    pub surges: bool,
    /// Why a rollout cannot be started (paused, `OnDelete`, a partition), for people.
    pub rollout_blocked: Option<String>,
    /// When it was restarted last by a time that is written into it, as it stands there.
    pub restarted_at: Option<String>,
    /// What takes back what others write into it, if its marks tell: `Argo CD` or `Flux`.
    pub gitops: Option<&'static str>,
    /// People exempted it with an annotation.
    pub exempt: bool,
    /// PodDisruptionBudgets that forbid to disturb the pod: one that allows nothing now, or all when it is more than one
    /// that covers the pod.
    pub blocking_budgets: Vec<String>,
    /// What scales it.
    pub autoscalers: Vec<Autoscaler>,
}

/// A `HorizontalPodAutoscaler` of a workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Autoscaler {
    /// Its name.
    pub name: String,
    /// The most replicas that it may want.
    pub max: u32,
    /// The replicas that it wants now, or has.
    pub wanted: u32,
    /// When it changed their number last.
    pub scaled_at: Option<Timestamp>,
}

impl History {
    /// The part that stands in the policy's own status.
    #[must_use]
    pub fn from_status(policy: String, status: Option<&GrpcClientPolicyStatus>) -> Self {
        let Some(status) = status else { return Self { policy, ..Self::default() } };
        let past =
            status.offenders.iter().map(|it| (Subject::from(it), Past { since: it.since.0, offender: it.clone() }));
        Self {
            policy,
            past: past.collect(),
            alerts: status.alerts.clone(),
            missing: missing(status),
            annotated: status.annotated.clone(),
            restarts: status.restarts.clone(),
            profiles: status.profiles.clone(),
            ..Self::default()
        }
    }

    /// With profiles that were taken just now in place of older ones of the same subjects.
    #[must_use]
    pub fn with(mut self, taken: Vec<ProfileRecord>) -> Self {
        let renewed: BTreeSet<Subject> = taken.iter().map(Subject::from).collect();
        self.profiles.retain(|it| !renewed.contains(&Subject::from(it)));
        self.profiles.extend(taken);
        self
    }

    /// The newest profile of a subject.
    #[must_use]
    pub fn profile_of(&self, subject: &Subject) -> Option<&ProfileRecord> {
        self.profiles.iter().filter(|it| is_about(it, subject)).max_by_key(|it| it.taken_at.0)
    }
}

fn missing(status: &GrpcClientPolicyStatus) -> usize {
    let missing = status.inconclusive.iter().filter(|it| is_missing(&it.reason));
    missing.map(|it| usize::try_from(it.containers).unwrap_or(usize::MAX)).sum()
}
