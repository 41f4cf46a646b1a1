//! Durations as people write them in a policy: `90s`, `5m`, `1h30m`, `7d`.
//!
//! The text is kept as written and parsed where the field's name is known, so that an error can name the field.
//! Units are `d`, `h`, `m` and `s`, in this order, each at most once, as in Prometheus; there are no fractions.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A duration as written in a policy. [`parse_duration`] reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DurationText(pub String);

impl From<&str> for DurationText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for DurationText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 2,
            "maxLength": 20,
            "pattern": "^([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,6}m)?([0-9]{1,7}s)?$",
        })
    }
}

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a duration: write numbers with the units d, h, m, s in this order, for example 90s, 5m, 1h30m or 7d"
)]
pub struct InvalidDuration(pub String);

/// Reads `1h30m` and the like.
///
/// # Errors
/// The text is empty, has an unknown or repeated unit, units out of order, or is too large for 64 bits of seconds.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = || InvalidDuration(text.to_owned());
    let mut units = [('d', 86_400_u64), ('h', 3_600), ('m', 60), ('s', 1)].into_iter();
    let mut rest = text;
    let mut seconds = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
        let number: u64 = rest[..digits].parse().map_err(|_| invalid())?;
        let unit = rest[digits..].chars().next().ok_or_else(invalid)?;
        let (_, factor) = units.find(|(name, _)| *name == unit).ok_or_else(invalid)?;
        seconds = number.checked_mul(factor).and_then(|it| it.checked_add(seconds)).ok_or_else(invalid)?;
        rest = &rest[digits + 1..];
    }
    if text.is_empty() { Err(invalid()) } else { Ok(Duration::from_secs(seconds)) }
}

/// Writes a duration the way people do, to the second, with at most two units: `2d4h`, `5m`, `0s`.
#[must_use]
pub fn print_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [("d", seconds / 86_400), ("h", seconds / 3_600 % 24), ("m", seconds / 60 % 60), ("s", seconds % 60)];
    let text: String = parts
        .iter()
        .skip_while(|(_, n)| *n == 0)
        .take(2)
        .filter(|(_, n)| *n > 0)
        .map(|(unit, n)| format!("{n}{unit}"))
        .collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1h30m", 5_400), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", "5", "m", "5x", "5m1h", "1m1m", "-5m", "1.5h", "5 m", "99999999999999999999s", "5ms"] {
            assert!(parse_duration(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn durations_are_printed_with_two_units_at_most() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (300, "5m"), (187_205, "2d4h"), (86_460, "1d"), (3_661, "1h1m")]
        {
            assert_eq!(print_duration(Duration::from_secs(seconds)), text);
        }
    }
}
