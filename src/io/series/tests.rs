//! What the reader of series takes, refuses and merges.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;

use super::*;

const LINE: &str =
    r#"{"metric":{"__name__":"go_goroutines","pod":"a"},"values":[1,2.5,null],"timestamps":[1000,2000,3000]}"#;

fn all(_: &LabelSet) -> bool {
    true
}

fn read(bytes: &[u8], skip_bad: bool) -> Result<Loaded, SeriesError> {
    let reading = Reading { wanted: &all, skip_bad };
    let (mut loaded, mut merged) = (Loaded::default(), Merged::default());
    read_one("f", bytes, reading, &mut loaded, &mut merged, &mut |_| {})?;
    loaded.series = merged.finish();
    Ok(loaded)
}

fn values(loaded: &Loaded) -> Vec<(f64, f64)> {
    loaded.series.iter().flat_map(|it| &it.samples).map(|it| (it.at, it.value)).collect()
}

fn problem(text: &str) -> String {
    read(text.as_bytes(), false).expect_err("must be refused").to_string()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("a write");
    encoder.finish().expect("an end")
}

#[test]
fn a_line_is_a_series_with_times_in_seconds_and_without_missing_values() {
    let loaded = read(LINE.as_bytes(), false).expect("a series");
    assert_eq!(values(&loaded), [(1.0, 1.0), (2.0, 2.5)]);
    assert_eq!(loaded.series[0].labels.get("pod"), Some("a"));
    assert_eq!(loaded.lines, 1);
}

#[test]
fn missing_values_are_null_or_nan_with_or_without_quotes_and_infinite_ones_stay() {
    let line = r#"{"metric":{"__name__":"NaN,"},"values":[NaN,"NaN",null,"Infinity","-Infinity",NaN,7],"timestamps":[1,2,3,4,5,6,7]}"#;
    let loaded = read(line.as_bytes(), false).expect("a series");
    assert_eq!(values(&loaded), [(0.004, f64::INFINITY), (0.005, f64::NEG_INFINITY), (0.007, 7.0)]);
    assert_eq!(loaded.series[0].labels.get("__name__"), Some("NaN,"), "only values are read as missing");
}

#[test]
fn the_fields_may_stand_in_any_order_among_others_and_lines_may_be_empty() {
    let text = "\r\n{\"timestamps\":[1000],\"x\":{\"y\":[]},\"values\":[1e300],\"metric\":{}}\r\n\n";
    assert_eq!(values(&read(text.as_bytes(), false).expect("a series")), [(1.0, 1e300)]);
}

#[test]
fn gzip_is_told_by_its_first_bytes_and_may_have_several_members() {
    let first = gzip(&format!("{LINE}\n"));
    let second = gzip(&LINE.replace("\"a\"", "\"b\""));
    let loaded = read(&[first, second].concat(), false).expect("series");
    assert_eq!((loaded.series.len(), loaded.lines), (2, 2));
}

#[test]
fn a_truncated_archive_names_the_line_where_it_ends_and_the_rest_is_read_on_request() {
    let text: String = (0..2_000).map(|n| LINE.replace("\"a\"", &format!("\"p{n}\"")) + "\n").collect();
    let mut bytes = gzip(&text);
    bytes.truncate(bytes.len() / 2);
    let error = read(&bytes, false).expect_err("must be refused").to_string();
    assert!(error.starts_with("f, line ") && error.ends_with("the file ends in the middle"), "{error}");
    let loaded = read(&bytes, true).expect("the first half");
    assert_eq!(loaded.skipped, 1);
    assert!((100..2_000).contains(&loaded.series.len()), "{}", loaded.series.len());
}

#[test]
fn a_bad_line_is_told_with_its_file_its_number_and_what_is_wrong() {
    for (bad, says) in [
        ("{", "EOF while parsing"),
        ("nonsense", "expected"),
        ("[]", "an object with metric, values and timestamps"),
        (r#"{"metric":{"a":"b"},"values":[1]}"#, "missing field `timestamps`"),
        (r#"{"values":[1],"timestamps":[1]}"#, "missing field `metric`"),
        (r#"{"metric":{"a":"b"},"values":[1,2],"timestamps":[1]}"#, "2 values, but 1 timestamps"),
        (r#"{"metric":{"a":"b"},"values":[1],"timestamps":[-5]}"#, "negative"),
        (r#"{"metric":{"a":"b"},"values":[1],"timestamps":[1e300]}"#, "is not a timestamp"),
        (r#"{"metric":{"a":"b"},"values":[1],"timestamps":[null]}"#, "is not a timestamp"),
        (r#"{"metric":{"a":"b"},"values":["x"],"timestamps":[1]}"#, "\"x\" is not a number"),
        (r#"{"metric":{"a":"b"},"values":[1e999],"timestamps":[1]}"#, "number out of range"),
        (r#"{"metric":{"a":"b"},"values":[1],"timestamps":[1]} {}"#, "trailing characters"),
        (r#"{"metric":{"a":1},"values":[1],"timestamps":[1]}"#, "expected a string"),
    ] {
        let error = problem(&format!("{LINE}\n\n{bad}\n{LINE}\n[]"));
        assert!(error.starts_with("f, line 3: ") && error.contains(says), "{error}");
        assert!(!error.contains("at line"), "{error}");
    }
}

#[test]
fn the_rest_of_a_file_with_bad_lines_is_read_on_request() {
    let loaded = read(format!("[]\n{LINE}\n{{\n").as_bytes(), true).expect("a series");
    assert_eq!((loaded.series.len(), loaded.skipped, loaded.bad.len()), (1, 2, 2));
    assert!(loaded.bad[1].to_string().starts_with("f, line 3: "), "{}", loaded.bad[1]);
}

#[test]
fn lines_about_the_same_series_are_one_and_of_two_values_the_harmless_one_counts() {
    let line = |name: &str, values: &str, times: &str| {
        format!("{{\"metric\":{{\"__name__\":\"{name}\"}},\"values\":{values},\"timestamps\":{times}}}\n")
    };
    let gauge = line("x", "[3,4]", "[3000,4000]") + &line("x", "[1,9]", "[1000,3000]");
    assert_eq!(values(&read(gauge.as_bytes(), false).expect("a series")), [(1.0, 1.0), (3.0, 3.0), (4.0, 4.0)]);
    let counter = gauge.replace("\"x\"", "\"x_total\"");
    assert_eq!(values(&read(counter.as_bytes(), false).expect("a series")), [(1.0, 1.0), (3.0, 9.0), (4.0, 4.0)]);
}

#[test]
fn what_is_not_wanted_is_not_kept_but_its_line_is_still_checked() {
    let wanted = |it: &LabelSet| it.get("pod") == Some("b");
    let reading = Reading { wanted: &wanted, skip_bad: false };
    let read = |text: &str| {
        let (mut loaded, mut merged) = (Loaded::default(), Merged::default());
        read_one("f", text.as_bytes(), reading, &mut loaded, &mut merged, &mut |_| {})
            .map(|()| (loaded.lines, merged.finish().len()))
    };
    assert_eq!(read(LINE), Ok((1, 0)));
    assert!(read(&LINE[..LINE.len() - 1]).is_err());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let paths = [PathBuf::from("no/such/file")];
    let reading = Reading { wanted: &all, skip_bad: true };
    let error = read_files(&paths, reading, &mut |_| {}).expect_err("must be refused").to_string();
    assert!(error.starts_with("no/such/file: cannot be opened"), "{error}");
}

#[test]
fn a_series_of_a_million_points_is_one_line_like_any_other() {
    let list = |of: &dyn Fn(usize) -> String| (0..1_000_000).map(of).collect::<Vec<_>>().join(",");
    let text = format!(
        "{{\"metric\":{{}},\"values\":[{}],\"timestamps\":[{}]}}",
        list(&|n| n.to_string()),
        list(&|n| (n * 1_000).to_string())
    );
    assert_eq!(values(&read(text.as_bytes(), false).expect("a series")).len(), 1_000_000);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, skip_bad: bool) {
        let _ = read(&bytes, skip_bad);
    }

    #[test]
    fn no_damage_to_a_line_makes_it_panic(at in 0..LINE.len(), byte: u8) {
        let mut bytes = LINE.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = read(&bytes, true);
        let _ = read(&bytes[..at], false);
    }
}
