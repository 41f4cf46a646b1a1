//! Which metric of which exporter says what, and the PromQL that reads it. Pure: nothing here talks to a server.
//!
//! A [`Signal`] is what the detector wants to know; a [`Source`] is one exporter's way of saying it. The catalog
//! holds the sources we know; administrators add their own ([`CustomSource`]). A policy only names a source.

pub mod catalog;
mod clients;
mod custom;
mod destination;
mod label_set;
mod naming;
mod promql;

pub use clients::{Caveat, ClientNaming, ClientSource, Figure, Metric, Toward, client_sources};
pub use custom::{CustomSource, InvalidSource};
pub use destination::{Address, Destination, InvalidDestination};
pub use label_set::LabelSet;
pub use naming::{Naming, Whom, cron_job, namespace_of, whom_of};
pub use promql::{
    InvalidQuery, Scope, bucket_query, client_queries, parse_promql, range_query, server_queries, verify,
};

use serde::{Deserialize, Serialize};

/// What the detector wants to know about a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Signal {
    /// Connections open now. Unit: connections.
    OpenConnections,
    /// Client connections opened since start. Unit: connections, counter.
    ConnectionsOpened,
    /// Connection attempts that failed since start. Unit: attempts, counter.
    ConnectionsFailed,
    /// RPCs started by the client since start. Unit: calls, counter.
    Calls,
    /// RPCs received by the container's own server since start: tells clients from servers. Unit: calls, counter.
    CallsServed,
    /// Memory in use. Unit: bytes.
    Memory,
    /// The container's memory limit. Unit: bytes.
    MemoryLimit,
    /// Goroutines. Unit: goroutines.
    Goroutines,
    /// Open file descriptors. Unit: descriptors.
    FileDescriptors,
    /// Connections closed by the server with `ENHANCE_YOUR_CALM` since start. Unit: connections, counter.
    KeepaliveViolations,
    /// When the container started. Unit: Unix seconds.
    StartTime,
    /// How often the container was restarted. Unit: restarts, counter.
    Restarts,
    /// Who owns the pod: the labels say it, and the value is 1.
    PodOwner,
    /// Who owns the ReplicaSet: the labels say it, and the value is 1.
    ReplicaSetOwner,
}

impl Signal {
    /// All signals, in reading order.
    pub const ALL: [Self; 14] = [
        Self::OpenConnections,
        Self::ConnectionsOpened,
        Self::ConnectionsFailed,
        Self::Calls,
        Self::CallsServed,
        Self::Memory,
        Self::MemoryLimit,
        Self::Goroutines,
        Self::FileDescriptors,
        Self::KeepaliveViolations,
        Self::StartTime,
        Self::Restarts,
        Self::PodOwner,
        Self::ReplicaSetOwner,
    ];

    /// What describes a container rather than measures it. Inside a cluster the Kubernetes API says it better.
    pub const DESCRIPTIVE: [Self; 5] =
        [Self::MemoryLimit, Self::StartTime, Self::Restarts, Self::PodOwner, Self::ReplicaSetOwner];

    /// Its name, as it stands in status and in the operator's configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenConnections => "OpenConnections",
            Self::ConnectionsOpened => "ConnectionsOpened",
            Self::ConnectionsFailed => "ConnectionsFailed",
            Self::Calls => "Calls",
            Self::CallsServed => "CallsServed",
            Self::Memory => "Memory",
            Self::MemoryLimit => "MemoryLimit",
            Self::Goroutines => "Goroutines",
            Self::FileDescriptors => "FileDescriptors",
            Self::KeepaliveViolations => "KeepaliveViolations",
            Self::StartTime => "StartTime",
            Self::Restarts => "Restarts",
            Self::PodOwner => "PodOwner",
            Self::ReplicaSetOwner => "ReplicaSetOwner",
        }
    }

    /// Whether it only grows, and falls to zero when the process starts again.
    #[must_use]
    pub const fn is_counter(self) -> bool {
        matches!(
            self,
            Self::ConnectionsOpened
                | Self::ConnectionsFailed
                | Self::Calls
                | Self::CallsServed
                | Self::KeepaliveViolations
        )
    }
}

/// Which labels of a series say whom it is about. The first label that is present counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Labels {
    /// The label that holds the namespace; queries are pinned by it.
    pub namespace: String,
    /// The label that holds the pod's name.
    pub pod: String,
    /// The label that holds the container's name. A series without it is about the pod's only container.
    pub container: String,
}

impl Default for Labels {
    fn default() -> Self {
        Self { namespace: "namespace".into(), pod: "pod".into(), container: "container".into() }
    }
}

/// Who measured: decides whether the pod's owner could have written the figure himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// The node's kubelet, or the Kubernetes API behind kube-state-metrics.
    Platform,
    /// The application. It counts as a witness only when it was scraped from the pod's own address.
    Application,
}

/// How several series of one container are read as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The series differ only in these metric labels (method, target, …) and are added up. Series that differ in
    /// anything else are duplicates.
    SumOver(&'static [&'static str]),
    /// Each series is one incarnation of the container, told apart by these labels; the newest counts.
    NewestOf(&'static [&'static str]),
    /// One series per container; more are duplicates.
    One,
}

/// One exporter's way of saying one signal.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its name in policies and status.
    pub name: String,
    /// What it says.
    pub signal: Signal,
    /// The PromQL instant selectors, without namespace and range, that it is read by. They are alternatives: a
    /// container has series under at most one of them.
    pub query: Query,
    /// How its series say whom they are about.
    pub naming: Naming,
    /// Who measured.
    pub witness: Witness,
    /// How several series are read as one.
    pub merge: Merge,
    /// Whether the figure counts inbound connections, too.
    pub direction_blind: bool,
}

/// How a source is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Metric names (alternatives, as different exporters spell them) and matchers.
    Selector {
        /// Metric names.
        metrics: &'static [&'static str],
        /// Matchers: label, operator, value.
        matchers: &'static [(&'static str, MatchOp, &'static str)],
    },
    /// An administrator's PromQL: an instant vector expression.
    Custom(String),
}

/// A label matcher's operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
}
