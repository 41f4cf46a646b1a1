//! Restarts: look once more, debit the ledger, send one request, settle the ledger. Whatever goes wrong on the way
//! leaves either nothing, or an entry that forbids the next restart until its fate is known.
//!
//! The protocol is the one of the checked budget model: the debit is a compare-and-swap before the act, and an answer
//! that is not definite settles nothing.

use std::{sync::atomic::Ordering, time::Duration};

use futures::future::{join_all, join3};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        apps::v1::ReplicaSet,
        core::v1::{Pod, PodCondition},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Api, Error, ResourceExt};
use tokio::time::timeout;
use tracing::{info, warn};

use super::{FRESH, Hands, evict, rollout};
use crate::{
    api::{ApprovalRule, Stage, names::annotations},
    decide::{
        Because, Case, Decision, Others, Outcome, Plan, Policy, Remediation, Restart, RestartRule, Standing, Subject,
        Workload, WorkloadState,
        approval::Asked,
        ledger::{Entry, Evidence, Ledger, Limits, Object, State},
        not_reverted, protection, wish,
    },
    io::{
        acting::{self, Deadline, Refused, because},
        pods::{controller, is_drain, kind},
        switch, workload,
    },
};

/// A look older than this is not acted upon: a refused eviction can still spend somebody's `PodDisruptionBudget`.
const LOOK: Duration = Duration::from_secs(2);
/// The clocks of the API server and of this operator may differ by so much.
pub const SKEW: SignedDuration = SignedDuration::from_secs(6);

/// Carries out the restarts of a plan, one after the other. One that fails does not stop the others.
pub(super) async fn all(
    hands: &Hands,
    policy: &Policy,
    plan: &Plan,
    deadline: Deadline,
    now: Timestamp,
) -> Vec<Outcome> {
    let rule = policy.restart.as_ref().filter(|_| plan.stage == Stage::Restart);
    let (Some(rule), Some(limits)) = (rule, &plan.limits) else { return Vec::new() };
    let mut outcomes = Vec::new();
    for case in &plan.cases {
        if let Some(how) = wanted(case) {
            let order = Order {
                hands,
                rule,
                limits,
                others: &plan.others,
                policy: &plan.policy,
                generation: plan.generation,
                case,
                how,
                deadline,
                now,
            };
            let subject = case.target.subject.clone();
            outcomes.push(Outcome { subject, remediation: Remediation::Restart, result: order.carry_out().await });
        }
    }
    outcomes
}

fn wanted(case: &Case) -> Option<Restart> {
    case.rungs.iter().find(|it| it.remediation == Remediation::Restart && it.decision == Decision::Do)?.restart
}

/// One restart that is to be made.
struct Order<'a> {
    hands: &'a Hands,
    rule: &'a RestartRule,
    limits: &'a Limits,
    others: &'a Others,
    policy: &'a str,
    generation: Option<i64>,
    case: &'a Case,
    how: Restart,
    deadline: Deadline,
    now: Timestamp,
}

impl Order<'_> {
    async fn carry_out(&self) -> Result<(), Because> {
        let workload = self.case.target.workload.as_ref().ok_or(Because::NoWorkload)?;
        let late = |_| Because::Changed { what: Refused::TooLate.to_string() };
        let approved = timeout(LOOK, self.is_still_wanted(workload)).await.map_err(late)??;
        let fresh = self.deadline.or(Deadline::after(LOOK));
        let (object, state) = timeout(LOOK, self.look(workload)).await.map_err(late)??;
        let at = self.debit(workload, &object, &state, approved).await?;
        let request = self.request(workload, &object, at).map_err(|error| because(&error))?;
        let sent = acting::send(&self.hands.acting, request, fresh).await;
        self.settle(workload, &object, &sent).await;
        sent.map_err(|error| because(&error))
    }

    /// People may have stopped it since the plan was made, or taken an approval back. Until when it is approved is
    /// returned, if that is needed.
    async fn is_still_wanted(&self, workload: &Workload) -> Result<Option<Timestamp>, Because> {
        let (reading, Asked { own, others }) = (&self.hands.reading, &self.case.approvals);
        let (on, own, others) = join3(
            switch::is_on(reading, &self.hands.namespace, &workload.namespace),
            switch::still_stands(reading, self.policy, self.generation, own.as_ref(), self.now),
            join_all(others.iter().map(|it| switch::still_approved(reading, it, self.now))),
        )
        .await;
        on?;
        let others = others.into_iter().collect::<Result<Vec<Timestamp>, Because>>()?;
        Ok(others.into_iter().chain(own?).min())
    }

    /// The object of the request as it is now, if nothing has come up since the plan was made.
    async fn look(&self, workload: &Workload) -> Result<(Object, WorkloadState), Because> {
        let subject = &self.case.target.subject;
        let pods: Api<Pod> = Api::namespaced(self.hands.reading.clone(), &subject.namespace);
        let gone = || Because::Changed { what: "the pod is gone".to_owned() };
        let pod = pods.get_opt(&subject.pod).await.map_err(|it| because(&it))?.ok_or_else(gone)?;
        is_still_fit(&pod, subject)?;
        let state = match workload::standing(&self.hands.reading, workload, &subject.pod).await {
            Standing::Known(state) => state,
            Standing::Unknown(reason) => return Err(Because::WorkloadUnknown { reason }),
        };
        self.is_still_owned(&pod, workload, &state.uid).await?;
        self.others.let_disturb(self.rule, (self.case, workload), self.how, &state, self.now)?;
        let object = match self.how {
            Restart::Evict => Object {
                kind: "Pod".to_owned(),
                name: subject.pod.clone(),
                uid: subject.uid.clone(),
                resource_version: pod.resource_version().unwrap_or_default(),
                generation: None,
            },
            Restart::Rollout => Object {
                kind: workload.kind.clone(),
                name: workload.name.clone(),
                uid: state.uid.clone(),
                resource_version: state.resource_version.clone(),
                generation: state.generation,
            },
        };
        Ok((object, state))
    }

    /// The chain of owners, by UID: a name may have been given to something else.
    async fn is_still_owned(&self, pod: &Pod, workload: &Workload, uid: &str) -> Result<(), Because> {
        let changed = || Because::Changed { what: "the pod's owner".to_owned() };
        let is = |it: &OwnerReference| kind(it) == workload.kind && it.name == workload.name && it.uid == uid;
        let owner = controller(pod.metadata.owner_references.as_deref()).ok_or_else(changed)?;
        if is(owner) {
            return Ok(());
        }
        if kind(owner) != "ReplicaSet" {
            return Err(changed());
        }
        let sets: Api<ReplicaSet> = Api::namespaced(self.hands.reading.clone(), &workload.namespace);
        let set = sets.get_metadata_opt(&owner.name).await.map_err(|it| because(&it))?.ok_or_else(changed)?.metadata;
        let is_owner = set.uid.as_ref() == Some(&owner.uid);
        let top = controller(set.owner_references.as_deref());
        if is_owner && top.is_some_and(is) { Ok(()) } else { Err(changed()) }
    }

    fn request(&self, workload: &Workload, object: &Object, at: Timestamp) -> Result<http::Request<Vec<u8>>, Error> {
        match workload::resource(&object.kind) {
            Some(resource) => rollout::request(&resource, &workload.namespace, object, at),
            None => evict::request(&workload.namespace, object),
        }
    }

    /// Writes the restart into the ledger, if it allows it at the API server's time, which is returned.
    async fn debit(
        &self,
        workload: &Workload,
        object: &Object,
        state: &WorkloadState,
        approved: Option<Timestamp>,
    ) -> Result<Timestamp, Because> {
        let recorded = self.rule.approval != ApprovalRule::None || !self.case.approvals.is_empty();
        let wish = wish(self.policy, &self.case.target, workload, state);
        let debited = |ledger: &Ledger, at: Timestamp| {
            self.is_still_fresh(at)?;
            self.others.are_open(self.rule, self.case, at)?;
            if approved.is_some_and(|until| until <= at) {
                return Err(Because::Changed { what: "the approval has expired".to_owned() });
            }
            if self.how == Restart::Rollout {
                not_reverted(ledger, workload, state, at)?;
            }
            ledger.allows(&wish, self.limits, at)?;
            let entry = Entry {
                namespace: wish.namespace.clone(),
                workload: wish.workload.clone(),
                revision: wish.revision.clone(),
                diagnosis: recorded.then(|| self.case.growth.diagnosis.name().to_owned()),
                object: object.clone(),
                policy: wish.policy.clone(),
                at,
                state: State::Pending,
            };
            Ok(ledger.pruned(at).debited(entry))
        };
        let at = self.hands.book().change(debited).await;
        // Whatever becomes of it, somebody looks after it.
        self.hands.settled.store(false, Ordering::Relaxed);
        at
    }

    /// By the API server's clock, too, the plan was made just now.
    fn is_still_fresh(&self, at: Timestamp) -> Result<(), Because> {
        let age = at.duration_since(self.now);
        if age < -SKEW || age > FRESH + SKEW {
            return Err(Because::ClockSkew { seconds: age.as_secs() });
        }
        Ok(())
    }

    /// Settles the ledger when the answer is definite; else the entry stays, and a later evaluation looks for evidence.
    async fn settle(&self, workload: &Workload, object: &Object, sent: &Result<(), Error>) {
        let (namespace, kind, name) = (&workload.namespace, &object.kind, &object.name);
        let evidence = match sent {
            Ok(()) => Evidence::Happened,
            Err(error) if acting::proves_nothing_happened(error) => Evidence::CanNoLongerHappen,
            Err(_) => Evidence::MayStillHappen,
        };
        info!(policy = self.policy, namespace, kind, name, how = ?self.how, ?evidence, "restart requested");
        if evidence == Evidence::MayStillHappen {
            return;
        }
        if let Err(because) = self.hands.book().change(|it, now| Ok(it.settled(object, evidence, now))).await {
            warn!(policy = self.policy, namespace, kind, name, %because, "the restart stays unsettled in the ledger");
        }
    }
}

/// Whether the pod is the one that was judged, and well enough to be disturbed.
fn is_still_fit(pod: &Pod, subject: &Subject) -> Result<(), Because> {
    let changed = |what: &str| Err(Because::Changed { what: what.to_owned() });
    if subject.uid.is_empty() || pod.metadata.uid.as_ref() != Some(&subject.uid) {
        return changed("another pod has its name now");
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return changed("the pod is being terminated");
    }
    if pod.annotations().get(annotations::EXEMPT).is_some_and(|it| it == "true") {
        return Err(Because::Exempt);
    }
    let class = pod.spec.as_ref().and_then(|it| it.priority_class_name.as_deref());
    if let Some(by) = protection(pod.annotations(), class) {
        return Err(Because::Protected { by });
    }
    let status = pod.status.clone().unwrap_or_default();
    let drains = |it: &PodCondition| is_drain(&it.type_, &it.status, it.reason.as_deref().unwrap_or_default());
    if status.conditions.iter().flatten().any(drains) {
        return Err(Because::Draining { pod: subject.pod.clone() });
    }
    let ready = status.conditions.iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True");
    if ready && status.phase.as_deref() == Some("Running") { Ok(()) } else { Err(Because::PodNotReady) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_is_another_or_unwell_is_not_disturbed() {
        let subject =
            Subject { namespace: "shop".into(), pod: "orders-1".into(), uid: "u1".into(), container: "app".into() };
        let pod = |uid: &str, phase: &str, ready: &str| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "orders-1", "uid": uid},
                "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
            }))
            .expect("a pod")
        };
        assert_eq!(is_still_fit(&pod("u1", "Running", "True"), &subject), Ok(()));
        assert!(matches!(is_still_fit(&pod("u2", "Running", "True"), &subject), Err(Because::Changed { .. })));
        assert_eq!(is_still_fit(&pod("u1", "Running", "False"), &subject), Err(Because::PodNotReady));
        assert_eq!(is_still_fit(&pod("u1", "Pending", "True"), &subject), Err(Because::PodNotReady));
        let mut drained = pod("u1", "Running", "True");
        let condition =
            serde_json::json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"});
        let conditions = drained.status.as_mut().and_then(|it| it.conditions.as_mut()).expect("conditions");
        conditions.push(serde_json::from_value(condition).expect("a condition"));
        assert_eq!(is_still_fit(&drained, &subject), Err(Because::Draining { pod: "orders-1".into() }));
        let nobody = Subject { uid: String::new(), ..subject };
        assert!(is_still_fit(&pod("", "Running", "True"), &nobody).is_err());
    }
}
