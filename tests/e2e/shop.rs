//! The shop in a namespace of its own: deployments made from the manifests of `tests/workloads`, and its policy.

use std::{collections::BTreeMap, time::Duration};

use grpc_hygiene::api::{GrpcClientPolicy, GrpcClientPolicyStatus, Offender, RemediationState};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{EnvVar, Namespace, Pod, Service},
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    audit::evicted,
    world::{SOON, World, repository},
};

/// The policy's name.
pub const POLICY: &str = "clients";

/// One namespace with a shop in it.
pub struct Shop {
    /// The cluster.
    pub world: World,
    /// The namespace.
    pub namespace: String,
}

/// A deployment of the shop.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its name.
    pub name: &'static str,
    /// The manifest that it is made from.
    pub manifest: &'static str,
    /// The version of grpc-go.
    pub version: &'static str,
    /// Arguments beside those of the manifest.
    pub arguments: &'static [&'static str],
    /// How many.
    pub replicas: i32,
    /// The memory limit, if it is not that of the manifest.
    pub memory_limit: Option<&'static str>,
    /// One object is sampled for the heap profile in so many bytes, if not in the usual 512 KiB.
    pub sampled_in: Option<u32>,
}

impl Client {
    /// A manifest as it is, with grpc-go 1.85.
    pub const fn plain(manifest: &'static str, replicas: i32) -> Self {
        Self { replicas, ..Self::one(manifest, manifest, "1.85", &[]) }
    }

    /// One replica of a manifest under another name, with another grpc-go and more arguments.
    pub const fn one(
        name: &'static str,
        manifest: &'static str,
        version: &'static str,
        arguments: &'static [&'static str],
    ) -> Self {
        Self { name, manifest, version, arguments, replicas: 1, memory_limit: None, sampled_in: None }
    }
}

impl Shop {
    /// A fresh namespace with a server; what an earlier run left there is removed first.
    pub async fn open(world: World, namespace: &str) -> Self {
        Self::open_with(world, namespace, Client::plain("server", 1)).await
    }

    /// The same with a server of another make.
    pub async fn open_with(world: World, namespace: &str, server: Client) -> Self {
        let shop = Self { world, namespace: namespace.to_owned() };
        shop.remove().await;
        let api: Api<Namespace> = Api::all(shop.world.client.clone());
        let metadata = ObjectMeta { name: Some(namespace.to_owned()), ..ObjectMeta::default() };
        api.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() }).await.expect("a namespace");
        shop.deploy(&[server]).await;
        shop
    }

    /// Removes the namespace, and what the ledger holds of it: names come again. What a failed test leaves is there to look at until the next run.
    pub async fn remove(&self) {
        let api: &Api<Namespace> = &Api::all(self.world.client.clone());
        let name = self.namespace.as_str();
        self.world.forget(name).await;
        if api.get_opt(name).await.expect("namespaces").is_none() {
            return;
        }
        api.delete(name, &DeleteParams::default()).await.expect("the namespace is deleted");
        let gone = || async move {
            match api.get_opt(name).await {
                Ok(None) => Ok(()),
                other => Err(format!("{:?}", other.map(|it| it.and_then(|it| it.status)))),
            }
        };
        self.world.eventually(name, SOON, "the namespace is gone", gone).await;
    }

    /// An API of the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.world.client.clone(), &self.namespace)
    }

    /// Deploys clients and waits until all are ready.
    pub async fn deploy(&self, clients: &[Client]) {
        for client in clients {
            let (deployment, service) = objects(client);
            let params = PostParams::default();
            self.api::<Deployment>().create(&params, &deployment).await.expect("a deployment");
            if let Some(service) = service {
                self.api::<Service>().create(&params, &service).await.expect("a service");
            }
        }
        self.world.eventually(&self.namespace, SOON, "the shop is ready", || self.all_ready()).await;
    }

    /// Deploys a client as a `StatefulSet`, whose pods keep their names.
    pub async fn deploy_set(&self, client: &Client) {
        let mut set = serde_json::to_value(objects(client).0).expect("a manifest");
        set["kind"] = "StatefulSet".into();
        set["spec"]["serviceName"] = client.name.into();
        set["spec"]["podManagementPolicy"] = "Parallel".into();
        let sets = &self.api::<StatefulSet>();
        sets.create(&PostParams::default(), &parsed(set)).await.expect("a set");
        let ready = || async {
            let status = sets.get(client.name).await.map_err(|it| it.to_string())?.status.unwrap_or_default();
            if status.ready_replicas == Some(client.replicas) { Ok(()) } else { Err(format!("{status:?}")) }
        };
        self.world.eventually(&self.namespace, SOON, "the set is ready", ready).await;
    }

    async fn all_ready(&self) -> Result<(), String> {
        let all = self.api::<Deployment>().list(&ListParams::default()).await.map_err(|it| it.to_string())?;
        let ready = |it: &Deployment| {
            let status = it.status.clone().unwrap_or_default();
            let wanted = it.spec.as_ref().and_then(|it| it.replicas);
            status.observed_generation == it.metadata.generation
                && status.ready_replicas == wanted
                && status.updated_replicas == wanted
                && status.replicas == wanted
        };
        let waiting: Vec<String> = all.items.iter().filter(|it| !ready(it)).map(ResourceExt::name_any).collect();
        if waiting.is_empty() { Ok(()) } else { Err(format!("not ready: {waiting:?}")) }
    }

    /// Deploys the fix, as people would: `--fixed` in the arguments.
    pub async fn fix(&self, deployment: &str) {
        let api = self.api::<Deployment>();
        let found = api.get(deployment).await.expect("the deployment");
        let container = found.spec.and_then(|it| it.template.spec).and_then(|it| it.containers.into_iter().next());
        let mut arguments = container.and_then(|it| it.args).expect("arguments");
        arguments.push("--fixed".to_owned());
        let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "shop", "args": arguments}]}}}});
        api.patch(deployment, &PatchParams::default(), &Patch::Strategic(patch)).await.expect("patched");
        self.world.eventually(&self.namespace, SOON, "the fix is rolled out", || self.all_ready()).await;
    }

    /// Makes the policy: a window of 5 minutes, evaluated every 10 seconds, and what `spec` says besides.
    pub async fn policy(&self, spec: Value) {
        self.policy_named(POLICY, spec).await;
    }

    /// The same under another name, beside the usual one.
    pub async fn policy_named(&self, name: &str, spec: Value) {
        let mut spec = spec;
        (spec["window"], spec["interval"]) = ("5m".into(), "10s".into());
        if spec.get("selector").is_none() {
            spec["allPods"] = true.into();
        }
        let policy = serde_json::from_value(json!({
            "apiVersion": "grpc-hygiene.io/v1alpha1", "kind": "GrpcClientPolicy",
            "metadata": {"name": name}, "spec": spec,
        }));
        let policy: GrpcClientPolicy = policy.expect("a policy");
        self.api::<GrpcClientPolicy>().create(&PostParams::default(), &policy).await.expect("a valid policy");
    }

    /// The policy's status.
    pub async fn status(&self) -> Result<GrpcClientPolicyStatus, String> {
        self.status_of(POLICY).await
    }

    /// The status of a policy with another name.
    pub async fn status_of(&self, name: &str) -> Result<GrpcClientPolicyStatus, String> {
        let policy = self.api::<GrpcClientPolicy>().get(name).await.map_err(|it| it.to_string())?;
        policy.status.ok_or_else(|| "no status".to_owned())
    }

    /// Waits until the status passes a test, and returns it.
    pub async fn wait(
        &self,
        deadline: Duration,
        what: &str,
        test: impl Fn(&GrpcClientPolicyStatus) -> bool,
    ) -> GrpcClientPolicyStatus {
        let ask = || async {
            let status = self.status().await?;
            if test(&status) { Ok(status) } else { Err("the status does not say so".to_owned()) }
        };
        self.world.eventually(&self.namespace, deadline, what, ask).await
    }

    /// Waits until so many pods were evicted since a time, and returns all that were, in this order.
    pub async fn evicted(&self, since: &str, least: usize, deadline: Duration, what: &str) -> Vec<String> {
        let enough = || async {
            let evicted = evicted(&self.namespace, since);
            if evicted.len() >= least { Ok(evicted) } else { Err(format!("evicted so far: {evicted:?}")) }
        };
        self.world.eventually(&self.namespace, deadline, what, enough).await
    }

    /// The pods of a deployment.
    pub async fn pods(&self, deployment: &str) -> Vec<Pod> {
        let labels = ListParams::default().labels(&format!("app.kubernetes.io/name={deployment}"));
        self.api::<Pod>().list(&labels).await.expect("pods").items
    }
}

/// Diagnoses by deployment.
pub fn diagnoses(status: &GrpcClientPolicyStatus) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for offender in &status.offenders {
        let workload = offender.workload.as_ref().map_or_else(String::new, |it| it.name.clone());
        found.entry(workload).or_default().push(offender.diagnosis.clone());
    }
    found
}

/// What became of one step of an offender's ladder, and why.
pub fn step(offender: &Offender, remediation: &str) -> Option<(RemediationState, Option<String>)> {
    offender.remediations.iter().find(|it| it.remediation == remediation).map(|it| (it.state, it.because.clone()))
}

/// Whether a restart is withheld for a reason.
pub fn withheld(status: &GrpcClientPolicyStatus, because: &str) -> bool {
    let held = Some((RemediationState::Withheld, Some(because.to_owned())));
    status.offenders.iter().any(|it| step(it, "Restart") == held)
}

/// Whether a condition is in a state.
pub fn is(status: &GrpcClientPolicyStatus, condition: &str, state: &str) -> bool {
    status.conditions.iter().any(|it| it.type_ == condition && it.status == state)
}

/// The operator's annotations on an object.
pub fn marks<K: ResourceExt>(object: &K) -> BTreeMap<&str, &str> {
    let all = object.annotations().iter().map(|(key, value)| (key.as_str(), value.as_str()));
    all.filter(|(key, _)| key.starts_with("grpc-hygiene.io/")).collect()
}

/// A client's deployment, and its service if the manifest has one.
fn objects(client: &Client) -> (Deployment, Option<Service>) {
    let Client { name, manifest, version, arguments, replicas, memory_limit, sampled_in } = client;
    let path = repository().join(format!("tests/workloads/manifests/{manifest}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let text = text.replace("shop:grpc-1.85", &format!("shop:grpc-{version}"));
    // Only names: a pool's first argument is `pool`, whatever its deployment is called.
    let text = match *manifest {
        same if same == *name => text,
        "server" => text.replace("name: shop-server", &format!("name: {name}")),
        other => text.replace(&format!("name: {other}"), &format!("name: {name}")),
    };
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    let of = |kind: &str| documents.iter().find(|it| it["kind"] == kind).cloned();
    let mut deployment: Deployment = parsed(of("Deployment").expect("a deployment"));
    let spec = deployment.spec.as_mut().expect("a spec");
    spec.replicas = Some(*replicas);
    let container = &mut spec.template.spec.as_mut().expect("a pod spec").containers[0];
    container.args.get_or_insert_default().extend(arguments.iter().map(|it| (*it).to_owned()));
    if let Some(bytes) = sampled_in {
        let value = Some(format!("memprofilerate={bytes}"));
        container.env.get_or_insert_default().push(EnvVar { name: "GODEBUG".to_owned(), value, value_from: None });
    }
    if let (Some(limit), Some(resources)) = (memory_limit, &mut container.resources) {
        resources.limits.get_or_insert_default().insert("memory".to_owned(), Quantity((*limit).to_owned()));
    }
    (deployment, of("Service").map(parsed))
}

fn parsed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the manifest is what it says")
}
