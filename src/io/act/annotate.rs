//! Writes a finding on pod and workload as annotations, and removes it again. Never on a pod template: that would
//! roll the workload out.
//!
//! An object carries the marks of one policy: who comes first keeps it until its mark is removed, or two policies
//! that see the same would write over each other for ever.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Error,
    api::{ApiResource, DynamicObject, Patch, PatchParams, Request},
};
use serde_json::{Map, Value, json};

use super::Hands;
use crate::{
    api::names::{FIELD_MANAGER, annotations},
    decide::{Because, Case, Outcome, Plan, Remediation, status::shortened},
    io::{
        acting::{self, Deadline},
        workload,
    },
};

/// The longest evidence, bytes: it is one sentence.
const MAX_EVIDENCE: usize = 1_000;

/// What carries marks.
struct Object<'a> {
    resource: ApiResource,
    namespace: &'a str,
    name: &'a str,
    /// The UID that it must have. A workload's is not known beforehand.
    uid: Option<&'a str>,
}

type Annotations = BTreeMap<String, String>;

/// Marks the offenders that the plan says.
pub(super) async fn mark(hands: &Hands, plan: &Plan, deadline: Deadline) -> Vec<Outcome> {
    let mut cases: Vec<&Case> = plan.cases.iter().filter(|it| it.does(Remediation::Annotate)).collect();
    // Of several cases the oldest speaks for the object, so that its text does not change with the figures.
    cases.sort_by(|a, b| a.since.cmp(&b.since).then_with(|| a.target.subject.cmp(&b.target.subject)));
    let mut results: BTreeMap<Key<'_>, Result<(), Because>> = BTreeMap::new();
    let mut outcomes = Vec::new();
    for case in cases {
        let mut result = Ok(());
        for (key, object) in carriers(case) {
            if !results.contains_key(&key) {
                let written = write(hands, &object, deadline, |now| wanted(plan, case, now)).await;
                results.insert(key.clone(), written.map_err(|error| acting::because(&error)));
            }
            result = result.and_then(|()| results[&key].clone());
        }
        outcomes.push(Outcome { subject: case.target.subject.clone(), remediation: Remediation::Annotate, result });
    }
    outcomes
}

/// Removes the marks of whoever is clean. What fails is tried again with the next plan.
pub(super) async fn clear(hands: &Hands, plan: &Plan, deadline: Deadline) {
    let pods = plan.cleared.pods.iter().map(|it| Object {
        resource: ApiResource::erase::<Pod>(&()),
        namespace: &it.namespace,
        name: &it.pod,
        uid: Some(&it.uid),
    });
    let workloads = plan.cleared.workloads.iter().filter_map(|it| {
        let resource = workload::resource(&it.kind)?;
        Some(Object { resource, namespace: &it.namespace, name: &it.name, uid: None })
    });
    for object in pods.chain(workloads) {
        if let Err(error) = write(hands, &object, deadline, |now| unwanted(plan, now)).await {
            let (namespace, name, reason) = (object.namespace, object.name, acting::reason(&error));
            tracing::warn!(policy = plan.policy, namespace, name, reason, "annotations not removed");
        }
    }
}

/// Kind, namespace and name.
type Key<'a> = (String, &'a str, &'a str);

/// The pod, and the workload if it is of a kind that we annotate.
fn carriers(case: &Case) -> Vec<(Key<'_>, Object<'_>)> {
    let subject = &case.target.subject;
    let pod = Object {
        resource: ApiResource::erase::<Pod>(&()),
        namespace: &subject.namespace,
        name: &subject.pod,
        uid: Some(&subject.uid),
    };
    let workload = case.target.workload.as_ref().and_then(|it| {
        Some(Object { resource: workload::resource(&it.kind)?, namespace: &it.namespace, name: &it.name, uid: None })
    });
    [Some(pod), workload]
        .into_iter()
        .flatten()
        .map(|it| ((it.resource.kind.clone(), it.namespace, it.name), it))
        .collect()
}

/// What is to be written, or nothing when it stands there already. The evidence's figures move with every
/// evaluation; they alone are no reason to write.
fn wanted(plan: &Plan, case: &Case, now: &Annotations) -> Option<Value> {
    let is = |key: &str, value: &str| now.get(key).is_some_and(|it| it == value);
    if now.get(annotations::POLICY).is_some_and(|it| *it != plan.policy) {
        return None;
    }
    let (diagnosis, since) = (case.growth.diagnosis.name(), format!("{:.0}", case.since));
    let stands = is(annotations::DIAGNOSIS, diagnosis)
        && is(annotations::SINCE, &since)
        && is(annotations::POLICY, &plan.policy)
        && now.contains_key(annotations::EVIDENCE);
    (!stands).then(|| {
        json!({
            annotations::DIAGNOSIS: diagnosis,
            annotations::EVIDENCE: shortened(&case.growth.message, MAX_EVIDENCE),
            annotations::SINCE: since,
            annotations::POLICY: plan.policy,
        })
    })
}

/// What is to be removed, or nothing when the marks are gone or another policy's.
fn unwanted(plan: &Plan, now: &Annotations) -> Option<Value> {
    (now.get(annotations::POLICY) == Some(&plan.policy)).then(|| removal(now, &annotations::FINDING)).flatten()
}

/// The patch that removes those of the keys that are there.
pub(in crate::io) fn removal(now: &Annotations, keys: &[&str]) -> Option<Value> {
    let there: Map<String, Value> =
        keys.iter().filter(|it| now.contains_key(**it)).map(|it| ((*it).to_owned(), Value::Null)).collect();
    (!there.is_empty()).then_some(Value::Object(there))
}

/// Looks at an object and patches its annotations if `change` has something to say. An object that is gone, or was
/// made anew, needs nothing.
async fn write(
    hands: &Hands,
    object: &Object<'_>,
    deadline: Deadline,
    change: impl Fn(&Annotations) -> Option<Value>,
) -> Result<(), Error> {
    let Object { resource, namespace, name, uid } = object;
    let api: Api<DynamicObject> = Api::namespaced_with(hands.reading.clone(), namespace, resource);
    let Some(found) = api.get_metadata_opt(name).await? else { return Ok(()) };
    let found = found.metadata;
    if uid.is_some() && uid.map(str::to_owned) != found.uid {
        return Ok(());
    }
    let Some(annotations) = change(&found.annotations.unwrap_or_default()) else { return Ok(()) };
    let request = patch(api.resource_url(), name, found.uid.as_deref(), &annotations)?;
    match acting::send(&hands.acting, request, deadline).await {
        Err(Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}

/// A merge patch of annotations that only the object with this UID takes.
pub(in crate::io) fn patch(
    url: &str,
    name: &str,
    uid: Option<&str>,
    annotations: &Value,
) -> Result<http::Request<Vec<u8>>, Error> {
    let patch = json!({"metadata": {"uid": uid, "annotations": annotations}});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    Request::new(url).patch_metadata(name, &params, &Patch::Merge(patch)).map_err(Error::BuildRequest)
}
