//! Does growth slow down? The quadratic fit behind the veto on what saturates.
//!
//! A cache that fills bends, a leak does not. The t-statistic assumes independent noise; the veto that uses it also
//! looks at how much slope is left at the end.

use super::{column::Column, fast::dot, order::all_finite};

/// No t is larger than this: residuals are taken as at least a millionth of the bend.
const MOST_T: f64 = 1e6;

/// A parabola of which less than this share is not also a line cannot be told from one.
const LEAST_INDEPENDENCE: f64 = 1e-10;

/// The fit of `y ~ a + b u + kappa u²`. Slopes are in units of `y` per unit of `u`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Curvature {
    /// The coefficient of `u²`, negative if growth slows down: units of `y` per squared unit of `u`.
    pub kappa: f64,
    /// `kappa` in standard errors for independent noise: Student's t with `freedom` degrees of freedom if there is no
    /// bend. Between plus and minus a million; 0 if the bend is no larger than rounding.
    pub t_kappa: f64,
    /// The slope of the curve at the largest `u`.
    pub end_slope: f64,
    /// The slope of the line from one end of the curve to the other.
    pub mean_slope: f64,
    /// The degrees of freedom of the residuals: points less three.
    pub freedom: usize,
}

/// Fits a parabola by least squares. The order of the points does not matter.
///
/// `None` for fewer than four points, lengths that differ, fewer than three distinct `u`, anything not finite, or an
/// overflow.
///
/// ```
/// use grpc_hygiene::decide::stats::curvature;
/// let u: Vec<f64> = (0..20).map(f64::from).collect();
/// let y: Vec<f64> = u.iter().map(|u| 100.0 * (1.0 - (-u / 6.0).exp())).collect();
/// let cache = curvature(&u, &y).expect("a fit");
/// assert!(cache.t_kappa < -10.0 && cache.end_slope < 0.2 * cache.mean_slope);
/// ```
pub fn curvature(u: &[f64], y: &[f64]) -> Option<Curvature> {
    if y.len() < 4 || u.len() != y.len() {
        return None;
    }
    let (clock, value) = (Column::of(u)?, Column::of(y)?);
    let (shared, bend) = bend(&clock.unit)?;
    // Orthogonal columns: each coefficient comes by itself.
    let weight = dot(&bend, &bend);
    let (line, gamma) = (dot(&clock.unit, &value.unit), dot(&bend, &value.unit) / weight);
    let residual = |i: usize| value.unit[i] - line * clock.unit[i] - gamma * bend[i];
    let freedom = y.len() - 3;
    let noise = ((0..y.len()).map(residual).map(|it| it * it).sum::<f64>() / freedom as f64).sqrt();
    let size = gamma * weight.sqrt();
    let t_kappa = if size.abs() <= value.rounding { 0.0 } else { (size / noise).clamp(-MOST_T, MOST_T) };
    // The curve is `slope v + gamma v²` in the scaled `v` of the clock.
    let slope = line - gamma * shared;
    let (first, last) = clock.unit.iter().fold((f64::MAX, f64::MIN), |(low, high), &v| (v.min(low), v.max(high)));
    let scale = value.length / clock.length;
    let fit = Curvature {
        kappa: gamma * scale / clock.length,
        t_kappa,
        end_slope: (slope + 2.0 * gamma * last) * scale,
        mean_slope: (slope + gamma * (first + last)) * scale,
        freedom,
    };
    all_finite(&[fit.kappa, fit.t_kappa, fit.end_slope, fit.mean_slope]).then_some(fit)
}

/// The square of a column of length one, less what a constant and the column itself explain of it, and how much of it
/// the column did explain. `None` if nothing is left, as with two distinct values.
fn bend(line: &[f64]) -> Option<(f64, Vec<f64>)> {
    let mean = dot(line, line) / line.len() as f64;
    let mut bend: Vec<f64> = line.iter().map(|v| v * v - mean).collect();
    let whole = dot(&bend, &bend);
    let shared = dot(line, &bend);
    bend.iter_mut().zip(line).for_each(|(bend, v)| *bend -= shared * v);
    // A symmetric pair of values has a constant square, of which only rounding is left.
    let least = LEAST_INDEPENDENCE * whole.max(mean * mean);
    (dot(&bend, &bend) > least).then_some((shared, bend))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(n: i32) -> Vec<f64> {
        (0..n).map(|i| 60.0 * f64::from(i)).collect()
    }

    #[test]
    fn a_parabola_is_found_with_its_slopes() {
        let u = clock(30);
        let y: Vec<f64> = u.iter().map(|u| 5.0 + 2.0 * u - 0.001 * u * u).collect();
        let fit = curvature(&u, &y).expect("a fit");
        assert!((fit.kappa + 0.001).abs() < 1e-12 && fit.freedom == 27, "{fit:?}");
        assert!((fit.end_slope - (2.0 - 0.002 * 1740.0)).abs() < 1e-9, "{fit:?}");
        assert!((fit.mean_slope - (2.0 - 0.001 * 1740.0)).abs() < 1e-9, "{fit:?}");
        assert!(fit.t_kappa <= -1e5 && fit.t_kappa.is_finite(), "{fit:?}");
    }

    #[test]
    fn a_line_and_a_constant_do_not_bend() {
        let u = clock(48);
        for y in [u.iter().map(|u| 0.1 * u + 7.3).collect(), vec![0.1; 48]] {
            let fit = curvature(&u, &y).expect("a fit");
            assert_eq!(fit.t_kappa, 0.0, "{fit:?}");
            assert!((fit.end_slope - fit.mean_slope).abs() < 1e-12, "{fit:?}");
        }
    }

    #[test]
    fn bad_input_has_no_curvature() {
        assert_eq!(curvature(&[0.0, 1.0, 2.0], &[0.0, 1.0, 4.0]), None, "too few");
        assert_eq!(curvature(&[0.0, 1.0, 2.0, 3.0], &[0.0, 1.0, 4.0]), None, "lengths differ");
        assert_eq!(curvature(&[0.0, 0.0, 1.0, 1.0], &[0.0, 1.0, 4.0, 9.0]), None, "two times are a line at most");
        assert_eq!(curvature(&[0.0, 0.0, 0.0, 0.1, 0.1], &[0.0, 1.0, 4.0, 9.0, 2.0]), None);
        assert_eq!(curvature(&[3.0; 4], &[0.0, 1.0, 4.0, 9.0]), None);
        assert_eq!(curvature(&[0.0, 1.0, 2.0, 3.0], &[0.0, f64::NAN, 4.0, 9.0]), None);
        assert_eq!(curvature(&[0.0, 1.0, 2.0, 3.0], &[f64::MAX, f64::MIN, 0.0, 0.0]), None, "overflow");
    }
}
