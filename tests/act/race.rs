//! The election under fire, and what holds without it, on a real API server: two candidates reach for one lease at the same
//! time two hundred times; and two that both lead restart no more than one would.

use std::{
    future::pending,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use futures::future::{join_all, select};
use grpc_hygiene::{
    decide::{Remediation, Restart, ledger::State},
    io::{
        act::act,
        leadership::{LEASE, Leadership, Term, lead},
    },
};
use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{
    ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    real::{Real, deployed, empty},
    world::{policy, word},
};

/// Lanes run side by side, each with a lease of its own; the races of a lane follow each other.
const LANES: usize = 10;
const RACES_OF_A_LANE: usize = 20;

/// How candidates find the lease: not at all, given back, or left by somebody who died.
const FOUND: [fn() -> Option<Value>; 3] = [
    || None,
    || Some(json!({"holderIdentity": "", "leaseDurationSeconds": 1})),
    || Some(json!({"holderIdentity": "dead", "leaseDurationSeconds": 1, "renewTime": "2026-01-01T00:00:00.000000Z"})),
];

/// Who is in office, and how many were at once.
#[derive(Default)]
struct Offices {
    now: AtomicUsize,
    most: AtomicUsize,
    terms: AtomicUsize,
}

impl Offices {
    async fn serve(&self) {
        self.most.fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
        self.terms.fetch_add(1, SeqCst);
        // Long enough for the other's answer to arrive.
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.now.fetch_sub(1, SeqCst);
    }
}

async fn race(real: &Real, found: Option<Value>, offices: &Offices) {
    let leases = real.api::<Lease>();
    let url = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/{LEASE}", real.namespace);
    // There is none before the first race.
    let _ = real.send(Method::DELETE, &url, "application/json", &json!({})).await;
    if let Some(spec) = found {
        let lease = json!({"metadata": {"name": LEASE}, "spec": spec});
        let lease = serde_json::from_value(lease).expect("a lease");
        leases.create(&PostParams::default(), &lease).await.expect("a lease");
    }
    let (one, other) = (Leadership::default(), Leadership::default());
    let candidate = |leadership: Leadership, identity: &'static str| async move {
        let client = leadership.client(real.config.clone()).expect("a client");
        lead(client, &leadership, &real.namespace, identity, pending(), offices.serve()).await
    };
    let both = select(Box::pin(candidate(one, "one")), Box::pin(candidate(other, "other")));
    let (term, _) = tokio::time::timeout(Duration::from_secs(30), both).await.expect("somebody leads").factor_first();
    assert_eq!(term, Term::Finished(()));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: make test"]
async fn of_two_candidates_never_both_lead_in_two_hundred_races() {
    let lane = async |n: usize| {
        let (real, offices) = (empty(&format!("race-{n}")).await, Offices::default());
        for round in 0..RACES_OF_A_LANE {
            race(&real, FOUND[(n + round) % FOUND.len()](), &offices).await;
        }
        real.done().await;
        (offices.most.load(SeqCst), offices.terms.load(SeqCst))
    };
    let lanes = join_all((0..LANES).map(lane)).await;
    let terms: usize = lanes.iter().map(|(_, terms)| terms).sum();
    println!("{} races, {terms} terms", LANES * RACES_OF_A_LANE);
    assert!(terms >= LANES * RACES_OF_A_LANE, "somebody led in every race");
    assert!(lanes.iter().all(|(most, _)| *most == 1), "both led at once: {lanes:?}");
}

/// Each holds a lease of its own, so both are sure that they lead; each wants another pod of the same workload.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes API server: make test"]
async fn two_that_both_lead_restart_no_more_than_one_would() {
    let (real, elsewhere) = (deployed("both").await, empty("both-lease").await);
    let strike = async |place: &str, pod: usize| {
        let leadership = Leadership::default();
        let client = leadership.client(real.config.clone()).expect("a client");
        let (hands, mut plan) = (real.hands(&leadership), real.plan(&[Remediation::Restart], Restart::Evict));
        let subject = &mut plan.cases[0].target.subject;
        (subject.pod, subject.uid) = (real.pods[pod].name_any(), real.pods[pod].uid().expect("a UID"));
        let work = async { act(&hands, &policy(), &plan, Timestamp::now()).await };
        match lead(client, &leadership, place, "us", pending(), work).await {
            Term::Finished(outcomes) => word(&outcomes),
            Term::Lost | Term::Stopped => panic!("the lease was lost"),
        }
    };
    let (one, other) = tokio::join!(strike(&real.namespace, 0), strike(&elsewhere.namespace, 1));
    assert!([one, other].contains(&"done") && one != other, "{one} and {other}");
    let left = real.api::<Pod>().list(&ListParams::default()).await.expect("pods").items;
    let lives = |it: &&Pod| left.iter().any(|pod| pod.uid() == it.uid() && pod.metadata.deletion_timestamp.is_none());
    assert_eq!(real.pods.iter().filter(lives).count(), 1, "{left:?}");
    assert_eq!(real.ledger().await, [State::Confirmed]);
    real.done().await;
    elsewhere.done().await;
}
