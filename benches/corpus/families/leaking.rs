//! Leaks. How fast follows from how long each family takes from the onset to the limit; how many calls leak one
//! channel follows from that and the load.

use super::{
    super::{
        draw::Draw,
        setup::{HOUR, Instruments, Library, MINUTE, Setup},
    },
    Draft, Held, Leak, bytes, channels, healthy,
};

/// Hours from the onset to the limit for what is neither fast nor slow.
const USUAL: (f64, f64) = (6.0, 40.0);

pub fn constant(rng: &mut Draw, draft: &mut Draft) {
    leak(rng, draft, USUAL, 1.0);
}

pub fn diurnal(rng: &mut Draw, draft: &mut Draft) {
    leak(rng, draft, USUAL, 1.0);
    draft.setup.load.swing = rng.uniform(0.1, 0.9);
    draft.setup.pool.follows = rng.uniform(0.0, 0.9);
}

pub fn slow(rng: &mut Draw, draft: &mut Draft) {
    leak(rng, draft, (36.0, 168.0), 1.0);
}

pub fn fast(rng: &mut Draw, draft: &mut Draft) {
    leak(rng, draft, (1.5, 5.0), 1.0);
}

pub fn gc(rng: &mut Draw, draft: &mut Draft) {
    draft.setup.memory.saw =
        (draft.setup.memory.limit * rng.uniform(0.08, 0.3), rng.log_uniform(5.0 * MINUTE, 3.0 * HOUR));
    leak(rng, draft, USUAL, 1.0);
}

/// Killed again and again. Who has been killed twice may still be warned of the third time.
pub fn oomloop(rng: &mut Draw, draft: &mut Draft) {
    leak(rng, draft, (1.0, 6.0), 1.0);
    draft.tolerated_kills = 2;
}

/// Only some hours of some, as a batch would.
pub fn intermittent(rng: &mut Draw, draft: &mut Draft) {
    let every = rng.uniform(3.0, 12.0);
    let on = every * rng.uniform(0.15, 0.6);
    leak(rng, draft, (8.0, 40.0), on / every);
    if let Some(leak) = &mut draft.setup.leak {
        leak.spells = Some((on * HOUR, every * HOUR));
    }
}

/// Memory that no connection explains.
pub fn memonly(rng: &mut Draw, draft: &mut Draft) {
    let (onset, revision) = onset(rng, draft);
    let hours = rng.log_uniform(USUAL.0, USUAL.1);
    let leak = bytes(&draft.setup, onset, hours);
    draft.setup.leak = Some(Leak { revision, ..leak });
}

/// A leak while the load grows.
pub fn ramp(rng: &mut Draw, draft: &mut Draft) {
    leak(rng, draft, USUAL, 1.5);
    let from = rng.uniform(8.0, 25.0);
    draft.setup.load.ramp = Some((from, from + rng.uniform(12.0, 40.0), rng.uniform(1.4, 3.0)));
    draft.setup.pool.follows = rng.uniform(0.2, 1.0);
}

/// One replica of the workload.
pub fn single(rng: &mut Draw, draft: &mut Draft) {
    leak(rng, draft, USUAL, 1.0);
    let slot = rng.count(0, draft.fleet.pods.iter().map(|it| it.slot).max().unwrap_or_default());
    if let Some(leak) = &mut draft.setup.leak {
        leak.slots = Some(vec![slot]);
    }
}

/// grpc-go from 1.59 on: the connections idle out after half an hour, so that they are flat at rate x 1800 s.
pub fn idle_plateau(rng: &mut Draw, draft: &mut Draft) {
    if draft.setup.library.idle.is_none() {
        draft.setup.library = Library { version: "1.75.1", idle: Some(1_800.0), ..draft.setup.library.clone() };
    }
    let (onset, revision) = onset(rng, draft);
    let hours = rng.log_uniform(6.0, 120.0);
    let leak = channels(rng, &mut draft.setup, onset, hours, Held::IdlesAfter(1_800.0), 1.0);
    draft.setup.leak = Some(Leak { revision, ..leak });
}

/// Channels that never connect, or whose connections the server closes within minutes.
pub fn idle_residue(rng: &mut Draw, draft: &mut Draft) {
    let (onset, revision) = onset(rng, draft);
    let hours = rng.log_uniform(6.0, 120.0);
    let held = if rng.chance(0.5) { Held::Unused } else { Held::IdlesAfter(rng.log_uniform(60.0, 900.0)) };
    let leak = channels(rng, &mut draft.setup, onset, hours, held, 1.0);
    draft.setup.leak = Some(Leak { revision, ..leak });
}

/// Subchannel metrics are there, the calls were dropped to save series.
pub fn stripped(rng: &mut Draw, draft: &mut Draft) {
    draft.setup.instruments = Instruments::StrippedOfCalls;
    draft.setup.library = Library::draw(rng, Instruments::StrippedOfCalls);
    leak(rng, draft, USUAL, 1.0);
}

/// Two containers in a pod, one leaks. Both do the pod's work.
pub fn sidecar(rng: &mut Draw, draft: &mut Draft) {
    let mut other = Setup::draw(rng, Instruments::Kubelet);
    other.dt = draft.setup.dt;
    if rng.chance(0.6) {
        leak(rng, draft, USUAL, 1.0);
    } else {
        let (onset, revision) = onset(rng, draft);
        let hours = rng.log_uniform(USUAL.0, USUAL.1);
        let leak = channels(rng, &mut other, onset, hours, Held::Open, 1.0);
        other.leak = Some(Leak { revision, ..leak });
        draft.setup.load.mean = other.load.mean;
    }
    other.load = draft.setup.load.clone();
    draft.sidecar = Some(other);
}

/// Roll-outs come so often that no pod lives until the limit.
pub fn rollouts(rng: &mut Draw, draft: &mut Draft) {
    let every = rng.uniform(2.5, 9.0);
    let from = rng.uniform(1.0, 6.0);
    draft.roll_outs(rng, from, (every * 0.6, every * 1.4));
    let onset_at = rng.uniform(13.0, 30.0);
    let step = draft.step(onset_at);
    let revision = draft.fleet.pods.iter().filter(|it| it.steps.start >= step).map(|it| it.revision).min();
    let hours = rng.uniform(every * 1.6, every * 1.6 + 24.0);
    let held = held(rng, &draft.setup);
    let leak = channels(rng, &mut draft.setup, onset_at, hours, held, 1.0);
    draft.setup.leak = Some(Leak { revision: revision.unwrap_or_default(), ..leak });
    draft.replicas_are_cases = true;
}

/// Containers that restart for reasons of their own, and start counting again.
pub fn resets(rng: &mut Draw, draft: &mut Draft) {
    half(rng, draft);
    draft.setup.restarts = Some(rng.log_uniform(5.0, 30.0) * HOUR);
}

/// Everything is scraped by two Prometheus servers.
pub fn ha_pair(rng: &mut Draw, draft: &mut Draft) {
    half(rng, draft);
    draft.duplicates = Some(rng.chance(0.4));
}

/// A clock is wrong by two minutes.
pub fn skew(rng: &mut Draw, draft: &mut Draft) {
    half(rng, draft);
    draft.skew = Some((rng.pick(&[120.0, -120.0]), rng.chance(0.5)));
}

fn half(rng: &mut Draw, draft: &mut Draft) {
    if rng.chance(0.5) {
        leak(rng, draft, USUAL, 1.0);
    } else {
        let alike: [fn(&mut Draw, &mut Draft); 4] =
            [healthy::flat, healthy::diurnal, healthy::warm, healthy::load_pool];
        rng.pick(&alike)(rng, draft);
    }
}

/// A leak of channels that takes so many hours to the limit, leaking `duty` of the time.
fn leak(rng: &mut Draw, draft: &mut Draft, hours: (f64, f64), duty: f64) {
    let (onset, revision) = onset(rng, draft);
    let hours = rng.log_uniform(hours.0, hours.1);
    let held = held(rng, &draft.setup);
    let leak = channels(rng, &mut draft.setup, onset, hours, held, duty);
    draft.setup.leak = Some(Leak { revision, ..leak });
}

/// The hour at which the leak begins and the first revision that leaks: most come with a roll-out.
fn onset(rng: &mut Draw, draft: &mut Draft) -> (f64, usize) {
    let hour = rng.uniform(13.0, 30.0);
    if rng.chance(0.7) {
        draft.roll_out(rng, hour);
        (hour, 1)
    } else {
        (hour, 0)
    }
}

/// Connections that stay open, or idle out where the library does that.
fn held(rng: &mut Draw, setup: &Setup) -> Held {
    match setup.library.idle {
        Some(idle) if rng.chance(0.25) => Held::IdlesAfter(idle),
        _ => Held::Open,
    }
}
