//! What must hold for every series, and how often the tests err on simulated ones.
//!
//! Properties run on random input (proptest); error rates on fixed seeds, so that a failure repeats.

use super::{
    growth_z, increment_test, mann_kendall, mann_kendall_hamed_rao, normal_quantile, quantile, theil_sen, trend,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::ops::Range;

/// Points in the simulated series: those of one scale of the detector.
const N: usize = 48;

fn clock(n: usize) -> Vec<f64> {
    (0..n).map(|i| 60.0 * i as f64).collect()
}

pub(super) fn map(y: &[f64], change: impl Fn(f64) -> f64) -> Vec<f64> {
    y.iter().map(|&y| change(y)).collect()
}

fn reversed(y: &[f64]) -> Vec<f64> {
    y.iter().rev().copied().collect()
}

pub(super) fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1.0)
}

/// Continuous values, so that ties do not occur.
fn series(length: Range<usize>) -> impl Strategy<Value = Vec<f64>> {
    vec(-1e3..1e3, length)
}

/// Lengths whose number of pairs is even: no two points define the median slope, no residuals tie.
fn series_of_even_pairs() -> impl Strategy<Value = Vec<f64>> {
    series(8..60).prop_map(|mut y| {
        y.truncate(y.len() / 4 * 4);
        y
    })
}

/// Anything at all, with a liking for the values that break arithmetic.
fn hostile() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        proptest::sample::select(vec![0.0, -0.0, 1.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY]),
    ]
}

proptest! {
    #[test]
    fn no_input_panics_and_no_answer_is_not_finite(
        points in vec((hostile(), hostile()), 0..12),
        confidence in hostile(),
    ) {
        let (t, y): (Vec<f64>, Vec<f64>) = points.into_iter().unzip();
        if let Some(slope) = theil_sen(&t, &y, confidence) {
            prop_assert!([slope.per_second, slope.lower, slope.upper, slope.intercept].iter().all(|it| it.is_finite()));
        }
        for test in [mann_kendall(&y), mann_kendall_hamed_rao(&y)].into_iter().flatten() {
            prop_assert!(test.z.is_finite() && (0.0..=1.0).contains(&test.p_value) && test.tau.abs() <= 1.0);
        }
        prop_assert!(increment_test(&y).is_none_or(f64::is_finite));
        prop_assert!(growth_z(&y).is_none_or(|z| z.is_finite() && z >= 0.0));
        prop_assert!(quantile(&y, confidence).is_none_or(f64::is_finite));
        if let Some(trend) = trend(&t, &y, confidence) {
            prop_assert!(trend.z.is_finite() && (0.0..=0.5).contains(&trend.p_value));
        }
    }

    #[test]
    fn the_slope_stands_inside_its_interval(y in series(2..60), confidence in 0.01..0.99) {
        let slope = theil_sen(&clock(y.len()), &y, confidence).expect("a slope");
        prop_assert!(slope.lower <= slope.per_second && slope.per_second <= slope.upper);
    }

    #[test]
    fn shifting_the_values_moves_only_the_intercept(y in series_of_even_pairs(), shift in -1e3..1e3) {
        let t = clock(y.len());
        let before = trend(&t, &y, 0.95).expect("long enough");
        let after = trend(&t, &map(&y, |y| y + shift), 0.95).expect("long enough");
        prop_assert!(close(after.z, before.z));
        prop_assert!(close(after.slope.per_second, before.slope.per_second));
        prop_assert!(close(after.slope.intercept, before.slope.intercept + shift));
    }

    #[test]
    fn scaling_the_values_scales_the_slope_and_no_z(y in series_of_even_pairs(), scale in 1e-3..1e3) {
        let t = clock(y.len());
        let before = trend(&t, &y, 0.95).expect("long enough");
        let after = trend(&t, &map(&y, |y| y * scale), 0.95).expect("long enough");
        prop_assert!(close(after.z, before.z));
        prop_assert!(close(after.slope.per_second, before.slope.per_second * scale));
        prop_assert!(close(after.slope.lower, before.slope.lower * scale));
        prop_assert!(close(after.slope.upper, before.slope.upper * scale));
    }

    #[test]
    fn shifting_the_time_moves_only_the_intercept(y in series(4..60), shift in -100_000..100_000) {
        let t = clock(y.len());
        let before = trend(&t, &y, 0.95).expect("long enough");
        let after = trend(&map(&t, |t| t + f64::from(shift)), &y, 0.95).expect("long enough");
        prop_assert_eq!(after.z, before.z);
        prop_assert_eq!(after.slope.per_second, before.slope.per_second);
        prop_assert!(close(after.slope.intercept, before.slope.intercept - before.slope.per_second * f64::from(shift)));
    }

    #[test]
    fn mann_kendall_sees_only_the_order(y in series(2..60)) {
        prop_assert_eq!(mann_kendall(&map(&y, |y| (y / 200.0).exp())), mann_kendall(&y));
    }

    #[test]
    fn reversing_the_time_flips_every_sign(y in series_of_even_pairs()) {
        let back = reversed(&y);
        let flips = |forth: f64, back: f64| close(back, -forth);
        let (forth, plain) = (mann_kendall(&y).expect("n"), mann_kendall(&back).expect("n"));
        prop_assert!(flips(forth.s, plain.s) && flips(forth.z, plain.z) && forth.p_value == plain.p_value);
        let corrected = |y: &[f64]| mann_kendall_hamed_rao(y).expect("n").z;
        prop_assert!(flips(corrected(&y), corrected(&back)));
        prop_assert!(flips(increment_test(&y).expect("n"), increment_test(&back).expect("n")));
        let t = clock(y.len());
        let slope = |y: &[f64]| theil_sen(&t, y, 0.95).expect("n").per_second;
        prop_assert!(flips(slope(&y), slope(&back)));
        prop_assert!(trend(&t, &y, 0.95).expect("n").z == 0.0 || trend(&t, &back, 0.95).expect("n").z == 0.0);
    }
}

/// A seeded source of standard normal numbers.
pub(super) struct Noise(pub(super) TestRng);

impl Noise {
    pub(super) fn new(seed: u8) -> Self {
        Noise(TestRng::from_seed(RngAlgorithm::XorShift, &[seed; 16]))
    }

    pub(super) fn normal(&mut self) -> f64 {
        normal_quantile(self.0.random_range(1e-15..1.0))
    }

    /// A stationary AR(1) series of unit variance.
    fn autoregressive(&mut self, phi: f64, length: usize) -> Vec<f64> {
        let mut level = self.normal();
        let fresh = (1.0 - phi * phi).sqrt();
        std::iter::repeat_with(|| {
            level = phi * level + fresh * self.normal();
            level
        })
        .take(length)
        .collect()
    }

    pub(super) fn shuffle(&mut self, values: &mut [f64]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.0.random_range(0..=i));
        }
    }
}

/// The share of `count` cases that hold.
pub(super) fn rate(count: usize, mut case: impl FnMut() -> bool) -> f64 {
    (0..count).filter(|_| case()).count() as f64 / count as f64
}

fn grows(y: &[f64]) -> bool {
    growth_z(y).expect("long enough") >= 3.0
}

#[test]
fn a_shuffled_leak_rarely_looks_like_one() {
    let mut noise = Noise::new(1);
    let mut leak: Vec<f64> = (0..N).map(|i| i as f64).collect();
    assert!(grows(&leak), "unshuffled it does");
    let mut plain = 0;
    let both = rate(2000, || {
        noise.shuffle(&mut leak);
        plain += usize::from(mann_kendall(&leak).expect("long enough").p_value < 0.05);
        grows(&leak)
    });
    assert!(both <= 0.0005, "{both}");
    let plain = plain as f64 / 2000.0;
    assert!((0.04..0.06).contains(&plain), "Mann-Kendall keeps its own level on independent values: {plain}");
}

#[test]
fn autocorrelated_noise_is_rarely_called_growth() {
    let mut noise = Noise::new(2);
    for (phi, budget) in [(0.0, 0.0005), (0.5, 0.0005), (0.8, 0.0005), (0.9, 0.001), (0.95, 0.002)] {
        let rate = rate(2000, || grows(&noise.autoregressive(phi, N)));
        assert!(rate <= budget, "phi = {phi}: {rate} of the trendless series reach z = 3");
    }
}

#[test]
fn few_points_are_not_called_growth_more_often_than_many() {
    let mut noise = Noise::new(4);
    for length in [16, 17, 20, 24, 36] {
        let mut uncorrected = 0;
        let rate = rate(4000, || {
            let y = noise.autoregressive(0.95, length);
            let both = mann_kendall_hamed_rao(&y).expect("n").z.min(increment_test(&y).expect("n"));
            uncorrected += usize::from(both >= 3.09);
            growth_z(&y).expect("n") >= 3.09
        });
        assert!(rate <= 0.002, "{length} points: {rate} where 0.001 is due");
        let uncorrected = uncorrected as f64 / 4000.0;
        assert!(length > 20 || uncorrected > 0.002, "{length} points: without the correction {uncorrected}");
    }
}

#[test]
fn mann_kendall_alone_would_break_that_budget() {
    let mut noise = Noise::new(2);
    let plain = rate(1000, || mann_kendall(&noise.autoregressive(0.95, N)).expect("long enough").z >= 3.0);
    let corrected =
        rate(1000, || mann_kendall_hamed_rao(&noise.autoregressive(0.95, N)).expect("long enough").z >= 3.0);
    assert!(plain > 0.1 && corrected > 0.05, "{plain}, {corrected}");
}

#[test]
fn a_leak_well_above_its_noise_is_found() {
    let mut noise = Noise::new(3);
    for phi in [0.0, 0.5, 0.8] {
        let found = rate(500, || {
            let leak: Vec<f64> =
                noise.autoregressive(phi, N).iter().enumerate().map(|(i, y)| y + 20.0 * i as f64 / N as f64).collect();
            grows(&leak)
        });
        assert!(found >= 0.9, "phi = {phi}: only {found} found");
    }
}
