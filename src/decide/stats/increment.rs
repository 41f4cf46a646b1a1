//! The increment test: is the mean step upwards larger than the long-run noise of the steps explains?
//!
//! The counterpart of Mann-Kendall. It stays honest where the level wanders like a random walk, and a single jump does
//! not pass it, because a jump inflates the very variance it is measured against: k equal jumps scattered at random
//! give a z near sqrt(k). The price is power: on white noise it is much more cautious than its level says.

use super::{fast::dot, order::all_finite};

/// No z grows beyond a million times the root of the number of steps: the long-run standard deviation is taken as at
/// least this share of the mean step. It keeps the z of a perfect line finite and is far below any real noise.
const LEAST_NOISE_SHARE: f64 = 1e-6;

/// The z of the mean increment of `y`: `mean(d) sqrt(N) / sqrt(LRV)`, where `d` are the N first differences and LRV is
/// their long-run variance around the mean,
/// `LRV = g_0 + 2 sum over k = 1..q of (1 - k / (q+1)) g_k`, `g_k = 1/N sum of (d_i - mean)(d_{i-k} - mean)`,
/// with Bartlett weights (Newey & West 1987, never negative) and `q = N / 8` lags, at least 1.
///
/// Without drift z is asymptotically standard normal if `y` is integrated, and smaller if it is stationary; positive
/// means rising. Values count by their order, so they are taken as about evenly spaced. A constant series gives 0, a
/// perfect line a large finite z, and neither scaling nor shifting `y` changes it. With fewer than about 20 values the
/// normal approximation is poor.
///
/// `None` for fewer than four values or anything not finite.
///
/// ```
/// use grpc_hygiene::decide::stats::increment_test;
/// let jump: Vec<f64> = (0..48).map(|i| if i < 20 { 5.0 } else { 50.0 }).collect();
/// assert!(increment_test(&jump).expect("long enough") < 1.1);
/// ```
pub fn increment_test(y: &[f64]) -> Option<f64> {
    if y.len() < 4 || !all_finite(y) {
        return None;
    }
    let mut steps: Vec<f64> = y.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let largest = steps.iter().fold(0.0, |largest: f64, step| largest.max(step.abs()));
    if largest == 0.0 || !largest.is_finite() {
        return (largest == 0.0).then_some(0.0);
    }
    // In units of the largest step no square overflows. The mean comes from the ends, halved for the same reason, so
    // that a series that returns to where it began has exactly none.
    let count = steps.len() as f64;
    let mean = (y[y.len() - 1] / 2.0 - y[0] / 2.0) / largest * 2.0 / count;
    if mean == 0.0 {
        return Some(0.0);
    }
    for step in &mut steps {
        *step = *step / largest - mean;
    }
    let deviation = bartlett_variance(&steps, lags(steps.len())).sqrt();
    Some(mean * count.sqrt() / deviation.max(LEAST_NOISE_SHARE * mean.abs()))
}

/// Over how many lags the long-run variance of `steps` steps is summed.
pub(super) fn lags(steps: usize) -> usize {
    (steps / 8).max(1)
}

/// The long-run variance of values with mean zero, with Bartlett weights over `lags` lags.
fn bartlett_variance(values: &[f64], lags: usize) -> f64 {
    let covariance = |lag: usize| dot(values, &values[lag..]) / values.len() as f64;
    let weight = |lag: usize| 1.0 - lag as f64 / (lags + 1) as f64;
    let tail: f64 = (1..=lags).map(|lag| weight(lag) * covariance(lag)).sum();
    // Bartlett's weights make this non-negative but for rounding.
    (covariance(0) + 2.0 * tail).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_does_not_drift() {
        assert_eq!(increment_test(&[4.0; 30]), Some(0.0));
    }

    #[test]
    fn a_perfect_line_gives_a_large_finite_z() {
        for step in [0.1, 1.0] {
            let line: Vec<f64> = (0..48).map(|i| step * f64::from(i)).collect();
            let up = increment_test(&line).expect("long enough");
            assert!(up > 1e6 && up.is_finite(), "{up}");
            let down: Vec<f64> = line.iter().rev().copied().collect();
            assert_eq!(increment_test(&down), Some(-up));
        }
    }

    #[test]
    fn one_jump_is_not_growth_but_many_are() {
        let stairs = |jumps: i32| -> Vec<f64> { (0..64).map(|i| f64::from(i * (jumps + 1) / 64)).collect() };
        let one = increment_test(&stairs(1)).expect("long enough");
        let fifteen = increment_test(&stairs(15)).expect("long enough");
        assert!((0.9..1.1).contains(&one), "{one}");
        assert!(fifteen > 3.0, "{fifteen}");
    }

    #[test]
    fn coming_back_to_where_it_began_is_no_drift() {
        let hill: Vec<f64> = (-20..=20).map(|i| 400.0 - f64::from(i * i)).collect();
        assert_eq!(increment_test(&hill), Some(0.0));
    }

    #[test]
    fn the_variance_is_the_one_worked_out_by_hand() {
        // g_0 = 4/4, g_1 = -3/4, so with one lag of weight 1/2: 1 - 3/4.
        assert_eq!(bartlett_variance(&[1.0, -1.0, 1.0, -1.0], 1), 0.25);
    }

    #[test]
    fn too_short_not_finite_and_overflowing_give_nothing() {
        assert_eq!(increment_test(&[1.0, 2.0, 3.0]), None);
        assert_eq!(increment_test(&[1.0, 2.0, f64::NAN, 3.0]), None);
        assert_eq!(increment_test(&[f64::MIN, f64::MAX, f64::MIN, f64::MAX]), None);
        assert_eq!(increment_test(&[0.0, f64::MIN, f64::MAX, 0.0]), None);
    }
}
