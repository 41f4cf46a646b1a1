//! Whom a profile is wanted of, where it is served, what is remembered, and what a restart waits for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::{
    api::Offender,
    decide::{
        Budget, Confidence, Evidence, Finding, Forecast, Growth, Past, Standing, Strength, Verdict, WorkloadState,
        ledger::Ledger, plan,
    },
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

/// Findings stand since `at(0)`.
fn now() -> Timestamp {
    at(3_600)
}

fn workload() -> Workload {
    Workload { namespace: "shop".into(), kind: "Deployment".into(), name: "orders".into() }
}

fn subject(pod: &str) -> Subject {
    Subject { namespace: "shop".into(), pod: pod.into(), uid: pod.into(), container: "app".into() }
}

fn target(pod: &str) -> Target {
    Target { subject: subject(pod), workload: Some(workload()), ready: true, ..Target::default() }
}

fn finding(pod: &str, diagnosis: Diagnosis, restart_by: f64) -> Finding {
    let forecast = Forecast { soonest: restart_by + 300.0, expected: 9_000.0, latest: 9_999.0, restart_by };
    Finding {
        target: target(pod),
        verdict: Verdict::Growing(Growth {
            diagnosis,
            confidence: Confidence::from_p_value(1e-9),
            strength: Strength::Certain,
            message: "it leaks".into(),
        }),
        evidence: Evidence { forecast: Some(forecast), witnesses: vec!["k".into()], ..Evidence::default() },
        sources: vec![],
    }
}

fn past(pod: &str) -> (Subject, Past) {
    let offender: Offender = serde_json::from_value(json!({
        "namespace": "shop", "pod": pod, "uid": pod, "container": "app", "diagnosis": "DialPerCall",
        "confidence": 99.99, "since": at(0).to_string(), "message": "it leaks", "figures": {}, "looks": "CC",
        "lookedAt": at(0).to_string(), "confirmed": true
    }))
    .expect("an offender");
    (subject(pod), Past { since: at(0), offender })
}

fn stored(pod: &str, taken_at: Timestamp) -> ProfileRecord {
    ProfileRecord { samples: Some(31.0), ..thin(pod, taken_at) }
}

/// A stored one with too few samples to say who leaks.
fn thin(pod: &str, taken_at: Timestamp) -> ProfileRecord {
    record(&subject(pod), taken_at, Ok(&Blame::default()), Some((format!("{pod}.pb.gz"), "operator-1".into())))
}

fn failed(pod: &str, taken_at: Timestamp) -> ProfileRecord {
    record(&subject(pod), taken_at, Err("connection refused".into()), None)
}

struct World {
    policy: Policy,
    findings: Vec<Finding>,
    history: History,
}

fn world(pods: &[&str], evidence: &str) -> World {
    let spec = json!({"allPods": true, "mode": "Enforce", "profiles": {"port": 6060}, "remediation":
        {"alert": {"after": "0s"}, "restart": {"after": "0s", "evidence": evidence}}});
    let alert = json!({"namespace": "shop", "workload": workload().reference(), "container": "app",
        "diagnosis": "DialPerCall", "severity": "warning", "summary": "", "startsAt": at(0).to_string(),
        "delivered": true});
    let state = WorkloadState { desired: 9, ready: 9, available: 9, surges: true, ..WorkloadState::default() };
    World {
        policy: policy(spec).expect("valid"),
        findings: pods.iter().map(|it| finding(it, Diagnosis::DialPerCall, 6_700.0)).collect(),
        history: History {
            past: pods.iter().map(|it| past(it)).collect(),
            alerts: vec![serde_json::from_value(alert).expect("an alert")],
            budget: Some(Budget::Known(Ledger::begun(Timestamp::UNIX_EPOCH))),
            workloads: BTreeMap::from([(workload(), Standing::Known(state))]),
            operator: "operator-1".into(),
            ..History::default()
        },
    }
}

fn policy(spec: Value) -> Result<Policy, InvalidPolicy> {
    Policy::parse(&serde_json::from_value(spec).expect("a spec"))
}

impl World {
    fn plan(&self) -> Plan {
        plan(&self.policy, &self.findings, &self.history, now())
    }

    fn wanted(&self) -> Vec<String> {
        let plan = self.plan();
        wanted(&self.policy, &plan, &self.history, now()).iter().map(|it| it.target.subject.pod.clone()).collect()
    }

    /// What becomes of the first pod's restart.
    fn restart(&self) -> Result<(), &'static str> {
        let plan = self.plan();
        let rung = plan.cases[0].rungs.iter().find(|it| it.remediation == Remediation::Restart).expect("a restart");
        match &rung.decision {
            Decision::Withheld(because) => Err(because.reason()),
            Decision::Do | Decision::WouldDo => Ok(()),
        }
    }

    fn remembers(mut self, record: ProfileRecord) -> Self {
        self.history.held.extend(record.file.clone());
        self.history = self.history.with(vec![record]);
        self
    }
}

#[test]
fn nobody_is_asked_unless_the_policy_says_so() {
    let mut off = world(&["a"], "BestEffort");
    assert_eq!(off.wanted(), ["a"]);
    off.policy.profiles = None;
    assert!(off.wanted().is_empty());
    assert_eq!(off.restart(), Ok(()), "and best effort is none");
}

#[test]
fn a_profile_is_wanted_only_of_what_a_heap_can_tell() {
    for diagnosis in Diagnosis::ALL {
        let world = World { findings: vec![finding("a", diagnosis, 6_700.0)], ..world(&["a"], "None") };
        assert_eq!(!world.wanted().is_empty(), is_told_by(diagnosis), "{diagnosis}");
    }
}

#[test]
fn a_restart_waits_for_the_first_try_and_then_goes_on_whatever_came_of_it() {
    let asked = || world(&["a"], "BestEffort");
    assert_eq!(asked().restart(), Err("NoEvidence"));
    assert_eq!(asked().remembers(failed("a", now())).restart(), Ok(()));
    assert_eq!(asked().remembers(thin("a", now())).restart(), Ok(()));
}

#[test]
fn where_a_profile_is_required_only_a_stored_one_will_do_until_memory_is_about_to_run_out() {
    let required = || world(&["a"], "Required");
    assert_eq!(required().restart(), Err("NoEvidence"));
    assert_eq!(required().remembers(failed("a", now())).restart(), Err("NoEvidence"));
    assert_eq!(required().remembers(thin("a", now())).restart(), Err("NoEvidence"));
    assert_eq!(required().remembers(stored("a", now())).restart(), Ok(()));
    let last_moment = World { findings: vec![finding("a", Diagnosis::DialPerCall, 59.0)], ..required() };
    assert_eq!(last_moment.remembers(failed("a", now())).restart(), Ok(()));
}

#[test]
fn a_profile_that_another_operator_pod_stored_does_not_outlive_it_and_is_taken_again() {
    let mut lost = world(&["a"], "Required").remembers(stored("a", now()));
    lost.history.held.clear();
    assert_eq!((lost.restart(), lost.wanted()), (Err("NoEvidence"), vec!["a".to_owned()]));
}

#[test]
fn nobody_is_asked_at_every_evaluation() {
    let asked = |record: ProfileRecord| !world(&["a"], "None").remembers(record).wanted().is_empty();
    assert!(!asked(failed("a", at(3_500))) && asked(failed("a", at(3_200))));
    assert!(!asked(stored("a", at(0))) && asked(stored("a", at(-18_001))));
}

#[test]
fn a_thin_profile_is_taken_again_when_the_finding_has_become_twice_as_old() {
    let asked = |taken_at| !world(&["a"], "None").remembers(thin("a", at(taken_at))).wanted().is_empty();
    // The finding stands since 0, and it is 3600.
    assert!(asked(1_800) && !asked(1_801), "half its age ago");
    let fresh = |since: i64, taken_at| {
        let mut world = world(&["a"], "None").remembers(thin("a", at(taken_at)));
        world.history.past.values_mut().for_each(|it| it.since = at(since));
        !world.wanted().is_empty()
    };
    assert!(fresh(3_480, 3_480) && !fresh(3_490, 3_490), "not before two minutes");
}

#[test]
fn of_a_workload_a_few_are_asked_and_of_many_only_some_at_once() {
    let five = ["a", "b", "c", "d", "e"];
    assert_eq!(world(&five, "None").wanted(), ["a", "b", "c"]);
    let known = world(&five, "None").remembers(stored("a", now())).remembers(stored("b", now()));
    assert_eq!(known.remembers(stored("c", now())).wanted(), [""; 0]);
    assert_eq!(world(&five, "Required").wanted().len(), 4, "each restart may wait for its own");
}

#[test]
fn what_is_remembered_is_what_somebody_still_has() {
    let mut world = world(&["a"], "None").remembers(stored("gone", at(0))).remembers(stored("a", at(0)));
    world.history = world.history.with(vec![failed("b", at(0))]);
    let names = |world: &World| -> Vec<String> {
        remembered(&world.history, &world.plan(), now()).iter().map(|it| it.pod.clone()).collect()
    };
    assert_eq!(names(&world), ["a", "gone"], "the profile outlives the pod, a failure does not");
    world.history.held.remove("a.pb.gz");
    assert_eq!(names(&world), ["gone"], "the shelf has thrown it away");
}

#[test]
fn the_page_is_where_the_annotation_says_or_else_the_policy() {
    let rule = |spec| ProfilesRule::parse(&serde_json::from_value(spec).expect("a spec")).expect("valid");
    let page_of = |target: &Target| {
        page(&rule(json!({})), target).map(|it| format!("{}{}", it.port, it.path)).map_err(|it| it.to_string())
    };
    let mut target = target("a");
    assert!(page_of(&target).is_err_and(|it| it.contains("no port named pprof")));
    target.ports.insert("pprof".into(), 6060);
    assert_eq!(page_of(&target).as_deref(), Ok("6060/debug/pprof"));
    for (text, place) in
        [("7070", "7070/debug/pprof"), ("7070/admin/pprof/", "7070/admin/pprof"), (" 7070 ", "7070/debug/pprof")]
    {
        target.pprof = Some(text.into());
        assert_eq!(page_of(&target).as_deref(), Ok(place), "{text}");
    }
    for text in ["", "0", "70000", "pprof", "7070/../etc", "7070/a?b", "http://evil", "7070//evil", "7070/a b"] {
        target.pprof = Some(text.into());
        assert!(page_of(&target).is_err_and(|it| it.contains("grpc-hygiene.io/pprof")), "{text}");
    }
    target.host_network = true;
    assert!(page_of(&target).is_err_and(|it| it.contains("node's network")), "its port may be the node's");
}

#[test]
fn sites_are_told_in_one_line_with_as_many_digits_as_they_deserve() {
    let site = |function: &str, channels| Site {
        function: function.into(),
        file: "/src/example.com/shop/handlers/orders.go".into(),
        line: 28,
        channels,
        at_least: 0.0,
        at_most: 0.0,
        bytes: channels * 4_400.0,
        samples: 9.0,
        confidence: 99.99,
        through: vec![],
        callers: vec![],
        grew: None,
    };
    let accused = vec![site("example.com/shop/handlers.(*Orders).GetUser", 1_234.0), site("main.notify", 37.4)];
    let record = record(&subject("a"), now(), Ok(&Blame { accused, ..Blame::default() }), None);
    assert_eq!(
        words(&record.sites),
        "handlers.(*Orders).GetUser (handlers/orders.go:28) holds 1200 channels, main.notify (handlers/orders.go:28) holds 37 channels"
    );
    assert_eq!(record.problem, None);
}
