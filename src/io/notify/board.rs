//! The board: the alerts of all policies as they stand, and the summary that stands for many that began together. It knows
//! no receivers and does not send.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::own::{Blind, Blindness};
use crate::{
    api::{AlertRecord, CollapsedAlert},
    decide::{
        RESOLVED_KEPT,
        collapse::{CollapseRule, Entry, collapse, summary},
    },
};

/// An alert that is older than this when it is put up was put up before, by whoever led then.
const NEW: SignedDuration = SignedDuration::from_secs(60);

/// What stands on the board.
#[derive(Debug)]
pub(super) struct Board {
    rule: CollapseRule,
    policies: BTreeMap<String, Vec<AlertRecord>>,
    /// Since when a summary is known that whoever led before had begun: not all that it stands for may be here yet.
    inherited: Option<Timestamp>,
    /// The summary that fires.
    summary: Option<CollapsedAlert>,
    /// Summaries that are over, and since when.
    over: Vec<(CollapsedAlert, Timestamp)>,
    /// Who gets no answers.
    blindness: Blindness,
}

/// What is to be sent.
#[derive(Debug, Default)]
pub(super) struct Posters {
    /// Alerts, each with the name of its policy.
    pub alerts: Vec<(String, AlertRecord)>,
    /// The summary that fires, if there is one, and the alerts that it stands for.
    pub summary: Option<(CollapsedAlert, Vec<(String, AlertRecord)>)>,
    /// Summaries that are over, and since when.
    pub over: Vec<(CollapsedAlert, Timestamp)>,
    /// That policies get no answers, or did not until lately.
    pub blind: Option<Blind>,
}

impl Board {
    pub(super) fn new(rule: CollapseRule) -> Self {
        Self {
            rule,
            policies: BTreeMap::new(),
            inherited: None,
            summary: None,
            over: Vec::new(),
            blindness: Blindness::default(),
        }
    }

    /// Notes since when a policy gets no answers, and says whether that is news to a receiver.
    pub(super) fn blind(&mut self, policy: &str, since: Option<Timestamp>, now: Timestamp) -> bool {
        self.blindness.set(policy, since, now)
    }

    /// Replaces what a policy has on the board, and says whether that is news to a receiver.
    pub(super) fn set(&mut self, policy: &str, records: Vec<AlertRecord>, now: Timestamp) -> bool {
        let told = self.states();
        let before = self.policies.remove(policy).unwrap_or_default();
        let fires = |it: &AlertRecord| before.iter().any(|was| was.ends_at.is_none() && identity(was) == identity(it));
        let is_new = |it: &AlertRecord| {
            !fires(it) && it.collapsed.is_none() && !it.delivered && now.duration_since(it.starts_at.0) < NEW
        };
        let new: BTreeSet<Key> = records.iter().filter(|it| is_new(it)).map(|it| key(policy, it)).collect();
        let after = replaced(&before, records, now);
        if self.summary.is_none() && summary(after.iter()).is_some() {
            self.inherited = Some(now);
        }
        if !after.is_empty() {
            self.policies.insert(policy.to_owned(), after);
        }
        self.collapse(&new, now);
        told != self.states()
    }

    /// The records with what the board knows of their summary: to be written down with them.
    pub(super) fn noted(&self, policy: &str, mut records: Vec<AlertRecord>) -> Vec<AlertRecord> {
        for record in records.iter_mut().filter(|it| it.ends_at.is_none()) {
            let known = self.policies.get(policy).into_iter().flatten();
            let known = known.filter(|it| it.ends_at.is_none()).find(|it| identity(it) == identity(record));
            record.collapsed = known.and_then(|it| it.collapsed.clone());
        }
        records
    }

    /// What is to be sent: resolved alerts are forgotten after a while. What only the summary tells of is left out.
    pub(super) fn posters(&mut self, now: Timestamp) -> Posters {
        self.collapse(&BTreeSet::new(), now);
        for records in self.policies.values_mut() {
            records.retain(|it| is_worth_telling(it, now));
        }
        self.policies.retain(|_, records| !records.is_empty());
        self.over.retain(|(_, ended)| now.duration_since(*ended) < RESOLVED_KEPT);
        let all = self.policies.iter().flat_map(|(policy, it)| it.iter().map(|it| (policy.clone(), it.clone())));
        let (collapsed, alerts): (Vec<_>, Vec<_>) = all.partition(|(_, it)| it.collapsed.is_some());
        let members = collapsed.into_iter().filter(|(_, it)| it.ends_at.is_none()).collect();
        let summary = self.summary.clone().map(|it| (it, members));
        Posters { alerts, summary, over: self.over.clone(), blind: self.blindness.poster(now) }
    }

    fn collapse(&mut self, new: &BTreeSet<Key>, now: Timestamp) {
        let within = SignedDuration::try_from(self.rule.within).unwrap_or(SignedDuration::MAX);
        let complete = self.inherited.is_none_or(|it| now.duration_since(it) >= within);
        let mut entries: Vec<Entry<'_>> = Vec::new();
        for (policy, records) in &mut self.policies {
            for record in records {
                let is_new = new.contains(&key(policy, record));
                entries.push(Entry { record, is_new });
            }
        }
        collapse(&self.rule, &mut entries, complete, now);
        // Those that are not here yet may keep up a summary that was inherited.
        let inherited = self.summary.clone().filter(|_| !complete);
        let after = summary(self.policies.values().flatten()).or(inherited);
        // Its severity is one of its labels: with another it is another alert to its receivers.
        let severity = |it: &Option<CollapsedAlert>| it.as_ref().map(|it| it.severity.clone());
        if severity(&after) != severity(&self.summary)
            && let Some(before) = self.summary.take()
        {
            self.over.push((before, now));
        }
        if let Some(after) = &after {
            self.over.retain(|(it, _)| it.severity != after.severity);
        }
        self.inherited = self.inherited.filter(|_| after.is_some());
        self.summary = after;
    }

    /// What is news: who fires and who does not, by which alert, and who waits for a person. Texts and figures are not.
    fn states(&self) -> BTreeSet<(Key, [bool; 3])> {
        let all = self.policies.iter().flat_map(|(policy, it)| it.iter().map(move |it| (policy, it)));
        let state = |it: &AlertRecord| [it.ends_at.is_none(), it.collapsed.is_some(), it.approval.is_some()];
        all.map(|(policy, it)| (key(policy, it), state(it))).collect()
    }
}

fn is_worth_telling(record: &AlertRecord, now: Timestamp) -> bool {
    record.ends_at.as_ref().is_none_or(|Time(ended)| now.duration_since(*ended) < RESOLVED_KEPT)
}

/// What makes an alert the same alert to its receivers, among those of one policy.
type Identity<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, &'a str);
/// The same among those of all.
type Key = [String; 7];

fn identity(it: &AlertRecord) -> Identity<'_> {
    (&it.namespace, &it.workload.kind, &it.workload.name, &it.container, &it.diagnosis, &it.severity)
}

fn key(policy: &str, it: &AlertRecord) -> Key {
    let (namespace, kind, name, container, diagnosis, severity) = identity(it);
    [policy, namespace, kind, name, container, diagnosis, severity].map(str::to_owned)
}

/// The records with those that they leave out resolved. An alert that fires again replaces its own resolved one: both
/// have the same labels, and the receiver would believe whichever came last. Which alerts a summary stands for is known
/// better here than by what was written down before.
fn replaced(before: &[AlertRecord], mut after: Vec<AlertRecord>, now: Timestamp) -> Vec<AlertRecord> {
    for record in &mut after {
        if let Some(known) = before.iter().find(|it| it.ends_at.is_none() && identity(it) == identity(record)) {
            record.collapsed.clone_from(&known.collapsed);
        }
    }
    let known: BTreeSet<Identity<'_>> = after.iter().map(identity).collect();
    let left_out = before.iter().filter(|it| !known.contains(&identity(it)));
    let resolved: Vec<AlertRecord> = left_out
        .map(|it| AlertRecord { ends_at: it.ends_at.clone().or(Some(Time(now))), ..it.clone() })
        .filter(|it| is_worth_telling(it, now))
        .collect();
    after.extend(resolved);
    after.sort_by(|a, b| {
        identity(a)
            .cmp(&identity(b))
            .then(a.ends_at.is_some().cmp(&b.ends_at.is_some()))
            .then(b.starts_at.0.cmp(&a.starts_at.0))
    });
    after.dedup_by(|b, a| identity(a) == identity(b));
    after
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{at, firing},
        *,
    };

    fn ended(name: &str, second: i64) -> AlertRecord {
        AlertRecord { ends_at: Some(Time(at(second))), ..firing(name) }
    }

    #[test]
    fn what_is_left_out_is_resolved_now_and_forgotten_later() {
        let resolved = replaced(&[firing("orders")], Vec::new(), at(60));
        assert_eq!(resolved, [ended("orders", 60)]);
        assert_eq!(replaced(&resolved, Vec::new(), at(120)), [ended("orders", 60)]);
        assert_eq!(replaced(&resolved, Vec::new(), at(60 + 900)), []);
    }

    #[test]
    fn an_alert_that_fires_again_replaces_its_resolved_one() {
        let again = AlertRecord { starts_at: Time(at(90)), ..firing("orders") };
        let both = vec![ended("orders", 60), again.clone()];
        assert_eq!(replaced(&[], both, at(90)), std::slice::from_ref(&again));
        assert_eq!(replaced(&[ended("orders", 60)], vec![again.clone()], at(90)), [again]);
    }

    fn board() -> Board {
        Board::new(CollapseRule { count: 3, ..CollapseRule::default() })
    }

    #[test]
    fn moving_figures_are_no_news_and_a_resolution_is() {
        let mut board = board();
        assert!(board.set("p", vec![firing("orders")], at(0)));
        assert!(!board.set("p", vec![AlertRecord { summary: "it grows more".into(), ..firing("orders") }], at(60)));
        assert!(board.set("p", vec![firing("orders"), firing("users")], at(120)));
        assert!(board.set("p", Vec::new(), at(180)));
    }

    fn begun(n: usize, second: i64) -> AlertRecord {
        AlertRecord { starts_at: Time(at(second)), ..firing(&format!("w{n}")) }
    }

    fn names(posters: &Posters) -> (usize, usize, usize) {
        (posters.alerts.len(), posters.summary.as_ref().map_or(0, |it| it.1.len()), posters.over.len())
    }

    #[test]
    fn what_was_told_goes_on_and_what_began_with_many_is_told_by_the_summary_alone() {
        let mut board = board();
        board.set("a", vec![begun(1, 0), begun(2, 0)], at(0));
        board.set("b", vec![begun(3, 30), begun(4, 30)], at(30));
        assert_eq!(names(&board.posters(at(30))), (2, 2, 0));
        // The next evaluation, which reads from its status nothing else.
        board.set("a", vec![begun(1, 0), begun(2, 0)], at(60));
        board.set("b", vec![begun(3, 30), begun(4, 30)], at(90));
        assert_eq!(names(&board.posters(at(90))), (2, 2, 0));
    }

    #[test]
    fn whoever_takes_over_goes_on_with_the_same_summary_and_loses_nobody() {
        let mut first = board();
        first.set("a", (0..4).map(|n| begun(n, 0)).collect(), at(0));
        first.set("b", vec![begun(9, 20)], at(20));
        let [a, b] = [("a", (0..4).map(|n| begun(n, 0)).collect()), ("b", vec![begun(9, 20)])]
            .map(|(policy, it): (&str, Vec<AlertRecord>)| (policy, first.noted(policy, it)));
        let told = first.posters(at(60)).summary.expect("a summary").0;
        let mut second = board();
        second.set(b.0, b.1.clone(), at(120));
        assert_eq!(second.posters(at(120)).summary.expect("the same").0, told);
        assert_eq!(names(&second.posters(at(120))), (0, 1, 0));
        second.set("b", Vec::new(), at(150));
        assert_eq!(names(&second.posters(at(150))), (0, 0, 0), "others may be on their way");
        assert!(second.posters(at(150)).summary.is_some());
        second.set(a.0, a.1, at(180));
        assert_eq!(names(&second.posters(at(180))), (0, 4, 0));
        // Three of four are clean, and it knows all of them by now: the other one is told.
        second.set("a", vec![begun(0, 0)], at(800));
        let after = second.posters(at(800));
        let fire = after.alerts.iter().filter(|(_, it)| it.ends_at.is_none()).count();
        assert_eq!((fire, after.summary.is_none(), after.over.len()), (1, true, 1));
    }

    #[test]
    fn of_those_that_only_the_summary_told_nobody_is_told_that_they_ended() {
        let mut board = board();
        board.set("a", (0..4).map(|n| begun(n, 0)).collect(), at(0));
        board.set("a", (0..3).map(|n| begun(n, 0)).collect(), at(60));
        assert_eq!(names(&board.posters(at(60))), (0, 3, 0));
    }
}
