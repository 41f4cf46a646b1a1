//! How good the detector is: every family of the corpus through ours and through what people use today, behind one
//! interface, and one table of what came of it. `make bench-detect`; `--help` lists what else it does.
//!
//! It tunes nothing. Thresholds may be chosen on the development seeds (1, 2, 3) only; the table states its seeds.

mod corpus;
mod detectors;
mod scoring;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use clap::Parser;
use corpus::{
    Incident,
    export::Export,
    families::{FAMILIES, Family, named},
    incident,
};
use detectors::{Detector, Ours, Tracks};
use scoring::{
    Score, null_sizes, score,
    table::{self, Column},
};

/// How good the detector is, next to what people use today.
#[derive(Parser)]
struct Args {
    /// The seeds. Thresholds may be chosen on the default ones only.
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// Incidents per family and seed.
    #[arg(long, default_value_t = 8)]
    per_family: u64,
    /// Only this family; may be given more than once.
    #[arg(long)]
    family: Vec<String>,
    /// Only ours, or all detectors.
    #[arg(long, value_parser = ["ours", "all"], default_value = "all")]
    only: String,
    /// Adds a row: ours, if every container told its calls. It bounds what can be known without them.
    #[arg(long)]
    oracle: bool,
    /// Two incidents per family of one seed.
    #[arg(long)]
    smoke: bool,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Writes the corpus to this folder instead of judging it: JSON lines per seed, and labels.csv.
    #[arg(long)]
    export: Option<PathBuf>,
    /// Prints every false alarm, miss and wrong diagnosis of ours.
    #[arg(long)]
    explain: bool,
    /// Prints instead how often the trend test sees growth where there is none.
    #[arg(long)]
    null_sizes: bool,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One incident to make: seed, family, index.
type Job = (u64, &'static Family, u64);

fn main() -> ExitCode {
    let mut args = Args::parse();
    if args.smoke {
        args.seeds.truncate(1);
        args.per_family = 2;
    }
    if args.null_sizes {
        println!("{}", null_sizes::report(args.seeds[0], &mut |it| eprintln!("{it}")));
        return ExitCode::SUCCESS;
    }
    let families: Vec<&'static Family> = if args.family.is_empty() {
        FAMILIES.iter().collect()
    } else {
        let known: Option<Vec<_>> = args.family.iter().map(|it| named(it)).collect();
        let Some(known) = known else {
            let names: Vec<&str> = FAMILIES.iter().map(|it| it.name).collect();
            eprintln!("there is no such family; there are: {}", names.join(", "));
            return ExitCode::FAILURE;
        };
        known
    };
    let jobs = jobs(&args, &families);
    if let Some(folder) = &args.export {
        return match export(&args, folder, &jobs) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("{}: {why}", folder.display());
                ExitCode::FAILURE
            }
        };
    }
    report(&args, &judge(&args, &jobs));
    ExitCode::SUCCESS
}

fn jobs(args: &Args, families: &[&'static Family]) -> Vec<Job> {
    let of_seed =
        |seed: u64| families.iter().flat_map(move |it| (0..args.per_family).map(move |index| (seed, *it, index)));
    args.seeds.iter().copied().flat_map(of_seed).collect()
}

/// Every incident through every detector, on some threads; in the order of the jobs.
fn judge(args: &Args, jobs: &[Job]) -> Vec<Column> {
    let detectors: Vec<Box<dyn Detector>> =
        if args.only == "ours" { vec![Box::new(Ours::new())] } else { detectors::all() };
    let oracle: [Box<dyn Detector>; 1] = [Box::new(Ours::new())];
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Vec<Score>)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..args.threads.max(1) {
            scope.spawn(|| {
                while let Some((place, (seed, family, index))) = take(&next, jobs) {
                    let mut scores = one(&incident(seed, family, index, false), &detectors);
                    if args.oracle {
                        scores.extend(one(&incident(seed, family, index, true), &oracle));
                    }
                    let mut done = done.lock().expect("no thread panics with the lock");
                    done.push((place, scores));
                    eprint!("\r{}/{} {:<20}", done.len(), jobs.len(), family.name);
                }
            });
        }
    });
    eprintln!();
    let mut done = done.into_inner().expect("no thread panics with the lock");
    done.sort_by_key(|it| it.0);
    let column = |(place, detector): (usize, String)| Column {
        detector,
        scores: done.iter().map(|(job, scores)| (jobs[*job].1.name, scores[place].clone())).collect(),
    };
    let names = detectors.iter().map(|it| it.name());
    names.chain(args.oracle.then(|| "(ours, told all calls)".to_owned())).enumerate().map(column).collect()
}

fn take(next: &AtomicUsize, jobs: &[Job]) -> Option<(usize, Job)> {
    let place = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(place).map(|it| (place, *it))
}

fn one(incident: &Incident, detectors: &[Box<dyn Detector>]) -> Vec<Score> {
    let tracks = Tracks::of(incident);
    detectors.iter().map(|it| score(incident, &it.judge(incident, &tracks))).collect()
}

fn report(args: &Args, columns: &[Column]) {
    if args.explain {
        for note in columns.first().iter().flat_map(|it| &it.scores).flat_map(|it| &it.1.notes) {
            println!("{note}");
        }
        println!();
    }
    println!("{}\n", table::summary(columns, &args.seeds));
    println!("{}\n", table::detectors(columns));
    println!("{}", table::families(columns));
}

fn export(args: &Args, folder: &std::path::Path, jobs: &[Job]) -> std::io::Result<()> {
    for (place, seed) in args.seeds.iter().enumerate() {
        let mut file = Export::begin(folder, *seed, place == 0)?;
        for (_, family, index) in jobs.iter().filter(|it| it.0 == *seed) {
            file.add(&incident(*seed, family, *index, false))?;
            eprint!("\rseed {seed} {:<20} {index}", family.name);
        }
        file.end()?;
    }
    eprintln!();
    Ok(())
}
