//! The loop over a recorded past, on simulated time: the same `assess` and `plan`, the same status as memory, and no
//! hands. What a policy would have said and done, as [`Event`]s.
//!
//! It does not read files or ask servers ([`Recording`] holds what was read), and it does not pretend that a
//! restart would have changed what was recorded after it: every remediation is counted, none takes effect.

mod stage;
mod tracks;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    api::{self, ApprovalRule, EvidenceRule, Mode},
    decide::{Answer, Diagnosis, Forecast, Matrix, Policy, RestartRule, Series, Workload},
    signals::{MatchOp, Query, Signal, Source, catalog},
};

use stage::Stage;
use tracks::Track;

/// No evaluations are closer together than this.
const LEAST_STEP: Duration = Duration::from_secs(1);

/// What was recorded: every series that says something, sorted by the source that says it.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// One answer per source that has series, best source first within a signal.
    pub answers: Vec<Answer>,
    /// The series of no source that the catalog knows.
    pub others: Vec<Series>,
}

impl Recording {
    /// Sorts series into the catalog's sources by metric name and matchers. Order is kept.
    #[must_use]
    pub fn of(series: Vec<Series>) -> Self {
        let mut sorted: Vec<(Source, Vec<Series>)> =
            Signal::ALL.into_iter().flat_map(catalog::sources).map(|it| (it, Vec::new())).collect();
        let mut others = Vec::new();
        for one in series {
            match sorted.iter_mut().find(|(source, _)| selects(source, &one)) {
                Some((_, all)) => all.push(one),
                None => others.push(one),
            }
        }
        let answer = |(source, series): (Source, Vec<Series>)| Answer {
            source,
            width: None,
            result: Ok(Arc::new(Matrix { series, warnings: Vec::new() })),
        };
        let answers = sorted.into_iter().filter(|(_, series)| !series.is_empty()).map(answer).collect();
        Self { answers, others }
    }
}

/// Whether a source's selector, without namespace and range, selects a series.
fn selects(source: &Source, series: &Series) -> bool {
    let Query::Selector { metrics, matchers } = &source.query else { return false };
    let label = |name: &str| series.labels.get(name).unwrap_or_default();
    let holds = |(name, op, value): &(&str, MatchOp, &str)| match op {
        MatchOp::Equal => label(name) == *value,
        MatchOp::NotEqual => label(name) != *value,
    };
    metrics.contains(&label("__name__")) && matchers.iter().all(holds)
}

/// One thing that would have been said or done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The policy, `namespace/name` or `name`.
    pub policy: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// The workload, `Kind/name`. `null` when nothing owns the pod.
    pub workload: Option<String>,
    /// The revision (the pod template's hash), if it is known.
    pub revision: Option<String>,
    /// What happened.
    pub kind: EventKind,
    /// The diagnosis.
    pub diagnosis: Option<Diagnosis>,
    /// How sure, in percent.
    pub confidence: Option<f64>,
    /// The evidence in one sentence, or why a restart was withheld.
    pub message: String,
    /// For `withheld`: the reason, one word.
    pub because: Option<&'static str>,
    /// For `restart`: `Evict` or `Rollout`.
    pub method: Option<&'static str>,
    /// The forecast of the memory limit, seconds from `at`.
    pub forecast: Option<Forecast>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A finding began, or its diagnosis changed.
    Finding,
    /// A finding ended.
    Cleared,
    /// The pod was annotated.
    Annotate,
    /// People were alerted.
    Alert,
    /// The alert was resolved.
    Resolve,
    /// The pod was restarted.
    Restart,
    /// A restart that was due was withheld, for another reason than before.
    Withheld,
}

/// What a replay looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replayed {
    /// Everything that happened, in time order.
    pub events: Vec<Event>,
    /// How many containers were judged at least once.
    pub containers: usize,
    /// How often a container was judged: containers times evaluations.
    pub judgements: u64,
    /// How many of these were inconclusive, by reason.
    pub inconclusive: BTreeMap<&'static str, u64>,
}

/// Replays a policy over a recording, from one time to another (both included), one evaluation per `step`. The
/// policy's mode is taken as `Enforce`. `progress` is told the share that is done, 0 to 1.
#[must_use]
pub fn replay(
    policy: &Policy,
    name: &str,
    recording: &Recording,
    (from, to): (Timestamp, Timestamp),
    step: Duration,
    progress: &mut dyn FnMut(f64),
) -> Replayed {
    // Of the past there are no profiles, no approvals and no alerts of others: it is replayed as if a profile had been
    // stored each time, somebody had said yes, and no alert had fired.
    let asks_nobody = |it| RestartRule {
        evidence: EvidenceRule::None,
        approval: ApprovalRule::None,
        stand_down: BTreeSet::new(),
        ..it
    };
    let restart = policy.restart.clone().map(asks_nobody);
    let policy = Policy { mode: Mode::Enforce, stage: api::Stage::Restart, suspend: false, restart, ..policy.clone() };
    let tracks = Track::all(&policy, recording);
    let mut replayed = Replayed { containers: tracks.len(), ..Replayed::default() };
    let mut stages: BTreeMap<(&str, Option<&Workload>, &str), Vec<&Track>> = BTreeMap::new();
    for track in &tracks {
        let (subject, workload) = (&track.target().subject, track.target().workload.as_ref());
        let alone = if workload.is_some() { "" } else { subject.pod.as_str() };
        stages.entry((&subject.namespace, workload, alone)).or_default().push(track);
    }
    let count = stages.len() as f64;
    for (done, tracks) in stages.into_values().enumerate() {
        progress(done as f64 / count);
        let mut stage = Stage::new(&policy, name, tracks);
        let mut now = from;
        while now <= to {
            stage.evaluate(now, &mut replayed);
            let Ok(next) = now.checked_add(step.max(LEAST_STEP)) else { break };
            now = next;
        }
    }
    progress(1.0);
    replayed.events.sort_by(|a, b| {
        let key = |it: &Event| (it.at, it.namespace.clone(), it.pod.clone(), it.container.clone());
        key(a).cmp(&key(b))
    });
    replayed
}
