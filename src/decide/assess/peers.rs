//! What the pods of one workload say about each other: whether all of them leak or one, whether together they are sure
//! of what each alone only suspects, and whether the leak came with a revision.
//!
//! Peers never accuse a pod that does not grow by itself, and never clear one that does.

use std::collections::BTreeMap;

use crate::{
    decide::{
        Finding, Observation, Policy, Strength, Verdict,
        assess::rise::Z_OF_ALERTS,
        lineage::Ancestor,
        stats::{median, pooled_z},
    },
    signals::Signal,
};

/// z that are cut off at zero lift a pool of k by so much times the root of k where nothing grows.
const CUT_OFF: f64 = 0.4;
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
        for place in growing {
            let came_with = came_with(&findings, &observations[place], place, &peers);
            let Verdict::Growing(growth) = &mut findings[place].verdict else { continue };
            if sure && growth.strength == Strength::Suspected {
                growth.strength = Strength::Alertable;
            }
            growth.message += &company;
            growth.message += &came_with.unwrap_or_default();
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

fn company(growing: usize, judged: usize) -> String {
    match (growing, judged) {
        (_, 1) => String::new(),
        (growing, judged) if growing == judged => format!("; so do all {judged} pods that can be judged"),
        (1, judged) => format!("; the other {} pods that can be judged do not", judged - 1),
        (growing, judged) => format!("; so do {growing} of {judged} pods that can be judged"),
    }
}

/// Which revision brought it, as far as earlier revisions and pods of other revisions tell.
fn came_with(findings: &[Finding], observation: &Observation, place: usize, peers: &[usize]) -> Option<String> {
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
        return Some(format!("; revision {with} did as well"));
    }
    let (without, _) = rates.iter().find(|(_, rate)| *rate < WITHOUT)?;
    Some(format!("; it came with revision {revision}{image}: {without} did not"))
}
