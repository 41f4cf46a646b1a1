//! `grpc-hygiene explain POD`: every signal, trend, threshold and verdict about one pod, and what holds an action
//! back.

use std::process::ExitCode;

use anyhow::bail;
use comfy_table::{Table, presets::NOTHING};

use super::{
    check::decision,
    judge::{Judged, judge},
    remarks,
    rows::rows,
};
use crate::{
    api::{Autonomy, Demotion, ProfileRecord, Tally, print_duration},
    args::ExplainArgs,
    decide::{
        Case, Finding, Observation, Policy, Reading, Standing, Verdict, WorkloadState,
        approval::{Answer, Approval},
        keepalive::Declaration,
        series::{increase, interval, largest_gap},
        stats::Trend,
        status::{figures, rounded},
    },
    signals::Signal,
};

/// Judges the policies that select the pod and prints what is known about it.
///
/// # Errors
/// No policy selects the pod; or see [`judge`].
pub async fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let ExplainArgs { pod, source } = args;
    let judged = judge(source).await?;
    let mut found = false;
    for it in &judged {
        for (observation, finding) in it.observations.iter().zip(&it.findings) {
            if observation.target.subject.pod == *pod {
                found = true;
                print!("{}", text(it, observation, finding));
            }
        }
    }
    if !found {
        let keys: Vec<&str> = judged.iter().map(|it| it.key.as_str()).collect();
        bail!("no running pod {pod:?} is selected by {}", keys.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(judged: &Judged, observation: &Observation, finding: &Finding) -> String {
    let target = &observation.target;
    let workload = target.workload.as_ref().map_or_else(|| "none".to_owned(), |it| format!("{} {}", it.kind, it.name));
    let mut text = format!(
        "{}/{} (container {})\n  policy    {} ({:?})\n  workload  {workload}\n  revision  {}\n  image     {}\n  age       {}\n\n",
        target.subject.namespace,
        target.subject.pod,
        target.subject.container,
        judged.key,
        judged.policy.mode,
        target.revision.as_deref().unwrap_or("-"),
        target.image.as_deref().unwrap_or("-"),
        target
            .started
            .map_or_else(|| "unknown".to_owned(), |it| seconds(observation.at.as_duration().as_secs_f64() - it)),
    );
    text += &signals(observation);
    text += &trends(finding);
    text += &thresholds(&judged.policy, finding);
    text += &keepalive(&Declaration::of(&judged.policy, target), target.keepalive.is_some());
    text += &verdict(finding);
    for case in judged.plan.cases.iter().filter(|it| it.target.subject == target.subject) {
        text += &format!("  since {:.0}; {}\n", case.since, case.growth.diagnosis.advice());
        if let Some(profile) = &case.profile {
            text += &evidence(profile);
        }
        text += &restraint(case);
        for rung in &case.rungs {
            text += &format!("  {:<8} {}\n", rung.remediation.name(), decision(rung));
        }
        text += &judged.costs.get(&target.subject).map_or_else(String::new, |it| format!("  restarts {it}\n"));
        text += &target.workload.as_ref().and_then(|it| judged.workloads.get(it)).map_or_else(String::new, delivered);
    }
    text += &judged.autonomy.as_ref().map_or_else(String::new, earned);
    text + "\n"
}

/// What a restart waits for besides what its own line says.
fn restraint(case: &Case) -> String {
    let mut text = String::new();
    if let Some(Approval { digest, answer: Answer::Given { until }, .. }) = &case.approvals.own {
        text += &format!("  approved ({digest}) until {until:.0}\n");
    }
    if let Some(load) = &case.evidence.load {
        let (least, (hour, minute)) = load.least();
        text += &format!("  fewest calls are usual at {hour:02}:{minute:02} UTC, {} a second\n", rounded(least));
    }
    text
}

/// What the policy has earned.
fn earned(it: &Autonomy) -> String {
    let Autonomy { stage, missing, cases, restarts, last_demotion, .. } = it;
    let tally = |it: &Tally| {
        format!("{} right, {} wrong, {} unknown, at least {} %", it.right, it.wrong, it.unknown, it.lower_bound)
    };
    let mut text = format!(
        "Trust: stage {}\n  cases     {}\n  restarts  {}\n  missing   {missing}\n",
        stage.name(),
        tally(cases),
        tally(restarts)
    );
    if let Some(Demotion { at, from, because }) = last_demotion {
        text += &format!("  lost {} at {:.0}: {because}\n", from.name(), at.0);
    }
    text
}

/// Who may take a rollout back.
fn delivered(standing: &Standing) -> String {
    match standing {
        Standing::Known(WorkloadState { gitops: Some(by), .. }) => format!(
            "  {by} delivers the workload and may take a rollout back, which restarts its pods once more; Auto evicts where it can\n"
        ),
        Standing::Known(_) | Standing::Unknown(_) => String::new(),
    }
}

/// What the newest profile says.
fn evidence(profile: &ProfileRecord) -> String {
    let mut text = format!("  profile of {:.0}", profile.taken_at.0);
    if let (Some(file), Some(by)) = (&profile.file, &profile.stored_by) {
        text += &format!(": {file} in operator pod {by}");
    }
    text += "\n";
    if let Some(problem) = &profile.problem {
        text += &format!("    {problem}\n");
    }
    for site in &profile.sites {
        text += &format!(
            "    {} {} holds {} channels, {:.0} KiB\n",
            site.function,
            site.line,
            site.channels,
            site.bytes / 1_024.0
        );
    }
    text
}

fn seconds(seconds: f64) -> String {
    print_duration(std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn signals(observation: &Observation) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "SIGNAL",
        "SOURCE",
        "SAMPLES",
        "EVERY",
        "LARGEST GAP",
        "FIRST",
        "LAST",
        "NOTE",
    ]);
    for (signal, reading) in &observation.signals {
        let row: Vec<String> = match reading {
            Reading::Absent => vec![
                signal.name().into(),
                "-".into(),
                "0".into(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                "no source has data".into(),
            ],
            Reading::Unusable(why) => vec![
                signal.name().into(),
                "-".into(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                why.to_string(),
            ],
            Reading::Usable(measured) => {
                let samples = &measured.samples;
                let value =
                    |it: Option<&crate::decide::Sample>| it.map_or_else(String::new, |it| format!("{}", it.value));
                let mut notes: Vec<&str> = Vec::new();
                if measured.witnessed {
                    notes.push("witnessed");
                }
                if measured.direction_blind {
                    notes.push("counts inbound, too");
                }
                let counted = signal.is_counter().then(|| format!("+{}", increase(samples)));
                vec![
                    signal.name().into(),
                    measured.source.clone(),
                    samples.len().to_string(),
                    interval(samples).map_or_else(String::new, seconds),
                    seconds(largest_gap(samples)),
                    value(samples.first()),
                    counted.unwrap_or_else(|| value(samples.last())),
                    notes.join(", "),
                ]
            }
        };
        table.add_row(row);
    }
    rows(&table) + "\n"
}

fn trends(finding: &Finding) -> String {
    let evidence = &finding.evidence;
    let all = [
        (Signal::OpenConnections, &evidence.connections),
        (Signal::Memory, &evidence.memory_trend),
        (Signal::Goroutines, &evidence.goroutine_trend),
    ];
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["TREND", "PER HOUR", "95 % INTERVAL", "Z", "P", "POINTS"]);
    let mut any = false;
    for (signal, trend) in all {
        let Some(Trend { slope, z, p_value }) = trend else { continue };
        any = true;
        let hourly = |it: f64| format!("{:.0}", it * 3_600.0);
        let interval = format!("{} to {}", hourly(slope.lower), hourly(slope.upper));
        table.add_row([
            signal.name().to_owned(),
            hourly(slope.per_second),
            interval,
            format!("{z:.1}"),
            format!("{p_value:.1e}"),
            slope.n.to_string(),
        ]);
    }
    if any { rows(&table) + "\n" } else { String::new() }
}

fn thresholds(policy: &Policy, finding: &Finding) -> String {
    let figures = figures(&finding.evidence);
    let number = |it: Option<f64>| it.map_or_else(|| "unknown".to_owned(), |it| format!("{it}"));
    let mut text = format!(
        "  calls per connection  {} (a habit below {})\n  bytes per connection  {}\n  memory limit reached  {} (matters within {})\n",
        number(figures.calls_per_connection),
        policy.calls_per_connection,
        number(figures.bytes_per_connection),
        figures.time_to_limit.as_deref().unwrap_or("not foreseen"),
        print_duration(policy.time_to_memory_limit),
    );
    let witnesses = &finding.evidence.witnesses;
    text += &format!(
        "  witnesses             {}\n\n",
        if witnesses.is_empty() { "none".to_owned() } else { witnesses.join(", ") }
    );
    text
}

fn keepalive(declared: &Declaration, annotated: bool) -> String {
    if declared.is_empty() {
        return "Keepalive: not declared\n\n".to_owned();
    }
    let by = if annotated { "the pod's annotations, and the policy where they say nothing" } else { "the policy" };
    format!("Keepalive, as declared by {by}: {}\n{}\n", declared.both(), remarks::text(&declared.remarks()))
}

fn verdict(finding: &Finding) -> String {
    match &finding.verdict {
        Verdict::Healthy => "Verdict: Healthy\n".to_owned(),
        Verdict::Inconclusive(why) => format!("Verdict: Inconclusive ({}): {why}\n", why.reason()),
        Verdict::Growing(growth) => {
            format!("Verdict: {}, {:.3} % sure: {}\n", growth.diagnosis, growth.confidence.percent(), growth.message)
        }
    }
}
