//! What is worth an event: what began and what ended between two statuses. It publishes nothing.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::ObjectReference;

use crate::{
    api::{
        ApprovalState, Autonomy, Demotion, Effect, GrpcClientPolicyStatus, Offender, ProfileRecord, RemediationState,
        RestartRecord, Stage, WorkloadRef,
    },
    decide::{Diagnosis, Finding, Plan, Subject, Verdict, Workload, profiles},
};

/// Something that began or ended.
#[derive(Debug, PartialEq)]
pub(super) struct News {
    pub reason: &'static str,
    pub warning: bool,
    pub note: String,
    /// The pod that it is about, if it is about one.
    pub pod: Option<ObjectReference>,
    pub workload: Option<Workload>,
}

type Key<'a> = (&'a str, &'a str, &'a str, &'a str);

fn key(it: &Offender) -> Key<'_> {
    (&it.namespace, &it.pod, &it.uid, &it.container)
}

fn subject_key(it: &Subject) -> Key<'_> {
    (&it.namespace, &it.pod, &it.uid, &it.container)
}

/// What is new since the status before.
pub(super) fn news(
    old: Option<&GrpcClientPolicyStatus>,
    new: &GrpcClientPolicyStatus,
    plan: &Plan,
    findings: &[Finding],
) -> Vec<News> {
    let before: BTreeMap<Key<'_>, &Offender> =
        old.iter().flat_map(|it| &it.offenders).map(|it| (key(it), it)).collect();
    let after: BTreeMap<Key<'_>, &Offender> = new.offenders.iter().map(|it| (key(it), it)).collect();
    let mut news = Vec::new();
    let mut waiting: BTreeSet<&str> = before.values().filter_map(|it| awaited(it)).map(|(digest, _)| digest).collect();
    for (key, offender) in &after {
        let known = before.get(key);
        if known.is_none_or(|it| it.diagnosis != offender.diagnosis) {
            news.push(found(offender));
        }
        if restart(offender) == Some(RemediationState::Done)
            && known.and_then(|it| restart(it)) != Some(RemediationState::Done)
        {
            let note = format!("restarted {}/{} because of {}", offender.namespace, offender.pod, offender.diagnosis);
            news.push(News {
                reason: "Restarted",
                warning: false,
                note,
                pod: Some(pod(offender)),
                workload: owner(offender),
            });
        }
        news.extend(awaits(offender, &mut waiting));
        if plan.stage < Stage::Restart
            && restart(offender) == Some(RemediationState::WouldDo)
            && known.and_then(|it| restart(it)) != Some(RemediationState::WouldDo)
        {
            let note = format!(
                "dry run: would restart {}/{} because of {}",
                offender.namespace, offender.pod, offender.diagnosis
            );
            news.push(News { reason: "WouldRestart", warning: false, note, pod: Some(pod(offender)), workload: None });
        }
    }
    let known = |it: &ProfileRecord| old.is_some_and(|old| old.profiles.iter().any(|was| was.file == it.file));
    news.extend(new.profiles.iter().filter(|it| it.file.is_some() && !known(it)).filter_map(|it| profiled(it, plan)));
    // A pod that is gone, or cannot be judged, has not recovered.
    let healthy = |key: &Key<'_>| {
        findings.iter().any(|it| it.verdict == Verdict::Healthy && subject_key(&it.target.subject) == *key)
    };
    for (_, offender) in before.iter().filter(|(key, _)| !after.contains_key(*key) && healthy(key)) {
        let note = format!(
            "{}/{} ({}) no longer shows {}",
            offender.namespace, offender.pod, offender.container, offender.diagnosis
        );
        news.push(News {
            reason: "Recovered",
            warning: false,
            note,
            pod: Some(pod(offender)),
            workload: owner(offender),
        });
    }
    news.extend(moved(old.and_then(|it| it.autonomy.as_ref()), new.autonomy.as_ref()));
    news.extend(useless(old, new));
    news
}

fn found(offender: &Offender) -> News {
    let diagnosis = Diagnosis::ALL.into_iter().find(|it| it.name() == offender.diagnosis);
    let advice = diagnosis.map_or("", Diagnosis::advice);
    News {
        reason: diagnosis.map_or("Violating", Diagnosis::name),
        warning: true,
        note: format!(
            "{}/{} ({}): {}. Advice: {advice}",
            offender.namespace, offender.pod, offender.container, offender.message
        ),
        pod: Some(pod(offender)),
        workload: owner(offender),
    }
}

/// That a restart waits for a person: once for each finding, however many pods it is about.
fn awaits<'a>(offender: &'a Offender, known: &mut BTreeSet<&'a str>) -> Option<News> {
    let (digest, message) = awaited(offender).filter(|(digest, _)| known.insert(digest))?;
    let Offender { namespace, pod: name, .. } = offender;
    let note = format!("the restart of {namespace}/{name} waits ({digest}): {message}");
    Some(News { reason: "AwaitingApproval", warning: true, note, pod: Some(pod(offender)), workload: owner(offender) })
}

/// The digest that waits for an approval, and what is said about it.
fn awaited(offender: &Offender) -> Option<(&str, &str)> {
    let step = offender.remediations.iter().find(|it| it.remediation == "Restart")?;
    let approval = step.approval.as_ref().filter(|it| it.state == ApprovalState::Waiting)?;
    Some((&approval.digest, step.message.as_deref().unwrap_or_default()))
}

/// An `Auto` policy that has reached a stage, or lost one.
fn moved(old: Option<&Autonomy>, new: Option<&Autonomy>) -> Option<News> {
    let (old, new) = (old?, new?);
    let lost = new.last_demotion.as_ref().filter(|_| old.last_demotion != new.last_demotion);
    let (reason, note) = match lost {
        Some(Demotion { from, because, .. }) => {
            ("Demoted", format!("from stage {} to {}: {because}", from.name(), new.stage.name()))
        }
        None if new.stage > old.stage => {
            let (right, all) = (new.cases.right, new.cases.right + new.cases.wrong);
            (
                "Promoted",
                format!("from stage {} to {}: {right} of {all} cases were right", old.stage.name(), new.stage.name()),
            )
        }
        None => return None,
    };
    Some(News { reason, warning: lost.is_some(), note, pod: None, workload: None })
}

/// Restarts that turned out to be useless.
fn useless(old: Option<&GrpcClientPolicyStatus>, new: &GrpcClientPolicyStatus) -> Vec<News> {
    let is_new = |it: &&RestartRecord| {
        let before = old.iter().flat_map(|it| &it.restarts).find(|was| was.uid == it.uid && was.at == it.at);
        it.effect == Effect::Useless && before.is_none_or(|it| it.effect != Effect::Useless)
    };
    let told = |it: &RestartRecord| {
        let RestartRecord { namespace, workload, at, message, .. } = it;
        let why = message.as_deref().unwrap_or_default();
        News {
            reason: "RestartUseless",
            warning: true,
            note: format!(
                "the restart of {} {namespace}/{} at {:.0} was useless: {why}",
                workload.kind, workload.name, at.0
            ),
            pod: None,
            workload: Some(Workload {
                namespace: namespace.clone(),
                kind: workload.kind.clone(),
                name: workload.name.clone(),
            }),
        }
    };
    new.restarts.iter().filter(is_new).map(told).collect()
}

/// What a new profile says.
fn profiled(record: &ProfileRecord, plan: &Plan) -> Option<News> {
    let ProfileRecord { namespace, pod: name, container, file, sites, problem, .. } = record;
    let case = plan.cases.iter().find(|it| profiles::is_about(record, &it.target.subject))?;
    let says = [problem.clone().unwrap_or_default(), profiles::words(sites)];
    let says: Vec<String> = says.into_iter().filter(|it| !it.is_empty()).collect();
    let file = file.as_deref().unwrap_or_default();
    Some(News {
        reason: "Profiled",
        warning: false,
        note: format!("{namespace}/{name} ({container}): {}. The heap profile is {file}", says.join(": ")),
        pod: Some(pod_of(&case.target.subject)),
        workload: case.target.workload.clone(),
    })
}

fn pod(offender: &Offender) -> ObjectReference {
    pod_of(&Subject::from(offender))
}

fn pod_of(offender: &Subject) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(offender.pod.clone()),
        namespace: Some(offender.namespace.clone()),
        uid: Some(offender.uid.clone()),
        field_path: Some(format!("spec.containers{{{}}}", offender.container)),
        ..ObjectReference::default()
    }
}

fn restart(offender: &Offender) -> Option<RemediationState> {
    offender.remediations.iter().find(|it| it.remediation == "Restart").map(|it| it.state)
}

fn owner(offender: &Offender) -> Option<Workload> {
    let WorkloadRef { kind, name } = offender.workload.clone()?;
    Some(Workload { namespace: offender.namespace.clone(), kind, name })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::{
        api::{ApprovalStatus, Figures, Mode, RemediationStatus},
        decide::{Evidence, Target},
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
            started_at: None,
            confirmed: true,
            remediations: restart.map(step).into_iter().collect(),
        }
    }

    fn status(offenders: Vec<Offender>) -> GrpcClientPolicyStatus {
        GrpcClientPolicyStatus { offenders, ..GrpcClientPolicyStatus::default() }
    }

    fn plan(mode: Mode) -> Plan {
        Plan { policy: "shop/clients".into(), mode, stage: Stage::at_first(mode), ..Plan::default() }
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
            let mut offender =
                Offender { pod: pod.into(), ..offender("DialPerCall", Some(RemediationState::Withheld)) };
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
    fn a_stage_that_is_reached_or_lost_is_news_once() {
        let at = |second| Time(Timestamp::from_second(second).expect("a time"));
        let stage = |stage, lost: Option<i64>| GrpcClientPolicyStatus {
            autonomy: Some(Autonomy {
                stage,
                last_demotion: lost.map(|it| Demotion { at: at(it), from: Stage::Restart, because: "useless".into() }),
                ..Autonomy::default()
            }),
            ..GrpcClientPolicyStatus::default()
        };
        let (dry, alert) = (stage(Stage::DryRun, None), stage(Stage::Alert, None));
        assert_eq!(reasons(&dry, &alert, Mode::Auto, &[]), ["Promoted"]);
        assert!(reasons(&alert, &alert, Mode::Auto, &[]).is_empty());
        assert_eq!(reasons(&stage(Stage::Restart, None), &stage(Stage::Alert, Some(60)), Mode::Auto, &[]), ["Demoted"]);
        let lost = stage(Stage::Alert, Some(60));
        assert!(reasons(&lost, &lost, Mode::Auto, &[]).is_empty());
        assert!(reasons(&status(vec![]), &dry, Mode::Auto, &[]).is_empty(), "it begins");
    }

    #[test]
    fn a_restart_that_turns_out_to_be_useless_is_news_once() {
        let restarts = |effect: &str| -> GrpcClientPolicyStatus {
            let record = serde_json::json!({"namespace": "shop", "workload": {"kind": "Deployment", "name": "orders"},
                "container": "app", "uid": "u1", "pod": "orders-1", "at": "2026-11-23T10:00:00Z", "effect": effect});
            serde_json::from_value(serde_json::json!({"restarts": [record]})).expect("a status")
        };
        assert_eq!(reasons(&restarts("Pending"), &restarts("Useless"), Mode::Enforce, &[]), ["RestartUseless"]);
        assert!(reasons(&restarts("Useless"), &restarts("Useless"), Mode::Enforce, &[]).is_empty());
        assert!(reasons(&restarts("Pending"), &restarts("LeaksAgain"), Mode::Enforce, &[]).is_empty());
    }
}
