//! Where a backtest's past comes from: files of series, read once for all policies, or a metrics backend, asked for
//! each policy what that policy would have asked.

use std::{borrow::Cow, collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};

use super::{Replay, progress::Progress, time::span};
use crate::{
    args::{BacktestArgs, PastArgs},
    cli::{
        backend::backend,
        policies::{Known, KnownReach},
    },
    decide::{Answer, Matrix, Policy, Series, oom, replay::Recording},
    io::{
        config::Config,
        history::{self, Span},
        observe::Eyes,
        prometheus::Prometheus,
        series::{Loaded, Reading, read_files},
    },
    signals::{LabelSet, Query, Scope, Signal, catalog, namespace_of},
};

/// How far back a backtest of a metrics backend looks unless it is told.
const DEFAULT_SINCE: &str = "7d";

/// The past.
pub enum Past {
    /// From files: everything that some policy may look at.
    Files {
        /// What was recorded.
        recording: Recording,
        /// The first and the last sample.
        recorded: (Timestamp, Timestamp),
        /// What is to be said about the files.
        notes: Vec<String>,
    },
    /// From a metrics backend.
    Server(Box<(Prometheus, Config)>),
}

impl Past {
    /// Reads the files, or makes sure that the backend answers.
    ///
    /// # Errors
    /// A file cannot be read or holds nothing of interest; the backend cannot be used.
    pub async fn open(args: &BacktestArgs, policies: &[Known], progress: &Progress) -> anyhow::Result<Self> {
        if !args.past.series.is_empty() {
            return files(args, policies, progress);
        }
        let PastArgs { prometheus, config, .. } = &args.past;
        let missing = "give --prometheus, --config or --series";
        Ok(Self::Server(Box::new(backend(prometheus.as_deref(), config.as_deref(), missing).await?)))
    }

    /// What was recorded about a policy's namespaces, and from when to when it is replayed.
    ///
    /// # Errors
    /// The times make no sense; or the backend does not answer.
    pub async fn recording(
        &self,
        args: &BacktestArgs,
        known: &Known,
        policy: &Policy,
        step: Duration,
        progress: &Progress,
    ) -> anyhow::Result<(Cow<'_, Recording>, (Timestamp, Timestamp))> {
        let texts = (args.since.as_deref(), args.until.as_deref());
        match self {
            Self::Files { recording, recorded, .. } => {
                let span = span(texts, None, *recorded, step)?;
                let recording = match namespaces(args, known) {
                    Some(namespaces) => only(recording, &namespaces),
                    None => Cow::Borrowed(recording),
                };
                Ok((recording, span))
            }
            Self::Server(server) => {
                let (prometheus, config) = &**server;
                let now = Timestamp::now();
                let (from, to) = span(texts, Some(DEFAULT_SINCE), (now, now), step)?;
                let eyes = Eyes { prometheus, config };
                let bar = progress.share(&format!("reading {}", known.key));
                let window = SignedDuration::try_from(policy.window).unwrap_or(SignedDuration::ZERO);
                let span = Span { from: from.checked_sub(window).unwrap_or(Timestamp::MIN), to };
                let read = history::read(&eyes, policy, &scope(args, known)?, span, &mut |share| bar.set(share)).await;
                bar.end();
                let read = read.with_context(|| format!("cannot read from {}", config.prometheus.address()))?;
                for warning in &read.warnings {
                    eprintln!("warning: policy {}: {warning}", known.key);
                }
                Ok((Cow::Owned(read.recording), (from, to)))
            }
        }
    }

    /// Says on standard error what is to be known about the input.
    pub fn tell(&self, replays: &[Replay]) {
        if let Self::Files { notes, .. } = self {
            for note in notes {
                eprintln!("warning: {note}");
            }
        }
        for replay in replays.iter().filter(|it| it.replayed.containers == 0) {
            eprintln!("warning: policy {}: nothing that it selects has series in this time", replay.key);
        }
    }
}

/// The namespaces that a policy is replayed in. `None` stands for all that were recorded.
fn namespaces(args: &BacktestArgs, known: &Known) -> Option<BTreeSet<String>> {
    if !args.namespaces.is_empty() {
        return Some(args.namespaces.iter().cloned().collect());
    }
    match &known.reach {
        KnownReach::Namespace(name) if !name.is_empty() => Some(BTreeSet::from([name.clone()])),
        KnownReach::Namespace(_) | KnownReach::Selected(_) => None,
    }
}

fn scope(args: &BacktestArgs, known: &Known) -> anyhow::Result<Scope> {
    match namespaces(args, known) {
        Some(namespaces) => Ok(Scope::new(namespaces)?),
        None => bail!("name its namespaces with --namespace: a backtest asks no Kubernetes API which there are"),
    }
}

fn files(args: &BacktestArgs, policies: &[Known], progress: &Progress) -> anyhow::Result<Past> {
    let paths = &args.past.series;
    if args.file == Path::new("-") && paths.iter().any(|it| it == Path::new("-")) {
        bail!("--filename and --series cannot both be standard input");
    }
    let of_policies: Option<Vec<BTreeSet<String>>> = policies.iter().map(|it| namespaces(args, it)).collect();
    let namespaces: Option<BTreeSet<String>> = of_policies.map(|it| it.into_iter().flatten().collect());
    let metrics = metrics();
    let wanted = |labels: &LabelSet| {
        labels.get("__name__").is_some_and(|it| metrics.contains(it))
            && namespaces.as_ref().is_none_or(|all| namespace_of(labels).is_some_and(|it| all.contains(it)))
    };
    let size = |path| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|it| it.len());
    let size = paths.iter().map(size).sum::<Option<u64>>().unwrap_or(0);
    let bar = progress.bytes("reading", size);
    let loaded = read_files(paths, Reading { wanted: &wanted, skip_bad: args.skip_bad }, &mut |more| bar.add(more));
    bar.end();
    let Loaded { series, lines, skipped, bad } = loaded?;
    let Some(recorded) = recorded(&series) else {
        bail!(
            "{lines} lines were read, and none of them says something about {}: docs/metric-sources.md lists the metrics",
            namespaces.map_or_else(
                || "anybody".to_owned(),
                |it| format!("namespace {}", it.into_iter().collect::<Vec<_>>().join(", "))
            )
        );
    };
    let mut notes: Vec<String> = bad.iter().map(|it| format!("skipped: {it}")).collect();
    if skipped > bad.len() as u64 {
        notes.push(format!("skipped: {skipped} bad lines in all"));
    }
    notes.extend(policies.iter().flat_map(unreadable));
    Ok(Past::Files { recording: Recording::of(series), recorded, notes })
}

/// The names of all metrics that a replay reads.
fn metrics() -> BTreeSet<&'static str> {
    let of_catalog = Signal::ALL.into_iter().flat_map(catalog::sources).flat_map(|it| match it.query {
        Query::Selector { metrics, .. } => metrics,
        Query::Custom(_) => &[],
    });
    of_catalog.copied().chain(oom::METRICS).collect()
}

/// The sources of a policy that no file can stand for.
fn unreadable(known: &Known) -> Vec<String> {
    let Ok(policy) = Policy::parse(&known.rules) else { return Vec::new() };
    let custom = |signal: &Signal| !catalog::names(*signal).iter().any(|it| it == policy.source(*signal));
    let note = |signal: Signal| {
        let (key, source) = (&known.key, policy.source(signal));
        format!(
            "policy {key}: {} is read from {source:?}, which only a server can answer; it stays empty",
            signal.name()
        )
    };
    Signal::ALL.into_iter().filter(custom).map(note).collect()
}

/// The first and the last sample.
fn recorded(series: &[Series]) -> Option<(Timestamp, Timestamp)> {
    let first = series.iter().filter_map(|it| it.samples.first()).map(|it| it.at).fold(f64::INFINITY, f64::min);
    let last = series.iter().filter_map(|it| it.samples.last()).map(|it| it.at).fold(f64::NEG_INFINITY, f64::max);
    let time = |at: f64| Timestamp::from_nanosecond((at * 1e9) as i128).ok();
    if first > last { None } else { Some((time(first)?, time(last)?)) }
}

/// The part of a recording that is about these namespaces.
fn only<'a>(recording: &'a Recording, namespaces: &BTreeSet<String>) -> Cow<'a, Recording> {
    let within = |it: &Series| namespace_of(&it.labels).is_some_and(|it| namespaces.contains(it));
    let answered = recording.answers.iter().flat_map(|it| &it.result).flat_map(|it| &it.series);
    if answered.chain(&recording.others).all(within) {
        return Cow::Borrowed(recording);
    }
    let part = |all: &[Series]| -> Vec<Series> { all.iter().filter(|it| within(it)).cloned().collect() };
    let narrowed = |answer: &Answer| Answer {
        width: answer.width,
        source: answer.source.clone(),
        result: answer
            .result
            .as_ref()
            .map_err(Clone::clone)
            .map(|it| Arc::new(Matrix { series: part(&it.series), warnings: it.warnings.clone() })),
    };
    Cow::Owned(Recording { answers: recording.answers.iter().map(narrowed).collect(), others: part(&recording.others) })
}
