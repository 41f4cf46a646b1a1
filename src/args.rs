//! Every flag and every environment variable. Nothing else in the program reads the environment, but for libraries:
//! `KUBECONFIG` and the pod's service account for the Kubernetes API, the finer `OTEL_*` settings for traces.

mod approve;
mod clients;
mod lint;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args as Fields, Parser, Subcommand, ValueEnum};

pub use approve::ApproveArgs;
pub use clients::ClientsArgs;
pub use lint::LintArgs;

/// Finds gRPC clients that leak connections, names the cause, alerts, and restarts them safely when told to.
#[derive(Clone, Debug, Parser)]
#[command(name = "grpc-hygiene", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How much to log: error, warn, info, debug, trace, or a filter such as `grpc_hygiene=debug,kube=warn`.
    #[arg(
        long,
        global = true,
        env = "GRPC_HYGIENE_LOG",
        default_value = "info,kube_runtime::controller=warn",
        value_name = "FILTER",
        display_order = 100
    )]
    pub log_level: String,
    /// How to log. Logs go to standard error.
    #[arg(
        long,
        global = true,
        env = "GRPC_HYGIENE_LOG_FORMAT",
        default_value = "text",
        value_name = "FORMAT",
        display_order = 101
    )]
    pub log_format: LogFormat,
    /// Where to send traces (OTLP over HTTP). Not set: no traces. The other OTEL_* variables work, too.
    #[arg(long, global = true, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", display_order = 102)]
    pub otlp_endpoint: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  # Judge one policy now, with nothing but a Prometheus
  grpc-hygiene check -f policy.yaml --prometheus http://localhost:9090

  # Judge all policies of the cluster of your kubeconfig
  grpc-hygiene check --prometheus http://localhost:9090

  # Why is this pod judged as it is?
  grpc-hygiene explain orders-7d9f-abcde -n shop --prometheus http://localhost:9090

  # What would this policy have done in the last week?
  grpc-hygiene backtest -f policy.yaml --prometheus http://localhost:9090

  # Which line of code leaks?
  grpc-hygiene blame heap.pb.gz

  # Who holds the connections that this Service suffers from?
  grpc-hygiene clients users -n shop --prometheus http://localhost:9090

  # Which restarts wait for a yes, and say it
  grpc-hygiene approve shop/clients
  grpc-hygiene approve shop/clients Deployment/orders

  # Run the tests of your policies
  grpc-hygiene test policies/

  # Is the policy right, and does the keepalive of clients and server agree?
  grpc-hygiene lint -f policy.yaml

  # Install the custom resources by hand
  grpc-hygiene crd | kubectl apply -f -

Placed in the PATH as kubectl-grpc_hygiene, it is also `kubectl grpc-hygiene`.";

/// How to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the operator.
    Run(RunArgs),
    /// Judge policies once, print the verdicts and what would be done; change nothing.
    #[command(after_help = CHECK_HELP)]
    Check(CheckArgs),
    /// Show every signal, trend, threshold and verdict of one pod, and what holds an action back.
    #[command(after_help = EXPLAIN_HELP)]
    Explain(ExplainArgs),
    /// Replay a policy over the past and compare it with the OOM kills that happened; change nothing.
    #[command(after_help = BACKTEST_HELP)]
    Backtest(BacktestArgs),
    /// Name the lines of code that hold leaked channels, by a heap profile from a file or a running pod.
    #[command(after_help = BLAME_HELP)]
    Blame(BlameArgs),
    /// Rank the clients of a Service by the connections that they hold and open, and name the one that stands out.
    #[command(after_help = clients::HELP)]
    Clients(ClientsArgs),
    /// Test policies: made-up series in, findings and actions out. Needs no cluster and no metrics backend.
    #[command(after_help = TEST_HELP)]
    Test(TestArgs),
    /// Find what is wrong with policies, and with the keepalive that they declare. Needs no cluster.
    #[command(after_help = lint::LINT_HELP)]
    Lint(LintArgs),
    /// List the restarts that wait for a person, and say yes to one.
    #[command(after_help = approve::APPROVE_HELP)]
    Approve(ApproveArgs),
    /// Print the CustomResourceDefinitions as YAML.
    Crd(CrdArgs),
    /// Remove our annotations from pods and workloads. The chart runs it when it is uninstalled.
    Cleanup,
}

const CHECK_HELP: &str = "\
Exit codes:
  0  every container that could be judged is clean
  1  somebody breaks a policy
  2  nothing could be judged, or the question was wrong

Examples:
  grpc-hygiene check -f policy.yaml --prometheus http://localhost:9090
  grpc-hygiene check -n shop --config /etc/grpc-hygiene/config.yaml -o json";

const EXPLAIN_HELP: &str = "\
Examples:
  grpc-hygiene explain orders-7d9f-abcde -n shop --prometheus http://localhost:9090
  grpc-hygiene explain orders-1 -n shop -f policy.yaml --prometheus http://localhost:9090";

const BACKTEST_HELP: &str = "\
Exit codes:
  0  nobody would have been flagged
  1  somebody would have been flagged
  2  nothing could be judged, or the question was wrong

What was recorded is replayed as it was: a restart that the policy would have made is counted, but does not change what
came after it. A policy in mode DryRun is replayed as if it were Enforce.

Examples:
  # The last seven days of a Prometheus
  grpc-hygiene backtest -f policy.yaml --prometheus http://localhost:9090

  # Two days around an incident, as a page with curves
  grpc-hygiene backtest -f policy.yaml --prometheus http://localhost:9090 \\
    --since 2026-11-20T00:00:00Z --until 2026-11-22T00:00:00Z --html incident.html

  # A recorded incident, without a server
  curl -s http://victoria:8428/api/v1/export -d 'match[]={namespace=\"shop\"}' | gzip > incident.jsonl.gz
  grpc-hygiene backtest -f policy.yaml --series incident.jsonl.gz

  # Every alert, for a script
  grpc-hygiene backtest -f policy.yaml --series incident.jsonl.gz -o json | jq 'select(.kind == \"alert\")'

docs/backtest.md describes the JSON and how to record an incident.";

const BLAME_HELP: &str = "\
Any heap profile of a Go program will do, also one from before an outage. A site is accused when it surely holds 20
channels or more; a client that is made once is listed, and not accused. Goroutines make the numbers exact: give that
profile, too (a running pod is asked for both).

Exit codes:
  0  nobody is to blame
  1  somebody is
  2  the question was wrong, or what was found is no profile
  3  the pod serves no profiles; how to get one is printed

Examples:
  grpc-hygiene blame heap.pb.gz
  grpc-hygiene blame heap.pb.gz --goroutines goroutine.pb.gz --stacks
  grpc-hygiene blame now.pb.gz --diff an-hour-ago.pb.gz
  grpc-hygiene blame orders-7d9f-abcde -n shop --port 6060 --save heap.pb.gz
  curl -s localhost:6060/debug/pprof/heap | grpc-hygiene blame - -o json";

const TEST_HELP: &str = "\
A test file gives a policy, series in promtool's notation, and what is expected:

  policy: policy.yaml              # beside the test, or written out here
  tests:
  - name: a client that dials per call is alerted on and not restarted
    input_series:                  # one sample a minute: `interval: 1m`
    - series: grpc_subchannel_open_connections{namespace=\"shop\",pod=\"orders-1\",container=\"app\"}
      values: 1+6x180              # 1, 7, 13, … and _xn for n missing samples
    - series: grpc_client_attempt_started_total{namespace=\"shop\",pod=\"orders-1\",container=\"app\"}
      values: 0+20x180
    expect:
    - {by: 1h, pod: orders-1, finding: DialPerCall}
    - {at: 3h, pod: orders-1, actions: [Annotate, Alert]}
    - {never: true, actions: [Restart]}

docs/policy-tests.md explains every field.

Exit codes:
  0  every test passed
  1  a test failed
  2  a file cannot be used, or there is no test

Examples:
  grpc-hygiene test policies/
  grpc-hygiene test policies/ --run restart --junit report.xml";

/// Flags of `run`.
#[derive(Clone, Debug, Fields)]
pub struct RunArgs {
    /// The operator's configuration file.
    #[arg(long, env = "GRPC_HYGIENE_CONFIG", value_name = "FILE")]
    pub config: PathBuf,
    /// Where to serve /livez, /readyz and /metrics.
    #[arg(long, env = "GRPC_HYGIENE_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// The operator's own namespace: its lease and its ledgers live there.
    #[arg(long, env = "GRPC_HYGIENE_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: String,
    /// This replica's name in the lease. Must differ between replicas: use the pod's name and UID.
    #[arg(long, env = "GRPC_HYGIENE_IDENTITY", value_name = "NAME")]
    pub identity: String,
    /// The service account of --namespace in whose name pods, workloads and ledgers are changed; the operator's own needs
    /// the right to impersonate it. Not set: the operator changes them in its own name.
    #[arg(long, env = "GRPC_HYGIENE_ACT_AS", value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub act_as: Option<String>,
    /// The folder where profiles of offenders are stored. Not set: none is taken.
    #[arg(long, env = "GRPC_HYGIENE_PROFILES_DIR", value_name = "FOLDER")]
    pub profiles_dir: Option<PathBuf>,
    /// How much the stored profiles may take, MiB; the oldest make room.
    #[arg(long, env = "GRPC_HYGIENE_PROFILES_LIMIT", default_value_t = 200, value_name = "MIB",
        value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub profiles_limit: u64,
    /// Where to serve the stored profiles, /profiles/NAME. They show the insides of programs, so the default is the
    /// pod's own loopback, which `kubectl port-forward` reaches for whoever may use it.
    #[arg(long, env = "GRPC_HYGIENE_PROFILES_LISTEN", default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    pub profiles_listen: SocketAddr,
}

/// Where metrics are read.
#[derive(Clone, Debug, Fields)]
pub struct BackendArgs {
    /// The metrics backend's address. Instead of --config.
    #[arg(
        long,
        env = "GRPC_HYGIENE_PROMETHEUS",
        value_name = "URL",
        conflicts_with = "config",
        required_unless_present = "config"
    )]
    pub prometheus: Option<String>,
    /// The operator's configuration file: address, credentials and custom sources.
    #[arg(long, env = "GRPC_HYGIENE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Where metrics are read and which policies are meant.
#[derive(Clone, Debug, Fields)]
pub struct SourceArgs {
    /// Where metrics are read.
    #[command(flatten)]
    pub backend: BackendArgs,
    /// Read policies from this file instead of the cluster. `-` is standard input.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Look at this namespace. Default: the policy's own, else all that have policies.
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Ask no Kubernetes API: the targets are whoever has series. Needs --filename.
    #[arg(long, requires = "file")]
    pub offline: bool,
    /// The namespace that the operator runs in: its ledgers of restarts live there.
    #[arg(long, env = "GRPC_HYGIENE_NAMESPACE", default_value = "grpc-hygiene", value_name = "NAMESPACE")]
    pub operator_namespace: String,
}

/// Flags of `check`.
#[derive(Clone, Debug, Fields)]
pub struct CheckArgs {
    /// Where metrics are read and which policies are meant.
    #[command(flatten)]
    pub source: SourceArgs,
    /// How to print.
    #[arg(short, long, default_value = "table")]
    pub output: Output,
}

/// Flags of `explain`.
#[derive(Clone, Debug, Fields)]
pub struct ExplainArgs {
    /// The pod's name.
    pub pod: String,
    /// Where metrics are read and which policies are meant.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Flags of `backtest`.
#[derive(Clone, Debug, Fields)]
pub struct BacktestArgs {
    /// The policies to replay. `-` is standard input.
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub file: PathBuf,
    /// Where the past is read from.
    #[command(flatten)]
    pub past: PastArgs,
    /// Where to begin: a duration before the end, or a time (RFC 3339). Default: 7d; with --series the first sample.
    #[arg(long, value_name = "DURATION|TIME")]
    pub since: Option<String>,
    /// Where to end: a time (RFC 3339), or a duration before now. Default: now; with --series the last sample.
    #[arg(long, value_name = "DURATION|TIME")]
    pub until: Option<String>,
    /// The time between two evaluations. Default: the policy's interval, or a 1152nd of its window if that is longer.
    #[arg(long, value_name = "DURATION")]
    pub step: Option<String>,
    /// Look at this namespace; may be given more than once. Default: the policy's own; with --series, all in the
    /// file for a policy that names none.
    #[arg(short, long = "namespace", value_name = "NAMESPACE")]
    pub namespaces: Vec<String>,
    /// How to print. JSON is one event a line.
    #[arg(short, long, default_value = "table")]
    pub output: ReplayOutput,
    /// Write the HTML page to this file, besides what is printed.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Skip lines of --series that cannot be understood, and say how many.
    #[arg(long, requires = "series")]
    pub skip_bad: bool,
    /// Show no progress bar. There is none anyway when standard error is not a terminal.
    #[arg(long)]
    pub no_progress: bool,
}

/// Where the past is read from. Files come first, so that the variables of an operator's pod do not stand in their way.
#[derive(Clone, Debug, Fields)]
#[group(required = true, multiple = true)]
pub struct PastArgs {
    /// The metrics backend's address. Instead of --config.
    #[arg(long, env = "GRPC_HYGIENE_PROMETHEUS", value_name = "URL", conflicts_with = "config")]
    pub prometheus: Option<String>,
    /// The operator's configuration file: address, credentials and custom sources.
    #[arg(long, env = "GRPC_HYGIENE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Recorded series: JSON lines as VictoriaMetrics exports them, plain or gzip. `-` is standard input. When it is
    /// given, no server is asked.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub series: Vec<PathBuf>,
}

/// Flags of `blame`.
#[derive(Clone, Debug, Default, Fields)]
pub struct BlameArgs {
    /// A heap profile in pprof's format (`-`: standard input), or a pod.
    #[arg(value_name = "FILE|POD")]
    pub of: String,
    /// The goroutine profile of the same moment.
    #[arg(long, value_name = "FILE")]
    pub goroutines: Option<PathBuf>,
    /// An earlier heap profile of the same program, a file, or a younger pod of the same workload: accuse only what grew.
    #[arg(long, value_name = "FILE|POD")]
    pub diff: Option<String>,
    /// Show who called the sites.
    #[arg(long)]
    pub stacks: bool,
    /// How to print.
    #[arg(short, long, default_value = "table")]
    pub output: Output,
    /// The pod's namespace. Default: the kubeconfig's.
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The port that the pod serves pprof on, a number or a name.
    #[arg(long, default_value = "6060", value_name = "PORT")]
    pub port: String,
    /// The path that pprof's pages are below.
    #[arg(long, default_value = "/debug/pprof", value_name = "PATH")]
    pub path: String,
    /// Keep the pod's heap profile in this file, for `go tool pprof`.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// Flags of `test`.
#[derive(Clone, Debug, Fields)]
pub struct TestArgs {
    /// Test files, and folders that are searched for *_test.yaml and *.test.yaml, however deep.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Only the tests whose name this regular expression matches.
    #[arg(long, value_name = "REGEX")]
    pub run: Option<String>,
    /// Also write a report for the CI system to this file, in junit's XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// Flags of `crd`.
#[derive(Clone, Debug, Fields)]
pub struct CrdArgs {
    /// Write one file per definition into this folder instead of printing.
    #[arg(long, value_name = "FOLDER")]
    pub output_dir: Option<PathBuf>,
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For machines.
    Json,
}

/// How `backtest` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplayOutput {
    /// For people.
    Table,
    /// For machines: one event a line.
    Json,
    /// For people, with curves: one page that needs nothing else.
    Html,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Args::command().debug_assert();
    }
}
