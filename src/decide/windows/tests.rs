//! Windows by example, and then against every minute that the clocks of a place show.

use jiff::{SignedDuration, Timestamp, ToSpan, civil::DateTime, tz::TimeZoneDatabase};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn parse(windows: Value) -> Result<Windows, InvalidPolicy> {
    let spec: Vec<WindowSpec> = serde_json::from_value(windows).expect("windows");
    Windows::parse(Some(&spec))
}

fn one(days: Option<&[&str]>, from: &str, to: &str, zone: &str) -> Windows {
    let mut window = json!({"from": from, "to": to, "timeZone": zone});
    if let Some(days) = days {
        window["days"] = json!(days);
    }
    parse(json!([window])).expect("valid")
}

fn berlin(from: &str, to: &str) -> Windows {
    one(None, from, to, "Europe/Berlin")
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// When it next opens after this moment, and when it then closes.
fn next(windows: &Windows, after: &str) -> (Timestamp, Timestamp) {
    let opens = windows.next_open(at(after)).expect("it is closed and opens");
    (opens, windows.closes_at(opens).expect("it closes"))
}

#[test]
fn without_windows_restarts_may_be_made_at_any_time() {
    let any = Windows::parse(None).expect("valid");
    let now = at("2026-07-01T12:00Z");
    assert_eq!((any.is_open(now), any.next_open(now), any.closes_at(now)), (true, None, None));
}

#[test]
fn a_window_is_open_from_its_first_moment_to_before_its_last() {
    let office = berlin("09:00", "17:30");
    assert!(!office.is_open(at("2026-07-01T06:59:59.999Z")) && office.is_open(at("2026-07-01T07:00Z")));
    assert!(office.is_open(at("2026-07-01T15:29:59.999Z")) && !office.is_open(at("2026-07-01T15:30Z")));
    assert_eq!(office.closes_at(at("2026-07-01T07:00Z")), Some(at("2026-07-01T15:30Z")));
    assert_eq!(office.next_open(at("2026-07-01T15:30Z")), Some(at("2026-07-02T07:00Z")));
    assert_eq!((office.next_open(at("2026-07-01T12:00Z")), office.closes_at(at("2026-07-01T16:00Z"))), (None, None));
}

#[test]
fn without_a_time_zone_the_clocks_are_those_of_utc() {
    let windows = parse(json!([{"from": "09:00", "to": "10:00"}])).expect("valid");
    assert_eq!(next(&windows, "2026-07-01T00:00Z"), (at("2026-07-01T09:00Z"), at("2026-07-01T10:00Z")));
}

#[test]
fn a_window_past_midnight_belongs_to_the_day_on_which_it_begins() {
    let friday = one(Some(&["Fri"]), "22:00", "04:00", "UTC");
    assert!(friday.is_open(at("2026-07-04T03:59Z")), "Saturday morning");
    assert!(!friday.is_open(at("2026-07-03T03:59Z")), "Friday morning");
    assert_eq!(friday.next_open(at("2026-07-04T04:00Z")), Some(at("2026-07-10T22:00Z")));
}

#[test]
fn windows_that_touch_or_overlap_are_one() {
    let weekend = one(Some(&["Sat", "Sun"]), "00:00", "24:00", "UTC");
    assert_eq!(next(&weekend, "2026-07-01T00:00Z"), (at("2026-07-04T00:00Z"), at("2026-07-06T00:00Z")));
    let nights = parse(json!([{"from": "20:00", "to": "02:00"}, {"from": "01:00", "to": "05:00"}])).expect("valid");
    assert_eq!(next(&nights, "2026-07-01T12:00Z"), (at("2026-07-01T20:00Z"), at("2026-07-02T05:00Z")));
}

#[test]
fn what_is_open_for_ever_never_closes_and_what_has_a_break_of_half_an_hour_a_week_does() {
    let always = berlin("00:00", "24:00");
    assert_eq!((always.is_open(at("2026-07-01T00:00Z")), always.closes_at(at("2026-07-01T00:00Z"))), (true, None));
    let nearly = parse(json!([
        {"days": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat"], "from": "00:00", "to": "24:00", "timeZone": "Europe/Berlin"},
        {"days": ["Sun"], "from": "00:00", "to": "02:15", "timeZone": "Europe/Berlin"},
        {"days": ["Sun"], "from": "02:45", "to": "24:00", "timeZone": "Europe/Berlin"}]))
    .expect("valid");
    // On the Sunday between, clocks leave the break out.
    assert_eq!(next(&nearly, "2026-03-22T01:30Z"), (at("2026-03-22T01:45Z"), at("2026-04-05T00:15Z")));
}

#[test]
fn what_begins_or_ends_while_clocks_are_put_forward_does_so_right_after() {
    // On 29 March 2026, 01:00 UTC, clocks in Berlin go from 02:00 to 03:00.
    let day = "2026-03-28T12:00Z";
    assert_eq!(next(&berlin("02:30", "05:00"), day), (at("2026-03-29T01:00Z"), at("2026-03-29T03:00Z")));
    assert_eq!(next(&berlin("01:00", "02:30"), day), (at("2026-03-29T00:00Z"), at("2026-03-29T01:00Z")));
    assert_eq!(next(&berlin("02:00", "03:30"), day), (at("2026-03-29T01:00Z"), at("2026-03-29T01:30Z")));
    assert_eq!(berlin("02:15", "02:45").next_open(at(day)), Some(at("2026-03-30T00:15Z")), "not on that day");
    let sundays = one(Some(&["Sun"]), "02:15", "02:45", "Europe/Berlin");
    assert_eq!(sundays.next_open(at("2026-03-22T12:00Z")), Some(at("2026-04-05T00:15Z")), "not in that week");
    let half_an_hour = one(None, "02:10", "03:00", "Australia/Lord_Howe");
    assert_eq!(next(&half_an_hour, "2026-10-03T10:00Z"), (at("2026-10-03T15:30Z"), at("2026-10-03T16:00Z")));
}

#[test]
fn what_begins_or_ends_in_the_hour_that_comes_twice_is_open_in_both_without_a_break() {
    // On 25 October 2026, 01:00 UTC, clocks in Berlin go from 03:00 to 02:00.
    let day = "2026-10-24T12:00Z";
    assert_eq!(next(&berlin("02:30", "02:45"), day), (at("2026-10-25T00:30Z"), at("2026-10-25T01:45Z")));
    assert_eq!(next(&berlin("01:00", "02:30"), day), (at("2026-10-24T23:00Z"), at("2026-10-25T01:30Z")));
    assert_eq!(next(&berlin("02:30", "04:00"), day), (at("2026-10-25T00:30Z"), at("2026-10-25T03:00Z")));
    // At 02:00 clocks show nothing earlier any more, whichever 02:00 it is.
    assert_eq!(next(&berlin("01:00", "02:00"), day), (at("2026-10-24T23:00Z"), at("2026-10-25T00:00Z")));
    assert_eq!(next(&berlin("02:00", "03:00"), day), (at("2026-10-25T00:00Z"), at("2026-10-25T02:00Z")));
}

#[test]
fn a_day_that_a_place_left_out_is_like_an_hour() {
    // In Samoa 29 December 2011 was followed by the 31st, at 10:00 UTC.
    let friday = one(Some(&["Fri"]), "22:00", "04:00", "Pacific/Apia");
    assert_eq!(next(&friday, "2011-12-29T12:00Z"), (at("2011-12-30T10:00Z"), at("2011-12-30T14:00Z")));
    let noon = one(Some(&["Fri"]), "12:00", "13:00", "Pacific/Apia");
    assert_eq!(noon.next_open(at("2011-12-29T12:00Z")), Some(at("2012-01-05T22:00Z")));
}

#[test]
fn windows_that_cannot_work_are_refused_with_field_window_and_value() {
    let good = json!({"from": "22:00", "to": "04:00"});
    for (bad, field, says) in [
        (json!({"days": [], "from": "22:00", "to": "04:00"}), "days", "is \"[]\" in window 2: give at least one day"),
        (json!({"from": "24:00", "to": "04:00"}), "from", "is \"24:00\" in window 2: give a time from 00:00 to 23:59"),
        (json!({"from": "9:00", "to": "10:00"}), "from", "is \"9:00\""),
        (json!({"from": "09:00", "to": "24:01"}), "to", "is \"24:01\" in window 2: give a time from 00:00 to 24:00"),
        (json!({"from": "09:00", "to": "10:60"}), "to", "is \"10:60\""),
        (json!({"from": "09:00", "to": "+9:00"}), "to", "is \"+9:00\""),
        (json!({"from": "09:00", "to": "09:00"}), "to", "for whole days write 00:00 to 24:00"),
        (json!({"from": "22:00", "to": "04:00", "timeZone": "CEST"}), "timeZone", "for example Europe/Berlin"),
        (json!({"from": "22:00", "to": "04:00", "timeZone": "Etc/Unknown"}), "timeZone", "is \"Etc/Unknown\""),
        (json!({"from": "22:00", "to": "04:00", "timeZone": "../etc/passwd"}), "timeZone", "IANA name"),
    ] {
        let refusal = parse(json!([good, bad])).expect_err("refused");
        assert_eq!(refusal.field, format!("remediation.restart.windows.{field}"), "{bad}");
        assert!(refusal.problem.contains(says), "{bad}: {refusal}");
    }
    for number in [0, 17] {
        let refusal = parse(json!(vec![good.clone(); number])).expect_err("refused");
        assert!(refusal.to_string().contains(&format!("has {number} windows: give 1 to 16")), "{refusal}");
    }
}

/// Places, and moments at which clocks were changed there, if ever.
const CHANGES: [(&str, &str); 10] = [
    ("Europe/Berlin", "2026-03-29T01:00Z"),
    ("Europe/Berlin", "2051-10-29T01:00Z"),
    ("America/New_York", "2026-03-08T07:00Z"),
    ("America/New_York", "2026-11-01T06:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30Z"),
    ("Asia/Kolkata", "2026-06-03T00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00Z"),
    ("America/Sao_Paulo", "2018-11-04T03:00Z"),
    ("America/Sao_Paulo", "2019-02-17T02:00Z"),
];
const NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// Clocks are read from so many days before a change until so many after it,
const READ: i64 = 5;
/// and windows compared in so many of these.
const COMPARED: i64 = 3;

/// What clocks show, minute by minute.
struct Clocks(Vec<(Timestamp, DateTime)>);

impl Clocks {
    fn around(zone: &str, change: Timestamp) -> Self {
        let zone = TimeZoneDatabase::bundled().get(zone).expect("a zone");
        let minutes = (-READ * DAY..READ * DAY).map(|it| change + SignedDuration::from_mins(it));
        Self(minutes.map(|it| (it, zone.to_datetime(it))).collect())
    }

    /// Which minutes a window covers, by its definition: from the first that shows `from` or later to the last that shows
    /// less than `to`.
    fn cover(&self, days: &[&str], from: i64, to: i64, open: &mut [bool]) {
        let first = self.0[0].1.date();
        for day in (-2..=2 * READ + 2).map(|it| first + it.days()) {
            if !days.contains(&NAMES[usize::from(day.weekday().to_monday_zero_offset().unsigned_abs())]) {
                continue;
            }
            let midnight = day.at(0, 0, 0, 0);
            let (from, to) = (midnight + from.minutes(), midnight + (if to > from { to } else { to + DAY }).minutes());
            let begins = self.0.iter().position(|it| it.1 >= from);
            let ends = self.0.iter().rposition(|it| it.1 < to);
            if let (Some(begins), Some(ends)) = (begins, ends) {
                (begins..=ends).for_each(|it| open[it] = true);
            }
        }
    }

    /// What is open of the minutes compared.
    fn spans(&self, open: &[bool]) -> Vec<Span> {
        let compared = self.compared();
        let mut spans: Vec<Span> = Vec::new();
        for at in compared.clone().filter(|it| open[*it]) {
            match spans.last_mut() {
                Some(last) if last.1 == self.0[at].0 => last.1 = self.0[at + 1].0,
                _ => spans.push((self.0[at].0, self.0[at + 1].0)),
            }
        }
        spans
    }

    fn compared(&self) -> std::ops::Range<usize> {
        let cut = usize::try_from((READ - COMPARED) * DAY).expect("minutes");
        cut..self.0.len() - cut
    }
}

/// What windows say is open between two moments, found by going from one opening to the next.
fn walked(windows: &Windows, begins: Timestamp, ends: Timestamp) -> Vec<Span> {
    let (mut spans, mut now) = (Vec::new(), begins);
    while now < ends {
        let opens = if windows.is_open(now) { Some(now) } else { windows.next_open(now) };
        let Some(opens) = opens.filter(|it| *it < ends) else { break };
        now = windows.closes_at(opens).unwrap_or(ends).min(ends);
        spans.push((opens, now));
    }
    spans
}

/// `(days, from, to)`; many around the hours in which clocks are changed.
fn window() -> impl Strategy<Value = (Vec<&'static str>, i64, i64)> {
    let minute = || prop_oneof![0..=DAY, 0_i64..=240, prop::sample::select(vec![0, 60, 120, 150, 180, DAY])];
    (prop::sample::subsequence(NAMES.to_vec(), 1..=7), minute(), minute())
        .prop_filter("a window", |(_, from, to)| from != to && *from < DAY)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn windows_are_open_in_just_the_minutes_that_clocks_say(
        (zone, change) in prop::sample::select(CHANGES.to_vec()),
        wanted in prop::collection::vec(window(), 1..=3),
    ) {
        let text = |it: i64| format!("{:02}:{:02}", it / 60, it % 60);
        let spec = wanted.iter().map(|(days, from, to)| {
            json!({"days": days, "from": text(*from), "to": text(*to), "timeZone": zone})
        });
        let windows = parse(spec.collect()).expect("valid");
        let clocks = Clocks::around(zone, at(change));
        let mut open = vec![false; clocks.0.len()];
        for (days, from, to) in &wanted {
            clocks.cover(days, *from, *to, &mut open);
        }
        let compared = clocks.compared();
        let (begins, ends) = (clocks.0[compared.start].0, clocks.0[compared.end].0);
        prop_assert_eq!(walked(&windows, begins, ends), clocks.spans(&open));
        for at in compared.step_by(41) {
            let now = clocks.0[at].0;
            prop_assert_eq!(windows.is_open(now), open[at], "{}", now);
            prop_assert_eq!(windows.next_open(now).is_none(), open[at], "{}", now);
        }
    }
}
