//! What looks like a leak and is none, and the habits that waste connections without keeping them.

use super::{
    super::{
        draw::Draw,
        setup::{Cache, HOUR, Habit, MINUTE},
    },
    Draft,
};

pub fn flat(rng: &mut Draw, draft: &mut Draft) {
    maybe_roll_out(rng, draft);
}

pub fn gc(rng: &mut Draw, draft: &mut Draft) {
    draft.setup.memory.saw =
        (draft.setup.memory.limit * rng.uniform(0.08, 0.35), rng.log_uniform(5.0 * MINUTE, 3.0 * HOUR));
    maybe_roll_out(rng, draft);
}

pub fn warm(rng: &mut Draw, draft: &mut Draft) {
    let bytes = draft.setup.headroom() * rng.uniform(0.1, 0.5);
    draft.setup.caches = vec![Cache::Saturating { bytes, relaxation: rng.log_uniform(0.5 * HOUR, 8.0 * HOUR) }];
    let from = rng.uniform(2.0, 20.0);
    draft.roll_outs(rng, from, (10.0, 36.0));
}

/// A new version that legitimately needs more than any before it.
pub fn warm_new(rng: &mut Draw, draft: &mut Draft) {
    let bytes = draft.setup.headroom() * rng.uniform(0.25, 0.8);
    let new = Cache::Saturating { bytes, relaxation: rng.log_uniform(0.7 * HOUR, 10.0 * HOUR) };
    draft.setup.caches.push(new);
    let hour = rng.uniform(8.0, 34.0);
    draft.roll_out(rng, hour);
}

/// Linear, until it is full.
pub fn cachefill(rng: &mut Draw, draft: &mut Draft) {
    let bytes = draft.setup.headroom() * rng.uniform(0.15, 0.6);
    let filling = Cache::Bounded { bytes, within: rng.log_uniform(2.0 * HOUR, 30.0 * HOUR) };
    let known = rng.chance(0.5);
    if known {
        draft.setup.caches = vec![filling];
    } else {
        draft.setup.caches.push(filling);
    }
    let hour = rng.uniform(4.0, 30.0);
    draft.roll_out(rng, hour);
    if known && rng.chance(0.5) {
        let hour = rng.uniform(36.0, 60.0);
        draft.roll_out(rng, hour);
    }
}

pub fn diurnal(rng: &mut Draw, draft: &mut Draft) {
    let setup = &mut draft.setup;
    setup.load.swing = rng.uniform(0.1, 0.9);
    setup.pool.follows = rng.uniform(0.2, 1.0);
    setup.memory.follows_load = setup.memory.limit * rng.uniform(0.03, 0.2);
    maybe_roll_out(rng, draft);
}

/// The load only grows, and what it needs with it.
pub fn ramp(rng: &mut Draw, draft: &mut Draft) {
    let setup = &mut draft.setup;
    let from = rng.uniform(0.0, 35.0);
    setup.load.ramp = Some((from, from + rng.uniform(6.0, 40.0), rng.uniform(1.4, 4.0)));
    setup.pool.follows = rng.uniform(0.2, 1.0);
    setup.memory.follows_load = setup.memory.limit * rng.uniform(0.01, 0.08);
    maybe_roll_out(rng, draft);
}

/// A slow mean-reverting wander.
pub fn ou(rng: &mut Draw, draft: &mut Draft) {
    let setup = &mut draft.setup;
    let (steps, dt) = (setup.steps(), setup.dt);
    let deviation = setup.memory.limit * rng.uniform(0.015, 0.07);
    let relaxation = rng.log_uniform(1.0 * HOUR, 12.0 * HOUR);
    if rng.chance(0.5) {
        setup.shared_memory = rng.wandering(steps, dt, deviation, relaxation);
    } else {
        setup.memory.wander = (deviation, relaxation);
    }
    if rng.chance(0.5) {
        let deviation = setup.pool.base * rng.uniform(0.05, 0.3);
        setup.shared_pool = rng.wandering(steps, dt, deviation, relaxation);
    }
}

/// Levels that jump: a flag is switched, a table loaded, a pool made larger.
pub fn step(rng: &mut Draw, draft: &mut Draft) {
    let setup = &mut draft.setup;
    let steps = setup.steps();
    let mut memory = vec![0.0; steps];
    let mut pool = vec![0.0; steps];
    for _ in 0..rng.count(1, 3) {
        let at = rng.count(steps / 12, steps - steps / 12);
        let up = if rng.chance(0.8) { 1.0 } else { -0.4 };
        let bytes = up * setup.memory.limit * rng.uniform(0.04, 0.22);
        let connections = if rng.chance(0.6) { up * setup.pool.base * rng.uniform(0.2, 2.0) } else { 0.0 };
        memory[at..].iter_mut().for_each(|it| *it += bytes);
        pool[at..].iter_mut().for_each(|it| *it += connections);
    }
    setup.shared_memory = memory;
    setup.shared_pool = pool;
}

/// A team that deploys all day.
pub fn rollout(rng: &mut Draw, draft: &mut Draft) {
    let every = rng.log_uniform(1.5, 10.0);
    let from = rng.uniform(0.5, 8.0);
    draft.roll_outs(rng, from, (every * 0.5, every * 1.5));
}

/// Replicas come and go with the day.
pub fn hpa(rng: &mut Draw, draft: &mut Draft) {
    let setup = &mut draft.setup;
    setup.load.swing = rng.uniform(0.3, 0.9);
    setup.load.noise = setup.load.noise.min(0.1);
    setup.memory.follows_load = setup.memory.limit * rng.uniform(0.02, 0.1);
    setup.pool.follows = rng.uniform(0.0, 0.8);
    let (steps, per_hour) = (setup.steps(), (HOUR / setup.dt) as usize);
    let (swing, peak, dt) = (setup.load.swing, setup.load.peak, setup.dt);
    let usual = draft.fleet.pods.len() as f64;
    let mut shares = vec![1.0; steps];
    let mut running = draft.fleet.pods.len();
    let every = per_hour / rng.count(2, 6);
    for at in (1..steps).step_by(every) {
        let hour = at as f64 * dt / HOUR;
        let load = 1.0 + swing * ((hour - peak) / 24.0 * std::f64::consts::TAU).cos();
        let wanted = ((usual * load).round() as usize).clamp(1, 20);
        for slot in running..wanted {
            draft.fleet.add(rng, slot, 0, at);
        }
        for slot in wanted..running {
            draft.fleet.remove(slot, at);
        }
        running = wanted;
        let end = (at + every).min(steps);
        shares[at..end].fill(usual / running as f64);
    }
    draft.shares = shares;
}

/// Batches.
pub fn spikes(rng: &mut Draw, draft: &mut Draft) {
    let setup = &mut draft.setup;
    setup.load.spikes = (0..rng.count(2, 10))
        .map(|_| (rng.uniform(0.0, 70.0), rng.log_uniform(0.1, 4.0), rng.log_uniform(1.5, 10.0)))
        .collect();
    setup.pool.follows = rng.uniform(0.0, 0.7);
    setup.memory.follows_load = setup.memory.limit * rng.uniform(0.005, 0.03);
    maybe_roll_out(rng, draft);
}

/// A server whose clients scale out: its inbound connections rise for hours, and memory with them.
pub fn clientscale(rng: &mut Draw, draft: &mut Draft) {
    let from = rng.uniform(4.0, 30.0);
    let hours = rng.uniform(3.0, 40.0);
    let factor = rng.log_uniform(1.5, 8.0);
    scale_out(rng, draft, &[(from, hours, factor)]);
    if rng.chance(0.7) {
        draft.setup.load.ramp = Some((from, from + hours, 1.0 + (factor - 1.0) * rng.uniform(0.3, 1.0)));
    }
}

/// A server that dials, too, whose callers follow the day and are scaled out now and then.
pub fn serverscale(rng: &mut Draw, draft: &mut Draft) {
    let outs: Vec<(f64, f64, f64)> = (0..rng.count(1, 4))
        .map(|_| (rng.uniform(2.0, 60.0), rng.log_uniform(0.2, 12.0), rng.log_uniform(1.15, 2.5)))
        .collect();
    draft.setup.load.swing = rng.uniform(0.1, 0.7);
    draft.setup.pool.follows = rng.uniform(0.0, 0.8);
    scale_out(rng, draft, &outs);
    let (swing, peak, dt) = (draft.setup.load.swing, draft.setup.load.peak, draft.setup.dt);
    let share = rng.uniform(0.3, 1.0);
    for (step, inbound) in draft.setup.inbound.0.iter_mut().enumerate() {
        let hour = step as f64 * dt / HOUR;
        *inbound *= 1.0 + share * swing * ((hour - peak) / 24.0 * std::f64::consts::TAU).cos();
    }
}

/// Inbound connections that grow by a factor from an hour within hours, one client after another.
fn scale_out(rng: &mut Draw, draft: &mut Draft, outs: &[(f64, f64, f64)]) {
    let setup = &mut draft.setup;
    let cost = rng.pick(&[9.0, 43.0, 49.0, 75.0]) * 1_024.0;
    let most: f64 = outs.iter().map(|it| it.2).product();
    let begin = rng.log_uniform(5.0, 500.0).min(setup.headroom() * 0.6 / cost / most).max(2.0);
    let per_client = (begin * rng.uniform(0.005, 0.1)).max(1.0);
    let relaxation = rng.log_uniform(0.2 * HOUR, 4.0 * HOUR);
    let wobble = rng.uniform(0.0, 0.08);
    let noise = rng.wandering(setup.steps(), setup.dt, wobble, relaxation);
    let value = |(step, noise): (usize, &f64)| {
        let hour = step as f64 * setup.dt / HOUR;
        let grown: f64 = outs.iter().map(|it| 1.0 + (it.2 - 1.0) * ((hour - it.0) / it.1).clamp(0.0, 1.0)).product();
        (begin * grown * noise.exp() / per_client).round() * per_client
    };
    setup.inbound = (noise.iter().enumerate().map(value).collect(), cost);
}

pub fn fixed_pool(rng: &mut Draw, draft: &mut Draft) {
    large_pool(rng, draft, 0.0);
    maybe_roll_out(rng, draft);
}

/// A pool behind a day's load: every morning it looks like a leak.
pub fn load_pool(rng: &mut Draw, draft: &mut Draft) {
    let follows = rng.uniform(0.7, 1.0);
    large_pool(rng, draft, follows);
    draft.setup.load.swing = rng.uniform(0.2, 0.9);
    draft.setup.pool.shrink = rng.log_uniform(10.0 * MINUTE, 4.0 * HOUR);
    maybe_roll_out(rng, draft);
}

fn large_pool(rng: &mut Draw, draft: &mut Draft, follows: f64) {
    let setup = &mut draft.setup;
    setup.pool.base = rng.log_uniform(20.0, 500.0).round();
    setup.pool.follows = follows;
    setup.memory.limit = setup.memory.limit.max(setup.pool.base * setup.library.bytes * 4.0);
}

pub fn churn(rng: &mut Draw, draft: &mut Draft) {
    draft.setup.load.mean = rng.log_uniform(0.5, 500.0);
    let habit = Habit::Churn { per_call: rng.log_uniform(1.0 / 12.0, 1.0) };
    begin(rng, draft, habit);
}

pub fn keepalive(rng: &mut Draw, draft: &mut Draft) {
    let habit = Habit::Keepalive { closes_after: rng.log_uniform(40.0, 400.0) };
    begin(rng, draft, habit);
}

pub fn unreachable(rng: &mut Draw, draft: &mut Draft) {
    let habit = Habit::Unreachable { attempts: rng.log_uniform(0.03, 5.0) };
    begin(rng, draft, habit);
}

/// The habit is there from the beginning, or came with a roll-out or without one.
fn begin(rng: &mut Draw, draft: &mut Draft, habit: Habit) {
    let hour = if rng.chance(0.3) { 0.0 } else { rng.uniform(13.0, 30.0) };
    if hour > 0.0 && rng.chance(0.7) {
        draft.roll_out(rng, hour);
    }
    draft.setup.habit = Some((habit, hour * HOUR));
}

fn maybe_roll_out(rng: &mut Draw, draft: &mut Draft) {
    if rng.chance(0.3) {
        let hour = rng.uniform(2.0, 66.0);
        draft.roll_out(rng, hour);
    }
}
