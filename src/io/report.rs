//! Reporting: status, and events on transitions. Neither acts on a workload.
//!
//! Events are published when something begins or ends, never for moving figures: the API server folds repeats and
//! keeps the first note. `news` says what is worth one.

mod news;

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams},
    core::error_boundary::InvalidObject,
    runtime::events::{Event, EventType, Recorder},
};
use news::news;
use serde_json::json;
use tracing::{info, warn};

use crate::{
    api::{GrpcClientPolicyStatus, PolicyResource, Stage, names},
    decide::{Finding, History, Plan, Standing, Workload, status::shortened, worth_writing},
    io::acting::reason,
};

/// The longest note of an event, bytes; the API server refuses 1024 and more.
const MAX_NOTE: usize = 1_000;
/// How often a status is written anew because the policy was changed in between.
const TRIES: usize = 3;

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

/// A status as the API server has it.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The status. `None` when there is none, or none that can be read.
    pub status: Option<GrpcClientPolicyStatus>,
    /// The resource version of the policy that it stands in. `None` when the policy is gone.
    pub version: Option<String>,
}

/// The status as the API server has it now.
///
/// # Errors
/// The API fails.
pub async fn read_status(client: &Client, address: &Address) -> Result<Stored, kube::Error> {
    let Some(object) = address.api(client).get_opt(&address.name).await? else { return Ok(Stored::default()) };
    let status = object.data.get("status").cloned().and_then(|it| serde_json::from_value(it).ok());
    Ok(Stored { status, version: object.metadata.resource_version })
}

/// Why a status was not written.
#[derive(Debug, thiserror::Error)]
pub enum Unwritten {
    /// The API refuses the write.
    #[error("{}", reason(.0))]
    Api(#[from] kube::Error),
    /// Somebody else has written one since this evaluation read it: another replica leads. What it knows is newer.
    #[error("another replica has written it since this evaluation began")]
    Overtaken,
}

/// Writes the status if it says something new, and tells the version that stands then. A leader that stood still does not
/// write over what its successor wrote; what people change meanwhile (labels, the spec) is no reason not to write.
///
/// # Errors
/// The API refuses the write, or somebody else wrote.
pub async fn write_status(
    client: &Client,
    address: &Address,
    old: &Stored,
    new: &GrpcClientPolicyStatus,
) -> Result<Option<String>, Unwritten> {
    if !worth_writing(old.status.as_ref(), new) {
        return Ok(old.version.clone());
    }
    let mut version = old.version.clone();
    for _ in 0..TRIES {
        match apply(client, address, version, new).await {
            // Deleted in the meantime: there is nobody left to tell.
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(None),
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            other => return Ok(other?.metadata.resource_version),
        }
        let now = read_status(client, address).await?;
        if now.status != old.status {
            return Err(Unwritten::Overtaken);
        }
        version = now.version;
    }
    Err(Unwritten::Overtaken)
}

async fn apply(
    client: &Client,
    address: &Address,
    version: Option<String>,
    new: &GrpcClientPolicyStatus,
) -> Result<DynamicObject, kube::Error> {
    let Address { name, resource, .. } = address;
    let patch = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "resourceVersion": version},
        "status": new,
    });
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    address.api(client).patch_status(name, &params, &Patch::Apply(&patch)).await
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

/// Publishes what began and what ended between two statuses: on the policy always, on workloads only where
/// something may be done.
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
            secondary: news.pod.clone(),
        };
        let mut about = vec![resource.object_ref(&())];
        if plan.stage >= Stage::Alert
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
mod tests {
    use super::*;

    #[test]
    fn policies_of_one_interval_meet_at_its_multiples() {
        let minute = std::time::Duration::from_secs(60);
        let at = |seconds: i64| Timestamp::from_second(seconds).expect("a time");
        assert_eq!(until_next(minute, at(600)), minute);
        assert_eq!(until_next(minute, at(659)), std::time::Duration::from_secs(1));
    }
}
