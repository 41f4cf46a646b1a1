//! What every scenario stands on: the cluster's client, the operator as Helm installs it, and waiting with a deadline.
//! It knows no scenario.

use std::{
    future::Future,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use grpc_hygiene::io::{leadership::LEASE, ledger::NAME};
use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Namespace, Pod, Secret, Service},
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, RwLock};

/// The operator's own namespace, and its service account in the audit log.
pub const HOME: &str = "e2e-operator";
/// Who the operator is to the API server.
pub const OPERATOR: &str = "system:serviceaccount:e2e-operator:grpc-hygiene";
/// The labels of the operator's pods.
pub const OPERATORS: &str = "app.kubernetes.io/component=operator";
/// The token for Prometheus, which nobody else is to see.
pub const CANARY: &str = "canary-b7d41c0e95";
/// How long a leak may take to be found from the pod's start: three minutes on two busy cores, and reserve.
pub const DETECTION: Duration = Duration::from_secs(7 * 60);
/// How long everything else may take that is one or two evaluations away.
pub const SOON: Duration = Duration::from_secs(90);

/// Scenarios hold it to read while they rely on operator and Prometheus; who stops one of these holds it to write.
pub static QUIET: RwLock<()> = RwLock::const_new(());
static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// The cluster.
#[derive(Clone)]
pub struct World {
    /// A client with all rights.
    pub client: Client,
    kubeconfig: PathBuf,
}

impl World {
    /// The cluster with the operator installed and ready.
    pub async fn with_operator() -> Self {
        let world = Self::new().await;
        INSTALLED.get_or_init(|| world.install(&[])).await;
        world
    }

    /// The cluster.
    pub async fn new() -> Self {
        // Fails when another test was first, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = std::env::var_os("GRPC_HYGIENE_E2E_KUBECONFIG").map(PathBuf::from).expect(
            "GRPC_HYGIENE_E2E_KUBECONFIG is not set: run `make test`, or `tests/cluster/cluster up` and set it to .cluster/kubeconfig",
        );
        let file = Kubeconfig::read_from(&kubeconfig).expect("the kubeconfig can be read");
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a kubeconfig");
        let client = Client::try_from(config).expect("a client");
        client.apiserver_version().await.expect("the cluster answers: tests/cluster/cluster status");
        Self { client, kubeconfig }
    }

    /// Installs the chart as users do, with the image of this working tree and a short quiet period.
    pub async fn install(&self, settings: &[&str]) {
        self.refuse_a_second_operator().await;
        self.canary().await;
        if let Err(said) = self.upgrade(settings) {
            panic!("the chart cannot be installed: {said}\n{}", self.look(HOME));
        }
    }

    /// Installs the chart, or what of it has changed, with these settings instead of those that it has.
    pub fn upgrade(&self, settings: &[&str]) -> Result<(), String> {
        let chart = repository().join("charts/grpc-hygiene");
        let values = repository().join("tests/e2e/values.yaml");
        let mut helm = self.tool("helm");
        // Definitions that an earlier release kept are taken over.
        helm.args(["upgrade", "grpc-hygiene"]).arg(chart).arg("--values").arg(values);
        helm.args([
            "--namespace",
            HOME,
            "--create-namespace",
            "--install",
            "--take-ownership",
            "--wait",
            "--timeout",
            "3m",
        ]);
        for setting in settings {
            helm.args(["--set", setting]);
        }
        run(helm).map(drop)
    }

    /// The Secret that the values name: a token for Prometheus, which does not ask for one.
    async fn canary(&self) {
        let object = |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
        let namespace: Namespace = serde_json::from_value(object("Namespace", HOME)).expect("a namespace");
        let mut secret = object("Secret", "prometheus-token");
        secret["stringData"] = json!({"token": CANARY});
        let secret: Secret = serde_json::from_value(secret).expect("a secret");
        let (params, mine) = (PostParams::default(), self.client.clone());
        let made = [
            Api::<Namespace>::all(mine.clone()).create(&params, &namespace).await.map(drop),
            Api::<Secret>::namespaced(mine, HOME).create(&params, &secret).await.map(drop),
        ];
        for it in made {
            assert!(matches!(&it, Ok(()) | Err(kube::Error::Api(_))), "{it:?}");
        }
    }

    /// Two operators would both act on every policy.
    async fn refuse_a_second_operator(&self) {
        let api: Api<Deployment> = Api::all(self.client.clone());
        let labels =
            ListParams::default().labels("app.kubernetes.io/name=grpc-hygiene,app.kubernetes.io/component=operator");
        let runs = |it: &Deployment| it.spec.as_ref().and_then(|it| it.replicas) != Some(0);
        let all = api.list(&labels).await.expect("deployments").items;
        let namespaces = all.into_iter().filter(runs).filter_map(|it| it.metadata.namespace);
        let other: Vec<String> = namespaces.filter(|it| it != HOME).collect();
        assert!(other.is_empty(), "another operator runs in namespace {other:?}: remove it first (make demo-down)");
    }

    /// helm or kubectl as the test cluster built them, else of the PATH, for this cluster.
    pub fn tool(&self, name: &str) -> Command {
        let built = cluster_dir().join("bin").join(name);
        let mut command = Command::new(if built.exists() { built } else { PathBuf::from(name) });
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs kubectl and returns what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let mut kubectl = self.tool("kubectl");
        kubectl.args(arguments);
        run(kubectl).unwrap_or_else(|said| panic!("kubectl {}: {said}", arguments.join(" ")))
    }

    /// The operator's own ConfigMaps, where the ledger is.
    pub fn ledgers(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), HOME)
    }

    /// The operator's pod that leads, by the lease.
    pub async fn leader(&self) -> Result<Pod, String> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), HOME);
        let lease = leases.get(LEASE).await.map_err(|it| it.to_string())?;
        let holder = lease.spec.and_then(|it| it.holder_identity).ok_or("nobody leads")?;
        let name = holder.split('_').next().unwrap_or_default();
        Api::namespaced(self.client.clone(), HOME).get(name).await.map_err(|it| format!("{name}: {it}"))
    }

    /// The operator's pods.
    pub async fn operators(&self) -> Result<Vec<Pod>, String> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), HOME);
        let labels = ListParams::default().labels(OPERATORS);
        api.list(&labels).await.map(|it| it.items).map_err(|it| it.to_string())
    }

    /// Deletes the pods with these labels without grace: nothing is finished, and what they kept goes with them.
    pub async fn delete_at_once(&self, namespace: &str, labels: &str) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let now = DeleteParams::default().grace_period(0);
        pods.delete_collection(&now, &ListParams::default().labels(labels)).await.expect("deleted");
    }

    /// Our own program on this host, with Prometheus at its Service's address.
    pub async fn program(&self, arguments: &[&str]) -> Output {
        let services: Api<Service> = Api::namespaced(self.client.clone(), "monitoring");
        let service = services.get("prometheus").await.expect("Service prometheus");
        let address = service.spec.and_then(|it| it.cluster_ip).expect("a cluster IP");
        self.command()
            .args(arguments)
            .args(["--operator-namespace", HOME])
            .env("GRPC_HYGIENE_PROMETHEUS", format!("http://{address}:9090"))
            .output()
            .expect("the program starts")
    }

    /// Our own program on this host, for this cluster.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grpc-hygiene"));
        command.env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Takes the restarts of a namespace out of the ledger, if there is one.
    pub async fn forget(&self, namespace: &str) {
        let ledgers = &self.ledgers();
        let taken_out = || async move {
            let Some(mut map) = ledgers.get_opt(NAME).await.map_err(|it| it.to_string())? else { return Ok(()) };
            let Some(text) = map.data.as_mut().and_then(|it| it.get_mut(KEY)) else { return Ok(()) };
            let mut ledger: Value = serde_json::from_str(text).map_err(|it| it.to_string())?;
            ledger["entries"].as_array_mut().ok_or("no entries")?.retain(|it| it["namespace"] != namespace);
            *text = ledger.to_string();
            // The operator may have written it meanwhile.
            ledgers.replace(NAME, &PostParams::default(), &map).await.map(drop).map_err(|it| it.to_string())
        };
        self.eventually(namespace, SOON, "the ledger has forgotten it", taken_out).await;
    }

    /// Asks until `ask` has an answer. What it says meanwhile is why there is none yet; at the deadline that, the
    /// policies, pods, events and the operator's log are printed.
    pub async fn eventually<T, F: Future<Output = Result<T, String>>>(
        &self,
        namespace: &str,
        deadline: Duration,
        what: &str,
        mut ask: impl FnMut() -> F,
    ) -> T {
        let began = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
            let not_yet = match ask().await {
                Ok(answer) => {
                    println!("{namespace}: {what} after {} s", began.elapsed().as_secs());
                    return answer;
                }
                Err(not_yet) => not_yet,
            };
            if began.elapsed() > deadline {
                let seconds = deadline.as_secs();
                panic!("{namespace}: not within {seconds} s: {what}: {not_yet}\n{}", self.look(namespace));
            }
        }
    }

    /// Waits until so much time has passed.
    pub async fn passed(&self, namespace: &str, since: Instant, time: Duration, what: &str) {
        let passed = || async move {
            let so_far = since.elapsed();
            if so_far >= time { Ok(()) } else { Err(format!("only for {so_far:?}")) }
        };
        self.eventually(namespace, time + SOON, what, passed).await;
    }

    /// Everything that a person would look at first.
    fn look(&self, namespace: &str) -> String {
        let seen = |arguments: &[&str]| {
            let mut kubectl = self.tool("kubectl");
            kubectl.args(arguments);
            let text = run(kubectl).unwrap_or_else(|said| said);
            let tail: Vec<&str> = text.lines().rev().take(120).collect();
            format!("--- kubectl {}\n{}\n", arguments.join(" "), tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
        };
        [
            seen(&["get", "grpcclientpolicies", "--namespace", namespace, "--output", "yaml"]),
            seen(&["get", "pods,poddisruptionbudgets", "--namespace", namespace, "--output", "wide"]),
            seen(&["get", "events", "--namespace", namespace, "--sort-by", ".metadata.creationTimestamp"]),
            seen(&["get", "pods", "--namespace", HOME, "--output", "wide"]),
            seen(&["logs", "--namespace", HOME, "--selector", "app.kubernetes.io/name=grpc-hygiene", "--tail", "60"]),
        ]
        .concat()
    }
}

/// The ledger's key in its ConfigMap.
const KEY: &str = "ledger.json";

/// The restarts of a namespace, as they stand in the ledger.
pub fn entries(ledger: Option<&ConfigMap>, namespace: &str) -> Vec<Value> {
    let text = ledger.and_then(|it| it.data.as_ref()?.get(KEY));
    let ledger: Value = text.map_or(Value::Null, |it| serde_json::from_str(it).expect("the ledger is JSON"));
    let all = ledger["entries"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|it| it["namespace"] == namespace).collect()
}

/// The working tree.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the test cluster keeps its state.
pub fn cluster_dir() -> PathBuf {
    std::env::var_os("CLUSTER_DIR").map_or_else(|| repository().join(".cluster"), PathBuf::from)
}

/// What a command printed; the error is what it complained about.
fn run(mut command: Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}
