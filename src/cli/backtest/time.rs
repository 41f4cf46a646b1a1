//! The times that the arguments of a backtest mean.

use std::time::Duration;

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};

use crate::{
    api::parse_duration,
    decide::{Policy, scales::look_distance},
};

/// More evaluations than this are a mistake in a time, not a wish.
const MAX_EVALUATIONS: f64 = 1e6;

/// A time as people write it: RFC 3339, or a duration before another time.
///
/// # Errors
/// It is neither, or lies outside the calendar.
pub fn when(text: &str, before: Timestamp) -> anyhow::Result<Timestamp> {
    let Ok(duration) = parse_duration(text) else {
        return text.parse().with_context(|| {
            format!("{text:?} is neither a duration (90m, 7d) nor a time with its offset (2026-11-20T08:00:00Z)")
        });
    };
    let earlier = SignedDuration::try_from(duration).ok().and_then(|it| before.checked_sub(it).ok());
    earlier.with_context(|| format!("{text} before {before} is outside the calendar"))
}

/// From when to when: the arguments, or else the given beginning and end.
///
/// # Errors
/// See [`when`]; or the beginning lies after the end, or so far before it that it must be a mistake.
pub fn span(
    (since, until): (Option<&str>, Option<&str>),
    default_since: Option<&str>,
    (first, last): (Timestamp, Timestamp),
    step: Duration,
) -> anyhow::Result<(Timestamp, Timestamp)> {
    let to = until.map_or(Ok(last), |it| when(it, last).context("--until"))?;
    let from = match since.or(default_since) {
        Some(text) => when(text, to).context("--since")?,
        None => first.min(to),
    };
    if from > to {
        bail!("--since ({from}) lies after --until ({to})");
    }
    let evaluations = to.duration_since(from).as_secs_f64() / step.as_secs_f64();
    if evaluations > MAX_EVALUATIONS {
        bail!("{from} to {to} are {evaluations:.0} evaluations: choose --since, --until or a longer --step");
    }
    Ok((from, to))
}

/// The time between two evaluations.
///
/// # Errors
/// The argument is not a duration, or zero.
pub fn step(text: Option<&str>, policy: &Policy) -> anyhow::Result<Duration> {
    match text {
        Some(text) => match parse_duration(text).context("--step")? {
            Duration::ZERO => bail!("--step must be longer than zero"),
            step => Ok(step),
        },
        None => Ok(look_distance(policy.window, policy.interval)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "2026-11-20T12:00:00Z";

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_time_is_one_of_the_calendar_or_so_long_before_another() {
        assert_eq!(when("7d", time(NOON)).expect("a time"), time("2026-11-13T12:00:00Z"));
        assert_eq!(when("2026-11-20T13:00:00+01:00", Timestamp::UNIX_EPOCH).expect("a time"), time(NOON));
        for bad in ["", "yesterday", "2026-11-20", "9999999999d", "-1d"] {
            assert!(when(bad, time(NOON)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_beginning_counts_back_from_the_end_and_lies_before_it() {
        let recorded = (time("2026-11-01T00:00:00Z"), time(NOON));
        let span = |since, until| span((since, until), None, recorded, Duration::from_secs(60));
        assert_eq!(span(None, None).expect("a span"), recorded);
        assert_eq!(
            span(Some("1d"), Some("1h")).expect("a span"),
            (time("2026-11-19T11:00:00Z"), time("2026-11-20T11:00:00Z"))
        );
        assert!(span(Some(NOON), Some("1h")).is_err());
        assert!(span(Some("1970-01-01T00:00:00Z"), None).is_err(), "30 million evaluations");
    }

    #[test]
    fn the_step_is_the_interval_or_a_fraction_of_a_long_window() {
        let policy = |interval: &str, window: &str| {
            let rules = serde_json::json!({"allPods": true, "interval": interval, "window": window});
            Policy::parse(&serde_json::from_value(rules).expect("rules")).expect("a policy")
        };
        let seconds = |text, policy: &Policy| step(text, policy).map(|it| it.as_secs()).ok();
        assert_eq!(seconds(None, &policy("1m", "6h")), Some(60));
        assert_eq!(seconds(None, &policy("10s", "7d")), Some(525));
        assert_eq!(seconds(Some("5m"), &policy("10s", "7d")), Some(300));
        assert_eq!(seconds(Some("0s"), &policy("10s", "7d")), None);
        assert_eq!(seconds(Some("x"), &policy("10s", "7d")), None);
    }
}
