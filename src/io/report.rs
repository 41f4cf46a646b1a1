//! Reporting: status, and events on transitions. Neither acts on a workload.
//!
//! Events are published when something begins or ends, never for moving figures: the API server folds repeats and
//! keeps the first note.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams},
    core::error_boundary::InvalidObject,
    runtime::events::{Event, EventType, Recorder},
};
use serde_json::json;
use tracing::{info, warn};

use crate::{
    api::{
        ApprovalState, GrpcClientPolicyStatus, Mode, Offender, PolicyResource, ProfileRecord, RemediationState,
        WorkloadRef, names,
    },
    decide::{
        Diagnosis, Finding, History, Plan, Standing, Subject, Verdict, Workload, profiles, status::shortened,
        worth_writing,
    },
};

/// The longest note of an event, bytes; the API server refuses 1024 and more.
const MAX_NOTE: usize = 1_000;

/// Which policy a status belongs to, by name: the policy itself may be one that does not parse.
#[derive(Clone, Debug)]
pub struct Address {
    name: String,
    namespace: Option<String>,
    resource: ApiResource,
}

impl Address {
    /// The address of an object of kind `K`.
    #[must_use]
    pub fn of<K: Resource<DynamicType = ()>>(meta: &ObjectMeta) -> Self {
        Self {
            name: meta.name.clone().unwrap_or_default(),
            namespace: meta.namespace.clone(),
            resource: ApiResource::erase::<K>(&()),
        }
    }

    fn api(&self, client: &Client) -> Api<DynamicObject> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &self.resource),
            None => Api::all_with(client.clone(), &self.resource),
        }
    }
}

/// The status as the API server has it now. `None` when there is none, or none that can be read.
///
/// # Errors
/// The API fails.
pub async fn read_status(client: &Client, address: &Address) -> Result<Option<GrpcClientPolicyStatus>, kube::Error> {
    let object = address.api(client).get_opt(&address.name).await?;
    let status = object.and_then(|it| it.data.get("status").cloned());
    Ok(status.and_then(|it| serde_json::from_value(it).ok()))
}

/// Writes the status if it says something new, and says whether it did.
///
/// # Errors
/// The API refuses the write.
pub async fn write_status(
    client: &Client,
    address: &Address,
    old: Option<&GrpcClientPolicyStatus>,
    new: &GrpcClientPolicyStatus,
) -> Result<bool, kube::Error> {
    if !worth_writing(old, new) {
        return Ok(false);
    }
    let Address { name, resource, .. } = address;
    let patch = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name},
        "status": new,
    });
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    match address.api(client).patch_status(name, &params, &Patch::Apply(&patch)).await {
        Ok(_) => Ok(true),
        // Deleted in the meantime: there is nobody left to tell.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes the conditions of a stored object that does not parse. They are merged in: a server-side apply would refuse
/// to look at the object at all.
///
/// # Errors
/// The API refuses the write, as servers before 1.33 do when the object breaks its schema.
pub async fn write_conditions(
    client: &Client,
    address: &Address,
    new: &GrpcClientPolicyStatus,
) -> Result<(), kube::Error> {
    let patch = json!({"status": {"conditions": new.conditions, "observedGeneration": new.observed_generation}});
    let params = PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    address.api(client).patch_status(&address.name, &params, &Patch::Merge(&patch)).await.map(drop)
}

/// Says by an event that a stored object does not parse: the status may be out of reach, for the API server checks
/// the whole object with every write to it.
pub async fn publish_unreadable<K: Resource<DynamicType = ()>>(recorder: &Recorder, invalid: &InvalidObject) {
    let event = Event {
        type_: EventType::Warning,
        reason: names::reasons::UNREADABLE.to_owned(),
        note: Some(shortened(&format!("the stored policy cannot be read: {}", invalid.error), MAX_NOTE)),
        action: "Evaluate".to_owned(),
        secondary: None,
    };
    let ObjectMeta { name, namespace, uid, resource_version, .. } = invalid.metadata.clone();
    let object = ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name,
        namespace,
        uid,
        resource_version,
        field_path: None,
    };
    if let Err(error) = recorder.publish(&event, &object).await {
        warn!(%error, "event not published");
    }
}

/// Publishes what began and what ended between two statuses: on the policy always, on workloads only in `Enforce`.
pub async fn publish<K: PolicyResource>(
    recorder: &Recorder,
    resource: &K,
    old: Option<&GrpcClientPolicyStatus>,
    new: &GrpcClientPolicyStatus,
    plan: &Plan,
    findings: &[Finding],
    history: &History,
) {
    for news in news(old, new, plan, findings) {
        info!(policy = plan.policy, reason = news.reason, "{}", news.note);
        let event = Event {
            type_: if news.warning { EventType::Warning } else { EventType::Normal },
            reason: news.reason.to_owned(),
            note: Some(shortened(&news.note, MAX_NOTE)),
            action: "Evaluate".to_owned(),
            // Events that differ in nothing else would be folded into one, and the second pod's note lost.
            secondary: Some(news.pod.clone()),
        };
        let mut about = vec![resource.object_ref(&())];
        if plan.mode == Mode::Enforce
            && let Some(workload) = news.workload.and_then(|it| reference(&it, history))
        {
            about.push(workload);
        }
        for object in about {
            if let Err(error) = recorder.publish(&event, &object).await {
                warn!(policy = plan.policy, %error, "event not published");
            }
        }
    }
}

/// Logs conditions whose state changed: once, however long they last.
pub fn log_transitions(policy: &str, old: Option<&GrpcClientPolicyStatus>, new: &GrpcClientPolicyStatus) {
    for condition in &new.conditions {
        let before = old.iter().flat_map(|it| &it.conditions).find(|it| it.type_ == condition.type_);
        if before.is_none_or(|it| it.status != condition.status) {
            let Condition { type_: kind, status, reason, message, .. } = condition;
            info!(policy, condition = kind, status, reason, message, "condition changed");
        }
    }
}

/// Something that began or ended.
#[derive(Debug, PartialEq)]
struct News {
    reason: &'static str,
    warning: bool,
    note: String,
    pod: ObjectReference,
    workload: Option<Workload>,
}

type Key<'a> = (&'a str, &'a str, &'a str, &'a str);

fn key(it: &Offender) -> Key<'_> {
    (&it.namespace, &it.pod, &it.uid, &it.container)
}

fn subject_key(it: &Subject) -> Key<'_> {
    (&it.namespace, &it.pod, &it.uid, &it.container)
}

fn news(
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
                pod: pod(offender),
                workload: owner(offender),
            });
        }
        news.extend(awaits(offender, &mut waiting));
        if plan.mode == Mode::DryRun
            && restart(offender) == Some(RemediationState::WouldDo)
            && known.and_then(|it| restart(it)) != Some(RemediationState::WouldDo)
        {
            let note = format!(
                "dry run: would restart {}/{} because of {}",
                offender.namespace, offender.pod, offender.diagnosis
            );
            news.push(News { reason: "WouldRestart", warning: false, note, pod: pod(offender), workload: None });
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
        news.push(News { reason: "Recovered", warning: false, note, pod: pod(offender), workload: owner(offender) });
    }
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
        pod: pod(offender),
        workload: owner(offender),
    }
}

/// That a restart waits for a person: once for each finding, however many pods it is about.
fn awaits<'a>(offender: &'a Offender, known: &mut BTreeSet<&'a str>) -> Option<News> {
    let (digest, message) = awaited(offender).filter(|(digest, _)| known.insert(digest))?;
    let Offender { namespace, pod: name, .. } = offender;
    let note = format!("the restart of {namespace}/{name} waits ({digest}): {message}");
    Some(News { reason: "AwaitingApproval", warning: true, note, pod: pod(offender), workload: owner(offender) })
}

/// The digest that waits for an approval, and what is said about it.
fn awaited(offender: &Offender) -> Option<(&str, &str)> {
    let step = offender.remediations.iter().find(|it| it.remediation == "Restart")?;
    let approval = step.approval.as_ref().filter(|it| it.state == ApprovalState::Waiting)?;
    Some((&approval.digest, step.message.as_deref().unwrap_or_default()))
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
        pod: pod_of(&case.target.subject),
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

/// `kubectl describe` finds events by UID, so a reference without one would be invisible.
fn reference(workload: &Workload, history: &History) -> Option<ObjectReference> {
    let Some(Standing::Known(state)) = history.workloads.get(workload) else { return None };
    Some(ObjectReference {
        api_version: Some("apps/v1".to_owned()),
        kind: Some(workload.kind.clone()),
        name: Some(workload.name.clone()),
        namespace: Some(workload.namespace.clone()),
        uid: Some(state.uid.clone()),
        ..ObjectReference::default()
    })
}

/// When a policy is evaluated next: at the next multiple of its interval, so that policies of one interval meet and
/// share their queries.
#[must_use]
pub fn until_next(interval: std::time::Duration, now: Timestamp) -> std::time::Duration {
    let interval = interval.as_millis().max(1);
    let now = u128::try_from(now.as_millisecond()).unwrap_or(0);
    let wait = interval - now % interval;
    std::time::Duration::from_millis(u64::try_from(wait).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
