//! Rankings of made-up clients: who stands out, and who only looks as if. Pages of real formats are ranked in
//! `tests/clients.rs`.

use std::collections::BTreeMap;

use super::*;
use crate::{
    decide::Series,
    signals::{Destination, client_sources},
};

const HOUR: Duration = Duration::from_secs(3_600);
const POINTS: usize = 61;

/// One pod and how its figures go from the first to the last point.
struct Pod<'a> {
    name: &'a str,
    held: &'a dyn Fn(f64) -> f64,
    opened: Option<f64>,
    calls: f64,
}

fn pod<'a>(name: &'a str, held: &'a dyn Fn(f64) -> f64) -> Pod<'a> {
    Pod { name, held, opened: None, calls: 0.0 }
}

fn series(pod: &str, labels: &[(&str, &str)], value: &dyn Fn(f64) -> f64) -> Series {
    let target = [("namespace", "shop"), ("pod", pod), ("grpc_target", "dns:///users.shop.svc:443")];
    let at = |n: usize| 60.0 * (n as f64 + 1.0);
    let sample = |n: usize| Sample { at: at(n), value: value(n as f64 / (POINTS - 1) as f64) };
    Series {
        labels: target.iter().chain(labels).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        samples: (0..POINTS).map(sample).filter(|it| it.value >= 0.0).collect(),
    }
}

fn told(pods: &[Pod<'_>]) -> Told {
    let matrix = |series: Vec<Series>| Matrix { series, warnings: Vec::new() };
    let counted = |total: f64| move |share: f64| (1_000.0 + total * share).round();
    let held = pods.iter().map(|it| series(it.name, &[], it.held)).collect();
    let opened = pods.iter().filter_map(|it| Some(series(it.name, &[], &counted(it.opened?)))).collect();
    let calls = pods.iter().map(|it| series(it.name, &[], &counted(it.calls))).collect();
    Told {
        source: client_sources().remove(0),
        figures: BTreeMap::from([
            (Figure::Held, matrix(held)),
            (Figure::Opened, matrix(opened)),
            (Figure::Calls, matrix(calls)),
        ]),
    }
}

fn users() -> Destination {
    Destination::new("shop", "users").expect("good names")
}

/// Pods belong to the Deployment that stands before the first dash.
fn ranked(pods: &[Pod<'_>]) -> Ranking {
    let owner = |it: &Pod<'_>| {
        let name = it.name.split('-').next().unwrap_or_default().to_owned();
        let workload = Workload { namespace: "shop".into(), kind: "Deployment".into(), name };
        (("shop".to_owned(), it.name.to_owned()), workload)
    };
    ranked_by(&[told(pods)], &pods.iter().map(owner).collect())
}

fn ranked_by(told: &[Told], owners: &Owners) -> Ranking {
    rank(told, Known { destination: &users(), behind: &BTreeSet::new(), owners }, HOUR)
}

fn flat(level: f64) -> impl Fn(f64) -> f64 {
    move |_| level
}

fn rising(from: f64, to: f64) -> impl Fn(f64) -> f64 {
    move |share| (from + (to - from) * share).round()
}

#[test]
fn who_alone_rises_stands_out_though_another_holds_more() {
    let (large, leak) = (flat(500.0), rising(10.0, 130.0));
    let ranking = ranked(&[pod("web-1", &large), pod("orders-1", &leak)]);
    let [rogue] = ranking.rogues.as_slice() else { panic!("orders alone: {:?}", ranking.rogues) };
    assert_eq!((ranking.clients[0].name.as_str(), rogue.place), ("web", 1));
    assert!(matches!(rogue.habit, Habit::Grows { per_hour, others } if per_hour > 115.0 && others == 0.0), "{rogue:?}");
}

#[test]
fn all_who_rise_alike_are_load_and_not_a_rogue() {
    let rise = rising(10.0, 130.0);
    let ranking = ranked(&[pod("a-1", &rise), pod("b-1", &rise), pod("c-1", &rise)]);
    assert_eq!(ranking.rogues, []);
}

#[test]
fn two_that_leak_are_both_named_and_do_not_hide_each_other() {
    let (leak, two) = (rising(10.0, 130.0), flat(2.0));
    let ranking = ranked(&[pod("a-1", &leak), pod("b-1", &leak), pod("c-1", &two), pod("d-1", &two)]);
    assert_eq!(ranking.rogues.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_large_client_rises_most_with_the_load_and_is_not_named_for_its_size() {
    let (pool, small) = (rising(2.0, 8.0), rising(2.0, 7.0));
    let names: Vec<String> = (0..50).map(|n| format!("orders-{n}")).collect();
    let mut pods: Vec<Pod<'_>> = names.iter().map(|name| pod(name, &pool)).collect();
    pods.push(pod("web-1", &small));
    let ranking = ranked(&pods);
    assert!(ranking.clients[0].growth_per_hour.is_some_and(|it| it > 200.0), "{:?}", ranking.clients[0]);
    assert_eq!(ranking.rogues, []);
}

#[test]
fn who_rises_and_opens_for_a_few_calls_each_is_named_though_all_do() {
    let leak = rising(10.0, 130.0);
    let dials = |name| Pod { opened: Some(120.0), calls: 400.0, ..pod(name, &leak) };
    let ranking = ranked(&[dials("a-1"), dials("b-1")]);
    assert_eq!(ranking.rogues.len(), 2, "{:?}", ranking.rogues);
}

#[test]
fn a_deployment_that_is_scaled_up_holds_more_and_each_pod_does_not() {
    let late = |start: f64| move |share: f64| if share < start { -1.0 } else { 2.0 };
    let starts: Vec<_> = (0..50).map(|n| late(f64::from(n) / 50.0)).collect();
    let names: Vec<String> = (0..50).map(|n| format!("orders-{n}")).collect();
    let two = flat(2.0);
    let mut pods: Vec<Pod<'_>> = names.iter().zip(&starts).map(|(name, held)| pod(name, held)).collect();
    pods.push(pod("web-1", &two));
    let ranking = ranked(&pods);
    let orders = &ranking.clients[0];
    assert!(orders.growth_per_hour.is_some_and(|it| it > 90.0) && orders.pods.len() == 50, "{orders:?}");
    assert_eq!(ranking.rogues, [], "100 connections of 50 pods are two each");
}

#[test]
fn who_is_gone_holds_nothing_and_grows_no_more() {
    let gone = |share: f64| if share > 0.5 { -1.0 } else { 10.0 + 120.0 * share };
    let two = flat(2.0);
    let ranking = ranked(&[pod("a-1", &gone), pod("web-1", &two)]);
    let a = ranking.clients.iter().find(|it| it.name == "a").expect("it is listed for what it held");
    assert_eq!((a.growth_per_hour, format!("{:.0}", a.held)), (None, "0".to_owned()));
    assert_eq!(ranking.rogues, []);
}

#[test]
fn who_dials_and_closes_per_call_stands_out_though_it_holds_next_to_nothing() {
    let (one, ten) = (flat(1.0), flat(10.0));
    let churn = Pod { opened: Some(900.0), calls: 900.0, ..pod("sync-1", &one) };
    let good = Pod { opened: Some(3.0), calls: 9_000.0, ..pod("web-1", &ten) };
    let ranking = ranked(&[churn, good]);
    assert_eq!(ranking.clients[0].name, "sync", "by what it had, not by what it holds");
    let habit = ranking.rogues[0].habit;
    assert_eq!(habit, Habit::Opens { per_hour: 900.0, calls_each: Some(1.0) });
}

#[test]
fn many_connections_for_many_calls_are_not_wasteful() {
    let ten = flat(10.0);
    let busy = Pod { opened: Some(900.0), calls: 900_000.0, ..pod("web-1", &ten) };
    let good = Pod { opened: Some(3.0), calls: 9_000.0, ..pod("orders-1", &ten) };
    assert_eq!(ranked(&[busy, good]).rogues, []);
}

#[test]
fn who_holds_many_times_more_in_each_pod_stands_out_and_who_has_many_pods_does_not() {
    let (hoard, ten, two) = (flat(400.0), flat(10.0), flat(2.0));
    let habit = ranked(&[pod("orders-1", &hoard), pod("web-1", &ten)]).rogues.first().map(|it| it.habit);
    assert!(matches!(habit, Some(Habit::Holds { held: 400.0, .. })), "{habit:?}");
    let names: Vec<String> = (0..50).map(|n| format!("orders-{n}")).collect();
    let mut pods: Vec<Pod<'_>> = names.iter().map(|name| pod(name, &two)).collect();
    pods.push(pod("web-1", &two));
    assert_eq!(ranked(&pods).rogues, []);
}

#[test]
fn the_only_client_stands_out_by_nothing_but_a_rise() {
    let (steady, leak) = (flat(400.0), rising(10.0, 400.0));
    assert_eq!(ranked(&[pod("orders-1", &steady)]).rogues, []);
    assert_eq!(ranked(&[pod("orders-1", &leak)]).rogues.len(), 1);
}

#[test]
fn a_pod_told_of_by_two_servers_is_counted_once() {
    let ten = flat(10.0);
    let mut twice = told(&[pod("orders-1", &ten)]);
    for matrix in twice.figures.values_mut() {
        let mut copies = matrix.series.clone();
        copies.iter_mut().for_each(|it| it.labels = it.labels.with("prometheus_replica", "b"));
        matrix.series.extend(copies);
    }
    assert_eq!(ranked_by(&[twice], &Owners::new()).held, 10.0);
}

#[test]
fn a_pod_that_comes_back_under_its_name_goes_on_as_the_same_client() {
    let (before, after) =
        (|share: f64| if share > 0.6 { -1.0 } else { 10.0 }, |share: f64| if share > 0.6 { 4.0 } else { -1.0 });
    let mut twice = told(&[pod("sync-0", &before), pod("sync-0", &after)]);
    for (matrix, n) in twice.figures.values_mut().flat_map(|it| it.series.iter_mut().enumerate().map(|(n, it)| (it, n)))
    {
        matrix.labels = matrix.labels.with("instance", &format!("10.0.0.{n}:80"));
    }
    let ranking = ranked_by(&[twice], &Owners::new());
    assert_eq!((ranking.held, ranking.clients.len(), ranking.clients[0].pods.len()), (4.0, 1, 1));
}

#[test]
fn a_pod_that_is_gone_holds_nothing_and_still_had_what_it_opened() {
    let (gone, two) = (|share: f64| if share > 0.5 { -1.0 } else { 50.0 }, flat(2.0));
    let ranking = ranked(&[pod("orders-1", &gone), pod("web-1", &two)]);
    let orders = &ranking.clients[0];
    assert_eq!((orders.held, orders.had, orders.pods.len()), (0.0, 50.0, 0));
    assert_eq!((ranking.held, ranking.clients[1].share), (2.0, 1.0));
}

#[test]
fn values_that_cannot_be_measured_are_left_out_and_counted() {
    let (ten, two) = (flat(10.0), flat(2.0));
    let mut told = told(&[pod("orders-1", &ten), pod("web-1", &two)]);
    if let Some(held) = told.figures.get_mut(&Figure::Held) {
        let mut samples = held.series[0].samples.to_vec();
        samples[3].value = f64::NAN;
        held.series[0].samples = samples.into();
    }
    let ranking = ranked_by(&[told], &Owners::new());
    assert_eq!((ranking.odd_series, ranking.held), (1, 2.0));
}

#[test]
fn nobody_told_is_nobody_ranked() {
    let ranking = ranked_by(&[], &Owners::new());
    assert!(ranking.clients.is_empty() && ranking.rogues.is_empty() && ranking.growth_per_hour.is_none());
}

#[test]
fn a_server_whose_sockets_rise_more_than_its_clients_misses_somebody() {
    let sockets = |value: &dyn Fn(f64) -> f64| {
        Server::of(&Matrix { series: vec![series("users-0", &[], value)], warnings: Vec::new() }).expect("sockets")
    };
    let suffers = sockets(&rising(50.0, 650.0));
    assert!(suffers.rises && suffers.sockets == 650.0 && suffers.growth_per_hour.is_some_and(|it| it > 590.0));
    assert!(suffers.misses_somebody(None) && suffers.misses_somebody(Some(10.0)));
    assert!(!suffers.misses_somebody(Some(585.0)));
    assert!(!sockets(&flat(50.0)).misses_somebody(None), "nothing rises");
    assert_eq!(Server::of(&Matrix::default()), None);
}

#[test]
fn by_sockets_the_server_is_not_accused_of_its_own_clients_connections() {
    let source = client_sources().pop().expect("sockets come last");
    let series = vec![series("users-0", &[], &rising(50.0, 650.0)), series("orders-1", &[], &rising(10.0, 130.0))];
    let figures = BTreeMap::from([(Figure::Held, Matrix { series, warnings: Vec::new() })]);
    let told = [Told { source, figures }];
    let ranked = |behind: &[&str]| {
        let behind: BTreeSet<String> = behind.iter().map(|it| (*it).to_owned()).collect();
        rank(&told, Known { destination: &users(), behind: &behind, owners: &Owners::new() }, HOUR)
    };
    let unknown = ranked(&[]);
    assert_eq!((unknown.clients.len(), unknown.rogues.len()), (2, 0), "nobody knows which of them is the server");
    let known = ranked(&["users-0"]);
    assert_eq!((known.clients.len(), known.rogues[0].name.as_str()), (1, "orders-1"));
}
