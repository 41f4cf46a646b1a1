//! The tables that the bench prints.

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use grpc_hygiene::decide::stats::median;

use super::{MONTH, Score, f1_interval};
use crate::corpus::families::{FAMILIES, Kind};

/// The scores of one detector, one per incident, with the incident's family.
pub struct Column {
    pub detector: String,
    pub scores: Vec<(&'static str, Score)>,
}

impl Column {
    fn total(&self, family: Option<&str>) -> Score {
        let mut total = Score::default();
        for (name, score) in &self.scores {
            if family.is_none_or(|it| it == *name) {
                total.add(score);
            }
        }
        total
    }
}

/// The one table: every detector.
pub fn detectors(columns: &[Column]) -> String {
    let mut table = table(&[
        "detector",
        "precision",
        "recall",
        "F1",
        "F1, 95 %",
        "false alarms per pod-month",
        "median lead, h",
        "share of onset to limit",
        "forecasts held",
        "CPU s per 10,000 containers",
    ]);
    for column in columns {
        let total = column.total(None);
        let (low, high) = f1_interval(&column.scores.iter().map(|it| &it.1).collect::<Vec<_>>());
        let of_leads = |part: fn(&(f64, f64)) -> f64| median(&total.leads.iter().map(part).collect::<Vec<_>>());
        let share = |part: f64, all: f64| (all > 0.0).then(|| part / all);
        table.add_row([
            column.detector.clone(),
            number(Some(total.precision()), 3),
            number(Some(total.recall()), 3),
            number(Some(total.f1()), 3),
            format!("{low:.3} to {high:.3}"),
            number(Some(total.false_alarms()), 2),
            number(of_leads(|it| it.0), 1),
            percent(of_leads(|it| it.1)),
            percent(share(total.forecasts_held, total.forecasts)),
            number(share(total.seconds * 10_000.0, total.judgements), 2),
        ]);
    }
    table.to_string()
}

/// Recall by family, then false alarms by family, every detector a column.
pub fn families(columns: &[Column]) -> String {
    let names: Vec<String> = (1..=columns.len()).map(|it| format!("({it})")).collect();
    let head = |first: &str| {
        let mut table = table(&[first]);
        table.set_header(std::iter::once(first.to_owned()).chain(names.iter().cloned()));
        table
    };
    let mut found = head("recall");
    let mut wrong = head("false alarms per pod-month");
    for family in &FAMILIES {
        let scores: Vec<Score> = columns.iter().map(|it| it.total(Some(family.name))).collect();
        let Some(first) = scores.first() else { continue };
        let row = |cell: &dyn Fn(&Score) -> String| {
            std::iter::once(family.name.to_owned()).chain(scores.iter().map(cell)).collect::<Vec<_>>()
        };
        if family.kind == Kind::Habit && first.habits > 0.0 {
            found.add_row(row(&|it| of(it.habits_named, it.habits)));
        } else if first.found + first.missed > 0.0 {
            found.add_row(row(&|it| of(it.found, it.found + it.missed)));
        }
        if first.healthy > 0.0 {
            wrong.add_row(row(&|it| format!("{:.2} ({:.0})", it.false_alarms(), it.false_pods)));
        }
    }
    let key: Vec<String> = columns.iter().zip(&names).map(|(it, name)| format!("{name} {}", it.detector)).collect();
    format!("{}\n\n{found}\n\nIn brackets: healthy pods with a false alarm.\n\n{wrong}", key.join(", "))
}

/// What the corpus was, and what only ours says.
pub fn summary(columns: &[Column], seeds: &[u64]) -> String {
    let Some(ours) = columns.first() else { return String::new() };
    let total = ours.total(None);
    let quantile = |p: f64| grpc_hygiene::decide::stats::quantile(&total.errors, p).map(f64::exp);
    format!(
        "Seeds {seeds:?}: {} incidents, {:.0} leaks, {:.0} healthy containers, {:.1} healthy pod-months.\n{}: {:.0} restarts of healthy \
         containers, diagnosis right for {:.0} of {:.0} leaks found, {:.0} of {:.0} habits named, forecast over true time {} \
         (80 %: {} to {}), {:.0} judgements.",
        ours.scores.len(),
        total.found + total.missed,
        total.healthy_pods,
        total.healthy / MONTH,
        ours.detector,
        total.restarts,
        total.diagnosed_right,
        total.diagnosed,
        total.habits_named,
        total.habits,
        number(quantile(0.5), 2),
        number(quantile(0.1), 2),
        number(quantile(0.9), 2),
        total.judgements,
    )
}

/// A table in Markdown, numbers to the right.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn of(part: f64, all: f64) -> String {
    format!("{part:.0}/{all:.0}")
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.filter(|it| it.is_finite()).map_or("-".to_owned(), |it| format!("{it:.digits$}"))
}

fn percent(value: Option<f64>) -> String {
    value.filter(|it| it.is_finite()).map_or("-".to_owned(), |it| format!("{:.0} %", it * 100.0))
}
