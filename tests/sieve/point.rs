//! Points of a run and what is done at them; what came of it. No I/O.

use std::fmt;

use super::end::End;

/// What passes the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A request that changes something, or tells somebody.
    Write,
    /// An event of a watch.
    Notification,
    /// A read whose answer differs from the one before.
    Read,
}

/// The n-th of its name in a run, from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// What it is.
    pub kind: Kind,
    /// Its name: `POST pods/eviction`.
    pub name: String,
    /// Which of that name.
    pub nth: usize,
}

/// What is done at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// Killed before the request is sent.
    KilledBefore,
    /// Killed when the request is carried out, and the answer on its way.
    KilledUnanswered,
    /// Killed when the answer has arrived.
    KilledAfter,
    /// The notification, and all that follow, come half a minute late.
    Late,
    /// The notification never comes.
    Missed,
    /// The read is answered as the one before it was.
    Stale,
}

/// A pattern at a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Perturbation {
    /// Where.
    pub point: Point,
    /// What.
    pub pattern: Pattern,
}

impl fmt::Display for Perturbation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{} {:?}", self.point.name, self.point.nth, self.pattern)
    }
}

/// Every pattern that a point can have, for each.
pub fn perturbations(points: &[Point]) -> Vec<Perturbation> {
    let patterns = |kind: Kind| -> &'static [Pattern] {
        match kind {
            Kind::Write => &[Pattern::KilledBefore, Pattern::KilledUnanswered, Pattern::KilledAfter],
            Kind::Notification => &[Pattern::Late, Pattern::Missed],
            Kind::Read => &[Pattern::Stale],
        }
    };
    let of = |point: &Point| {
        let point = point.clone();
        patterns(point.kind).iter().map(move |pattern| Perturbation { point: point.clone(), pattern: *pattern })
    };
    points.iter().flat_map(of).collect()
}

/// What came of a perturbation.
#[derive(Debug)]
pub enum Outcome {
    /// The end is that of the undisturbed run.
    Same {
        /// What was done.
        perturbation: Perturbation,
    },
    /// The run did not come to the point; the end is the same.
    NotReached {
        /// What was to be done.
        perturbation: Perturbation,
    },
    /// The end is another.
    Differs {
        /// What was done.
        perturbation: Perturbation,
        /// How it ended.
        end: Box<End>,
    },
}

impl Outcome {
    /// By how both ended.
    pub fn of(perturbation: Perturbation, hit: bool, end: &End, reference: &End) -> Self {
        match (hit, end == reference) {
            (true, true) => Self::Same { perturbation },
            (false, true) => Self::NotReached { perturbation },
            (_, false) => Self::Differs { perturbation, end: Box::new(end.clone()) },
        }
    }

    /// Whether the end is another.
    pub fn differs(&self) -> bool {
        matches!(self, Self::Differs { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same { perturbation } => write!(f, "{perturbation}: the same"),
            Self::NotReached { perturbation } => write!(f, "{perturbation}: not reached"),
            Self::Differs { perturbation, end } => write!(f, "{perturbation}: DIFFERS: {end:#?}"),
        }
    }
}
