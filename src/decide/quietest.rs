//! The quietest moment for a restart: of those that are allowed and not too late, the one at which the fewest calls are to
//! be expected. It decides nothing else, and whoever has no day of load behind him is not made to wait.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::{
    decide::{
        Observation, Windows,
        observation::Measured,
        scales::BUCKETS,
        series::{Level, unwrapped},
    },
    signals::Signal,
};

const DAY: f64 = 86_400.0;
/// A day is cut into so many parts,
const SLOTS: usize = 48;
/// of so many seconds.
const SLOT: f64 = DAY / SLOTS as f64;
/// A load that is higher by no more than this share of the least is as good as the least.
const AS_GOOD: f64 = 0.25;
/// Nobody waits for less than this share of the day's highest load.
const SMALL: f64 = 0.1;
/// Nobody waits into the last evaluations before it is too late,
const SPARED: u32 = 2;
/// nor into this part of the time that is left: forecasts move.
const MARGIN: i32 = 10;
/// Neighbouring points farther apart than this many buckets have a hole between them.
const HOLE: f64 = 1.5;

/// How many calls a second are to be expected, by the time of day. Days begin at 00:00 UTC; what repeats every day does so
/// in every time zone.
#[derive(Clone, Debug, PartialEq)]
pub struct DayLoad(Vec<f64>);

/// A moment that is quieter than now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quieter {
    /// When.
    pub at: Timestamp,
    /// Calls a second that are to be expected now.
    pub now: f64,
    /// Calls a second that are to be expected then.
    pub then: f64,
}

/// Within which bounds a moment is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'a> {
    /// After that it is too late.
    pub until: Timestamp,
    /// The time between two evaluations: a moment may be missed by so much.
    pub interval: Duration,
    /// All of these must be open.
    pub windows: &'a [&'a Windows],
}

impl From<Vec<f64>> for DayLoad {
    /// From the rate of each half hour of the day.
    fn from(rates: Vec<f64>) -> Self {
        Self(rates)
    }
}

impl DayLoad {
    /// The load of a container by the calls that it makes, or, where it tells of none, serves. `None`: nobody told of any,
    /// or not for a day.
    #[must_use]
    pub fn of(observation: &Observation) -> Option<Self> {
        let measured = |signal| observation.measured(signal);
        Self::by(measured(Signal::Calls).or_else(|| measured(Signal::CallsServed))?)
    }

    fn by(measured: &Measured) -> Option<Self> {
        let mut slots = [(0.0, 0.0); SLOTS];
        let (mut known, mut widest) = (0.0_f64, 0.0_f64);
        for level in measured.levels.iter().filter(|it| it.width * BUCKETS as f64 >= DAY) {
            known = known.max(add(level, &mut slots));
            widest = widest.max(level.width);
        }
        // A day of buckets has one growth less than buckets.
        (known >= 1.0).then(|| filled(&slots, widest)).flatten().map(Self)
    }

    /// Calls a second that are to be expected at a time.
    #[must_use]
    pub fn at(&self, time: Timestamp) -> f64 {
        let of_day = time.as_duration().as_secs_f64().rem_euclid(DAY);
        self.0.get((of_day / SLOT) as usize % SLOTS).copied().unwrap_or_default()
    }

    /// The least of the day, and from when on by UTC's clocks it is to be expected, hours and minutes.
    #[must_use]
    pub fn least(&self) -> (f64, (usize, usize)) {
        let slot = (0..self.0.len()).min_by(|a, b| self.0[*a].total_cmp(&self.0[*b])).unwrap_or_default();
        (self.0.get(slot).copied().unwrap_or_default(), (slot / 2, slot % 2 * 30))
    }

    /// A moment to wait for. `None`: now is as good as any that is allowed and not too late.
    #[must_use]
    pub fn quieter(&self, now: Timestamp, bounds: &Bounds<'_>) -> Option<Quieter> {
        let spared = SignedDuration::try_from(bounds.interval.saturating_mul(SPARED)).unwrap_or(SignedDuration::MAX);
        let left = bounds.until.duration_since(now);
        let last = bounds.until.checked_sub(spared.max(left / MARGIN)).ok()?;
        let day = now.saturating_add(SignedDuration::from_hours(24)).unwrap_or(now);
        let stays_open = |at: Timestamp| {
            let long_enough = |it: Timestamp| it.duration_since(at) >= spared;
            bounds.windows.iter().all(|it| it.is_open(at) && it.closes_at(at).is_none_or(long_enough))
        };
        let moments = self.moments(now).take_while(|at| *at <= last.min(day)).filter(|at| stays_open(*at));
        let then = |at: &Timestamp| self.at(*at);
        let at = moments.min_by(|a, b| then(a).total_cmp(&then(b)))?;
        let quieter = Quieter { at, now: self.at(now), then: then(&at) };
        let peak = self.0.iter().copied().fold(0.0, f64::max);
        let gain = quieter.now - quieter.then;
        (gain > AS_GOOD * quieter.then && gain > SMALL * peak).then_some(quieter)
    }

    /// When the parts of the next day begin.
    fn moments(&self, now: Timestamp) -> impl Iterator<Item = Timestamp> {
        let slot = SLOT as i64;
        let next = (now.as_second().div_euclid(slot) + 1) * slot;
        (0..SLOTS as i64).filter_map(move |n| Timestamp::from_second(next + n * slot).ok())
    }
}

/// Adds what a level knows to the seconds and calls of each part of the day, and says how many days it knows of, its first
/// bucket included.
fn add(level: &Level, slots: &mut [(f64, f64); SLOTS]) -> f64 {
    let mut known = 0.0;
    for pair in unwrapped(&level.points).windows(2) {
        let (from, to) = (pair[0].at, pair[1].at);
        if to <= from || to - from > HOLE * level.width {
            continue;
        }
        known += to - from;
        let rate = (pair[1].value - pair[0].value) / (to - from);
        let mut begin = from;
        while begin < to {
            let slot = (begin / SLOT).floor();
            let end = ((slot + 1.0) * SLOT).min(to);
            let (seconds, calls) = &mut slots[slot.rem_euclid(SLOTS as f64) as usize];
            *seconds += end - begin;
            *calls += rate * (end - begin);
            begin = end;
        }
    }
    (known + level.width) / DAY
}

/// The rate of each part of the day. One that nothing is known of is like the one before, if only a bucket is missing.
fn filled(slots: &[(f64, f64); SLOTS], width: f64) -> Option<Vec<f64>> {
    let rate = |slot: usize| {
        let (seconds, calls) = slots[slot % SLOTS];
        (seconds > 0.0).then(|| calls / seconds)
    };
    let missing = ((width / SLOT).ceil() as usize).min(SLOTS - 1);
    let before = |slot: usize| (0..=missing).find_map(|back| rate(slot + SLOTS - back));
    (0..SLOTS).map(before).collect()
}

#[cfg(test)]
mod tests;
