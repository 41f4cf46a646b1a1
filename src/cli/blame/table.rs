//! What `blame` prints for people.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets::NOTHING};

use super::Report;
use crate::{
    cli::rows::rows,
    decide::blame::{Blame, Known, LEAST_CHANNELS, Site},
};

const MIB: f64 = 1_048_576.0;
/// Callers of a site that are shown.
const CALLERS: usize = 12;

/// All of it.
pub fn text(report: &Report, stacks: bool) -> String {
    let Report { of, blame, census } = report;
    let mut text = format!("{of}: {}\n", summary(blame));
    if let Some(census) = census {
        let _ = writeln!(
            text,
            "{} goroutines: {} channels that were not closed, {} of them idle, {} inbound connections",
            census.goroutines,
            census.channels,
            census.idle(),
            census.inbound
        );
    }
    if blame.accused.is_empty() {
        text += &format!("\nNobody is to blame{}.\n", because(blame));
    } else {
        text += &format!("\n{}", table(&blame.accused));
    }
    if stacks {
        blame.accused.iter().for_each(|it| text += &stack(it));
    }
    if !blame.others.is_empty() {
        let title = if blame.faded { "Who dialled most, and may have closed it" } else { "Not accused" };
        text += &format!("\n{title}:\n{}", table(&blame.others));
    }
    text
}

fn summary(blame: &Blame) -> String {
    let version = blame.grpc_go.as_ref().map_or_else(|| "no grpc-go".to_owned(), |it| format!("grpc-go {it}"));
    let heap = format!("{version}, {:.1} MiB of heap", blame.heap / MIB);
    let from = match blame.channels.from {
        Known::Counted => "counted",
        Known::Objects => "by their objects in the heap",
        Known::Bytes => "by what they take",
    };
    match blame.channels.count.round() {
        0.0 => heap,
        count => format!("{heap}, {:.1} MiB of it in {count:.0} channels ({from})", blame.bytes / MIB),
    }
}

fn because(blame: &Blame) -> String {
    match blame {
        Blame { nameless, .. } if !nameless.is_empty() => format!(
            " that could be named: the profile was stripped of its symbols. Most was allocated at {}. Name the functions \
             first: go tool pprof -proto PROGRAM PROFILE",
            nameless.join(", ")
        ),
        Blame { grpc_go: None, .. } => ": the program does not use grpc-go, or its heap holds nothing of it".to_owned(),
        Blame { serves_only: true, .. } => {
            ": what gRPC holds here is a server's side; `grpc-hygiene clients SERVICE` ranks its clients".to_owned()
        }
        Blame { faded: true, channels, .. } => format!(
            " by this profile: of {:.0} channels next to nothing is left with who made them, for they idled out. Ask a \
             younger pod, or set runtime.MemProfileRate = 4096",
            channels.count
        ),
        Blame { others, .. } if others.is_empty() => ": no channel was made that is still there".to_owned(),
        _ => format!(": no place surely holds {LEAST_CHANNELS} channels or more"),
    }
}

fn table(sites: &[Site]) -> String {
    let mut table = Table::new();
    let grows = sites.iter().any(|it| it.grew.is_some());
    let mut header = vec!["CHANNELS", "80 % INTERVAL", "HEAP", "SAMPLES", "SURE", "SITE"];
    if grows {
        header.insert(1, "GREW BY");
    }
    table.load_style(NOTHING).set_header(header);
    for site in sites {
        let mut row = vec![
            format!("{:.0}", site.channels),
            format!("{:.0} to {:.0}", site.at_least, site.at_most),
            format!("{:.1} MiB", site.bytes / MIB),
            format!("{:.0}", site.samples),
            // Nothing is quite certain.
            format!("{:.1} %", site.confidence.min(99.9)),
            place(site),
        ];
        if grows {
            row.insert(1, site.grew.map_or_else(String::new, |it| format!("{it:+.0}")));
        }
        table.add_row(row);
    }
    for column in table.column_iter_mut().take(if grows { 6 } else { 5 }) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    rows(&table)
}

fn place(site: &Site) -> String {
    let short = |it: &str| it.rsplit('/').next().unwrap_or(it).to_owned();
    let through = match site.through.as_slice() {
        [] => String::new(),
        all => format!("  through {}", all.iter().map(|it| short(it)).collect::<Vec<_>>().join(", ")),
    };
    format!("{}\n{}:{}{through}", short(&site.function), site.file, site.line)
}

fn stack(site: &Site) -> String {
    let mut text = format!("\n{}, called by\n", site.function);
    site.callers.iter().take(CALLERS).for_each(|it| text += &format!("  {it}\n"));
    text
}
