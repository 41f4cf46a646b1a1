//! Promtool's notation of series, as it stands in the tests of policies: `metric{label="value"}` and `1+6x180`.
//!
//! It only reads text. It does not know which metrics mean something ([`super::replay::Recording`] does), and it has
//! no histograms, because no signal is read from one.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use promql_parser::{
    label::{METRIC_NAME, MatchOp},
    parser::{Expr, VectorSelector},
};

use crate::{
    decide::Sample,
    signals::{LabelSet, parse_promql},
};

/// The most samples of one series. A misprint such as `1+1x1000000000` would fill the memory.
pub const MAX_SAMPLES: usize = 1_000_000;
/// The longest name of a series, bytes. Longer ones are no names, and the parser's work grows with them.
const MAX_NAME_BYTES: usize = 4_096;

/// Why a text is not a series.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNotation {
    /// The name and labels cannot be read.
    #[error("{text:?} is not a series such as metric{{label=\"value\"}}: {reason}")]
    Name {
        /// What was given, shortened.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// One of the values cannot be read.
    #[error("{item:?} is not a value: {reason}")]
    Value {
        /// The item, shortened.
        item: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no item at all.
    #[error("there are no values: write for example 1+6x180")]
    NoValues,
    /// They stand for more samples than [`MAX_SAMPLES`].
    #[error("more than {MAX_SAMPLES} samples")]
    TooMany,
}

/// Reads the name and the labels of a series. `__name__` holds the metric's name.
///
/// # Errors
/// It is not one metric with labels that are each equal to something.
pub fn labels(text: &str) -> Result<LabelSet, InvalidNotation> {
    let refuse = |reason: String| InvalidNotation::Name { text: shortened(text), reason };
    if text.len() > MAX_NAME_BYTES {
        return Err(refuse(format!("it is longer than {MAX_NAME_BYTES} bytes")));
    }
    // Only what begins like a name is handed to the parser, which reads whole expressions.
    if !text.trim_start().starts_with(|it: char| it.is_ascii_alphabetic() || matches!(it, '_' | ':' | '{')) {
        return Err(refuse("it does not begin with a metric's name".to_owned()));
    }
    let Expr::VectorSelector(VectorSelector { name, matchers, offset: None, at: None }) =
        parse_promql(text).map_err(refuse)?
    else {
        return Err(refuse("it is an expression".to_owned()));
    };
    if !matchers.or_matchers.is_empty() {
        return Err(refuse("a series has no alternatives".to_owned()));
    }
    let mut labels = BTreeMap::new();
    labels.extend(name.map(|name| (METRIC_NAME.to_owned(), name)));
    for matcher in matchers.matchers {
        if matcher.op != MatchOp::Equal {
            return Err(refuse(format!("label {} must be given with =", matcher.name)));
        }
        if labels.insert(matcher.name.clone(), matcher.value).is_some() {
            return Err(refuse(format!("label {} is given twice", matcher.name)));
        }
    }
    if labels.get(METRIC_NAME).is_none_or(String::is_empty) {
        return Err(refuse("the metric's name is missing".to_owned()));
    }
    Ok(labels.into_iter().collect())
}

/// Reads values: items separated by blanks, each a number, `a+bxn`, `a-bxn` or `axn` (the number and n more), `_` or
/// `_xn` (n missing samples), or `stale`, which is a missing sample too: that is how a range of raw samples shows it.
///
/// # Errors
/// An item is none of these, there is none, or they stand for more than [`MAX_SAMPLES`].
pub fn values(text: &str) -> Result<Vec<Option<f64>>, InvalidNotation> {
    let mut values = Vec::new();
    for item in text.split_whitespace() {
        let refuse = |reason| InvalidNotation::Value { item: shortened(item), reason };
        let Item { first, step, count } = Item::read(item).map_err(refuse)?;
        if count > MAX_SAMPLES - values.len() {
            return Err(InvalidNotation::TooMany);
        }
        // Added up one by one, as promtool does, so that the same text gives the same samples.
        let mut value = first;
        for _ in 0..count {
            values.push(value);
            value = value.map(|it| it + step);
        }
    }
    if values.is_empty() { Err(InvalidNotation::NoValues) } else { Ok(values) }
}

/// The samples that values stand for: the first at `start`, the next after each `interval`; missing ones leave a gap.
#[must_use]
pub fn samples(values: &[Option<f64>], start: Timestamp, interval: Duration) -> Vec<Sample> {
    let (start, interval) = (start.as_duration().as_secs_f64(), interval.as_secs_f64());
    let sample = |(index, value): (usize, &Option<f64>)| {
        value.map(|value| Sample { at: start + interval * index as f64, value })
    };
    values.iter().enumerate().filter_map(sample).collect()
}

/// What one item stands for.
struct Item {
    first: Option<f64>,
    step: f64,
    count: usize,
}

impl Item {
    fn read(item: &str) -> Result<Self, &'static str> {
        if item.contains("{{") {
            return Err("histograms are not used");
        }
        if item == "stale" {
            return Ok(Self { first: None, step: 0.0, count: 1 });
        }
        let (head, times) = match item.rsplit_once('x') {
            Some((head, times)) => (head, Some(count(times)?)),
            None => (item, None),
        };
        if head == "_" {
            return Ok(Self { first: None, step: 0.0, count: times.unwrap_or(1) });
        }
        let (first, step) = match (step_at(head), times) {
            (Some(at), Some(_)) => (number(&head[..at])?, number(&head[at..])?),
            (Some(_), None) => return Err("how often the step is taken is missing: write for example 1+6x180"),
            (None, _) => (number(head)?, 0.0),
        };
        Ok(Self { first: Some(first), step, count: times.map_or(1, |it| it.saturating_add(1)) })
    }
}

fn count(text: &str) -> Result<usize, &'static str> {
    let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if !digits {
        return Err("after x stands how often, a whole number");
    }
    Ok(text.parse().unwrap_or(usize::MAX))
}

/// Where the step's sign stands: the first sign that belongs neither to the number nor to its exponent.
fn step_at(head: &str) -> Option<usize> {
    let bytes = head.as_bytes();
    (1..bytes.len()).find(|&at| matches!(bytes[at], b'+' | b'-') && !matches!(bytes[at - 1], b'e' | b'E'))
}

fn number(text: &str) -> Result<f64, &'static str> {
    text.parse().map_err(|_| "write a number, a+bxn, a-bxn, axn, _, _xn or stale")
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.chars().count() <= SHOWN { text.to_owned() } else { text.chars().take(SHOWN).collect::<String>() + "…" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Option<f64>> {
        values(text).expect(text)
    }

    fn numbers(values: &[f64]) -> Vec<Option<f64>> {
        values.iter().copied().map(Some).collect()
    }

    #[test]
    fn the_examples_of_promtools_documentation_mean_the_same_here() {
        assert_eq!(read("-2+4x3"), numbers(&[-2.0, 2.0, 6.0, 10.0]));
        assert_eq!(read("1-2x4"), numbers(&[1.0, -1.0, -3.0, -5.0, -7.0]));
        assert_eq!(read("1x4"), numbers(&[1.0, 1.0, 1.0, 1.0, 1.0]));
        assert_eq!(read("1 _x3"), vec![Some(1.0), None, None, None]);
        assert_eq!(read("1+0x2 stale"), vec![Some(1.0), Some(1.0), Some(1.0), None]);
        assert_eq!(read("1 2\n _ 3"), vec![Some(1.0), Some(2.0), None, Some(3.0)]);
    }

    #[test]
    fn the_sign_of_an_exponent_is_no_step() {
        assert_eq!(read("1e+2"), numbers(&[100.0]));
        assert_eq!(read("1e-1+1e+1x1"), numbers(&[0.1, 10.1]));
        assert_eq!(read("-Inf 1e300x1"), numbers(&[f64::NEG_INFINITY, 1e300, 1e300]));
        assert!(read("NaN")[0].is_some_and(f64::is_nan));
        assert_eq!(read("0x2"), numbers(&[0.0, 0.0, 0.0]), "no hexadecimal number, as in promtool");
    }

    #[test]
    fn what_is_no_value_is_refused_by_name() {
        for item in
            ["1+2", "1-2", "ax3", "1x", "1x-1", "1x1.5", "1+x3", "+x3", "x3", "__", "_+1x3", "{{schema:1}}", "1,2"]
        {
            assert!(matches!(values(item), Err(InvalidNotation::Value { .. })), "{item}: {:?}", values(item));
        }
        assert_eq!(values(" "), Err(InvalidNotation::NoValues));
    }

    #[test]
    fn a_misprint_does_not_fill_the_memory() {
        for text in ["1x1000000", "1x99999999999999999999", "1x999998 1 1", "_x1000001"] {
            assert_eq!(values(text), Err(InvalidNotation::TooMany), "{text}");
        }
        assert_eq!(read("1x999999").len(), MAX_SAMPLES);
    }

    #[test]
    fn a_name_is_a_metric_with_labels() {
        let read = labels(r#"up{pod="orders-1", path="a\\b\"c"}"#).expect("a series");
        let expected = [("__name__", "up"), ("pod", "orders-1"), ("path", "a\\b\"c")];
        assert_eq!(read, expected.into_iter().collect());
        assert_eq!(labels("up").expect("a series").iter().count(), 1);
        assert_eq!(labels(r#"{__name__="up"}"#), labels("up"));
    }

    #[test]
    fn what_selects_instead_of_naming_is_no_series() {
        for text in [
            "",
            "1",
            "-up",
            "{}",
            r#"{pod="a"}"#,
            r#"up{pod=~"a"}"#,
            r#"up{pod!="a"}"#,
            r#"up{pod="a", pod="b"}"#,
            r#"up{__name__="down"}"#,
            r#"up{pod="a" or pod="b"}"#,
            "up[5m]",
            "up offset 57777777777777777777",
            "up offset 5m",
            "up @ 0",
            "up + up",
            "sum(up)",
            "up{pod=",
            "(((((((((((up",
        ] {
            assert!(matches!(labels(text), Err(InvalidNotation::Name { .. })), "{text}: {:?}", labels(text));
        }
    }

    #[test]
    fn samples_stand_one_interval_apart_and_missing_ones_leave_a_gap() {
        let start = Timestamp::from_second(1_000).expect("a time");
        let samples = samples(&read("1 _ 3"), start, Duration::from_secs(60));
        assert_eq!(samples, [(1_000.0, 1.0), (1_120.0, 3.0)].map(|(at, value)| Sample { at, value }));
    }
}
