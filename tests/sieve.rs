//! The sieve sweep: a leak is followed to its restart on a real API server, Prometheus and Alertmanager, with the operator
//! behind a proxy that numbers every write, every notification and every read that tells something new. Then the same
//! again and again: killed before a write is sent, before its answer arrives, and after it; with a notification held back
//! or lost; with a read that is answered as it was before. Each time the end must be that of the undisturbed run.
//!
//! `make sieve` runs it (docs/safety.md says what it found). It needs the cluster of `tests/cluster` and nobody else on it.

// The tests tidy up after themselves; what they try is not what they tidy with.
#![allow(clippy::disallowed_methods)]

#[path = "e2e/audit.rs"]
#[allow(dead_code, reason = "the scenarios use the rest")]
mod audit;
#[path = "sieve/end.rs"]
mod end;
#[path = "e2e/pages.rs"]
#[allow(dead_code, reason = "the scenarios use the rest")]
mod pages;
#[path = "sieve/point.rs"]
mod point;
#[path = "sieve/proxy.rs"]
mod proxy;
#[path = "e2e/shop.rs"]
#[allow(dead_code, reason = "the scenarios use the rest")]
mod shop;
#[path = "sieve/slot.rs"]
mod slot;
#[path = "sieve/trace.rs"]
mod trace;
#[path = "e2e/world.rs"]
#[allow(dead_code, reason = "the scenarios use the rest")]
mod world;

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use futures::future::join_all;

use point::{Outcome, Perturbation, perturbations};
use slot::{Run, Slot};
use world::World;

/// How many runs go at once, unless `SIEVE_SLOTS` says otherwise: they wait more than they compute.
const SLOTS: usize = 4;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|it| it.parse().ok()).unwrap_or(default)
}

/// `POINTS=eviction,ledger` chooses the perturbations whose name holds one of the texts; `POINTS=1/8` every eighth of all.
fn chosen(all: Vec<Perturbation>) -> Vec<Perturbation> {
    let Ok(points) = std::env::var("POINTS") else { return all };
    if let Some((part, of)) = points.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)))
    {
        let (part, of): (usize, usize) = (part, of);
        return all.into_iter().enumerate().filter(|(index, _)| index % of == part % of).map(|(_, it)| it).collect();
    }
    let named = |it: &Perturbation| points.split(',').any(|part| it.to_string().contains(part));
    all.into_iter().filter(named).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make sieve"]
async fn wherever_it_is_killed_or_deceived_the_end_is_that_of_the_undisturbed_run() {
    let began = Instant::now();
    let world = World::new().await;
    // The definitions, and no operator beside ours.
    world.install(&["replicaCount=0"]).await;
    let count = number("SIEVE_SLOTS", SLOTS);
    let slots = join_all((0..count).map(|index| Slot::prepare(world.clone(), index))).await;

    let reference = slots[0].run(None).await;
    println!("the undisturbed run:\n{}\nends so: {:#?}", reference.trace.told(), reference.end);
    let all = perturbations(&reference.trace.points());
    let points = reference.trace.points().len();
    let chosen = chosen(all.clone());
    println!("{points} points, {} perturbations, {} chosen", all.len(), chosen.len());

    let queue = Mutex::new(VecDeque::from(chosen));
    let work = slots.iter().map(|slot| sweep(slot, &queue, &reference));
    let outcomes: Vec<Outcome> = join_all(work).await.into_iter().flatten().collect();
    let of = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|it| is(it)).count();
    let different: Vec<&Outcome> = outcomes.iter().filter(|it| it.differs()).collect();
    for outcome in &different {
        println!("{outcome}");
    }
    println!(
        "sieve: {points} points, {} perturbations swept of {}, {} ended the same, {} were not reached, {} differ, in {} s",
        outcomes.len(),
        all.len(),
        of(|it| matches!(it, Outcome::Same { .. })),
        of(|it| matches!(it, Outcome::NotReached { .. })),
        different.len(),
        began.elapsed().as_secs(),
    );
    join_all(slots.iter().map(Slot::remove)).await;
    assert!(different.is_empty(), "{} of {} ended differently", different.len(), outcomes.len());
}

/// Takes one perturbation after another, until none is left.
async fn sweep(slot: &Slot, queue: &Mutex<VecDeque<Perturbation>>, reference: &Run) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(perturbation) = next else { return outcomes };
        let began = Instant::now();
        let run = slot.run_until(Some(&perturbation), &reference.end).await;
        let outcome = Outcome::of(perturbation, run.trace.was_hit(), &run.end, &reference.end);
        println!("{outcome} ({} s)", began.elapsed().as_secs());
        outcomes.push(outcome);
    }
}
