//! Which policies a command is about: those in a file, or those in the cluster.

use std::{collections::BTreeMap, io::Read, path::Path};

use anyhow::{Context, anyhow, bail};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{Api, Client, ResourceExt, api::ListParams};
use serde_json::Value;

use crate::api::{
    ClusterGrpcClientPolicy, GrpcClientPolicy, GrpcClientPolicyStatus, PolicyResource, PolicyRules, Reach,
    custom_resources, unknown_fields,
};

/// A policy of either kind, from wherever.
#[derive(Clone, Debug)]
pub struct Known {
    /// `namespace/name`, or `name`.
    pub key: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The shared fields.
    pub rules: PolicyRules,
    /// Its status, when it comes from the cluster.
    pub status: Option<GrpcClientPolicyStatus>,
    /// Where it looks.
    pub reach: KnownReach,
}

/// Where a policy looks.
#[derive(Clone, Debug)]
pub enum KnownReach {
    /// In one namespace. Empty when the file does not say.
    Namespace(String),
    /// In the namespaces that a selector matches.
    Selected(LabelSelector),
}

impl<K: PolicyResource> From<&K> for Known {
    fn from(resource: &K) -> Self {
        let reach = match resource.reach() {
            Reach::Namespace(namespace) => KnownReach::Namespace(namespace),
            Reach::Selected(selector) => KnownReach::Selected(selector.clone()),
        };
        let annotations = resource.annotations().clone();
        Self {
            key: resource.key(),
            annotations,
            rules: resource.rules().clone(),
            status: resource.status().cloned(),
            reach,
        }
    }
}

/// The policies in a YAML file with one or more documents. `-` is standard input.
///
/// # Errors
/// It cannot be read, is not YAML, holds another kind, or a field that does not exist.
pub fn from_file(path: &Path) -> anyhow::Result<Vec<Known>> {
    documents(path)?.into_iter().map(|it| from_document(it).with_context(|| path.display().to_string())).collect()
}

/// The documents in a YAML file, whatever they are; those in a `List`, as `kubectl get -o yaml` prints it, each by
/// itself. `-` is standard input.
///
/// # Errors
/// It cannot be read, is not YAML, or holds nothing.
pub fn documents(path: &Path) -> anyhow::Result<Vec<Value>> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).with_context(|| format!("{} is not YAML", path.display()))?;
    let documents: Vec<Value> = documents.into_iter().filter(|it| !it.is_null()).flat_map(listed).collect();
    if documents.is_empty() {
        bail!("{} holds no policy", path.display());
    }
    Ok(documents)
}

fn listed(document: Value) -> Vec<Value> {
    let is_list = document.get("kind").and_then(Value::as_str) == Some("List");
    match document.get("items") {
        Some(Value::Array(items)) if is_list => items.clone(),
        _ => vec![document],
    }
}

/// One policy that has been read as YAML or JSON.
///
/// # Errors
/// It is of another kind, or holds a field that does not exist.
pub fn from_document(document: Value) -> anyhow::Result<Known> {
    let text = |field: &str| document.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let crds = custom_resources();
    let Some(crd) = crds.iter().find(|it| it.spec.names.kind == text("kind")) else {
        bail!("kind {:?} is none of GrpcClientPolicy and ClusterGrpcClientPolicy", text("kind"));
    };
    let version = format!("{}/{}", crd.spec.group, crd.spec.versions[0].name);
    if text("apiVersion") != version {
        bail!("apiVersion {:?} is not {version:?}", text("apiVersion"));
    }
    let unknown = unknown_fields(crd, &document);
    if !unknown.is_empty() {
        bail!("there is no field {}", unknown.join(", "));
    }
    if let Some(spec @ Value::Object(_)) = document.get("spec") {
        // Read by itself first: only so does an error name the field.
        let read: Result<PolicyRules, _> = serde_path_to_error::deserialize(spec);
        read.map_err(|why| anyhow!("spec.{}: {}", why.path(), why.inner()))?;
    }
    if crd.spec.names.kind == "GrpcClientPolicy" {
        Ok(Known::from(&serde_json::from_value::<GrpcClientPolicy>(document)?))
    } else {
        Ok(Known::from(&serde_json::from_value::<ClusterGrpcClientPolicy>(document)?))
    }
}

/// The policies of the cluster: of one namespace, or all of both kinds.
///
/// # Errors
/// The API fails, for example because the custom resources are not installed.
pub async fn from_cluster(client: &Client, namespace: Option<&str>) -> anyhow::Result<Vec<Known>> {
    let all = ListParams::default();
    let explain = "cannot list policies: are the custom resources installed, and may you read them?";
    let namespaced: Api<GrpcClientPolicy> = match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let mut known: Vec<Known> = namespaced.list(&all).await.context(explain)?.iter().map(Known::from).collect();
    if namespace.is_none() {
        let cluster: Api<ClusterGrpcClientPolicy> = Api::all(client.clone());
        known.extend(cluster.list(&all).await.context(explain)?.iter().map(Known::from));
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(yaml: &str) -> anyhow::Result<Known> {
        from_document(serde_saphyr::from_str(yaml).expect("YAML"))
    }

    #[test]
    fn a_policy_of_either_kind_is_read_from_yaml() {
        let known = document(
            "{apiVersion: grpc-hygiene.io/v1alpha1, kind: GrpcClientPolicy, metadata: {name: a, namespace: shop}, spec: {allPods: true}}",
        );
        assert_eq!(known.expect("a policy").key, "shop/a");
        let known = document(
            "{apiVersion: grpc-hygiene.io/v1alpha1, kind: ClusterGrpcClientPolicy, metadata: {name: a}, spec: {allPods: true, namespaceSelector: {matchLabels: {a: b}}}}",
        );
        assert!(matches!(known.expect("a policy").reach, KnownReach::Selected(_)));
    }

    #[test]
    fn what_is_no_policy_is_refused_with_a_reason() {
        for (yaml, reason) in [
            ("{apiVersion: v1, kind: Pod}", "kind \"Pod\""),
            ("{apiVersion: grpc-hygiene.io/v1, kind: GrpcClientPolicy}", "apiVersion"),
            (
                "{apiVersion: grpc-hygiene.io/v1alpha1, kind: GrpcClientPolicy, metadata: {name: a}, spec: {allPod: true}}",
                "no field spec.allPod",
            ),
            (
                "{apiVersion: grpc-hygiene.io/v1alpha1, kind: GrpcClientPolicy, metadata: {name: a}, spec: {allPods: yes please}}",
                "spec.allPods: invalid type: string \"yes please\", expected a boolean",
            ),
            (
                "{apiVersion: grpc-hygiene.io/v1alpha1, kind: GrpcClientPolicy, metadata: {name: a}, spec: {allPods: true, keepalive: {client: {language: rust}}}}",
                "spec.keepalive.client.language: unknown variant `rust`, expected one of `go`",
            ),
        ] {
            let error = document(yaml).expect_err("must be refused").to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
