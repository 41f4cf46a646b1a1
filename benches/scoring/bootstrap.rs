//! How far F1 can be trusted: workloads drawn again with replacement, because the pods of one are not independent.

use super::Score;
use crate::corpus::draw::Draw;

const ROUNDS: usize = 1_000;

/// The 95 % interval of F1, by resampling incidents.
pub fn f1_interval(incidents: &[&Score]) -> (f64, f64) {
    if incidents.is_empty() {
        return (f64::NAN, f64::NAN);
    }
    let mut rng = Draw::new(1);
    let mut all: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (mut found, mut wrong) = (0.0, 0.0);
            for _ in 0..incidents.len() {
                let one = incidents[rng.count(0, incidents.len() - 1)];
                found += one.found;
                wrong += one.missed + one.false_pods;
            }
            // A draw without leaks and without false alarms has nothing wrong.
            if found + wrong > 0.0 { 2.0 * found / (2.0 * found + wrong) } else { 1.0 }
        })
        .collect();
    all.sort_by(f64::total_cmp);
    (all[ROUNDS / 40], all[ROUNDS - 1 - ROUNDS / 40])
}
