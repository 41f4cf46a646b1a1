//! Judging policies once, as the controller would, and acting on nothing: what `check` and `explain` share.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use jiff::Timestamp;
use kube::Client;

use super::{
    backend::backend,
    policies::{Known, KnownReach, from_cluster, from_file},
};
use crate::{
    api::{Autonomy, Mode},
    args::{BackendArgs, SourceArgs},
    decide::{
        Finding, History, Observation, Plan, Policy, Standing, Subject, Workload, approval::Approvals, assess,
        autonomy, cost::cost, effect::effects, plan, stand_down,
    },
    io::{
        observe::{Eyes, observe, observe_without_cluster, scope_of},
        pods::Owners,
        recall::{alerting, recall},
    },
    signals::Scope,
};

/// One policy, judged now.
pub struct Judged {
    /// `namespace/name`, or `name`.
    pub key: String,
    /// The policy.
    pub policy: Policy,
    /// What was seen.
    pub observations: Vec<Observation>,
    /// The verdicts, in the order of the observations.
    pub findings: Vec<Finding>,
    /// What would be done.
    pub plan: Plan,
    /// How the suspects' workloads stand.
    pub workloads: BTreeMap<Workload, Standing>,
    /// What restarts have cost those who offend.
    pub costs: BTreeMap<Subject, String>,
    /// What `mode: Auto` has earned, as the operator wrote it last.
    pub autonomy: Option<Autonomy>,
}

/// Judges all policies that the arguments mean.
///
/// # Errors
/// There is no policy, one cannot work, or the metrics backend or the Kubernetes API cannot be asked at all.
pub async fn judge(args: &SourceArgs) -> anyhow::Result<Vec<Judged>> {
    let SourceArgs { backend: BackendArgs { prometheus, config }, file, namespace, offline, operator_namespace } = args;
    let (prometheus, config) =
        backend(prometheus.as_deref(), config.as_deref(), "give --prometheus or --config").await?;
    let eyes = Eyes { prometheus: &prometheus, config: &config };
    let client = if *offline { None } else { Some(connect().await?) };
    let known = match (file, &client) {
        (Some(path), _) => from_file(path)?,
        (None, Some(client)) => from_cluster(client, namespace.as_deref()).await?,
        (None, None) => bail!("--offline needs --filename"),
    };
    if known.is_empty() {
        bail!("there is no policy{}", namespace.as_ref().map_or_else(String::new, |it| format!(" in namespace {it}")));
    }
    let mut judged = Vec::new();
    for known in known {
        let key = known.key.clone();
        let world = World { eyes: &eyes, client: client.as_ref(), operator_namespace };
        judged.push(world.judge(known, namespace.as_deref()).await.with_context(|| format!("policy {key}"))?);
    }
    Ok(judged)
}

async fn connect() -> anyhow::Result<Client> {
    Client::try_default()
        .await
        .context("no Kubernetes cluster is configured; to judge by metrics alone, add --offline and -f FILE")
}

struct World<'a> {
    eyes: &'a Eyes<'a>,
    client: Option<&'a Client>,
    operator_namespace: &'a str,
}

impl World<'_> {
    async fn judge(&self, known: Known, namespace: Option<&str>) -> anyhow::Result<Judged> {
        let policy = Policy::parse(&known.rules)?;
        let scope = self.scope(&known, namespace).await?;
        let now = Timestamp::now();
        let selector = match &known.reach {
            KnownReach::Namespace(_) => None,
            KnownReach::Selected(selector) => Some(selector),
        };
        let fingerprint = autonomy::fingerprint(&known.rules, selector);
        let policy = autonomy::entrusted(policy, &fingerprint, known.status.as_ref(), now);
        let observations = match self.client {
            Some(client) => {
                let (owners, mut all) = (Owners::default(), Vec::new());
                observe(self.eyes, (client, &owners), &policy, &known.key, &scope, now, |it| all.extend(it)).await?;
                all
            }
            None => observe_without_cluster(self.eyes, &policy, &scope, now).await?,
        };
        let findings: Vec<Finding> = assess(&policy, &observations, now);
        let history = match self.client {
            Some(client) => {
                recall(client, self.operator_namespace, &policy, &known.key, known.status.as_ref(), &findings).await
            }
            None => History { policy: known.key.clone(), ..History::default() },
        };
        // The operator looks whether it still has them; from here they are as good as stored.
        let held = history.profiles.iter().filter_map(|it| it.file.clone()).collect();
        let guard = self.eyes.config.guard.clone();
        let names = stand_down::wanted(policy.restart.as_ref(), &guard, &[]);
        let alerting = alerting(self.eyes.prometheus, &names, &findings).await;
        let approvals = Approvals::of(&known.annotations);
        let history = History { held, guard, approvals, alerting, ..history };
        let history = History { restarts: effects(&findings, &history, now), ..history };
        let plan = plan(&policy, &findings, &history, now);
        let costs =
            plan.cases.iter().filter_map(|it| Some((it.target.subject.clone(), cost(it, &history, now)?))).collect();
        let autonomy = known.status.and_then(|it| it.autonomy).filter(|_| policy.mode == Mode::Auto);
        let workloads = history.workloads;
        Ok(Judged { key: known.key, policy, observations, findings, plan, workloads, costs, autonomy })
    }

    async fn scope(&self, known: &Known, namespace: Option<&str>) -> anyhow::Result<Scope> {
        let chosen = namespace.map(str::to_owned);
        let one = |name: String| Scope::new([name]).context("name the namespace with --namespace");
        match (&known.reach, chosen, self.client) {
            (_, Some(chosen), _) => one(chosen),
            (KnownReach::Namespace(name), None, _) => one(name.clone()),
            (KnownReach::Selected(selector), None, Some(client)) => {
                scope_of(client, selector).await?.context("its namespaceSelector matches no namespace")
            }
            (KnownReach::Selected(_), None, None) => {
                bail!("name the namespace with --namespace: offline, its selector cannot be evaluated")
            }
        }
    }
}
