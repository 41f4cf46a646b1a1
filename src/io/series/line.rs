//! One line of an export, read in one pass: labels, values and timestamps straight into samples.
//!
//! A value that is `null` or NaN is a missing one and is left out with its timestamp; infinite values stay, for others
//! to judge. Numbers in strings are taken, too, since exporters write what JSON has no word for in strings.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{decide::Sample, signals::LabelSet};

/// The largest time that the rest of the program can say, milliseconds: the year 9999.
const MAX_TIME: f64 = 253_402_207_200_000.0;

/// The labels and samples of a line, or nothing when its labels are not wanted.
///
/// # Errors
/// What is wrong with the line, for a person.
pub fn parse(
    line: &[u8],
    wanted: &(dyn Fn(&LabelSet) -> bool + Sync),
) -> Result<Option<(LabelSet, Vec<Sample>)>, String> {
    match read(line, wanted) {
        // A bare NaN is no JSON, but some exporters write it. The second look costs only who writes it.
        Err(error) if error.is_syntax() && line.windows(3).any(|it| it == b"NaN") => {
            read(&without_bare_nan(line), wanted).map_err(|error| explain(&error))
        }
        other => other.map_err(|error| explain(&error)),
    }
}

fn read(
    line: &[u8],
    wanted: &(dyn Fn(&LabelSet) -> bool + Sync),
) -> Result<Option<(LabelSet, Vec<Sample>)>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let parsed = LineSeed(wanted).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(parsed)
}

/// serde's sentence ends with a line number that is always 1 here; the column helps.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let short = text.rsplit_once(" at line ").map_or(text.as_str(), |(short, _)| short);
    format!("{short} (column {})", error.column())
}

/// `NaN` where a value can stand, as `null`.
fn without_bare_nan(line: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(line.len() + 16);
    let mut rest = line;
    while let Some(byte) = rest.first() {
        let value = matches!(text.last(), Some(b'[' | b',' | b' ')) && rest.starts_with(b"NaN");
        let ends = value && matches!(rest.get(3), Some(b']' | b',' | b' '));
        if ends {
            text.extend_from_slice(b"null");
            rest = &rest[3..];
        } else {
            text.push(*byte);
            rest = &rest[1..];
        }
    }
    text
}

/// Reads the line's object.
struct LineSeed<'w>(&'w (dyn Fn(&LabelSet) -> bool + Sync));

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Field {
    Metric,
    Values,
    Timestamps,
    #[serde(other)]
    Other,
}

impl<'de> DeserializeSeed<'de> for LineSeed<'_> {
    type Value = Option<(LabelSet, Vec<Sample>)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for LineSeed<'_> {
    type Value = Option<(LabelSet, Vec<Sample>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with metric, values and timestamps")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut labels, mut values, mut times) = (None::<LabelSet>, None::<Numbers>, None::<Numbers>);
        let twice = |there: bool, what| if there { Err(A::Error::duplicate_field(what)) } else { Ok(()) };
        while let Some(field) = map.next_key()? {
            match field {
                Field::Metric => {
                    twice(labels.is_some(), "metric")?;
                    let read = map.next_value::<BTreeMap<String, String>>()?.into_iter().collect();
                    if !(self.0)(&read) {
                        // The rest is skipped, not kept; only so is the end of the line still checked.
                        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                        return Ok(None);
                    }
                    labels = Some(read);
                }
                Field::Values => {
                    twice(values.is_some(), "values")?;
                    values = Some(map.next_value()?);
                }
                Field::Timestamps => {
                    twice(times.is_some(), "timestamps")?;
                    times = Some(map.next_value()?);
                }
                Field::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let labels = labels.ok_or_else(|| A::Error::missing_field("metric"))?;
        let Numbers(values) = values.ok_or_else(|| A::Error::missing_field("values"))?;
        let Numbers(times) = times.ok_or_else(|| A::Error::missing_field("timestamps"))?;
        samples(&values, &times).map(|it| Some((labels, it))).map_err(A::Error::custom)
    }
}

fn samples(values: &[f64], times: &[f64]) -> Result<Vec<Sample>, String> {
    if values.len() != times.len() {
        return Err(format!("{} values, but {} timestamps", values.len(), times.len()));
    }
    let bad = |it: &&f64| !(0.0..=MAX_TIME).contains(*it);
    if let Some(time) = times.iter().find(bad) {
        return Err(match time {
            time if *time < 0.0 => format!("a timestamp is negative ({time}): they are milliseconds since 1970"),
            time => format!("{time} is not a timestamp: they are milliseconds since 1970"),
        });
    }
    let pairs = values.iter().zip(times).filter(|(value, _)| !value.is_nan());
    let mut samples: Vec<Sample> = pairs.map(|(&value, &time)| Sample { at: time / 1_000.0, value }).collect();
    samples.shrink_to_fit();
    Ok(samples)
}

/// A list of numbers, of which some may be missing (NaN).
struct Numbers(Vec<f64>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self(Vec::new()))
    }
}

impl<'de> Visitor<'de> for Numbers {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        let Self(mut numbers) = self;
        while let Some(Number(number)) = list.next_element()? {
            numbers.push(number);
        }
        Ok(Self(numbers))
    }
}

/// A number, a number in a string, or nothing.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or null")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
        Ok(Number(number))
    }

    // Beyond 2^53 the last digits are lost, as they are in Prometheus, whose values are doubles.
    fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
        Ok(Number(number as f64))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
        Ok(Number(number as f64))
    }

    fn visit_unit<E: Error>(self) -> Result<Number, E> {
        Ok(Number(f64::NAN))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
        text.parse().map(Number).map_err(|_| E::custom(format_args!("{text:?} is not a number")))
    }
}
