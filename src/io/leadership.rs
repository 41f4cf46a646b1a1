//! Leader election, and the question that everything which acts asks right before it acts: do we still lead?
//!
//! The election itself is client-go's protocol, from the crate `k8s-controller`. A lease is no fence: a leader that
//! was stopped and resumed finds out late. So the time of the last successful renewal is noted at the wire, and
//! [`Leadership::is_held`] counts from there. What is safe with two leaders even so stands in `io::ledger`.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use http::{Method, Request, Response};
use k8s_controller::LeaderElection;
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use tower::{Layer, Service};
use tracing::{info, warn};

/// The name of the Lease.
pub const LEASE: &str = "grpc-hygiene";
/// A renewal older than this counts for nothing: client-go's renew deadline. Others take the lease over 15 s after
/// the last renewal that they see.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Between two renewals: three fit into the renew deadline. client-go's 2 s would cost one request a second, for each renewal
/// reads the lease and writes it, and a standby reads it as often.
const RENEW_EVERY: Duration = Duration::from_secs(3);
/// The longest that one request about the lease may take: two of them fit into the renew deadline.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether this process leads. Clones share what they know.
#[derive(Clone, Debug, Default)]
pub struct Leadership(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The guarded work runs.
    leading: bool,
    /// Right before the last request was sent that made or renewed the lease.
    renewed: Option<Instant>,
}

/// How a term ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Term<T> {
    /// The work was finished, and the lease released.
    Finished(T),
    /// The lease was lost, and the work dropped.
    Lost,
    /// Shutdown was asked for: the work was dropped, and the lease released.
    Stopped,
}

impl Leadership {
    /// Whether we lead: the work runs, and the lease was renewed less than [`RENEW_DEADLINE`] ago by a clock that
    /// nobody can set.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_held_at(Instant::now())
    }

    fn is_held_at(&self, now: Instant) -> bool {
        let state = self.state();
        state.leading && state.renewed.is_some_and(|it| now.saturating_duration_since(it) < RENEW_DEADLINE)
    }

    /// The client for the election, and for nothing else: every write that it makes counts as a renewal.
    ///
    /// # Errors
    /// The configuration does not make a client.
    pub fn client(&self, mut config: Config) -> Result<Client, kube::Error> {
        config.default_retry = false;
        config.connect_timeout = Some(REQUEST_TIMEOUT);
        config.read_timeout = Some(REQUEST_TIMEOUT);
        config.write_timeout = Some(REQUEST_TIMEOUT);
        config.reset_reader_on_write = true;
        Ok(ClientBuilder::try_from(config)?.with_layer(&self.layer()).build())
    }

    /// What notes renewals on the way of a client.
    #[must_use]
    pub fn layer(&self) -> NoteRenewals {
        NoteRenewals(self.clone())
    }

    fn renewed(&self, sent: Instant) {
        let mut state = self.state();
        state.renewed = state.renewed.max(Some(sent));
    }

    fn begin(&self) -> Office {
        self.state().leading = true;
        Office(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the lease, then runs `work` for as long as it is held. `work` is dropped as soon as the lease is lost or
/// `shutdown` completes; so it may spawn nothing that acts. `client` is [`Leadership::client`].
///
/// # Panics
/// `identity` is empty. It must be unique, too: two processes of one identity would both lead.
pub async fn lead<T>(
    client: Client,
    leadership: &Leadership,
    namespace: &str,
    identity: &str,
    shutdown: impl Future<Output = ()>,
    work: impl Future<Output = T>,
) -> Term<T> {
    let election = LeaderElection::new(client, namespace, LEASE, identity).with_retry_period(RENEW_EVERY);
    let guarded = async {
        let _office = leadership.begin();
        work.await
    };
    // Whatever the branch, the work has been dropped when the value is there.
    let ended = tokio::select! {
        biased;
        () = shutdown => None,
        output = election.with_lease(guarded) => Some(output),
    };
    match ended {
        Some(Some(output)) => Term::Finished(output),
        Some(None) => {
            warn!(identity, "no longer the leader");
            Term::Lost
        }
        None => {
            info!(identity, "stopping: releasing the lease");
            election.release().await;
            Term::Stopped
        }
    }
}

/// Lives as long as the guarded work. Releasing the lease is a successful write, too, and must not count.
struct Office(Leadership);

impl Drop for Office {
    fn drop(&mut self) {
        self.0.state().leading = false;
    }
}

/// Notes when the requests of the election's client succeed.
#[derive(Clone, Debug)]
pub struct NoteRenewals(Leadership);

impl<S> Layer<S> for NoteRenewals {
    type Service = Noted<S>;

    fn layer(&self, inner: S) -> Noted<S> {
        Noted { inner, leadership: self.0.clone() }
    }
}

/// See [`NoteRenewals`].
#[derive(Clone, Debug)]
pub struct Noted<S> {
    inner: S,
    leadership: Leadership,
}

impl<S, B> Service<Request<Body>> for Noted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let renews = matches!(*request.method(), Method::PUT | Method::POST);
        let leadership = self.leadership.clone();
        // Others count from when they see the write, which may be long before we see the answer.
        let sent = Instant::now();
        let answer = self.inner.call(request);
        async move {
            let answer = answer.await?;
            if renews && answer.status().is_success() {
                leadership.renewed(sent);
            }
            Ok(answer)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_counts_for_ten_seconds_from_before_it_was_sent() {
        let leadership = Leadership::default();
        let sent = Instant::now();
        let _office = leadership.begin();
        assert!(!leadership.is_held_at(sent));
        leadership.renewed(sent);
        assert!(leadership.is_held_at(sent + Duration::from_millis(9_999)));
        assert!(!leadership.is_held_at(sent + Duration::from_secs(10)));
    }

    #[test]
    fn an_answer_that_comes_late_does_not_take_a_renewal_back() {
        let leadership = Leadership::default();
        let sent = Instant::now();
        let _office = leadership.begin();
        leadership.renewed(sent + Duration::from_secs(4));
        leadership.renewed(sent);
        assert!(leadership.is_held_at(sent + Duration::from_secs(13)));
    }

    #[test]
    fn who_has_left_office_does_not_lead_though_the_release_was_a_write() {
        let leadership = Leadership::default();
        drop(leadership.begin());
        leadership.renewed(Instant::now());
        assert!(!leadership.is_held());
    }
}
