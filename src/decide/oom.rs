//! When the kernel killed a container for its memory, read off what was recorded. Two witnesses: kube-state-metrics
//! says why a container last ended, and cAdvisor counts kills. What both saw is one kill.
//!
//! A kill before the recording is not one of the recording: a value that stands at its beginning says nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    decide::{Sample, Series, replay::Recording},
    signals::Signal,
};

/// kube-state-metrics: why the container last ended. The label `reason` says it, and the value is 1.
pub const LAST_REASON: &str = "kube_pod_container_status_last_terminated_reason";
/// cAdvisor: kills in the container's cgroup, counter.
pub const OOM_EVENTS: &str = "container_oom_events_total";
/// The metrics that tell of kills, besides the restarts that the catalog knows.
pub const METRICS: [&str; 2] = [LAST_REASON, OOM_EVENTS];

/// Reports by different witnesses within this time are about the same kill, seconds: cAdvisor and kube-state-metrics
/// are scraped up to a minute apart, and a restart shows only when the container runs again.
const SAME: f64 = 300.0;
/// A series that is younger than the recording by less than this was there at its beginning, seconds.
const BEGINNING: f64 = 120.0;

/// A container: namespace, pod, name.
pub type Container = (String, String, String);

/// The kills of a recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kills {
    /// When, in time order, by container.
    pub of: BTreeMap<Container, Vec<Timestamp>>,
    /// Whether anything in the recording could tell of kills. If not, no kill does not mean that there was none.
    pub known: bool,
}

/// What the recording says about one container.
#[derive(Default)]
struct Reports<'a> {
    reasons: Vec<&'a Series>,
    restarts: Vec<&'a Series>,
    events: Vec<&'a Series>,
}

/// Finds the kills of a recording.
#[must_use]
pub fn kills(recording: &Recording) -> Kills {
    let restarts = recording.answers.iter().filter(|it| it.source.signal == Signal::Restarts);
    let restarts: Vec<&Series> = restarts.flat_map(|it| &it.result).flat_map(|it| &it.series).collect();
    let mut reports: BTreeMap<Container, Reports<'_>> = BTreeMap::new();
    // A count that never moved says that nobody was killed; one that moved does not say why.
    let moved = |it: &&Series| it.samples.windows(2).any(|pair| pair[1].value > pair[0].value);
    let mut known = !restarts.is_empty() && !restarts.iter().any(moved);
    for series in restarts {
        if let Some(container) = container(series) {
            reports.entry(container).or_default().restarts.push(series);
        }
    }
    for series in &recording.others {
        let Some(container) = container(series) else { continue };
        match series.labels.get("__name__") {
            Some(LAST_REASON) => {
                known = true;
                if series.labels.get("reason") == Some("OOMKilled") {
                    reports.entry(container).or_default().reasons.push(series);
                }
            }
            Some(OOM_EVENTS) => {
                known = true;
                reports.entry(container).or_default().events.push(series);
            }
            _ => {}
        }
    }
    let begin = beginning(recording);
    let of = reports.into_iter().map(|(container, it)| (container, it.kills(begin)));
    Kills { of: of.filter(|(_, kills)| !kills.is_empty()).collect(), known }
}

fn container(series: &Series) -> Option<Container> {
    let label = |name: &str| series.labels.filled(name).map(str::to_owned);
    Some((label("namespace")?, label("pod")?, label("container").filter(|it| it != "POD")?))
}

/// The first sample of all, Unix seconds.
fn beginning(recording: &Recording) -> f64 {
    let answered = recording.answers.iter().flat_map(|it| &it.result).flat_map(|it| &it.series);
    let firsts = answered.chain(&recording.others).filter_map(|it| it.samples.first());
    firsts.map(|it| it.at).fold(f64::INFINITY, f64::min)
}

impl Reports<'_> {
    fn kills(&self, begin: f64) -> Vec<Timestamp> {
        let mut kills = self.by_reason(begin);
        for series in &self.events {
            merge(&mut kills, counted(series, begin));
        }
        kills.sort_by(f64::total_cmp);
        kills.into_iter().filter_map(time).collect()
    }

    /// Restarts whose reason was an OOM kill, and reasons that appeared although no restart was seen.
    fn by_reason(&self, begin: f64) -> Vec<f64> {
        let mut kills = Vec::new();
        for series in &self.restarts {
            let restarted = series.samples.windows(2).filter(|pair| pair[1].value > pair[0].value);
            merge(&mut kills, restarted.map(|pair| pair[1].at).filter(|at| self.was_reason(*at)).collect());
        }
        for series in &self.reasons {
            merge(&mut kills, appeared(&series.samples, begin));
        }
        kills
    }

    /// Whether the reason stood at a restart, or came with the scrape after it.
    fn was_reason(&self, at: f64) -> bool {
        let stands = |series: &&Series| {
            let after = series.samples.partition_point(|it| it.at < at);
            series.samples.get(after).is_some_and(|it| it.at - at <= BEGINNING && it.value > 0.0)
        };
        self.reasons.iter().any(stands)
    }
}

/// When a value became 1 that had been 0 or absent.
fn appeared(samples: &[Sample], begin: f64) -> Vec<f64> {
    let first = samples.first().filter(|it| it.value > 0.0 && it.at > begin + BEGINNING);
    let later = samples.windows(2).filter(|pair| pair[0].value <= 0.0 && pair[1].value > 0.0).map(|pair| pair[1].at);
    first.map(|it| it.at).into_iter().chain(later).collect()
}

/// When a counter grew. One that is born above zero grew at birth.
fn counted(series: &Series, begin: f64) -> Vec<f64> {
    let first = series.samples.first().filter(|it| it.value > 0.0 && it.at > begin + BEGINNING);
    let later = series.samples.windows(2).filter(|pair| pair[1].value > pair[0].value).map(|pair| pair[1].at);
    first.map(|it| it.at).into_iter().chain(later).collect()
}

/// Adds what another witness saw and these did not.
fn merge(kills: &mut Vec<f64>, others: Vec<f64>) {
    let seen = kills.clone();
    kills.extend(others.into_iter().filter(|it| seen.iter().all(|seen| (seen - it).abs() > SAME)));
}

fn time(at: f64) -> Option<Timestamp> {
    Timestamp::from_millisecond((at * 1_000.0).round() as i64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, labels: &[(&str, &str)], values: &[(f64, f64)]) -> Series {
        let whom = [("__name__", name), ("namespace", "shop"), ("pod", "orders-1"), ("container", "app")];
        let labels = whom.iter().chain(labels).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Series { labels, samples: values.iter().map(|&(at, value)| Sample { at, value }).collect() }
    }

    /// The kills' times, in a recording that begins at 0.
    fn found(mut series: Vec<Series>) -> Vec<i64> {
        series.push(self::series("go_goroutines", &[], &[(0.0, 1.0)]));
        let kills = kills(&Recording::of(series));
        kills.of.into_values().flatten().map(Timestamp::as_second).collect()
    }

    fn restarts(values: &[(f64, f64)]) -> Series {
        series("kube_pod_container_status_restarts_total", &[], values)
    }

    fn reason(reason: &str, values: &[(f64, f64)]) -> Series {
        series(LAST_REASON, &[("reason", reason)], values)
    }

    #[test]
    fn a_restart_whose_reason_was_an_oom_kill_is_one_and_another_restart_is_none() {
        let counts = restarts(&[(0.0, 0.0), (600.0, 1.0), (630.0, 1.0), (5_000.0, 2.0), (5_030.0, 2.0)]);
        assert_eq!(found(vec![counts.clone(), reason("OOMKilled", &[(630.0, 1.0), (4_970.0, 1.0)])]), [600]);
        assert_eq!(found(vec![counts.clone(), reason("Error", &[(600.0, 1.0), (5_000.0, 1.0)])]), [0; 0]);
        assert_eq!(found(vec![counts, reason("OOMKilled", &[(600.0, 1.0), (5_000.0, 1.0)])]), [600, 5_000]);
    }

    #[test]
    fn kills_within_minutes_of_each_other_are_told_apart_by_the_restart_count() {
        let counts = restarts(&[(0.0, 0.0), (600.0, 1.0), (660.0, 2.0), (720.0, 3.0)]);
        assert_eq!(
            found(vec![counts, reason("OOMKilled", &[(600.0, 1.0), (660.0, 1.0), (720.0, 1.0)])]),
            [600, 660, 720]
        );
    }

    #[test]
    fn what_both_witnesses_saw_is_one_kill() {
        let counts = restarts(&[(0.0, 0.0), (600.0, 1.0)]);
        let events = series(OOM_EVENTS, &[], &[(0.0, 0.0), (545.0, 1.0), (3_000.0, 2.0)]);
        assert_eq!(found(vec![counts, reason("OOMKilled", &[(600.0, 1.0)]), events]), [600, 3_000]);
    }

    #[test]
    fn what_stands_at_the_beginning_happened_before_the_recording() {
        let events = series(OOM_EVENTS, &[], &[(10.0, 4.0), (40.0, 4.0)]);
        assert_eq!(found(vec![reason("OOMKilled", &[(10.0, 1.0), (40.0, 1.0)]), events]), [0; 0]);
        assert_eq!(found(vec![reason("OOMKilled", &[(900.0, 1.0)])]), [900]);
        assert_eq!(found(vec![reason("OOMKilled", &[(10.0, 0.0), (40.0, 1.0)])]), [40]);
    }

    #[test]
    fn without_a_witness_it_is_not_known_that_nobody_was_killed() {
        assert!(!kills(&Recording::of(vec![series("go_goroutines", &[], &[(0.0, 1.0)])])).known);
        assert!(kills(&Recording::of(vec![restarts(&[(0.0, 0.0), (60.0, 0.0)])])).known);
        assert!(!kills(&Recording::of(vec![restarts(&[(0.0, 0.0), (60.0, 1.0)])])).known);
        let with_reason = vec![restarts(&[(0.0, 0.0), (60.0, 1.0)]), reason("Error", &[(60.0, 1.0)])];
        assert!(kills(&Recording::of(with_reason)).known);
    }
}
