//! The quiet period: how long nobody is restarted after a start. Counted by a clock that nobody can set, for a wall clock
//! that is put forward would end it early; told by the wall clock, for people.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// A quiet period that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Quiet {
    began: Instant,
    length: Duration,
    until: Timestamp,
}

impl Quiet {
    /// Begins now.
    #[must_use]
    pub fn begin(length: Duration) -> Self {
        Self { began: Instant::now(), length, until: after(Timestamp::now(), length) }
    }

    /// Until when no restart is made, if any is held back now. The same time is told as long as the wall clock agrees, so
    /// that no status is written for its jitter.
    #[must_use]
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        self.until_after(self.began.elapsed(), now)
    }

    fn until_after(&self, elapsed: Duration, now: Timestamp) -> Option<Timestamp> {
        let remaining = self.length.checked_sub(elapsed).filter(|it| !it.is_zero())?;
        Some(if now < self.until { self.until } else { after(now, remaining) })
    }
}

fn after(now: Timestamp, span: Duration) -> Timestamp {
    let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    now.saturating_add(span).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(600);

    #[test]
    fn it_is_over_when_its_length_has_passed_and_tells_one_time_until_then() {
        let quiet = Quiet::begin(LENGTH);
        let now = Timestamp::now();
        for elapsed in [0, 1, 599] {
            let elapsed = Duration::from_secs(elapsed);
            assert_eq!(quiet.until_after(elapsed, after(now, elapsed)), Some(quiet.until));
        }
        assert_eq!(quiet.until_after(LENGTH, after(now, LENGTH)), None);
        assert_eq!(Quiet::begin(Duration::ZERO).until(now), None);
    }

    #[test]
    fn a_wall_clock_that_is_put_forward_does_not_end_it_and_one_put_back_does_not_prolong_it() {
        let quiet = Quiet::begin(LENGTH);
        let (elapsed, hour) = (Duration::from_secs(16), Duration::from_secs(3_600));
        let forward = after(Timestamp::now(), hour);
        assert_eq!(quiet.until_after(elapsed, forward), Some(after(forward, LENGTH - elapsed)));
        let back = Timestamp::now() - hour;
        assert_eq!(quiet.until_after(LENGTH, back), None);
    }
}
