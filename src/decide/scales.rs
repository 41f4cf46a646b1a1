//! How far back a policy looks, and how finely: a few scales at once, so that a long window does not make a fast leak
//! late, and a short one does not miss a slow leak.
//!
//! Every scale is cut into [`BUCKETS`] buckets. The short scales are read from raw samples; the long ones from floors
//! that the metrics backend computes per bucket, which is some fifteen times less to send and never more than a
//! backend's limit of samples. Only arithmetic here: who asks and who computes the floors is `io` and `gather`.

use std::time::Duration;

/// Buckets of a scale. More would cost time and win nothing: the trend tests are quadratic.
pub const BUCKETS: usize = 48;
/// The shares of the window: 4 d gives 4 d, 24 h, 8 h, 2 h and, for leaks that kill within two hours, 48 min.
const SHARES: [f64; 5] = [1.0, 4.0, 12.0, 48.0, 120.0];
/// Raw samples are read for at least so long, if the window is that long: coarse scrapes need it.
const LEAST_RAW: f64 = 3_600.0;

/// One way to look back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// How far, seconds.
    pub span: f64,
    /// The width of a bucket, seconds; whole seconds from one second on.
    pub width: f64,
}

impl Scale {
    fn of(span: f64) -> Self {
        let width = span / BUCKETS as f64;
        let width = if width >= 1.0 { width.round() } else { width };
        Self { span: width * BUCKETS as f64, width }
    }
}

/// The scales of a window, longest first.
#[must_use]
pub fn scales(window: Duration) -> [Scale; 5] {
    SHARES.map(|share| Scale::of(window.as_secs_f64() / share))
}

/// How far back raw samples are read: the second shortest scale and at least an hour, at most the window.
#[must_use]
pub fn raw_span(window: Duration) -> Duration {
    let raw = scales(window)[3].span.max(LEAST_RAW).min(window.as_secs_f64());
    Duration::from_secs_f64(raw)
}

/// The bucket widths of the scales that raw samples do not reach back to, as whole seconds, longest first.
#[must_use]
pub fn coarse_widths(window: Duration) -> Vec<Duration> {
    let raw = raw_span(window).as_secs_f64();
    let beyond = |it: &Scale| it.span > raw * 1.01;
    scales(window).into_iter().filter(beyond).map(|it| Duration::from_secs_f64(it.width)).collect()
}

/// How much time lies between two looks that count as two: evaluations in between see the same buckets.
#[must_use]
pub fn look_distance(window: Duration, interval: Duration) -> Duration {
    interval.max(Duration::from_secs_f64((window.as_secs_f64() / 1_152.0).round()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: f64 = 3_600.0;

    #[test]
    fn four_days_are_looked_at_from_four_days_down_to_fifty_minutes() {
        let window = Duration::from_secs(4 * 86_400);
        assert_eq!(scales(window).map(|it| it.span / HOUR), [96.0, 24.0, 8.0, 2.0, 0.8]);
        assert_eq!(raw_span(window), Duration::from_secs(7_200));
        assert_eq!(coarse_widths(window), [7_200, 1_800, 600].map(Duration::from_secs));
        assert_eq!(look_distance(window, Duration::from_secs(60)), Duration::from_secs(300));
    }

    #[test]
    fn a_short_window_is_read_raw_as_a_whole() {
        let window = Duration::from_secs(300);
        assert_eq!(raw_span(window), window);
        assert!(coarse_widths(window).is_empty());
        assert_eq!(look_distance(window, Duration::from_secs(10)), Duration::from_secs(10));
    }

    #[test]
    fn a_day_is_read_raw_for_an_hour() {
        let window = Duration::from_secs(86_400);
        assert_eq!(raw_span(window), Duration::from_secs(3_600));
        assert_eq!(coarse_widths(window), [1_800, 450, 150].map(Duration::from_secs));
    }
}
