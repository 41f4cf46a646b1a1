//! `grpc-hygiene cleanup`: removes our annotations everywhere. The chart runs it when it is uninstalled, after the
//! operator is gone; so it needs no lease, and removing twice does no harm.

use std::process::ExitCode;

use anyhow::Context;
use kube::Client;
use tracing::info;

use crate::io::sweep;

/// Removes the annotations.
///
/// # Errors
/// No cluster is configured, or the API refuses.
pub async fn cleanup() -> anyhow::Result<ExitCode> {
    let client = Client::try_default().await.context("no Kubernetes cluster is configured")?;
    let swept = sweep::cleanup(&client).await.context("annotations cannot be removed")?;
    info!(?swept, "annotations removed");
    Ok(if swept.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
