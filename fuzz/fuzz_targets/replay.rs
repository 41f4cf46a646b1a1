//! A replay of whatever series: it never panics, and never restarts anybody on nonsense.
//!
//! The series are made by the fuzzer: names of the catalog, a few labels, any values at any times. Every one holds a
//! value that cannot be measured, often enough that no window is free of it.

#![no_main]

use std::{collections::BTreeMap, time::Duration};

use arbitrary::Arbitrary;
use grpc_hygiene::{
    decide::{
        Policy, Sample, Series,
        replay::{EventKind, Recording, replay},
    },
    signals::{Query, Signal, catalog},
};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

/// When the replay begins, Unix seconds.
const START: f64 = 1_767_225_600.0;
/// Its length, seconds.
const LONG: f64 = 600.0;
/// From one sample that is nonsense to the next, seconds: less than the shortest time that can be judged.
const NONSENSE_EVERY: f64 = 30.0;

#[derive(Arbitrary, Debug)]
struct Made {
    metric: u8,
    pod: bool,
    container: Option<bool>,
    owner: bool,
    nonsense: Nonsense,
    samples: Vec<(Time, f64)>,
}

#[derive(Arbitrary, Debug)]
enum Time {
    Regular(u8),
    Fraction(u16),
    Whatever(f64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Nonsense {
    NotANumber,
    Infinite,
    Huge,
    Negative,
}

impl Made {
    fn series(&self, metrics: &[&str]) -> Series {
        let mut labels = BTreeMap::from([
            ("__name__".to_owned(), metrics[usize::from(self.metric) % metrics.len()].to_owned()),
            ("namespace".to_owned(), "shop".to_owned()),
            ("pod".to_owned(), if self.pod { "orders-1" } else { "orders-2" }.to_owned()),
            ("resource".to_owned(), "memory".to_owned()),
            ("grpc_disconnect_error".to_owned(), "GOAWAY ENHANCE_YOUR_CALM".to_owned()),
        ]);
        if let Some(app) = self.container {
            labels.insert("container".to_owned(), if app { "app" } else { "" }.to_owned());
        }
        if self.owner {
            labels.insert("owner_kind".to_owned(), "StatefulSet".to_owned());
            labels.insert("owner_name".to_owned(), "orders".to_owned());
        }
        let nonsense = match self.nonsense {
            Nonsense::NotANumber => f64::NAN,
            Nonsense::Infinite => f64::INFINITY,
            Nonsense::Huge => 1e300,
            Nonsense::Negative => -1.0,
        };
        let made = self.samples.iter().map(|(at, value)| Sample { at: at.seconds(), value: *value });
        let count = (LONG / NONSENSE_EVERY) as u32;
        let spoiled =
            (0..=count).map(|index| Sample { at: START + NONSENSE_EVERY * f64::from(index), value: nonsense });
        Series { labels: labels.into_iter().collect(), samples: made.chain(spoiled).collect() }
    }
}

impl Time {
    fn seconds(&self) -> f64 {
        match self {
            Self::Regular(index) => START + 5.0 * f64::from(*index),
            Self::Fraction(share) => START + LONG * f64::from(*share) / f64::from(u16::MAX),
            Self::Whatever(at) => *at,
        }
    }
}

fn policy() -> Policy {
    let spec = serde_json::json!({
        "allPods": true, "window": "5m", "interval": "10s",
        "remediation": {"annotate": {}, "alert": {"after": "0s"}, "restart": {"after": "0s", "allowSingleReplica": true}},
    });
    Policy::parse(&serde_json::from_value(spec).expect("a spec")).expect("a policy")
}

fuzz_target!(|made: Vec<Made>| {
    let names = |it: grpc_hygiene::signals::Source| match it.query {
        Query::Selector { metrics, .. } => metrics,
        Query::Custom(_) => &[],
    };
    let metrics: Vec<&str> = Signal::ALL.into_iter().flat_map(catalog::sources).flat_map(names).copied().collect();
    let recording = Recording::of(made.iter().map(|it| it.series(&metrics)).collect());
    let time = |seconds: f64| Timestamp::from_second(seconds as i64).expect("a time");
    let span = (time(START), time(START + LONG));
    let replayed = replay(&policy(), "shop/clients", &recording, span, Duration::from_secs(10), &mut |_| {});
    assert!(replayed.inconclusive.values().sum::<u64>() <= replayed.judgements);
    assert!(replayed.events.is_sorted_by_key(|it| it.at));
    for event in &replayed.events {
        assert!(span.0 <= event.at && event.at <= span.1, "{event:?}");
        assert!(event.kind != EventKind::Restart, "{event:?}");
    }
});
