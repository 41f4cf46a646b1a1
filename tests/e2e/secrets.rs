//! The token that the installation sends to Prometheus is a canary: wherever it is seen, a secret leaked. It is looked
//! for in everything that an operator leaves behind, after all scenarios.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    pages::page,
    world::{CANARY, HOME, World},
};

/// Asserts that nobody sees it: not in logs, objects of any kind but the Secret, alerts, or metrics.
pub async fn are_nowhere(world: &World) {
    let mut seen = Vec::new();
    let selector = "app.kubernetes.io/name=grpc-hygiene";
    seen.push(world.kubectl(&["logs", "--namespace", HOME, "--selector", selector, "--tail", "-1", "--prefix"]));
    let kinds = "grpcclientpolicies,clustergrpcclientpolicies,events,pods,deployments,replicasets,configmaps,leases";
    seen.push(world.kubectl(&["get", kinds, "--all-namespaces", "--output", "yaml"]));
    for replica in 0..2 {
        let path = format!("/api/v1/namespaces/monitoring/pods/alertmanager-{replica}:9093/proxy/api/v2/alerts");
        seen.push(page(world, &path).await.expect("Alertmanager's alerts"));
    }
    let pods = world.kubectl(&["get", "pods", "--namespace", HOME, "--selector", selector, "--output", "name"]);
    for pod in pods.lines().filter_map(|it| it.strip_prefix("pod/")) {
        let path = format!("/api/v1/namespaces/{HOME}/pods/{pod}:8080/proxy/metrics");
        seen.push(page(world, &path).await.expect("the operator's metrics"));
    }
    let encoded = BASE64_STANDARD.encode(CANARY);
    for text in &seen {
        assert!(text.len() > 2, "nothing was there to be looked through");
        let line = text.lines().find(|it| it.contains(CANARY) || it.contains(encoded.trim_end_matches('=')));
        assert!(line.is_none(), "the token of Prometheus is seen: {line:?}");
    }
}
