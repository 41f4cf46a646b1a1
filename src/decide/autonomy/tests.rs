//! What closes a case and how. A policy is followed through evaluations; each test says what is seen in them.

use std::collections::BTreeMap;

mod stages;

use super::*;
use crate::{
    api::{CaseKind, CaseOutcome, ClosedCase, Effect, LifeFigures, RestartRecord, WorkloadRef},
    decide::{
        Budget, Confidence, Diagnosis, Evidence, Forecast, Growth, History, Past, Standing, Strength, Subject, Target,
        Verdict, Why, Workload, WorkloadState, ledger::Ledger, plan, status::offender,
    },
};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

fn unix(seconds: i64) -> f64 {
    at(seconds).as_duration().as_secs_f64()
}

fn workload(name: &str) -> Workload {
    Workload { namespace: "shop".into(), kind: "Deployment".into(), name: name.into() }
}

/// A container of the revision `r1` that started at 0.
fn target(name: &str) -> Target {
    let pod = format!("{name}-r1-1");
    Target {
        subject: Subject { namespace: "shop".into(), uid: pod.clone(), pod, container: "app".into() },
        workload: Some(workload(name)),
        revision: Some("r1".into()),
        started: Some(unix(0)),
        memory_limit: Some(1e9),
        containers_in_pod: 1,
        ready: true,
        ..Target::default()
    }
}

/// It leaks; its memory is so many MB by now.
fn leaks(target: Target, megabytes: f64) -> Finding {
    Finding {
        verdict: Verdict::Growing(Growth {
            diagnosis: Diagnosis::ConnectionLeak,
            confidence: Confidence::from_p_value(1e-6),
            strength: Strength::Certain,
            message: "it leaks".into(),
        }),
        evidence: Evidence {
            memory: Some(megabytes * 1e6),
            open_connections: Some(megabytes),
            calls: Some(36_000.0),
            span: Some(3_600.0),
            forecast: Some(Forecast { soonest: 7_000.0, expected: 9_000.0, latest: 12_000.0, restart_by: 6_700.0 }),
            witnesses: vec!["KubeletSockets".into()],
            ..Evidence::default()
        },
        target,
        sources: vec![],
    }
}

fn clean(target: Target, megabytes: f64) -> Finding {
    Finding { verdict: Verdict::Healthy, ..leaks(target, megabytes) }
}

fn unknown(target: Target) -> Finding {
    Finding { verdict: Verdict::Inconclusive(Why::NoData), ..leaks(target, 0.0) }
}

/// A policy that is evaluated again and again, and remembers what a status does.
struct Life {
    policy: Policy,
    past: BTreeMap<Subject, Past>,
    record: Option<Autonomy>,
    restarts: Vec<RestartRecord>,
    now: i64,
}

fn parsed(remediation: &serde_json::Value) -> Policy {
    let rules = serde_json::json!({"allPods": true, "mode": "Auto", "remediation": remediation});
    Policy::parse(&serde_json::from_value(rules).expect("a spec")).expect("valid")
}

fn life() -> Life {
    let policy = parsed(&serde_json::json!({"annotate": {}, "alert": {}, "restart": {}}));
    Life { policy, past: BTreeMap::new(), record: None, restarts: vec![], now: HOUR }
}

impl Life {
    /// One evaluation, so long after the last one.
    fn sees(&mut self, after: i64, findings: &[Finding]) -> &Autonomy {
        self.now += after;
        let now = at(self.now);
        let replicas = WorkloadState { desired: 3, ready: 3, available: 3, surges: true, ..WorkloadState::default() };
        let workloads = findings.iter().filter_map(|it| it.target.workload.clone());
        let history = History {
            policy: "shop/clients".into(),
            past: std::mem::take(&mut self.past),
            budget: Some(Budget::Known(Ledger::begun(Timestamp::UNIX_EPOCH))),
            workloads: workloads.map(|it| (it, Standing::Known(replicas.clone()))).collect(),
            ..History::default()
        };
        let status = self.record.clone().map(|it| GrpcClientPolicyStatus { autonomy: Some(it), ..Default::default() });
        let policy = entrusted(self.policy.clone(), "rules", status.as_ref(), now);
        let plan = plan(&policy, findings, &history, now);
        let remembered = |it: &crate::decide::Case| {
            (it.target.subject.clone(), Past { since: it.since, offender: offender(it, &[]) })
        };
        self.past = plan.cases.iter().map(remembered).collect();
        let restarts = self.restarts.as_slice();
        let seen = Seen { policy: &policy, findings, plan: &plan, restarts, fingerprint: "rules", now };
        self.record = super::after(self.record.as_ref(), &seen);
        self.record()
    }

    fn record(&self) -> &Autonomy {
        self.record.as_ref().expect("a record")
    }

    /// It is found, confirmed, and would be alerted about: a case has begun.
    fn finds(&mut self, finding: &Finding) {
        for _ in 0..4 {
            self.sees(HOUR, std::slice::from_ref(finding));
        }
        assert!(self.record().open.iter().any(|it| it.kind == CaseKind::Alert), "{:?}", self.record());
    }

    fn outcomes(&self, kind: CaseKind) -> Vec<CaseOutcome> {
        self.record().closed.iter().filter(|it| it.kind == kind).map(|it| it.outcome).collect()
    }
}

fn restart(effect: Effect, at_second: i64, known: i64) -> RestartRecord {
    RestartRecord {
        namespace: "shop".into(),
        workload: WorkloadRef { kind: "Deployment".into(), name: "orders".into() },
        container: "app".into(),
        uid: "orders-r1-1".into(),
        pod: "orders-r1-1".into(),
        rollout: false,
        revision: Some("r1".into()),
        at: Time(at(at_second)),
        age: Some(3_600.0),
        before: LifeFigures::default(),
        after: LifeFigures::default(),
        effect,
        effect_at: Some(Time(at(known))),
        bought: None,
        message: Some("memory did not fall".into()),
    }
}

#[test]
fn a_leak_that_goes_on_in_data_that_came_later_was_right() {
    let mut life = life();
    life.finds(&leaks(target("orders"), 300.0));
    life.sees(HOUR, &[leaks(target("orders"), 330.0)]);
    assert_eq!(life.outcomes(CaseKind::Alert), [], "patience asks for four hours");
    life.sees(4 * HOUR, &[leaks(target("orders"), 400.0)]);
    assert_eq!(life.outcomes(CaseKind::Alert), [CaseOutcome::WentOn]);
    assert_eq!(life.outcomes(CaseKind::Restart), [CaseOutcome::WentOn], "the restart that would have been made, too");
    assert_eq!((life.record().cases.right, life.record().restarts.right), (1, 1));
}

#[test]
fn a_finding_that_stands_without_growing_further_proves_nothing() {
    let mut life = life();
    life.finds(&leaks(target("orders"), 300.0));
    life.sees(10 * HOUR, &[leaks(target("orders"), 305.0)]);
    assert_eq!(life.outcomes(CaseKind::Alert), []);
    life.sees(7 * DAY, &[leaks(target("orders"), 305.0)]);
    assert_eq!(life.outcomes(CaseKind::Alert), [CaseOutcome::Undecided]);
}

#[test]
fn what_goes_away_by_itself_was_wrong_and_a_gap_in_the_data_is_not_that() {
    let mut life = life();
    life.finds(&leaks(target("orders"), 300.0));
    for _ in 0..4 {
        life.sees(HOUR, &[unknown(target("orders"))]);
    }
    assert_eq!(life.outcomes(CaseKind::Alert), []);
    for _ in 0..3 {
        life.sees(HOUR, &[clean(target("orders"), 300.0)]);
    }
    assert_eq!(life.outcomes(CaseKind::Alert), [CaseOutcome::WentAway]);
    assert_eq!((life.record().cases.right, life.record().cases.wrong), (0, 1));
}

#[test]
fn what_was_called_right_and_goes_away_within_a_day_was_wrong_after_all() {
    let mut life = life();
    life.finds(&leaks(target("orders"), 300.0));
    life.sees(5 * HOUR, &[leaks(target("orders"), 400.0)]);
    assert_eq!(life.outcomes(CaseKind::Alert), [CaseOutcome::WentOn]);
    for _ in 0..3 {
        life.sees(HOUR, &[clean(target("orders"), 400.0)]);
    }
    assert_eq!(life.outcomes(CaseKind::Alert), [CaseOutcome::WentAway]);
}

#[test]
fn a_leak_that_stops_with_the_load_and_keeps_its_memory_counts_for_nobody() {
    let mut life = life();
    life.finds(&leaks(target("orders"), 300.0));
    let mut night = clean(target("orders"), 310.0);
    night.evidence.calls = Some(400.0);
    for _ in 0..3 {
        life.sees(HOUR, &[night.clone()]);
    }
    assert_eq!(life.outcomes(CaseKind::Alert), [CaseOutcome::LoadStopped]);
    assert_eq!((life.record().cases.right, life.record().cases.wrong, life.record().cases.unknown), (0, 0, 1));
}

#[test]
fn a_container_that_was_killed_for_its_memory_was_found_rightly_and_another_end_says_nothing() {
    for (killed, outcome) in [(Some(8 * HOUR), CaseOutcome::OutOfMemory), (None, CaseOutcome::Ended)] {
        let mut life = life();
        life.finds(&leaks(target("orders"), 300.0));
        let again = Target { started: Some(unix(8 * HOUR)), killed: killed.map(unix), ..target("orders") };
        life.sees(4 * HOUR, &[unknown(again)]);
        assert_eq!(life.outcomes(CaseKind::Alert), [outcome]);
    }
    let mut life = life();
    life.finds(&leaks(target("orders"), 300.0));
    let before = Target { killed: Some(unix(-60)), ..target("orders") };
    life.sees(HOUR, &[leaks(before, 310.0)]);
    assert_eq!(life.outcomes(CaseKind::Alert), [], "a kill before it was found says nothing about it");
}

/// A pod of the revision `r2` that started at this time.
fn fixed(name: &str, started: i64) -> Target {
    let subject = Subject { pod: format!("{name}-r2-1"), uid: format!("{name}-r2-1"), ..target(name).subject };
    Target { subject, revision: Some("r2".into()), started: Some(unix(started)), ..target(name) }
}

#[test]
fn a_revision_that_is_clean_at_the_same_age_shows_that_there_was_something_to_fix() {
    let mut life = life();
    life.finds(&leaks(target("orders"), 300.0));
    let deployed = life.now + HOUR;
    life.sees(2 * HOUR, &[clean(fixed("orders", deployed), 100.0)]);
    assert_eq!(life.outcomes(CaseKind::Alert), [], "it is too young to be compared");
    life.sees(6 * HOUR, &[clean(fixed("orders", deployed), 100.0)]);
    assert_eq!(life.outcomes(CaseKind::Alert), [CaseOutcome::Fixed]);
    assert_eq!((life.record().cases.right, life.record().restarts.right, life.record().restarts.unknown), (1, 0, 1));
}

#[test]
fn a_pod_that_is_just_gone_counts_for_nobody_and_only_after_a_while() {
    let mut life = life();
    life.finds(&leaks(target("orders"), 300.0));
    life.sees(60, &[]);
    life.sees(600, &[]);
    assert_eq!(life.outcomes(CaseKind::Alert), []);
    life.sees(1_800, &[]);
    assert_eq!(life.outcomes(CaseKind::Alert), [CaseOutcome::Gone]);
}

#[test]
fn a_restart_decides_its_case_by_what_it_was_good_for() {
    for (effect, outcome) in [
        (Effect::LeaksAgain, Some(CaseOutcome::CameBack)),
        (Effect::Useless, Some(CaseOutcome::Useless)),
        (Effect::Helped, Some(CaseOutcome::Gone)),
        (Effect::Pending, None),
    ] {
        let mut life = life();
        life.finds(&leaks(target("orders"), 300.0));
        // By the ledger's clock it was made in the second in which the case began.
        let began = life.record().open[0].since.0;
        let since = began.duration_since(at(0)).as_secs();
        life.restarts = vec![restart(effect, since - 1, life.now + 120)];
        life.sees(2 * HOUR, &[]);
        assert_eq!(life.outcomes(CaseKind::Alert), outcome.into_iter().collect::<Vec<_>>(), "{effect:?}");
    }
}
