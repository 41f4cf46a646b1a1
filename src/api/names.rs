//! Every name the product writes into a cluster: group, annotations, condition types and reasons.
//!
//! They are promises to users, so they stand in one place and are never built from parts.

/// The field manager of all our writes.
pub const FIELD_MANAGER: &str = "grpc-hygiene";
/// The annotation that `kubectl rollout restart` writes into a pod template; controllers and GitOps tools know it.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Annotation keys.
pub mod annotations {
    /// On pod and workload: the diagnosis, for example `DialPerCall`.
    pub const DIAGNOSIS: &str = "grpc-hygiene.io/diagnosis";
    /// On pod and workload: one sentence of evidence.
    pub const EVIDENCE: &str = "grpc-hygiene.io/evidence";
    /// On pod and workload: since when, RFC 3339.
    pub const SINCE: &str = "grpc-hygiene.io/since";
    /// On pod and workload: the policy that says so, `namespace/name` or `name`.
    pub const POLICY: &str = "grpc-hygiene.io/policy";
    /// On a workload or pod, written by people: `true` exempts it from restarts.
    pub const EXEMPT: &str = "grpc-hygiene.io/exempt";
    /// On a pod, written by people: what its gRPC client's keepalive is set to, `time=30s,timeout=10s,language=go`.
    pub const KEEPALIVE_CLIENT: &str = "grpc-hygiene.io/keepalive-client";
    /// On a pod, written by people: what the server that it calls permits, `minTime=5m,permitWithoutStream=false`.
    pub const KEEPALIVE_SERVER: &str = "grpc-hygiene.io/keepalive-server";
    /// On a policy, written by people: a new value asks for an evaluation now.
    pub const REQUESTED_AT: &str = "grpc-hygiene.io/requestedAt";
    /// On a policy, written by people: with a finding's digest behind it, the time (RFC 3339) until which a restart for it
    /// is approved. The operator never writes it.
    pub const APPROVED: &str = "approved.grpc-hygiene.io/";
    /// On a pod, written by people: where it serves profiles, `PORT` or `PORT/PATH`.
    pub const PPROF: &str = "grpc-hygiene.io/pprof";
    /// On a pod: the lines of code that hold leaked channels, worst first.
    pub const BLAME: &str = "grpc-hygiene.io/blame";
    /// On a pod: moved forward to invalidate an eviction that may still be in flight.
    pub const FENCE: &str = "grpc-hygiene.io/fence";

    /// The keys that describe a finding and are removed when the subject is clean.
    pub const FINDING: [&str; 5] = [DIAGNOSIS, EVIDENCE, SINCE, POLICY, BLAME];

    /// All keys that the operator writes. The admission policies of the chart let it write no other.
    pub const WRITTEN: [&str; 6] = [DIAGNOSIS, EVIDENCE, SINCE, POLICY, BLAME, FENCE];
}

/// Label keys.
pub mod labels {
    /// On a namespace, written by people: anything but `on` stops restarts in it.
    pub const RESTARTS: &str = "grpc-hygiene.io/restarts";
}

/// Condition types of a policy's status.
pub mod conditions {
    /// The policy is valid and is being evaluated with data good enough to judge.
    pub const READY: &str = "Ready";
    /// kstatus, abnormal-true: the newest generation has not been evaluated yet.
    pub const RECONCILING: &str = "Reconciling";
    /// kstatus, abnormal-true: the spec cannot work and will not heal by itself.
    pub const STALLED: &str = "Stalled";
    /// The metrics backend answers.
    pub const DATA_SOURCE_REACHABLE: &str = "DataSourceReachable";
    /// The answers are recent, complete and without warnings.
    pub const DATA_FRESH: &str = "DataFresh";
    /// At least one subject breaks the policy.
    pub const VIOLATING: &str = "Violating";
    /// The keepalive that the policy declares for clients is one that its server permits. Absent when it declares none.
    pub const KEEPALIVE_AGREED: &str = "KeepaliveAgreed";
}

/// Condition reasons.
pub mod reasons {
    /// Everything is as it should be.
    pub const SUCCEEDED: &str = "Succeeded";
    /// First sight: nothing is known yet.
    pub const PENDING: &str = "Pending";
    /// `spec.suspend` is true.
    pub const SUSPENDED: &str = "Suspended";
    /// A field's value cannot work.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// The stored object cannot be read.
    pub const UNREADABLE: &str = "Unreadable";
    /// The metrics backend does not answer or refuses.
    pub const QUERY_FAILED: &str = "QueryFailed";
    /// The Kubernetes API does not answer or refuses.
    pub const API_FAILED: &str = "ApiFailed";
    /// The answers are stale, partial or carry warnings.
    pub const DATA_INCOMPLETE: &str = "DataIncomplete";
    /// The policy matches no pod.
    pub const NO_TARGETS: &str = "NoTargets";
    /// Subjects break the policy.
    pub const OFFENDERS_FOUND: &str = "OffendersFound";
    /// Client and server break a rule of keepalive.
    pub const KEEPALIVE_CONFLICT: &str = "KeepaliveConflict";
    /// Nobody breaks the policy.
    pub const CLEAN: &str = "Clean";
}
