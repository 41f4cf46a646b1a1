//! `grpc-hygiene run`: the operator. Puts the parts together, waits for the lease, works, and stops in order.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, bail};
use kube::{
    Api, Client, Config as KubeConfig,
    api::ListParams,
    runtime::events::{Recorder, Reporter},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::sleep,
};
use tracing::{info, warn};

use crate::{
    api::{ClusterGrpcClientPolicy, GrpcClientPolicy, PolicyResource},
    args::RunArgs,
    controller::{self, Context},
    io::{
        act::Hands,
        acting::{self, acting_as, reason},
        config::Config,
        leadership::{Leadership, Term, lead},
        notify::Alerts,
        pods::Owners,
        profiles::{self, Camera},
        prometheus::Prometheus,
        quiet::Quiet,
        shelf::Shelf,
        sweep,
    },
    metrics::Metrics,
    web::{self, Pages},
};

/// How long an API server that is away is left alone.
const AWAY: Duration = Duration::from_secs(2);

/// Runs until a signal (exit 0), or until the lease is lost (exit 1: whatever started us starts us again, as a standby).
///
/// # Errors
/// The configuration cannot work, no cluster is reachable, or the custom resources are not installed.
pub async fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let RunArgs { config, namespace, identity, .. } = &args;
    if identity.trim().is_empty() {
        bail!("--identity may not be empty: two replicas of one name would both lead");
    }
    let config = Config::load(config)?;
    let prometheus = Prometheus::new(&config.prometheus).context("prometheus")?;
    let metrics = Arc::new(Metrics::default());
    let pages = Pages::new(Arc::clone(&metrics));
    let shelf = shelf(&args).await?;
    let (stop, stopped) = watch::channel(false);
    let server = serve(&args, pages.clone(), shelf.clone(), &stopped).await?;
    let kube_config = KubeConfig::infer().await.context("no Kubernetes cluster is configured")?;
    let leadership = Leadership::default();
    let client = acting::reporting(kube_config.clone(), &leadership)?;
    tokio::select! {
        required = require_definitions(&client) => required?,
        signalled = signalled() => return signalled.map(|()| ExitCode::SUCCESS).context("signals cannot be received"),
    }
    let election = leadership.client(kube_config.clone())?;
    let hands = Hands {
        reading: client.clone(),
        acting: acting::client(acting_as(kube_config, namespace, args.act_as.as_deref()), &leadership)?,
        alerts: Alerts::new(&config).context("alertmanagers")?,
        namespace: namespace.clone(),
        settled: Arc::default(),
    };
    info!(version = env!("CARGO_PKG_VERSION"), identity, prometheus = %config.prometheus.address(), "started");
    pages.set_ready();
    let operator = identity.split('_').next().unwrap_or(identity).to_owned();
    let camera = Camera::new(client.clone(), shelf, operator, profiles::PATIENCE)?;
    let work = work(Parts { client, prometheus, config, camera, hands, metrics, namespace: namespace.clone() });
    let shutdown = async {
        let mut stopped = stopped.clone();
        let signalled = tokio::select! { it = signalled() => it, _ = stopped.changed() => Ok(()) };
        if let Err(error) = signalled {
            warn!(%error, "signals cannot be received");
        }
    };
    let term = lead(election, &leadership, namespace, identity, shutdown, work).await;
    // Nobody is left to receive it when the server has failed already.
    let _ = stop.send(true);
    if let Ok(Err(error)) = server.await {
        warn!(%error, "the web server failed");
    }
    match term {
        Term::Stopped => Ok(ExitCode::SUCCESS),
        Term::Lost => bail!("the lease was lost: stopping, so that nothing is done twice"),
        Term::Finished(()) => bail!("the controllers ended, which they never should"),
    }
}

/// Serves the pages, and the stored profiles if there is a shelf, until `stopped`.
async fn serve(
    args: &RunArgs,
    pages: Pages,
    shelf: Option<Arc<Shelf>>,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<JoinHandle<std::io::Result<()>>> {
    let bound = async |address| TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"));
    let pages = web::serve(bound(args.listen).await?, pages, until(stopped.clone()));
    let Some(shelf) = shelf else { return Ok(tokio::spawn(pages)) };
    let profiles = web::serve_profiles(bound(args.profiles_listen).await?, shelf, until(stopped.clone()));
    Ok(tokio::spawn(async { tokio::try_join!(pages, profiles).map(drop) }))
}

/// Where profiles are stored, if anywhere.
async fn shelf(args: &RunArgs) -> anyhow::Result<Option<Arc<Shelf>>> {
    let Some(folder) = &args.profiles_dir else { return Ok(None) };
    let shelf = Shelf::open(folder, args.profiles_limit << 20).await;
    shelf.map(|it| Some(Arc::new(it))).with_context(|| format!("--profiles-dir {}", folder.display()))
}

/// What the leader works with.
pub struct Parts {
    /// Reads the cluster.
    pub client: Client,
    /// Where metrics are read.
    pub prometheus: Prometheus,
    /// The administrator's settings.
    pub config: Config,
    /// What takes profiles.
    pub camera: Camera,
    /// What acts.
    pub hands: Hands,
    /// Our own metrics.
    pub metrics: Arc<Metrics>,
    /// The operator's own namespace.
    pub namespace: String,
}

/// What the leader does. Everything is joined into this one future and nothing that acts is spawned: when the lease is
/// lost it is dropped, and nothing acts any more.
pub async fn work(parts: Parts) {
    let Parts { client, prometheus, config, camera, hands, metrics, namespace } = parts;
    metrics.leading(true);
    let reporter = Reporter { controller: "grpc-hygiene".into(), instance: None };
    let quiet = Quiet::begin(config.quiet_period);
    let ctx = Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter),
        quiet,
        rivals: Mutex::default(),
        client,
        prometheus,
        config,
        owners: Owners::default(),
        camera,
        hands,
        metrics,
        namespace,
    });
    let (gone, mut names) = mpsc::unbounded_channel::<String>();
    let tidy = async {
        while let Some(policy) = names.recv().await {
            forget(&ctx, &policy).await;
        }
    };
    tokio::join!(
        controller::run::<GrpcClientPolicy>(Arc::clone(&ctx), gone.clone()),
        controller::run::<ClusterGrpcClientPolicy>(Arc::clone(&ctx), gone),
        ctx.hands.alerts.keep_sending(),
        tidy,
    );
}

/// What a deleted policy leaves behind is removed: its metrics, its annotations; its alerts run out by themselves.
async fn forget(ctx: &Context, policy: &str) {
    info!(policy, "deleted");
    ctx.forget(policy);
    ctx.hands.alerts.end(policy);
    match sweep::sweep(&ctx.hands, |it| it == policy).await {
        Ok(swept) => info!(policy, ?swept, "annotations removed"),
        Err(error) => warn!(policy, %error, "annotations not removed"),
    }
}

async fn require_definitions(client: &Client) -> anyhow::Result<()> {
    require::<GrpcClientPolicy>(client).await?;
    require::<ClusterGrpcClientPolicy>(client).await
}

/// An API server that is away is waited for: whoever ends for that is started again later and later, and is back long
/// after it.
async fn require<K: PolicyResource>(client: &Client) -> anyhow::Result<()> {
    let api: Api<kube::core::PartialObjectMeta<K>> = Api::all(client.clone());
    loop {
        match api.list(&ListParams::default().limit(1)).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                bail!("the custom resources are not installed: grpc-hygiene crd | kubectl apply -f -")
            }
            Err(kube::Error::Api(status)) if status.code < 500 && status.code != 429 => {
                return Err(kube::Error::Api(status)).context("policies cannot be listed");
            }
            Err(error) => warn!(reason = reason(&error), "the API server does not answer yet"),
        }
        sleep(AWAY).await;
    }
}

async fn signalled() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => info!("terminating"),
        _ = interrupt.recv() => info!("interrupted"),
    }
    Ok(())
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // The sender is gone only when the process ends.
    let _ = stopped.wait_for(|it| *it).await;
}
