//! Which events a change of the status is worth.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::{
    api::{ApprovalStatus, Figures, RemediationStatus},
    decide::{Cleared, Evidence, Target},
};

fn offender(diagnosis: &str, restart: Option<RemediationState>) -> Offender {
    let step = |state| RemediationStatus {
        remediation: "Restart".into(),
        state,
        because: None,
        message: None,
        approval: None,
    };
    Offender {
        namespace: "shop".into(),
        pod: "orders-1".into(),
        uid: "u1".into(),
        container: "app".into(),
        workload: Some(WorkloadRef { kind: "Deployment".into(), name: "orders".into() }),
        diagnosis: diagnosis.into(),
        confidence: 99.9,
        since: Time(Timestamp::UNIX_EPOCH),
        message: "it leaks".into(),
        figures: Figures::default(),
        standing: false,
        looks: String::new(),
        looked_at: None,
        confirmed: true,
        remediations: restart.map(step).into_iter().collect(),
    }
}

fn status(offenders: Vec<Offender>) -> GrpcClientPolicyStatus {
    GrpcClientPolicyStatus { offenders, ..GrpcClientPolicyStatus::default() }
}

fn plan(mode: Mode) -> Plan {
    Plan {
        policy: "shop/clients".into(),
        mode,
        cases: vec![],
        cleared: Cleared::default(),
        annotated: vec![],
        alerts: vec![],
        limits: None,
        storm: None,
        exceeded: vec![],
        overlaps: vec![],
        others: crate::decide::Others::default(),
        generation: None,
    }
}

fn healthy() -> Finding {
    let subject =
        Subject { namespace: "shop".into(), pod: "orders-1".into(), uid: "u1".into(), container: "app".into() };
    let target = Target { subject, containers_in_pod: 1, ready: true, ..Target::default() };
    Finding { target, verdict: Verdict::Healthy, evidence: Evidence::default(), sources: vec![] }
}

fn reasons(
    old: &GrpcClientPolicyStatus,
    new: &GrpcClientPolicyStatus,
    mode: Mode,
    findings: &[Finding],
) -> Vec<&'static str> {
    news(Some(old), new, &plan(mode), findings).into_iter().map(|it| it.reason).collect()
}

#[test]
fn a_finding_is_news_once_and_again_when_its_diagnosis_changes() {
    let found = status(vec![offender("DialPerCall", None)]);
    assert_eq!(reasons(&status(vec![]), &found, Mode::DryRun, &[]), ["DialPerCall"]);
    assert!(reasons(&found, &found, Mode::DryRun, &[]).is_empty());
    let changed = status(vec![offender("ConnectionLeak", None)]);
    assert_eq!(reasons(&found, &changed, Mode::DryRun, &[]), ["ConnectionLeak"]);
}

#[test]
fn a_restart_is_news_and_so_is_one_that_a_dry_run_would_do() {
    let found = status(vec![offender("DialPerCall", None)]);
    let restarted = status(vec![offender("DialPerCall", Some(RemediationState::Done))]);
    assert_eq!(reasons(&found, &restarted, Mode::Enforce, &[]), ["Restarted"]);
    let would = status(vec![offender("DialPerCall", Some(RemediationState::WouldDo))]);
    assert_eq!(reasons(&found, &would, Mode::DryRun, &[]), ["WouldRestart"]);
    assert!(reasons(&would, &would, Mode::DryRun, &[]).is_empty());
}

#[test]
fn that_a_restart_waits_for_a_person_is_news_once_for_each_finding() {
    let waiting = |pod: &str, digest: &str| {
        let mut offender = Offender { pod: pod.into(), ..offender("DialPerCall", Some(RemediationState::Withheld)) };
        let (digest, state) = (digest.to_owned(), ApprovalState::Waiting);
        let approval = ApprovalStatus { digest, state, revision: None, too_late_after: None, until: None };
        offender.remediations[0].approval = Some(approval);
        offender.remediations[0].message = Some("grpc-hygiene approve shop/clients 3fa1c0de12".into());
        offender
    };
    let found = status(vec![offender("DialPerCall", None)]);
    let both = status(vec![waiting("orders-1", "3fa1c0de12"), waiting("orders-2", "3fa1c0de12")]);
    let of_both = reasons(&found, &both, Mode::Enforce, &[]);
    assert_eq!(of_both.iter().filter(|it| **it == "AwaitingApproval").count(), 1, "{of_both:?}");
    assert!(reasons(&both, &both, Mode::Enforce, &[]).is_empty());
    let another = status(vec![waiting("orders-1", "0000000000"), waiting("orders-2", "3fa1c0de12")]);
    assert_eq!(reasons(&both, &another, Mode::Enforce, &[]), ["AwaitingApproval"]);
    let note =
        news(Some(&found), &both, &plan(Mode::Enforce), &[]).into_iter().find(|it| it.reason == "AwaitingApproval");
    assert!(note.is_some_and(|it| it.note.ends_with("grpc-hygiene approve shop/clients 3fa1c0de12")));
}

#[test]
fn who_is_healthy_again_has_recovered_and_who_is_gone_has_not() {
    let found = status(vec![offender("DialPerCall", None)]);
    assert_eq!(reasons(&found, &status(vec![]), Mode::Enforce, &[healthy()]), ["Recovered"]);
    assert!(reasons(&found, &status(vec![]), Mode::Enforce, &[]).is_empty());
}

#[test]
fn policies_of_one_interval_meet_at_its_multiples() {
    let minute = std::time::Duration::from_secs(60);
    let at = |seconds: i64| Timestamp::from_second(seconds).expect("a time");
    assert_eq!(until_next(minute, at(600)), minute);
    assert_eq!(until_next(minute, at(659)), std::time::Duration::from_secs(1));
}
