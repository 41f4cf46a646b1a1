//! Alerts that stop restarts while they fire. What counts is that their rules are known to be quiet: an empty answer, a
//! rule that is not there, is unwell or was not evaluated lately is no quiet one. `io` asks the metrics backend.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::StandDownSpec,
    decide::{Because, Guard, InvalidPolicy, RestartRule, overlap::Rival},
};

/// The most alerts of a policy.
const MOST: usize = 20;
/// The longest name.
const LONGEST: usize = 128;
/// A rule that was evaluated longer ago says nothing about now.
const LATELY: SignedDuration = SignedDuration::from_mins(5);

/// An alerting rule, as the metrics backend tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertingRule {
    /// The alert's name. Several rules may have the same.
    pub name: String,
    /// `inactive`, `pending` or `firing`.
    pub state: String,
    /// `ok` when the newest evaluation went well.
    pub health: String,
    /// When it was evaluated last.
    pub evaluated: Option<Timestamp>,
    /// The alerts of it that fire.
    pub firing: Vec<Firing>,
}

/// An alert that fires.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firing {
    /// The namespace that it is about, if it is about one.
    pub namespace: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// The rules that were asked for, or why they are not known.
pub type Told = Result<Vec<AlertingRule>, String>;

/// Reads the names of alerts. `field` is the list's.
///
/// # Errors
/// There is none, or one cannot be the name of an alert.
pub fn parse(field: &'static str, spec: &StandDownSpec) -> Result<BTreeSet<String>, InvalidPolicy> {
    let StandDownSpec { alerts } = spec;
    if alerts.is_empty() || alerts.len() > MOST {
        let problem = format!("has {} alerts: give 1 to {MOST}, or leave standDown out", alerts.len());
        return Err(InvalidPolicy { field, problem });
    }
    let is_name = |it: &str| it.trim() == it && (1..=LONGEST).contains(&it.len()) && !it.chars().any(char::is_control);
    match alerts.iter().find(|it| !is_name(it)) {
        None => Ok(alerts.iter().cloned().collect()),
        Some(it) => {
            let problem = format!("{it:?} is no alert's name: give 1 to {LONGEST} bytes without blanks around them");
            Err(InvalidPolicy { field, problem })
        }
    }
}

/// The alerts that are to be asked about for a policy that restarts.
#[must_use]
pub fn wanted(rule: Option<&RestartRule>, guard: &Guard, rivals: &[Rival]) -> BTreeSet<String> {
    let Some(rule) = rule else { return BTreeSet::new() };
    let all = rivals.iter().map(|it| &it.rule.stand_down).chain([&rule.stand_down, &guard.stand_down]);
    all.flatten().cloned().collect()
}

/// Whether none of these alerts fires. `within` is the namespace whose alerts count, besides those of none; `None`: all do.
///
/// # Errors
/// [`Because::StandDown`]: one fires, or it is not known that it does not.
pub fn is_quiet(
    names: &BTreeSet<String>,
    within: Option<&str>,
    told: Option<&Told>,
    now: Timestamp,
) -> Result<(), Because> {
    if names.is_empty() {
        return Ok(());
    }
    let doubt = |why: &str| Err(Because::StandDown { why: format!("alerts are not known: {why}") });
    let rules = match told {
        Some(Ok(rules)) => rules,
        Some(Err(why)) => return doubt(why),
        None => return doubt("nobody asked"),
    };
    names.iter().try_for_each(|name| {
        let mut own = rules.iter().filter(|it| it.name == *name).peekable();
        if own.peek().is_none() {
            return Err(Because::StandDown { why: format!("the metrics backend has no alert named {name}") });
        }
        own.try_for_each(|it| it.is_quiet(within, now)).map_err(|why| Because::StandDown { why })
    })
}

/// The namespace whose alerts count for a policy, `namespace/name` or `name`.
#[must_use]
pub fn namespace_of(policy: &str) -> Option<&str> {
    policy.split_once('/').map(|(namespace, _)| namespace)
}

impl AlertingRule {
    fn is_quiet(&self, within: Option<&str>, now: Timestamp) -> Result<(), String> {
        let Self { name, state, health, evaluated, firing } = self;
        let counts = |it: &&Firing| match (within, &it.namespace) {
            (Some(own), Some(about)) => about == own,
            _ => true,
        };
        if let Some(Firing { since, .. }) = firing.iter().find(counts) {
            let since = since.map_or_else(String::new, |it| format!(", since {it:.0}"));
            return Err(format!("alert {name} is firing{since}"));
        }
        match state.as_str() {
            // It says that it fires, and not for whom.
            "firing" if firing.is_empty() => return Err(format!("alert {name} is firing")),
            "inactive" | "pending" | "firing" => {}
            other => return Err(format!("nobody knows whether alert {name} fires: its state is {other:?}")),
        }
        if health != "ok" {
            return Err(format!("nobody knows whether alert {name} fires: the health of its rule is {health:?}"));
        }
        let age = evaluated.map_or(SignedDuration::MAX, |it| now.duration_since(it).abs());
        if age > LATELY {
            return Err(format!("nobody knows whether alert {name} fires: its rule was not evaluated in five minutes"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2027-01-15T09:00:00Z".parse().expect("a time")
    }

    fn rule(state: &str) -> AlertingRule {
        let evaluated = Some(now() - SignedDuration::from_secs(30));
        AlertingRule { name: "NodeDown".into(), state: state.into(), health: "ok".into(), evaluated, firing: vec![] }
    }

    fn firing(about: Option<&str>) -> AlertingRule {
        let since = Some(now() - SignedDuration::from_mins(10));
        AlertingRule { firing: vec![Firing { namespace: about.map(str::to_owned), since }], ..rule("firing") }
    }

    fn why(told: Option<&Told>, within: Option<&str>) -> Option<String> {
        let names = BTreeSet::from(["NodeDown".to_owned()]);
        is_quiet(&names, within, told, now()).err().map(|it| it.to_string())
    }

    fn of(rules: Vec<AlertingRule>) -> Option<String> {
        why(Some(&Ok(rules)), None)
    }

    #[test]
    fn a_rule_that_is_well_and_does_not_fire_stops_nothing_and_one_that_fires_does() {
        assert_eq!(of(vec![rule("inactive")]), None);
        assert_eq!(of(vec![rule("pending")]), None);
        let said = of(vec![rule("inactive"), firing(None)]).expect("withheld");
        assert_eq!(said, "restarts stand down: alert NodeDown is firing, since 2027-01-15T08:50:00Z");
        assert!(of(vec![rule("firing")]).is_some(), "whom it is about is not told");
    }

    #[test]
    fn doubt_is_not_quiet() {
        let other = AlertingRule { name: "Other".into(), ..rule("inactive") };
        let old = AlertingRule { evaluated: Some(now() - SignedDuration::from_secs(301)), ..rule("inactive") };
        let ahead = AlertingRule { evaluated: Some(now() + SignedDuration::from_secs(301)), ..rule("inactive") };
        let never = AlertingRule { evaluated: None, ..rule("inactive") };
        let unwell = AlertingRule { health: "err".into(), ..rule("inactive") };
        for doubtful in [vec![], vec![other], vec![old], vec![ahead], vec![never], vec![unwell], vec![rule("unknown")]]
        {
            assert!(of(doubtful.clone()).is_some(), "{doubtful:?}");
        }
        assert!(why(Some(&Err("HTTP 503".into())), None).is_some_and(|it| it.ends_with("HTTP 503")));
        assert!(why(None, None).is_some(), "nobody asked");
        assert_eq!(is_quiet(&BTreeSet::new(), None, None, now()), Ok(()), "no alert is named");
    }

    #[test]
    fn a_namespaced_policy_heeds_alerts_of_its_namespace_and_of_none() {
        let heeded = |about| why(Some(&Ok(vec![firing(about)])), Some("shop")).is_some();
        assert!(heeded(None) && heeded(Some("shop")) && !heeded(Some("bank")));
        assert!(of(vec![firing(Some("bank"))]).is_some(), "a cluster policy heeds all");
    }

    #[test]
    fn what_cannot_be_an_alerts_name_is_refused() {
        let parsed = |names: &[&str]| {
            let alerts = names.iter().map(|it| (*it).to_owned()).collect();
            parse("remediation.restart.standDown.alerts", &StandDownSpec { alerts }).map_err(|it| it.problem)
        };
        assert_eq!(parsed(&["NodeDown", "Disk full", "NodeDown"]).map(|it| it.len()), Ok(2));
        for names in [&[][..], &[""], &[" NodeDown"], &["a\nb"], &["x"; 21]] {
            assert!(parsed(names).is_err(), "{names:?}");
        }
    }
}
