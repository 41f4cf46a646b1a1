//! The gate: who does not lead sends nothing, whenever it is that the lease goes.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use grpc_hygiene::{
    decide::{Cleared, Plan, Remediation, Restart},
    io::{
        act::act,
        leadership::{Leadership, Term, lead},
    },
};
use http::Method;
use serde_json::json;

use crate::{
    fake::{Answer, Fake},
    world::{EVICTION, LEDGER, OWN, case, hands, now, plan, policy, shop, states, word},
};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/hygiene/leases/grpc-hygiene";

fn everything() -> Plan {
    let cases = vec![case("orders", &[Remediation::Annotate, Remediation::Restart], Restart::Evict)];
    let subject = case("users", &[], Restart::Evict).target.subject;
    Plan { cleared: Cleared { pods: vec![subject], workloads: Vec::new() }, ..plan(cases) }
}

#[tokio::test]
async fn who_does_not_lead_changes_nothing() {
    let fake = shop();
    let outcomes = act(&hands(&fake, &Leadership::default()), &policy(), &everything(), now()).await;
    assert_eq!(word(&outcomes[..1]), "NotLeader");
    assert_eq!(word(&outcomes[1..]), "NotLeader");
    assert_eq!(fake.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn the_work_begins_with_the_lease_and_the_lease_is_released_after_it() {
    let (fake, leadership) = (Fake::default(), Leadership::default());
    let work = async { leadership.is_held() };
    let term = lead(fake.election(&leadership), &leadership, OWN, "us", pending(), work).await;
    assert_eq!(term, Term::Finished(true));
    assert!(!leadership.is_held(), "the release was a successful write and must not count");
    assert!(fake.object(LEASE).expect("a lease")["spec"]["holderIdentity"].is_null());
}

#[tokio::test]
async fn shutdown_drops_the_work_and_then_releases_the_lease() {
    struct Dropped(Fake, Arc<AtomicBool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let held = self.0.object(LEASE).is_some_and(|it| it["spec"]["holderIdentity"] == "us");
            self.1.store(held, Ordering::SeqCst);
        }
    }
    let (fake, leadership) = (Fake::default(), Leadership::default());
    let held_when_dropped = Arc::new(AtomicBool::new(false));
    let (started, begun) = tokio::sync::oneshot::channel();
    let guard = Dropped(fake.clone(), Arc::clone(&held_when_dropped));
    let work = async move {
        let _guard = guard;
        started.send(()).expect("somebody waits");
        pending::<()>().await;
    };
    let shutdown = async { begun.await.expect("the work begins") };
    let term = lead(fake.election(&leadership), &leadership, OWN, "us", shutdown, work).await;
    assert_eq!(term, Term::Stopped);
    assert!(held_when_dropped.load(Ordering::SeqCst), "the work ends before the lease does");
    assert!(fake.object(LEASE).expect("a lease")["spec"]["holderIdentity"].is_null());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_took_ends_the_work() {
    let (fake, leadership) = (Fake::default(), Leadership::default());
    let thief = fake.clone();
    let work = async {
        thief.touch(LEASE, &json!({"spec": {"holderIdentity": "them"}}));
        pending::<()>().await;
    };
    let term = lead(fake.election(&leadership), &leadership, OWN, "us", pending(), work).await;
    assert_eq!(term, Term::Lost);
    assert!(!leadership.is_held());
}

#[tokio::test]
async fn a_lease_that_ends_between_debit_and_eviction_stops_the_eviction_at_the_wire() {
    let fake = shop();
    let leadership = Leadership::default();
    let hands = hands(&fake, &leadership);
    let lease = Fake::default();
    // The work ends while the debit is under way; what acts goes on outside of it, as nothing should.
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let (over, was_over) = std::sync::mpsc::channel::<()>();
    let gate = leadership.clone();
    fake.script(Method::PUT, LEDGER, Answer::Late(Duration::from_millis(50)));
    let leading = async {
        lead(lease.election(&leadership), &leadership, OWN, "us", pending(), async { ended.await.ok() }).await;
        over.send(()).expect("somebody waits");
    };
    let acting = async {
        while !gate.is_held() {
            tokio::task::yield_now().await;
        }
        let plan = plan(vec![case("orders", &[Remediation::Restart], Restart::Evict)]);
        let (policy, at) = (policy(), now());
        let act = act(&hands, &policy, &plan, at);
        let stop = async {
            while !fake.writes().contains(&format!("PUT {LEDGER}")) {
                tokio::task::yield_now().await;
            }
            end.send(()).expect("the work waits");
        };
        tokio::join!(act, stop).0
    };
    let ((), outcomes) = tokio::join!(leading, acting);
    assert!(was_over.try_recv().is_ok());
    assert_eq!(word(&outcomes), "NotLeader");
    assert!(!fake.writes().contains(&format!("POST {EVICTION}")));
    assert_eq!(states(&fake).await.len(), 1, "who does not lead cannot settle; the next leader finds the entry");
}
