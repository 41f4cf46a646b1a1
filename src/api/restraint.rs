//! How people restrain restarts, as they write it: by asking to be asked, by alerts that restart nobody while they fire,
//! and by waiting for a quiet moment. And what they read back of their approval.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a restart waits for a quiet moment: `Quietest` or `Now`.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// For the quietest that is not too late.
    #[default]
    Quietest,
    /// It does not.
    Now,
}

/// Which restarts need a person's yes: `None`, `First` or `Always`.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApprovalRule {
    /// None.
    #[default]
    None,
    /// The first of a workload's revision for a diagnosis.
    First,
    /// Each.
    Always,
}

/// Alerts that stop restarts while they fire.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StandDownSpec {
    /// The names of alerting rules of the metrics backend, at most 20. In a namespaced policy an alert with the label
    /// `namespace` counts only if it is the policy's own.
    #[schemars(length(min = 1, max = 20), inner(length(min = 1, max = 128), regex(pattern = r"^\S(.*\S)?$")))]
    pub alerts: Vec<String>,
}

/// What became of the approval that a restart needs.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalStatus {
    /// What names the finding: `grpc-hygiene approve POLICY DIGEST`.
    pub digest: String,
    /// `Waiting` or `Approved`.
    pub state: ApprovalState,
    /// The revision of the workload that is to be restarted, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// After that a restart would come too late, by the newest forecast as of the last write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub too_late_after: Option<Time>,
    /// Until when it is approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// `Waiting` or `Approved`.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApprovalState {
    /// Nobody has said yes, or not in a way that counts.
    Waiting,
    /// Somebody said yes.
    Approved,
}
