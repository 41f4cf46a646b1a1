//! The shop as the tests know it: a Deployment of three pods, its ReplicaSet, a policy that restarts, and plans.

use std::{future::pending, sync::Arc, time::Duration};

use grpc_hygiene::{
    api::{GrpcClientPolicySpec, Mode, Stage},
    decide::{
        Case, Confidence, Decision, Diagnosis, Evidence, Growth, Outcome, Plan, Policy, Remediation, Restart, Rung,
        Subject, Target, Workload,
        ledger::{Entry, Ledger, Limits, Object, Rates, State},
    },
    decide::{Strength, approval::Asked, looks::Looks},
    io::{
        act::{Hands, act},
        config::Config,
        leadership::{Leadership, Term, lead},
        ledger,
        notify::Alerts,
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::fake::Fake;

/// The operator's own namespace.
pub const OWN: &str = "hygiene";
pub const POD: &str = "/api/v1/namespaces/shop/pods/orders-1";
pub const EVICTION: &str = "/api/v1/namespaces/shop/pods/orders-1/eviction";
pub const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/orders";
pub const REPLICA_SET: &str = "/apis/apps/v1/namespaces/shop/replicasets/orders-7d";
pub const BUDGETS: &str = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets";
pub const AUTOSCALERS: &str = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers";
pub const NAMESPACE: &str = "/api/v1/namespaces/shop";
pub const POLICY: &str = "/apis/grpc-hygiene.io/v1alpha1/namespaces/shop/grpcclientpolicies/clients";
pub const SWITCH: &str = "/api/v1/namespaces/hygiene/configmaps/grpc-hygiene-switch";
pub const LEDGER: &str = "/api/v1/namespaces/hygiene/configmaps/grpc-hygiene-ledger";

pub fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().expect("a time")
}

/// An API server with the shop on it.
pub fn shop() -> Fake {
    let fake = Fake::default();
    workload(&fake, "orders");
    write_ledger(&fake, &[]);
    fake.put(NAMESPACE, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {}}));
    fake.put(POLICY, json!({"apiVersion": "grpc-hygiene.io/v1alpha1", "kind": "GrpcClientPolicy", "metadata": {"generation": 1}, "spec": {}}));
    fake
}

/// A Deployment of three with its ReplicaSet and its first pod, all at rest.
pub fn workload(fake: &Fake, name: &str) {
    let apps = "/apis/apps/v1/namespaces/shop";
    fake.put(
        &format!("{apps}/deployments/{name}"),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"uid": format!("uid-{name}"), "generation": 1},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}}}},
            "status": {"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "readyReplicas": 3},
        }),
    );
    fake.put(
        &format!("{apps}/replicasets/{name}-7d"),
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {
            "uid": format!("uid-{name}-7d"), "ownerReferences": [owner("Deployment", name, &format!("uid-{name}"))]}}),
    );
    fake.put(
        &format!("/api/v1/namespaces/shop/pods/{name}-1"),
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"uid": format!("uid-{name}-1"), "labels": {"app": name},
                "ownerReferences": [owner("ReplicaSet", &format!("{name}-7d"), &format!("uid-{name}-7d"))]},
            "spec": {"containers": [{"name": "app"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }),
    );
}

pub fn owner(kind: &str, name: &str, uid: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true})
}

pub fn policy() -> Policy {
    let spec: GrpcClientPolicySpec = serde_json::from_value(json!({
        "selector": {"matchLabels": {"team": "shop"}},
        "mode": "Enforce",
        "remediation": {"annotate": {}, "alert": {}, "restart": {"cooldown": "1h", "maxPerDay": 3}},
    }))
    .expect("a spec");
    Policy::parse(&spec.rules).expect("a policy")
}

/// An offender with these steps to be done.
pub fn case(name: &str, remediations: &[Remediation], how: Restart) -> Case {
    let rung = |remediation: &Remediation| Rung {
        remediation: *remediation,
        decision: Decision::Do,
        restart: (*remediation == Remediation::Restart).then_some(how),
    };
    Case {
        target: Target {
            subject: Subject {
                namespace: "shop".into(),
                pod: format!("{name}-1"),
                uid: format!("uid-{name}-1"),
                container: "app".into(),
            },
            workload: Some(Workload { namespace: "shop".into(), kind: "Deployment".into(), name: name.into() }),
            containers_in_pod: 1,
            ready: true,
            ..Target::default()
        },
        growth: Growth {
            diagnosis: Diagnosis::DialPerCall,
            confidence: Confidence::from_p_value(0.0001),
            strength: Strength::Certain,
            message: "3 of 10 call sites dial".into(),
        },
        evidence: Evidence::default(),
        since: now(),
        standing: false,
        looks: Looks::default(),
        confirmed: true,
        profile: None,
        approvals: Asked::default(),
        rungs: remediations.iter().map(rung).collect(),
    }
}

pub fn plan(cases: Vec<Case>) -> Plan {
    Plan {
        policy: "shop/clients".into(),
        mode: Mode::Enforce,
        stage: Stage::Restart,
        cases,
        limits: Some(limits()),
        generation: Some(1),
        ..Plan::default()
    }
}

/// What [`policy`] lets be spent.
fn limits() -> Limits {
    Limits { cooldown: Duration::from_secs(3_600), max_per_day: 3, at_once: 10, rates: Rates::default() }
}

pub fn evict_orders() -> Plan {
    plan(vec![case("orders", &[Remediation::Restart], Restart::Evict)])
}

/// Hands with no receiver of alerts.
pub fn hands(fake: &Fake, leadership: &Leadership) -> Hands {
    let config = Config::with_prometheus("http://127.0.0.1:9").expect("a configuration");
    Hands {
        reading: fake.reading(),
        acting: fake.acting(leadership),
        alerts: Alerts::new(&config).expect("no receivers"),
        namespace: OWN.into(),
        settled: Arc::default(),
    }
}

/// Does something as the leader, by the lease of another API server, so that its requests are not in the log.
pub async fn as_leader<T>(work: impl AsyncFnOnce(Leadership) -> T) -> T {
    let leadership = Leadership::default();
    let client = Fake::default().election(&leadership);
    let work = work(leadership.clone());
    match lead(client, &leadership, OWN, "us", pending(), work).await {
        Term::Finished(done) => done,
        Term::Lost | Term::Stopped => panic!("the lease was lost"),
    }
}

/// Carries out a plan as the leader.
pub async fn carry_out(fake: &Fake, plan: &Plan) -> Vec<Outcome> {
    carry_out_at(fake, plan, now()).await
}

pub async fn carry_out_at(fake: &Fake, plan: &Plan, at: Timestamp) -> Vec<Outcome> {
    as_leader(async |leadership| act(&hands(fake, &leadership), &policy(), plan, at).await).await
}

/// The word for what became of the only step.
pub fn word(outcomes: &[Outcome]) -> &'static str {
    let [outcome] = outcomes else { panic!("one outcome, not {outcomes:?}") };
    outcome.result.as_ref().map_or_else(grpc_hygiene::decide::Because::reason, |()| "done")
}

/// The ledger as it stands.
pub async fn ledger_of(fake: &Fake) -> Ledger {
    ledger::read(&fake.reading(), OWN).await.expect("a ledger").ledger.expect("one that has begun")
}

pub async fn states(fake: &Fake) -> Vec<State> {
    ledger_of(fake).await.entries.iter().map(|it| it.state).collect()
}

/// A ledger that somebody wrote, which is old enough to be trusted.
pub fn write_ledger(fake: &Fake, entries: &[Entry]) {
    let since = now() - Duration::from_secs(30 * 86_400);
    let text = serde_json::to_string(&Ledger { entries: entries.to_vec(), ..Ledger::begun(since) }).expect("JSON");
    fake.put(LEDGER, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {"ledger.json": text}}));
}

/// A restart of `orders` that was requested so long ago.
pub fn entry(fake: &Fake, path: &str, state: State, ago: Duration) -> Entry {
    let object = fake.object(path).expect("an object");
    let text = |it: &Value| it.as_str().expect("text").to_owned();
    Entry {
        diagnosis: None,
        namespace: "shop".into(),
        revision: None,
        workload: grpc_hygiene::api::WorkloadRef { kind: "Deployment".into(), name: "orders".into() },
        object: Object {
            kind: text(&object["kind"]),
            name: text(&object["metadata"]["name"]),
            uid: text(&object["metadata"]["uid"]),
            resource_version: text(&object["metadata"]["resourceVersion"]),
            generation: object["metadata"]["generation"].as_i64().filter(|_| path != POD),
        },
        policy: "shop/clients".into(),
        at: now() - ago,
        state,
    }
}
