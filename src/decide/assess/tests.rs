//! What is judged of whom: observations made of formulas, with noise that is always the same.

mod doubt;

use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::{
    api::PolicyRules,
    decide::{Diagnosis, Sample, Subject, Target, Why},
};

const NOW: f64 = 1_800_000_000.0;
const STEP: f64 = 5.0;
const MIB: f64 = 1_048_576.0;

/// A signal, whether its source is direction-blind, and its value at an age in seconds.
type Formula = (Signal, bool, Box<dyn Fn(f64) -> f64>);

/// A container that has run for `age` seconds, scraped every 5 s, judged with a window of 5 minutes.
struct Container {
    age: f64,
    service: Option<&'static str>,
    signals: Vec<Formula>,
    holes: std::ops::Range<f64>,
}

fn container(age: f64) -> Container {
    Container { age, service: None, signals: Vec::new(), holes: 0.0..0.0 }
}

impl Container {
    /// A signal as a function of the container's age in seconds.
    fn with(mut self, signal: Signal, at_age: impl Fn(f64) -> f64 + 'static) -> Self {
        self.signals.push((signal, false, Box::new(at_age)));
        self
    }

    /// The same, from a source that counts inbound connections, too.
    fn with_sockets(mut self, at_age: impl Fn(f64) -> f64 + 'static) -> Self {
        self.signals.push((Signal::OpenConnections, true, Box::new(at_age)));
        self
    }

    fn behind(self, service: &'static str) -> Self {
        Self { service: Some(service), ..self }
    }

    /// No samples between these ages.
    fn without_samples(self, holes: std::ops::Range<f64>) -> Self {
        Self { holes, ..self }
    }

    fn observation(&self) -> Observation {
        let start = NOW - self.age;
        let read = |(signal, blind, at_age): &Formula| {
            let ages = (0..=(self.age / STEP) as usize).map(|n| n as f64 * STEP);
            let ages = ages.filter(|it| !self.holes.contains(it) && *it >= self.age - 300.0);
            let samples = ages.map(|age| Sample { at: start + age, value: at_age(age) }).collect();
            let measured =
                Measured { source: "test".into(), samples, levels: vec![], witnessed: true, direction_blind: *blind };
            (*signal, Reading::Usable(measured))
        };
        Observation {
            target: Target {
                subject: Subject {
                    namespace: "shop".into(),
                    pod: "orders-1".into(),
                    uid: "u".into(),
                    container: "app".into(),
                },
                started: Some(start),
                memory_limit: Some(256.0 * MIB),
                containers_in_pod: 1,
                service: self.service.map(str::to_owned),
                ready: true,
                ..Target::default()
            },
            signals: self.signals.iter().map(read).collect::<BTreeMap<_, _>>(),
            ancestors: [].into(),
            window: Duration::from_secs(300),
            at: now(),
        }
    }

    fn judged(&self) -> Finding {
        judge(&self.observation(), now())
    }

    fn diagnosis(&self) -> Option<Diagnosis> {
        match self.judged().verdict {
            Verdict::Growing(growth) => Some(growth.diagnosis),
            Verdict::Healthy => None,
            Verdict::Inconclusive(why) => panic!("inconclusive: {why}"),
        }
    }

    fn doubt(&self) -> Why {
        match self.judged().verdict {
            Verdict::Inconclusive(why) => why,
            other => panic!("judged: {other:?}"),
        }
    }
}

fn judge(observation: &Observation, at: Timestamp) -> Finding {
    assess(&policy(), std::slice::from_ref(observation), at).remove(0)
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW as i64).expect("a time")
}

fn policy() -> Policy {
    let spec = serde_json::json!({"allPods": true, "window": "5m", "interval": "10s"});
    let rules: PolicyRules = serde_json::from_value(spec).expect("a spec");
    Policy::parse(&rules).expect("valid")
}

/// Noise between -1 and 1 that depends on the time alone.
fn noise(age: f64) -> f64 {
    (age * 12.9898).sin() * 43_758.547 % 1.0
}

fn memory(per_second: f64) -> impl Fn(f64) -> f64 {
    move |age| 20.0 * MIB + per_second * age + 0.3 * MIB * noise(age)
}

/// Three of ten call sites dial per call, 20 calls a second.
fn leaky() -> Container {
    container(200.0)
        .with(Signal::OpenConnections, |age| 1.0 + (6.0 * age).floor())
        .with(Signal::ConnectionsOpened, |age| 1.0 + (6.0 * age).floor())
        .with(Signal::Calls, |age| (20.0 * age).floor())
        .with(Signal::Memory, memory(6.0 * 40_000.0))
}

#[test]
fn a_client_that_dials_per_call_is_found_within_three_minutes_with_its_ratio_and_forecast() {
    let finding = leaky().judged();
    let Verdict::Growing(growth) = &finding.verdict else { panic!("{:?}", finding.verdict) };
    assert_eq!(growth.diagnosis, Diagnosis::DialPerCall);
    assert!(growth.confidence.percent() > 99.9, "{growth:?}");
    let ratio = finding.evidence.calls_per_connection.expect("a ratio");
    assert!((3.0..3.7).contains(&ratio), "{ratio}");
    let bytes = finding.evidence.bytes_per_connection.expect("a mass balance");
    assert!((30_000.0..50_000.0).contains(&bytes), "{bytes}");
    let forecast = finding.evidence.forecast.expect("a forecast");
    let truth = (256.0 - 20.0) * MIB / 240_000.0 - 200.0;
    assert!(forecast.soonest < truth && truth < forecast.latest, "{forecast:?} {truth}");
    assert_eq!(finding.evidence.witnesses.len(), 2);
}

#[test]
fn the_service_done_right_is_healthy() {
    let right = container(200.0)
        .with(Signal::OpenConnections, |_| 1.0)
        .with(Signal::ConnectionsOpened, |_| 1.0)
        .with(Signal::Calls, |age| (20.0 * age).floor())
        .with(Signal::Memory, memory(0.0))
        .with(Signal::Goroutines, |age| 11.0 + noise(age).round());
    assert_eq!(right.diagnosis(), None);
}

#[test]
fn a_fixed_pool_is_healthy_and_so_is_one_that_breathes() {
    let pool = |conns: fn(f64) -> f64| {
        container(250.0)
            .with(Signal::OpenConnections, conns)
            .with(Signal::Calls, |age| (50.0 * age).floor())
            .with(Signal::Memory, memory(0.0))
    };
    assert_eq!(pool(|_| 16.0).diagnosis(), None);
    assert_eq!(pool(|age| 16.0 + (4.0 * noise(age)).round()).diagnosis(), None);
    assert_eq!(pool(|age| 16.0 + (6.0 * (age / 30.0).sin()).round()).diagnosis(), None);
}

#[test]
fn one_step_is_not_a_leak() {
    let step = container(280.0)
        .with(Signal::OpenConnections, |age| if age < 150.0 { 10.0 } else { 60.0 })
        .with(Signal::Calls, |age| (50.0 * age).floor())
        .with(Signal::Memory, memory(0.0));
    assert!(!matches!(step.judged().verdict, Verdict::Growing(_)));
}

#[test]
fn a_rise_that_is_over_is_not_a_leak_that_goes_on() {
    let over = container(300.0)
        .with(Signal::OpenConnections, |age| (3.0 * age.min(120.0)).floor())
        .with(Signal::Calls, |age| (10.0 * age).floor())
        .with(Signal::Memory, memory(0.0));
    assert!(!matches!(over.judged().verdict, Verdict::Growing(_)));
}

#[test]
fn dialling_and_closing_is_churn_not_a_leak() {
    let churn = container(200.0)
        .with(Signal::OpenConnections, |age| f64::from(noise(age) > 0.5))
        .with(Signal::ConnectionsOpened, |age| (20.0 * age).floor())
        .with(Signal::Calls, |age| (20.0 * age).floor())
        .with(Signal::Memory, memory(0.0));
    assert_eq!(churn.diagnosis(), Some(Diagnosis::ConnectionChurn));
}

#[test]
fn channels_that_idle_out_but_are_never_closed_are_found_by_their_goroutines() {
    let idled = container(250.0)
        .with(Signal::OpenConnections, |age| 180.0 + (3.0 * noise(age)).round())
        .with(Signal::ConnectionsOpened, |age| (6.0 * age).floor())
        .with(Signal::Calls, |age| (20.0 * age).floor())
        .with(Signal::Goroutines, |age| (18.0 * age).floor())
        .with(Signal::Memory, memory(60_000.0));
    assert_eq!(idled.diagnosis(), Some(Diagnosis::IdleChannelResidue));
}

#[test]
fn sockets_alone_find_a_leak_when_memory_explains_them() {
    let sockets = |age: f64| 7.0 + (6.0 * age).floor();
    let silent = container(200.0).with_sockets(sockets).with(Signal::Memory, memory(240_000.0));
    assert_eq!(silent.diagnosis(), Some(Diagnosis::ConnectionLeak));
    let with_calls = container(200.0)
        .with_sockets(sockets)
        .with(Signal::Calls, |age| (20.0 * age).floor())
        .with(Signal::Memory, memory(240_000.0));
    assert_eq!(with_calls.diagnosis(), Some(Diagnosis::DialPerCall));
}

#[test]
fn a_server_whose_clients_leak_is_not_accused() {
    let server =
        || container(200.0).with_sockets(|age| 7.0 + (6.0 * age).floor()).with(Signal::Memory, memory(200_000.0));
    let known_by_service = server().behind("shop-server");
    let known_by_calls = server().with(Signal::CallsServed, |age| (20.0 * age).floor());
    let with_goroutines = server().behind("shop-server").with(Signal::Goroutines, |age| 10.0 + (18.0 * age).floor());
    for server in [known_by_service, known_by_calls, with_goroutines] {
        assert_eq!(server.doubt().reason(), "DirectionUnknown");
    }
}

#[test]
fn a_client_that_serves_as_well_is_told_by_five_goroutines_per_connection() {
    let both = container(200.0)
        .behind("orders")
        .with_sockets(|age| 7.0 + (6.0 * age).floor())
        .with(Signal::Goroutines, |age| 11.0 + (30.0 * age).floor())
        .with(Signal::Memory, memory(240_000.0));
    assert_eq!(both.diagnosis(), Some(Diagnosis::ConnectionLeak));
}

#[test]
fn failing_attempts_are_an_unreachable_target() {
    let down = container(200.0)
        .with(Signal::OpenConnections, |_| 0.0)
        .with(Signal::ConnectionsOpened, |_| 0.0)
        .with(Signal::ConnectionsFailed, |age| (0.5 * age).floor())
        .with(Signal::Memory, memory(0.0));
    assert_eq!(down.diagnosis(), Some(Diagnosis::TargetUnreachable));
}

#[test]
fn rejected_keepalive_is_named() {
    let rejected = container(200.0)
        .with(Signal::OpenConnections, |_| 1.0)
        .with(Signal::KeepaliveViolations, |age| (age / 20.0).floor())
        .with(Signal::Memory, memory(0.0));
    assert_eq!(rejected.diagnosis(), Some(Diagnosis::KeepaliveRejected));
}

#[test]
fn memory_that_rises_without_connections_is_not_blamed_on_grpc() {
    let elsewhere = container(250.0).with(Signal::OpenConnections, |_| 1.0).with(Signal::Memory, memory(800_000.0));
    assert_eq!(elsewhere.diagnosis(), Some(Diagnosis::MemoryLeakElsewhere));
}

#[test]
fn a_young_container_is_warming_up_and_a_short_history_is_too_short() {
    let young = container(20.0).with(Signal::OpenConnections, |age| age).with(Signal::Memory, memory(0.0));
    assert_eq!(young.doubt().reason(), "WarmingUp");
    let short = container(70.0).with(Signal::OpenConnections, |age| age).with(Signal::Memory, memory(0.0));
    assert_eq!(short.doubt().reason(), "TooShort");
}

#[test]
fn a_short_history_of_memory_withholds_the_forecast_but_not_the_finding() {
    let mut observation = leaky().observation();
    if let Some(Reading::Usable(memory)) = observation.signals.get_mut(&Signal::Memory) {
        memory.samples = memory.samples.newest(5);
    }
    let finding = judge(&observation, now());
    assert!(matches!(finding.verdict, Verdict::Growing(_)), "{:?}", finding.verdict);
    assert_eq!(finding.evidence.forecast, None);
}

#[test]
fn while_the_heap_reuses_what_it_has_connections_foretell_the_limit() {
    let still = |bytes: f64| {
        container(290.0)
            .with(Signal::OpenConnections, |age| 1_000.0 + (6.0 * age).floor())
            .with(Signal::Calls, |age| (20.0 * age).floor())
            .with(Signal::Memory, move |age| bytes + 0.3 * MIB * noise(age))
            .judged()
    };
    let finding = still(160.0 * MIB);
    let forecast = finding.evidence.forecast.expect("a forecast");
    let truth = 96.0 / 160.0 * 2_740.0 / 6.0;
    assert!((forecast.expected / truth - 1.0).abs() < 0.05, "{forecast:?} {truth}");
    let Verdict::Growing(growth) = finding.verdict else { panic!("{:?}", finding.verdict) };
    assert!(growth.message.contains("memory stands still for now, but with 60 KiB for each connection"), "{growth:?}");
    // So little memory does not answer for so many connections.
    assert_eq!(still(30.0 * MIB).evidence.forecast, None);
}

#[test]
fn connections_with_a_servers_goroutines_are_not_a_clients_because_it_calls_too() {
    let server = |calls: f64| {
        container(200.0)
            .with_sockets(|age| 7.0 + (6.0 * age).floor())
            .with(Signal::Calls, move |age| (calls * age).floor())
            .with(Signal::Goroutines, |age| 10.0 + (18.0 * age).floor())
            .with(Signal::Memory, memory(240_000.0))
    };
    assert_eq!(server(2_000.0).doubt().reason(), "DirectionUnknown");
    assert_eq!(server(20.0).diagnosis(), Some(Diagnosis::DialPerCall), "that one calls as often as it connects");
}

#[test]
fn sockets_that_may_be_a_servers_clients_are_worth_an_alert_and_no_restart() {
    let silent = container(290.0).with_sockets(|age| 7.0 + (6.0 * age).floor()).with(Signal::Memory, memory(600_000.0));
    let strength = |of: &Container| match of.judged().verdict {
        Verdict::Growing(growth) => growth.strength,
        other => panic!("{other:?}"),
    };
    assert_eq!(strength(&silent), Strength::Alertable);
    let known = silent.with(Signal::Calls, |age| (2_000.0 * age).floor());
    assert_eq!(strength(&known), Strength::Certain);
}

#[test]
fn goroutines_that_come_with_descriptors_are_a_servers_connections_and_no_residue() {
    let opened = |descriptors: f64| {
        container(250.0)
            .with(Signal::OpenConnections, |age| 5.0 + (3.0 * noise(age)).round())
            .with(Signal::ConnectionsOpened, |age| (0.5 * age).floor())
            .with(Signal::Calls, |age| (5.0 * age).floor())
            .with(Signal::Goroutines, |age| (1.5 * age).floor())
            .with(Signal::FileDescriptors, move |age| 20.0 + (descriptors * age).floor())
            .with(Signal::Memory, memory(0.0))
    };
    assert_eq!(opened(0.0).diagnosis(), Some(Diagnosis::IdleChannelResidue));
    assert_ne!(opened(0.5).diagnosis(), Some(Diagnosis::IdleChannelResidue));
}

#[test]
fn a_prometheus_younger_than_the_container_leaves_no_gap() {
    let mut observation = leaky().observation();
    observation.target.started = Some(NOW - 86_400.0);
    assert!(matches!(judge(&observation, now()).verdict, Verdict::Growing(_)));
}

#[test]
fn goroutines_as_of_open_connections_are_no_residue_where_connections_do_not_rise() {
    let busy = |each: f64| {
        container(250.0)
            .with(Signal::OpenConnections, |age| 180.0 + (3.0 * noise(age)).round())
            .with(Signal::ConnectionsOpened, |age| (0.5 * age).floor())
            .with(Signal::Calls, |age| (20.0 * age).floor())
            .with(Signal::Goroutines, move |age| (each * 0.5 * age).floor())
            .with(Signal::Memory, memory(0.0))
    };
    assert_eq!(busy(3.0).diagnosis(), Some(Diagnosis::IdleChannelResidue));
    assert_eq!(busy(6.0).diagnosis(), None);
}

#[test]
fn no_verdict_depends_on_the_absolute_time() {
    let finding = leaky().judged();
    let mut later = leaky().observation();
    let shift = 86_400.0 * 365.0;
    later.target.started = later.target.started.map(|it| it + shift);
    for reading in later.signals.values_mut() {
        if let Reading::Usable(measured) = reading {
            let later = measured.samples.iter().map(|it| Sample { at: it.at + shift, ..*it });
            measured.samples = later.collect();
        }
    }
    let then = Timestamp::from_second((NOW + shift) as i64).expect("a time");
    assert_eq!(judge(&later, then).verdict, finding.verdict);
}
