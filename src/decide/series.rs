//! Samples as the metrics backend stores them, and the few questions we ask of a run of them: how old, how regular,
//! how complete, how much did a counter grow. Age, gaps and resets are computed here, never by a query.

use std::collections::BTreeMap;

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When, Unix seconds.
    pub at: f64,
    /// The value. May be NaN or infinite as it arrives.
    pub value: f64,
}

/// One labelled run of samples, as it arrived: order, duplicates and non-finite values included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// The labels, `__name__` included.
    pub labels: BTreeMap<String, String>,
    /// The samples.
    pub samples: Vec<Sample>,
}

/// A range answer. Warnings belong to the data: a partial answer looks complete without them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix {
    /// The series.
    pub series: Vec<Series>,
    /// What the backend warned of.
    pub warnings: Vec<String>,
}

/// Puts samples in time order and drops exact repetitions of a timestamp.
///
/// # Errors
/// A value is NaN or infinite, a counter (`counter`) is negative, or one timestamp has two values: the name of the
/// trouble, for a person.
pub fn clean(samples: &[Sample], counter: bool) -> Result<Vec<Sample>, &'static str> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(|a, b| a.at.total_cmp(&b.at));
    let mut clean: Vec<Sample> = Vec::with_capacity(sorted.len());
    for sample in sorted {
        if !sample.at.is_finite() || !sample.value.is_finite() {
            return Err("a value is NaN or infinite");
        }
        if counter && sample.value < 0.0 {
            return Err("a counter is negative");
        }
        match clean.last() {
            Some(last) if last.at.total_cmp(&sample.at).is_eq() => {
                if last.value.total_cmp(&sample.value).is_ne() {
                    return Err("one timestamp has two values");
                }
            }
            _ => clean.push(sample),
        }
    }
    Ok(clean)
}

/// The usual distance between samples: the median, seconds. `None` for fewer than two samples.
#[must_use]
pub fn interval(samples: &[Sample]) -> Option<f64> {
    let steps: Vec<f64> = samples.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
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
    samples
        .windows(2)
        .map(|pair| if pair[1].value < pair[0].value { pair[1].value } else { pair[1].value - pair[0].value })
        .sum()
}

/// The samples at or after a time. Samples must be in time order.
#[must_use]
pub fn since(samples: &[Sample], at: f64) -> &[Sample] {
    &samples[samples.partition_point(|it| it.at < at)..]
}

/// The lowest sample of each bucket of `width` seconds, at that sample's time; empty buckets are left out.
/// Floors remove the saw-teeth of garbage collection. Samples must be in time order.
#[must_use]
pub fn floors(samples: &[Sample], width: f64) -> Vec<Sample> {
    let Some(first) = samples.first() else { return Vec::new() };
    let bucket = |it: &Sample| ((it.at - first.at) / width).floor();
    samples
        .chunk_by(|a, b| bucket(a).total_cmp(&bucket(b)).is_eq())
        .filter_map(|run| run.iter().min_by(|a, b| a.value.total_cmp(&b.value)).copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[(f64, f64)]) -> Vec<Sample> {
        values.iter().map(|&(at, value)| Sample { at, value }).collect()
    }

    #[test]
    fn samples_out_of_order_are_put_in_order_and_repetitions_dropped() {
        let mixed = samples(&[(2.0, 5.0), (1.0, 4.0), (2.0, 5.0)]);
        assert_eq!(clean(&mixed, true), Ok(samples(&[(1.0, 4.0), (2.0, 5.0)])));
    }

    #[test]
    fn values_that_cannot_be_measured_are_refused() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(clean(&samples(&[(1.0, bad)]), false).is_err());
        }
        assert!(clean(&samples(&[(1.0, -1.0)]), true).is_err());
        assert!(clean(&samples(&[(1.0, -1.0)]), false).is_ok());
        assert!(clean(&samples(&[(1.0, 1.0), (1.0, 2.0)]), false).is_err());
    }

    #[test]
    fn a_counter_that_falls_was_reset_and_counts_from_zero() {
        assert_eq!(increase(&samples(&[(0.0, 10.0), (1.0, 15.0), (2.0, 3.0), (3.0, 4.0)])), 9.0);
        assert_eq!(increase(&[]), 0.0);
    }

    #[test]
    fn floors_take_the_lowest_sample_of_each_bucket_and_skip_empty_ones() {
        let saw = samples(&[(0.0, 5.0), (5.0, 3.0), (10.0, 9.0), (15.0, 4.0), (40.0, 7.0)]);
        assert_eq!(floors(&saw, 10.0), samples(&[(5.0, 3.0), (15.0, 4.0), (40.0, 7.0)]));
    }

    #[test]
    fn interval_is_the_usual_step_and_a_gap_is_the_largest() {
        let holey = samples(&[(0.0, 0.0), (5.0, 0.0), (10.0, 0.0), (60.0, 0.0), (65.0, 0.0)]);
        assert_eq!(interval(&holey), Some(5.0));
        assert_eq!(largest_gap(&holey), 50.0);
    }
}
