//! Least squares with a sign: what grows with the clock once what breathes with the load is taken off.
//!
//! A pool follows the load `r` of the moment, a leak follows time or the calls made so far, `u`. Two columns at most, so
//! the solution is written out rather than left to a matrix library. The standard errors assume independent noise:
//! [`trend`](super::trend()) on what is left decides, not they.

use super::{column::Column, fast::dot, order::all_finite};

/// Columns whose squared correlation is within this of one cannot be told apart.
const LEAST_INDEPENDENCE: f64 = 1e-10;

/// The fit of `y ~ a + lambda u + b r` with `b >= 0`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadFit {
    /// The constant `a`, in units of `y`.
    pub intercept: f64,
    /// The growth per unit of the clock: units of `y` per unit of `u`.
    pub lambda: f64,
    /// The standard error of `lambda`, for independent noise; in the same units.
    pub standard_error: f64,
    /// How much of `y` goes with each unit of load, never negative: units of `y` per unit of `r`.
    pub b: f64,
    /// The sum of the squared residuals, in squared units of `y`.
    pub sse: f64,
    /// How much more the variance of `lambda` is for having to tell clock from load: `1 / (1 - corr(r, u)²)`, at least
    /// one, and one if the load was left out.
    pub variance_inflation: f64,
}

impl LoadFit {
    /// What the fit leaves of `y`, in its units.
    pub fn residuals<'a>(self, u: &'a [f64], r: &'a [f64], y: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        u.iter().zip(r).zip(y).map(move |((u, r), y)| y - self.intercept - self.lambda * u - self.b * r)
    }

    /// `y` less what goes with the load, in its units: what remains to be tested for growth.
    pub fn without_load<'a>(self, r: &'a [f64], y: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        r.iter().zip(y).map(move |(r, y)| y - self.b * r)
    }
}

/// Fits `y ~ a + lambda u + b r` by least squares under `b >= 0`: more load never means fewer connections. If the free
/// fit has a negative `b`, the best with the constraint has `b = 0` (Lawson & Hanson 1974: one bound, one refit), and so
/// it has if the load never changes.
///
/// `None` for fewer than four points, lengths that differ, anything not finite, an overflow, a `u` that stands still,
/// or a load that runs along with `u` (correlation of one): then nothing can say which of them `y` follows.
///
/// ```
/// use grpc_hygiene::decide::stats::regression_on_load;
/// let (u, r) = ([0.0, 1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 5.0, 1.0]);
/// let y: Vec<f64> = u.iter().zip(r).map(|(u, r)| 7.0 + 0.5 * u + 2.0 * r).collect();
/// let fit = regression_on_load(&u, &r, &y).expect("a fit");
/// assert!((fit.lambda - 0.5).abs() < 1e-12 && (fit.b - 2.0).abs() < 1e-12);
/// ```
pub fn regression_on_load(u: &[f64], r: &[f64], y: &[f64]) -> Option<LoadFit> {
    if y.len() < 4 || u.len() != y.len() || r.len() != y.len() {
        return None;
    }
    let (clock, value) = (Column::of(u)?, Column::of(y)?);
    let (clock, load) = (clock.varies().then_some(clock)?, Column::of(r)?);
    let with_load = if load.varies() { Some(fit_both(&clock, &load, &value)?) } else { None };
    let [lambda, b, inflation] =
        with_load.filter(|&[_, b, _]| b > 0.0).unwrap_or([dot(&clock.unit, &value.unit), 0.0, 1.0]);
    let residual = |i: usize| value.unit[i] - lambda * clock.unit[i] - if b > 0.0 { b * load.unit[i] } else { 0.0 };
    let unexplained: f64 = (0..y.len()).map(residual).map(|it| it * it).sum();
    let freedom = y.len() - if b > 0.0 { 3 } else { 2 };
    // Columns of length one were fitted; now back to the units given.
    let scale = value.length / clock.length;
    let fit = LoadFit {
        lambda: lambda * scale,
        standard_error: (unexplained / freedom as f64 * inflation).sqrt() * scale,
        b: if b > 0.0 { b * value.length / load.length } else { 0.0 },
        sse: unexplained * value.length * value.length,
        variance_inflation: inflation,
        intercept: 0.0,
    };
    let intercept = value.mean - fit.lambda * clock.mean - fit.b * load.mean;
    let all = [intercept, fit.lambda, fit.standard_error, fit.b, fit.sse, fit.variance_inflation];
    all_finite(&all).then_some(LoadFit { intercept, ..fit })
}

/// The free fit of `value` on both columns, all of length one: the two coefficients and the variance inflation. The
/// load is first made orthogonal to the clock, which loses fewer digits than the normal equations.
fn fit_both(clock: &Column, load: &Column, value: &Column) -> Option<[f64; 3]> {
    let shared = dot(&clock.unit, &load.unit);
    let own: Vec<f64> = clock.unit.iter().zip(&load.unit).map(|(clock, load)| load - shared * clock).collect();
    let independence = dot(&own, &own);
    if independence < LEAST_INDEPENDENCE {
        return None;
    }
    let b = dot(&own, &value.unit) / independence;
    Some([dot(&clock.unit, &value.unit) - shared * b, b, (1.0 / independence).max(1.0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(n: i32, speed: f64) -> Vec<f64> {
        (0..n).map(|i| 10.0 + 5.0 * (f64::from(i) * speed).sin()).collect()
    }

    #[test]
    fn a_pool_that_breathes_has_no_growth_of_its_own() {
        let (u, r): (Vec<f64>, Vec<f64>) = ((0..40).map(f64::from).collect(), wave(40, 0.2));
        let y: Vec<f64> = r.iter().map(|r| 3.0 * r).collect();
        let fit = regression_on_load(&u, &r, &y).expect("a fit");
        assert!(fit.lambda.abs() < 1e-12 && (fit.b - 3.0).abs() < 1e-12, "{fit:?}");
        assert!(fit.without_load(&r, &y).all(|it| it.abs() < 1e-9));
    }

    #[test]
    fn load_that_would_reduce_connections_is_left_out() {
        let (u, r): (Vec<f64>, Vec<f64>) = ((0..40).map(f64::from).collect(), wave(40, 0.9));
        let y: Vec<f64> = u.iter().zip(&r).map(|(u, r)| 0.5 * u - r).collect();
        let (fit, alone) =
            (regression_on_load(&u, &r, &y).expect("a fit"), regression_on_load(&u, &[7.0; 40], &y).expect("a fit"));
        assert_eq!((fit.b, fit.variance_inflation), (0.0, 1.0));
        assert_eq!(fit, alone, "a load that never changes says nothing either");
    }

    #[test]
    fn a_load_that_climbs_with_the_clock_leaves_the_question_open() {
        let u: Vec<f64> = (0..40).map(f64::from).collect();
        let ramp: Vec<f64> = u.iter().map(|u| 100.0 + 3.0 * u).collect();
        assert_eq!(regression_on_load(&u, &ramp, &wave(40, 0.3)), None);
        let nearly: Vec<f64> = ramp.iter().zip(wave(40, 0.7)).map(|(r, w)| r + w).collect();
        let y: Vec<f64> = nearly.iter().zip(&u).map(|(r, u)| r + u + (u * 12.9898).sin()).collect();
        let fit = regression_on_load(&u, &nearly, &y).expect("a fit");
        assert!(fit.variance_inflation > 50.0, "{fit:?}");
    }

    #[test]
    fn the_residuals_are_those_whose_squares_were_summed() {
        let (u, r): (Vec<f64>, Vec<f64>) = ((0..40).map(f64::from).collect(), wave(40, 0.2));
        let y: Vec<f64> = u.iter().zip(&r).map(|(u, r)| 0.5 * u + r + (u * 12.9898).sin()).collect();
        let fit = regression_on_load(&u, &r, &y).expect("a fit");
        let (sum, squares) =
            fit.residuals(&u, &r, &y).fold((0.0, 0.0), |(sum, squares), it| (sum + it, squares + it * it));
        assert!(sum.abs() < 1e-9 && (squares - fit.sse).abs() < 1e-9 * fit.sse, "{sum}, {squares}, {fit:?}");
    }

    #[test]
    fn bad_input_has_no_fit() {
        let good = [1.0, 2.0, 4.0, 7.0, 11.0];
        let load = [3.0, 1.0, 4.0, 1.0, 5.0];
        assert!(regression_on_load(&good, &load, &good).is_some());
        assert_eq!(regression_on_load(&good[..3], &load[..3], &good[..3]), None, "too few");
        assert_eq!(regression_on_load(&good, &load[..4], &good), None, "lengths differ");
        assert_eq!(regression_on_load(&[5.0; 5], &load, &good), None, "the clock stands still");
        assert_eq!(
            regression_on_load(&[0.1 + 0.2, 0.3, 0.3, 0.3, 0.3], &load, &good),
            None,
            "it does but for rounding"
        );
        assert_eq!(regression_on_load(&good, &load, &[0.0, f64::MAX, f64::MIN, 0.0, 0.0]), None, "overflow");
        assert_eq!(regression_on_load(&good, &load, &[0.0, f64::NAN, 1.0, 0.0, 0.0]), None);
    }
}
