//! The rules of today that look at one series at a time, evaluated every 15 minutes as in `docs/detection.md`. They
//! are written as their authors publish them; Precog is a restatement.

use grpc_hygiene::decide::stats::{mann_kendall, median};

use super::{
    Alarm, Detector, Tracks, Verdicts,
    pivot::Pivot,
    regression::{Coroot, Precog},
    timed,
    tracks::Track,
};
use crate::corpus::{
    EPOCH, Incident,
    setup::{HOUR, MINUTE},
};

/// How often rules are evaluated, seconds.
pub const EVERY: f64 = 15.0 * MINUTE;

/// All of them.
pub fn all() -> Vec<Box<dyn Detector>> {
    let predict = |window: f64, ahead: f64, hold: usize| -> Box<dyn Detector> {
        Box::new(Rule {
            name: predict_name(window, ahead, hold),
            input: memory,
            window,
            hold,
            fires: Predict { window, ahead },
        })
    };
    let derive = |window: f64, share: f64| -> Box<dyn Detector> {
        let name = format!("deriv[{:.0}h] > {:.0} % of limit/h", window / HOUR, share * 100.0);
        Box::new(Rule { name, input: memory, window, hold: 1, fires: Derive { window, share } })
    };
    vec![
        predict(HOUR, 4.0 * HOUR, 2),
        predict(5.0 * MINUTE, 30.0 * MINUTE, 1),
        predict(6.0 * HOUR, 24.0 * HOUR, 1),
        derive(6.0 * HOUR, 0.01),
        derive(HOUR, 0.05),
        Box::new(Rule { name: "Coroot 2026".to_owned(), input: rss, window: HOUR, hold: 2, fires: Coroot }),
        Box::new(Rule { name: "Precog-like".to_owned(), input: memory, window: 12.0 * HOUR, hold: 1, fires: Precog }),
        Box::new(Pivot),
        Box::new(Rule {
            name: "Mann-Kendall 6 h, a=1e-4".to_owned(),
            input: memory,
            window: 6.0 * HOUR,
            hold: 1,
            fires: MannKendallAlone,
        }),
        Box::new(Rule {
            name: "connections > 1000".to_owned(),
            input: connections,
            window: 0.0,
            hold: 1,
            fires: Threshold,
        }),
    ]
}

fn predict_name(window: f64, ahead: f64, hold: usize) -> String {
    let time = |it: f64| if it < HOUR { format!("{:.0}m", it / MINUTE) } else { format!("{:.0}h", it / HOUR) };
    let hold = if hold > 1 { " for 15m" } else { "" };
    format!("predict_linear[{}]+{}{hold}", time(window), time(ahead))
}

fn memory(tracks: &Tracks) -> &[Track] {
    &tracks.memory
}

fn rss(tracks: &Tracks) -> &[Track] {
    &tracks.rss
}

fn connections(tracks: &Tracks) -> &[Track] {
    &tracks.connections
}

/// Whether a rule's expression is true of a series at a time.
pub trait Fires: Sync {
    fn fires(&self, track: &Track, now: f64) -> bool;
}

/// A rule over one kind of series, which has to be true so many evaluations in a row.
struct Rule<F> {
    name: String,
    input: fn(&Tracks) -> &[Track],
    /// How far it looks back, seconds. It is asked once the recording is that long: whoever runs before that would
    /// take the recording's beginning for a container's.
    window: f64,
    hold: usize,
    fires: F,
}

impl<F: Fires> Detector for Rule<F> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn judge(&self, _: &Incident, tracks: &Tracks) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let ((), seconds) = timed(|| {
            for track in (self.input)(tracks) {
                let mut held = 0;
                for now in track.evaluations(EVERY).filter(|it| *it >= EPOCH + self.window) {
                    verdicts.judgements += 1.0;
                    held = if self.fires.fires(track, now) { held + 1 } else { 0 };
                    if held >= self.hold {
                        verdicts.alarms.push(Alarm::plain(&track.pod, &track.container, now));
                    }
                }
            }
        });
        verdicts.alarms.sort_by(|a, b| a.at.total_cmp(&b.at));
        Verdicts { seconds, ..verdicts }
    }
}

/// `predict_linear(memory[window], ahead) > limit`.
struct Predict {
    window: f64,
    ahead: f64,
}

impl Fires for Predict {
    fn fires(&self, track: &Track, now: f64) -> bool {
        let line = track.line(now, self.window).zip(track.limit);
        line.is_some_and(|(line, limit)| line.end + line.slope * self.ahead > limit)
    }
}

/// `deriv(memory[window]) * 3600 > share * limit`.
struct Derive {
    window: f64,
    share: f64,
}

impl Fires for Derive {
    fn fires(&self, track: &Track, now: f64) -> bool {
        let line = track.line(now, self.window).zip(track.limit);
        line.is_some_and(|(line, limit)| line.slope * HOUR > self.share * limit)
    }
}

/// A rising trend of 5-minute medians by Mann and Kendall, and nothing else.
struct MannKendallAlone;

impl Fires for MannKendallAlone {
    fn fires(&self, track: &Track, now: f64) -> bool {
        const BUCKET: f64 = 5.0 * MINUTE;
        const WINDOW: f64 = 6.0 * HOUR;
        /// P(Z > z) = 1e-4.
        const CRITICAL: f64 = 3.719;
        let samples = track.window(now, WINDOW);
        let bucket = |at: f64| (at / BUCKET).floor();
        let medians: Vec<f64> = samples
            .chunk_by(|a, b| bucket(a.at).total_cmp(&bucket(b.at)).is_eq())
            .filter_map(|run| median(&run.iter().map(|it| it.value).collect::<Vec<_>>()))
            .collect();
        // Half of the window, as Prometheus users ask for with count_over_time.
        medians.len() * 2 >= (WINDOW / BUCKET) as usize && mann_kendall(&medians).is_some_and(|it| it.z > CRITICAL)
    }
}

/// More than a thousand connections.
struct Threshold;

impl Fires for Threshold {
    fn fires(&self, track: &Track, now: f64) -> bool {
        track.window(now, 5.0 * MINUTE).last().is_some_and(|it| it.value > 1_000.0)
    }
}
