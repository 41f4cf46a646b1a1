//! Keeps alerts alive: a board of what fires and what was resolved lately. `sending` sends all of it to every
//! receiver once a minute, and at once when there is news; the wire format is in `alertmanager`.
//!
//! What stands on the board is decided elsewhere; policies write it in their status, so it survives a restart.

mod alertmanager;
mod sending;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::{sync::watch, time::timeout};

pub use alertmanager::{Courier, Failure};

use crate::{
    api::AlertRecord,
    io::{
        config::Config,
        http::{self, Endpoint, HttpError},
        notify::alertmanager::{Http, Letterhead},
    },
};

/// How long an evaluation waits to hear that its news were taken.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a resolved alert is sent again, for an Alertmanager that was away. Prometheus does the same.
const RESOLVED_KEPT: SignedDuration = SignedDuration::from_mins(15);

/// The alerts of all policies, and their receivers. Clones share them.
#[derive(Clone)]
pub struct Alerts(Arc<Shared>);

struct Shared {
    courier: Box<dyn Courier>,
    endpoints: Vec<Endpoint>,
    letterhead: Letterhead,
    board: Mutex<BTreeMap<String, Vec<AlertRecord>>>,
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
        let letterhead = Letterhead { runbook_url: config.runbook_url.clone(), cluster: config.cluster.clone() };
        Self(Arc::new(Shared {
            courier: Box::new(courier),
            endpoints,
            letterhead,
            board: Mutex::default(),
            counts: Mutex::default(),
            news: watch::Sender::new(0),
            reports: watch::Sender::new(reports),
        }))
    }

    /// Replaces what a policy has on the board. Whatever fired and is not among the records is resolved now, so an
    /// empty list ends all alerts of the policy.
    pub fn set(&self, policy: &str, records: Vec<AlertRecord>) -> News {
        let mut board = lock(&self.0.board);
        let before = board.remove(policy).unwrap_or_default();
        let after = replaced(&before, records, Timestamp::now());
        let is_news = states(&before) != states(&after);
        if !after.is_empty() {
            board.insert(policy.to_owned(), after);
        }
        drop(board);
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

    /// What is to be sent: resolved alerts are forgotten after a while.
    fn snapshot(&self, now: Timestamp) -> Vec<(String, AlertRecord)> {
        let mut board = lock(&self.0.board);
        for records in board.values_mut() {
            records.retain(|it| is_worth_telling(it, now));
        }
        board.retain(|_, records| !records.is_empty());
        board.iter().flat_map(|(policy, it)| it.iter().map(|it| (policy.clone(), it.clone()))).collect()
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

fn is_worth_telling(record: &AlertRecord, now: Timestamp) -> bool {
    record.ends_at.as_ref().is_none_or(|Time(ended)| now.duration_since(*ended) < RESOLVED_KEPT)
}

/// What makes an alert the same alert to its receivers.
type Identity<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, &'a str);

fn identity(it: &AlertRecord) -> Identity<'_> {
    (&it.namespace, &it.workload.kind, &it.workload.name, &it.container, &it.diagnosis, &it.severity)
}

/// What is news: who fires and who does not, and who waits for a person. Texts and figures are not.
fn states(records: &[AlertRecord]) -> BTreeSet<(Identity<'_>, bool, bool)> {
    records.iter().map(|it| (identity(it), it.ends_at.is_none(), it.approval.is_some())).collect()
}

/// The records with those that they leave out resolved. An alert that fires again replaces its own resolved one: both
/// have the same labels, and the receiver would believe whichever came last.
fn replaced(before: &[AlertRecord], mut after: Vec<AlertRecord>, now: Timestamp) -> Vec<AlertRecord> {
    let known: BTreeSet<Identity<'_>> = after.iter().map(identity).collect();
    let left_out = before.iter().filter(|it| !known.contains(&identity(it)));
    let resolved: Vec<AlertRecord> = left_out
        .map(|it| AlertRecord { ends_at: it.ends_at.clone().or(Some(Time(now))), ..it.clone() })
        .filter(|it| is_worth_telling(it, now))
        .collect();
    after.extend(resolved);
    after.sort_by(|a, b| {
        identity(a)
            .cmp(&identity(b))
            .then(a.ends_at.is_some().cmp(&b.ends_at.is_some()))
            .then(b.starts_at.0.cmp(&a.starts_at.0))
    });
    after.dedup_by(|b, a| identity(a) == identity(b));
    after
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::WorkloadRef;

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
            starts_at: Time(at(0)),
            ends_at: None,
            delivered: false,
        }
    }

    fn ended(name: &str, second: i64) -> AlertRecord {
        AlertRecord { ends_at: Some(Time(at(second))), ..firing(name) }
    }

    #[test]
    fn what_is_left_out_is_resolved_now_and_forgotten_later() {
        let resolved = replaced(&[firing("orders")], Vec::new(), at(60));
        assert_eq!(resolved, [ended("orders", 60)]);
        assert_eq!(replaced(&resolved, Vec::new(), at(120)), [ended("orders", 60)]);
        assert_eq!(replaced(&resolved, Vec::new(), at(60 + 900)), []);
    }

    #[test]
    fn an_alert_that_fires_again_replaces_its_resolved_one() {
        let again = AlertRecord { starts_at: Time(at(90)), ..firing("orders") };
        let both = vec![ended("orders", 60), again.clone()];
        assert_eq!(replaced(&[], both, at(90)), std::slice::from_ref(&again));
        assert_eq!(replaced(&[ended("orders", 60)], vec![again.clone()], at(90)), [again]);
    }

    #[test]
    fn moving_figures_are_no_news_and_a_resolution_is() {
        let retold = AlertRecord { summary: "it grows more".into(), ..firing("orders") };
        assert_eq!(states(&[firing("orders")]), states(&[retold]));
        assert_ne!(states(&[firing("orders")]), states(&[ended("orders", 60)]));
        assert_ne!(states(&[firing("orders")]), states(&[firing("orders"), firing("users")]));
    }
}
