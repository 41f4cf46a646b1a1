//! `grpc-hygiene check`: judges once and prints a table, or JSON.

use std::process::ExitCode;

use comfy_table::{Table, presets::NOTHING};
use serde_json::{Value, json};

use super::judge::{Judged, judge};
use crate::{
    args::{CheckArgs, Output},
    decide::{Case, Decision, Finding, Rung, Verdict, status::figures},
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
        text += &table(it);
        text += &would_do(it);
        text += "\n";
    }
    text
}

fn table(judged: &Judged) -> String {
    if judged.findings.is_empty() {
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
        "WHY",
    ]);
    for finding in &judged.findings {
        table.add_row(row(finding));
    }
    format!("{table}\n")
}

fn row(finding: &Finding) -> [String; 8] {
    let figures = figures(&finding.evidence);
    let number = |it: Option<f64>| it.map_or_else(|| "-".to_owned(), |it| format!("{it}"));
    let (verdict, sure, why) = match &finding.verdict {
        Verdict::Healthy => ("Healthy".to_owned(), String::new(), String::new()),
        Verdict::Growing(growth) => (
            growth.diagnosis.name().to_owned(),
            format!("{:.3} %", growth.confidence.percent()),
            growth.message.clone(),
        ),
        Verdict::Inconclusive(why) => (format!("Inconclusive: {}", why.reason()), String::new(), why.to_string()),
    };
    let subject = &finding.target.subject;
    [
        format!("{}/{}", subject.namespace, subject.pod),
        subject.container.clone(),
        verdict,
        sure,
        number(figures.open_connections),
        number(figures.calls_per_connection),
        figures.time_to_limit.unwrap_or_else(|| "-".to_owned()),
        why,
    ]
}

fn would_do(judged: &Judged) -> String {
    let mut text = String::new();
    for case in &judged.plan.cases {
        let subject = &case.target.subject;
        text += &format!("\n{}/{}: {}\n", subject.namespace, subject.pod, case.growth.diagnosis.advice());
        for rung in &case.rungs {
            text += &format!("  {:<8} {}\n", rung.remediation.name(), decision(rung));
        }
        if case.rungs.is_empty() {
            text += "  the policy lists no remediation\n";
        }
    }
    text
}

/// A decision in words. `check` itself does nothing: what is to be done is what the operator would do.
pub(super) fn decision(rung: &Rung) -> String {
    match &rung.decision {
        Decision::Do => "the operator would do it now".to_owned(),
        Decision::WouldDo => "would be done if the mode were Enforce".to_owned(),
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
        })
    };
    json!({
        "policy": judged.key, "mode": judged.policy.mode,
        "containers": judged.findings.iter().map(finding).collect::<Vec<_>>(),
    })
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
