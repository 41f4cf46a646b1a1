//! Least squares with one or two columns: growth over a clock, less what follows the load; and the bend of a curve.

/// A fit of `y ~ a + lambda u + b r` with `b >= 0`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constrained {
    /// Growth of `y` per unit of `u`.
    pub lambda: f64,
    /// Growth of `y` per unit of `r`, never negative.
    pub b: f64,
    /// The sum of squared residuals.
    pub sse: f64,
    /// The variance inflation factor `1 / (1 - corr(r, u)^2)` of `lambda`; 1 where `r` is left out.
    pub inflation: f64,
}

/// Fits it. `None` when the lengths differ, `u` is constant or anything is not finite.
#[must_use]
pub fn constrained(y: &[f64], u: &[f64], r: &[f64]) -> Option<Constrained> {
    if y.len() != u.len() || y.len() != r.len() || y.len() < 4 {
        return None;
    }
    let (y, u, r) = (centred(y), centred(u), centred(r));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (uu, rr, ur, uy, ry, yy) = (dot(&u, &u), dot(&r, &r), dot(&u, &r), dot(&u, &y), dot(&r, &y), dot(&y, &y));
    if !(uu > 0.0 && [uu, rr, ur, uy, ry, yy].iter().all(|it| it.is_finite())) {
        return None;
    }
    let alone = Constrained { lambda: uy / uu, b: 0.0, sse: (yy - uy * uy / uu).max(0.0), inflation: 1.0 };
    let apart = 1.0 - ur * ur / (uu * rr);
    if rr.is_nan() || rr <= 0.0 || apart < 1e-9 {
        return Some(if rr > 0.0 { Constrained { inflation: 1e9, ..alone } } else { alone });
    }
    let determinant = uu * rr * apart;
    let (lambda, b) = ((uy * rr - ry * ur) / determinant, (ry * uu - uy * ur) / determinant);
    if b <= 0.0 {
        return Some(alone);
    }
    Some(Constrained { lambda, b, sse: (yy - lambda * uy - b * ry).max(0.0), inflation: 1.0 / apart })
}

/// The bend of `y ~ 1 + t + t^2`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quadratic {
    /// The t statistic of the quadratic term.
    pub t: f64,
    /// The slope at the last time.
    pub end_slope: f64,
    /// The mean slope.
    pub mean_slope: f64,
}

/// Fits it. `None` for fewer than five points, equal times, or anything not finite.
#[must_use]
pub fn quadratic(t: &[f64], y: &[f64]) -> Option<Quadratic> {
    let n = t.len() as f64;
    if t.len() != y.len() || t.len() < 5 {
        return None;
    }
    let half = (t[t.len() - 1] - t[0]) / 2.0;
    let mean = t.iter().sum::<f64>() / n;
    let u: Vec<f64> = t.iter().map(|it| (it - mean) / half).collect();
    let squares: Vec<f64> = u.iter().map(|it| it * it).collect();
    let fit = constrained_free(y, &u, &squares)?;
    let (linear, bend, sse, spread) = fit;
    let error = (sse / (n - 3.0) / spread).sqrt();
    let last = u[u.len() - 1];
    let result = Quadratic {
        t: bend / error.max(f64::MIN_POSITIVE),
        end_slope: (linear + 2.0 * bend * last) / half,
        mean_slope: linear / half,
    };
    [result.t, result.end_slope, result.mean_slope].iter().all(|it| it.is_finite()).then_some(result)
}

/// Coefficients of `u` and `r`, the residual sum of squares, and the spread of `r` that `u` leaves.
fn constrained_free(y: &[f64], u: &[f64], r: &[f64]) -> Option<(f64, f64, f64, f64)> {
    let (y, u, r) = (centred(y), centred(u), centred(r));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (uu, rr, ur, uy, ry, yy) = (dot(&u, &u), dot(&r, &r), dot(&u, &r), dot(&u, &y), dot(&r, &y), dot(&y, &y));
    let determinant = uu * rr - ur * ur;
    if !(determinant > 0.0 && determinant.is_finite() && yy.is_finite()) {
        return None;
    }
    let (a, b) = ((uy * rr - ry * ur) / determinant, (ry * uu - uy * ur) / determinant);
    Some((a, b, (yy - a * uy - b * ry).max(0.0), determinant / uu))
}

fn centred(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|it| it - mean).collect()
}
