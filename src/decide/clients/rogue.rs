//! Who stands out among the clients, and by what: a rise that is beyond doubt and that others do not share, connections
//! opened for a few calls each, or many times the connections of anybody else. When nobody does, nobody is named.

use std::fmt;

use serde::Serialize;

use super::Client;

/// Fewer connections than this are nobody's trouble.
const LEAST: f64 = 20.0;
/// So many opened in the whole time are more than restarts and idle timeouts open,
const LEAST_OPENED: f64 = 100.0;
/// when there are fewer calls for each than this; a policy's default as well.
const FEW_CALLS: f64 = 20.0;
/// A rise is beyond doubt at this p-value; a policy's default as well.
const MAX_P_VALUE: f64 = 0.001;
/// Who stands out has more than this share of what all have,
const MOST: f64 = 0.5;
/// and so many times as much in each pod as anybody else.
const TIMES: f64 = 5.0;

/// The client that stands out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rogue {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its place in the ranking, from 0.
    pub place: usize,
    /// By what.
    pub habit: Habit,
}

/// By what a client stands out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Habit {
    /// The connections it holds rise, and more than those of all others together.
    Grows {
        /// By how many per hour.
        per_hour: f64,
        /// By how many those of all others rise per hour.
        others: f64,
    },
    /// It opens connections for a few calls each, more than all others together.
    Opens {
        /// How many per hour.
        per_hour: f64,
        /// For how many calls each; `None` when calls are not counted.
        calls_each: Option<f64>,
    },
    /// It holds more connections than all others together, and many more in each pod.
    Holds {
        /// How many.
        held: f64,
        /// Its share of all, 0 to 1.
        share: f64,
    },
}

impl fmt::Display for Habit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grows { per_hour, others } => {
                write!(f, "what it holds rises by {per_hour:.0} per hour, what all others hold by {others:.0}")
            }
            Self::Opens { per_hour, calls_each: Some(calls) } => {
                write!(f, "it opens {per_hour:.0} connections per hour, one per {calls:.1} calls")
            }
            Self::Opens { per_hour, calls_each: None } => {
                write!(f, "it opens {per_hour:.0} connections per hour, many times more per pod than any other")
            }
            Self::Holds { held, share } => write!(
                f,
                "it holds {held:.0} connections, {:.0} % of all, and many times more per pod than any other",
                share * 100.0
            ),
        }
    }
}

/// Finds the one that stands out, if one does. A rise is asked for first: it is what does not end by itself. `blind`:
/// whether somebody may be named whose target is not known.
pub fn find(clients: &[Client], hours: f64, blind: bool) -> Option<Rogue> {
    let rogue =
        |place, it: &Client, habit| Rogue { namespace: it.namespace.clone(), name: it.name.clone(), place, habit };
    let who = |habit: &dyn Fn(usize, &Client) -> Option<Habit>| {
        let named = |(place, it): (usize, &Client)| {
            (blind || it.exact).then(|| habit(place, it)).flatten().map(|by| rogue(place, it, by))
        };
        clients.iter().enumerate().find_map(named)
    };
    who(&|place, it| grows(clients, place, it, hours))
        .or_else(|| who(&|place, it| opens(clients, place, it, hours)))
        .or_else(|| who(&|place, it| holds(clients, place, it)))
}

/// What all others have of a figure, negative figures left out.
fn others(clients: &[Client], place: usize, of: impl Fn(&Client) -> f64) -> f64 {
    clients.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, it)| of(it).max(0.0)).sum()
}

fn is_most(mine: f64, others: f64) -> bool {
    mine > MOST * (mine + others)
}

/// Whether nobody else has anywhere near as much in each pod. Alone, nobody has.
fn is_out_of_line(clients: &[Client], place: usize, of: impl Fn(&Client) -> f64) -> bool {
    let each = |it: &Client| of(it) / it.pods.len().max(1) as f64;
    let most = clients.iter().enumerate().filter(|(other, _)| *other != place).map(|(_, it)| each(it)).reduce(f64::max);
    most.is_some_and(|most| each(&clients[place]) >= TIMES * most)
}

fn grows(clients: &[Client], place: usize, client: &Client, hours: f64) -> Option<Habit> {
    let of = |it: &Client| it.growth_per_hour.unwrap_or_default();
    let (per_hour, others) = (of(client), others(clients, place, of));
    let sure = client.p_value.is_some_and(|it| it <= MAX_P_VALUE) && per_hour * hours >= LEAST;
    (sure && is_most(per_hour, others)).then_some(Habit::Grows { per_hour, others })
}

fn opens(clients: &[Client], place: usize, client: &Client, hours: f64) -> Option<Habit> {
    let of = |it: &Client| it.opened_per_hour.unwrap_or_default();
    let (per_hour, calls_each) = (of(client), client.calls_per_connection);
    let wasteful = match calls_each {
        Some(calls) => calls < FEW_CALLS,
        None => is_out_of_line(clients, place, of),
    };
    let most = client.exact && per_hour * hours >= LEAST_OPENED && is_most(per_hour, others(clients, place, of));
    (most && wasteful).then_some(Habit::Opens { per_hour, calls_each })
}

fn holds(clients: &[Client], place: usize, client: &Client) -> Option<Habit> {
    let Client { held, share, .. } = *client;
    let most = client.exact && held >= LEAST && is_most(held, others(clients, place, |it| it.held));
    (most && is_out_of_line(clients, place, |it| it.held)).then_some(Habit::Holds { held, share })
}
