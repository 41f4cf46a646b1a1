//! What the operator really does, with the chart's rights and behind the fences: the program starts, leads and reports as
//! the observing account; the hands act in the other's name. Nothing is granted beyond the chart's roles.

use std::process::{Child, Command, Stdio};

use grpc_hygiene::{
    api::names::annotations,
    decide::{Remediation, Restart, ledger::State},
    io::{acting, ledger::Book, sweep::sweep},
};
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::ObjectReference};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, PostParams},
    core::GroupVersionKind,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::json;

use crate::{
    kinds,
    real::{Real, deployed, until},
    release::Release,
    tries::{Answer, Try, send},
    world::{POD, entry, shop},
};

/// The Deployment of the tests of acting, and hands that are those of the operator's pod.
async fn fenced(name: &str, settings: &[&str]) -> (Release, Real) {
    let real = deployed(name).await;
    let release = Release::install(real.config.clone(), &real.namespace, settings).await;
    let config = release.inside().await;
    let act_as = release.policies().contains(&"marks".to_owned()).then(|| format!("{}-actor", real.namespace));
    let act_as = act_as.filter(|_| !settings.contains(&"actor.separate=false"));
    let client = Client::try_from(config.clone()).expect("a client");
    (release, Real { config, client, act_as, ..real })
}

fn marks(annotations: &std::collections::BTreeMap<String, String>) -> usize {
    annotations.keys().filter(|it| it.starts_with("grpc-hygiene.io/")).count()
}

async fn marks_restarts_and_evicts(name: &str, settings: &[&str]) {
    let (release, real) = fenced(name, settings).await;
    let actor = if settings.is_empty() { release.actor() } else { release.observer() };
    holds(&release, &actor).await;
    assert_eq!(real.carry_out(&real.plan(&[Remediation::Annotate], Restart::Evict)).await, "done");
    let orders = async || real.api::<Deployment>().get("orders").await.expect("the Deployment");
    assert!(marks(orders().await.annotations()) > 0 && marks(real.first_pod().await.expect("a pod").annotations()) > 0);
    // A role that lists ReplicaSets shows the copies, and one that patches them removes them.
    let policy = real.policy();
    let swept = real.as_leader(async |hands| sweep(&hands, |it| it == policy).await).await.expect("a sweep");
    assert_eq!((swept.pods, swept.workloads, swept.failed), (1, 1, 0));
    assert_eq!(marks(orders().await.annotations()), 0);
    assert_eq!(real.carry_out(&real.plan(&[Remediation::Restart], Restart::Evict)).await, "done");
    assert!(real.first_pod().await.is_none_or(|it| it.uid() != real.pods[0].uid()));
    assert_eq!(real.ledger().await, [State::Confirmed]);
    release.done().await;
}

/// Waits until the fences that RBAC lets a request come to refuse it.
async fn holds(release: &Release, actor: &str) {
    let client = release.client_of(actor);
    release.refuses(&client, &["ledgers", "evictions", "marks", "workloads"]).await;
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn marking_sweeping_and_evicting_pass_rights_and_fences() {
    marks_restarts_and_evicts("acts", &[]).await;
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn they_pass_with_one_account_as_well() {
    marks_restarts_and_evicts("alone", &["actor.separate=false"]).await;
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn a_rollout_passes_rights_and_fences() {
    let (release, real) = fenced("rolls", &[]).await;
    holds(&release, &release.actor()).await;
    assert_eq!(real.carry_out(&real.plan(&[Remediation::Restart], Restart::Rollout)).await, "done");
    let orders = real.api::<Deployment>().get("orders").await.expect("the Deployment");
    let template = orders.spec.and_then(|it| it.template.metadata).and_then(|it| it.annotations).unwrap_or_default();
    assert!(template.contains_key("kubectl.kubernetes.io/restartedAt"));
    release.done().await;
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn settling_a_restart_that_nobody_answered_passes_rights_and_fences() {
    let (release, real) = fenced("settles", &[]).await;
    holds(&release, &release.actor()).await;
    let pod = real.first_pod().await.expect("the pod");
    let mut entry = entry(&shop(), POD, State::Pending, std::time::Duration::from_secs(60));
    entry.object.name = pod.name_any();
    entry.namespace.clone_from(&real.namespace);
    entry.object.uid = pod.uid().expect("a UID");
    entry.object.resource_version = pod.resource_version().expect("a version");
    real.as_leader(async |hands| {
        let book = Book { reading: &hands.reading, acting: &hands.acting, own: &real.namespace };
        book.change(|ledger, _| Ok(ledger.debited(entry.clone()))).await.expect("a debit");
        book.settle().await.expect("a ledger");
    })
    .await;
    assert_eq!(real.ledger().await, []);
    assert!(real.first_pod().await.expect("the pod").annotations().contains_key(annotations::FENCE));
    release.done().await;
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn the_account_that_observes_cannot_act_by_mistake() {
    let (release, real) = fenced("mistake", &[]).await;
    holds(&release, &release.actor()).await;
    let mistaken = Real { act_as: None, ..real };
    for how in [Restart::Evict, Restart::Rollout] {
        // Not even the debit can be written, so nothing is sent.
        assert_eq!(mistaken.carry_out(&mistaken.plan(&[Remediation::Restart], how)).await, "Ledger");
    }
    assert_eq!(mistaken.carry_out(&mistaken.plan(&[Remediation::Annotate], Restart::Evict)).await, "RequestFailed");
    assert!(mistaken.first_pod().await.is_some());
    assert_eq!(mistaken.ledger().await, []);
    release.done().await;
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn without_the_right_to_impersonate_nothing_acts() {
    let (mut release, real) = fenced("revoked", &[]).await;
    holds(&release, &release.actor()).await;
    let binding =
        format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{0}/rolebindings/{0}-impersonator", real.namespace);
    assert_eq!(real.carry_out(&real.plan(&[Remediation::Annotate], Restart::Evict)).await, "done");
    let own = Try::delete("the binding", &binding);
    assert!(matches!(send(&real.client, &own).await, Answer::Refused(403, _)), "it is not its own to remove");
    release.lose("RoleBinding", "-impersonator").await;
    let config = acting::acting_as(real.config.clone(), &real.namespace, real.act_as.as_deref());
    let (acting, kind) = (Client::try_from(config).expect("a client"), kinds::pod());
    let mark = Try::patch(
        "a mark",
        &kind.path(&real.namespace),
        json!({"metadata": {"annotations": {annotations::DIAGNOSIS: "x"}}}),
    );
    until("refusal", async || matches!(send(&acting, &mark.dry()).await, Answer::Refused(403, _))).await;
    let policy = real.policy();
    let swept = real.as_leader(async |hands| sweep(&hands, |it| it == policy).await).await.expect("a sweep");
    assert_eq!((swept.pods, swept.workloads), (0, 0));
    assert!(swept.failed >= 2, "pod and workload keep their marks: {swept:?}");
    release.done().await;
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn an_event_that_is_told_twice_passes_the_rights() {
    let release = Release::new("events", &[]).await;
    let client = Client::try_from(release.inside().await).expect("a client");
    let reporter = Reporter { controller: "grpc-hygiene".into(), instance: None };
    let recorder = Recorder::new(client, reporter);
    let about = ObjectReference {
        api_version: Some("apps/v1".into()),
        kind: Some("Deployment".into()),
        name: Some("probe".into()),
        namespace: Some(release.namespace.clone()),
        ..ObjectReference::default()
    };
    let event = Event {
        type_: EventType::Warning,
        reason: "Offends".into(),
        note: Some("3 of 10 call sites dial".into()),
        action: "Evaluate".into(),
        secondary: None,
    };
    until("the roles", async || recorder.publish(&event, &about).await.is_ok()).await;
    // A repeated event is a patch.
    recorder.publish(&event, &about).await.expect("it may be told again");
    release.done().await;
}

/// A process that does not outlive the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("it ends");
    }
}

/// A policy that can only say that its data cannot be read.
fn policy(namespace: &str) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "grpc-hygiene.io/v1alpha1", "kind": "GrpcClientPolicy",
        "metadata": {"name": "clients", "namespace": namespace},
        "spec": {"allPods": true, "mode": "Enforce", "remediation": {"annotate": {}, "alert": {}, "restart": {}}},
    }))
    .expect("a policy")
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn the_program_starts_leads_and_reports_with_the_rights_of_the_chart() {
    let release = Release::new("program", &[]).await;
    holds(&release, &release.actor()).await;
    let folder = std::env::temp_dir().join(&release.namespace);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("config.yaml"), "prometheus: {url: \"http://127.0.0.1:9\"}\n").expect("a configuration");
    std::fs::write(folder.join("kubeconfig"), release.kubeconfig().await).expect("a kubeconfig");
    let log = std::fs::File::create(folder.join("log")).expect("a log");
    let program = Command::new(env!("CARGO_BIN_EXE_grpc-hygiene"))
        .args(["run", "--listen", "127.0.0.1:0", "--identity", "us", "--namespace", &release.namespace])
        .args(["--act-as", &format!("{}-actor", release.namespace), "--config"])
        .arg(folder.join("config.yaml"))
        .env("KUBECONFIG", folder.join("kubeconfig"))
        .stderr(Stdio::from(log))
        .spawn()
        .expect("the program starts");
    let program = Program(program);
    let kind = GroupVersionKind::gvk("grpc-hygiene.io", "v1alpha1", "GrpcClientPolicy");
    let resource = kube::api::ApiResource::from_gvk_with_plural(&kind, "grpcclientpolicies");
    let policies: Api<DynamicObject> = Api::namespaced_with(release.admin.clone(), &release.namespace, &resource);
    policies.create(&PostParams::default(), &policy(&release.namespace)).await.expect("a policy");
    let blind = async || {
        let status = policies.get("clients").await.expect("the policy").data["status"].clone();
        status["conditions"]
            .as_array()
            .is_some_and(|it| it.iter().any(|it| it["type"] == "DataSourceReachable" && it["status"] == "False"))
    };
    until("a status that says so", blind).await;
    let leases: Api<Lease> = Api::namespaced(release.admin.clone(), &release.namespace);
    let lease = leases.get("grpc-hygiene").await.expect("the lease");
    assert_eq!(lease.spec.and_then(|it| it.holder_identity).as_deref(), Some("us"));
    drop(program);
    let log = std::fs::read_to_string(folder.join("log")).expect("the log");
    assert!(!log.to_lowercase().contains("forbidden"), "{log}");
    std::fs::remove_dir_all(&folder).expect("removed");
    release.done().await;
}
