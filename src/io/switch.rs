//! What people use to stop restarts at once: a ConfigMap in the operator's namespace, a label on a namespace, and the
//! policy itself; and the approvals that stand on it. Read anew before each restart, whatever else stands still. Doubt counts as stopped.
//!
//! The fourth way needs no operator that listens: binding the chart's admission policy `stop`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, Client, Error, Resource, ResourceExt,
    api::{ApiResource, DynamicObject},
};
use serde_json::Value;

use crate::{
    api::{ClusterGrpcClientPolicy, GrpcClientPolicy, names::labels::RESTARTS},
    decide::{
        Because,
        approval::{Approval, Approvals},
    },
    io::{acting::reason, http::printable},
};

/// The ConfigMap that stops restarts in the whole cluster.
pub const NAME: &str = "grpc-hygiene-switch";
/// Its key. `on`: restarts may be made; anything else: none is.
const KEY: &str = "restarts";
const ON: &str = "on";

/// Whether somebody stopped restarts in the cluster or in a namespace.
///
/// # Errors
/// Somebody did, or it cannot be told; the reason says where.
pub async fn is_on(client: &Client, own: &str, namespace: &str) -> Result<(), Because> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), own);
    let here = format!("ConfigMap {own}/{NAME}");
    if let Some(map) = maps.get_opt(NAME).await.map_err(|error| doubt(&here, &error))? {
        let value = map.data.as_ref().and_then(|it| it.get(KEY)).map(|it| it.trim());
        if value != Some(ON) {
            let says = value.map_or_else(|| format!("has no key {KEY}"), |it| format!("says {KEY}: {it}"));
            return Err(Because::Stopped { by: printable(&format!("{here} {says}")) });
        }
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let here = format!("namespace {namespace}");
    let labelled = namespaces.get_metadata(namespace).await.map_err(|error| doubt(&here, &error))?;
    match labelled.labels().get(RESTARTS) {
        Some(value) if value != ON => Err(Because::Stopped { by: format!("{here} is labelled {RESTARTS}={value}") }),
        _ => Ok(()),
    }
}

/// Whether a policy, `namespace/name` or `name`, still stands as it was judged by, and still carries the approval that it
/// asks for, if it does. Until when it is approved is returned.
///
/// # Errors
/// It is gone, suspended or changed, or cannot be read; or the approval is no longer given.
pub async fn still_stands(
    client: &Client,
    policy: &str,
    generation: Option<i64>,
    approval: Option<&Approval>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Because> {
    let found = read(client, policy).await?;
    if found.data.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true) {
        return Err(Because::Stopped { by: format!("policy {policy} is suspended") });
    }
    if found.metadata.deletion_timestamp.is_some() || found.metadata.generation != generation {
        return Err(changed("was changed"));
    }
    approval.map(|it| it.renewed(&Approvals::of(found.annotations()), now).given()).transpose()
}

/// Whether another policy still carries the approval that it asks for, and until when.
///
/// # Errors
/// It does not, or cannot be read.
pub async fn still_approved(client: &Client, approval: &Approval, now: Timestamp) -> Result<Timestamp, Because> {
    let found = read(client, &approval.policy).await?;
    approval.renewed(&Approvals::of(found.annotations()), now).given()
}

async fn read(client: &Client, policy: &str) -> Result<DynamicObject, Because> {
    let (api, name) = policies(client, policy);
    let found = api.get_opt(name).await.map_err(|error| changed(&format!("cannot be read: {}", reason(&error))))?;
    found.ok_or_else(|| changed("is gone"))
}

fn changed(what: &str) -> Because {
    Because::Changed { what: format!("the policy {what}") }
}

/// Where a policy, `namespace/name` or `name`, is found, and under which name.
pub(super) fn policies<'a>(client: &Client, policy: &'a str) -> (Api<DynamicObject>, &'a str) {
    match policy.split_once('/') {
        Some((namespace, name)) => (Api::namespaced_with(client.clone(), namespace, &kind::<GrpcClientPolicy>()), name),
        None => (Api::all_with(client.clone(), &kind::<ClusterGrpcClientPolicy>()), policy),
    }
}

fn kind<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

fn doubt(what: &str, error: &Error) -> Because {
    Because::Stopped { by: format!("{what} cannot be read: {}", reason(error)) }
}
