//! A recording, taken apart: containers, their lives, and every signal of a life as one run, computed once, so that
//! each evaluation of a replay only cuts a piece out of it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    decide::{
        Observation, Policy, Reading, Sample, Series, Target, Why, discover,
        gather::{Indexed, Run, runs},
        lineage::{Ancestor, REMEMBERED},
        replay::Recording,
        scales::{coarse_widths, raw_span},
        series::Level,
    },
    signals::Signal,
};

/// A container that says nothing for so long is gone, seconds: how long Prometheus looks back.
const GONE: f64 = 300.0;
/// Start times that differ by less are the same start, seconds.
const SAME_START: f64 = 5.0;

/// One container through all its lives.
pub struct Track {
    target: Target,
    lives: Vec<Life>,
}

struct Life {
    started: Option<f64>,
    from: f64,
    /// When its first and its last sample were measured.
    seen: (f64, f64),
    signals: BTreeMap<Signal, Vec<Result<Run, Why>>>,
    /// What its successors know of it when it is over.
    remembered: Option<Ancestor>,
}

impl Track {
    /// Everybody whom a policy selects.
    pub fn all(policy: &Policy, recording: &Recording) -> Vec<Self> {
        let targets =
            discover::owned(discover::targets(&recording.answers, policy.selector.as_ref()), &recording.answers);
        let answers: Vec<Indexed<'_>> = recording.answers.iter().map(Indexed::new).collect();
        targets.into_iter().map(|target| Self::of(policy, &answers, target)).collect()
    }

    fn of(policy: &Policy, answers: &[Indexed<'_>], target: Target) -> Self {
        let starts = starts(answers, &target);
        let froms = std::iter::once(f64::NEG_INFINITY).chain(starts);
        let froms: Vec<f64> = froms.collect();
        let tos = froms.iter().skip(1).copied().chain([f64::INFINITY]);
        let life = |(from, to): (f64, f64)| {
            Life::of(policy, runs(answers, &target, (from, to)), from, || told_between(answers, &target, (from, to)))
        };
        let mut lives: Vec<Life> = froms.iter().copied().zip(tos).filter_map(life).collect();
        lives.iter_mut().for_each(|it| it.remembered = it.course(target.revision.clone()));
        Self { target, lives }
    }

    /// Who it is.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// What would have been observed at a time; `None` while the container was not there.
    pub fn observation(&self, policy: &Policy, now: Timestamp) -> Option<Observation> {
        let at = now.as_duration().as_secs_f64();
        let life = self.lives.iter().rev().find(|it| it.from <= at && it.seen.0 <= at)?;
        if at > life.seen.1 + GONE {
            return None;
        }
        let raw = raw_span(policy.window).as_secs_f64();
        let signals = life.signals.iter().filter(|(signal, _)| !Signal::DESCRIPTIVE.contains(signal));
        let target = Target {
            started: life.started,
            memory_limit: life.newest(Signal::MemoryLimit, at),
            ready: true,
            ..self.target.clone()
        };
        Some(Observation {
            target,
            signals: signals.map(|(signal, told)| (*signal, reading(told, at - raw, at))).collect(),
            ancestors: [].into(),
            window: policy.window,
            at: now,
        })
    }

    /// The lives that were over by a time and not longer ago than a policy looks back.
    pub fn ancestors(&self, policy: &Policy, now: f64) -> impl Iterator<Item = &Ancestor> {
        let since = now - policy.window.as_secs_f64();
        let over = move |it: &&Life| it.seen.1 + GONE < now && it.seen.1 > since;
        self.lives.iter().filter(over).filter_map(|it| it.remembered.as_ref())
    }
}

impl Life {
    fn of(
        policy: &Policy,
        told: Vec<(Signal, Result<Run, Why>)>,
        from: f64,
        told_between: impl Fn() -> (f64, f64),
    ) -> Option<Self> {
        // A container of which only nonsense is told is there all the same, and is not judged, with a reason.
        let nonsense = told.iter().any(|(signal, run)| run.is_err() && !Signal::DESCRIPTIVE.contains(signal));
        let mut seen = if nonsense { told_between() } else { (f64::INFINITY, f64::NEG_INFINITY) };
        let mut signals: BTreeMap<Signal, Vec<Result<Run, Why>>> = BTreeMap::new();
        for (signal, mut run) in told {
            if let Ok(run) = &mut run {
                if !Signal::DESCRIPTIVE.contains(&signal) {
                    let samples = &run.measured.samples;
                    let at = |it: Option<&Sample>| it.map_or(f64::NAN, |it| it.at);
                    seen = (seen.0.min(at(samples.first())), seen.1.max(at(samples.last())));
                }
                let level = |width: std::time::Duration| {
                    Level::of(&run.measured.samples, width.as_secs_f64(), signal.is_counter())
                };
                run.measured.levels = coarse_widths(policy.window).into_iter().map(level).collect();
            }
            signals.entry(signal).or_default().push(run);
        }
        let started = from.is_finite().then_some(from);
        seen.0.is_finite().then_some(Self { started, from, seen, signals, remembered: None })
    }

    /// How it went, from beginning to end, at the finest of the levels that a backend would be asked for.
    fn course(&self, revision: Option<String>) -> Option<Ancestor> {
        let points = |signal: &Signal| -> Option<(Signal, &[Sample])> {
            let run = self.signals.get(signal)?.iter().flatten().next()?;
            Some((*signal, &run.measured.levels.last()?.points))
        };
        Ancestor::of(revision, &REMEMBERED.iter().filter_map(points).collect::<Vec<_>>())
    }

    /// The newest value of what describes the container.
    fn newest(&self, signal: Signal, at: f64) -> Option<f64> {
        let run = self.signals.get(&signal)?.iter().flatten().next()?;
        let samples = &run.measured.samples;
        let before = &samples[..samples.partition_point(|it| it.at <= at)];
        before.last().map(|it| it.value).filter(|it| *it > 0.0)
    }
}

/// When the first and the last sample of one life were told, whatever their values.
fn told_between(answers: &[Indexed<'_>], target: &Target, (from, to): (f64, f64)) -> (f64, f64) {
    let told = answers.iter().filter(|it| !Signal::DESCRIPTIVE.contains(&it.signal())).flat_map(|it| it.told(target));
    let times = told.flat_map(|it| &it.samples).map(|it| it.at).filter(|at| at.is_finite() && from <= *at && *at < to);
    times.fold((f64::INFINITY, f64::NEG_INFINITY), |(first, last), at| (first.min(at), last.max(at)))
}

fn reading(told: &[Result<Run, Why>], from: f64, now: f64) -> Reading {
    for run in told {
        match run {
            Err(why) => return Reading::Unusable(why.clone()),
            Ok(run) => match run.reading(from, now) {
                Reading::Absent => {}
                known => return known,
            },
        }
    }
    Reading::Absent
}

/// When the container started, each time, in order: as the recording says, or when its restart count moved.
fn starts(answers: &[Indexed<'_>], target: &Target) -> Vec<f64> {
    let of = |signal| answers.iter().filter(move |it| it.signal() == signal);
    let said = of(Signal::StartTime).map(|it| it.told(target)).find(|it| !it.is_empty()).unwrap_or_default();
    let mut starts: Vec<f64> =
        said.iter().flat_map(|it| &it.samples).map(|it| it.value).filter(|it| *it > 0.0).collect();
    if starts.is_empty() {
        let counts = of(Signal::Restarts).flat_map(|it| it.told(target));
        starts = counts.flat_map(restarts).collect();
    }
    starts.retain(|it| it.is_finite());
    starts.sort_by(f64::total_cmp);
    starts.dedup_by(|later, earlier| *later - *earlier < SAME_START);
    starts
}

/// When a restart count moved.
fn restarts(series: &Series) -> Vec<f64> {
    let mut samples = series.samples.to_vec();
    samples.sort_by(|a, b| a.at.total_cmp(&b.at));
    samples.windows(2).filter(|pair| pair[1].value > pair[0].value).map(|pair| pair[1].at).collect()
}
