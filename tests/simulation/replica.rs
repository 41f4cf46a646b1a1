//! A replica of the operator as a process: production's election and production's work, on a runtime of its own whose
//! clock moves only when the simulation lets it. To drop the runtime is to kill the process, at whatever await it is; not
//! to drive it is to stop it, and the time that has gone by shows when it goes on.
//!
//! What a process has of its own: memory, clocks, and the requests that it sent, which fly on without it.

use std::{
    cell::Cell,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use grpc_hygiene::{
    cli::run::{Parts, work},
    io::{
        act::Hands,
        acting::Gate,
        config::Config,
        leadership::{Leadership, Term, lead},
        notify::Alerts,
        profiles::{Camera, PATIENCE},
        prometheus::Prometheus,
    },
    metrics::Metrics,
};
use kube::client::ClientBuilder;
use simulated_clock::Clocks;
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::Instant,
};

use crate::{
    backends::{Metering, Posting},
    settings::Broken,
    wire::{Role, Wire},
    world::{Millis, OWN, Sending, Shared},
};

/// Seconds of Unix time at which every simulation begins: 2026-11-23, 10 o'clock.
pub const EPOCH: i64 = 1_795_428_000;

thread_local! {
    /// The driven process: its clock's origin, and when it was born, nanoseconds.
    static DRIVEN: Cell<Option<(Instant, i64)>> = const { Cell::new(None) };
}

/// Nanoseconds of simulated time, as the driven process has it.
fn elapsed() -> i64 {
    let Some((origin, born)) = DRIVEN.get() else { return 0 };
    born + i64::try_from(Instant::now().duration_since(origin).as_nanos()).expect("centuries")
}

/// Simulated time, as the driven process has it.
pub fn local_now() -> Millis {
    u64::try_from(elapsed() / 1_000_000).expect("after the beginning")
}

/// A running process.
pub struct Replica {
    runtime: Option<Runtime>,
    main: JoinHandle<Term<()>>,
    sent: Arc<Notify>,
    origin: Instant,
    born: Millis,
    /// How far its wall clock is ahead, milliseconds.
    pub skew: i64,
    /// Its own time.
    pub now: Millis,
    /// Until when it stands still.
    pub stopped_until: Millis,
    terminate: Option<oneshot::Sender<()>>,
}

impl Replica {
    pub fn start(world: &Shared, place: usize, now: Millis, skew: i64) -> Self {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .max_blocking_threads(1)
            // After each task the simulation may take over.
            .event_interval(1)
            .build()
            .expect("one");
        let origin = runtime.block_on(async { Instant::now() });
        let sent = Arc::new(Notify::new());
        let (terminate, terminated) = oneshot::channel();
        let sending =
            Sending { world: Arc::clone(world), place, life: world.lock().expect("no panic").born(place), sent };
        let sent = Arc::clone(&sending.sent);
        // What is born now may look at its clock at once.
        let main = as_process(Some((origin, nanos(now))), skew, || runtime.spawn(process(sending, terminated)));
        let runtime = Some(runtime);
        Self { runtime, main, sent, origin, born: now, skew, now, stopped_until: 0, terminate: Some(terminate) }
    }

    /// Lets it run until a time, or until it has sent something.
    pub fn run_until(&mut self, limit: Millis) {
        let (origin, born, sent) = (self.origin, self.born, Arc::clone(&self.sent));
        let resumed = (self.stopped_until > self.now).then_some(self.stopped_until);
        let runtime = self.runtime.as_ref().expect("it lives");
        self.now = as_process(Some((origin, nanos(born))), self.skew, || {
            runtime.block_on(async {
                if let Some(at) = resumed {
                    tokio::time::advance(Duration::from_millis(at - local_now())).await;
                }
                let until = origin + Duration::from_millis(limit - born);
                tokio::select! {
                    biased;
                    () = sent.notified() => {}
                    () = tokio::time::sleep_until(until) => {}
                }
                local_now()
            })
        });
    }

    /// When it goes on.
    pub fn time(&self) -> Millis {
        self.now.max(self.stopped_until)
    }

    /// Whether its main function has returned.
    pub fn is_over(&self) -> bool {
        self.main.is_finished()
    }

    /// Asks it to end in order.
    pub fn terminate(&mut self) {
        if let Some(terminate) = self.terminate.take() {
            // Nobody listens any more when it is over already.
            let _ = terminate.send(());
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let (runtime, origin, born) = (self.runtime.take(), self.origin, self.born);
        as_process(Some((origin, nanos(born))), self.skew, || drop(runtime));
    }
}

fn nanos(at: Millis) -> i64 {
    i64::try_from(at).expect("centuries") * 1_000_000
}

/// Does something with the clocks of a process.
fn as_process<T>(clock: Option<(Instant, i64)>, skew: i64, work: impl FnOnce() -> T) -> T {
    DRIVEN.set(clock);
    let wall = EPOCH * 1_000_000_000 + skew * 1_000_000;
    simulated_clock::set(Some(Clocks { wall, monotonic: 1_000_000_000_000, elapsed }));
    let done = work();
    simulated_clock::set(None);
    DRIVEN.set(None);
    done
}

/// What `grpc-hygiene run` does, without its sockets and signals.
async fn process(sending: Sending, terminated: oneshot::Receiver<()>) -> Term<()> {
    let (settings, place) = (sending.world.lock().expect("no panic").settings.clone(), sending.place);
    let config = Config::from_yaml(&settings.config()).expect("a configuration");
    let wire = |role| Wire { sending: sending.clone(), role };
    let leadership = Leadership::default();
    let client = ClientBuilder::new(wire(Role::Reading), "default");
    let client = match settings.broken {
        Broken::Reports => client.build(),
        _ => client.with_layer(&Gate::of_writes(&leadership)).build(),
    };
    let acting = ClientBuilder::new(wire(Role::Acting), "default");
    let acting = match settings.broken {
        Broken::Gate => acting.build(),
        _ => acting.with_layer(&Gate::new(&leadership)).build(),
    };
    let election = ClientBuilder::new(wire(Role::Election), "default").with_layer(&leadership.layer()).build();
    let hands = Hands {
        reading: client.clone(),
        acting,
        alerts: Alerts::sent_by(Posting(sending.clone()), &config),
        namespace: OWN.to_owned(),
        settled: Arc::<AtomicBool>::default(),
    };
    let identity = format!("operator-{place}_uid-{place}");
    let parts = Parts {
        camera: Camera::new(client.clone(), None, format!("operator-{place}"), PATIENCE).expect("a client"),
        prometheus: Prometheus::over(Metering(sending.clone())),
        metrics: Arc::<Metrics>::default(),
        namespace: OWN.to_owned(),
        client,
        config,
        hands,
    };
    let shutdown = async {
        // The sender goes with the simulation's end.
        let _ = terminated.await;
    };
    lead(election, &leadership, OWN, &identity, shutdown, work(parts)).await
}
