//! The world of the model: objects with resource versions, requests in flight, controllers, one ledger. Between any two
//! steps of anybody everything else may happen. What a controller does is in `designs`.

use std::time::Duration;

use grpc_hygiene::decide::ledger::{Rate, Rates};
use stateright::{Model, Property, Representative};

use super::designs::{Design, Doing, Line};

/// A tick is a little more than half a window with the allowance for clocks, so that a window is two ticks.
pub const TICK: i64 = 65;
/// The window that the budget is for.
pub const WINDOW: Duration = Duration::from_secs(120);
/// A tick before all others.
const LONG_AGO: u8 = 0;
/// A version or generation that nobody holds: those that somebody holds are renamed to small numbers after each step.
pub const FRESH: u8 = 100;
/// A version that was overwritten a moment ago, which nobody else holds.
pub const STALE: u8 = 101;

/// The promise.
pub const WINDOW_HOLDS: &str = "never more than the budget in a window";
/// A ledger that allows nothing keeps every promise, and is none.
pub const ALL_RESTARTED: &str = "every object is restarted in the end";

/// What objects are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pods, which are evicted: the API server first writes a condition, then deletes.
    Pod,
    /// Deployments, which are restarted by a patch and live on.
    Rollout,
}

/// Which limit is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All objects belong to one workload.
    Workload,
    /// Each is a workload of its own, in one namespace.
    Namespace,
    /// Each is in a namespace of its own.
    Cluster,
}

/// What is checked.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    pub design: Design,
    pub kind: Kind,
    pub scope: Scope,
    /// Restarts in a window.
    pub budget: u32,
    pub controllers: u8,
    pub objects: u8,
    /// How long the world lives.
    pub ticks: u8,
}

/// An object at the API server. Versions and generations are only ever compared for being equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    pub alive: bool,
    pub version: u8,
    pub generation: u8,
    /// The tick that its restart annotation carries. [`LONG_AGO`]: one that no line of the ledger tells of.
    pub restarted: Option<u8>,
}

/// A request that was sent, or is about to be by somebody who stands still. Nothing says when it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flight {
    /// The line of the ledger that it stands for.
    pub line: Line,
    /// The resource version that it demands. `None`: any.
    pub demands: Option<u8>,
    /// The API server has written the condition, and is about to delete.
    pub admitted: bool,
    /// Who waits for the answer.
    pub waiting: Option<u8>,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct World {
    pub now: u8,
    pub objects: Vec<Object>,
    pub ledger: Vec<Line>,
    pub flights: Vec<Flight>,
    pub controllers: Vec<Doing>,
    /// When restarts happened, as far as a window reaches back.
    pub restarts: Vec<u8>,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Time goes by.
    Tick,
    /// Somebody else changes an object's status.
    Touch(u8),
    /// Somebody else changes a workload's spec, and takes our annotation away.
    Edit(u8),
    /// A controller dies, or forgets what it waited for.
    Crash(u8),
    /// A request gets one step further at the API server.
    Arrive(u8),
    /// A controller reads the ledger.
    Read(u8),
    /// A controller decides about an object that it saw in this or the former version.
    Decide { controller: u8, object: u8, stale: bool },
    /// A controller looks at the object of a line of the ledger.
    Look { controller: u8, line: u8 },
    /// A controller writes down what it knows.
    Record(u8),
}

impl Protocol {
    /// What may be spent: the limit under test, and nothing else that would hide it.
    pub fn rates(&self) -> Rates {
        let free = Rate { max: 1_000, window: WINDOW };
        let tight = Rate { max: self.budget, window: WINDOW };
        Rates {
            namespace: if self.scope == Scope::Namespace { tight } else { free },
            cluster: if self.scope == Scope::Cluster { tight } else { free },
            at_once_percent: 100,
            settling: Duration::ZERO,
            back_off: Duration::ZERO,
            calm: Duration::ZERO,
        }
    }

    /// The limit on one workload's restarts, if that is what is checked.
    pub fn cooldown(&self) -> Duration {
        if self.scope == Scope::Workload { WINDOW } else { Duration::ZERO }
    }

    fn arrive(&self, world: &mut World, index: u8) -> Option<()> {
        let at = usize::from(index);
        let flight = world.flights.get(at).copied()?;
        let object = &mut world.objects[usize::from(flight.line.object)];
        let fits = object.alive && flight.demands.is_none_or(|it| it == object.version);
        if fits && self.kind == Kind::Pod && !flight.admitted {
            object.version = FRESH;
            let demands = flight.demands.map(|_| object.version);
            world.flights[at] = Flight { demands, admitted: true, ..flight };
            return Some(());
        }
        world.flights.remove(at);
        if fits {
            match self.kind {
                Kind::Pod => object.alive = false,
                Kind::Rollout => {
                    object.version = FRESH;
                    object.generation = FRESH;
                    object.restarted = Some(flight.line.at);
                }
            }
            world.restarts.push(world.now);
        }
        if let Some(controller) = flight.waiting {
            world.controllers[usize::from(controller)] = self.design.answered(&flight, fits);
        }
        Some(())
    }

    /// A living object is changed by somebody else.
    fn touch(world: &mut World, object: u8, edits: bool) -> Option<()> {
        let object = &mut world.objects[usize::from(object)];
        object.alive.then_some(())?;
        object.version = FRESH;
        if edits {
            object.generation = FRESH;
            object.restarted = None;
        }
        Some(())
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let object = Object { alive: true, version: 0, generation: 0, restarted: None };
        vec![World {
            now: LONG_AGO + 1,
            objects: vec![object; usize::from(self.objects)],
            ledger: vec![],
            flights: vec![],
            controllers: vec![Doing::Idle(None); usize::from(self.controllers)],
            restarts: vec![],
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        steps.push(Step::Tick);
        for object in 0..self.objects {
            steps.push(Step::Touch(object));
            if self.kind == Kind::Rollout {
                steps.push(Step::Edit(object));
            }
        }
        steps.extend((0..count(&world.flights)).map(Step::Arrive));
        for controller in 0..self.controllers {
            steps.push(Step::Crash(controller));
            steps.push(Step::Read(controller));
            steps.push(Step::Record(controller));
            steps.extend((0..count(&world.ledger)).map(|line| Step::Look { controller, line }));
            for object in 0..self.objects {
                steps.extend([false, true].map(|stale| Step::Decide { controller, object, stale }));
            }
        }
    }

    fn next_state(&self, before: &World, step: Step) -> Option<World> {
        let mut world = before.clone();
        match step {
            Step::Tick => {
                (world.now <= self.ticks).then_some(())?;
                world.now += 1;
            }
            Step::Touch(object) => Self::touch(&mut world, object, false)?,
            Step::Edit(object) => Self::touch(&mut world, object, true)?,
            Step::Crash(controller) => {
                let doing = &mut world.controllers[usize::from(controller)];
                (*doing != Doing::Idle(None)).then_some(())?;
                *doing = Doing::Idle(None);
                world.flights.iter_mut().filter(|it| it.waiting == Some(controller)).for_each(|it| it.waiting = None);
            }
            Step::Arrive(flight) => self.arrive(&mut world, flight)?,
            Step::Read(controller) => self.read(&mut world, controller)?,
            Step::Decide { controller, object, stale } => self.decide(&mut world, controller, object, stale)?,
            Step::Look { controller, line } => self.look(&mut world, controller, line)?,
            Step::Record(controller) => self.record(&mut world, controller)?,
        }
        world.forget();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(WINDOW_HOLDS, |model: &Self, world: &World| world.restarts.len() <= model.budget as usize),
            Property::sometimes(ALL_RESTARTED, |model: &Self, world: &World| match model.kind {
                Kind::Pod => world.objects.iter().all(|it| !it.alive),
                Kind::Rollout => world.objects.iter().all(|it| it.restarted.is_some()),
            }),
        ]
    }
}

/// Restarts of this tick and of the one before are in one window.
fn is_in_window(at: u8, now: u8) -> bool {
    i64::from(now - at) * TICK < WINDOW.as_secs() as i64
}

fn count<T>(all: &[T]) -> u8 {
    u8::try_from(all.len()).expect("few")
}

impl Representative for World {
    /// Objects are alike, and so are controllers: of all ways to number them the least is looked at.
    fn representative(&self) -> Self {
        let orders = permutations(count(&self.objects));
        let controllers = permutations(count(&self.controllers));
        let renamed = orders.iter().flat_map(|order| controllers.iter().map(|it| self.renamed(order, it)));
        renamed.min().unwrap_or_else(|| self.clone())
    }
}

impl World {
    /// Drops what makes no difference any more, so that what comes to the same is the same.
    fn forget(&mut self) {
        let now = self.now;
        self.restarts.retain(|at| is_in_window(*at, now));
        self.ledger.retain(|it| !it.is_history(now));
        let objects = &self.objects;
        // Nobody waits for it, and it can only be refused.
        self.flights.retain(|it| {
            let object = &objects[usize::from(it.line.object)];
            it.waiting.is_some() || object.alive && it.demands.is_none_or(|it| it == object.version)
        });
        for place in 0..count(&self.objects) {
            self.rename_versions(place);
            let tells = |at| self.ledger.iter().any(|it| it.object == place && it.at == at);
            let object = self.objects[usize::from(place)];
            if object.restarted.is_some_and(|at| !tells(at)) {
                self.objects[usize::from(place)].restarted = Some(LONG_AGO);
            }
        }
        self.flights.sort_unstable();
        self.ledger.sort_unstable();
    }

    /// Of the versions and generations of an object only those that somebody holds matter, and only which are equal.
    fn rename_versions(&mut self, place: u8) {
        let mut versions = Numbers::default();
        let mut generations = Numbers::default();
        let object = &mut self.objects[usize::from(place)];
        object.version = versions.of(object.version);
        object.generation = generations.of(object.generation);
        let mut rename = |line: &mut Line| {
            if line.object == place {
                line.version = versions.of(line.version);
                line.generation = generations.of(line.generation);
            }
        };
        self.ledger.iter_mut().for_each(&mut rename);
        self.flights.iter_mut().for_each(|it| rename(&mut it.line));
        self.controllers.iter_mut().flat_map(Doing::lines).for_each(&mut rename);
        for flight in self.flights.iter_mut().filter(|it| it.line.object == place) {
            flight.demands = flight.demands.map(|it| versions.of(it));
        }
    }

    fn renamed(&self, objects: &[u8], controllers: &[u8]) -> Self {
        let mut world = self.clone();
        for (old, new) in objects.iter().enumerate() {
            world.objects[usize::from(*new)] = self.objects[old];
        }
        for (old, new) in controllers.iter().enumerate() {
            world.controllers[usize::from(*new)] = self.controllers[old].clone();
        }
        let rename = |line: &mut Line| line.object = objects[usize::from(line.object)];
        world.ledger.iter_mut().for_each(rename);
        world.controllers.iter_mut().flat_map(Doing::lines).for_each(rename);
        for flight in &mut world.flights {
            rename(&mut flight.line);
            flight.waiting = flight.waiting.map(|it| controllers[usize::from(it)]);
        }
        world.flights.sort_unstable();
        world.ledger.sort_unstable();
        world
    }
}

/// New numbers for old ones, in the order in which they are met.
#[derive(Default)]
struct Numbers(Vec<u8>);

impl Numbers {
    fn of(&mut self, old: u8) -> u8 {
        let at = self.0.iter().position(|it| *it == old).unwrap_or_else(|| {
            self.0.push(old);
            self.0.len() - 1
        });
        u8::try_from(at).expect("few")
    }
}

fn permutations(n: u8) -> Vec<Vec<u8>> {
    let Some(last) = n.checked_sub(1) else { return vec![vec![]] };
    let insert = |rest: Vec<u8>| {
        (0..=rest.len()).map(move |at| {
            let mut all = rest.clone();
            all.insert(at, last);
            all
        })
    };
    permutations(last).into_iter().flat_map(insert).collect()
}
