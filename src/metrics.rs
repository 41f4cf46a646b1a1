//! The operator's own metrics, prefixed `grpc_hygiene_`. `docs/alerts.md` lists them for users.
//!
//! No pod, no error text and nothing else unbounded is a label; violations are labelled by workload and only while
//! they last.

use std::sync::{Mutex, atomic::AtomicU64};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use crate::{
    api::Stage,
    decide::{Because, Decision, Finding, Outcome, Plan, Verdict},
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PolicyLabel {
    policy: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VerdictLabels {
    policy: String,
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct ViolationLabels {
    namespace: String,
    workload_kind: String,
    workload: String,
    diagnosis: &'static str,
    policy: String,
    severity: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RemediationLabels {
    remediation: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WithheldLabels {
    remediation: &'static str,
    because: &'static str,
}

/// All metrics, and the registry that prints them.
pub struct Metrics {
    registry: Registry,
    evaluations: Family<ResultLabel, Counter>,
    evaluation_seconds: Histogram,
    last_evaluation: Family<PolicyLabel, Gauge<f64, AtomicU64>>,
    targets: Family<VerdictLabels, Gauge>,
    violations: Family<ViolationLabels, Gauge>,
    violating: Mutex<Vec<ViolationLabels>>,
    remediations: Family<RemediationLabels, Counter>,
    withheld: Family<WithheldLabels, Counter>,
    alerts_sent: Family<ResultLabel, Counter>,
    queries: Family<ResultLabel, Counter>,
    leader: Gauge,
    autonomy_stage: Family<PolicyLabel, Gauge>,
}

const VERDICTS: [&str; 3] = ["healthy", "violating", "inconclusive"];

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("grpc_hygiene");
        let metrics = Self {
            evaluations: Family::default(),
            // Seconds: an evaluation is a handful of queries.
            evaluation_seconds: Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]),
            last_evaluation: Family::default(),
            targets: Family::default(),
            violations: Family::default(),
            violating: Mutex::default(),
            remediations: Family::default(),
            withheld: Family::default(),
            alerts_sent: Family::default(),
            queries: Family::default(),
            leader: Gauge::default(),
            autonomy_stage: Family::default(),
            registry: Registry::default(),
        };
        registry.register("build", "The version that runs", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("evaluations", "Evaluations of policies by result", metrics.evaluations.clone());
        registry.register("evaluation_seconds", "Duration of an evaluation", metrics.evaluation_seconds.clone());
        registry.register(
            "last_evaluation_timestamp_seconds",
            "When a policy was last evaluated",
            metrics.last_evaluation.clone(),
        );
        registry.register("targets", "Containers by policy and verdict", metrics.targets.clone());
        registry.register("violation", "1 while a workload breaks a policy", metrics.violations.clone());
        registry.register("remediations", "Remediations tried, by result", metrics.remediations.clone());
        registry.register("withheld", "Remediations withheld, by reason", metrics.withheld.clone());
        registry.register("alerts_sent", "Alerts sent to Alertmanagers, by result", metrics.alerts_sent.clone());
        registry.register("queries", "Queries to the metrics backend, by result", metrics.queries.clone());
        registry.register(
            "autonomy_stage",
            "What a policy with mode Auto may do: 0 nothing, 1 alert, 2 restart",
            metrics.autonomy_stage.clone(),
        );
        registry.register("leader", "1 while this replica leads", metrics.leader.clone());
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// Counts an evaluation and its duration.
    pub fn evaluated(&self, policy: &str, result: &'static str, seconds: f64, at: f64) {
        self.evaluations.get_or_create(&ResultLabel { result }).inc();
        self.evaluation_seconds.observe(seconds);
        // A policy that cannot be evaluated must look stale.
        if result == "success" {
            self.last_evaluation.get_or_create(&PolicyLabel { policy: policy.to_owned() }).set(at);
        }
    }

    /// Shows what an evaluation found and did.
    pub fn judged(&self, plan: &Plan, findings: &[Finding], outcomes: &[Outcome], severity: &str) {
        let is = |wanted: fn(&Verdict) -> bool| findings.iter().filter(|it| wanted(&it.verdict)).count();
        let counts = [
            is(|it| matches!(it, Verdict::Healthy)),
            is(|it| matches!(it, Verdict::Growing(_))),
            is(|it| matches!(it, Verdict::Inconclusive(_))),
        ];
        for (verdict, count) in VERDICTS.into_iter().zip(counts) {
            let labels = VerdictLabels { policy: plan.policy.clone(), verdict };
            self.targets.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.show_violations(plan, severity);
        for rung in plan.cases.iter().flat_map(|it| &it.rungs) {
            if let Decision::Withheld(because) = &rung.decision {
                let labels = WithheldLabels { remediation: rung.remediation.name(), because: because.reason() };
                self.withheld.get_or_create(&labels).inc();
            }
        }
        for outcome in outcomes {
            let result = outcome.result.as_ref().map_or_else(Because::reason, |()| "success");
            self.remediations
                .get_or_create(&RemediationLabels { remediation: outcome.remediation.name(), result })
                .inc();
        }
    }

    /// Shows what a policy with `mode: Auto` has earned; of another policy nothing.
    pub fn trusted(&self, policy: &str, stage: Option<Stage>) {
        let labels = PolicyLabel { policy: policy.to_owned() };
        let value = match stage {
            None => {
                self.autonomy_stage.remove(&labels);
                return;
            }
            Some(Stage::DryRun) => 0,
            Some(Stage::Alert) => 1,
            Some(Stage::Restart) => 2,
        };
        self.autonomy_stage.get_or_create(&labels).set(value);
    }

    /// Forgets a policy that is gone.
    pub fn forget(&self, policy: &str) {
        self.trusted(policy, None);
        self.last_evaluation.remove(&PolicyLabel { policy: policy.to_owned() });
        for verdict in VERDICTS {
            self.targets.remove(&VerdictLabels { policy: policy.to_owned(), verdict });
        }
        self.replace_violations(policy, Vec::new());
    }

    /// Counts alerts that were sent, by result.
    pub fn alerts_sent(&self, result: &'static str, count: u64) {
        self.alerts_sent.get_or_create(&ResultLabel { result }).inc_by(count);
    }

    /// Counts queries, by result.
    pub fn queried(&self, result: &'static str, count: u64) {
        self.queries.get_or_create(&ResultLabel { result }).inc_by(count);
    }

    /// Shows whether this replica leads.
    pub fn leading(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// The page that Prometheus reads, in OpenMetrics text.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn page(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn show_violations(&self, plan: &Plan, severity: &str) {
        let labels = plan.cases.iter().map(|it| {
            let workload = it.target.workload.as_ref();
            ViolationLabels {
                namespace: it.target.subject.namespace.clone(),
                workload_kind: workload.map_or_else(|| "Pod".to_owned(), |it| it.kind.clone()),
                workload: workload.map_or_else(|| it.target.subject.pod.clone(), |it| it.name.clone()),
                diagnosis: it.growth.diagnosis.name(),
                policy: plan.policy.clone(),
                severity: severity.to_owned(),
            }
        });
        self.replace_violations(&plan.policy, labels.collect());
    }

    fn replace_violations(&self, policy: &str, mut labels: Vec<ViolationLabels>) {
        labels.sort();
        labels.dedup();
        let Ok(mut shown) = self.violating.lock() else { return };
        for gone in shown.iter().filter(|it| it.policy == policy && !labels.contains(it)) {
            self.violations.remove(gone);
        }
        shown.retain(|it| it.policy != policy);
        for label in &labels {
            self.violations.get_or_create(label).set(1);
        }
        shown.extend(labels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_what_was_counted_under_its_documented_name() {
        let metrics = Metrics::default();
        metrics.evaluated("shop/clients", "success", 0.2, 1_800_000_000.0);
        metrics.leading(true);
        let page = metrics.page().expect("a page");
        assert!(page.contains(r#"grpc_hygiene_evaluations_total{result="success"} 1"#), "{page}");
        assert!(page.contains("grpc_hygiene_build_info{version="), "{page}");
        assert!(page.contains("grpc_hygiene_leader 1"), "{page}");
    }

    #[test]
    fn a_policy_that_is_gone_leaves_no_series() {
        let metrics = Metrics::default();
        metrics.evaluated("shop/clients", "success", 0.2, 1.0);
        metrics.trusted("shop/clients", Some(Stage::Alert));
        assert!(metrics.page().expect("a page").contains(r#"grpc_hygiene_autonomy_stage{policy="shop/clients"} 1"#));
        metrics.forget("shop/clients");
        assert!(!metrics.page().expect("a page").contains("shop/clients"));
    }
}
