//! Ours: a policy with all defaults that alerts and restarts at once, replayed over the recording.

use std::{collections::BTreeMap, time::Duration};

use grpc_hygiene::decide::{
    Policy,
    replay::{Event, EventKind, Recording, replay},
};
use jiff::Timestamp;
use serde_json::json;

use super::{Alarm, Detector, Tracks, Verdicts, timed};
use crate::corpus::{EPOCH, Incident, setup::LENGTH};

/// How often it judges.
const STEP: Duration = Duration::from_secs(300);

/// The detector of this crate.
pub struct Ours {
    policy: Policy,
}

impl Ours {
    pub fn new() -> Self {
        let spec = json!({
            "allPods": true,
            "mode": "Enforce",
            "remediation": {"annotate": {}, "alert": {"after": "0s"}, "restart": {"after": "0s", "allowSingleReplica": true}},
        });
        let spec = serde_json::from_value(spec).expect("a spec");
        Self { policy: Policy::parse(&spec).expect("a policy") }
    }
}

fn time(seconds: f64) -> Timestamp {
    Timestamp::from_second(seconds as i64).expect("a time of this century")
}

impl Detector for Ours {
    fn name(&self) -> String {
        "grpc-hygiene".to_owned()
    }

    fn judge(&self, incident: &Incident, _: &Tracks) -> Verdicts {
        let recording = Recording::of(incident.series.clone());
        let span = (time(EPOCH), time(EPOCH + LENGTH));
        let (replayed, seconds) = timed(|| replay(&self.policy, "bench", &recording, span, STEP, &mut |_| {}));
        Verdicts { alarms: alarms(&replayed.events), judgements: replayed.judgements as f64, seconds }
    }
}

/// Alerts, each firing until it is resolved; a restart is marked on the alert that it follows.
fn alarms(events: &[Event]) -> Vec<Alarm> {
    let mut alarms: Vec<Alarm> = Vec::new();
    let mut firing: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for event in events {
        let key = (event.pod.as_str(), event.container.as_str());
        let at = event.at.as_duration().as_secs_f64();
        match event.kind {
            EventKind::Alert => {
                firing.insert(key, alarms.len());
                alarms.push(Alarm {
                    until: EPOCH + LENGTH,
                    diagnosis: event.diagnosis,
                    forecast: event.forecast.as_ref().map(|it| (it.soonest, it.expected, it.latest)),
                    message: event.message.clone(),
                    ..Alarm::plain(&event.pod, &event.container, at)
                });
            }
            EventKind::Resolve => {
                if let Some(alarm) = firing.remove(&key) {
                    alarms[alarm].until = at;
                }
            }
            EventKind::Restart => match firing.get(&key) {
                Some(alarm) => alarms[*alarm].restart = true,
                None => alarms.push(Alarm { restart: true, ..Alarm::plain(&event.pod, &event.container, at) }),
            },
            EventKind::Finding | EventKind::Cleared | EventKind::Annotate | EventKind::Withheld => {}
        }
    }
    alarms
}
