//! Samples as the metrics backend stores them, and the few questions we ask of a run of them: how old, how regular,
//! how complete, how much did a counter grow. Age, gaps and resets are computed here, never by a query.

use std::{
    ops::{Deref, Range},
    slice,
    sync::Arc,
};

use crate::signals::LabelSet;

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When, Unix seconds.
    pub at: f64,
    /// The value. May be NaN or infinite as it arrives.
    pub value: f64,
}

/// Samples that are shared, not copied: a run of them, or a piece of one. Cutting costs nothing, so that every evaluation
/// of a long past can have its own piece.
#[derive(Clone, Debug)]
pub struct Samples {
    all: Arc<[Sample]>,
    from: usize,
    to: usize,
}

impl Samples {
    /// A piece, by position; what lies outside is left out.
    #[must_use]
    pub fn piece(&self, range: Range<usize>) -> Self {
        let to = (self.from + range.end).min(self.to);
        Self { all: Arc::clone(&self.all), from: (self.from + range.start).min(to), to }
    }

    /// The newest, at most so many.
    #[must_use]
    pub fn newest(&self, count: usize) -> Self {
        self.piece(self.len().saturating_sub(count)..self.len())
    }
}

impl From<Vec<Sample>> for Samples {
    fn from(samples: Vec<Sample>) -> Self {
        Self { from: 0, to: samples.len(), all: samples.into() }
    }
}

impl FromIterator<Sample> for Samples {
    fn from_iter<I: IntoIterator<Item = Sample>>(samples: I) -> Self {
        samples.into_iter().collect::<Vec<_>>().into()
    }
}

impl Default for Samples {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl Deref for Samples {
    type Target = [Sample];

    fn deref(&self) -> &[Sample] {
        &self.all[self.from..self.to]
    }
}

impl<'a> IntoIterator for &'a Samples {
    type Item = &'a Sample;
    type IntoIter = slice::Iter<'a, Sample>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Samples {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// One labelled run of samples, as it arrived: order, duplicates and non-finite values included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// The labels, `__name__` included.
    pub labels: LabelSet,
    /// The samples.
    pub samples: Samples,
}

/// A range answer. Warnings belong to the data: a partial answer looks complete without them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// The series.
    pub series: Vec<Series>,
    /// What the backend warned of.
    pub warnings: Vec<String>,
}

/// Nobody counts further or has more bytes: 2^64. Kubelets write half of it for "no limit".
const MAX_VALUE: f64 = 18_446_744_073_709_551_616.0;

/// Samples in time order without exact repetitions of a timestamp; shared, when they came so. Nothing that we read can be
/// negative.
///
/// # Errors
/// A value is NaN, infinite, negative or larger than any machine can count, or one timestamp has two values: the name
/// of the trouble, for a person.
pub fn clean(samples: &Samples) -> Result<Samples, &'static str> {
    for sample in samples {
        check(sample)?;
    }
    if samples.is_sorted_by(|a, b| a.at < b.at) {
        return Ok(samples.clone());
    }
    let mut sorted = samples.to_vec();
    sorted.sort_by(|a, b| a.at.total_cmp(&b.at));
    sorted.dedup();
    // Times are finite, and a zero of either sign is one time.
    if sorted.windows(2).any(|pair| pair[0].at >= pair[1].at) {
        return Err("one timestamp has two values");
    }
    Ok(sorted.into())
}

fn check(sample: &Sample) -> Result<(), &'static str> {
    let Sample { at, value } = *sample;
    match value {
        _ if !at.is_finite() || !value.is_finite() => Err("a value is NaN or infinite"),
        _ if value < 0.0 => Err("a value is negative"),
        _ if value > MAX_VALUE => Err("a value is larger than any machine can count"),
        _ => Ok(()),
    }
}

/// So many steps tell how often something is measured.
const STEPS: usize = 64;

/// The usual distance between samples: the median of the newest 64, seconds. `None` for fewer than two samples.
#[must_use]
pub fn interval(samples: &[Sample]) -> Option<f64> {
    let newest = &samples[samples.len().saturating_sub(STEPS + 1)..];
    let steps: Vec<f64> = newest.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    super::stats::median(&steps)
}

/// The largest distance between neighbouring samples, seconds. 0 for fewer than two samples.
#[must_use]
pub fn largest_gap(samples: &[Sample]) -> f64 {
    samples.windows(2).map(|pair| pair[1].at - pair[0].at).fold(0.0, f64::max)
}

/// How much a counter grew, counting a fall as a restart from zero. Samples must be [`clean`].
#[must_use]
pub fn increase(samples: &[Sample]) -> f64 {
    let grown = unwrapped(samples);
    grown.last().map_or(0.0, |it| it.value)
}

/// The samples at or after a time. Samples must be in time order.
#[must_use]
pub fn since(samples: &[Sample], at: f64) -> &[Sample] {
    &samples[samples.partition_point(|it| it.at < at)..]
}

/// The values of a signal at the ends of buckets of one width. Bucket ends are whole multiples of the width, so that
/// the same bucket has the same points whoever cuts it and whenever.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Level {
    /// The width, seconds.
    pub width: f64,
    /// One point per bucket that has samples, at the bucket's end.
    pub points: Samples,
}

impl Level {
    /// Cuts samples, which must be in time order, into buckets `(end - width, end]`: a gauge's floor, which removes the
    /// saw-teeth of garbage collection, or a counter's last value. The last bucket may be incomplete.
    #[must_use]
    pub fn of(samples: &[Sample], width: f64, counter: bool) -> Self {
        let mut points: Vec<Sample> = Vec::new();
        for sample in samples {
            match points.last_mut() {
                Some(last) if sample.at <= last.at => {
                    last.value = if counter { sample.value } else { last.value.min(sample.value) };
                }
                _ => points.push(Sample { at: (sample.at / width).ceil() * width, value: sample.value }),
            }
        }
        Self { width, points: points.into() }
    }

    /// The points of whole buckets between two times.
    #[must_use]
    pub fn between(&self, from: f64, to: f64) -> Samples {
        let begin = self.points.partition_point(|it| it.at - self.width < from);
        let end = self.points.partition_point(|it| it.at <= to);
        self.points.piece(begin.min(end)..end)
    }
}

/// A counter that falls to less than this share was reset. One that falls by less was told by two servers whose clocks
/// differ, and has not moved.
const RESET: f64 = 0.5;

/// By how much a counter grew from one sample to the next, and what the next one after is to be compared with.
#[must_use]
pub fn step(before: f64, value: f64) -> (f64, f64) {
    match value {
        value if value >= before => (value - before, value),
        value if value < RESET * before => (value, value),
        _ => (0.0, before),
    }
}

/// A counter as its growth since the first sample; a fall counts as a restart from zero.
#[must_use]
pub fn unwrapped(samples: &[Sample]) -> Vec<Sample> {
    let mut total = 0.0;
    let mut before = samples.first().map_or(0.0, |it| it.value);
    let grown = |it: &Sample| {
        let (grown, compare) = step(before, it.value);
        total += grown;
        before = compare;
        Sample { at: it.at, value: total }
    };
    samples.iter().map(grown).collect()
}

/// The value at a time by linear interpolation; before the first and after the last sample, theirs. `None` without
/// samples. Samples must be in time order.
#[must_use]
pub fn value_at(samples: &[Sample], at: f64) -> Option<f64> {
    let after = samples.partition_point(|it| it.at < at);
    match (after.checked_sub(1).map(|it| samples[it]), samples.get(after)) {
        (Some(a), Some(b)) => Some(a.value + (b.value - a.value) * ((at - a.at) / (b.at - a.at))),
        (Some(only), None) => Some(only.value),
        (None, Some(only)) => Some(only.value),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[(f64, f64)]) -> Vec<Sample> {
        values.iter().map(|&(at, value)| Sample { at, value }).collect()
    }

    #[test]
    fn samples_out_of_order_are_put_in_order_and_repetitions_dropped() {
        let mixed = samples(&[(2.0, 5.0), (1.0, 4.0), (2.0, 5.0)]).into();
        assert_eq!(clean(&mixed), Ok(samples(&[(1.0, 4.0), (2.0, 5.0)]).into()));
    }

    #[test]
    fn values_that_cannot_be_measured_are_refused() {
        let clean = |values: &[(f64, f64)]| clean(&samples(values).into());
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e300] {
            assert!(clean(&[(1.0, bad)]).is_err());
        }
        assert!(clean(&[(1.0, 0.0), (2.0, MAX_VALUE)]).is_ok());
        assert!(clean(&[(1.0, 1.0), (1.0, 2.0)]).is_err());
    }

    #[test]
    fn a_counter_that_falls_was_reset_and_counts_from_zero() {
        assert_eq!(increase(&samples(&[(0.0, 10.0), (1.0, 15.0), (2.0, 3.0), (3.0, 4.0)])), 9.0);
        assert_eq!(increase(&[]), 0.0);
    }

    #[test]
    fn a_level_has_the_floor_of_each_bucket_at_its_end_and_skips_empty_ones() {
        let saw = samples(&[(1.0, 5.0), (5.0, 3.0), (10.0, 9.0), (15.0, 4.0), (40.0, 7.0), (41.0, 6.0)]);
        let level = Level::of(&saw, 10.0, false);
        assert_eq!(*level.points, samples(&[(10.0, 3.0), (20.0, 4.0), (40.0, 7.0), (50.0, 6.0)]));
        assert_eq!(*level.between(10.0, 45.0), level.points[1..3], "whole buckets only");
        assert_eq!(Level::of(&saw, 10.0, true).points[0].value, 9.0, "a counter's last value");
    }

    #[test]
    fn a_counter_told_by_two_servers_whose_clocks_differ_is_not_reset_all_the_time() {
        let mixed = samples(&[(0.0, 100.0), (1.0, 110.0), (2.0, 108.0), (3.0, 120.0), (4.0, 118.0)]);
        assert_eq!(increase(&mixed), 20.0);
    }

    #[test]
    fn an_unwrapped_counter_never_falls() {
        let reset = samples(&[(0.0, 10.0), (1.0, 15.0), (2.0, 3.0), (3.0, 4.0)]);
        assert_eq!(unwrapped(&reset).iter().map(|it| it.value).collect::<Vec<_>>(), [0.0, 5.0, 8.0, 9.0]);
    }

    #[test]
    fn between_samples_values_are_interpolated_and_outside_they_stay() {
        let two = samples(&[(10.0, 1.0), (20.0, 3.0)]);
        assert_eq!([5.0, 10.0, 15.0, 25.0].map(|at| value_at(&two, at)), [1.0, 1.0, 2.0, 3.0].map(Some));
        assert_eq!(value_at(&[], 1.0), None);
    }

    #[test]
    fn interval_is_the_usual_step_and_a_gap_is_the_largest() {
        let holey = samples(&[(0.0, 0.0), (5.0, 0.0), (10.0, 0.0), (60.0, 0.0), (65.0, 0.0)]);
        assert_eq!(interval(&holey), Some(5.0));
        assert_eq!(largest_gap(&holey), 50.0);
    }
}
