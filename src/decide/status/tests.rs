//! What people read back, and when it is written.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::*;
use crate::{
    api::{ApprovalState, Mode},
    decide::{Confidence, Diagnosis, Growth, Restart, Subject, Target, Why, approval::Asked},
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

fn target(pod: &str) -> Target {
    Target {
        subject: Subject { namespace: "shop".into(), pod: pod.into(), uid: pod.into(), container: "app".into() },
        containers_in_pod: 1,
        ready: true,
        ..Target::default()
    }
}

fn finding(pod: &str, verdict: Verdict) -> Finding {
    Finding {
        target: target(pod),
        verdict,
        evidence: Evidence::default(),
        sources: vec![(Signal::Calls, "OpenTelemetry".into())],
    }
}

fn growth(message: &str) -> Growth {
    Growth {
        diagnosis: Diagnosis::DialPerCall,
        confidence: Confidence::from_p_value(1e-4),
        strength: crate::decide::Strength::Certain,
        message: message.into(),
    }
}

fn plan(mode: Mode, cases: Vec<Case>) -> Plan {
    Plan { policy: "shop/clients".into(), mode, stage: Stage::at_first(mode), cases, ..Plan::default() }
}

fn case(pod: &str, message: &str, decision: Decision) -> Case {
    let rung = Rung { remediation: crate::decide::Remediation::Restart, decision, restart: Some(Restart::Evict) };
    Case {
        target: target(pod),
        growth: growth(message),
        evidence: Evidence::default(),
        since: at(0),
        standing: false,
        looks: crate::decide::looks::Looks::default(),
        confirmed: true,
        profile: None,
        approvals: Asked::default(),
        rungs: vec![rung],
    }
}

fn judged(
    old: Option<&GrpcClientPolicyStatus>,
    findings: &[Finding],
    plan: &Plan,
    outcomes: &[Outcome],
    now: i64,
) -> GrpcClientPolicyStatus {
    declaring(&Declaration::default(), old, findings, plan, outcomes, now)
}

fn declaring(
    keepalive: &Declaration,
    old: Option<&GrpcClientPolicyStatus>,
    findings: &[Finding],
    plan: &Plan,
    outcomes: &[Outcome],
    now: i64,
) -> GrpcClientPolicyStatus {
    let observed = Observed::Judged {
        findings,
        plan,
        outcomes,
        profiles: &[],
        unreachable: None,
        restarts_last_day: 0,
        restarts: &[],
        autonomy: None,
        keepalive,
    };
    status(old, Some(3), &observed, at(now))
}

fn condition<'a>(status: &'a GrpcClientPolicyStatus, kind: &str) -> &'a Condition {
    status.conditions.iter().find(|it| it.type_ == kind).expect("a condition")
}

#[test]
fn at_first_sight_ready_is_unknown_and_the_generation_is_not_claimed() {
    let status = status(None, Some(1), &Observed::FirstSight, at(0));
    assert_eq!(condition(&status, "Ready").status, "Unknown");
    assert_eq!(condition(&status, "Reconciling").status, "True");
    assert_eq!(status.observed_generation, None);
}

#[test]
fn a_spec_that_cannot_work_is_stalled_and_keeps_what_was_known() {
    let old = judged(
        None,
        &[finding("a", Verdict::Growing(growth("x")))],
        &plan(Mode::Enforce, vec![case("a", "x", Decision::Do)]),
        &[],
        0,
    );
    let status = status(Some(&old), Some(4), &Observed::Invalid("spec.window: too long".into()), at(9));
    assert_eq!(condition(&status, "Stalled").status, "True");
    assert_eq!(condition(&status, "Stalled").message, "spec.window: too long");
    assert_eq!(status.offenders, old.offenders);
    assert_eq!(status.observed_generation, Some(4));
}

#[test]
fn times_alone_are_not_worth_a_write() {
    let findings = [finding("a", Verdict::Growing(growth("rose to 10")))];
    let first = judged(None, &findings, &plan(Mode::DryRun, vec![case("a", "rose to 10", Decision::WouldDo)]), &[], 0);
    assert!(worth_writing(None, &first));
    let later =
        judged(Some(&first), &findings, &plan(Mode::DryRun, vec![case("a", "rose to 11", Decision::WouldDo)]), &[], 10);
    assert!(!worth_writing(Some(&first), &later));
    let withheld = Decision::Withheld(Because::NoForecast);
    let news = judged(Some(&first), &findings, &plan(Mode::DryRun, vec![case("a", "rose to 11", withheld)]), &[], 10);
    assert!(worth_writing(Some(&first), &news));
    let heartbeat = judged(
        Some(&first),
        &findings,
        &plan(Mode::DryRun, vec![case("a", "rose to 10", Decision::WouldDo)]),
        &[],
        300,
    );
    assert!(worth_writing(Some(&first), &heartbeat));
}

#[test]
fn an_approval_is_told_and_the_time_that_is_left_for_it_is_not_worth_a_write() {
    use crate::decide::approval::{Answer, Approval};
    let told = |answer: Answer, too_late: i64| {
        let (policy, digest) = ("shop/clients".to_owned(), "3fa1c0de12".to_owned());
        let approval = Approval { policy, digest, too_late: Some(at(too_late)), answer };
        let decision = match approval.given() {
            Ok(_) => Decision::Do,
            Err(because) => Decision::Withheld(because),
        };
        let mut case = case("a", "it leaks", decision);
        case.approvals.own = Some(approval);
        judged(None, &[], &plan(Mode::Enforce, vec![case]), &[], 0)
    };
    let state = |it: &GrpcClientPolicyStatus| {
        let approval = it.offenders[0].remediations[0].approval.clone().expect("an approval");
        (approval.state, approval.too_late_after.map(|it| it.0), approval.until.map(|it| it.0))
    };
    let waits = told(Answer::None, 600);
    assert_eq!(state(&waits), (ApprovalState::Waiting, Some(at(600)), None));
    assert!(!worth_writing(Some(&waits), &told(Answer::None, 660)));
    let approved = told(Answer::Given { until: at(60) }, 600);
    assert_eq!(state(&approved), (ApprovalState::Approved, Some(at(600)), Some(at(60))));
    assert!(worth_writing(Some(&waits), &approved));
}

#[test]
fn a_transition_time_moves_only_when_the_state_does() {
    let healthy = [finding("a", Verdict::Healthy)];
    let first = judged(None, &healthy, &plan(Mode::DryRun, vec![]), &[], 0);
    let second = judged(Some(&first), &healthy, &plan(Mode::DryRun, vec![]), &[], 60);
    assert_eq!(condition(&second, "Violating").last_transition_time, Time(at(0)));
    let cases = vec![case("a", "x", Decision::WouldDo)];
    let third =
        judged(Some(&second), &[finding("a", Verdict::Growing(growth("x")))], &plan(Mode::DryRun, cases), &[], 90);
    assert_eq!(condition(&third, "Violating").last_transition_time, Time(at(90)));
}

#[test]
fn a_backend_that_does_not_answer_is_one_clear_condition() {
    let why = Why::QueryFailed { signal: Signal::Calls, reason: "Unreachable: connection refused".into() };
    let findings = [finding("a", Verdict::Inconclusive(why))];
    let status = judged(None, &findings, &plan(Mode::DryRun, vec![]), &[], 0);
    assert_eq!(condition(&status, "Ready").status, "False");
    assert_eq!(condition(&status, "DataSourceReachable").reason, "QueryFailed");
    assert!(condition(&status, "DataSourceReachable").message.contains("connection refused"));
    assert_eq!(condition(&status, "Violating").status, "Unknown");
}

#[test]
fn a_wrong_address_is_seen_before_the_first_pod_comes() {
    let failure = QueryFailure { kind: crate::decide::FailureKind::Unreachable, message: "connection refused".into() };
    let plan = plan(Mode::DryRun, vec![]);
    let observed = Observed::Judged {
        findings: &[],
        plan: &plan,
        outcomes: &[],
        profiles: &[],
        unreachable: Some(&failure),
        restarts_last_day: 0,
        restarts: &[],
        autonomy: None,
        keepalive: &Declaration::default(),
    };
    let status = status(None, Some(1), &observed, at(0));
    assert_eq!(condition(&status, "DataSourceReachable").status, "False");
    assert_eq!(condition(&status, "Ready").message, "Unreachable: connection refused");
}

#[test]
fn keepalive_is_a_condition_while_the_policy_declares_a_client_and_none_without() {
    let declared = |spec: serde_json::Value| {
        let spec = serde_json::from_value(spec).expect("a spec");
        Declaration::parse(Some(&spec)).expect("valid")
    };
    let after = |old: Option<&GrpcClientPolicyStatus>, spec: serde_json::Value, now: i64| {
        declaring(&declared(spec), old, &[], &plan(Mode::DryRun, vec![]), &[], now)
    };
    let quarrel = after(None, serde_json::json!({"client": {"time": "30s", "timeout": "1s"}}), 0);
    let it = condition(&quarrel, "KeepaliveAgreed");
    assert_eq!((it.status.as_str(), it.reason.as_str()), ("False", "KeepaliveConflict"));
    assert!(it.message.starts_with("TooOften: the client pings every 30s"), "{}", it.message);
    assert!(it.message.ends_with("(errors: 1, warnings: 1)"), "{}", it.message);
    let agreed = after(Some(&quarrel), serde_json::json!({"client": {"time": "5m"}}), 60);
    let it = condition(&agreed, "KeepaliveAgreed");
    assert_eq!((it.status.as_str(), it.message.as_str()), ("True", ""));
    let unwise = after(Some(&agreed), serde_json::json!({"client": {"time": "5m", "timeout": "1s"}}), 90);
    assert_eq!(condition(&unwise, "KeepaliveAgreed").status, "True");
    assert!(worth_writing(Some(&agreed), &unwise), "its words are new");
    let withdrawn = after(Some(&unwise), serde_json::json!({}), 120);
    assert!(withdrawn.conditions.iter().all(|it| it.type_ != "KeepaliveAgreed"));
    assert!(worth_writing(Some(&unwise), &withdrawn));
}

#[test]
fn what_became_of_each_step_is_said() {
    let findings = [finding("a", Verdict::Growing(growth("x")))];
    let state = |decision: Decision, result: Option<Result<(), Because>>| {
        let outcomes: Vec<Outcome> = result
            .map(|result| Outcome {
                subject: target("a").subject,
                remediation: crate::decide::Remediation::Restart,
                result,
            })
            .into_iter()
            .collect();
        let status = judged(None, &findings, &plan(Mode::Enforce, vec![case("a", "x", decision)]), &outcomes, 0);
        let step = status.offenders[0].remediations[0].clone();
        (step.state, step.because)
    };
    assert_eq!(state(Decision::Do, Some(Ok(()))), (RemediationState::Done, None));
    assert_eq!(state(Decision::WouldDo, None), (RemediationState::WouldDo, None));
    assert_eq!(
        state(Decision::Withheld(Because::NoForecast), None),
        (RemediationState::Withheld, Some("NoForecast".to_owned()))
    );
    let budget = Because::DisruptionBudget { name: "orders".into() };
    assert_eq!(
        state(Decision::Do, Some(Err(budget))),
        (RemediationState::Withheld, Some("PodDisruptionBudget".to_owned()))
    );
    let failed = Because::RequestFailed { reason: "500".into() };
    assert_eq!(state(Decision::Do, Some(Err(failed))).0, RemediationState::Failed);
}

#[test]
fn a_status_holds_at_most_fifty_offenders_and_says_how_many_it_leaves_out() {
    let cases: Vec<Case> = (0..60).map(|n| case(&format!("p{n}"), "x", Decision::Do)).collect();
    let status = judged(None, &[], &plan(Mode::Enforce, cases), &[], 0);
    assert_eq!((status.offenders.len(), status.offenders_omitted), (50, 10));
}

#[test]
fn figures_are_rounded_to_two_digits() {
    for (value, wanted) in [
        (16_234.0, 16_000.0),
        (3.333, 3.3),
        (0.01234, 0.012),
        (99.6, 100.0),
        (0.0, 0.0),
        (f64::NAN, 0.0),
        (-1_270.0, -1_300.0),
    ] {
        assert_eq!(rounded(value), wanted, "{value}");
    }
}

#[test]
fn texts_are_cut_at_a_character() {
    assert_eq!(shortened("grün", 3), "gr");
    assert_eq!(shortened("grün", 4), "grü");
    assert_eq!(shortened("kurz", 100), "kurz");
}

#[test]
fn whoever_is_held_back_keeps_what_it_has_earned_and_whoever_leaves_auto_does_not() {
    let earned = GrpcClientPolicyStatus { autonomy: Some(Autonomy::default()), ..GrpcClientPolicyStatus::default() };
    let after = |mode, exceeded: &[&'static str]| {
        let plan = Plan { exceeded: exceeded.to_vec(), ..plan(mode, vec![]) };
        judged(Some(&earned), &[], &plan, &[], 0).autonomy
    };
    assert_eq!(after(Mode::DryRun, &["mode"]), earned.autonomy, "the administrator allows no more for now");
    assert_eq!(after(Mode::DryRun, &[]), None);
    assert_eq!(after(Mode::Enforce, &["remediation.restart.cooldown"]), None);
}
