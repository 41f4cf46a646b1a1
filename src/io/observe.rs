//! Observing: whom a policy selects, and what every source says about them. Reads only.
//!
//! One query per signal, source and set of namespaces, however many pods there are; sources are tried in order of
//! preference, and a source is asked only while some target has no data from a better one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Client;

use crate::{
    decide::{
        Answer, FailureKind, InvalidPolicy, Matrix, Observation, Policy, QueryFailure, Reading, Target, discover,
        gather, gather::wanted,
    },
    io::{
        config::Config,
        pods::{self, Owners},
        prometheus::Prometheus,
    },
    signals::{Scope, Signal, Source, catalog, range_query},
};

/// Where observations come from.
pub struct Eyes<'a> {
    /// The metrics backend.
    pub prometheus: &'a Prometheus,
    /// The administrator's sources.
    pub config: &'a Config,
}

/// Why nothing could be observed at all. (Queries that fail spoil single signals instead.)
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The policy names a source that it may not use.
    #[error(transparent)]
    Source(#[from] InvalidPolicy),
    /// The Kubernetes API failed.
    #[error("the Kubernetes API failed: {0}")]
    Api(#[from] kube::Error),
}

/// Observes every running container that the policy selects in these namespaces.
///
/// # Errors
/// The policy names an unknown source, or the Kubernetes API fails.
pub async fn observe(
    eyes: &Eyes<'_>,
    client: &Client,
    owners: &Owners,
    policy: &Policy,
    name: &str,
    scope: &Scope,
    now: Timestamp,
) -> Result<Vec<Observation>, ObserveError> {
    for signal in Signal::ALL {
        // A name that does not exist is an error even while there is nobody to ask about.
        candidates(eyes.config, signal, policy.source(signal), scope)?;
    }
    let mut targets = pods::targets(client, owners, scope, policy.selector.as_ref(), name).await?;
    if !matches!(policy.source(Signal::MemoryLimit), catalog::AUTO | catalog::API) {
        let answers = ask(eyes, Signal::MemoryLimit, policy, scope, &targets, now).await?;
        targets = discover::described(targets, &answers, policy.window, now);
    }
    let answers = ask_all(eyes, policy, scope, &targets, now).await?;
    let mut observations = gather(&answers, targets, policy.window, now);
    name_services(client, &mut observations).await?;
    Ok(observations)
}

/// Observes with a metrics backend alone: the targets are whoever has series, and what Kubernetes would say about
/// them (start, limit, labels) is read from series, too.
///
/// # Errors
/// The policy names an unknown source.
pub async fn observe_without_cluster(
    eyes: &Eyes<'_>,
    policy: &Policy,
    scope: &Scope,
    now: Timestamp,
) -> Result<Vec<Observation>, ObserveError> {
    let signals = wanted().into_iter().chain(Signal::DESCRIPTIVE);
    let all = join_all(signals.map(|signal| ask(eyes, signal, policy, scope, &[], now))).await;
    let answers: Vec<Answer> = all.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    let targets = discover::owned(discover::targets(&answers, policy.selector.as_ref()), &answers);
    let targets = discover::described(targets, &answers, policy.window, now);
    Ok(gather(&answers, targets, policy.window, now))
}

/// The namespaces that a namespace selector matches, or the error that there is none.
///
/// # Errors
/// The API fails.
pub async fn scope_of(client: &Client, selector: &LabelSelector) -> Result<Option<Scope>, ObserveError> {
    let invalid = |problem: String| InvalidPolicy { field: "namespaceSelector", problem };
    let selector = kube::core::Selector::try_from(selector.clone()).map_err(|why| invalid(why.to_string()))?;
    Ok(Scope::new(pods::namespaces(client, &selector).await?).ok())
}

async fn ask_all(
    eyes: &Eyes<'_>,
    policy: &Policy,
    scope: &Scope,
    targets: &[Target],
    now: Timestamp,
) -> Result<Vec<Answer>, ObserveError> {
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let all = join_all(wanted().into_iter().map(|signal| ask(eyes, signal, policy, scope, targets, now))).await;
    Ok(all.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
}

/// Asks the sources of one signal, best first, until every target has data. Without targets, asks them all.
async fn ask(
    eyes: &Eyes<'_>,
    signal: Signal,
    policy: &Policy,
    scope: &Scope,
    targets: &[Target],
    now: Timestamp,
) -> Result<Vec<Answer>, ObserveError> {
    let mut answers = Vec::new();
    let mut uncovered: Vec<Target> = targets.to_vec();
    for source in candidates(eyes.config, signal, policy.source(signal), scope)? {
        let result = query(eyes.prometheus, &source, policy, scope, now).await;
        answers.push(Answer { source, width: None, result });
        if targets.is_empty() {
            continue;
        }
        let latest = std::slice::from_ref(&answers[answers.len() - 1]);
        let without_data = |it: Observation| (it.signals.get(&signal) == Some(&Reading::Absent)).then_some(it.target);
        uncovered = gather(latest, uncovered, policy.window, now).into_iter().filter_map(without_data).collect();
        if uncovered.is_empty() {
            break;
        }
    }
    Ok(answers)
}

/// The sources that a policy's choice stands for, best first.
pub(super) fn candidates(
    config: &Config,
    signal: Signal,
    name: &str,
    scope: &Scope,
) -> Result<Vec<Source>, InvalidPolicy> {
    let of_catalog = catalog::sources(signal);
    if name == catalog::AUTO {
        return Ok(of_catalog);
    }
    if name == catalog::API && signal == Signal::MemoryLimit {
        return Ok(Vec::new());
    }
    if let Some(source) = of_catalog.into_iter().find(|it| it.name == name) {
        return Ok(vec![source]);
    }
    let field = "sources";
    let Some((custom, source)) = config.custom(signal, name) else {
        let known = catalog::names(signal).join(", ");
        let problem = format!(
            "{} has no source {name:?}; the catalog has {known}, and the administrator may add others",
            signal.name()
        );
        return Err(InvalidPolicy { field, problem });
    };
    match scope.iter().find(|it| !custom.allows(it)) {
        None => Ok(vec![source]),
        Some(namespace) => {
            let problem = format!(
                "source {name:?} may not be used in namespace {namespace:?}: the administrator lists where it may"
            );
            Err(InvalidPolicy { field, problem })
        }
    }
}

async fn query(
    prometheus: &Prometheus,
    source: &Source,
    policy: &Policy,
    scope: &Scope,
    now: Timestamp,
) -> Result<Arc<Matrix>, QueryFailure> {
    let refused = |message: String| QueryFailure { kind: FailureKind::Refused, message };
    let queries = range_query(source, scope, policy.window).map_err(|why| refused(why.to_string()))?;
    let [query] = queries.as_slice() else {
        let mut all = Matrix::default();
        for query in &queries {
            let part = prometheus.read(query, now).await?;
            all.series.extend(part.series.iter().cloned());
            all.warnings.extend(part.warnings.iter().cloned());
        }
        return Ok(Arc::new(all));
    };
    prometheus.read(query, now).await
}

/// Names the Service in front of each pod whose sockets may be its clients'.
async fn name_services(client: &Client, observations: &mut [Observation]) -> Result<(), kube::Error> {
    let blind = |it: &&mut Observation| it.measured(Signal::OpenConnections).is_some_and(|it| it.direction_blind);
    let mut blind: Vec<&mut Observation> = observations.iter_mut().filter(blind).collect();
    let namespaces: BTreeSet<String> = blind.iter().map(|it| it.target.subject.namespace.clone()).collect();
    let mut services: BTreeMap<String, String> = BTreeMap::new();
    for namespace in namespaces {
        services.extend(pods::services(client, &namespace).await?);
    }
    for observation in &mut blind {
        observation.target.service = services.get(&observation.target.subject.uid).cloned();
    }
    Ok(())
}
