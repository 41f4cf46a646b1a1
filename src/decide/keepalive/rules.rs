//! The rules: which pairs of a client and a server break connections, and which are unwise. A remark names the values
//! of both sides, the options that set them, what follows, and what to change.

use std::{fmt, time::Duration};

use super::{
    Client, DEFAULT_TIMEOUT, MINUTE, Pings, Server, WITHOUT_PERMISSION,
    names::{self, ClientNames, ServerNames},
    quarrel::Quarrel,
    words,
};
use crate::api::{LoadBalancing, print_duration};

/// An answer that is waited for no longer than this: several round trips, and once the time in which TCP sends a lost
/// packet again.
const SHORT_TIMEOUT: Duration = Duration::from_secs(2);

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Connections will be closed, or what is declared cannot be read.
    Error,
    /// It works, and is unwise.
    Warning,
}

impl Severity {
    /// For output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// An annotation cannot be read.
    Unreadable,
    /// The client pings without calls, which the server does not permit.
    WithoutStreamNotPermitted,
    /// The client pings more often than the server permits.
    TooOften,
    /// The implementation makes more of `time` than what is set.
    TimeRaised,
    /// Something is set that has no effect without `time`.
    TimeMissing,
    /// The client pings more than once a minute.
    Frequent,
    /// The client pings without calls, and may.
    WithoutStream,
    /// An answer is waited for only briefly.
    TimeoutShort,
    /// An answer is waited for longer than the time between two pings.
    TimeoutLong,
    /// A load balancer forgets connections before either side closes them.
    Forgotten,
    /// Connections have an age, and calls on them no end.
    AgeWithoutGrace,
    /// Calls may be cut off when their connection has reached its age.
    GraceTooShort,
    /// The server closes idle connections, and the client makes them again at once.
    IdleWithRoundRobin,
}

impl Rule {
    /// All rules, in the order in which they are told.
    pub const ALL: [Self; 13] = [
        Self::Unreadable,
        Self::WithoutStreamNotPermitted,
        Self::TooOften,
        Self::TimeRaised,
        Self::TimeMissing,
        Self::Frequent,
        Self::WithoutStream,
        Self::TimeoutShort,
        Self::TimeoutLong,
        Self::Forgotten,
        Self::AgeWithoutGrace,
        Self::GraceTooShort,
        Self::IdleWithRoundRobin,
    ];

    /// How bad it is to break it.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Unreadable | Self::WithoutStreamNotPermitted | Self::TooOften => Severity::Error,
            _ => Severity::Warning,
        }
    }

    /// Its name in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "Unreadable",
            Self::WithoutStreamNotPermitted => "WithoutStreamNotPermitted",
            Self::TooOften => "TooOften",
            Self::TimeRaised => "TimeRaised",
            Self::TimeMissing => "TimeMissing",
            Self::Frequent => "Frequent",
            Self::WithoutStream => "WithoutStream",
            Self::TimeoutShort => "TimeoutShort",
            Self::TimeoutLong => "TimeoutLong",
            Self::Forgotten => "Forgotten",
            Self::AgeWithoutGrace => "AgeWithoutGrace",
            Self::GraceTooShort => "GraceTooShort",
            Self::IdleWithRoundRobin => "IdleWithRoundRobin",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A broken rule, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Which.
    pub rule: Rule,
    /// The values of both sides and the options that set them.
    pub message: String,
    /// What follows.
    pub consequence: String,
    /// What to change.
    pub advice: String,
}

/// What is said when a rule is broken: message, consequence, advice.
type Said = Option<(String, String, String)>;

/// Both sides, and what they call their options.
struct Pair<'a> {
    client: &'a Client,
    server: &'a Server,
    pings: Option<Pings>,
    of_client: ClientNames,
    of_server: ServerNames,
}

/// Compares a client with its server, errors first. A server of which nothing is known sets nothing; of a client of
/// which nothing is known nothing is said.
#[must_use]
pub fn check(client: Option<&Client>, server: Option<&Server>) -> Vec<Remark> {
    let (known, nothing) = (client.is_some(), (Client::default(), Server::default()));
    let (client, server) = (client.unwrap_or(&nothing.0), server.unwrap_or(&nothing.1));
    let of_client = names::of_client(client);
    let pair = Pair { client, server, pings: client.pings(), of_client, of_server: names::of_server(server) };
    let said = [
        (Rule::WithoutStreamNotPermitted, pair.without_stream_not_permitted()),
        (Rule::TooOften, pair.too_often()),
        (Rule::TimeRaised, pair.time_raised()),
        (Rule::TimeMissing, pair.time_missing()),
        (Rule::Frequent, pair.frequent()),
        (Rule::WithoutStream, pair.without_stream()),
        (Rule::TimeoutShort, pair.timeout_short()),
        (Rule::TimeoutLong, pair.timeout_long()),
        (Rule::Forgotten, pair.forgotten()),
        (Rule::AgeWithoutGrace, pair.age_without_grace()),
        (Rule::GraceTooShort, pair.grace_too_short()),
        (Rule::IdleWithRoundRobin, pair.idle_with_round_robin()),
    ];
    let remark = |(rule, said): (Rule, Said)| {
        let (message, consequence, advice) = said?;
        Some(Remark { rule, message, consequence, advice })
    };
    said.into_iter().filter(|(rule, _)| known || *rule == Rule::AgeWithoutGrace).filter_map(remark).collect()
}

impl Pair<'_> {
    fn quarrel(&self, pings: &Pings, needed: Duration, idle: bool) -> String {
        let language = self.client.language;
        Quarrel::of(language, pings.every, needed).sentence(language, idle)
    }

    fn without_stream_not_permitted(&self) -> Said {
        let pings = self.pings.filter(|it| it.every < WITHOUT_PERMISSION)?;
        if !self.client.pings_without_stream() || self.server.permits_without_stream() {
            return None;
        }
        let option = self.of_client.without_stream;
        let message = format!(
            "{}, also without calls ({option} true); {}",
            words::pings(self.client, &pings),
            words::without_stream(self.server)
        );
        let other = self.of_server.without_stream.map(|it| format!(", or {it} to true"));
        let advice = format!("set {option} to false{}", other.unwrap_or_default());
        Some((message, self.quarrel(&pings, WITHOUT_PERMISSION, true), advice))
    }

    fn too_often(&self) -> Said {
        let permitted = self.server.permits();
        let pings = self.pings.filter(|it| it.every < permitted)?;
        let message = format!("{}; {}", words::pings(self.client, &pings), words::permits(self.server));
        let advice = format!(
            "set {} to at least {}, or {} to at most {}",
            self.of_client.time,
            print_duration(permitted),
            self.of_server.min_time,
            print_duration(pings.every)
        );
        Some((message, self.quarrel(&pings, permitted, false), advice))
    }

    fn time_raised(&self) -> Said {
        let pings = self.pings.filter(|it| it.differ() && self.client.chose_time())?;
        let (time, every) = (self.of_client.time, print_duration(pings.every));
        Some(match pings.set {
            None => (
                format!("{time} is not set, and something else of ClientParameters is: grpc-go raises 0 to {every}"),
                format!("the client pings every {every}, although nobody asked for pings"),
                format!("set {time}, or leave ClientParameters out"),
            ),
            Some(set) => (
                format!("{time} {} is raised to {every}", print_duration(set)),
                "what the code says is not what runs".to_owned(),
                format!("set {time} to {every} or more"),
            ),
        })
    }

    fn time_missing(&self) -> Said {
        if self.client.time.is_some() || self.pings.is_some() || !self.client.sets_something_else() {
            return None;
        }
        let ClientNames { time, timeout, without_stream } = &self.of_client;
        let consequence = match self.client.language {
            None => "the client sends no pings; in Go it would send one every 10s",
            Some(_) => "the client sends no pings",
        };
        Some((
            format!("{timeout} or {without_stream} is set, and {time} is not"),
            consequence.to_owned(),
            format!("set {time}, or leave the others out"),
        ))
    }

    fn frequent(&self) -> Said {
        // Who pings too often for the server is told what that permits, and nothing else.
        let unwise = |it: &Pings| (self.server.permits()..MINUTE).contains(&it.every);
        let pings = self.pings.filter(|it| unwise(it) && self.client.chose_time())?;
        Some((
            format!("{}, more than once a minute", words::pings(self.client, &pings)),
            "every silent connection costs its server that much; gRPC's guide advises against less than a minute"
                .to_owned(),
            format!("set {} to 60s or more, unless something in between forgets sooner", self.of_client.time),
        ))
    }

    fn without_stream(&self) -> Said {
        let pings = self.pings?;
        if !self.client.pings_without_stream() || self.without_stream_not_permitted().is_some() {
            return None;
        }
        let option = self.of_client.without_stream;
        let may = if self.server.permits_without_stream() { "the server permits it" } else { "the server bears it" };
        Some((
            format!("{}, also without calls ({option} true), and {may}", words::pings(self.client, &pings)),
            "connections that nobody uses are pinged, and kept in every device in between, for ever".to_owned(),
            format!("set {option} to false, unless the first call after a long silence may not wait"),
        ))
    }

    fn timeout_short(&self) -> Said {
        self.pings?;
        let timeout = self.client.sets_timeout().filter(|it| *it < SHORT_TIMEOUT)?;
        Some((
            format!("{} is {}", self.of_client.timeout, print_duration(timeout)),
            "one lost packet, or a short pause of the server, ends the connection and its calls".to_owned(),
            format!("set it to several round trips at least; the default is {}", print_duration(DEFAULT_TIMEOUT)),
        ))
    }

    fn timeout_long(&self) -> Said {
        let pings = self.pings.filter(|_| self.client.chose_time())?;
        let timeout = self.client.sets_timeout().filter(|it| *it > pings.every)?;
        let found = print_duration(pings.every.saturating_add(timeout));
        Some((
            format!(
                "{} is {}, longer than the time between two pings: {}",
                self.of_client.timeout,
                print_duration(timeout),
                words::pings(self.client, &pings)
            ),
            format!("a dead connection is noticed only after {found}, however often the client pings"),
            format!("set {} to no more than {}", self.of_client.timeout, self.of_client.time),
        ))
    }

    fn forgotten(&self) -> Said {
        let forgets = self.server.load_balancer_idle_timeout?;
        let closed_before = self.server.max_connection_idle.is_some_and(|it| it <= forgets);
        if closed_before || self.pings.is_some_and(|it| it.every < forgets) {
            return None;
        }
        let ours = self.pings.map_or("the client sends no pings".to_owned(), |it| words::pings(self.client, &it));
        let closes = self.server.max_connection_idle.map_or("never".to_owned(), print_duration_after);
        let (idle, forgets) = (self.of_server.idle, print_duration(forgets));
        Some((
            format!(
                "{ours}; the load balancer forgets a silent connection after {forgets} (loadBalancerIdleTimeout), and \
                 the server closes it {closes} ({idle})"
            ),
            "the next call on such a connection fails, or waits until the system gives up".to_owned(),
            format!("set {idle}, or else {}, below {forgets}", self.of_client.time),
        ))
    }

    fn age_without_grace(&self) -> Said {
        let age = self.server.max_connection_age?;
        if self.server.max_connection_age_grace.is_some() {
            return None;
        }
        let ServerNames { age: option, grace, .. } = &self.of_server;
        Some((
            format!("{option} is {}, and {grace} is not set", print_duration(age)),
            "a connection with a call that does not end is never closed".to_owned(),
            format!("set {grace} to a little more than the longest call"),
        ))
    }

    fn grace_too_short(&self) -> Said {
        self.server.max_connection_age?;
        let grace = self.server.max_connection_age_grace?;
        let longest = self.client.longest_call.filter(|it| *it > grace)?;
        let (option, longest) = (self.of_server.grace, print_duration(longest));
        Some((
            format!("calls take up to {longest} (longestCall), and {option} is {}", print_duration(grace)),
            format!("calls are cut off whenever a connection reaches its age ({})", self.of_server.age),
            format!("set {option} to more than {longest}, or end calls sooner"),
        ))
    }

    fn idle_with_round_robin(&self) -> Said {
        let idle = self.server.max_connection_idle?;
        if self.client.load_balancing != Some(LoadBalancing::RoundRobin) {
            return None;
        }
        Some((
            format!("{} is {}, and the client uses round_robin", self.of_server.idle, print_duration(idle)),
            "round_robin makes a connection that the server closed again at once, for ever: the limit frees nothing \
             that is leaked, and costs a handshake each time; pick_first would stay idle"
                .to_owned(),
            "close channels that are not used, or use pick_first where one connection is enough".to_owned(),
        ))
    }
}

fn print_duration_after(duration: Duration) -> String {
    format!("after {}", print_duration(duration))
}
