//! Evictions as the API server carries them out (Kubernetes 1.34, `eviction.go`): the budget is debited before the
//! preconditions are looked at, and the condition is written before the pod is deleted.

use serde_json::{Value, json};

use crate::{
    server::refusal,
    wire::{Reply, Sent},
    world::{Millis, World},
};

/// So long the disruption controller waits for the deletion that a condition announces.
const STALE: Millis = 120_000;

fn success() -> Reply {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Reply::Json { code: 201, body, retry_after: None }
}

/// A refusal of a budget's.
fn blocked(message: &str, retry_after: Option<u64>) -> Reply {
    let reason = "Cannot evict pod as it would violate the pod's disruption budget.";
    let Reply::Json { code, mut body, .. } = refusal(429, "TooManyRequests", reason) else {
        unreachable!("a refusal is JSON")
    };
    body["details"] = json!({"causes": [{"reason": "DisruptionBudget", "message": message}]});
    Reply::Json { code, body, retry_after }
}

/// Whether a body is refused that names another pod, or has a part that nobody knows and is to be read strictly.
fn misunderstood(sent: &Sent, path: &str) -> Option<Reply> {
    const KNOWN: [&str; 4] = ["apiVersion", "kind", "metadata", "deleteOptions"];
    let unknown = sent.body.as_object().into_iter().flatten().any(|(key, _)| !KNOWN.contains(&key.as_str()));
    let other = sent.body["metadata"]["name"] != path.rsplit('/').next().unwrap_or_default();
    let strict = sent.parameter("fieldValidation") == Some("Strict");
    (other || strict && unknown).then(|| refusal(400, "BadRequest", "strict decoding error, or another name"))
}

/// Whether a budget lets a pod go because it is of no use anyway: it is not ready, and either the others are enough or
/// the budget says so.
fn is_let_go(pod: &Value, budget: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.filter(|it| it["type"] == "Ready").any(|it| it["status"] == "True");
    let (current, desired) = (budget["status"]["currentHealthy"].as_i64(), budget["status"]["desiredHealthy"].as_i64());
    let enough = current >= desired && desired > Some(0);
    !ready && (enough || budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow")
}

impl World {
    pub fn evict(&mut self, sent: &Sent) -> Reply {
        let path = sent.path.trim_end_matches("/eviction").to_owned();
        let Some(pod) = self.server.get(&path).cloned() else {
            self.count("eviction: 404");
            return refusal(404, "NotFound", "pods not found");
        };
        if let Some(refused) = misunderstood(sent, &path) {
            return refused;
        }
        let dry = sent.parameter("dryRun").is_some() || !sent.body["deleteOptions"]["dryRun"].is_null();
        let terminating = !pod["metadata"]["deletionTimestamp"].is_null();
        let runs = !["Pending", "Succeeded", "Failed"].iter().any(|it| pod["status"]["phase"] == *it);
        if !terminating
            && runs
            && let Some(refused) = self.debit_budget(&path, &pod, dry)
        {
            return refused;
        }
        let wanted = &sent.body["deleteOptions"]["preconditions"];
        let other = |it: &str| !wanted[it].is_null() && wanted[it] != pod["metadata"][it];
        if !self.settings.broken.ignores_preconditions() && (other("uid") || other("resourceVersion")) {
            self.count("eviction: 409");
            return refusal(409, "Conflict", "the precondition does not match");
        }
        if dry {
            return success();
        }
        if terminating {
            self.count("eviction: 201 on a terminating pod");
            return success();
        }
        if pod["status"]["phase"] == "Failed" || pod["status"]["phase"] == "Succeeded" {
            // Nothing runs that would be waited for.
            self.server.objects.remove(&path);
            return success();
        }
        let target = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"});
        let ready = pod["status"]["conditions"][0].clone();
        self.server.change(&path, &json!({"status": {"conditions": [ready, target]}}));
        if !self.calm && self.dice.happens(30) {
            // The API server goes down between the condition and the deletion.
            self.count("eviction: condition written, not deleted");
            let uid = pod["metadata"]["uid"].clone();
            self.after(STALE, move |world| world.take_back(&path, &uid));
            return refusal(500, "InternalError", "etcdserver: leader changed");
        }
        self.count("eviction: 201");
        self.terminate(&path, Some(sent));
        if !self.calm && self.dice.happens(20) {
            self.count("eviction: 504 though carried out");
            return refusal(504, "Timeout", "Timeout: request did not complete within requested timeout");
        }
        success()
    }

    /// The disruption controller takes a condition back that no deletion has followed.
    fn take_back(&mut self, path: &str, uid: &Value) {
        let Some(pod) = self.server.get(path).filter(|it| it["metadata"]["uid"] == *uid) else { return };
        if pod["metadata"]["deletionTimestamp"].is_null() {
            let ready = pod["status"]["conditions"][0].clone();
            self.server.change(path, &json!({"status": {"conditions": [ready]}}));
        }
    }

    /// Takes one disruption from the budget that covers a pod, or says why not.
    fn debit_budget(&mut self, path: &str, pod: &Value, dry: bool) -> Option<Reply> {
        let namespace = pod["metadata"]["namespace"].as_str().expect("a namespace");
        let prefix = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/");
        let app = &pod["metadata"]["labels"]["app"];
        let covers = |it: &Value| it["spec"]["selector"]["matchLabels"]["app"] == *app;
        let covering: Vec<String> = self
            .server
            .objects
            .range(prefix.clone()..)
            .take_while(|(it, _)| it.starts_with(&prefix))
            .filter(|(_, it)| covers(it))
            .map(|(it, _)| it.clone())
            .collect();
        let [budget] = covering.as_slice() else {
            if covering.is_empty() {
                return None;
            }
            self.count("eviction: 500, two budgets");
            return Some(refusal(
                500,
                "",
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        };
        let found = self.server.objects[budget].clone();
        if is_let_go(pod, &found) {
            return None;
        }
        let name = found["metadata"]["name"].as_str().expect("a name");
        if found["status"]["observedGeneration"].as_i64() < found["metadata"]["generation"].as_i64() {
            self.count("eviction: 429, budget not observed");
            return Some(blocked(
                &format!("The disruption budget {name} is still being processed by the server."),
                Some(10),
            ));
        }
        let allowed = found["status"]["disruptionsAllowed"].as_i64().unwrap_or(0);
        if allowed <= 0 {
            self.count("eviction: 429, budget");
            return Some(blocked(
                &format!("The disruption budget {name} needs 2 healthy pods and has 2 currently"),
                None,
            ));
        }
        if dry {
            return None;
        }
        let pod = path.rsplit('/').next().expect("a name");
        let disrupted = json!({"status": {"disruptionsAllowed": allowed - 1, "disruptedPods": {pod: self.now}}});
        self.server.change(budget, &disrupted);
        None
    }
}
