//! Any text is a ledger, or nothing is restarted. Of one that is read: what was written reads the same, no date in it
//! panics, and what was just debited forbids another restart.

#![no_main]

use std::time::Duration;

use grpc_hygiene::decide::ledger::{
    Entry, Evidence, Ledger, Limits, MAX_BYTES, Object, Rates, Seen, State, Wish, conclusion,
};
use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;

const HOURS: [i64; 4] = [0, 2, 26, 24 * 8];

fuzz_target!(|text: &str| {
    let Ok(ledger) = Ledger::parse(text) else { return };
    let Ok(printed) = ledger.print() else {
        assert!(text.len() * 2 > MAX_BYTES, "a small ledger became a large one");
        return;
    };
    assert_eq!(Ledger::parse(&printed).expect("what was printed"), ledger);
    let limits = Limits { cooldown: Duration::from_secs(60), max_per_day: 100, at_once: 100, rates: Rates::default() };
    for (entry, hours) in ledger.entries.iter().take(8).flat_map(|it| HOURS.map(|hours| (it, hours))) {
        let now = entry.at.saturating_add(SignedDuration::from_hours(hours)).unwrap_or(Timestamp::MAX);
        let (uid, terminating) = (entry.object.uid.clone(), hours > 2);
        let _ = conclusion(entry, Some(&Seen { uid, terminating, ..Seen::default() }));
        may_not_go_twice(&ledger, entry, &limits, now);
        let pruned = ledger.pruned(now);
        assert_eq!(pruned.pending().count(), ledger.pending().count(), "pruning forgot what may still happen");
    }
});

fn may_not_go_twice(ledger: &Ledger, entry: &Entry, limits: &Limits, now: Timestamp) {
    let wish = Wish {
        namespace: entry.namespace.clone(),
        workload: entry.workload.clone(),
        revision: entry.revision.clone(),
        replicas: 3,
        policy: entry.policy.clone(),
    };
    if ledger.allows(&wish, limits, now).is_err() {
        return;
    }
    assert!(entry.state == State::Confirmed, "an unsettled restart did not forbid the next");
    let object = Object { uid: "the next".to_owned(), ..entry.object.clone() };
    let debited = ledger.debited(Entry { object: object.clone(), at: now, ..entry.clone() });
    assert!(debited.allows(&wish, limits, now).is_err(), "a debit did not forbid the next restart");
    let settled = debited.settled(&object, Evidence::Happened, now);
    assert!(settled.allows(&wish, limits, now).is_err(), "a restart did not forbid the next");
}
