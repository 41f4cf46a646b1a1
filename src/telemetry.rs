//! Logs to standard error, and traces by OTLP when an endpoint is given.

use std::io::IsTerminal;

use anyhow::Context;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::args::LogFormat;

/// What runs while the program runs.
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// Starts logging, and tracing if it is asked for.
///
/// # Errors
/// The filter is not one, the exporter's settings cannot work, or logging was started before.
pub fn start(filter: &str, format: LogFormat, otlp_endpoint: Option<&str>) -> anyhow::Result<Telemetry> {
    let filter = EnvFilter::try_new(filter).context("--log-level is not a filter")?;
    // It logs every refused handshake, and what refused it is in the query's own failure already.
    let filter = filter.add_directive("rustls_platform_verifier=off".parse().context("a directive")?);
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let logs = match format {
        LogFormat::Text => logs.with_target(false).boxed(),
        LogFormat::Json => logs.json().flatten_event(true).boxed(),
    };
    let traces = otlp_endpoint.map(exporter).transpose()?;
    let spans = traces.as_ref().map(|it| tracing_opentelemetry::layer().with_tracer(it.tracer("grpc-hygiene")));
    tracing_subscriber::registry().with(filter).with(logs).with(spans).try_init().context("cannot start logging")?;
    Ok(Telemetry { traces })
}

impl Telemetry {
    /// Sends what is left.
    pub fn stop(self) {
        if let Some(Err(error)) = self.traces.map(|it| it.shutdown()) {
            eprintln!("warning: the last traces were not sent: {error}");
        }
    }
}

fn exporter(endpoint: &str) -> anyhow::Result<SdkTracerProvider> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()
        .context("the settings for traces cannot work")?;
    let resource = Resource::builder().with_service_name("grpc-hygiene").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
