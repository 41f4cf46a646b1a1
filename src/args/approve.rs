//! The flags of `approve`, and its help.

use clap::Args as Fields;

/// Shown below the flags.
pub const APPROVE_HELP: &str = "\
A policy with remediation.restart.approval withholds restarts until a person says yes (AwaitingApproval). Without a
workload or a digest, what waits is listed. With one, the evidence is shown and the approval is written on the policy, as
the annotation approved.grpc-hygiene.io/DIGEST with the time at which it ends, by the rights of your kubeconfig. It is
about this finding alone: a new revision, another diagnosis, and, with `approval: Always`, the next restart need a new one.
Approvals that have expired are removed at the same time.

Exit codes:
  0  it is approved, or revoked; of a list: nothing waits
  1  of a list: something waits
  2  there is no such policy, nothing of that name waits, or the question was wrong

Examples:
  grpc-hygiene approve shop/clients
  grpc-hygiene approve shop/clients Deployment/orders
  grpc-hygiene approve shop/clients 3fa1c0de12 --for 6h
  grpc-hygiene approve shop/clients 3fa1c0de12 --revoke
  grpc-hygiene approve everybody 3fa1c0de12           # a ClusterGrpcClientPolicy has no namespace";

/// Flags of `approve`.
#[derive(Clone, Debug, Fields)]
pub struct ApproveArgs {
    /// The policy: NAMESPACE/NAME, or the NAME of one of the cluster.
    #[arg(value_name = "[NAMESPACE/]POLICY")]
    pub policy: String,
    /// What is approved: a workload, NAME or KIND/NAME, or the digest that the status, the alert or the list names.
    #[arg(value_name = "WORKLOAD|DIGEST")]
    pub what: Option<String>,
    /// How long the approval stands, 1m to 24h.
    #[arg(long = "for", value_name = "DURATION", default_value = "1h", requires = "what")]
    pub duration: String,
    /// Take the approval back.
    #[arg(long, requires = "what", conflicts_with = "duration")]
    pub revoke: bool,
}
