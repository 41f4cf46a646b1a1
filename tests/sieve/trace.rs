//! What passed the proxy in one run, and the one perturbation of it: numbers, remembers old answers, and kills.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use axum::body::Bytes;
use http::{HeaderMap, StatusCode};

use super::point::{Kind, Pattern, Perturbation, Point};

/// An answer that was given before.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// Its headers: `Date` tells the operator the time.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// One run.
#[derive(Debug, Default)]
pub struct Trace(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    perturbation: Option<Perturbation>,
    hit: bool,
    process: Option<u32>,
    counts: BTreeMap<String, usize>,
    points: Vec<Point>,
    answers: BTreeMap<String, Answer>,
    evicted: Vec<String>,
}

impl Trace {
    /// A run in which this is done, if anything.
    pub fn new(perturbation: Option<&Perturbation>) -> Self {
        Self(Mutex::new(State { perturbation: perturbation.cloned(), ..State::default() }))
    }

    /// The operator's process, which is killed when it is time.
    pub fn runs_as(&self, process: Option<u32>) {
        self.state().process = process;
    }

    /// Whether the perturbation took place.
    pub fn was_hit(&self) -> bool {
        self.state().hit
    }

    /// All points, in order.
    pub fn points(&self) -> Vec<Point> {
        self.state().points.clone()
    }

    /// The points, for people.
    pub fn told(&self) -> String {
        let told = |(number, it): (usize, &Point)| format!("{:4} {:?} {} #{}", number + 1, it.kind, it.name, it.nth);
        self.points().iter().enumerate().map(told).collect::<Vec<_>>().join("\n")
    }

    /// Numbers a write or a notification, and says what is to be done at it.
    pub fn passes(&self, kind: Kind, name: &str) -> Option<Pattern> {
        let mut state = self.state();
        let point = state.number(kind, name);
        state.points.push(point.clone());
        state.strike(&point)
    }

    /// Remembers the answer to a read, and gives the one before if that is to be given.
    pub fn answered(&self, name: &str, url: &str, answer: &Answer) -> Option<Answer> {
        let mut state = self.state();
        let before = state.answers.insert(url.to_owned(), answer.clone());
        let before = before.filter(|it| it.body != answer.body)?;
        let point = state.number(Kind::Read, name);
        state.points.push(point.clone());
        state.strike(&point).map(|_| before)
    }

    /// An eviction was carried out.
    pub fn evicted(&self, pod: &str) {
        self.state().evicted.push(pod.to_owned());
    }

    /// The pods that were evicted.
    pub fn evictions(&self) -> Vec<String> {
        self.state().evicted.clone()
    }

    /// Kills the operator: SIGKILL, so that it finishes nothing.
    pub fn kill(&self) {
        let Some(process) = self.state().process.take() else { return };
        let killed = Command::new("kill").args(["-KILL", &process.to_string()]).status();
        assert!(killed.is_ok_and(|it| it.success()), "process {process} could not be killed");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn number(&mut self, kind: Kind, name: &str) -> Point {
        let count = self.counts.entry(format!("{kind:?} {name}")).or_default();
        *count += 1;
        Point { kind, name: name.to_owned(), nth: *count }
    }

    /// What is to be done here, once.
    fn strike(&mut self, point: &Point) -> Option<Pattern> {
        let pattern = self.perturbation.as_ref().filter(|it| it.point == *point && !self.hit)?.pattern;
        self.hit = true;
        Some(pattern)
    }
}
