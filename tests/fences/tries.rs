//! What is tried, and who answered: the fence, or somebody before it. It knows no table.

use http::{Method, Request};
use kube::{Client, Error};
use serde_json::{Value, json};

/// One request.
#[derive(Clone, Debug)]
pub struct Try {
    /// For people.
    pub what: String,
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The body's kind.
    pub media: &'static str,
    /// The body.
    pub body: Value,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Done.
    Allowed,
    /// Refused by the admission policy of this short name.
    Fenced(String),
    /// Refused by something else.
    Refused(u16, String),
}

impl Try {
    /// A request of any kind, with JSON.
    pub fn new(method: Method, what: &str, path: &str, body: Value) -> Self {
        Self { what: what.to_owned(), method, path: path.to_owned(), media: "application/json", body }
    }

    /// A creation.
    pub fn post(what: &str, path: &str, body: Value) -> Self {
        Self::new(Method::POST, what, path, body)
    }

    /// A merge patch, which is what the operator sends.
    pub fn patch(what: &str, path: &str, body: Value) -> Self {
        Self::new(Method::PATCH, what, path, body).with("application/merge-patch+json")
    }

    /// A deletion. It has no body: of one with a body the API server does not read whether it is to be dry.
    pub fn delete(what: &str, path: &str) -> Self {
        Self::new(Method::DELETE, what, path, Value::Null)
    }

    /// The same with a body of another kind.
    pub fn with(self, media: &'static str) -> Self {
        Self { media, ..self }
    }

    /// The same, judged by everybody and not carried out.
    pub fn dry(&self) -> Self {
        let sign = if self.path.contains('?') { '&' } else { '?' };
        Self { path: format!("{}{sign}dryRun=All", self.path), ..self.clone() }
    }
}

/// Sends it, once.
pub async fn send(client: &Client, it: &Try) -> Answer {
    let request = Request::builder().method(it.method.clone()).uri(&it.path).header("content-type", it.media);
    let body = if it.body.is_null() { Vec::new() } else { it.body.to_string().into_bytes() };
    let request = request.body(body).expect("a request");
    match client.request_text(request).await {
        Ok(_) => Answer::Allowed,
        Err(Error::Api(status)) => {
            fence(&status.message).map_or_else(|| Answer::Refused(status.code, status.message.clone()), Answer::Fenced)
        }
        Err(error) => Answer::Refused(0, format!("{it:?}: {error}")),
    }
}

/// The policy that a refusal names, without the release's name, which is `WORD-WORD-NUMBER`.
fn fence(message: &str) -> Option<String> {
    let name = message.split("ValidatingAdmissionPolicy '").nth(1)?.split('\'').next()?;
    name.rsplit('-').next().map(str::to_owned)
}

/// For each fence that an installation always has, one request that it must refuse. RBAC of the chart lets all of them
/// through but the last. They need the pod and the Deployment `probe`.
pub fn probes(namespace: &str) -> Vec<(&'static str, Try)> {
    let core = format!("/api/v1/namespaces/{namespace}");
    let pod = |name: &str| json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let labels = json!({"metadata": {"labels": {"probe": "1"}}});
    let workload = |kind: &str| format!("/apis/apps/v1/namespaces/{namespace}/{kind}/probe");
    vec![
        ("ledgers", ledger("probe", &core, &json!({"probe": ""})).dry()),
        (
            "evictions",
            Try::post(
                "probe",
                &format!("{core}/pods/probe/eviction"),
                json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "probe"}}),
            )
            .dry(),
        ),
        ("marks", Try::patch("probe", &format!("{core}/pods/probe"), labels.clone()).dry()),
        ("workloads", Try::patch("probe", &workload("deployments"), labels).dry()),
        ("never", Try::post("probe", &format!("{core}/pods"), pod("never")).dry()),
    ]
}

/// A ledger of this content, in the namespace of this path.
pub fn ledger(what: &'static str, core: &str, data: &Value) -> Try {
    let map =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "grpc-hygiene-ledger"}, "data": data});
    Try::new(Method::PUT, what, &format!("{core}/configmaps/grpc-hygiene-ledger"), map)
}
