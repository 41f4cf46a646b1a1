//! `grpc-hygiene clients` with a Kubernetes API, played by a server: where the Service is, who owns the pods, and what
//! happens when the API refuses.

use std::path::PathBuf;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{
    page,
    wire::{
        backend,
        fake::{Asked, Fake, json as answer, serve},
        run_with, sockets,
    },
};

fn list(kind: &str, version: &str, items: &Value) -> Response {
    let list = json!({"kind": kind, "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items});
    answer(list.to_string())
}

fn status(code: u16, reason: &str) -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("{reason}: somebody says so"), "reason": reason, "code": code});
    (StatusCode::from_u16(code).expect("a code"), answer(status.to_string())).into_response()
}

fn pod(name: &str) -> Value {
    let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "orders-5967f54959", "uid": "rs1",
        "controller": true}]);
    json!({"metadata": {"name": name, "namespace": "shop", "uid": name, "ownerReferences": owner},
        "spec": {"containers": [{"name": "app"}]},
        "status": {"phase": "Running",
            "containerStatuses": [{"name": "app", "state": {"running": {"startedAt": "2027-01-15T06:00:00Z"}}}]}})
}

/// A cluster with the Service of the pages and the Deployment orders.
fn cluster(path: &str) -> Response {
    let endpoint = |ip: &str, pod: &str| json!({"addresses": [ip], "targetRef": {"kind": "Pod", "name": pod}});
    match path {
        "/api/v1/namespaces/shop/services/users" => answer(
            json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "users", "namespace": "shop"},
                "spec": {"clusterIP": "10.96.7.20", "clusterIPs": ["10.96.7.20"], "ports": [{"port": 443}]}})
            .to_string(),
        ),
        "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices" => {
            let endpoints = [endpoint("10.244.1.5", "users-0"), endpoint("10.244.2.6", "users-1")];
            let slice = json!({"metadata": {"name": "users-x"}, "addressType": "IPv4",
                "ports": [{"port": 8443}], "endpoints": endpoints});
            list("EndpointSliceList", "discovery.k8s.io/v1", &json!([slice]))
        }
        "/api/v1/namespaces/shop/pods" => {
            list("PodList", "v1", &json!([pod("orders-5967f54959-klmnl"), pod("orders-5967f54959-x2x4q")]))
        }
        "/apis/apps/v1/namespaces/shop/replicasets/orders-5967f54959" => {
            let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "orders", "uid": "d1",
                "controller": true}]);
            let metadata = json!({"name": "orders-5967f54959", "uid": "rs1", "ownerReferences": owner});
            answer(
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
                    .to_string(),
            )
        }
        path if path.ends_with("/pods") => list("PodList", "v1", &json!([])),
        _ => status(404, "NotFound"),
    }
}

/// A kubeconfig for this server, whose namespace is `shop`.
fn kubeconfig(server: &Fake, name: &str) -> PathBuf {
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": server.url}}],
        "users": [{"name": "it", "user": {}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it", "namespace": "shop"}}]});
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("clients-{}-{name}.json", std::process::id()));
    std::fs::write(&path, config.to_string()).expect("a file");
    path
}

#[tokio::test]
async fn the_api_says_where_the_service_is_and_who_owns_the_pods() {
    let api = serve(|asked: Asked| async move { cluster(&asked.path) }).await;
    let fake = backend([page::coroot(), vec![sockets("users-0", 5.0), sockets("users-1", 5.0)]].concat()).await;
    let config = kubeconfig(&api, "good");
    let (code, out, err) = run_with(&fake, config.to_str().expect("a path"), &["users"]).await;
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.starts_with("shop/users: 643 connections held by 3 clients, +585 per hour"), "{out}");
    assert!(out.contains("shop deployment/orders stands out: what it holds rises by 585 per hour"), "{out}");
    assert!(out.contains("The server's own pods have 660 sockets, +600 per hour.\n"), "{out}");
    assert!(!out.contains("note:"), "nothing is missing: {out}");
}

#[tokio::test]
async fn a_rise_that_no_told_client_accounts_for_is_said() {
    let api = serve(|asked: Asked| async move { cluster(&asked.path) }).await;
    let steady =
        page::coroot().into_iter().filter(|it| it.labels.get("container_id").is_some_and(|it| it.contains("/web/")));
    let fake = backend(steady.chain([sockets("users-0", 5.0)]).collect()).await;
    let config = kubeconfig(&api, "rise");
    let (code, out, err) = run_with(&fake, config.to_str().expect("a path"), &["users"]).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("somebody is missing among them"), "{out}");
    let (_, out, _) = run_with(&fake, config.to_str().expect("a path"), &["users", "--from", "web"]).await;
    assert!(!out.contains("missing") && !out.contains("The server's own"), "the others were not asked for: {out}");
}

#[tokio::test]
async fn an_api_that_refuses_is_done_without_and_a_service_that_is_not_there_is_an_error() {
    let api = serve(|_| async { status(403, "Forbidden") }).await;
    let fake = backend(page::istio()).await;
    let config = kubeconfig(&api, "forbidden");
    let (code, out, err) = run_with(&fake, config.to_str().expect("a path"), &["users"]).await;
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.contains("note: the Kubernetes API does not say where shop/users is"), "{out}");
    assert!(out.contains("kubectl -n shop get pods\n  grpc-hygiene blame POD -n shop"), "{out}");

    let slices_only = |asked: Asked| async move {
        if asked.path.contains("/services/") { status(403, "Forbidden") } else { cluster(&asked.path) }
    };
    let api = serve(slices_only).await;
    let fake = backend(page::coroot()).await;
    let config = kubeconfig(&api, "slices");
    let (code, out, err) = run_with(&fake, config.to_str().expect("a path"), &["users"]).await;
    assert_eq!(code, Some(1), "Coroot knows the endpoints: {out}{err}");
    assert!(out.contains("note: of shop/users only the endpoints' addresses are known: Forbidden"), "{out}");

    let api = serve(|_| async { status(404, "NotFound") }).await;
    let config = kubeconfig(&api, "absent");
    let (code, _, err) = run_with(&fake, config.to_str().expect("a path"), &["users"]).await;
    assert_eq!((code, err.as_str()), (Some(2), "error: there is no Service users in namespace shop\n"));
}
