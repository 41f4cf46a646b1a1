//! Series of real programs, recorded on the test cluster (`tests/recordings/`), replayed: those with a bad habit are
//! found and named, the others are left alone. It needs neither cluster nor Prometheus.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use grpc_hygiene::{
    api::GrpcClientPolicySpec,
    decide::{
        Diagnosis, Policy,
        replay::{EventKind, Recording, Replayed, replay},
    },
    io::series::{Reading, read_files},
};
use jiff::Timestamp;
use serde_json::json;

/// As in the end-to-end tests.
const STEP: Duration = Duration::from_secs(10);

fn recording(deployment: &str) -> Recording {
    let path = format!("{}/tests/recordings/{deployment}.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
    let reading = Reading { wanted: &|_| true, skip_bad: false };
    let loaded = read_files(&[PathBuf::from(path)], reading, &mut |_| {}).expect("the recording can be read");
    Recording::of(loaded.series)
}

fn span(recording: &Recording) -> (Timestamp, Timestamp) {
    let matrices = recording.answers.iter().filter_map(|it| it.result.as_ref().ok());
    let at: Vec<f64> = matrices.flat_map(|it| &it.series).flat_map(|it| &it.samples).map(|it| it.at).collect();
    let bound = |seconds: f64| Timestamp::from_second(seconds as i64).expect("a time of this century");
    (bound(at.iter().copied().fold(f64::INFINITY, f64::min)), bound(at.iter().copied().fold(0.0, f64::max)))
}

fn replayed(deployment: &str) -> Replayed {
    let spec: GrpcClientPolicySpec =
        serde_json::from_value(json!({"allPods": true, "window": "5m", "interval": "10s"})).expect("a spec");
    let policy = Policy::parse(&spec).expect("a valid policy");
    let recording = recording(deployment);
    replay(&policy, "recordings/clients", &recording, span(&recording), STEP, &mut |_| {})
}

/// Every diagnosis that was made.
fn diagnoses(replayed: &Replayed) -> BTreeSet<Diagnosis> {
    replayed.events.iter().filter(|it| it.kind == EventKind::Finding).filter_map(|it| it.diagnosis).collect()
}

/// Judgements that came to a conclusion.
fn conclusive(replayed: &Replayed) -> u64 {
    replayed.judgements - replayed.inconclusive.values().sum::<u64>()
}

#[test]
fn a_recording_holds_nothing_that_the_catalog_does_not_know() {
    for deployment in ["leaky-185", "residue-175", "churn", "pool", "shop-server"] {
        let recording = recording(deployment);
        assert!(!recording.answers.is_empty(), "{deployment}");
        assert!(recording.others.is_empty(), "{deployment}: {:?}", recording.others);
    }
}

#[test]
fn a_leak_that_dials_per_call_is_named_and_nothing_else_is_said() {
    let replayed = replayed("leaky-185");
    assert_eq!(diagnoses(&replayed), [Diagnosis::DialPerCall].into(), "{replayed:#?}");
}

#[test]
fn a_leak_behind_an_idle_timeout_is_found_by_sockets_and_goroutines() {
    let replayed = replayed("residue-175");
    let found = diagnoses(&replayed);
    // Until the first connections idle out it is a leak like any other.
    let allowed = [Diagnosis::DialPerCall, Diagnosis::ConnectionLeak, Diagnosis::IdleChannelResidue].into();
    assert!(found.contains(&Diagnosis::IdleChannelResidue) && found.is_subset(&allowed), "{replayed:#?}");
}

#[test]
fn dialling_and_closing_per_call_is_churn_and_no_leak() {
    let replayed = replayed("churn");
    assert_eq!(diagnoses(&replayed), [Diagnosis::ConnectionChurn].into(), "{replayed:#?}");
    let restarts = replayed.events.iter().filter(|it| it.kind == EventKind::Restart);
    assert_eq!(restarts.count(), 0);
}

#[test]
fn a_fixed_pool_is_healthy_all_the_time() {
    let replayed = replayed("pool");
    assert_eq!(replayed.events, []);
    assert!(conclusive(&replayed) > 30, "{replayed:#?}");
}

#[test]
fn a_server_is_not_blamed_for_what_its_clients_leak() {
    assert_eq!(replayed("shop-server").events, []);
}
