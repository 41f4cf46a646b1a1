//! A namespace of a real API server, with what the tests about it need: a Deployment of two pods that are said to run,
//! hands that act on it, and requests that our own checks would hold back.

use std::{future::pending, time::Duration};

use grpc_hygiene::{
    api::{GrpcClientPolicy, custom_resources},
    decide::{
        Case, Plan, Remediation, Restart, Standing, Workload,
        ledger::{Ledger, State},
    },
    io::{
        act::{Hands, act},
        acting,
        leadership::{Leadership, Term, lead},
        ledger,
        workload::standing,
    },
};
use http::{Method, Request};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, Pod},
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Config, Error, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use serde_json::{Value, json};

use crate::world::{case, evict_orders, hands, plan, policy, shop, word};

/// How long a test waits for what the controllers do.
const SOON: Duration = Duration::from_secs(60);

/// A namespace of a real cluster, with a Deployment `orders` of two pods that are said to run.
pub struct Real {
    pub config: Config,
    pub client: Client,
    pub namespace: String,
    pub pods: Vec<Pod>,
    /// The service account that acting impersonates, if any.
    pub act_as: Option<String>,
}

/// A namespace for one test.
pub async fn empty(name: &str) -> Real {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let path = std::env::var("GRPC_HYGIENE_API_KUBECONFIG")
        .expect("GRPC_HYGIENE_API_KUBECONFIG names a kubeconfig: make test");
    let file = Kubeconfig::read_from(path).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a configuration");
    let client = Client::try_from(config.clone()).expect("a client");
    let namespace = format!("act-{name}-{}", Timestamp::now().as_millisecond());
    let object = serde_json::from_value(json!({"metadata": {"name": namespace}})).expect("a Namespace");
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await.expect("a namespace");
    define(&client, &namespace).await;
    let ledger =
        serde_json::to_string(&Ledger::begun(Timestamp::now() - Duration::from_secs(30 * 86_400))).expect("JSON");
    let map = json!({"metadata": {"name": ledger::NAME}, "data": {"ledger.json": ledger}});
    let map = serde_json::from_value(map).expect("a ConfigMap");
    Api::<ConfigMap>::namespaced(client.clone(), &namespace)
        .create(&PostParams::default(), &map)
        .await
        .expect("a ledger");
    Real { config, client, namespace, pods: Vec::new(), act_as: None }
}

/// The custom resources, and a policy of the namespace.
async fn define(client: &Client, namespace: &str) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in custom_resources() {
        let name = definition.metadata.name.clone().expect("a name");
        let params = PatchParams::apply("grpc-hygiene-test").force();
        definitions.patch(&name, &params, &Patch::Apply(&definition)).await.expect("a definition");
        await_condition(definitions.clone(), &name, is_crd_established()).await.expect("an established definition");
    }
    let policy: GrpcClientPolicy = serde_json::from_value(json!({
        "apiVersion": "grpc-hygiene.io/v1alpha1", "kind": "GrpcClientPolicy",
        "metadata": {"name": "clients"}, "spec": {"allPods": true}}))
    .expect("a policy");
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &policy).await.expect("a policy");
}

pub async fn deployed(name: &str) -> Real {
    let mut real = empty(name).await;
    let object = serde_json::from_value(json!({
        "metadata": {"name": "orders"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "orders"}}, "template": {
            "metadata": {"labels": {"app": "orders"}},
            "spec": {"nodeName": "nowhere", "terminationGracePeriodSeconds": 0, "containers": [{"name": "app", "image": "none"}]}}},
    }))
    .expect("a Deployment");
    real.api::<Deployment>().create(&PostParams::default(), &object).await.expect("a Deployment");
    let pods = real.api::<Pod>();
    until("two pods", async || pods.list(&ListParams::default()).await.expect("pods").items.len() == 2).await;
    for pod in pods.list(&ListParams::default()).await.expect("pods") {
        let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        let params = PatchParams::default();
        pods.patch_status(&pod.name_any(), &params, &Patch::Strategic(running)).await.expect("a pod that runs");
    }
    until("a Deployment at rest", async || {
        let state = standing(&real.client, &real.orders(), &pods_name(&pods).await).await;
        matches!(state, Standing::Known(it) if !it.rolling_out && it.available == 2)
    })
    .await;
    real.pods = pods.list(&ListParams::default()).await.expect("pods").items;
    real
}

async fn pods_name(pods: &Api<Pod>) -> String {
    pods.list(&ListParams::default()).await.expect("pods").items[0].name_any()
}

pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, wait).await.is_ok(), "no {what} in time");
}

impl Real {
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn orders(&self) -> Workload {
        Workload { namespace: self.namespace.clone(), kind: "Deployment".into(), name: "orders".into() }
    }

    /// The offender: the first pod.
    pub fn case(&self, remediations: &[Remediation], how: Restart) -> Case {
        let mut case = case("orders", remediations, how);
        case.target.subject.namespace = self.namespace.clone();
        case.target.subject.pod = self.pods[0].name_any();
        case.target.subject.uid = self.pods[0].uid().expect("a UID");
        case.target.workload = Some(self.orders());
        case
    }

    pub fn plan(&self, remediations: &[Remediation], how: Restart) -> Plan {
        Plan { policy: self.policy(), ..plan(vec![self.case(remediations, how)]) }
    }

    pub fn policy(&self) -> String {
        format!("{}/clients", self.namespace)
    }

    pub fn hands(&self, leadership: &Leadership) -> Hands {
        let config = acting::acting_as(self.config.clone(), &self.namespace, self.act_as.as_deref());
        let acting = acting::client(config, leadership).expect("a client");
        Hands { reading: self.client.clone(), acting, namespace: self.namespace.clone(), ..hands(&shop(), leadership) }
    }

    pub async fn as_leader<T>(&self, work: impl AsyncFnOnce(Hands) -> T) -> T {
        let leadership = Leadership::default();
        let client = leadership.client(self.config.clone()).expect("a client");
        let hands = self.hands(&leadership);
        match lead(client, &leadership, &self.namespace, "us", pending(), work(hands)).await {
            Term::Finished(done) => done,
            Term::Lost | Term::Stopped => panic!("the lease was lost"),
        }
    }

    pub async fn carry_out(&self, plan: &Plan) -> &'static str {
        word(&self.as_leader(async |hands| act(&hands, &policy(), plan, Timestamp::now()).await).await)
    }

    /// Sends what acting sends for an eviction, with other preconditions.
    pub async fn evict(&self, uid: &str, version: &str) -> Result<String, Error> {
        let fake = shop();
        crate::world::carry_out(&fake, &evict_orders()).await;
        let eviction = fake.written("/eviction");
        let (pod, mut body) = (self.pods[0].name_any(), eviction.body);
        body["metadata"] = json!({"name": pod, "namespace": self.namespace});
        body["deleteOptions"]["preconditions"] = json!({"uid": uid, "resourceVersion": version});
        let url = format!("/api/v1/namespaces/{}/pods/{pod}/eviction?{}", self.namespace, eviction.query);
        self.send(Method::POST, &url, "application/json", &body).await
    }

    pub async fn send(&self, method: Method, url: &str, kind: &str, body: &Value) -> Result<String, Error> {
        let mut config = self.config.clone();
        config.default_retry = false;
        let request = Request::builder().method(method).uri(url).header("content-type", kind);
        let request = request.body(body.to_string().into_bytes()).expect("a request");
        Client::try_from(config).expect("a client").request_text(request).await
    }

    pub async fn first_pod(&self) -> Option<Pod> {
        self.api::<Pod>().get_opt(&self.pods[0].name_any()).await.expect("an answer")
    }

    pub async fn ledger(&self) -> Vec<State> {
        let page = ledger::read(&self.client, &self.namespace).await.expect("a ledger");
        page.ledger.iter().flat_map(|it| &it.entries).map(|it| it.state).collect()
    }

    /// Removes the namespace. A test that failed leaves it, to be looked at.
    pub async fn done(self) {
        let url = format!("/api/v1/namespaces/{}", self.namespace);
        self.send(Method::DELETE, &url, "application/json", &json!({})).await.expect("a namespace that goes");
    }
}
