//! The spec, parsed once. After that nobody reads the raw spec again.
//!
//! The rules are those of the CRD (see [`crate::api`]), so that a policy from a file, or one stored before a rule
//! existed, meets the same ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString};

use crate::{
    api::{
        ApprovalRule, DurationText, EvidenceRule, Mode, PolicyRules, RestartMethod, RestartSpec, Severity, SourcesSpec,
        Stage, ThresholdsSpec, When, parse_duration, print_duration,
    },
    decide::{Windows, keepalive::Declaration, profiles::ProfilesRule, stand_down},
    signals::Signal,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// A valid policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Which pods. `None` stands for all pods, which the author said in so many words.
    pub selector: Option<LabelSelector>,
    /// What the author lets be done.
    pub mode: Mode,
    /// What may be done now. With `Auto` nothing, until [`crate::decide::autonomy::entrusted`] has looked at what was earned.
    pub stage: Stage,
    /// Whether evaluation is stopped.
    pub suspend: bool,
    /// How often it is evaluated.
    pub interval: Duration,
    /// The longest look back.
    pub window: Duration,
    /// How long a container is not judged.
    pub warm_up: Duration,
    /// The source of each signal, by name.
    pub sources: BTreeMap<Signal, String>,
    /// Fewer calls per opened connection are a habit.
    pub calls_per_connection: f64,
    /// The least growth of open connections that matters.
    pub connection_growth: f64,
    /// Memory growth matters when the limit is this near.
    pub time_to_memory_limit: Duration,
    /// The largest p-value of a trend.
    pub max_p_value: f64,
    /// Where pods serve profiles. `None`: nobody is asked for one.
    pub profiles: Option<ProfilesRule>,
    /// What clients and their server are said to set about keepalive.
    pub keepalive: Declaration,
    /// How long a finding stands before it is annotated. `None`: never.
    pub annotate_after: Option<Duration>,
    /// When to alert.
    pub alert: Option<AlertRule>,
    /// When and how to restart.
    pub restart: Option<RestartRule>,
}

/// When to alert.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRule {
    /// How long the finding stands first.
    pub after: Duration,
    /// The severity label.
    pub severity: Severity,
}

/// When and how to restart.
#[derive(Clone, Debug, PartialEq)]
pub struct RestartRule {
    /// How long the finding stands first.
    pub after: Duration,
    /// How.
    pub method: RestartMethod,
    /// The shortest time between two restarts of a workload.
    pub cooldown: Duration,
    /// The most restarts of a workload in 24 hours.
    pub max_per_day: u32,
    /// How many pods of a workload may be unavailable, ours included.
    pub max_unavailable: MaxUnavailable,
    /// Whether the only replica may be restarted.
    pub allow_single_replica: bool,
    /// Whether pods of a `DaemonSet` may be restarted.
    pub allow_daemon_sets: bool,
    /// Whether a profile is stored first.
    pub evidence: EvidenceRule,
    /// When it may be done.
    pub windows: Windows,
    /// Whether it waits for a quiet moment.
    pub when: When,
    /// Whether a person has to approve it.
    pub approval: ApprovalRule,
    /// The alerts that stop it while they fire.
    pub stand_down: BTreeSet<String>,
}

/// A number of pods or a share of the replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxUnavailable {
    /// Pods.
    Pods(u32),
    /// Percent of the replicas.
    Percent(u32),
}

impl MaxUnavailable {
    /// The number of pods out of so many replicas: a share is rounded down, and at least 1.
    #[must_use]
    pub fn of(self, replicas: u32) -> u32 {
        match self {
            Self::Pods(pods) => pods,
            Self::Percent(percent) => (replicas.saturating_mul(percent) / 100).max(1),
        }
    }
}

/// Why a spec cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("spec.{field}: {problem}")]
pub struct InvalidPolicy {
    /// The field's path below `spec`.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Policy {
    /// Reads a spec.
    ///
    /// # Errors
    /// A field cannot work; the error names it.
    pub fn parse(spec: &PolicyRules) -> Result<Self, InvalidPolicy> {
        let PolicyRules {
            selector,
            all_pods,
            mode,
            suspend,
            interval,
            window,
            warm_up,
            sources,
            thresholds,
            profiles,
            keepalive,
            remediation,
        } = spec;
        let interval = duration("interval", interval, 5 * SECOND, HOUR)?;
        let window = duration("window", window, 5 * MINUTE, 7 * DAY)?;
        ensure(window > interval, "window", "must be longer than interval")?;
        let warm_up = match warm_up {
            Some(text) => duration("warmUp", text, Duration::ZERO, 7 * DAY)?,
            None => (window / 10).min(10 * MINUTE),
        };
        ensure(warm_up < window, "warmUp", "must be shorter than window")?;
        let ThresholdsSpec { calls_per_connection, connection_growth, time_to_memory_limit, confidence } = thresholds;
        ensure(*calls_per_connection >= 1, "thresholds.callsPerConnection", "must be at least 1")?;
        ensure(*connection_growth >= 1, "thresholds.connectionGrowth", "must be at least 1")?;
        ensure((90.0..=99.999).contains(confidence), "thresholds.confidence", "must be between 90 and 99.999 percent")?;
        let policy = Self {
            selector: pods(selector.as_ref(), *all_pods)?,
            mode: *mode,
            stage: Stage::at_first(*mode),
            suspend: *suspend,
            interval,
            window,
            warm_up,
            sources: source_names(sources),
            calls_per_connection: f64::from(*calls_per_connection),
            connection_growth: f64::from(*connection_growth),
            time_to_memory_limit: duration("thresholds.timeToMemoryLimit", time_to_memory_limit, MINUTE, 30 * DAY)?,
            max_p_value: 1.0 - confidence / 100.0,
            profiles: profiles.as_ref().map(ProfilesRule::parse).transpose()?,
            keepalive: Declaration::parse(keepalive.as_ref())?,
            annotate_after: remediation
                .annotate
                .as_ref()
                .map(|it| after("remediation.annotate.after", &it.after))
                .transpose()?,
            alert: match &remediation.alert {
                Some(it) => {
                    Some(AlertRule { after: after("remediation.alert.after", &it.after)?, severity: it.severity })
                }
                None => None,
            },
            restart: remediation.restart.as_ref().map(restart).transpose()?,
        };
        policy.check_ladder()?;
        Ok(policy)
    }

    fn check_ladder(&self) -> Result<(), InvalidPolicy> {
        let alert = self.alert.as_ref().map(|it| it.after);
        let restart = self.restart.as_ref().map(|it| it.after);
        ensure(
            restart.is_none() || alert.is_some(),
            "remediation.restart",
            "needs remediation.alert: people must hear of what is restarted",
        )?;
        ensure(
            self.profiles.is_some() || self.restart.as_ref().is_none_or(|it| it.evidence != EvidenceRule::Required),
            "remediation.restart.evidence",
            "Required needs spec.profiles, which says where the pods serve them",
        )?;
        let ordered = |first: Option<Duration>, second: Option<Duration>| first.zip(second).is_none_or(|(a, b)| a <= b);
        ensure(
            ordered(self.annotate_after, alert),
            "remediation.alert.after",
            "must not be shorter than remediation.annotate.after",
        )?;
        ensure(ordered(alert, restart), "remediation.restart.after", "must not be shorter than remediation.alert.after")
    }

    /// The name of a signal's source, `Auto` when the policy does not choose.
    #[must_use]
    pub fn source(&self, signal: Signal) -> &str {
        self.sources.get(&signal).map_or(crate::signals::catalog::AUTO, String::as_str)
    }
}

fn pods(selector: Option<&LabelSelector>, all_pods: Option<bool>) -> Result<Option<LabelSelector>, InvalidPolicy> {
    let exactly_one = "give exactly one of selector and allPods: true";
    match (selector, all_pods.unwrap_or(false)) {
        (Some(selector), false) => {
            ensure(
                !is_empty(selector),
                "selector",
                "may not be empty: to watch every pod, write allPods: true instead",
            )?;
            kube::core::Selector::try_from(selector.clone())
                .map_err(|why| InvalidPolicy { field: "selector", problem: why.to_string() })?;
            Ok(Some(selector.clone()))
        }
        (None, true) => Ok(None),
        _ => Err(InvalidPolicy { field: "selector", problem: exactly_one.to_owned() }),
    }
}

/// Whether a selector selects everything by saying nothing.
#[must_use]
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

fn source_names(spec: &SourcesSpec) -> BTreeMap<Signal, String> {
    let SourcesSpec {
        open_connections,
        connections_opened,
        connections_failed,
        calls,
        memory,
        memory_limit,
        goroutines,
        file_descriptors,
        keepalive_violations,
    } = spec;
    BTreeMap::from([
        (Signal::OpenConnections, open_connections.clone()),
        (Signal::ConnectionsOpened, connections_opened.clone()),
        (Signal::ConnectionsFailed, connections_failed.clone()),
        (Signal::Calls, calls.clone()),
        (Signal::Memory, memory.clone()),
        (Signal::MemoryLimit, memory_limit.clone()),
        (Signal::Goroutines, goroutines.clone()),
        (Signal::FileDescriptors, file_descriptors.clone()),
        (Signal::KeepaliveViolations, keepalive_violations.clone()),
    ])
}

fn restart(spec: &RestartSpec) -> Result<RestartRule, InvalidPolicy> {
    let RestartSpec {
        after: after_text,
        method,
        cooldown,
        max_per_day,
        max_unavailable,
        allow_single_replica,
        allow_daemon_sets,
        evidence,
        windows,
        when,
        approval,
        stand_down,
    } = spec;
    ensure((1..=100).contains(max_per_day), "remediation.restart.maxPerDay", "must be between 1 and 100")?;
    Ok(RestartRule {
        after: after("remediation.restart.after", after_text)?,
        method: *method,
        cooldown: duration("remediation.restart.cooldown", cooldown, MINUTE, 7 * DAY)?,
        max_per_day: *max_per_day,
        max_unavailable: unavailable(max_unavailable)?,
        allow_single_replica: *allow_single_replica,
        allow_daemon_sets: *allow_daemon_sets,
        evidence: *evidence,
        windows: Windows::parse(windows.as_deref())?,
        when: *when,
        approval: *approval,
        stand_down: stand_down
            .as_ref()
            .map_or_else(|| Ok(BTreeSet::new()), |it| stand_down::parse("remediation.restart.standDown.alerts", it))?,
    })
}

fn unavailable(value: &IntOrString) -> Result<MaxUnavailable, InvalidPolicy> {
    let percent = |text: &String| text.strip_suffix('%')?.parse().ok().filter(|it| (1..=100).contains(it));
    let parsed = match value {
        IntOrString::Int(pods) => u32::try_from(*pods).ok().filter(|it| *it >= 1).map(MaxUnavailable::Pods),
        IntOrString::String(text) => percent(text).map(MaxUnavailable::Percent),
    };
    parsed.ok_or_else(|| InvalidPolicy {
        field: "remediation.restart.maxUnavailable",
        problem: "must be a number of at least 1 or a percentage from 1% to 100%".to_owned(),
    })
}

fn after(field: &'static str, text: &DurationText) -> Result<Duration, InvalidPolicy> {
    duration(field, text, Duration::ZERO, 7 * DAY)
}

fn duration(
    field: &'static str,
    text: &DurationText,
    low: Duration,
    high: Duration,
) -> Result<Duration, InvalidPolicy> {
    let parsed = parse_duration(&text.0).map_err(|why| InvalidPolicy { field, problem: why.to_string() })?;
    let range = || format!("must be between {} and {}", print_duration(low), print_duration(high));
    if low <= parsed && parsed <= high { Ok(parsed) } else { Err(InvalidPolicy { field, problem: range() }) }
}

fn ensure(holds: bool, field: &'static str, problem: &str) -> Result<(), InvalidPolicy> {
    if holds { Ok(()) } else { Err(InvalidPolicy { field, problem: problem.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(spec: Value) -> Result<Policy, InvalidPolicy> {
        Policy::parse(&serde_json::from_value(spec).expect("a spec"))
    }

    #[test]
    fn the_smallest_policy_is_a_dry_run_with_sane_defaults() {
        let policy = parse(json!({"allPods": true})).expect("valid");
        assert_eq!(policy.mode, Mode::DryRun);
        assert_eq!((policy.interval, policy.window, policy.warm_up), (MINUTE, 4 * DAY, 10 * MINUTE));
        assert_eq!(policy.source(Signal::Calls), "Auto");
        assert!(policy.annotate_after.is_none() && policy.alert.is_none() && policy.restart.is_none());
    }

    #[test]
    fn a_short_window_has_a_short_warm_up() {
        let policy = parse(json!({"allPods": true, "window": "5m", "interval": "10s"})).expect("valid");
        assert_eq!(policy.warm_up, Duration::from_secs(30));
    }

    #[test]
    fn a_spec_that_cannot_work_is_refused_with_the_field_named() {
        let labels = json!({"matchLabels": {"app": "orders"}});
        for (field, spec) in [
            ("selector", json!({})),
            ("selector", json!({"allPods": false})),
            ("selector", json!({"allPods": true, "selector": labels})),
            ("selector", json!({"selector": {}})),
            ("selector", json!({"selector": {"matchLabels": {}}})),
            ("selector", json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Has"}]}})),
            ("interval", json!({"allPods": true, "interval": "1s"})),
            ("interval", json!({"allPods": true, "interval": "soon"})),
            ("window", json!({"allPods": true, "window": "8d"})),
            ("window", json!({"allPods": true, "window": "5m", "interval": "10m"})),
            ("warmUp", json!({"allPods": true, "window": "5m", "warmUp": "5m"})),
            ("thresholds.confidence", json!({"allPods": true, "thresholds": {"confidence": 50}})),
            ("thresholds.timeToMemoryLimit", json!({"allPods": true, "thresholds": {"timeToMemoryLimit": "31d"}})),
            ("keepalive.client.time", json!({"allPods": true, "keepalive": {"client": {"time": "30"}}})),
            ("keepalive.server.minTime", json!({"allPods": true, "keepalive": {"server": {"minTime": "5min"}}})),
            ("remediation.restart", json!({"allPods": true, "remediation": {"restart": {}}})),
            (
                "remediation.alert.after",
                json!({"allPods": true, "remediation": {"annotate": {"after": "5m"}, "alert": {"after": "1m"}}}),
            ),
            (
                "remediation.restart.after",
                json!({"allPods": true, "remediation": {"alert": {"after": "5m"}, "restart": {"after": "1m"}}}),
            ),
            (
                "remediation.restart.maxUnavailable",
                json!({"allPods": true, "remediation": {"alert": {}, "restart": {"maxUnavailable": "0%"}}}),
            ),
            ("profiles.port", json!({"allPods": true, "profiles": {"port": 70_000}})),
            ("profiles.port", json!({"allPods": true, "profiles": {"port": "6060"}})),
            ("profiles.path", json!({"allPods": true, "profiles": {"path": "/debug/../secrets"}})),
            ("profiles.path", json!({"allPods": true, "profiles": {"path": "/debug?x=1"}})),
            (
                "remediation.restart.evidence",
                json!({"allPods": true, "remediation": {"alert": {}, "restart": {"evidence": "Required"}}}),
            ),
            (
                "remediation.restart.cooldown",
                json!({"allPods": true, "remediation": {"alert": {}, "restart": {"cooldown": "1s"}}}),
            ),
            (
                "remediation.restart.windows",
                json!({"allPods": true, "remediation": {"alert": {}, "restart": {"windows": []}}}),
            ),
            (
                "remediation.restart.standDown.alerts",
                json!({"allPods": true, "remediation": {"alert": {}, "restart": {"standDown": {"alerts": [" x"]}}}}),
            ),
        ] {
            assert_eq!(parse(spec.clone()).map(|_| ()).map_err(|it| it.field), Err(field), "{spec}");
        }
    }

    #[test]
    fn a_share_of_the_replicas_is_rounded_down_but_never_to_nothing() {
        assert_eq!(MaxUnavailable::Percent(25).of(9), 2);
        assert_eq!(MaxUnavailable::Percent(25).of(2), 1);
        assert_eq!(MaxUnavailable::Pods(3).of(10), 3);
    }
}
