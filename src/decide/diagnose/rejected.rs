//! Keepalive that the server rejects: counted, and told together with what both sides are declared to do. What they
//! are declared to do changes the words, never the verdict.

use super::{Facts, MIN_EVENTS, counted, words};
use crate::{
    decide::{Diagnosis, Policy, Verdict, keepalive::Declaration},
    signals::Signal,
};

/// Calls per opened connection of a client that may dial for each of them: one, or nearly one while calls go on.
/// Where there are fewer, it is not calls that open connections.
const LEAST_CALLS: f64 = 0.9;

pub fn rejected(policy: &Policy, facts: &Facts<'_>) -> Option<Verdict> {
    let count = facts.recently(Signal::KeepaliveViolations).filter(|it| *it >= MIN_EVENTS)?;
    let opened = facts.recently(Signal::ConnectionsOpened).unwrap_or_default();
    let each = facts.calls_per_connection(policy, opened, facts.now - facts.recent);
    let dials = each.filter(|it| (LEAST_CALLS..policy.calls_per_connection).contains(it)).map(dials);
    let closed = format!("the server closed {count:.0} connections because of too many pings");
    let declared = Declaration::of(policy, &facts.observation.target).told();
    let message = format!("{closed} {}: {declared}{}", words::within(facts.recent), dials.unwrap_or_default());
    Some(counted(Diagnosis::KeepaliveRejected, message))
}

/// A channel learns to ping less often, and takes that with it when it is thrown away.
fn dials(calls: f64) -> String {
    format!("; a connection per {calls:.1} calls is opened, and a client that dials per call never learns")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::PolicyRules,
        decide::{Evidence, Observation, Sample, Target, assess::Counter, observation::Measured},
    };

    const NOW: f64 = 1_800_000_000.0;
    const RECENT: f64 = 300.0;

    /// What is said of a pod with these annotations, under a policy with this keepalive, for events per minute.
    fn said(keepalive: &Value, annotation: Option<&str>, per_minute: &[(Signal, f64)]) -> Option<String> {
        let spec = json!({"allPods": true, "keepalive": keepalive});
        let rules: PolicyRules = serde_json::from_value(spec).expect("a spec");
        let policy = Policy::parse(&rules).expect("valid");
        let target = Target { keepalive: Declaration::of_annotations(annotation, None), ..Target::default() };
        let observation = Observation {
            target,
            signals: BTreeMap::new(),
            ancestors: [].into(),
            window: Duration::from_secs(300),
            at: jiff::Timestamp::UNIX_EPOCH,
        };
        let counter = |(signal, rate): &(Signal, f64)| {
            let sample = |n: u32| Sample { at: NOW - 600.0 + f64::from(n) * 15.0, value: rate * f64::from(n) / 4.0 };
            let samples = (0..=40).map(sample).collect();
            let told = Measured {
                source: String::new(),
                samples,
                levels: Vec::new(),
                witnessed: false,
                direction_blind: false,
            };
            (*signal, Counter::all(&told))
        };
        let facts = Facts {
            observation: &observation,
            connections: None,
            memory: None,
            goroutines: None,
            counters: per_minute.iter().map(counter).collect(),
            direction_blind: false,
            now: NOW,
            from: NOW - 600.0,
            seen_for: 600.0,
            recent: RECENT,
            evidence: Evidence::default(),
        };
        match rejected(&policy, &facts)? {
            Verdict::Growing(growth) => Some(growth.message),
            other => panic!("{other:?}"),
        }
    }

    const OFTEN: [(Signal, f64); 1] = [(Signal::KeepaliveViolations, 4.0)];

    #[test]
    fn a_few_rejections_are_no_finding_whatever_is_declared() {
        let client = json!({"client": {"time": "10s"}});
        assert_eq!(said(&client, None, &[(Signal::KeepaliveViolations, 0.5)]), None);
        assert_eq!(said(&client, None, &[]), None);
    }

    #[test]
    fn the_numbers_of_both_sides_and_the_broken_rules_are_named() {
        let client = json!({"client": {"language": "go", "permitWithoutStream": true}});
        assert_eq!(
            said(&client, None, &OFTEN).as_deref(),
            Some(
                "the server closed 20 connections because of too many pings in 5m: the client pings every 10s \
                 (ClientParameters.Time is not set), also without calls; the server permits one every 5m (gRPC's \
                 default), only during calls (broken: WithoutStreamNotPermitted, TooOften)"
            )
        );
    }

    #[test]
    fn a_pods_annotation_is_what_its_finding_names() {
        let policy = json!({"client": {"language": "java", "time": "60s"}});
        let message = said(&policy, Some("time=20s"), &OFTEN).expect("a finding");
        assert!(message.contains("the client pings every 20s, only during calls"), "{message}");
    }

    #[test]
    fn without_a_declaration_the_defaults_are_named_and_where_to_declare() {
        let message = said(&json!({}), None, &OFTEN).expect("a finding");
        assert!(message.contains("keepalive is not declared (spec.keepalive, or annotations on the pod)"), "{message}");
        assert!(message.ends_with("a server permits one every 5m, only during calls"), "{message}");
    }

    #[test]
    fn what_is_declared_and_would_agree_is_not_what_runs() {
        let agreed = json!({"client": {"preset": "kube-apiserver"}, "server": {"preset": "etcd"}});
        let message = said(&agreed, None, &OFTEN).expect("a finding");
        assert!(message.ends_with("something else runs, or a proxy in between permits less"), "{message}");
        let half = said(&json!({"server": {"preset": "etcd"}}), None, &OFTEN).expect("a finding");
        assert!(half.contains("the client's keepalive is not declared; the server permits one every 5s"), "{half}");
    }

    #[test]
    fn a_client_that_dials_per_call_never_learns() {
        let with = |calls: f64| {
            let counters = [OFTEN[0], (Signal::ConnectionsOpened, 6.0), (Signal::Calls, calls)];
            said(&json!({}), None, &counters).expect("a finding").contains("never learns")
        };
        assert!(with(6.0) && with(30.0));
        // Sharing clients make more calls, and what opens connections by itself fewer.
        assert!(!with(600.0) && !with(1.0));
    }
}
