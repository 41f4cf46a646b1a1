//! The flags of `lint`, and its help.

use std::path::PathBuf;

use clap::Args as Fields;

use super::Output;

/// Shown below the flags.
pub const LINT_HELP: &str = "\
It tells whether a policy can be read at all (fields, values, ranges), and whether the keepalive
that it declares is one that the server permits:

  spec:
    keepalive:
      client: {language: go, time: 60s, timeout: 20s}
      server: {preset: etcd}         # or minTime, permitWithoutStream, maxConnectionIdle, ...

docs/keepalive.md explains every rule. Annotations on pods are not seen here: `check` reads them.

Exit codes:
  0  clean, or warnings only
  1  an error was found; with --strict, also a warning
  2  a file cannot be read or holds no policy, or the question was wrong

Examples:
  grpc-hygiene lint -f policy.yaml
  grpc-hygiene lint -f policies/*.yaml --strict
  kubectl get gcpol,cgcpol -A -o yaml | grpc-hygiene lint -f -
  grpc-hygiene lint -f policy.yaml -o json | jq '.policies[].remarks[].rule'";

/// Flags of `lint`.
#[derive(Clone, Debug, Fields)]
pub struct LintArgs {
    /// Files of policies, one or more documents each. `-` is standard input.
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true, num_args = 1..)]
    pub files: Vec<PathBuf>,
    /// Let warnings count as errors.
    #[arg(long)]
    pub strict: bool,
    /// How to print.
    #[arg(short, long, default_value = "table")]
    pub output: Output,
}
