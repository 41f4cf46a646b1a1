//! What is planned, withheld and why. Each test starts from a world in which everything allows a restart, and
//! changes one thing.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

mod bounds;
mod confirmed;
mod cost;
mod gitops;
mod pods;
mod restraint;
mod windows;
mod workload;

use super::*;
use crate::{
    api::{Figures, Offender, PolicyRules, WorkloadRef},
    decide::{
        Budget, Forecast, RestartRule, Standing, Why, WorkloadState,
        ledger::{Entry, Evidence as Settled, Ledger, Object, State},
    },
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

/// Findings stand since `at(0)`; it is one hour later.
fn now() -> Timestamp {
    at(3_600)
}

struct World {
    spec: serde_json::Value,
    findings: Vec<Finding>,
    history: History,
}

fn workload() -> Workload {
    Workload { namespace: "shop".into(), kind: "Deployment".into(), name: "orders".into() }
}

fn finding(pod: &str) -> Finding {
    Finding {
        target: Target {
            subject: Subject { namespace: "shop".into(), pod: pod.into(), uid: pod.into(), container: "app".into() },
            workload: Some(workload()),
            memory_limit: Some(1e9),
            containers_in_pod: 1,
            ready: true,
            ..Target::default()
        },
        verdict: Verdict::Growing(Growth {
            diagnosis: Diagnosis::DialPerCall,
            confidence: Confidence::from_p_value(1e-6),
            strength: Strength::Certain,
            message: "it leaks".into(),
        }),
        evidence: Evidence {
            forecast: Some(Forecast { soonest: 7_000.0, expected: 10_000.0, latest: 17_500.0, restart_by: 6_700.0 }),
            witnesses: vec!["KubeletSockets".into()],
            ..Evidence::default()
        },
        sources: vec![],
    }
}

fn past(finding: &Finding) -> (Subject, Past) {
    let subject = finding.target.subject.clone();
    let offender = Offender {
        namespace: subject.namespace.clone(),
        pod: subject.pod.clone(),
        uid: subject.uid.clone(),
        container: subject.container.clone(),
        workload: Some(workload().reference()),
        diagnosis: "DialPerCall".into(),
        confidence: 99.99,
        since: Time(at(0)),
        message: "it leaks".into(),
        figures: Figures::default(),
        standing: false,
        looks: "CC".into(),
        looked_at: Some(Time(at(0))),
        started_at: None,
        confirmed: true,
        remediations: vec![],
    };
    (subject, Past { since: at(0), offender })
}

fn firing() -> AlertRecord {
    AlertRecord {
        namespace: "shop".into(),
        workload: workload().reference(),
        container: "app".into(),
        diagnosis: "DialPerCall".into(),
        severity: "warning".into(),
        summary: "it leaks".into(),
        sites: vec![],
        profile: None,
        approval: None,
        restarts: None,
        collapsed: None,
        starts_at: Time(at(120)),
        delivered: true,
        ends_at: None,
    }
}

fn world() -> World {
    let findings = vec![finding("a")];
    let state = WorkloadState { desired: 3, ready: 3, available: 3, surges: true, ..WorkloadState::default() };
    World {
        spec: serde_json::json!({"allPods": true, "mode": "Enforce",
            "remediation": {"annotate": {}, "alert": {"after": "2m"}, "restart": {"after": "10m"}}}),
        history: History {
            policy: "shop/clients".into(),
            past: findings.iter().map(past).collect(),
            alerts: vec![firing()],
            annotated: vec![],
            budget: Some(Budget::Known(Ledger::begun(at(-1_000_000)))),
            workloads: BTreeMap::from([(workload(), Standing::Known(state))]),
            ..History::default()
        },
        findings,
    }
}

fn policy(spec: &serde_json::Value) -> Policy {
    let rules: PolicyRules = serde_json::from_value(spec.clone()).expect("a spec");
    Policy::parse(&rules).expect("valid")
}

fn restart_rule(spec: &serde_json::Value) -> RestartRule {
    policy(spec).restart.expect("a rule")
}

/// The rule of a policy that enforces these restarts.
fn enforcing(restart: &serde_json::Value) -> RestartRule {
    let remediation = serde_json::json!({"alert": {}, "restart": restart});
    restart_rule(&serde_json::json!({"allPods": true, "mode": "Enforce", "remediation": remediation}))
}

impl World {
    fn plan(&self) -> Plan {
        plan(&policy(&self.spec), &self.findings, &self.history, now())
    }

    fn restart_of(&self, pod: &str) -> Result<Restart, &'static str> {
        self.decided(pod).map_err(|because| because.as_ref().map_or("WouldDo", Because::reason))
    }

    /// How, or why not; `None` is a dry run.
    fn decided(&self, pod: &str) -> Result<Restart, Option<Because>> {
        let plan = self.plan();
        let case = plan.cases.iter().find(|it| it.target.subject.pod == pod).expect("a case");
        let rung = case.rungs.iter().find(|it| it.remediation == Remediation::Restart).expect("a restart");
        match &rung.decision {
            Decision::Do => Ok(rung.restart.expect("a method")),
            Decision::WouldDo => Err(None),
            Decision::Withheld(because) => Err(Some(because.clone())),
        }
    }

    /// A field of `remediation.restart`.
    fn set(&mut self, field: &str, value: impl Into<serde_json::Value>) {
        self.spec["remediation"]["restart"][field] = value.into();
    }

    fn state(&mut self) -> &mut WorkloadState {
        match self.history.workloads.get_mut(&workload()) {
            Some(Standing::Known(state)) => state,
            other => panic!("{other:?}"),
        }
    }

    fn spend(&mut self, uid: &str, when: Timestamp, confirmed: bool) {
        let Some(Budget::Known(ledger)) = &self.history.budget else { panic!("no ledger") };
        let (kind, resource_version) = ("Pod".into(), "1".into());
        let object = Object { kind, name: uid.into(), uid: uid.into(), resource_version, generation: None };
        let entry = Entry {
            diagnosis: None,
            namespace: "shop".into(),
            workload: WorkloadRef { kind: "Deployment".into(), name: "orders".into() },
            revision: None,
            object: object.clone(),
            policy: "shop/clients".into(),
            at: when,
            state: State::Pending,
        };
        let ledger = ledger.debited(entry);
        let ledger = if confirmed { ledger.settled(&object, Settled::Happened, when) } else { ledger };
        self.history.budget = Some(Budget::Known(ledger));
    }
}

#[test]
fn when_nothing_speaks_against_it_the_pod_is_evicted() {
    assert_eq!(world().restart_of("a"), Ok(Restart::Evict));
}

#[test]
fn a_dry_run_plans_the_same_and_does_none_of_it() {
    let mut dry = world();
    dry.spec["mode"] = "DryRun".into();
    dry.history.alerts.clear();
    let plan = dry.plan();
    let rungs: Vec<&str> = plan.cases[0].rungs.iter().map(|it| it.remediation.name()).collect();
    assert_eq!(rungs, ["Annotate", "Alert", "Restart"]);
    assert!(plan.cases[0].rungs.iter().all(|it| it.decision == Decision::WouldDo), "{plan:?}");
    assert!(plan.alerts.is_empty());
}

#[test]
fn every_step_waits_for_its_own_time() {
    let mut fresh = world();
    fresh.history.past.clear();
    let plan = fresh.plan();
    assert_eq!(plan.cases[0].since, now());
    let decisions: Vec<bool> = plan.cases[0].rungs.iter().map(|it| it.decision == Decision::Do).collect();
    assert_eq!(decisions, [true, false, false]);
    assert_eq!(fresh.restart_of("a"), Err("TooSoon"));
}

#[test]
fn each_doubt_about_the_finding_withholds_the_restart_by_name() {
    let withheld = |change: fn(&mut Finding)| {
        let mut world = world();
        change(&mut world.findings[0]);
        world.restart_of("a")
    };
    assert_eq!(withheld(|it| it.verdict = Verdict::Inconclusive(Why::NoData)), Err("NotJudgedNow"));
    assert_eq!(withheld(|it| it.evidence.witnesses.clear()), Err("NoSecondWitness"));
    assert_eq!(withheld(|it| it.evidence.forecast = None), Err("NoForecast"));
    assert_eq!(withheld(|it| it.target.ready = false), Err("PodNotReady"));
    assert_eq!(withheld(|it| it.target.workload = None), Err("NoWorkload"));
    assert_eq!(withheld(|it| it.target.subject.namespace = "kube-system".into()), Err("TooSoon"));
    assert_eq!(
        withheld(
            |it| it.evidence.forecast = Some(Forecast { soonest: 1e9, expected: 2e9, latest: 3e9, restart_by: 1e9 })
        ),
        Err("LimitFarAway")
    );
    for diagnosis in Diagnosis::ALL.into_iter().filter(|it| !it.restart_helps()) {
        let mut world = world();
        let growth = Growth {
            diagnosis,
            confidence: Confidence::from_p_value(0.0),
            strength: Strength::Certain,
            message: String::new(),
        };
        world.findings[0].verdict = Verdict::Growing(growth);
        assert_eq!(world.restart_of("a"), Err("RestartDoesNotHelp"), "{diagnosis}");
    }
}

#[test]
fn memory_that_may_run_out_just_within_the_time_that_the_policy_looks_ahead_is_near() {
    let near = |soonest: f64| {
        let mut world = world();
        let forecast = Forecast { soonest, expected: 1e5, latest: 2e5, restart_by: 9e4 };
        world.findings[0].evidence.forecast = Some(forecast);
        world.restart_of("a")
    };
    let ahead = policy(&world().spec).time_to_memory_limit.as_secs_f64();
    assert_eq!(near(ahead), Ok(Restart::Evict));
    assert_eq!(near(ahead + 1.0), Err("LimitFarAway"));
}

#[test]
fn people_hear_of_it_before_it_is_restarted() {
    let mut silent = world();
    silent.history.alerts.clear();
    assert_eq!(silent.restart_of("a"), Err("AlertFirst"));
    for unheard in
        [AlertRecord { ends_at: Some(Time(now())), ..firing() }, AlertRecord { delivered: false, ..firing() }]
    {
        silent.history.alerts = vec![unheard];
        assert_eq!(silent.restart_of("a"), Err("AlertFirst"));
    }
}

#[test]
fn nothing_is_restarted_in_the_quiet_period() {
    let mut quiet = world();
    quiet.history.quiet_until = Some(at(3_601));
    assert_eq!(quiet.restart_of("a"), Err("QuietPeriod"));
    quiet.history.quiet_until = Some(now());
    assert_eq!(quiet.restart_of("a"), Ok(Restart::Evict));
}

#[test]
fn the_ledger_limits_restarts_and_an_unreadable_one_allows_none() {
    let mut recent = world();
    recent.spend("x", at(-60), true);
    assert_eq!(recent.restart_of("a"), Ok(Restart::Evict), "the cooldown of 1h is over");
    recent.spend("y", at(60), true);
    assert_eq!(recent.restart_of("a"), Err("Cooldown"));
    let mut often = world();
    for (uid, when) in [("x", -7_200), ("y", -3_660), ("z", -60)] {
        often.spend(uid, at(when), true);
    }
    assert_eq!(often.restart_of("a"), Err("DailyLimit"));
    let mut unsettled = world();
    unsettled.spend("x", at(-80_000), false);
    assert_eq!(unsettled.restart_of("a"), Err("Unsettled"));
    unsettled.history.budget = Some(Budget::Unreadable("forbidden".into()));
    assert_eq!(unsettled.restart_of("a"), Err("Ledger"));
    unsettled.history.budget = None;
    assert_eq!(unsettled.restart_of("a"), Err("Ledger"));
}

#[test]
fn an_alert_begins_once_per_workload_and_keeps_its_identity() {
    let mut two = world();
    two.findings.push(finding("b"));
    two.history.past.extend([past(&two.findings[1])]);
    two.history.alerts.clear();
    let begun = two.plan().alerts;
    assert_eq!(begun.len(), 1);
    two.history.alerts = vec![AlertRecord { diagnosis: "ConnectionLeak".into(), ..firing() }];
    let kept = two.plan().alerts;
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].diagnosis.as_str(), &kept[0].starts_at), ("ConnectionLeak", &Time(at(120))));
}

#[test]
fn an_alert_ends_when_everybody_is_clean_and_not_while_somebody_is_in_doubt() {
    let mut clean = world();
    clean.findings[0].verdict = Verdict::Healthy;
    clean
        .findings
        .push(Finding { verdict: Verdict::Inconclusive(Why::WarmingUp { remaining: 9.0 }), ..finding("new") });
    assert_eq!(clean.plan().alerts, vec![firing()]);
    clean.findings.pop();
    assert_eq!(clean.plan().alerts, vec![firing()], "one miss is not the end");
    clean.history.past.values_mut().for_each(|it| it.offender.looks = "C--".into());
    assert_eq!(clean.plan().alerts, vec![AlertRecord { ends_at: Some(Time(now())), ..firing() }]);
    clean.findings.clear();
    assert_eq!(clean.plan().alerts[0].ends_at, Some(Time(now())), "the workload is gone");
}

#[test]
fn an_alert_does_not_flap_while_the_pod_that_replaced_the_offender_waits_for_its_turn() {
    let mut replaced = world();
    replaced.findings[0].target.subject.uid = "new".into();
    let plan = replaced.plan();
    assert!(!plan.cases[0].does(Remediation::Alert), "its own time is not over");
    assert_eq!(plan.alerts, vec![firing()]);
}

#[test]
fn an_alert_ends_when_the_policy_no_longer_lists_it() {
    let mut silenced = world();
    silenced.spec["remediation"] = serde_json::json!({"annotate": {}});
    assert_eq!(silenced.plan().alerts, vec![AlertRecord { ends_at: Some(Time(now())), ..firing() }]);
}

#[test]
fn an_alert_that_ended_is_repeated_for_a_while_and_then_forgotten() {
    let mut ended = world();
    ended.findings.clear();
    ended.history.alerts = vec![AlertRecord { ends_at: Some(Time(at(3_000))), ..firing() }];
    assert_eq!(ended.plan().alerts.len(), 1);
    ended.history.alerts = vec![AlertRecord { ends_at: Some(Time(at(2_700))), ..firing() }];
    assert!(ended.plan().alerts.is_empty());
}

#[test]
fn without_data_the_finding_stands_and_so_does_its_alert() {
    let mut blind = world();
    let why = Why::QueryFailed { signal: crate::signals::Signal::Memory, reason: "down".into() };
    blind.findings[0].verdict = Verdict::Inconclusive(why);
    let plan = blind.plan();
    assert!(plan.cases[0].standing && plan.cases[0].since == at(0));
    assert_eq!(plan.alerts, vec![firing()]);
    assert_eq!(blind.restart_of("a"), Err("NotJudgedNow"));
}

#[test]
fn an_alert_tells_the_newest_figures_and_goes_on_in_doubt_though_its_offender_is_not_remembered() {
    let mut world = world();
    let Verdict::Growing(growth) = &mut world.findings[0].verdict else { panic!("it grows") };
    growth.message = "it leaks more".into();
    assert_eq!(world.plan().alerts, [AlertRecord { summary: "it leaks more".into(), ..firing() }]);
    world.findings[0].verdict = Verdict::Inconclusive(Why::NoData);
    world.history.past.clear();
    assert_eq!(world.plan().alerts, [firing()]);
    world.findings[0].verdict = Verdict::Healthy;
    assert_eq!(world.plan().alerts, [AlertRecord { ends_at: Some(Time(now())), ..firing() }]);
}

#[test]
fn annotations_go_when_the_workload_is_clean_and_stay_while_in_doubt() {
    let mut world = world();
    let marked = AnnotatedWorkload { namespace: "shop".into(), workload: workload().reference() };
    assert_eq!(world.plan().annotated, vec![marked.clone()]);
    world.history.annotated = vec![marked.clone()];
    world.findings[0].target.annotated = true;
    world.findings[0].verdict = Verdict::Inconclusive(Why::NoData);
    world.history.past.clear();
    assert_eq!((world.plan().annotated, world.plan().cleared), (vec![marked], Cleared::default()));
    world.findings[0].verdict = Verdict::Healthy;
    let plan = world.plan();
    assert_eq!(
        plan.cleared,
        Cleared { pods: vec![world.findings[0].target.subject.clone()], workloads: vec![workload()] }
    );
    assert!(plan.annotated.is_empty());
    // Beside one that offends, only the clean one's mark goes.
    world.findings.push(finding("b"));
    let beside = world.plan().cleared;
    assert_eq!(beside, Cleared { pods: vec![world.findings[0].target.subject.clone()], workloads: vec![] });
}

#[test]
fn a_pod_recreated_under_its_name_starts_from_the_beginning() {
    let mut recreated = world();
    recreated.findings[0].target.subject.uid = "another".into();
    assert_eq!(recreated.plan().cases[0].since, now());
}
