//! What `clients` prints for people.

use std::{fmt::Write, time::Duration};

use comfy_table::{CellAlignment, Table, presets::NOTHING};

use super::Report;
use crate::{
    api::print_duration,
    cli::rows::rows,
    decide::clients::{Client, Habit, Ranking, Rogue, Server},
};

/// So many of those who stand out are named.
const NAMED: usize = 5;
/// Notes longer than this are broken, columns.
const WIDTH: usize = 100;

/// All of it, with the first `top` clients.
pub fn text(report: &Report, top: usize) -> String {
    let Report { service, since_seconds, server, ranking, notes } = report;
    let since = print_duration(Duration::from_secs(*since_seconds));
    let mut text = if ranking.clients.is_empty() {
        format!("{service}: no client is known. No source has connections to it in the last {since}.\n")
    } else {
        let grows = ranking.growth_per_hour.map_or_else(String::new, |it| format!(", {it:+.0} per hour"));
        let count = match ranking.clients.len() {
            1 => "1 client".to_owned(),
            many => format!("{many} clients"),
        };
        let shown: Vec<&Client> = ranking.clients.iter().take(top).collect();
        let rows = table(&shown);
        let hidden = match ranking.clients.len() - shown.len() {
            0 => String::new(),
            more => format!("and {more} more\n"),
        };
        let verdict = verdict(ranking);
        let held = if ranking.clients.iter().any(|it| it.exact) { "connections" } else { "sockets" };
        format!(
            "{service}: {:.0} {held} held by {count}{grows}, in the last {since}\n\n{rows}{hidden}\n{verdict}",
            ranking.held
        )
    };
    if let Some(server) = server {
        text += &format!("\n{}\n", wrapped(&of_server(server, ranking)));
    }
    if !notes.is_empty() {
        text += "\n";
    }
    for note in notes {
        let _ = writeln!(text, "{}", wrapped(&format!("note: {note}")));
    }
    text
}

fn table(clients: &[&Client]) -> String {
    let mut table = Table::new();
    let header = ["CLIENT", "PODS", "HELD", "OPENED/H", "GROWTH/H", "CALLS/CONN", "SHARE", "SOURCE"];
    table.load_style(NOTHING).set_header(header);
    let number = |it: Option<f64>, text: fn(f64) -> String| it.map_or_else(|| "-".to_owned(), text);
    for client in clients {
        table.add_row([
            name(client),
            if client.pods.is_empty() { "-".to_owned() } else { client.pods.len().to_string() },
            format!("{:.0}", client.held),
            number(client.opened_per_hour, |it| format!("{it:.0}")),
            number(client.growth_per_hour, |it| format!("{:+.0}", it.round() + 0.0)),
            number(client.calls_per_connection, calls),
            format!("{:.0} %", client.share * 100.0),
            client.source.to_owned(),
        ]);
    }
    for column in table.column_iter_mut().skip(1).take(6) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    rows(&table)
}

/// As `kubectl` writes it: namespace and name, with the kind before the name when it is known.
fn name(client: &Client) -> String {
    let kind = client.kind.as_ref().map_or_else(String::new, |it| format!("{}/", it.to_lowercase()));
    format!("{} {kind}{}", client.namespace, client.name)
}

/// Few calls are told to a tenth: 1.0 is a dial per call, and 1.4 is not.
fn calls(each: f64) -> String {
    if each < 10.0 { format!("{each:.1}") } else { format!("{each:.0}") }
}

fn verdict(ranking: &Ranking) -> String {
    let known = |it: &Rogue| Some((ranking.clients.get(it.place)?, it.habit));
    let rogues: Vec<(&Client, Habit)> = ranking.rogues.iter().filter_map(known).collect();
    let Some((worst, habit)) = rogues.first() else {
        let why = match ranking.clients.iter().any(|it| it.exact) {
            true => "no client's connections rise unlike those of the others, and none opens or holds many times more",
            false => "what is known of them is not enough to accuse anybody",
        };
        return wrapped(&format!("Nobody stands out: {why}.")) + "\n";
    };
    let sentence =
        |(client, habit): &(&Client, Habit)| wrapped(&format!("{} stands out: {habit}.", name(client))) + "\n";
    let named: String = rogues.iter().take(NAMED).map(sentence).collect();
    let more = match rogues.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("{more} more stand out; -o json names them all.\n"),
    };
    format!("{named}{more}{}\n", next(worst, *habit))
}

/// Whether the server's own sockets tell the same story.
fn of_server(server: &Server, ranking: &Ranking) -> String {
    let Server { sockets, growth_per_hour, .. } = *server;
    let grows = growth_per_hour.map_or_else(String::new, |it| format!(", {:+.0} per hour", it.round() + 0.0));
    let told = ranking.clients.iter().filter(|it| it.exact).filter_map(|it| it.growth_per_hour).reduce(|a, b| a + b);
    let missing = match server.misses_somebody(told) {
        true => {
            " The clients above do not account for that rise: somebody is missing among them, perhaps because his \
                 metrics are not scraped"
        }
        false => "",
    };
    format!("The server's own pods have {sockets:.0} sockets{grows}.{missing}").trim_end_matches('.').to_owned() + "."
}

/// What to do next: the line of code, or first the pod.
fn next(client: &Client, habit: Habit) -> String {
    let namespace = &client.namespace;
    let advice = match habit {
        Habit::Opens { .. } => "Which line opens them? A heap profile tells while they are open:",
        Habit::Grows { .. } | Habit::Holds { .. } => "Which line of code holds them?",
    };
    match client.pods.first() {
        Some(worst) => format!("{advice}\n  grpc-hygiene blame {} -n {namespace}", worst.pod),
        None => format!(
            "{advice} Take one of its pods:\n  kubectl -n {namespace} get pods\n  grpc-hygiene blame POD -n {namespace}"
        ),
    }
}

fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().filter(|it| it.is_empty() || it.chars().count() + word.chars().count() < WIDTH);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => line.extend([" ", word]),
            None => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sentence_is_broken_between_words() {
        let text = wrapped(&"word ".repeat(50));
        assert!(text.lines().count() > 1 && text.lines().all(|it| it.chars().count() <= WIDTH), "{text}");
        assert_eq!(text.split_whitespace().count(), 50);
    }

    #[test]
    fn few_calls_are_told_to_a_tenth() {
        assert_eq!([1.0, 3.34, 12.4, 4_200.0].map(calls), ["1.0", "3.3", "12", "4200"]);
    }
}
