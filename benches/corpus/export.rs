//! The corpus as files that `backtest --series` and other tools read: per seed, VictoriaMetrics JSON lines (gzip), and
//! the labels of all seeds as CSV.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use grpc_hygiene::decide::Series;
use serde_json::json;

use super::{Incident, Truth};

/// Writes incidents to a folder.
pub struct Export {
    series: GzEncoder<BufWriter<File>>,
    labels: BufWriter<File>,
}

impl Export {
    /// Begins the file of one seed; the labels of later seeds are added to those of earlier ones.
    pub fn begin(folder: &Path, seed: u64, first: bool) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = File::create(folder.join(format!("seed-{seed}.jsonl.gz")))?;
        let labels = folder.join("labels.csv");
        let mut labels = if first {
            BufWriter::new(File::create(labels)?)
        } else {
            BufWriter::new(File::options().append(true).open(labels)?)
        };
        if first {
            writeln!(labels, "family,namespace,pod,container,onset,oom,expected")?;
        }
        Ok(Self { series: GzEncoder::new(BufWriter::new(file), Compression::fast()), labels })
    }

    /// Adds one incident.
    pub fn add(&mut self, incident: &Incident) -> io::Result<()> {
        for series in &incident.series {
            line(&mut self.series, series)?;
        }
        for truth in &incident.truth {
            label(&mut self.labels, incident.family, truth)?;
        }
        Ok(())
    }

    /// Ends both files.
    pub fn end(mut self) -> io::Result<()> {
        self.series.finish()?.flush()?;
        self.labels.flush()
    }
}

fn line(to: &mut impl Write, series: &Series) -> io::Result<()> {
    let values: Vec<f64> = series.samples.iter().map(|it| it.value).collect();
    let timestamps: Vec<i64> = series.samples.iter().map(|it| (it.at * 1_000.0).round() as i64).collect();
    serde_json::to_writer(&mut *to, &json!({"metric": series.labels, "values": values, "timestamps": timestamps}))?;
    writeln!(to)
}

/// One line per container; times are Unix seconds, and empty where there is none.
fn label(to: &mut impl Write, family: &str, truth: &Truth) -> io::Result<()> {
    let time = |it: Option<f64>| it.map_or(String::new(), |it| format!("{it:.0}"));
    let onset = truth.leaks.as_ref().map(|it| it.onset).or(truth.habit);
    let oom = truth.leaks.as_ref().and_then(super::LeakTruth::oom);
    let expected: Vec<&str> = truth.expected.iter().map(|it| it.name()).collect();
    let Truth { namespace, pod, container, .. } = truth;
    writeln!(to, "{family},{namespace},{pod},{container},{},{},{}", time(onset), time(oom), expected.join("|"))
}
