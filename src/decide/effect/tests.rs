//! What a restart was good for, by what replaced the restarted container.

use std::collections::BTreeMap;

use super::*;
use crate::{
    api::{Figures, RemediationStatus, WorkloadRef},
    decide::{
        Confidence, Diagnosis, Evidence, Growth, Past, Strength, Subject, Target, Workload,
        ledger::{Evidence as Settled, Ledger, Object},
        stats::{Slope, Trend},
    },
};

const HOUR: i64 = 3_600;
const MIB: f64 = 1_048_576.0;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time")
}

fn workload() -> Workload {
    Workload { namespace: "shop".into(), kind: "Deployment".into(), name: "orders".into() }
}

/// A pod of a revision that started then, with so much memory that grows by so much an hour, MiB.
fn pod(name: &str, revision: &str, started: i64, memory: f64, per_hour: Option<f64>) -> Finding {
    let slope = |it: f64| Slope { per_second: it * MIB / 3_600.0, lower: 0.0, upper: 0.0, intercept: 0.0, n: 20 };
    let growth = Growth {
        diagnosis: Diagnosis::DialPerCall,
        confidence: Confidence::from_p_value(1e-6),
        strength: Strength::Certain,
        message: "it leaks".into(),
    };
    Finding {
        target: Target {
            subject: Subject { namespace: "shop".into(), pod: name.into(), uid: name.into(), container: "app".into() },
            workload: Some(workload()),
            revision: Some(revision.into()),
            started: Some(at(started).as_duration().as_secs_f64()),
            ..Target::default()
        },
        verdict: if per_hour.is_some() { Verdict::Growing(growth) } else { Verdict::Healthy },
        evidence: Evidence {
            memory: Some(memory * MIB),
            memory_trend: per_hour.map(|it| Trend { slope: slope(it), z: 9.0, p_value: 1e-6 }),
            ..Evidence::default()
        },
        sources: vec![],
    }
}

/// The offender as it stood in the status: 1000 MiB, 100 more an hour, eight hours old.
fn past(name: &str) -> (Subject, Past) {
    let figures =
        Figures { memory_bytes: Some(1_000.0 * MIB), memory_bytes_per_hour: Some(100.0 * MIB), ..Figures::default() };
    let done = RemediationStatus {
        remediation: "Restart".into(),
        state: RemediationState::Done,
        because: None,
        message: None,
        approval: None,
    };
    let offender = Offender {
        namespace: "shop".into(),
        pod: name.into(),
        uid: name.into(),
        container: "app".into(),
        workload: Some(workload().reference()),
        diagnosis: "DialPerCall".into(),
        confidence: 99.9,
        since: Time(at(-HOUR)),
        message: "it leaks".into(),
        figures,
        standing: false,
        looks: "CC".into(),
        looked_at: None,
        started_at: Some(Time(at(-8 * HOUR))),
        confirmed: true,
        remediations: vec![done],
    };
    (Subject::from(&offender), Past { since: at(-HOUR), offender })
}

/// `orders-1` of the revision `r1` was evicted at 0, as the ledger knows.
fn history(kind: &str) -> History {
    let (uid, generation) = (if kind == "Pod" { "orders-1".to_owned() } else { "uid-orders".to_owned() }, None);
    let object = Object { kind: kind.into(), name: "orders-1".into(), uid, resource_version: "1".into(), generation };
    let entry = Entry {
        namespace: "shop".into(),
        workload: WorkloadRef { kind: "Deployment".into(), name: "orders".into() },
        revision: Some("r1".into()),
        object: object.clone(),
        diagnosis: None,
        policy: "shop/clients".into(),
        at: at(0),
        state: State::Pending,
    };
    let ledger = Ledger::begun(Timestamp::UNIX_EPOCH).debited(entry).settled(&object, Settled::Happened, at(0));
    History {
        policy: "shop/clients".into(),
        past: BTreeMap::from([past("orders-1")]),
        budget: Some(Budget::Known(ledger)),
        ..History::default()
    }
}

/// Follows the restart through evaluations, each so many seconds after it.
fn followed(kind: &str, evaluations: &[(i64, Vec<Finding>)]) -> RestartRecord {
    let mut history = history(kind);
    for (second, findings) in evaluations {
        history.restarts = effects(findings, &history, at(*second));
        // The next status knows who is found now, and no longer who is gone.
        let growing = findings.iter().filter(|it| matches!(it.verdict, Verdict::Growing(_)));
        history.past = growing.map(|it| past(&it.target.subject.pod)).collect();
    }
    let [record] = history.restarts.as_slice() else { panic!("one restart, not {:?}", history.restarts) };
    record.clone()
}

#[test]
fn a_revision_that_leaks_again_at_a_like_rate_is_a_debt_that_bought_time() {
    for kind in ["Pod", "Deployment"] {
        let young = pod("orders-2", "r1", 30, 200.0, None);
        let again = pod("orders-2", "r1", 30, 400.0, Some(120.0));
        let record = followed(
            kind,
            &[(60, vec![]), (900, vec![young]), (2 * HOUR, vec![again.clone()]), (2 * HOUR + 600, vec![again])],
        );
        assert_eq!((record.effect, record.bought, record.rollout), (Effect::LeaksAgain, Some(7_800.0), kind != "Pod"));
        let told = "it gave back 800 MiB and bought 2h10m: the same revision leaks again";
        assert_eq!(record.message.as_deref(), Some(told));
        assert_eq!((record.age, record.before.memory_per_hour), (Some(28_800.0), Some(100.0 * MIB)));
    }
}

#[test]
fn a_restart_after_which_memory_stands_as_high_was_useless() {
    let record = followed("Pod", &[(60, vec![]), (900, vec![pod("orders-2", "r1", 30, 950.0, None)])]);
    assert_eq!((record.effect, record.effect_at), (Effect::Useless, Some(Time(at(900)))));
    assert_eq!(record.message.as_deref(), Some("memory did not fall: 1000 MiB before, 954 MiB after"));
}

#[test]
fn a_restart_after_which_it_grows_faster_was_useless() {
    let young = pod("orders-2", "r1", 30, 200.0, None);
    let faster = pod("orders-2", "r1", 30, 400.0, Some(500.0));
    let record =
        followed("Pod", &[(60, vec![]), (900, vec![young]), (HOUR, vec![faster.clone()]), (2 * HOUR, vec![faster])]);
    assert_eq!(
        (record.effect, record.message.as_deref()),
        (Effect::Useless, Some("it grows 5 times as fast as before"))
    );
}

#[test]
fn what_is_as_old_as_the_restarted_one_was_and_clean_was_helped() {
    let clean = |started| pod("orders-2", "r1", started, 200.0, None);
    let record = followed("Pod", &[(60, vec![]), (7 * HOUR, vec![clean(30)])]);
    assert_eq!(record.effect, Effect::Pending);
    let record = followed("Pod", &[(60, vec![]), (9 * HOUR, vec![clean(30)])]);
    assert_eq!(record.effect, Effect::Helped);
}

#[test]
fn others_of_the_workload_say_nothing_and_a_new_revision_ends_the_question() {
    let older = pod("orders-3", "r1", -HOUR, 990.0, Some(100.0));
    assert_eq!(followed("Pod", &[(60, vec![]), (900, vec![older])]).effect, Effect::Pending);
    let newer = pod("orders-4", "r2", 300, 990.0, Some(100.0));
    assert_eq!(followed("Pod", &[(60, vec![]), (900, vec![newer])]).effect, Effect::Unknown);
}

#[test]
fn who_warms_up_is_not_compared_yet() {
    let mut warm = pod("orders-2", "r1", 30, 990.0, None);
    warm.verdict = Verdict::Inconclusive(Why::WarmingUp { remaining: 60.0 });
    assert_eq!(followed("Pod", &[(60, vec![]), (120, vec![warm])]).effect, Effect::Pending);
}

#[test]
fn a_restart_of_which_the_status_knew_nothing_is_not_judged() {
    let mut lost = history("Pod");
    lost.past.clear();
    let records = effects(&[pod("orders-2", "r1", 30, 990.0, None)], &lost, at(900));
    assert_eq!(records[0].effect, Effect::Unknown);
    lost.restarts = records.clone();
    assert_eq!(effects(&[], &lost, at(960)), records, "and it is written down once");
    lost.budget = None;
    assert_eq!(effects(&[], &lost, at(7 * 24 * HOUR)), [], "and forgotten after a week");
}

#[test]
fn a_restart_of_another_policy_or_one_that_is_not_settled_is_not_told() {
    let other = History { policy: "other".into(), ..history("Pod") };
    assert_eq!(effects(&[], &other, at(60)), []);
    let mut open = history("Pod");
    if let Some(Budget::Known(ledger)) = &mut open.budget {
        ledger.entries[0].state = State::Pending;
    }
    assert_eq!(effects(&[], &open, at(60)), []);
}
