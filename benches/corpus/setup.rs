//! What a workload is like: its client library, load, pool, memory, leak and instrumentation, drawn from wide ranges.
//! It says nothing about pods (see [`super::fleet`]) and simulates nothing (see [`super::simulate`]).

use super::draw::Draw;

pub const MINUTE: f64 = 60.0;
pub const HOUR: f64 = 3_600.0;
/// The length of a recording, seconds.
pub const LENGTH: f64 = 72.0 * HOUR;
pub const KIB: f64 = 1_024.0;
pub const MIB: f64 = KIB * KIB;

/// What is measured besides cAdvisor and kube-state-metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruments {
    /// gRPC's OpenTelemetry metrics with subchannels (A66 and A94), and the Go runtime's.
    OpenTelemetry,
    /// The same with the call metrics dropped, to save series.
    StrippedOfCalls,
    /// go-grpc-middleware's call counters, and the Go runtime's.
    Middleware,
    /// The Go runtime's alone.
    Runtime,
    /// Nothing: only what the kubelet sees.
    Kubelet,
}

impl Instruments {
    pub fn draw(rng: &mut Draw) -> Self {
        rng.pick(&[
            Self::OpenTelemetry,
            Self::OpenTelemetry,
            Self::OpenTelemetry,
            Self::Middleware,
            Self::Middleware,
            Self::Middleware,
            Self::Runtime,
            Self::Runtime,
            Self::Kubelet,
            Self::Kubelet,
        ])
    }

    pub fn has_subchannels(self) -> bool {
        matches!(self, Self::OpenTelemetry | Self::StrippedOfCalls)
    }

    pub fn has_calls(self) -> bool {
        matches!(self, Self::OpenTelemetry | Self::Middleware)
    }

    pub fn has_runtime(self) -> bool {
        self != Self::Kubelet
    }
}

/// What a connection costs, by grpc-go version: measured resident bytes and goroutines (`docs`: one leaked client).
#[derive(Clone, Debug)]
pub struct Library {
    pub version: &'static str,
    /// Resident bytes per open connection, what the application keeps with it included.
    pub bytes: f64,
    pub goroutines: f64,
    /// After so long without calls a channel closes its connection, seconds.
    pub idle: Option<f64>,
}

/// Resident bytes that a channel keeps for ever once its connection was closed for idleness.
pub const RESIDUE_BYTES: f64 = 12.0 * KIB;
/// Goroutines that it keeps.
pub const RESIDUE_GOROUTINES: f64 = 3.0;

impl Library {
    pub fn draw(rng: &mut Draw, instruments: Instruments) -> Self {
        const OLD: [(&str, f64, f64, f64); 2] = [("1.45.0", 67.0, 80.0, 3.0), ("1.56.3", 74.0, 92.0, 4.0)];
        const MIDDLE: [(&str, f64, f64, f64); 3] =
            [("1.60.1", 76.0, 90.0, 5.0), ("1.63.2", 80.0, 95.0, 5.0), ("1.75.1", 69.0, 86.0, 5.0)];
        const NEW: [(&str, f64, f64, f64); 2] = [("1.80.0", 64.0, 89.0, 5.0), ("1.85.0", 49.0, 89.0, 5.0)];
        // Subchannel metrics came with 1.78.
        let old = !instruments.has_subchannels() && rng.chance(0.4);
        let middle = !instruments.has_subchannels() && rng.chance(0.6);
        let (version, plain, tls, goroutines) = if old {
            rng.pick(&OLD)
        } else if middle {
            rng.pick(&MIDDLE)
        } else {
            rng.pick(&NEW)
        };
        let transport = if rng.chance(0.5) { plain } else { tls };
        let application = if rng.chance(0.3) { rng.log_uniform(5.0, 400.0) } else { 0.0 };
        Self {
            version,
            bytes: (transport + application) * KIB,
            goroutines: goroutines + if rng.chance(0.5) { 1.0 } else { 0.0 },
            idle: (!old).then_some(1_800.0),
        }
    }
}

/// Calls per second of one replica over the recording.
#[derive(Clone, Debug)]
pub struct Load {
    pub mean: f64,
    /// The daily swing, as a share of the mean.
    pub swing: f64,
    /// When the day peaks, hours after the recording began.
    pub peak: f64,
    pub noise: f64,
    /// From hour, to hour, to which multiple of the mean.
    pub ramp: Option<(f64, f64, f64)>,
    /// From hour, for hours, by which factor.
    pub spikes: Vec<(f64, f64, f64)>,
}

impl Load {
    pub fn draw(rng: &mut Draw) -> Self {
        Self {
            mean: rng.log_uniform(0.1, 2_000.0),
            swing: if rng.chance(0.5) { rng.uniform(0.0, 0.2) } else { 0.0 },
            peak: rng.uniform(0.0, 24.0),
            noise: rng.uniform(0.02, 0.2),
            ramp: None,
            spikes: Vec::new(),
        }
    }

    /// The curve, with the noise that all replicas share.
    pub fn curve(&self, rng: &mut Draw, steps: usize, dt: f64) -> Vec<f64> {
        let relaxation = rng.log_uniform(5.0 * MINUTE, 2.0 * HOUR);
        let noise = rng.wandering(steps, dt, self.noise, relaxation);
        let value = |(step, noise): (usize, f64)| {
            let hour = step as f64 * dt / HOUR;
            let day = 1.0 + self.swing * ((hour - self.peak) / 24.0 * std::f64::consts::TAU).cos();
            let ramp = self
                .ramp
                .map_or(1.0, |(from, to, factor)| 1.0 + (factor - 1.0) * ((hour - from) / (to - from)).clamp(0.0, 1.0));
            let within = |it: &&(f64, f64, f64)| (it.0..it.0 + it.1).contains(&hour);
            let spike: f64 = self.spikes.iter().filter(within).map(|it| it.2).product();
            (self.mean * day * ramp * spike * noise.exp()).max(0.0)
        };
        noise.into_iter().enumerate().map(value).collect()
    }
}

/// The connections that are meant to be there.
#[derive(Clone, Debug)]
pub struct Pool {
    pub base: f64,
    /// How much of the pool follows the load: 0 is a fixed pool, 1 is in proportion.
    pub follows: f64,
    /// Connections close this slowly when the load falls, seconds.
    pub shrink: f64,
    /// How long a connection lives before server or balancer recycles it, seconds.
    pub recycled: Option<f64>,
}

/// Memory, bytes and seconds.
#[derive(Clone, Debug)]
pub struct Memory {
    pub limit: f64,
    pub base: f64,
    /// Grows and shrinks with the load, at the mean load.
    pub follows_load: f64,
    /// Height of the saw-teeth of garbage collection, and their period.
    pub saw: (f64, f64),
    pub noise: f64,
    /// A mean-reverting wander: deviation and relaxation.
    pub wander: (f64, f64),
    /// How slowly freed memory is given back.
    pub give_back: f64,
}

/// How a cache fills after the start.
#[derive(Clone, Copy, Debug)]
pub enum Cache {
    /// Towards `bytes`, with this relaxation time.
    Saturating { bytes: f64, relaxation: f64 },
    /// At one rate until `bytes` are reached after so long.
    Bounded { bytes: f64, within: f64 },
}

impl Cache {
    pub fn at(self, age: f64) -> f64 {
        match self {
            Self::Saturating { bytes, relaxation } => bytes * (1.0 - (-age / relaxation).exp()),
            Self::Bounded { bytes, within } => bytes * (age / within).min(1.0),
        }
    }

    pub fn bytes(self) -> f64 {
        match self {
            Self::Saturating { bytes, .. } | Self::Bounded { bytes, .. } => bytes,
        }
    }
}

/// What leaks.
#[derive(Clone, Debug)]
pub struct Leak {
    /// Channels per call.
    pub per_call: f64,
    /// Bytes per call that no channel holds.
    pub bytes_per_call: f64,
    /// A leaked channel never connects, so that only its residue is left.
    pub unused: bool,
    /// A leaked channel closes its connection after so long, seconds.
    pub idle: Option<f64>,
    /// It leaks for this long of every so long after its onset, seconds. `None`: all the time.
    pub spells: Option<(f64, f64)>,
    /// When the leaking code path comes into use, seconds after the recording began.
    pub onset: f64,
    /// The replicas that leak. `None`: all.
    pub slots: Option<Vec<usize>>,
    /// The first revision that leaks.
    pub revision: usize,
}

/// Habits that waste connections without keeping them.
#[derive(Clone, Debug)]
pub enum Habit {
    /// So many connections per call are dialled and closed again.
    Churn { per_call: f64 },
    /// The server closes each connection of the pool after so many seconds because of its pings.
    Keepalive { closes_after: f64 },
    /// Attempts per second fail.
    Unreachable { attempts: f64 },
}

/// A workload's container.
#[derive(Clone, Debug)]
pub struct Setup {
    pub dt: f64,
    pub instruments: Instruments,
    pub library: Library,
    pub load: Load,
    pub pool: Pool,
    pub memory: Memory,
    /// The cache of each revision; the last one stays for later ones.
    pub caches: Vec<Cache>,
    pub leak: Option<Leak>,
    /// And since when, seconds after the recording began.
    pub habit: Option<(Habit, f64)>,
    /// Inbound connections per replica, one value per step, and what each costs, bytes. Empty: no server.
    pub inbound: (Vec<f64>, f64),
    /// What all replicas have in common besides: bytes and connections, one value per step, or empty.
    pub shared_memory: Vec<f64>,
    pub shared_pool: Vec<f64>,
    /// The mean time between restarts of the container for other reasons, seconds.
    pub restarts: Option<f64>,
    /// How different the replicas' loads are.
    pub spread: f64,
}

impl Setup {
    /// A healthy, unremarkable workload.
    pub fn draw(rng: &mut Draw, instruments: Instruments) -> Self {
        let library = Library::draw(rng, instruments);
        let limit = rng.log_uniform(64.0, 4_096.0) * MIB;
        let base = limit * rng.uniform(0.12, 0.45);
        let most = (limit * 0.15 / library.bytes).clamp(1.0, 500.0);
        let pool = Pool {
            base: rng.log_uniform(1.0, most + 0.5).round(),
            follows: if rng.chance(0.3) { rng.uniform(0.1, 0.9) } else { 0.0 },
            shrink: rng.log_uniform(2.0 * MINUTE, HOUR),
            recycled: rng.chance(0.4).then(|| rng.log_uniform(10.0 * MINUTE, 12.0 * HOUR)),
        };
        let memory = Memory {
            limit,
            base,
            follows_load: if rng.chance(0.5) { limit * rng.uniform(0.01, 0.06) } else { 0.0 },
            saw: (limit * rng.uniform(0.005, 0.06), rng.log_uniform(2.0 * MINUTE, HOUR)),
            noise: limit * rng.log_uniform(0.000_5, 0.01),
            wander: (limit * rng.log_uniform(0.000_5, 0.008), rng.log_uniform(10.0 * MINUTE, 4.0 * HOUR)),
            give_back: rng.log_uniform(5.0 * MINUTE, 2.0 * HOUR),
        };
        let cache = Cache::Saturating {
            bytes: limit * rng.uniform(0.0, 0.08),
            relaxation: rng.log_uniform(5.0 * MINUTE, HOUR),
        };
        Self {
            dt: rng.pick(&[60.0, 60.0, 60.0, 60.0, 60.0, 60.0, 30.0, 30.0, 15.0]),
            instruments,
            library,
            load: Load::draw(rng),
            pool,
            memory,
            caches: vec![cache],
            leak: None,
            habit: None,
            inbound: (Vec::new(), 0.0),
            shared_memory: Vec::new(),
            shared_pool: Vec::new(),
            restarts: None,
            spread: rng.uniform(0.02, 0.25),
        }
    }

    pub fn steps(&self) -> usize {
        (LENGTH / self.dt) as usize
    }

    pub fn cache(&self, revision: usize) -> Cache {
        self.caches[revision.min(self.caches.len() - 1)]
    }

    /// What is left below the limit when caches are warm and nothing leaks, bytes.
    pub fn headroom(&self) -> f64 {
        let memory = &self.memory;
        let cache = self.caches.iter().map(|it| it.bytes()).fold(0.0, f64::max);
        let used = memory.base + cache + memory.follows_load + memory.saw.0 + self.pool.base * self.library.bytes;
        (memory.limit - used).max(0.15 * memory.limit)
    }

    /// A line for people who look into one incident.
    pub fn describe(&self) -> String {
        let leak = self.leak.as_ref().map_or(String::new(), |it| {
            format!(
                ", leak 1/{:.0} per call, {:.0} bytes per call, idle {:?}, spells {:?}, slots {:?}, unused {}",
                1.0 / it.per_call,
                it.bytes_per_call,
                it.idle,
                it.spells,
                it.slots,
                it.unused
            )
        });
        format!(
            "{:?}, grpc {} at {:.0} KiB, every {} s, load {:.2}/s swing {:.2} ramp {:?}, pool {} follows {:.2} recycled {:?}, \
             limit {:.0} MiB base {:.2} saw {:.3}/{:.0} s wander {:.3}/{:.0} s noise {:.4}, cache {:?}{leak}, habit {:?}",
            self.instruments,
            self.library.version,
            self.library.bytes / KIB,
            self.dt,
            self.load.mean,
            self.load.swing,
            self.load.ramp,
            self.pool.base,
            self.pool.follows,
            self.pool.recycled,
            self.memory.limit / MIB,
            self.memory.base / self.memory.limit,
            self.memory.saw.0 / self.memory.limit,
            self.memory.saw.1,
            self.memory.wander.0 / self.memory.limit,
            self.memory.wander.1,
            self.memory.noise / self.memory.limit,
            self.caches,
            self.habit,
        )
    }
}
