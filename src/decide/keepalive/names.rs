//! What each implementation calls its options, so that a remark names what people find in their code. Nothing else.

use super::{Client, Server};
use crate::api::{Language, ServerPreset};

/// A client's options.
pub struct ClientNames {
    /// How long nothing is read before a ping.
    pub time: &'static str,
    /// How long the answer is waited for.
    pub timeout: &'static str,
    /// Whether pings are sent without calls.
    pub without_stream: &'static str,
}

/// A server's options.
pub struct ServerNames {
    /// The shortest time between two pings.
    pub min_time: &'static str,
    /// Whether pings without calls are permitted. `None`: there is no such option.
    pub without_stream: Option<&'static str>,
    /// When a connection without calls is closed.
    pub idle: &'static str,
    /// When any connection is closed.
    pub age: &'static str,
    /// When its calls are.
    pub grace: &'static str,
}

/// A client's options by language; a policy's own words when that is not known.
pub fn of_client(client: &Client) -> ClientNames {
    match client.language {
        Some(Language::Go) => ClientNames {
            time: "ClientParameters.Time",
            timeout: "ClientParameters.Timeout",
            without_stream: "ClientParameters.PermitWithoutStream",
        },
        Some(Language::Java) => {
            ClientNames { time: "keepAliveTime", timeout: "keepAliveTimeout", without_stream: "keepAliveWithoutCalls" }
        }
        Some(Language::Cpp | Language::Python | Language::Ruby | Language::Php) => ClientNames {
            time: "grpc.keepalive_time_ms",
            timeout: "grpc.keepalive_timeout_ms",
            without_stream: "grpc.keepalive_permit_without_calls",
        },
        Some(Language::Tonic) => ClientNames {
            time: "Endpoint::http2_keep_alive_interval",
            timeout: "Endpoint::keep_alive_timeout",
            without_stream: "Endpoint::keep_alive_while_idle",
        },
        None => {
            ClientNames { time: "client time", timeout: "client timeout", without_stream: "client permitWithoutStream" }
        }
    }
}

/// A server's options by program or language; a policy's own words when neither is known.
pub fn of_server(server: &Server) -> ServerNames {
    match (server.preset, server.language) {
        (Some(ServerPreset::Etcd), _) => ServerNames {
            min_time: "--grpc-keepalive-min-time",
            without_stream: None,
            idle: "maxConnectionIdle",
            age: "maxConnectionAge",
            grace: "maxConnectionAgeGrace",
        },
        (_, Some(Language::Go)) => ServerNames {
            min_time: "EnforcementPolicy.MinTime",
            without_stream: Some("EnforcementPolicy.PermitWithoutStream"),
            idle: "ServerParameters.MaxConnectionIdle",
            age: "ServerParameters.MaxConnectionAge",
            grace: "ServerParameters.MaxConnectionAgeGrace",
        },
        (_, Some(Language::Java)) => ServerNames {
            min_time: "permitKeepAliveTime",
            without_stream: Some("permitKeepAliveWithoutCalls"),
            idle: "maxConnectionIdle",
            age: "maxConnectionAge",
            grace: "maxConnectionAgeGrace",
        },
        (_, Some(Language::Cpp | Language::Python | Language::Ruby | Language::Php)) => ServerNames {
            min_time: "grpc.http2.min_ping_interval_without_data_ms",
            without_stream: Some("grpc.keepalive_permit_without_calls"),
            idle: "grpc.max_connection_idle_ms",
            age: "grpc.max_connection_age_ms",
            grace: "grpc.max_connection_age_grace_ms",
        },
        // tonic's server enforces nothing; who declares something for one declares what stands before it.
        (_, Some(Language::Tonic)) => ServerNames {
            min_time: "server minTime",
            without_stream: Some("server permitWithoutStream"),
            idle: "server maxConnectionIdle",
            age: "Server::max_connection_age",
            grace: "Server::max_connection_age_grace",
        },
        (_, None) => ServerNames {
            min_time: "server minTime",
            without_stream: Some("server permitWithoutStream"),
            idle: "server maxConnectionIdle",
            age: "server maxConnectionAge",
            grace: "server maxConnectionAgeGrace",
        },
    }
}
