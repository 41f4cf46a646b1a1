//! Targets without a Kubernetes API: whoever has series is a target, and its start and memory limit are read from
//! series. Used by `check` against a metrics backend alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};

use crate::{
    decide::{Answer, Observation, Sample, Series, Subject, Target, Workload, gather},
    signals::{Naming, Signal},
};

/// The containers that the answers measure and the selector matches, by the labels on their series. A label
/// `app.kubernetes.io/name` is looked for as `app_kubernetes_io_name` and `label_app_kubernetes_io_name`, too, which
/// is how relabelling writes it.
#[must_use]
pub fn targets(answers: &[Answer], selector: Option<&LabelSelector>) -> Vec<Target> {
    let mut containers: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    let mut labels: BTreeMap<(String, String), BTreeMap<String, String>> = BTreeMap::new();
    for answer in answers.iter().filter(|it| !Signal::DESCRIPTIVE.contains(&it.source.signal)) {
        for series in answer.result.iter().flat_map(|it| &it.series) {
            let Some((pod, container)) = whom(answer, series) else { continue };
            // What an agent says of others carries the agent's own labels.
            if matches!(answer.source.naming, Naming::Labels(_)) {
                let owned = series.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
                labels.entry(pod.clone()).or_default().extend(owned);
            }
            containers.entry(pod).or_default().extend(container);
        }
    }
    containers
        .into_iter()
        .filter(|(pod, _)| selector.is_none_or(|it| labels.get(pod).is_some_and(|labels| matches(it, labels))))
        .flat_map(|(pod, containers)| of_pod(&pod, containers))
        .collect()
}

fn whom(answer: &Answer, series: &Series) -> Option<((String, String), Option<String>)> {
    let whom = answer.source.naming.whom(&series.labels)?;
    Some(((whom.namespace.to_owned(), whom.pod.to_owned()), whom.container.map(str::to_owned)))
}

fn of_pod((namespace, pod): &(String, String), mut containers: BTreeSet<String>) -> Vec<Target> {
    if containers.is_empty() {
        // No source names the container: there is one, whatever it is called.
        containers.insert(String::new());
    }
    let count = containers.len();
    let target = |container| Target {
        subject: Subject { namespace: namespace.clone(), pod: pod.clone(), uid: String::new(), container },
        containers_in_pod: count,
        ..Target::default()
    };
    containers.into_iter().map(target).collect()
}

fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let keys = selector.match_labels.iter().flat_map(BTreeMap::keys);
    let keys = keys.chain(selector.match_expressions.iter().flatten().map(|it| &it.key));
    let mut labels = labels.clone();
    for key in keys {
        let plain: String = key.chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '_' }).collect();
        let written =
            [key.clone(), plain.clone(), format!("label_{plain}")].iter().find_map(|it| labels.get(it).cloned());
        if let Some(value) = written {
            labels.insert(key.clone(), value);
        }
    }
    Selector::try_from(selector.clone()).is_ok_and(|it| it.matches(&labels))
}

/// The targets with start and memory limit as the answers have them; what is known already stays.
#[must_use]
pub fn described(targets: Vec<Target>, answers: &[Answer], window: Duration, now: Timestamp) -> Vec<Target> {
    let describing = |it: &&Answer| Signal::DESCRIPTIVE.contains(&it.source.signal);
    let describing: Vec<Answer> = answers.iter().filter(describing).cloned().collect();
    let newest = |it: &Observation, signal| it.measured(signal).and_then(|it| it.samples.last()).map(|it| it.value);
    let describe = |it: Observation| Target {
        started: it.target.started.or_else(|| newest(&it, Signal::StartTime)).or_else(|| last_restart(&it)),
        memory_limit: it.target.memory_limit.or_else(|| newest(&it, Signal::MemoryLimit).filter(|it| *it > 0.0)),
        ..it.target.clone()
    };
    gather(&describing, targets, window, now).into_iter().map(describe).collect()
}

/// The targets with their owners, as kube-state-metrics names them: a Deployment rather than its ReplicaSet.
#[must_use]
pub fn owned(mut targets: Vec<Target>, answers: &[Answer]) -> Vec<Target> {
    let pods = owners(answers, Signal::PodOwner, "pod");
    let sets = owners(answers, Signal::ReplicaSetOwner, "replicaset");
    for target in &mut targets {
        let Subject { namespace, pod, .. } = &target.subject;
        let owner = pods.get(&(namespace.as_str(), pod.as_str()));
        let top = |it: &Workload| {
            sets.get(&(namespace.as_str(), it.name.as_str())).filter(|_| it.kind == "ReplicaSet").cloned()
        };
        // A ReplicaSet is called after its Deployment and the hash of its template.
        let set = owner.filter(|it| it.kind == "ReplicaSet");
        target.revision = set.and_then(|it| it.name.rsplit_once('-')).map(|(_, hash)| hash.to_owned());
        target.workload = owner.map(|it| top(it).unwrap_or_else(|| it.clone()));
    }
    targets
}

fn owners<'a>(answers: &'a [Answer], signal: Signal, owned: &str) -> BTreeMap<(&'a str, &'a str), Workload> {
    let series =
        answers.iter().filter(|it| it.source.signal == signal).flat_map(|it| &it.result).flat_map(|it| &it.series);
    let owner = |series: &'a Series| {
        // kube-state-metrics writes <none> for what has no owner.
        let label = |name: &str| series.labels.filled(name).filter(|it| *it != "<none>");
        let (namespace, owned) = (label("namespace")?, label(owned)?);
        let (kind, name) = (label("owner_kind")?.to_owned(), label("owner_name")?.to_owned());
        Some(((namespace, owned), Workload { namespace: namespace.to_owned(), kind, name }))
    };
    series.filter_map(owner).collect()
}

/// When the restart count last moved: the present life began before that and after the sample before it.
fn last_restart(observation: &Observation) -> Option<f64> {
    let samples = &observation.measured(Signal::Restarts)?.samples;
    let moved = |pair: &&[Sample]| pair[0].value.total_cmp(&pair[1].value).is_ne();
    samples.windows(2).rev().find(moved).map(|pair| pair[1].at)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{decide::Matrix, signals::catalog};

    fn answer(signal: Signal, source: usize, labels: &[(&str, &str)], value: f64) -> Answer {
        let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let series = vec![Series { labels, samples: vec![Sample { at: 995.0, value }].into() }];
        Answer {
            source: catalog::sources(signal).remove(source),
            width: None,
            result: Ok(Arc::new(Matrix { series, warnings: vec![] })),
        }
    }

    fn selector(key: &str, value: &str) -> LabelSelector {
        LabelSelector {
            match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
            match_expressions: None,
        }
    }

    #[test]
    fn whoever_has_series_and_matches_the_selector_is_a_target() {
        let orders = [("namespace", "shop"), ("pod", "orders-1"), ("app_kubernetes_io_name", "orders")];
        let users = [("namespace", "shop"), ("pod", "users-1"), ("app_kubernetes_io_name", "users")];
        let answers = [answer(Signal::Calls, 0, &orders, 1.0), answer(Signal::Calls, 0, &users, 1.0)];
        let pods = |selector: Option<&LabelSelector>| -> Vec<String> {
            targets(&answers, selector).into_iter().map(|it| it.subject.pod).collect()
        };
        assert_eq!(pods(None), ["orders-1", "users-1"]);
        assert_eq!(pods(Some(&selector("app.kubernetes.io/name", "orders"))), ["orders-1"]);
        assert_eq!(pods(Some(&selector("team", "x"))), Vec::<String>::new());
    }

    #[test]
    fn an_agent_s_own_labels_do_not_select_the_pods_that_it_tells_of() {
        let agent = [("container_id", "/k8s/shop/orders-1/app"), ("namespace", "coroot"), ("app", "agent")];
        let own = [("namespace", "shop"), ("pod", "orders-1"), ("container", "app"), ("app", "orders")];
        let answers = [answer(Signal::Calls, 0, &own, 1.0), answer(Signal::OpenConnections, 1, &agent, 1.0)];
        let selected = |app: &str| targets(&answers, Some(&selector("app", app))).len();
        assert_eq!((selected("orders"), selected("agent")), (1, 0));
    }

    #[test]
    fn start_and_limit_are_read_from_series() {
        let labels = [("namespace", "shop"), ("pod", "orders-1"), ("container", "app")];
        let answers = [
            answer(Signal::Calls, 0, &labels, 1.0),
            answer(Signal::StartTime, 1, &labels, 700.0),
            answer(Signal::MemoryLimit, 1, &labels, 1e9),
        ];
        let now = Timestamp::from_second(1_000).expect("a time");
        let targets = described(targets(&answers, None), &answers, Duration::from_secs(300), now);
        assert_eq!((targets[0].started, targets[0].memory_limit), (Some(700.0), Some(1e9)));
    }

    #[test]
    fn an_owner_is_the_deployment_behind_the_replica_set() {
        let pod =
            [("namespace", "shop"), ("pod", "orders-1"), ("owner_kind", "ReplicaSet"), ("owner_name", "orders-7d9f")];
        let set = [
            ("namespace", "shop"),
            ("replicaset", "orders-7d9f"),
            ("owner_kind", "Deployment"),
            ("owner_name", "orders"),
        ];
        let calls = answer(Signal::Calls, 0, &[("namespace", "shop"), ("pod", "orders-1")], 1.0);
        let pod = answer(Signal::PodOwner, 0, &pod, 1.0);
        let owner = |answers: &[Answer]| {
            owned(targets(answers, None), answers)[0].workload.clone().map(|it| (it.kind, it.name))
        };
        let named = |kind: &str, name: &str| Some((kind.to_owned(), name.to_owned()));
        assert_eq!(owner(std::slice::from_ref(&calls)), None);
        assert_eq!(owner(&[calls.clone(), pod.clone()]), named("ReplicaSet", "orders-7d9f"));
        assert_eq!(owner(&[calls, pod, answer(Signal::ReplicaSetOwner, 0, &set, 1.0)]), named("Deployment", "orders"));
    }

    #[test]
    fn without_a_start_time_a_life_begins_where_the_restart_count_moved() {
        let labels = [("namespace", "shop"), ("pod", "orders-1"), ("container", "app")];
        let calls = answer(Signal::Calls, 0, &labels, 1.0);
        let mut restarts = answer(Signal::Restarts, 0, &labels, 1.0);
        if let Ok(matrix) = &mut restarts.result {
            let samples = [(965.0, 0.0), (980.0, 1.0), (995.0, 1.0)].map(|(at, value)| Sample { at, value });
            Arc::make_mut(matrix).series[0].samples = samples.to_vec().into();
        }
        let now = Timestamp::from_second(1_000).expect("a time");
        let answers = [calls, restarts];
        let targets = described(targets(&answers, None), &answers, Duration::from_secs(300), now);
        assert_eq!(targets[0].started, Some(980.0));
    }
}
