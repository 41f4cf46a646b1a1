//! What the rules of today look at: memory, resident memory and connections per container, as Prometheus has them
//! (one series per life of a container), with sums that make a regression over any window cost the same.

use std::collections::BTreeMap;

use grpc_hygiene::decide::{Sample, Series};

use crate::corpus::Incident;

/// One series of one container.
#[derive(Clone, Debug)]
pub struct Track {
    pub pod: String,
    pub container: String,
    /// The memory limit, bytes.
    pub limit: Option<f64>,
    pub samples: Vec<Sample>,
    sums: Vec<Sums>,
}

/// The tracks of an incident.
pub struct Tracks {
    /// `container_memory_working_set_bytes`.
    pub memory: Vec<Track>,
    /// `container_memory_rss`.
    pub rss: Vec<Track>,
    /// `grpc_subchannel_open_connections` added up where it is there, else `container_sockets`.
    pub connections: Vec<Track>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    t: f64,
    y: f64,
    tt: f64,
    ty: f64,
    yy: f64,
}

/// A straight line through a window.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Per second.
    pub slope: f64,
    /// The value at the window's end.
    pub end: f64,
    /// The value at the first sample.
    pub begin: f64,
    pub r2: f64,
    pub n: usize,
}

impl Tracks {
    pub fn of(incident: &Incident) -> Self {
        let limits: BTreeMap<(String, String), f64> = named(incident, "kube_pod_container_resource_limits")
            .filter_map(|it| Some((key(it), it.samples.last()?.value)))
            .collect();
        let plain = |name: &str| -> Vec<Track> {
            let of_container = |it: &&Series| it.labels.get("container").is_some_and(|it| !it.is_empty());
            named(incident, name)
                .filter(of_container)
                .map(|it| Track::new(key(it), &limits, it.samples.to_vec()))
                .collect()
        };
        Self {
            memory: plain("container_memory_working_set_bytes"),
            rss: plain("container_memory_rss"),
            connections: connections(incident, &limits, plain("container_sockets")),
        }
    }
}

fn connections(incident: &Incident, limits: &BTreeMap<(String, String), f64>, sockets: Vec<Track>) -> Vec<Track> {
    let mut sums: BTreeMap<(String, String), BTreeMap<u64, Sample>> = BTreeMap::new();
    for series in named(incident, "grpc_subchannel_open_connections") {
        let replica = series.labels.get("prometheus_replica").is_some_and(|it| it != "prometheus-0");
        let sum = sums.entry(key(series)).or_default();
        for sample in series.samples.iter().filter(|_| !replica) {
            sum.entry(sample.at.to_bits()).or_insert(Sample { at: sample.at, value: 0.0 }).value += sample.value;
        }
    }
    let unseen = |it: &Track| !sums.contains_key(&(it.pod.clone(), it.container.clone()));
    let sockets: Vec<Track> = sockets.into_iter().filter(unseen).collect();
    let counted = sums.into_iter().map(|(key, samples)| Track::new(key, limits, samples.into_values().collect()));
    counted.chain(sockets).collect()
}

fn named<'a>(incident: &'a Incident, name: &'a str) -> impl Iterator<Item = &'a Series> {
    incident.series.iter().filter(move |it| it.labels.get("__name__").is_some_and(|it| it == name))
}

fn key(series: &Series) -> (String, String) {
    let label = |name: &str| series.labels.get(name).unwrap_or_default().to_owned();
    (label("pod"), label("container"))
}

impl Track {
    fn new(key: (String, String), limits: &BTreeMap<(String, String), f64>, samples: Vec<Sample>) -> Self {
        let limit = limits.get(&key).copied();
        let begin = samples.first().map_or(0.0, |it| it.at);
        let mut sums = vec![Sums::default()];
        let mut sum = Sums::default();
        for sample in &samples {
            let (t, y) = (sample.at - begin, sample.value / 1e6);
            sum.t += t;
            sum.y += y;
            sum.tt += t * t;
            sum.ty += t * y;
            sum.yy += y * y;
            sums.push(sum);
        }
        Self { pod: key.0, container: key.1, limit, samples, sums }
    }

    /// When a rule that runs every so many seconds has this series before it.
    pub fn evaluations(&self, every: f64) -> impl Iterator<Item = f64> + use<> {
        let (first, last) = (self.samples.first().map(|it| it.at), self.samples.last().map(|it| it.at));
        let (first, last) = (first.unwrap_or(0.0), last.unwrap_or(-1.0));
        let begin = (first / every).ceil() as i64;
        let end = (last / every).floor() as i64;
        (begin..=end).map(move |it| it as f64 * every)
    }

    /// The samples in `(now - seconds, now]`, as PromQL's range selector takes them.
    pub fn window(&self, now: f64, seconds: f64) -> &[Sample] {
        let (from, to) = self.range(now, seconds);
        &self.samples[from..to]
    }

    fn range(&self, now: f64, seconds: f64) -> (usize, usize) {
        let from = self.samples.partition_point(|it| it.at <= now - seconds);
        let to = self.samples.partition_point(|it| it.at <= now);
        (from, to.max(from))
    }

    /// Least squares over a window. `None` for fewer than two samples.
    pub fn line(&self, now: f64, seconds: f64) -> Option<Line> {
        let (from, to) = self.range(now, seconds);
        let n = (to - from) as f64;
        if n < 2.0 {
            return None;
        }
        let (a, b) = (self.sums[from], self.sums[to]);
        let (t, y) = ((b.t - a.t) / n, (b.y - a.y) / n);
        let tt = (b.tt - a.tt) / n - t * t;
        let ty = (b.ty - a.ty) / n - t * y;
        let yy = (b.yy - a.yy) / n - y * y;
        if tt <= 0.0 {
            return None;
        }
        let slope = ty / tt;
        let origin = self.samples[0].at;
        let at = |time: f64| (y + slope * (time - origin - t)) * 1e6;
        let r2 = if yy > 0.0 { (ty * ty / (tt * yy)).min(1.0) } else { 0.0 };
        Some(Line { slope: slope * 1e6, end: at(now), begin: at(self.samples[from].at), r2, n: to - from })
    }
}
