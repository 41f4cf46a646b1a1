//! What an answer may look like, and what becomes of it.

use super::*;

fn matrix(result: &str) -> Result<Matrix, QueryFailure> {
    decode(format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":{result}}}}}"#).as_bytes())
}

fn refused(body: &str) -> (FailureKind, String) {
    let failure = decode(body.as_bytes()).expect_err(body);
    (failure.kind, failure.message)
}

#[test]
fn series_are_read_with_their_labels_and_samples_in_the_order_they_came() {
    let series = matrix(r#"[{"metric":{"__name__":"up","pod":"a\"b\u00e4"},"values":[[1435781451.781,"1"],[1435781445,"-2.5e3"],[1435781445,"-2.5e3"]]}]"#)
        .expect("a matrix").series;
    assert_eq!(series.len(), 1);
    assert_eq!(series[0].labels.get("pod"), Some("a\"bä"));
    let values: Vec<_> = series[0].samples.iter().map(|it| (it.at, it.value)).collect();
    assert_eq!(values, [(1_435_781_451.781, 1.0), (1_435_781_445.0, -2500.0), (1_435_781_445.0, -2500.0)]);
}

#[test]
fn values_that_are_no_finite_number_are_kept_for_the_core_to_refuse() {
    let series =
        matrix(r#"[{"metric":{},"values":[[1,"NaN"],[2,"+Inf"],[3,"-Inf"],[4,"1e999"]]}]"#).expect("a matrix").series;
    let values: Vec<_> = series[0].samples.iter().map(|it| it.value).collect();
    assert!(values[0].is_nan());
    assert_eq!(values[1..], [f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY]);
}

#[test]
fn warnings_stay_with_the_data_and_partial_is_one_of_them() {
    let body = r#"{"status":"success","isPartial":true,"warnings":["store \u001b[31mdown"],"infos":["metric might not be a counter"],
        "data":{"resultType":"matrix","result":[]},"stats":{"timings":{}}}"#;
    let matrix = decode(body.as_bytes()).expect("a matrix");
    assert_eq!(matrix.warnings[0], "store [31mdown");
    assert!(matrix.warnings[1].contains("isPartial") && matrix.warnings.len() == 2, "infos are not warnings");
}

#[test]
fn a_thousand_warnings_are_some_warnings() {
    let warnings = vec!["\"w\""; 1_000].join(",");
    let body =
        format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[]}},"warnings":[{warnings}]}}"#);
    assert_eq!(decode(body.as_bytes()).expect("a matrix").warnings.len(), MAX_WARNINGS);
}

#[test]
fn no_series_is_an_answer() {
    assert_eq!(matrix("[]"), Ok(Matrix::default()));
}

#[test]
fn other_results_are_refused_by_name() {
    for (kind, result) in [
        ("vector", r#"[{"metric":{},"value":[1,"1"]}]"#),
        ("scalar", r#"[1,"1"]"#),
        ("string", r#"[1,"x"]"#),
        ("streams", "[]"),
    ] {
        let (failure, message) =
            refused(&format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result}}}}}"#));
        assert_eq!(failure, FailureKind::Unexpected);
        assert!(message.contains(kind), "{message}");
    }
    let failure = matrix(r#"[{"metric":{},"histograms":[[1,{"count":"1"}]]}]"#).expect_err("histograms");
    assert!(failure.kind == FailureKind::Unexpected && failure.message.contains("native histograms"), "{failure}");
}

#[test]
fn json_of_another_shape_is_unexpected() {
    for body in [
        "{}",
        "[]",
        "null",
        r#"{"status":"success"}"#,
        r#"{"status":"success","data":null}"#,
        r#"{"status":"success","data":[]}"#,
        r#"{"status":"success","data":{"resultType":"matrix"}}"#,
        r#"{"status":"success","data":{"resultType":"matrix","result":null}}"#,
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"values":[]}]}}"#,
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":1},"values":[]}]}}"#,
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"1","a":"2"},"values":[]}]}}"#,
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,2]]}]}}"#,
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[["1","2"]]}]}}"#,
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1]]}]}}"#,
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"two"]]}]}}"#,
    ] {
        assert_eq!(refused(body).0, FailureKind::Unexpected, "{body}");
    }
}

#[test]
fn what_is_not_one_json_document_is_not_json() {
    let whole = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"]]}]}}"#;
    for body in
        ["", "  ", "<html><title>Log in</title>", "\u{feff}{}", &format!("{whole}{whole}"), &format!("{whole} x")]
    {
        assert_eq!(refused(body).0, FailureKind::NotJson, "{body}");
    }
    for end in 0..whole.len() {
        assert_eq!(refused(&whole[..end]).0, FailureKind::NotJson, "cut at {end}");
    }
    assert_eq!(refused(&whole.replace("[1,\"2\"]", "[1,\"2\",3]")).0, FailureKind::NotJson, "a sample is a pair");
    let failure = decode(b"{\"status\":\"\xff\xfe\"}").expect_err("not UTF-8");
    assert_eq!(failure.kind, FailureKind::NotJson);
}

#[test]
fn an_error_of_the_api_is_told_in_its_own_words() {
    let body = |kind: &str| format!(r#"{{"status":"error","errorType":"{kind}","error":"expression timed out"}}"#);
    for (kind, expected) in [
        ("timeout", FailureKind::Overloaded),
        ("bad_data", FailureKind::Refused),
        ("internal", FailureKind::Unexpected),
    ] {
        assert_eq!(refused(&body(kind)), (expected, "expression timed out".to_owned()));
    }
}

#[test]
fn more_series_or_labels_than_anybody_needs_are_too_large() {
    let many = |n: usize| format!("[{}]", vec![r#"{"metric":{},"values":[]}"#; n].join(","));
    assert_eq!(matrix(&many(MAX_SERIES)).expect("just fits").series.len(), MAX_SERIES);
    assert_eq!(matrix(&many(MAX_SERIES + 5)).expect_err("too many").kind, FailureKind::TooLarge);
    let wide =
        format!(r#"[{{"metric":{{"a":"{}"}},"values":[]}},{{"metric":{{}},"values":[]}}]"#, "x".repeat(64 * 1024));
    assert_eq!(matrix(&wide).expect_err("too wide").kind, FailureKind::TooLarge);
}

#[test]
fn the_time_of_the_evaluation_is_read_and_not_its_value() {
    let body =
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1700000000.25,"1"]}]}}"#;
    assert_eq!(decode_time(body.as_bytes()), Ok(1_700_000_000.25));
    assert!(decode_time(body.replace(r#"{"metric":{},"value":[1700000000.25,"1"]}"#, "").as_bytes()).is_err());
}

proptest::proptest! {
    #[test]
    fn no_body_makes_it_panic(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        drop(decode(&body));
    }

    #[test]
    fn what_is_written_is_what_is_read(values in proptest::collection::vec((0..4_000_000_000_000_u64, proptest::num::f64::NORMAL), 0..20)) {
        // Servers write milliseconds.
        #[expect(clippy::cast_precision_loss)]
        let values: Vec<(f64, f64)> = values.iter().map(|&(at, value)| (at as f64 / 1e3, value)).collect();
        let samples: Vec<String> = values.iter().map(|(at, value)| format!("[{at},\"{value}\"]")).collect();
        let series = matrix(&format!(r#"[{{"metric":{{}},"values":[{}]}}]"#, samples.join(","))).expect("a matrix").series;
        let read: Vec<(f64, f64)> = series[0].samples.iter().map(|it| (it.at, it.value)).collect();
        proptest::prop_assert_eq!(read, values);
    }
}
