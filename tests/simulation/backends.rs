//! The metrics backend and the receiver of alerts. The backend tells of the pods what they do: those that leak open a
//! connection for every few calls, keep it, and pay for it in memory. Both have bad times, for a while each.

use std::{collections::BTreeSet, fmt::Write as _, net::SocketAddr, time::Duration};

use futures::{
    FutureExt,
    future::{BoxFuture, pending},
};
use grpc_hygiene::{
    decide::{FailureKind, QueryFailure},
    io::{
        config::Endpoint,
        notify::{Courier, Failure},
        prometheus::Line,
    },
};
use jiff::Timestamp;

use crate::{
    cluster::Pod,
    replica::{EPOCH, local_now},
    settings::{Broken, Scene},
    world::{Millis, Sending, World},
};

/// How far back is asked for, and how often is measured, seconds. The policies' window.
pub const WINDOW: i64 = 600;
const SCRAPE: i64 = 15;
const MIB: i64 = 1_048_576;

/// The receiver that is slow where one is.
pub const SLOW: &str = "alerts:9093 10.1.0.1:9093";

/// How the metrics backend does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Fine,
    Down,
    Empty,
    Stale,
    Warnings,
    NotANumber,
    Duplicates,
}

const BAD: [Weather; 6] =
    [Weather::Down, Weather::Empty, Weather::Stale, Weather::Warnings, Weather::NotANumber, Weather::Duplicates];

/// The backend at the other end of a process's line.
pub struct Metering(pub Sending);

/// The receivers at the other end of a process's line.
pub struct Posting(pub Sending);

impl Line for Metering {
    fn ask<'a>(&'a self, query: &'a str, at: Option<Timestamp>) -> BoxFuture<'a, Result<Vec<u8>, QueryFailure>> {
        async move {
            let (place, life, now) = (self.0.place, self.0.life, local_now());
            let (wait, answer) = {
                let mut world = self.0.world.lock().expect("no panic");
                let wait = world.wait_of(place, query, now);
                (wait, world.answer(query, at, (place, life), now))
            };
            tokio::time::sleep(Duration::from_millis(wait)).await;
            let unreachable =
                || QueryFailure { kind: FailureKind::Unreachable, message: "connection refused".to_owned() };
            answer.map(String::into_bytes).ok_or_else(unreachable)
        }
        .boxed()
    }

    fn alerting_rules<'a>(&'a self, _: &'a BTreeSet<String>) -> BoxFuture<'a, Result<Vec<u8>, QueryFailure>> {
        let message = "no policy here waits for alerts".to_owned();
        futures::future::ready(Err(QueryFailure { kind: FailureKind::Refused, message })).boxed()
    }

    fn build_info(&self) -> BoxFuture<'_, Option<Vec<u8>>> {
        futures::future::ready(None).boxed()
    }
}

impl Courier for Posting {
    fn addresses<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, Result<BTreeSet<SocketAddr>, String>> {
        let all = ["10.1.0.1:9093", "10.1.0.2:9093"].map(|it| it.parse().expect("an address"));
        futures::future::ready(Ok(BTreeSet::from(all))).boxed()
    }

    fn deliver<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        address: SocketAddr,
        mail: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            let receiver = format!("{} {address}", endpoint.address());
            if receiver == SLOW && self.0.world.lock().expect("no panic").settings.scene == Scene::SlowReceiver {
                return pending().await;
            }
            let (wait, refused) = {
                let mut world = self.0.world.lock().expect("no panic");
                let (now, text) = (local_now(), format!("{} {receiver}", self.0.place));
                let refused = !world.calm && world.dice_of(&text, now).happens(100);
                world.count(if refused { "alerts: refused" } else { "alerts: taken" });
                assert!(mail.iter().all(|it| it.starts_with(b"[{")), "alerts are a list");
                if !refused {
                    world.taken.push((now, receiver));
                }
                (world.wait_of(self.0.place, &text, now), refused)
            };
            tokio::time::sleep(Duration::from_millis(wait)).await;
            if refused { Err(Failure { problem: "answered 503".to_owned(), retry: true, after: None }) } else { Ok(()) }
        }
        .boxed()
    }
}

impl World {
    /// The weather changes now and then.
    pub fn begin_weather(&mut self) {
        let fine = self.dice.between(20_000, 400_000);
        self.after(fine, |world| {
            if world.calm {
                return;
            }
            world.weather = world.dice.pick(&BAD);
            world.count(&format!("metrics: {:?}", world.weather));
            let bad = world.dice.between(10_000, 90_000);
            world.after(bad, |world| {
                world.weather = Weather::Fine;
                world.begin_weather();
            });
        });
    }

    /// The answer to a query, or none.
    fn answer(&mut self, query: &str, at: Option<Timestamp>, asker: (usize, u64), now: Millis) -> Option<String> {
        let Some(at) = at else {
            let now = EPOCH + i64::try_from(now / 1_000).expect("centuries");
            return Some(format!(
                r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[{now},"1"]}}]}}}}"#
            ));
        };
        let namespace = query.split("namespace=\"").nth(1)?.split('"').next()?;
        self.asked(asker, namespace, query, at, now);
        let at = at.as_second() - EPOCH;
        let mut series = String::new();
        let figure = what(query);
        if let Some((metric, _)) = figure.filter(|_| self.weather != Weather::Fine) {
            self.misled(asker, namespace, metric);
        }
        // What is wrong and does not look so is nothing that the operator could know.
        let shown = if self.settings.broken == Broken::Evidence { Weather::Fine } else { self.weather };
        let weather = std::mem::replace(&mut self.weather, shown);
        if let Some((metric, value)) = figure.filter(|_| self.weather != Weather::Empty) {
            for pod in self.cluster.pods.iter().filter(|it| self.cluster.workloads[it.workload].namespace == namespace)
            {
                self.tell(&mut series, pod, metric, at, |age| value(pod.leaks, age));
            }
        }
        let warnings = if self.weather == Weather::Warnings { r#","warnings":["a store is missing"]"# } else { "" };
        let body = format!(r#"{{"status":"success"{warnings},"data":{{"resultType":"matrix","result":[{series}]}}}}"#);
        let down = self.weather == Weather::Down;
        self.weather = weather;
        (!down).then_some(body)
    }

    /// The samples of one pod, up to a time, seconds.
    fn tell(&self, into: &mut String, pod: &Pod, metric: &str, at: i64, value: impl Fn(i64) -> i64) {
        let now = i64::try_from(self.now / 1_000).expect("centuries");
        let (to, born) = (at.min(now) - if self.weather == Weather::Stale { 400 } else { 0 }, pod.started / 1_000);
        let first = (at - WINDOW).max(born).div_euclid(SCRAPE) * SCRAPE + SCRAPE;
        let copies = if self.weather == Weather::Duplicates { 2 } else { 1 };
        for copy in 0..copies {
            if first > to {
                continue;
            }
            let comma = if into.is_empty() { "" } else { "," };
            let namespace = self.cluster.workloads[pod.workload].namespace;
            let (name, ip, more) = (&pod.name, &pod.ip, if copy == 1 { r#","job":"other""# } else { "" });
            write!(into, r#"{comma}{{"metric":{{"__name__":"{metric}","namespace":"{namespace}","pod":"{name}","container":"app","instance":"{ip}:9090"{more}}},"values":["#).expect("a string");
            let mut at = first;
            while at <= to {
                let comma = if at == first { "" } else { "," };
                match self.weather == Weather::NotANumber && at + SCRAPE > to {
                    true => write!(into, r#"{comma}[{},"NaN"]"#, EPOCH + at),
                    false => write!(into, r#"{comma}[{},"{}"]"#, EPOCH + at, value(at - born) * (1 + 3 * copy)),
                }
                .expect("a string");
                at += SCRAPE;
            }
            into.push_str("]}");
        }
    }
}

type Figure = (&'static str, fn(bool, i64) -> i64);

/// Which metric a query is about, and what a pod of some age, seconds, says.
fn what(query: &str) -> Option<Figure> {
    let figures: [Figure; 5] = [
        ("grpc_subchannel_open_connections", |leaks, age| if leaks { 3 + age / 2 } else { 4 }),
        ("grpc_subchannel_connection_attempts_succeeded_total", |leaks, age| if leaks { 3 + age / 2 } else { 4 }),
        ("grpc_client_attempt_started_total", |_, age| age * 5),
        ("container_memory_working_set_bytes", |leaks, age| {
            if leaks { 60 * MIB + age * 100_000 } else { 60 * MIB + age % 7 * 10_000 }
        }),
        ("go_goroutines", |leaks, age| if leaks { 40 + age * 2 } else { 40 + age % 3 }),
    ];
    figures.into_iter().find(|(metric, _)| query.contains(metric))
}
