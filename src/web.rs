//! The operator's HTTP: `/livez`, `/readyz`, `/metrics`; and, on a listener of its own, the stored profiles. Read-only.
//!
//! Liveness is an internal heartbeat and never depends on the Kubernetes API or Prometheus: an outage they share
//! with us must not restart us on top.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use tokio::net::TcpListener;

use crate::{
    io::shelf::{Shelf, Stored},
    metrics::Metrics,
};

/// What the pages show.
#[derive(Clone)]
pub struct Pages {
    metrics: Arc<Metrics>,
    ready: Arc<AtomicBool>,
}

impl Pages {
    /// Pages of an operator that is not ready yet.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, ready: Arc::default() }
    }

    /// Says that the operator serves, as leader or standby.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }
}

/// Serves until `stop` completes.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    pages: Pages,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(pages);
    axum::serve(listener, routes).with_graceful_shutdown(stop).await
}

/// Serves the stored profiles until `stop` completes: `/profiles` lists them, `/profiles/NAME` is one.
///
/// # Errors
/// The listener fails.
pub async fn serve_profiles(
    listener: TcpListener,
    shelf: Arc<Shelf>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/", get(|| async { Redirect::temporary("/profiles") }))
        .route("/profiles", get(profiles))
        .route("/profiles/{name}", get(profile))
        .with_state(shelf);
    axum::serve(listener, routes).with_graceful_shutdown(stop).await
}

async fn profiles(State(shelf): State<Arc<Shelf>>) -> impl IntoResponse {
    match shelf.list().await {
        Ok(stored) => {
            let line = |it: &Stored| format!("/profiles/{}  {} bytes\n", it.name, it.bytes);
            (StatusCode::OK, stored.iter().map(line).collect::<String>())
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

async fn profile(State(shelf): State<Arc<Shelf>>, Path(name): Path<String>) -> Response {
    match shelf.read(&name).await {
        Ok(Some(bytes)) => ([("content-type", "application/octet-stream")], bytes).into_response(),
        Ok(None) => (StatusCode::NOT_FOUND, "there is no such profile; /profiles lists them\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn readyz(State(pages): State<Pages>) -> impl IntoResponse {
    if pages.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    const TYPE: [(&str, &str); 1] = [("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    match pages.metrics.page() {
        Ok(page) => (StatusCode::OK, TYPE, page),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TYPE, error.to_string()),
    }
}
