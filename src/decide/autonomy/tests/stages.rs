//! What a stage costs, what takes it away, and what a record is worth.

use super::*;
use crate::api::Tally;

/// A record of closed cases, each of another workload.
fn shown(stage: Stage, since: i64, cases: &[(CaseKind, CaseOutcome, u32)]) -> Autonomy {
    let one = |(n, (kind, outcome)): (usize, (CaseKind, CaseOutcome))| ClosedCase {
        kind,
        life: super::super::cases::life(&target(&format!("w{n}"))),
        outcome,
        at: Time(at(since)),
        levels: None,
    };
    let all = cases.iter().flat_map(|(kind, outcome, n)| (0..*n).map(|_| (*kind, *outcome)));
    let closed = all.enumerate().map(one).collect();
    Autonomy { stage, since: Some(Time(at(since))), fingerprint: "rules".into(), closed, ..Autonomy::default() }
}

/// The stage after an evaluation that sees nothing, so many days later.
fn later(record: Autonomy, days: i64) -> Autonomy {
    let mut life = life();
    life.record = Some(record);
    life.now = 0;
    life.sees(days * DAY, &[]).clone()
}

const RIGHT: (CaseKind, CaseOutcome) = (CaseKind::Alert, CaseOutcome::WentOn);

#[test]
fn seven_of_seven_in_a_day_earn_alerts_and_six_or_one_wrong_do_not() {
    let of =
        |right, wrong| shown(Stage::DryRun, 0, &[(RIGHT.0, RIGHT.1, right), (RIGHT.0, CaseOutcome::WentAway, wrong)]);
    assert_eq!(later(of(7, 0), 1).stage, Stage::Alert);
    let six = later(of(6, 0), 1);
    assert_eq!((six.stage, six.missing.as_str()), (Stage::DryRun, "to Alert: 6 of 7 cases whose outcome is known"));
    let wrong = later(of(7, 1), 1);
    assert_eq!(wrong.stage, Stage::DryRun);
    assert_eq!(wrong.missing, "to Alert: a lower bound of 80 % of cases, it is 66 %");
    assert_eq!(later(of(14, 1), 1).stage, Stage::Alert);
    let soon = later(of(7, 0), 0);
    assert_eq!((soon.stage, soon.missing.as_str()), (Stage::DryRun, "to Alert: not before 2027-01-16T08:00:00Z"));
}

#[test]
fn restarts_are_earned_by_restarts_that_would_have_been_right_and_after_a_week_of_alerts() {
    let restarts = |n| (CaseKind::Restart, CaseOutcome::OutOfMemory, n);
    let of = |cases, restart| shown(Stage::Alert, 0, &[(RIGHT.0, RIGHT.1, cases), restarts(restart)]);
    assert_eq!(later(of(16, 11), 7).stage, Stage::Restart);
    assert_eq!(later(of(15, 11), 7).stage, Stage::Alert);
    assert_eq!(later(of(16, 10), 7).stage, Stage::Alert);
    assert_eq!(later(of(16, 11), 6).stage, Stage::Alert);
    assert_eq!(
        later(shown(Stage::DryRun, 0, &[(RIGHT.0, RIGHT.1, 30), restarts(30)]), 20).stage,
        Stage::Alert,
        "one stage at a time"
    );
}

#[test]
fn one_leak_that_is_seen_again_and_again_counts_three_times() {
    let mut record = shown(Stage::DryRun, 0, &[(RIGHT.0, RIGHT.1, 7)]);
    for (n, case) in record.closed.iter_mut().enumerate() {
        case.life = super::super::cases::life(&target("orders"));
        case.life.pod = format!("orders-r1-{n}");
    }
    let after = later(record, 1);
    assert_eq!((after.stage, after.cases.right), (Stage::DryRun, 3));
}

#[test]
fn a_useless_restart_costs_a_stage_and_twice_as_much_must_be_shown() {
    let mut life = life();
    let restarts = (CaseKind::Restart, CaseOutcome::OutOfMemory, 11);
    life.record = Some(shown(Stage::Restart, 0, &[(RIGHT.0, RIGHT.1, 16), restarts]));
    life.restarts = vec![restart(Effect::Useless, 30, 60)];
    life.now = 0;
    let after = life.sees(120, &[]).clone();
    assert_eq!((after.stage, after.demotions), (Stage::Alert, 1));
    let why = after.last_demotion.expect("a demotion");
    assert_eq!(why.from, Stage::Restart);
    assert_eq!(
        why.because,
        "the restart of Deployment shop/orders at 2027-01-15T08:00:30Z was useless: memory did not fall"
    );
    assert!(
        after.missing.starts_with("to Restart: 0 of 32 cases whose outcome is known; 0 of 22 restarts"),
        "{}",
        after.missing
    );
    assert!(after.missing.ends_with("not before 2027-01-29T08:02:00Z"), "{}", after.missing);
    assert_eq!(life.sees(60, &[]).demotions, 1, "it is told once");
    let forgiven = life.sees(31 * DAY, &[]).demotions;
    assert_eq!(forgiven, 0);
}

#[test]
fn a_debt_costs_no_stage() {
    let mut life = life();
    life.record = Some(shown(Stage::Restart, 0, &[]));
    life.restarts = vec![restart(Effect::LeaksAgain, 30, 60), restart(Effect::Helped, 31, 60)];
    life.now = 0;
    assert_eq!(life.sees(120, &[]).stage, Stage::Restart);
}

#[test]
fn a_stage_is_lost_when_what_it_was_given_for_no_longer_holds() {
    let of =
        |right, wrong| shown(Stage::Alert, 0, &[(RIGHT.0, RIGHT.1, right), (RIGHT.0, CaseOutcome::WentAway, wrong)]);
    assert_eq!(later(of(7, 2), 1).stage, Stage::Alert, "it may still be 80 %");
    let lost = later(of(7, 6), 1);
    assert_eq!(lost.stage, Stage::DryRun);
    assert_eq!(lost.last_demotion.expect("a demotion").because, "7 of 13 cases were right, which is too few");
}

#[test]
fn a_record_that_is_missing_of_other_rules_or_of_the_future_has_earned_nothing() {
    let policy = || parsed(&serde_json::json!({"alert": {}}));
    let stage = |record: Option<Autonomy>| {
        let status = GrpcClientPolicyStatus { autonomy: record, ..Default::default() };
        entrusted(policy(), "rules", Some(&status), at(DAY)).stage
    };
    let good = shown(Stage::Restart, 0, &[(RIGHT.0, RIGHT.1, 1)]);
    assert_eq!(stage(Some(good.clone())), Stage::Restart);
    assert_eq!(stage(None), Stage::DryRun);
    assert_eq!(stage(Some(Autonomy { fingerprint: "other".into(), ..good.clone() })), Stage::DryRun);
    assert_eq!(stage(Some(Autonomy { since: None, ..good.clone() })), Stage::DryRun);
    assert_eq!(stage(Some(Autonomy { since: Some(Time(at(2 * DAY))), ..good.clone() })), Stage::DryRun);
    let mut future = good;
    future.closed[0].at = Time(at(2 * DAY));
    assert_eq!(stage(Some(future)), Stage::DryRun);
    let unreadable: GrpcClientPolicyStatus =
        serde_json::from_value(serde_json::json!({"autonomy": {"stage": "Everything"}, "lastHandledReconcileAt": "x"}))
            .expect("the rest is read");
    assert_eq!((unreadable.autonomy, unreadable.last_handled_reconcile_at.as_deref()), (None, Some("x")));
}

#[test]
fn rules_that_change_begin_anew_and_those_about_when_to_look_do_not() {
    let rules = |json: serde_json::Value| serde_json::from_value::<PolicyRules>(json).expect("rules");
    let of = |json: serde_json::Value| fingerprint(&rules(json), None);
    let plain = of(serde_json::json!({"allPods": true, "mode": "Auto"}));
    assert_eq!(plain, of(serde_json::json!({"allPods": true, "mode": "DryRun", "suspend": true, "interval": "5m"})));
    for other in [
        serde_json::json!({"selector": {"matchLabels": {"a": "b"}}}),
        serde_json::json!({"allPods": true, "thresholds": {"connectionGrowth": 13}}),
        serde_json::json!({"allPods": true, "remediation": {"alert": {}}}),
        serde_json::json!({"allPods": true, "window": "1d"}),
        serde_json::json!({"allPods": true, "sources": {"memory": "Process"}}),
    ] {
        assert_ne!(of(other.clone()), plain, "{other}");
    }
    assert_ne!(fingerprint(&rules(serde_json::json!({"allPods": true})), Some(&LabelSelector::default())), plain);
}

#[test]
fn each_stage_does_its_steps_and_says_the_others() {
    let does = |stage: Stage| {
        let policy = Policy { stage, ..parsed(&serde_json::json!({"annotate": {}, "alert": {}, "restart": {}})) };
        let finding = leaks(target("orders"), 300.0);
        let mut life = life();
        life.finds(&finding);
        let history = History { past: life.past.clone(), ..History::default() };
        let plan = plan(&policy, &[finding], &history, at(life.now + HOUR));
        let rungs = &plan.cases[0].rungs;
        assert_eq!((plan.stage, plan.mode), (stage, Mode::Auto));
        let done = rungs.iter().filter(|it| it.decision == crate::decide::Decision::Do).count();
        (done, plan.alerts.len())
    };
    assert_eq!(does(Stage::DryRun), (0, 0));
    assert_eq!(does(Stage::Alert), (2, 1));
}

#[test]
fn a_policy_without_the_step_has_no_stage_for_it() {
    let mut life = life();
    life.policy = parsed(&serde_json::json!({"annotate": {}}));
    assert_eq!(life.sees(DAY, &[]).missing, "to Alert: the policy lists no remediation.alert");
    life.policy.mode = Mode::Enforce;
    life.policy.stage = Stage::Restart;
    let seen = Seen {
        policy: &life.policy,
        findings: &[],
        plan: &plan(&life.policy, &[], &History::default(), at(0)),
        restarts: &[],
        fingerprint: "rules",
        now: at(0),
    };
    assert_eq!(super::super::after(life.record.as_ref(), &seen), None);
}

#[test]
fn a_team_with_seven_leaks_that_are_real_has_its_alerts_after_a_day() {
    let leaking =
        |megabytes: f64| -> Vec<Finding> { (0..7).map(|it| leaks(target(&format!("w{it}")), megabytes)).collect() };
    let mut life = life();
    let stages: Vec<Stage> =
        (0..26_u8).map(|hour| life.sees(HOUR, &leaking(300.0 + 20.0 * f64::from(hour))).stage).collect();
    assert_eq!(stages.iter().position(|it| *it == Stage::Alert), Some(24), "a day after it began");
    let Tally { right, wrong, .. } = life.record().cases;
    assert_eq!((right, wrong, life.record().restarts.right), (7, 0, 7));
}
