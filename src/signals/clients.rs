//! Who tells which client holds connections to which server: the sources of the ranking of clients, best first.
//!
//! They are not the detector's sources. The detector judges one container by all its connections; the ranking asks for
//! the connections to one Service, and may be told of workloads or of whole pods. Names and labels were read from the
//! exporters' sources; `tests/pages/` holds pages in exactly their format.

use std::fmt;

use super::{Labels, MatchOp, Naming, catalog, naming::CONTAINER_ID};

/// Matchers of a selector: label, operator, value.
type Matchers = &'static [(&'static str, MatchOp, &'static str)];

/// What a source may tell of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Figure {
    /// Connections open now, a gauge.
    Held,
    /// Connections opened since start, a counter.
    Opened,
    /// Connections closed since start, a counter. What was opened and not closed is held.
    Closed,
    /// RPCs started since start, a counter.
    Calls,
}

/// How a figure is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Metric names: alternatives, as different exporters spell them.
    pub names: &'static [&'static str],
    /// Matchers.
    pub matchers: Matchers,
}

/// How a series names its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientNaming {
    /// It is a pod's.
    Pod(Naming),
    /// It is a workload's, named by two labels. The scrape's own `namespace` and `pod` are the proxy's.
    Workload {
        /// The label that holds the namespace.
        namespace: &'static str,
        /// The label that holds the workload's name, without its kind.
        workload: &'static str,
    },
}

/// How a series says where its connections go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    /// By a gRPC target in this label, such as `dns:///users.shop.svc:50051`.
    Target(&'static str),
    /// By `IP:PORT` in any of these labels.
    Address(&'static [&'static str]),
    /// By a Service's name and namespace in two labels.
    Service {
        /// The label that holds the name.
        name: &'static str,
        /// The label that holds the namespace.
        namespace: &'static str,
    },
    /// It does not.
    Unknown,
}

/// One exporter's way of telling who is connected to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSource {
    /// Its name, for people.
    pub name: &'static str,
    /// What it tells. The first figure is asked for first, and the others only if it has any.
    pub figures: &'static [(Figure, Metric)],
    /// Who the client is.
    pub client: ClientNaming,
    /// Where the connections go.
    pub toward: Toward,
    /// Labels in which the parts of one client's figure may differ. Series that differ in others tell it once more.
    pub parts: &'static [&'static str],
    /// Why its figures are not the client's connections to the Service alone. `None`: they are.
    pub caveat: Option<Caveat>,
}

/// Why figures are not what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caveat {
    /// They are a proxy's own connections, which the application's share.
    Shared,
    /// They are all sockets of the client, whatever they are connected to.
    NoTarget,
}

impl fmt::Display for Caveat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => {
                "LinkerdUpstream counts what the proxy opens, and the proxy shares connections: it tells who is a \
                 client, not how many connections the application holds"
            }
            Self::NoTarget => {
                "KubeletSockets knows no target: these are all sockets of the pods, inbound ones and those to others \
                 included, ranked by how they grow"
            }
        })
    }
}

const fn metric(names: &'static [&'static str], matchers: Matchers) -> Metric {
    Metric { names, matchers }
}

const OPEN_TELEMETRY: &[(Figure, Metric)] = &[
    (Figure::Held, metric(&["grpc_subchannel_open_connections", "grpc_subchannel_open_connections_connection"], &[])),
    (
        Figure::Opened,
        metric(
            &[
                "grpc_subchannel_connection_attempts_succeeded_total",
                "grpc_subchannel_connection_attempts_succeeded_attempt_total",
            ],
            &[],
        ),
    ),
    (Figure::Calls, metric(&["grpc_client_attempt_started_total"], &[])),
];

const COROOT: &[(Figure, Metric)] = &[
    (Figure::Held, metric(&["container_net_tcp_active_connections"], &[])),
    (Figure::Opened, metric(&["container_net_tcp_successful_connects_total"], &[])),
];

/// The application's side of Linkerd's outbound proxy.
const FROM_APPLICATION: Matchers = &[("direction", MatchOp::Equal, "outbound"), ("peer", MatchOp::Equal, "src")];
/// The side of Linkerd's outbound proxy that goes to the server.
const TO_SERVER: Matchers = &[("direction", MatchOp::Equal, "outbound"), ("peer", MatchOp::Equal, "dst")];

const LINKERD: &[(Figure, Metric)] = &[
    (Figure::Held, metric(&["tcp_open_connections"], FROM_APPLICATION)),
    (Figure::Opened, metric(&["tcp_open_total"], FROM_APPLICATION)),
];

const LINKERD_UPSTREAM: &[(Figure, Metric)] = &[
    (Figure::Held, metric(&["tcp_open_connections"], TO_SERVER)),
    (Figure::Opened, metric(&["tcp_open_total"], TO_SERVER)),
];

/// Both ends report a connection; the client's end is counted.
const BY_CLIENT: Matchers = &[("reporter", MatchOp::Equal, "source")];

const ISTIO: &[(Figure, Metric)] = &[
    (Figure::Opened, metric(&["istio_tcp_connections_opened_total"], BY_CLIENT)),
    (Figure::Closed, metric(&["istio_tcp_connections_closed_total"], BY_CLIENT)),
];

const SOCKETS: &[(Figure, Metric)] = &[(Figure::Held, CONTAINER_SOCKETS)];

/// All sockets of a container, whoever opened them.
pub(super) const CONTAINER_SOCKETS: Metric = metric(&["container_sockets"], catalog::CONTAINERS);

/// Labels in which the series of one Linkerd proxy differ.
const LINKERD_PARTS: &[&str] = &[
    "target_addr",
    "target_ip",
    "target_port",
    "tls",
    "no_tls_reason",
    "server_id",
    "authority",
    "dst_control_plane_ns",
    "dst_namespace",
    "dst_deployment",
    "dst_statefulset",
    "dst_daemonset",
    "dst_replicaset",
    "dst_replicationcontroller",
    "dst_k8s_job",
    "dst_pod",
    "dst_pod_template_hash",
    "dst_service",
    "dst_serviceaccount",
    "dst_zone",
    "dst_zone_locality",
];

/// Labels in which the series of one workload differ: each node's ztunnel tells of the pods on its node.
const ISTIO_PARTS: &[&str] = &[
    "instance",
    "pod",
    "node",
    "source_principal",
    "source_app",
    "source_version",
    "source_canonical_service",
    "source_canonical_revision",
    "source_cluster",
    "source_region",
    "source_zone",
    "destination_service",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_cluster",
    "destination_region",
    "destination_zone",
    "request_protocol",
    "response_flags",
    "connection_security_policy",
];

/// The sources, best first: what the client itself counts per target, what is counted per container, what a proxy
/// counts, and last what knows no target.
#[must_use]
pub fn client_sources() -> Vec<ClientSource> {
    let by_labels = || ClientNaming::Pod(Labels::default().into());
    let source =
        |name, figures, client, toward, parts| ClientSource { name, figures, client, toward, parts, caveat: None };
    vec![
        source("OpenTelemetry", OPEN_TELEMETRY, by_labels(), Toward::Target("grpc_target"), catalog::GRPC_LABELS),
        source(
            "Coroot",
            COROOT,
            ClientNaming::Pod(Naming::Path(CONTAINER_ID)),
            Toward::Address(&["destination", "actual_destination"]),
            catalog::COROOT_LABELS,
        ),
        source("Linkerd", LINKERD, by_labels(), Toward::Address(&["target_addr"]), LINKERD_PARTS),
        source(
            "Istio",
            ISTIO,
            ClientNaming::Workload { namespace: "source_workload_namespace", workload: "source_workload" },
            Toward::Service { name: "destination_service_name", namespace: "destination_service_namespace" },
            ISTIO_PARTS,
        ),
        ClientSource {
            caveat: Some(Caveat::Shared),
            ..source(
                "LinkerdUpstream",
                LINKERD_UPSTREAM,
                by_labels(),
                Toward::Service { name: "dst_service", namespace: "dst_namespace" },
                LINKERD_PARTS,
            )
        },
        ClientSource {
            caveat: Some(Caveat::NoTarget),
            ..source("KubeletSockets", SOCKETS, by_labels(), Toward::Unknown, catalog::INCARNATION)
        },
    ]
}
