//! The ranking of clients: who holds the connections that a server suffers from. Series go in, a ranking comes out, the
//! heaviest client first.
//!
//! A client is a workload, or a pod that nobody owns. It is told of by one source only, the one that tells of most of
//! its pods, and among equals the better one: what two sources say is never added up. Nothing here judges whether a
//! client leaks ([`super::assess`] does) or acts; whoever stands out is named so that a person looks there first.

mod rogue;
mod server;
mod tally;
mod target;
#[cfg(test)]
mod tests;

pub use rogue::{Habit, Rogue};
pub use server::Server;
pub use target::means;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Serialize;

use crate::{
    decide::{
        Matrix, Sample, Workload, lineage,
        stats::{self, Trend},
    },
    signals::{Caveat, ClientSource, Destination, Figure, Toward},
};
use tally::{Tally, Who, tally};

/// The confidence of a slope's interval, which is not shown.
const CONFIDENCE: f64 = 0.95;

/// What one source told.
#[derive(Clone, Debug)]
pub struct Told {
    /// The source.
    pub source: ClientSource,
    /// Its answers: a point at each step, the same times for all series.
    pub figures: BTreeMap<Figure, Matrix>,
}

/// Who owns a pod, by the pod's namespace and name.
pub type Owners = BTreeMap<(String, String), Workload>;

/// All clients of a Service that somebody tells of.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ranking {
    /// The clients, the heaviest first: by the connections they had in the whole time, those that were closed included.
    pub clients: Vec<Client>,
    /// Connections held now by all of them.
    pub held: f64,
    /// By how many that rises per hour, if that is known.
    pub growth_per_hour: Option<f64>,
    /// Who stands out, what does not end by itself first. Usually nobody does.
    pub rogues: Vec<Rogue>,
    /// Series that were left out because they hold values which cannot be measured.
    pub odd_series: usize,
}

/// One client.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// Its namespace.
    pub namespace: String,
    /// Its kind: `Deployment`, …, or `Pod` when nothing is known to own the pod. `None`: the source names a workload
    /// without its kind.
    pub kind: Option<String>,
    /// Its name.
    pub name: String,
    /// Its pods, the heaviest first. Empty: the source does not tell of pods.
    pub pods: Vec<Holder>,
    /// Who told.
    pub source: &'static str,
    /// Whether the figures are the connections of this client to this Service and nothing else.
    pub exact: bool,
    /// Connections held now.
    pub held: f64,
    /// Connections opened per hour. `None`: nobody counts them.
    pub opened_per_hour: Option<f64>,
    /// By how many the connections held rise per hour; negative when they fall. `None`: too few points.
    pub growth_per_hour: Option<f64>,
    /// RPCs per connection opened. `None`: one of them is not known, or none was opened.
    pub calls_per_connection: Option<f64>,
    /// Its share of all connections held, 0 to 1.
    pub share: f64,
    /// Connections that were open at some time: those held at first and those opened since.
    pub had: f64,
    /// Why the figures are not exact.
    #[serde(skip)]
    pub caveat: Option<Caveat>,
    /// How sure it is that the connections of one pod rise on average: the p-value of [`stats::trend`].
    #[serde(skip)]
    pub p_value: Option<f64>,
}

/// A pod of a client.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The pod's name.
    pub pod: String,
    /// Connections it holds now.
    pub held: f64,
    /// Connections it had: held at first, and opened since.
    pub had: f64,
}

/// Whether any source told of a client of the destination.
#[must_use]
pub fn is_known(told: &[Told], destination: &Destination) -> bool {
    told.iter().any(|it| !tally(it, destination).0.is_empty())
}

/// Namespace and name of every pod that is told of as a client.
#[must_use]
pub fn pods(told: &[Told], destination: &Destination) -> Vec<(String, String)> {
    let whose = told.iter().flat_map(|it| tally(it, destination).0.into_keys());
    let mut pods: Vec<(String, String)> = whose
        .filter_map(|it| match it {
            Who::Pod { namespace, pod } => Some((namespace, pod)),
            Who::Workload { .. } => None,
        })
        .collect();
    pods.sort();
    pods.dedup();
    pods
}

/// What is known besides the series.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The Service.
    pub destination: &'a Destination,
    /// The names of the pods behind it. Empty: not known.
    pub behind: &'a BTreeSet<String>,
    /// Who owns the clients' pods.
    pub owners: &'a Owners,
}

impl Known<'_> {
    fn serves(&self, who: &Who) -> bool {
        match who {
            Who::Pod { namespace, pod } => namespace == self.destination.namespace() && self.behind.contains(pod),
            Who::Workload { .. } => false,
        }
    }
}

/// Ranks the clients of a destination by what was told of them in the last `span`. `told` is in order of preference.
///
/// Where no target is known the server's own pods are left out, and if they are not known either, nobody is accused: it
/// might be the server itself.
#[must_use]
pub fn rank(told: &[Told], known: Known<'_>, span: Duration) -> Ranking {
    let Known { destination, behind, owners } = known;
    let mut odd_series = 0;
    let mut tally = |it: &Told| {
        let (mut tallies, odd) = tally(it, destination);
        odd_series += odd;
        if it.source.toward == Toward::Unknown {
            tallies.retain(|who, _| !known.serves(who));
        }
        tallies
    };
    let tallies: Vec<BTreeMap<Who, Tally>> = told.iter().map(&mut tally).collect();
    let workloads: Vec<&Who> = tallies.iter().flat_map(BTreeMap::keys).collect();
    let mut best: BTreeMap<Key, Client> = BTreeMap::new();
    for (told, tallies) in told.iter().zip(&tallies) {
        for (key, members) in by_client(tallies, owners, &workloads) {
            let client = client(&told.source, &key, &members, reach(tallies));
            let known = best.get(&key);
            if known.is_none_or(|it| is_better(&client, it)) {
                let kind = client.kind.clone().or_else(|| known?.kind.clone());
                best.insert(key, Client { kind, ..client });
            }
        }
    }
    let mut ranking = ranking(best.into_values().collect(), odd_series);
    ranking.rogues = rogue::all(&ranking.clients, span.as_secs_f64() / 3_600.0, !behind.is_empty());
    ranking
}

/// Whether a later source tells more of a client than an earlier one.
fn is_better(later: &Client, earlier: &Client) -> bool {
    later.exact && !earlier.exact || later.exact == earlier.exact && later.pods.len() > earlier.pods.len()
}

/// A client's namespace, whether it is a pod that nobody owns, and its name.
type Key = (String, bool, String);

/// The figures of one member of a client, its pod's name if the source tells of pods, and its owner.
struct Member<'a> {
    pod: Option<&'a str>,
    kind: Option<String>,
    tally: &'a Tally,
}

fn by_client<'a>(
    tallies: &'a BTreeMap<Who, Tally>,
    owners: &Owners,
    workloads: &[&Who],
) -> BTreeMap<Key, Vec<Member<'a>>> {
    let mut clients: BTreeMap<Key, Vec<Member<'_>>> = BTreeMap::new();
    for (who, tally) in tallies {
        let (key, pod, kind) = match who {
            Who::Workload { namespace, name } => ((namespace.clone(), false, name.clone()), None, None),
            Who::Pod { namespace, pod } => {
                let owner = owners.get(&(namespace.clone(), pod.clone()));
                let named = || workloads.iter().find_map(|it| owner_by_name(namespace, pod, it));
                let key = match (owner, named()) {
                    // A CronJob is named by whoever names it; its Jobs are new ones each time.
                    (Some(Workload { kind, .. }), Some(name)) if kind == "Job" => (namespace.clone(), false, name),
                    (Some(owner), _) => (namespace.clone(), false, owner.name.clone()),
                    (None, Some(name)) => (namespace.clone(), false, name),
                    (None, None) => (namespace.clone(), true, pod.clone()),
                };
                let alone = key.1.then(|| "Pod".to_owned());
                (key, Some(pod.as_str()), owner.map(|it| it.kind.clone()).or(alone))
            }
        };
        clients.entry(key).or_default().push(Member { pod, kind, tally });
    }
    clients
}

/// The workload that a mesh names and whose pods are called like this one: its controller made the pod's name.
fn owner_by_name(namespace: &str, pod: &str, workload: &Who) -> Option<String> {
    let Who::Workload { namespace: of, name } = workload else { return None };
    let made_by = |kind: &str| {
        let workload = Workload { namespace: of.clone(), kind: kind.to_owned(), name: name.clone() };
        lineage::revision_of(pod, &workload).is_some()
    };
    (of == namespace && ["Deployment", "StatefulSet", "DaemonSet"].into_iter().any(made_by)).then(|| name.clone())
}

/// What is known of one client by one source.
fn client(source: &ClientSource, key: &Key, members: &[Member<'_>], (start, end): (f64, f64)) -> Client {
    let known = |of: fn(&Tally) -> Option<f64>| members.iter().filter_map(|it| of(it.tally)).reduce(|a, b| a + b);
    let (opened, calls) = (known(|it| it.opened), known(|it| it.calls));
    let holder = |it: &Member<'_>| {
        let pod = it.pod?.to_owned();
        Some(Holder { pod, held: it.tally.held_at(end)?, had: it.tally.had(start) })
    };
    let mut pods: Vec<Holder> = members.iter().filter_map(holder).collect();
    pods.sort_by(|a, b| b.had.total_cmp(&a.had).then_with(|| a.pod.cmp(&b.pod)));
    let held = added(members.iter().map(|it| it.tally.held.as_slice()));
    // More pods hold more connections; a habit shows in each of them.
    let now: Vec<f64> = members.iter().filter_map(|it| it.tally.held_at(end)).collect();
    // Who is gone holds nothing and grows no more; what it opened it has opened.
    let lives = !now.is_empty();
    let of_all = trend(&held, |sum, _| sum).filter(|_| lives);
    let of_each = trend(&held, |sum, count| sum / count).filter(|_| lives);
    Client {
        namespace: key.0.clone(),
        kind: members.iter().find_map(|it| it.kind.clone()),
        name: key.2.clone(),
        pods,
        source: source.name,
        exact: source.caveat.is_none(),
        caveat: source.caveat,
        held: now.iter().fold(0.0, |sum, it| sum + it),
        opened_per_hour: opened.filter(|_| end > start).map(|it| it / (end - start) * 3_600.0),
        growth_per_hour: of_all.map(|it| it.slope.per_second * 3_600.0),
        calls_per_connection: calls.zip(opened).filter(|(_, it)| *it > 0.0).map(|(calls, opened)| calls / opened),
        share: 0.0,
        had: members.iter().map(|it| it.tally.had(start)).sum(),
        p_value: of_each.map(|it| it.p_value),
    }
}

/// The sums of several runs at each of their times: time, sum, and how many runs have a point there.
fn added<'a>(runs: impl Iterator<Item = &'a [Sample]>) -> Vec<(f64, f64, f64)> {
    let mut sums: BTreeMap<u64, (f64, f64, f64)> = BTreeMap::new();
    for sample in runs.flatten() {
        let sum = sums.entry(sample.at.to_bits()).or_insert((sample.at, 0.0, 0.0));
        (sum.1, sum.2) = (sum.1 + sample.value, sum.2 + 1.0);
    }
    sums.into_values().collect()
}

fn trend(held: &[(f64, f64, f64)], value: impl Fn(f64, f64) -> f64) -> Option<Trend> {
    let at: Vec<f64> = held.iter().map(|it| it.0).collect();
    let values: Vec<f64> = held.iter().map(|it| value(it.1, it.2)).collect();
    stats::trend(&at, &values, CONFIDENCE)
}

/// The first and the last time of whatever a source told.
fn reach(tallies: &BTreeMap<Who, Tally>) -> (f64, f64) {
    let times = || tallies.values().flat_map(|it| &it.held).map(|it| it.at);
    (times().fold(f64::INFINITY, f64::min), times().fold(f64::NEG_INFINITY, f64::max))
}

fn ranking(mut clients: Vec<Client>, odd_series: usize) -> Ranking {
    let held: f64 = clients.iter().map(|it| it.held).sum();
    for client in &mut clients {
        client.share = if held > 0.0 { client.held / held } else { 0.0 };
    }
    // What counts sockets counts those of a large server as well; only how they grow says something.
    let weight = |it: &Client| if it.exact { it.had } else { it.growth_per_hour.unwrap_or(f64::NEG_INFINITY) };
    clients.sort_by(|a, b| {
        let names = |it: &Client| (it.namespace.clone(), it.name.clone());
        (b.exact.cmp(&a.exact)).then(weight(b).total_cmp(&weight(a))).then_with(|| names(a).cmp(&names(b)))
    });
    let growth_per_hour = clients.iter().filter_map(|it| it.growth_per_hour).reduce(|a, b| a + b);
    Ranking { clients, held, growth_per_hour, rogues: Vec::new(), odd_series }
}
