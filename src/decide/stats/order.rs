//! Order statistics: median, quantiles and ties.
//!
//! Selection instead of sorting wherever one or two positions are enough.

use super::fast::to_ordered;

/// The median, in the unit of `values`; for an even count the mean of the two middle values (as `numpy.median`).
///
/// `None` if `values` is empty or holds anything not finite.
///
/// ```
/// use grpc_hygiene::decide::stats::median;
/// assert_eq!(median(&[3.0, 1.0, 2.0, 10.0]), Some(2.5));
/// ```
pub fn median(values: &[f64]) -> Option<f64> {
    all_finite(values).then(|| median_in_place(&mut values.to_vec()))?
}

/// The `q`-quantile, in the unit of `values`, by linear interpolation between the order statistics around `(n - 1) q`
/// (Hyndman & Fan 1996, type 7: the default of R and of `numpy.quantile`).
///
/// `None` if `values` is empty or holds anything not finite, or if `q` is outside `[0, 1]`.
///
/// ```
/// use grpc_hygiene::decide::stats::quantile;
/// assert_eq!(quantile(&[4.0, 1.0, 3.0, 2.0], 0.25), Some(1.75));
/// ```
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    if values.is_empty() || !all_finite(values) || !(0.0..=1.0).contains(&q) {
        return None;
    }
    let position = (values.len() - 1) as f64 * q;
    let below = position.floor();
    let mut values = values.to_vec();
    let (_, &mut low, right) = values.select_nth_unstable_by(below as usize, f64::total_cmp);
    let high = right.iter().copied().reduce(f64::min).unwrap_or(low);
    let weight = position - below;
    // Weighting both ends, rather than adding a part of the difference, cannot overflow.
    Some((low * (1.0 - weight) + high * weight).clamp(low, high))
}

/// [`median`] of values known to be finite, reordering them.
pub(super) fn median_in_place(values: &mut [f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    let even = values.len().is_multiple_of(2);
    let (left, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if !even {
        return Some(upper);
    }
    left.iter().copied().reduce(f64::max).map(|lower| f64::midpoint(lower, upper))
}

/// What ties take off 18 times the variance of Kendall's S: the sum of `k (k - 1) (2k + 5)` over groups of `k` equal
/// values (Kendall 1975, ch. 4; Sen 1968, eq. 2.6). Without ties it is 0.
pub(super) fn tie_correction(values: &[f64]) -> f64 {
    // Clocks are sorted, and adding zero makes a zero of either sign the same one.
    if values.is_sorted_by(|earlier, later| earlier < later) {
        return 0.0;
    }
    let mut sorted: Vec<i64> = values.iter().map(|value| to_ordered(value + 0.0)).collect();
    sorted.sort_unstable();
    sorted.chunk_by(|a, b| a == b).map(|tied| pairs_variance(tied.len())).sum()
}

/// `n (n - 1) (2n + 5)`: 18 times the variance of Kendall's S over `n` values without ties.
pub(super) fn pairs_variance(n: usize) -> f64 {
    let n = n as f64;
    n * (n - 1.0) * (2.0 * n + 5.0)
}

/// True if no value is NaN or infinite.
pub(super) fn all_finite(values: &[f64]) -> bool {
    values.iter().all(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_is_the_mean_of_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[5.0, 1.0, 3.0]), Some(3.0));
    }

    #[test]
    fn nothing_and_nonsense_have_no_order_statistics() {
        for bad in [&[][..], &[1.0, f64::NAN], &[f64::INFINITY]] {
            assert_eq!(median(bad), None);
            assert_eq!(quantile(bad, 0.5), None);
        }
        for q in [-0.1, 1.1, f64::NAN] {
            assert_eq!(quantile(&[1.0, 2.0], q), None);
        }
    }

    #[test]
    fn the_ends_of_the_quantiles_are_minimum_and_maximum() {
        let values = [3.0, -1.0, 7.0, 2.0];
        assert_eq!(quantile(&values, 0.0), Some(-1.0));
        assert_eq!(quantile(&values, 1.0), Some(7.0));
    }

    #[test]
    fn the_median_of_huge_values_does_not_overflow() {
        assert_eq!(median(&[f64::MAX, f64::MAX]), Some(f64::MAX));
        assert_eq!(quantile(&[-f64::MAX, f64::MAX], 0.5), Some(0.0));
    }

    #[test]
    fn only_ties_reduce_the_variance() {
        assert_eq!(tie_correction(&[1.0, 2.0, 3.0]), 0.0);
        assert_eq!(tie_correction(&[2.0, 1.0, 2.0, 0.0, -0.0]), 2.0 * pairs_variance(2));
    }
}
