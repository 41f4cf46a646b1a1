//! What counts as a failure, and how it is told.

use std::collections::BTreeMap;

use super::{
    timeline::tests::{event, orders},
    *,
};
use crate::decide::replay::Recording;

fn test_of(expect: &[&str], inconclusive: &[&str]) -> Test {
    let parse = |yaml: &&str| {
        let written: expectation::Written = serde_saphyr::from_str(yaml).expect(yaml);
        (written.parse().expect(yaml), vec![orders()])
    };
    Test {
        name: "a test".to_owned(),
        recording: Recording::default(),
        end: Timestamp::UNIX_EPOCH,
        expect: expect.iter().map(parse).collect(),
        inconclusive: inconclusive.iter().map(|&it| it.to_owned()).collect(),
    }
}

fn replayed(events: Vec<Event>, judgements: u64, inconclusive: &[(&'static str, u64)]) -> Replayed {
    Replayed {
        events,
        containers: 1,
        judgements,
        inconclusive: inconclusive.iter().copied().collect::<BTreeMap<_, _>>(),
    }
}

fn failures_of(test: &Test, replayed: &Replayed) -> Vec<String> {
    failures(test, replayed, Timestamp::UNIX_EPOCH)
}

#[test]
fn a_failure_says_what_was_expected_and_what_happened_instead() {
    let events = vec![event(10, EventKind::Finding), event(20, EventKind::Withheld)];
    let test = test_of(&["{by: 1h, finding: DialPerCall}", "{by: 1h, actions: [Alert]}"], &[]);
    assert_eq!(
        failures_of(&test, &replayed(events, 60, &[])),
        ["expected shop/orders-1: by 1h actions [Alert]\n\
          happened after 10m in app: finding DialPerCall: open connections rose\n         \
          after 20m in app: restart withheld because NoForecast: open connections rose"]
    );
}

#[test]
fn silence_is_no_proof_when_nobody_could_be_judged() {
    let test = test_of(&["{never: true, finding: Any}", "{at: 1h, actions: []}"], &[]);
    let blind = replayed(vec![], 60, &[("Gaps", 40), ("WarmingUp", 20)]);
    let failures = failures_of(&test, &blind);
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(failures[0].ends_with("nobody could be judged (60 judgements, of these Gaps 40, WarmingUp 20)"));
    assert_eq!(failures_of(&test, &replayed(vec![], 60, &[("WarmingUp", 20)])), [] as [&str; 0]);
    assert_eq!(failures_of(&test, &Replayed::default()).len(), 2);
}

#[test]
fn a_reason_that_is_expected_must_occur_and_then_silence_is_what_was_meant() {
    let test = test_of(&["{never: true, finding: Any}"], &["Gaps"]);
    assert_eq!(failures_of(&test, &replayed(vec![], 60, &[("Gaps", 60)])), [] as [&str; 0]);
    let failures = failures_of(&test, &replayed(vec![], 60, &[("Stale", 60)]));
    assert_eq!(
        failures,
        ["expected somebody to be inconclusive because of Gaps\nhappened not (60 judgements, of these Stale 60)"]
    );
}

#[test]
fn a_long_story_is_cut() {
    let events: Vec<Event> = (0..20).map(|minute| event(minute, EventKind::Finding)).collect();
    let story = story(&orders(), &events, Timestamp::UNIX_EPOCH);
    assert_eq!(story.lines().count(), SHOWN_EVENTS + 1);
    assert!(story.ends_with("and 8 events more"));
}

#[test]
fn the_text_has_one_line_per_test_and_the_failures_below_it() {
    let ran = |name: &str, failures: &[&str]| Ran {
        name: name.to_owned(),
        failures: failures.iter().map(|&it| it.to_owned()).collect(),
    };
    let file = |tests| RanFile { path: PathBuf::from("a_test.yaml"), tests };
    assert_eq!(
        text(&file(Ok(vec![ran("good", &[]), ran("bad", &["expected b\nhappened nothing"])]))),
        "a_test.yaml\n  ok        good\n  FAILED    bad\n              expected b\n              happened nothing\n"
    );
    assert_eq!(text(&file(Err(anyhow::anyhow!("is not YAML")))), "a_test.yaml\n  UNUSABLE  is not YAML\n");
}
