//! The acting client: the only way by which anything in the cluster is changed, but for status, events and the lease.
//! And the gate before it, which the status and the events pass, too.
//!
//! The client makes one attempt and no second one, waits 15 seconds for an answer, and looks right before each request
//! is sent whether we still lead and whether the decision is still fresh. It decides nothing about what is sent.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future, future::BoxFuture};
use http::{Method, Request};
use kube::{
    Client, Config, Error,
    client::{Body, ClientBuilder},
};
use tokio::time::{Instant, timeout};
use tower::{BoxError, Layer, Service};

use crate::{
    decide::Because,
    io::{
        http::{printable, root_cause},
        leadership::Leadership,
    },
};

/// The longest wait for an answer. The API server itself may take 10 s over an eviction.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Answers that prove that the request did nothing and will do nothing: not understood, not allowed, gone, changed,
/// invalid, refused for now.
const REFUSALS: [u16; 7] = [400, 401, 403, 404, 409, 422, 429];
/// The cause in a 429 that comes from a `PodDisruptionBudget` and not from the API server's own throttling.
const BUDGET_CAUSE: &str = "DisruptionBudget";

/// The moment after which a request may not be sent any more.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    #[must_use]
    pub fn after(span: Duration) -> Self {
        Self(Instant::now() + span)
    }

    /// Whichever is first.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }
}

/// Why a request was not sent, or has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not sent: we do not lead.
    #[error("this replica is not the leader")]
    NotLeader,
    /// Not sent: the decision is no longer fresh.
    #[error("too much time went by before the request could be sent")]
    TooLate,
    /// Sent, and what became of it is not known.
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    NoAnswer,
}

/// The same connection in the name of a service account of this namespace, or in our own. Groups are not named: of a
/// service account the API server knows them, and each named one would need a right of its own.
#[must_use]
pub fn acting_as(mut config: Config, namespace: &str, account: Option<&str>) -> Config {
    if let Some(account) = account {
        config.auth_info.impersonate = Some(format!("system:serviceaccount:{namespace}:{account}"));
        config.auth_info.impersonate_groups = None;
    }
    config
}

/// Builds the acting client.
///
/// # Errors
/// The configuration does not make a client.
pub fn client(mut config: Config, leadership: &Leadership) -> Result<Client, Error> {
    config.default_retry = false;
    config.connect_timeout = Some(TIMEOUT);
    config.read_timeout = Some(TIMEOUT);
    config.write_timeout = Some(TIMEOUT);
    config.reset_reader_on_write = true;
    Ok(ClientBuilder::try_from(config)?.with_layer(&Gate::new(leadership)).build())
}

/// Sends a request that changes something, unless its time is over. The answer's body is not looked at: a change that
/// was made is made, whatever the words.
///
/// # Errors
/// It was not sent, was refused, or has no answer; see [`proves_nothing_happened`].
pub async fn send(client: &Client, mut request: Request<Vec<u8>>, deadline: Deadline) -> Result<(), Error> {
    request.extensions_mut().insert(deadline);
    client.request_text(request).await.map(drop)
}

/// Whether a failed request certainly changed nothing and never will. What is not certain may still happen.
#[must_use]
pub fn proves_nothing_happened(error: &Error) -> bool {
    match error {
        Error::Api(status) => REFUSALS.contains(&status.code),
        Error::BuildRequest(_) => true,
        other => matches!(refused(other), Some(Refused::NotLeader | Refused::TooLate)),
    }
}

/// The name of a failure.
#[must_use]
pub fn because(error: &Error) -> Because {
    match (refused(error), error) {
        (Some(Refused::NotLeader), _) => Because::NotLeader,
        (Some(late @ Refused::TooLate), _) => Because::Changed { what: late.to_string() },
        (_, Error::Api(status)) if status.code == 429 && budget(status).is_some() => {
            Because::DisruptionBudget { name: budget(status).unwrap_or_default() }
        }
        (_, Error::Api(_)) if is_about_another(error) => Because::Changed { what: reason(error) },
        _ => Because::RequestFailed { reason: reason(error) },
    }
}

/// Whether the object of a request is gone, has another version, or another UID. The API server checks a UID in a patch
/// as a field that may not change, and calls another one invalid (422).
#[must_use]
pub fn is_about_another(error: &Error) -> bool {
    let Error::Api(status) = error else { return false };
    let causes = || status.details.iter().flat_map(|it| &it.causes);
    matches!(status.code, 404 | 409) || (status.code == 422 && causes().any(|it| it.field == "metadata.uid"))
}

/// What went wrong, for people: one short line.
#[must_use]
pub fn reason(error: &Error) -> String {
    match error {
        Error::Api(status) if status.message.is_empty() => format!("the API server answered {}", status.code),
        Error::Api(status) => printable(&status.message),
        other => root_cause(other),
    }
}

fn refused(error: &Error) -> Option<Refused> {
    match error {
        Error::Service(inner) => inner.downcast_ref::<Refused>().copied(),
        _ => None,
    }
}

/// The budget that refused an eviction. Its name stands only in a sentence of the API server:
/// "The disruption budget NAME needs 3 healthy pods and has 3 currently".
fn budget(status: &kube::core::Status) -> Option<String> {
    let details = status.details.as_ref()?;
    let cause = details.causes.iter().find(|it| it.reason == BUDGET_CAUSE)?;
    let name = cause.message.strip_prefix("The disruption budget ").and_then(|it| it.split_whitespace().next());
    Some(printable(name.unwrap_or(&cause.message)))
}

/// Builds the client that observes and reports. What it reads it reads at any time; a leader that stood still and has
/// lost the lease meanwhile writes no status and no event.
///
/// # Errors
/// The configuration does not make a client.
pub fn reporting(config: Config, leadership: &Leadership) -> Result<Client, Error> {
    Ok(ClientBuilder::try_from(config)?.with_layer(&Gate::of_writes(leadership)).build())
}

/// Asks right before each request whether it may be sent.
#[derive(Clone, Debug)]
pub struct Gate {
    leadership: Leadership,
    only_writes: bool,
}

impl Gate {
    /// A gate that opens while we lead, for 15 seconds a request.
    #[must_use]
    pub fn new(leadership: &Leadership) -> Self {
        Self { leadership: leadership.clone(), only_writes: false }
    }

    /// A gate that opens for reads always, and for writes while we lead, for 15 seconds a request.
    #[must_use]
    pub fn of_writes(leadership: &Leadership) -> Self {
        Self { leadership: leadership.clone(), only_writes: true }
    }

    fn check(&self, deadline: Option<Deadline>) -> Result<(), Refused> {
        if !self.leadership.is_held() {
            return Err(Refused::NotLeader);
        }
        match deadline {
            Some(Deadline(at)) if Instant::now() >= at => Err(Refused::TooLate),
            _ => Ok(()),
        }
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, gate: self.clone() }
    }
}

/// See [`Gate`].
#[derive(Clone, Debug)]
pub struct Gated<S> {
    inner: S,
    gate: Gate,
}

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>>,
    S::Error: Into<BoxError>,
    S::Response: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let gate = self.gate.clone();
        if gate.only_writes && *request.method() == Method::GET {
            let answer = self.inner.call(request);
            return async move { answer.await.map_err(Into::into) }.boxed();
        }
        let deadline = request.extensions().get::<Deadline>().copied();
        if let Err(refused) = gate.check(deadline) {
            return future::ready(Err(refused.into())).boxed();
        }
        let answer = self.inner.call(request);
        async move {
            // A queue lies between the call and this line, and nothing between this line and the connection.
            gate.check(deadline)?;
            timeout(TIMEOUT, answer).await.map_err(|_| Refused::NoAnswer)?.map_err(Into::into)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use kube::core::{
        Status,
        response::{StatusCause, StatusDetails},
    };

    use super::*;

    fn api(code: u16, message: &str) -> Error {
        Error::Api(Status::failure(message, "").with_code(code).boxed())
    }

    fn blocked(message: &str) -> Error {
        let cause = StatusCause { reason: BUDGET_CAUSE.into(), message: message.into(), field: String::new() };
        let details: StatusDetails = serde_json::from_value(serde_json::json!({"causes": [cause]})).expect("details");
        Error::Api(Status::failure("Cannot evict pod", "TooManyRequests").with_code(429).with_details(details).boxed())
    }

    #[test]
    fn an_account_is_one_of_our_own_namespace_and_none_leaves_the_connection_as_it_is() {
        let ours = Config::new(http::Uri::from_static("https://kubernetes.default.svc"));
        let other = acting_as(ours.clone(), "hygiene", Some("actor")).auth_info;
        assert_eq!(other.impersonate.as_deref(), Some("system:serviceaccount:hygiene:actor"));
        assert_eq!(other.impersonate_groups, None);
        assert_eq!(acting_as(ours, "hygiene", None).auth_info.impersonate, None);
    }

    #[tokio::test]
    async fn a_status_is_not_written_by_one_who_does_not_lead_and_everything_is_read() {
        let gate = Gate::of_writes(&Leadership::default());
        let server = tower::service_fn(|_: Request<Body>| future::ready(Ok::<_, BoxError>(())));
        let mut sending = gate.layer(server);
        let mut send = |method: Method| {
            let request = Request::builder().method(method).body(Body::empty()).expect("a request");
            sending.call(request)
        };
        assert!(send(Method::GET).await.is_ok());
        for method in [Method::PATCH, Method::POST, Method::PUT, Method::DELETE] {
            let refused = send(method).await.expect_err("a write").downcast::<Refused>().expect("ours");
            assert_eq!(*refused, Refused::NotLeader);
        }
    }

    #[test]
    fn a_budget_that_refuses_is_named() {
        let named = |message: &str| because(&blocked(message));
        let name = |name: &str| Because::DisruptionBudget { name: name.to_owned() };
        assert_eq!(named("The disruption budget orders needs 3 healthy pods and has 3 currently"), name("orders"));
        assert_eq!(named("The disruption budget orders is still being processed by the server."), name("orders"));
        assert_eq!(named("no"), name("no"));
    }

    #[test]
    fn throttling_is_not_taken_for_a_budget() {
        assert_eq!(because(&api(429, "slow down")), Because::RequestFailed { reason: "slow down".into() });
    }

    #[test]
    fn only_definite_answers_prove_that_nothing_happened() {
        for code in REFUSALS {
            assert!(proves_nothing_happened(&api(code, "")), "{code}");
        }
        for code in [408, 500, 502, 503, 504] {
            assert!(!proves_nothing_happened(&api(code, "")), "{code}");
        }
        assert!(proves_nothing_happened(&Error::Service(Refused::NotLeader.into())));
        assert!(proves_nothing_happened(&Error::Service(Refused::TooLate.into())));
        assert!(!proves_nothing_happened(&Error::Service(Refused::NoAnswer.into())));
        assert!(!proves_nothing_happened(&Error::Service("connection reset".into())));
    }
}
