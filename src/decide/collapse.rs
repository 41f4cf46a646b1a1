//! Many alerts that begin together: one summary in place of a page for each. Nothing that was sent by itself is taken
//! back, and whatever the summary stands for and still fires when it is over is sent by itself then.
//!
//! The summary stands in the records that it stands for, so that a restart of the operator goes on with the same one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{AlertRecord, CollapsedAlert};

/// When alerts are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollapseRule {
    /// So many. 0: never.
    pub count: u32,
    /// That begin within this time.
    pub within: Duration,
    /// The summary ends when none has begun for so long.
    pub calm: Duration,
}

impl Default for CollapseRule {
    /// Twenty within ten minutes, until an hour of calm.
    fn default() -> Self {
        Self { count: 20, within: Duration::from_secs(600), calm: Duration::from_secs(3_600) }
    }
}

/// An alert among those of all policies.
pub struct Entry<'a> {
    /// The alert.
    pub record: &'a mut AlertRecord,
    /// Whether it begins now, so that nobody was told of it yet.
    pub is_new: bool,
}

/// Lets the summary begin, take in what is new, or end. `complete`: the alerts of all policies are among the entries; who
/// has just taken over does not know them yet, and ends nothing.
pub fn collapse(rule: &CollapseRule, entries: &mut [Entry<'_>], complete: bool, now: Timestamp) {
    let count = usize::try_from(rule.count).unwrap_or(usize::MAX);
    let mut firing: Vec<&mut Entry<'_>> = entries.iter_mut().filter(|it| it.record.ends_at.is_none()).collect();
    let began_after = |it: &&mut Entry<'_>, from: Timestamp| it.record.starts_at.0 > from;
    let summary = summary(firing.iter().map(|it| &*it.record));
    if let Some(summary) = &summary {
        let from = before(summary.since.0, rule.within);
        let members = firing.iter().filter(|it| began_after(it, from)).count();
        let calm = !firing.iter().any(|it| began_after(it, before(now, rule.calm)));
        if count == 0 || complete && (members < count || calm) {
            firing.iter_mut().for_each(|it| it.record.collapsed = None);
            return;
        }
    } else {
        let from = before(now, rule.within);
        if count == 0 || firing.iter().filter(|it| began_after(it, from)).count() < count {
            return;
        }
    }
    let taken = |it: &&mut Entry<'_>| it.is_new || it.record.collapsed.is_some();
    let severity = firing.iter().filter(|it| taken(it)).map(|it| it.record.severity.clone());
    let severity = severity.chain(summary.iter().map(|it| it.severity.clone())).max_by_key(|it| rank(it));
    let Some(severity) = severity else { return };
    let summary = CollapsedAlert { since: summary.map_or(Time(now), |it| it.since), severity };
    for entry in firing.into_iter().filter(|it| taken(it)) {
        entry.record.collapsed = Some(summary.clone());
    }
}

/// The summary that stands for some of these alerts now.
pub fn summary<'a>(records: impl Iterator<Item = &'a AlertRecord>) -> Option<CollapsedAlert> {
    let all = records.filter(|it| it.ends_at.is_none()).filter_map(|it| it.collapsed.clone());
    all.reduce(|a, b| CollapsedAlert {
        since: if a.since.0 <= b.since.0 { a.since } else { b.since },
        severity: if rank(&a.severity) >= rank(&b.severity) { a.severity } else { b.severity },
    })
}

/// The order of severities.
#[must_use]
pub fn rank(severity: &str) -> u8 {
    match severity {
        "critical" => 3,
        "warning" => 2,
        "info" => 1,
        _ => 0,
    }
}

fn before(at: Timestamp, span: Duration) -> Timestamp {
    let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    at.checked_sub(span).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::WorkloadRef;

    const RULE: CollapseRule =
        CollapseRule { count: 3, within: Duration::from_secs(600), calm: Duration::from_secs(3_600) };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn alert(n: usize, begins: i64) -> AlertRecord {
        AlertRecord {
            namespace: "shop".into(),
            workload: WorkloadRef { kind: "Deployment".into(), name: format!("w{n}") },
            container: "app".into(),
            diagnosis: "DialPerCall".into(),
            severity: "warning".into(),
            summary: String::new(),
            sites: vec![],
            profile: None,
            approval: None,
            restarts: None,
            collapsed: None,
            starts_at: Time(at(begins)),
            delivered: false,
            ends_at: None,
        }
    }

    /// Looks at alerts, of which those from the n-th on are new, and says which the summary stands for.
    fn look(alerts: &mut [AlertRecord], new_from: usize, complete: bool, now: i64) -> Vec<bool> {
        let mut entries: Vec<Entry<'_>> =
            alerts.iter_mut().enumerate().map(|(n, record)| Entry { record, is_new: n >= new_from }).collect();
        collapse(&RULE, &mut entries, complete, at(now));
        alerts.iter().map(|it| it.collapsed.is_some()).collect()
    }

    #[test]
    fn few_are_told_each_and_of_many_those_that_were_not_told_yet_become_one() {
        let mut alerts: Vec<AlertRecord> = (0..2).map(|n| alert(n, 0)).collect();
        assert_eq!(look(&mut alerts, 0, true, 0), [false, false]);
        alerts.extend([alert(2, 60), alert(3, 60)]);
        assert_eq!(look(&mut alerts, 2, true, 60), [false, false, true, true]);
        assert_eq!(summary(alerts.iter()), Some(CollapsedAlert { since: Time(at(60)), severity: "warning".into() }));
    }

    #[test]
    fn alerts_that_begin_one_by_one_over_a_long_time_stay_what_they_are() {
        let mut alerts: Vec<AlertRecord> = Vec::new();
        for n in 0..10_u8 {
            alerts.push(alert(usize::from(n), i64::from(n) * 400));
            let new = usize::from(n);
            assert!(look(&mut alerts, new, true, i64::from(n) * 400).iter().all(|it| !it), "{n}");
        }
    }

    #[test]
    fn what_begins_while_the_summary_fires_is_taken_in_and_may_raise_its_severity() {
        let mut alerts: Vec<AlertRecord> = (0..3).map(|n| alert(n, 0)).collect();
        look(&mut alerts, 0, true, 0);
        alerts.push(AlertRecord { severity: "critical".into(), ..alert(3, 900) });
        assert_eq!(look(&mut alerts, 3, true, 900), [true; 4]);
        assert_eq!(summary(alerts.iter()), Some(CollapsedAlert { since: Time(at(0)), severity: "critical".into() }));
    }

    #[test]
    fn it_is_over_when_fewer_fire_or_none_has_begun_for_long_and_the_rest_is_told() {
        let begun = || {
            let mut alerts: Vec<AlertRecord> = (0..3).map(|n| alert(n, 0)).collect();
            look(&mut alerts, 0, true, 0);
            alerts
        };
        let mut alerts = begun();
        alerts[0].ends_at = Some(Time(at(60)));
        assert_eq!(look(&mut alerts, 9, true, 60), [true, false, false], "who has ended was never told");
        let mut alerts = begun();
        assert_eq!(look(&mut alerts, 9, true, 3_599), [true; 3]);
        assert_eq!(look(&mut alerts, 9, true, 3_600), [false; 3]);
    }

    #[test]
    fn who_has_just_taken_over_and_knows_few_of_them_ends_nothing() {
        let mut alerts: Vec<AlertRecord> = (0..3).map(|n| alert(n, 0)).collect();
        look(&mut alerts, 0, true, 0);
        alerts.truncate(1);
        assert_eq!(look(&mut alerts, 9, false, 7_200), [true]);
        assert_eq!(look(&mut alerts, 9, true, 7_200), [false]);
    }

    #[test]
    fn a_count_of_nothing_never_collapses() {
        let mut records: Vec<AlertRecord> = (0..30).map(|n| alert(n, 0)).collect();
        let mut entries: Vec<Entry<'_>> = records.iter_mut().map(|record| Entry { record, is_new: true }).collect();
        collapse(&CollapseRule { count: 0, ..RULE }, &mut entries, true, at(0));
        assert!(summary(records.iter()).is_none());
        records[0].collapsed = Some(CollapsedAlert { since: Time(at(0)), severity: "info".into() });
        let mut entries = [Entry { record: &mut records[0], is_new: false }];
        collapse(&CollapseRule { count: 0, ..RULE }, &mut entries, false, at(0));
        assert!(summary(records.iter()).is_none(), "nor does what was begun under another rule go on");
    }
}
