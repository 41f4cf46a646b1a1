//! What restarts of a workload have cost and brought so far, and who brought the leak: one sentence for the alert and for
//! `explain`. It is told with every alert of a workload that was restarted, above all when there will be no more
//! restarts.

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{Effect, RestartRecord},
    decide::{
        Because, Budget, Case, Decision, Evidence, History, Remediation, Target,
        effect::{about, bytes, gave_back},
        ledger::{Entry, Refusal, State},
        observation::may_be_same_revision,
        stats::median,
    },
};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The revision that brought a leak.
#[derive(Clone, Debug, PartialEq)]
pub struct Brought {
    /// The pod template's hash.
    pub revision: String,
    /// The container's image.
    pub image: Option<String>,
    /// Since when it is seen.
    pub since: Option<Timestamp>,
}

/// The sentence, for an offender whose workload was restarted.
#[must_use]
pub fn cost(case: &Case, history: &History, now: Timestamp) -> Option<String> {
    let Some(Budget::Known(ledger)) = &history.budget else { return None };
    let restarts = restarts(&ledger.entries, &case.target);
    let last = restarts.last()?;
    let recent = restarts.iter().filter(|it| now.duration_since(it.at) < DAY).count();
    let mut text = match (recent, restarts.len()) {
        (0, all) => format!("restarted {} since this revision came, not in the last 24h", times(all)),
        (recent, all) if recent == all => format!("restarted {} in 24h", times(recent)),
        (recent, all) => format!("restarted {} in 24h, {} since this revision came", times(recent), times(all)),
    };
    let records: Vec<&RestartRecord> = history.restarts.iter().filter(|it| is_about(it, &case.target)).collect();
    text += &brought(&records, &restarts);
    if let Some(last) = records.iter().max_by_key(|it| it.at.0).filter(|it| it.effect == Effect::Useless) {
        text += &format!("; the last restart, at {:.0}, was useless", last.at.0);
        text += &last.message.as_ref().map_or_else(String::new, |it| format!(": {it}"));
    } else if stays(case) {
        text += &format!("; no more restarts now, the last was at {:.0}", last.at);
    }
    Some(text + &blame(&case.evidence, &case.target))
}

/// Whether the ledger refuses because restarts do not cure it.
fn stays(case: &Case) -> bool {
    let refuses = |it: &Because| matches!(it, Because::Budget(Refusal::Debt { .. } | Refusal::DailyLimit { .. }));
    case.rungs.iter().any(|it| {
        it.remediation == Remediation::Restart && matches!(&it.decision, Decision::Withheld(why) if refuses(why))
    })
}

/// Those of the workload's revision that happened, the oldest first. A revision that nobody knows is taken for the same.
fn restarts<'a>(entries: &'a [Entry], target: &Target) -> Vec<&'a Entry> {
    let same = |it: &Entry| may_be_same_revision(it.revision.as_ref(), target.revision.as_ref());
    let is_of = |it: &Entry| target.workload.as_ref().is_some_and(|of| of.is(&it.namespace, &it.workload));
    entries.iter().filter(|it| it.state == State::Confirmed && is_of(it) && same(it)).collect()
}

fn is_about(record: &RestartRecord, target: &Target) -> bool {
    target.workload.as_ref().is_some_and(|of| of.is(&record.namespace, &record.workload))
        && record.container == target.subject.container
        && may_be_same_revision(record.revision.as_ref(), target.revision.as_ref())
}

/// How long each lasted and what it gave back, as far as it is known.
fn brought(records: &[&RestartRecord], restarts: &[&Entry]) -> String {
    let quiet: Vec<f64> = records.iter().filter_map(|it| it.bought).collect();
    let apart = || -> Vec<f64> {
        restarts.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at).as_secs_f64()).collect()
    };
    let quiet = if quiet.is_empty() { apart() } else { quiet };
    let gave: Vec<f64> = records.iter().filter_map(|it| gave_back(it)).collect();
    let each = if restarts.len() > 1 { "each" } else { "it" };
    match (median(&quiet), median(&gave)) {
        (Some(quiet), Some(gave)) => {
            format!(", {each} bought about {} and gave back about {}", about(quiet), bytes(gave))
        }
        (Some(quiet), None) => format!(", {each} bought about {}", about(quiet)),
        (None, Some(gave)) => format!(", {each} gave back about {}", bytes(gave)),
        (None, None) => String::new(),
    }
}

fn blame(evidence: &Evidence, target: &Target) -> String {
    let named = |revision: &str, image: Option<&String>| {
        format!("revision {revision}{}", image.map_or_else(String::new, |it| format!(" (image {it})")))
    };
    match (&evidence.brought, &target.revision) {
        (Some(Brought { revision, image, since }), _) => {
            let on = since.map_or_else(String::new, |it| format!(" on {}", it.strftime("%Y-%m-%d")));
            format!("; {} brought it{on}", named(revision, image.as_ref()))
        }
        (None, Some(revision)) => format!("; it is in {}", named(revision, target.image.as_ref())),
        (None, None) => String::new(),
    }
}

fn times(n: usize) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}

#[cfg(test)]
mod tests;
