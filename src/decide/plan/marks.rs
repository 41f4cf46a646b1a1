//! The marks that outlive one evaluation: alerts and annotations. They are kept per workload, so that replacing a
//! pod neither resolves an alert nor raises a second one, and they go when the workload is known to be clean: no
//! offender and nobody left unjudged. Doubt keeps a mark.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Because, Case, Cleared, Decision, Remediation};
use crate::{
    api::{AlertRecord, AnnotatedWorkload, ProfileRecord, WorkloadRef},
    decide::{Finding, History, Policy, Target, Verdict, Workload, cost::cost},
};

/// Resolved alerts are sent again for so long, for an Alertmanager that was away. Prometheus does the same.
pub const RESOLVED_KEPT: SignedDuration = SignedDuration::from_mins(15);
/// What a status can hold.
const MAX_ALERTS: usize = 100;
const MAX_ANNOTATED: usize = 100;

/// Whom an alert is about: the workload, or the pod itself when nothing owns it.
fn owner(target: &Target) -> WorkloadRef {
    target
        .workload
        .as_ref()
        .map_or_else(|| WorkloadRef { kind: "Pod".to_owned(), name: target.subject.pod.clone() }, Workload::reference)
}

/// Whether an alert is about this target's workload and container.
#[must_use]
pub fn concerns(record: &AlertRecord, target: &Target) -> bool {
    record.namespace == target.subject.namespace
        && record.container == target.subject.container
        && record.workload == owner(target)
}

fn is_unjudged(finding: &Finding) -> bool {
    matches!(finding.verdict, Verdict::Inconclusive(_))
}

/// The alerts as they stand after this evaluation: kept, begun, resolved, forgotten.
pub(super) fn alerts(
    policy: &Policy,
    cases: &[Case],
    findings: &[Finding],
    history: &History,
    now: Timestamp,
) -> Vec<AlertRecord> {
    if !Remediation::Alert.is_allowed_at(policy.stage) {
        return Vec::new();
    }
    let alerting = |it: &&Case| it.does(Remediation::Alert);
    let mut records: Vec<AlertRecord> = Vec::new();
    for old in &history.alerts {
        // Once it fires, any offender keeps it firing: the pod that replaced the first has its own time to wait.
        let case = cases.iter().find(|it| policy.alert.is_some() && concerns(old, &it.target));
        let doubt = findings.iter().any(|it| concerns(old, &it.target) && is_unjudged(it));
        match (&old.ends_at, case) {
            (None, Some(case)) => {
                let old = AlertRecord { summary: case.growth.message.clone(), ..old.clone() };
                records.push(with_cost(with_sites(old, cases), case, history, now));
            }
            (None, None) if doubt => records.push(old.clone()),
            (None, None) => records.push(AlertRecord { ends_at: Some(Time(now)), ..old.clone() }),
            (Some(Time(ended)), _) if now.duration_since(*ended) < RESOLVED_KEPT => records.push(old.clone()),
            (Some(_), _) => {}
        }
    }
    for case in cases.iter().filter(alerting) {
        if !records.iter().any(|it| it.ends_at.is_none() && concerns(it, &case.target)) {
            records.push(with_cost(with_sites(begun(policy, case, now), cases), case, history, now));
        }
    }
    // Firing alerts come first, so that the limit never drops one in favour of a resolved one.
    records.sort_by_key(|it| it.ends_at.is_some());
    records.truncate(MAX_ALERTS);
    records
}

fn begun(policy: &Policy, case: &Case, now: Timestamp) -> AlertRecord {
    AlertRecord {
        namespace: case.target.subject.namespace.clone(),
        workload: owner(&case.target),
        container: case.target.subject.container.clone(),
        diagnosis: case.growth.diagnosis.name().to_owned(),
        severity: policy.alert.as_ref().map_or("warning", |it| it.severity.as_str()).to_owned(),
        summary: case.growth.message.clone(),
        sites: Vec::new(),
        profile: None,
        approval: None,
        restarts: None,
        collapsed: None,
        starts_at: Time(now),
        delivered: false,
        ends_at: None,
    }
}

/// With what a restart waits for, and the call sites of whichever of the workload's pods holds most channels by its profile.
fn with_sites(record: AlertRecord, cases: &[Case]) -> AlertRecord {
    let about: Vec<&Case> = cases.iter().filter(|it| concerns(&record, &it.target)).collect();
    let profiles = about.iter().filter_map(|it| it.profile.as_ref()).filter(|it| it.file.is_some());
    let held = |it: &&ProfileRecord| (it.sites.len(), it.channels.unwrap_or_default().to_bits());
    let record = AlertRecord { approval: about.iter().find_map(|it| awaits(it)), ..record };
    match profiles.max_by_key(held) {
        Some(best) => AlertRecord { sites: best.sites.clone(), profile: best.file.clone(), ..record },
        // It stays on what was said: the pod that was profiled may be gone.
        None => record,
    }
}

/// What a restart waits for that a person can give.
fn awaits(case: &Case) -> Option<String> {
    case.rungs.iter().find_map(|it| match &it.decision {
        Decision::Withheld(because @ Because::AwaitingApproval(_)) => Some(because.to_string()),
        _ => None,
    })
}

/// With what restarts have cost so far. It stays on what was said while nobody can look.
fn with_cost(record: AlertRecord, case: &Case, history: &History, now: Timestamp) -> AlertRecord {
    AlertRecord { restarts: cost(case, history, now).or(record.restarts), ..record }
}

/// The workloads that carry our annotations after this evaluation.
pub(super) fn annotated(cases: &[Case], findings: &[Finding], history: &History) -> Vec<AnnotatedWorkload> {
    let wanted = cases.iter().filter(|it| it.does(Remediation::Annotate)).filter_map(|it| it.target.workload.as_ref());
    let wanted = wanted.map(|it| AnnotatedWorkload { namespace: it.namespace.clone(), workload: it.reference() });
    let kept = history.annotated.iter().filter(|it| in_doubt(it, cases, findings)).cloned();
    let all: BTreeSet<AnnotatedWorkload> = wanted.chain(kept).collect();
    all.into_iter().take(MAX_ANNOTATED).collect()
}

/// Whose annotations are to be removed.
pub(super) fn cleared(cases: &[Case], findings: &[Finding], history: &History) -> Cleared {
    let marked = |target: &Target| cases.iter().any(|it| it.target.subject == target.subject);
    let pods = findings
        .iter()
        .filter(|it| it.target.annotated && !marked(&it.target) && !is_unjudged(it))
        .map(|it| it.target.subject.clone());
    let workloads = history.annotated.iter().filter(|it| !in_doubt(it, cases, findings)).map(|it| Workload {
        namespace: it.namespace.clone(),
        kind: it.workload.kind.clone(),
        name: it.workload.name.clone(),
    });
    Cleared { pods: pods.collect(), workloads: workloads.collect() }
}

/// Whether a workload has an offender or somebody who could not be judged.
fn in_doubt(marked: &AnnotatedWorkload, cases: &[Case], findings: &[Finding]) -> bool {
    let is_of = |target: &Target| target.workload.as_ref().is_some_and(|it| it.is(&marked.namespace, &marked.workload));
    cases.iter().any(|it| is_of(&it.target)) || findings.iter().any(|it| is_of(&it.target) && is_unjudged(it))
}
