//! Counts channels in a goroutine profile. Their goroutines do not say who made them, but they are all there.
//!
//! A channel of grpc-go keeps goroutines that serialise its callbacks for as long as it was not closed, connected or
//! idle: three since 1.60, two since 1.56, and one that watches its balancer before. A connection has a reader besides.

use serde::Serialize;

use super::{
    Frame, InvalidProfile, Kind, Profile, Stack,
    frames::{self, enclosing},
};

/// What a goroutine profile says of channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Census {
    /// Channels that were not closed, idle ones included.
    pub channels: f64,
    /// Connections that clients hold.
    pub connections: f64,
    /// Connections of clients to this process.
    pub inbound: f64,
    /// All goroutines.
    pub goroutines: f64,
}

impl Census {
    /// Counts.
    ///
    /// # Errors
    /// It is no goroutine profile.
    pub fn of(profile: &Profile) -> Result<Self, InvalidProfile> {
        if profile.kind != Kind::Goroutines {
            return Err(InvalidProfile::Kind("the heap, where one of goroutines is needed".to_owned()));
        }
        let with = |test: fn(&Frame) -> bool| -> f64 {
            let passes = profile.which(test);
            let has = |it: &&Stack| profile.path(it).iter().any(|it| passes[*it]);
            profile.stacks.iter().filter(has).fold(0.0, |sum, it| sum + it.objects)
        };
        let each = match frames::grpc_version(profile) {
            Some((1, minor)) if minor < 56 => 1.0,
            Some((1, minor)) if minor < 60 => 2.0,
            _ => 3.0,
        };
        let of_channels = with(|it| {
            let kinds = ["grpcsync.(*CallbackSerializer).run", "grpc.(*ccBalancerWrapper).watcher"];
            kinds.iter().any(|kind| it.function.ends_with(kind))
        });
        let connections = with(|it| enclosing(&it.function).ends_with("transport.(*http2Client).reader"));
        Ok(Self {
            channels: (of_channels / each).max(connections).round(),
            connections,
            inbound: with(|it| it.function.ends_with("transport.(*http2Server).HandleStreams")),
            goroutines: profile.stacks.iter().map(|it| it.objects).sum(),
        })
    }

    /// Channels that dropped their connection and were never closed.
    #[must_use]
    pub fn idle(&self) -> f64 {
        (self.channels - self.connections).max(0.0)
    }
}
