//! Whether one window rises: beyond its load, beyond doubt, and still.
//!
//! The order of the questions is the order of their cost, so that what does not rise, which is nearly everything, is
//! done with after the first.

use crate::decide::{
    assess::windows::{Load, Window, eighths},
    stats::{
        LoadFit, Trend, curvature, growth_z, regression_on_load, theil_sen, trend, upper_tail_of, z_of_upper_tail,
    },
};

/// The confidence of slope intervals.
const SLOPE_CONFIDENCE: f64 = 0.95;
/// A rise whose last third is flatter than this share of the whole is over, or saturates.
const STILL_RISING: f64 = 0.35;
/// A rise bends down beyond doubt below this t of its quadratic term,
const BENDS: f64 = -2.5;
/// and is on its way to a plateau when it ends flatter than this share of its mean slope.
const FLATTENS: f64 = 0.6;
/// It must show in a window that is shorter by a factor in this range, if there is one.
const LATELY: (f64, f64) = (2.5, 12.0);
/// Growth in proportion to the load, and half as much again, may be a pool that follows it.
const POOL_SLACK: f64 = 1.5;
/// A level is known when it was reached up to this share.
const KNOWN: f64 = 0.95;
/// What rose by this share of a rise before, in about the same time,
const AS_MUCH: f64 = 0.7;
const AS_LONG: f64 = 1.5;
/// and fell back by this share of that, breathes.
const BACK: f64 = 0.5;
/// Below this z nothing more is asked.
const LEAST_Z: f64 = 2.0;
/// False alarms that are risked per container and month, at the threshold of alerts.
const ALERTS_PER_MONTH: f64 = 0.02;
/// Windows that share that risk: five scales, their halves, two signals.
const SHARED_BY: f64 = 20.0;
const MONTH: f64 = 30.0 * 86_400.0;
/// However often a window is looked at, no more than this is asked of an alert, and of a restart.
pub const Z_OF_ALERTS: std::ops::RangeInclusive<f64> = 3.5..=4.5;
const RESTART_ABOVE_ALERT: f64 = 0.75;
/// A window of this share of what a policy looks at is all of it.
const WHOLE: f64 = 0.75;

/// What is asked of a rise: an amount in the signal's unit, and a share of the level at the window's start.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// The least growth.
    pub least: f64,
    /// The least growth as a share of the start.
    pub share: f64,
    /// Whether what rose as much before and fell back clears it.
    pub unheard_of: bool,
}

impl Need {
    fn of(self, start: f64) -> f64 {
        self.least.max(self.share * start)
    }
}

/// How a signal moved in one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Rise {
    /// Trend of what load does not explain.
    pub trend: Trend,
    /// p-value of an upward trend, corrected for the number of windows that were looked at.
    pub p_value: f64,
    /// Growth over the window, in the signal's unit, without what load explains.
    pub growth: f64,
    /// Level at the window's start.
    pub start: f64,
    /// Level at the window's end.
    pub end: f64,
    /// Newest sample.
    pub now: f64,
    /// Where the window begins, Unix seconds.
    pub from: f64,
    /// Its length, seconds.
    pub span: f64,
    /// Whether it goes on: not over, and not on its way to a plateau.
    pub still_rising: bool,
    /// Growth per call made, when calls are known.
    pub per_call: Option<f64>,
    /// What the trend leaves unexplained, point by point.
    pub residuals: Vec<f64>,
}

/// How much a finding is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Worth a look.
    Suspected,
    /// Worth waking someone.
    Alertable,
    /// Worth a restart.
    Certain,
}

impl Rise {
    /// Whether the rise is beyond doubt and goes on.
    #[must_use]
    pub fn is_significant(&self, max_p_value: f64) -> bool {
        self.p_value <= max_p_value && self.still_rising && self.growth > 0.0
    }

    /// The z that an alert asks of a window of this length: the risk of a false alarm is shared among all windows of a
    /// month, so that short ones, of which there are many, have to be surer.
    #[must_use]
    pub fn alert_z(&self) -> f64 {
        let p = ALERTS_PER_MONTH / SHARED_BY * self.span / MONTH;
        z_of_upper_tail(p).clamp(*Z_OF_ALERTS.start(), *Z_OF_ALERTS.end())
    }

    /// The z that a restart asks.
    #[must_use]
    pub fn restart_z(&self) -> f64 {
        self.alert_z() + RESTART_ABOVE_ALERT
    }

    /// How much it is worth by itself.
    #[must_use]
    pub fn strength(&self) -> Strength {
        match self.trend.z {
            z if z >= self.restart_z() => Strength::Certain,
            z if z >= self.alert_z() => Strength::Alertable,
            _ => Strength::Suspected,
        }
    }

    fn margin(&self) -> f64 {
        self.trend.z - self.alert_z()
    }
}

/// What became of the windows of one signal.
#[derive(Clone, Debug, Default)]
pub struct Rises {
    /// The windows that rise, in no order.
    pub rising: Vec<Rise>,
    /// What was looked at.
    pub windows: Vec<Window>,
    /// Whether something rises that may just as well follow the load, because load and time rose alike.
    pub abstained: bool,
    /// Whether it rises from one end of what is seen to the other, if by less than a finding asks. An old leak does: the
    /// share that is asked of its level is more than it grows by in a window, the more so when little of that is seen.
    pub creeps: bool,
}

impl Rises {
    /// How fast it rises in a span like this one: by its own best rise, or else from end to end of the window that is
    /// nearest in length.
    #[must_use]
    pub fn rate(&self, span: f64) -> Option<f64> {
        if let Some(rise) = self.best(0.0) {
            return Some(rise.trend.slope.per_second);
        }
        let off = |it: &&Window| (it.span() / span).ln().abs();
        let nearest = self.windows.iter().min_by(|a, b| off(a).total_cmp(&off(b)))?;
        Some(nearest.growth() / nearest.span())
    }

    /// Whether the level that a rise came to was known before it began: a pool that breathes comes back to its levels,
    /// and a leak never does.
    #[must_use]
    pub fn stood_as_high_before(&self, rise: &Rise) -> bool {
        let before = self.windows.iter().flat_map(|it| it.at.iter().zip(&it.y)).filter(|(at, _)| **at < rise.from);
        before.map(|(_, y)| *y).fold(0.0, f64::max) >= KNOWN * rise.end
    }

    /// The window of a rise.
    #[must_use]
    pub fn window(&self, rise: &Rise) -> Option<&Window> {
        self.windows.iter().find(|it| it.at.first() == Some(&rise.from) && it.span() == rise.span)
    }

    /// The rise that is surest, compared with what its window asks, among windows of at least a length.
    #[must_use]
    pub fn best(&self, least_span: f64) -> Option<&Rise> {
        let long = self.rising.iter().filter(|it| it.span >= least_span);
        let goes_on = |it: &&Rise| it.still_rising;
        long.max_by(|a, b| goes_on(a).cmp(&goes_on(b)).then(a.margin().total_cmp(&b.margin())))
    }
}

/// How far back a policy looks, and how far there is anything to see: the container may be younger. Seconds.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    /// How far back it looks.
    pub whole: f64,
    /// How long the container is judged already.
    pub due: f64,
}

/// Looks at every window of a signal; what the client had to do in it is asked for only where it matters.
pub fn rises(windows: Vec<Window>, load: impl Fn(&Window) -> Option<Load>, need: Need, now: f64, past: Past) -> Rises {
    let looked_at = windows.len() as f64;
    let mut abstained = false;
    let rising = windows.iter().filter_map(|it| rise(it, &load, need, now, &mut abstained));
    let rising: Vec<Rise> = rising.collect();
    let goes_on = |it: &Rise| it.still_rising && lately(&windows, it) && !(need.unheard_of && breathed(&windows, it));
    let rising = rising
        .into_iter()
        .map(|it| Rise { p_value: (it.p_value * looked_at).min(1.0), still_rising: goes_on(&it), ..it })
        .collect();
    // A young container shows its leak by its share. Of an old one that little is seen of, little is known.
    let asked = |it: &&Window| it.span() >= WHOLE * past.whole || it.span() < WHOLE * past.due;
    let creeps = windows.first().filter(asked).is_some_and(|it| creeps(it, &load, need, past.whole));
    Rises { rising, windows, abstained, creeps }
}

/// Whether a window rises by more than is asked at least (of a part of the past, its part), less than the share of its level
/// that is asked, and beyond doubt.
fn creeps(window: &Window, load: &impl Fn(&Window) -> Option<Load>, need: Need, whole: f64) -> bool {
    let (start, end) = ends(&window.y);
    let least = need.least * (window.span() / whole).min(1.0);
    if !(least..need.of(start)).contains(&(end - start)) {
        return false;
    }
    let y = match load(window).map(|it| without_load(window, &it)) {
        Some(Some((y, _))) => y,
        Some(None) => return true,
        None => window.y.clone(),
    };
    let (low, high) = ends(&y);
    let t = window.ages();
    high - low >= least
        && trend(&t, &y, SLOPE_CONFIDENCE).is_some_and(|it| it.z >= *Z_OF_ALERTS.end() && goes_on(&t, &y, &it))
}

/// Whether a shorter window shows that a rise went on to the end: the last third of a long one is long itself.
fn lately(windows: &[Window], rise: &Rise) -> bool {
    let shorter = windows.iter().filter(|it| it.span() * LATELY.0 <= rise.span && rise.span <= it.span() * LATELY.1);
    shorter.max_by(|a, b| a.span().total_cmp(&b.span())).is_none_or(|it| {
        let (start, end) = ends(&it.y);
        end - start > STILL_RISING * rise.trend.slope.per_second * it.span()
    })
}

/// Whether as much rose as fast before, and fell back: a pool behind a load that comes and goes does. Longer windows
/// remember it.
fn breathed(windows: &[Window], rise: &Rise) -> bool {
    windows.iter().any(|window| {
        let before = window.at.partition_point(|at| *at < rise.from);
        let (at, y) = (&window.at[..before], &window.y[..before]);
        let mut lowest_after = rise.start;
        (1..before).rev().any(|top| {
            let fell = y[top] - lowest_after;
            lowest_after = lowest_after.min(y[top]);
            if fell < AS_MUCH * BACK * rise.growth {
                return false;
            }
            let since = at.partition_point(|it| *it < at[top] - AS_LONG * rise.span);
            let rose = y[top] - y[since..top].iter().copied().fold(f64::INFINITY, f64::min);
            rose >= AS_MUCH * rise.growth && fell >= BACK * rose
        })
    })
}

fn rise(
    window: &Window,
    load: &impl Fn(&Window) -> Option<Load>,
    need: Need,
    now: f64,
    abstained: &mut bool,
) -> Option<Rise> {
    let (start, end) = ends(&window.y);
    let growth = end - start;
    if growth < need.of(start) {
        return None;
    }
    let load = load(window);
    let load = load.as_ref();
    let (y, inflation) = match load.map(|it| without_load(window, it)) {
        Some(Some(taken_off)) => taken_off,
        Some(None) => {
            *abstained = true;
            return None;
        }
        None => (window.y.clone(), 1.0),
    };
    let (low, high) = ends(&y);
    let beyond_load = high - low;
    if beyond_load < need.of(start) {
        return None;
    }
    let (z, caution) = (growth_z(&y)?, inflation.sqrt());
    // A pool that follows the load may have grown as much; but where the load began with a standstill so does a leak.
    if beyond_load - load.map_or(0.0, |it| pool_growth(start, it)) < need.of(start) {
        *abstained |= z / caution >= *Z_OF_ALERTS.start();
        return None;
    }
    if z / caution < LEAST_Z {
        *abstained |= z >= *Z_OF_ALERTS.start();
        return None;
    }
    let t = window.ages();
    let trend = trend(&t, &y, SLOPE_CONFIDENCE)?;
    let z = trend.z / caution;
    let trend = Trend { z, p_value: upper_tail_of(z), ..trend };
    let done = load.and_then(|it| it.done.last().copied()).filter(|it| *it > 0.0);
    Some(Rise {
        p_value: trend.p_value,
        growth: beyond_load,
        start,
        end,
        now,
        from: window.at[0],
        span: window.span(),
        still_rising: goes_on(&t, &y, &trend),
        per_call: done.map(|calls| beyond_load / calls),
        residuals: t.iter().zip(&y).map(|(t, y)| y - trend.slope.intercept - trend.slope.per_second * t).collect(),
        trend,
    })
}

/// The level at both ends: the mean of an eighth of the points, moved out to the very ends.
fn ends(y: &[f64]) -> (f64, f64) {
    let (first, last, few) = eighths(y);
    let beyond = (last - first) * (few as f64 - 1.0) / 2.0 / ((y.len() - few) as f64).max(1.0);
    ((first - beyond).max(0.0).min(first), last + beyond.max(0.0))
}

/// The values less what follows the load, and by how much the variance of a trend grows because load and time move
/// alike. Time is the clock, or the calls made so far, whichever explains the values better.
fn without_load(window: &Window, load: &Load) -> Option<(Vec<f64>, f64)> {
    let age = window.ages();
    let by_age = regression_on_load(&age, &load.rate, &window.y);
    let by_work = regression_on_load(&load.done, &load.rate, &window.y);
    // Of two clocks that tell nearly the same time the simpler one is read.
    let fit: LoadFit = match (by_age, by_work) {
        (Some(age), Some(work)) if work.sse < 0.98 * age.sse => work,
        (Some(fit), _) | (None, Some(fit)) => fit,
        (None, None) => return None,
    };
    let mean = load.rate.iter().sum::<f64>() / load.rate.len() as f64;
    let y = window.y.iter().zip(&load.rate).map(|(y, rate)| y - fit.b * (rate - mean)).collect();
    Some((y, fit.variance_inflation))
}

/// By how much a pool that stood at `start` may have grown because the load did.
fn pool_growth(start: f64, load: &Load) -> f64 {
    let (before, after) = ends(&load.rate);
    if before <= 0.0 { 0.0 } else { start * (after / before - 1.0).max(0.0) * POOL_SLACK }
}

fn goes_on(t: &[f64], y: &[f64], trend: &Trend) -> bool {
    let third = y.len() - y.len() / 3;
    let tail = theil_sen(&t[third..], &y[third..], SLOPE_CONFIDENCE);
    let rises = tail.is_some_and(|it| it.per_second > STILL_RISING * trend.slope.per_second);
    let bends = curvature(t, y).is_some_and(|it| it.t_kappa < BENDS && it.end_slope < FLATTENS * it.mean_slope);
    rises && !bends
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 96 points a minute apart, and what rises in the last 28 of them.
    fn judged(level: impl Fn(f64) -> f64, unheard_of: bool) -> bool {
        let points = |range: std::ops::Range<u32>| Window {
            at: range.clone().map(|n| f64::from(n) * 60.0).collect(),
            y: range.map(|n| level(f64::from(n)) + f64::from(n * 7 % 5) * 0.1).collect(),
            width: 60.0,
        };
        let need = Need { least: 10.0, share: 0.0, unheard_of };
        let rises =
            rises(vec![points(0..96), points(68..96)], |_| None, need, 0.0, Past { whole: f64::INFINITY, due: 0.0 });
        rises.best(0.0).is_some_and(|it| it.still_rising)
    }

    #[test]
    fn what_rose_as_much_before_and_fell_back_breathes() {
        // Half an hour up, two minutes down, three times.
        let phase = |n: f64| (n + 30.0) % 32.0;
        let breath = |n: f64| 100.0 + phase(n).min((32.0 - phase(n)) * 15.0);
        assert!(judged(breath, false) && !judged(breath, true));
    }

    #[test]
    fn a_leak_beneath_a_breath_is_seen_once_it_outgrows_it() {
        let phase = |n: f64| (n + 30.0) % 32.0;
        let breath = |n: f64| 100.0 + 3.0 * n + phase(n).min((32.0 - phase(n)) * 15.0);
        assert!(judged(breath, true));
    }

    #[test]
    fn what_rose_before_and_stayed_leaks_in_spells() {
        let spells = |n: f64| 100.0 + if n < 32.0 { n } else { 32.0 + (n - 64.0).max(0.0) };
        assert!(judged(spells, true));
    }
}
