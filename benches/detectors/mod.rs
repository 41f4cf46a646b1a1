//! Whoever raises alarms over an incident, behind one trait: ours, and what people use today.

mod baselines;
mod ours;
mod pivot;
mod regression;
mod tracks;

pub use ours::Ours;
pub use tracks::Tracks;

use std::time::Instant;

use grpc_hygiene::decide::Diagnosis;

use crate::corpus::Incident;

/// One alarm about a container of a pod. Times are Unix seconds.
#[derive(Clone, Debug)]
pub struct Alarm {
    pub pod: String,
    pub container: String,
    /// When it began to fire.
    pub at: f64,
    /// When it was last seen to fire.
    pub until: f64,
    pub diagnosis: Option<Diagnosis>,
    /// When memory reaches its limit: soonest, expected, latest, seconds from `at`.
    pub forecast: Option<(f64, f64, f64)>,
    /// The detector would have restarted the pod, too.
    pub restart: bool,
    pub message: String,
}

impl Alarm {
    /// A rule that fires and says nothing more.
    pub fn plain(pod: &str, container: &str, at: f64) -> Self {
        Self {
            pod: pod.to_owned(),
            container: container.to_owned(),
            at,
            until: at,
            diagnosis: None,
            forecast: None,
            restart: false,
            message: String::new(),
        }
    }
}

/// What a detector made of an incident.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    pub alarms: Vec<Alarm>,
    /// Containers times evaluations.
    pub judgements: f64,
    /// Processor time, seconds.
    pub seconds: f64,
}

/// A detector.
pub trait Detector: Sync {
    fn name(&self) -> String;
    fn judge(&self, incident: &Incident, tracks: &Tracks) -> Verdicts;
}

/// All of them, ours first.
pub fn all() -> Vec<Box<dyn Detector>> {
    let mut all: Vec<Box<dyn Detector>> = vec![Box::new(Ours::new())];
    all.extend(baselines::all());
    all
}

/// Runs something and measures the processor time of this thread; where the kernel does not tell, the time passed.
pub fn timed<T>(run: impl FnOnce() -> T) -> (T, f64) {
    let clock = Instant::now();
    let before = processor_seconds();
    let result = run();
    let seconds = match (before, processor_seconds()) {
        (Some(before), Some(after)) => after - before,
        _ => clock.elapsed().as_secs_f64(),
    };
    (result, seconds)
}

fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse::<f64>().ok().map(|nanoseconds| nanoseconds / 1e9)
}
