//! Five ways to keep a budget. `Production` is ours: every decision about the ledger is made by `decide::ledger`. The
//! others are what is found elsewhere, in the same words; each lacks one thing.

use std::time::Duration;

use grpc_hygiene::{
    api::WorkloadRef,
    decide::ledger::{Entry, Evidence, Ledger, Limits, Object, Seen, State, Wish, conclusion, restarted_at},
};
use jiff::{SignedDuration, Timestamp};

use super::model::{FRESH, Flight, Kind, Protocol, STALE, Scope, TICK, WINDOW, World};

/// How the budget is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    /// Restarts are counted in memory.
    MemoryCounter,
    /// The ledger is written when the restart has succeeded.
    LedgerAfter,
    /// The ledger is written before, over whatever stands there.
    BlindWrite,
    /// The ledger is written before, by compare-and-swap, and an entry leaves when it is old.
    AgedOut,
    /// The ledger is written before, by compare-and-swap, and an entry leaves by evidence alone.
    Production,
}

/// A line of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line {
    pub object: u8,
    pub version: u8,
    pub generation: u8,
    pub at: u8,
    confirmed: bool,
}

/// What a controller is at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Doing {
    /// Nothing. It remembers its last restart, if it counts in memory.
    Idle(Option<u8>),
    /// It has read the ledger.
    Read(Vec<Line>),
    /// It waits for an answer.
    Waiting,
    /// It knows what became of a restart, and has not written it down. `true`: it happened.
    Knows(Line, bool),
}

impl Line {
    /// Whether no limit looks at it any more.
    pub fn is_history(&self, now: u8) -> bool {
        const ALLOWANCE: i64 = 5;
        self.confirmed && i64::from(now - self.at) * TICK >= WINDOW.as_secs().cast_signed() + ALLOWANCE
    }
}

impl Doing {
    /// The lines that it holds.
    pub fn lines(&mut self) -> &mut [Line] {
        match self {
            Self::Idle(_) | Self::Waiting => &mut [],
            Self::Read(lines) => lines,
            Self::Knows(line, _) => std::slice::from_mut(line),
        }
    }
}

impl Design {
    /// What the controller is at when the answer to its request has come.
    pub fn answered(self, flight: &Flight, happened: bool) -> Doing {
        match self {
            Self::MemoryCounter => Doing::Idle(happened.then_some(flight.line.at)),
            Self::LedgerAfter if happened => Doing::Knows(flight.line, true),
            Self::LedgerAfter | Self::BlindWrite | Self::AgedOut => Doing::Idle(None),
            Self::Production => Doing::Knows(flight.line, happened),
        }
    }
}

impl Protocol {
    pub fn read(&self, world: &mut World, controller: u8) -> Option<()> {
        let doing = &mut world.controllers[usize::from(controller)];
        (self.design == Design::BlindWrite && matches!(doing, Doing::Idle(_))).then_some(())?;
        *doing = Doing::Read(world.ledger.clone());
        Some(())
    }

    /// A controller sees a living object, decides to restart it, debits what its design debits, and sends. That it may
    /// stand still in between is the same as a request that arrives late.
    pub fn decide(&self, world: &mut World, controller: u8, object: u8, stale: bool) -> Option<()> {
        let seen = world.objects[usize::from(object)];
        seen.alive.then_some(())?;
        let (version, generation) = (if stale { STALE } else { seen.version }, seen.generation);
        let line = Line { object, version, generation, at: world.now, confirmed: self.design != Design::Production };
        let mut demands = None;
        match (self.design, &world.controllers[usize::from(controller)]) {
            (Design::MemoryCounter, Doing::Idle(last)) if !stale => {
                let mine: Vec<Line> = last.iter().map(|at| Line { at: *at, ..line }).collect();
                self.allows(&mine, object, world.now).then_some(())?;
            }
            (Design::LedgerAfter, Doing::Idle(_)) if !stale => {
                self.allows(&world.ledger, object, world.now).then_some(())?;
            }
            (Design::BlindWrite, Doing::Read(lines)) if !stale => {
                self.allows(lines, object, world.now).then_some(())?;
                world.ledger = [lines.as_slice(), &[line]].concat();
            }
            (Design::AgedOut, Doing::Idle(_)) if !stale => {
                self.allows(&world.ledger, object, world.now).then_some(())?;
                world.ledger.push(line);
            }
            (Design::Production, Doing::Idle(_)) => {
                self.allows(&world.ledger, object, world.now).then_some(())?;
                let now = time(world.now);
                let debited = self.ledger(&world.ledger).pruned(now).debited(self.entry(&line));
                world.ledger = debited.entries.iter().map(as_line).collect();
                demands = Some(version);
            }
            _ => return None,
        }
        world.flights.push(Flight { line, demands, admitted: false, waiting: Some(controller) });
        world.controllers[usize::from(controller)] = Doing::Waiting;
        Some(())
    }

    /// A controller looks at the object of a line that is not settled, and fences it where the sight proves nothing.
    pub fn look(&self, world: &mut World, controller: u8, index: u8) -> Option<()> {
        let line = *world.ledger.get(usize::from(index))?;
        let idle = matches!(world.controllers[usize::from(controller)], Doing::Idle(_));
        (self.design == Design::Production && idle && !line.confirmed).then_some(())?;
        let object = &mut world.objects[usize::from(line.object)];
        let seen = object.alive.then(|| Seen {
            uid: name(line.object),
            resource_version: object.version.to_string(),
            generation: self.generation(object.generation),
            terminating: false,
            restarted_at: object.restarted.map(|at| restarted_at(time(at))),
        });
        let evidence = conclusion(&self.entry(&line), seen.as_ref()).unwrap_or_else(|| {
            object.version = FRESH;
            Evidence::CanNoLongerHappen
        });
        world.controllers[usize::from(controller)] = Doing::Knows(line, evidence == Evidence::Happened);
        Some(())
    }

    /// A controller writes down what it knows.
    pub fn record(&self, world: &mut World, controller: u8) -> Option<()> {
        let Doing::Knows(line, happened) = world.controllers[usize::from(controller)] else { return None };
        if self.design == Design::Production {
            let evidence = if happened { Evidence::Happened } else { Evidence::CanNoLongerHappen };
            let settled = self.ledger(&world.ledger).settled(&self.entry(&line).object, evidence, time(world.now));
            world.ledger = settled.entries.iter().map(as_line).collect();
        } else {
            world.ledger.push(Line { at: world.now, ..line });
        }
        world.controllers[usize::from(controller)] = Doing::Idle(None);
        Some(())
    }

    fn allows(&self, lines: &[Line], object: u8, now: u8) -> bool {
        let Entry { namespace, workload, policy, .. } =
            self.entry(&Line { object, version: 0, generation: 0, at: now, confirmed: false });
        let wish = Wish { namespace, workload, revision: None, replicas: 1_000, policy };
        let limits = Limits { cooldown: self.cooldown(), max_per_day: 1_000, at_once: 1_000, rates: self.rates() };
        self.ledger(lines).allows(&wish, &limits, time(now)).is_ok()
    }

    fn ledger(&self, lines: &[Line]) -> Ledger {
        let old = Ledger::begun(time(0) - Duration::from_secs(30 * 86_400));
        Ledger { entries: lines.iter().map(|it| self.entry(it)).collect(), ..old }
    }

    fn entry(&self, line: &Line) -> Entry {
        let own = |scope: bool| if scope { name(line.object) } else { "shop".to_owned() };
        let kind = if self.kind == Kind::Pod { "Pod" } else { "Deployment" };
        Entry {
            diagnosis: None,
            namespace: own(self.scope == Scope::Cluster),
            workload: WorkloadRef { kind: "Deployment".into(), name: own(self.scope != Scope::Workload) },
            revision: None,
            object: Object {
                kind: kind.into(),
                name: name(line.object),
                uid: name(line.object),
                resource_version: line.version.to_string(),
                generation: self.generation(line.generation),
            },
            policy: "p".into(),
            at: time(line.at),
            state: if line.confirmed { State::Confirmed } else { State::Pending },
        }
    }

    fn generation(&self, generation: u8) -> Option<i64> {
        (self.kind == Kind::Rollout).then_some(i64::from(generation))
    }
}

fn as_line(entry: &Entry) -> Line {
    let number = |text: &str| text.parse().expect("a small number");
    let ticks = entry.at.duration_since(time(0)).as_secs() / TICK;
    Line {
        object: number(&entry.object.name),
        version: number(&entry.object.resource_version),
        generation: entry.object.generation.map_or(0, |it| u8::try_from(it).expect("a small number")),
        at: u8::try_from(ticks).expect("few ticks"),
        confirmed: entry.state == State::Confirmed,
    }
}

fn name(object: u8) -> String {
    object.to_string()
}

fn time(tick: u8) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(i64::from(tick) * TICK)
}
