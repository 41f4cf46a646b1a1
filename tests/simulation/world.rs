//! The one world of a run: its time, what is going to happen in it, and everything that processes can reach. A request
//! is sent here, arrives here and is answered from here, whether or not its sender lives on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use futures::channel::oneshot;
use serde_json::json;
use tokio::sync::Notify;

use crate::{
    backends::Weather,
    cluster::{Cluster, Workload},
    dice::Dice,
    server::{Server, refusal},
    settings::{Scene, Settings},
    wire::{Fate, Journey, Reply, Role, Sent},
    witness::Witness,
};

/// Milliseconds since the beginning.
pub type Millis = u64;
/// The operator's own namespace.
pub const OWN: &str = "hygiene";
pub const LEDGER: &str = "/api/v1/namespaces/hygiene/configmaps/grpc-hygiene-ledger";
/// The workloads of whom some begin to offend at once.
const NAMES: [&str; 20] =
    ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];

pub type Shared = Arc<Mutex<World>>;
type Event = Box<dyn FnOnce(&mut World) + Send>;
type Answer = oneshot::Sender<(i64, Reply)>;

/// How a process reaches the world.
#[derive(Clone)]
pub struct Sending {
    pub world: Shared,
    pub place: usize,
    pub life: u64,
    /// Wakes the simulation: something was sent.
    pub sent: Arc<Notify>,
}

/// What is to be done to a process.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    Start,
    Kill,
    Terminate,
    /// It stands still until then.
    Stop(Millis),
    /// Its wall clock is ahead by so many milliseconds from now on.
    Skew(i64),
}

pub struct World {
    seed: u64,
    pub now: Millis,
    pub dice: Dice,
    pub settings: Settings,
    pub server: Server,
    pub cluster: Cluster,
    pub weather: Weather,
    pub witness: Witness,
    /// No more trouble.
    pub calm: bool,
    /// How long the watch of policies lags, milliseconds.
    pub watch_lag: Millis,
    pub orders: Vec<(usize, Order)>,
    /// Until when the requests of a process do not arrive; whether all, or those about the lease.
    pub cuts: [(Millis, bool); 2],
    /// Writes that were about to be sent, and that were sent, but for those of the lease.
    pub reached: u64,
    pub writes: u64,
    /// Which receiver took alerts, and when.
    pub taken: Vec<(Millis, String)>,
    /// What occurred, and how often.
    pub counts: BTreeMap<String, u64>,
    /// What was seen that may never be.
    pub broken: Vec<String>,
    /// A sum of all that happened, to compare two runs.
    pub trace: u64,
    events: BTreeMap<(Millis, u64), Event>,
    planned: u64,
    /// When processes hear of something from outside of the API server: never of two things at once.
    heard: BTreeSet<(usize, Millis)>,
    /// Answers that never come.
    hung: Vec<Answer>,
}

impl World {
    pub fn new(seed: u64, settings: Settings) -> Self {
        let mut world = Self {
            seed,
            now: 0,
            dice: Dice::new(seed),
            server: Server::default(),
            cluster: Cluster::default(),
            weather: Weather::Fine,
            witness: Witness::default(),
            calm: settings.calm == 0,
            watch_lag: settings.watch_lag,
            orders: vec![(0, Order::Start), (1, Order::Start)],
            cuts: [(0, false); 2],
            reached: 0,
            writes: 0,
            taken: Vec::new(),
            counts: BTreeMap::new(),
            broken: Vec::new(),
            trace: 0,
            events: BTreeMap::new(),
            planned: 0,
            heard: BTreeSet::new(),
            hung: Vec::new(),
            settings,
        };
        world.build();
        world
    }

    fn build(&mut self) {
        self.deploy_all();
        for namespace in ["shop", "bank"] {
            let path = format!("/api/v1/namespaces/{namespace}");
            self.server.put(&path, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {}}));
            let path = format!("/apis/grpc-hygiene.io/v1alpha1/namespaces/{namespace}/grpcclientpolicies/clients");
            let spec = self.settings.policy(namespace);
            let policy = json!({"apiVersion": "grpc-hygiene.io/v1alpha1", "kind": "GrpcClientPolicy", "metadata": {"generation": 1}, "spec": spec});
            self.server.put(&path, policy);
        }
        let data = if self.settings.new_ledger {
            json!({})
        } else {
            json!({"ledger.json": json!({"version": 1, "since": "2026-10-01T00:00:00Z", "entries": []}).to_string()})
        };
        self.server.put(LEDGER, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": data}));
        self.begin_cluster();
        match self.settings.scene.clone() {
            Scene::Trouble => {
                self.begin_weather();
                self.after(5_000, Self::trouble);
                self.after(self.settings.calm, Self::calm_down);
            }
            Scene::Clocks { ahead } => {
                for place in 0..2 {
                    self.orders.insert(0, (place, Order::Skew(ahead)));
                }
            }
            Scene::But(condition) => self.falsify(condition),
            _ => {}
        }
    }

    fn deploy_all(&mut self) {
        if let Scene::Offenders { count } = self.settings.scene {
            for (n, name) in NAMES.into_iter().enumerate() {
                self.deploy(Workload::new("shop", name, 2, n < count, false));
            }
            return;
        }
        // What is to come to rest, and be struck hundreds of times, is smaller.
        let trouble = self.settings.scene == Scene::Trouble;
        let pods = if trouble { 3 } else { 2 };
        self.deploy(Workload::new("shop", "orders", pods, true, true));
        if !self.settings.scene.rests() {
            self.deploy(Workload::new("shop", "users", 2, true, false));
        }
        self.deploy(Workload::new("shop", "search", 2, false, false));
        self.deploy(Workload::new("bank", "ledgers", pods, true, true));
    }

    /// Plans something.
    pub fn after(&mut self, wait: Millis, event: impl FnOnce(&mut Self) + Send + 'static) {
        self.plan(self.now + wait, event);
    }

    fn plan(&mut self, at: Millis, event: impl FnOnce(&mut Self) + Send + 'static) {
        self.planned += 1;
        self.events.insert((at, self.planned), Box::new(event));
    }

    /// When something happens next.
    pub fn head(&self) -> Millis {
        self.events.first_key_value().map_or(self.settings.end, |((at, _), _)| *at)
    }

    /// Lets the next thing happen.
    pub fn step(&mut self) {
        let Some(((at, _), event)) = self.events.pop_first() else { return };
        self.now = at;
        event(self);
    }

    pub fn count(&mut self, what: &str) {
        match self.counts.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(self.counts.insert(what.to_owned(), 1)),
        }
    }

    /// Notes what may never be.
    pub fn violated(&mut self, invariant: u32, what: &str) {
        self.broken.push(format!("invariant {invariant}, {:.3} s: {what}", self.now as f64 / 1_000.0));
    }

    /// Something is sent by a process, whose clock may be ahead of the world's.
    pub fn send(&mut self, sent: Sent, answer: Answer) {
        self.look_at_sending(&sent);
        let dies_at_answer = self.after_sending(&sent);
        let line = format!("{} {} {} {} {}", sent.at, sent.place, sent.role as u8, sent.method, sent.path);
        self.note(&line);
        let mut journey = self.journey(&sent);
        journey.fatal = dies_at_answer;
        let arrival = sent.at.max(self.now) + journey.there;
        if journey.fate == Fate::Lost {
            return self.lose(journey, arrival, answer);
        }
        self.plan(arrival, move |world| world.arrive(&sent, journey, answer));
    }

    /// An answer that does not come: the connection breaks, or nobody ever hears of it.
    fn lose(&mut self, journey: Journey, at: Millis, answer: Answer) {
        match journey.broken_after {
            Some(wait) => self.plan(at + journey.back + wait, move |_| drop(answer)),
            None => self.hung.push(answer),
        }
    }

    fn arrive(&mut self, sent: &Sent, journey: Journey, answer: Answer) {
        let reply = match journey.fate {
            Fate::Status(code) => {
                if journey.carried {
                    self.carry_out(sent);
                }
                refused_by_others(code)
            }
            Fate::ReplyLost => {
                self.carry_out(sent);
                return self.lose(journey, self.now, answer);
            }
            Fate::Fine | Fate::Lost => self.carry_out(sent),
        };
        let ahead = self.settings.dates[usize::from(journey.second_server)];
        let date = i64::try_from(self.now).expect("centuries") + ahead;
        // Its sender may be gone.
        let place = sent.place;
        self.after(journey.back, move |world| {
            drop(answer.send((date, reply)));
            if journey.fatal {
                world.orders.push((place, Order::Kill));
            }
        });
    }

    /// How long an answer to a process takes which comes from elsewhere.
    pub fn wait_of(&mut self, place: usize, text: &str, now: Millis) -> Millis {
        let mut wait = self.dice_of(text, now).between(1, 40);
        while !self.heard.insert((place, now + wait)) {
            wait += 1;
        }
        wait
    }

    /// Dice that follow from a text and a time.
    pub fn dice_of(&self, text: &str, at: Millis) -> Dice {
        let mut hash = self.seed ^ at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for byte in text.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Dice::new(hash)
    }

    fn carry_out(&mut self, sent: &Sent) -> Reply {
        let reply = self.serve(sent);
        if let Reply::Json { code, .. } = &reply {
            let line = format!("{} {} {} {code}", self.now, sent.method, sent.path);
            self.note(&line);
            if sent.role == Role::Election && sent.method != http::Method::GET && *code < 300 {
                self.renewed(sent);
            }
        }
        reply
    }

    fn note(&mut self, line: &str) {
        // A sum, for the order within a millisecond says nothing.
        self.trace = self.trace.wrapping_add(Dice::new(0).roll() ^ self.dice_of(line, 0).roll());
        if self.settings.verbose {
            println!("{line}");
        }
    }
}

fn refused_by_others(code: u16) -> Reply {
    match (code, refusal(code, "", "not now")) {
        (429, Reply::Json { code, body, .. }) => Reply::Json { code, body, retry_after: Some(1) },
        (_, reply) => reply,
    }
}
