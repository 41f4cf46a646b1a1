//! What people write about keepalive: the field `keepalive` of a policy, and the words that stand in the annotations
//! of pods as well. Nothing is compared here; [`crate::decide::keepalive`] does that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DurationText;

/// What clients set and what their server permits. Both sides are optional, and so is every value of a side.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeepaliveSpec {
    /// What the clients set. Not given: nothing is known of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<KeepaliveClientSpec>,
    /// What the server that they call permits. Not given: gRPC's defaults, a ping every 5m and only during calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<KeepaliveServerSpec>,
}

/// What a client sets.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeepaliveClientSpec {
    /// The well-known client whose values count where none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<ClientPreset>,
    /// The implementation of gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// How long nothing is read before a ping is sent. Go: `Time`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<DurationText>,
    /// How long the answer to a ping is waited for. Go: `Timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
    /// Whether pings are sent while no call is running, too. Go: `PermitWithoutStream`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permit_without_stream: Option<bool>,
    /// The load balancing policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancing: Option<LoadBalancing>,
    /// How long the longest call takes, streams included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_call: Option<DurationText>,
}

/// What a server permits, and when it closes connections by itself.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeepaliveServerSpec {
    /// The well-known server whose values count where none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<ServerPreset>,
    /// The implementation of gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// The shortest time between two pings that the server permits. Go: `EnforcementPolicy.MinTime`. Default: 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_time: Option<DurationText>,
    /// Whether the server permits pings while no call is running. Go: `EnforcementPolicy.PermitWithoutStream`.
    /// Default: `false`, which means one in 2h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permit_without_stream: Option<bool>,
    /// After how long without calls the server closes a connection. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connection_idle: Option<DurationText>,
    /// After how long the server closes any connection. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connection_age: Option<DurationText>,
    /// How long calls may go on after that. Default: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connection_age_grace: Option<DurationText>,
    /// After how long without a packet a load balancer in front of the server forgets a connection, for example 350s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer_idle_timeout: Option<DurationText>,
}

/// A well-known client, whose values count where none is given: `grpc-default`, `kube-apiserver` (as a client of etcd)
/// or `etcdctl`.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientPreset {
    /// A client that sets nothing: no pings.
    GrpcDefault,
    /// kube-apiserver as a client of etcd: 30s and 10s, only during calls.
    KubeApiserver,
    /// etcdctl: 2s, which grpc-go raises to 10s, and 6s.
    Etcdctl,
}

/// A well-known server, whose values count where none is given: `grpc-default` or `etcd`.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerPreset {
    /// A server that sets nothing: a ping every 5m, only during calls.
    GrpcDefault,
    /// etcd as it is delivered: a ping every 5s, only during calls.
    Etcd,
}

/// An implementation of gRPC: `go`, `java`, `cpp`, `python`, `ruby`, `php` or `tonic`. It decides what becomes of a
/// client's short `time`, and which option names the remarks use. A server with `tonic` enforces nothing by itself.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// grpc-go.
    Go,
    /// grpc-java.
    Java,
    /// C++, on the C core.
    Cpp,
    /// Python, on the C core.
    Python,
    /// Ruby, on the C core.
    Ruby,
    /// PHP, on the C core.
    Php,
    /// tonic, for Rust.
    Tonic,
}

/// A client's load balancing policy: `pick_first` (gRPC's default) or `round_robin`.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadBalancing {
    /// One connection, to the first address that answers. When it is closed, the channel stays idle until a call.
    PickFirst,
    /// A connection to every address. When one is closed, it is made again at once.
    RoundRobin,
}
