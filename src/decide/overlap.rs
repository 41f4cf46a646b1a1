//! Policies that may restart the same pods. The strictest holds in every respect, and each of them says so.
//!
//! Who selects whom is remembered from each policy's last evaluation; it is no authority, for it can only forbid.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::decide::{Finding, Plan, RestartRule, Subject, approval::Approval, ledger::Limits};

/// Another policy that restarts.
#[derive(Clone, Debug, PartialEq)]
pub struct Rival {
    /// Its name, `namespace/name` or `name`.
    pub policy: String,
    /// When it restarts.
    pub rule: RestartRule,
    /// The pods that it selects, by namespace and name.
    pub pods: Arc<BTreeSet<(String, String)>>,
    /// Of the offenders that it has judged, the approval that it asks for, if it does.
    pub approved: Arc<BTreeMap<Subject, Option<Approval>>>,
}

impl Rival {
    /// A policy, with the pods that an evaluation found.
    #[must_use]
    pub fn new(policy: &str, rule: &RestartRule, findings: &[Finding]) -> Self {
        let pods = findings.iter().map(|it| key(&it.target.subject)).collect();
        Self { policy: policy.to_owned(), rule: rule.clone(), pods: Arc::new(pods), approved: Arc::default() }
    }

    /// With what its plan says about approvals.
    #[must_use]
    pub fn planned(self, plan: &Plan) -> Self {
        let approved = plan.cases.iter().map(|it| (it.target.subject.clone(), it.approvals.own.clone()));
        Self { approved: Arc::new(approved.collect()), ..self }
    }

    /// Whether it selects the subject's pod.
    #[must_use]
    pub fn selects(&self, subject: &Subject) -> bool {
        self.pods.contains(&key(subject))
    }

    /// The stricter of its limits and these.
    #[must_use]
    pub fn tighten(&self, limits: Limits) -> Limits {
        Limits {
            cooldown: limits.cooldown.max(self.rule.cooldown),
            max_per_day: limits.max_per_day.min(self.rule.max_per_day),
            ..limits
        }
    }
}

/// Those that select a pod that was judged.
#[must_use]
pub fn overlapping<'a>(rivals: &'a [Rival], findings: &[Finding]) -> Vec<&'a Rival> {
    rivals.iter().filter(|rival| findings.iter().any(|it| rival.selects(&it.target.subject))).collect()
}

fn key(subject: &Subject) -> (String, String) {
    (subject.namespace.clone(), subject.pod.clone())
}
