//! A replay as text: a row per offender, then what the policy would have been worth. Fits in 100 columns.

use std::{collections::BTreeMap, time::Duration};

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use jiff::Timestamp;

use super::{
    Replay,
    score::{Offender, Score},
};
use crate::{
    api::{Mode, print_duration},
    cli::rows::rows,
};

/// The width that a terminal is taken to have, columns.
const WIDTH: u16 = 100;
/// How many offenders are listed; the rest is counted.
const MAX_ROWS: usize = 500;
/// How many alerts without a kill are named; the rest is counted.
const MAX_NAMED: usize = 10;

/// All replays, one after the other.
#[must_use]
pub fn text(replays: &[Replay]) -> String {
    replays.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn one(replay: &Replay) -> String {
    let offenders = if replay.score.offenders.is_empty() {
        "nobody would have been flagged, and nobody is known to have been OOM-killed\n".to_owned()
    } else {
        table(&replay.score)
    };
    format!("{}\n\n{offenders}\n{}", headline(replay), lines(&summary(replay)))
}

/// What the policies would have been worth, without the offenders.
#[must_use]
pub fn closing(replays: &[Replay]) -> String {
    replays.iter().map(|it| format!("{}\n{}", headline(it), lines(&summary(it)))).collect()
}

/// What was replayed, in one line.
#[must_use]
pub fn headline(replay: &Replay) -> String {
    let time = |it: Timestamp| it.strftime("%Y-%m-%d %H:%M").to_string();
    let length = replay.to.duration_since(replay.from).unsigned_abs();
    let mode = match replay.mode {
        Mode::Enforce => String::new(),
        mode => format!("; {mode:?}, replayed as if it were Enforce"),
    };
    format!(
        "policy {}, {} to {} UTC ({}), evaluated every {}{mode}",
        replay.key,
        time(replay.from),
        time(replay.to),
        print_duration(length),
        print_duration(replay.step)
    )
}

fn table(score: &Score) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["POD", "DIAGNOSIS", "FOUND", "ALERT", "RESTART", "KILLED", "LEAD"]);
    for offender in score.offenders.iter().take(MAX_ROWS) {
        table.add_row(row(offender));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    table.set_width(WIDTH).set_content_arrangement(ContentArrangement::Dynamic);
    let more = match score.offenders.len().saturating_sub(MAX_ROWS) {
        0 => String::new(),
        more => format!("and {more} more\n"),
    };
    rows(&table) + &more + "\nALERT, RESTART and KILLED count from FOUND; KILLED is an OOM kill. Times are UTC.\n"
}

fn row(offender: &Offender) -> [String; 7] {
    let dash = || "-".to_owned();
    // A container that was never found is placed by the clock.
    let after = |it: Option<Timestamp>| match (it, offender.found) {
        (None, _) => dash(),
        (Some(at), None) => clock(at),
        (Some(at), Some(found)) if at < found => {
            format!("-{}", print_duration(found.duration_since(at).unsigned_abs()))
        }
        (Some(at), Some(found)) => format!("+{}", print_duration(at.duration_since(found).unsigned_abs())),
    };
    let more = |text: String, count: usize| if count > 1 { format!("{text} ({count}x)") } else { text };
    let killed = offender.followed_by().or_else(|| offender.kills.first().copied());
    [
        name(offender),
        offender.diagnosis.map_or_else(dash, |it| it.name().to_owned()),
        offender.found.map_or_else(dash, clock),
        after(offender.alerted),
        more(after(offender.restarts.first().copied()), offender.restarts.len()),
        more(after(killed), offender.kills.len()),
        offender.lead().map_or_else(dash, seconds),
    ]
}

fn name(offender: &Offender) -> String {
    let (namespace, pod, container) = &offender.container;
    let owner = offender.workload.as_deref().map(|it| format!(" of {it}")).unwrap_or_default();
    let container = if container.is_empty() { "its only container" } else { container };
    format!("{namespace}/{pod}\n  {container}{owner}")
}

fn clock(at: Timestamp) -> String {
    at.strftime("%m-%d %H:%M").to_string()
}

/// What the policy would have been worth: what, and how much.
#[must_use]
pub fn summary(replay: &Replay) -> Vec<(&'static str, String)> {
    let Replay { replayed, score, .. } = replay;
    let mut rows = vec![
        ("judged", format!("{}, {} times", count(replayed.containers, "container"), replayed.judgements)),
        ("inconclusive", inconclusive(&replayed.inconclusive, replayed.judgements)),
        ("flagged", count(score.found().count(), "container")),
        ("alerted", alerted(score)),
        ("OOM-killed", killed(score)),
        ("lead", leads(score)),
        ("restarts", restarts(score)),
    ];
    let withheld = score.withheld();
    if !withheld.is_empty() {
        rows.push(("withheld", withheld.iter().map(|(why, n)| format!("{why} {n}")).collect::<Vec<_>>().join(", ")));
    }
    rows
}

fn inconclusive(reasons: &BTreeMap<&'static str, u64>, judgements: u64) -> String {
    if reasons.is_empty() {
        return "never".to_owned();
    }
    let mut reasons: Vec<(&&str, &u64)> = reasons.iter().collect();
    reasons.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let parts: Vec<String> = reasons.iter().map(|(why, n)| format!("{why} {}", percent_of(**n, judgements))).collect();
    parts.join(", ")
}

fn alerted(score: &Score) -> String {
    let alerted = count(score.alerted().count(), "container");
    if score.alerted().count() == 0 {
        return alerted;
    }
    if !score.kills_known {
        return format!("{alerted}; the recording does not tell of OOM kills, so there is no precision");
    }
    let precision = score.precision().map(|it| format!(" (precision {})", percent(it))).unwrap_or_default();
    let mut text = format!("{alerted}, of which {} OOM-killed later{precision}", was(score.warned().count()));
    text += &named("no kill followed", &score.unconfirmed().collect::<Vec<_>>());
    text + &named("too early to say, for memory was expected to last longer", &score.undecided().collect::<Vec<_>>())
}

/// Some of them by name, if there are any.
fn named(what: &str, all: &[&Offender]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = all.iter().take(MAX_NAMED).map(|it| it.container.1.as_str()).collect();
    let more = if all.len() > MAX_NAMED { format!(" and {} more", all.len() - MAX_NAMED) } else { String::new() };
    format!("; {what}: {}{more}", names.join(", "))
}

fn killed(score: &Score) -> String {
    if !score.kills_known && score.killed().count() == 0 {
        return "not known: the recording has none of the metrics that tell".to_owned();
    }
    let kills: usize = score.killed().map(|it| it.kills.len()).sum();
    let mut text = format!("{}, {}", count(score.killed().count(), "container"), count(kills, "kill"));
    if let Some(recall) = score.recall() {
        text += &format!("; {} alerted before (recall {})", was(score.warned().count()), percent(recall));
    }
    if score.kills_elsewhere > 0 {
        text += &format!("; not scored: {} of containers that are not judged", count(score.kills_elsewhere, "kill"));
    }
    text
}

fn leads(score: &Score) -> String {
    let leads = score.leads();
    match (leads.first(), leads.last(), crate::decide::stats::median(&leads)) {
        (Some(first), Some(last), Some(median)) => {
            format!("median {} from alert to kill ({} to {})", seconds(median), seconds(*first), seconds(*last))
        }
        _ => "-".to_owned(),
    }
}

fn restarts(score: &Score) -> String {
    let rate = score.restarts_per_day().map(|it| format!(", {it:.1} per day")).unwrap_or_default();
    format!("{}{rate}", score.restarts())
}

/// Seconds the way people write them.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    print_duration(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
}

fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn was(count: usize) -> String {
    format!("{count} {}", if count == 1 { "was" } else { "were" })
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn percent_of(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// Rows of a name and a sentence, wrapped below each other.
fn lines(all: &[(&'static str, String)]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_width(WIDTH).set_content_arrangement(ContentArrangement::Dynamic);
    for (name, text) in all {
        table.add_row([(*name).to_owned(), text.clone()]);
    }
    rows(&table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::backtest::tests::replay;

    #[test]
    fn a_row_says_when_it_was_found_and_how_long_after_that_the_rest_happened() {
        let text = text(&[replay()]);
        let line =
            |pod: &str| text.lines().find(|it| it.starts_with(&format!("shop/{pod}"))).expect("a row").to_owned();
        for part in ["DialPerCall", "+1h", "+4h", "+11h (2x)", "10h"] {
            assert!(line("a").contains(part), "{part}: {text}");
        }
        assert!(line("c").contains("+1h"), "{text}");
        assert!(line("d").contains(" -  ") && line("d").ends_with('-'), "{text}");
        assert!(text.contains("  app of Deployment/orders"), "{text}");
    }

    #[test]
    fn the_summary_says_what_followed_and_does_not_call_the_rest_false() {
        let text = text(&[replay()]);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in [
            "replayed as if it were Enforce",
            "alerted 3 containers, of which 1 was OOM-killed later (precision 33 %); no kill followed: c, b",
            "OOM-killed 3 containers, 4 kills; 1 was alerted before (recall 33 %); not scored: 1 kill of",
            "lead median 10h from alert to kill (10h to 10h)",
            "restarts 1, 0.5 per day",
            "withheld Cooldown 1",
            "inconclusive WarmingUp 25.0 %",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        assert!(!text.contains("false"), "{text}");
    }

    #[test]
    fn it_fits_in_100_columns_even_with_long_names() {
        let mut long = replay();
        for offender in &mut long.score.offenders {
            offender.container.1 = format!("{}-7d9f8c6b5-abcde", "very-long-service-name".repeat(3));
        }
        let text = text(&[long]);
        assert!(text.lines().skip(1).all(|it| it.chars().count() <= 100), "{text}");
    }

    #[test]
    fn when_there_is_nobody_it_says_so() {
        let mut clean = replay();
        clean.score.offenders.clear();
        assert!(text(&[clean]).contains("nobody would have been flagged"));
    }
}
