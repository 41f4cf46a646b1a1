//! The commands: thin drivers over `decide` and `io`. Nothing is decided here.

mod approve;
mod backend;
mod backtest;
mod blame;
mod check;
mod cleanup;
mod clients;
mod crd;
mod explain;
mod judge;
mod lint;
mod policies;
mod remarks;
mod rows;
pub mod run;
mod test;

use std::process::ExitCode;

use crate::args::Command;

/// Runs a command and says how the process ends.
///
/// # Errors
/// The command could not do its work; the process ends with 2.
pub async fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => run::run(args).await,
        Command::Check(args) => check::check(&args).await,
        Command::Explain(args) => explain::explain(&args).await,
        Command::Backtest(args) => backtest::backtest(&args).await,
        Command::Blame(args) => blame::blame_command(&args).await,
        Command::Clients(args) => clients::clients(&args).await,
        Command::Test(args) => test::test(&args),
        Command::Approve(args) => approve::approve(&args).await,
        Command::Lint(args) => lint::lint(&args),
        Command::Crd(args) => crd::crd(&args),
        Command::Cleanup => cleanup::cleanup().await,
    }
}
