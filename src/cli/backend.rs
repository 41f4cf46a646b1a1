//! The metrics backend that the flags mean: what `check`, `explain`, `backtest` and `clients` share. It asks nothing but
//! whether the backend answers.

use std::path::Path;

use anyhow::{Context, bail};

use crate::io::{config::Config, prometheus::Prometheus};

/// A backend that answers, by its address or by the operator's configuration, which wins.
///
/// # Errors
/// The address or the configuration cannot work, the backend does not answer, or neither is given: `missing` says what
/// is to be given.
pub async fn backend(
    prometheus: Option<&str>,
    config: Option<&Path>,
    missing: &str,
) -> anyhow::Result<(Prometheus, Config)> {
    let config = match (config, prometheus) {
        (Some(path), _) => Config::load(path)?,
        (None, Some(url)) => Config::with_prometheus(url).context("--prometheus")?,
        (None, None) => bail!("{missing}"),
    };
    let prometheus = Prometheus::new(&config.prometheus)?;
    prometheus.probe().await.with_context(|| format!("cannot use {}", config.prometheus.address()))?;
    Ok((prometheus, config))
}
