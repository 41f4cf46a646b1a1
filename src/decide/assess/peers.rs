//! What the pods of one workload say about each other: whether all of them leak or one, whether together they are sure
//! of what each alone only suspects, and whether the leak came with a revision.
//!
//! Peers never accuse a pod that does not grow by itself, and never clear one that does.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    decide::{
        Finding, Observation, Policy, Strength, Verdict,
        assess::rise::Z_OF_ALERTS,
        cost::Brought,
        lineage::Ancestor,
        stats::{high_outliers, median, pooled_z},
    },
    signals::Signal,
};

/// z that are cut off at zero lift a pool of k by so much times the root of k where nothing grows.
const CUT_OFF: f64 = 0.4;
/// Slopes that differ by less than this share of their median do not differ.
const SPREAD: f64 = 0.2;
/// A revision grew less than this share of the present rise: it did not have the leak,
const WITHOUT: f64 = 0.2;
/// and it had it if it grew by more than this share.
const WITH: f64 = 0.5;
/// A revision that ran for less than this, seconds, says nothing.
const LONG_ENOUGH: f64 = 3_600.0;

/// The findings, each in the light of its peers. They are in the observations' order.
pub fn compared(_policy: &Policy, observations: &[Observation], mut findings: Vec<Finding>) -> Vec<Finding> {
    let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (place, finding) in findings.iter().enumerate() {
        if let (Some(workload), false) = (&finding.target.workload, matches!(finding.verdict, Verdict::Inconclusive(_)))
        {
            groups.entry((workload.clone(), finding.target.subject.container.clone())).or_default().push(place);
        }
    }
    for peers in groups.into_values() {
        let growing: Vec<usize> =
            peers.iter().copied().filter(|it| matches!(findings[*it].verdict, Verdict::Growing(_))).collect();
        if growing.is_empty() {
            continue;
        }
        let sure = sure_together(&findings, &growing);
        let company = company(growing.len(), peers.len());
        let faster = much_faster(&findings, &growing);
        for place in growing {
            let came_with = came_with(&findings, &observations[place], place, &peers);
            let Verdict::Growing(growth) = &mut findings[place].verdict else { continue };
            if sure && growth.strength == Strength::Suspected {
                growth.strength = Strength::Alertable;
            }
            growth.message += &company;
            if faster.contains(&place) {
                growth.message += ", this one much faster";
            }
            let (words, brought) = came_with.unwrap_or_default();
            growth.message += &words;
            findings[place].evidence.brought = brought;
        }
    }
    findings
}

/// Whether the pods that grow are, taken together, as sure as an alert asks. What shakes all of them at once is not as
/// many times the evidence.
fn sure_together(findings: &[Finding], growing: &[usize]) -> bool {
    let evidence = || growing.iter().map(|it| &findings[*it].evidence);
    let z: Vec<f64> = evidence().filter_map(|it| it.connections.map(|it| it.z)).collect();
    let rows: Vec<&[f64]> = evidence().map(|it| it.residuals.as_slice()).collect();
    growing.len() >= 2
        && z.len() == growing.len()
        && pooled_z(&z, &rows).is_some_and(|it| it.z - CUT_OFF * (z.len() as f64).sqrt() >= *Z_OF_ALERTS.end())
}

/// Those whose connections rise so much faster than the others' that something besides the common leak is behind it.
fn much_faster(findings: &[Finding], growing: &[usize]) -> Vec<usize> {
    let slope = |it: &usize| findings[*it].evidence.connections.map(|it| it.slope.per_second);
    let slopes: Option<Vec<f64>> = growing.iter().map(slope).collect();
    let Some(slopes) = slopes else { return Vec::new() };
    let least_spread = SPREAD * median(&slopes).unwrap_or_default().abs();
    let odd = high_outliers(&slopes, least_spread).unwrap_or_default();
    odd.into_iter().map(|it| growing[it]).collect()
}

fn company(growing: usize, judged: usize) -> String {
    match (growing, judged) {
        (_, 1) => String::new(),
        (growing, judged) if growing == judged => format!("; so do all {judged} pods that can be judged"),
        (1, judged) => format!("; the other {} pods that can be judged do not", judged - 1),
        (growing, judged) => format!("; so do {growing} of {judged} pods that can be judged"),
    }
}

/// Which revision brought it, as far as earlier revisions and pods of other revisions tell.
fn came_with(
    findings: &[Finding],
    observation: &Observation,
    place: usize,
    peers: &[usize],
) -> Option<(String, Option<Brought>)> {
    let target = &observation.target;
    let revision = target.revision.as_ref()?;
    let slope = findings[place].evidence.connections?.slope.per_second;
    let mut others: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
    let told = |it: &'_ &Ancestor| it.lived >= LONG_ENOUGH;
    for ancestor in observation.ancestors.iter().filter(told) {
        if let (Some(other), Some(course)) = (&ancestor.revision, ancestor.courses.get(&Signal::OpenConnections)) {
            others.entry(other).or_default().push(course.per_second / slope);
        }
    }
    for peer in peers.iter().map(|it| &findings[*it]) {
        if let Some(other) = &peer.target.revision {
            let rate = peer.evidence.connections.map_or(0.0, |it| it.slope.per_second);
            others.entry(other).or_default().push(rate / slope);
        }
    }
    others.remove(revision);
    let image = target.image.as_ref().map_or_else(String::new, |it| format!(" ({it})"));
    let rates: Vec<(&String, f64)> = others.into_iter().filter_map(|(it, rates)| Some((it, median(&rates)?))).collect();
    if let Some((with, _)) = rates.iter().find(|(_, rate)| *rate > WITH) {
        return Some((format!("; revision {with} did as well"), None));
    }
    let (without, _) = rates.iter().find(|(_, rate)| *rate < WITHOUT)?;
    let words = format!("; it came with revision {revision}{image}: {without} did not");
    let brought = Brought { revision: revision.clone(), image: target.image.clone(), since: first_seen(observation) };
    Some((words, Some(brought)))
}

/// When the first life of the revision began, of those that are known.
fn first_seen(observation: &Observation) -> Option<Timestamp> {
    let target = &observation.target;
    let before = observation.ancestors.iter().filter(|it| it.revision == target.revision).map(|it| it.born);
    let first = before.chain(target.started).reduce(f64::min)?;
    Timestamp::from_second(first as i64).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        api::PolicyRules,
        decide::{
            Confidence, Diagnosis, Evidence, Growth, Subject, Target, Workload,
            lineage::Course,
            stats::{Slope, Trend},
        },
    };

    fn target(pod: &str, revision: &str) -> Target {
        Target {
            subject: Subject { namespace: "shop".into(), pod: pod.into(), ..Subject::default() },
            workload: Some(Workload { namespace: "shop".into(), kind: "Deployment".into(), name: "orders".into() }),
            revision: Some(revision.into()),
            ..Target::default()
        }
    }

    fn healthy(pod: &str, revision: &str) -> Finding {
        let (evidence, sources) = (Evidence::default(), vec![]);
        Finding { target: target(pod, revision), verdict: Verdict::Healthy, evidence, sources }
    }

    /// A suspect whose noise is its own, by a seed.
    fn suspect(pod: &str, revision: &str, z: f64, seed: usize) -> Finding {
        let slope = Slope { per_second: 0.1, lower: 0.1, upper: 0.1, intercept: 0.0, n: 24 };
        let growth = Growth {
            diagnosis: Diagnosis::ConnectionLeak,
            confidence: Confidence::from_p_value(1e-3),
            strength: Strength::Suspected,
            message: "it leaks".into(),
        };
        let noise = |n: usize| ((n * 7 + seed * 13) % 11) as f64 - 5.0;
        Finding {
            verdict: Verdict::Growing(growth),
            evidence: Evidence {
                connections: Some(Trend { slope, z, p_value: 1e-3 }),
                residuals: (0..24).map(noise).collect(),
                ..Evidence::default()
            },
            ..healthy(pod, revision)
        }
    }

    fn judged(findings: Vec<Finding>, ancestors: &[Ancestor]) -> Vec<Growth> {
        let rules: PolicyRules = serde_json::from_value(serde_json::json!({"allPods": true})).expect("a spec");
        let observe = |it: &Finding| Observation {
            target: it.target.clone(),
            signals: BTreeMap::new(),
            ancestors: ancestors.into(),
            window: Duration::from_secs(300),
            at: Timestamp::UNIX_EPOCH,
        };
        let observations: Vec<Observation> = findings.iter().map(observe).collect();
        let compared = compared(&Policy::parse(&rules).expect("valid"), &observations, findings);
        let growth = |it: Finding| if let Verdict::Growing(growth) = it.verdict { Some(growth) } else { None };
        compared.into_iter().filter_map(growth).collect()
    }

    #[test]
    fn one_pod_of_three_is_told_from_all_of_them() {
        let one = judged(vec![suspect("a", "r", 3.2, 1), healthy("b", "r"), healthy("c", "r")], &[]);
        assert_eq!(one[0].message, "it leaks; the other 2 pods that can be judged do not");
        let all = judged(vec![suspect("a", "r", 3.2, 1), suspect("b", "r", 3.2, 2)], &[]);
        assert_eq!(all[0].message, "it leaks; so do all 2 pods that can be judged");
        let alone = judged(vec![suspect("a", "r", 3.2, 1)], &[]);
        assert_eq!(alone[0].message, "it leaks");
    }

    #[test]
    fn of_those_that_all_leak_the_one_that_leaks_much_faster_is_named() {
        let faster = |by: f64| {
            let mut pods: Vec<Finding> = (0..4).map(|n| suspect(&format!("p{n}"), "r", 3.2, n)).collect();
            if let Some(trend) = &mut pods[2].evidence.connections {
                trend.slope.per_second *= by;
            }
            let said = judged(pods, &[]);
            said.iter().map(|it| it.message.ends_with("this one much faster")).collect::<Vec<_>>()
        };
        assert_eq!(faster(3.0), [false, false, true, false]);
        assert_eq!(faster(1.5), [false; 4], "loads differ");
    }

    #[test]
    fn suspects_together_are_as_sure_as_an_alert_asks_and_few_weak_ones_are_not() {
        let pods = |z: f64, k: usize| (0..k).map(|n| suspect(&format!("p{n}"), "r", z, n)).collect::<Vec<_>>();
        assert!(judged(pods(3.4, 4), &[]).iter().all(|it| it.strength == Strength::Alertable));
        assert!(judged(pods(2.2, 2), &[]).iter().all(|it| it.strength == Strength::Suspected));
    }

    #[test]
    fn what_shakes_all_pods_at_once_is_not_so_many_times_the_evidence() {
        let same: Vec<Finding> = (0..4).map(|n| suspect(&format!("p{n}"), "r", 3.4, 1)).collect();
        assert!(judged(same, &[]).iter().all(|it| it.strength == Strength::Suspected));
    }

    #[test]
    fn the_revision_that_brought_the_leak_is_named_and_one_that_had_it_as_well() {
        let ancestor = |per_second: f64| {
            let course = Course { start: 10.0, end: 10.0, per_second, flat: true };
            let courses = BTreeMap::from([(Signal::OpenConnections, course)]);
            Ancestor { revision: Some("old".into()), born: 0.0, lived: 8_000.0, courses }
        };
        let after = |rate: f64| judged(vec![suspect("a", "new", 3.2, 1)], &[ancestor(rate)]).remove(0).message;
        assert_eq!(after(0.0), "it leaks; it came with revision new: old did not");
        assert_eq!(after(0.09), "it leaks; revision old did as well");
        assert_eq!(after(0.03), "it leaks", "neither is clear");
    }
}
