//! The API server's audit log: who wrote what, whether or not it left a trace. It exists on the test cluster only.

use serde_json::Value;

use super::world::{OPERATOR, cluster_dir};

/// One request that changed something, or tried to.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The verb.
    pub verb: String,
    /// The resource, with its subresource: `pods/eviction`.
    pub resource: String,
    /// The object's namespace; empty for those of the cluster.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The answer's status code.
    pub code: u64,
    /// When the request arrived, RFC 3339.
    pub at: String,
}

const READS: [&str; 3] = ["get", "list", "watch"];

/// What the operator asked of the API server, as often as it was installed, oldest first. What it does in the name of its
/// acting account is among it: the log has both names.
pub fn events_of_the_operator() -> Vec<Value> {
    let path = cluster_dir().join("audit.log");
    let log = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; these tests need the cluster of tests/cluster", path.display()));
    let own = log.lines().filter(|it| it.contains(OPERATOR));
    let events = own.filter_map(|it| serde_json::from_str::<Value>(it).ok());
    events.filter(|it| it["user"]["username"] == OPERATOR).collect()
}

/// What the operator wrote, as often as it was installed, oldest first.
pub fn writes_of_the_operator() -> Vec<Write> {
    let complete = events_of_the_operator().into_iter().filter(|it| it["stage"] == "ResponseComplete");
    complete.map(|it| write(&it)).filter(|it| !READS.contains(&it.verb.as_str())).collect()
}

/// The resource of an event, with its subresource.
pub fn resource(event: &Value) -> String {
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    match object["subresource"].as_str() {
        Some(sub) => format!("{}/{sub}", text(&object["resource"])),
        None => text(&object["resource"]),
    }
}

fn write(event: &Value) -> Write {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    Write {
        verb: text(&event["verb"]),
        resource: resource(event),
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        at: text(&event["requestReceivedTimestamp"]),
    }
}

/// The pods of a namespace that were evicted since `since`, in this order. Refused evictions are not among them.
pub fn evicted(namespace: &str, since: &str) -> Vec<String> {
    let is = |it: &Write| it.resource == "pods/eviction" && it.namespace == namespace && it.code == 201;
    writes_of_the_operator().into_iter().filter(|it| is(it) && it.at.as_str() >= since).map(|it| it.name).collect()
}
