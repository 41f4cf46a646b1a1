//! Reads what matters about a workload before one of its pods is disturbed. Nothing is cached: the answer is about
//! now. What is of no kind that we know, or cannot be read, is unknown, and what is unknown is not restarted.
//!
//! This file reads. `apps` and `argo` say what the kinds' states mean, `guards` what budgets and autoscalers say.

mod apps;
mod argo;
mod guards;

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, Error, api::ApiResource};
use serde_json::Value;

pub use guards::{Guards, guards};

use crate::{
    api::names::{RESTARTED_AT, annotations::EXEMPT},
    decide::{Standing, Workload, WorkloadState},
    io::acting::reason,
};

/// The API resource of a kind that we annotate, read and restart.
#[must_use]
pub fn resource(kind: &str) -> Option<ApiResource> {
    match kind {
        "Deployment" => Some(ApiResource::erase::<Deployment>(&())),
        "StatefulSet" => Some(ApiResource::erase::<StatefulSet>(&())),
        "DaemonSet" => Some(ApiResource::erase::<DaemonSet>(&())),
        argo::KIND => Some(argo::resource()),
        _ => None,
    }
}

/// Whether a request about this resource failed because Argo Rollouts is not there, or not ours to touch: the chart
/// grants it only where it is asked for.
#[must_use]
pub fn is_left_out(resource: &ApiResource, error: &Error) -> bool {
    resource.kind == argo::KIND && matches!(error, Error::Api(status) if matches!(status.code, 403 | 404))
}

/// The time of the restart that an object of this kind carries, as it stands there: kubectl's annotation of the
/// template, or what Argo Rollouts has for it.
#[must_use]
pub fn restarted_at(kind: &str, object: &Value) -> Option<String> {
    let at = if kind == argo::KIND {
        object.pointer("/spec/restartAt")
    } else {
        object.pointer("/spec/template/metadata/annotations").and_then(|it| it.get(RESTARTED_AT))
    };
    at.and_then(Value::as_str).map(str::to_owned)
}

/// How a workload stands, and what forbids to disturb this pod of it.
pub async fn standing(client: &Client, workload: &Workload, pod: &str) -> Standing {
    let guards = guards(client, &workload.namespace).await;
    standing_among(client, &guards, workload, pod).await
}

/// The same with what was read about the namespace before.
pub async fn standing_among(
    client: &Client,
    guards: &Result<Guards, String>,
    workload: &Workload,
    pod: &str,
) -> Standing {
    match read(client, guards, workload, pod).await {
        Ok(Some(state)) => Standing::Known(state),
        Ok(None) => Standing::Unknown(format!("{} {} does not exist", workload.kind, workload.name)),
        Err(problem) => Standing::Unknown(problem),
    }
}

async fn read(
    client: &Client,
    guards: &Result<Guards, String>,
    workload: &Workload,
    pod: &str,
) -> Result<Option<WorkloadState>, String> {
    let Workload { namespace, kind, name } = workload;
    let said = |error: Error| reason(&error);
    let state = match kind.as_str() {
        "Deployment" => {
            Api::namespaced(client.clone(), namespace).get_opt(name).await.map_err(said)?.map(apps::deployment)
        }
        "StatefulSet" => {
            Api::namespaced(client.clone(), namespace).get_opt(name).await.map_err(said)?.map(apps::stateful_set)
        }
        "DaemonSet" => {
            Api::namespaced(client.clone(), namespace).get_opt(name).await.map_err(said)?.map(apps::daemon_set)
        }
        argo::KIND => argo::read(client, namespace, name).await?,
        other => return Err(format!("kind {other} is not supported")),
    };
    let Some(state) = state else { return Ok(None) };
    let guards = guards.as_ref().map_err(Clone::clone)?;
    let blocking_budgets = guards.blocking(client, namespace, pod).await.map_err(said)?;
    Ok(Some(WorkloadState { blocking_budgets, autoscalers: guards.of(workload), ..state }))
}

/// What the kinds have in common.
fn common(metadata: &ObjectMeta, template: Option<&PodTemplateSpec>) -> WorkloadState {
    let template = template.and_then(|it| it.metadata.as_ref());
    let of = |it: &ObjectMeta, key: &str| it.annotations.as_ref().and_then(|it| it.get(key)).cloned();
    let is_exempt = |it: &ObjectMeta| of(it, EXEMPT).is_some_and(|it| it == "true");
    WorkloadState {
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        generation: metadata.generation,
        exempt: is_exempt(metadata) || template.is_some_and(is_exempt),
        restarted_at: template.and_then(|it| of(it, RESTARTED_AT)),
        gitops: gitops(metadata),
        ..WorkloadState::default()
    }
}

/// What keeps the workload as it stands in Git, by the marks that it leaves. Argo CD may use a label that Helm's charts
/// use as well; then it is the one who wrote it that tells.
fn gitops(metadata: &ObjectMeta) -> Option<&'static str> {
    let labelled = |key: &str| metadata.labels.as_ref().is_some_and(|it| it.contains_key(key));
    let annotated = |key: &str| metadata.annotations.as_ref().is_some_and(|it| it.contains_key(key));
    let managers = || metadata.managed_fields.iter().flatten().filter_map(|it| it.manager.as_deref());
    let argo = annotated("argocd.argoproj.io/tracking-id")
        || labelled("argocd.argoproj.io/instance")
        || labelled("app.kubernetes.io/instance") && managers().any(|it| it.starts_with("argocd"));
    let flux = labelled("kustomize.toolkit.fluxcd.io/name") || labelled("helm.toolkit.fluxcd.io/name");
    match () {
        () if argo => Some("Argo CD"),
        () if flux => Some("Flux"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told_by(metadata: Value) -> Option<&'static str> {
        gitops(&serde_json::from_value(metadata).expect("metadata"))
    }

    #[test]
    fn what_keeps_a_workload_as_it_is_in_git_is_known_by_its_marks() {
        let label = |key: &str| told_by(json!({"labels": {key: "shop"}}));
        assert_eq!(told_by(json!({"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps"}})), Some("Argo CD"));
        assert_eq!(label("argocd.argoproj.io/instance"), Some("Argo CD"));
        assert_eq!(label("kustomize.toolkit.fluxcd.io/name"), Some("Flux"));
        assert_eq!(label("helm.toolkit.fluxcd.io/name"), Some("Flux"));
    }

    #[test]
    fn a_label_that_charts_use_as_well_tells_only_with_who_wrote_it() {
        let written_by = |manager: &str| {
            told_by(json!({"labels": {"app.kubernetes.io/instance": "shop"}, "managedFields": [{"manager": manager}]}))
        };
        assert_eq!(written_by("argocd-controller"), Some("Argo CD"));
        assert_eq!(written_by("helm"), None);
        assert_eq!(told_by(json!({})), None);
    }

    #[test]
    fn the_time_of_a_restart_stands_where_each_kind_has_it() {
        let annotated =
            json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: "a"}}}, "restartAt": "b"}});
        assert_eq!(restarted_at("Deployment", &annotated).as_deref(), Some("a"));
        assert_eq!(restarted_at("Rollout", &annotated).as_deref(), Some("b"));
        assert_eq!(restarted_at("Rollout", &json!({"spec": {}})), None);
    }
}
