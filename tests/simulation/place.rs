//! A namespace of an API server, fake or real, that is asked the same questions. The status of budgets is set by hand; on
//! the real one an admission policy holds the disruption controller off, which would set it otherwise.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use http::{Method, Request, header};
use jiff::Timestamp;
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use crate::{
    settings::{Scene, Script, Settings},
    wire::{Reply, Role, Sent},
    world::World,
};

/// Names the kubeconfig of the real one.
const KUBECONFIG: &str = "GRPC_HYGIENE_API_KUBECONFIG";
/// How long a policy of the API server's may take to be obeyed.
const SOON: Duration = Duration::from_secs(60);
pub const OTHER_UID: &str = "00000000-0000-0000-0000-000000000000";

enum Server {
    Fake(Box<Mutex<World>>),
    Real(Client),
}

/// A namespace of an API server, with a pod `p` once there is one.
pub struct Place {
    server: Server,
    namespace: String,
}

pub struct Answer {
    code: u16,
    retry_after: Option<u64>,
    body: Value,
}

impl Answer {
    /// Status, reason, causes, and when to come again.
    pub fn words(&self) -> String {
        let causes = self.body["details"]["causes"].as_array().into_iter().flatten();
        let causes: Vec<String> = causes
            .map(|it| {
                let words = [&it["reason"], &it["field"]];
                words.into_iter().filter_map(Value::as_str).map(|it| format!(" {it}")).collect()
            })
            .collect();
        let reason = if self.code < 300 { "" } else { self.body["reason"].as_str().unwrap_or_default() };
        let wait = self.retry_after.map(|it| format!(" after {it}")).unwrap_or_default();
        format!("{} {reason}{}{wait}", self.code, causes.concat()).trim_end().to_owned()
    }
}

impl Place {
    pub fn fake() -> Self {
        let script = Script { scene: Scene::Peace, ..Script::default() };
        let world = World::new(1, Settings::of(&script));
        Self { server: Server::Fake(Box::new(Mutex::new(world))), namespace: "contract".to_owned() }
    }

    pub async fn real(name: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let path = std::env::var(KUBECONFIG).unwrap_or_else(|_| panic!("{KUBECONFIG} names a kubeconfig: make test"));
        let file = Kubeconfig::read_from(path).expect("a kubeconfig");
        let mut config =
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a configuration");
        config.default_retry = false;
        let server = Server::Real(Client::try_from(config).expect("a client"));
        let place = Self { server, namespace: format!("contract-{name}-{}", Timestamp::now().as_millisecond()) };
        let metadata = json!({"name": place.namespace, "labels": {"grpc-hygiene-test": "contract"}});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        place.must(Method::POST, "/api/v1/namespaces", &namespace).await;
        place
    }

    /// Holds the disruption controller off the budgets of our namespaces: it writes a condition, which we do not, and
    /// evictions are the API server's own. The policy is there when it refuses.
    pub async fn without_controller() {
        let place = Self::real("fence").await;
        let url = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
        let rule = json!({"apiGroups": ["policy"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["poddisruptionbudgets/status"]});
        let expression = "request.userInfo.username == 'system:apiserver' || !has(object.status.conditions)";
        let name = json!({"name": "grpc-hygiene-test-contract"});
        let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": name,
            "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": expression}]}});
        let selector = json!({"matchLabels": {"grpc-hygiene-test": "contract"}});
        let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": name,
            "spec": {"policyName": name["name"], "validationActions": ["Deny"], "matchResources": {"namespaceSelector": selector}}});
        // They may be there from an earlier run.
        place.send(Method::POST, url, &policy).await;
        place.send(Method::POST, &url.replace("policies", "policybindings"), &binding).await;
        place.budget("x", json!({}), json!({})).await;
        let url = "/apis/policy/v1/namespaces/NS/poddisruptionbudgets/x/status";
        let refused = async || {
            let condition = json!({"type": "A", "status": "True", "reason": "A", "message": "", "lastTransitionTime": Timestamp::now().to_string()});
            place.send(Method::PATCH, url, &json!({"status": {"conditions": [condition]}})).await.code == 422
        };
        let began = Instant::now();
        while !refused().await {
            assert!(began.elapsed() < SOON, "the disruption controller is not held off");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Removes the namespace of a real one.
    pub async fn done(self) {
        if let Server::Real(_) = self.server {
            self.must(Method::DELETE, "/api/v1/namespaces/NS", &json!({})).await;
        }
    }

    pub async fn send(&self, method: Method, url: &str, body: &Value) -> Answer {
        let url = url.replace("NS", &self.namespace);
        match &self.server {
            Server::Fake(world) => {
                let (path, query) = url.split_once('?').unwrap_or((&url, ""));
                let sent = Sent {
                    place: 0,
                    life: 0,
                    role: Role::Reading,
                    at: 0,
                    method,
                    path: path.to_owned(),
                    query: query.to_owned(),
                    apply: false,
                    body: body.clone(),
                };
                match world.lock().expect("no panic").serve(&sent) {
                    Reply::Json { code, body, retry_after } => Answer { code, retry_after, body },
                    Reply::Stream(_) => panic!("a watch"),
                }
            }
            Server::Real(client) => {
                let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
                let request = Request::builder().method(method).uri(&url).header(header::CONTENT_TYPE, kind);
                let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
                let request = request.body(Body::from(bytes)).expect("a request");
                let (head, body) = client.send(request).await.expect("an answer").into_parts();
                let retry_after = head.headers.get(header::RETRY_AFTER);
                let retry_after = retry_after.and_then(|it| it.to_str().ok()).and_then(|it| it.parse().ok());
                let body = body.collect_bytes().await.expect("a body");
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                Answer { code: head.status.as_u16(), retry_after, body }
            }
        }
    }

    /// Sends what cannot fail.
    pub async fn must(&self, method: Method, url: &str, body: &Value) -> Value {
        let answer = self.send(method, url, body).await;
        assert!(answer.code < 300, "{url}: {} {}", answer.words(), answer.body);
        answer.body
    }

    pub async fn get(&self, url: &str) -> Option<Value> {
        let answer = self.send(Method::GET, url, &Value::Null).await;
        (answer.code == 200).then_some(answer.body)
    }

    pub async fn pod(&self, phase: &str, ready: bool) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"app": "a"}},
            "spec": {"nodeName": "nowhere", "containers": [{"name": "c", "image": "none"}]}});
        self.must(Method::POST, "/api/v1/namespaces/NS/pods", &pod).await;
        let ready = if ready { "True" } else { "False" };
        let status = json!({"status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}});
        self.must(Method::PATCH, "/api/v1/namespaces/NS/pods/p/status", &status).await;
    }

    pub async fn budget(&self, name: &str, spec: Value, status: Value) {
        let mut all = json!({"minAvailable": 2, "selector": {"matchLabels": {"app": "a"}}});
        crate::server::merge(&mut all, &spec);
        let budget =
            json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": all});
        let url = "/apis/policy/v1/namespaces/NS/poddisruptionbudgets";
        self.must(Method::POST, url, &budget).await;
        let mut all = json!({"currentHealthy": 3, "desiredHealthy": 2, "expectedPods": 3, "disruptionsAllowed": 0, "observedGeneration": 1});
        crate::server::merge(&mut all, &status);
        self.must(Method::PATCH, &format!("{url}/{name}/status"), &json!({"status": all})).await;
    }

    pub async fn allows(&self, disruptions: u32) {
        self.budget("x", json!({}), json!({"disruptionsAllowed": disruptions})).await;
    }

    /// Asks for an eviction of `p`, and tells what came of it.
    pub async fn evict(&self, options: Value, query: &str) -> String {
        self.evict_with(json!({"deleteOptions": options}), query).await
    }

    pub async fn evict_with(&self, more: Value, query: &str) -> String {
        let mut body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": self.namespace}});
        crate::server::merge(&mut body, &more);
        let answer = self.send(Method::POST, &format!("/api/v1/namespaces/NS/pods/p/eviction{query}"), &body).await;
        format!("{}; {}", answer.words(), self.standing().await)
    }

    /// How the pod and its budget stand.
    async fn standing(&self) -> String {
        let pod = match self.get("/api/v1/namespaces/NS/pods/p").await {
            None => "no pod".to_owned(),
            Some(pod) => {
                let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
                let target = conditions.filter(|it| it["type"] == "DisruptionTarget").count();
                let going = !pod["metadata"]["deletionTimestamp"].is_null();
                format!("{}{}", if going { "goes" } else { "stays" }, if target > 0 { ", targeted" } else { "" })
            }
        };
        let budget = self.get("/apis/policy/v1/namespaces/NS/poddisruptionbudgets/x").await.map(|it| {
            let disrupted = it["status"]["disruptedPods"].as_object().map_or(0, serde_json::Map::len);
            format!("; {} allowed, {disrupted} believed", it["status"]["disruptionsAllowed"])
        });
        format!("{pod}{}", budget.unwrap_or_default())
    }

    /// What the pod's eviction demands, as acting does.
    pub async fn exactly(&self) -> Value {
        let pod = self.get("/api/v1/namespaces/NS/pods/p").await.expect("a pod");
        json!({"preconditions": {"uid": pod["metadata"]["uid"], "resourceVersion": pod["metadata"]["resourceVersion"]}})
    }
}

pub fn wrong_uid() -> Value {
    json!({"preconditions": {"uid": OTHER_UID}})
}
