//! Removes our annotations from pods and workloads: all of them, or those of policies that are gone. Lists metadata
//! only, in pages. It removes what describes a finding and nothing else.

use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod};
use kube::{
    Api, Client, Error, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, PartialObjectMeta},
};
use tracing::warn;

use crate::{
    api::names::annotations,
    io::{
        act::{Hands, patch, removal},
        acting::{is_about_another, reason},
        workload,
    },
};

/// How many objects are in memory at once.
const PAGE: u32 = 100;
/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Pods that were cleared.
    pub pods: usize,
    /// Workloads that were cleared. The copies on ReplicaSets are not counted.
    pub workloads: usize,
    /// Objects that could not be cleared; the log says why.
    pub failed: usize,
}

/// Removes the marks of the policies of which `gone` says so, by the name in the annotation: `namespace/name`, or
/// `name`. Marks that name no policy are asked about as the empty name.
///
/// # Errors
/// Objects cannot be listed. Those that were cleared before stay so.
pub async fn sweep(hands: &Hands, gone: impl Fn(&str) -> bool) -> Result<Swept, Error> {
    all(&hands.reading, &hands.acting, gone).await
}

/// Removes all marks. For a command that a person runs: it asks nobody whether we lead.
///
/// # Errors
/// As [`sweep`].
pub async fn cleanup(client: &Client) -> Result<Swept, Error> {
    all(client, client, |_| true).await
}

async fn all(reading: &Client, writing: &Client, gone: impl Fn(&str) -> bool) -> Result<Swept, Error> {
    let pods = clear(reading, writing, &ApiResource::erase::<Pod>(&()), &gone).await?;
    let mut swept = Swept { pods: pods.cleared, workloads: 0, failed: pods.failed };
    for resource in ["Deployment", "StatefulSet", "DaemonSet", "Rollout"].into_iter().filter_map(workload::resource) {
        let workloads = match clear(reading, writing, &resource, &gone).await {
            Err(error) if workload::is_left_out(&resource, &error) => continue,
            workloads => workloads?,
        };
        swept.workloads += workloads.cleared;
        swept.failed += workloads.failed;
    }
    // Last, since the controller of a Deployment copies its annotations to its ReplicaSets and leaves them there. The
    // marks themselves are gone by now: a role that may not list the copies fails nothing.
    match clear(reading, writing, &ApiResource::erase::<ReplicaSet>(&()), &gone).await {
        Ok(copies) => swept.failed += copies.failed,
        Err(error) => warn!(reason = reason(&error), "copies on ReplicaSets not removed"),
    }
    Ok(swept)
}

#[derive(Default)]
struct Count {
    cleared: usize,
    failed: usize,
}

async fn clear(
    reading: &Client,
    writing: &Client,
    resource: &ApiResource,
    gone: &impl Fn(&str) -> bool,
) -> Result<Count, Error> {
    let api: Api<DynamicObject> = Api::all_with(reading.clone(), resource);
    let mut params = ListParams::default().limit(PAGE);
    let mut count = Count::default();
    loop {
        let page = api.list_metadata(&params).await?;
        for object in page.items.iter().filter(|it| gone(policy(it))) {
            match remove(writing, resource, object).await {
                Ok(true) => count.cleared += 1,
                Ok(false) => {}
                Err(error) => {
                    let (kind, namespace, name) = (&resource.kind, object.namespace(), object.name_any());
                    warn!(kind, namespace, name, reason = reason(&error), "annotations not removed");
                    count.failed += 1;
                }
            }
        }
        match page.metadata.continue_.filter(|it| !it.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(count),
        }
    }
}

fn policy(object: &PartialObjectMeta<DynamicObject>) -> &str {
    object.annotations().get(annotations::POLICY).map_or("", String::as_str)
}

async fn remove(
    client: &Client,
    resource: &ApiResource,
    object: &PartialObjectMeta<DynamicObject>,
) -> Result<bool, Error> {
    // The fence as well: it means nothing to anybody when the ledger is gone.
    let Some(annotations) = removal(object.annotations(), &annotations::WRITTEN) else { return Ok(false) };
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, resource);
    let request = patch(api.resource_url(), &object.name_any(), object.uid().as_deref(), &annotations)?;
    match client.request_text(request).await {
        Ok(_) => Ok(true),
        // Gone, or made anew under its name: then it carries nothing of ours.
        Err(error) if is_about_another(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
