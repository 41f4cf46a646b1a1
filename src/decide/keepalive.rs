//! Keepalive: how often a client pings, how often its server permits it, and whether the two agree. What is declared
//! by a policy or by annotations is taken at its word; nothing here knows what really runs.
//!
//! The rules are those of gRFC [A8] (client and enforcement) and [A9] (age and idleness), with what the
//! implementations make of them. [`Declaration::remarks`] compares, [`Declaration::told`] puts it in a few words for a
//! finding. Durations are whole seconds, as in policies.
//!
//! [A8]: https://github.com/grpc/proposal/blob/master/A8-client-side-keepalive.md
//! [A9]: https://github.com/grpc/proposal/blob/master/A9-server-side-conn-mgt.md

mod annotation;
mod declared;
mod names;
mod quarrel;
mod rules;
mod words;

use std::time::Duration;

pub use declared::Declaration;
pub use rules::{Remark, Rule, Severity};

use crate::api::{ClientPreset, Language, LoadBalancing, ServerPreset};

const MINUTE: Duration = Duration::from_secs(60);
/// A8: no client pings more often.
const LEAST_TIME: Duration = Duration::from_secs(10);
/// The C core knows no such bound but that of its writer (`NextAllowedPingInterval`). Measured with grpcio 1.85: a time
/// of 2 s is not raised.
const LEAST_TIME_C_CORE: Duration = Duration::from_secs(1);
/// A8: the `PERMIT_KEEPALIVE_TIME` of a server that sets nothing.
const DEFAULT_MIN_TIME: Duration = Duration::from_secs(300);
/// A8: a server that does not permit pings without calls bears one in this time all the same.
const WITHOUT_PERMISSION: Duration = Duration::from_secs(7_200);
/// A8: the `KEEPALIVE_TIMEOUT` of a client that sets nothing.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// What a client sets. `None`: it sets nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The well-known client whose values these are, where they still are.
    pub preset: Option<ClientPreset>,
    /// The implementation. `None`: not known.
    pub language: Option<Language>,
    /// How long nothing is read before a ping is sent.
    pub time: Option<Duration>,
    /// How long the answer is waited for.
    pub timeout: Option<Duration>,
    /// Whether pings are sent while no call is running.
    pub permit_without_stream: Option<bool>,
    /// The load balancing policy.
    pub load_balancing: Option<LoadBalancing>,
    /// The longest call.
    pub longest_call: Option<Duration>,
}

/// What a server permits, and when it closes connections by itself. `None`: it sets nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// The well-known server whose values these are, where they still are.
    pub preset: Option<ServerPreset>,
    /// The implementation. `None`: not known.
    pub language: Option<Language>,
    /// The shortest permitted time between two pings.
    pub min_time: Option<Duration>,
    /// Whether pings are permitted while no call is running.
    pub permit_without_stream: Option<bool>,
    /// A connection without calls is closed after this time.
    pub max_connection_idle: Option<Duration>,
    /// Any connection is closed after this time,
    pub max_connection_age: Option<Duration>,
    /// and its calls after this time more.
    pub max_connection_age_grace: Option<Duration>,
    /// A load balancer in front of the server forgets a silent connection after this time.
    pub load_balancer_idle_timeout: Option<Duration>,
}

/// How often a client really pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pings {
    /// The time between two pings.
    pub every: Duration,
    /// What the author set it to. `None`: nothing, and the implementation pings all the same.
    pub set: Option<Duration>,
}

impl Pings {
    /// Whether it is not what the author set.
    #[must_use]
    pub fn differ(&self) -> bool {
        self.set != Some(self.every)
    }
}

impl Client {
    /// What a well-known client sets.
    #[must_use]
    pub fn of(preset: ClientPreset) -> Self {
        let go = |time, timeout| Self {
            preset: Some(preset),
            language: Some(Language::Go),
            time: Some(Duration::from_secs(time)),
            timeout: Some(Duration::from_secs(timeout)),
            permit_without_stream: Some(false),
            ..Self::default()
        };
        match preset {
            ClientPreset::GrpcDefault => Self { preset: Some(preset), ..Self::default() },
            // apiserver storagebackend/factory/etcd3.go: keepaliveTime, keepaliveTimeout.
            ClientPreset::KubeApiserver => go(30, 10),
            // etcdctl: --keepalive-time, --keepalive-timeout.
            ClientPreset::Etcdctl => go(2, 6),
        }
    }

    /// How often it pings, as its implementation makes of what is set; `None`: never.
    ///
    /// grpc-go and grpc-java raise a short time to 10 s. In grpc-go that includes the zero of a `ClientParameters` in
    /// which only something else is set (`dialoptions.go`, `WithKeepaliveParams`): the others do not ping then.
    #[must_use]
    pub fn pings(&self) -> Option<Pings> {
        let least = match self.language {
            Some(Language::Go | Language::Java) | None => LEAST_TIME,
            Some(Language::Cpp | Language::Python | Language::Ruby | Language::Php) => LEAST_TIME_C_CORE,
            Some(Language::Tonic) => Duration::ZERO,
        };
        match self.time {
            Some(time) => Some(Pings { every: time.max(least), set: Some(time) }),
            None if self.language == Some(Language::Go) && self.sets_something_else() => {
                Some(Pings { every: least, set: None })
            }
            None => None,
        }
    }

    fn sets_something_else(&self) -> bool {
        self.timeout.is_some() || self.permit_without_stream.is_some()
    }

    /// How long it waits for an answer, if it sets that. To grpc-go a zero is no value.
    fn sets_timeout(&self) -> Option<Duration> {
        self.timeout.filter(|it| self.language != Some(Language::Go) || !it.is_zero())
    }

    fn pings_without_stream(&self) -> bool {
        self.permit_without_stream == Some(true)
    }

    /// Whether `time` is the author's own choice, and not that of a program whose author is somebody else.
    fn chose_time(&self) -> bool {
        self.preset.is_none_or(|it| Self::of(it).time != self.time)
    }

    /// Field by field, what is set here, else what is set there.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        Self {
            preset: self.preset.or(other.preset),
            language: self.language.or(other.language),
            time: self.time.or(other.time),
            timeout: self.timeout.or(other.timeout),
            permit_without_stream: self.permit_without_stream.or(other.permit_without_stream),
            load_balancing: self.load_balancing.or(other.load_balancing),
            longest_call: self.longest_call.or(other.longest_call),
        }
    }
}

impl Server {
    /// What a well-known server permits.
    #[must_use]
    pub fn of(preset: ServerPreset) -> Self {
        let permits = |min_time| Self {
            preset: Some(preset),
            min_time: Some(min_time),
            permit_without_stream: Some(false),
            ..Self::default()
        };
        match preset {
            ServerPreset::GrpcDefault => permits(DEFAULT_MIN_TIME),
            // etcd server/embed/config.go: DefaultGRPCKeepAliveMinTime; the other is hard-coded in etcd.go.
            ServerPreset::Etcd => permits(Duration::from_secs(5)),
        }
    }

    /// The shortest permitted time between two pings during calls.
    #[must_use]
    pub fn permits(&self) -> Duration {
        // hyper, below tonic, counts no pings.
        let default = if self.language == Some(Language::Tonic) { Duration::ZERO } else { DEFAULT_MIN_TIME };
        self.min_time.unwrap_or(default)
    }

    /// Whether pings are permitted while no call is running.
    #[must_use]
    pub fn permits_without_stream(&self) -> bool {
        self.permit_without_stream.unwrap_or(self.language == Some(Language::Tonic))
    }

    /// Field by field, what is set here, else what is set there.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        Self {
            preset: self.preset.or(other.preset),
            language: self.language.or(other.language),
            min_time: self.min_time.or(other.min_time),
            permit_without_stream: self.permit_without_stream.or(other.permit_without_stream),
            max_connection_idle: self.max_connection_idle.or(other.max_connection_idle),
            max_connection_age: self.max_connection_age.or(other.max_connection_age),
            max_connection_age_grace: self.max_connection_age_grace.or(other.max_connection_age_grace),
            load_balancer_idle_timeout: self.load_balancer_idle_timeout.or(other.load_balancer_idle_timeout),
        }
    }
}

#[cfg(test)]
mod tests;
