//! What a replay was worth: its events, put together by container and held against the OOM kills that happened.
//!
//! An alert that no kill followed is not called false: the container may have been rolled out in time. It is listed. One
//! whose kill was not to be expected within the recording is listed apart, and no part of the precision.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::decide::{
    Diagnosis, Target,
    oom::{Container, Kills},
    replay::{Event, EventKind, Replayed},
};

/// One container that was found, or killed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offender {
    /// Namespace, pod, container.
    pub container: Container,
    /// `Kind/name`.
    pub workload: Option<String>,
    /// The newest diagnosis.
    pub diagnosis: Option<Diagnosis>,
    /// The evidence of the newest finding.
    pub message: String,
    /// When it was first found.
    pub found: Option<Timestamp>,
    /// When people would have been alerted first.
    pub alerted: Option<Timestamp>,
    /// When memory was expected to reach its limit, by the newest forecast.
    pub expected: Option<Timestamp>,
    /// When it would have been restarted.
    pub restarts: Vec<Timestamp>,
    /// When it was OOM-killed.
    pub kills: Vec<Timestamp>,
    /// Why restarts were withheld: the reasons, and how often each began.
    pub withheld: BTreeMap<&'static str, u64>,
}

impl Offender {
    /// The first kill after the first alert.
    #[must_use]
    pub fn followed_by(&self) -> Option<Timestamp> {
        let alerted = self.alerted?;
        self.kills.iter().copied().find(|it| *it > alerted)
    }

    /// From the first alert to the next kill, seconds.
    #[must_use]
    pub fn lead(&self) -> Option<f64> {
        Some(self.followed_by()?.duration_since(self.alerted?).as_secs_f64())
    }
}

/// A replay, held against what happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// Everybody who was found or killed: killed ones first, then by the time of the finding.
    pub offenders: Vec<Offender>,
    /// Whether the recording could tell of kills.
    pub kills_known: bool,
    /// Kills of containers that the policy does not select, or that nothing measures. They are not scored.
    pub kills_elsewhere: usize,
    /// Days that were replayed.
    pub days: f64,
    /// When the replay ends.
    pub end: Timestamp,
}

impl Score {
    /// Scores a replay of these targets over a time.
    #[must_use]
    pub fn new(replayed: &Replayed, kills: &Kills, targets: &[Target], (from, to): (Timestamp, Timestamp)) -> Self {
        let mut offenders: BTreeMap<Container, Offender> = BTreeMap::new();
        for event in &replayed.events {
            let key = (event.namespace.clone(), event.pod.clone(), event.container.clone());
            let offender =
                offenders.entry(key.clone()).or_insert_with(|| Offender { container: key, ..Offender::default() });
            offender.add(event);
        }
        let selected: BTreeSet<Container> = targets.iter().map(key).collect();
        let mut kills_elsewhere = 0;
        for (container, times) in &kills.of {
            let times: Vec<Timestamp> = times.iter().copied().filter(|it| (from..=to).contains(it)).collect();
            // Where no source names containers, the pod has one, without a name.
            let nameless = (container.0.clone(), container.1.clone(), String::new());
            match [container, &nameless].into_iter().find(|it| selected.contains(*it)) {
                None => kills_elsewhere += times.len(),
                Some(_) if times.is_empty() => {}
                Some(key) => {
                    let new = || Offender { container: key.clone(), ..Offender::default() };
                    offenders.entry(key.clone()).or_insert_with(new).kills.extend(times);
                }
            }
        }
        for target in targets {
            if let Some(offender) = offenders.get_mut(&key(target))
                && offender.workload.is_none()
            {
                offender.workload = target.workload.as_ref().map(|it| format!("{}/{}", it.kind, it.name));
            }
        }
        let mut offenders: Vec<Offender> = offenders.into_values().filter(Offender::matters).collect();
        offenders.sort_by_key(|it| (it.kills.is_empty(), it.found.unwrap_or(Timestamp::MAX), it.container.clone()));
        let days = to.duration_since(from).as_secs_f64() / 86_400.0;
        Self { offenders, kills_known: kills.known, kills_elsewhere, days, end: to }
    }

    /// Those who were found.
    pub fn found(&self) -> impl Iterator<Item = &Offender> {
        self.offenders.iter().filter(|it| it.found.is_some())
    }

    /// Those about whom people would have been alerted.
    pub fn alerted(&self) -> impl Iterator<Item = &Offender> {
        self.offenders.iter().filter(|it| it.alerted.is_some())
    }

    /// Those who were killed.
    pub fn killed(&self) -> impl Iterator<Item = &Offender> {
        self.offenders.iter().filter(|it| !it.kills.is_empty())
    }

    /// Those who were killed after an alert.
    pub fn warned(&self) -> impl Iterator<Item = &Offender> {
        self.alerted().filter(|it| it.followed_by().is_some())
    }

    /// Alerts that no kill followed within the recording, though it was to be expected.
    pub fn unconfirmed(&self) -> impl Iterator<Item = &Offender> {
        self.unkilled().filter(|it| !self.outlasts_it(it))
    }

    /// Alerts that no kill followed, which was to be expected only after the recording.
    pub fn undecided(&self) -> impl Iterator<Item = &Offender> {
        self.unkilled().filter(|it| self.outlasts_it(it))
    }

    /// Whether memory was expected to last longer than the replay.
    fn outlasts_it(&self, offender: &Offender) -> bool {
        offender.expected.is_some_and(|it| it > self.end)
    }

    fn unkilled(&self) -> impl Iterator<Item = &Offender> {
        self.alerted().filter(|it| it.followed_by().is_none())
    }

    /// Of the alerted containers about which the recording can tell, the share that was killed later. `None` without
    /// any, or when kills are not known.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        let (right, decided) = (self.warned().count(), self.alerted().count() - self.undecided().count());
        self.kills_known.then(|| share(right, decided)).flatten()
    }

    /// Of the killed containers, the share about which people would have been alerted before. `None` without kills.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        share(self.warned().count(), self.killed().count())
    }

    /// The times from alert to kill, seconds, ascending.
    #[must_use]
    pub fn leads(&self) -> Vec<f64> {
        let mut leads: Vec<f64> = self.offenders.iter().filter_map(Offender::lead).collect();
        leads.sort_by(f64::total_cmp);
        leads
    }

    /// Restarts in the whole time.
    #[must_use]
    pub fn restarts(&self) -> usize {
        self.offenders.iter().map(|it| it.restarts.len()).sum()
    }

    /// Restarts per day. `None` when the time is too short to say: less than an hour.
    #[must_use]
    pub fn restarts_per_day(&self) -> Option<f64> {
        (self.days >= 1.0 / 24.0).then(|| number(self.restarts()) / self.days)
    }

    /// Why restarts were withheld: how often each reason began.
    #[must_use]
    pub fn withheld(&self) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        for (reason, count) in self.offenders.iter().flat_map(|it| &it.withheld) {
            *all.entry(*reason).or_default() += count;
        }
        all
    }
}

impl Offender {
    fn add(&mut self, event: &Event) {
        self.workload = event.workload.clone().or_else(|| self.workload.take());
        if let Some(forecast) = event.forecast {
            self.expected = Some(forecast.expected_at(event.at));
        }
        match event.kind {
            EventKind::Finding => {
                self.found = self.found.or(Some(event.at));
                self.diagnosis = event.diagnosis.or(self.diagnosis);
                self.message.clone_from(&event.message);
            }
            EventKind::Alert => self.alerted = self.alerted.or(Some(event.at)),
            EventKind::Restart => self.restarts.push(event.at),
            EventKind::Withheld => *self.withheld.entry(event.because.unwrap_or("Other")).or_default() += 1,
            EventKind::Cleared | EventKind::Annotate | EventKind::Resolve => {}
        }
    }

    fn matters(&self) -> bool {
        self.found.is_some() || self.alerted.is_some() || !self.restarts.is_empty() || !self.kills.is_empty()
    }
}

fn key(target: &Target) -> Container {
    let subject = &target.subject;
    (subject.namespace.clone(), subject.pod.clone(), subject.container.clone())
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| number(part) / number(whole))
}

fn number(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::decide::{Forecast, Subject, Workload};

    pub fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + hours * 3_600).expect("a time")
    }

    pub fn event(pod: &str, kind: EventKind, hours: i64) -> Event {
        Event {
            at: at(hours),
            policy: "shop/clients".to_owned(),
            namespace: "shop".to_owned(),
            pod: pod.to_owned(),
            container: "app".to_owned(),
            workload: Some("Deployment/orders".to_owned()),
            revision: None,
            kind,
            diagnosis: Some(Diagnosis::DialPerCall),
            confidence: Some(99.9),
            message: "open connections rose from 10 to 900".to_owned(),
            because: (kind == EventKind::Withheld).then_some("Cooldown"),
            method: (kind == EventKind::Restart).then_some("Evict"),
            forecast: None,
        }
    }

    fn target(pod: &str) -> Target {
        let text = |it: &str| it.to_owned();
        Target {
            subject: Subject { namespace: text("shop"), pod: text(pod), uid: String::new(), container: text("app") },
            workload: Some(Workload { namespace: text("shop"), kind: text("Deployment"), name: text("orders") }),
            ..Target::default()
        }
    }

    /// `a` is alerted and killed, `b` is alerted and lives, `c` is killed before its alert, `d` is killed unseen.
    pub fn example() -> (Replayed, Score) {
        let events = vec![
            event("a", EventKind::Finding, 1),
            event("a", EventKind::Alert, 2),
            event("b", EventKind::Finding, 3),
            event("b", EventKind::Alert, 4),
            event("b", EventKind::Withheld, 5),
            event("a", EventKind::Restart, 5),
            event("c", EventKind::Finding, 6),
            event("b", EventKind::Cleared, 7),
            event("c", EventKind::Alert, 8),
        ];
        let inconclusive = [("WarmingUp", 25)].into_iter().collect();
        let replayed = Replayed { events, containers: 5, judgements: 100, inconclusive };
        let targets: Vec<Target> = ["a", "b", "c", "d", "e"].map(target).into();
        let score = Score::new(&replayed, &killed(), &targets, (at(0), at(48)));
        (replayed, score)
    }

    fn killed() -> Kills {
        let of = |pod: &str, hours: &[i64]| {
            (("shop".to_owned(), pod.to_owned(), "app".to_owned()), hours.iter().map(|it| at(*it)).collect())
        };
        let all = [of("a", &[12, 20]), of("c", &[7]), of("d", &[9]), of("x", &[3]), of("b", &[99])];
        Kills { of: all.into_iter().collect(), known: true }
    }

    fn pods<'a>(of: impl Iterator<Item = &'a Offender>) -> Vec<&'a str> {
        of.map(|it| it.container.1.as_str()).collect()
    }

    #[test]
    fn the_lead_is_the_time_from_the_first_alert_to_the_next_kill() {
        let (_, score) = example();
        assert_eq!(score.leads(), [36_000.0]);
        assert_eq!(pods(score.warned()), ["a"]);
    }

    #[test]
    fn precision_is_of_the_alerted_and_recall_of_the_killed() {
        let (_, score) = example();
        assert_eq!(score.precision(), Some(1.0 / 3.0));
        assert_eq!(score.recall(), Some(1.0 / 3.0));
        assert_eq!(pods(score.killed()), ["a", "c", "d"]);
    }

    #[test]
    fn an_alert_that_no_kill_followed_is_listed_even_if_a_kill_came_before_it() {
        let (_, score) = example();
        assert_eq!(pods(score.unconfirmed()), ["c", "b"]);
    }

    #[test]
    fn an_alert_whose_kill_was_to_be_expected_after_the_end_is_undecided_and_no_part_of_the_precision() {
        let end = at(48);
        let scored = |hours: f64| {
            let (mut replayed, _) = example();
            let alert = replayed.events.iter_mut().find(|it| it.pod == "b" && it.kind == EventKind::Alert);
            let expected = hours * 3_600.0;
            alert.expect("an alert").forecast =
                Some(Forecast { soonest: 60.0, expected, latest: 2.0 * expected, restart_by: 50.0 });
            Score::new(&replayed, &killed(), &["a", "b", "c", "d", "e"].map(target), (at(0), end))
        };
        let late = scored(45.0);
        assert_eq!((pods(late.undecided()), pods(late.unconfirmed())), (vec!["b"], vec!["c"]));
        assert_eq!(late.precision(), Some(0.5));
        let due = scored(43.0);
        assert_eq!((due.undecided().count(), due.precision()), (0, Some(1.0 / 3.0)));
    }

    #[test]
    fn a_kill_of_somebody_the_policy_does_not_select_is_counted_apart() {
        let (_, score) = example();
        assert_eq!(score.kills_elsewhere, 1);
        assert!(!pods(score.offenders.iter()).contains(&"x"));
    }

    #[test]
    fn restarts_are_counted_per_day_and_withheld_ones_by_reason() {
        let (_, score) = example();
        assert_eq!((score.restarts(), score.restarts_per_day()), (1, Some(0.5)));
        assert_eq!(score.withheld(), BTreeMap::from([("Cooldown", 1)]));
    }

    #[test]
    fn without_a_witness_of_kills_there_is_no_precision() {
        let (replayed, _) = example();
        let score = Score::new(&replayed, &Kills::default(), &[], (at(0), at(0)));
        assert_eq!((score.precision(), score.recall(), score.restarts_per_day()), (None, None, None));
    }
}
