//! An API server that holds so many pods, 250 in a namespace, their ReplicaSets of ten pods each, and one policy. It
//! answers what an operator asks that acts on nobody, and counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::any,
};
use futures::stream;
use serde_json::{Value, json};

/// Pods of one ReplicaSet.
const REPLICAS: usize = 10;
/// Pods of one namespace.
const IN_A_NAMESPACE: usize = 250;

/// Requests so far.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    /// Of the election.
    pub leases: usize,
    /// All others, watches included.
    pub others: usize,
    /// How often the namespaces were asked for.
    pub evaluations: usize,
}

/// The server's state.
pub struct ApiServer {
    pods: usize,
    interval: u32,
    counts: Mutex<Counts>,
    lease: Mutex<Option<Value>>,
    status: Mutex<Value>,
    unknown: Mutex<BTreeSet<String>>,
}

type Parameters = BTreeMap<String, String>;

impl ApiServer {
    /// With so many pods, and a policy that is evaluated every `interval` seconds.
    pub fn new(pods: usize, interval: u32) -> Self {
        let (counts, lease, status, unknown) = Default::default();
        Self { pods, interval, counts, lease, status, unknown }
    }

    /// Requests so far.
    pub fn counts(&self) -> Counts {
        *self.counts.lock().expect("no panic")
    }

    /// What was asked for and is not there.
    pub fn unknown(&self) -> BTreeSet<String> {
        self.unknown.lock().expect("no panic").clone()
    }

    fn policy(&self) -> Value {
        json!({
            "apiVersion": "grpc-hygiene.io/v1alpha1", "kind": "ClusterGrpcClientPolicy",
            "metadata": {"name": "clients", "uid": "policy", "generation": 1, "resourceVersion": "1"},
            "spec": {"namespaceSelector": {}, "allPods": true, "interval": format!("{}s", self.interval)},
            "status": *self.status.lock().expect("no panic"),
        })
    }

    fn namespaces(&self) -> Response {
        let all = (0..self.pods).step_by(IN_A_NAMESPACE).map(|it| json!({"metadata": {"name": namespace_of(it)}}));
        self.counts.lock().expect("no panic").evaluations += 1;
        list(&all.collect::<Vec<_>>())
    }

    fn page(&self, namespace: &str, parameters: &Parameters) -> Value {
        let number = |name: &str| parameters.get(name).and_then(|it| it.parse::<usize>().ok());
        let first = namespace.trim_start_matches("shop-").parse::<usize>().expect("a namespace") * IN_A_NAMESPACE;
        let end = (first + IN_A_NAMESPACE).min(self.pods);
        let from = number("continue").unwrap_or(first);
        let to = number("limit").map_or(end, |it| end.min(from + it));
        let more = if to < end { json!(to.to_string()) } else { Value::Null };
        let items: Vec<Value> = (from..to).map(pod).collect();
        json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1", "continue": more}, "items": items})
    }

    fn answer(&self, method: &Method, path: &str, parameters: &Parameters, body: &[u8]) -> Response {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let watched = parameters.contains_key("watch");
        match (method.as_str(), parts.as_slice()) {
            // A watch that nothing happens on.
            (_, _) if watched => Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()).into_response(),
            (_, [.., "leases"] | [.., "leases", _]) => self.lease(method, body),
            ("GET", [.., "clustergrpcclientpolicies"]) => list(&[self.policy()]),
            ("PATCH", [.., "clustergrpcclientpolicies", "clients", "status"]) => {
                let patch: Value = serde_json::from_slice(body).expect("a merge patch");
                merge(&mut self.status.lock().expect("no panic"), &patch["status"]);
                json_of(&self.policy())
            }
            ("GET", [.., "clustergrpcclientpolicies", "clients"]) => json_of(&self.policy()),
            ("GET", [.., "namespaces"]) => self.namespaces(),
            ("GET", [.., "namespaces", namespace, "pods"]) => json_of(&self.page(namespace, parameters)),
            ("GET", [.., "replicasets", name]) => json_of(&replica_set(name)),
            ("GET", [.., "grpcclientpolicies" | "endpointslices" | "poddisruptionbudgets"]) => list(&[]),
            ("POST", [.., "events"]) => (StatusCode::CREATED, body.to_vec()).into_response(),
            (method, _) => {
                self.unknown.lock().expect("no panic").insert(format!("{method} {path}"));
                not_found()
            }
        }
    }

    fn lease(&self, method: &Method, body: &[u8]) -> Response {
        let mut lease = self.lease.lock().expect("no panic");
        if *method != Method::GET {
            let mut written: Value = serde_json::from_slice(body).expect("a lease");
            let version = self.counts().leases.to_string();
            merge(
                &mut written,
                &json!({"metadata": {"resourceVersion": version, "uid": "lease", "namespace": "grpc-hygiene"}}),
            );
            *lease = Some(written);
        }
        lease.as_ref().map_or_else(not_found, json_of)
    }
}

/// All that it serves.
pub fn routes(server: Arc<ApiServer>) -> Router {
    let handle = move |method: Method, uri: Uri, body: Bytes| {
        let query = reqwest::Url::parse(&format!("query:?{}", uri.query().unwrap_or_default())).expect("a query");
        let parameters: Parameters = query.query_pairs().into_owned().collect();
        let mut counts = server.counts.lock().expect("no panic");
        if uri.path().contains("/leases") {
            counts.leases += 1;
        } else {
            counts.others += 1;
        }
        drop(counts);
        let answer = server.answer(&method, uri.path(), &parameters, &body);
        async move { answer }
    };
    Router::new().fallback(any(handle))
}

/// The address of a pod.
pub fn ip(pod: usize) -> String {
    format!("10.{}.{}.{}", pod / 65_536, pod / 256 % 256, pod % 256)
}

/// The namespace of a pod.
pub fn namespace_of(pod: usize) -> String {
    format!("shop-{:03}", pod / IN_A_NAMESPACE)
}

/// A pod as large as they are: most of it is of no interest to the operator.
fn pod(number: usize) -> Value {
    let (set, ballast) = (format!("orders-{}", number / REPLICAS), "x".repeat(8_000));
    json!({
        "metadata": {
            "name": format!("orders-{number:05}"), "namespace": namespace_of(number), "uid": format!("pod-{number}"), "resourceVersion": "1",
            "labels": {"app": "orders", "pod-template-hash": (number / REPLICAS).to_string()},
            "annotations": {"example.com/ballast": ballast},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set, "uid": format!("uid-{set}"), "controller": true}],
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {"f:ballast": "y".repeat(3_000)}}}],
        },
        "spec": {"containers": [{"name": "app", "image": "shop:1", "resources": {"limits": {"memory": "256Mi"}}}]},
        "status": {
            "phase": "Running", "podIP": ip(number), "podIPs": [{"ip": ip(number)}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "app", "ready": true, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}],
        },
    })
}

fn replica_set(name: &str) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"name": name, "uid": format!("uid-{name}"), "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": format!("of-{name}"), "controller": true}]},
    })
}

fn list(items: &[Value]) -> Response {
    json_of(&json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": items}))
}

fn json_of(value: &Value) -> Response {
    ([("content-type", "application/json")], value.to_string()).into_response()
}

fn not_found() -> Response {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "message": "not found", "code": 404});
    (StatusCode::NOT_FOUND, json_of(&status)).into_response()
}

/// JSON merge patch (RFC 7396).
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().expect("an object").remove(key);
        } else {
            merge(&mut into[key.as_str()], value);
        }
    }
}
