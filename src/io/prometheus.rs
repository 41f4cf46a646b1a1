//! Asks Prometheus, or whatever speaks its API (Thanos, Mimir, `VictoriaMetrics`), for raw samples.
//!
//! `prometheus-http-query` builds and sends the request; the answer is decoded by our own types, since its types lose
//! the warnings that tell a partial answer from a whole one. Bounded everywhere: two requests at a time, a deadline,
//! 64 MiB per answer. Nothing is retried here: the next evaluation asks again.

mod decode;
mod failure;
mod flights;

pub use decode::decode;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use prometheus_http_query::{Client, InstantQueryBuilder};
use reqwest::{
    Response,
    header::{self, HeaderValue},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::{
    decide::{FailureKind, Matrix, QueryFailure, stand_down::AlertingRule},
    io::http::{self, Endpoint, HttpError},
};
use failure::{failure, no_reply, of_http, of_status};
use flights::Flights;

/// Requests at the same time. Prometheus runs 20 queries at once by default and shares them with every dashboard.
const MAX_IN_FLIGHT: usize = 2;
/// A query that has waited this long for its turn is given up.
const MAX_WAIT: Duration = Duration::from_secs(120);
/// The largest answer that is read, bytes after decompression.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// The largest list of rules that is read, bytes: an alert that fires may do so a thousand times.
const MAX_RULES_BODY: usize = 16 * 1024 * 1024;
/// An answer of so many bytes is decoded in a quarter of a millisecond.
const SMALL_BODY: usize = 64 * 1024;
/// The largest error or build information that is read, bytes.
const MAX_SMALL_BODY: usize = 64 * 1024;

/// One metrics backend. Clones share its limits and its answers.
#[derive(Clone)]
pub struct Prometheus {
    backend: Arc<Backend>,
    flights: Flights,
}

struct Backend {
    line: Box<dyn Line>,
    turns: Semaphore,
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

/// What carries a question to the backend and brings the body of its answer. [`Prometheus::new`] takes HTTP.
pub trait Line: Send + Sync {
    /// Asks an instant query, at a time or at the backend's own.
    fn ask<'a>(&'a self, query: &'a str, at: Option<Timestamp>) -> BoxFuture<'a, Result<Vec<u8>, QueryFailure>>;

    /// Asks for the alerting rules of these names, or for more.
    fn alerting_rules<'a>(&'a self, names: &'a BTreeSet<String>) -> BoxFuture<'a, Result<Vec<u8>, QueryFailure>>;

    /// Asks for the build information. Not every backend has it, and none has to.
    fn build_info(&self) -> BoxFuture<'_, Option<Vec<u8>>>;
}

/// HTTP.
struct Http {
    client: Client,
    endpoint: Endpoint,
}

/// What a backend says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendInfo {
    /// Its version. `None` when it does not say.
    pub version: Option<String>,
    /// How far its clock is ahead of ours, seconds; known to within half of `round_trip`.
    pub clock_ahead: f64,
    /// How long the answer took.
    pub round_trip: Duration,
}

impl Prometheus {
    /// A backend at this endpoint. Nothing is sent yet.
    ///
    /// # Errors
    /// The endpoint's certificate authorities cannot be read.
    pub fn new(endpoint: &Endpoint) -> Result<Self, HttpError> {
        let client = Client::from(http::client(endpoint)?, endpoint.url.as_str())
            .map_err(|error| HttpError::Client(error.to_string()))?;
        Ok(Self::over(Http { client, endpoint: endpoint.clone() }))
    }

    /// A backend at the other end of this line.
    #[must_use]
    pub fn over(line: impl Line + 'static) -> Self {
        let backend = Backend { line: Box::new(line), turns: Semaphore::new(MAX_IN_FLIGHT), counts: Mutex::default() };
        Self { backend: Arc::new(backend), flights: Flights::default() }
    }

    /// The samples that an instant query for a range vector (`metric{…}[5m]`) finds at a time, taken down to the
    /// second. Equal queries within five seconds share one answer.
    ///
    /// # Errors
    /// Every way in which there is no answer to judge by; an answer with warnings is not an error.
    pub async fn read(&self, query: &str, at: Timestamp) -> Result<Arc<Matrix>, QueryFailure> {
        self.share(query, at, flights::SHARED_FOR).await
    }

    /// The same for a query that reads buckets of this width, asked at the end of the last whole bucket. The answer
    /// stays the same, and is kept, until the next bucket is whole.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_buckets(
        &self,
        query: &str,
        now: Timestamp,
        width: Duration,
    ) -> Result<Arc<Matrix>, QueryFailure> {
        let width_seconds = i64::try_from(width.as_secs()).unwrap_or(i64::MAX).max(1);
        let at = Timestamp::from_second(now.as_second().div_euclid(width_seconds) * width_seconds).unwrap_or(now);
        self.share(query, at, width.max(flights::SHARED_FOR)).await
    }

    async fn share(&self, query: &str, at: Timestamp, keep: Duration) -> Result<Arc<Matrix>, QueryFailure> {
        let ask = || {
            let (backend, query) = (Arc::clone(&self.backend), query.to_owned());
            async move { backend.ask(&query, at).await.map(Arc::new) }
        };
        self.flights.share(query, at, keep, ask).await
    }

    /// Asks who is there, and what time it is there.
    ///
    /// # Errors
    /// The backend cannot be reached, refuses us, or does not speak Prometheus' API.
    pub async fn probe(&self) -> Result<BackendInfo, QueryFailure> {
        self.backend.probe().await
    }
}

impl Prometheus {
    /// The alerting rules of these names, as they stand now.
    ///
    /// # Errors
    /// There is no answer, or one that may not be whole.
    pub async fn alerting_rules(&self, names: &BTreeSet<String>) -> Result<Vec<AlertingRule>, QueryFailure> {
        self.backend.counted(self.backend.alerting_rules(names)).await
    }

    /// Queries that were sent since this was last asked, by result: `success`, or the failure's reason.
    #[must_use]
    pub fn take_counts(&self) -> BTreeMap<&'static str, u64> {
        mem::take(&mut *self.backend.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Backend {
    async fn ask(&self, query: &str, at: Timestamp) -> Result<Matrix, QueryFailure> {
        self.counted(self.answer(query, at)).await
    }

    async fn counted<T>(&self, answer: impl Future<Output = Result<T, QueryFailure>>) -> Result<T, QueryFailure> {
        let answer = answer.await;
        let result = answer.as_ref().map_or_else(|failure| failure.kind.reason(), |_| "success");
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(result).or_default() += 1;
        answer
    }

    async fn answer(&self, query: &str, at: Timestamp) -> Result<Matrix, QueryFailure> {
        // Held until the answer is decoded, so that two bodies at most are in memory.
        let _turn = self.turn().await?;
        let body = self.line.ask(query, Some(at)).await?;
        let bytes = body.len();
        let matrix = decoded(body).await?;
        tracing::debug!(query, bytes, series = matrix.series.len(), warnings = matrix.warnings.len(), "answered");
        Ok(matrix)
    }

    async fn alerting_rules(&self, names: &BTreeSet<String>) -> Result<Vec<AlertingRule>, QueryFailure> {
        let _turn = self.turn().await?;
        decode::rules(&self.line.alerting_rules(names).await?, names)
    }

    async fn probe(&self) -> Result<BackendInfo, QueryFailure> {
        let _turn = self.turn().await?;
        let before = Timestamp::now();
        // The time of the result, not the value of `time()`: VictoriaMetrics evaluates half a minute back and says so.
        let body = self.line.ask("vector(1)", None).await?;
        let after = Timestamp::now();
        let theirs = decode::decode_time(&body)?;
        let round_trip = after.duration_since(before);
        let ours = before.as_duration().as_secs_f64() + round_trip.as_secs_f64() / 2.0;
        let version = self.line.build_info().await.and_then(|it| decode::decode_version(&it));
        Ok(BackendInfo { version, clock_ahead: theirs - ours, round_trip: round_trip.unsigned_abs() })
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, QueryFailure> {
        match timeout(MAX_WAIT, self.turns.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(failure(FailureKind::Overloaded, "the query waited two minutes for its turn")),
        }
    }
}

/// Decodes an answer. A large one is up to a fifth of a second of work: not on a thread that others wait for. A small one
/// is decoded before another thread would have woken up.
async fn decoded(body: Vec<u8>) -> Result<Matrix, QueryFailure> {
    if body.len() <= SMALL_BODY {
        return decode(&body);
    }
    let decoding = tokio::task::spawn_blocking(move || decode(&body));
    decoding.await.unwrap_or_else(|_| Err(failure(FailureKind::Unexpected, "the answer could not be decoded")))
}

impl Line for Http {
    fn ask<'a>(&'a self, query: &'a str, at: Option<Timestamp>) -> BoxFuture<'a, Result<Vec<u8>, QueryFailure>> {
        let query = self.client.query(query);
        let query = match at {
            Some(at) => query.at(at.as_second()),
            None => query,
        };
        self.query(query).boxed()
    }

    fn alerting_rules<'a>(&'a self, names: &'a BTreeSet<String>) -> BoxFuture<'a, Result<Vec<u8>, QueryFailure>> {
        let rules = async move {
            // A server that does not know how to choose by name sends them all.
            let chosen = names.iter().map(|it| ("rule_name[]", it.as_str()));
            let query: Vec<(&str, &str)> = [("type", "alert")].into_iter().chain(chosen).collect();
            self.get("api/v1/rules", &query, MAX_RULES_BODY).await
        };
        rules.boxed()
    }

    fn build_info(&self) -> BoxFuture<'_, Option<Vec<u8>>> {
        let info = async { self.get("api/v1/status/buildinfo", &[], MAX_SMALL_BODY).await.ok() };
        info.boxed()
    }
}

impl Http {
    async fn query(&self, query: InstantQueryBuilder) -> Result<Vec<u8>, QueryFailure> {
        let mut query = query
            .timeout(self.server_timeout())
            // Thanos and VictoriaMetrics: an error instead of a partial answer. Others ignore it.
            .query("partial_response", "false")
            .query("deny_partial_response", "1")
            // Compressing costs the server three times what the query costs.
            .header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let sent = self.authorization().await?;
        if let Some(value) = &sent {
            query = query.header(header::AUTHORIZATION, value);
        }
        let response = query.post_raw().await.map_err(|error| no_reply(&self.endpoint, &error))?;
        self.body(response, MAX_BODY, sent.as_ref()).await
    }

    async fn get(&self, path: &str, query: &[(&str, &str)], limit: usize) -> Result<Vec<u8>, QueryFailure> {
        let mut request = self.client.inner().get(self.endpoint.join(path)).query(query);
        let sent = self.authorization().await?;
        if let Some(value) = &sent {
            request = request.header(header::AUTHORIZATION, value);
        }
        let response = request.send().await.map_err(|error| no_reply(&self.endpoint, &error))?;
        self.body(response, limit, sent.as_ref()).await
    }

    /// The body of a success; a failure is told by its status and by what the API says in its body. Neither repeats the
    /// credentials that were sent.
    async fn body(
        &self,
        response: Response,
        limit: usize,
        sent: Option<&HeaderValue>,
    ) -> Result<Vec<u8>, QueryFailure> {
        let status = response.status();
        let limit = if status.is_success() { limit } else { MAX_SMALL_BODY };
        let mut read = http::read_capped(response, limit).await;
        if let (Ok(body), Some(sent)) = (&mut read, sent) {
            http::strike_out(body, sent);
        }
        if status.is_success() {
            return read.map_err(|error| of_http(&self.endpoint, &error));
        }
        Err(of_status(status, &read.unwrap_or_default()))
    }

    async fn authorization(&self) -> Result<Option<HeaderValue>, QueryFailure> {
        http::authorization(&self.endpoint).await.map_err(|error| of_http(&self.endpoint, &error))
    }

    /// A little less than ours, milliseconds, so that the server's own sentence still arrives.
    fn server_timeout(&self) -> i64 {
        i64::try_from(self.endpoint.timeout.as_millis() * 9 / 10).unwrap_or(i64::MAX)
    }
}
