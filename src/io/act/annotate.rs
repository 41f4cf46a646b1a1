//! Writes a finding on pod and workload as annotations, and removes it again. Never on a pod template: that would
//! roll the workload out.
//!
//! An object carries the marks of one policy: who comes first keeps it until its mark is removed, or two policies
//! that see the same would write over each other for ever.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{apps::v1::ReplicaSet, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, Error, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, Request},
};
use serde_json::{Map, Value, json};
use tracing::warn;

use super::Hands;
use crate::{
    api::names::{FIELD_MANAGER, annotations},
    decide::{Because, Case, Outcome, Plan, Remediation, Subject, Workload, profiles, status::shortened},
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
    for pod in &plan.cleared.pods {
        erase(hands, plan, &of_pod(pod), deadline).await;
    }
    for workload in &plan.cleared.workloads {
        let Some(object) = of_workload(workload) else { continue };
        erase(hands, plan, &object, deadline).await;
        for name in copies(hands, workload).await {
            let resource = ApiResource::erase::<ReplicaSet>(&());
            erase(hands, plan, &Object { resource, name: &name, ..object }, deadline).await;
        }
    }
}

async fn erase(hands: &Hands, plan: &Plan, object: &Object<'_>, deadline: Deadline) {
    if let Err(error) = write(hands, object, deadline, |now| unwanted(plan, now)).await {
        let (namespace, name, reason) = (object.namespace, object.name, acting::reason(&error));
        warn!(policy = plan.policy, kind = object.resource.kind, namespace, name, reason, "annotations not removed");
    }
}

/// The ReplicaSets of a Deployment. Its controller copies the Deployment's annotations to them and never removes one;
/// `kubectl rollout undo` would bring a mark back from there.
async fn copies(hands: &Hands, workload: &Workload) -> Vec<String> {
    if workload.kind != "Deployment" {
        return Vec::new();
    }
    let api: Api<ReplicaSet> = Api::namespaced(hands.reading.clone(), &workload.namespace);
    match api.list_metadata(&ListParams::default()).await {
        Ok(sets) => {
            let is_owner = |it: &OwnerReference| it.kind == workload.kind && it.name == workload.name;
            let own = sets.items.iter().filter(|it| it.owner_references().iter().any(is_owner));
            own.filter(|it| it.annotations().contains_key(annotations::POLICY)).map(ResourceExt::name_any).collect()
        }
        Err(error) => {
            let (namespace, name, reason) = (&workload.namespace, &workload.name, acting::reason(&error));
            warn!(namespace, name, reason, "ReplicaSets cannot be listed");
            Vec::new()
        }
    }
}

/// Kind, namespace and name.
type Key<'a> = (String, &'a str, &'a str);

/// The pod, and the workload if it is of a kind that we annotate.
fn carriers(case: &Case) -> Vec<(Key<'_>, Object<'_>)> {
    let pod = of_pod(&case.target.subject);
    let workload = case.target.workload.as_ref().and_then(of_workload);
    [Some(pod), workload]
        .into_iter()
        .flatten()
        .map(|it| ((it.resource.kind.clone(), it.namespace, it.name), it))
        .collect()
}

fn of_pod(subject: &Subject) -> Object<'_> {
    let Subject { namespace, pod, uid, container: _ } = subject;
    Object { resource: ApiResource::erase::<Pod>(&()), namespace, name: pod, uid: Some(uid) }
}

fn of_workload(workload: &Workload) -> Option<Object<'_>> {
    let Workload { namespace, kind, name } = workload;
    Some(Object { resource: workload::resource(kind)?, namespace, name, uid: None })
}

/// What is to be written, or nothing when it stands there already. The evidence's figures move with every
/// evaluation; they alone are no reason to write.
fn wanted(plan: &Plan, case: &Case, now: &Annotations) -> Option<Value> {
    let is = |key: &str, value: &str| now.get(key).is_some_and(|it| it == value);
    if now.get(annotations::POLICY).is_some_and(|it| *it != plan.policy) {
        return None;
    }
    let (diagnosis, since) = (case.growth.diagnosis.name(), format!("{:.0}", case.since));
    let blame = case.profile.as_ref().filter(|it| !it.sites.is_empty()).map(|it| profiles::words(&it.sites));
    let stands = blame.as_ref().is_none_or(|it| is(annotations::BLAME, it))
        && is(annotations::DIAGNOSIS, diagnosis)
        && is(annotations::SINCE, &since)
        && is(annotations::POLICY, &plan.policy)
        && now.contains_key(annotations::EVIDENCE);
    (!stands).then(|| {
        let mut marks = json!({
            annotations::DIAGNOSIS: diagnosis,
            annotations::EVIDENCE: shortened(&case.growth.message, MAX_EVIDENCE),
            annotations::SINCE: since,
            annotations::POLICY: plan.policy,
        });
        if let Some(blame) = blame {
            marks[annotations::BLAME] = blame.into();
        }
        marks
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
    let found = match api.get_metadata_opt(name).await {
        Err(error) if workload::is_left_out(resource, &error) => return Ok(()),
        found => found?,
    };
    let Some(found) = found else { return Ok(()) };
    let found = found.metadata;
    if uid.is_some() && uid.map(str::to_owned) != found.uid {
        return Ok(());
    }
    let Some(annotations) = change(&found.annotations.unwrap_or_default()) else { return Ok(()) };
    let request = patch(api.resource_url(), name, found.uid.as_deref(), &annotations)?;
    match acting::send(&hands.acting, request, deadline).await {
        Err(error) if acting::is_about_another(&error) => Ok(()),
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
