//! Our statistics against reference implementations, on the series of `golden/trends.json`.
//!
//! `golden/generate.py` wrote them with scipy, pymannkendall, statsmodels and numpy, and says how; no test runs it.

use grpc_hygiene::decide::stats::{
    MannKendall, growth_z, increment_test, mann_kendall, mann_kendall_hamed_rao, median, quantile, theil_sen, trend,
};
use serde_json::Value;

fn cases() -> Vec<Value> {
    let cases: Vec<Value> = serde_json::from_str(include_str!("golden/trends.json")).expect("JSON");
    assert!(cases.len() >= 30, "the file holds the series");
    cases
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(number).collect()
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().expect("an array").iter().map(numbers).collect()
}

/// Equal to nine digits; around zero, to nine digits of the size that makes up `context`.
#[track_caller]
fn assert_close(what: &str, ours: f64, reference: f64, context: f64) {
    let tolerance = 1e-9 * reference.abs() + 1e-14 * context;
    assert!((ours - reference).abs() <= tolerance, "{what}: ours {ours}, reference {reference}");
}

/// Compares a Mann-Kendall test with its reference.
fn assert_same_test(name: &str, ours: MannKendall, reference: &Value) {
    let pairs =
        [("s", ours.s), ("variance", ours.variance), ("z", ours.z), ("p_value", ours.p_value), ("tau", ours.tau)];
    for (field, value) in pairs {
        assert_close(&format!("{name}, {field}"), value, number(&reference[field]), 0.0);
    }
}

#[test]
fn theil_sen_is_that_of_scipy() {
    for case in cases() {
        let (name, t, y) = (&case["name"], numbers(&case["t"]), numbers(&case["y"]));
        for row in rows(&case["theil_sen"]) {
            let &[confidence, per_second, lower, upper, intercept] = &row[..] else { panic!("{name}: {row:?}") };
            let ours = theil_sen(&t, &y, confidence).expect("a slope");
            let what = format!("{name}, confidence {confidence}");
            assert_close(&what, ours.per_second, per_second, 0.0);
            assert_close(&what, ours.lower, lower, 0.0);
            assert_close(&what, ours.upper, upper, 0.0);
            assert_close(&what, ours.intercept, intercept, per_second.abs() * t[t.len() - 1]);
            assert_eq!(ours.n, y.len());
        }
    }
}

#[test]
fn mann_kendall_is_that_of_pymannkendall() {
    for case in cases() {
        let (name, ours) = (case["name"].to_string(), mann_kendall(&numbers(&case["y"])).expect("long enough"));
        match &case["mann_kendall"] {
            Value::Null => assert_eq!((ours.s, ours.variance, ours.z), (0.0, 0.0, 0.0), "{name}"),
            reference => assert_same_test(&name, ours, reference),
        }
    }
}

#[test]
fn hamed_rao_is_that_of_pymannkendall_or_uncorrected() {
    let mut guarded = 0;
    for case in cases() {
        let (name, y) = (case["name"].to_string(), numbers(&case["y"]));
        let ours = mann_kendall_hamed_rao(&y).expect("long enough");
        match &case["hamed_rao"] {
            Value::Null => {
                assert_eq!(Some(ours), mann_kendall(&y), "{name}");
                guarded += 1;
            }
            reference => assert_same_test(&name, ours, reference),
        }
    }
    assert_eq!(guarded, 6, "a constant, two lines, and three variances below zero");
}

#[test]
fn the_increment_test_is_a_regression_on_one_with_newey_west_errors() {
    for case in cases() {
        let (name, y) = (case["name"].to_string(), numbers(&case["y"]));
        let ours = increment_test(&y).expect("long enough");
        match case["increment"].as_f64() {
            Some(reference) => assert_close(&name, ours, reference, 1.0),
            None if y[0] == y[1] => assert_eq!(ours, 0.0, "{name}"),
            None => assert!(ours > 1e6 && ours.is_finite(), "{name}: {ours}"),
        }
    }
}

#[test]
fn the_trend_is_the_smaller_of_the_two_reference_tests() {
    let mut growing = 0;
    for case in cases() {
        let (name, t, y) = (case["name"].to_string(), numbers(&case["t"]), numbers(&case["y"]));
        let ours = trend(&t, &y, 0.95);
        if name.contains("repeated times") {
            assert_eq!(ours, None, "{name}");
            continue;
        }
        let ours = ours.expect("a trend");
        if let Some(z) = case["growth"].as_f64() {
            assert_close(&name, ours.z, z, 1.0);
            growing += usize::from(z > 0.0);
        }
        assert_eq!(growth_z(&y), Some(ours.z), "{name}");
        let alone = theil_sen(&t, &y, 0.95).expect("a slope");
        for (ours, alone) in [
            (ours.slope.per_second, alone.per_second),
            (ours.slope.lower, alone.lower),
            (ours.slope.upper, alone.upper),
        ] {
            assert_close(&name, ours, alone, 0.0);
        }
        assert_close(&name, ours.slope.intercept, alone.intercept, alone.per_second.abs() * t[t.len() - 1]);
    }
    assert!(growing >= 15, "enough of them grow: {growing}");
}

#[test]
fn quantiles_are_those_of_numpy() {
    for case in cases() {
        let y = numbers(&case["y"]);
        for row in rows(&case["quantiles"]) {
            let what = format!("{}, quantile {}", case["name"], row[0]);
            assert_close(&what, quantile(&y, row[0]).expect("a quantile"), row[1], 1.0);
            if row[0] == 0.5 {
                assert_close(&what, median(&y).expect("a median"), row[1], 1.0);
            }
        }
    }
}
