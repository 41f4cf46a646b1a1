//! From the bytes of an answer to a list of alerting rules. What is not told stays untold; who fires is kept by namespace
//! alone. A warning spoils the whole answer.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;

use super::{Envelope, failure, open};
use crate::{
    decide::{
        FailureKind, QueryFailure,
        stand_down::{AlertingRule, Firing},
    },
    io::http::printable,
};

/// Decodes the rules of these names.
/// The format: <https://prometheus.io/docs/prometheus/latest/querying/api/#rules>.
///
/// # Errors
/// The body is not JSON, is an error of the API's, holds no rules, or may not be whole.
pub fn rules(body: &[u8], names: &BTreeSet<String>) -> Result<Vec<AlertingRule>, QueryFailure> {
    let Envelope { data: Rules { groups }, warnings } = open(body)?;
    if let Some(warning) = warnings.first() {
        return Err(failure(FailureKind::Unexpected, &format!("the answer may be partial: {warning}")));
    }
    let rules = groups.into_iter().flat_map(|it| it.rules);
    Ok(rules.filter(|it| it.kind == "alerting" && names.contains(&it.name)).map(Rule::told).collect())
}

/// `data`.
#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    state: String,
    health: String,
    last_evaluation: String,
    alerts: Option<Vec<Alert>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Alert {
    labels: BTreeMap<String, String>,
    state: String,
    active_at: String,
}

impl Rule {
    fn told(self) -> AlertingRule {
        let fires = |it: &Alert| it.state == "firing";
        let firing = |it: Alert| Firing { namespace: it.labels.get("namespace").cloned(), since: time(&it.active_at) };
        AlertingRule {
            name: self.name,
            state: printable(&self.state),
            health: printable(&self.health),
            evaluated: time(&self.last_evaluation),
            firing: self.alerts.unwrap_or_default().into_iter().filter(fires).map(firing).collect(),
        }
    }
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(body: &str) -> Result<Vec<AlertingRule>, QueryFailure> {
        rules(body.as_bytes(), &BTreeSet::from(["NodeDown".to_owned(), "Quiet".to_owned()]))
    }

    /// As Prometheus 3 answers, with a recording rule that has the name of an alert.
    const ANSWER: &str = r#"{"status":"success","data":{"groups":[{"name":"g","file":"f","interval":15,"rules":[
        {"state":"firing","name":"NodeDown","query":"up == 0","duration":0,"labels":{},"annotations":{},"alerts":[
            {"labels":{"alertname":"NodeDown","namespace":"shop"},"annotations":{},"state":"firing","activeAt":"2027-01-15T08:50:00.5Z","value":"1e+00"},
            {"labels":{"alertname":"NodeDown"},"annotations":{},"state":"pending","activeAt":"2027-01-15T08:59:00Z","value":"1e+00"}],
         "health":"ok","evaluationTime":0.0003,"lastEvaluation":"2027-01-15T10:59:45.123456789+02:00","type":"alerting"},
        {"name":"Quiet","query":"1","health":"ok","evaluationTime":0.0003,"lastEvaluation":"2027-01-15T08:59:45Z","type":"recording"},
        {"state":"inactive","name":"Other","query":"1","alerts":[],"health":"ok","lastEvaluation":"2027-01-15T08:59:45Z","type":"alerting"}]}]}}"#;

    #[test]
    fn of_the_rules_those_that_were_asked_for_are_kept_with_who_fires() {
        let rules = told(ANSWER).expect("rules");
        let [rule] = rules.as_slice() else { panic!("{rules:?}") };
        assert_eq!((rule.name.as_str(), rule.state.as_str(), rule.health.as_str()), ("NodeDown", "firing", "ok"));
        assert_eq!(rule.evaluated, "2027-01-15T08:59:45.123456789Z".parse().ok());
        let since = "2027-01-15T08:50:00.5Z".parse().ok();
        assert_eq!(rule.firing, [Firing { namespace: Some("shop".into()), since }]);
    }

    #[test]
    fn an_answer_that_may_not_be_whole_or_is_none_is_a_failure() {
        let partial =
            ANSWER.replacen(r#""status":"success""#, r#""status":"success","warnings":["a store is away"]"#, 1);
        assert!(told(&partial).is_err_and(|it| it.message.contains("a store is away")));
        for body in ["", "<html>", r#"{"status":"success","data":{}}"#, r#"{"status":"error","error":"no"}"#] {
            assert!(told(body).is_err(), "{body}");
        }
        assert_eq!(
            told(r#"{"status":"success","data":{"groups":[]}}"#),
            Ok(vec![]),
            "what that means is decided elsewhere"
        );
    }

    #[test]
    fn what_is_not_told_stays_untold() {
        let bare = r#"{"status":"success","data":{"groups":[{"rules":[{"type":"alerting","name":"NodeDown"}]}]}}"#;
        let rule = AlertingRule { name: "NodeDown".into(), ..AlertingRule::default() };
        assert_eq!(told(bare), Ok(vec![rule]));
    }
}
