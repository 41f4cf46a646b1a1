//! What `gather` makes of good and odd answers.

use super::*;
use crate::{decide::Subject, signals::catalog};

const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("a time")
}

fn target() -> Target {
    Target {
        subject: Subject {
            namespace: "shop".into(),
            pod: "orders-1".into(),
            uid: "u1".into(),
            container: "app".into(),
        },
        started: Some(NOW as f64 - 100.0),
        pod_ips: vec!["10.0.0.7".into()],
        containers_in_pod: 1,
        ready: true,
        ..Target::default()
    }
}

fn series(labels: &[(&str, &str)], values: &[(i64, f64)]) -> Series {
    let base = [("namespace", "shop"), ("pod", "orders-1"), ("container", "app")];
    Series {
        labels: base.iter().chain(labels).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        samples: values.iter().map(|&(ago, value)| Sample { at: (NOW - ago) as f64, value }).collect(),
    }
}

fn read(source: Source, series: Vec<Series>, target: Target) -> Reading {
    let signal = source.signal;
    let answers = [Answer { source, width: None, result: Ok(Arc::new(Matrix { series, warnings: vec![] })) }];
    let observations = gather(&answers, vec![target], Duration::from_secs(300), now());
    observations[0].signals[&signal].clone()
}

fn sockets() -> Source {
    catalog::sources(Signal::OpenConnections).remove(2)
}

fn calls() -> Source {
    catalog::sources(Signal::Calls).remove(0)
}

fn values(reading: &Reading) -> Vec<f64> {
    match reading {
        Reading::Usable(measured) => measured.samples.iter().map(|it| it.value).collect(),
        other => panic!("not usable: {other:?}"),
    }
}

fn why(reading: &Reading) -> &'static str {
    match reading {
        Reading::Unusable(why) => why.reason(),
        other => panic!("not unusable: {other:?}"),
    }
}

#[test]
fn samples_of_an_earlier_life_are_left_out() {
    let reading = read(sockets(), vec![series(&[], &[(200, 9.0), (110, 9.0), (90, 1.0), (5, 2.0)])], target());
    assert_eq!(values(&reading), [1.0, 2.0]);
}

#[test]
fn the_newest_incarnation_is_read_and_never_added_to_the_dead_one() {
    let dead = series(&[("id", "a")], &[(95, 119.0), (60, 119.0)]);
    let alive = series(&[("id", "b")], &[(50, 38.0), (5, 39.0)]);
    assert_eq!(values(&read(sockets(), vec![dead, alive], target())), [38.0, 39.0]);
}

#[test]
fn the_parts_of_one_client_are_added_up() {
    let one = series(&[("grpc_target", "a")], &[(20, 1.0), (10, 2.0)]);
    let two = series(&[("grpc_target", "b")], &[(20, 10.0), (10, 20.0)]);
    let source = catalog::sources(Signal::OpenConnections).remove(0);
    assert_eq!(values(&read(source, vec![one, two], target())), [11.0, 22.0]);
}

#[test]
fn a_counter_part_that_ends_is_not_a_reset_and_one_that_begins_counts_from_zero() {
    let ends = series(&[("grpc_method", "a")], &[(30, 100.0), (20, 110.0)]);
    let goes_on = series(&[("grpc_method", "b")], &[(30, 5.0), (20, 6.0), (10, 7.0)]);
    let begins = series(&[("grpc_method", "c")], &[(10, 4.0)]);
    assert_eq!(values(&read(calls(), vec![ends, goes_on, begins], target())), [0.0, 11.0, 16.0]);
}

#[test]
fn two_scrapes_that_tell_the_same_story_are_one_and_the_fuller_is_read() {
    let one = series(&[("prometheus_replica", "a")], &[(45, 10.0), (30, 11.0), (15, 12.0)]);
    let two = series(&[("prometheus_replica", "b")], &[(50, 10.0), (35, 11.0), (20, 12.0), (5, 13.0)]);
    assert_eq!(values(&read(sockets(), vec![one, two], target())), [10.0, 11.0, 12.0, 13.0]);
}

#[test]
fn two_scrapes_that_differ_are_duplicates_and_neither_is_used() {
    let one = series(&[("job", "a")], &[(20, 1.0), (5, 1.0)]);
    let two = series(&[("job", "b")], &[(20, 900.0), (5, 900.0)]);
    assert_eq!(why(&read(sockets(), vec![one, two], target())), "Duplicates");
}

#[test]
fn old_future_and_impossible_samples_are_named() {
    for (samples, reason) in [
        (vec![(260, 1.0), (250, 1.0)], "Stale"),
        (vec![(5, 1.0), (-60, 1.0)], "ClockSkew"),
        (vec![(5, f64::NAN)], "BadValues"),
        (vec![(5, -1.0)], "BadValues"),
    ] {
        let old = Target { started: None, ..target() };
        assert_eq!(why(&read(sockets(), vec![series(&[], &samples)], old)), reason);
    }
}

#[test]
fn a_recreated_pod_does_not_inherit_the_series_of_its_namesake() {
    let source = catalog::sources(Signal::MemoryLimit).remove(0);
    let reading = read(source, vec![series(&[("uid", "u0")], &[(5, 1.0)])], target());
    assert_eq!(reading, Reading::Absent);
}

#[test]
fn a_series_without_container_is_about_the_only_container_and_about_no_one_of_two() {
    let mut nameless = series(&[], &[(5, 1.0)]);
    nameless.labels = nameless.labels.without("container");
    assert_eq!(values(&read(calls(), vec![nameless.clone()], target())), [0.0]);
    let two = Target { containers_in_pod: 2, ..target() };
    assert_eq!(why(&read(calls(), vec![nameless], two)), "Unattributed");
}

#[test]
fn a_source_whose_series_have_no_pod_label_is_named() {
    let mut podless = series(&[], &[(5, 1.0)]);
    podless.labels = podless.labels.without("pod");
    assert_eq!(why(&read(calls(), vec![podless], target())), "Unattributed");
}

#[test]
fn warnings_and_failures_spoil_the_signal_for_everybody() {
    let warned = Matrix { series: vec![], warnings: vec!["store down".into()] };
    let failed = QueryFailure { kind: FailureKind::Overloaded, message: "503".into() };
    for (result, reason) in [(Ok(Arc::new(warned)), "PartialData"), (Err(failed), "QueryFailed")] {
        let answers = [Answer { source: sockets(), width: None, result }];
        let observations = gather(&answers, vec![target()], Duration::from_secs(300), now());
        assert_eq!(why(&observations[0].signals[&Signal::OpenConnections]), reason);
    }
}

#[test]
fn the_next_source_is_asked_only_where_the_better_one_has_nothing() {
    let [better, worse] = [0, 2].map(|n| catalog::sources(Signal::OpenConnections).remove(n));
    let answer =
        |source, series| Answer { source, width: None, result: Ok(Arc::new(Matrix { series, warnings: vec![] })) };
    let answers = [answer(better, vec![]), answer(worse, vec![series(&[], &[(5, 7.0)])])];
    let observations = gather(&answers, vec![target()], Duration::from_secs(300), now());
    let measured = observations[0].measured(Signal::OpenConnections).expect("usable");
    assert_eq!((measured.source.as_str(), measured.direction_blind), ("KubeletSockets", true));
}

#[test]
fn an_application_is_a_witness_only_when_its_own_address_was_scraped() {
    let witnessed = |instance: &str| {
        let reading = read(calls(), vec![series(&[("instance", instance)], &[(5, 1.0)])], target());
        matches!(reading, Reading::Usable(Measured { witnessed: true, .. }))
    };
    assert!(witnessed("10.0.0.7:8080"));
    assert!(!witnessed("10.0.0.8:8080"));
    assert!(!witnessed("10.0.0.7.evil.example:8080"));
}

#[test]
fn a_life_that_is_over_is_the_fullest_incarnation_s_even_if_a_clock_let_the_next_one_begin_in_it() {
    let source = sockets();
    let dead = series(&[("id", "a")], &[(95, 119.0), (60, 120.0), (50, 121.0)]);
    let next = series(&[("id", "b")], &[(40, 38.0)]);
    let answer =
        Answer { source, width: None, result: Ok(Arc::new(Matrix { series: vec![dead, next], warnings: vec![] })) };
    let indexed = Indexed::new(&answer);
    let told = runs(std::slice::from_ref(&indexed), &target(), (0.0, (NOW - 30) as f64)).remove(0).1.expect("a run");
    assert_eq!(told.measured.samples.len(), 3);
}

/// What Coroot's agent says of the target's connections to one destination.
fn coroot(destination: &str, agent: &str, values: &[(i64, f64)]) -> Series {
    let labels = [
        ("container_id", "/k8s/shop/orders-1/app"),
        ("destination", destination),
        ("actual_destination", destination),
        ("namespace", "coroot"),
        ("pod", agent),
        ("container", "node-agent"),
    ];
    series(&labels, values)
}

fn read_coroot(series: Vec<Series>, target: Target) -> Reading {
    read(catalog::sources(Signal::OpenConnections).remove(1), series, target)
}

#[test]
fn an_agent_s_series_are_about_the_container_in_their_path_and_added_up_over_destinations() {
    let (users, stock) =
        (coroot("a:1", "agent-1", &[(20, 3.0), (5, 4.0)]), coroot("b:1", "agent-1", &[(20, 1.0), (5, 1.0)]));
    let mut other = users.clone();
    other.labels = other.labels.with("container_id", "/k8s/shop/orders-1/sidecar");
    let two = Target { containers_in_pod: 2, ..target() };
    let reading = read_coroot(vec![users, stock, other], two);
    assert_eq!(values(&reading), [4.0, 5.0]);
    assert!(matches!(reading, Reading::Usable(Measured { witnessed: false, direction_blind: false, .. })));
}

#[test]
fn another_pod_of_the_agent_goes_on_where_the_last_one_ended() {
    let (before, after) =
        (coroot("a:1", "agent-1", &[(60, 3.0), (45, 4.0)]), coroot("a:1", "agent-2", &[(20, 5.0), (5, 6.0)]));
    assert_eq!(values(&read_coroot(vec![before, after], target())), [3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn whoever_writes_an_agent_s_series_in_another_namespace_spoils_them_and_is_not_added() {
    let told = coroot("a:1", "agent-1", &[(20, 3.0), (5, 4.0)]);
    let mut forged = coroot("a:1", "evil", &[(20, 3_000.0), (5, 4_000.0)]);
    forged.labels = forged.labels.with("namespace", "tenant");
    assert_eq!(why(&read_coroot(vec![told, forged], target())), "Duplicates");
}
