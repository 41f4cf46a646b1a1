//! The sources we know, with the exact names their exporters use.
//!
//! The order within a signal is the order in which `Auto` prefers them. Names were read from the exporters' sources
//! and from pages of running programs; `docs/metric-sources.md` lists them for users.

use super::{Labels, MatchOp, Merge, Naming, Query, Signal, Source, Witness, naming::CONTAINER_ID};

/// The source name that leaves the choice to the operator.
pub const AUTO: &str = "Auto";
/// The source name for what is read from the Kubernetes API itself.
pub const API: &str = "Api";

/// Labels of gRPC's own OpenTelemetry metrics (gRFC A66, A94) that split one client's figures.
pub(super) const GRPC_LABELS: &[&str] = &[
    "grpc_method",
    "grpc_target",
    "grpc_status",
    "grpc_security_level",
    "grpc_disconnect_error",
    "grpc_lb_backend_service",
    "grpc_lb_locality",
    "otel_scope_name",
    "otel_scope_version",
    "otel_scope_schema_url",
];
/// Labels of go-grpc-middleware's metrics that split one client's figures.
const MIDDLEWARE_LABELS: &[&str] = &["grpc_type", "grpc_service", "grpc_method", "grpc_code"];
/// Labels that cAdvisor changes with every incarnation of a container.
pub(super) const INCARNATION: &[&str] = &["id", "name", "image"];
/// Labels of Coroot's node agent that split one container's figures, or change when another pod of the agent takes
/// over. Its `namespace` and `job` are not among them: who writes such series elsewhere tells a story of his own.
pub(super) const COROOT_LABELS: &[&str] = &["destination", "actual_destination", "instance", "pod", "node"];
/// Leaves out cAdvisor's series about pods and cgroups.
pub(super) const CONTAINERS: &[(&str, MatchOp, &str)] =
    &[("container", MatchOp::NotEqual, ""), ("container", MatchOp::NotEqual, "POD")];

/// The catalog's sources for one signal, best first.
#[must_use]
pub fn sources(signal: Signal) -> Vec<Source> {
    match signal {
        Signal::OpenConnections => vec![
            // gRFC A94. C-core writes the unit without braces, which translators then append to the name.
            otel(signal, &["grpc_subchannel_open_connections", "grpc_subchannel_open_connections_connection"], &[]),
            coroot(signal, &["container_net_tcp_active_connections"]),
            Source { direction_blind: true, ..kubelet("KubeletSockets", signal, &["container_sockets"]) },
        ],
        Signal::ConnectionsOpened => vec![otel(
            signal,
            &[
                "grpc_subchannel_connection_attempts_succeeded_total",
                "grpc_subchannel_connection_attempts_succeeded_attempt_total",
            ],
            &[],
        )],
        Signal::ConnectionsFailed => vec![otel(
            signal,
            &[
                "grpc_subchannel_connection_attempts_failed_total",
                "grpc_subchannel_connection_attempts_failed_attempt_total",
            ],
            &[],
        )],
        Signal::KeepaliveViolations => vec![otel(
            signal,
            &["grpc_subchannel_disconnections_total", "grpc_subchannel_disconnections_disconnection_total"],
            &[("grpc_disconnect_error", MatchOp::Equal, "GOAWAY ENHANCE_YOUR_CALM")],
        )],
        Signal::Calls => vec![
            otel(signal, &["grpc_client_attempt_started_total"], &[]),
            middleware(signal, &["grpc_client_started_total"]),
        ],
        Signal::CallsServed => vec![
            otel(signal, &["grpc_server_call_started_total"], &[]),
            middleware(signal, &["grpc_server_started_total"]),
        ],
        Signal::Memory => vec![
            kubelet("KubeletWorkingSet", signal, &["container_memory_working_set_bytes"]),
            kubelet("KubeletRss", signal, &["container_memory_rss"]),
            application("Process", signal, &["process_resident_memory_bytes"]),
        ],
        Signal::MemoryLimit => vec![
            Source {
                query: Query::Selector {
                    metrics: &["kube_pod_container_resource_limits"],
                    matchers: &[("resource", MatchOp::Equal, "memory")],
                },
                ..state_metrics(signal, &[])
            },
            kubelet("KubeletSpec", signal, &["container_spec_memory_limit_bytes"]),
        ],
        Signal::Goroutines => vec![
            application("GoRuntime", signal, &["go_goroutines"]),
            application("OpenTelemetryGo", signal, &["go_goroutine_count"]),
        ],
        Signal::FileDescriptors => vec![
            application("Process", signal, &["process_open_fds"]),
            kubelet("KubeletDescriptors", signal, &["container_file_descriptors"]),
        ],
        Signal::StartTime => vec![
            state_metrics(signal, &["kube_pod_container_state_started"]),
            kubelet("KubeletSpec", signal, &["container_start_time_seconds"]),
            application("Process", signal, &["process_start_time_seconds"]),
        ],
        Signal::Restarts => vec![state_metrics(signal, &["kube_pod_container_status_restarts_total"])],
        Signal::PodOwner => vec![state_metrics(signal, &["kube_pod_owner"])],
        Signal::ReplicaSetOwner => vec![state_metrics(signal, &["kube_replicaset_owner"])],
    }
}

/// The sources that [`AUTO`] asks, best first: not those whose series name the container in a label that every tenant
/// who is scraped can write about any other. A policy's author chooses such a source by name, knowing who is scraped.
#[must_use]
pub fn automatic(signal: Signal) -> Vec<Source> {
    sources(signal).into_iter().filter(|it| !matches!(it.naming, Naming::Path(_))).collect()
}

/// Every source name that a policy may write for this signal, for error messages.
#[must_use]
pub fn names(signal: Signal) -> Vec<String> {
    let api = (signal == Signal::MemoryLimit).then(|| API.to_owned());
    [AUTO.to_owned()].into_iter().chain(api).chain(sources(signal).into_iter().map(|it| it.name)).collect()
}

type Matchers = &'static [(&'static str, MatchOp, &'static str)];

fn source(name: &str, signal: Signal, metrics: &'static [&'static str], witness: Witness, merge: Merge) -> Source {
    Source {
        name: name.to_owned(),
        signal,
        query: Query::Selector { metrics, matchers: &[] },
        naming: Labels::default().into(),
        witness,
        merge,
        direction_blind: false,
    }
}

fn otel(signal: Signal, metrics: &'static [&'static str], matchers: Matchers) -> Source {
    Source {
        query: Query::Selector { metrics, matchers },
        ..source("OpenTelemetry", signal, metrics, Witness::Application, Merge::SumOver(GRPC_LABELS))
    }
}

fn middleware(signal: Signal, metrics: &'static [&'static str]) -> Source {
    source("GoGrpcMiddleware", signal, metrics, Witness::Application, Merge::SumOver(MIDDLEWARE_LABELS))
}

/// Outbound connections of every protocol. The witness is the application, not the platform: the container stands in a
/// label that whoever is scraped can write.
fn coroot(signal: Signal, metrics: &'static [&'static str]) -> Source {
    Source {
        naming: Naming::Path(CONTAINER_ID),
        ..source("Coroot", signal, metrics, Witness::Application, Merge::SumOver(COROOT_LABELS))
    }
}

fn kubelet(name: &str, signal: Signal, metrics: &'static [&'static str]) -> Source {
    Source {
        query: Query::Selector { metrics, matchers: CONTAINERS },
        ..source(name, signal, metrics, Witness::Platform, Merge::NewestOf(INCARNATION))
    }
}

fn application(name: &str, signal: Signal, metrics: &'static [&'static str]) -> Source {
    source(name, signal, metrics, Witness::Application, Merge::One)
}

fn state_metrics(signal: Signal, metrics: &'static [&'static str]) -> Source {
    // kube-state-metrics labels its series with the pod's uid: a recreated pod is another series.
    source("KubeStateMetrics", signal, metrics, Witness::Platform, Merge::NewestOf(&["uid", "node", "unit"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_asks_nobody_whose_series_name_the_container_in_a_label_that_any_tenant_can_write() {
        let named = |sources: Vec<Source>| sources.into_iter().any(|it| it.name == "Coroot");
        assert!(!named(automatic(Signal::OpenConnections)));
        assert!(named(sources(Signal::OpenConnections)), "a policy may choose it by name");
        for signal in Signal::ALL {
            assert!(sources(signal).is_empty() || !automatic(signal).is_empty(), "{signal:?} has a source");
        }
    }
}
