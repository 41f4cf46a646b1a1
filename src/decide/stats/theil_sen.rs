//! The Theil-Sen slope with Sen's rank-based interval.
//!
//! Robust (up to 29 % of the points may be outliers), free of a noise distribution, and at home on uneven times.
//! The interval assumes independent noise: under autocorrelation it is too narrow, which is why
//! [`trend`](super::trend) decides by its tests and never by this interval excluding zero.

use super::fast::PairSlopes;
use super::order::{all_finite, median, pairs_variance, tie_correction};

/// A slope with its uncertainty. Units: those of `y`, per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// The median of the slopes of all pairs of points, in units of `y` per second.
    pub per_second: f64,
    /// The lower end of the confidence interval, in units of `y` per second.
    pub lower: f64,
    /// The upper end of the confidence interval, in units of `y` per second.
    pub upper: f64,
    /// The line's value at `t = 0`: `median(y) - per_second * median(t)`, in units of `y` (Conover 1980).
    pub intercept: f64,
    /// How many points the slope rests on.
    pub n: usize,
}

/// The Theil-Sen slope of `y` over `t` (seconds): the median of `(y_j - y_i) / (t_j - t_i)` over all pairs with
/// distinct times (Theil 1950), with the interval of Sen (1968, eq. 2.6), ties included, exactly as
/// `scipy.stats.theilslopes(y, t, confidence, method="separate")` for a confidence of at least one half.
///
/// Times may be uneven. Count them from the start of the window: with Unix times the intercept means little.
/// Costs O(n²) time and memory: 1128 slopes for 48 points.
///
/// `None` if the lengths differ, fewer than two times are distinct, anything is not finite, a slope overflows, ties
/// leave no variance to build an interval from, or `confidence` is outside the open interval (0, 1).
///
/// ```
/// use grpc_hygiene::decide::stats::theil_sen;
/// let slope = theil_sen(&[0.0, 10.0, 20.0, 40.0], &[1.0, 6.0, 11.0, 21.0], 0.95).expect("a slope");
/// assert_eq!((slope.per_second, slope.intercept), (0.5, 1.0));
/// ```
pub fn theil_sen(t: &[f64], y: &[f64], confidence: f64) -> Option<Slope> {
    let slopes = from_pairs(&mut PairSlopes::over_time(t, y)?, y, tie_correction(t), confidence)?;
    through_the_medians(t, y, slopes)
}

/// The line with a slope and its interval, both per second, through the medians of times and values (Conover 1980).
pub(super) fn through_the_medians(t: &[f64], y: &[f64], [per_second, lower, upper]: [f64; 3]) -> Option<Slope> {
    let intercept = median(y)? - per_second * median(t)?;
    all_finite(&[per_second, lower, upper, intercept]).then_some(Slope {
        per_second,
        lower,
        upper,
        intercept,
        n: y.len(),
    })
}

/// The slope and its interval from the slopes of all pairs. `tied_times` is what equal times take off the variance.
pub(super) fn from_pairs(slopes: &mut PairSlopes, y: &[f64], tied_times: f64, confidence: f64) -> Option<[f64; 3]> {
    if !(confidence > 0.0 && confidence < 1.0) {
        return None;
    }
    let variance = (pairs_variance(y.len()) - tied_times - tie_correction(y)) / 18.0;
    if variance < 0.0 {
        return None;
    }
    let median = slopes.median()?;
    let (low, high) = sen_ranks(slopes.len(), variance, confidence);
    let (lower, upper) = slopes.around_the_median(low, high);
    Some([median, lower, upper])
}

/// The ranks (from 0) of the two slopes that enclose the true slope with the given confidence. With N slopes and
/// `sigma` the standard deviation of Kendall's S they stand `z sigma / 2` ranks to either side of the middle.
fn sen_ranks(slopes: usize, variance: f64, confidence: f64) -> (usize, usize) {
    let spread = super::normal_quantile(f64::midpoint(1.0, confidence)) * variance.sqrt();
    let count = slopes as f64;
    // The rounding (half to even) and the one-off are scipy's. A cast of a negative number gives zero.
    let low = ((count - spread) / 2.0).round_ties_even() - 1.0;
    let high = ((count + spread) / 2.0).round_ties_even();
    (low as usize, (high as usize).min(slopes - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_outliers_does_not_move_the_slope_far() {
        let t: Vec<f64> = (0..20).map(f64::from).collect();
        let mut y: Vec<f64> = t.iter().map(|t| 3.0 * t + 5.0).collect();
        for spike in [2, 7, 11, 16] {
            y[spike] += 1000.0;
        }
        let slope = theil_sen(&t, &y, 0.95).expect("a slope");
        assert_eq!(slope.per_second, 3.0);
        assert_eq!(slope.n, 20);
    }

    #[test]
    fn uneven_times_are_times_and_not_places_in_line() {
        let slope = theil_sen(&[0.0, 1.0, 100.0, 1000.0], &[0.0, 2.0, 200.0, 2000.0], 0.95).expect("a slope");
        assert_eq!((slope.per_second, slope.intercept), (2.0, 0.0));
    }

    #[test]
    fn a_constant_has_slope_zero_and_no_width() {
        let slope = theil_sen(&[0.0, 1.0, 2.0, 3.0], &[7.0; 4], 0.95).expect("a slope");
        assert_eq!((slope.per_second, slope.lower, slope.upper, slope.intercept), (0.0, 0.0, 0.0, 7.0));
    }

    #[test]
    fn more_confidence_means_a_wider_interval() {
        let t: Vec<f64> = (0..40).map(f64::from).collect();
        let y: Vec<f64> = t.iter().map(|t| 0.1 * t + (t * 12.9898).sin()).collect();
        let half = theil_sen(&t, &y, 0.5).expect("a slope");
        let most = theil_sen(&t, &y, 0.99).expect("a slope");
        assert!(most.lower < half.lower && half.lower < half.upper && half.upper < most.upper);
        assert!(most.lower < 0.1 && 0.1 < most.upper);
    }

    #[test]
    fn bad_input_has_no_slope() {
        assert_eq!(theil_sen(&[], &[], 0.95), None);
        assert_eq!(theil_sen(&[1.0], &[1.0], 0.95), None);
        assert_eq!(theil_sen(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0], 0.95), None, "all at one time");
        assert_eq!(theil_sen(&[0.0, 1.0], &[1.0], 0.95), None, "lengths differ");
        assert_eq!(theil_sen(&[0.0, 1.0, 2.0], &[1.0, f64::NAN, 3.0], 0.95), None);
        assert_eq!(theil_sen(&[0.0, f64::INFINITY], &[1.0, 2.0], 0.95), None);
        assert_eq!(theil_sen(&[0.0, 1.0], &[f64::MIN, f64::MAX], 0.95), None, "the slope overflows");
        assert_eq!(theil_sen(&[f64::MIN, f64::MAX], &[0.0, 1.0], 0.95), None, "the time overflows");
        for confidence in [0.0, 1.0, -1.0, f64::NAN] {
            assert_eq!(theil_sen(&[0.0, 1.0], &[1.0, 2.0], confidence), None);
        }
    }
}
