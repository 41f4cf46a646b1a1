//! The families: how each kind of incident is drawn. Leaks are in [`leaking`], what only looks like one in
//! [`healthy`]; this module has the list and what both need.

mod healthy;
mod leaking;

use grpc_hygiene::decide::Diagnosis;

use super::{
    draw::Draw,
    fleet::Fleet,
    setup::{HOUR, Habit, Instruments, Leak, RESIDUE_BYTES, Setup},
};

/// What a family is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Healthy,
    Leak,
    /// No leak, but worth an alert with the right diagnosis.
    Habit,
    /// Trouble with the data: half of the incidents leak.
    Mixed,
}

/// A kind of incident.
pub struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub draw: fn(&mut Draw, &mut Draft),
}

const fn family(name: &'static str, kind: Kind, draw: fn(&mut Draw, &mut Draft)) -> Family {
    Family { name, kind, draw }
}

/// All families: 13 healthy ones, 10 leaks, and 14 more of what is met in clusters.
pub static FAMILIES: [Family; 37] = [
    family("flat", Kind::Healthy, healthy::flat),
    family("gc", Kind::Healthy, healthy::gc),
    family("warm", Kind::Healthy, healthy::warm),
    family("warm_new", Kind::Healthy, healthy::warm_new),
    family("cachefill", Kind::Healthy, healthy::cachefill),
    family("diurnal", Kind::Healthy, healthy::diurnal),
    family("ramp", Kind::Healthy, healthy::ramp),
    family("ou", Kind::Healthy, healthy::ou),
    family("step", Kind::Healthy, healthy::step),
    family("rollout", Kind::Healthy, healthy::rollout),
    family("hpa", Kind::Healthy, healthy::hpa),
    family("spikes", Kind::Healthy, healthy::spikes),
    family("clientscale", Kind::Healthy, healthy::clientscale),
    family("const_leak", Kind::Leak, leaking::constant),
    family("diurnal_leak", Kind::Leak, leaking::diurnal),
    family("slow_leak", Kind::Leak, leaking::slow),
    family("fast_leak", Kind::Leak, leaking::fast),
    family("gc_leak", Kind::Leak, leaking::gc),
    family("oomloop_leak", Kind::Leak, leaking::oomloop),
    family("intermittent_leak", Kind::Leak, leaking::intermittent),
    family("memonly_leak", Kind::Leak, leaking::memonly),
    family("ramp_leak", Kind::Leak, leaking::ramp),
    family("single_leak", Kind::Leak, leaking::single),
    family("idle_plateau", Kind::Leak, leaking::idle_plateau),
    family("idle_residue", Kind::Leak, leaking::idle_residue),
    family("stripped_leak", Kind::Leak, leaking::stripped),
    family("sidecar_leak", Kind::Leak, leaking::sidecar),
    family("rollouts_leak", Kind::Leak, leaking::rollouts),
    family("fixed_pool", Kind::Healthy, healthy::fixed_pool),
    family("load_pool", Kind::Healthy, healthy::load_pool),
    family("serverscale", Kind::Healthy, healthy::serverscale),
    family("churn", Kind::Habit, healthy::churn),
    family("keepalive", Kind::Habit, healthy::keepalive),
    family("unreachable", Kind::Habit, healthy::unreachable),
    family("resets", Kind::Mixed, leaking::resets),
    family("ha_pair", Kind::Mixed, leaking::ha_pair),
    family("skew", Kind::Mixed, leaking::skew),
];

/// The family of that name.
pub fn named(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|it| it.name == name)
}

/// An incident being drawn: first an unremarkable one, then the family makes it what it is.
pub struct Draft {
    pub setup: Setup,
    pub sidecar: Option<Setup>,
    pub fleet: Fleet,
    /// Per step, the share of the usual load that one replica has. Empty: the usual load.
    pub shares: Vec<f64>,
    /// Two Prometheus replicas: as two series (`false`) or mixed into one (`true`).
    pub duplicates: Option<bool>,
    /// Whose clock is off by how many seconds: the application's (`true`) or the node's.
    pub skew: Option<(f64, bool)>,
    /// So many kills at the limit may happen before an alarm is too late.
    pub tolerated_kills: usize,
    /// Successors of a replica are one case.
    pub replicas_are_cases: bool,
}

impl Draft {
    pub fn new(rng: &mut Draw, namespace: String, family: &Family) -> Self {
        let mut instruments = Instruments::draw(rng);
        if family.kind == Kind::Habit {
            // Nothing else can see a habit that leaves no trace.
            instruments = Instruments::OpenTelemetry;
        }
        let mut setup = Setup::draw(rng, instruments);
        if rng.chance(0.4) {
            // A client that is a server, too, with a steady number of callers.
            let inbound = rng.log_uniform(1.0, 50.0).round();
            setup.inbound = (vec![inbound; setup.steps()], 20_000.0);
        }
        let replicas = if rng.chance(0.85) { 4 } else { rng.count(1, 8) };
        let fleet = Fleet::new(rng, namespace, setup.steps(), replicas);
        Self {
            setup,
            sidecar: None,
            fleet,
            shares: Vec::new(),
            duplicates: None,
            skew: None,
            tolerated_kills: 0,
            replicas_are_cases: false,
        }
    }

    /// The containers of each pod, with their names.
    pub fn containers(&self) -> Vec<(String, &Setup)> {
        let main = (self.fleet.app.clone(), &self.setup);
        std::iter::once(main).chain(self.sidecar.as_ref().map(|it| ("proxy".to_owned(), it))).collect()
    }

    /// Gives more memory to the containers that were killed while they were healthy.
    pub fn widen(&mut self, tight: [bool; 2]) {
        for (setup, tight) in [Some(&mut self.setup), self.sidecar.as_mut()].into_iter().flatten().zip(tight) {
            if tight {
                setup.memory.limit *= 1.2;
            }
        }
    }

    /// The step at which an hour begins.
    pub fn step(&self, hour: f64) -> usize {
        (hour * HOUR / self.setup.dt) as usize
    }

    /// A roll-out at an hour, replica by replica within minutes.
    pub fn roll_out(&mut self, rng: &mut Draw, hour: f64) {
        let stagger = rng.count(1, 4) * (60.0 / self.setup.dt) as usize;
        let step = self.step(hour);
        self.fleet.roll_out(rng, step, stagger);
    }

    /// Roll-outs every so many hours, from an hour on.
    pub fn roll_outs(&mut self, rng: &mut Draw, from: f64, every: (f64, f64)) {
        let mut hour = from;
        while hour < 71.0 {
            self.roll_out(rng, hour);
            hour += rng.uniform(every.0, every.1);
        }
    }

    /// The diagnoses that are right about a container with this setup.
    pub fn expected(&self, setup: &Setup) -> Vec<Diagnosis> {
        match (&setup.habit, &setup.leak) {
            (Some((Habit::Churn { .. }, _)), _) => vec![Diagnosis::ConnectionChurn],
            (Some((Habit::Keepalive { .. }, _)), _) => vec![Diagnosis::KeepaliveRejected],
            (Some((Habit::Unreachable { .. }, _)), _) => vec![Diagnosis::TargetUnreachable],
            (None, Some(leak)) if leak.bytes_per_call > 0.0 => vec![Diagnosis::MemoryLeakElsewhere],
            (None, Some(leak)) => {
                let mut expected = vec![Diagnosis::IdleChannelResidue];
                if !leak.unused {
                    expected.extend([Diagnosis::DialPerCall, Diagnosis::ConnectionLeak]);
                }
                if leak.idle.is_none() {
                    expected.remove(0);
                } else if !setup.instruments.has_runtime() {
                    // Without goroutines nothing tells a residue from any other leak.
                    expected.push(Diagnosis::MemoryLeakElsewhere);
                }
                expected
            }
            (None, None) => Vec::new(),
        }
    }
}

/// How a leak is held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Held {
    /// The connections stay: an old library, or channels with an open stream.
    Open,
    /// They idle out, the channels stay.
    IdlesAfter(f64),
    /// The channels never connect.
    Unused,
}

/// A leak of channels that fills the headroom within so many hours at the usual load, from an hour on, leaking only
/// for `duty` of the time.
pub fn channels(rng: &mut Draw, setup: &mut Setup, onset: f64, hours: f64, held: Held, duty: f64) -> Leak {
    let headroom = setup.headroom();
    // With a handful of fat connections there is nothing to count.
    setup.library.bytes = setup.library.bytes.min(headroom / 150.0);
    let seconds = hours * HOUR;
    let per_rate = match held {
        Held::Open => seconds * setup.library.bytes,
        Held::IdlesAfter(idle) => idle.min(seconds) * setup.library.bytes + (seconds - idle).max(0.0) * RESIDUE_BYTES,
        Held::Unused => seconds * RESIDUE_BYTES,
    };
    let rate = headroom / per_rate / duty;
    let low = rate.max(0.1);
    setup.load.mean = rng.log_uniform(low, (rate * 2_000.0).clamp(low * 1.01, 2_000.0_f64.max(low * 1.02)));
    Leak {
        per_call: rate / setup.load.mean,
        bytes_per_call: 0.0,
        unused: held == Held::Unused,
        idle: match held {
            Held::Open => None,
            Held::IdlesAfter(idle) => Some(idle),
            Held::Unused => Some(0.0),
        },
        spells: None,
        onset: onset * HOUR,
        slots: None,
        revision: 0,
    }
}

/// A leak of bytes that no channel holds.
pub fn bytes(setup: &Setup, onset: f64, hours: f64) -> Leak {
    let bytes_per_call = setup.headroom() / (hours * HOUR * setup.load.mean);
    Leak {
        per_call: 0.0,
        bytes_per_call,
        unused: false,
        idle: None,
        spells: None,
        onset: onset * HOUR,
        slots: None,
        revision: 0,
    }
}
