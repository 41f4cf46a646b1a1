//! The two baselines that look at a series with more than one regression.

use super::{baselines::Fires, tracks::Track};
use crate::corpus::setup::{HOUR, MINUTE};

/// Coroot's rule for memory leaks (`auditor/memory.go`, 2026-04): an hour of resident memory, at least 80 % of its
/// samples; cut where more than half is given back, the longest run counts if it has 10 points and a third of the
/// window; the line through it rises, its tail rises at least 0.3 times as fast, and growth is at least 5 % of the
/// limit and 10 % of the level within the hour. For 15 minutes.
pub struct Coroot;

impl Fires for Coroot {
    fn fires(&self, track: &Track, now: f64) -> bool {
        const WINDOW: f64 = HOUR;
        /// What counts without a limit, bytes.
        const UNLIMITED: f64 = 50.0 * 1_048_576.0;
        let samples = track.window(now, WINDOW);
        let Some(interval) = interval(track) else { return false };
        if (samples.len() as f64) < 0.8 * WINDOW / interval {
            return false;
        }
        let mut run = 0..0;
        let mut begin = 0;
        for cut in 1..=samples.len() {
            if cut == samples.len() || samples[cut].value < 0.5 * samples[cut - 1].value {
                if cut - begin > run.len() {
                    run = begin..cut;
                }
                begin = cut;
            }
        }
        if run.len() < 10 || run.len() * 3 < samples.len() {
            return false;
        }
        let (first, last) = (samples[run.start].at, samples[run.end - 1].at);
        let span = last - first + 0.5;
        let tail = (span * 0.25).max(15.0 * MINUTE).min(span);
        let Some((line, tail)) = track.line(last, span).zip(track.line(last, tail)) else { return false };
        let growth = line.slope * WINDOW;
        let least = track.limit.map_or(UNLIMITED, |it| it * 0.05);
        line.slope > 0.0
            && tail.slope > 0.0
            && tail.slope >= 0.3 * line.slope
            && growth >= least
            && growth > 0.1 * line.begin.max(1.0)
    }
}

fn interval(track: &Track) -> Option<f64> {
    let few: Vec<f64> = track.samples.windows(2).take(30).map(|it| it[1].at - it[0].at).collect();
    grpc_hygiene::decide::stats::median(&few).filter(|it| *it > 0.0)
}

/// After Precog (Jindal et al., ICSOC 2020), restated: the longest trailing window in which a line explains memory
/// (R² above 0.8), steeper and longer than any in the training period (the first 12 hours of the series), at least
/// 40 % of the limit in use, and the limit within 7 days.
pub struct Precog;

impl Precog {
    const WINDOWS: [f64; 7] = [48.0, 36.0, 24.0, 16.0, 8.0, 4.0, 2.0];
    const R2: f64 = 0.8;
    const TRAINING: f64 = 12.0 * HOUR;

    /// The slope and length of the longest trailing window that a rising line explains.
    fn trend(track: &Track, now: f64) -> Option<(f64, f64, f64)> {
        let begin = track.samples.first()?.at;
        Self::WINDOWS.iter().map(|it| it * HOUR).filter(|it| now - it >= begin).find_map(|window| {
            let line = track.line(now, window)?;
            let dense = line.n as f64 * 4.0 * MINUTE >= window;
            (dense && line.r2 > Self::R2 && line.slope > 0.0).then_some((line.slope, window, line.end))
        })
    }
}

impl Fires for Precog {
    fn fires(&self, track: &Track, now: f64) -> bool {
        let Some((begin, limit)) = track.samples.first().map(|it| it.at).zip(track.limit) else { return false };
        let Some((slope, window, level)) = Self::trend(track, now) else { return false };
        if now < begin + Self::TRAINING || level < 0.4 * limit || (limit - level) / slope > 7.0 * 24.0 * HOUR {
            return false;
        }
        // What was normal in training; found again at every evaluation, which costs little and keeps no state.
        let hours = (2..=12).map(|it| begin + f64::from(it) * HOUR);
        let known = hours.filter_map(|it| Self::trend(track, it));
        let (steepest, longest) = known.fold((0.0_f64, 0.0_f64), |it, (s, w, _)| (it.0.max(s), it.1.max(w)));
        slope > steepest && window > longest || slope * window > 2.0 * steepest * longest
    }
}
