//! What restarts were good for: each is looked after until it is known whether memory came back, for how long, and
//! whether the same revision leaks again. It is told to people, and an `Auto` policy loses a stage by one that was
//! useless. It allows nothing: what may be restarted is the ledger's business, from which the records are made.
//!
//! A revision that leaks again at a like rate is a debt: the restart bought time. One that gives nothing back, or grows
//! faster than before, bought nothing.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{Effect, LifeFigures, Offender, RemediationState, RestartRecord, print_duration},
    decide::{
        Budget, Finding, History, Verdict, Why,
        ledger::{Entry, State},
        observation::may_be_same_revision,
        status::figures,
    },
};

/// What a status can hold, and for how long.
const MAX_RECORDS: usize = 30;
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// What replaces a pod may have been started so long before the ledger was told that the pod is gone, seconds.
const BEFORE: f64 = 60.0;
/// Of what there was before, more than this is nothing that came back.
const STILL_THERE: f64 = 0.9;
/// Rates within this factor are alike; the detector takes predecessors for alike by the same.
const ALIKE: f64 = 3.0;

/// The restarts of the policy, with what is known by now of each.
#[must_use]
pub fn effects(findings: &[Finding], history: &History, now: Timestamp) -> Vec<RestartRecord> {
    let mut records: Vec<RestartRecord> =
        history.restarts.iter().filter(|it| is_recent(it.at.0, now)).cloned().collect();
    if let Some(Budget::Known(ledger)) = &history.budget {
        let known = |entry: &Entry| records.iter().any(|it| it.uid == entry.object.uid && it.at.0 == entry.at);
        let settled = |it: &&Entry| it.state == State::Confirmed && it.policy == history.policy;
        let new = ledger.entries.iter().filter(settled).filter(|it| is_recent(it.at, now) && !known(it));
        let new: Vec<RestartRecord> = new.map(|it| begun(it, history, now)).collect();
        records.extend(new);
    }
    records.sort_by_key(|it| it.at.0);
    records.drain(..records.len().saturating_sub(MAX_RECORDS));
    for record in records.iter_mut().filter(|it| it.effect == Effect::Pending) {
        look_after(record, findings, history, now);
    }
    records
}

fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) < KEPT
}

/// The record of a restart that the ledger knows. How the container stood is read from the last status; where that tells
/// nothing, nothing can be compared.
fn begun(entry: &Entry, history: &History, now: Timestamp) -> RestartRecord {
    let rollout = entry.object.kind != "Pod";
    let was_done = |it: &Offender| {
        it.remediations.iter().any(|it| it.remediation == "Restart" && it.state != RemediationState::Withheld)
    };
    let is_reason = |it: &&Offender| {
        let same = it.namespace == entry.namespace && it.workload.as_ref() == Some(&entry.workload);
        same && if rollout { was_done(it) } else { it.uid == entry.object.uid }
    };
    let reason = history.past.values().map(|it| &it.offender).find(is_reason);
    let figures = reason.map(|it| it.figures.clone()).unwrap_or_default();
    RestartRecord {
        namespace: entry.namespace.clone(),
        workload: entry.workload.clone(),
        container: reason.map(|it| it.container.clone()).unwrap_or_default(),
        uid: entry.object.uid.clone(),
        pod: reason.map_or_else(|| entry.object.name.clone(), |it| it.pod.clone()),
        rollout,
        revision: entry.revision.clone(),
        at: Time(entry.at),
        age: reason.and_then(|it| it.started_at.as_ref()).map(|it| entry.at.duration_since(it.0).as_secs_f64()),
        before: LifeFigures {
            memory: figures.memory_bytes,
            memory_per_hour: figures.memory_bytes_per_hour,
            connections: figures.open_connections,
            connections_per_hour: figures.connections_per_hour,
        },
        after: LifeFigures::default(),
        effect: if reason.is_some() { Effect::Pending } else { Effect::Unknown },
        effect_at: reason.is_none().then_some(Time(now)),
        bought: None,
        message: reason.is_none().then(|| "nothing is known of how it stood before".to_owned()),
    }
}

fn look_after(record: &mut RestartRecord, findings: &[Finding], history: &History, now: Timestamp) {
    let restarted = record.at.0.as_duration().as_secs_f64();
    let is_kin = |it: &&Finding| {
        let workload = it.target.workload.as_ref();
        workload.is_some_and(|it| it.is(&record.namespace, &record.workload))
            && it.target.subject.container == record.container
    };
    let kin: Vec<&Finding> = findings.iter().filter(is_kin).collect();
    let same = |it: &&&Finding| may_be_same_revision(it.target.revision.as_ref(), record.revision.as_ref());
    let began = |it: &Finding| it.target.started.filter(|it| *it >= restarted - BEFORE);
    let started = |it: &&&Finding| began(it).unwrap_or(f64::INFINITY);
    let replaced = kin.iter().filter(same).filter(|it| began(it).is_some());
    let conclusion = match replaced.min_by(|a, b| started(a).total_cmp(&started(b))) {
        Some(finding) => compared(record, finding, history, now),
        None if !kin.is_empty() && !kin.iter().any(|it| same(&it)) => {
            Some((Effect::Unknown, "a new revision came".to_owned()))
        }
        None => None,
    };
    if let Some((effect, message)) = conclusion {
        (record.effect, record.effect_at, record.message) = (effect, Some(Time(now)), Some(message));
    }
}

/// The container that came in place of the restarted one, next to how that one stood.
fn compared(
    record: &mut RestartRecord,
    finding: &Finding,
    history: &History,
    now: Timestamp,
) -> Option<(Effect, String)> {
    if matches!(finding.verdict, Verdict::Inconclusive(Why::WarmingUp { .. })) {
        return None;
    }
    let figures = figures(&finding.evidence);
    if record.after == LifeFigures::default() {
        // The first look after the warm-up.
        record.after.memory = figures.memory_bytes;
        record.after.connections = figures.open_connections;
        if let Some(message) = nothing_came_back(record) {
            return Some((Effect::Useless, message));
        }
    }
    let said = history.past.get(&finding.target.subject).is_some_and(|it| it.offender.confirmed);
    match &finding.verdict {
        Verdict::Growing(_) if said => {
            record.after.memory_per_hour = figures.memory_bytes_per_hour;
            record.after.connections_per_hour = figures.connections_per_hour;
            let quiet = now.duration_since(record.at.0);
            record.bought = Some(quiet.as_secs_f64());
            Some(again(record, quiet))
        }
        Verdict::Healthy => {
            let age = finding.target.started.map(|it| now.as_duration().as_secs_f64() - it);
            let as_old = age.zip(record.age).is_some_and(|(age, before)| age >= before);
            as_old.then(|| (Effect::Helped, "what replaced it is as old by now and does not leak".to_owned()))
        }
        _ => None,
    }
}

/// Memory decides; where it is not measured, connections do.
fn nothing_came_back(record: &RestartRecord) -> Option<String> {
    let (before, after) = (&record.before, &record.after);
    let stayed = |before: f64, after: f64| before > 0.0 && after > STILL_THERE * before;
    match (before.memory.zip(after.memory), before.connections.zip(after.connections)) {
        (Some((before, after)), _) => stayed(before, after)
            .then(|| format!("memory did not fall: {} before, {} after", bytes(before), bytes(after))),
        (None, Some((before, after))) => {
            stayed(before, after).then(|| format!("connections did not fall: {before} before, {after} after"))
        }
        (None, None) => None,
    }
}

/// It is found again.
fn again(record: &RestartRecord, quiet: SignedDuration) -> (Effect, String) {
    let (before, after) = (&record.before, &record.after);
    let positive = |it: (f64, f64)| (it.0 > 0.0 && it.1 > 0.0).then(|| it.1 / it.0);
    let memory = before.memory_per_hour.zip(after.memory_per_hour).and_then(positive);
    let rate = memory.or_else(|| before.connections_per_hour.zip(after.connections_per_hour).and_then(positive));
    if let Some(times) = rate.filter(|it| *it > ALIKE) {
        return (Effect::Useless, format!("it grows {times:.0} times as fast as before"));
    }
    let gave = gave_back(record).map_or_else(String::new, |it| format!("it gave back {} and ", bytes(it)));
    (Effect::LeaksAgain, format!("{gave}bought {}: the same revision leaks again", about(quiet.as_secs_f64())))
}

/// What came back, bytes.
#[must_use]
pub fn gave_back(record: &RestartRecord) -> Option<f64> {
    record.before.memory.zip(record.after.memory).map(|(before, after)| before - after).filter(|it| *it > 0.0)
}

/// Bytes for people.
pub(super) fn bytes(bytes: f64) -> String {
    let mib = bytes / 1_048_576.0;
    if mib >= 1_024.0 { format!("{:.1} GiB", mib / 1_024.0) } else { format!("{mib:.0} MiB") }
}

/// Seconds for people, whole minutes.
pub(super) fn about(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round().max(1.0) * 60.0;
    print_duration(Duration::try_from_secs_f64(minutes).unwrap_or_default())
}

#[cfg(test)]
mod tests;
