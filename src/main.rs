//! The binary: installs the crypto provider, reads the arguments, starts logging, dispatches.

use std::process::ExitCode;

use clap::Parser;
use grpc_hygiene::{args::Args, cli, telemetry};

#[tokio::main]
async fn main() -> ExitCode {
    // Two TLS users (kube and reqwest) share one provider; without this line both would panic.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("error: a crypto provider is installed already");
        return ExitCode::from(2);
    }
    let args = Args::parse();
    let telemetry = match telemetry::start(&args.log_level, args.log_format, args.otlp_endpoint.as_deref()) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(2);
        }
    };
    let code = cli::dispatch(args.command).await.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    });
    telemetry.stop();
    code
}
