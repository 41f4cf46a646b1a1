//! The Mann-Kendall test for a monotonic trend, plain and with the variance correction of Hamed and Rao.
//!
//! It asks whether later values tend to exceed earlier ones, whatever the shape. Values count by their order alone, so
//! they are taken as evenly spaced in time. Neither form is safe alone: of 48 points of AR(1) noise with coefficient
//! 0.95 and no trend, the plain test puts 27 % at z = 3 or above and the corrected one 13 %, where 0.1 % is due.

use super::fast::{PairSlopes, centred_ranks, dot, kendall_s};
use super::order::{all_finite, pairs_variance, tie_correction};

/// The result of a Mann-Kendall test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MannKendall {
    /// Kendall's S: how many pairs rise minus how many fall. A count.
    pub s: f64,
    /// The variance of S without a trend, corrected for ties and, in the Hamed-Rao form, for autocorrelation.
    pub variance: f64,
    /// S in standard deviations, moved one pair towards zero (continuity correction); positive means rising.
    pub z: f64,
    /// The probability of a |z| at least as large without a trend: two-sided, in `[0, 1]`.
    pub p_value: f64,
    /// S divided by the number of pairs, in `[-1, 1]` (Kendall's tau-a: ties are not taken off the pairs).
    pub tau: f64,
}

/// The original Mann-Kendall test (Mann 1945, Kendall 1975), equal to `pymannkendall.original_test`:
///
/// `S = sum over i < j of sign(y_j - y_i)`, `var S = (n (n-1) (2n+5) - sum over ties of k (k-1) (2k+5)) / 18`,
/// `z = (S - sign S) / sqrt(var S)`.
///
/// A constant series gives z = 0 and p = 1. `None` for fewer than two values or anything not finite. O(n²) time.
///
/// ```
/// use grpc_hygiene::decide::stats::mann_kendall;
/// let test = mann_kendall(&[1.0, 2.0, 4.0, 3.0, 5.0]).expect("long enough");
/// assert_eq!((test.s, test.tau), (8.0, 0.8));
/// ```
pub fn mann_kendall(y: &[f64]) -> Option<MannKendall> {
    if y.len() < 2 || !all_finite(y) {
        return None;
    }
    let variance = (pairs_variance(y.len()) - tie_correction(y)) / 18.0;
    Some(with_variance(y.len(), kendall_s(y), variance))
}

/// The Mann-Kendall test with the variance of S multiplied by Hamed & Rao's (1998) correction for autocorrelation,
/// equal to `pymannkendall.hamed_rao_modification_test` with all lags:
///
/// `1 + 2 / (n (n-1) (n-2)) * sum over significant lags i of (n-i) (n-i-1) (n-i-2) rho_i`,
///
/// where `rho` is the autocorrelation of the ranks of `y` less its Sen slope, and significant means
/// `|rho_i| > 1.96 / sqrt(n)`. Negative autocorrelation shrinks the variance, so z can exceed that of the plain test.
///
/// Two guards, where the reference yields NaN: a correction that is not positive is not applied, because a variance has
/// to be, and without the correction the test is the more cautious of the two; and a line exact to rounding has no
/// residuals to correlate, so nothing is corrected.
///
/// When the number of pairs is odd, two points define the Sen slope and their residuals tie up to rounding, which
/// adding a constant to `y` may break: z then moves, by half a rank or by a lag that becomes significant.
///
/// `None` for fewer than three values or anything not finite, or if a slope overflows. O(n²) time and memory.
///
/// ```
/// use grpc_hygiene::decide::stats::{mann_kendall, mann_kendall_hamed_rao};
/// let wave: Vec<f64> = (0..48).map(|i| (f64::from(i) / 8.0).sin()).collect();
/// let (plain, corrected) = (mann_kendall(&wave).expect("n"), mann_kendall_hamed_rao(&wave).expect("n"));
/// assert!(corrected.s == plain.s && corrected.variance != plain.variance);
/// ```
pub fn mann_kendall_hamed_rao(y: &[f64]) -> Option<MannKendall> {
    if y.len() < 3 {
        return None;
    }
    let plain = mann_kendall(y)?;
    let variance = hamed_rao_variance(y, PairSlopes::over_places(y)?.median()?, plain.variance);
    Some(with_variance(y.len(), plain.s, variance))
}

/// The z of [`mann_kendall_hamed_rao`] if it is positive, else 0, for finite values. The slopes are asked for once it
/// is known that they are needed, which is not so if the series falls; `None` if they cannot be given.
pub(super) fn rising_level(y: &[f64], sen_slope: impl FnOnce() -> Option<f64>) -> Option<f64> {
    let s = kendall_s(y);
    if s <= 0.0 {
        return Some(0.0);
    }
    let plain = (pairs_variance(y.len()) - tie_correction(y)) / 18.0;
    Some(z_of(s, hamed_rao_variance(y, sen_slope()?, plain)))
}

/// The test statistic, given S and its variance.
fn with_variance(n: usize, s: f64, variance: f64) -> MannKendall {
    let z = z_of(s, variance);
    let pairs = n as f64 * (n - 1) as f64 / 2.0;
    MannKendall { s, variance, z, p_value: 2.0 * super::normal_upper_tail(z.abs()), tau: s / pairs }
}

/// S in standard deviations, with the continuity correction.
fn z_of(s: f64, variance: f64) -> f64 {
    if s == 0.0 { 0.0 } else { (s - s.signum()) / variance.sqrt() }
}

/// The variance of S with Hamed & Rao's correction, or without where a guard says so.
fn hamed_rao_variance(y: &[f64], sen_slope: f64, plain: f64) -> f64 {
    let residuals = residuals(y, sen_slope);
    if is_rounding(&residuals, y) {
        return plain;
    }
    let corrected = plain * hamed_rao_correction(&centred_ranks(&residuals));
    if corrected > 0.0 { corrected } else { plain }
}

/// What `y` leaves over its Sen line by index, up to a constant.
fn residuals(y: &[f64], sen_slope: f64) -> Vec<f64> {
    (1..=y.len()).zip(y).map(|(i, y)| y - i as f64 * sen_slope).collect()
}

/// True if the residuals differ by no more than the arithmetic that made them from `y` may have added.
fn is_rounding(residuals: &[f64], y: &[f64]) -> bool {
    let largest = y.iter().fold(0.0, |largest: f64, y| largest.max(y.abs()));
    let (low, high) = residuals
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &residual| (residual.min(low), residual.max(high)));
    high - low <= y.len() as f64 * f64::EPSILON * largest
}

/// How much autocorrelation multiplies the variance of S, from the centred ranks of the residuals.
fn hamed_rao_correction(ranks: &[f64]) -> f64 {
    let n = ranks.len() as f64;
    let power = dot(ranks, ranks);
    let significant = super::normal_quantile(0.975) / n.sqrt();
    let mut sum = 0.0;
    for lag in 1..ranks.len() {
        let rho = dot(ranks, &ranks[lag..]) / power;
        if rho.abs() > significant {
            let overlap = n - lag as f64;
            sum += overlap * (overlap - 1.0) * (overlap - 2.0) * rho;
        }
    }
    1.0 + 2.0 / (n * (n - 1.0) * (n - 2.0)) * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rising(n: i32) -> Vec<f64> {
        (0..n).map(|i| 0.1 * f64::from(i)).collect()
    }

    #[test]
    fn a_rise_without_a_fall_has_tau_one() {
        let test = mann_kendall(&rising(10)).expect("long enough");
        assert_eq!((test.s, test.variance, test.tau), (45.0, 125.0, 1.0));
        assert_eq!(test.z, 44.0 / 125_f64.sqrt());
    }

    #[test]
    fn a_constant_shows_no_trend_in_either_form() {
        let none = MannKendall { s: 0.0, variance: 0.0, z: 0.0, p_value: 1.0, tau: 0.0 };
        assert_eq!(mann_kendall(&[3.0; 20]), Some(none));
        assert_eq!(mann_kendall_hamed_rao(&[3.0; 20]), Some(none));
    }

    #[test]
    fn a_perfect_line_needs_no_correction() {
        let line = rising(48);
        assert_eq!(mann_kendall_hamed_rao(&line), mann_kendall(&line));
    }

    #[test]
    fn slow_noise_inflates_the_variance() {
        let wave: Vec<f64> = (0..48).map(|i| (f64::from(i) / 12.0).sin()).collect();
        let plain = mann_kendall(&wave).expect("long enough");
        let corrected = mann_kendall_hamed_rao(&wave).expect("long enough");
        assert!(corrected.variance > 2.0 * plain.variance, "{corrected:?} against {plain:?}");
        assert!(corrected.z.abs() < plain.z.abs());
    }

    #[test]
    fn a_variance_that_would_not_be_positive_is_left_uncorrected() {
        let zigzag = [6.0, 0.0, 4.0, 1.0, 4.0, 3.0, 6.0, 4.0, 5.0, 6.0, 5.0, 8.0, 6.0];
        let slope = PairSlopes::over_places(&zigzag).and_then(|mut slopes| slopes.median()).expect("a slope");
        let residuals = residuals(&zigzag, slope);
        assert!(hamed_rao_correction(&centred_ranks(&residuals)) <= 0.0, "the case is the one meant");
        assert_eq!(mann_kendall_hamed_rao(&zigzag), mann_kendall(&zigzag));
    }

    #[test]
    fn too_short_and_not_finite_give_nothing() {
        assert_eq!(mann_kendall(&[1.0]), None);
        assert_eq!(mann_kendall_hamed_rao(&[1.0, 2.0]), None);
        assert_eq!(mann_kendall(&[1.0, f64::NAN, 2.0]), None);
        assert_eq!(mann_kendall_hamed_rao(&[1.0, f64::INFINITY, 2.0]), None);
        assert_eq!(mann_kendall_hamed_rao(&[f64::MIN, 0.0, f64::MAX]), None, "the slope overflows");
    }

    #[test]
    fn far_tails_keep_their_digits() {
        let test = mann_kendall(&rising(200)).expect("long enough");
        assert!(test.p_value > 0.0 && test.p_value < 1e-80, "{test:?}");
    }
}
