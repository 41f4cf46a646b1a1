//! What a policy with `mode: Auto` has earned, as it stands in its status: the stage that it is at, and the cases that say
//! so. The rules are in [`crate::decide::autonomy`].

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{Mode, WorkloadRef};

/// What may be done: `DryRun` (nothing), `Alert` (annotations and alerts) or `Restart` (everything).
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// Nothing: it only says what it would do.
    #[default]
    DryRun,
    /// Annotations and alerts.
    Alert,
    /// Everything that the policy lists.
    Restart,
}

impl Stage {
    /// What a mode allows before anything was shown.
    #[must_use]
    pub const fn at_first(mode: Mode) -> Self {
        match mode {
            Mode::DryRun | Mode::Auto => Self::DryRun,
            Mode::Enforce => Self::Restart,
        }
    }

    /// Its name in status and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DryRun => "DryRun",
            Self::Alert => "Alert",
            Self::Restart => "Restart",
        }
    }
}

/// What a policy with `mode: Auto` may do now, and what it has shown.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Autonomy {
    /// What may be done now: `DryRun`, `Alert` or `Restart`.
    pub stage: Stage,
    /// Since when it is at this stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// What is missing to the next stage, or that there is none.
    pub missing: String,
    /// How often a finding that would alert was right.
    pub cases: Tally,
    /// How often a restart that would be made was right.
    pub restarts: Tally,
    /// The last time that it lost a stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_demotion: Option<Demotion>,
    /// How often it lost one lately: each time doubles what must be shown, up to four times as much.
    pub demotions: u32,
    /// A hash of the fields that the record is about. With others it begins anew.
    pub fingerprint: String,
    /// The cases whose outcome is not known yet, at most 40.
    #[schemars(length(max = 40))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<OpenCase>,
    /// The cases whose outcome is known, the newest last, at most 108 of 30 days.
    #[schemars(length(max = 108))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub closed: Vec<ClosedCase>,
}

/// How often it was right.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tally {
    /// Cases that turned out to be right. Of one container and revision at most three count.
    pub right: u32,
    /// Cases that turned out to be wrong. All of them count.
    pub wrong: u32,
    /// Cases of which nobody will ever know. They count for nothing.
    pub unknown: u32,
    /// The lower bound of the share that is right, percent.
    pub lower_bound: f64,
}

/// When and why it lost a stage.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Demotion {
    /// When.
    pub at: Time,
    /// The stage that it was at.
    pub from: Stage,
    /// Why.
    pub because: String,
}

/// What a case is about: `Alert` (a finding that would alert) or `Restart` (a restart that would be made).
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CaseKind {
    /// A finding that would alert.
    Alert,
    /// A restart that would be made.
    Restart,
}

/// One life of a container, in which something was foretold.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Life {
    /// The pod's namespace.
    pub namespace: String,
    /// The workload that owns the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadRef>,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID.
    pub uid: String,
    /// The container's name.
    pub container: String,
    /// When the container started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// The revision of the pod's template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// A case whose outcome is not known yet.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenCase {
    /// What it is about.
    pub kind: CaseKind,
    /// Whom.
    pub life: Life,
    /// The diagnosis when it began.
    pub diagnosis: String,
    /// Since when.
    pub since: Time,
    /// The levels when it began.
    pub levels: Levels,
    /// Since when the pod is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Time>,
}

/// Levels, as measured. What could not be measured is absent.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Levels {
    /// Open connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<f64>,
    /// Goroutines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goroutines: Option<f64>,
    /// Memory, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
    /// Calls per hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_per_hour: Option<f64>,
}

/// A case whose outcome is known.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClosedCase {
    /// What it was about.
    pub kind: CaseKind,
    /// Whom.
    pub life: Life,
    /// What came of it.
    pub outcome: CaseOutcome,
    /// Since when that is known.
    pub at: Time,
    /// The levels when it began, for a case that may still be taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<Levels>,
}

/// What came of a case. Right: `OutOfMemory`, `WentOn`, `CameBack`, `Fixed`. Wrong: `WentAway`, `Useless`. Unknown: the
/// rest.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CaseOutcome {
    /// Right: the kernel killed the container for its memory.
    OutOfMemory,
    /// Right: it went on, in data that were not there when it was found.
    WentOn,
    /// Right: a restart gave back what had grown, and the same revision leaks again at a like rate.
    CameBack,
    /// Right: a new revision does not have it at the same age.
    Fixed,
    /// Wrong: it went away by itself in the same life.
    WentAway,
    /// Wrong: a restart gave nothing back, or growth was faster than before.
    Useless,
    /// Unknown: it stopped when the load did, and kept what it had taken.
    LoadStopped,
    /// Unknown: the container ended for another reason.
    Ended,
    /// Unknown: the pod is gone, and nothing of its kind can be compared.
    Gone,
    /// Unknown: nothing was decided for a week.
    Undecided,
}

/// What is no record is none: who reads nonsense has earned nothing, and loses nothing else of the status.
pub(super) fn readable<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Autonomy>, D::Error> {
    let value = Option::<Value>::deserialize(from)?;
    Ok(value.and_then(|it| serde_json::from_value(it).ok()))
}
