//! One place where runs go on, one after the other: an operator's namespace as the chart makes it, with the operator itself
//! as a process of this host, and a shop of leaking pods, of which each run restarts one.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use grpc_hygiene::{
    api::GrpcClientPolicy,
    io::{leadership::LEASE, ledger::NAME},
};
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{ConfigMap, Pod, Service},
};
use kube::{
    Api, Client as Kube, Config, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use super::{
    end::End,
    point::Perturbation,
    proxy::Proxies,
    shop::{Client, Shop, marks},
    trace::Trace,
    world::{DETECTION, World, repository},
};

/// Leaking pods of a shop: those that the last runs restarted are young while the others leak on.
const REPLICAS: i32 = 4;
/// So many must be ripe when a run begins: one is restarted, another goes on offending.
const ENOUGH: usize = 2;
/// A pod of this age has leaked long enough to be found at the first look, and for its memory to be forecast.
const RIPE: i64 = 200;
/// A run that has not ended as it should by then has ended differently.
const PATIENCE: Duration = Duration::from_secs(150);
/// So long the end must stay as it is: two evaluations.
const STAYS: Duration = Duration::from_secs(11);
const TICK: Duration = Duration::from_millis(50);
const LEAKY: &str = "orders-leaky";

/// See the top of this file.
pub struct Slot {
    world: World,
    home: String,
    /// With the token of the operator's own account.
    client: Kube,
    shop: Shop,
    runs: AtomicUsize,
    prometheus: String,
    alertmanager: String,
    folder: PathBuf,
}

/// One run.
pub struct Run {
    /// What passed.
    pub trace: Arc<Trace>,
    /// How it ended.
    pub end: End,
}

/// A process that ends with its run.
struct Operator(Child);

impl Operator {
    fn runs(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|it| it.is_none())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // Both fail for one that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Slot {
    /// Installs the chart without a pod, and opens the shops.
    pub async fn prepare(world: World, index: usize) -> Self {
        let home = format!("sieve-{index}");
        install(&world, &home);
        let client = as_operator(&world, &home).await;
        let services: Api<Service> = Api::namespaced(world.client.clone(), "monitoring");
        let address = services.get("prometheus").await.expect("Prometheus").spec.and_then(|it| it.cluster_ip);
        let pods: Api<Pod> = Api::namespaced(world.client.clone(), "monitoring");
        let first = pods.get("alertmanager-0").await.expect("Alertmanager").status.and_then(|it| it.pod_ip);
        let shop = open(&world, format!("sieve-shop-{index}")).await;
        let folder = std::env::temp_dir().join(format!("grpc-hygiene-sieve-{}-{index}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Self {
            world,
            home,
            client,
            shop,
            runs: AtomicUsize::new(0),
            prometheus: format!("http://{}:9090", address.expect("an address")),
            alertmanager: format!("http://{}:9093", first.expect("an address")),
            folder,
        }
    }

    /// Removes what `prepare` made.
    pub async fn remove(&self) {
        self.shop.remove().await;
        let mut helm = self.world.tool("helm");
        helm.args(["uninstall", &self.home, "--namespace", &self.home, "--no-hooks"]);
        assert!(helm.status().is_ok_and(|it| it.success()), "{} is uninstalled", self.home);
        let _ = std::fs::remove_dir_all(&self.folder);
    }

    /// An undisturbed run: its end is what is there when one pod has been restarted, and stays.
    pub async fn run(&self, perturbation: Option<&Perturbation>) -> Run {
        let complete = |end: &End| {
            end.evicted.values().sum::<usize>() == 1
                && end.gone == end.evicted
                && end.ledger.iter().all(|it| it.ends_with("Confirmed"))
                && !end.alerts.is_empty()
                && end.marks.iter().filter(|it| it.contains("diagnosis")).count() == 2
        };
        let run = self.run_to(perturbation, complete).await;
        assert!(complete(&run.end), "the undisturbed run did not come to its end: {:#?}", run.end);
        run
    }

    /// A run that should end as another did.
    pub async fn run_until(&self, perturbation: Option<&Perturbation>, reference: &End) -> Run {
        self.run_to(perturbation, |end| end == reference).await
    }

    async fn run_to(&self, perturbation: Option<&Perturbation>, is_over: impl Fn(&End) -> bool) -> Run {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let (shop, policy) = (&self.shop, format!("run-{number}"));
        self.begin_anew(shop).await;
        let before = ripe(shop).await;
        let trace = Arc::new(Trace::new(perturbation));
        let proxies = Proxies::open(&trace, self.client.clone(), &shop.namespace, &self.alertmanager).await;
        self.configure(&proxies);
        let operator = self.operator(number, &trace);
        let ended = async {
            make_policy(shop, &policy).await;
            self.ended(shop, &policy, &before, &trace, is_over).await
        };
        let end = tokio::select! {
            end = ended => end,
            never = operator => match never {},
        };
        shop.api::<GrpcClientPolicy>().delete(&policy, &DeleteParams::default()).await.expect("deleted");
        Run { trace, end }
    }

    /// The end: what is there for a while as it should be, or what is there when patience is over.
    async fn ended(
        &self,
        shop: &Shop,
        policy: &str,
        before: &BTreeMap<String, String>,
        trace: &Trace,
        is_over: impl Fn(&End) -> bool,
    ) -> End {
        let (began, mut right, mut last) = (std::time::Instant::now(), None::<std::time::Instant>, End::default());
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
            if let Ok(end) = End::of(shop, &self.home, policy, before, trace).await {
                right = if is_over(&end) { right.or(Some(std::time::Instant::now())) } else { None };
                last = end;
            }
            if right.is_some_and(|it| it.elapsed() >= STAYS) || began.elapsed() >= PATIENCE {
                return last;
            }
        }
    }

    /// Runs the operator, and again whenever it ends, as the kubelet does: the same name in the lease.
    async fn operator(&self, number: usize, trace: &Trace) -> std::convert::Infallible {
        loop {
            let mut operator = self.start(number);
            trace.runs_as(Some(operator.0.id()));
            // It is killed, or ends by itself when it has lost its lease.
            let mut ticks = tokio::time::interval(TICK);
            while operator.runs() {
                ticks.tick().await;
            }
            trace.runs_as(None);
        }
    }

    fn start(&self, number: usize) -> Operator {
        let log =
            std::fs::File::options().create(true).append(true).open(self.folder.join(format!("run-{number}.log")));
        let child = Command::new(env!("CARGO_BIN_EXE_grpc-hygiene"))
            .args(["run", "--listen", "127.0.0.1:0", "--namespace", &self.home, "--act-as"])
            .args([format!("{}-grpc-hygiene-actor", self.home), "--identity".to_owned(), format!("host_{number}")])
            .arg("--config")
            .arg(self.folder.join("config.yaml"))
            .env("KUBECONFIG", self.folder.join("kubeconfig"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log"))
            .spawn();
        Operator(child.expect("the operator starts"))
    }

    fn configure(&self, proxies: &Proxies) {
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "sieve",
            "clusters": [{"name": "sieve", "cluster": {"server": proxies.api}}],
            "users": [{"name": "sieve", "user": {}}],
            "contexts": [{"name": "sieve", "context": {"cluster": "sieve", "user": "sieve"}}]});
        let config = json!({"prometheus": {"url": self.prometheus}, "alertmanagers": [{"url": proxies.alertmanager}],
            "quietPeriod": "1s",
            "limits": {"namespace": {"restarts": 100, "window": "1m"}, "cluster": {"restarts": 1000, "window": "1m"},
                "atOncePercent": 100, "settling": "0s", "backOff": "0s", "storm": {"workloads": 1000}}});
        for (file, text) in [("kubeconfig", kubeconfig), ("config.yaml", config)] {
            std::fs::write(self.folder.join(file), text.to_string()).expect("written");
        }
    }

    /// Nothing is known of what was before: a ledger that is old and empty, no lease, no policy, no annotations.
    async fn begin_anew(&self, shop: &Shop) {
        let client = &self.world.client;
        let ledgers: Api<ConfigMap> = Api::namespaced(client.clone(), &self.home);
        let ledger = json!({"version": 1, "since": "2020-01-01T00:00:00Z", "entries": []}).to_string();
        let patch = Patch::Merge(json!({"data": {"ledger.json": ledger}}));
        ledgers.patch(NAME, &PatchParams::default(), &patch).await.expect("an empty ledger");
        let leases: Api<Lease> = Api::namespaced(client.clone(), &self.home);
        let _ = leases.delete(LEASE, &DeleteParams::default()).await;
        let policies = shop.api::<GrpcClientPolicy>();
        policies.delete_collection(&DeleteParams::default(), &ListParams::default()).await.expect("no policies");
        let deployments = shop.api::<k8s_openapi::api::apps::v1::Deployment>();
        for it in deployments.list(&ListParams::default()).await.expect("deployments") {
            unmark(&deployments, &it).await;
        }
        let pods = shop.api::<Pod>();
        for it in pods.list(&ListParams::default()).await.expect("pods") {
            unmark(&pods, &it).await;
        }
    }
}

/// A shop with leaking pods. One that an interrupted sweep has left is taken over: it leaks already.
async fn open(world: &World, namespace: String) -> Shop {
    let shop = Shop { world: world.clone(), namespace };
    let deployments = shop.api::<k8s_openapi::api::apps::v1::Deployment>();
    if deployments.get_opt(LEAKY).await.expect("deployments").is_some() {
        return shop;
    }
    let shop = Shop::open(world.clone(), &shop.namespace).await;
    let leaky = Client::plain(LEAKY, REPLICAS);
    shop.deploy(&[leaky]).await;
    shop
}

/// Takes the annotations of an earlier run away.
async fn unmark<K>(api: &Api<K>, object: &K)
where
    K: ResourceExt + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let none: BTreeMap<&str, Value> = marks(object).into_keys().map(|key| (key, Value::Null)).collect();
    if !none.is_empty() {
        let patch = Patch::Merge(json!({"metadata": {"annotations": none}}));
        // One that is going needs none.
        let _ = api.patch(&object.name_any(), &PatchParams::default(), &patch).await;
    }
}

/// Waits until every pod is ready and enough of them are ripe, and returns them all: names by UID.
async fn ripe(shop: &Shop) -> BTreeMap<String, String> {
    let ask = || async {
        let pods = shop.api::<Pod>().list(&ListParams::default()).await.map_err(|it| it.to_string())?.items;
        let ready = |it: &Pod| {
            let conditions = it.status.as_ref().and_then(|it| it.conditions.as_ref());
            let ready = conditions.into_iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True");
            ready && it.metadata.deletion_timestamp.is_none()
        };
        let age = |it: &Pod| it.creation_timestamp().map(|it| Timestamp::now().duration_since(it.0).as_secs());
        let leaky = pods.iter().filter(|it| it.name_any().starts_with(LEAKY));
        let ripe = leaky.clone().filter(|it| age(it).is_some_and(|it| it >= RIPE)).count();
        if !pods.iter().all(ready) || leaky.count() != REPLICAS as usize || ripe < ENOUGH {
            return Err(format!("{ripe} of {} pods are ripe", pods.len()));
        }
        Ok(pods.iter().map(|it| (it.uid().unwrap_or_default(), it.name_any())).collect())
    };
    shop.world.eventually(&shop.namespace, DETECTION, "enough pods have leaked for a while", ask).await
}

async fn make_policy(shop: &Shop, name: &str) {
    let policy: GrpcClientPolicy = serde_json::from_value(json!({
        "apiVersion": "grpc-hygiene.io/v1alpha1", "kind": "GrpcClientPolicy", "metadata": {"name": name},
        "spec": {"allPods": true, "window": "5m", "interval": "5s", "mode": "Enforce", "remediation": {
            "annotate": {}, "alert": {"after": "0s"},
            "restart": {"after": "1s", "method": "Evict", "cooldown": "1h", "maxPerDay": 100}}},
    }))
    .expect("a policy");
    shop.api::<GrpcClientPolicy>().create(&PostParams::default(), &policy).await.expect("a valid policy");
}

/// The chart with everything but a running operator: accounts, rights, fences and ledger.
fn install(world: &World, home: &str) {
    let mut helm = world.tool("helm");
    helm.args(["upgrade", home]).arg(repository().join("charts/grpc-hygiene"));
    helm.arg("--values").arg(repository().join("tests/e2e/values.yaml"));
    helm.args(["--namespace", home, "--create-namespace", "--install"]);
    helm.args(["--set", "replicaCount=0,crds.install=false,rbac.aggregateClusterRoles=false"]);
    let output = helm.output().expect("helm starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A client with the token of the operator's own account, and one attempt.
async fn as_operator(world: &World, home: &str) -> Kube {
    let token =
        world.kubectl(&["create", "token", &format!("{home}-grpc-hygiene"), "--namespace", home, "--duration", "8h"]);
    let mut file = Kubeconfig::read_from(std::env::var_os("GRPC_HYGIENE_E2E_KUBECONFIG").expect("set")).expect("read");
    file.auth_infos[0].auth_info = Some(serde_json::from_value(json!({"token": token.trim()})).expect("a token"));
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a kubeconfig");
    config.default_retry = false;
    Kube::try_from(config).expect("a client")
}
