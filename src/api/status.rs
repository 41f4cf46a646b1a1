//! What people read back: the status of both policy kinds.
//!
//! It is also the operator's memory: since when a finding stands and which alerts fire are read back from here
//! after a restart. Figures are rounded by whoever writes them, so that noise alone never causes a write.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ApprovalStatus, Autonomy, RestartRecord};

/// What the operator last saw and did for this policy.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcClientPolicyStatus {
    /// The generation of the spec that this status speaks about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled`, `DataSourceReachable`, `DataFresh`, `Violating`, and `KeepaliveAgreed` when
    /// the policy declares it.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// When the policy was last evaluated. Written with the next change, or after five minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_evaluation_time: Option<Time>,
    /// The last value of the annotation `grpc-hygiene.io/requestedAt` that was handled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// How many containers were judged and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// Which sources the signals were read from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceInUse>,
    /// The containers that break the policy, the most confident first, at most 50.
    #[schemars(length(max = 50))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub offenders: Vec<Offender>,
    /// How many offenders are not listed above.
    #[serde(skip_serializing_if = "is_zero")]
    pub offenders_omitted: u32,
    /// Why containers could not be judged, grouped, at most 20 groups.
    #[schemars(length(max = 20))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inconclusive: Vec<InconclusiveGroup>,
    /// The alerts that fire, or were resolved in the last 15 minutes, at most 100.
    #[schemars(length(max = 100))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertRecord>,
    /// The newest profiles of offenders, and what they say, at most 30.
    #[schemars(length(max = 30))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<ProfileRecord>,
    /// The newest restarts under this policy, and what each was good for, at most 30 of a week.
    #[schemars(length(max = 30))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restarts: Vec<RestartRecord>,
    /// What `mode: Auto` may do now, and what it has shown. Absent in other modes.
    #[serde(deserialize_with = "super::autonomy::readable", skip_serializing_if = "Option::is_none")]
    pub autonomy: Option<Autonomy>,
    /// The workloads that carry our annotations, to be removed when they are clean, at most 100.
    #[schemars(length(max = 100))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub annotated: Vec<AnnotatedWorkload>,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// How many containers were judged and how.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counts {
    /// Containers that the policy selects.
    pub targets: u32,
    /// Judged healthy.
    pub healthy: u32,
    /// Judged to break the policy.
    pub violating: u32,
    /// Not judged, for the reasons in `inconclusive`.
    pub inconclusive: u32,
    /// Restarts under this policy in the last 24 hours.
    pub restarts_last_day: u32,
}

/// The sources that one signal was read from.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceInUse {
    /// The signal, for example `OpenConnections`.
    pub signal: String,
    /// The source's name.
    pub source: String,
    /// How many containers it had data for.
    pub containers: u32,
}

/// A container that breaks the policy.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offender {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID: a pod recreated under its name is a new subject.
    pub uid: String,
    /// The container's name.
    pub container: String,
    /// The workload that owns the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadRef>,
    /// `DialPerCall`, `ConnectionLeak`, `IdleChannelResidue`, `ConnectionChurn`, `KeepaliveRejected`,
    /// `TargetUnreachable` or `MemoryLeakElsewhere`.
    pub diagnosis: String,
    /// How sure the trend test is, in percent.
    pub confidence: f64,
    /// Since when.
    pub since: Time,
    /// The evidence in one sentence.
    pub message: String,
    /// The figures behind it.
    pub figures: Figures,
    /// Whether the newest evaluation could not judge it or missed it, so that the last known finding stands.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub standing: bool,
    /// What the newest looks saw, the newest last: `C` sure enough for a restart, `A` for an alert, `S` for a
    /// suspicion, `-` nothing. Two of three must agree before anything is said or done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub looks: String,
    /// When the newest of these looks was taken, as of the last write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<Time>,
    /// When the container started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// Whether two looks have agreed once. It stays until the finding ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirmed: bool,
    /// What was done about it, what a dry run would do, and what was held back and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remediations: Vec<RemediationStatus>,
}

/// The controller that owns a pod, at the top of the chain.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRef {
    /// For example `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// The figures behind a finding, rounded to two digits. What could not be measured is absent.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Figures {
    /// Connections open now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_connections: Option<f64>,
    /// Growth of open connections per hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_per_hour: Option<f64>,
    /// Calls made per connection opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_per_connection: Option<f64>,
    /// Connections that were left open for every 1,000 calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaked_per_thousand_calls: Option<f64>,
    /// Goroutines now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goroutines: Option<f64>,
    /// Growth of goroutines per hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goroutines_per_hour: Option<f64>,
    /// Memory in use now, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<f64>,
    /// Growth of memory per hour, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes_per_hour: Option<f64>,
    /// Memory growth divided by connection growth, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_connection: Option<f64>,
    /// The container's memory limit, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<f64>,
    /// When memory may reach the limit: the soonest plausible time from now, for example `3h20m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_limit_soonest: Option<String>,
    /// When memory will reach the limit if it goes on like this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_limit: Option<String>,
    /// When memory will reach the limit at the latest plausible time: with the soonest, four of five true times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_limit_latest: Option<String>,
    /// Until when a restart is in time, counted from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_by: Option<String>,
}

/// One step of the ladder for one offender.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemediationStatus {
    /// `Annotate`, `Alert` or `Restart`.
    pub remediation: String,
    /// What became of it.
    pub state: RemediationState,
    /// Why it was withheld or failed, one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// The same in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// A restart's approval, where one is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalStatus>,
}

/// `Done`, `WouldDo` (dry run), `Withheld` (with a reason) or `Failed` (it was tried).
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemediationState {
    /// It was done.
    Done,
    /// A dry run would do it.
    WouldDo,
    /// It was not done, on purpose.
    Withheld,
    /// It was tried and did not succeed.
    Failed,
}

/// Containers that could not be judged for one reason.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InconclusiveGroup {
    /// The reason, one word.
    pub reason: String,
    /// How many containers.
    pub containers: u32,
    /// One of them, with the details.
    pub example: String,
}

/// An alert that was sent. There is one per workload and container, however many pods offend.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertRecord {
    /// The workload's namespace.
    pub namespace: String,
    /// The workload, or the pod itself when nothing owns it.
    pub workload: WorkloadRef,
    /// The container's name.
    pub container: String,
    /// The diagnosis when it began to fire; part of the alert's identity.
    pub diagnosis: String,
    /// The `severity` label when it began to fire; part of the alert's identity.
    pub severity: String,
    /// The evidence in one sentence, as last sent.
    pub summary: String,
    /// The call sites that hold most leaked channels, as last sent, at most 3.
    #[schemars(length(max = 3))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<SiteRecord>,
    /// The stored profile that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// That a restart waits for a person's approval, and how to give it, as last sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// What restarts of it have cost and brought so far, as last sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<String>,
    /// Since when it fires.
    pub starts_at: Time,
    /// The summary that stands for it, when it began with many others. It is then not sent by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collapsed: Option<CollapsedAlert>,
    /// Whether an Alertmanager has taken it. A restart waits for that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delivered: bool,
    /// When it was resolved. Absent while it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Time>,
}

/// The summary that stands for alerts that began together. Each of them holds it, so that whoever takes over goes on with
/// the same one.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CollapsedAlert {
    /// Since when the summary fires.
    pub since: Time,
    /// The summary's `severity` label: the highest of the alerts that it stands for.
    pub severity: String,
}

/// A workload that carries our annotations.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnnotatedWorkload {
    /// The workload's namespace.
    pub namespace: String,
    /// The workload.
    pub workload: WorkloadRef,
}

/// A profile of an offender, or why there is none.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProfileRecord {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID.
    pub uid: String,
    /// The container's name.
    pub container: String,
    /// When it was asked for.
    pub taken_at: Time,
    /// The heap profile's name on the operator's shelf: `/profiles/NAME` on its loopback port 8081.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The operator pod that has it. The file goes with that pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_by: Option<String>,
    /// How many channels the process holds that nobody closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<f64>,
    /// How many samples say who made them. With fewer than 30 the profile is taken again as the finding grows older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<f64>,
    /// The call sites that hold most of them, at most 3.
    #[schemars(length(max = 3))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<SiteRecord>,
    /// Why there is no profile, or why it names nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A line of code that makes channels and does not close them.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SiteRecord {
    /// The function.
    pub function: String,
    /// Its file, as the compiler was given it, and the line: `handlers/orders.go:28`.
    pub line: String,
    /// How many channels it holds.
    pub channels: f64,
    /// What they take in the heap, bytes.
    pub bytes: f64,
    /// How sure it is that it leaks, percent.
    pub confidence: f64,
}
