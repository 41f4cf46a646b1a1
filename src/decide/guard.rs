//! What the administrator allows at most. A policy is bounded by it once, right after it was parsed; the rest of the
//! program reads the bounded policy, and the guard for what no policy has a word for.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    api::{Mode, Stage},
    decide::{Policy, Windows, ledger::Rates, storm::StormRule},
};

/// The administrator's bounds. Each default bounds nothing that a policy may say, but for the rates.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// Restarts in namespace and cluster.
    pub rates: Rates,
    /// The most that a policy's mode may be: with `DryRun` nothing is done, with `Auto` it must be earned.
    pub mode: Mode,
    /// No policy's cooldown is shorter.
    pub cooldown: Duration,
    /// No policy restarts a workload more often in 24 hours.
    pub max_per_day: u32,
    /// The namespaces in which restarts may be made. `None`: all.
    pub namespaces: Option<Vec<String>>,
    /// When restarts may be made. A policy's own windows hold as well.
    pub windows: Windows,
    /// Alerts that stop all restarts while they fire, whatever namespace they are about.
    pub stand_down: BTreeSet<String>,
    /// When suspicion is mass suspicion.
    pub storm: StormRule,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            rates: Rates::default(),
            mode: Mode::Enforce,
            cooldown: Duration::ZERO,
            max_per_day: u32::MAX,
            namespaces: None,
            windows: Windows::default(),
            stand_down: BTreeSet::new(),
            storm: StormRule::default(),
        }
    }
}

impl Guard {
    /// The policy as far as the administrator allows it.
    #[must_use]
    pub fn bound(&self, mut policy: Policy) -> Policy {
        policy.mode = policy.mode.min(self.mode);
        policy.stage = policy.stage.min(Stage::at_first(policy.mode));
        if let Some(restart) = &mut policy.restart {
            restart.cooldown = restart.cooldown.max(self.cooldown);
            restart.max_per_day = restart.max_per_day.min(self.max_per_day);
        }
        policy
    }

    /// The fields of a policy that it would go beyond, for people.
    #[must_use]
    pub fn exceeded_by(&self, policy: &Policy) -> Vec<&'static str> {
        let bounded = self.bound(policy.clone());
        let (before, after) = (policy.restart.as_ref(), bounded.restart.as_ref());
        [
            ("mode", policy.mode != bounded.mode),
            ("remediation.restart.cooldown", before.map(|it| it.cooldown) != after.map(|it| it.cooldown)),
            ("remediation.restart.maxPerDay", before.map(|it| it.max_per_day) != after.map(|it| it.max_per_day)),
        ]
        .into_iter()
        .filter_map(|(field, exceeds)| exceeds.then_some(field))
        .collect()
    }

    /// Whether restarts may be made in a namespace.
    #[must_use]
    pub fn allows_in(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|all| all.iter().any(|it| it == namespace))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy() -> Policy {
        let rules = json!({"allPods": true, "mode": "Enforce",
            "remediation": {"alert": {}, "restart": {"cooldown": "10m", "maxPerDay": 5}}});
        Policy::parse(&serde_json::from_value(rules).expect("a spec")).expect("valid")
    }

    #[test]
    fn an_open_guard_bounds_nothing() {
        assert_eq!(Guard::default().bound(policy()), policy());
        assert_eq!(Guard::default().exceeded_by(&policy()), Vec::<&str>::new());
    }

    #[test]
    fn no_policy_goes_beyond_the_guard_and_what_it_asked_for_is_named() {
        let guard =
            Guard { mode: Mode::DryRun, cooldown: Duration::from_secs(3_600), max_per_day: 2, ..Guard::default() };
        let bounded = guard.bound(policy());
        let restart = bounded.restart.clone().expect("a rule");
        assert_eq!((bounded.mode, restart.cooldown, restart.max_per_day), (Mode::DryRun, guard.cooldown, 2));
        assert_eq!(
            guard.exceeded_by(&policy()),
            ["mode", "remediation.restart.cooldown", "remediation.restart.maxPerDay"]
        );
        assert_eq!(guard.exceeded_by(&bounded), Vec::<&str>::new());
    }

    #[test]
    fn a_policy_that_enforces_where_it_must_be_earned_begins_with_nothing() {
        let guard = Guard { mode: Mode::Auto, ..Guard::default() };
        let bounded = guard.bound(policy());
        assert_eq!((bounded.mode, bounded.stage), (Mode::Auto, Stage::DryRun));
        assert_eq!(guard.exceeded_by(&policy()), ["mode"]);
        let dry = Policy { mode: Mode::DryRun, stage: Stage::DryRun, ..policy() };
        assert_eq!(guard.bound(dry.clone()), dry);
    }

    #[test]
    fn of_no_namespaces_none_is_allowed() {
        assert!(Guard::default().allows_in("shop"));
        assert!(!Guard { namespaces: Some(vec![]), ..Guard::default() }.allows_in("shop"));
        assert!(Guard { namespaces: Some(vec!["shop".into()]), ..Guard::default() }.allows_in("shop"));
    }
}
