//! One workload's part of a replay. Everything a policy remembers and spends it remembers and spends per workload, so
//! each is played by itself.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::{Event, EventKind, Replayed, tracks::Track};
use crate::decide::{
    Because, Budget, Case, Decision, Finding, History, Outcome, Past, Plan, Policy, Remediation, Restart, Standing,
    Subject, Target, Verdict, Workload, WorkloadState, assess,
    ledger::{Entry, Evidence, Ledger, Object, State},
    lineage::{self, Ancestor},
    plan, status,
};

/// How many lives are over, and when the youngest of them began.
type Over = (usize, f64);

/// The containers of one workload, and what was said and done about them so far.
pub struct Stage<'a> {
    policy: &'a Policy,
    name: &'a str,
    tracks: Vec<&'a Track>,
    history: History,
    known: BTreeMap<Subject, Known>,
    /// By container, with how many lives were over and when the youngest of them began.
    ancestors: BTreeMap<String, (Over, Arc<[Ancestor]>)>,
}

/// What was said about one subject.
#[derive(Clone, Debug)]
struct Known {
    case: Case,
    annotated: bool,
    alerted: bool,
    withheld: Option<&'static str>,
}

impl<'a> Stage<'a> {
    /// Nothing has been said yet.
    pub fn new(policy: &'a Policy, name: &'a str, tracks: Vec<&'a Track>) -> Self {
        let budget = Some(Budget::Known(Ledger::begun(Timestamp::UNIX_EPOCH)));
        let history = History { policy: name.to_owned(), budget, ..History::default() };
        Self { policy, name, tracks, history, known: BTreeMap::new(), ancestors: BTreeMap::new() }
    }

    /// One evaluation.
    pub fn evaluate(&mut self, now: Timestamp, into: &mut Replayed) {
        let mut observations: Vec<_> = self.tracks.iter().filter_map(|it| it.observation(self.policy, now)).collect();
        if observations.is_empty() && self.known.is_empty() {
            return;
        }
        for observation in &mut observations {
            observation.ancestors = self.ancestors(&observation.target.subject.container, now);
        }
        let findings = assess(self.policy, &observations, now);
        for finding in &findings {
            into.judgements += 1;
            if let Verdict::Inconclusive(why) = &finding.verdict {
                *into.inconclusive.entry(why.reason()).or_default() += 1;
            }
        }
        if self.known.is_empty() && !findings.iter().any(|it| matches!(it.verdict, Verdict::Growing(_))) {
            return;
        }
        self.history.workloads = standings(&findings);
        let plan = plan(self.policy, &findings, &self.history, now);
        let outcomes = self.act(&plan, now);
        self.tell(&plan, now, &mut into.events);
        self.remember(&plan, &outcomes);
    }

    fn ancestors(&mut self, container: &str, now: Timestamp) -> Arc<[Ancestor]> {
        let now = now.as_duration().as_secs_f64();
        let same = || self.tracks.iter().filter(|it| it.target().subject.container == container);
        let over = || same().flat_map(|it| it.ancestors(self.policy, now));
        // They change when a life ends, which is rare.
        let state = over().fold((0, 0.0), |(n, born): (usize, f64), it| (n + 1, born.max(it.born)));
        match self.ancestors.get(container) {
            Some((known, all)) if *known == state => Arc::clone(all),
            _ => {
                let all = lineage::newest(over().cloned().collect());
                self.ancestors.insert(container.to_owned(), (state, Arc::clone(&all)));
                all
            }
        }
    }

    /// Restarts are written into the ledger as done. Nothing else needs to be done.
    fn act(&mut self, plan: &Plan, now: Timestamp) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for case in &plan.cases {
            for rung in case.rungs.iter().filter(|it| it.decision == Decision::Do) {
                outcomes.push(Outcome {
                    subject: case.target.subject.clone(),
                    remediation: rung.remediation,
                    result: Ok(()),
                });
                if let (Some(_), Some(workload)) = (rung.restart, &case.target.workload)
                    && let Some(Budget::Known(ledger)) = &mut self.history.budget
                {
                    let entry = restarted(self.name, &case.target, workload, now);
                    *ledger = ledger.debited(entry.clone()).settled(&entry.object, Evidence::Happened, now).pruned(now);
                }
            }
        }
        outcomes
    }

    fn remember(&mut self, plan: &Plan, outcomes: &[Outcome]) {
        let past = |case: &Case| {
            let offender = status::offender(case, outcomes);
            (case.target.subject.clone(), Past { since: case.since, offender })
        };
        self.history.past = plan.cases.iter().map(past).collect();
        self.history.alerts = plan.alerts.clone();
        self.history.alerts.iter_mut().for_each(|it| it.delivered = true);
        self.history.annotated.clone_from(&plan.annotated);
    }

    /// What is new since the last evaluation.
    fn tell(&mut self, plan: &Plan, now: Timestamp, events: &mut Vec<Event>) {
        let mut before = std::mem::take(&mut self.known);
        for case in &plan.cases {
            let old = before.remove(&case.target.subject);
            let known = self.tell_of(case, old, now, events);
            self.known.insert(case.target.subject.clone(), known);
        }
        for (_, gone) in before {
            let message = "the finding has ended, or the container is gone";
            events.push(Event { message: message.to_owned(), ..self.event(&gone.case, EventKind::Cleared, now) });
            if gone.alerted {
                events.push(Event { message: message.to_owned(), ..self.event(&gone.case, EventKind::Resolve, now) });
            }
        }
    }

    fn tell_of(&self, case: &Case, old: Option<Known>, now: Timestamp, events: &mut Vec<Event>) -> Known {
        let same = old.as_ref().is_some_and(|it| it.case.growth.diagnosis == case.growth.diagnosis);
        let mut known = old.unwrap_or(Known { case: case.clone(), annotated: false, alerted: false, withheld: None });
        known.case = case.clone();
        let mut say = |kind| events.push(self.event(case, kind, now));
        if !same {
            say(EventKind::Finding);
        }
        if case.does(Remediation::Annotate) && !std::mem::replace(&mut known.annotated, true) {
            say(EventKind::Annotate);
        }
        if case.does(Remediation::Alert) && !std::mem::replace(&mut known.alerted, true) {
            say(EventKind::Alert);
        }
        let Some(rung) = case.rungs.iter().find(|it| it.remediation == Remediation::Restart) else { return known };
        match &rung.decision {
            Decision::Do | Decision::WouldDo => {
                let method = rung.restart.map(|it| if it == Restart::Evict { "Evict" } else { "Rollout" });
                events.push(Event { method, ..self.event(case, EventKind::Restart, now) });
                known.withheld = None;
            }
            Decision::Withheld(Because::TooSoon { .. }) => {}
            Decision::Withheld(because) => {
                if known.withheld.replace(because.reason()) != Some(because.reason()) {
                    let (message, because) = (because.to_string(), Some(because.reason()));
                    events.push(Event { message, because, ..self.event(case, EventKind::Withheld, now) });
                }
            }
        }
        known
    }

    fn event(&self, case: &Case, kind: EventKind, at: Timestamp) -> Event {
        let Subject { namespace, pod, container, .. } = case.target.subject.clone();
        Event {
            at,
            policy: self.name.to_owned(),
            namespace,
            pod,
            container,
            workload: case.target.workload.as_ref().map(|it| format!("{}/{}", it.kind, it.name)),
            revision: case.target.revision.clone(),
            kind,
            diagnosis: Some(case.growth.diagnosis),
            confidence: Some(case.growth.confidence.percent()),
            message: case.growth.message.clone(),
            because: None,
            method: None,
            forecast: case.evidence.forecast,
        }
    }
}

/// Every workload as if its replicas were those that were seen, and all of them well.
fn standings(findings: &[Finding]) -> BTreeMap<crate::decide::Workload, Standing> {
    let mut standings: BTreeMap<_, u32> = BTreeMap::new();
    let mut pods: Vec<(&crate::decide::Workload, &str)> =
        findings.iter().filter_map(|it| Some((it.target.workload.as_ref()?, it.target.subject.pod.as_str()))).collect();
    pods.sort_unstable();
    pods.dedup();
    for (workload, _) in pods {
        *standings.entry(workload.clone()).or_default() += 1;
    }
    let state = |replicas| WorkloadState {
        desired: replicas,
        ready: replicas,
        available: replicas,
        surges: true,
        ..WorkloadState::default()
    };
    standings.into_iter().map(|(workload, replicas)| (workload, Standing::Known(state(replicas)))).collect()
}

/// The ledger's entry of an eviction.
fn restarted(policy: &str, target: &Target, workload: &Workload, now: Timestamp) -> Entry {
    let (name, uid) = (target.subject.pod.clone(), target.subject.uid.clone());
    Entry {
        diagnosis: None,
        namespace: workload.namespace.clone(),
        workload: workload.reference(),
        revision: target.revision.clone(),
        object: Object { kind: "Pod".to_owned(), name, uid, resource_version: now.to_string(), generation: None },
        policy: policy.to_owned(),
        at: now,
        state: State::Pending,
    }
}
