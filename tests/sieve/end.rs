//! How a run ended, without what differs from run to run: names of pods, times and counters.

use std::collections::{BTreeMap, BTreeSet};

use grpc_hygiene::{api::names::annotations, io::ledger::NAME};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::Value;

use super::{
    pages,
    shop::{Shop, marks},
    trace::Trace,
    world::entries,
};

/// The end of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Evictions that the API server carried out, by workload.
    pub evicted: BTreeMap<String, usize>,
    /// Pods that are not there any more, by workload.
    pub gone: BTreeMap<String, usize>,
    /// Entries of the ledger: workload, kind and state.
    pub ledger: Vec<String>,
    /// Evicted pods without an entry, and entries without an evicted pod.
    pub unaccounted: Vec<String>,
    /// Labels of the alerts that Alertmanager holds.
    pub alerts: BTreeSet<String>,
    /// The operator's annotations of the workloads, and those that their pods have.
    pub marks: BTreeSet<String>,
    /// The policy's conditions.
    pub conditions: BTreeSet<String>,
}

/// The workload of a pod by its name.
fn workload(pod: &str) -> String {
    pod.rsplitn(3, '-').nth(2).unwrap_or(pod).to_owned()
}

fn counted<'a>(pods: impl IntoIterator<Item = &'a String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for pod in pods {
        *counts.entry(workload(pod)).or_default() += 1;
    }
    counts
}

impl End {
    /// As it is now.
    pub async fn of(
        shop: &Shop,
        home: &str,
        policy: &str,
        before: &BTreeMap<String, String>,
        trace: &Trace,
    ) -> Result<Self, String> {
        let said = |it: kube::Error| it.to_string();
        let pods = shop.api::<Pod>().list(&ListParams::default()).await.map_err(said)?.items;
        let names: BTreeSet<String> = pods.iter().map(|it| it.uid().unwrap_or_default()).collect();
        let evicted = trace.evictions();
        let ledgers: Api<ConfigMap> = Api::namespaced(shop.world.client.clone(), home);
        let ledger = ledgers.get_opt(NAME).await.map_err(said)?;
        let entries = entries(ledger.as_ref(), &shop.namespace);
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let entered: BTreeSet<String> = entries.iter().map(|it| text(&it["object"]["name"])).collect();
        let done: BTreeSet<String> = evicted.iter().cloned().collect();
        let entry = |it: &Value| {
            format!("{} {} {}", text(&it["workload"]["name"]), text(&it["object"]["kind"]), text(&it["state"]))
        };
        let deployments = shop.api::<Deployment>().list(&ListParams::default()).await.map_err(said)?.items;
        let mut all = marked(&deployments, |it| format!("Deployment {}", it.name_any()));
        all.extend(marked(&pods, |it| format!("Pod of {}", workload(&it.name_any()))));
        Ok(Self {
            evicted: counted(&evicted),
            gone: counted(before.iter().filter(|(uid, _)| !names.contains(*uid)).map(|(_, name)| name)),
            ledger: entries.iter().map(entry).collect(),
            unaccounted: entered.symmetric_difference(&done).cloned().collect(),
            alerts: alerts(shop, policy).await?,
            marks: all.into_iter().collect(),
            conditions: conditions(shop, policy).await?,
        })
    }
}

/// Each object's annotations: the diagnosis with its value, of the others the keys. The fence of an eviction that was
/// settled says nothing about the end.
fn marked<K: ResourceExt>(objects: &[K], name: impl Fn(&K) -> String) -> Vec<String> {
    let told = |it: &K| {
        let marks = marks(it);
        let keys = marks.iter().filter(|(key, _)| **key != annotations::FENCE);
        let said: Vec<String> = keys
            .map(|(key, value)| if key.ends_with("/diagnosis") { format!("{key}={value}") } else { (*key).to_owned() })
            .collect();
        format!("{}: {}", name(it), said.join(" "))
    };
    objects.iter().map(told).collect()
}

async fn alerts(shop: &Shop, policy: &str) -> Result<BTreeSet<String>, String> {
    let name = format!("{}/{policy}", shop.namespace);
    let all = pages::alerts(&shop.world, 0, &shop.namespace).await?;
    let own = all.into_iter().filter(|it| it["labels"]["policy"] == name.as_str());
    let told = |it: Value| {
        let labels = it["labels"].to_string();
        labels.replace(&name, "POLICY").replace(&shop.namespace, "NAMESPACE")
    };
    Ok(own.map(told).collect())
}

async fn conditions(shop: &Shop, policy: &str) -> Result<BTreeSet<String>, String> {
    let policies = shop.api::<grpc_hygiene::api::GrpcClientPolicy>();
    let status = policies.get(policy).await.map_err(|it| it.to_string())?.status.unwrap_or_default();
    Ok(status.conditions.iter().map(|it| format!("{}={} {}", it.type_, it.status, it.reason)).collect())
}
