//! `grpc-hygiene clients SERVICE`: who holds the connections that a server suffers from, the heaviest client first, and
//! who stands out. Nothing is decided here: [`crate::decide::clients`] ranks.

mod table;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use jiff::Timestamp;
use kube::{Client, Config as KubeConfig};
use serde::Serialize;

use super::backend::backend;
use crate::{
    api::parse_duration,
    args::{BackendArgs, ClientsArgs, Output},
    decide::clients::{Known, Ranking, Server, Told, rank},
    io::clients::{Place, Question, ask, owners, place, sockets},
    signals::{Address, Destination, Scope},
};

/// Somebody stands out.
const ROGUE: u8 = 1;
/// Nobody is known to be a client.
const UNKNOWN: u8 = 2;
/// What may be looked back at: fewer points tell no trend, and nobody keeps metrics for much longer.
const SINCE: std::ops::RangeInclusive<Duration> = Duration::from_secs(300)..=Duration::from_secs(7 * 86_400);
/// A cluster that does not answer for so long is done without.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was found out, as it is printed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The Service, `namespace/name`.
    service: String,
    /// How far back was looked, seconds.
    since_seconds: u64,
    /// The server's own side, if its pods are known and their sockets are counted.
    server: Option<Server>,
    #[serde(flatten)]
    ranking: Ranking,
    /// What is missing or in doubt.
    notes: Vec<String>,
}

/// Prints the ranking, and says whether somebody stands out.
///
/// # Errors
/// A flag's value cannot work, there is no such Service, or the metrics backend cannot be asked.
pub async fn clients(args: &ClientsArgs) -> anyhow::Result<ExitCode> {
    let span = parse_duration(&args.since).with_context(|| format!("--since {:?}", args.since))?;
    if !SINCE.contains(&span) {
        bail!("--since {:?}: choose from 5m to 7d", args.since);
    }
    let within = match args.from.as_slice() {
        [] => None,
        from => Some(Scope::new(from.iter().cloned()).context("--from")?),
    };
    let given = args.addresses.iter().map(|it| Address::parse(it)).collect::<Result<Vec<_>, _>>()?;
    let BackendArgs { prometheus, config } = &args.backend;
    let (prometheus, _) = backend(prometheus.as_deref(), config.as_deref(), "give --prometheus or --config").await?;

    let cluster = Cluster::of(args).await;
    let mut notes = cluster.notes;
    let namespace = args.namespace.clone().or(cluster.namespace);
    let namespace = namespace.context("--namespace: name the Service's; there is no kubeconfig that says which")?;
    let destination = Destination::new(&namespace, &args.service)?.with_addresses(given);
    let Place { addresses, pods, .. } = resolved(&destination, cluster.client.as_ref(), &mut notes).await?;
    let destination = destination.with_addresses(addresses);
    if destination.addresses().is_empty() {
        notes.push(format!(
            "no address of {destination} is known: Coroot and Linkerd were not asked; give --address IP:PORT"
        ));
    }

    let question = Question { destination: &destination, within: within.as_ref(), span, now: Timestamp::now() };
    let asked = ask(&prometheus, question).await;
    if !asked.answered {
        bail!("no source could be asked:\n  {}", asked.notes.join("\n  "));
    }
    let (owners, doubts) = owners(cluster.client.as_ref(), &prometheus, &asked, question).await;
    notes.extend(asked.notes.iter().cloned().chain(doubts));
    let known = Known { destination: &destination, behind: &pods, owners: &owners };
    let ranking = rank(&asked.told, known, span);
    // Some namespaces' clients alone need not account for what the server sees of all.
    let server = if within.is_none() { sockets(&prometheus, &pods, question).await } else { None };
    notes.extend(caveats(&ranking, &asked.told));
    let report = Report { service: destination.to_string(), since_seconds: span.as_secs(), server, ranking, notes };
    print(args, &report)
}

fn print(args: &ClientsArgs, report: &Report) -> anyhow::Result<ExitCode> {
    let top = args.top.map_or(usize::MAX, |it| it as usize);
    match args.output {
        Output::Json => {
            let mut report = serde_json::to_value(report)?;
            if let Some(clients) = report["clients"].as_array_mut() {
                clients.truncate(top);
            }
            println!("{}", serde_json::to_string_pretty(&report)?);
        }
        Output::Table => print!("{}", table::text(report, top)),
    }
    let Ranking { clients, rogues, .. } = &report.ranking;
    Ok(match (clients.is_empty(), rogues.is_empty()) {
        (_, false) => ExitCode::from(ROGUE),
        (true, true) => ExitCode::from(UNKNOWN),
        (false, true) => ExitCode::SUCCESS,
    })
}

/// The cluster of the kubeconfig, if there is one and it may be asked.
#[derive(Default)]
struct Cluster {
    client: Option<Client>,
    namespace: Option<String>,
    notes: Vec<String>,
}

impl Cluster {
    async fn of(args: &ClientsArgs) -> Self {
        if args.offline {
            return Self::default();
        }
        let without = |why: &str| Self {
            notes: vec![format!("no Kubernetes cluster was asked ({why}): owners and addresses may be missing")],
            ..Self::default()
        };
        let Ok(mut config) = KubeConfig::infer().await else { return without("none is configured") };
        config.connect_timeout = Some(PATIENCE);
        config.read_timeout = Some(PATIENCE);
        config.default_retry = false;
        let namespace = Some(config.default_namespace.clone());
        match Client::try_from(config) {
            Ok(client) => Self { client: Some(client), namespace, notes: Vec::new() },
            Err(why) => Self { namespace, ..without(&why.to_string()) },
        }
    }
}

/// Where the API says that the destination is; nowhere when it does not say.
async fn resolved(
    destination: &Destination,
    client: Option<&Client>,
    notes: &mut Vec<String>,
) -> anyhow::Result<Place> {
    let Some(client) = client else { return Ok(Place::default()) };
    match place(client, destination).await {
        Ok(Some(place)) => {
            let only = |why: &String| format!("of {destination} only the endpoints' addresses are known: {why}");
            notes.extend(place.withheld.as_ref().map(only));
            Ok(place)
        }
        Ok(None) => bail!("there is no Service {} in namespace {}", destination.name(), destination.namespace()),
        Err(why) => {
            notes.push(format!("the Kubernetes API does not say where {destination} is: {why}"));
            Ok(Place::default())
        }
    }
}

/// What is to be said about the sources that told of somebody in the ranking.
fn caveats(ranking: &Ranking, told: &[Told]) -> Vec<String> {
    let is_used = |source: &str| ranking.clients.iter().any(|it| it.source == source);
    let caveat = |it: &Told| it.source.caveat.filter(|_| is_used(it.source.name));
    let odd = (ranking.odd_series > 0)
        .then(|| format!("{} series were left out: they hold values that cannot be measured", ranking.odd_series));
    told.iter().filter_map(caveat).map(|it| it.to_string()).chain(odd).collect()
}
