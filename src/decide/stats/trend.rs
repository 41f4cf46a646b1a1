//! The verdict on growth: a slope, and a test that two tests of different blindness have to pass together.
//!
//! Mann-Kendall is right when the noise is stationary but takes a random walk for a trend; the increment test is right
//! when the level wanders and takes no jump for a trend, but can be led astray by its own variance estimate on short
//! series. Growth has to convince both. It judges the series it is given: load, warm-up and restarts are the caller's.

use super::{
    Slope,
    fast::PairSlopes,
    increment_test,
    mann_kendall::rising_level,
    small_sample::normal_equivalent,
    theil_sen,
    theil_sen::{from_pairs, through_the_medians},
};

/// Upward growth: how fast, and how sure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// The robust slope with its interval, in units of `y` per second.
    pub slope: Slope,
    /// The smaller z of the two tests if both see a rise, else 0. Standard deviations.
    pub z: f64,
    /// The one-sided p-value of `z`: P(Z > z). A series that does not rise has one half, not one.
    pub p_value: f64,
}

/// Tests `y` over `t` (seconds) for upward growth: the intersection-union of [`mann_kendall_hamed_rao`](super::mann_kendall_hamed_rao) (right if the
/// noise is stationary) and [`increment_test`] (right if it is integrated), so that `z = min(z_mk, z_increment)` if
/// both are positive, else 0. Either null hypothesis can be true, therefore both must be rejected (Berger 1982); one
/// test per order of integration is in the spirit of Harvey, Leybourne & Taylor (2007).
///
/// `confidence` is that of the slope's interval alone. Times must rise strictly and be about evenly spaced: the slope
/// uses them, the tests only their order.
///
/// Before they are compared, the z of the increment test is taken down to what it is worth with so few steps; with
/// that, 16 points are enough: of two million trendless series of AR(1) noise with coefficient 0.95 at each of 19
/// lengths from 16 to 120, at most 0.082 % reach z = 3.09 (0.1 % is due) and at most 0.0034 % reach z = 4 (0.0032 % is
/// due). Of random walks more do: 0.54 % with 48 points reach z = 3, and 0.05 % reach z = 4.
///
/// A call takes 9.5 µs for 48 evenly spaced points that rise, 6.8 µs for as many that fall, 3.7 and 2.4 µs for 24 (one
/// core of a busy two-core virtual machine, optimised); that is nine times a plain Mann-Kendall test, and half of it goes
/// into selecting the three slopes. [`growth_z`] takes 6.2 and 0.2 µs. Without an even spacing a rise takes 17 µs.
///
/// `None` for fewer than four points, times that do not rise strictly, or whatever gives `None` in the parts.
///
/// ```
/// use grpc_hygiene::decide::stats::trend;
/// let t: Vec<f64> = (0..48).map(|i| 60.0 * f64::from(i)).collect();
/// let y: Vec<f64> = t.iter().map(|t| 16.0 + t / 60.0 + (t * 0.7).sin()).collect();
/// let leak = trend(&t, &y, 0.95).expect("long enough");
/// assert!(leak.z > 5.0 && leak.slope.lower > 0.015 && leak.slope.upper < 0.018);
/// ```
pub fn trend(t: &[f64], y: &[f64], confidence: f64) -> Option<Trend> {
    if t.len() != y.len() || !t.is_sorted_by(|earlier, later| earlier < later) {
        return None;
    }
    let Some(step) = even_step(t) else {
        return Some(with_z(theil_sen(t, y, confidence)?, growth_z(y)?));
    };
    let increments = increment_test(y)?;
    // One set of slopes serves both: those per place, of which those per second are a constant part.
    let mut pairs = PairSlopes::over_places(y)?;
    let slopes = from_pairs(&mut pairs, y, 0.0, confidence)?;
    let slope = through_the_medians(t, y, slopes.map(|slope| slope / step))?;
    Some(with_z(slope, both(increments, y, || Some(slopes[0]))?))
}

/// The `z` of [`trend`] alone, without a slope: all that most questions need. Without times it takes the values as
/// evenly spaced.
///
/// A series that does not rise costs least, because the cheaper test is asked first and the other only if it matters.
///
/// `None` for fewer than four values, anything not finite, or an overflow.
///
/// ```
/// use grpc_hygiene::decide::stats::growth_z;
/// let y: Vec<f64> = (0..48).map(|i| 16.0 + f64::from(i)).collect();
/// assert!(growth_z(&y).expect("long enough") > 5.0);
/// ```
pub fn growth_z(y: &[f64]) -> Option<f64> {
    both(increment_test(y)?, y, || PairSlopes::over_places(y)?.median())
}

/// The smaller z of the two tests if both see a rise, else 0.
fn both(increments: f64, y: &[f64], sen_slope: impl FnOnce() -> Option<f64>) -> Option<f64> {
    if increments <= 0.0 {
        return Some(0.0);
    }
    Some(rising_level(y, sen_slope)?.min(normal_equivalent(increments, y.len() - 1)))
}

fn with_z(slope: Slope, z: f64) -> Trend {
    Trend { slope, z, p_value: super::normal_upper_tail(z) }
}

/// The seconds from each time to the next, if they are all the same to the last bit.
fn even_step(t: &[f64]) -> Option<f64> {
    let step = t.get(1)? - t[0];
    t.windows(2).all(|pair| pair[1] - pair[0] == step).then_some(step)
}

#[cfg(test)]
mod tests {
    use super::super::mann_kendall;
    use super::*;

    fn clock(n: i32) -> Vec<f64> {
        (0..n).map(|i| 30.0 * f64::from(i)).collect()
    }

    #[test]
    fn a_line_is_growth_at_its_own_speed() {
        let t = clock(48);
        let y: Vec<f64> = t.iter().map(|t| 16.0 + 0.5 * t).collect();
        let trend = trend(&t, &y, 0.95).expect("long enough");
        assert_eq!(trend.slope.per_second, 0.5);
        assert!(trend.z > 9.0 && trend.p_value < 1e-18, "{trend:?}");
    }

    #[test]
    fn a_fall_and_a_constant_are_no_growth() {
        let t = clock(48);
        let fall: Vec<f64> = t.iter().map(|t| 100.0 - t).collect();
        for y in [fall, vec![16.0; 48]] {
            let trend = trend(&t, &y, 0.95).expect("long enough");
            assert_eq!((trend.z, trend.p_value), (0.0, 0.5));
        }
    }

    #[test]
    fn a_step_fools_mann_kendall_but_not_the_pair() {
        let step: Vec<f64> = (0..48).map(|i| if i < 24 { 10.0 } else { 90.0 }).collect();
        assert!(mann_kendall(&step).expect("long enough").z > 5.0);
        assert!(trend(&clock(48), &step, 0.95).expect("long enough").z < 1.5);
    }

    #[test]
    fn a_short_line_is_growth_and_the_z_alone_is_that_of_the_trend() {
        for n in [20, 48] {
            let y: Vec<f64> = (0..n).map(|i| 16.0 + f64::from(i)).collect();
            let z = growth_z(&y).expect("long enough");
            assert!(z > 5.0, "{n} points: {z}");
            assert_eq!(z, trend(&clock(n), &y, 0.95).expect("long enough").z);
        }
    }

    #[test]
    fn uneven_times_change_the_slope_and_not_the_z() {
        let y: Vec<f64> = (0..30).map(|i| f64::from(i) + (f64::from(i) * 12.9898).sin()).collect();
        let mut late = clock(30);
        late[29] += 1.0;
        let (even, uneven) = (trend(&clock(30), &y, 0.95).expect("n"), trend(&late, &y, 0.95).expect("n"));
        assert_eq!(even.z, uneven.z);
        assert!(even.slope != uneven.slope && (even.slope.per_second - uneven.slope.per_second).abs() < 1e-4);
    }

    #[test]
    fn times_out_of_order_or_repeated_give_nothing() {
        let y = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(trend(&[0.0, 2.0, 1.0, 3.0], &y, 0.95), None);
        assert_eq!(trend(&[0.0, 1.0, 1.0, 3.0], &y, 0.95), None);
        assert_eq!(trend(&[0.0, 1.0, f64::NAN, 3.0], &y, 0.95), None);
        assert!(trend(&[0.0, 1.0, 2.0, 3.0], &y, 0.95).is_some());
        assert_eq!(trend(&[0.0, 1.0, 2.0], &y[..3], 0.95), None, "too short");
        assert_eq!(trend(&[0.0, 1.0, 2.0, 3.0].map(|t| t * 1e-320), &y, 0.95), None, "the slope overflows");
    }
}
