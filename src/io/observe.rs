//! Observing: whom a policy selects, and what every source says about them. Reads only.
//!
//! One query per signal, source and set of namespaces: so many as have a thousand containers together, or one that has
//! more. Sources are tried in order of preference, and a source is asked only while some target has no data from a better
//! one. Raw samples are read for the short scales alone; a source that has some is then asked for the buckets of the long
//! ones, which the backend computes and which are asked for once per bucket.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Client;

use crate::{
    decide::{
        Answer, FailureKind, InvalidPolicy, Matrix, Observation, Policy, QueryFailure, Target, discover, gather,
        gather::{wanted, without_data},
        scales::{BUCKETS, coarse_widths, raw_span},
    },
    io::{
        config::Config,
        pods::{self, Owners},
        prometheus::Prometheus,
    },
    signals::{InvalidQuery, Scope, Signal, Source, bucket_query, catalog, range_query},
};

/// Containers that are observed together: what was measured of so many takes about 80 MB.
const AT_ONCE: usize = 1_000;

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

/// Observes every running container that the policy selects in these namespaces, and hands them on namespace by namespace
/// or several namespaces together, so that what was measured of many pods is never in memory at once. Containers of one
/// workload come together.
///
/// # Errors
/// The policy names an unknown source, or the Kubernetes API fails.
pub async fn observe(
    eyes: &Eyes<'_>,
    (client, owners): (&Client, &Owners),
    policy: &Policy,
    name: &str,
    scope: &Scope,
    now: Timestamp,
    mut hand_on: impl FnMut(Vec<Observation>),
) -> Result<(), ObserveError> {
    for signal in Signal::ALL {
        // A name that does not exist is an error even while there is nobody to ask about.
        candidates(eyes.config, signal, policy.source(signal), scope)?;
    }
    let targets = pods::targets(client, owners, scope, policy.selector.as_ref(), name).await?;
    for (scope, mut targets) in pieces(targets) {
        if !matches!(policy.source(Signal::MemoryLimit), catalog::AUTO | catalog::API) {
            let answers = ask(eyes, Signal::MemoryLimit, policy, &scope, &targets, now).await?;
            targets = discover::described(targets, &answers, policy.window, now);
        }
        let answers = ask_all(eyes, policy, &scope, &targets, now).await?;
        let mut observations = gather(&answers, targets, policy.window, now);
        name_services(client, &mut observations).await?;
        hand_on(observations);
    }
    Ok(())
}

/// Whole namespaces, as many together as have [`AT_ONCE`] containers.
fn pieces(targets: Vec<Target>) -> Vec<(Scope, Vec<Target>)> {
    let mut namespaces: BTreeMap<String, Vec<Target>> = BTreeMap::new();
    for target in targets {
        namespaces.entry(target.subject.namespace.clone()).or_default().push(target);
    }
    let mut pieces: Vec<(Vec<String>, Vec<Target>)> = Vec::new();
    for (name, targets) in namespaces {
        match pieces.last_mut().filter(|(_, piece)| piece.len() + targets.len() <= AT_ONCE) {
            Some((names, piece)) => {
                names.push(name);
                piece.extend(targets);
            }
            None => pieces.push((vec![name], targets)),
        }
    }
    // The API server knows no namespace by another name than a scope takes.
    let scoped = |(names, piece)| Scope::new(names).ok().map(|scope| (scope, piece));
    pieces.into_iter().filter_map(scoped).collect()
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
    let mut uncovered: Vec<&Target> = targets.iter().collect();
    for source in candidates(eyes.config, signal, policy.source(signal), scope)? {
        let result = samples(eyes.prometheus, &source, policy, scope, now).await;
        let has_data = result.as_ref().is_ok_and(|it| !it.series.is_empty());
        let raw = Answer { source: source.clone(), width: None, result };
        if has_data && LOOKED_BACK_AT.contains(&signal) {
            answers.extend(buckets(eyes.prometheus, &source, policy, scope, now).await);
        }
        answers.push(raw);
        if targets.is_empty() {
            continue;
        }
        uncovered = without_data(&answers[answers.len() - 1], uncovered, now);
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
    if name == catalog::AUTO {
        return Ok(catalog::automatic(signal));
    }
    if name == catalog::API && signal == Signal::MemoryLimit {
        return Ok(Vec::new());
    }
    if let Some(source) = catalog::sources(signal).into_iter().find(|it| it.name == name) {
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

/// The signals that are looked back at for days. The others only count what happened lately.
const LOOKED_BACK_AT: [Signal; 6] = [
    Signal::OpenConnections,
    Signal::ConnectionsOpened,
    Signal::Calls,
    Signal::CallsServed,
    Signal::Memory,
    Signal::Goroutines,
];

/// The newest samples. What describes a container is looked for in the whole window: it may have been said once.
async fn samples(
    prometheus: &Prometheus,
    source: &Source,
    policy: &Policy,
    scope: &Scope,
    now: Timestamp,
) -> Result<Arc<Matrix>, QueryFailure> {
    let describes = Signal::DESCRIPTIVE.contains(&source.signal);
    let span = if describes { policy.window } else { raw_span(policy.window) };
    let queries = range_query(source, scope, span).map_err(|why| refused(&why))?;
    together(queries.iter().map(|query| prometheus.read(query, now))).await
}

/// The buckets of every scale that the samples do not reach back to.
async fn buckets(
    prometheus: &Prometheus,
    source: &Source,
    policy: &Policy,
    scope: &Scope,
    now: Timestamp,
) -> Vec<Answer> {
    let of_width = |width: Duration| async move {
        let span = width * BUCKETS as u32;
        let result = match bucket_query(source, scope, span, width) {
            Ok(queries) => together(queries.iter().map(|query| prometheus.read_buckets(query, now, width))).await,
            Err(why) => Err(refused(&why)),
        };
        Answer { source: source.clone(), width: Some(width), result }
    };
    join_all(coarse_widths(policy.window).into_iter().map(of_width)).await
}

fn refused(why: &InvalidQuery) -> QueryFailure {
    QueryFailure { kind: FailureKind::Refused, message: why.to_string() }
}

/// The answers to the parts of one question as one answer.
async fn together(
    asked: impl Iterator<Item = impl Future<Output = Result<Arc<Matrix>, QueryFailure>>>,
) -> Result<Arc<Matrix>, QueryFailure> {
    let mut parts = Vec::new();
    for part in asked {
        parts.push(part.await?);
    }
    if let [one] = parts.as_slice() {
        return Ok(Arc::clone(one));
    }
    let mut all = Matrix::default();
    for part in parts {
        all.series.extend(part.series.iter().cloned());
        all.warnings.extend(part.warnings.iter().cloned());
    }
    Ok(Arc::new(all))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Subject;

    #[test]
    fn namespaces_are_observed_whole_and_together_while_they_are_small() {
        let of = |(namespace, count): (&str, usize)| {
            let subject = Subject { namespace: namespace.to_owned(), ..Subject::default() };
            vec![Target { subject, ..Target::default() }; count]
        };
        let sizes = |all: &[(&str, usize)]| -> Vec<(String, usize)> {
            let pieces = pieces(all.iter().copied().flat_map(of).collect());
            pieces.iter().map(|(scope, it)| (scope.iter().collect::<Vec<_>>().join("+"), it.len())).collect()
        };
        let size = |name: &str, count: usize| (name.to_owned(), count);
        assert_eq!(sizes(&[]), []);
        assert_eq!(sizes(&[("a", 400), ("b", 600), ("c", 1)]), [size("a+b", 1_000), size("c", 1)]);
        assert_eq!(sizes(&[("a", 1), ("b", 5_000), ("c", 1)]), [size("a", 1), size("b", 5_000), size("c", 1)]);
    }
}
