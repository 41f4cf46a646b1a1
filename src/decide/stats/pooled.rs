//! Several pods of one workload: do they grow together, or is one odd?

use super::{
    column::Column,
    fast::dot,
    normal_quantile,
    order::{all_finite, median, median_in_place},
};

/// A modified z beyond this is an outlier (Iglewicz & Hoaglin 1993).
const ODD: f64 = 3.5;

/// The evidence of several series taken together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pooled {
    /// The z of all of them, in standard deviations.
    pub z: f64,
    /// The mean correlation between the residuals of two of them, in `[0, 1]`.
    pub correlation: f64,
}

/// Pools the `z` of k series: `Z = sum z_i / sqrt(k + k (k-1) rho)`, which is standard normal if the z are and have the
/// mean correlation `rho` (Stouffer et al. 1949, with Strube's 1985 correction). `rho` is estimated from the residuals
/// of the series, one row each, aligned in time: what shakes all pods at once is not k times the evidence.
///
/// A negative mean counts as 0. A row without variation has no correlation with any other and is left out of the mean.
/// The z have to be centred on 0 where nothing grows. Those of [`growth_z`](super::growth_z()) are cut off at 0, which
/// lifts the pool of k trendless series by up to `0.4 sqrt(k)`: leave room for that.
///
/// `None` without series, if there are not as many rows as z, if rows differ in length or have fewer than two values, or
/// if anything is not finite or overflows.
pub fn pooled_z(z: &[f64], residuals: &[&[f64]]) -> Option<Pooled> {
    let length = residuals.first()?.len();
    if z.len() != residuals.len() || length < 2 || residuals.iter().any(|row| row.len() != length) || !all_finite(z) {
        return None;
    }
    let columns: Option<Vec<Column>> = residuals.iter().map(|row| Column::of(row)).collect();
    let correlation = mean_correlation(&columns?, length);
    let k = z.len() as f64;
    let pooled = z.iter().sum::<f64>() / (k + k * (k - 1.0) * correlation).sqrt();
    pooled.is_finite().then_some(Pooled { z: pooled, correlation })
}

/// The mean of the correlations of all pairs that vary, not below 0; 0 without a pair. The sum over all pairs is read
/// off the length of the sum of the rows, in linear instead of quadratic time.
fn mean_correlation(columns: &[Column], length: usize) -> f64 {
    let mut sum = vec![0.0; length];
    let mut rows = 0.0;
    for column in columns.iter().filter(|column| column.varies()) {
        rows += 1.0;
        sum.iter_mut().zip(&column.unit).for_each(|(sum, value)| *sum += value);
    }
    if rows < 2.0 {
        return 0.0;
    }
    ((dot(&sum, &sum) - rows) / (rows * (rows - 1.0))).clamp(0.0, 1.0)
}

/// The places of the values that stand out above the rest: those whose distance from the median exceeds 3.5 times the
/// spread, `max(MAD / 0.6745, least_spread)`, where MAD is the median distance from the median: the modified z of
/// Iglewicz & Hoaglin (1993). Ascending places, empty if none stands out or there are fewer than three values.
///
/// `least_spread`, in the unit of the values, is the spread below which differences do not matter. It is needed where
/// most values are equal, as the slopes of fixed pools are: their MAD is 0. With few values the MAD is a poor estimate:
/// of sets of independent normal values (and no `least_spread`) 14 % of 3, 12 % of 5, 7 % of 10 and 5 % of 50 have one
/// that stands out. So this says which pod to look at, after something else has said that there is something to see.
///
/// `augurs-outlier` 0.10 was tried and does not fit: its MAD detector finds no outlier among three values (0.01, 0.02,
/// 5), fails with a division by zero if all others are equal, has no spread to give, and brings some thirty crates.
///
/// `None` if anything is not finite or overflows, or `least_spread` is negative.
///
/// ```
/// use grpc_hygiene::decide::stats::high_outliers;
/// assert_eq!(high_outliers(&[0.0, 0.0, 5.0], 0.5), Some(vec![2]));
/// assert_eq!(high_outliers(&[4.9, 5.0, 5.2], 0.5), Some(vec![]));
/// ```
pub fn high_outliers(values: &[f64], least_spread: f64) -> Option<Vec<usize>> {
    if !(all_finite(values) && least_spread.is_finite() && least_spread >= 0.0) {
        return None;
    }
    if values.len() < 3 {
        return Some(Vec::new());
    }
    let middle = median(values)?;
    let mut distances: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    if !all_finite(&distances) {
        return None;
    }
    // The quantile makes the MAD of normal values their standard deviation.
    let spread = (median_in_place(&mut distances)? / normal_quantile(0.75)).max(least_spread);
    Some((0..values.len()).filter(|&place| (values[place] - middle) / ODD > spread).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: [f64; 4] = [1.0, -1.0, 2.0, -2.0];
    const ACROSS: [f64; 4] = [2.0, 2.0, -1.0, -3.0];

    #[test]
    fn independent_evidence_adds_up_and_repeated_evidence_does_not() {
        let alone = pooled_z(&[3.0], &[&UP]).expect("a pool");
        assert_eq!((alone.z, alone.correlation), (3.0, 0.0));
        let repeated = pooled_z(&[3.0; 2], &[&UP, &UP]).expect("a pool");
        assert!((repeated.z - 3.0).abs() < 1e-12 && (repeated.correlation - 1.0).abs() < 1e-12, "{repeated:?}");
        let opposed = pooled_z(&[3.0; 2], &[&UP, &UP.map(|it| -it)]).expect("a pool");
        assert!(opposed.correlation == 0.0 && (opposed.z - 3.0 * 2_f64.sqrt()).abs() < 1e-12, "{opposed:?}");
    }

    #[test]
    fn a_row_without_variation_is_left_out_of_the_mean() {
        let with = pooled_z(&[1.0, 2.0, 3.0], &[&UP, &[5.0; 4], &ACROSS]).expect("a pool");
        let without = pooled_z(&[1.0, 3.0], &[&UP, &ACROSS]).expect("a pool");
        assert_eq!(with.correlation, without.correlation);
        assert_eq!(pooled_z(&[1.0; 2], &[&[5.0; 4], &[6.0; 4]]).expect("a pool").correlation, 0.0);
    }

    #[test]
    fn bad_input_has_no_pool() {
        assert_eq!(pooled_z(&[], &[]), None);
        assert_eq!(pooled_z(&[1.0], &[&UP, &ACROSS]), None, "more rows than z");
        assert_eq!(pooled_z(&[1.0; 2], &[&UP, &UP[..3]]), None, "lengths differ");
        assert_eq!(pooled_z(&[1.0], &[&UP[..1]]), None, "one value has no residual");
        assert_eq!(pooled_z(&[f64::NAN], &[&UP]), None);
        assert_eq!(pooled_z(&[f64::MAX; 2], &[&UP, &ACROSS]), None, "overflow");
    }

    #[test]
    fn the_leaking_pod_stands_out_from_three_or_fifty() {
        for k in [3_u32, 10, 50] {
            let mut slopes: Vec<f64> = (0..k).map(|i| 0.01 * (f64::from(i) * 12.9898).sin()).collect();
            slopes[1] = 4.0;
            assert_eq!(high_outliers(&slopes, 0.0), Some(vec![1]));
            slopes[1] = -4.0;
            assert_eq!(high_outliers(&slopes, 0.0), Some(vec![]), "a fall is no leak");
        }
    }

    #[test]
    fn a_difference_that_does_not_matter_is_none() {
        let slopes = [0.0, 0.0, 0.0, 0.0, 0.3];
        assert_eq!(high_outliers(&slopes, 0.0), Some(vec![4]));
        assert_eq!(high_outliers(&slopes, 0.1), Some(vec![]));
        assert_eq!(high_outliers(&[0.0, 9.0], 0.0), Some(vec![]), "of two, which is odd?");
    }

    #[test]
    fn bad_input_has_no_outliers() {
        assert_eq!(high_outliers(&[1.0, 2.0, f64::NAN], 0.0), None);
        assert_eq!(high_outliers(&[f64::MIN, f64::MAX, f64::MAX], 0.0), None, "overflow");
        for spread in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(high_outliers(&[1.0, 2.0, 3.0], spread), None);
        }
    }
}
