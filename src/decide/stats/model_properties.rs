//! What must hold for every regression, pool and interval, and how often they err on simulated noise.
//!
//! As `properties.rs`, for the statistics that are not a test of one series.

use super::properties::{Noise, close, map, rate};
use super::{
    LoadFit, benjamini_hochberg, conformal_factors, curvature, high_outliers, median, pooled_z, regression_on_load,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn clock(n: usize) -> Vec<f64> {
    (0..n).map(|i| i as f64).collect()
}

/// Load and level, of the same length.
fn load_and_level() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    vec((0.0..1e3, -1e3..1e3), 8..50).prop_map(|rows| rows.into_iter().unzip())
}

fn fit(u: &[f64], r: &[f64], y: &[f64]) -> LoadFit {
    regression_on_load(u, r, y).expect("a fit")
}

fn hostile() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), proptest::sample::select(vec![0.0, 1.0, f64::MAX, f64::MIN, f64::NAN, f64::INFINITY])]
}

proptest! {
    #[test]
    fn no_input_panics_and_no_answer_is_not_finite(
        rows in vec((hostile(), hostile(), hostile()), 0..9),
        parameter in hostile(),
    ) {
        let u: Vec<f64> = rows.iter().map(|row| row.0).collect();
        let r: Vec<f64> = rows.iter().map(|row| row.1).collect();
        let y: Vec<f64> = rows.iter().map(|row| row.2).collect();
        if let Some(it) = regression_on_load(&u, &r, &y) {
            prop_assert!(it.b >= 0.0 && it.variance_inflation >= 1.0 && it.lambda.is_finite() && it.sse.is_finite());
        }
        prop_assert!(curvature(&u, &y).is_none_or(|it| it.t_kappa.abs() <= 1e6 && it.end_slope.is_finite()));
        prop_assert!(benjamini_hochberg(&u).is_none_or(|it| it.iter().all(|p| (0.0..=1.0).contains(p))));
        prop_assert!(conformal_factors(&y, parameter).is_none_or(|it| it.low > 0.0 && it.low <= it.high));
        prop_assert!(pooled_z(&u[..u.len().min(2)], &[&r, &y]).is_none_or(|it| it.z.is_finite()));
        prop_assert!(high_outliers(&y, parameter).is_none_or(|it| it.iter().all(|&place| place < y.len())));
    }

    #[test]
    fn shifting_moves_only_the_intercept_of_the_fit((r, y) in load_and_level(), by in -1e3..1e3) {
        let u = clock(y.len());
        let before = fit(&u, &r, &y);
        let shift = |values: &[f64]| map(values, |value| value + by);
        for after in [fit(&u, &r, &shift(&y)), fit(&shift(&u), &r, &y), fit(&u, &shift(&r), &y)] {
            prop_assert!(close(after.lambda, before.lambda) && close(after.b, before.b) && close(after.sse, before.sse));
            prop_assert!(close(after.standard_error, before.standard_error));
        }
    }

    #[test]
    fn scaling_the_values_scales_the_fit((r, y) in load_and_level(), scale in 1e-2..1e2) {
        let u = clock(y.len());
        let (before, after) = (fit(&u, &r, &y), fit(&u, &r, &map(&y, |y| y * scale)));
        prop_assert!(close(after.lambda, before.lambda * scale) && close(after.b, before.b * scale));
        prop_assert!(close(after.standard_error, before.standard_error * scale));
        prop_assert_eq!(after.variance_inflation, before.variance_inflation);
        let slower = fit(&map(&u, |u| u * scale), &r, &y);
        prop_assert!(close(slower.lambda * scale, before.lambda) && close(slower.b, before.b));
    }

    #[test]
    fn more_growth_is_all_put_on_the_clock((r, y) in load_and_level(), more in 0.0..1e3) {
        let u = clock(y.len());
        let faster: Vec<f64> = u.iter().zip(&y).map(|(u, y)| y + more * u).collect();
        let (before, after) = (fit(&u, &r, &y), fit(&u, &r, &faster));
        prop_assert!(close(after.lambda, before.lambda + more) && close(after.b, before.b));
    }

    #[test]
    fn knowing_the_load_never_makes_the_fit_worse((r, y) in load_and_level()) {
        let u = clock(y.len());
        let (with, without) = (fit(&u, &r, &y), fit(&u, &vec![0.0; y.len()], &y));
        prop_assert!(with.sse <= without.sse * (1.0 + 1e-9) && with.b >= 0.0);
    }

    #[test]
    fn a_line_added_to_a_curve_changes_its_slopes_and_not_its_bend(
        y in vec(-1e3..1e3, 8..50),
        slope in -1e2..1e2,
        shift in -1e3..1e3,
        scale in 1e-2..1e2,
    ) {
        let u = clock(y.len());
        let before = curvature(&u, &y).expect("a fit");
        let changed: Vec<f64> = u.iter().zip(&y).map(|(u, y)| (y + slope * u + shift) * scale).collect();
        let after = curvature(&u, &changed).expect("a fit");
        prop_assert!(close(after.kappa, before.kappa * scale) && close(after.t_kappa, before.t_kappa));
        prop_assert!(close(after.end_slope, (before.end_slope + slope) * scale));
        prop_assert!(close(after.mean_slope, (before.mean_slope + slope) * scale));
    }

    #[test]
    fn a_curve_seen_backwards_bends_the_same_way(y in vec(-1e3..1e3, 8..50)) {
        let u = clock(y.len());
        let (forth, back) =
            (curvature(&u, &y).expect("a fit"), curvature(&map(&u, |u| -u), &y).expect("a fit"));
        prop_assert!(close(forth.t_kappa, back.t_kappa) && close(forth.mean_slope, -back.mean_slope));
    }

    #[test]
    fn adjusting_keeps_the_order_and_a_larger_p_never_helps(
        p in vec(0.0..1.0, 1..30),
        which in 0_usize..30,
        by in 0.0..1.0,
    ) {
        let before = benjamini_hochberg(&p).expect("probabilities");
        for (i, j) in (0..p.len()).flat_map(|i| (0..p.len()).map(move |j| (i, j))) {
            prop_assert!(p[i] > p[j] || before[i] <= before[j]);
        }
        let mut raised = p.clone();
        let which = which % p.len();
        raised[which] += (1.0 - raised[which]) * by;
        let after = benjamini_hochberg(&raised).expect("probabilities");
        prop_assert!(before.iter().zip(&p).all(|(adjusted, p)| adjusted >= p));
        prop_assert!(before.iter().zip(&after).all(|(before, after)| *before <= after + 1e-12));
    }

    #[test]
    fn scores_shift_and_scale_the_logarithms_of_the_factors(
        scores in vec(-2.0..2.0, 19..60),
        shift in -1.0..1.0,
        scale in 0.1..2.0,
    ) {
        let before = conformal_factors(&scores, 0.2).expect("enough");
        let after = conformal_factors(&map(&scores, |score| score * scale + shift), 0.2).expect("enough");
        prop_assert!(close(after.low.ln(), before.low.ln() * scale + shift));
        prop_assert!(close(after.high.ln(), before.high.ln() * scale + shift));
    }

    #[test]
    fn more_confidence_means_a_wider_interval(scores in vec(-2.0..2.0, 0..60), alpha in 0.15..0.9, less in 0.0..0.05) {
        let narrow = conformal_factors(&scores, alpha).expect("enough");
        let wide = conformal_factors(&scores, alpha - less).expect("enough");
        prop_assert!(wide.low <= narrow.low && narrow.low <= narrow.high && narrow.high <= wide.high);
    }

    #[test]
    fn a_pool_depends_on_no_order_and_rises_with_each_z(
        rows in vec((-3.0..3.0, vec(-1.0..1.0, 12)), 2..8),
        scale in 0.1..10.0,
        more in 0.0..3.0,
    ) {
        let pool = |rows: &[(f64, Vec<f64>)]| {
            let residuals: Vec<&[f64]> = rows.iter().map(|row| &row.1[..]).collect();
            pooled_z(&rows.iter().map(|row| row.0).collect::<Vec<_>>(), &residuals).expect("a pool")
        };
        let before = pool(&rows);
        let reversed: Vec<_> = rows.iter().rev().cloned().collect();
        prop_assert!(close(pool(&reversed).z, before.z));
        let scaled: Vec<_> = rows.iter().map(|(z, row)| (z * scale, map(row, |it| it * scale + more))).collect();
        prop_assert!(close(pool(&scaled).z, before.z * scale) && close(pool(&scaled).correlation, before.correlation));
        let mut surer = rows.clone();
        surer[0].0 += more;
        prop_assert!(pool(&surer).z >= before.z);
        prop_assert!((0.0..=1.0).contains(&before.correlation));
    }

    #[test]
    fn what_stands_out_does_so_in_any_unit_and_more_so_when_higher(
        values in vec(-10.0..10.0, 3..50),
        shift in -1e2..1e2,
        scale in 0.1..10.0,
    ) {
        let odd = high_outliers(&values, 0.5).expect("finite");
        let changed = map(&values, |it| it * scale + shift);
        prop_assert_eq!(&odd, &high_outliers(&changed, 0.5 * scale).expect("finite"));
        let middle = median(&values).expect("values");
        prop_assert!(odd.iter().all(|&place| values[place] > middle));
        for &place in &odd {
            let mut higher = values.clone();
            higher[place] += 5.0;
            prop_assert!(high_outliers(&higher, 0.5).expect("finite").contains(&place));
        }
    }
}

#[test]
fn shuffled_values_neither_grow_nor_bend_more_often_than_the_level_says() {
    let mut noise = Noise::new(11);
    let u = clock(48);
    let load: Vec<f64> = u.iter().map(|u| 100.0 + 30.0 * (u / 6.0).sin()).collect();
    let mut y: Vec<f64> = u.iter().map(|u| u * u).collect();
    let (mut grows, mut bends) = (0, 0);
    for _ in 0..4000 {
        noise.shuffle(&mut y);
        let fit = fit(&u, &load, &y);
        // Student's t with 45 degrees of freedom: 2.0141 is the 97.5 % point, -2.5 the 0.8 % one of the veto.
        grows += i32::from((fit.lambda / fit.standard_error).abs() > 2.0141);
        bends += i32::from(curvature(&u, &y).expect("a fit").t_kappa < -2.5);
    }
    assert!((150..250).contains(&grows), "5 % of 4000 are 200: {grows}");
    assert!((12..56).contains(&bends), "0.8 % of 4000 are 32: {bends}");
}

#[test]
fn with_nothing_to_find_something_is_found_in_a_share_q_of_the_rounds() {
    let mut noise = Noise::new(12);
    let found = rate(4000, || {
        let p: Vec<f64> = (0..20).map(|_| super::normal_upper_tail(noise.normal())).collect();
        benjamini_hochberg(&p).expect("probabilities").iter().any(|&p| p <= 0.05)
    });
    assert!((0.04..0.06).contains(&found), "{found}");
}

#[test]
fn an_interval_holds_as_often_as_it_says_whatever_the_distribution() {
    let mut noise = Noise::new(13);
    for count in [19, 30, 99] {
        let mut score = || {
            let deviate = noise.normal();
            if deviate > 0.0 { deviate.powi(3) } else { 0.1 * deviate }
        };
        let covered = rate(6000, || {
            let past: Vec<f64> = (0..count).map(|_| score()).collect();
            let factors = conformal_factors(&past, 0.2).expect("enough");
            (factors.low..=factors.high).contains(&score().exp())
        });
        assert!((0.78..0.82).contains(&covered), "{count} scores: {covered}");
    }
}

#[test]
fn pods_shaken_together_are_not_taken_for_so_many_witnesses() {
    let mut noise = Noise::new(15);
    let k = 6;
    let mut naive = 0;
    let pooled = rate(4000, || {
        let common: Vec<f64> = (0..48).map(|_| noise.normal()).collect();
        let rows: Vec<Vec<f64>> = (0..k)
            .map(|_| common.iter().map(|common| 0.6_f64.sqrt() * common + 0.4_f64.sqrt() * noise.normal()).collect())
            .collect();
        let z: Vec<f64> = rows.iter().map(|row| row.iter().sum::<f64>() / 48_f64.sqrt()).collect();
        let rows: Vec<&[f64]> = rows.iter().map(|row| &row[..]).collect();
        naive += usize::from(z.iter().sum::<f64>() / f64::from(k).sqrt() > 1.96);
        pooled_z(&z, &rows).expect("a pool").z > 1.96
    });
    assert!((0.015..0.035).contains(&pooled), "2.5 % are due: {pooled}");
    assert!(naive > 400, "as if independent, more than a tenth would: {naive}");
}

#[test]
fn one_of_ten_normal_values_stands_out_as_rarely_as_documented() {
    let mut noise = Noise::new(16);
    let found = rate(4000, || {
        let values: Vec<f64> = (0..10).map(|_| noise.normal()).collect();
        !high_outliers(&values, 0.0).expect("finite").is_empty()
    });
    assert!((0.06..0.085).contains(&found), "{found}");
}
