//! Acting: carries out a plan to the letter and says what became of each step. Only what the plan says `Do` is done;
//! every step looks before it writes, so that doing it again does nothing. Nothing is decided here.
//!
//! The order is the ladder's: annotations, alerts, restarts; then what is to be removed. Nothing is spawned: when the
//! lease is lost, this future is dropped and with it everything that it does.

mod annotate;
mod evict;
mod restart;
mod rollout;

pub(super) use annotate::{patch, removal};
pub(super) use restart::SKEW;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use tracing::{debug, info, warn};

use crate::{
    api::{GrpcClientPolicyStatus, Stage},
    decide::{Because, Case, Outcome, Plan, Policy, Remediation, concerns, ledger::Ledger},
    io::{acting::Deadline, ledger::Book, notify::Alerts},
};

/// What is not begun so long after the plan was made is not begun at all: the world has moved on.
const FRESH: SignedDuration = SignedDuration::from_secs(30);

/// What acting takes. It holds no state but the alerts that are to be kept alive.
#[derive(Clone)]
pub struct Hands {
    /// Reads. May retry.
    pub reading: Client,
    /// Writes: [`crate::io::acting::client`].
    pub acting: Client,
    /// The alerts, as all policies want them.
    pub alerts: Alerts,
    /// The operator's own namespace, where the ledger is.
    pub namespace: String,
    /// Whether the ledger was seen to stand with nothing open in it, so that nobody looks again while nobody offends.
    pub settled: Arc<AtomicBool>,
}

impl Hands {
    fn book(&self) -> Book<'_> {
        Book { reading: &self.reading, acting: &self.acting, own: &self.namespace }
    }
}

/// Carries out a plan. `now` is the time the plan was made at; it stands on the restarts.
///
/// A plan of a dry run is not carried out, and one below the stage of restarts restarts nobody, whatever it says.
pub async fn act(hands: &Hands, policy: &Policy, plan: &Plan, now: Timestamp) -> Vec<Outcome> {
    if plan.stage == Stage::DryRun {
        return Vec::new();
    }
    let deadline = Deadline::after(FRESH.unsigned_abs());
    note_storm(hands, policy, plan).await;
    let mut outcomes = annotate::mark(hands, plan, deadline).await;
    outcomes.extend(alert(hands, plan).await);
    outcomes.extend(restart::all(hands, policy, plan, deadline, now).await);
    annotate::clear(hands, plan, deadline).await;
    for Outcome { subject, remediation: step, result } in &outcomes {
        let (namespace, pod, remediation) = (&subject.namespace, &subject.pod, step.name());
        match result {
            Err(because @ Because::Collapsed { .. }) => {
                debug!(policy = plan.policy, namespace, pod, remediation, %because, "summed up");
            }
            // Annotations and alerts are kept up at every evaluation; a restart happens once.
            Ok(()) if *step == Remediation::Restart => info!(policy = plan.policy, namespace, pod, remediation, "done"),
            Ok(()) => debug!(policy = plan.policy, namespace, pod, remediation, "kept up"),
            Err(because) => {
                warn!(policy = plan.policy, namespace, pod, remediation, reason = because.reason(), %because, "not done");
            }
        }
    }
    outcomes
}

/// Begins the ledger, if it has not begun, and settles what earlier restarts left open, so that the next plan is made
/// with it. Writes to the cluster: only for who may restart. The ledger is begun before the first offender comes, for it allows
/// nothing at first; afterwards a policy without offenders has no use for it.
pub async fn settle(hands: &Hands, policy: &Policy, before: Option<&GrpcClientPolicyStatus>) {
    if policy.stage != Stage::Restart || policy.restart.is_none() {
        return;
    }
    let offends = before.is_some_and(|it| !it.offenders.is_empty());
    if !offends && hands.settled.load(Ordering::Relaxed) {
        return;
    }
    match hands.book().settle().await {
        Ok(all) => hands.settled.store(all, Ordering::Relaxed),
        Err(because) => warn!(%because, "the ledger was not settled"),
    }
}

/// A storm stops everybody's restarts, so it stands in the ledger that all of them are debited in.
async fn note_storm(hands: &Hands, policy: &Policy, plan: &Plan) {
    let may = policy.restart.as_ref().filter(|_| plan.stage == Stage::Restart);
    let (Some(why), Some(limits), Some(_)) = (&plan.storm, &plan.limits, may) else { return };
    warn!(policy = plan.policy, why, "a storm: nobody is restarted");
    let stormy = |ledger: &Ledger, now| Ok(ledger.stormy(&plan.policy, why, limits.rates.calm, now));
    if let Err(because) = hands.book().change(stormy).await {
        warn!(policy = plan.policy, %because, "the storm could not be written into the ledger");
    }
}

/// Puts up the alerts, firing and resolved, and waits a moment for the first receiver to take them.
async fn alert(hands: &Hands, plan: &Plan) -> Vec<Outcome> {
    let news = hands.alerts.set(&plan.policy, plan.alerts.clone());
    let alerting: Vec<_> = plan.cases.iter().filter(|it| it.does(Remediation::Alert)).collect();
    if alerting.is_empty() {
        return Vec::new();
    }
    let result = hands.alerts.delivered(news).await.map_err(|reason| Because::RequestFailed { reason });
    // Whom the summary stands for was not told of by an alert of its own, and nobody is restarted on the strength of it.
    let records = hands.alerts.noted(&plan.policy, plan.alerts.clone());
    let summary = |case: &Case| {
        let firing = records.iter().filter(|it| it.ends_at.is_none());
        firing.filter(|it| concerns(it, &case.target)).find_map(|it| it.collapsed.clone())
    };
    let result_of =
        |case: &Case| summary(case).map_or(result.clone(), |it| Err(Because::Collapsed { since: it.since.0 }));
    let outcome = |it: &Case| Outcome {
        subject: it.target.subject.clone(),
        remediation: Remediation::Alert,
        result: result_of(it),
    };
    alerting.into_iter().map(outcome).collect()
}
