//! The operator's memory: samples of each process, and how fast it grows.
//!
//! The criterion is a hundredth of the container's limit in an hour, of a process that did the same work (led, or stood by)
//! for at least twenty minutes after a warm-up of five: at that pace the limit is four days away. Growth of a process that was
//! killed before cannot be told from its beginning. Slopes are Theil and Sen's (the median over all pairs), which single
//! samples do not move.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use grpc_hygiene::decide::stats::{median, theil_sen};

/// The chart's limit, KiB.
const LIMIT: f64 = 256.0 * 1_024.0;
/// What may be added in an hour.
pub const GROWTH: f64 = LIMIT / 100.0;
const WARM_UP: Duration = Duration::from_secs(5 * 60);
const LONG: Duration = Duration::from_secs(20 * 60);
const HOUR: f64 = 3_600.0;

/// A process, for as long as it did one thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Life {
    /// The operator's pod.
    pub pod: String,
    /// Its process on this host.
    pub process: String,
    /// Whether it led.
    pub leads: bool,
}

impl Life {
    const fn role(&self) -> &'static str {
        if self.leads { "leads" } else { "stands by" }
    }
}

/// All samples: when, counted from the beginning, and how much, KiB.
#[derive(Debug, Default)]
pub struct Memory {
    lives: BTreeMap<Life, Vec<(f64, f64)>>,
}

impl Memory {
    /// Notes a sample.
    pub fn note(&mut self, life: Life, at: Duration, resident: u64) {
        self.lives.entry(life).or_default().push((at.as_secs_f64(), resident as f64));
    }

    /// The median and the greatest, MiB.
    pub fn median_and_most(&self) -> (f64, f64) {
        let all: Vec<f64> = self.lives.values().flatten().map(|it| it.1).collect();
        let most = all.iter().copied().fold(0.0, f64::max);
        (median(&all).unwrap_or_default() / 1_024.0, most / 1_024.0)
    }

    /// What of a life is behind the warm-up, and long enough.
    fn told(samples: &[(f64, f64)]) -> Option<Vec<(f64, f64)>> {
        let told = warm(samples);
        let span = told.last()?.0 - told.first()?.0;
        (span >= LONG.as_secs_f64()).then_some(told)
    }

    /// The lives that can be told, each with KiB in an hour and its median.
    pub fn slopes(&self) -> Vec<(&Life, f64, f64)> {
        let told = self.lives.iter().filter_map(|(life, samples)| Some((life, Self::told(samples)?)));
        told.filter_map(|(life, samples)| {
            let middle = median(&values(&samples))?;
            Some((life, slope(&samples)? * HOUR, middle))
        })
        .collect()
    }

    /// Sentences about each life that can be told, and about the whole: what led, and what stood by, whichever process.
    pub fn report(&self) -> String {
        let mut text = String::new();
        let slopes = self.slopes();
        for (life, slope, middle) in &slopes {
            let (percent, Life { pod, process, .. }) = (slope / middle * 100.0, life);
            let _ = writeln!(
                text,
                "memory slope         {percent:+.2} % per hour ({slope:+.0} KiB), {pod} ({process}) {}",
                life.role()
            );
        }
        if slopes.is_empty() {
            text += "memory slope         no process did one thing for 25 minutes: nothing is told by this run\n";
        }
        for leads in [true, false] {
            let of_the_role = self.lives.iter().filter(|(life, _)| life.leads == leads);
            let all: Vec<(f64, f64)> = of_the_role.flat_map(|(_, samples)| warm(samples)).collect();
            let middle = median(&values(&all));
            if let (Some(slope), Some(middle)) = (slope(&all), middle) {
                let (percent, role) = (slope * HOUR / middle * 100.0, if leads { "led" } else { "stood by" });
                let _ = writeln!(text, "memory of the whole  {percent:+.2} % per hour, of all that {role}");
            }
        }
        text
    }
}

fn warm(samples: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let Some(first) = samples.first() else { return Vec::new() };
    samples.iter().copied().filter(|it| it.0 - first.0 >= WARM_UP.as_secs_f64()).collect()
}

fn values(samples: &[(f64, f64)]) -> Vec<f64> {
    samples.iter().map(|it| it.1).collect()
}

/// By Theil and Sen, per second.
fn slope(samples: &[(f64, f64)]) -> Option<f64> {
    let (at, resident): (Vec<f64>, Vec<f64>) = samples.iter().copied().unzip();
    theil_sen(&at, &resident, 0.95).map(|it| it.per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lived(minutes: u64, resident: impl Fn(u64) -> u64) -> Memory {
        let mut memory = Memory::default();
        for sample in 0..minutes * 4 {
            let life = Life { pod: "a".to_owned(), process: "1".to_owned(), leads: true };
            memory.note(life, Duration::from_secs(sample * 15), resident(sample * 15));
        }
        memory
    }

    #[test]
    fn a_leak_of_a_hundredth_of_the_limit_in_an_hour_is_told_from_the_warm_up_and_from_single_spikes() {
        let warm_up = |at: u64| 20_000 + at.min(200) * 50 + if at.is_multiple_of(600) { 9_000 } else { 0 };
        let flat = lived(40, warm_up);
        assert!(flat.slopes()[0].1.abs() < 1.0, "{:?}", flat.slopes());
        let leaks = lived(40, |at| warm_up(at) + at);
        assert!((leaks.slopes()[0].1 - 3_600.0).abs() < 50.0 && leaks.slopes()[0].1 > GROWTH, "{:?}", leaks.slopes());
    }

    #[test]
    fn a_life_that_was_too_short_tells_nothing() {
        assert!(lived(24, |at| at).slopes().is_empty());
        assert!(lived(24, |at| at).report().contains("nothing is told"));
    }
}
