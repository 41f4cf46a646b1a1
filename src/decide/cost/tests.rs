//! What is told of restarts, and who is blamed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::{
    api::{LifeFigures, WorkloadRef},
    decide::{
        Confidence, Diagnosis, Growth, Rung, Strength, Subject, Workload,
        ledger::{Ledger, Object},
        looks::Looks,
    },
};

/// Hours after 2026-11-26, midnight.
fn at(hours: i64) -> Timestamp {
    let midnight: Timestamp = "2026-11-26T00:00:00Z".parse().expect("a time");
    midnight + SignedDuration::from_hours(hours)
}

fn orders() -> WorkloadRef {
    WorkloadRef { kind: "Deployment".into(), name: "orders".into() }
}

fn case(because: Because) -> Case {
    let workload = Workload { namespace: "shop".into(), kind: "Deployment".into(), name: "orders".into() };
    Case {
        target: Target {
            subject: Subject { namespace: "shop".into(), pod: "p".into(), uid: "p".into(), container: "app".into() },
            workload: Some(workload),
            revision: Some("7d9f".into()),
            image: Some("shop:1.45".into()),
            ..Target::default()
        },
        growth: Growth {
            diagnosis: Diagnosis::DialPerCall,
            confidence: Confidence::from_p_value(1e-6),
            strength: Strength::Certain,
            message: "it leaks".into(),
        },
        evidence: Evidence::default(),
        since: at(0),
        standing: false,
        looks: Looks::default(),
        confirmed: true,
        profile: None,
        approvals: crate::decide::approval::Asked::default(),
        rungs: vec![Rung { remediation: Remediation::Restart, decision: Decision::Withheld(because), restart: None }],
    }
}

fn debt() -> Case {
    case(Refusal::Debt { restarts: 3, until: at(48) }.into())
}

/// Restarts of the revision at these hours.
fn history(revision: &str, hours: &[i64]) -> History {
    let entry = |hours: &i64| Entry {
        namespace: "shop".into(),
        workload: orders(),
        revision: Some(revision.into()),
        object: Object {
            kind: "Pod".into(),
            name: format!("p{hours}"),
            uid: format!("p{hours}"),
            resource_version: "1".into(),
            generation: None,
        },
        diagnosis: None,
        policy: "shop/clients".into(),
        at: at(*hours),
        state: State::Confirmed,
    };
    let ledger = Ledger { entries: hours.iter().map(entry).collect(), ..Ledger::begun(Timestamp::UNIX_EPOCH) };
    History { budget: Some(Budget::Known(ledger)), ..History::default() }
}

fn record(hours: i64, effect: Effect) -> RestartRecord {
    let memory = |mib: f64| LifeFigures { memory: Some(mib * 1_048_576.0), ..LifeFigures::default() };
    RestartRecord {
        namespace: "shop".into(),
        workload: orders(),
        container: "app".into(),
        uid: format!("p{hours}"),
        pod: format!("p{hours}"),
        rollout: false,
        revision: Some("7d9f".into()),
        at: Time(at(hours)),
        age: None,
        before: memory(1_800.0),
        after: memory(300.0),
        effect,
        effect_at: None,
        bought: Some(7_800.0),
        message: Some("memory did not fall".into()),
    }
}

#[test]
fn an_alert_of_a_debt_says_what_it_has_cost_and_who_brought_it() {
    let mut case = debt();
    let brought = Brought { revision: "7d9f".into(), image: Some("shop:1.45".into()), since: Some(at(-10)) };
    case.evidence.brought = Some(brought);
    let mut history = history("7d9f", &[-30, 2, 4, 6]);
    history.restarts = [2, 4, 6].map(|it| record(it, Effect::LeaksAgain)).to_vec();
    assert_eq!(
        cost(&case, &history, at(7)).as_deref(),
        Some(
            "restarted 3 times in 24h, 4 times since this revision came, each bought about 2h10m and gave back about \
             1.5 GiB; no more restarts now, the last was at 2026-11-26T06:00:00Z; revision 7d9f (image shop:1.45) \
             brought it on 2026-11-25"
        )
    );
}

#[test]
fn what_is_not_known_is_not_told() {
    let told = cost(&debt(), &history("7d9f", &[0, 3, 5]), at(7)).expect("a sentence");
    let known = "restarted 3 times in 24h, each bought about 2h30m; no more restarts now, the last was at \
                 2026-11-26T05:00:00Z; it is in revision 7d9f (image shop:1.45)";
    assert_eq!(told, known, "the time between them is all that is known");
    let once = cost(&case(Because::OneAtATime), &history("7d9f", &[0]), at(7)).expect("a sentence");
    assert_eq!(once, "restarted once in 24h; it is in revision 7d9f (image shop:1.45)");
    assert_eq!(cost(&debt(), &history("another", &[0]), at(7)), None, "another revision's are not this one's");
    assert_eq!(cost(&debt(), &history("7d9f", &[]), at(7)), None);
    assert_eq!(cost(&debt(), &History::default(), at(7)), None, "nobody looked into the ledger");
}

#[test]
fn a_useless_restart_is_told_for_what_it_was() {
    let mut history = history("7d9f", &[2]);
    history.restarts = vec![RestartRecord { bought: None, ..record(2, Effect::Useless) }];
    let told = cost(&case(Refusal::Cooldown { until: at(8) }.into()), &history, at(7)).expect("a sentence");
    assert!(told.contains("; the last restart, at 2026-11-26T02:00:00Z, was useless: memory did not fall; "), "{told}");
}
