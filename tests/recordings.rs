//! Series of real programs, recorded on the test cluster (`tests/recordings/`), replayed: those with a bad habit are
//! found and named, the others are left alone. It needs neither cluster nor Prometheus.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use grpc_hygiene::{
    api::PolicyRules,
    decide::{
        Diagnosis, Policy, Series,
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
    let rules: PolicyRules =
        serde_json::from_value(json!({"allPods": true, "window": "5m", "interval": "10s"})).expect("rules");
    let policy = Policy::parse(&rules).expect("a valid policy");
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

/// Replays each, and fails if one did not come to its diagnosis or came to any that is not `meanwhile`.
fn assert_named(deployments: &[&str], diagnosis: Diagnosis, meanwhile: &[Diagnosis]) {
    for deployment in deployments {
        let replayed = replayed(deployment);
        let found = diagnoses(&replayed);
        let strange: Vec<_> = found.iter().filter(|it| **it != diagnosis && !meanwhile.contains(it)).collect();
        assert!(found.contains(&diagnosis), "{deployment}: {found:?}, {:?}", replayed.inconclusive);
        assert!(strange.is_empty(), "{deployment}: {strange:?}, {:#?}", replayed.events);
    }
}

/// Replays each, and fails if anything at all was said of one, or if it was never judged.
fn assert_healthy(deployments: &[&str]) {
    for deployment in deployments {
        let replayed = replayed(deployment);
        assert_eq!(replayed.events, [], "{deployment}");
        assert!(conclusive(&replayed) > 20, "{deployment}: {:?} of {}", replayed.inconclusive, replayed.judgements);
    }
}

#[test]
fn a_recording_holds_nothing_that_the_catalog_does_not_know() {
    for deployment in ["leaky-185", "residue-175", "churn", "pool", "shop-server"] {
        let recording = recording(deployment);
        assert!(!recording.answers.is_empty(), "{deployment}");
        // Of the reasons for a disconnection the catalog reads one.
        let known = |it: &Series| it.labels.get("__name__") == Some("grpc_subchannel_disconnections_total");
        assert!(recording.others.iter().all(known), "{deployment}: {:?}", recording.others);
    }
}

#[test]
fn a_leak_that_dials_per_call_is_named_with_every_version() {
    assert_named(&["leaky-145", "leaky-175", "leaky-185"], Diagnosis::DialPerCall, &[]);
}

#[test]
fn a_leak_is_found_by_sockets_and_memory_alone_with_every_version() {
    assert_named(&["silent-145", "silent-175", "silent-185"], Diagnosis::ConnectionLeak, &[]);
}

#[test]
fn channels_that_idle_out_are_found_behind_their_plateau_with_every_version() {
    // Until the first connections idle out it is a leak like any other.
    let meanwhile = [Diagnosis::DialPerCall, Diagnosis::ConnectionLeak];
    assert_named(&["residue-145", "residue-175", "residue-185"], Diagnosis::IdleChannelResidue, &meanwhile);
}

#[test]
fn channels_that_never_connect_are_found_by_their_goroutines() {
    assert_named(&["unused-185"], Diagnosis::IdleChannelResidue, &[]);
}

#[test]
fn dialling_and_closing_per_call_is_churn_and_never_a_reason_to_restart() {
    assert_named(&["churn"], Diagnosis::ConnectionChurn, &[]);
    assert!(replayed("churn").events.iter().all(|it| it.kind != EventKind::Restart));
}

#[test]
fn connections_that_the_server_closes_for_their_pings_are_named() {
    assert_named(&["pinger"], Diagnosis::KeepaliveRejected, &[]);
}

#[test]
fn a_target_that_is_down_is_named_and_is_no_leak() {
    assert_named(&["unreachable-185"], Diagnosis::TargetUnreachable, &[]);
    assert_healthy(&["unreachable-145"]);
}

#[test]
fn memory_that_is_not_grpc_s_is_not_blamed_on_grpc() {
    assert_named(&["hoard-145", "hoard-175", "hoard-185"], Diagnosis::MemoryLeakElsewhere, &[]);
}

#[test]
fn shared_clients_and_pools_are_healthy_all_the_time() {
    assert_healthy(&["pool", "pool-145", "fixed-175", "fixed-185"]);
}

#[test]
fn a_server_is_not_blamed_for_what_its_clients_leak() {
    for server in ["shop-server", "server-idle"] {
        assert_eq!(replayed(server).events, [], "{server}");
    }
}

#[test]
fn what_was_measured_with_long_gaps_is_never_a_reason_to_restart() {
    let replayed = replayed("starved");
    assert!(replayed.inconclusive.contains_key("Gaps"), "{:?}", replayed.inconclusive);
    assert!(replayed.events.iter().all(|it| it.kind != EventKind::Restart), "{:#?}", replayed.events);
}
