//! The flags of `clients`, and what its help says besides.

use clap::Args as Fields;

use super::{BackendArgs, Output};

/// Shown below the flags.
pub(super) const HELP: &str = "\
Each client is told of by one source, the best that knows it: gRPC's own metrics by target, Coroot,
the proxies of Linkerd and Istio, and last the kubelet's sockets, which know no target. The clients
that had most connections in the whole time come first:

  HELD        connections open now
  OPENED/H    connections opened per hour
  GROWTH/H    by how many the connections held rise per hour
  CALLS/CONN  calls for each connection opened; thousands for a client that shares its channel
  SHARE       its share of all connections held

Coroot and Linkerd know addresses, not names: they are read from the Service and its
EndpointSlices, or given with --address.

Exit codes:
  0  the clients were printed, and nobody stands out
  1  somebody stands out: its connections rise unlike others', it opens them for a few calls each,
     or it holds many times more
  2  the question was wrong, or no client is known

Examples:
  grpc-hygiene clients users -n shop --prometheus http://localhost:9090

  # The last six hours, with credentials from the operator's configuration
  grpc-hygiene clients users -n shop --since 6h --top 3 --config /etc/grpc-hygiene/config.yaml

  # Without a Kubernetes API
  export GRPC_HYGIENE_PROMETHEUS=http://localhost:9090
  grpc-hygiene clients users -n shop --offline --address 10.96.7.20:443

  # Clients of two namespaces, for a script
  grpc-hygiene clients users -n shop --from web --from jobs -o json";

/// Flags of `clients`.
#[derive(Clone, Debug, Fields)]
pub struct ClientsArgs {
    /// The Service's name.
    pub service: String,
    /// The Service's namespace. Default: the kubeconfig's.
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Where metrics are read.
    #[command(flatten)]
    pub backend: BackendArgs,
    /// How far back to look, 5m to 7d.
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    pub since: String,
    /// An address of the Service or of one of its endpoints, besides those that the Kubernetes API knows; may be given
    /// more than once.
    #[arg(long = "address", value_name = "IP[:PORT]")]
    pub addresses: Vec<String>,
    /// Only clients of this namespace; may be given more than once. Default: all; where only sockets are known, the
    /// Service's own namespace.
    #[arg(long, value_name = "NAMESPACE")]
    pub from: Vec<String>,
    /// Ask no Kubernetes API.
    #[arg(long)]
    pub offline: bool,
    /// Print only the first so many clients.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub top: Option<u32>,
    /// How to print.
    #[arg(short, long, default_value = "table")]
    pub output: Output,
}
