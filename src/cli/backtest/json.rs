//! One event a line, as [`Event`] serialises, in time order. `docs/backtest.md` documents it; what stands there stays.

use std::io::{self, Write};

use super::Replay;
use crate::decide::replay::Event;

/// Writes the events of all policies.
///
/// # Errors
/// The output cannot be written.
pub fn write(replays: &[Replay], mut out: impl Write) -> io::Result<()> {
    let mut events: Vec<&Event> = replays.iter().flat_map(|it| &it.replayed.events).collect();
    // Stable: a policy's own order within one time stays.
    events.sort_by_key(|it| it.at);
    for event in events {
        serde_json::to_writer(&mut out, event)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        cli::backtest::tests::replay,
        decide::{Forecast, replay::EventKind},
    };

    fn lines(replays: &[Replay]) -> Vec<Value> {
        let mut text = Vec::new();
        write(replays, &mut text).expect("memory");
        let text = String::from_utf8(text).expect("text");
        text.lines().map(|it| serde_json::from_str(it).expect("JSON")).collect()
    }

    #[test]
    fn a_line_has_exactly_the_documented_fields() {
        let mut one = replay();
        one.replayed.events.truncate(1);
        one.replayed.events[0].forecast =
            Some(Forecast { soonest: 7.0, expected: 10.0, latest: 17.5, restart_by: 6.0 });
        let expected = json!({
            "at": "2026-11-18T08:06:40Z", "policy": "shop/clients", "namespace": "shop", "pod": "a",
            "container": "app", "workload": "Deployment/orders", "revision": null, "kind": "finding",
            "diagnosis": "DialPerCall", "confidence": 99.9, "message": "open connections rose from 10 to 900",
            "because": null, "method": null, "forecast": {"soonest": 7.0, "expected": 10.0, "latest": 17.5, "restartBy": 6.0},
        });
        let mut line = lines(&[one]).remove(0);
        // The time is checked by its form: the example's clock is nobody's business here.
        let at = line["at"].take();
        assert!(at.as_str().is_some_and(|it| it.ends_with('Z') && it.contains('T')), "{at}");
        line["at"] = expected["at"].clone();
        assert_eq!(line, expected);
    }

    #[test]
    fn events_of_several_policies_are_in_time_order() {
        let replays = [replay(), replay()];
        let times: Vec<String> = lines(&replays).iter().map(|it| it["at"].to_string()).collect();
        assert_eq!(times.len(), 2 * replays[0].replayed.events.len());
        assert!(times.is_sorted());
    }

    #[test]
    fn kinds_are_the_documented_words() {
        use EventKind::{Alert, Annotate, Cleared, Finding, Resolve, Restart, Withheld};
        let words = [Finding, Cleared, Annotate, Alert, Resolve, Restart, Withheld].map(|it| json!(it));
        assert_eq!(json!(words), json!(["finding", "cleared", "annotate", "alert", "resolve", "restart", "withheld"]));
    }
}
