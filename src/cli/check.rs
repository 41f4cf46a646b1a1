//! `grpc-hygiene check`: judges once and prints a table, or JSON.

use std::process::ExitCode;

use comfy_table::{Table, presets::NOTHING};
use serde_json::{Value, json};

use super::{
    judge::{Judged, judge},
    remarks,
    rows::rows,
};
use crate::{
    args::{CheckArgs, Output},
    decide::{Case, Decision, Finding, Rung, Verdict, keepalive::Declaration, status::figures},
};

/// Nobody who could be judged breaks a policy.
const CLEAN: u8 = 0;
/// Somebody breaks a policy.
const VIOLATIONS: u8 = 1;
/// Nothing could be judged.
const UNKNOWN: u8 = 2;

/// Judges and prints.
///
/// # Errors
/// See [`judge`].
pub async fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let CheckArgs { source, output } = args;
    let judged = judge(source).await?;
    match output {
        Output::Table => print!("{}", text(&judged)),
        Output::Json => println!(
            "{}",
            serde_json::to_string_pretty(&json!({"policies": judged.iter().map(object).collect::<Vec<_>>()}))?
        ),
    }
    Ok(ExitCode::from(exit(&judged)))
}

fn exit(judged: &[Judged]) -> u8 {
    let verdicts = || judged.iter().flat_map(|it| &it.findings).map(|it| &it.verdict);
    if verdicts().any(|it| matches!(it, Verdict::Growing(_))) {
        VIOLATIONS
    } else if verdicts().any(|it| *it == Verdict::Healthy) {
        CLEAN
    } else {
        UNKNOWN
    }
}

fn text(judged: &[Judged]) -> String {
    let mut text = String::new();
    for it in judged {
        let mode = format!("{:?}", it.policy.mode);
        text += &format!("policy {} ({mode}), window {}\n\n", it.key, crate::api::print_duration(it.policy.window));
        text += &table(&it.findings);
        text += &details(&it.findings, &it.plan.cases);
        text += &remarks::of_all(&it.policy, &it.findings);
        text += "\n";
    }
    text
}

fn table(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "no running pod matches\n".to_owned();
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "POD",
        "CONTAINER",
        "VERDICT",
        "SURE",
        "CONNECTIONS",
        "CALLS/CONN",
        "MEMORY LIMIT IN",
    ]);
    for finding in findings {
        table.add_row(row(finding));
    }
    rows(&table)
}

fn row(finding: &Finding) -> [String; 7] {
    let figures = figures(&finding.evidence);
    let number = |it: Option<f64>| it.map_or_else(|| "-".to_owned(), |it| format!("{it}"));
    let (verdict, sure) = match &finding.verdict {
        Verdict::Healthy => ("Healthy".to_owned(), "-".to_owned()),
        Verdict::Growing(growth) => {
            (growth.diagnosis.name().to_owned(), format!("{:.3} %", growth.confidence.percent()))
        }
        Verdict::Inconclusive(why) => (format!("Inconclusive: {}", why.reason()), "-".to_owned()),
    };
    [
        name(finding),
        finding.target.subject.container.clone(),
        verdict,
        sure,
        number(figures.open_connections),
        number(figures.calls_per_connection),
        figures.time_to_limit.unwrap_or_else(|| "-".to_owned()),
    ]
}

fn name(finding: &Finding) -> String {
    let subject = &finding.target.subject;
    format!("{}/{}", subject.namespace, subject.pod)
}

/// The sentences, below the table because they are longer than a column: why, what to change, what would be done.
fn details(findings: &[Finding], cases: &[Case]) -> String {
    let mut text = String::new();
    for finding in findings {
        text += &match &finding.verdict {
            Verdict::Healthy => continue,
            Verdict::Inconclusive(why) => format!("\n{}\n  {why}\n", name(finding)),
            Verdict::Growing(growth) => {
                format!("\n{}\n  {}\n  advice: {}\n", name(finding), growth.message, growth.diagnosis.advice())
            }
        };
        for case in cases.iter().filter(|it| it.target.subject == finding.target.subject) {
            text += &steps(case);
        }
    }
    text
}

fn steps(case: &Case) -> String {
    if case.rungs.is_empty() {
        return "  the policy lists no remediation\n".to_owned();
    }
    case.rungs.iter().map(|it| format!("  {:<8} {}\n", it.remediation.name(), decision(it))).collect()
}

/// A decision in words. `check` itself does nothing: what is to be done is what the operator would do.
pub(super) fn decision(rung: &Rung) -> String {
    match &rung.decision {
        Decision::Do => "the operator would do it now".to_owned(),
        Decision::WouldDo => "would be done if the mode were Enforce, or had earned it".to_owned(),
        Decision::Withheld(because) => format!("withheld: {because} ({})", because.reason()),
    }
}

fn object(judged: &Judged) -> Value {
    let finding = |it: &Finding| {
        let subject = &it.target.subject;
        let (verdict, diagnosis, message) = match &it.verdict {
            Verdict::Healthy => ("Healthy", None, None),
            Verdict::Growing(growth) => ("Growing", Some(growth.diagnosis.name()), Some(growth.message.clone())),
            Verdict::Inconclusive(why) => ("Inconclusive", Some(why.reason()), Some(why.to_string())),
        };
        json!({
            "namespace": subject.namespace, "pod": subject.pod, "container": subject.container,
            "workload": it.target.workload.as_ref().map(crate::decide::Workload::reference),
            "verdict": verdict, "reason": diagnosis, "message": message, "figures": figures(&it.evidence),
            "confidence": match &it.verdict { Verdict::Growing(growth) => Some(growth.confidence.percent()), _ => None },
            "sources": it.sources.iter().map(|(signal, source)| (signal.name(), source)).collect::<std::collections::BTreeMap<_, _>>(),
            "remediations": judged.plan.cases.iter().find(|case| case.target.subject == *subject).map(rungs),
            "keepalive": remarked(&Declaration::of(&judged.policy, &it.target)),
        })
    };
    json!({
        "policy": judged.key, "mode": judged.policy.mode, "keepalive": remarked(&judged.policy.keepalive),
        "containers": judged.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn remarked(declared: &Declaration) -> Vec<Value> {
    declared.remarks().iter().map(remarks::object).collect()
}

fn rungs(case: &Case) -> Vec<Value> {
    let object = |it: &Rung| {
        let (state, because) = match &it.decision {
            Decision::Do => ("Do", None),
            Decision::WouldDo => ("WouldDo", None),
            Decision::Withheld(because) => ("Withheld", Some(because)),
        };
        json!({
            "remediation": it.remediation.name(), "state": state,
            "because": because.map(crate::decide::Because::reason), "message": because.map(ToString::to_string),
        })
    };
    case.rungs.iter().map(object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Evidence, Subject, Target, Why};

    fn finding(pod: &str, verdict: Verdict) -> Finding {
        let text = |it: &str| it.to_owned();
        let target = Target {
            subject: Subject { namespace: text("shop"), pod: text(pod), uid: String::new(), container: text("app") },
            containers_in_pod: 1,
            ready: true,
            ..Target::default()
        };
        Finding { target, verdict, evidence: Evidence::default(), sources: Vec::new() }
    }

    #[test]
    fn the_table_has_a_line_per_container_and_the_reasons_stand_below_it() {
        let findings = [finding("orders-1", Verdict::Healthy), finding("orders-2", Verdict::Inconclusive(Why::NoData))];
        let table = table(&findings);
        assert_eq!(table.lines().count(), 3, "{table}");
        assert!(table.lines().all(|it| it.len() < 100 && !it.ends_with(' ')), "{table}");
        let details = details(&findings, &[]);
        assert!(details.contains("shop/orders-2\n  no source has data"), "{details}");
        assert!(!details.contains("orders-1"), "{details}");
    }
}
