//! Keeps alerts alive: a board of what fires and what was resolved lately. `sending` sends all of it to every
//! receiver once a minute, and at once when there is news; the wire format is in `alertmanager`. What stands there, and what
//! becomes of many that begin together, is in `board`.
//!
//! What stands on the board is decided elsewhere; policies write it in their status, so it survives a restart.

mod alertmanager;
mod board;
mod own;
mod sending;
mod summary;

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::watch, time::timeout};

pub use alertmanager::{Courier, Failure};

use crate::{
    api::AlertRecord,
    io::{
        config::Config,
        http::{self, Endpoint, HttpError},
        notify::{
            alertmanager::{Http, Letterhead},
            board::Board,
        },
    },
};

/// How long an evaluation waits to hear that its news were taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// The alerts of all policies, and their receivers. Clones share them.
#[derive(Clone)]
pub struct Alerts(Arc<Shared>);

struct Shared {
    courier: Box<dyn Courier>,
    endpoints: Vec<Endpoint>,
    letterhead: Letterhead,
    board: Mutex<Board>,
    counts: Mutex<Counts>,
    news: watch::Sender<u64>,
    reports: watch::Sender<Vec<Report>>,
}

/// How far the board had got when something changed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct News(u64);

/// Alerts sent, one for each alert and receiving address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken by the receiver.
    pub accepted: u64,
    /// Not taken; every try counts.
    pub failed: u64,
}

/// How a receiver does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Its host and port, as configured.
    pub receiver: String,
    /// What is wrong with it: one of its addresses did not take the last alerts.
    pub failure: Option<String>,
    /// The newest state of the board that was tried on all addresses.
    tried: u64,
    /// The state that some address took at the last try.
    accepted: Option<u64>,
}

impl Alerts {
    /// An empty board for the receivers of a configuration.
    ///
    /// # Errors
    /// No client can be built for a receiver.
    pub fn new(config: &Config) -> Result<Self, HttpError> {
        for endpoint in &config.alertmanagers {
            http::client(endpoint)?;
        }
        Ok(Self::sent_by(Http, config))
    }

    /// An empty board for the receivers of a configuration, who are reached by this courier.
    pub fn sent_by(courier: impl Courier + 'static, config: &Config) -> Self {
        let endpoints = config.alertmanagers.clone();
        let reports = endpoints.iter().map(|it| Report { receiver: it.address(), ..Report::default() }).collect();
        let (runbook_url, cluster) = (config.runbook_url.clone(), config.cluster.clone());
        let letterhead = Letterhead { runbook_url, cluster, watchdog: config.alerts.watchdog };
        Self(Arc::new(Shared {
            courier: Box::new(courier),
            endpoints,
            letterhead,
            board: Mutex::new(Board::new(config.alerts.collapse)),
            counts: Mutex::default(),
            news: watch::Sender::new(0),
            reports: watch::Sender::new(reports),
        }))
    }

    /// Replaces what a policy has on the board. Whatever fired and is not among the records is resolved now.
    pub fn set(&self, policy: &str, records: Vec<AlertRecord>) -> News {
        let is_news = lock(&self.0.board).set(policy, records, Timestamp::now());
        self.changed(is_news)
    }

    /// Since when a policy gets no answers from the metrics backend, or that it does. It is the operator's own alert, and
    /// fires while any policy has none.
    pub fn blind(&self, policy: &str, since: Option<Timestamp>) {
        let is_news = lock(&self.0.board).blind(policy, since, Timestamp::now());
        self.changed(is_news);
    }

    /// Ends whatever fires for a policy that does not alert any more.
    pub fn end(&self, policy: &str) {
        self.set(policy, Vec::new());
        self.blind(policy, None);
    }

    fn changed(&self, is_news: bool) -> News {
        if is_news {
            self.0.news.send_modify(|it| *it += 1);
        }
        News(*self.0.news.borrow())
    }

    /// Waits until a receiver has taken the board as it was then, or none will for now.
    ///
    /// # Errors
    /// No receiver took it; the sentence says why, for each.
    pub async fn delivered(&self, News(wanted): News) -> Result<(), String> {
        if self.0.endpoints.is_empty() {
            return Err("no Alertmanager is configured".to_owned());
        }
        let taken = |all: &Vec<Report>| all.iter().any(|it| it.accepted.is_some_and(|it| it >= wanted));
        let mut reports = self.0.reports.subscribe();
        let settled =
            reports.wait_for(|all| taken(all) || all.iter().all(|it| it.tried >= wanted && it.failure.is_some()));
        match timeout(PATIENCE, settled).await {
            Ok(Ok(all)) if taken(&all) => Ok(()),
            Ok(Ok(all)) => Err(all.iter().filter_map(|it| it.failure.clone()).collect::<Vec<_>>().join("; ")),
            Ok(Err(_)) | Err(_) => Err("no Alertmanager has answered yet".to_owned()),
        }
    }

    /// How each receiver does, in the order of the configuration.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.0.reports.borrow().clone()
    }

    /// What was sent since this was last asked.
    #[must_use]
    pub fn take_counts(&self) -> Counts {
        mem::take(&mut *lock(&self.0.counts))
    }

    /// The records of a policy with the summary that stands for each, if one does: it is written down with them.
    #[must_use]
    pub fn noted(&self, policy: &str, records: Vec<AlertRecord>) -> Vec<AlertRecord> {
        lock(&self.0.board).noted(policy, records)
    }

    fn report(&self, receiver: usize, change: impl FnOnce(&mut Report)) {
        self.0.reports.send_modify(|all| {
            if let Some(report) = all.get_mut(receiver) {
                change(report);
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use crate::api::{AlertRecord, WorkloadRef};

    pub(super) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    pub(super) fn firing(name: &str) -> AlertRecord {
        AlertRecord {
            namespace: "shop".into(),
            workload: WorkloadRef { kind: "Deployment".into(), name: name.into() },
            container: "app".into(),
            diagnosis: "DialPerCall".into(),
            severity: "warning".into(),
            summary: "it grows".into(),
            sites: vec![],
            profile: None,
            approval: None,
            restarts: None,
            collapsed: None,
            starts_at: Time(at(0)),
            ends_at: None,
            delivered: false,
        }
    }
}
