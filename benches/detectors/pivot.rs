//! After RESIN (Lou et al., OSDI 2022), for want of thousands of hosts: the pods of a workload are sorted into buckets
//! by how much of their memory they use; where a bucket holds more pods than the past day explains, its growing pods
//! are suspects.

use std::collections::BTreeMap;

use super::{Alarm, Detector, Tracks, Verdicts, baselines::EVERY, timed, tracks::Track};
use crate::corpus::{
    EPOCH, Incident,
    setup::{HOUR, LENGTH},
};

/// Buckets of a tenth of the limit.
const BUCKETS: usize = 10;
/// How many evaluations of the past are the norm: a day.
const PAST: usize = 96;
/// And how many there must be: six hours.
const LEAST: usize = 24;

/// The pivot over a workload's pods.
pub struct Pivot;

impl Detector for Pivot {
    fn name(&self) -> String {
        "RESIN-like pivot".to_owned()
    }

    fn judge(&self, _: &Incident, tracks: &Tracks) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let ((), seconds) = timed(|| {
            let mut containers: BTreeMap<&str, Vec<&Track>> = BTreeMap::new();
            for track in &tracks.memory {
                containers.entry(&track.container).or_default().push(track);
            }
            for tracks in containers.values() {
                workload(tracks, &mut verdicts);
            }
        });
        Verdicts { seconds, ..verdicts }
    }
}

fn workload(tracks: &[&Track], verdicts: &mut Verdicts) {
    let mut past: Vec<[f64; BUCKETS]> = Vec::new();
    let mut now = EPOCH + EVERY;
    while now <= EPOCH + LENGTH {
        let used: Vec<(&Track, f64)> = tracks.iter().filter_map(|it| Some((*it, used(it, now)?))).collect();
        verdicts.judgements += used.len() as f64;
        let mut counts = [0.0; BUCKETS];
        for (_, used) in &used {
            // How many use at least that much: a pod that grows enters one bucket after another.
            for count in counts.iter_mut().take(bucket(*used) + 1) {
                *count += 1.0;
            }
        }
        if past.len() >= LEAST {
            let norm = &past[past.len().saturating_sub(PAST)..];
            for (track, used) in &used {
                let rises = track.line(now, 6.0 * HOUR).is_some_and(|it| it.slope > 0.0);
                if rises && (1..=bucket(*used)).any(|it| is_new(norm, it, counts[it])) {
                    verdicts.alarms.push(Alarm::plain(&track.pod, &track.container, now));
                }
            }
        }
        past.push(counts);
        now += EVERY;
    }
}

fn used(track: &Track, now: f64) -> Option<f64> {
    Some(track.window(now, 300.0).last()?.value / track.limit?)
}

fn bucket(used: f64) -> usize {
    ((used * BUCKETS as f64) as usize).min(BUCKETS - 1)
}

/// Whether so many pods in a bucket are three deviations above what the past had.
fn is_new(past: &[[f64; BUCKETS]], bucket: usize, count: f64) -> bool {
    let n = past.len() as f64;
    let mean = past.iter().map(|it| it[bucket]).sum::<f64>() / n;
    let variance = past.iter().map(|it| (it[bucket] - mean).powi(2)).sum::<f64>() / n;
    count > mean + 3.0 * variance.sqrt().max(0.1)
}
