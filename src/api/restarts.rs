//! The restarts of a policy as they stand in its status: what each gave back, how long that lasted, and whether it helped
//! at all. The rules are in [`crate::decide::effect`]; what may be restarted is the ledger's business.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::WorkloadRef;

/// A restart, and what came of it.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartRecord {
    /// The workload's namespace.
    pub namespace: String,
    /// The workload.
    pub workload: WorkloadRef,
    /// The container that was the reason.
    pub container: String,
    /// What the request was about: the UID of the pod, or of the workload that was rolled out.
    pub uid: String,
    /// The pod that was the reason.
    pub pod: String,
    /// Whether the whole workload was rolled out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rollout: bool,
    /// The revision of its template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// When, at the latest.
    pub at: Time,
    /// How old the container was then, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<f64>,
    /// The levels and rates before.
    #[serde(default)]
    pub before: LifeFigures,
    /// The levels and rates after, once they are known.
    #[serde(default)]
    pub after: LifeFigures,
    /// What came of it.
    pub effect: Effect,
    /// Since when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect_at: Option<Time>,
    /// How long it was quiet before it leaked again, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bought: Option<f64>,
    /// The same in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How a container stood. What could not be measured is absent.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LifeFigures {
    /// Memory in use, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
    /// Growth of memory per hour, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_per_hour: Option<f64>,
    /// Open connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<f64>,
    /// Growth of open connections per hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_per_hour: Option<f64>,
}

/// What came of a restart: `Pending`, `Helped`, `LeaksAgain` (a debt: it bought time), `Useless` or `Unknown`.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Not known yet.
    Pending,
    /// What replaced it has lived as long as it had, and does not leak.
    Helped,
    /// It gave back what had grown, and the same revision leaks again at a like rate: it bought time.
    LeaksAgain,
    /// Memory did not fall, or it grew faster than before.
    Useless,
    /// Nobody will ever know: a new revision came, or nothing could be compared.
    Unknown,
}
