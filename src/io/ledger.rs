//! Keeps the disruption ledgers: one ConfigMap in the operator's own namespace for each namespace that is acted on,
//! written by compare-and-swap alone, and settled by evidence about the objects.
//!
//! The state machine is `decide::ledger`. A ledger that cannot be understood allows nothing and is never touched.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, Client, Error, ResourceExt,
    api::{ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::{
    api::names::{FIELD_MANAGER, RESTARTED_AT, annotations},
    decide::{
        Because, Budget,
        ledger::{Entry, Evidence, Ledger, Object, State, VERSION},
    },
    io::{acting::reason, workload},
};

/// The key in the ConfigMap.
const KEY: &str = "ledger.json";
/// A ledger larger than this is not read and not written: about 800 restarts of one namespace in the week that entries
/// are kept. Whoever needs more does not need restarts.
const MAX_BYTES: usize = 256 * 1024;
/// Entries younger than this are left alone: the request may be our own, and its answer is waited for 15 s.
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(20);
/// A lost swap is tried once more with what the winner wrote.
const TRIES: usize = 2;

/// The ledger of one namespace, and who may write it.
#[derive(Clone, Copy)]
pub struct Book<'a> {
    /// Reads.
    pub reading: &'a Client,
    /// Writes.
    pub acting: &'a Client,
    /// The operator's own namespace, where the ConfigMap is.
    pub own: &'a str,
    /// The namespace that the ledger is about.
    pub namespace: &'a str,
}

/// Why a ledger was not written.
#[derive(Debug, thiserror::Error)]
pub enum Unwritten {
    /// Somebody else wrote it first. Nothing was changed.
    #[error("somebody else wrote the ledger first")]
    Conflict,
    /// It would be larger than we read.
    #[error("the ledger would be larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// The request failed, and may or may not have been carried out.
    #[error("{}", reason(.0))]
    Failed(#[from] Error),
}

/// The name of the ConfigMap.
#[must_use]
pub fn name(namespace: &str) -> String {
    format!("grpc-hygiene-ledger-{namespace}")
}

/// The value of the restart annotation that an entry's rollout writes: RFC 3339, whole seconds, as kubectl does.
#[must_use]
pub fn restarted_at(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// Reads the ledger of a namespace, and its version for [`swap`]. There is no version when there is no ledger yet.
pub async fn read(client: &Client, own: &str, namespace: &str) -> (Budget, Option<String>) {
    let name = name(namespace);
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), own);
    match api.get_opt(&name).await {
        Ok(None) => (Budget::Known(Ledger::default()), None),
        Ok(Some(map)) => {
            let text = map.data.as_ref().and_then(|it| it.get(KEY)).map(String::as_str);
            let budget = parse(text)
                .map_or_else(|problem| Budget::Unreadable(format!("ConfigMap {own}/{name}: {problem}")), Budget::Known);
            (budget, map.resource_version())
        }
        Err(error) => (Budget::Unreadable(format!("ConfigMap {own}/{name}: {}", reason(&error))), None),
    }
}

/// Writes the ledger if it still has the version that was read.
///
/// # Errors
/// It has another version by now, is too large, or the request fails.
pub async fn swap(
    client: &Client,
    own: &str,
    namespace: &str,
    version: Option<&str>,
    ledger: &Ledger,
) -> Result<(), Unwritten> {
    let text = serde_json::to_string(ledger).map_err(Error::SerdeError)?;
    if text.len() > MAX_BYTES {
        return Err(Unwritten::TooLarge);
    }
    let name = name(namespace);
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            resource_version: version.map(str::to_owned),
            labels: Some(BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), FIELD_MANAGER.to_owned())])),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(KEY.to_owned(), text)])),
        ..ConfigMap::default()
    };
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), own);
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let written = match version {
        None => api.create(&params, &map).await,
        Some(_) => api.replace(&name, &params, &map).await,
    };
    match written {
        Ok(_) => Ok(()),
        // 404: it was deleted since we read it.
        Err(Error::Api(status)) if matches!((status.code, version), (409, _) | (404, Some(_))) => {
            Err(Unwritten::Conflict)
        }
        Err(error) => Err(error.into()),
    }
}

impl Book<'_> {
    /// Reads the ledger, changes it and writes it; once more when somebody else wrote it in between. What is equal to
    /// what was read is not written.
    ///
    /// # Errors
    /// `change` refuses, or the ledger cannot be read or written.
    pub async fn change(&self, change: impl Fn(&Ledger) -> Result<Ledger, Because>) -> Result<(), Because> {
        for _ in 0..TRIES {
            let (ledger, version) = match read(self.reading, self.own, self.namespace).await {
                (Budget::Known(ledger), version) => (ledger, version),
                (Budget::Unreadable(reason), _) => return Err(Because::Ledger { reason }),
            };
            let changed = change(&ledger)?;
            if changed == ledger {
                return Ok(());
            }
            match swap(self.acting, self.own, self.namespace, version.as_deref(), &changed).await {
                Ok(()) => return Ok(()),
                Err(Unwritten::Conflict) => {}
                Err(Unwritten::Failed(error)) if crate::io::acting::because(&error) == Because::NotLeader => {
                    return Err(Because::NotLeader);
                }
                Err(error) => return Err(Because::Ledger { reason: error.to_string() }),
            }
        }
        Err(Because::Ledger { reason: Unwritten::Conflict.to_string() })
    }

    /// Looks at the objects of pending entries that are too old to be in flight, and settles what can be settled.
    pub async fn settle(&self, now: Timestamp) {
        let (Budget::Known(ledger), _) = read(self.reading, self.own, self.namespace).await else { return };
        let mut facts: Vec<(Object, Evidence)> = Vec::new();
        for entry in ledger.pending().filter(|it| now.duration_since(it.at) >= IN_FLIGHT) {
            let evidence = self.evidence(entry).await;
            info!(
                namespace = self.namespace,
                kind = entry.object.kind,
                name = entry.object.name,
                ?evidence,
                "pending restart"
            );
            facts.push((entry.object.clone(), evidence));
        }
        // Both kinds of evidence stay true, so it does not matter what else happened to the ledger meanwhile.
        let settled = |ledger: &Ledger| {
            Ok(facts.iter().fold(ledger.clone(), |it, (object, evidence)| settled(&it, object, *evidence, now)))
        };
        if facts.iter().any(|(_, it)| *it != Evidence::MayStillHappen)
            && let Err(because) = self.change(settled).await
        {
            warn!(namespace = self.namespace, %because, "the ledger was not settled");
        }
    }

    async fn evidence(&self, entry: &Entry) -> Evidence {
        let Entry { object, .. } = entry;
        let seen = match self.look(object).await {
            Ok(seen) => seen,
            Err(error) => {
                warn!(
                    namespace = self.namespace,
                    name = object.name,
                    reason = reason(&error),
                    "a restarted object cannot be read"
                );
                return Evidence::MayStillHappen;
            }
        };
        match (conclusion(entry, seen.as_ref()), seen) {
            (Some(evidence), _) => evidence,
            (None, Some(seen)) if self.fence(object, &seen).await => Evidence::CanNoLongerHappen,
            (None, _) => Evidence::MayStillHappen,
        }
    }

    async fn look(&self, object: &Object) -> Result<Option<Seen>, Error> {
        if object.kind == "Pod" {
            let api: Api<Pod> = Api::namespaced(self.reading.clone(), self.namespace);
            return Ok(api.get_metadata_opt(&object.name).await?.map(|it| Seen::new(&it.metadata, None)));
        }
        let found = self.api(self.reading, object).get_opt(&object.name).await?;
        Ok(found.map(|it| {
            let template = it.data.pointer("/spec/template/metadata/annotations");
            let restarted_at = template.and_then(|it| it.get(RESTARTED_AT)).and_then(Value::as_str);
            Seen::new(&it.metadata, restarted_at.map(str::to_owned))
        }))
    }

    /// Moves the object's resource version, so that a request that still demands the old one is refused.
    async fn fence(&self, object: &Object, seen: &Seen) -> bool {
        let patch = Patch::Merge(json!({"metadata": {
            "uid": object.uid,
            "resourceVersion": seen.resource_version,
            "annotations": {annotations::FENCE: seen.resource_version},
        }}));
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match self.api(self.acting, object).patch_metadata(&object.name, &params, &patch).await {
            Ok(_) => true,
            Err(error) => {
                warn!(namespace = self.namespace, name = object.name, reason = reason(&error), "not fenced");
                false
            }
        }
    }

    fn api(&self, client: &Client, object: &Object) -> Api<DynamicObject> {
        let resource = workload::resource(&object.kind).unwrap_or_else(|| ApiResource::erase::<Pod>(&()));
        Api::namespaced_with(client.clone(), self.namespace, &resource)
    }
}

/// What is seen of the object of an entry.
#[derive(Debug, Default)]
struct Seen {
    uid: String,
    resource_version: String,
    terminating: bool,
    restarted_at: Option<String>,
}

impl Seen {
    fn new(meta: &ObjectMeta, restarted_at: Option<String>) -> Self {
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            terminating: meta.deletion_timestamp.is_some(),
            restarted_at,
        }
    }
}

/// What the sight of an object proves. `None`: nothing, until its resource version is moved by us.
///
/// A pod whose version has moved proves nothing yet: the API server writes the condition `DisruptionTarget` before it
/// deletes, and its deletion then demands the version of that write (Kubernetes 1.34, `addConditionAndDeletePod`).
fn conclusion(entry: &Entry, seen: Option<&Seen>) -> Option<Evidence> {
    let Object { kind, uid, resource_version, name: _ } = &entry.object;
    match seen {
        // Of a workload that is gone nobody can tell; it counts.
        None => Some(Evidence::Happened),
        Some(seen) if seen.uid != *uid || seen.terminating => Some(Evidence::Happened),
        Some(_) if kind == "Pod" => None,
        Some(seen) if seen.restarted_at.as_deref() == Some(&restarted_at(entry.at)) => Some(Evidence::Happened),
        Some(seen) if seen.resource_version != *resource_version => Some(Evidence::CanNoLongerHappen),
        Some(_) => None,
    }
}

/// The ledger after late evidence. What happened unseen may have happened a moment ago, so its time is now.
fn settled(ledger: &Ledger, object: &Object, evidence: Evidence, now: Timestamp) -> Ledger {
    let was_pending: Vec<Entry> = ledger.pending().filter(|it| it.object == *object).cloned().collect();
    let mut after = ledger.settled(object, evidence);
    for entry in after.entries.iter_mut().filter(|it| it.object == *object && it.state == State::Confirmed) {
        if was_pending.iter().any(|it| it.at == entry.at) {
            entry.at = entry.at.max(now);
        }
    }
    after
}

fn parse(text: Option<&str>) -> Result<Ledger, String> {
    let text =
        text.ok_or_else(|| format!("has no key {KEY}: restore it, or delete the ConfigMap to begin a new ledger"))?;
    if text.len() > MAX_BYTES {
        return Err(format!("{KEY} is larger than {MAX_BYTES} bytes"));
    }
    let wrong = |error: serde_json::Error| format!("{KEY} is not a ledger: {error}");
    let value: Value = serde_json::from_str(text).map_err(wrong)?;
    match value.get("version").and_then(Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => serde_json::from_value(value).map_err(wrong),
        Some(version) => Err(format!("{KEY} has version {version}, this operator knows {VERSION}")),
        None => Err(format!("{KEY} has no version")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::WorkloadRef;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn entry(kind: &str) -> Entry {
        Entry {
            workload: WorkloadRef { kind: "Deployment".into(), name: "orders".into() },
            object: Object { kind: kind.into(), name: "o".into(), uid: "u".into(), resource_version: "7".into() },
            policy: "shop/clients".into(),
            at: at(0),
            state: State::Pending,
        }
    }

    fn seen(resource_version: &str) -> Seen {
        Seen { uid: "u".into(), resource_version: resource_version.into(), ..Seen::default() }
    }

    #[test]
    fn a_pod_that_is_gone_or_going_was_evicted() {
        let pod = entry("Pod");
        assert_eq!(conclusion(&pod, None), Some(Evidence::Happened));
        assert_eq!(conclusion(&pod, Some(&Seen { uid: "other".into(), ..seen("7") })), Some(Evidence::Happened));
        assert_eq!(conclusion(&pod, Some(&Seen { terminating: true, ..seen("9") })), Some(Evidence::Happened));
    }

    #[test]
    fn a_living_pod_proves_nothing_though_its_version_moved() {
        assert_eq!(conclusion(&entry("Pod"), Some(&seen("7"))), None);
        assert_eq!(conclusion(&entry("Pod"), Some(&seen("8"))), None);
    }

    #[test]
    fn a_rollout_is_known_by_the_time_that_it_wrote() {
        let rollout = entry("Deployment");
        let by = |at: Timestamp| Seen { restarted_at: Some(restarted_at(at)), ..seen("9") };
        assert_eq!(conclusion(&rollout, Some(&by(at(0)))), Some(Evidence::Happened));
        assert_eq!(conclusion(&rollout, Some(&by(at(1)))), Some(Evidence::CanNoLongerHappen));
        assert_eq!(conclusion(&rollout, Some(&seen("7"))), None);
    }

    #[test]
    fn what_happened_unseen_counts_from_when_it_was_noticed() {
        let pod = entry("Pod");
        let ledger = Ledger::default().debited(pod.clone());
        let after = settled(&ledger, &pod.object, Evidence::Happened, at(600));
        assert_eq!(after.entries, [Entry { state: State::Confirmed, at: at(600), ..pod.clone() }]);
        assert_eq!(settled(&ledger, &pod.object, Evidence::CanNoLongerHappen, at(600)), Ledger::default());
    }

    #[test]
    fn a_ledger_that_is_not_understood_is_unreadable() {
        let huge = format!(r#"{{"version":1,"entries":[],"x":"{}"}}"#, "x".repeat(MAX_BYTES));
        for text in [
            None,
            Some(""),
            Some("[]"),
            Some(r#"{"entries":[]}"#),
            Some(r#"{"version":2,"entries":[]}"#),
            Some(r#"{"version":1}"#),
            Some(huge.as_str()),
        ] {
            assert!(parse(text).is_err(), "{:?}", text.map(|it| it.chars().take(40).collect::<String>()));
        }
        assert_eq!(parse(Some(r#"{"version":1,"entries":[]}"#)), Ok(Ledger::default()));
    }

    #[test]
    fn the_restart_annotation_is_written_as_kubectl_does() {
        let at: Timestamp = "2026-11-23T10:00:00.9Z".parse().expect("a time");
        assert_eq!(restarted_at(at), "2026-11-23T10:00:00Z");
    }
}
