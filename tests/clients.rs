//! The ranking of clients on pages of metrics in exactly the exporters' formats (`tests/pages/`): each source alone
//! finds the same rogue, and together each client is told of once. Beside it, the command as people run it.

#[path = "clients/cluster.rs"]
mod cluster;
#[path = "clients/page.rs"]
mod page;
#[path = "clients/wire.rs"]
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use grpc_hygiene::{
    decide::{
        Matrix, Series, Workload,
        clients::{Client, Habit, Known, Owners, Ranking, Told, rank},
    },
    signals::{Address, Destination, MatchOp, Metric, client_sources},
};

const HOUR: Duration = Duration::from_secs(3_600);

fn users() -> Destination {
    let addresses = ["10.96.7.20:443", "10.244.1.5:8443", "10.244.2.6:8443"];
    let addresses = addresses.map(|it| Address::parse(it).expect(it));
    Destination::new("shop", "users").expect("good names").with_addresses(addresses)
}

/// Whether a backend would find the series when it is asked for the metric.
fn finds(metric: &Metric, series: &Series) -> bool {
    let label = |name: &str| series.labels.get(name).unwrap_or_default();
    metric.names.contains(&label("__name__"))
        && metric.matchers.iter().all(|(name, op, value)| (label(name) == *value) == (*op == MatchOp::Equal))
}

/// What each source tells of these series.
fn told(all: &[Series]) -> Vec<Told> {
    let told = client_sources().into_iter().map(|source| {
        let found = |metric: &Metric| Matrix {
            series: all.iter().filter(|it| finds(metric, it)).cloned().collect(),
            warnings: Vec::new(),
        };
        let figures = source.figures.iter().map(|(figure, metric)| (*figure, found(metric))).collect();
        Told { source, figures }
    });
    told.collect()
}

fn owners() -> Owners {
    let owner = |namespace: &str, kind: &str, name: &str, pod: &str| {
        let workload = Workload { namespace: namespace.into(), kind: kind.into(), name: name.into() };
        ((namespace.to_owned(), pod.to_owned()), workload)
    };
    BTreeMap::from([
        owner("shop", "Deployment", "orders", "orders-5967f54959-klmnl"),
        owner("shop", "Deployment", "orders", "orders-5967f54959-x2x4q"),
        owner("web", "Deployment", "web", "web-6c8d9f7b5d-9sxzt"),
        owner("jobs", "StatefulSet", "sync", "sync-0"),
    ])
}

fn ranked(series: &[Series]) -> Ranking {
    ranked_for(&users(), series, &owners())
}

fn ranked_for(destination: &Destination, series: &[Series], owners: &Owners) -> Ranking {
    rank(&told(series), Known { destination, behind: &BTreeSet::new(), owners }, HOUR)
}

/// Client, source, pods, and connections held.
fn rows(ranking: &Ranking) -> Vec<(String, &str, usize, f64)> {
    let name = |it: &Client| format!("{}/{}", it.namespace, it.name);
    ranking.clients.iter().map(|it| (name(it), it.source, it.pods.len(), it.held)).collect()
}

fn row<'a>(name: &str, source: &'a str, pods: usize, held: f64) -> (String, &'a str, usize, f64) {
    (name.to_owned(), source, pods, held)
}

/// Who stands out and whether it is by a rise of about so many per hour.
fn assert_orders_grow_by(ranking: &Ranking, expected: f64) {
    let rogue = ranking.rogues.first().expect("somebody stands out");
    assert_eq!((ranking.clients[rogue.place].name.as_str(), rogue.name.as_str()), ("orders", "orders"));
    let Habit::Grows { per_hour, others } = rogue.habit else { panic!("not by a rise: {rogue:?}") };
    assert!((per_hour - expected).abs() < 0.01 * expected && others < 1.0, "{rogue:?}");
}

#[test]
fn the_clients_own_metrics_tell_who_holds_who_opens_and_for_how_many_calls() {
    let ranking = ranked(&page::open_telemetry());
    let expected = [
        row("shop/orders", "OpenTelemetry", 2, 640.0),
        row("jobs/sync", "OpenTelemetry", 1, 1.0),
        row("web/web", "OpenTelemetry", 1, 2.0),
    ];
    assert_eq!(rows(&ranking), expected, "who opened 240 in the hour comes before who holds two");
    assert_orders_grow_by(&ranking, 585.0);
    let calls = |place: usize| ranking.clients[place].calls_per_connection.map(|it| (it * 10.0).round() / 10.0);
    assert_eq!([calls(0), calls(1), calls(2)], [Some(3.3), Some(1.0), None], "web opened none");
    assert_eq!(ranking.clients[0].opened_per_hour, Some(585.0));
    assert_eq!(ranking.clients[0].pods[0].pod, "orders-5967f54959-klmnl", "the heaviest pod first");
    assert!((ranking.clients[0].share - 640.0 / 643.0).abs() < 1e-9 && ranking.held == 643.0);
}

#[test]
fn coroot_tells_of_connections_to_the_service_and_to_its_endpoints_and_of_no_others() {
    let ranking = ranked(&page::coroot());
    let expected = [
        row("shop/orders", "Coroot", 2, 640.0),
        row("shop/nightly", "Coroot", 0, 1.0),
        row("web/web", "Coroot", 1, 2.0),
    ];
    let mut found = rows(&ranking);
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let mut expected = expected.to_vec();
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found, expected, "not Prometheus, which scrapes the endpoint at another port");
    assert_orders_grow_by(&ranking, 585.0);
}

#[test]
fn linkerd_tells_of_the_application_s_side_of_the_proxy() {
    let ranking = ranked(&page::linkerd());
    assert_eq!(rows(&ranking), [row("shop/orders", "Linkerd", 1, 330.0), row("web/web", "Linkerd", 1, 2.0)]);
    assert_orders_grow_by(&ranking, 300.0);
}

#[test]
fn without_an_address_linkerd_tells_who_is_a_client_and_accuses_nobody_by_shared_connections() {
    let by_name = Destination::new("shop", "users").expect("good names");
    let ranking = ranked_for(&by_name, &page::linkerd(), &owners());
    let expected = [row("shop/orders", "LinkerdUpstream", 1, 2.0), row("web/web", "LinkerdUpstream", 1, 1.0)];
    let mut found = rows(&ranking);
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found, expected);
    assert!(ranking.rogues.is_empty() && ranking.clients.iter().all(|it| !it.exact));
}

#[test]
fn ztunnels_are_added_up_and_the_server_s_end_of_a_connection_is_not_counted_again() {
    let by_name = Destination::new("shop", "users").expect("good names");
    let ranking = ranked_for(&by_name, &page::istio(), &Owners::new());
    assert_eq!(rows(&ranking), [row("shop/orders", "Istio", 0, 640.0), row("web/web", "Istio", 0, 2.0)]);
    assert_orders_grow_by(&ranking, 585.0);
}

#[test]
fn a_client_that_four_sources_know_is_listed_once_by_the_best() {
    let all = [page::istio(), page::linkerd(), page::coroot(), page::open_telemetry()].concat();
    for owners in [owners(), Owners::new()] {
        let ranking = ranked_for(&users(), &all, &owners);
        let sources: BTreeMap<&str, &str> = ranking.clients.iter().map(|it| (it.name.as_str(), it.source)).collect();
        let expected = [("orders", "OpenTelemetry"), ("web", "OpenTelemetry"), ("nightly", "Coroot")];
        for (name, source) in expected {
            assert_eq!(sources.get(name), Some(&source), "{sources:?}");
        }
        assert_eq!(ranking.clients.len(), 4, "{:?}", rows(&ranking));
        assert_orders_grow_by(&ranking, 585.0);
    }
}
