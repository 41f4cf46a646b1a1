//! Settling: looks at the objects of restarts whose answers were lost, moves their resource version where nothing else
//! proves that the request can no longer arrive, and writes down what is known. Concludes nothing itself.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Error,
    api::{ApiResource, DynamicObject, ObjectMeta, Patch, PatchParams},
};
use serde_json::json;
use tracing::{info, warn};

use super::{Book, read};
use crate::{
    api::names::{FIELD_MANAGER, annotations},
    decide::{
        Because,
        ledger::{Entry, Evidence, Object, Seen, conclusion},
    },
    io::{acting::reason, workload},
};

/// Entries younger than this are left alone: the request may be our own, and its answer is waited for 15 s.
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(20);

impl Book<'_> {
    /// Begins the ledger where the ConfigMap is empty; else looks at the objects of pending entries that are too old to
    /// be in flight, and settles what can be settled. Says whether nothing is left open.
    ///
    /// # Errors
    /// There is no ledger that can be used.
    pub async fn settle(&self) -> Result<bool, Because> {
        let page = read(self.reading, self.own).await.map_err(|it| Because::Ledger { reason: it.to_string() })?;
        let Some(ledger) = page.ledger else { return self.begin().await.map(|()| true) };
        let mut facts: Vec<(Object, Evidence)> = Vec::new();
        for entry in ledger.pending().filter(|it| page.now.duration_since(it.at) >= IN_FLIGHT) {
            let evidence = self.evidence(entry).await;
            let (namespace, Object { kind, name, .. }) = (&entry.namespace, &entry.object);
            info!(namespace, kind, name, ?evidence, "pending restart");
            facts.push((entry.object.clone(), evidence));
        }
        let concluded = facts.iter().filter(|(_, it)| *it != Evidence::MayStillHappen).count();
        let all = concluded == ledger.pending().count();
        if concluded == 0 {
            return Ok(all);
        }
        // Both kinds of evidence stay true, so it does not matter what else happened to the ledger meanwhile.
        let settled = self.change(|ledger, now| {
            Ok(facts.iter().fold(ledger.clone(), |it, (object, evidence)| it.settled(object, *evidence, now)))
        });
        settled.await.map(|_| all)
    }

    async fn evidence(&self, entry: &Entry) -> Evidence {
        let seen = match self.look(entry).await {
            Ok(seen) => seen,
            Err(error) => {
                let (namespace, name) = (&entry.namespace, &entry.object.name);
                warn!(namespace, name, reason = reason(&error), "a restarted object cannot be read");
                return Evidence::MayStillHappen;
            }
        };
        match (conclusion(entry, seen.as_ref()), seen) {
            (Some(evidence), _) => evidence,
            (None, Some(seen)) if self.fence(entry, &seen).await => Evidence::CanNoLongerHappen,
            (None, _) => Evidence::MayStillHappen,
        }
    }

    async fn look(&self, Entry { namespace, object, .. }: &Entry) -> Result<Option<Seen>, Error> {
        if object.kind == "Pod" {
            let api: Api<Pod> = Api::namespaced(self.reading.clone(), namespace);
            return Ok(api.get_metadata_opt(&object.name).await?.map(|it| seen(&it.metadata, None)));
        }
        let found = api(self.reading, namespace, object).get_opt(&object.name).await?;
        Ok(found.map(|it| {
            let restarted_at = workload::restarted_at(&object.kind, &it.data);
            seen(&it.metadata, restarted_at)
        }))
    }

    /// Moves the object's resource version, so that a request that still demands the old one is refused.
    async fn fence(&self, Entry { namespace, object, .. }: &Entry, seen: &Seen) -> bool {
        let patch = Patch::Merge(json!({"metadata": {
            "uid": object.uid,
            "resourceVersion": seen.resource_version,
            "annotations": {annotations::FENCE: seen.resource_version},
        }}));
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match api(self.acting, namespace, object).patch_metadata(&object.name, &params, &patch).await {
            Ok(_) => true,
            Err(error) => {
                warn!(namespace, name = object.name, reason = reason(&error), "not fenced");
                false
            }
        }
    }
}

fn api(client: &Client, namespace: &str, object: &Object) -> Api<DynamicObject> {
    let resource = workload::resource(&object.kind).unwrap_or_else(|| ApiResource::erase::<Pod>(&()));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

fn seen(meta: &ObjectMeta, restarted_at: Option<String>) -> Seen {
    Seen {
        uid: meta.uid.clone().unwrap_or_default(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        generation: meta.generation,
        terminating: meta.deletion_timestamp.is_some(),
        restarted_at,
    }
}
