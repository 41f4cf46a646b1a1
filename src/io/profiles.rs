//! Taking profiles of offenders: fetched from the pod, read, stored. It asks only pods that the policy selects, at the
//! address that the API server knows of them, and decides neither whom to ask nor what follows.

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures::future::join_all;
use jiff::Timestamp;
use kube::Client;
use tokio::{sync::Semaphore, time::timeout};
use tracing::{info, warn};

use crate::{
    api::{ProfileRecord, Through},
    decide::{
        Case, Subject, Target,
        blame::{Blame, Census, Kind, Profile, blame},
        profiles::{self, Held, Page, ProfilesRule},
    },
    io::{
        addresses::{self, Refused},
        pprof::{self, FetchError, fetch, fetch_directly},
        shelf::Shelf,
    },
};

/// How long the profiles of one pod may take, unless somebody says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// What taking profiles needs.
#[derive(Clone)]
pub struct Camera {
    /// Reads through the API server.
    client: Client,
    /// Reads from pods.
    http: reqwest::Client,
    /// Where they are stored. Without one none is taken.
    shelf: Option<Arc<Shelf>>,
    /// The operator's pod.
    operator: String,
    /// How long the profiles of one pod may take.
    patience: Duration,
    /// Which addresses of pods are talked to.
    reach: fn(IpAddr) -> Result<(), Refused>,
    /// What is in memory at once: so many profiles as they came,
    fetching: Arc<Semaphore>,
    /// and one that is unpacked, which may take four times as much.
    reading: Arc<Semaphore>,
}

/// Profiles that are fetched at once.
const FETCHES: usize = 4;

impl Camera {
    /// A camera of the operator's pod `operator`.
    ///
    /// # Errors
    /// No HTTP client can be built.
    pub fn new(
        client: Client,
        shelf: Option<Arc<Shelf>>,
        operator: String,
        patience: Duration,
    ) -> Result<Self, reqwest::Error> {
        let (fetching, reading) = (Arc::new(Semaphore::new(FETCHES)), Arc::new(Semaphore::new(1)));
        let reach = addresses::of_another_host;
        Ok(Self { client, http: pprof::http()?, shelf, operator, patience, reach, fetching, reading })
    }

    /// The same camera with another rule for the addresses of pods: no cluster has them on the operator's own machine.
    #[must_use]
    pub fn reaching(self, reach: fn(IpAddr) -> Result<(), Refused>) -> Self {
        Self { reach, ..self }
    }

    /// The operator's pod, as it stands on the profiles that it has stored.
    #[must_use]
    pub fn operator(&self) -> &str {
        &self.operator
    }

    /// The files that are stored here.
    pub async fn held(&self) -> Held {
        match &self.shelf {
            Some(shelf) => shelf.names().await,
            None => Held::new(),
        }
    }

    /// Takes a profile of each of these offenders, side by side, and says what came of each.
    pub async fn take(&self, rule: &ProfilesRule, cases: &[&Case], now: Timestamp) -> Vec<ProfileRecord> {
        join_all(cases.iter().map(|it| self.of(rule, &it.target, now))).await
    }

    async fn of(&self, rule: &ProfilesRule, target: &Target, now: Timestamp) -> ProfileRecord {
        let subject = &target.subject;
        let Subject { namespace, pod, container, .. } = subject;
        let began = std::time::Instant::now();
        let late = || Err(format!("the pod did not answer within {} s", self.patience.as_secs()));
        match timeout(self.patience, self.developed(rule, target, now)).await.unwrap_or_else(|_| late()) {
            Ok((blame, file)) => {
                let took = began.elapsed().as_millis();
                info!(namespace, pod, container, file, sites = blame.accused.len(), took, "profile stored");
                profiles::record(subject, now, Ok(&blame), Some((file, self.operator.clone())))
            }
            Err(why) => {
                warn!(namespace, pod, container, why, "no profile");
                profiles::record(subject, now, Err(why), None)
            }
        }
    }

    /// The profile read and stored, and under which name.
    async fn developed(&self, rule: &ProfilesRule, target: &Target, now: Timestamp) -> Result<(Blame, String), String> {
        let shelf = self.shelf.as_ref().ok_or("the operator has no place to store profiles (--profiles-dir)")?;
        let page = profiles::page(rule, target).map_err(|it| it.to_string())?;
        let _turn = self.fetching.acquire().await.map_err(|it| it.to_string())?;
        let heap = self.fetched(rule.through, target, &page, Kind::Heap).await.map_err(|it| it.to_string())?;
        // The heap came from the same place; goroutines only make numbers better.
        let goroutines = self.fetched(rule.through, target, &page, Kind::Goroutines).await.ok();
        let read = move || (blamed(&heap, goroutines.as_deref()), heap, goroutines);
        let _turn = self.reading.acquire().await.map_err(|it| it.to_string())?;
        // A large profile is a tenth of a second of work, or more.
        let (blame, heap, goroutines) = tokio::task::spawn_blocking(read).await.map_err(|it| it.to_string())?;
        let blame = blame?;
        let name = |kind| file_name(&target.subject, now, kind);
        if let Some(goroutines) = goroutines {
            shelf.keep(&name("goroutine"), &goroutines).await.map_err(|it| format!("it cannot be stored: {it}"))?;
        }
        shelf.keep(&name("heap"), &heap).await.map_err(|it| format!("it cannot be stored: {it}"))?;
        Ok((blame, name("heap")))
    }

    async fn fetched(&self, through: Through, target: &Target, page: &Page, kind: Kind) -> Result<Vec<u8>, FetchError> {
        let Subject { namespace, pod, .. } = &target.subject;
        let port = page.port.to_string();
        let proxied = pprof::Page { namespace, pod, port: &port, path: &page.path };
        let address = target.pod_ips.iter().find_map(|it| it.parse::<IpAddr>().ok());
        // Not through the API server either, which would ask there for us.
        address.map_or(Ok(()), self.reach)?;
        match (through, address) {
            (Through::ApiServer, _) | (Through::Auto, None) => fetch(&self.client, &proxied, kind).await,
            (_, Some(address)) => match fetch_directly(&self.http, address, page, kind).await {
                // The network may forbid what the API server may do.
                Err(FetchError::Unreachable { place, why }) if through == Through::Auto => {
                    let proxied = fetch(&self.client, &proxied, kind).await;
                    proxied.map_err(|second| FetchError::BothWays { place, why, second: second.to_string() })
                }
                other => other,
            },
            (Through::PodIp, None) => {
                Err(FetchError::Unreachable { place: pod.clone(), why: "the pod has no address".to_owned() })
            }
        }
    }
}

/// Reads both profiles.
fn blamed(heap: &[u8], goroutines: Option<&[u8]>) -> Result<Blame, String> {
    let heap = Profile::parse(heap).map_err(|it| format!("what came is no heap profile: {it}"))?;
    let census = goroutines.and_then(|it| Census::of(&Profile::parse(it).ok()?).ok());
    blame(&heap, census.map(|it| it.channels), None).map_err(|it| format!("what came is no heap profile: {it}"))
}

/// `shop_orders-7d9f-abcde_app_20261125T214233Z.heap.pb.gz`: names of Kubernetes hold no underscore.
fn file_name(subject: &Subject, now: Timestamp, kind: &str) -> String {
    let Subject { namespace, pod, container, .. } = subject;
    let stamp = now.strftime("%Y%m%dT%H%M%SZ");
    // A name may be as long as a file's may be.
    let pod = &pod[pod.len().saturating_sub(100)..];
    format!("{namespace}_{pod}_{container}_{stamp}.{kind}.pb.gz")
}
