//! A release of the chart on the API server: its accounts, roles and admission policies as Helm renders them, and nothing
//! that would run. It waits until every policy holds, and tidies up. It tries nothing itself.

use std::{path::PathBuf, process::Command};

use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicy, authentication::v1::TokenRequest, core::v1::ServiceAccount,
};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams},
    config::{AuthInfo, Kubeconfig},
};
use serde_json::{Value, json};

use crate::{
    kinds,
    real::{empty, until},
    tries::{Answer, Try, probes, send},
};

/// What is applied: who may do what, and what nobody may.
const KINDS: [&str; 8] = [
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "CustomResourceDefinition",
];

/// A release whose name is that of its namespace.
pub struct Release {
    /// The administrator's connection.
    pub config: Config,
    /// The same as a client. It does not retry: what is tried is tried once.
    pub admin: Client,
    /// The operator's own namespace.
    pub namespace: String,
    objects: Vec<DynamicObject>,
}

impl Release {
    /// A release in a namespace of its own.
    pub async fn new(name: &str, settings: &[&str]) -> Self {
        let real = empty(name).await;
        Self::install(real.config, &real.namespace, settings).await
    }

    /// A release in this namespace.
    pub async fn install(mut config: Config, namespace: &str, settings: &[&str]) -> Self {
        config.default_retry = false;
        let admin = Client::try_from(config.clone()).expect("a client");
        let objects = render(namespace, settings);
        for object in &objects {
            // The definitions are shared, and belong to whoever applied them last.
            let params = PatchParams::apply("grpc-hygiene-test").force();
            let name = object.metadata.name.as_deref().expect("a name");
            let applied = api(&admin, object).patch(name, &params, &Patch::Apply(object)).await;
            applied.unwrap_or_else(|error| panic!("{} {name}: {error}", kind(object)));
        }
        let release = Self { config, admin, namespace: namespace.to_owned(), objects };
        // What is probed, and what some tests try on.
        for kind in [kinds::pod(), kinds::deployment()] {
            kind.create(&release).await;
        }
        release
    }

    /// Gives both accounts every right there is, so that only the fences are left, and waits until they hold.
    pub async fn with_all_rights(self) -> Self {
        let subjects = ["", "-actor"].map(|it| json!({"kind": "ServiceAccount", "namespace": self.namespace, "name": format!("{}{it}", self.namespace)}));
        let mut binding: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": format!("{}-all", self.namespace)}, "subjects": subjects,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        }))
        .expect("a binding");
        binding = api(&self.admin, &binding).create(&PostParams::default(), &binding).await.expect("a binding");
        let mut this = self;
        this.objects.push(binding);
        this.holds().await;
        this
    }

    /// Waits until every policy of the release refuses what it must. Policies that refuse what RBAC refuses before are
    /// not seen without [`Self::with_all_rights`].
    pub async fn holds(&self) {
        let policies = self.policies();
        // Where nobody acts, there is no other account to match.
        let user = if policies.contains(&"marks".to_owned()) { self.actor() } else { self.observer() };
        self.refuses(&self.client_of(&user), &policies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }

    /// Waits until these policies refuse a user what they must.
    pub async fn refuses(&self, client: &Client, fences: &[&str]) {
        for (fence, probe) in probes(&self.namespace).into_iter().filter(|(fence, _)| fences.contains(fence)) {
            until(&format!("fence {fence}"), async || send(client, &probe).await == Answer::Fenced(fence.to_owned()))
                .await;
        }
    }

    /// Takes an object of the release away, as an administrator would in a hurry.
    pub async fn lose(&mut self, of: &str, suffix: &str) {
        let name = format!("{}{suffix}", self.namespace);
        let at = self.objects.iter().position(|it| kind(it) == of && it.metadata.name.as_ref() == Some(&name));
        let object = self.objects.remove(at.expect("the object"));
        api(&self.admin, &object).delete(&name, &DeleteParams::default()).await.expect("it goes");
    }

    /// The short names of the release's policies.
    pub fn policies(&self) -> Vec<String> {
        let own = self.objects.iter().filter(|it| kind(it) == "ValidatingAdmissionPolicy");
        let name = |it: &DynamicObject| it.metadata.name.clone().unwrap_or_default();
        own.map(|it| name(it)[self.namespace.len() + 1..].to_owned()).collect()
    }

    /// What the API server makes of the types in the expressions, once it has looked.
    pub async fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for name in self.policies() {
            let api: Api<ValidatingAdmissionPolicy> = Api::all(self.admin.clone());
            let name = format!("{}-{name}", self.namespace);
            let status = async || api.get(&name).await.expect("the policy").status.unwrap_or_default();
            until("a look at the types", async || status().await.observed_generation.is_some()).await;
            let found = status().await.type_checking.and_then(|it| it.expression_warnings).unwrap_or_default();
            warnings.extend(found.into_iter().map(|it| format!("{name}: {}: {}", it.field_ref, it.warning)));
        }
        warnings
    }

    /// Who observes.
    pub fn observer(&self) -> String {
        format!("system:serviceaccount:{0}:{0}", self.namespace)
    }

    /// Who acts.
    pub fn actor(&self) -> String {
        format!("{}-actor", self.observer())
    }

    /// A client that the API server takes for this user.
    pub fn client_of(&self, user: &str) -> Client {
        let mut config = self.config.clone();
        config.auth_info.impersonate = Some(user.to_owned());
        Client::try_from(config).expect("a client")
    }

    /// A token of the observing account, as its pod has one.
    pub async fn token(&self) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin.clone(), &self.namespace);
        let request: TokenRequest =
            serde_json::from_value(json!({"metadata": {}, "spec": {"audiences": []}})).expect("a request");
        let answer = accounts.create_token_request(&self.namespace, &PostParams::default(), &request).await;
        answer.expect("a token").status.expect("a token").token
    }

    /// The connection of the operator's pod.
    pub async fn inside(&self) -> Config {
        let mut config = self.config.clone();
        config.auth_info = AuthInfo { token: Some(self.token().await.into()), ..AuthInfo::default() };
        config
    }

    /// The same as a file.
    pub async fn kubeconfig(&self) -> String {
        let path = std::env::var("GRPC_HYGIENE_API_KUBECONFIG").expect("a kubeconfig");
        let mut file = serde_json::to_value(Kubeconfig::read_from(path).expect("a kubeconfig")).expect("JSON");
        file["users"][0]["user"] = json!({"token": self.token().await});
        file.to_string()
    }

    /// Removes the release, but for the definitions, and its namespace. A test that failed leaves them to be looked at.
    pub async fn done(self) {
        for object in self.objects.iter().filter(|it| kind(it) != "CustomResourceDefinition") {
            let name = object.metadata.name.as_deref().expect("a name");
            api(&self.admin, object).delete(name, &DeleteParams::default()).await.expect("it goes");
        }
        let gone = Try::delete("the namespace", &format!("/api/v1/namespaces/{}", self.namespace));
        assert_eq!(send(&self.admin, &gone).await, Answer::Allowed);
    }

    /// Whether nothing of a kind is left that the release made; for kinds that it must not have made at all.
    pub async fn has(&self, version: &str, of: &str, name: &str) -> bool {
        let object =
            json!({"apiVersion": version, "kind": of, "metadata": {"name": name, "namespace": self.namespace}});
        let object: DynamicObject = serde_json::from_value(object).expect("an object");
        let all = api(&self.admin, &object).list(&ListParams::default()).await.expect("a list");
        all.items.iter().any(|it| it.metadata.name.as_deref() == Some(name))
    }
}

fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |it| &it.kind)
}

fn api(client: &Client, object: &DynamicObject) -> Api<DynamicObject> {
    let types = object.types.as_ref().expect("a kind");
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types).expect("a kind"));
    match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// What the chart makes, in the order in which Helm would install it.
fn render(namespace: &str, settings: &[&str]) -> Vec<DynamicObject> {
    let chart = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("charts/grpc-hygiene");
    let mut helm = Command::new(helm());
    helm.args(["template", namespace]).arg(chart).args([
        "--namespace",
        namespace,
        "--no-hooks",
        "--kube-version",
        "1.34.0",
    ]);
    let always = [format!("fullnameOverride={namespace}"), "prometheus.url=http://prometheus:9090".to_owned()];
    for setting in always.iter().map(String::as_str).chain(settings.iter().copied()) {
        helm.args(["--set", setting]);
    }
    let output = helm.output().expect("helm starts");
    assert!(output.status.success(), "helm template: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let documents = text.split("\n---\n").filter(|it| it.contains("\nkind: "));
    let objects =
        documents.map(|it| serde_saphyr::from_str::<Value>(it).unwrap_or_else(|error| panic!("{it}: {error}")));
    let known = objects.filter(|it| it["kind"].as_str().is_some_and(|it| KINDS.contains(&it)));
    known.map(|it| serde_json::from_value(it).expect("an object")).collect()
}

/// Helm as the test cluster built it, else as it stands in the PATH.
fn helm() -> PathBuf {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let cluster = std::env::var_os("CLUSTER_DIR").map_or_else(|| repository.join(".cluster"), PathBuf::from);
    let built = cluster.join("bin/helm");
    let named = std::env::var_os("HELM").map(PathBuf::from);
    named.unwrap_or_else(|| if built.exists() { built } else { "helm".into() })
}
