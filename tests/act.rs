//! Acting, at the wire: which requests are made, in which order, and above all which are not. The API server is a fake
//! that knows resource versions and preconditions; receivers of alerts are real sockets. `cluster` asks a real one.

#[path = "act/alerts.rs"]
mod alerts;
#[path = "act/annotate.rs"]
mod annotate;
#[path = "act/approval.rs"]
mod approval;
#[path = "act/argo.rs"]
mod argo;
#[path = "act/cluster.rs"]
mod cluster;
#[path = "act/collapse.rs"]
mod collapse;
#[path = "act/evict.rs"]
mod evict;
#[path = "act/fake.rs"]
mod fake;
#[path = "act/leading.rs"]
mod leading;
#[path = "act/others.rs"]
mod others;
#[path = "act/own.rs"]
mod own;
#[path = "act/race.rs"]
mod race;
#[path = "act/real.rs"]
mod real;
#[path = "act/rollout.rs"]
mod rollout;
#[path = "act/settle.rs"]
mod settle;
#[path = "act/stopped.rs"]
mod stopped;
#[path = "act/sweep.rs"]
mod sweep;
#[path = "act/world.rs"]
mod world;
