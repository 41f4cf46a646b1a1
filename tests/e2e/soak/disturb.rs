//! What is disturbed, and how: one thing a minute, by the seed. All of it is undone within the minute by itself, or by who
//! starts it again. It judges nothing.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};

use super::super::{
    host::{self, CutOff, Stopped},
    killed,
    random::Random,
    world::{HOME, SOON, World},
};

/// The shortest and the longest time, seconds, for which something is stopped or cut off.
const STOPPED: (u64, u64) = (5, 40);
/// Minutes between two times at which Prometheus is emptied: it takes a window and a few looks to judge again.
const REFILLED: u64 = 12;
const PROGRAM: &str = "grpc-hygiene";

/// One kind of disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One replica, by SIGKILL or by deleting its pod without grace.
    ReplicaKilled,
    /// The leader, by SIGSTOP.
    LeaderStopped,
    /// Both pods are deleted without grace.
    BothKilled,
    /// One replica's packets to the API server vanish.
    ReplicaCutOff,
    /// Prometheus, by SIGSTOP.
    PrometheusStopped,
    /// Its pod is deleted, and its data with it.
    PrometheusEmptied,
    /// Both Alertmanagers, by SIGSTOP.
    AlertmanagersStopped,
    /// Their pods are deleted, and the alerts with them.
    AlertmanagersEmptied,
}

use Kind::{
    AlertmanagersEmptied, AlertmanagersStopped, BothKilled, LeaderStopped, PrometheusEmptied, PrometheusStopped,
    ReplicaCutOff, ReplicaKilled,
};

const OF_THE_OPERATOR: [Kind; 4] = [ReplicaKilled, LeaderStopped, BothKilled, ReplicaCutOff];
const OF_THE_OTHERS: [Kind; 4] = [PrometheusStopped, PrometheusEmptied, AlertmanagersStopped, AlertmanagersEmptied];

impl Kind {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            ReplicaKilled => "one replica killed",
            LeaderStopped => "the leader stopped",
            BothKilled => "both replicas killed",
            ReplicaCutOff => "one replica cut off from the API server",
            PrometheusStopped => "Prometheus stopped",
            PrometheusEmptied => "Prometheus emptied",
            AlertmanagersStopped => "both Alertmanagers stopped",
            AlertmanagersEmptied => "both Alertmanagers emptied",
        }
    }
}

/// What there was, by kind.
#[derive(Debug, Default)]
pub struct Disturbances {
    /// How often.
    pub counts: BTreeMap<Kind, usize>,
    emptied_in: Option<u64>,
}

impl Disturbances {
    /// The one of this minute.
    pub fn choose(&mut self, random: &mut Random, minute: u64, operator_is_left_alone: bool) -> Kind {
        let mut kinds = if operator_is_left_alone { Vec::new() } else { OF_THE_OPERATOR.to_vec() };
        kinds.extend(OF_THE_OTHERS);
        if self.emptied_in.is_some_and(|it| minute < it + REFILLED) {
            kinds.retain(|it| *it != PrometheusEmptied);
        }
        // By chance, and each about as often as the others.
        let count = |it: &Kind| self.counts.get(it).copied().unwrap_or(0);
        let least = kinds.iter().map(count).min();
        kinds.retain(|it| Some(count(it)) == least);
        let kind = one_of(&kinds, random).expect("there are kinds");
        if kind == PrometheusEmptied {
            self.emptied_in = Some(minute);
        }
        *self.counts.entry(kind).or_default() += 1;
        kind
    }
}

fn one_of<T: Clone>(all: &[T], random: &mut Random) -> Option<T> {
    let count = u64::try_from(all.len()).ok().filter(|it| *it > 0)?;
    all.get(usize::try_from(random.below(count)).ok()?).cloned()
}

/// Disturbs, and waits until that is undone, or was left to others to undo.
pub async fn strike(world: &World, kind: Kind, random: &mut Random) {
    let span = Duration::from_secs(STOPPED.0 + random.below(STOPPED.1 - STOPPED.0 + 1));
    match kind {
        ReplicaKilled => kill_one(world, random).await,
        BothKilled => killed::kill(world).await,
        LeaderStopped => {
            let leader = || async {
                let pod = world.leader().await?;
                host::process(&pod, PROGRAM).ok_or_else(|| format!("{} has no process", pod.name_any()))
            };
            let leader = world.eventually("soak", SOON, "there is a leader to be stopped", leader).await;
            stopped(world, vec![leader], span, kind).await;
        }
        ReplicaCutOff => cut_off(world, random, span).await,
        PrometheusStopped => stop_all(world, "prometheus", span, kind).await,
        AlertmanagersStopped => stop_all(world, "alertmanager", span, kind).await,
        PrometheusEmptied => empty(world, "prometheus").await,
        AlertmanagersEmptied => empty(world, "alertmanager").await,
    }
}

/// A replica that runs, and its process.
async fn replica(world: &World, random: &mut Random) -> (Pod, String) {
    let running = || async {
        let pods = world.operators().await?;
        let all = pods.into_iter().filter_map(|it| host::process(&it, PROGRAM).map(|process| (it, process)));
        let all: Vec<(Pod, String)> = all.collect();
        if all.is_empty() { Err("no replica runs".to_owned()) } else { Ok(all) }
    };
    let all = world.eventually("soak", SOON, "there is a replica to be disturbed", running).await;
    one_of(&all, random).expect("not empty")
}

/// Its process, while the kubelet starts that again without waiting; else the pod, in whose place there is a new one: for a
/// container that ends again and again the kubelet waits for minutes.
async fn kill_one(world: &World, random: &mut Random) {
    let (pod, process) = replica(world, random).await;
    let statuses = pod.status.as_ref().and_then(|it| it.container_statuses.as_ref());
    let is_new = statuses.into_iter().flatten().all(|it| it.restart_count == 0);
    let by_signal = is_new && random.below(2) == 0;
    println!("soak: {} is killed {}", pod.name_any(), if by_signal { "by SIGKILL" } else { "as a pod" });
    if by_signal {
        host::kill(&process);
        return;
    }
    let api: Api<Pod> = Api::namespaced(world.client.clone(), HOME);
    api.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await.expect("deleted");
}

async fn stop_all(world: &World, app: &str, span: Duration, kind: Kind) {
    let api: Api<Pod> = Api::namespaced(world.client.clone(), "monitoring");
    let pods = api.list(&ListParams::default().labels(&format!("app={app}"))).await.expect("pods").items;
    // One that was emptied a minute ago may still begin.
    let processes = pods.iter().filter_map(|it| host::process(it, app)).collect();
    stopped(world, processes, span, kind).await;
}

async fn stopped(world: &World, processes: Vec<String>, span: Duration, kind: Kind) {
    println!("soak: {} for {} s: {processes:?}", kind.name(), span.as_secs());
    let stopped: Vec<Stopped> = processes.into_iter().map(Stopped::new).collect();
    world.passed("soak", Instant::now(), span, kind.name()).await;
    drop(stopped);
}

async fn cut_off(world: &World, random: &mut Random, span: Duration) {
    let services: Api<Service> = Api::namespaced(world.client.clone(), "default");
    let service = services.get("kubernetes").await.expect("the API server's Service");
    let address = service.spec.and_then(|it| it.cluster_ip).expect("a cluster IP");
    let (pod, process) = replica(world, random).await;
    println!("soak: {} is cut off for {} s", pod.name_any(), span.as_secs());
    let cut = CutOff::new(&process, &address).unwrap_or_else(|said| panic!("it cannot be cut off: {said}"));
    world.passed("soak", Instant::now(), span, ReplicaCutOff.name()).await;
    let dropped = cut.dropped().unwrap_or_else(|said| panic!("what was cut off cannot be told: {said}"));
    println!("soak: {dropped} packets of {} were dropped", pod.name_any());
    // Both replicas ask for the lease every few seconds; one that has just ended may not have begun again.
    let went_on = host::process(&pod, PROGRAM).as_ref() == Some(&process);
    assert!(dropped > 0 || !went_on, "the rule cut nothing off");
    drop(cut);
}

/// Their data are in an `emptyDir`, and go with the pods.
async fn empty(world: &World, app: &str) {
    world.delete_at_once("monitoring", &format!("app={app}")).await;
}

#[test]
fn while_the_operator_is_left_alone_it_is_not_disturbed_and_prometheus_is_not_emptied_again_at_once() {
    let (mut random, mut disturbances) = (Random::of(7), Disturbances::default());
    let kinds: Vec<Kind> = (1..=400).map(|minute| disturbances.choose(&mut random, minute, minute > 200)).collect();
    assert!(kinds[200..].iter().all(|it| OF_THE_OTHERS.contains(it)), "{kinds:?}");
    assert!(OF_THE_OPERATOR.iter().all(|it| kinds[..9].contains(it)), "each soon comes: {kinds:?}");
    let emptied: Vec<usize> = (0..400).filter(|it| kinds[*it] == PrometheusEmptied).collect();
    assert!(emptied.len() > 5 && emptied.windows(2).all(|it| it[1] - it[0] >= 12), "{emptied:?}");
}
