//! What must be shown for the next stage, and what takes a stage away.
//!
//! Precision is the lower bound of Wilson's interval: seven of seven are as good as fourteen of fifteen, and one of one is
//! nothing. A stage is taken away when the upper bound no longer reaches what it was given for, or when a restart was
//! useless.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Seen;
use crate::{
    api::{Autonomy, CaseKind, Demotion, Effect, RestartRecord, Stage, Tally},
    decide::stats::{wilson, z_of_upper_tail},
};

/// What must be shown to reach a stage.
struct Demand {
    stage: Stage,
    /// Cases whose outcome is known, and the share of them that is right at the least.
    cases: (u32, f64),
    /// The same of restarts.
    restarts: (u32, f64),
    /// The bounds are missed with this probability.
    tail: f64,
    /// The time at the stage before.
    days: i64,
}

/// Seven cases that were all right show 80 %; of fourteen one may have been wrong.
const ALERT: Demand = Demand { stage: Stage::Alert, cases: (7, 0.80), restarts: (0, 0.0), tail: 0.10, days: 1 };
/// Sixteen cases show 85 %, eleven restarts 80 %, more surely.
const RESTART: Demand = Demand { stage: Stage::Restart, cases: (16, 0.85), restarts: (11, 0.80), tail: 0.05, days: 7 };
/// Each demotion doubles what must be shown, no more often than this;
const DOUBLINGS: u32 = 2;
/// and is forgiven after so long.
const FORGIVEN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Counts the record, takes a stage away or gives one, and says what is missing.
pub(super) fn judge(record: &mut Autonomy, seen: &Seen<'_>) {
    let now = seen.now;
    count(record, now);
    if let Some(because) = failed(record, seen) {
        demote(record, because, now);
        count(record, now);
    }
    record.missing = match next(record.stage) {
        None => "nothing: this is the last stage".to_owned(),
        Some(demand) => {
            let missing = missing(record, &demand, seen);
            if missing.is_empty() {
                (record.stage, record.since) = (demand.stage, Some(Time(now)));
                count(record, now);
                let next = next(record.stage).map(|it| self::missing(record, &it, seen));
                next.unwrap_or_else(|| "nothing: this is the last stage".to_owned())
            } else {
                missing
            }
        }
    };
}

const fn next(stage: Stage) -> Option<Demand> {
    match stage {
        Stage::DryRun => Some(ALERT),
        Stage::Alert => Some(RESTART),
        Stage::Restart => None,
    }
}

/// What the present stage was given for, and the stage below it.
const fn given_for(stage: Stage) -> Option<(Demand, Stage)> {
    match stage {
        Stage::DryRun => None,
        Stage::Alert => Some((ALERT, Stage::DryRun)),
        Stage::Restart => Some((RESTART, Stage::Alert)),
    }
}

/// The demands of the next stage decide how surely the bound is told.
fn count(record: &mut Autonomy, now: Timestamp) {
    if record.last_demotion.as_ref().is_some_and(|it| now.duration_since(it.at.0) >= FORGIVEN) {
        record.demotions = 0;
    }
    let tail = next(record.stage).map_or(RESTART.tail, |it| it.tail);
    record.cases = tally(record, CaseKind::Alert, tail);
    record.restarts = tally(record, CaseKind::Restart, tail);
}

/// What was shown before a stage was lost no longer counts.
fn tally(record: &Autonomy, kind: CaseKind, tail: f64) -> Tally {
    let counts = |at: Timestamp| record.last_demotion.as_ref().is_none_or(|it| at > it.at.0);
    let outcomes =
        record.closed.iter().filter(|it| it.kind == kind && counts(it.at.0)).map(|it| it.outcome.is_right(kind));
    let mut tally = Tally::default();
    for outcome in outcomes {
        match outcome {
            Some(true) => tally.right += 1,
            Some(false) => tally.wrong += 1,
            None => tally.unknown += 1,
        }
    }
    tally.lower_bound = (bounds(&tally, tail).0 * 1_000.0).floor() / 10.0;
    tally
}

fn bounds(tally: &Tally, tail: f64) -> (f64, f64) {
    wilson(tally.right, tally.right + tally.wrong, z_of_upper_tail(tail))
}

/// Why the present stage is to be taken away.
fn failed(record: &Autonomy, seen: &Seen<'_>) -> Option<String> {
    let (demand, _) = given_for(record.stage)?;
    if let Some(restart) = seen.restarts.iter().find(|it| is_useless_since(it, record)) {
        let RestartRecord { namespace, workload, at, message, .. } = restart;
        let message = message.as_deref().unwrap_or_default();
        let who = format!("{} {namespace}/{}", workload.kind, workload.name);
        return Some(format!("the restart of {who} at {:.0} was useless: {message}", at.0));
    }
    let contradicts = |tally: &Tally, share: f64| bounds(tally, demand.tail).1 < share;
    let said = |tally: &Tally, what: &str| {
        let Tally { right, wrong, .. } = tally;
        format!("{right} of {} {what} were right, which is too few", right + wrong)
    };
    if contradicts(&record.cases, demand.cases.1) {
        return Some(said(&record.cases, "cases"));
    }
    contradicts(&record.restarts, demand.restarts.1).then(|| said(&record.restarts, "restarts"))
}

/// Useless restarts that became known at this stage: each takes away one.
fn is_useless_since(restart: &RestartRecord, record: &Autonomy) -> bool {
    let known = restart.effect_at.as_ref().zip(record.since.as_ref()).is_some_and(|(known, since)| known.0 > since.0);
    restart.effect == Effect::Useless && known
}

fn demote(record: &mut Autonomy, because: String, now: Timestamp) {
    let Some((_, below)) = given_for(record.stage) else { return };
    record.last_demotion = Some(Demotion { at: Time(now), from: record.stage, because });
    record.demotions = record.demotions.saturating_add(1);
    (record.stage, record.since) = (below, Some(Time(now)));
}

/// What is missing to the next stage, or nothing. Times are absolute, so that the status does not change for nothing else.
fn missing(record: &Autonomy, demand: &Demand, seen: &Seen<'_>) -> String {
    let listed = match demand.stage {
        Stage::Restart => seen.policy.restart.is_some(),
        Stage::DryRun | Stage::Alert => seen.policy.alert.is_some(),
    };
    let stage = demand.stage.name();
    if !listed {
        return format!("to {stage}: the policy lists no remediation.{}", stage.to_lowercase());
    }
    let factor = 1_u32 << record.demotions.min(DOUBLINGS);
    let mut missing = Vec::new();
    for (tally, (least, share), what) in
        [(&record.cases, demand.cases, "cases"), (&record.restarts, demand.restarts, "restarts")]
    {
        let (decided, least) = (tally.right + tally.wrong, least * factor);
        if decided < least {
            missing.push(format!("{decided} of {least} {what} whose outcome is known"));
        }
        if tally.wrong > 0 && bounds(tally, demand.tail).0 < share {
            missing.push(format!(
                "a lower bound of {:.0} % of {what}, it is {:.0} %",
                share * 100.0,
                tally.lower_bound
            ));
        }
    }
    let since = record.since.as_ref().map_or(seen.now, |it| it.0);
    let from = since.saturating_add(SignedDuration::from_hours(24 * demand.days * i64::from(factor)));
    let from = from.unwrap_or(Timestamp::MAX);
    if seen.now < from {
        missing.push(format!("not before {from:.0}"));
    }
    if missing.is_empty() { String::new() } else { format!("to {stage}: {}", missing.join("; ")) }
}
