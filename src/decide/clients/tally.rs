//! From what one source told to figures of pods and workloads: which series are about the Service, which of them tell
//! the same thing twice, and what they add up to.

use std::collections::BTreeMap;

use super::{Told, target::means};
use crate::{
    decide::{
        Sample, Series,
        series::{clean, increase},
    },
    signals::{ClientNaming, ClientSource, Destination, Figure, Toward, cron_job},
};

/// A series that ended without saying so is still shown for so long, seconds: how far Prometheus looks back.
const LINGERS: f64 = 300.0;

/// Who holds connections, as a source names him.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A pod.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        pod: String,
    },
    /// A workload, by its name without its kind.
    Workload {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// The figures of one of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Connections held at each time, in time order.
    pub held: Vec<Sample>,
    /// Connections opened in the whole time. `None` when nobody counts them.
    pub opened: Option<f64>,
    /// RPCs started in the whole time.
    pub calls: Option<f64>,
}

/// What a source told about clients of the destination, and how many series hold values that cannot be measured.
pub fn tally(told: &Told, destination: &Destination) -> (BTreeMap<Who, Tally>, usize) {
    let mut gathered: BTreeMap<Who, BTreeMap<Figure, Sum>> = BTreeMap::new();
    let mut odd = 0;
    for (figure, matrix) in &told.figures {
        let start =
            matrix.series.iter().flat_map(|it| it.samples.first()).map(|it| it.at).fold(f64::INFINITY, f64::min);
        for ((who, _), tellings) in sorted(&told.source, &matrix.series, destination) {
            for series in believed(tellings.into_values().collect()) {
                let Ok(samples) = clean(&series.samples) else {
                    odd += 1;
                    continue;
                };
                gathered.entry(who.clone()).or_default().entry(*figure).or_default().add(&samples, start);
            }
        }
    }
    (gathered.into_iter().map(|(who, sums)| (who, Tally::of(&sums))).collect(), odd)
}

/// Two tellings of one container at the same time are not added up: the fuller one is believed. One that begins when
/// another has ended goes on with it: the pod came back under its name and has another address.
fn believed(mut tellings: Vec<Vec<&Series>>) -> Vec<&Series> {
    let reach = |of: &[&Series]| {
        let times = || of.iter().flat_map(|it| &it.samples).map(|it| it.at);
        (times().fold(f64::INFINITY, f64::min), times().fold(f64::NEG_INFINITY, f64::max))
    };
    let size = |of: &Vec<&Series>| of.iter().map(|it| it.samples.len()).sum::<usize>();
    tellings.sort_by_key(|it| std::cmp::Reverse(size(it)));
    let mut believed: Vec<Vec<&Series>> = Vec::new();
    for telling in tellings {
        let (first, last) = reach(&telling);
        let apart = |other: &Vec<&Series>| {
            let (from, to) = reach(other);
            first > to - LINGERS || last < from + LINGERS
        };
        if believed.iter().all(apart) {
            believed.push(telling);
        }
    }
    believed.concat()
}

impl Tally {
    fn of(sums: &BTreeMap<Figure, Sum>) -> Self {
        let of = |figure| sums.get(&figure);
        let held = match (of(Figure::Held), of(Figure::Opened), of(Figure::Closed)) {
            (Some(held), ..) => held.points(),
            // A proxy that counts both: what was opened and not closed is held. Nothing was closed while none is told.
            (None, Some(opened), closed) => opened.less(closed),
            (None, None, _) => Vec::new(),
        };
        Self { held, opened: of(Figure::Opened).map(|it| it.grown), calls: of(Figure::Calls).map(|it| it.grown) }
    }

    /// Connections held at a time; `None` when it was not there.
    pub fn held_at(&self, at: f64) -> Option<f64> {
        let exactly = |it: &&Sample| it.at.total_cmp(&at).is_eq();
        self.held.iter().find(exactly).map(|it| it.value)
    }

    /// Connections it had at some time: those held at the start and those opened since. Where nobody counts what is
    /// opened, the most that it held.
    pub fn had(&self, start: f64) -> f64 {
        match self.opened {
            Some(opened) => self.held_at(start).unwrap_or_default() + opened,
            None => self.held.iter().map(|it| it.value).fold(0.0, f64::max),
        }
    }
}

/// A figure of one client: all its series have their points at the same times.
#[derive(Default)]
struct Sum {
    at: BTreeMap<u64, Sample>,
    grown: f64,
}

impl Sum {
    fn add(&mut self, samples: &[Sample], start: f64) {
        for sample in samples {
            // Times are positive, so that their bits sort as they do.
            self.at.entry(sample.at.to_bits()).or_insert(Sample { at: sample.at, value: 0.0 }).value += sample.value;
        }
        // A counter that was born later than others counts from zero.
        let born_with = samples.first().filter(|it| it.at > start).map_or(0.0, |it| it.value);
        self.grown += born_with + increase(samples);
    }

    fn points(&self) -> Vec<Sample> {
        self.at.values().copied().collect()
    }

    fn less(&self, other: Option<&Self>) -> Vec<Sample> {
        let taken = |it: &Sample| other.and_then(|sum| sum.at.get(&it.at.to_bits())).map_or(0.0, |it| it.value);
        self.at.values().map(|it| Sample { at: it.at, value: (it.value - taken(it)).max(0.0) }).collect()
    }
}

/// The labels by which one telling of a figure is told from another.
type Telling<'a> = Vec<(&'a str, &'a str)>;

/// Series by client and container, and within that by telling.
type Sorted<'a> = BTreeMap<(Who, Option<&'a str>), BTreeMap<Telling<'a>, Vec<&'a Series>>>;

/// The series about the destination.
fn sorted<'a>(source: &ClientSource, series: &'a [Series], destination: &Destination) -> Sorted<'a> {
    let mut sorted = Sorted::new();
    for one in series {
        let Some((who, container)) = whom(source, one) else { continue };
        let namespace = match &who {
            Who::Pod { namespace, .. } | Who::Workload { namespace, .. } => namespace,
        };
        if is_toward(source.toward, one, namespace, destination) {
            let tells = |name: &str| name != "__name__" && !source.parts.contains(&name);
            let telling = one.labels.iter().filter(|(name, _)| tells(name));
            sorted.entry((who, container)).or_default().entry(telling.collect()).or_default().push(one);
        }
    }
    sorted
}

fn whom<'a>(source: &ClientSource, series: &'a Series) -> Option<(Who, Option<&'a str>)> {
    match &source.client {
        ClientNaming::Pod(naming) => {
            let Some(it) = naming.whom(&series.labels) else {
                let (namespace, job) = cron_job(naming, &series.labels)?;
                return Some((Who::Workload { namespace: namespace.to_owned(), name: job.to_owned() }, None));
            };
            Some((Who::Pod { namespace: it.namespace.to_owned(), pod: it.pod.to_owned() }, it.container))
        }
        ClientNaming::Workload { namespace, workload } => {
            let label = |name: &str| series.labels.filled(name).map(str::to_owned);
            Some((Who::Workload { namespace: label(namespace)?, name: label(workload)? }, None))
        }
    }
}

fn is_toward(toward: Toward, series: &Series, namespace: &str, destination: &Destination) -> bool {
    let label = |name: &str| series.labels.get(name).unwrap_or_default();
    match toward {
        Toward::Unknown => true,
        Toward::Target(name) => means(label(name), namespace, destination),
        Toward::Address(names) => names.iter().any(|it| means(label(it), namespace, destination)),
        Toward::Service { name, namespace } => {
            label(name) == destination.name() && label(namespace) == destination.namespace()
        }
    }
}
