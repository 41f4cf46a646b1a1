//! An API server at the wire: objects by path, resource versions, preconditions, and every request in a log. It knows
//! as much of the protocol as acting needs, and answers otherwise when a test tells it to.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use grpc_hygiene::io::{acting::Gate, leadership::Leadership};
use http::{Method, Request, Response, StatusCode};
use kube::{
    Client,
    client::{Body, ClientBuilder},
};
use serde_json::{Value, json};
use tower::service_fn;

use crate::world::now;

/// The fake. Clones are the same server.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    log: Vec<Seen>,
    scripts: Vec<Script>,
    waited: Duration,
}

/// A request that was received.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub body: Value,
}

/// What a script does instead of answering as usual.
pub enum Answer {
    /// This status and body, without doing anything.
    Status(u16, Value),
    /// As usual, but the answer is lost.
    Lost,
    /// Nothing, ever.
    Never,
    /// As usual, but later.
    Late(Duration),
    /// As usual, after somebody else did something.
    After(Box<dyn FnOnce(&Fake) + Send>),
}

struct Script {
    method: Method,
    path: String,
    answer: Answer,
}

impl Seen {
    /// `GET /path`, which is what most tests look at.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub fn writes(&self) -> bool {
        self.method != Method::GET
    }
}

impl Fake {
    /// A client that reads.
    pub fn reading(&self) -> Client {
        let fake = self.clone();
        Client::new(service_fn(move |it| fake.clone().serve(it)), "default")
    }

    /// A client that acts, behind the gate.
    pub fn acting(&self, leadership: &Leadership) -> Client {
        let fake = self.clone();
        let service = service_fn(move |it| fake.clone().serve(it));
        ClientBuilder::new(service, "default").with_layer(&Gate::new(leadership)).build()
    }

    /// A client for the election.
    pub fn election(&self, leadership: &Leadership) -> Client {
        let fake = self.clone();
        let service = service_fn(move |it| fake.clone().serve(it));
        ClientBuilder::new(service, "default").with_layer(&leadership.layer()).build()
    }

    /// Puts an object there as somebody else would. It gets a new resource version, and a UID unless it has one.
    pub fn put(&self, path: &str, mut object: Value) {
        let mut state = self.state();
        state.version += 1;
        object["metadata"]["resourceVersion"] = json!(state.version.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{}", state.version));
        }
        let mut parts = path.rsplit('/');
        object["metadata"]["name"] = json!(parts.next().expect("a name"));
        let namespace = path.split("/namespaces/").nth(1).and_then(|it| it.split('/').next());
        object["metadata"]["namespace"] = json!(namespace);
        state.objects.insert(path.to_owned(), object);
    }

    /// Changes an object as somebody else would.
    pub fn touch(&self, path: &str, change: &Value) {
        let mut object = self.object(path).expect("an object");
        merge(&mut object, change);
        self.put(path, object);
    }

    pub fn remove(&self, path: &str) {
        self.state().objects.remove(path);
    }

    pub fn object(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    /// The next request of this method whose path ends so is answered otherwise.
    pub fn script(&self, method: Method, path: &str, answer: Answer) {
        self.state().scripts.push(Script { method, path: path.to_owned(), answer });
    }

    pub fn log(&self) -> Vec<Seen> {
        self.state().log.clone()
    }

    /// The requests as lines.
    pub fn lines(&self) -> Vec<String> {
        self.log().iter().map(Seen::line).collect()
    }

    /// The requests that change something, as lines.
    pub fn writes(&self) -> Vec<String> {
        self.log().iter().filter(|it| it.writes()).map(Seen::line).collect()
    }

    /// The last request that changes something and whose path ends so.
    pub fn written(&self, path: &str) -> Seen {
        self.log().into_iter().rfind(|it| it.writes() && it.path.ends_with(path)).expect("a write")
    }

    /// Lets time go by at the API server.
    pub fn wait(&self, span: Duration) {
        self.state().waited += span;
    }

    pub fn forget_log(&self) {
        self.state().log.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds the lock")
    }

    async fn serve(self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.expect("a body");
        let seen = Seen {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().trim_start_matches('&').to_owned(),
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        };
        let script = {
            let mut state = self.state();
            state.log.push(seen.clone());
            let at = state.scripts.iter().position(|it| it.method == seen.method && seen.path.ends_with(&it.path));
            at.map(|it| state.scripts.remove(it).answer)
        };
        let (code, body) = match script {
            None => self.answer(&seen),
            Some(Answer::Status(code, body)) => (code, body),
            Some(Answer::Never) => pending().await,
            Some(Answer::Lost) => {
                self.answer(&seen);
                pending().await
            }
            Some(Answer::Late(by)) => {
                tokio::time::sleep(by).await;
                self.answer(&seen)
            }
            Some(Answer::After(something)) => {
                something(&self);
                self.answer(&seen)
            }
        };
        let now = now() + self.state().waited;
        let date = jiff::fmt::rfc2822::to_string(&now.to_zoned(jiff::tz::TimeZone::UTC)).expect("a date");
        let mut response = Response::new(Body::from(body.to_string().into_bytes()));
        response.headers_mut().insert(http::header::DATE, date.parse().expect("a header"));
        *response.status_mut() = StatusCode::from_u16(code).expect("a status");
        Ok(response)
    }

    fn answer(&self, seen: &Seen) -> (u16, Value) {
        match seen.method {
            Method::GET => self.get(seen),
            Method::POST if seen.path.ends_with("/eviction") => self.evict(seen),
            Method::POST => self.create(seen),
            Method::PUT => self.replace(seen),
            Method::PATCH => self.patch(seen),
            _ => status(405, "MethodNotAllowed", "no"),
        }
    }

    fn get(&self, seen: &Seen) -> (u16, Value) {
        let last = seen.path.rsplit('/').next().unwrap_or_default();
        const COLLECTIONS: [&str; 8] = [
            "pods",
            "deployments",
            "statefulsets",
            "daemonsets",
            "replicasets",
            "rollouts",
            "poddisruptionbudgets",
            "horizontalpodautoscalers",
        ];
        if COLLECTIONS.contains(&last) {
            return (200, self.list(seen, last));
        }
        self.object(&seen.path).map_or_else(|| status(404, "NotFound", "not found"), |it| (200, it))
    }

    /// A page of a collection. The continue token is the number of objects that were sent before.
    fn list(&self, seen: &Seen, plural: &str) -> Value {
        let parameter =
            |name: &str| seen.query.split('&').find_map(|it| it.strip_prefix(&format!("{name}=")).map(str::to_owned));
        let prefix = if seen.path.contains("/namespaces/") { format!("{}/", seen.path) } else { String::new() };
        let is_in = |path: &str| path.starts_with(&prefix) && path.rsplit('/').nth(1) == Some(plural);
        let all: Vec<Value> =
            self.state().objects.iter().filter(|(path, _)| is_in(path)).map(|(_, it)| it.clone()).collect();
        let skip = parameter("continue").and_then(|it| it.parse().ok()).unwrap_or(0);
        let limit = parameter("limit").and_then(|it| it.parse().ok()).unwrap_or(usize::MAX);
        let items: Vec<Value> = all.iter().skip(skip).take(limit).cloned().collect();
        let sent = skip + items.len();
        let token = if sent < all.len() { sent.to_string() } else { String::new() };
        json!({"apiVersion": "v1", "kind": "List", "metadata": {"continue": token}, "items": items})
    }

    fn create(&self, seen: &Seen) -> (u16, Value) {
        let path = format!("{}/{}", seen.path, seen.body["metadata"]["name"].as_str().expect("a name"));
        if self.object(&path).is_some() {
            return status(409, "AlreadyExists", "it exists");
        }
        self.put(&path, seen.body.clone());
        (201, self.object(&path).expect("just made"))
    }

    fn replace(&self, seen: &Seen) -> (u16, Value) {
        let Some(before) = self.object(&seen.path) else { return status(404, "NotFound", "not found") };
        if before["metadata"]["resourceVersion"] != seen.body["metadata"]["resourceVersion"] {
            return status(409, "Conflict", "the object has been modified");
        }
        self.put(&seen.path, seen.body.clone());
        (200, self.object(&seen.path).expect("just made"))
    }

    fn patch(&self, seen: &Seen) -> (u16, Value) {
        let Some(before) = self.object(&seen.path) else { return status(404, "NotFound", "not found") };
        let is_other = |field: &str| {
            let wanted = &seen.body["metadata"][field];
            !wanted.is_null() && *wanted != before["metadata"][field]
        };
        if is_other("resourceVersion") {
            return status(409, "Conflict", "the object has been modified");
        }
        if is_other("uid") {
            let (code, mut body) = status(422, "Invalid", "metadata.uid: field is immutable");
            body["details"] = json!({"causes": [{"reason": "FieldValueInvalid", "field": "metadata.uid"}]});
            return (code, body);
        }
        let mut change = seen.body.clone();
        if let Some(generation) = before["metadata"]["generation"].as_i64().filter(|_| !seen.body["spec"].is_null()) {
            change["metadata"]["generation"] = json!(generation + 1);
        }
        self.touch(&seen.path, &change);
        (200, self.object(&seen.path).expect("just patched"))
    }

    fn evict(&self, seen: &Seen) -> (u16, Value) {
        let path = seen.path.trim_end_matches("/eviction");
        let Some(pod) = self.object(path) else { return status(404, "NotFound", "pods not found") };
        let wanted = &seen.body["deleteOptions"]["preconditions"];
        for precondition in ["uid", "resourceVersion"] {
            if !wanted[precondition].is_null() && wanted[precondition] != pod["metadata"][precondition] {
                return status(409, "Conflict", "the precondition does not match");
            }
        }
        self.remove(path);
        (201, json!({"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201}))
    }
}

/// The API server's way to say no.
pub fn status(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message});
    (code, body)
}

/// The answer to an eviction that a budget forbids.
pub fn budget_forbids(name: &str) -> Answer {
    let (_, mut body) =
        status(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.");
    let message = format!("The disruption budget {name} needs 3 healthy pods and has 3 currently");
    body["details"] = json!({"causes": [{"reason": "DisruptionBudget", "message": message}]});
    Answer::Status(429, body)
}

/// A JSON merge patch (RFC 7386).
fn merge(into: &mut Value, from: &Value) {
    let Value::Object(from) = from else {
        *into = from.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in from {
        if value.is_null() {
            into.as_object_mut().expect("an object").remove(key);
        } else {
            merge(&mut into[key], value);
        }
    }
}
