//! What the operator says about itself, by a way that does not lead through the metrics backend: that it is blind, because
//! the backend does not answer, and, where the administrator wants to hear it, that it is alive.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::alertmanager::{Alert, Letterhead, span};
use crate::decide::RESOLVED_KEPT;

/// So many policies are named.
const NAMED: usize = 5;

/// Which policies get no answers, each since when.
#[derive(Debug, Default)]
pub(super) struct Blindness {
    policies: BTreeMap<String, Timestamp>,
    over: Option<Blind>,
}

/// That policies get no answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blind {
    since: Timestamp,
    policies: Vec<String>,
    ended: Option<Timestamp>,
}

impl Blindness {
    /// Since when a policy gets no answers, and whether that is news to a receiver: that it is the first or the last.
    pub(super) fn set(&mut self, policy: &str, since: Option<Timestamp>, now: Timestamp) -> bool {
        let before = self.fires();
        match since {
            Some(since) => self.policies.insert(policy.to_owned(), since),
            None => self.policies.remove(policy),
        };
        match (before, self.policies.is_empty()) {
            (Some(before), true) => {
                self.over = Some(Blind { ended: Some(now), ..before });
                true
            }
            (None, false) => {
                self.over = None;
                true
            }
            _ => false,
        }
    }

    /// What is to be said: that it is so, or, for a while, that it was.
    pub(super) fn poster(&self, now: Timestamp) -> Option<Blind> {
        let is_worth_telling = |it: &Blind| it.ended.is_some_and(|ended| now.duration_since(ended) < RESOLVED_KEPT);
        self.fires().or_else(|| self.over.clone().filter(is_worth_telling))
    }

    fn fires(&self) -> Option<Blind> {
        let since = self.policies.values().min().copied()?;
        Some(Blind { since, policies: self.policies.keys().cloned().collect(), ended: None })
    }
}

impl Letterhead {
    /// What the operator says about itself.
    pub(super) fn own(&self, blind: Option<&Blind>, now: Timestamp) -> Vec<Alert> {
        let watchdog = self.watchdog.then(|| self.alive(now));
        watchdog.into_iter().chain(blind.map(|it| self.is_blind(it, now))).collect()
    }

    fn is_blind(&self, blind: &Blind, now: Timestamp) -> Alert {
        let Blind { since, policies, ended } = blind;
        let named = policies.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = policies.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let description = format!(
            "Since {since:.0} the metrics backend has not answered for {named}{more}. Nobody new is found, nobody is \
             restarted, and what fires goes on. The condition DataSourceReachable of the policies says why."
        );
        let annotations = [
            ("summary", "The metrics backend does not answer: gRPC clients are not watched".to_owned()),
            ("description", description),
            ("runbook_url", format!("{}/operator.md#grpchygieneblind", self.runbook_url)),
        ];
        let (starts_at, ends_at) = span(*since, *ended, now);
        Alert {
            labels: self.labels("GrpcHygieneBlind", "warning"),
            annotations: annotations.into(),
            starts_at,
            ends_at,
        }
    }

    fn alive(&self, now: Timestamp) -> Alert {
        let annotations = [
            ("summary", "The operator leads and can send alerts".to_owned()),
            ("description", "It always fires. Send it to what raises the alarm when it is missing.".to_owned()),
            ("runbook_url", format!("{}/operator.md#grpchygienewatchdog", self.runbook_url)),
        ];
        // Alertmanager keeps the earliest time at which an alert that still fires is said to have begun.
        let (starts_at, ends_at) = span(now, None, now);
        Alert {
            labels: self.labels("GrpcHygieneWatchdog", "none"),
            annotations: annotations.into(),
            starts_at,
            ends_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::at, *};

    fn letterhead(watchdog: bool) -> Letterhead {
        Letterhead { runbook_url: "https://runbooks".into(), cluster: Some("east".into()), watchdog }
    }

    #[test]
    fn the_first_policy_without_answers_and_the_last_to_get_them_again_are_news() {
        let mut blindness = Blindness::default();
        assert!(!blindness.set("a", None, at(0)));
        assert!(blindness.set("a", Some(at(0)), at(300)));
        assert!(!blindness.set("b", Some(at(10)), at(310)));
        assert!(!blindness.set("a", None, at(400)));
        assert!(blindness.set("b", None, at(410)));
        assert_eq!(blindness.poster(at(410)).and_then(|it| it.ended), Some(at(410)), "its end is told,");
        assert_eq!(blindness.poster(at(410 + 900)), None, "for a while");
        assert!(blindness.set("a", Some(at(5_000)), at(5_300)));
        assert_eq!(blindness.poster(at(5_300)).map(|it| (it.since, it.ended)), Some((at(5_000), None)));
    }

    #[test]
    fn it_is_one_alert_for_all_policies_and_names_some() {
        let mut blindness = Blindness::default();
        for n in 0..7_i32 {
            blindness.set(&format!("shop/p{n}"), Some(at(i64::from(n))), at(600));
        }
        let blind = blindness.poster(at(600));
        let [alert] = letterhead(false).own(blind.as_ref(), at(600)).try_into().ok().expect("one");
        assert_eq!(alert.labels["alertname"], "GrpcHygieneBlind");
        assert_eq!((alert.labels["severity"].as_str(), alert.labels["cluster"].as_str()), ("warning", "east"));
        let said = &alert.annotations["description"];
        assert!(said.contains("for shop/p0, shop/p1, shop/p2, shop/p3, shop/p4 and 2 more."), "{said}");
        assert_eq!(
            (alert.starts_at.as_str(), alert.ends_at.as_str()),
            ("2027-01-15T08:00:00.000Z", "2027-01-15T08:14:00.000Z")
        );
    }

    #[test]
    fn a_watchdog_always_fires_where_it_is_wanted() {
        assert!(letterhead(false).own(None, at(0)).is_empty());
        let [alert] = letterhead(true).own(None, at(0)).try_into().ok().expect("one");
        assert_eq!(
            (alert.labels["alertname"].as_str(), alert.labels["severity"].as_str()),
            ("GrpcHygieneWatchdog", "none")
        );
        assert_eq!(alert.ends_at, "2027-01-15T08:04:00.000Z");
    }
}
