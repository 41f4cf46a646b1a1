//! The same questions to a real API server with its controllers, which alone knows what it does with a precondition.
//! There is no node: the tests say of pods that they run. Requests that our own checks would hold back are taken from
//! the fake's log, so that what is sent is what acting builds.

use std::{future::pending, time::Duration};

use grpc_hygiene::{
    decide::{
        Because, Remediation, Restart,
        ledger::{Entry, State},
    },
    io::{
        act::{Hands, act},
        acting,
        leadership::{LEASE, Leadership, Term, lead},
        ledger::Book,
        sweep::sweep,
    },
};
use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Error, ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::json;

use crate::{
    real::{deployed, empty, until},
    world::{POD, entry, policy, shop, word},
};

#[tokio::test]
#[ignore = "needs a Kubernetes API server: make test"]
async fn an_eviction_of_another_pod_or_version_leaves_the_pod_and_the_right_one_deletes_it() {
    let real = deployed("evict").await;
    let pod = real.first_pod().await.expect("the pod");
    let (uid, version) = (pod.uid().expect("a UID"), pod.resource_version().expect("a version"));
    for (uid, version) in [("00000000-0000-0000-0000-000000000000", version.as_str()), (uid.as_str(), "1")] {
        let error = real.evict(uid, version).await.expect_err("a refusal");
        assert!(matches!(&error, Error::Api(it) if it.code == 409), "{error}");
        assert!(acting::proves_nothing_happened(&error));
        assert!(real.first_pod().await.is_some_and(|it| it.metadata.deletion_timestamp.is_none()));
    }
    assert_eq!(real.carry_out(&real.plan(&[Remediation::Restart], Restart::Evict)).await, "done");
    assert!(real.first_pod().await.is_none());
    assert_eq!(real.ledger().await, [State::Confirmed]);
    real.done().await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server: make test"]
async fn a_typo_in_an_eviction_is_refused_and_not_ignored() {
    let real = deployed("strict").await;
    let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": real.pods[0].name_any()}, "delete_options": {}});
    let url = format!(
        "/api/v1/namespaces/{}/pods/{}/eviction?fieldValidation=Strict",
        real.namespace,
        real.pods[0].name_any()
    );
    let error = real.send(Method::POST, &url, "application/json", &body).await.expect_err("a refusal");
    assert!(matches!(&error, Error::Api(it) if it.code == 400), "{error}");
    assert!(real.first_pod().await.is_some());
    real.done().await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server: make test"]
async fn a_budget_of_nothing_holds_before_and_at_the_api_server() {
    let real = deployed("budget").await;
    let budget = json!({"metadata": {"name": "keep"}, "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "orders"}}}});
    let budgets = real.api::<PodDisruptionBudget>();
    budgets.create(&PostParams::default(), &serde_json::from_value(budget).expect("a budget")).await.expect("a budget");
    until("status of the budget", async || {
        budgets.get("keep").await.expect("a budget").status.is_some_and(|it| it.observed_generation == Some(1))
    })
    .await;
    assert_eq!(real.carry_out(&real.plan(&[Remediation::Restart], Restart::Evict)).await, "PodDisruptionBudget");
    assert_eq!(real.ledger().await, []);
    let pod = real.first_pod().await.expect("the pod");
    let error = real
        .evict(&pod.uid().expect("a UID"), &pod.resource_version().expect("a version"))
        .await
        .expect_err("a refusal");
    assert_eq!(acting::because(&error), Because::DisruptionBudget { name: "keep".into() });
    assert!(real.first_pod().await.is_some());
    real.done().await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server: make test"]
async fn a_mark_moves_no_rollout_and_a_rollout_moves_only_this_workload() {
    let real = deployed("rollout").await;
    let orders = async || real.api::<Deployment>().get("orders").await.expect("the Deployment");
    let revisions = async || real.api::<ReplicaSet>().list(&ListParams::default()).await.expect("a list").items.len();
    let template = orders().await.spec.map(|it| it.template);
    assert_eq!(real.carry_out(&real.plan(&[Remediation::Annotate], Restart::Evict)).await, "done");
    let marked = orders().await;
    assert_eq!(marked.annotations().get("grpc-hygiene.io/diagnosis").map(String::as_str), Some("DialPerCall"));
    // The API server counts an annotation of a Deployment as a new generation, and the controller looks at it.
    until("the mark observed", async || {
        orders().await.status.is_some_and(|it| it.observed_generation == marked.metadata.generation)
    })
    .await;
    assert_eq!((orders().await.spec.map(|it| it.template), revisions().await), (template, 1));
    assert_eq!(real.carry_out(&real.plan(&[Remediation::Restart], Restart::Rollout)).await, "done");
    until("a second revision", async || revisions().await == 2).await;
    assert_eq!(real.carry_out(&real.plan(&[Remediation::Restart], Restart::Rollout)).await, "RolloutInProgress");
    assert_eq!(real.ledger().await, [State::Confirmed]);
    real.done().await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server: make test"]
async fn a_mark_meant_for_a_pod_that_was_made_anew_is_refused() {
    let real = deployed("uid").await;
    let url = format!("/api/v1/namespaces/{}/pods/{}", real.namespace, real.pods[0].name_any());
    let patch = json!({"metadata": {"uid": "00000000-0000-0000-0000-000000000000", "annotations": {"grpc-hygiene.io/policy": "x"}}});
    let error = real.send(Method::PATCH, &url, "application/merge-patch+json", &patch).await.expect_err("a refusal");
    assert!(acting::is_about_another(&error), "{error}");
    assert!(acting::proves_nothing_happened(&error), "{error}");
    real.done().await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server: make test"]
async fn sweeping_removes_the_marks_of_a_policy_that_is_gone() {
    let real = deployed("sweep").await;
    assert_eq!(real.carry_out(&real.plan(&[Remediation::Annotate], Restart::Evict)).await, "done");
    let sets = real.api::<ReplicaSet>();
    let copies = async || {
        let sets = sets.list(&ListParams::default()).await.expect("a list").items;
        sets.iter().filter(|it| it.annotations().contains_key("grpc-hygiene.io/policy")).count()
    };
    until("a copy on the ReplicaSet", async || copies().await == 1).await;
    let policy = real.policy();
    let swept = real.as_leader(async |hands| sweep(&hands, |it| it == policy).await).await.expect("a sweep");
    assert_eq!((swept.pods, swept.workloads, swept.failed), (1, 1, 0));
    let pod = real.first_pod().await.expect("the pod");
    let deployment = real.api::<Deployment>().get("orders").await.expect("the Deployment");
    for annotations in [pod.annotations(), deployment.annotations()] {
        assert!(!annotations.keys().any(|it| it.starts_with("grpc-hygiene.io/")), "{annotations:?}");
    }
    assert_eq!(copies().await, 0);
    real.done().await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server: make test"]
async fn of_two_writers_of_the_ledger_neither_loses_an_entry() {
    let real = empty("ledger").await;
    let write = async |hands: &Hands, pod: String| {
        let book = Book { reading: &hands.reading, acting: &hands.acting, own: &real.namespace };
        book.change(|ledger, _| Ok(ledger.debited(entry_of(&pod)))).await
    };
    real.as_leader(async |hands| {
        for round in 0..20 {
            let (one, other) = tokio::join!(write(&hands, format!("a{round}")), write(&hands, format!("b{round}")));
            assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
        }
    })
    .await;
    assert_eq!(real.ledger().await.len(), 40);
    real.done().await;
}

fn entry_of(pod: &str) -> Entry {
    let fake = shop();
    let mut entry = entry(&fake, POD, State::Pending, Duration::from_secs(60));
    entry.object.name = pod.to_owned();
    entry
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server: make test"]
async fn after_the_fence_the_old_eviction_is_refused() {
    let real = deployed("fence").await;
    let pod = real.first_pod().await.expect("the pod");
    let (uid, version) = (pod.uid().expect("a UID"), pod.resource_version().expect("a version"));
    let mut entry = entry_of(&pod.name_any());
    (entry.object.uid, entry.object.resource_version) = (uid.clone(), version.clone());
    entry.namespace.clone_from(&real.namespace);
    real.as_leader(async |hands| {
        let book = Book { reading: &hands.reading, acting: &hands.acting, own: &real.namespace };
        book.change(|ledger, _| Ok(ledger.debited(entry.clone()))).await.expect("a debit");
        book.settle().await.expect("a ledger");
    })
    .await;
    assert_eq!(real.ledger().await, []);
    let error = real.evict(&uid, &version).await.expect_err("a refusal");
    assert!(acting::proves_nothing_happened(&error), "{error}");
    assert!(real.first_pod().await.is_some_and(|it| it.metadata.deletion_timestamp.is_none()));
    real.done().await;
}

#[tokio::test]
#[ignore = "needs a Kubernetes API server: make test"]
async fn of_two_candidates_one_leads_and_the_other_follows_when_it_leaves() {
    let real = empty("lease").await;
    let (one, other) = (Leadership::default(), Leadership::default());
    let clients = [&one, &other].map(|it| it.client(real.config.clone()).expect("a client"));
    let [first, second] = clients;
    let (began, begun) = tokio::sync::oneshot::channel();
    let (leave, left) = tokio::sync::oneshot::channel::<()>();
    let leading = lead(first, &one, &real.namespace, "one", async { left.await.expect("a word") }, async {
        began.send(()).expect("somebody waits");
        pending::<()>().await;
    });
    let following = async {
        begun.await.expect("the first leads");
        let both = async { assert!(!one.is_held(), "both lead") };
        let waiting = lead(second, &other, &real.namespace, "other", pending(), both);
        let leaving = async {
            // The second has asked for the lease, and still the first holds it.
            tokio::time::sleep(Duration::from_secs(4)).await;
            assert!(one.is_held() && !other.is_held());
            leave.send(()).expect("the first listens");
        };
        tokio::join!(waiting, leaving).0
    };
    let (first, second) = tokio::join!(leading, following);
    assert_eq!((first, second), (Term::Stopped, Term::Finished(())));
    let url = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/{LEASE}", real.namespace);
    assert!(real.send(Method::GET, &url, "application/json", &json!({})).await.is_ok());
    real.done().await;
}

/// The thread that everything runs on stands still, as in a process that was stopped and goes on: nothing can renew the
/// lease, and the work is the first to run again.
#[tokio::test]
#[ignore = "needs a Kubernetes API server: make test"]
async fn a_leader_that_stood_still_longer_than_the_deadline_sends_nothing_when_it_goes_on() {
    let real = deployed("pause").await;
    let outcome = real
        .as_leader(async |hands| {
            std::thread::sleep(Duration::from_millis(10_100));
            act(&hands, &policy(), &real.plan(&[Remediation::Restart], Restart::Evict), Timestamp::now()).await
        })
        .await;
    assert_eq!(word(&outcome), "NotLeader");
    assert!(real.first_pod().await.is_some());
    assert_eq!(real.ledger().await, []);
    real.done().await;
}
