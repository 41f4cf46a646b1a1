//! What is declared about keepalive, by a policy or by the annotations of a pod, and what follows from it.

use std::time::Duration;

use super::{
    Client, Server,
    rules::{Remark, Rule, Severity, check},
    words,
};
use crate::{
    api::{DurationText, KeepaliveClientSpec, KeepaliveServerSpec, KeepaliveSpec, parse_duration},
    decide::{InvalidPolicy, Policy, Target},
};

/// Both sides as far as they are declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declaration {
    /// What the client sets. `None`: nobody says.
    pub client: Option<Client>,
    /// What the server permits. `None`: nobody says, so gRPC's defaults are taken.
    pub server: Option<Server>,
    /// What could not be read of an annotation, in words. Nothing of a policy: one that cannot be read is invalid.
    pub unreadable: Vec<String>,
}

impl Declaration {
    /// Reads a policy's.
    ///
    /// # Errors
    /// A duration cannot be read; the error names the field.
    pub fn parse(spec: Option<&KeepaliveSpec>) -> Result<Self, InvalidPolicy> {
        let Some(KeepaliveSpec { client, server }) = spec else { return Ok(Self::default()) };
        Ok(Self {
            client: client.as_ref().map(parse_client).transpose()?,
            server: server.as_ref().map(parse_server).transpose()?,
            unreadable: Vec::new(),
        }
        .without_empty_sides())
    }

    /// A side of which nothing is said is not declared.
    pub(super) fn without_empty_sides(mut self) -> Self {
        self.client.take_if(|it| *it == Client::default());
        self.server.take_if(|it| *it == Server::default());
        self
    }

    /// What holds for a pod: its own annotations, and the policy where they say nothing.
    #[must_use]
    pub fn of(policy: &Policy, target: &Target) -> Self {
        match &target.keepalive {
            None => policy.keepalive.clone(),
            Some(own) => own.over(&policy.keepalive),
        }
    }

    /// Field by field, what is declared here, else what is declared there.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        let client = match (&self.client, &other.client) {
            (Some(own), Some(other)) => Some(own.over(other)),
            (own, other) => own.or(*other),
        };
        let server = match (&self.server, &other.server) {
            (Some(own), Some(other)) => Some(own.over(other)),
            (own, other) => own.or(*other),
        };
        Self { client, server, unreadable: [self.unreadable.clone(), other.unreadable.clone()].concat() }
    }

    /// Whether anything is declared at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.client.is_none() && self.server.is_none() && self.unreadable.is_empty()
    }

    /// The rules that are broken, errors first.
    #[must_use]
    pub fn remarks(&self) -> Vec<Remark> {
        let unreadable = |what: &String| Remark {
            rule: Rule::Unreadable,
            message: what.clone(),
            consequence: "this value counts as not given".to_owned(),
            advice: "write it as docs/keepalive.md shows, for example time=60s,timeout=20s,language=go".to_owned(),
        };
        let unreadable = self.unreadable.iter().map(unreadable);
        unreadable.chain(check(self.client.as_ref(), self.server.as_ref())).collect()
    }

    /// Both sides in one line.
    #[must_use]
    pub fn both(&self) -> String {
        words::both(self.client.as_ref(), self.server.as_ref())
    }

    /// The same for a client whose connections are being closed: what is known of both, and the rules they break.
    #[must_use]
    pub fn told(&self) -> String {
        // What is written there is a tenant's text, and stays out of what others read.
        let more = if self.unreadable.is_empty() { "" } else { "; an annotation of the pod cannot be read" };
        self.compared() + more
    }

    fn compared(&self) -> String {
        if self.client.is_none() && self.server.is_none() {
            return "keepalive is not declared (spec.keepalive, or annotations on the pod); by default a client sends no \
                    pings, and a server permits one every 5m, only during calls"
                .to_owned();
        }
        let errors = check(self.client.as_ref(), self.server.as_ref());
        let errors: Vec<&str> =
            errors.iter().map(|it| it.rule).filter(|it| it.severity() == Severity::Error).map(Rule::name).collect();
        match (errors.as_slice(), self.client.is_some()) {
            ([], false) => self.both(),
            ([], true) => {
                format!("{}; these agree, so something else runs, or a proxy in between permits less", self.both())
            }
            (broken, _) => format!("{} (broken: {})", self.both(), broken.join(", ")),
        }
    }
}

fn parse_client(spec: &KeepaliveClientSpec) -> Result<Client, InvalidPolicy> {
    let KeepaliveClientSpec { preset, language, time, timeout, permit_without_stream, load_balancing, longest_call } =
        spec;
    let own = Client {
        preset: *preset,
        language: *language,
        time: duration("keepalive.client.time", time.as_ref())?,
        timeout: duration("keepalive.client.timeout", timeout.as_ref())?,
        permit_without_stream: *permit_without_stream,
        load_balancing: *load_balancing,
        longest_call: duration("keepalive.client.longestCall", longest_call.as_ref())?,
    };
    Ok(own.over(&preset.map(Client::of).unwrap_or_default()))
}

fn parse_server(spec: &KeepaliveServerSpec) -> Result<Server, InvalidPolicy> {
    let KeepaliveServerSpec {
        preset,
        language,
        min_time,
        permit_without_stream,
        max_connection_idle,
        max_connection_age,
        max_connection_age_grace: grace,
        load_balancer_idle_timeout: forgets,
    } = spec;
    let own = Server {
        preset: *preset,
        language: *language,
        min_time: duration("keepalive.server.minTime", min_time.as_ref())?,
        permit_without_stream: *permit_without_stream,
        max_connection_idle: duration("keepalive.server.maxConnectionIdle", max_connection_idle.as_ref())?,
        max_connection_age: duration("keepalive.server.maxConnectionAge", max_connection_age.as_ref())?,
        max_connection_age_grace: duration("keepalive.server.maxConnectionAgeGrace", grace.as_ref())?,
        load_balancer_idle_timeout: duration("keepalive.server.loadBalancerIdleTimeout", forgets.as_ref())?,
    };
    Ok(own.over(&preset.map(Server::of).unwrap_or_default()))
}

fn duration(field: &'static str, text: Option<&DurationText>) -> Result<Option<Duration>, InvalidPolicy> {
    let parsed = text.map(|it| parse_duration(&it.0)).transpose();
    parsed.map_err(|why| InvalidPolicy { field, problem: why.to_string() })
}
