//! Which moment is chosen, and that none is chosen too late.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{api::WindowSpec, decide::Sample};

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// 100 calls a second by day, 10 from midnight to 06:00 UTC.
fn nights() -> DayLoad {
    DayLoad::from((0..SLOTS).map(|slot| if slot < 12 { 10.0 } else { 100.0 }).collect::<Vec<_>>())
}

fn windows(spec: serde_json::Value) -> Windows {
    let spec: Vec<WindowSpec> = serde_json::from_value(spec).expect("windows");
    Windows::parse(Some(&spec)).expect("valid")
}

fn quieter(load: &DayLoad, now: &str, until: &str, windows: &[&Windows]) -> Option<Timestamp> {
    let bounds = Bounds { until: at(until), interval: Duration::from_secs(60), windows };
    load.quieter(at(now), &bounds).map(|it| it.at)
}

const NOON: &str = "2027-01-15T12:00:00Z";

#[test]
fn a_leak_with_days_to_go_waits_for_the_night() {
    assert_eq!(quieter(&nights(), NOON, "2027-01-18T00:00:00Z", &[]), Some(at("2027-01-16T00:00:00Z")));
    assert_eq!(quieter(&nights(), "2027-01-16T00:01:00Z", "2027-01-18T00:00:00Z", &[]), None, "it is night");
}

#[test]
fn a_leak_that_does_not_last_until_the_night_does_not_wait() {
    assert_eq!(quieter(&nights(), NOON, "2027-01-15T23:59:00Z", &[]), None);
    assert_eq!(quieter(&nights(), NOON, "2027-01-16T00:02:00Z", &[]), None, "the forecast is not that sure");
    assert_eq!(quieter(&nights(), NOON, "2027-01-15T12:01:00Z", &[]), None, "it is nearly too late");
    assert_eq!(quieter(&nights(), NOON, "2027-01-15T11:00:00Z", &[]), None, "it is too late");
}

#[test]
fn a_small_gain_is_not_waited_for() {
    let like =
        |night: f64| DayLoad::from((0..SLOTS).map(|slot| if slot < 12 { night } else { 100.0 }).collect::<Vec<_>>());
    let chosen = |night| quieter(&like(night), NOON, "2027-01-18T00:00:00Z", &[]).is_some();
    assert!(chosen(79.0) && !chosen(81.0), "within a quarter of the least");
    let evening = |now: f64| {
        DayLoad::from(
            (0..SLOTS)
                .map(|slot| {
                    if slot < 12 {
                        1.0
                    } else if slot == 24 {
                        now
                    } else {
                        100.0
                    }
                })
                .collect::<Vec<_>>(),
        )
    };
    let waits = |now| quieter(&evening(now), NOON, "2027-01-18T00:00:00Z", &[]).is_some();
    assert!(waits(12.0) && !waits(10.0), "a tenth of the day's peak");
    assert_eq!(quieter(&DayLoad::from(vec![0.0; SLOTS]), NOON, "2027-01-18T00:00:00Z", &[]), None, "nobody calls");
}

#[test]
fn only_moments_in_open_windows_count_and_those_about_to_close_do_not() {
    let until = "2027-01-18T00:00:00Z";
    let day = windows(json!([{"from": "09:00", "to": "17:00"}]));
    assert_eq!(quieter(&nights(), NOON, until, &[&day]), None, "now is as good as any that is allowed");
    let early = windows(json!([{"from": "05:00", "to": "13:00"}]));
    assert_eq!(quieter(&nights(), NOON, until, &[&early]), Some(at("2027-01-16T05:00:00Z")));
    assert_eq!(quieter(&nights(), NOON, until, &[&early, &day]), None, "all of them must be open");
    let short = windows(json!([{"from": "05:00", "to": "05:01"}, {"from": "09:00", "to": "17:00"}]));
    assert_eq!(quieter(&nights(), NOON, until, &[&short]), None, "an evaluation might miss it");
}

/// A counter of a client that makes so many calls a second at a time of day, in buckets.
fn counted(width: f64, hours: f64, rate: impl Fn(f64) -> f64) -> Level {
    let end = (at(NOON).as_duration().as_secs_f64() / width).floor() * width;
    let buckets = ((hours * 3_600.0 / width) as usize).min(BUCKETS);
    let mut total = 0.0;
    let points = (0..buckets).map(|n| {
        let at = end - (buckets - 1 - n) as f64 * width;
        total += (0..60).map(|part| rate(at - width * f64::from(part) / 60.0) * width / 60.0).sum::<f64>();
        Sample { at, value: total }
    });
    Level { width, points: points.collect() }
}

fn by_night(at: f64) -> f64 {
    if at.rem_euclid(DAY) <= 6.0 * 3_600.0 { 10.0 } else { 100.0 }
}

fn load(levels: Vec<Level>) -> Option<DayLoad> {
    let measured = Measured {
        source: "OpenTelemetry".into(),
        samples: vec![Sample { at: 0.0, value: 0.0 }].into(),
        levels,
        witnessed: false,
        direction_blind: false,
    };
    DayLoad::by(&measured)
}

#[test]
fn the_load_of_a_day_is_read_from_the_buckets_of_a_day_and_longer() {
    for levels in [
        vec![counted(1_800.0, 24.0, by_night)],
        vec![counted(7_200.0, 96.0, by_night), counted(1_800.0, 24.0, by_night), counted(600.0, 8.0, by_night)],
    ] {
        let load = load(levels).expect("a day is known");
        assert!((load.at(at("2027-01-16T03:00:00Z")) - 10.0).abs() < 2.0, "{load:?}");
        assert!((load.at(at("2027-01-16T15:00:00Z")) - 100.0).abs() < 2.0, "{load:?}");
        assert_eq!(load.least().1.0, 0, "{load:?}");
        assert_eq!(
            quieter(&load, NOON, "2027-01-18T00:00:00Z", &[]).map(|it| it.duration_since(at(NOON)).as_hours()),
            Some(12)
        );
    }
}

#[test]
fn less_than_a_day_is_no_load_to_go_by() {
    assert_eq!(load(vec![]), None);
    assert_eq!(load(vec![counted(1_800.0, 20.0, by_night)]), None);
    assert_eq!(load(vec![counted(600.0, 8.0, by_night)]), None, "short scales say nothing of a day");
    let twice = counted(7_200.0, 96.0, by_night);
    let day = |it: &&Sample| (10.0..=20.0).contains(&(it.at.rem_euclid(DAY) / 3_600.0));
    let holey = Level { width: twice.width, points: twice.points.iter().filter(day).copied().collect() };
    assert_eq!(load(vec![holey]), None, "of the night nothing is known, however many days there are");
}

proptest! {
    #[test]
    fn a_restart_that_may_be_made_now_is_never_made_too_late(
        slots in proptest::collection::vec(0.0..1_000.0_f64, SLOTS),
        interval in 5_u64..3_600,
        start in 0_i64..86_400,
        left in 0_i64..260_000,
        daily in proptest::collection::vec((0_u32..24, 0_u32..60, 1_u32..24), 0..3),
    ) {
        let load = DayLoad::from(slots);
        let clock = |minutes: u32| format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60);
        let specs: Vec<_> = daily.iter().map(|(hour, minute, long)| {
            let from = hour * 60 + minute;
            json!([{"from": clock(from), "to": clock(from + long * 37)}])
        }).collect();
        let all: Vec<Windows> = specs.into_iter().map(windows).collect();
        let all: Vec<&Windows> = all.iter().collect();
        let interval = Duration::from_secs(interval);
        let mut now = at("2027-01-15T00:00:00Z") + SignedDuration::from_secs(start);
        let until = now + SignedDuration::from_secs(left);
        prop_assume!(all.iter().all(|it| it.is_open(now)));
        let bounds = Bounds { until, interval, windows: &all };
        // The next evaluation that is of interest: none before the moment that was chosen would be made otherwise.
        while let Some(quieter) = load.quieter(now, &bounds) {
            prop_assert!(quieter.at > now && quieter.then < quieter.now);
            while now < quieter.at {
                now += interval;
            }
            prop_assert!(now <= until && all.iter().all(|it| it.is_open(now)), "{now} {until}");
        }
    }
}
