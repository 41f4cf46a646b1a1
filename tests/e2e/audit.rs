//! The API server's audit log: who wrote what, whether or not it left a trace. It exists on the test cluster only.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

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
    /// When it was answered.
    pub answered: String,
    /// The pod that asked, by its token; by its address, where the token does not tell.
    pub author: String,
    /// Whether it was asked in the name of the acting account: what changes pods, workloads and the ledger.
    pub acts: bool,
}

const NEEDS: &str = "these tests need the cluster of tests/cluster";
const READS: [&str; 3] = ["get", "list", "watch"];

/// What the operator asked of the API server, as often as it was installed, oldest first. What it does in the name of its
/// acting account is among it: the log has both names.
pub fn events_of_the_operator() -> Vec<Value> {
    let path = path();
    let log = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; {NEEDS}", path.display()));
    events(&log)
}

/// The operator's events among the lines of a log.
fn events(log: &str) -> Vec<Value> {
    let own = log.lines().filter(|it| it.contains(OPERATOR));
    let events = own.filter_map(|it| serde_json::from_str::<Value>(it).ok());
    events.filter(|it| it["user"]["username"] == OPERATOR).collect()
}

/// What the operator wrote, as often as it was installed, oldest first.
pub fn writes_of_the_operator() -> Vec<Write> {
    writes_among(events_of_the_operator())
}

fn writes_among(events: Vec<Value>) -> Vec<Write> {
    let complete = events.into_iter().filter(|it| it["stage"] == "ResponseComplete");
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
        answered: text(&event["stageTimestamp"]),
        author: author(event),
        acts: event["impersonatedUser"]["username"].is_string(),
    }
}

fn author(event: &Value) -> String {
    let pod = event["user"]["extra"]["authentication.kubernetes.io/pod-name"][0].as_str();
    pod.or_else(|| event["sourceIPs"][0].as_str()).unwrap_or_default().to_owned()
}

/// What the operator writes from now on, a little at a time: the log of hours is too long to be read again and again.
pub struct Follow {
    file: File,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
}

impl Follow {
    /// What is written later than this.
    pub fn begin() -> Self {
        let path = path();
        let mut file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}; {NEEDS}", path.display()));
        file.seek(SeekFrom::End(0)).expect("the audit log can be read");
        Self { file, rest: Vec::new() }
    }

    /// What was written since it was asked last, in the order of the answers.
    pub fn writes(&mut self) -> Vec<Write> {
        self.file.read_to_end(&mut self.rest).expect("the audit log can be read");
        // The API server begins another file when one is large.
        let number = |it: &File| it.metadata().expect("the audit log").ino();
        if let Some(next) = File::open(path()).ok().filter(|it| number(it) != number(&self.file)) {
            self.file.read_to_end(&mut self.rest).expect("the audit log can be read");
            self.file = next;
            self.file.read_to_end(&mut self.rest).expect("the audit log can be read");
        }
        let end = self.rest.iter().rposition(|it| *it == b'\n').map_or(0, |it| it + 1);
        let lines: Vec<u8> = self.rest.drain(..end).collect();
        writes_among(events(&String::from_utf8_lossy(&lines)))
    }
}

fn path() -> PathBuf {
    cluster_dir().join("audit.log")
}

/// The pods of a namespace that were evicted since `since`, in this order. Refused evictions are not among them.
pub fn evicted(namespace: &str, since: &str) -> Vec<String> {
    let is = |it: &Write| it.resource == "pods/eviction" && it.namespace == namespace && it.code == 201;
    writes_of_the_operator().into_iter().filter(|it| is(it) && it.at.as_str() >= since).map(|it| it.name).collect()
}
