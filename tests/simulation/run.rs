//! A run: two processes and the world, each with a time of its own, none ever ahead of what could still reach it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};

use crate::{
    replica::Replica,
    settings::{Script, Settings},
    world::{Millis, Order, Shared, World},
};

/// The longest that a process runs before the others get their turn: how much later than sent it may hear of something.
const TURN: Millis = 1_000;

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub seed: u64,
    pub broken: Vec<String>,
    pub counts: BTreeMap<String, u64>,
    /// Writes, but for those of the lease.
    pub writes: u64,
    /// Whose pods we disturbed, and when.
    pub disturbed: Vec<(Millis, String)>,
    /// How long after people stopped restarts a restart was still sent.
    pub after_stop: Vec<Millis>,
    /// Which receiver took alerts, and when.
    pub taken: Vec<(Millis, String)>,
    /// How the run ended, without times.
    pub end: String,
    pub trace: u64,
}

struct Run {
    world: Shared,
    replicas: [Option<Replica>; 2],
    end: Millis,
}

/// Runs a script. Everything that is random in it follows from the seed; it needs a process of its own.
pub fn run(script: &Script) -> Report {
    // The same for all seeds: what a program draws once, for all of its threads, is drawn by whichever comes first.
    simulated_clock::seed(1);
    fastrand::seed(script.seed);
    let settings = Settings::of(script);
    let end = settings.end;
    let world = Arc::new(Mutex::new(World::new(script.seed, settings)));
    let mut run = Run { world, replicas: [None, None], end };
    run.obey();
    while run.step() {}
    let mut world = run.world.lock().expect("no panic");
    world.look_at_the_end();
    Report {
        seed: script.seed,
        broken: world.broken.clone(),
        counts: world.counts.clone(),
        writes: world.writes,
        disturbed: world.disturbed_so_far(),
        after_stop: world.witness.after_stop.clone(),
        taken: world.taken.clone(),
        end: world.end_state(),
        trace: world.trace,
    }
}

impl Run {
    /// Lets the process that is furthest behind run, or else lets the next thing happen. Whether there is more to do.
    fn step(&mut self) -> bool {
        let head = self.world.lock().expect("no panic").head();
        let behind =
            self.replicas.iter().enumerate().filter_map(|(place, it)| Some((it.as_ref()?.time(), place))).min();
        match behind {
            Some((time, place)) if time < head.min(self.end) => {
                let replica = self.replicas[place].as_mut().expect("it lives");
                replica.run_until(head.min(time + TURN));
                if replica.is_over() {
                    self.bury(place, "process ended");
                }
            }
            _ if head >= self.end => return false,
            _ => self.world.lock().expect("no panic").step(),
        }
        self.obey();
        true
    }

    /// Does to the processes what the world says.
    fn obey(&mut self) {
        let (orders, now) = {
            let mut world = self.world.lock().expect("no panic");
            if world.orders.is_empty() {
                return;
            }
            (std::mem::take(&mut world.orders), world.now)
        };
        for (place, order) in orders {
            match (order, &mut self.replicas[place]) {
                (Order::Start, empty @ None) => {
                    let skew = self.world.lock().expect("no panic").skew(place);
                    *empty = Some(Replica::start(&self.world, place, now, skew));
                }
                (Order::Kill, Some(_)) => self.bury(place, "process killed"),
                (Order::Terminate, Some(replica)) => {
                    replica.terminate();
                    self.count("process terminated");
                }
                (Order::Stop(until), Some(replica)) => {
                    replica.stopped_until = replica.stopped_until.max(until);
                    self.count("process stopped and resumed");
                }
                (Order::Skew(skew), replica) => {
                    if let Some(replica) = replica {
                        replica.skew = skew;
                    }
                    let mut world = self.world.lock().expect("no panic");
                    world.skewed(place, skew);
                    world.count(&format!("clock ahead by {} s", skew / 1_000));
                }
                _ => {}
            }
        }
    }

    /// A process is dead; another takes its place after a while.
    fn bury(&mut self, place: usize, why: &str) {
        let died = self.replicas[place].take().map_or(0, |it| it.now);
        let mut world = self.world.lock().expect("no panic");
        world.count(why);
        // It may have been ahead of the world.
        let pause = died.saturating_sub(world.now) + world.dice.between(500, 20_000);
        world.after(pause, move |world| world.orders.push((place, Order::Start)));
    }

    fn count(&self, what: &str) {
        self.world.lock().expect("no panic").count(what);
    }
}
