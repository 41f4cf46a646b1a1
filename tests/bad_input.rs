//! Nonsense in, doubt out: whatever the series, a replay ends in a named doubt or in `Healthy`, never in a panic, and
//! never in a restart. The first test shows that the leak which the others spoil is restarted when it is whole.

use std::{collections::BTreeSet, time::Duration};

use grpc_hygiene::{
    decide::{
        Diagnosis, Policy, Sample, Series,
        replay::{Event, EventKind, Recording, Replayed, replay},
    },
    signals::{Query, Signal, catalog},
};
use jiff::Timestamp;
use proptest::prelude::*;

/// When the recordings begin, Unix seconds.
const START: f64 = 1_767_225_600.0;
/// How long they are, seconds.
const LONG: f64 = 600.0;
/// From one sample to the next, seconds.
const STEP: f64 = 5.0;
const MIB: f64 = 1_048_576.0;

const SOCKETS: &str = "container_sockets";
const MEMORY: &str = "container_memory_working_set_bytes";
const CALLS: &str = "grpc_client_attempt_started_total";
const LIMIT: &str = "kube_pod_container_resource_limits";
const OWNER: &str = "kube_pod_owner";

fn policy(window: &str) -> Policy {
    let spec = serde_json::json!({
        "allPods": true, "window": window, "interval": "10s", "thresholds": {"timeToMemoryLimit": "1h"},
        "remediation": {"annotate": {}, "alert": {"after": "30s"}, "restart": {"after": "1m", "allowSingleReplica": true}},
    });
    Policy::parse(&serde_json::from_value(spec).expect("a spec")).expect("a policy")
}

fn time(after: f64) -> Timestamp {
    Timestamp::from_second((START + after) as i64).expect("a time")
}

fn replayed(series: Vec<Series>) -> Replayed {
    let span = (time(0.0), time(LONG));
    let replayed = replay(&policy("5m"), "clients", &Recording::of(series), span, Duration::from_secs(10), &mut |_| {});
    check(&replayed, span);
    replayed
}

/// What holds of every replay.
fn check(replayed: &Replayed, (from, to): (Timestamp, Timestamp)) {
    let Replayed { events, judgements, inconclusive, .. } = replayed;
    assert!(inconclusive.values().sum::<u64>() <= *judgements, "{inconclusive:?} of {judgements}");
    assert!(events.is_sorted_by_key(|it| it.at), "{events:?}");
    for (index, event) in events.iter().enumerate() {
        assert!(from <= event.at && event.at <= to, "{event:?}");
        assert!(event.confidence.is_none_or(|it| (0.0..=99.999).contains(&it)), "{event:?}");
        if event.kind == EventKind::Restart {
            let found = |it: &Event| it.kind == EventKind::Finding && it.pod == event.pod;
            assert!(events[..index].iter().any(found), "a restart without a finding: {event:?}");
            assert!(event.diagnosis.is_some_and(Diagnosis::restart_helps), "{event:?}");
        }
    }
}

/// A series of `shop/orders-1`, container `app`.
fn series(metric: &str, samples: Vec<Sample>) -> Series {
    let labels = [("__name__", metric), ("namespace", "shop"), ("pod", "orders-1"), ("container", "app")];
    let more: &[(&str, &str)] = match metric {
        LIMIT => &[("resource", "memory")],
        OWNER => &[("owner_kind", "StatefulSet"), ("owner_name", "orders")],
        _ => &[],
    };
    let labels = labels.iter().chain(more).filter(|(name, _)| metric != OWNER || *name != "container");
    Series { labels: labels.copied().collect(), samples: samples.into() }
}

/// A series with a value for each age, seconds.
fn drawn(metric: &str, value: impl Fn(f64) -> f64) -> Series {
    let ages = (0..=(LONG / STEP) as u32).map(|it| STEP * f64::from(it));
    series(metric, ages.map(|age| Sample { at: START + age, value: value(age) }).collect())
}

/// Three of ten call sites dial per call, 20 calls a second: in 1000 s the memory is full. The kubelet sees it all.
fn leak() -> Vec<Series> {
    vec![
        drawn(SOCKETS, |age| 7.0 + 6.0 * age),
        drawn(MEMORY, |age| 20.0 * MIB + 240_000.0 * age),
        drawn(CALLS, |age| 20.0 * age),
        drawn(LIMIT, |_| 256.0 * MIB),
        drawn(OWNER, |_| 1.0),
    ]
}

/// The leak with one of its series changed.
fn leak_with(metric: &str, change: impl Fn(&mut Vec<Sample>)) -> Vec<Series> {
    let mut leak = leak();
    let series =
        leak.iter_mut().find(|it| it.labels.get("__name__") == Some(metric)).expect("one of the leak's series");
    let mut samples = series.samples.to_vec();
    change(&mut samples);
    series.samples = samples.into();
    leak
}

fn kinds(replayed: &Replayed) -> BTreeSet<EventKind> {
    replayed.events.iter().map(|it| it.kind).collect()
}

fn reasons(replayed: &Replayed) -> BTreeSet<&'static str> {
    replayed.inconclusive.keys().copied().collect()
}

/// Nothing was said, and every judgement was a doubt, `reason` among them; before it there is only warming up.
fn assert_only_doubt(replayed: &Replayed, reason: &str) {
    assert_eq!(replayed.events, [], "{:?}", replayed.inconclusive);
    assert!(replayed.judgements > 0, "nobody was looked at");
    assert_eq!(replayed.inconclusive.values().sum::<u64>(), replayed.judgements, "{:?}", replayed.inconclusive);
    assert!(reasons(replayed).contains(reason), "{:?}", replayed.inconclusive);
}

/// Nothing was said, and most judgements were `Healthy`.
fn assert_healthy(replayed: &Replayed) {
    assert_eq!(replayed.events, [], "{:?}", replayed.inconclusive);
    let doubts = replayed.inconclusive.values().sum::<u64>();
    assert!(doubts < replayed.judgements / 2, "{:?} of {}", replayed.inconclusive, replayed.judgements);
}

#[test]
fn the_leak_that_the_other_tests_spoil_is_restarted_when_it_is_whole() {
    let replayed = replayed(leak());
    let expected = [EventKind::Finding, EventKind::Annotate, EventKind::Alert, EventKind::Restart];
    assert!(kinds(&replayed).is_superset(&expected.into()), "{replayed:?}");
    assert!(replayed.events.iter().all(|it| it.diagnosis == Some(Diagnosis::DialPerCall)), "{replayed:?}");
}

#[test]
fn series_shorter_than_the_smallest_scale_are_too_short() {
    let mut leak = leak();
    leak.iter_mut().for_each(|it| it.samples = it.samples.piece(0..14));
    let replayed = replayed(leak);
    assert!(reasons(&replayed).contains("TooShort"), "{:?}", replayed.inconclusive);
    assert_eq!(replayed.events, []);
}

#[test]
fn series_of_nothing_but_nan_are_bad_values() {
    let nan = |metric| drawn(metric, |_| f64::NAN);
    assert_only_doubt(&replayed(vec![nan(SOCKETS), nan(MEMORY), nan(CALLS)]), "BadValues");
    let one = leak_with(SOCKETS, |samples| samples.iter_mut().for_each(|it| it.value = f64::NAN));
    assert_only_doubt(&replayed(one), "BadValues");
}

#[test]
fn constant_series_are_healthy() {
    let flat = |level: f64| vec![drawn(SOCKETS, |_| level), drawn(MEMORY, |_| 20.0 * MIB), drawn(CALLS, |_| level)];
    assert_healthy(&replayed(flat(16.0)));
    assert_healthy(&replayed(flat(0.0)));
}

#[test]
fn one_point_is_too_short() {
    let mut leak = leak();
    leak.iter_mut().for_each(|it| it.samples = it.samples.piece(0..1));
    let replayed = replayed(leak);
    assert_eq!(replayed.events, []);
    assert!(reasons(&replayed).is_subset(&["WarmingUp", "TooShort", "Stale", "NoData"].into()), "{replayed:?}");
    assert!(replayed.judgements > 0);
}

#[test]
fn no_series_are_nobody() {
    assert_eq!(replayed(vec![]), Replayed::default());
    assert_eq!(replayed(vec![series(SOCKETS, vec![])]).events, []);
}

#[test]
fn a_million_points_are_judged_like_a_few() {
    let second = |metric, value: fn(f64) -> f64| {
        let samples = (0..1_000_000_u32).map(|it| Sample { at: START + f64::from(it), value: value(f64::from(it)) });
        series(metric, samples.collect())
    };
    let recording = Recording::of(vec![second(SOCKETS, |age| 7.0 + age), second(CALLS, |age| 2.0 * age)]);
    let span = (time(0.0), time(999_999.0));
    let replayed = replay(&policy("1d"), "clients", &recording, span, Duration::from_secs(6 * 3_600), &mut |_| {});
    check(&replayed, span);
    assert!(replayed.judgements >= 46, "{replayed:?}");
    let found = [EventKind::Finding, EventKind::Annotate];
    assert!(kinds(&replayed).is_superset(&found.into()), "{:?}", replayed.inconclusive);
    assert!(!kinds(&replayed).contains(&EventKind::Restart), "nothing is known of its memory");
}

#[test]
fn values_that_no_machine_can_have_are_bad_values() {
    for metric in [SOCKETS, MEMORY, CALLS] {
        for huge in [1e300, f64::MAX, f64::INFINITY] {
            let huge = leak_with(metric, |samples| samples.iter_mut().for_each(|it| it.value = huge));
            assert_only_doubt(&replayed(huge), "BadValues");
        }
        let rising = leak_with(metric, |samples| samples.iter_mut().for_each(|it| it.value *= 1e300));
        assert_only_doubt(&replayed(rising), "BadValues");
    }
}

#[test]
fn negative_connections_are_bad_values() {
    for metric in [SOCKETS, MEMORY, CALLS] {
        let negative = leak_with(metric, |samples| samples.iter_mut().for_each(|it| it.value -= 1e12));
        assert_only_doubt(&replayed(negative), "BadValues");
    }
}

#[test]
fn samples_that_arrive_backwards_are_put_in_order() {
    let mut backwards = leak();
    backwards.iter_mut().for_each(|it| it.samples = it.samples.iter().rev().copied().collect());
    let ordered = replayed(leak());
    assert!(!ordered.events.is_empty(), "the leak is found");
    assert_eq!(replayed(backwards), ordered);
}

#[test]
fn a_clock_that_jumps_back_gives_one_time_two_values_and_they_are_bad_values() {
    // After every minute the clock is set back by half a minute, and what is recorded goes on.
    let jumped = leak_with(SOCKETS, |samples| {
        for (index, sample) in samples.iter_mut().enumerate() {
            sample.at = START + STEP * (index - 6 * (index / 12)) as f64;
        }
    });
    let replayed = replayed(jumped);
    assert!(reasons(&replayed).contains("BadValues"), "{:?}", replayed.inconclusive);
    assert!(!kinds(&replayed).contains(&EventKind::Restart), "{replayed:?}");
}

#[test]
fn times_that_are_no_times_tell_nothing() {
    for at in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, -1.0] {
        let nowhere = |it: Series| {
            let samples = it.samples.iter().map(|it| Sample { at, ..*it }).collect();
            Series { samples, ..it }
        };
        assert_eq!(replayed(leak().into_iter().map(nowhere).collect()).events, [], "{at}");
        // Some of them among good ones: whatever is made of these, it ends.
        replayed(leak_with(SOCKETS, |samples| samples.iter_mut().step_by(7).for_each(|it| it.at = at)));
    }
}

#[test]
fn a_limit_that_is_raised_mid_window_moves_the_forecast_and_not_the_finding() {
    let raised = leak_with(LIMIT, |samples| {
        let half = samples.len() / 2;
        samples[half..].iter_mut().for_each(|it| it.value = 2_048.0 * MIB);
    });
    let replayed = replayed(raised);
    let (before, after): (Vec<&Event>, Vec<&Event>) = replayed.events.iter().partition(|it| it.at < time(LONG / 2.0));
    assert!(before.iter().any(|it| it.kind == EventKind::Restart), "{before:?}");
    assert!(!after.iter().any(|it| matches!(it.kind, EventKind::Restart | EventKind::Cleared)), "{after:?}");
    assert!(after.iter().any(|it| it.because == Some("LimitFarAway")), "{after:?}");
}

#[test]
fn without_a_limit_people_are_told_and_nobody_is_restarted() {
    let unlimited: Vec<Series> = leak().into_iter().filter(|it| it.labels.get("__name__") != Some(LIMIT)).collect();
    let replayed = replayed(unlimited);
    let kinds = kinds(&replayed);
    assert!(kinds.contains(&EventKind::Alert) && !kinds.contains(&EventKind::Restart), "{replayed:?}");
    assert!(replayed.events.iter().any(|it| it.because == Some("NoForecast")), "{replayed:?}");
}

#[test]
fn a_limit_that_is_no_number_is_no_limit() {
    for limit in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        let odd = leak_with(LIMIT, |samples| samples.iter_mut().for_each(|it| it.value = limit));
        let replayed = replayed(odd);
        let kinds = kinds(&replayed);
        assert!(kinds.contains(&EventKind::Alert), "{limit}: {replayed:?}");
        assert!(!kinds.contains(&EventKind::Restart), "{limit}: {replayed:?}");
    }
}

fn nonsense() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(1e300),
        Just(-1.0),
        Just(-1e300),
        -1e15..-1e-3,
    ]
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![2 => any::<f64>(), 2 => 0.0..1e9, 1 => (0..50_u8).prop_map(f64::from), 1 => nonsense()]
}

fn any_time() -> impl Strategy<Value = f64> {
    let regular = (0..=120_u32).prop_map(|it| START + STEP * f64::from(it));
    prop_oneof![6 => regular, 2 => (0.0..LONG).prop_map(|it| START + it), 1 => any::<f64>(), 1 => Just(START)]
}

fn any_series() -> impl Strategy<Value = Series> {
    let names = |it: grpc_hygiene::signals::Source| match it.query {
        Query::Selector { metrics, .. } => metrics,
        Query::Custom(_) => &[],
    };
    let metrics: Vec<&str> = Signal::ALL.into_iter().flat_map(catalog::sources).flat_map(names).copied().collect();
    let samples = prop::collection::vec((any_time(), any_value()), 0..150);
    let label = |values: &'static [&'static str]| prop::sample::select(values);
    let labels = (
        prop::sample::select(metrics),
        label(&["", "shop", "kube-system"]),
        label(&["", "orders-1", "orders-2"]),
        label(&["", "app", "POD"]),
        label(&["", "memory", "GOAWAY ENHANCE_YOUR_CALM", "StatefulSet", "ReplicaSet"]),
        label(&["", "/k8s/shop/orders-1/app", "/k8s/shop/orders-2", "/k8s///", "/k8s-cronjob/shop/orders/app"]),
    );
    (labels, samples).prop_map(|((metric, namespace, pod, container, any, path), samples)| {
        let named = ["__name__", "namespace", "pod", "container", "container_id"];
        let named = named.into_iter().zip([metric, namespace, pod, container, path]);
        let others =
            ["resource", "grpc_disconnect_error", "owner_kind", "owner_name", "replicaset"].map(|it| (it, any));
        let labels = named.chain(others).filter(|(_, value)| !value.is_empty()).collect();
        Series { labels, samples: samples.into_iter().map(|(at, value)| Sample { at, value }).collect() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_series_there_is_no_panic(series in prop::collection::vec(any_series(), 0..6)) {
        replayed(series);
    }

    #[test]
    fn a_leak_with_nonsense_in_any_decisive_series_is_never_restarted(
        metric in prop::sample::select(vec![SOCKETS, MEMORY, CALLS]),
        value in nonsense(),
        // Nothing is judged in the first half minute, and nothing within 75 s after a nonsense that has left the window.
        phase in 0..6_usize,
        every in 2..14_usize,
    ) {
        let spoiled = leak_with(metric, |samples| {
            samples.iter_mut().skip(phase).step_by(every).for_each(|it| it.value = value);
        });
        let replayed = replayed(spoiled);
        prop_assert!(!kinds(&replayed).contains(&EventKind::Restart), "{:?}", replayed);
        prop_assert!(reasons(&replayed).contains("BadValues"), "{:?}", replayed.inconclusive);
    }
}

proptest! {
    // The leak is judged each time, which takes a second without optimisation.
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_leak_among_whatever_other_series_is_not_a_panic(more in prop::collection::vec(any_series(), 1..4)) {
        replayed(leak().into_iter().chain(more).collect());
    }
}
