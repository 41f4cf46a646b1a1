//! What is seen of the processes at the API server and at their sockets, and the invariants that it is held against. The
//! numbers are those of the project's list; an assertion rests on what was observed, not on what the operator believes.
//!
//! Held in every run, here:
//!
//! * 1, no act on evidence that could not be trusted; 2, none on a workload that is healthy;
//! * 6, none by a clock that is too far off (what "too far" is, `scenarios` tries from a second to an hour);
//! * 7, none on a decision older than two minutes or a look older than two seconds, whatever stood still in between;
//! * 8, none in the quiet period; 10, every write says of which object and version; 12, one pod of a workload at a time;
//! * 14, no more than the limits of workload, namespace and cluster; 16, none in a storm;
//! * 18, no orphan in the ledger, and it tells of every act; 19, no write without a fresh lease, and somebody leads;
//! * 20, a dry run writes nothing, nor does `Auto` that has earned no trust; 21, people's stops hold; 22, what is done stands
//!   in the ledger; 26, somebody evaluates.
//!
//! In `scenarios`, a run each: 7 and 18, a process struck at every write, and the end is the same; 6, 12, 16, 22, 25.
//!
//! Not here: 15 and 17 (`decide` alone says them), 22 as far as it asks for an Event before the act (events come after),
//! 23 and 24 (`tests/act/alerts.rs`), 27 to 30 (measured on a real API server), and all that only people, charts or
//! Prometheus itself could break.

use std::collections::BTreeMap;

use http::Method;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    backends::Weather,
    settings::Rate,
    wire::{Role, Sent},
    world::{LEDGER, Millis, World},
};

/// No mutating request later than this after the last renewal.
const RENEW_DEADLINE: Millis = 10_000;
/// No mutating request whose decision is older.
const DECISION: Millis = 120_000;
/// No restart whose look at its object is older.
const LOOK: Millis = 2_000;
/// Where clocks differ by more, nobody acts. The operator allows 6 s, the API servers' own differ by up to 2 s, and a
/// header counts whole seconds.
const SKEW: i64 = 10_000;
/// An entry of the ledger that is open for so long is an orphan.
const ORPHAN: i64 = 60_000;

#[derive(Default)]
pub struct Witness {
    lives: BTreeMap<(usize, u64), Life>,
    /// How far the wall clocks are ahead, milliseconds, and since when.
    skews: [(i64, Millis); 2],
    /// Since when the policy of the shop is suspended.
    pub suspended: Option<Millis>,
    /// Since when all restarts are stopped.
    pub stopped: Option<Millis>,
    disturbances: Vec<Disturbance>,
    /// How long after people stopped restarts a restart was still sent.
    pub after_stop: Vec<Millis>,
    born: u64,
}

/// One life of a process.
#[derive(Default)]
struct Life {
    leads_since: Option<Millis>,
    /// When the newest renewal was sent that was carried out.
    renewed: Option<Millis>,
    looks: BTreeMap<String, Millis>,
    evaluations: BTreeMap<String, Evaluation>,
}

#[derive(Clone, Copy)]
struct Evaluation {
    at: Timestamp,
    asked: Millis,
    /// Something that the decision needs could not be trusted.
    bad: bool,
}

/// An eviction or a rollout that was carried out.
struct Disturbance {
    at: Millis,
    namespace: &'static str,
    workload: usize,
    uid: String,
}

impl World {
    /// A process begins.
    pub fn born(&mut self, place: usize) -> u64 {
        self.witness.born += 1;
        self.witness.lives.insert((place, self.witness.born), Life::default());
        self.witness.born
    }

    /// The wall clock of a process was set.
    pub fn skewed(&mut self, place: usize, skew: i64) {
        if self.witness.skews[place].0 != skew {
            self.witness.skews[place] = (skew, self.now);
        }
    }

    /// How far the wall clock of a process is ahead.
    pub fn skew(&self, place: usize) -> i64 {
        self.witness.skews[place].0
    }

    /// A query about a namespace is asked. One evaluation asks for all raw samples up to the same time; what is asked in
    /// buckets belongs to it, though its time is rounded down.
    pub fn asked(&mut self, asker: (usize, u64), namespace: &str, query: &str, at: Timestamp, now: Millis) {
        let life = self.witness.lives.entry(asker).or_default();
        let fresh = Evaluation { at, asked: now, bad: false };
        let evaluation = life.evaluations.entry(namespace.to_owned()).or_insert(fresh);
        if at != evaluation.at && !query.contains("_over_time(") {
            *evaluation = fresh;
        }
    }

    /// An answer about a namespace was not to be trusted.
    pub fn misled(&mut self, asker: (usize, u64), namespace: &str, metric: &str) {
        // A figure of many that is missing may be done without; without memory nobody knows when it runs out.
        let needed = metric.contains("memory") || ![Weather::Empty, Weather::Stale].contains(&self.weather);
        let life = self.witness.lives.entry(asker).or_default();
        if let Some(evaluation) = life.evaluations.get_mut(namespace).filter(|_| needed) {
            evaluation.bad = true;
        }
    }

    /// The lease was written.
    pub fn renewed(&mut self, sent: &Sent) {
        let holder = self
            .server
            .objects
            .values()
            .find(|it| it["kind"] == "Lease")
            .map(|it| it["spec"]["holderIdentity"].clone());
        let ours = holder.is_some_and(|it| it == format!("operator-{0}_uid-{0}", sent.place));
        let now = self.now;
        let life = self.witness.lives.entry((sent.place, sent.life)).or_default();
        if !ours {
            return;
        }
        let first = life.leads_since.is_none();
        life.leads_since.get_or_insert(now);
        life.renewed = life.renewed.max(Some(sent.at));
        if first {
            self.count("a leader begins");
        }
    }

    /// Looks at a request when it leaves its process.
    pub fn look_at_sending(&mut self, sent: &Sent) {
        let key = (sent.place, sent.life);
        if sent.method == Method::GET {
            self.witness.lives.entry(key).or_default().looks.insert(sent.path.clone(), sent.at);
        }
        if sent.role != Role::Acting {
            let own = sent.path.ends_with("/status") || sent.path.contains("/events") || sent.role == Role::Election;
            if sent.method != Method::GET && !own {
                self.violated(10, &format!("{} {} goes past the acting client", sent.method, sent.path));
            }
            let versioned = sent.body["metadata"]["resourceVersion"].is_string();
            if sent.method == Method::PATCH && sent.path.ends_with("/status") && !versioned {
                self.violated(10, &format!("{} may be written over another replica's", sent.path));
            }
            if sent.method != Method::GET && sent.role == Role::Reading {
                self.leads(sent);
            }
            return;
        }
        self.count(&format!("acting: {}", act(sent)));
        self.leads(sent);
        self.is_exact(sent);
        self.is_fresh(sent);
        if let Some(mode) = self.settings.dry_run.filter(|_| sent.namespace() == "bank") {
            self.violated(20, &format!("{} {} in mode {mode}", sent.method, sent.path));
        }
        if sent.disturbs() {
            self.may_disturb(sent);
        }
    }

    /// Nothing is written by one whose last renewal is too long ago, a status and an event as little as a restart.
    fn leads(&mut self, sent: &Sent) {
        let renewed = self.witness.lives[&(sent.place, sent.life)].renewed;
        let other = self.witness.lives.iter().any(|(key, it)| {
            *key != (sent.place, sent.life) && it.renewed.is_some_and(|at| sent.at < at + RENEW_DEADLINE)
        });
        if other {
            self.count("writing while another leads or led");
        }
        if renewed.is_none_or(|at| sent.at >= at + RENEW_DEADLINE) {
            let late = renewed.map(|it| sent.at - it);
            self.violated(19, &format!("{} {} starts {late:?} ms after the last renewal", sent.method, sent.path));
        }
    }

    /// Every mutating request says of which object, and of which version where it disturbs.
    fn is_exact(&mut self, sent: &Sent) {
        let text = |it: &Value| it.as_str().is_some_and(|it| !it.is_empty());
        let metadata = &sent.body["metadata"];
        let demands = &sent.body["deleteOptions"]["preconditions"];
        let exact = match act(sent) {
            "eviction" => {
                text(&demands["uid"])
                    && text(&demands["resourceVersion"])
                    && sent.parameter("fieldValidation") == Some("Strict")
            }
            "rollout" | "fence" => text(&metadata["uid"]) && text(&metadata["resourceVersion"]),
            "annotations" => text(&metadata["uid"]) && sent.body["spec"].is_null(),
            "ledger" => text(&metadata["resourceVersion"]),
            _ => false,
        };
        if !exact {
            self.violated(10, &format!("{} {}: {}", sent.method, sent.path, sent.body));
        }
    }

    fn is_fresh(&mut self, sent: &Sent) {
        let life = &self.witness.lives[&(sent.place, sent.life)];
        // Whoever evaluates settles what all have left open.
        let of_all = sent.namespace() == crate::world::OWN || act(sent) == "fence";
        let about = (!of_all).then(|| sent.namespace());
        let evaluation = life
            .evaluations
            .iter()
            .filter(|(it, _)| about.is_none_or(|about| about == *it))
            .map(|(_, it)| it.asked)
            .max();
        let look = life.looks.get(sent.path.trim_end_matches("/eviction")).copied();
        // The ledger is begun before there is anything to decide.
        let begins = act(sent) == "ledger" && evaluation.is_none();
        if !begins && evaluation.is_none_or(|at| sent.at > at + DECISION) {
            self.violated(7, &format!("{} {} rests on an evaluation of {evaluation:?} ms", sent.method, sent.path));
        }
        if sent.disturbs() && look.is_none_or(|at| sent.at > at + LOOK) {
            self.violated(7, &format!("{} {} rests on a look of {look:?} ms", sent.method, sent.path));
        }
    }

    fn may_disturb(&mut self, sent: &Sent) {
        let life = &self.witness.lives[&(sent.place, sent.life)];
        let evaluation = life.evaluations.get(sent.namespace()).copied();
        let (skew, since) = self.witness.skews[sent.place];
        // A wall clock that is set may shorten the quiet period by what the operator takes for no difference.
        let quiet = (self.settings.quiet * 1_000).saturating_sub(6_000);
        if life.leads_since.is_none_or(|at| sent.at < at + quiet) {
            let since = life.leads_since;
            self.violated(8, &format!("{} though it leads since {since:?} ms", sent.path));
        }
        if evaluation.is_none_or(|it| it.bad) {
            self.violated(1, &format!("{} on evidence that could not be trusted", sent.path));
        }
        if skew.abs() > SKEW && evaluation.is_some_and(|it| it.asked > since) {
            self.violated(6, &format!("{} with a clock that is {skew} ms ahead", sent.path));
        }
        // The policy is read anew up to two seconds before the look, which may be as old again.
        let suspended = self.witness.suspended.filter(|_| sent.namespace() == "shop");
        for (since, what) in [(suspended, "of a suspended policy"), (self.witness.stopped, "though people stopped all")]
        {
            let Some(late) = since.and_then(|it| sent.at.checked_sub(it)) else { continue };
            self.witness.after_stop.push(late);
            if late > 2 * LOOK {
                self.violated(21, &format!("{} {what}", sent.path));
            }
        }
    }

    /// An eviction or a rollout of ours was carried out.
    pub fn disturbed(&mut self, sent: &Sent, workload: usize, uid: &str) {
        let (now, of) = (self.now, &self.cluster.workloads[workload]);
        let (namespace, name) = (of.namespace, of.name);
        let leaks = self.cluster.pods.iter().find(|it| it.uid == uid).map_or(of.leaks, |it| it.leaks);
        let ledger = self.ledger();
        let mut entries = ledger["entries"].as_array().into_iter().flatten();
        match entries.rfind(|it| it["object"]["uid"] == *uid) {
            None => self.violated(22, &format!("{} is not in the ledger", sent.path)),
            Some(entry) if in_storm(&ledger["storm"], entry) => {
                self.violated(16, &format!("{} in a storm: {}", sent.path, ledger["storm"]));
            }
            Some(_) => {}
        }
        if !leaks {
            self.violated(2, &format!("{name} is healthy, and {} came", sent.path));
        }
        self.witness.disturbances.push(Disturbance { at: now, namespace, workload, uid: uid.to_owned() });
        let cooldown = Rate { max: 1, window: self.settings.cooldown };
        let (in_namespace, in_cluster) = (self.settings.namespace, self.settings.cluster);
        self.holds(&format!("workload {name}"), cooldown, |it| it.workload == workload);
        self.holds(&format!("namespace {namespace}"), in_namespace, |it| it.namespace == namespace);
        self.holds("the cluster", in_cluster, |_| true);
        // What we have made unavailable and is not yet replaced may be one pod.
        let desired = self.cluster.workloads[workload].desired;
        let live = self.cluster.pods.iter().filter(|it| it.workload == workload);
        let ours = live.clone().filter(|it| it.ours && it.gone_at.is_some()).count();
        let ready = live.filter(|it| it.ready).count();
        if ours > 1 && ready + 1 < desired {
            self.violated(12, &format!("{ours} pods of {name} go at once, and {ready} of {desired} are ready"));
        }
    }

    fn holds(&mut self, of_what: &str, rate: Rate, belongs: impl Fn(&Disturbance) -> bool) {
        let from = self.now.saturating_sub(rate.window * 1_000 - 1);
        let count = self.witness.disturbances.iter().filter(|it| belongs(it) && it.at >= from).count();
        if count > rate.max {
            let Rate { max, window } = rate;
            self.violated(14, &format!("{count} restarts of {of_what} in {window} s, and {max} are allowed"));
        }
    }

    /// Whose pods were disturbed, and when.
    pub fn disturbed_so_far(&self) -> Vec<(Millis, String)> {
        let name = |it: &Disturbance| self.cluster.workloads[it.workload].name.to_owned();
        self.witness.disturbances.iter().map(|it| (it.at, name(it))).collect()
    }

    /// How everything stands, but for times: what two runs must agree on that came to rest.
    pub fn end_state(&self) -> String {
        let ledger = self.ledger();
        let mut entries: Vec<String> = ledger["entries"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|it| format!("{} {} {}", it["object"]["kind"], it["object"]["name"], it["state"]))
            .collect();
        entries.sort();
        let old: Vec<&str> = self.cluster.pods.iter().filter(|it| it.started < 0).map(|it| it.name.as_str()).collect();
        let policies = self.server.objects.iter().filter(|(path, _)| path.contains("/grpcclientpolicies/"));
        let policies: Vec<String> = policies
            .map(|(path, it)| {
                let status = &it["status"];
                let conditions = status["conditions"].as_array().into_iter().flatten();
                let conditions: Vec<String> = conditions.map(|it| format!("{}={}", it["type"], it["status"])).collect();
                let restarts = &status["counts"]["restartsLastDay"];
                format!("{path}: {conditions:?} {} {restarts}", status["offenders"])
            })
            .collect();
        let marks: Vec<&String> = self
            .server
            .objects
            .iter()
            .filter(|(_, it)| it["metadata"]["annotations"].to_string().contains("grpc-hygiene.io/"))
            .map(|(path, _)| path)
            .collect();
        format!("old pods: {old:#?}\nledger: {entries:#?}\npolicies: {policies:#?}\nmarks: {marks:#?}")
    }

    fn ledger(&self) -> Value {
        let text = self.server.get(LEDGER).and_then(|it| it["data"]["ledger.json"].as_str());
        text.map_or(Value::Null, |it| serde_json::from_str(it).expect("JSON"))
    }

    /// What holds when the processes were left alone for a while.
    pub fn look_at_the_end(&mut self) {
        let ledger = self.ledger();
        let entries: Vec<&Value> = ledger["entries"].as_array().into_iter().flatten().collect();
        if !ledger["storm"].is_null() {
            self.count("runs with a storm");
        }
        let now = i64::try_from(self.now).expect("centuries");
        let age = |entry: &Value| now - (time(&entry["at"]) - crate::replica::EPOCH * 1_000);
        for entry in entries.iter().filter(|it| it["state"] == "Pending" && age(it) > ORPHAN) {
            self.violated(18, &format!("an entry is open for {} ms: {entry}", age(entry)));
        }
        let untold: Vec<String> = self
            .witness
            .disturbances
            .iter()
            .filter(|it| !entries.iter().any(|entry| entry["object"]["uid"] == it.uid))
            .map(|it| it.uid.clone())
            .collect();
        for uid in untold {
            self.violated(18, &format!("the ledger does not tell of {uid}"));
        }
        let lives = || self.witness.lives.values();
        let led = lives().filter_map(|it| it.renewed).max().unwrap_or(0);
        let evaluated = lives().flat_map(|it| it.evaluations.values()).map(|it| it.asked).max().unwrap_or(0);
        if self.now > led + 20_000 {
            self.violated(19, &format!("nobody leads since {led} ms"));
        }
        if self.now > evaluated + 45_000 {
            self.violated(26, &format!("nobody evaluates since {evaluated} ms"));
        }
    }
}

/// Unix time in milliseconds.
fn time(value: &Value) -> i64 {
    let at: Timestamp = value.as_str().expect("a time").parse().expect("a time");
    at.as_millisecond()
}

/// Whether an entry was debited after a storm was written down, and before it had been calm for a minute, whichever API
/// server told the time.
fn in_storm(storm: &Value, entry: &Value) -> bool {
    let seen = || time(&storm["seen"]);
    !storm.is_null() && entry["state"] == "Pending" && (seen() + 5_000..seen() + 55_000).contains(&time(&entry["at"]))
}

/// What a request of the acting client is.
fn act(sent: &Sent) -> &'static str {
    match () {
        () if sent.path.ends_with("/eviction") && sent.method == Method::POST => "eviction",
        () if sent.path == LEDGER && sent.method == Method::PUT => "ledger",
        () if sent.method != Method::PATCH => "unknown",
        () if sent.disturbs() => "rollout",
        () if !sent.body["metadata"]["annotations"]["grpc-hygiene.io/fence"].is_null() => "fence",
        () => "annotations",
    }
}
