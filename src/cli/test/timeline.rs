//! What stands for a pod at a moment: the fold of a replay's events up to then. It reads events and judges nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::decide::{
    Diagnosis, Remediation,
    replay::{Event, EventKind},
};

/// Whom a question is about: a pod, or one of its containers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// One container. `None`: all of them together.
    pub container: Option<String>,
}

impl Who {
    /// Whether an event is about them.
    pub fn concerns(&self, event: &Event) -> bool {
        event.namespace == self.namespace
            && event.pod == self.pod
            && self.container.as_ref().is_none_or(|it| *it == event.container)
    }
}

/// What stands at a moment, for all containers that were asked for together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The findings.
    pub findings: BTreeSet<Diagnosis>,
    /// The annotation and the alert that stand, and the restart if there ever was one.
    pub actions: BTreeSet<Remediation>,
    /// Why a restart that is due is not done.
    pub withheld: BTreeSet<&'static str>,
}

#[derive(Clone, Debug, Default)]
struct Container {
    finding: Option<Diagnosis>,
    actions: BTreeSet<Remediation>,
    withheld: Option<&'static str>,
}

impl Container {
    fn apply(&mut self, event: &Event) {
        match event.kind {
            EventKind::Finding => self.finding = event.diagnosis,
            EventKind::Cleared => {
                self.finding = None;
                self.withheld = None;
                self.actions.remove(&Remediation::Annotate);
            }
            EventKind::Annotate => {
                self.actions.insert(Remediation::Annotate);
            }
            EventKind::Alert => {
                self.actions.insert(Remediation::Alert);
            }
            EventKind::Resolve => {
                self.actions.remove(&Remediation::Alert);
            }
            EventKind::Restart => {
                self.withheld = None;
                self.actions.insert(Remediation::Restart);
            }
            EventKind::Withheld => self.withheld = event.because,
        }
    }
}

/// The states of somebody, each with the time from which it stands; the first is that nothing does. Events of one
/// moment make one state. `events` must be in time order.
pub fn states(who: &Who, events: &[Event]) -> Vec<(Timestamp, State)> {
    let mut containers: BTreeMap<&str, Container> = BTreeMap::new();
    let mut states = vec![(Timestamp::MIN, State::default())];
    let about: Vec<&Event> = events.iter().filter(|it| who.concerns(it)).collect();
    for moment in about.chunk_by(|a, b| a.at == b.at) {
        for event in moment {
            containers.entry(&event.container).or_default().apply(event);
        }
        let all = || containers.values();
        states.push((
            moment[0].at,
            State {
                findings: all().filter_map(|it| it.finding).collect(),
                actions: all().flat_map(|it| it.actions.iter().copied()).collect(),
                withheld: all().filter_map(|it| it.withheld).collect(),
            },
        ));
    }
    states
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An event of container `app` of `shop/orders-1`, so many minutes after the epoch.
    pub fn event(minute: i64, kind: EventKind) -> Event {
        Event {
            at: Timestamp::from_second(60 * minute).expect("a time"),
            policy: "shop/clients".to_owned(),
            namespace: "shop".to_owned(),
            pod: "orders-1".to_owned(),
            container: "app".to_owned(),
            workload: None,
            revision: None,
            kind,
            diagnosis: Some(Diagnosis::DialPerCall),
            confidence: Some(99.9),
            message: "open connections rose".to_owned(),
            because: (kind == EventKind::Withheld).then_some("NoForecast"),
            method: None,
            forecast: None,
        }
    }

    /// The pod of [`event`].
    pub fn orders() -> Who {
        Who { namespace: "shop".to_owned(), pod: "orders-1".to_owned(), container: None }
    }

    fn last(events: &[Event]) -> State {
        states(&orders(), events).pop().expect("there is always one").1
    }

    #[test]
    fn nothing_stands_before_the_first_event() {
        assert_eq!(states(&orders(), &[]), vec![(Timestamp::MIN, State::default())]);
    }

    #[test]
    fn what_was_said_stands_until_it_is_taken_back_and_a_restart_stays_done() {
        use EventKind::{Alert, Annotate, Cleared, Finding, Resolve, Restart, Withheld};
        let story = [Finding, Annotate, Withheld, Alert, Restart, Cleared, Resolve];
        let events: Vec<Event> = story.into_iter().zip(1..).map(|(kind, minute)| event(minute, kind)).collect();
        assert_eq!(last(&events[..1]).findings, [Diagnosis::DialPerCall].into());
        assert_eq!(last(&events[..3]).withheld, ["NoForecast"].into());
        assert_eq!(last(&events[..4]).actions, [Remediation::Annotate, Remediation::Alert].into());
        assert_eq!(last(&events[..5]).withheld, [].into());
        assert_eq!(last(&events), State { actions: [Remediation::Restart].into(), ..State::default() });
    }

    #[test]
    fn events_of_one_moment_make_one_state() {
        let events = [event(1, EventKind::Finding), event(1, EventKind::Annotate), event(2, EventKind::Alert)];
        let states = states(&orders(), &events);
        assert_eq!(states.len(), 3);
        assert_eq!(states[1].1.actions, [Remediation::Annotate].into());
    }

    #[test]
    fn a_pod_has_what_any_of_its_containers_has_and_nothing_of_its_neighbour() {
        let sidecar = Event { container: "proxy".to_owned(), ..event(2, EventKind::Cleared) };
        let neighbour = Event { pod: "orders-2".to_owned(), ..event(3, EventKind::Alert) };
        let events = [event(1, EventKind::Finding), sidecar, neighbour];
        assert_eq!(last(&events), State { findings: [Diagnosis::DialPerCall].into(), ..State::default() });
        let proxy = Who { container: Some("proxy".to_owned()), ..orders() };
        assert_eq!(states(&proxy, &events).pop().expect("one").1, State::default());
    }
}
