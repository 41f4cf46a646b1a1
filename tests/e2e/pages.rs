//! What other programs of the cluster say, read through the API server's proxy: Alertmanager's alerts and the
//! operator's own metrics.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::world::{HOME, World};

/// How long one page of a replica may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The alerts that one Alertmanager holds for a namespace, firing ones only: it forgets the others.
pub async fn alerts(world: &World, replica: u8, namespace: &str) -> Result<Vec<Value>, String> {
    let all = all_alerts(world, replica).await?;
    Ok(all.into_iter().filter(|it| it["labels"]["namespace"] == namespace).collect())
}

/// The firing alerts that one Alertmanager holds.
pub async fn all_alerts(world: &World, replica: u8) -> Result<Vec<Value>, String> {
    let path =
        format!("/api/v1/namespaces/monitoring/pods/alertmanager-{replica}:9093/proxy/api/v2/alerts?active=true");
    let page = tokio::time::timeout(PATIENCE, page(world, &path)).await.map_err(|_| "no answer".to_owned())??;
    serde_json::from_str(&page).map_err(|error| format!("{error}: {page}"))
}

/// When the operator last evaluated a policy, whichever replica it was, Unix seconds.
pub async fn last_evaluation(world: &World, policy: &str) -> Result<f64, String> {
    let all = last_evaluations(world).await?;
    all.get(policy).copied().ok_or_else(|| "not evaluated yet".to_owned())
}

/// When the operator last evaluated each policy, whichever replica it was, Unix seconds.
pub async fn last_evaluations(world: &World) -> Result<BTreeMap<String, f64>, String> {
    let mut last: BTreeMap<String, f64> = BTreeMap::new();
    for name in world.operators().await?.into_iter().filter_map(|it| it.metadata.name) {
        let path = format!("/api/v1/namespaces/{HOME}/pods/{name}:8080/proxy/metrics");
        // One that stands by has evaluated nothing, and one that is stopped does not answer.
        let Ok(Ok(page)) = tokio::time::timeout(PATIENCE, page(world, &path)).await else { continue };
        for (policy, at) in page.lines().filter_map(evaluation) {
            let newest = last.entry(policy.to_owned()).or_insert(at);
            *newest = newest.max(at);
        }
    }
    Ok(last)
}

/// The policy and the time, where a line of the metrics tells them.
fn evaluation(line: &str) -> Option<(&str, f64)> {
    let line = line.strip_prefix("grpc_hygiene_last_evaluation_timestamp_seconds{policy=\"")?;
    let (policy, at) = line.split_once("\"} ")?;
    Some((policy, at.parse().ok()?))
}

/// What is answered at a path of the API server.
pub async fn page(world: &World, path: &str) -> Result<String, String> {
    let request = http::Request::get(path).body(Vec::new()).map_err(|it| it.to_string())?;
    world.client.request_text(request).await.map_err(|it| it.to_string())
}
