//! What other programs of the cluster say, read through the API server's proxy: Alertmanager's alerts and the
//! operator's own metrics.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::Value;

use super::world::{HOME, World};

/// The alerts that one Alertmanager holds for a namespace, firing ones only: it forgets the others.
pub async fn alerts(world: &World, replica: u8, namespace: &str) -> Result<Vec<Value>, String> {
    let path =
        format!("/api/v1/namespaces/monitoring/pods/alertmanager-{replica}:9093/proxy/api/v2/alerts?active=true");
    let page = page(world, &path).await?;
    let all: Vec<Value> = serde_json::from_str(&page).map_err(|error| format!("{error}: {page}"))?;
    Ok(all.into_iter().filter(|it| it["labels"]["namespace"] == namespace).collect())
}

/// When the operator last evaluated a policy, Unix seconds.
pub async fn last_evaluation(world: &World, policy: &str) -> Result<f64, String> {
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), HOME);
    let labels = ListParams::default().labels("app.kubernetes.io/component=operator");
    let pods = pods.list(&labels).await.map_err(|it| it.to_string())?;
    let name = pods.items.first().and_then(|it| it.metadata.name.clone()).ok_or("there is no operator")?;
    let page = page(world, &format!("/api/v1/namespaces/{HOME}/pods/{name}:8080/proxy/metrics")).await?;
    let series = format!("grpc_hygiene_last_evaluation_timestamp_seconds{{policy=\"{policy}\"}} ");
    let value = page.lines().find_map(|it| it.strip_prefix(&series)).ok_or("not evaluated yet")?;
    value.parse().map_err(|error| format!("{value}: {error}"))
}

/// What is answered at a path of the API server.
pub async fn page(world: &World, path: &str) -> Result<String, String> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|it| it.to_string())?;
    world.client.request_text(request).await.map_err(|it| it.to_string())
}
