//! What people write: the two policy kinds and the fields they share.
//!
//! The doc comments here are what `kubectl explain` prints. Rules that look at more than one field are CEL, in
//! [`super::crd`]; [`crate::decide::Policy::parse`] holds the same rules for policies that never met an API server.

use k8s_openapi::apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ApprovalRule, DurationText, GrpcClientPolicyStatus, KeepaliveSpec, StandDownSpec, When, WindowSpec};

/// Watches the gRPC clients of one namespace for bad habits (a new connection per call, channels that are never
/// closed, rejected keepalive) and says, alerts or restarts as told. The default mode only says what it would do.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "grpc-hygiene.io",
    version = "v1alpha1",
    kind = "GrpcClientPolicy",
    plural = "grpcclientpolicies",
    shortname = "gcpol",
    category = "grpc-hygiene",
    namespaced,
    status = "GrpcClientPolicyStatus",
    derive = "PartialEq",
    doc = "Watches the gRPC clients of one namespace for bad habits (a new connection per call, channels that are never closed, rejected keepalive) and says, alerts or restarts as told. The default mode only says what it would do."
)]
#[serde(rename_all = "camelCase")]
pub struct GrpcClientPolicySpec {
    /// The fields shared with `ClusterGrpcClientPolicy`.
    #[serde(flatten)]
    pub rules: PolicyRules,
}

/// Like `GrpcClientPolicy`, for all namespaces that its namespace selector matches.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "grpc-hygiene.io",
    version = "v1alpha1",
    kind = "ClusterGrpcClientPolicy",
    plural = "clustergrpcclientpolicies",
    shortname = "cgcpol",
    category = "grpc-hygiene",
    status = "GrpcClientPolicyStatus",
    derive = "PartialEq",
    doc = "Like GrpcClientPolicy, for the pods of all namespaces that its namespaceSelector matches."
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterGrpcClientPolicySpec {
    /// Which namespaces are watched, by their labels. It may not be empty; to watch every namespace, say so:
    /// `matchExpressions: [{key: kubernetes.io/metadata.name, operator: Exists}]`.
    pub namespace_selector: LabelSelector,
    /// The fields shared with `GrpcClientPolicy`.
    #[serde(flatten)]
    pub rules: PolicyRules,
}

/// The fields that both policy kinds share.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRules {
    /// Which pods are watched, by their labels. Exactly one of `selector` and `allPods: true` must be given, and
    /// the selector may not be empty: empty never means everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,

    /// Watches every pod in scope. Exactly one of `selector` and `allPods: true` must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_pods: Option<bool>,

    /// What the operator may do. `DryRun` (the default) judges and says in status, events and metrics what it would
    /// do, and does none of it. `Enforce` does what `remediation` lists. `Auto` begins as a dry run and earns the rest:
    /// alerts first, restarts later, by how often it was right here.
    #[serde(default)]
    pub mode: Mode,

    /// Stops evaluation. Status keeps what was last known; alerts that fire are resolved.
    #[serde(default)]
    pub suspend: bool,

    /// How often the policy is evaluated, 5s to 1h. Shorter than `window`.
    #[serde(default = "default_interval")]
    pub interval: DurationText,

    /// The longest look back, 5m to 7d. Longer windows find slower leaks; the detector looks at shorter scales
    /// inside it by itself, so a long window does not make fast leaks late.
    #[serde(default = "default_window")]
    pub window: DurationText,

    /// How long after its start a container is not judged, while caches fill and pools are built. Shorter than
    /// `window`. Default: a tenth of `window`, at most 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<DurationText>,

    /// Where each signal is read from, by name.
    #[serde(default)]
    pub sources: SourcesSpec,

    /// When growth is worth a finding.
    #[serde(default)]
    pub thresholds: ThresholdsSpec,

    /// Where the pods serve profiles (pprof), so that the lines of code that leak can be named. Not given: no pod is
    /// ever asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profiles: Option<ProfilesSpec>,

    /// What the clients' keepalive is set to and what their server permits. The two are compared, in the status, in
    /// `check`, `explain` and `lint`, and a `KeepaliveRejected` names them. Annotations on pods win over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<KeepaliveSpec>,

    /// What follows a finding. What is not listed is not done.
    #[serde(default)]
    pub remediation: RemediationSpec,
}

/// What the operator may do. `DryRun` judges and reports only; `Enforce` does what `remediation` lists; `Auto` earns it.
/// The later one allows more.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mode {
    /// Says what it would do and does none of it.
    #[default]
    DryRun,
    /// Does of it what it has shown to be right about.
    Auto,
    /// Does what `remediation` lists.
    Enforce,
}

/// Where each signal is read from: `Auto` (the best source that has data for the pods), a name from the catalog
/// (see the guide on metric sources), or a custom source that the administrator defined for this namespace.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SourcesSpec {
    /// Client connections that are open now. Catalog: `OpenTelemetry`, `KubeletSockets`; by name only: `Coroot`.
    #[schemars(length(min = 1, max = 63))]
    pub open_connections: String,
    /// Client connections opened since start. Catalog: `OpenTelemetry`.
    #[schemars(length(min = 1, max = 63))]
    pub connections_opened: String,
    /// Connection attempts that failed since start. Catalog: `OpenTelemetry`.
    #[schemars(length(min = 1, max = 63))]
    pub connections_failed: String,
    /// RPCs started by the client since start. Catalog: `OpenTelemetry`, `GoGrpcMiddleware`.
    #[schemars(length(min = 1, max = 63))]
    pub calls: String,
    /// Memory in use, bytes. Catalog: `KubeletWorkingSet`, `KubeletRss`, `Process`.
    #[schemars(length(min = 1, max = 63))]
    pub memory: String,
    /// The container's memory limit, bytes. Catalog: `Api` (the pod's own spec), `KubeStateMetrics`, `KubeletSpec`.
    #[schemars(length(min = 1, max = 63))]
    pub memory_limit: String,
    /// Goroutines. Catalog: `GoRuntime`, `OpenTelemetryGo`.
    #[schemars(length(min = 1, max = 63))]
    pub goroutines: String,
    /// Open file descriptors. Catalog: `Process`, `KubeletDescriptors`.
    #[schemars(length(min = 1, max = 63))]
    pub file_descriptors: String,
    /// Connections that the server closed because of too many keepalive pings, since start. Catalog:
    /// `OpenTelemetry`.
    #[schemars(length(min = 1, max = 63))]
    pub keepalive_violations: String,
}

impl Default for SourcesSpec {
    fn default() -> Self {
        let auto = || "Auto".to_owned();
        Self {
            open_connections: auto(),
            connections_opened: auto(),
            connections_failed: auto(),
            calls: auto(),
            memory: auto(),
            memory_limit: auto(),
            goroutines: auto(),
            file_descriptors: auto(),
            keepalive_violations: auto(),
        }
    }
}

/// When growth is worth a finding.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ThresholdsSpec {
    /// A client that makes fewer calls than this per connection it opens has a connection habit. A shared client
    /// makes thousands; one leaking call site of ten makes ten.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub calls_per_connection: u32,
    /// Open connections must have grown by at least this many within the scale that shows the growth.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connection_growth: u32,
    /// Memory growth matters when the forecast reaches the container's limit within this time, 1m to 30d.
    pub time_to_memory_limit: DurationText,
    /// How sure the trend test must be, in percent, 90 to 99.999.
    #[schemars(range(min = 90.0, max = 99.999))]
    pub confidence: f64,
}

impl Default for ThresholdsSpec {
    fn default() -> Self {
        Self { calls_per_connection: 20, connection_growth: 12, time_to_memory_limit: "7d".into(), confidence: 99.9 }
    }
}

/// Where pods serve profiles. A pod's annotation `grpc-hygiene.io/pprof: PORT` or `PORT/PATH` says it for that pod.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProfilesSpec {
    /// The port: a number, or the name of a port of the container. A container without a port of that name is not
    /// asked, unless the pod's annotation names one.
    #[schemars(schema_with = "int_or_string")]
    pub port: IntOrString,
    /// The path that pprof's pages are below.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^/[A-Za-z0-9._~/-]*$"))]
    pub path: String,
    /// How the pod is reached. `Auto` (the default) asks its address and, where the network does not let us, the API
    /// server's pod proxy. `PodIP` and `ApiServer` try one way only.
    pub through: Through,
}

impl Default for ProfilesSpec {
    fn default() -> Self {
        Self {
            port: IntOrString::String("pprof".to_owned()),
            path: "/debug/pprof".to_owned(),
            through: Through::default(),
        }
    }
}

/// How a pod is reached for its profile: `Auto`, `PodIP` or `ApiServer`.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Through {
    /// By its address, and else through the API server.
    #[default]
    Auto,
    /// By its address.
    #[serde(rename = "PodIP")]
    PodIp,
    /// Through the API server's pod proxy.
    ApiServer,
}

/// What follows a finding, as a ladder: each step waits for its own `after`, counted from the finding's beginning.
/// A restart needs an alert.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemediationSpec {
    /// Writes the diagnosis on the pod and on its workload as annotations, and removes them when it is clean again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotate: Option<AnnotateSpec>,
    /// Sends an alert to the Alertmanagers that the administrator configured, and resolves it when it is clean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<AlertSpec>,
    /// Restarts the offender. Needs `alert`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartSpec>,
}

/// Annotating the pod and its workload.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AnnotateSpec {
    /// How long the finding must stand first, 0s to 7d.
    pub after: DurationText,
}

impl Default for AnnotateSpec {
    fn default() -> Self {
        Self { after: "0s".into() }
    }
}

/// Alerting the people on call.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AlertSpec {
    /// How long the finding must stand first, 0s to 7d. Not shorter than `annotate.after`.
    pub after: DurationText,
    /// The alert's `severity` label: `info`, `warning` (the default) or `critical`.
    pub severity: Severity,
}

impl Default for AlertSpec {
    fn default() -> Self {
        Self { after: "2m".into(), severity: Severity::Warning }
    }
}

/// The alert's `severity` label: `info`, `warning` or `critical`.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look today.
    Warning,
    /// Worth waking someone.
    Critical,
}

impl Severity {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Restarting the offender, one at a time by default and never against a PodDisruptionBudget.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartSpec {
    /// How long the finding must stand first, 0s to 7d. Not shorter than `alert.after`.
    pub after: DurationText,
    /// `Evict` evicts the offending pod, `Rollout` restarts the whole workload by its own strategy, `Auto` (the
    /// default) evicts when other replicas can carry the load and rolls out otherwise. Where Argo CD or Flux may take a
    /// rollout back, `Auto` evicts the pod of a `DaemonSet`, too.
    pub method: RestartMethod,
    /// The shortest time between two restarts of one workload, 1m to 7d.
    pub cooldown: DurationText,
    /// The most restarts of one workload in any 24 hours.
    #[schemars(range(min = 1, max = 100))]
    pub max_per_day: u32,
    /// How many pods of a workload may be unavailable while we restart, counting those that are unavailable for
    /// other reasons: a number of at least 1, or a percentage of the replicas (rounded down, at least 1).
    #[schemars(schema_with = "int_or_string")]
    pub max_unavailable: IntOrString,
    /// Whether a workload with fewer than two replicas may be restarted, `false` by default. With `true` it is rolled
    /// out if the rollout starts the new pod first; where it does not, only `method: Evict` accepts the gap.
    pub allow_single_replica: bool,
    /// Whether pods of a `DaemonSet` may be restarted, `false` by default: no other replica carries the load of a node's own.
    pub allow_daemon_sets: bool,
    /// Whether a heap profile must be stored first, for a restart destroys the proof. `BestEffort` (the default) tries
    /// once, if the policy has `profiles`; `Required` waits for one until memory is about to run out; `None` does not
    /// try for a restart's sake.
    pub evidence: EvidenceRule,
    /// When restarts may be made, at most 16 windows; not given: at any time. Outside of them a restart is withheld, even
    /// where memory runs out before the next one begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub windows: Option<Vec<WindowSpec>>,
    /// `Quietest` (the default) waits for the allowed moment at which the fewest calls are to be expected, as long as
    /// memory leaves time for it; without a day of load behind it a restart does not wait. `Now` never waits.
    pub when: When,
    /// Whether a person has to approve: `None` (the default), `First` the first restart of a workload's revision for a
    /// diagnosis, `Always` each. `grpc-hygiene approve` says yes.
    pub approval: ApprovalRule,
    /// Alerts that stop restarts while they fire, or while nobody can say whether they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stand_down: Option<StandDownSpec>,
}

/// Whether a profile is stored before a restart: `Required`, `BestEffort` or `None`.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EvidenceRule {
    /// No restart without one while there is time.
    Required,
    /// One is tried for.
    #[default]
    BestEffort,
    /// It does not matter.
    None,
}

impl Default for RestartSpec {
    fn default() -> Self {
        Self {
            after: "10m".into(),
            method: RestartMethod::Auto,
            cooldown: "1h".into(),
            max_per_day: 3,
            max_unavailable: IntOrString::Int(1),
            allow_single_replica: false,
            allow_daemon_sets: false,
            evidence: EvidenceRule::default(),
            windows: None,
            when: When::default(),
            approval: ApprovalRule::default(),
            stand_down: None,
        }
    }
}

/// How a restart is done: `Auto`, `Evict` or `Rollout`.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartMethod {
    /// Evicts when other replicas can carry the load, rolls out otherwise.
    Auto,
    /// Evicts the offending pod through the eviction API.
    Evict,
    /// Restarts the workload as `kubectl rollout restart` does.
    Rollout,
}

fn default_interval() -> DurationText {
    "1m".into()
}

fn default_window() -> DurationText {
    "4d".into()
}

fn int_or_string(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"x-kubernetes-int-or-string": true})
}
