//! Our regressions, pools and corrections against reference implementations, on the cases of `golden/models.json`.
//!
//! `golden/generate_models.py` wrote them with scipy, statsmodels and numpy, and says how; no test runs it.

use grpc_hygiene::decide::stats::{benjamini_hochberg, curvature, high_outliers, pooled_z, regression_on_load};
use serde_json::Value;

fn cases(part: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("golden/models.json")).expect("JSON");
    let cases = all[part].as_array().expect("an array").clone();
    assert!(cases.len() >= 3, "the file holds the cases");
    cases
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(number).collect()
}

/// Equal to eight digits, or to `least` around zero.
#[track_caller]
fn assert_close(what: &str, ours: f64, reference: f64, least: f64) {
    assert!((ours - reference).abs() <= 1e-8 * reference.abs() + least, "{what}: ours {ours}, reference {reference}");
}

#[test]
fn the_fit_on_load_is_that_of_bounded_least_squares() {
    let (mut free, mut bound) = (0, 0);
    for case in cases("fits") {
        let (name, u, r, y) = (case["name"].to_string(), numbers(&case["u"]), numbers(&case["r"]), numbers(&case["y"]));
        let (ours, reference) = (regression_on_load(&u, &r, &y).expect("a fit"), &case["load"]);
        for (field, ours) in [
            ("lambda", ours.lambda),
            ("standard_error", ours.standard_error),
            ("b", ours.b),
            ("sse", ours.sse),
            ("intercept", ours.intercept),
            ("variance_inflation", ours.variance_inflation),
        ] {
            assert_close(&format!("{name}, {field}"), ours, number(&reference[field]), 1e-12);
        }
        free += usize::from(ours.b > 0.0);
        bound += usize::from(ours.b == 0.0);
    }
    assert!(free >= 4 && bound >= 4, "{free} without and {bound} at the bound");
}

#[test]
fn the_curvature_is_that_of_ordinary_least_squares() {
    for case in cases("fits") {
        let (name, u, y) = (case["name"].to_string(), numbers(&case["u"]), numbers(&case["y"]));
        let (ours, reference) = (curvature(&u, &y).expect("a fit"), &case["curvature"]);
        for (field, ours) in [
            ("kappa", ours.kappa),
            ("t_kappa", ours.t_kappa),
            ("end_slope", ours.end_slope),
            ("mean_slope", ours.mean_slope),
            ("freedom", ours.freedom as f64),
        ] {
            assert_close(&format!("{name}, {field}"), ours, number(&reference[field]), 1e-14);
        }
    }
}

#[test]
fn benjamini_hochberg_is_that_of_scipy() {
    for case in cases("discoveries") {
        let ours = benjamini_hochberg(&numbers(&case["p"])).expect("probabilities");
        let reference = numbers(&case["adjusted"]);
        assert_eq!(ours.len(), reference.len());
        for (ours, reference) in ours.into_iter().zip(reference) {
            assert_close("adjusted p", ours, reference, 0.0);
        }
    }
}

#[test]
fn the_pool_is_that_of_the_correlations_of_numpy() {
    for case in cases("pools") {
        let rows: Vec<Vec<f64>> = case["residuals"].as_array().expect("an array").iter().map(numbers).collect();
        let rows: Vec<&[f64]> = rows.iter().map(|row| &row[..]).collect();
        let ours = pooled_z(&numbers(&case["z"]), &rows).expect("a pool");
        assert_close("z", ours.z, number(&case["pooled"]), 0.0);
        assert_close("correlation", ours.correlation, number(&case["correlation"]), 1e-12);
    }
}

#[test]
fn what_stands_out_has_a_modified_z_above_three_and_a_half() {
    let mut found = 0;
    for case in cases("outliers") {
        let modified = numbers(&case["modified_z"]);
        let expected: Vec<usize> = (0..modified.len()).filter(|&place| modified[place] > 3.5).collect();
        found += expected.len();
        assert_eq!(high_outliers(&numbers(&case["values"]), 0.0), Some(expected));
    }
    assert!(found > 0, "one of them stands out");
}
