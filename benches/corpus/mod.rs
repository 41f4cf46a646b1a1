//! The labelled corpus as code: workloads that leak, workloads that look as if they did, and what is true of each.
//!
//! Seeded: (seed, family, index) is one incident, the same on every machine. An incident is one workload in a
//! namespace of its own, recorded for 72 hours. This module says what there is; [`families`] says how each is drawn.

pub mod draw;
mod emit;
pub mod export;
pub mod families;
mod fleet;
pub mod setup;
mod simulate;

use std::collections::BTreeMap;

use draw::Draw;
use emit::Emitter;
use families::{Draft, Family};
use fleet::{Fleet, Pod};
use grpc_hygiene::decide::{Diagnosis, Series};
use setup::{LENGTH, Setup};
use simulate::Record;

/// When recordings begin, Unix seconds.
pub const EPOCH: f64 = 1_760_000_000.0;

/// One workload, recorded, and the truth about it.
pub struct Incident {
    pub family: &'static str,
    pub namespace: String,
    pub series: Vec<Series>,
    pub truth: Vec<Truth>,
    /// What was drawn, for people who look into it.
    pub about: String,
}

/// The truth about one container of a pod. Times are Unix seconds.
#[derive(Clone, Debug)]
pub struct Truth {
    pub namespace: String,
    pub pod: String,
    pub container: String,
    pub workload: String,
    /// Containers with one case are found together or missed together: successors of one replica, where none lives
    /// long enough to be judged alone.
    pub case: String,
    pub from: f64,
    pub to: f64,
    pub leaks: Option<LeakTruth>,
    /// Since when it has a habit that is worth an alert but no leak.
    pub habit: Option<f64>,
    /// The diagnoses that are right.
    pub expected: Vec<Diagnosis>,
}

/// A leak. Times are Unix seconds.
#[derive(Clone, Debug)]
pub struct LeakTruth {
    pub onset: f64,
    /// Every time that memory reached the limit.
    pub ooms: Vec<f64>,
    /// An alarm after this is too late.
    pub until: f64,
}

impl LeakTruth {
    /// When memory first reached the limit; `None` when the recording ends before.
    pub fn oom(&self) -> Option<f64> {
        self.ooms.first().copied()
    }
}

/// Makes one incident. With `calls_told` it is the same one, and its calls are in the metrics whatever the
/// instrumentation: what an oracle of the load would see.
pub fn incident(seed: u64, family: &'static Family, index: u64, calls_told: bool) -> Incident {
    let number = families::FAMILIES.iter().position(|it| it.name == family.name).unwrap_or_default() as u64;
    let mut rng = Draw::new(seed.wrapping_mul(1_000_003).wrapping_add(number * 10_007).wrapping_add(index));
    let namespace = format!("{}-{seed}-{index}", family.name.replace('_', "-"));
    let mut draft = Draft::new(&mut rng, namespace, family);
    (family.draw)(&mut rng, &mut draft);
    let containers = simulated(&mut rng, &mut draft);
    let mut emitter = Emitter::new(&mut rng, EPOCH, &draft.fleet, calls_told);
    for (place, (name, setup)) in draft.containers().into_iter().enumerate() {
        for (pod, record) in draft.fleet.pods.iter().zip(&containers[place]) {
            emitter.container(&mut rng, setup, pod, &name, record);
        }
    }
    emitter.owners(&mut rng, draft.setup.dt);
    if let Some(mixed) = draft.duplicates {
        emitter.duplicate(draft.setup.dt, mixed);
    }
    if let Some((seconds, application)) = draft.skew {
        emitter.skew(seconds, application);
    }
    let truth = truth(&draft, &containers);
    let about = match &draft.sidecar {
        Some(sidecar) => format!("{}; sidecar: {}", draft.setup.describe(), sidecar.describe()),
        None => draft.setup.describe(),
    };
    let series = emitter.series.into_iter().filter(|it| !it.samples.is_empty()).collect();
    Incident { family: family.name, namespace: draft.fleet.namespace, series, truth, about }
}

/// Simulates every container. Whoever is healthy and reaches its limit gets a higher one: that is what people do.
fn simulated(rng: &mut Draw, draft: &mut Draft) -> Vec<Vec<Record>> {
    const TRIES: usize = 8;
    for attempt in 0.. {
        let mut all = Vec::new();
        let mut tight = [false; 2];
        let mut load = draft.setup.load.curve(rng, draft.setup.steps(), draft.setup.dt);
        for (value, share) in load.iter_mut().zip(&draft.shares) {
            *value *= share;
        }
        for (place, (_, setup)) in draft.containers().into_iter().enumerate() {
            let records: Vec<Record> =
                draft.fleet.pods.iter().map(|pod| simulate::container(rng, setup, pod, &load)).collect();
            let healthy_kill = |(pod, record): (&Pod, &Record)| {
                let onset = onset(setup, pod).unwrap_or(f64::INFINITY);
                record.kills.iter().any(|it| *it as f64 * setup.dt < onset)
            };
            tight[place] = draft.fleet.pods.iter().zip(&records).any(healthy_kill);
            all.push(records);
        }
        if tight == [false; 2] || attempt == TRIES {
            return all;
        }
        draft.widen(tight);
    }
    Vec::new()
}

/// Since when a pod leaks, seconds after the recording began.
fn onset(setup: &Setup, pod: &Pod) -> Option<f64> {
    let leak = setup.leak.as_ref()?;
    let concerned = pod.revision >= leak.revision && leak.slots.as_ref().is_none_or(|it| it.contains(&pod.slot));
    let onset = leak.onset.max(pod.steps.start as f64 * setup.dt);
    (concerned && onset < pod.steps.end as f64 * setup.dt).then_some(onset)
}

fn truth(draft: &Draft, records: &[Vec<Record>]) -> Vec<Truth> {
    let mut all: BTreeMap<(String, String), Truth> = BTreeMap::new();
    for (place, (container, setup)) in draft.containers().into_iter().enumerate() {
        for (pod, record) in draft.fleet.pods.iter().zip(&records[place]) {
            let new = of_container(draft, setup, &container, pod, record);
            // A StatefulSet's pods come back under their name.
            match all.get_mut(&(pod.name.clone(), container.clone())) {
                None => drop(all.insert((pod.name.clone(), container.clone()), new)),
                Some(known) => {
                    known.to = new.to;
                    if known.leaks.is_none() {
                        (known.leaks, known.case, known.expected) = (new.leaks, new.case, new.expected);
                    } else if let (Some(known), Some(new)) = (&mut known.leaks, new.leaks) {
                        known.ooms.extend(new.ooms);
                        known.until = known.until.max(new.until);
                    }
                }
            }
        }
    }
    let mut all: Vec<Truth> = all.into_values().collect();
    for truth in &mut all {
        let deadline = truth.leaks.as_ref().and_then(|it| it.ooms.get(draft.tolerated_kills).copied());
        if let (Some(leak), Some(deadline)) = (&mut truth.leaks, deadline) {
            leak.until = deadline;
        }
    }
    all
}

fn of_container(draft: &Draft, setup: &Setup, container: &str, pod: &Pod, record: &Record) -> Truth {
    let Fleet { namespace, app, stateful, .. } = &draft.fleet;
    let at = |step: usize| EPOCH + step as f64 * setup.dt;
    let onset = onset(setup, pod).map(|it| EPOCH + it);
    let leaks = onset.map(|onset| LeakTruth {
        onset,
        ooms: record.kills.iter().map(|it| at(*it)).filter(|it| *it > onset).collect(),
        until: at(pod.steps.end),
    });
    let habit = setup.habit.as_ref().map(|it| EPOCH + it.1.max(pod.steps.start as f64 * setup.dt));
    let alone = format!("{}/{container}", pod.name);
    Truth {
        namespace: namespace.clone(),
        pod: pod.name.clone(),
        container: container.to_owned(),
        workload: format!("{}/{app}", if *stateful { "StatefulSet" } else { "Deployment" }),
        case: if draft.replicas_are_cases && leaks.is_some() {
            format!("replica {}/{container}", pod.slot)
        } else {
            alone
        },
        from: at(pod.steps.start),
        to: at(pod.steps.end).min(EPOCH + LENGTH),
        expected: if leaks.is_some() || habit.is_some() { draft.expected(setup) } else { Vec::new() },
        leaks,
        habit,
    }
}
