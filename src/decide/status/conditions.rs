//! Which conditions an evaluation ends in, and how they are set. The rest of the status is not its concern.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{Observed, keepalive, shortened};
use crate::{
    api::names::{conditions, reasons},
    decide::{Finding, Plan, QueryFailure, Verdict, Why},
};

/// Its type, state, reason and message.
pub(super) type Wanted = (&'static str, &'static str, &'static str, String);

pub(super) fn wanted(observed: &Observed<'_>) -> Vec<Wanted> {
    use conditions::{DATA_FRESH, DATA_SOURCE_REACHABLE, KEEPALIVE_AGREED, READY, RECONCILING, STALLED, VIOLATING};
    let stalled = |reason: &'static str, message: &String| {
        vec![
            (READY, "False", reason, message.clone()),
            (RECONCILING, "False", reason, String::new()),
            (STALLED, "True", reason, message.clone()),
        ]
    };
    let settled = [
        (RECONCILING, "False", reasons::SUCCEEDED, String::new()),
        (STALLED, "False", reasons::SUCCEEDED, String::new()),
    ];
    match observed {
        Observed::FirstSight => vec![
            (READY, "Unknown", reasons::PENDING, "not evaluated yet".to_owned()),
            (RECONCILING, "True", reasons::PENDING, "the first evaluation is on its way".to_owned()),
            (STALLED, "False", reasons::PENDING, String::new()),
        ],
        Observed::Invalid(message) => stalled(reasons::INVALID_SPEC, message),
        Observed::Unreadable(message) => stalled(reasons::UNREADABLE, message),
        Observed::Suspended => {
            let message = "spec.suspend is true: nothing is evaluated, and no alert fires".to_owned();
            settled.into_iter().chain([(READY, "True", reasons::SUSPENDED, message)]).collect()
        }
        Observed::ApiFailed(message) => {
            settled.into_iter().chain([(READY, "False", reasons::API_FAILED, message.clone())]).collect()
        }
        Observed::Judged { findings, plan, unreachable, keepalive, .. } => {
            let (reachable, fresh) = (reachable(findings, *unreachable), fresh(findings));
            let ready = ready(findings, plan, &reachable);
            let violating = violating(findings, plan);
            let four =
                [(READY, ready), (DATA_SOURCE_REACHABLE, reachable), (DATA_FRESH, fresh), (VIOLATING, violating)];
            let all = four.into_iter().chain(keepalive::agreed(keepalive).map(|it| (KEEPALIVE_AGREED, it)));
            settled
                .into_iter()
                .chain(all.map(|(kind, (state, reason, message))| (kind, state, reason, message)))
                .collect()
        }
    }
}

/// A condition's state, reason and message.
pub(super) type State = (&'static str, &'static str, String);

fn doubts<'a>(findings: &'a [Finding], which: impl Fn(&Why) -> bool + 'a) -> impl Iterator<Item = &'a Why> {
    findings
        .iter()
        .filter_map(|it| match &it.verdict {
            Verdict::Inconclusive(why) => Some(why),
            _ => None,
        })
        .filter(move |why| which(why))
}

fn reachable(findings: &[Finding], unreachable: Option<&QueryFailure>) -> State {
    if let Some(failure) = unreachable {
        return ("False", reasons::QUERY_FAILED, failure.to_string());
    }
    match doubts(findings, |it| matches!(it, Why::QueryFailed { .. })).next() {
        Some(why) => ("False", reasons::QUERY_FAILED, shortened(&why.to_string(), 400)),
        None => ("True", reasons::SUCCEEDED, String::new()),
    }
}

fn fresh(findings: &[Finding]) -> State {
    let spoiled = doubts(findings, |it| it.blames_data() && !matches!(it, Why::NoData)).count();
    let example = doubts(findings, |it| it.blames_data() && !matches!(it, Why::NoData)).next();
    match example {
        Some(why) => {
            let message = format!("{spoiled} of {} containers cannot be judged, for example: {why}", findings.len());
            ("False", reasons::DATA_INCOMPLETE, shortened(&message, 400))
        }
        None if findings.is_empty() => ("Unknown", reasons::NO_TARGETS, String::new()),
        None => ("True", reasons::SUCCEEDED, String::new()),
    }
}

fn ready(findings: &[Finding], plan: &Plan, reachable: &State) -> State {
    if reachable.0 == "False" {
        return ("False", reachable.1, reachable.2.clone());
    }
    if findings.is_empty() {
        return ("True", reasons::NO_TARGETS, "no running pod matches".to_owned());
    }
    let judged = findings.iter().filter(|it| !matches!(it.verdict, Verdict::Inconclusive(_))).count();
    let mut message =
        format!("{judged} of {} containers judged, {} break the policy", findings.len(), plan.cases.len());
    if !plan.exceeded.is_empty() {
        message += &format!("; the operator's limits hold instead of {}", plan.exceeded.join(", "));
    }
    if !plan.overlaps.is_empty() {
        message += &format!("; {} may restart some of the same pods: the strictest holds", plan.overlaps.join(", "));
    }
    ("True", reasons::SUCCEEDED, message)
}

fn violating(findings: &[Finding], plan: &Plan) -> State {
    if let Some(worst) = plan.cases.first() {
        let subject = &worst.target.subject;
        let message = format!(
            "{} containers, first {}/{} ({}): {}",
            plan.cases.len(),
            subject.namespace,
            subject.pod,
            subject.container,
            worst.growth.diagnosis
        );
        return ("True", reasons::OFFENDERS_FOUND, message);
    }
    if findings.iter().any(|it| matches!(it.verdict, Verdict::Healthy)) || findings.is_empty() {
        return ("False", reasons::CLEAN, String::new());
    }
    ("Unknown", reasons::DATA_INCOMPLETE, "no container could be judged".to_owned())
}

/// Sets a condition as `meta.SetStatusCondition` does: the transition time moves only when the state does.
pub(super) fn set_condition(
    all: &mut Vec<Condition>,
    kind: &str,
    state: &str,
    reason: &str,
    message: String,
    generation: Option<i64>,
    now: Timestamp,
) {
    let old = all.iter().position(|it| it.type_ == kind);
    let unmoved = old.map(|at| &all[at]).filter(|it| it.status == state).map(|it| it.last_transition_time.clone());
    let condition = Condition {
        type_: kind.to_owned(),
        status: state.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: unmoved.unwrap_or(Time(now)),
    };
    match old {
        Some(at) => all[at] = condition,
        None => all.push(condition),
    }
}
