//! What the operator costs a cluster of 0, 100, 1,000 and 10,000 pods: requests to the API server, queries to the metrics
//! backend, memory, processor time. The real program, as a process of its own, against an API server and a backend that
//! exist here only as HTTP; nobody leaks, so it watches and acts on nobody.
//!
//! `cargo bench --bench scale`, about four minutes. Sizes of your own: `cargo bench --bench scale -- 5000`.

#[path = "scale/api_server.rs"]
mod api_server;
#[path = "scale/backend.rs"]
mod backend;
#[path = "scale/process.rs"]
mod process;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use api_server::ApiServer;
use process::{Process, Usage};

/// Between two evaluations, seconds; shorter than people have it, so that a run takes minutes.
const INTERVAL: u32 = 15;
/// The default, to which the figures are converted, seconds.
const DEFAULT_INTERVAL: f64 = 60.0;
/// Evaluations that count. The first reads every owner once.
const COUNTED: usize = 2;

struct Figures {
    pods: usize,
    /// Requests of one evaluation.
    requests: f64,
    /// Requests for the lease and the watches, a second.
    standing: f64,
    queries: f64,
    /// From the first request of an evaluation to its last, seconds.
    usage: Usage,
    cpu: f64,
}

#[tokio::main]
async fn main() {
    let sizes: Vec<usize> = std::env::args().filter_map(|it| it.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![0, 100, 1_000, 10_000] } else { sizes };
    println!(
        "| pods | requests an evaluation | requests a second (evaluated each minute) | queries an evaluation | memory, MiB | peak, MiB | CPU ms an evaluation | memory as a multiple |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut first = None;
    for pods in sizes {
        let it = measured(pods).await;
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        let smallest = *first.get_or_insert(it.usage.peak);
        println!(
            "| {} | {:.1} | {:.2} | {:.1} | {:.0} | {:.0} | {:.0} | {:.1} |",
            it.pods,
            it.requests,
            it.standing + it.requests / DEFAULT_INTERVAL,
            it.queries,
            mib(it.usage.resident),
            mib(it.usage.peak),
            it.cpu * 1_000.0,
            it.usage.peak as f64 / smallest as f64,
        );
    }
}

async fn measured(pods: usize) -> Figures {
    let api = Arc::new(ApiServer::new(pods, INTERVAL));
    let api_url = process::serve(api_server::routes(Arc::clone(&api))).await;
    let (backend_url, queries) = backend::serve(pods).await;
    let process = Process::start(&api_url, &backend_url);
    evaluations(&api, 2).await;
    let (begun, before, asked, used) = (Instant::now(), api.counts(), queries.count(), process.usage());
    evaluations(&api, 2 + COUNTED).await;
    let (seconds, after, asked, usage) =
        (begun.elapsed().as_secs_f64(), api.counts(), queries.count() - asked, process.usage());
    let counted = COUNTED as f64;
    Figures {
        pods,
        requests: (after.others - before.others) as f64 / counted,
        standing: (after.leases - before.leases) as f64 / seconds,
        queries: asked as f64 / counted,
        cpu: (usage.cpu - used.cpu) / counted,
        usage,
    }
}

/// Waits until so many evaluations have begun.
async fn evaluations(api: &ApiServer, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(300);
    while api.counts().evaluations < count {
        assert!(Instant::now() < deadline, "{count} evaluations did not begin; other requests: {:?}", api.unknown());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
