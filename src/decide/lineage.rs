//! Those who ran before: earlier lives of a container, and pods of its workload that are gone. How high they stood, how
//! they rose, and from which revision they were.
//!
//! A leak rises with age: it begins anew with each life, whatever the hour. Load rises with the hour, and a cache stops
//! where it stopped before. So predecessors tell apart what one life alone cannot.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    decide::{Sample, Samples, Subject, Target, Workload, gather::Indexed},
    signals::Signal,
};

/// What is remembered of predecessors.
pub const REMEMBERED: [Signal; 2] = [Signal::OpenConnections, Signal::Memory];
/// No more predecessors than this are looked at, the newest ones.
const MOST: usize = 20;
/// A life of fewer points has no course.
const LEAST_POINTS: usize = 4;
/// A course is flat when its second half adds no more than this share.
const FLAT: f64 = 0.1;

/// One life that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Ancestor {
    /// The pod template's hash, if the pod's name tells it.
    pub revision: Option<String>,
    /// When it was first seen, Unix seconds.
    pub born: f64,
    /// How long it was seen, seconds.
    pub lived: f64,
    /// How its signals went.
    pub courses: BTreeMap<Signal, Course>,
}

/// How a signal went through a life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Course {
    /// The level at its beginning.
    pub start: f64,
    /// The level at its end.
    pub end: f64,
    /// The mean rise per second.
    pub per_second: f64,
    /// Whether it stood still in its second half.
    pub flat: bool,
}

impl Course {
    /// Of points in time order; `None` for too few.
    #[must_use]
    pub fn of(points: &[Sample]) -> Option<Self> {
        if points.len() < LEAST_POINTS {
            return None;
        }
        let few = points.len() / 4;
        let mean = |of: &[Sample]| of.iter().map(|it| it.value).sum::<f64>() / of.len() as f64;
        let middle = points.len() / 2;
        let (start, end) = (mean(&points[..few]), mean(&points[points.len() - few..]));
        let halfway = mean(&points[middle - few.div_ceil(2)..middle + few.div_ceil(2)]);
        let middle_of = |of: &[Sample]| of.iter().map(|it| it.at).sum::<f64>() / of.len() as f64;
        let apart = middle_of(&points[points.len() - few..]) - middle_of(&points[..few]);
        let per_second = if apart > 0.0 { (end - start) / apart } else { 0.0 };
        Some(Self { start, end, per_second, flat: (end - halfway).abs() <= FLAT * end.abs() })
    }
}

impl Ancestor {
    /// From what is known of a life: the points of its signals. `None` if no signal has a course.
    #[must_use]
    pub fn of(revision: Option<String>, signals: &[(Signal, &[Sample])]) -> Option<Self> {
        let courses: BTreeMap<Signal, Course> =
            signals.iter().filter_map(|(signal, points)| Some((*signal, Course::of(points)?))).collect();
        if courses.is_empty() {
            return None;
        }
        let times = || signals.iter().flat_map(|(_, points)| points.iter()).map(|it| it.at);
        let (born, died) = (times().fold(f64::INFINITY, f64::min), times().fold(f64::NEG_INFINITY, f64::max));
        Some(Self { revision, born, lived: died - born, courses })
    }
}

/// The newest of them, oldest first.
#[must_use]
pub fn newest(mut ancestors: Vec<Ancestor>) -> Arc<[Ancestor]> {
    ancestors.sort_by(|a, b| a.born.total_cmp(&b.born));
    ancestors.split_off(ancestors.len().saturating_sub(MOST)).into()
}

/// The predecessors of each target's container, from buckets that hold everybody's: dead pods are in them as well.
pub(super) fn of_targets(buckets: &[Indexed<'_>], targets: &[Target]) -> BTreeMap<(Workload, String), Arc<[Ancestor]>> {
    let Some(width) = buckets.iter().filter_map(Indexed::width).reduce(f64::min) else { return BTreeMap::new() };
    let finest: Vec<&Indexed<'_>> =
        buckets.iter().filter(|it| it.width() == Some(width) && REMEMBERED.contains(&it.signal())).collect();
    let dead = dead(&finest, targets);
    let mut all: BTreeMap<(Workload, String), Vec<Ancestor>> = BTreeMap::new();
    for target in targets {
        let Some(workload) = &target.workload else { continue };
        let earlier_life =
            target.started.and_then(|started| ancestor(&finest, target, target.revision.clone(), started));
        let key = (workload.clone(), target.subject.container.clone());
        let known = all.entry(key).or_insert_with(|| {
            let dead = dead.get(workload.namespace.as_str()).into_iter().flatten();
            dead.filter_map(|pod| ghost(&finest, target, workload, pod)).collect()
        });
        known.extend(earlier_life);
    }
    all.into_iter().map(|(key, ancestors)| (key, newest(ancestors))).collect()
}

/// The pods that the buckets tell of and that are no longer there, by namespace.
fn dead<'a>(buckets: &[&Indexed<'a>], targets: &[Target]) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let alive: BTreeSet<(&str, &str)> =
        targets.iter().map(|it| (it.subject.namespace.as_str(), it.subject.pod.as_str())).collect();
    let mut dead: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (namespace, pod) in buckets.iter().flat_map(|it| it.pods()).filter(|it| !alive.contains(it)) {
        dead.entry(namespace).or_default().insert(pod);
    }
    dead
}

/// The life of a dead pod, if it was one of this target's workload.
fn ghost(buckets: &[&Indexed<'_>], target: &Target, workload: &Workload, pod: &str) -> Option<Ancestor> {
    let revision = revision_of(pod, workload)?;
    let subject = Subject { pod: pod.to_owned(), uid: String::new(), ..target.subject.clone() };
    ancestor(buckets, &Target { subject, ..target.clone() }, revision, f64::INFINITY)
}

fn ancestor(buckets: &[&Indexed<'_>], target: &Target, revision: Option<String>, until: f64) -> Option<Ancestor> {
    let mut signals: BTreeMap<Signal, Samples> = BTreeMap::new();
    for it in buckets {
        if let Some(points) = it.points(target, until).filter(|points| !points.is_empty()) {
            signals.entry(it.signal()).or_insert(points);
        }
    }
    let signals: Vec<(Signal, &[Sample])> = signals.iter().map(|(signal, points)| (*signal, &**points)).collect();
    Ancestor::of(revision, &signals)
}

/// Whether a pod of this name belonged to a workload, and to which revision of it. Controllers build the names.
pub(super) fn revision_of(pod: &str, workload: &Workload) -> Option<Option<String>> {
    let rest = pod.strip_prefix(workload.name.as_str())?.strip_prefix('-')?;
    let is_random = |it: &str| it.len() == 5 && it.bytes().all(|it| it.is_ascii_alphanumeric());
    match (workload.kind.as_str(), rest.split_once('-')) {
        ("Deployment", Some((hash, random))) if is_random(random) && !hash.is_empty() => Some(Some(hash.to_owned())),
        ("DaemonSet" | "ReplicaSet" | "Job", None) if is_random(rest) => Some(None),
        ("StatefulSet", None) if rest.bytes().all(|it| it.is_ascii_digit()) => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(value: impl Fn(f64) -> f64) -> Vec<Sample> {
        (0..20).map(|n| Sample { at: f64::from(n) * 600.0, value: value(f64::from(n)) }).collect()
    }

    #[test]
    fn a_course_knows_its_ends_its_rise_and_whether_it_stood_still() {
        let rise = Course::of(&points(|n| 10.0 + 6.0 * n)).expect("a course");
        assert!((rise.per_second - 0.01).abs() < 1e-9 && !rise.flat, "{rise:?}");
        let full = Course::of(&points(|n| (100.0 * n).min(500.0))).expect("a course");
        assert!(full.flat && full.end == 500.0, "{full:?}");
        assert_eq!(Course::of(&points(|n| n)[..3]), None);
    }

    #[test]
    fn a_pod_s_name_tells_its_workload_and_revision() {
        let workload = |kind: &str| Workload { namespace: "shop".into(), kind: kind.into(), name: "orders".into() };
        let of = |kind: &str, pod: &str| revision_of(pod, &workload(kind));
        assert_eq!(of("Deployment", "orders-5967f54959-kvxhb"), Some(Some("5967f54959".into())));
        assert_eq!(of("Deployment", "orders-api-5967f54959-kvxhb"), None, "another Deployment's");
        assert_eq!(of("StatefulSet", "orders-12"), Some(None));
        assert_eq!(of("StatefulSet", "orders-x"), None);
        assert_eq!(of("DaemonSet", "orders-kvxhb"), Some(None));
        assert_eq!(of("Deployment", "users-5967f54959-kvxhb"), None);
    }

    #[test]
    fn only_the_newest_are_remembered() {
        let one = |born: f64| Ancestor { revision: None, born, lived: 1.0, courses: BTreeMap::new() };
        let kept = newest((0..30).map(|n| one(f64::from(29 - n))).collect());
        assert_eq!((kept.len(), kept[0].born, kept[19].born), (20, 10.0, 29.0));
    }
}
