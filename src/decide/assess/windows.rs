//! Cuts what was measured into windows: a few dozen evenly spaced points each, at every scale that has data enough.
//!
//! Nothing is tested here. A scale without data enough has no window, and the reason is kept for the case that no
//! scale has.

use std::cell::OnceCell;

use crate::{
    decide::{
        Sample, Why,
        observation::Measured,
        scales::{BUCKETS, Scale},
        series::{Level, Samples, interval, largest_gap, since, unwrapped, value_at},
    },
    signals::Signal,
};

/// Fewer points than this are not judged: the trend tests are honest from here on.
pub const MIN_BUCKETS: usize = 16;
/// A window of so many points is looked at as a whole and by its second half: a leak that began in the middle shows
/// there first.
const HALVED_FROM: usize = 40;
/// The least share of the points that a window should have.
const COVERAGE: f64 = 0.7;
/// A hole of more buckets than this is a gap.
const HOLE: f64 = 6.0;
/// No shorter silence is a gap, seconds: kubelets stretch the time between two measurements to 15 s as they please.
const MIN_GAP: f64 = 20.0;

/// A signal at one scale.
#[derive(Clone, Debug)]
pub struct Window {
    /// When, Unix seconds.
    pub at: Vec<f64>,
    /// The values.
    pub y: Vec<f64>,
    /// The usual distance between points, seconds.
    pub width: f64,
}

impl Window {
    fn of(points: &[Sample], width: f64) -> Self {
        Self { at: points.iter().map(|it| it.at).collect(), y: points.iter().map(|it| it.value).collect(), width }
    }

    /// The number of points.
    pub fn len(&self) -> usize {
        self.y.len()
    }

    /// The time between the first and the last point, seconds.
    pub fn span(&self) -> f64 {
        self.at.last().zip(self.at.first()).map_or(0.0, |(last, first)| last - first)
    }

    /// The times of the points since the first, seconds.
    pub fn ages(&self) -> Vec<f64> {
        self.at.iter().map(|at| at - self.at[0]).collect()
    }

    /// By how much the last points stand above the first.
    pub fn growth(&self) -> f64 {
        let (first, last, _) = eighths(&self.y);
        last - first
    }

    /// The second half.
    fn half(&self) -> Self {
        let from = self.len() / 2;
        Self { at: self.at[from..].to_vec(), y: self.y[from..].to_vec(), width: self.width }
    }
}

/// The means of the first and of the last eighth of the points, and how many points that is.
pub fn eighths(y: &[f64]) -> (f64, f64, usize) {
    let few = (y.len() / 8).max(2).min(y.len());
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    (mean(&y[..few]), mean(&y[y.len() - few..]), few)
}

/// The windows of one signal between two times, longest first, or why there is none.
///
/// # Errors
/// No scale has data enough.
pub fn windows(signal: Signal, measured: &Measured, scales: &[Scale], from: f64, now: f64) -> Result<Vec<Window>, Why> {
    let raw = since(&measured.samples, from);
    let step = interval(raw);
    let mut windows: Vec<Window> = Vec::new();
    let mut doubt = None;
    for scale in scales {
        let begin = from.max(now - scale.span);
        let cut = match (measured.levels.iter().find(|it| it.width == scale.width), step) {
            (Some(level), _) => cut(signal, &level.between(begin, now), level.width, begin, now),
            (None, Some(step)) => of_raw(signal, since(raw, begin), scale.width.max(step), step, begin, now),
            (None, None) => Err(Why::TooShort { signal, have: raw.len(), need: MIN_BUCKETS }),
        };
        match cut {
            // Short scales of a young container or a coarse scrape are all the same window.
            Ok(it) if windows.last().is_some_and(|last| same(last, &it)) => {}
            Ok(it) => windows.push(it),
            // The longest scale says best what is missing; but a gap in it is forgiven by a shorter one.
            Err(why) => doubt = doubt.or(Some(why)),
        }
    }
    let halves: Vec<Window> = windows.iter().filter(|it| it.len() >= HALVED_FROM).map(Window::half).collect();
    windows.extend(halves);
    if windows.is_empty() {
        return Err(doubt.unwrap_or(Why::TooShort { signal, have: 0, need: MIN_BUCKETS }));
    }
    Ok(windows)
}

fn same(a: &Window, b: &Window) -> bool {
    a.len() == b.len() && a.at.first() == b.at.first()
}

fn of_raw(signal: Signal, raw: &[Sample], width: f64, step: f64, from: f64, now: f64) -> Result<Window, Why> {
    // Buckets of hardly more than a sample would be empty or full by chance.
    if width < 1.5 * step {
        let newest = &raw[raw.len().saturating_sub(BUCKETS)..];
        return cut(signal, newest, step, from, now);
    }
    let level = Level::of(raw, width, signal.is_counter());
    cut(signal, &level.between(from, now), width, from, now)
}

fn cut(signal: Signal, points: &[Sample], width: f64, from: f64, now: f64) -> Result<Window, Why> {
    let points = &points[points.len().saturating_sub(BUCKETS)..];
    if points.len() < MIN_BUCKETS {
        return Err(Why::TooShort { signal, have: points.len(), need: MIN_BUCKETS });
    }
    let hole = (HOLE * width).max(MIN_GAP);
    let gap = largest_gap(points);
    // What came after the last hole is whole again, if it is long enough.
    let resumed = points.windows(2).rposition(|pair| pair[1].at - pair[0].at > hole).map(|it| it + 1);
    let points = &points[resumed.unwrap_or(0)..];
    // Nor is it a hole that nothing is known from before the first point: Prometheus may be younger than the container.
    let from = from.max(points[0].at);
    if points.len() < MIN_BUCKETS || (points.len() as f64) < COVERAGE * (now - from) / width {
        return Err(Why::Gaps { signal, gap });
    }
    Ok(Window::of(points, width))
}

/// What a client did in the buckets of a window.
#[derive(Clone, Debug)]
pub struct Load {
    /// Calls per second in each bucket.
    pub rate: Vec<f64>,
    /// Calls since the window's first point.
    pub done: Vec<f64>,
}

impl Load {
    /// The calls that a counter counted in a window's buckets; `None` where it does not reach back to its beginning.
    pub fn in_window(counters: &[Counter], window: &Window) -> Option<Self> {
        let first = *window.at.first()?;
        let counter = counters.iter().find(|it| it.reaches(first - window.width, window.width))?;
        let total: Vec<f64> = std::iter::once(first - window.width)
            .chain(window.at.iter().copied())
            .map(|at| value_at(counter.total(), at))
            .collect::<Option<_>>()?;
        let apart = std::iter::once(window.width).chain(window.at.windows(2).map(|pair| pair[1] - pair[0]));
        let rate = total.windows(2).zip(apart).map(|(pair, apart)| (pair[1] - pair[0]) / apart).collect();
        Some(Self { rate, done: total[1..].iter().map(|it| it - total[1]).collect() })
    }
}

/// A counter as growth since its first sample, at one resolution.
#[derive(Clone, Debug)]
pub struct Counter {
    told: Samples,
    width: f64,
    /// Reckoned when it is asked for: of most containers nobody asks.
    total: OnceCell<Vec<Sample>>,
}

impl Counter {
    /// A counter at every resolution that it is known at, finest first.
    pub fn all(measured: &Measured) -> Vec<Self> {
        let of = |told: &Samples, width| Self { told: told.clone(), width, total: OnceCell::new() };
        let mut all = vec![of(&measured.samples, interval(&measured.samples).unwrap_or(0.0))];
        all.extend(measured.levels.iter().map(|it| of(&it.points, it.width)));
        all.sort_by(|a, b| a.width.total_cmp(&b.width));
        all
    }

    fn total(&self) -> &[Sample] {
        self.total.get_or_init(|| unwrapped(&self.told))
    }

    fn reaches(&self, back_to: f64, width: f64) -> bool {
        // A sample or two may be missing at the beginning; the value there is the first sample's.
        self.width <= width * 1.5 && self.told.first().is_some_and(|it| it.at <= back_to + 2.0 * width)
    }

    /// By how much the finest resolution that reaches back to `from` says that the counter grew up to `to`; by the
    /// one that reaches back furthest if none does.
    pub fn grown(all: &[Self], from: f64, to: f64) -> Option<f64> {
        let first = |it: &Self| it.told.first().map_or(f64::INFINITY, |it| it.at);
        let reaching = all.iter().find(|it| first(it) <= from);
        let counter = reaching.or_else(|| all.iter().min_by(|a, b| first(a).total_cmp(&first(b))))?;
        Some(value_at(counter.total(), to)? - value_at(counter.total(), from)?)
    }
}
