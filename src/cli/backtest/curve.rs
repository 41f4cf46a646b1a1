//! An offender's curves, small enough to draw: open connections (or goroutines, where they are what is odd or nobody
//! counts connections), memory, and its limit.
//!
//! Curves are for the eye. What is odd (a copy of a series, an infinite value) is left out here; the judgement has its
//! own, stricter reading.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    decide::{Diagnosis, Policy, Sample, Series, oom::Container, replay::Recording, series::interval},
    signals::{LabelSet, Merge, Signal, Source, catalog},
};

/// A curve has at most twice as many points.
const BUCKETS: usize = 300;
/// Values beyond this are drawn here, so that their differences are numbers, too.
const LARGEST: f64 = 1e300;
/// A pause of so many usual distances is a gap.
const GAP: f64 = 4.0;

/// What there is to draw of one container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// Open connections, or goroutines.
    pub activity: Option<Curve>,
    /// Memory, bytes.
    pub memory: Option<Curve>,
    /// The memory limit, bytes: the newest.
    pub limit: Option<f64>,
}

/// One curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What it shows.
    pub signal: Signal,
    /// Pieces without gaps, in time order. None is empty.
    pub pieces: Vec<Vec<Sample>>,
}

impl Curves {
    /// The curves of a container in a time that show what was diagnosed, if anything was.
    #[must_use]
    pub fn of(
        recording: &Recording,
        policy: &Policy,
        (whom, diagnosis): (&Container, Option<Diagnosis>),
        span: (Timestamp, Timestamp),
    ) -> Self {
        let (from, to) = (seconds(span.0), seconds(span.1));
        // Of channels that idle out the connections are closed: only their goroutines rise.
        let telling = match diagnosis {
            Some(Diagnosis::IdleChannelResidue) => [Signal::Goroutines, Signal::OpenConnections],
            _ => [Signal::OpenConnections, Signal::Goroutines],
        };
        let samples = |signal| {
            let mut samples = samples(recording, policy.source(signal), signal, whom);
            samples.retain(|it| (from..=to).contains(&it.at));
            Some(samples).filter(|it| !it.is_empty())
        };
        let curve = |signal| samples(signal).map(|it| Curve { signal, pieces: pieces(&it) });
        Self {
            activity: telling.into_iter().find_map(curve),
            memory: curve(Signal::Memory),
            limit: samples(Signal::MemoryLimit).and_then(|it| it.last().map(|it| it.value)).filter(|it| *it > 0.0),
        }
    }
}

/// The samples of the best source that has any, in time order and finite.
fn samples(recording: &Recording, name: &str, signal: Signal, whom: &Container) -> Vec<Sample> {
    let any = matches!(name, catalog::AUTO | catalog::API);
    let answers = recording.answers.iter().filter(|it| it.source.signal == signal && (any || it.source.name == name));
    for answer in answers {
        let Ok(matrix) = &answer.result else { continue };
        let about: Vec<&Series> = matrix.series.iter().filter(|it| is_about(&answer.source, it, whom)).collect();
        let mut samples = merged(&answer.source, &about);
        samples.retain(|it| it.value.is_finite());
        if !samples.is_empty() {
            return samples;
        }
    }
    Vec::new()
}

fn is_about(source: &Source, series: &Series, (namespace, pod, container): &Container) -> bool {
    source
        .naming
        .whom(&series.labels)
        .is_some_and(|it| it.namespace == namespace && it.pod == pod && it.container.is_none_or(|it| it == container))
}

fn merged(source: &Source, about: &[&Series]) -> Vec<Sample> {
    let Merge::SumOver(parts) = source.merge else {
        let mut all: Vec<Sample> = about.iter().flat_map(|it| it.samples.iter().copied()).collect();
        all.sort_by(|a, b| a.at.total_cmp(&b.at));
        return all;
    };
    let whole =
        |series: &Series| -> LabelSet { series.labels.iter().filter(|(name, _)| !parts.contains(name)).collect() };
    let Some(first) = about.first().map(|it| whole(it)) else { return Vec::new() };
    let mut sums: BTreeMap<u64, Sample> = BTreeMap::new();
    for sample in about.iter().filter(|it| whole(it) == first).flat_map(|it| &it.samples) {
        // Times are positive, so that their bits sort as they do.
        sums.entry(sample.at.to_bits()).or_insert(Sample { at: sample.at, value: 0.0 }).value += sample.value;
    }
    sums.into_values().collect()
}

/// At most two points per bucket, the lowest and the highest, and a cut where samples are missing.
fn pieces(samples: &[Sample]) -> Vec<Vec<Sample>> {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return Vec::new() };
    let width = ((last.at - first.at) / BUCKETS as f64).max(f64::MIN_POSITIVE);
    let gap = GAP * interval(samples).unwrap_or(0.0).max(width);
    let bucket = |it: &Sample| ((it.at - first.at) / width).floor().min(BUCKETS as f64 - 1.0);
    let mut pieces: Vec<Vec<Sample>> = Vec::new();
    for run in samples.chunk_by(|a, b| b.at - a.at <= gap) {
        let mut piece = Vec::new();
        for run in run.chunk_by(|a, b| bucket(a).total_cmp(&bucket(b)).is_eq()) {
            let low = run.iter().min_by(|a, b| a.value.total_cmp(&b.value));
            let high = run.iter().max_by(|a, b| a.value.total_cmp(&b.value));
            let mut both: Vec<Sample> = [low, high].into_iter().flatten().map(|it| clamped(*it)).collect();
            both.sort_by(|a, b| a.at.total_cmp(&b.at));
            both.dedup();
            piece.extend(both);
        }
        pieces.push(piece);
    }
    pieces
}

fn clamped(sample: Sample) -> Sample {
    Sample { value: sample.value.clamp(-LARGEST, LARGEST), ..sample }
}

/// A time as samples have it, Unix seconds.
#[must_use]
pub fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn series(name: &str, labels: &[(&str, &str)], values: &[(f64, f64)]) -> Series {
        let whom = [("__name__", name), ("namespace", "shop"), ("pod", "a")];
        let labels = whom.iter().chain(labels).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Series { labels, samples: values.iter().map(|&(at, value)| Sample { at, value }).collect() }
    }

    fn curves(series: Vec<Series>) -> Curves {
        curves_of(series, None)
    }

    fn curves_of(series: Vec<Series>, diagnosis: Option<Diagnosis>) -> Curves {
        let rules = serde_json::from_value(serde_json::json!({"allPods": true})).expect("rules");
        let policy = Policy::parse(&rules).expect("a policy");
        let whom = ("shop".to_owned(), "a".to_owned(), "app".to_owned());
        let end = Timestamp::from_second(1_000_000).expect("a time");
        Curves::of(&Recording::of(series), &policy, (&whom, diagnosis), (Timestamp::UNIX_EPOCH, end))
    }

    fn values(curve: Option<Curve>) -> Vec<f64> {
        curve.expect("a curve").pieces.concat().iter().map(|it| it.value).collect()
    }

    #[test]
    fn connections_of_several_targets_are_added_and_copies_are_not() {
        let name = "grpc_subchannel_open_connections";
        let part = |target, instance| {
            series(name, &[("grpc_target", target), ("instance", instance)], &[(1.0, 2.0), (2.0, 3.0)])
        };
        let curves = curves(vec![part("x", "1"), part("y", "1"), part("x", "2")]);
        assert_eq!(values(curves.activity), [4.0, 6.0]);
    }

    #[test]
    fn goroutines_stand_in_for_connections_that_nobody_counts() {
        let curves = curves(vec![series("go_goroutines", &[], &[(1.0, 7.0)])]);
        assert_eq!(curves.activity.as_ref().map(|it| it.signal), Some(Signal::Goroutines));
        assert_eq!((curves.memory, curves.limit), (None, None));
    }

    #[test]
    fn of_channels_that_idle_out_goroutines_are_drawn_for_their_connections_do_not_rise() {
        let both = || {
            let connections = series("grpc_subchannel_open_connections", &[], &[(1.0, 90.0)]);
            vec![connections, series("go_goroutines", &[], &[(1.0, 700.0)])]
        };
        let drawn = |diagnosis| values(curves_of(both(), diagnosis).activity);
        assert_eq!(drawn(Some(Diagnosis::IdleChannelResidue)), [700.0]);
        assert_eq!(drawn(Some(Diagnosis::ConnectionLeak)), [90.0]);
        assert_eq!(drawn(None), [90.0]);
    }

    #[test]
    fn incarnations_follow_each_other_and_other_containers_are_left_out() {
        let memory = |container, id, values: &[(f64, f64)]| {
            series("container_memory_working_set_bytes", &[("container", container), ("id", id)], values)
        };
        let series = vec![
            memory("app", "2", &[(3.0, 1.0)]),
            memory("app", "1", &[(1.0, 5.0)]),
            memory("other", "3", &[(2.0, 9.0)]),
        ];
        assert_eq!(values(curves(series).memory), [5.0, 1.0]);
    }

    #[test]
    fn a_gap_cuts_the_curve() {
        let values: Vec<(f64, f64)> =
            (0..100).filter(|it| !(40..80).contains(it)).map(|it| (f64::from(it), 1.0)).collect();
        let pieces = curves(vec![series("go_goroutines", &[], &values)]).activity.expect("a curve").pieces;
        assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [40, 20]);
    }

    #[test]
    fn a_long_curve_keeps_its_peaks_in_few_points() {
        let value = |n: u32| if n == 12_345 { 1e9 } else { f64::from(n % 10) };
        let long: Vec<(f64, f64)> = (0..100_000).map(|n| (f64::from(n), value(n))).collect();
        let values = values(curves(vec![series("go_goroutines", &[], &long)]).activity);
        assert!(values.len() <= 2 * BUCKETS, "{}", values.len());
        assert!(values.contains(&1e9));
    }

    proptest! {
        #[test]
        fn whatever_was_recorded_there_are_finite_points_and_not_many(
            values in proptest::collection::vec((0.0..1e6_f64, any::<f64>()), 0..50),
        ) {
            let mut values = values;
            values.sort_by(|a, b| a.0.total_cmp(&b.0));
            let activity = curves(vec![series("go_goroutines", &[], &values)]).activity;
            for point in activity.iter().flat_map(|it| it.pieces.concat()) {
                prop_assert!(point.value.abs() <= LARGEST);
            }
        }
    }
}
