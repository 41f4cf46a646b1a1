//! Who stands out among the clients, and by what: a rise that is beyond doubt and that most others do not share,
//! connections opened for a few calls each, or many times the connections of anybody else. What all do alike is load,
//! and nobody is named for it.

use std::fmt;

use serde::Serialize;

use super::Client;
use crate::signals::Caveat;

/// Fewer connections than this are nobody's trouble.
const LEAST: f64 = 20.0;
/// So many opened in the whole time are more than restarts and idle timeouts open,
const LEAST_OPENED: f64 = 100.0;
/// when there are fewer calls for each than this; a policy's default as well.
const FEW_CALLS: f64 = 20.0;
/// A rise is beyond doubt at this p-value; a policy's default as well.
const MAX_P_VALUE: f64 = 0.001;
/// Who stands out has so many times as much in each pod as others,
const TIMES: f64 = 5.0;
/// and who holds much has more than this share of what all hold.
const MOST: f64 = 0.5;

/// A client that stands out.
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
    /// The connections it holds rise, and those of most others do not.
    Grows {
        /// By how many per hour.
        per_hour: f64,
        /// By how many those of all others rise per hour.
        others: f64,
    },
    /// It opens connections for a few calls each.
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

/// Asks for one habit of the client at a place, by what was seen in so many hours.
type Habitual = fn(&[Client], usize, f64) -> Option<Habit>;

/// All that stand out, each by the worst that is known of it: first who rises, which does not end by itself. `blind`:
/// whether somebody may be named whose target is not known.
pub fn all(clients: &[Client], hours: f64, blind: bool) -> Vec<Rogue> {
    let habits: [Habitual; 3] = [grows, opens, holds];
    let mut rogues: Vec<Rogue> = Vec::new();
    for habit in habits {
        for (place, it) in clients.iter().enumerate() {
            let may_be_named = it.caveat.is_none() || blind && it.caveat == Some(Caveat::NoTarget);
            let is_named = rogues.iter().any(|it| it.place == place);
            if let Some(habit) = habit(clients, place, hours).filter(|_| may_be_named && !is_named) {
                rogues.push(Rogue { namespace: it.namespace.clone(), name: it.name.clone(), place, habit });
            }
        }
    }
    rogues
}

fn others(clients: &[Client], place: usize) -> impl Iterator<Item = &Client> {
    clients.iter().enumerate().filter(move |(other, _)| *other != place).map(|(_, it)| it)
}

/// A figure in each pod; where pods are not told of, in all of them.
fn each(client: &Client, figure: f64) -> f64 {
    figure.max(0.0) / client.pods.len().max(1) as f64
}

fn grows(clients: &[Client], place: usize, hours: f64) -> Option<Habit> {
    let client = &clients[place];
    let of = |it: &Client| it.growth_per_hour.unwrap_or_default();
    let per_hour = of(client);
    let sure = client.p_value.is_some_and(|it| it <= MAX_P_VALUE) && per_hour * hours >= LEAST;
    // Two that leak do not hide each other, as long as they are not most of all.
    let mut of_others: Vec<f64> = others(clients, place).map(|it| each(it, of(it))).collect();
    of_others.sort_by(f64::total_cmp);
    let usual = of_others.get(of_others.len().saturating_sub(1) / 2).copied().unwrap_or_default();
    let wasteful = client.calls_per_connection.is_some_and(|it| it < FEW_CALLS);
    (sure && (wasteful || each(client, per_hour) >= TIMES * usual))
        .then(|| Habit::Grows { per_hour, others: others(clients, place).map(|it| of(it).max(0.0)).sum() })
}

fn opens(clients: &[Client], place: usize, hours: f64) -> Option<Habit> {
    let client = &clients[place];
    let of = |it: &Client| it.opened_per_hour.unwrap_or_default();
    let (per_hour, calls_each) = (of(client), client.calls_per_connection);
    let wasteful = match calls_each {
        Some(calls) => calls < FEW_CALLS,
        None => is_out_of_line(clients, place, of),
    };
    (client.exact && per_hour * hours >= LEAST_OPENED && wasteful).then_some(Habit::Opens { per_hour, calls_each })
}

fn holds(clients: &[Client], place: usize, _: f64) -> Option<Habit> {
    let Client { held, share, exact, .. } = clients[place];
    let most = exact && held >= LEAST && share > MOST;
    (most && is_out_of_line(clients, place, |it| it.held)).then_some(Habit::Holds { held, share })
}

/// Whether nobody else has anywhere near as much in each pod. Alone, nobody is out of line.
fn is_out_of_line(clients: &[Client], place: usize, of: impl Fn(&Client) -> f64) -> bool {
    let most = others(clients, place).map(|it| each(it, of(it))).reduce(f64::max);
    most.is_some_and(|most| each(&clients[place], of(&clients[place])) >= TIMES * most)
}
