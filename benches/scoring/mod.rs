//! How alarms are counted against the truth, as in `docs/detection.md`: a leak is found by an alarm after its onset
//! and before memory reaches the limit; any alarm about a healthy pod makes it a false positive; false alarms per
//! pod-month count episodes (6 hours apart), those before a leak's onset included.

mod bootstrap;
pub mod null_sizes;
pub mod table;

use std::collections::BTreeMap;

use crate::{
    corpus::{EPOCH, Incident, LeakTruth, Truth, setup::HOUR, setup::LENGTH},
    detectors::{Alarm, Verdicts},
};

pub use bootstrap::f1_interval;

/// Alarms that are no further apart are one episode, seconds.
const EPISODE: f64 = 6.0 * HOUR;
/// Seconds.
pub const MONTH: f64 = 30.0 * 24.0 * HOUR;

/// What one detector made of one or more incidents.
#[derive(Clone, Debug, Default)]
pub struct Score {
    pub found: f64,
    pub missed: f64,
    /// Pods without a leak that had a false alarm.
    pub false_pods: f64,
    pub healthy_pods: f64,
    pub episodes: f64,
    /// The same, counting only alarms that would have led to a restart.
    pub restarts: f64,
    /// How long containers were healthy, seconds.
    pub healthy: f64,
    /// Lead before the limit: hours, and share of the time since onset or the kill before.
    pub leads: Vec<(f64, f64)>,
    /// Forecasts whose outcome is known, and how many of them held.
    pub forecasts: f64,
    pub forecasts_held: f64,
    /// Logarithm of forecast over true time.
    pub errors: Vec<f64>,
    /// Leaks found, and with a right diagnosis.
    pub diagnosed: f64,
    pub diagnosed_right: f64,
    /// Containers with a habit that is no leak, and how many were rightly named.
    pub habits: f64,
    pub habits_named: f64,
    pub judgements: f64,
    pub seconds: f64,
    /// What went wrong, for people.
    pub notes: Vec<String>,
}

impl Score {
    /// Adds another score to this one, its notes apart.
    pub fn add(&mut self, other: &Self) {
        self.found += other.found;
        self.missed += other.missed;
        self.false_pods += other.false_pods;
        self.healthy_pods += other.healthy_pods;
        self.episodes += other.episodes;
        self.restarts += other.restarts;
        self.healthy += other.healthy;
        self.leads.extend(&other.leads);
        self.forecasts += other.forecasts;
        self.forecasts_held += other.forecasts_held;
        self.errors.extend(&other.errors);
        self.diagnosed += other.diagnosed;
        self.diagnosed_right += other.diagnosed_right;
        self.habits += other.habits;
        self.habits_named += other.habits_named;
        self.judgements += other.judgements;
        self.seconds += other.seconds;
    }

    pub fn precision(&self) -> f64 {
        self.found / (self.found + self.false_pods)
    }

    pub fn recall(&self) -> f64 {
        self.found / (self.found + self.missed)
    }

    pub fn f1(&self) -> f64 {
        2.0 * self.found / (2.0 * self.found + self.missed + self.false_pods)
    }

    /// Episodes of false alarms per month that a container is healthy.
    pub fn false_alarms(&self) -> f64 {
        self.episodes / self.healthy * MONTH
    }
}

/// Counts the alarms about one incident.
pub fn score(incident: &Incident, verdicts: &Verdicts) -> Score {
    let mut score = Score { judgements: verdicts.judgements, seconds: verdicts.seconds, ..Score::default() };
    let mut alarms: BTreeMap<(&str, &str), Vec<&Alarm>> = BTreeMap::new();
    for alarm in &verdicts.alarms {
        alarms.entry((&alarm.pod, &alarm.container)).or_default().push(alarm);
    }
    let mut cases: BTreeMap<&str, Vec<(&Truth, Option<&Alarm>)>> = BTreeMap::new();
    for truth in &incident.truth {
        let of_truth = alarms.remove(&(truth.pod.as_str(), truth.container.as_str())).unwrap_or_default();
        let found = container(&mut score, incident, truth, &of_truth);
        if truth.leaks.is_some() {
            cases.entry(&truth.case).or_default().push((truth, found));
        }
    }
    for truths in cases.values() {
        case(&mut score, incident, truths);
    }
    for ((pod, container), _) in alarms {
        // Nobody may raise alarms about what does not exist.
        score.false_pods += 1.0;
        score.notes.push(format!("{} {pod}/{container}: an alarm about an unknown container", incident.family));
    }
    score
}

/// Counts the false alarms about one container, and gives the alarm that finds its leak.
fn container<'a>(score: &mut Score, incident: &Incident, truth: &Truth, alarms: &[&'a Alarm]) -> Option<&'a Alarm> {
    let onset = truth.leaks.as_ref().map_or(truth.to, |it| it.onset);
    score.healthy += onset - truth.from;
    let named = |it: &Alarm| {
        truth.habit.is_some_and(|since| it.at >= since) && it.diagnosis.is_some_and(|it| truth.expected.contains(&it))
    };
    let wrong: Vec<&Alarm> =
        alarms.iter().copied().filter(|it| !named(it) && (truth.leaks.is_none() || it.at < onset)).collect();
    let all = episodes(wrong.iter().copied(), onset);
    score.episodes += all;
    let restarts = episodes(wrong.iter().copied().filter(|it| it.restart), onset);
    score.restarts += restarts;
    for alarm in wrong.iter().take(3) {
        let what = if alarm.restart { "restart" } else { "alarm" };
        score.notes.push(note(incident, truth, alarm, &format!("false {what}")));
    }
    let Some(leak) = &truth.leaks else {
        score.healthy_pods += 1.0;
        score.false_pods += f64::from(u8::from(all > 0.0));
        if truth.habit.is_some_and(|since| since < truth.to) {
            score.habits += 1.0;
            if alarms.iter().any(|it| named(it)) {
                score.habits_named += 1.0;
            } else {
                score.notes.push(format!("{} {}/{}: habit not named", incident.family, incident.namespace, truth.pod));
            }
        }
        return None;
    };
    alarms.iter().copied().find(|it| it.until >= leak.onset && it.at <= leak.until)
}

/// How many episodes some alarms are; an alarm that goes on after `end` is cut there.
fn episodes<'a>(alarms: impl Iterator<Item = &'a Alarm>, end: f64) -> f64 {
    let mut last = f64::NEG_INFINITY;
    let mut count = 0.0;
    for alarm in alarms {
        if alarm.at - last > EPISODE {
            count += 1.0;
        }
        last = last.max(alarm.until.min(end));
    }
    count
}

/// Counts a leak as found or missed: it is found if the leak of any of its pods is.
fn case(score: &mut Score, incident: &Incident, truths: &[(&Truth, Option<&Alarm>)]) {
    let found = truths.iter().filter_map(|(truth, alarm)| Some((truth, (*alarm)?, truth.leaks.as_ref()?)));
    let first = found.min_by(|a, b| a.1.at.total_cmp(&b.1.at));
    let Some((truth, alarm, leak)) = first else {
        score.missed += 1.0;
        let truth = truths[0].0;
        let when = truth.leaks.as_ref().map_or(String::new(), |it| {
            let hour = |it: f64| format!("{:.1}", (it - EPOCH) / HOUR);
            format!(
                "onset {} h, limit at {:?} h",
                hour(it.onset),
                it.ooms.iter().take(3).map(|it| hour(*it)).collect::<Vec<_>>()
            )
        });
        score
            .notes
            .push(format!("missed {} {}/{}: {when}; {}", incident.family, truth.namespace, truth.pod, incident.about));
        return;
    };
    score.found += 1.0;
    if let Some(diagnosis) = alarm.diagnosis {
        score.diagnosed += 1.0;
        if truth.expected.contains(&diagnosis) {
            score.diagnosed_right += 1.0;
        } else {
            score.notes.push(note(incident, truth, alarm, &format!("wrong diagnosis, expected {:?},", truth.expected)));
        }
    }
    lead(score, leak, alarm);
    forecast(score, leak, alarm);
}

fn lead(score: &mut Score, leak: &LeakTruth, alarm: &Alarm) {
    let at = alarm.at.max(leak.onset);
    if let Some(oom) = leak.ooms.iter().copied().find(|it| *it >= at) {
        let since = leak.ooms.iter().copied().filter(|it| *it < at).fold(leak.onset, f64::max);
        score.leads.push(((oom - at) / HOUR, (oom - at) / (oom - since)));
    }
}

/// A forecast is known to be right or wrong if memory reached the limit, or did not while the forecast said so.
fn forecast(score: &mut Score, leak: &LeakTruth, alarm: &Alarm) {
    let Some((soonest, expected, latest)) = alarm.forecast.filter(|_| alarm.at >= leak.onset) else { return };
    match leak.ooms.iter().copied().find(|it| *it >= alarm.at) {
        Some(oom) => {
            let truly = oom - alarm.at;
            score.forecasts += 1.0;
            score.forecasts_held += f64::from(u8::from(soonest <= truly && truly <= latest));
            if expected > 0.0 && truly > 0.0 {
                score.errors.push((expected / truly).ln());
            }
        }
        None if alarm.at + latest < EPOCH + LENGTH => score.forecasts += 1.0,
        None => {}
    }
}

fn note(incident: &Incident, truth: &Truth, alarm: &Alarm, what: &str) -> String {
    let diagnosis = alarm.diagnosis.map_or(String::new(), |it| format!(" {it}"));
    let onset = truth.leaks.as_ref().map_or(String::new(), |it| format!(", onset {:.1} h", (it.onset - EPOCH) / HOUR));
    format!(
        "{what}{diagnosis} {} {}/{}/{} of {} at {:.2} h (pod from {:.2} h{onset}): {}; {}",
        incident.family,
        truth.namespace,
        truth.pod,
        truth.container,
        truth.workload,
        (alarm.at - EPOCH) / HOUR,
        (truth.from - EPOCH) / HOUR,
        alarm.message,
        incident.about,
    )
}
