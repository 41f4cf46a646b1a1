//! The API server: objects with resource versions, UIDs and generations; GET, LIST, WATCH with a lag, merge patches and
//! swaps with their preconditions. Evictions are in `eviction`. It knows nothing of who asks, and no admission.

use std::collections::{BTreeMap, VecDeque};

use axum::body::Bytes;
use futures::channel::mpsc;
use http::Method;
use serde_json::{Value, json};

use crate::{
    settings::{Broken, Scene},
    wire::{Reply, Sent},
    world::{LEDGER, World},
};

pub const POLICIES: &str = "/apis/grpc-hygiene.io/v1alpha1/grpcclientpolicies";
/// Changes of policies that a watch can still begin at.
const REMEMBERED: usize = 64;

/// What is stored.
#[derive(Default)]
pub struct Server {
    pub objects: BTreeMap<String, Value>,
    version: u64,
    /// The newest changes of policies: version, kind of change, object.
    changes: VecDeque<(u64, &'static str, Value)>,
    watchers: Vec<Watcher>,
}

type Line = mpsc::UnboundedSender<Result<Bytes, std::io::Error>>;

/// Somebody who watches policies.
pub struct Watcher {
    line: Line,
    /// What it was told last comes at this time or later: a cache that lags does not reorder.
    told: u64,
}

impl Server {
    pub fn get(&self, path: &str) -> Option<&Value> {
        self.objects.get(path)
    }

    /// Stores an object under a new version. A new one gets a UID, unless it has one.
    pub fn put(&mut self, path: &str, mut object: Value) {
        self.version += 1;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(self.version.to_string());
        if metadata["uid"].is_null() {
            metadata["uid"] = json!(format!("uid-{}", self.version));
        }
        metadata["name"] = json!(path.rsplit('/').next());
        metadata["namespace"] = json!(path.split("/namespaces/").nth(1).and_then(|it| it.split('/').next()));
        let kind = if self.objects.contains_key(path) { "MODIFIED" } else { "ADDED" };
        if is_policy(path) {
            self.changes.push_back((self.version, kind, object.clone()));
            if self.changes.len() > REMEMBERED {
                self.changes.pop_front();
            }
        }
        self.objects.insert(path.to_owned(), object);
    }

    /// Merges a change in, as somebody does who demands nothing. What changes nothing is not written.
    pub fn change(&mut self, path: &str, change: &Value) {
        let Some(before) = self.objects.get(path) else { return };
        let mut after = before.clone();
        merge(&mut after, change);
        if after == *before {
            return;
        }
        let generates = after["spec"] != before["spec"]
            // The API server counts an annotation of these as a new generation.
            || path.contains("/deployments/") && after["metadata"]["annotations"] != before["metadata"]["annotations"];
        if let Some(generation) = before["metadata"]["generation"].as_i64().filter(|_| generates) {
            after["metadata"]["generation"] = json!(generation + 1);
        }
        self.put(path, after);
    }

    /// The objects of a collection: its own path, or that of all namespaces.
    fn collection(&self, path: &str) -> Vec<Value> {
        let plural = path.rsplit('/').next();
        let prefix = path.split("/namespaces/").next().unwrap_or_default();
        let is_in = |it: &str| match path.contains("/namespaces/") {
            true => it.strip_prefix(path).is_some_and(|it| it.starts_with('/')),
            false => {
                it.rsplit('/').nth(1) == plural
                    && prefix.strip_suffix(plural.unwrap_or_default()).is_some_and(|api| it.starts_with(api))
            }
        };
        self.objects.iter().filter(|(it, _)| is_in(it)).map(|(_, it)| it.clone()).collect()
    }

    fn swap(&mut self, sent: &Sent, blind: bool) -> Reply {
        let Some(before) = self.get(&sent.path) else { return refusal(404, "NotFound", "not found") };
        // What is not named is not demanded.
        let is_other = |field: &str| {
            let wanted = &sent.body["metadata"][field];
            !wanted.is_null() && *wanted != before["metadata"][field]
        };
        if !blind && (is_other("resourceVersion") || is_other("uid")) {
            return refusal(409, "Conflict", "the object has been modified");
        }
        let mut after = sent.body.clone();
        for field in ["uid", "resourceVersion", "namespace"] {
            after["metadata"][field] = before["metadata"][field].clone();
        }
        if after != *before {
            self.put(&sent.path, after);
        }
        self.stored(200, &sent.path)
    }

    fn create(&mut self, sent: &Sent) -> Reply {
        if sent.path.ends_with("/events") {
            return Reply::Json { code: 201, body: sent.body.clone(), retry_after: None };
        }
        let path = format!("{}/{}", sent.path, sent.body["metadata"]["name"].as_str().expect("a name"));
        if self.objects.contains_key(&path) {
            return refusal(409, "AlreadyExists", "it exists");
        }
        let mut object = sent.body.clone();
        if !object["spec"].is_null() {
            object["metadata"]["generation"] = json!(1);
        }
        self.put(&path, object);
        self.stored(201, &path)
    }

    fn stored(&self, code: u16, path: &str) -> Reply {
        Reply::Json { code, body: self.objects[path].clone(), retry_after: None }
    }

    fn patch(&mut self, sent: &Sent, preconditions: bool) -> Reply {
        if sent.path.contains("/events/") {
            return Reply::Json { code: 200, body: sent.body.clone(), retry_after: None };
        }
        let (path, status) = match sent.path.strip_suffix("/status") {
            Some(path) => (path, true),
            None => (sent.path.as_str(), false),
        };
        let Some(before) = self.get(path) else { return refusal(404, "NotFound", "not found") };
        let is_other = |field: &str| {
            let wanted = &sent.body["metadata"][field];
            preconditions && !wanted.is_null() && *wanted != before["metadata"][field]
        };
        if is_other("resourceVersion") {
            return refusal(409, "Conflict", "the object has been modified");
        }
        if is_other("uid") {
            let Reply::Json { code, mut body, .. } = refusal(422, "Invalid", "metadata.uid: field is immutable") else {
                unreachable!("a refusal is JSON")
            };
            // It says so twice.
            let cause = json!({"reason": "FieldValueInvalid", "field": "metadata.uid"});
            body["details"] = json!({"causes": [cause, cause]});
            return Reply::Json { code, body, retry_after: None };
        }
        if status {
            // A server-side apply of the only manager: what it leaves out goes.
            let mut after = before.clone();
            match sent.apply {
                true => after["status"] = sent.body["status"].clone(),
                false => merge(&mut after["status"], &sent.body["status"]),
            }
            if after != *before {
                self.put(path, after);
            }
        } else {
            let mut change = sent.body.clone();
            if let Some(metadata) = change.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.retain(|key, _| key == "annotations" || key == "labels");
            }
            self.change(path, &change);
        }
        self.stored(200, path)
    }
}

fn is_policy(path: &str) -> bool {
    path.contains("/grpcclientpolicies/")
}

/// The API server's way to say no.
pub fn refusal(code: u16, reason: &str, message: &str) -> Reply {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": message});
    Reply::Json { code, body, retry_after: None }
}

/// A JSON merge patch (RFC 7386).
pub fn merge(into: &mut Value, from: &Value) {
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

impl World {
    /// Carries a request out.
    pub fn serve(&mut self, sent: &Sent) -> Reply {
        match sent.method {
            Method::GET if sent.parameter("watch").is_some() => self.watch(sent),
            Method::GET => self.read(sent),
            Method::POST if sent.path.ends_with("/eviction") => self.evict(sent),
            Method::POST => self.server.create(sent),
            Method::PUT if self.settings.scene == Scene::NoLedger && sent.path == LEDGER => {
                self.count("ledger: not written");
                refusal(500, "InternalError", "etcdserver: mvcc: database space exceeded")
            }
            Method::PUT => self.server.swap(sent, self.settings.broken == Broken::Swap && sent.path == LEDGER),
            Method::PATCH => {
                let before = self.server.get(&sent.path).map(|it| it["spec"]["template"].clone());
                let reply = self.server.patch(sent, !self.settings.broken.ignores_preconditions());
                let after = self.server.get(&sent.path).map(|it| it["spec"]["template"].clone());
                if before != after {
                    self.rolled_out(sent);
                }
                self.tell_watchers();
                reply
            }
            _ => refusal(405, "MethodNotAllowed", "no"),
        }
    }

    fn read(&mut self, sent: &Sent) -> Reply {
        if let Some(object) = self.server.get(&sent.path) {
            return Reply::Json { code: 200, body: object.clone(), retry_after: None };
        }
        let last = sent.path.rsplit('/').next().unwrap_or_default();
        const COLLECTIONS: [&str; 10] = [
            "pods",
            "deployments",
            "statefulsets",
            "daemonsets",
            "replicasets",
            "poddisruptionbudgets",
            "horizontalpodautoscalers",
            "endpointslices",
            "grpcclientpolicies",
            "clustergrpcclientpolicies",
        ];
        if !COLLECTIONS.contains(&last) {
            return refusal(404, "NotFound", "not found");
        }
        let metadata = json!({"resourceVersion": self.server.version.to_string()});
        let body = json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": self.server.collection(&sent.path)});
        Reply::Json { code: 200, body, retry_after: None }
    }

    /// Opens a watch, which breaks off sooner or later. One that begins before what is remembered is told so.
    fn watch(&mut self, sent: &Sent) -> Reply {
        let (line, stream) = mpsc::unbounded();
        if sent.path != POLICIES {
            // Nobody ever writes there; the other end waits, and asks again.
            self.server.watchers.push(Watcher { line, told: u64::MAX });
            return Reply::Stream(stream);
        }
        let since: u64 = sent.parameter("resourceVersion").and_then(|it| it.parse().ok()).unwrap_or(0);
        let forgotten = self.server.changes.len() == REMEMBERED && self.server.changes[0].0 > since + 1;
        let lasting = self.dice.between(20_000, 290_000);
        let watcher = Watcher { line, told: since };
        if forgotten || !self.calm && self.dice.happens(30) {
            self.count("watch: 410 Gone");
            let gone = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410, "reason": "Expired", "message": "too old resource version"}});
            // The other end may have gone.
            let _ = watcher.line.unbounded_send(Ok(Bytes::from(format!("{gone}\n"))));
            return Reply::Stream(stream);
        }
        let end = watcher.line.clone();
        self.server.watchers.push(watcher);
        self.after(lasting, move |world| {
            end.close_channel();
            world.server.watchers.retain(|it| !it.line.is_closed());
        });
        self.tell_watchers();
        Reply::Stream(stream)
    }

    /// Sends what changed to all who watch, after a lag of each.
    pub fn tell_watchers(&mut self) {
        let mut sendings = Vec::new();
        for watcher in &mut self.server.watchers {
            let told = watcher.told;
            for (version, kind, object) in self.server.changes.iter().filter(|it| it.0 > told) {
                let event = json!({"type": kind, "object": object});
                sendings.push((watcher.line.clone(), format!("{event}\n")));
                watcher.told = *version;
            }
        }
        if sendings.is_empty() {
            return;
        }
        // One lag for all: a newer event never overtakes an older one, for events of one time keep their order.
        let lag = if self.calm { 20 } else { self.watch_lag };
        for (line, text) in sendings {
            self.after(lag, move |_| {
                // The watch may have ended meanwhile.
                let _ = line.unbounded_send(Ok(Bytes::from(text)));
            });
        }
    }
}
