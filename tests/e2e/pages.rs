//! What other programs of the cluster say, read through the API server's proxy: Alertmanager's alerts and the
//! operator's own metrics.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::Value;

use super::world::{HOME, World};

/// How long one page of a replica may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The alerts that one Alertmanager holds for a namespace, firing ones only: it forgets the others.
pub async fn alerts(world: &World, replica: u8, namespace: &str) -> Result<Vec<Value>, String> {
    let path =
        format!("/api/v1/namespaces/monitoring/pods/alertmanager-{replica}:9093/proxy/api/v2/alerts?active=true");
    let page = page(world, &path).await?;
    let all: Vec<Value> = serde_json::from_str(&page).map_err(|error| format!("{error}: {page}"))?;
    Ok(all.into_iter().filter(|it| it["labels"]["namespace"] == namespace).collect())
}

/// When the operator last evaluated a policy, whichever replica it was, Unix seconds.
pub async fn last_evaluation(world: &World, policy: &str) -> Result<f64, String> {
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), HOME);
    let labels = ListParams::default().labels("app.kubernetes.io/component=operator");
    let pods = pods.list(&labels).await.map_err(|it| it.to_string())?;
    let series = format!("grpc_hygiene_last_evaluation_timestamp_seconds{{policy=\"{policy}\"}} ");
    let mut last: Option<f64> = None;
    for name in pods.items.into_iter().filter_map(|it| it.metadata.name) {
        let path = format!("/api/v1/namespaces/{HOME}/pods/{name}:8080/proxy/metrics");
        // One that stands by has evaluated nothing, and one that is stopped does not answer.
        let Ok(Ok(page)) = tokio::time::timeout(PATIENCE, page(world, &path)).await else { continue };
        let value = page.lines().find_map(|it| it.strip_prefix(&series)).and_then(|it| it.parse::<f64>().ok());
        last = value.into_iter().chain(last).reduce(f64::max);
    }
    last.ok_or_else(|| "not evaluated yet".to_owned())
}

/// What is answered at a path of the API server.
pub async fn page(world: &World, path: &str) -> Result<String, String> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|it| it.to_string())?;
    world.client.request_text(request).await.map_err(|it| it.to_string())
}
