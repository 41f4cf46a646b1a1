//! The interval of a share, from few cases: Wilson, "Probable inference, the law of succession, and statistical
//! inference", JASA 22 (1927). Unlike the usual one it is honest when all cases went one way.

/// The bounds of the true share of successes, when `successes` of `trials` were seen, each missed with the probability of
/// the upper tail of `z`. Of nothing nothing is known: 0 to 1.
#[must_use]
pub fn wilson(successes: u32, trials: u32, z: f64) -> (f64, f64) {
    if trials == 0 || !z.is_finite() {
        return (0.0, 1.0);
    }
    let (n, z2) = (f64::from(trials), z * z);
    let p = f64::from(successes.min(trials)) / n;
    let middle = p + z2 / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    (((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const Z95: f64 = 1.959_963_984_540_054;

    #[test]
    fn it_is_the_interval_of_the_books() {
        // Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        for (successes, trials, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let (lower, upper) = wilson(successes, trials, Z95);
            assert!((lower - low).abs() < 1e-4 && (upper - high).abs() < 1e-4, "{successes}/{trials}: {lower} {upper}");
        }
    }

    #[test]
    fn of_nothing_nothing_is_known_and_nonsense_stays_between_none_and_all() {
        assert_eq!(wilson(0, 0, Z95), (0.0, 1.0));
        assert_eq!(wilson(5, 3, Z95).1, 1.0);
        assert_eq!(wilson(1, 2, f64::NAN), (0.0, 1.0));
    }
}
