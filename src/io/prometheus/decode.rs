//! From the bytes of an answer to a [`Matrix`], in one pass and without copies of the numbers' text.
//!
//! Nothing is repaired: order, duplicates and non-finite values stay as they came, warnings stay with the data, and
//! `isPartial` becomes one. What is not a range answer is refused by name. Nothing here talks to a server.

mod rules;

use std::fmt;

pub use rules::rules;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::failure::{api_error, failure};
use crate::{
    decide::{FailureKind, Matrix, QueryFailure, Sample, Series},
    io::http::printable,
    signals::LabelSet,
};

/// More series than this are not judged: a query that finds them is not pinned well enough.
const MAX_SERIES: usize = 100_000;
/// The longest label set of one series, names and values together, bytes.
const MAX_LABEL_BYTES: usize = 16 * 1024;
/// How many warnings are kept.
const MAX_WARNINGS: usize = 10;

/// Decodes the answer to an instant query for a range vector.
/// The format: <https://prometheus.io/docs/prometheus/latest/querying/api/#range-vectors>.
///
/// # Errors
/// The body is not JSON, is an error of the API's, is not a matrix, holds native histograms, or is too large.
pub fn decode(body: &[u8]) -> Result<Matrix, QueryFailure> {
    let Envelope { data: Range { result, .. }, warnings } = open(body)?;
    match result.too_large {
        Some(what) => Err(failure(FailureKind::TooLarge, what)),
        None => Ok(Matrix { series: result.series, warnings }),
    }
}

/// When the server evaluated `vector(1)`, Unix seconds.
///
/// # Errors
/// The body is not JSON, is an error of the API's, or is not one element.
pub fn decode_time(body: &[u8]) -> Result<f64, QueryFailure> {
    match open::<Instant>(body)?.data.result.as_slice() {
        [Element { value: WireSample(at, _) }] => Ok(*at),
        _ => Err(failure(FailureKind::Unexpected, "vector(1) has not one element")),
    }
}

/// The server's version, when the body is build information that names one. Home-made builds do not.
#[must_use]
pub fn decode_version(body: &[u8]) -> Option<String> {
    let version = printable(&open::<BuildInfo>(body).ok()?.data.version);
    (!version.is_empty()).then_some(version)
}

/// The sentence of an error body, when it is one of the API's.
#[must_use]
pub fn decode_error(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<Wire<IgnoredAny>>(body).ok()?.error
}

/// What is around every answer.
struct Envelope<T> {
    data: T,
    warnings: Vec<String>,
}

fn open<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<Envelope<T>, QueryFailure> {
    let Wire { status, data, warnings, is_partial, error_type, error } =
        serde_json::from_slice(body).map_err(|error| unreadable(&error, body))?;
    if status != "success" {
        return Err(api_error(error_type.as_deref(), error.as_deref()));
    }
    let data = data.ok_or_else(|| failure(FailureKind::Unexpected, "the answer has no data"))?;
    let mut warnings: Vec<String> =
        warnings.unwrap_or_default().iter().take(MAX_WARNINGS).map(|it| printable(it)).collect();
    if is_partial.unwrap_or(false) {
        warnings.push("the backend says that its answer is partial (isPartial)".to_owned());
    }
    Ok(Envelope { data, warnings })
}

fn unreadable(error: &serde_json::Error, body: &[u8]) -> QueryFailure {
    let first = body.iter().find(|it| !it.is_ascii_whitespace());
    let kind = if error.is_data() { FailureKind::Unexpected } else { FailureKind::NotJson };
    let message = match first {
        None => "the answer is empty".to_owned(),
        Some(b'<') => "the answer is a web page: is a proxy or a login page in front of the server?".to_owned(),
        Some(_) => error.to_string(),
    };
    failure(kind, &message)
}

/// The answer as it is written. `infos` and `stats` are not read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "T: Deserialize<'de>")]
struct Wire<T> {
    status: String,
    #[serde(default = "none")]
    data: Option<T>,
    warnings: Option<Vec<String>>,
    /// `VictoriaMetrics`: storage nodes were missing.
    is_partial: Option<bool>,
    error_type: Option<String>,
    error: Option<String>,
}

fn none<T>() -> Option<T> {
    None
}

#[derive(Deserialize)]
struct BuildInfo {
    version: String,
}

/// `data` of an instant vector.
#[derive(Deserialize)]
struct Instant {
    result: Vec<Element>,
}

#[derive(Deserialize)]
struct Element {
    value: WireSample,
}

/// `data` of a range vector.
#[derive(Deserialize)]
struct Range {
    #[serde(rename = "resultType")]
    _kind: ResultType,
    result: AllSeries,
}

/// The only kind of result that is read; serde names the others when it refuses them.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum ResultType {
    Matrix,
}

/// `[1435781451.781, "1"]`
#[derive(Deserialize)]
struct WireSample(f64, Number);

#[derive(Deserialize)]
struct WireSeries {
    metric: Labels,
    #[serde(default)]
    values: Values,
    #[serde(default, rename = "histograms")]
    _histograms: NoHistograms,
}

// The types below are their own visitors: an empty one is filled and handed on.

#[derive(Default)]
struct AllSeries {
    series: Vec<Series>,
    too_large: Option<&'static str>,
}

/// `None` when there are more bytes of labels than we read.
#[derive(Default)]
struct Labels(Option<LabelSet>);

#[derive(Default)]
struct Values(Vec<Sample>);

/// A number in a string, as `"0.5"`, `"NaN"` and `"+Inf"`.
#[derive(Default)]
struct Number(f64);

#[derive(Default)]
struct NoHistograms;

impl<'de> Deserialize<'de> for AllSeries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self::default())
    }
}

impl<'de> Visitor<'de> for AllSeries {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of series")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        let mut all = self;
        while let Some(WireSeries { metric, values, _histograms }) = list.next_element()? {
            match metric.0 {
                Some(labels) => all.series.push(Series { labels, samples: values.0.into() }),
                None => all.too_large = Some("a series has more than 16 KiB of labels"),
            }
            if all.series.len() > MAX_SERIES {
                all.too_large = Some("the answer has more than 100,000 series");
            }
            if all.too_large.is_some() {
                // The rest is skipped, not kept; only so is the end of the document still checked.
                while list.next_element::<IgnoredAny>()?.is_some() {}
            }
        }
        Ok(all)
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self::default())
    }
}

impl<'de> Visitor<'de> for Labels {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a set of labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut labels: Vec<(String, String)> = Vec::new();
        let mut bytes = 0;
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            bytes += name.len() + value.len();
            if bytes > MAX_LABEL_BYTES {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(Self(None));
            }
            labels.push((name, value));
        }
        let set: LabelSet = labels.iter().map(|(name, value)| (name, value)).collect();
        if set.iter().count() < labels.len() {
            return Err(A::Error::custom("a series has one label twice"));
        }
        Ok(Self(Some(set)))
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self::default())
    }
}

impl<'de> Visitor<'de> for Values {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of samples")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        let Self(mut samples) = self;
        while let Some(WireSample(at, Number(value))) = list.next_element()? {
            samples.push(Sample { at, value });
        }
        Ok(Self(samples))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Self::default())
    }
}

impl Visitor<'_> for Number {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number in a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self, E> {
        text.parse().map(Self).map_err(|_| E::custom("a value is not a number"))
    }
}

impl<'de> Deserialize<'de> for NoHistograms {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("the answer holds native histograms, which are not one number per sample"))
    }
}

#[cfg(test)]
mod tests;
