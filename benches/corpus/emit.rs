//! From what happened in a container to the series that a Prometheus would hold: metric names, labels, scrape times
//! with jitter, misses and outages. The names and labels are those of the catalog's exporters.

use std::collections::BTreeMap;

use grpc_hygiene::decide::{Sample, Samples, Series};

use super::{
    draw::Draw,
    fleet::{Fleet, Pod},
    setup::{Instruments, LENGTH, MINUTE, Setup},
    simulate::{Record, Row},
};

type Labels = BTreeMap<String, String>;
type Count = fn(&Row) -> f64;

/// Writes the series of one workload.
pub struct Emitter<'a> {
    pub epoch: f64,
    pub fleet: &'a Fleet,
    pub series: Vec<Series>,
    outages: Vec<(f64, f64)>,
    misses: f64,
    jitter: f64,
    methods: Vec<(&'static str, &'static str, f64)>,
    targets: usize,
    states_started: bool,
    pod_cgroups: bool,
    /// Whether calls are told by everybody, whatever the instrumentation.
    calls_told: bool,
}

impl<'a> Emitter<'a> {
    pub fn new(rng: &mut Draw, epoch: f64, fleet: &'a Fleet, calls_told: bool) -> Self {
        const METHODS: [(&str, &str); 5] = [
            ("shop.v1.Payments", "Authorize"),
            ("shop.v1.Stock", "Reserve"),
            ("shop.v1.Users", "GetUser"),
            ("shop.v1.Shipping", "Quote"),
            ("shop.v1.Notifications", "Send"),
        ];
        let outages = (0..rng.count(0, 3)).map(|_| {
            let from = rng.uniform(0.0, LENGTH);
            (from, from + rng.uniform(3.0, 25.0) * MINUTE)
        });
        let outages = outages.collect();
        let shares: Vec<f64> = (0..rng.count(1, 4)).map(|_| rng.uniform(0.2, 1.0)).collect();
        let all: f64 = shares.iter().sum();
        let methods = shares.iter().zip(METHODS).map(|(share, (service, method))| (service, method, share / all));
        Self {
            epoch,
            fleet,
            series: Vec::new(),
            outages,
            misses: rng.uniform(0.01, 0.03),
            jitter: rng.log_uniform(0.01, 1.5),
            methods: methods.collect(),
            targets: rng.count(1, 2),
            states_started: rng.chance(0.5),
            pod_cgroups: rng.chance(0.2),
            calls_told,
        }
    }

    /// When one target is scraped: per step a time, or none if the scrape was missed.
    fn clock(&self, rng: &mut Draw, pod: &Pod, dt: f64) -> Vec<Option<f64>> {
        let offset = rng.uniform(0.0, dt * 0.9);
        let own = rng.chance(0.3).then(|| {
            let from = rng.uniform(0.0, LENGTH);
            (from, from + rng.uniform(2.0, 10.0) * MINUTE)
        });
        let jitter = self.jitter.min(dt / 20.0);
        let time = |step: usize| {
            let at = step as f64 * dt + offset;
            let out = self.outages.iter().chain(&own).any(|it| (it.0..it.1).contains(&at));
            let missed = rng.chance(self.misses) || out;
            let late = rng.uniform(0.0, jitter);
            (!missed).then(|| ((self.epoch + at + late) * 1_000.0).round() / 1_000.0)
        };
        pod.steps.clone().map(time).collect()
    }

    /// All series about one container of a pod.
    pub fn container(&mut self, rng: &mut Draw, setup: &Setup, pod: &Pod, container: &str, record: &Record) {
        let kubelet = self.clock(rng, pod, setup.dt);
        self.kubelet(rng, setup, pod, container, record, &kubelet);
        if setup.instruments.has_runtime() {
            let clock = self.clock(rng, pod, setup.dt);
            self.application(setup, pod, container, record, &clock);
        }
        if self.calls_told && !setup.instruments.has_calls() {
            // With the kubelet's clock, so that all other draws stay what they are.
            self.calls(
                Instruments::Middleware,
                setup,
                &self.labels(pod, &[("container", container)]),
                record,
                &kubelet,
            );
        }
        let clock = self.clock(rng, pod, setup.dt);
        self.states(setup, pod, container, record, &clock);
    }

    fn kubelet(
        &mut self,
        rng: &mut Draw,
        setup: &Setup,
        pod: &Pod,
        container: &str,
        record: &Record,
        clock: &[Option<f64>],
    ) {
        let image = format!("registry.example.com/shop/{}:1.{}", self.fleet.app, pod.revision);
        let cgroup = format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice", pod.uid);
        let instance = format!("10.0.0.{}:10250", 10 + pod.node);
        let base =
            self.labels(pod, &[("instance", &instance), ("job", "kubelet"), ("metrics_path", "/metrics/cadvisor")]);
        for (life, began) in record.starts.iter().enumerate() {
            let name = rng.hex(64);
            let mut labels = base.clone();
            labels.extend(pairs(&[
                ("container", container),
                ("id", &format!("{cgroup}/cri-containerd-{name}.scope")),
                ("name", &name),
                ("image", &image),
            ]));
            let started = self.epoch + began;
            self.push("container_memory_working_set_bytes", &labels, record, clock, Some(life), |it| it.working_set);
            self.push("container_memory_rss", &labels, record, clock, Some(life), |it| it.rss);
            self.push("container_sockets", &labels, record, clock, Some(life), |it| it.sockets);
            self.push("container_start_time_seconds", &labels, record, clock, Some(life), |_| started.round());
            self.oom_events(setup, pod, &labels, record, clock, life);
        }
        if self.pod_cgroups {
            let mut labels = base;
            labels.extend(pairs(&[("container", ""), ("id", &cgroup), ("name", ""), ("image", "")]));
            self.push("container_memory_working_set_bytes", &labels, record, clock, None, |it| it.working_set + 5e5);
        }
    }

    /// The kernel's count of kills in the container's cgroup: 0, and 1 in the last scrape before it goes.
    fn oom_events(
        &mut self,
        setup: &Setup,
        pod: &Pod,
        labels: &Labels,
        record: &Record,
        clock: &[Option<f64>],
        life: usize,
    ) {
        self.push("container_oom_events_total", labels, record, clock, Some(life), |_| 0.0);
        let last = record.rows.iter().rposition(|it| it.as_ref().is_some_and(|it| it.life == life));
        let Some(killed) = last.map(|it| it + 1).filter(|it| record.kills.contains(&(it + pod.steps.start))) else {
            return;
        };
        let at = clock[killed].unwrap_or(self.epoch + (killed + pod.steps.start) as f64 * setup.dt + 1.0);
        if let Some(series) = self.series.last_mut() {
            series.samples = series.samples.iter().copied().chain([Sample { at, value: 1.0 }]).collect();
        }
    }

    fn application(&mut self, setup: &Setup, pod: &Pod, container: &str, record: &Record, clock: &[Option<f64>]) {
        let instance = format!("{}:9090", pod.address);
        let job = format!("{}/{}", self.fleet.namespace, self.fleet.app);
        let labels = self
            .labels(pod, &[("container", container), ("endpoint", "metrics"), ("instance", &instance), ("job", &job)]);
        let starts: Vec<f64> = record.starts.iter().map(|it| self.epoch + it).collect();
        self.push("go_goroutines", &labels, record, clock, None, |it| it.goroutines);
        self.push("process_open_fds", &labels, record, clock, None, |it| it.descriptors);
        self.push("process_resident_memory_bytes", &labels, record, clock, None, |it| it.rss);
        self.push("process_start_time_seconds", &labels, record, clock, None, |it| starts[it.life]);
        self.calls(setup.instruments, setup, &labels, record, clock);
        if setup.instruments.has_subchannels() {
            self.subchannels(setup, &labels, record, clock);
        }
    }

    fn calls(
        &mut self,
        instruments: Instruments,
        setup: &Setup,
        labels: &Labels,
        record: &Record,
        clock: &[Option<f64>],
    ) {
        let serves = !setup.inbound.0.is_empty();
        let methods = self.methods.clone();
        for (place, (service, method, share)) in methods.iter().enumerate() {
            let called = |it: &Row| (it.calls * share).floor();
            let served = |it: &Row| (it.served * share).floor();
            let full = format!("{service}/{method}");
            let target = self.target(place % self.targets);
            match instruments {
                Instruments::OpenTelemetry => {
                    let mut labels = scoped(labels, setup);
                    labels.extend(pairs(&[("grpc_method", &full)]));
                    if serves {
                        self.push("grpc_server_call_started_total", &labels, record, clock, None, served);
                    }
                    labels.extend(pairs(&[("grpc_target", &target)]));
                    self.push("grpc_client_attempt_started_total", &labels, record, clock, None, called);
                }
                Instruments::Middleware => {
                    let mut labels = labels.clone();
                    let named = [("grpc_type", "unary"), ("grpc_service", service), ("grpc_method", method)];
                    labels.extend(pairs(&named));
                    self.push("grpc_client_started_total", &labels, record, clock, None, called);
                    if serves {
                        self.push("grpc_server_started_total", &labels, record, clock, None, served);
                    }
                }
                Instruments::StrippedOfCalls | Instruments::Runtime | Instruments::Kubelet => {}
            }
        }
    }

    fn subchannels(&mut self, setup: &Setup, labels: &Labels, record: &Record, clock: &[Option<f64>]) {
        for target in 0..self.targets {
            let mut labels = scoped(labels, setup);
            labels.extend(pairs(&[("grpc_target", &self.target(target))]));
            // The second target has the smaller part.
            let share = if self.targets == 1 { 1.0 } else { [0.7, 0.3][target] };
            let part = move |it: f64| (it * share).round();
            self.push("grpc_subchannel_open_connections", &labels, record, clock, None, |it| part(it.open));
            let name = "grpc_subchannel_connection_attempts_succeeded_total";
            self.push(name, &labels, record, clock, None, |it| part(it.opened));
            let failed = record.rows.iter().flatten().any(|it| it.failed > 0.0);
            if failed {
                let name = "grpc_subchannel_connection_attempts_failed_total";
                self.push(name, &labels, record, clock, None, |it| part(it.failed));
            }
            let reasons: [(&str, Count); 3] = [
                ("subchannel shutdown", |it| it.closed),
                ("GOAWAY NO_ERROR", |it| it.recycled),
                ("GOAWAY ENHANCE_YOUR_CALM", |it| it.rejected),
            ];
            for (reason, count) in reasons {
                if record.rows.iter().flatten().any(|it| count(it) > 0.0) {
                    labels.extend(pairs(&[("grpc_disconnect_error", reason)]));
                    let name = "grpc_subchannel_disconnections_total";
                    self.push(name, &labels, record, clock, None, |it| part(count(it)));
                }
            }
        }
    }

    /// What kube-state-metrics says about the pod.
    fn states(&mut self, setup: &Setup, pod: &Pod, container: &str, record: &Record, clock: &[Option<f64>]) {
        let node = format!("node-{}", pod.node);
        let state = [("instance", "10.244.0.5:8080"), ("job", "kube-state-metrics"), ("uid", &pod.uid)];
        let base = self.labels(pod, &state);
        let with = |more: &[(&str, &str)]| {
            let mut labels = base.clone();
            labels.extend(pairs(more));
            labels
        };
        let labels = with(&[("container", container), ("resource", "memory"), ("unit", "byte"), ("node", &node)]);
        let limit = setup.memory.limit.round();
        self.push_always("kube_pod_container_resource_limits", labels, clock, |_| limit);
        let lives = lives(record);
        let labels = with(&[("container", container)]);
        let restarts = |index: usize| lives[index] as f64;
        self.push_always("kube_pod_container_status_restarts_total", labels.clone(), clock, restarts);
        if self.states_started {
            let starts: Vec<f64> = record.starts.iter().map(|it| (self.epoch + it).round()).collect();
            self.push("kube_pod_container_state_started", &labels, record, clock, None, |it| starts[it.life]);
        }
        if let Some(first) = record.kills.first().map(|it| it - pod.steps.start) {
            let labels = with(&[("container", container), ("reason", "OOMKilled")]);
            let since: Vec<Option<f64>> =
                clock.iter().enumerate().map(|(index, at)| at.filter(|_| index >= first)).collect();
            self.push_always("kube_pod_container_status_last_terminated_reason", labels, &since, |_| 1.0);
        }
    }

    /// Who owns the pods.
    pub fn owners(&mut self, rng: &mut Draw, dt: f64) {
        let mut sets: BTreeMap<String, std::ops::Range<usize>> = BTreeMap::new();
        let fleet = self.fleet;
        for pod in &fleet.pods {
            let clock = self.clock(rng, pod, dt);
            let kind = if fleet.stateful { "StatefulSet" } else { "ReplicaSet" };
            let labels = self.labels(
                pod,
                &[
                    ("instance", "10.244.0.5:8080"),
                    ("job", "kube-state-metrics"),
                    ("owner_is_controller", "true"),
                    ("owner_kind", kind),
                    ("owner_name", &pod.owner),
                    ("uid", &pod.uid),
                ],
            );
            self.push_always("kube_pod_owner", labels, &clock, |_| 1.0);
            let steps = sets.entry(pod.owner.clone()).or_insert_with(|| pod.steps.clone());
            *steps = steps.start.min(pod.steps.start)..steps.end.max(pod.steps.end);
        }
        for (set, steps) in sets.into_iter().filter(|_| !fleet.stateful) {
            let clock = self.clock(rng, &Pod { steps, ..fleet.pods[0].clone() }, dt);
            let labels = [
                ("instance", "10.244.0.5:8080"),
                ("job", "kube-state-metrics"),
                ("namespace", &fleet.namespace),
                ("owner_is_controller", "true"),
                ("owner_kind", "Deployment"),
                ("owner_name", &fleet.app),
                ("replicaset", &set),
            ];
            self.push_always("kube_replicaset_owner", pairs(&labels).collect(), &clock, |_| 1.0);
        }
    }

    fn labels(&self, pod: &Pod, more: &[(&str, &str)]) -> Labels {
        pairs(&[("namespace", &self.fleet.namespace), ("pod", &pod.name)]).chain(pairs(more)).collect()
    }

    fn target(&self, place: usize) -> String {
        format!("dns:///{}.{}:443", ["payments", "stock"][place], self.fleet.namespace)
    }

    /// One series of what the rows say, of one life of the container or of all.
    fn push(
        &mut self,
        name: &str,
        labels: &Labels,
        record: &Record,
        clock: &[Option<f64>],
        life: Option<usize>,
        value: impl Fn(&Row) -> f64,
    ) {
        let sample = |(row, at): (&Option<Row>, &Option<f64>)| {
            let row = row.as_ref().filter(|it| life.is_none_or(|life| life == it.life))?;
            at.map(|at| Sample { at, value: value(row) })
        };
        let samples: Vec<Sample> = record.rows.iter().zip(clock).filter_map(sample).collect();
        self.add(name, labels.clone(), samples);
    }

    /// One series that does not depend on the container being up.
    fn push_always(&mut self, name: &str, labels: Labels, clock: &[Option<f64>], value: impl Fn(usize) -> f64) {
        let sample = |(index, at): (usize, &Option<f64>)| at.map(|at| Sample { at, value: value(index) });
        let samples = clock.iter().enumerate().filter_map(sample).collect();
        self.add(name, labels, samples);
    }

    fn add(&mut self, name: &str, mut labels: Labels, samples: Vec<Sample>) {
        labels.insert("__name__".to_owned(), name.to_owned());
        self.series.push(Series { labels: labels.into_iter().collect(), samples: samples.into() });
    }

    /// The same metrics from two Prometheus replicas, half an interval apart: as two series, or mixed into one.
    pub fn duplicate(&mut self, dt: f64, mixed: bool) {
        let later = |it: &Sample| Sample { at: it.at + dt / 2.0, ..*it };
        for series in std::mem::take(&mut self.series) {
            let twin: Samples = series.samples.iter().map(later).collect();
            if mixed {
                let mut samples = [&series.samples[..], &twin[..]].concat();
                samples.sort_by(|a, b| a.at.total_cmp(&b.at));
                self.series.push(Series { samples: samples.into(), ..series });
            } else {
                for (replica, samples) in [("prometheus-0", series.samples), ("prometheus-1", twin)] {
                    let labels = series.labels.with("prometheus_replica", replica);
                    self.series.push(Series { labels, samples });
                }
            }
        }
    }

    /// The application's clock, or the node's, is off by so many seconds: sample times pushed by the one, start times
    /// told by the other.
    pub fn skew(&mut self, seconds: f64, application: bool) {
        for series in &mut self.series {
            let name = series.labels.get("__name__").expect("a name");
            let of_application = ["go_", "grpc_", "process_"].iter().any(|it| name.starts_with(it));
            let tells_start = name == "container_start_time_seconds";
            let off = |it: &Sample| match *it {
                Sample { at, value } if application && of_application => Sample { at: at + seconds, value },
                Sample { at, value } if !application && tells_start => Sample { at, value: value + seconds },
                sample => sample,
            };
            series.samples = series.samples.iter().map(off).collect();
        }
    }
}

/// Which life each row belongs to; while the container is down, the next.
fn lives(record: &Record) -> Vec<usize> {
    let mut life = 0;
    let of = |it: &Option<Row>| {
        if let Some(row) = it {
            life = row.life;
        }
        life
    };
    record.rows.iter().map(of).collect()
}

fn scoped(labels: &Labels, setup: &Setup) -> Labels {
    let scope = [("otel_scope_name", "grpc-go"), ("otel_scope_version", setup.library.version)];
    labels.clone().into_iter().chain(pairs(&scope)).collect()
}

fn pairs<'a>(of: &'a [(&str, &str)]) -> impl Iterator<Item = (String, String)> + 'a {
    of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
}
