//! A replay as one page that needs nothing else: no script, no font, no request. What comes from outside (names,
//! sentences) is written through [`Text`] only.

use std::fmt;

use jiff::Timestamp;

use super::{
    Replay,
    chart::svg,
    score::{Offender, Score},
    table::{headline, seconds, summary},
};
use crate::decide::stats::median;

/// How many offenders have a curve.
pub const MAX_CURVES: usize = 100;
/// How many offenders stand in the table.
const MAX_ROWS: usize = 1_000;
const STYLE: &str = include_str!("page.css");
/// The page may load and run nothing, wherever it is opened.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The whole page.
#[must_use]
pub fn page(replays: &[Replay]) -> String {
    let sections: String = replays.iter().enumerate().map(|(place, it)| section(place, it)).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>grpc-hygiene backtest</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>grpc-hygiene backtest</h1>\n\
         <p class=\"soft\">What the policy would have said and done, against the OOM kills that happened. What was \
         recorded is replayed as it was: a restart is counted, but changes nothing of what came after it. All times are \
         UTC.</p>\n{sections}</body>\n</html>\n"
    )
}

/// Text from outside: what HTML would read as markup is escaped, control characters are replaced.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if c.is_control() => f.write_str("\u{fffd}")?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

fn section(place: usize, replay: &Replay) -> String {
    let score = &replay.score;
    let rows: String =
        summary(replay).iter().map(|(name, text)| format!("<dt>{name}</dt><dd>{}</dd>\n", Text(text))).collect();
    let offenders = if score.offenders.is_empty() {
        "<p>Nobody would have been flagged, and nobody is known to have been OOM-killed.</p>\n".to_owned()
    } else {
        format!("<h3>Offenders</h3>\n{}{}", table(place, replay), charts(place, replay))
    };
    format!(
        "<section>\n<h2>{}</h2>\n<p class=\"soft\">{}</p>\n{}<dl class=\"card\">\n{rows}</dl>\n{offenders}</section>\n",
        Text(&replay.key),
        Text(&headline(replay)),
        tiles(score)
    )
}

fn tiles(score: &Score) -> String {
    let percent = |it: Option<f64>| it.map_or_else(|| "–".to_owned(), |it| format!("{:.0} %", it * 100.0));
    let tiles = [
        (score.alerted().count().to_string(), "containers alerted"),
        (percent(score.precision()), "precision: alerted, then OOM-killed"),
        (percent(score.recall()), "recall: OOM-killed, alerted before"),
        (median(&score.leads()).map_or_else(|| "–".to_owned(), seconds), "median lead, alert to kill"),
        (score.restarts_per_day().map_or_else(|| "–".to_owned(), |it| format!("{it:.1}")), "restarts per day"),
    ];
    let tile =
        |(number, what): &(String, &str)| format!("<div class=\"tile\"><b>{number}</b><span>{what}</span></div>\n");
    format!("<div class=\"tiles\">\n{}</div>\n", tiles.iter().map(tile).collect::<String>())
}

fn table(place: usize, replay: &Replay) -> String {
    let offenders = &replay.score.offenders;
    let row = |(n, it): (usize, &Offender)| row(it, (n < replay.curves.len()).then(|| format!("#o{place}-{n}")));
    let rows: String = offenders.iter().take(MAX_ROWS).enumerate().map(row).collect();
    format!(
        "<div class=\"card scroll\">\n<table>\n<thead><tr><th>Pod</th><th>Diagnosis</th><th class=\"found\">Found</th>\
         <th class=\"alert\">Alert</th><th class=\"restart\">Restart</th><th class=\"kill\">OOM kill</th><th>Lead</th>\
         </tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n{}",
        more(offenders.len(), MAX_ROWS, "in the table")
    )
}

fn row(offender: &Offender, link: Option<String>) -> String {
    let (namespace, pod, _) = &offender.container;
    let name = format!("{namespace}/{pod}");
    let name = match link {
        Some(link) => format!("<a href=\"{link}\">{}</a>", Text(&name)),
        None => Text(&name).to_string(),
    };
    let times = |count: usize| if count > 1 { format!("<small>{count} times</small>") } else { String::new() };
    let killed = offender.followed_by().or_else(|| offender.kills.first().copied());
    format!(
        "<tr><td>{name}<small>{}</small></td><td>{}</td><td>{}</td><td>{}</td><td>{}{}</td><td>{}{}</td><td>{}</td></tr>\n",
        Text(&whom(offender)),
        offender.diagnosis.map_or("–", |it| it.name()),
        clock(offender.found),
        clock(offender.alerted),
        clock(offender.restarts.first().copied()),
        times(offender.restarts.len()),
        clock(killed),
        times(offender.kills.len()),
        offender.lead().map_or_else(|| "–".to_owned(), seconds),
    )
}

/// Container and workload.
fn whom(offender: &Offender) -> String {
    let container =
        Some(&offender.container.2).filter(|it| !it.is_empty()).map_or("its only container", String::as_str);
    offender.workload.as_ref().map_or_else(|| container.to_owned(), |it| format!("{container} of {it}"))
}

fn clock(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "–".to_owned(), |it| it.strftime("%m-%d %H:%M").to_string())
}

fn charts(place: usize, replay: &Replay) -> String {
    let pairs = replay.score.offenders.iter().zip(&replay.curves).enumerate();
    let figures: String = pairs
        .map(|(n, (offender, curves))| {
            let chart = svg(offender, curves).unwrap_or_else(|| "<p class=\"soft\">nothing to draw</p>".to_owned());
            format!("<figure class=\"card\" id=\"o{place}-{n}\">\n{}{chart}\n</figure>\n", caption(offender))
        })
        .collect();
    let left_out = more(replay.score.offenders.len(), replay.curves.len(), "with curves");
    format!("<h3>Curves</h3>\n{figures}{left_out}")
}

fn caption(offender: &Offender) -> String {
    let (namespace, pod, _) = &offender.container;
    let badge = match (offender.diagnosis, offender.kills.is_empty()) {
        (Some(diagnosis), _) => format!("<span class=\"badge\">{}</span>", diagnosis.name()),
        (None, _) => "<span class=\"badge kill\">OOM-killed, not found</span>".to_owned(),
    };
    let withheld: Vec<&str> = offender.withheld.keys().copied().collect();
    let withheld =
        if withheld.is_empty() { String::new() } else { format!("restart withheld: {}", withheld.join(", ")) };
    let line =
        |text: &str| if text.is_empty() { String::new() } else { format!("<p class=\"soft\">{}</p>", Text(text)) };
    format!(
        "<figcaption><b>{}</b>{badge}<div class=\"soft\">{}</div>{}{}</figcaption>\n",
        Text(&format!("{namespace}/{pod}")),
        Text(&whom(offender)),
        line(&offender.message),
        line(&withheld)
    )
}

fn more(all: usize, shown: usize, how: &str) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!("<p class=\"soft\">The first {shown} of {all} are shown {how}; {more} more are not.</p>\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::backtest::{curve::Curves, tests::replay};

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let evil = "<script>alert('x')</script>\"&\u{7}";
        let mut one = replay();
        one.key = evil.to_owned();
        for offender in &mut one.score.offenders {
            offender.container = (evil.to_owned(), evil.to_owned(), evil.to_owned());
            offender.workload = Some(evil.to_owned());
            offender.message = evil.to_owned();
        }
        one.curves = vec![Curves::default(); one.score.offenders.len()];
        let page = page(&[one]);
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;\u{fffd}"));
        assert!(!page.contains("<script") && !page.contains(evil), "{page}");
    }

    #[test]
    fn the_page_asks_for_nothing_from_anywhere() {
        let page = page(&[replay()]);
        for outside in ["http:", "https:", "src=", "@import", "url(", "<script", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("prefers-color-scheme: dark") && page.contains("default-src 'none'"));
    }

    #[test]
    fn every_link_leads_to_a_figure() {
        let mut one = replay();
        one.curves = vec![Curves::default(); one.score.offenders.len()];
        let page = page(&[one, replay()]);
        let links: Vec<&str> = page.split("href=\"#").skip(1).filter_map(|it| it.split('"').next()).collect();
        assert_eq!(links.len(), 4);
        assert!(links.iter().all(|it| page.contains(&format!("id=\"{it}\""))), "{links:?}");
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let mut one = replay();
        one.curves = vec![Curves::default()];
        assert!(page(&[one]).contains("The first 1 of 4 are shown with curves; 3 more are not."));
    }

    #[test]
    fn elements_are_closed_in_the_order_in_which_they_are_opened() {
        let mut one = replay();
        one.curves = vec![Curves::default(); 4];
        let page = page(&[one]);
        let mut open: Vec<String> = Vec::new();
        for tag in page.split('<').skip(1).filter_map(|it| it.split('>').next()) {
            let name: String = tag.chars().take_while(|it| !it.is_whitespace()).collect();
            match name.as_str() {
                "!doctype" | "meta" => {}
                _ if tag.ends_with('/') => {}
                _ if name.starts_with('/') => assert_eq!(open.pop().as_deref(), Some(&name[1..]), "{tag}"),
                _ => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}
