//! `grpc-hygiene backtest`: replays policies over what was recorded and prints what they would have said and done,
//! against the OOM kills that happened. It reads and prints; what is judged is judged in `decide`.

mod chart;
mod curve;
mod html;
mod input;
mod json;
mod progress;
mod score;
mod table;
mod time;

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use jiff::Timestamp;

use super::policies::from_file;
use crate::{
    api::Mode,
    args::{BacktestArgs, ReplayOutput},
    decide::{
        Policy, discover, oom,
        replay::{Recording, Replayed, replay},
    },
};
use curve::Curves;
use input::Past;
use progress::Progress;
use score::{Offender, Score};

/// Nobody would have been flagged.
const CLEAN: u8 = 0;
/// Somebody would have been flagged.
const FLAGGED: u8 = 1;
/// Nothing could be judged.
const UNKNOWN: u8 = 2;

/// One policy, replayed.
pub struct Replay {
    /// `namespace/name`, or `name`.
    key: String,
    /// Whether the policy itself only observes.
    mode: Mode,
    /// The first evaluation.
    from: Timestamp,
    /// The last evaluation is at this time or less than a step before it.
    to: Timestamp,
    /// The time between two evaluations.
    step: Duration,
    /// What it would have said and done.
    replayed: Replayed,
    /// Against what happened.
    score: Score,
    /// The offenders' curves, in their order. Empty when nobody draws them.
    curves: Vec<Curves>,
}

/// Replays and prints.
///
/// # Errors
/// The policies or the past cannot be read, or the output cannot be written.
pub async fn backtest(args: &BacktestArgs) -> anyhow::Result<ExitCode> {
    let policies = from_file(&args.file)?;
    let progress = Progress::new(args.no_progress);
    let past = Past::open(args, &policies, &progress).await?;
    let mut replays = Vec::new();
    for known in &policies {
        let policy = Policy::parse(&known.rules).with_context(|| format!("policy {}", known.key))?;
        let step = time::step(args.step.as_deref(), &policy)?;
        let (recording, span) = past
            .recording(args, known, &policy, step, &progress)
            .await
            .with_context(|| format!("policy {}", known.key))?;
        replays.push(one(args, &known.key, &policy, &recording, (span, step), &progress));
    }
    past.tell(&replays);
    print(args, &replays)?;
    Ok(ExitCode::from(exit(&replays)))
}

fn one(
    args: &BacktestArgs,
    key: &str,
    policy: &Policy,
    recording: &Recording,
    ((from, to), step): ((Timestamp, Timestamp), Duration),
    progress: &Progress,
) -> Replay {
    let bar = progress.share(&format!("replaying {key}"));
    let replayed = replay(policy, key, recording, (from, to), step, &mut |share| bar.set(share));
    bar.end();
    let targets = discover::targets(&recording.answers, policy.selector.as_ref());
    let targets = discover::owned(targets, &recording.answers);
    let score = Score::new(&replayed, &oom::kills(recording), &targets, (from, to));
    let drawn = args.html.is_some() || args.output == ReplayOutput::Html;
    let offenders = score.offenders.iter().take(if drawn { html::MAX_CURVES } else { 0 });
    let curves = |it: &Offender| Curves::of(recording, policy, (&it.container, it.diagnosis), (from, to));
    let curves = offenders.map(curves).collect();
    Replay { key: key.to_owned(), mode: policy.mode, from, to, step, replayed, score, curves }
}

fn print(args: &BacktestArgs, replays: &[Replay]) -> anyhow::Result<()> {
    if let Some(path) = &args.html {
        let mut file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        file.write_all(html::page(replays).as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let out = io::stdout().lock();
    let written = match args.output {
        ReplayOutput::Table => write(out, &table::text(replays)),
        ReplayOutput::Html => write(out, &html::page(replays)),
        ReplayOutput::Json => {
            // Events stand alone on standard output; people still see what they come to.
            eprint!("{}", table::closing(replays));
            json::write(replays, BufWriter::new(out))
        }
    };
    match written {
        // Whoever reads only the first lines (`| head`) has what he wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

fn write(mut out: impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn exit(replays: &[Replay]) -> u8 {
    let conclusive = |it: &Replay| it.replayed.judgements > it.replayed.inconclusive.values().sum();
    if replays.iter().any(|it| !it.replayed.events.is_empty()) {
        FLAGGED
    } else if replays.iter().any(conclusive) {
        CLEAN
    } else {
        UNKNOWN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The replay of [`score::tests::example`], without curves.
    pub fn replay() -> Replay {
        let (replayed, score) = score::tests::example();
        let (from, to) = (score::tests::at(0), score::tests::at(48));
        let step = Duration::from_secs(60);
        Replay {
            key: "shop/clients".to_owned(),
            mode: Mode::DryRun,
            from,
            to,
            step,
            replayed,
            score,
            curves: Vec::new(),
        }
    }

    #[test]
    fn the_exit_code_says_flagged_clean_or_unknown() {
        let flagged = replay();
        assert_eq!(exit(std::slice::from_ref(&flagged)), FLAGGED);
        let mut clean = flagged;
        clean.replayed.events.clear();
        assert_eq!(exit(std::slice::from_ref(&clean)), CLEAN);
        clean.replayed.inconclusive = [("NoData", clean.replayed.judgements)].into_iter().collect();
        assert_eq!(exit(&[clean]), UNKNOWN);
        assert_eq!(exit(&[]), UNKNOWN);
    }
}
