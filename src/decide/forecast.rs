//! When memory reaches its limit if it goes on like this, as an honest interval.
//!
//! The slope's own standard error is a dishonest one: it covered 24 % where it promised 80 %, because the error of the
//! straight-line model dominates. So the interval is a conformal one, from how far off earlier forecasts were: the series
//! itself is asked what would have been forecast at each moment of its past, and when its present level was really
//! reached. That needs no memory of the operator's, and no kill. A prior, fitted on simulated leaks, stands in where a
//! life is too short to have a past.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::decide::{
    assess::Window,
    stats::{conformal_factors, theil_sen},
};

/// The interval misses this share of the true times.
const ALPHA: f64 = 0.2;
/// Past forecasts are made at so many moments, from a third of the window on.
const MOMENTS: usize = 9;
/// Who waits until the soonest plausible moment waits too long: a restart itself takes time, seconds.
const RESTART_TAKES: f64 = 300.0;
/// A connection may drop after half an hour without calls, and memory then rises more slowly: what was seen for no longer
/// than this, seconds, may take longer by this factor.
const IDLE_TIMEOUT: f64 = 1_800.0;
const SLOWER: f64 = 3.0;

/// Time to the memory limit from now, seconds: an 80 % interval and its middle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// The soonest plausible time. What is decided, is decided by this.
    pub soonest: f64,
    /// The time to tell people.
    pub expected: f64,
    /// The latest plausible time.
    pub latest: f64,
    /// Until when a restart is in time, at the latest.
    pub restart_by: f64,
}

impl Forecast {
    /// When a restart is no longer in time.
    #[must_use]
    pub fn too_late(&self, now: Timestamp) -> Timestamp {
        after(now, self.restart_by)
    }

    /// When memory is expected to reach its limit.
    #[must_use]
    pub fn expected_at(&self, now: Timestamp) -> Timestamp {
        after(now, self.expected)
    }
}

fn after(now: Timestamp, seconds: f64) -> Timestamp {
    let left = SignedDuration::try_from_secs_f64(seconds).unwrap_or(SignedDuration::MAX);
    now.saturating_add(left).unwrap_or(Timestamp::MAX)
}

/// The forecast for a level (bytes) below a limit (bytes) and a slope (bytes per second), given the scores
/// `ln(true / forecast)` of past forecasts. `None` when memory does not rise or there is no limit. `seen_for` is for how
/// long the rise has been seen, seconds.
#[must_use]
pub fn forecast(level: f64, limit: f64, slope: f64, scores: &[f64], seen_for: f64) -> Option<Forecast> {
    if !(slope > 0.0 && limit > 0.0 && level.is_finite()) {
        return None;
    }
    let expected = (limit - level).max(0.0) / slope;
    let factors = conformal_factors(scores, ALPHA)?;
    let soonest = expected * factors.low.min(1.0);
    let slower = if seen_for <= IDLE_TIMEOUT && expected > IDLE_TIMEOUT { SLOWER } else { 1.0 };
    let latest = expected * factors.high.max(1.0) * slower;
    Some(Forecast { soonest, expected, latest, restart_by: (soonest - RESTART_TAKES).max(0.0) })
        .filter(|it| it.latest.is_finite())
}

/// How far off forecasts from this window's past would have been: the present level was reached after so long, and was
/// forecast for then.
#[must_use]
pub fn scores(window: &Window) -> Vec<f64> {
    let (n, last) = (window.len(), window.len().saturating_sub(1));
    let t = window.ages();
    let score = |moment: usize| {
        let upto = n / 3 + moment * (n / 2) / MOMENTS;
        let slope = theil_sen(&t[..upto], &window.y[..upto], 0.8)?.per_second;
        let (rest, truly) = (window.y[last] - window.y[upto - 1], t[last] - t[upto - 1]);
        let foretold = rest / slope;
        (slope > 0.0 && rest > 0.0 && truly > 0.0).then(|| (truly / foretold).ln()).filter(|it| it.is_finite())
    };
    (0..MOMENTS).filter_map(score).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(level: f64, limit: f64, per_second: f64) -> Option<Forecast> {
        forecast(level, limit, per_second, &[], 7_200.0)
    }

    #[test]
    fn memory_that_rises_reaches_its_limit_at_the_rate_of_its_slope() {
        let forecast = of(60.0, 100.0, 0.002).expect("a forecast");
        assert_eq!(forecast.expected, 20_000.0);
        assert!(forecast.soonest < 20_000.0 && 20_000.0 < forecast.latest);
        assert!(forecast.restart_by < forecast.soonest);
    }

    #[test]
    fn memory_that_does_not_rise_or_has_no_limit_has_no_forecast() {
        assert_eq!(of(60.0, 100.0, 0.0), None);
        assert_eq!(of(60.0, 100.0, -1.0), None);
        assert_eq!(of(60.0, 0.0, 1.0), None);
    }

    #[test]
    fn memory_above_its_limit_reaches_it_now() {
        assert_eq!(of(120.0, 100.0, 1.0).map(|it| (it.expected, it.restart_by)), Some((0.0, 0.0)));
    }

    #[test]
    fn a_rise_that_forecasts_itself_well_has_a_narrower_interval_than_the_prior() {
        let line = Window {
            at: (0..48).map(|n| f64::from(n) * 60.0).collect(),
            y: (0..48).map(|n| f64::from(n) + f64::from(n % 3) * 0.1).collect(),
            width: 60.0,
        };
        let scores: Vec<f64> = [scores(&line), scores(&line), scores(&line)].concat();
        let narrow = forecast(48.0, 96.0, 1.0 / 60.0, &scores, 7_200.0).expect("a forecast");
        let wide = forecast(48.0, 96.0, 1.0 / 60.0, &[], 7_200.0).expect("a forecast");
        assert!(narrow.latest < wide.latest && narrow.soonest > wide.soonest, "{narrow:?} {wide:?}");
    }

    #[test]
    fn a_rise_seen_for_less_than_the_idle_timeout_may_slow_down() {
        let young = forecast(10.0, 100.0, 0.01, &[], 1_200.0).expect("a forecast");
        let old = forecast(10.0, 100.0, 0.01, &[], 7_200.0).expect("a forecast");
        assert_eq!(young.latest, old.latest * SLOWER);
    }
}
