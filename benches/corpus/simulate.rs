//! A pod's life, step by step: calls arrive, connections open, idle out, leak; memory follows; at the limit the
//! container is killed and starts again. It knows no metric names.

use std::collections::VecDeque;

use super::{
    draw::Draw,
    fleet::Pod,
    setup::{Habit, Leak, MIB, MINUTE, RESIDUE_BYTES, RESIDUE_GOROUTINES, Setup},
};

/// What could be read off a container at one step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    /// Which start of the container this is, from 0.
    pub life: usize,
    pub open: f64,
    pub opened: f64,
    pub failed: f64,
    pub closed: f64,
    pub recycled: f64,
    pub rejected: f64,
    pub calls: f64,
    pub served: f64,
    pub sockets: f64,
    pub descriptors: f64,
    pub goroutines: f64,
    pub working_set: f64,
    pub rss: f64,
}

/// A container's record.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// One per step of the pod; `None` while the container is down.
    pub rows: Vec<Option<Row>>,
    /// When each life began, seconds after the recording began (negative: before it).
    pub starts: Vec<f64>,
    /// The steps (counted from the recording's beginning) at which the container was killed at its limit.
    pub kills: Vec<usize>,
}

/// What is constant for a pod.
struct Traits {
    load: f64,
    sockets: f64,
    descriptors: f64,
    goroutines: f64,
    latency: f64,
    kernel: f64,
    saw_phase: f64,
    base: f64,
}

impl Traits {
    fn draw(rng: &mut Draw, setup: &Setup) -> Self {
        Self {
            load: rng.factor(setup.spread),
            sockets: rng.log_uniform(3.0, 40.0).round(),
            descriptors: rng.uniform(5.0, 30.0).round(),
            goroutines: rng.log_uniform(10.0, 300.0).round(),
            latency: rng.log_uniform(0.002, 0.5),
            kernel: rng.uniform(0.5, 8.0) * MIB,
            saw_phase: rng.uniform(0.0, 1.0),
            base: rng.factor(0.02),
        }
    }
}

/// What a process holds.
#[derive(Default)]
struct Process {
    row: Row,
    pool: f64,
    /// Leaked connections by when they idle out, and their sum.
    leaked: VecDeque<(usize, f64)>,
    live: f64,
    residue: f64,
    lost_bytes: f64,
    held: f64,
    began: f64,
}

/// Simulates one container of a pod, given the calls per second of a replica at each step of the recording.
pub fn container(rng: &mut Draw, setup: &Setup, pod: &Pod, load: &[f64]) -> Record {
    let traits = Traits::draw(rng, setup);
    let wander = rng.wandering(pod.steps.len(), setup.dt, setup.memory.wander.0, setup.memory.wander.1);
    let mut record = Record::default();
    let mut process = Process::started(pod.steps.start as f64 * setup.dt - pod.age, 0);
    record.starts.push(process.began);
    process.inherit(setup, &traits, pod);
    let mut down = 0_usize;
    for (index, step) in pod.steps.clone().enumerate() {
        if down > 0 {
            down -= 1;
            record.rows.push(None);
            if down == 0 {
                process = Process::started((step + 1) as f64 * setup.dt - setup.dt / 2.0, process.row.life + 1);
                record.starts.push(process.began);
            }
            continue;
        }
        process.step(rng, setup, &traits, pod, step, load[step]);
        process.memory(rng, setup, &traits, pod, step, load[step], wander[index]);
        let killed = process.row.working_set >= setup.memory.limit;
        let fails = setup.restarts.is_some_and(|it| rng.chance(setup.dt / it));
        if killed {
            record.kills.push(step);
        }
        if killed || fails {
            // Back-off: the more kills, the longer, at most five minutes.
            let minutes = (record.kills.len() as f64 * 0.7).clamp(0.5, 5.0);
            down = (minutes * MINUTE / setup.dt).ceil() as usize;
        }
        record.rows.push((!killed).then_some(process.row));
    }
    record
}

impl Process {
    fn started(began: f64, life: usize) -> Self {
        Self { began, row: Row { life, ..Row::default() }, ..Self::default() }
    }

    /// What a process that began before the recording has counted until then.
    fn inherit(&mut self, setup: &Setup, traits: &Traits, pod: &Pod) {
        if pod.age > 0.0 {
            let age = pod.age;
            self.row.calls = (setup.load.mean * traits.load * age).round();
            self.row.served = if setup.inbound.0.is_empty() { 0.0 } else { self.row.calls };
            self.pool = setup.pool.base;
            self.row.recycled = setup.pool.recycled.map_or(0.0, |it| (setup.pool.base * age / it).round());
            self.row.opened = self.pool + self.row.recycled;
        }
    }

    fn step(&mut self, rng: &mut Draw, setup: &Setup, traits: &Traits, pod: &Pod, step: usize, load: f64) {
        let now = step as f64 * setup.dt;
        let rate = load * traits.load;
        let calls = rng.events(rate * setup.dt);
        self.row.calls += calls;
        self.follow(rng, setup, step, load);
        if let Some(leak) = &setup.leak {
            self.leak(rng, setup, leak, pod, step, calls);
        }
        if let Some((habit, since)) = &setup.habit
            && now >= *since
        {
            self.habit(rng, setup, habit, calls);
        }
        let inbound = setup.inbound.0.get(step).map_or(0.0, |it| (it * traits.load.sqrt()).round());
        if inbound > 0.0 {
            self.row.served += calls;
        }
        let in_flight = rng.events(rate * traits.latency);
        let row = &mut self.row;
        row.open = self.pool + self.live;
        row.sockets = traits.sockets + row.open + inbound + rng.events(0.3);
        row.descriptors = row.sockets + traits.descriptors;
        row.goroutines = traits.goroutines
            + row.open * setup.library.goroutines
            + inbound * 3.0
            + self.residue * RESIDUE_GOROUTINES
            + in_flight;
    }

    /// The pool goes where it should be: up at once, down slowly; some connections are recycled.
    fn follow(&mut self, rng: &mut Draw, setup: &Setup, step: usize, load: f64) {
        let pool = &setup.pool;
        let share = 1.0 - pool.follows + pool.follows * load / setup.load.mean;
        let shared = setup.shared_pool.get(step).copied().unwrap_or_default();
        let target = (pool.base * share + shared).round().max(1.0);
        if target > self.pool {
            self.row.opened += target - self.pool;
            self.pool = target;
        } else {
            let closing = rng.events((self.pool - target) * (setup.dt / pool.shrink).min(1.0)).min(self.pool - target);
            self.pool -= closing;
            self.row.closed += closing;
        }
        if let Some(every) = pool.recycled {
            let recycled = rng.events(self.pool * setup.dt / every).min(self.pool);
            self.row.recycled += recycled;
            self.row.opened += recycled;
        }
    }

    fn leak(&mut self, rng: &mut Draw, setup: &Setup, leak: &Leak, pod: &Pod, step: usize, calls: f64) {
        while self.leaked.front().is_some_and(|it| it.0 <= step) {
            let idled = self.leaked.pop_front().map_or(0.0, |it| it.1);
            self.live -= idled;
            self.residue += idled;
            self.row.closed += idled;
        }
        let after = step as f64 * setup.dt - leak.onset;
        let leaks = after >= 0.0
            && pod.revision >= leak.revision
            && leak.slots.as_ref().is_none_or(|it| it.contains(&pod.slot))
            && leak.spells.is_none_or(|(on, every)| after % every < on);
        if !leaks {
            return;
        }
        self.lost_bytes += calls * leak.bytes_per_call;
        let channels = rng.events(calls * leak.per_call);
        if leak.unused {
            self.residue += channels;
        } else if channels > 0.0 {
            self.live += channels;
            self.row.opened += channels;
            if let Some(idle) = leak.idle {
                self.leaked.push_back((step + (idle / setup.dt) as usize, channels));
            }
        }
    }

    fn habit(&mut self, rng: &mut Draw, setup: &Setup, habit: &Habit, calls: f64) {
        match habit {
            Habit::Churn { per_call } => {
                let dialled = rng.events(calls * per_call);
                self.row.opened += dialled;
                self.row.closed += dialled;
            }
            Habit::Keepalive { closes_after } => {
                let rejected = rng.events(self.pool * setup.dt / closes_after);
                self.row.rejected += rejected;
                self.row.opened += rejected;
            }
            Habit::Unreachable { attempts } => self.row.failed += rng.events(attempts * setup.dt),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one step of one process, and everything it depends on")]
    fn memory(
        &mut self,
        rng: &mut Draw,
        setup: &Setup,
        traits: &Traits,
        pod: &Pod,
        step: usize,
        load: f64,
        wander: f64,
    ) {
        let memory = &setup.memory;
        let age = step as f64 * setup.dt - self.began;
        let loading = 0.55 + 0.45 * (age / (2.0 * MINUTE)).min(1.0);
        let inbound = setup.inbound.0.get(step).copied().unwrap_or_default() * setup.inbound.1;
        let shared = setup.shared_memory.get(step).copied().unwrap_or_default();
        let live = (memory.base * traits.base + wander + shared) * loading
            + setup.cache(pod.revision).at(age)
            + memory.follows_load * load / setup.load.mean
            + (self.pool + self.live) * setup.library.bytes
            + inbound
            + self.residue * RESIDUE_BYTES
            + self.lost_bytes;
        self.held = live.max(self.held - (self.held - live) * (setup.dt / memory.give_back).min(1.0));
        let saw = memory.saw.0 * (age / memory.saw.1 + traits.saw_phase).fract();
        let rss = (self.held + saw + rng.normal(memory.noise)).max(MIB);
        self.row.rss = (rss / 4_096.0).round() * 4_096.0;
        self.row.working_set = self.row.rss + ((traits.kernel + rng.normal(0.05 * MIB)) / 4_096.0).round() * 4_096.0;
    }
}
