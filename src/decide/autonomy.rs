//! Trust that is earned: what a policy with `mode: Auto` may do now, by how often it was right here.
//!
//! A finding is a prediction: that it goes on. Each that would alert, and each restart that would be made, is a case; the
//! data that come later close it (`cases`). How many of what is known must be right for the next stage, and what takes a
//! stage away again, is in `demands`. Nothing here acts, and nothing here is asked for permission: a plan is made for the
//! stage that the last evaluation left.
//!
//! Absence is strictest: no record, one of other rules, or one from the future is no record.

mod cases;
mod demands;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};

use crate::{
    api::{Autonomy, GrpcClientPolicyStatus, Mode, PolicyRules, RestartRecord, Stage},
    decide::{Finding, Plan, Policy},
};

/// The clocks of two operators may differ by so much before a record is one of the future.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// What an evaluation found, and what follows from it for the record.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The verdicts.
    pub findings: &'a [Finding],
    /// What is done and what would be done.
    pub plan: &'a Plan,
    /// What came of restarts.
    pub restarts: &'a [RestartRecord],
    /// The hash of the policy's rules.
    pub fingerprint: &'a str,
    /// When.
    pub now: Timestamp,
}

/// A hash of what a record is about: whom the policy selects, what it finds, and what follows. Its mode, its interval, and
/// whether it is suspended are not. It is the same in every build (FNV-1a).
#[must_use]
pub fn fingerprint(rules: &PolicyRules, namespaces: Option<&LabelSelector>) -> String {
    let PolicyRules { selector, all_pods, window, warm_up, sources, thresholds, remediation, .. } = rules;
    let about = (selector, all_pods, window, warm_up, sources, thresholds, remediation, namespaces);
    // What is read from JSON can be written as JSON.
    let text = serde_json::to_string(&about).unwrap_or_default();
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, it| (hash ^ u64::from(it)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

/// The policy at the stage that it has earned.
#[must_use]
pub fn entrusted(policy: Policy, fingerprint: &str, status: Option<&GrpcClientPolicyStatus>, now: Timestamp) -> Policy {
    if policy.mode != Mode::Auto {
        return policy;
    }
    let record = believed(status.and_then(|it| it.autonomy.as_ref()), fingerprint, now);
    Policy { stage: record.map_or(Stage::DryRun, |it| it.stage), ..policy }
}

/// The record after an evaluation. `None`: the policy is not one that earns anything.
#[must_use]
pub fn after(before: Option<&Autonomy>, seen: &Seen<'_>) -> Option<Autonomy> {
    if seen.policy.mode != Mode::Auto {
        return None;
    }
    let begun =
        || Autonomy { since: Some(Time(seen.now)), fingerprint: seen.fingerprint.to_owned(), ..Autonomy::default() };
    let mut record = believed(before, seen.fingerprint, seen.now).cloned().unwrap_or_else(begun);
    cases::settle(&mut record, seen);
    cases::begin(&mut record, seen);
    demands::judge(&mut record, seen);
    Some(record)
}

/// The record, if it is about these rules and speaks of the past alone.
fn believed<'a>(record: Option<&'a Autonomy>, fingerprint: &str, now: Timestamp) -> Option<&'a Autonomy> {
    let record = record?;
    let is_past = |it: &Time| it.0.duration_since(now) <= SKEW;
    let times = record.last_demotion.iter().map(|it| &it.at);
    let times = times.chain(record.open.iter().map(|it| &it.since)).chain(record.closed.iter().map(|it| &it.at));
    let is_about_this = record.fingerprint == fingerprint && record.since.as_ref().is_some_and(is_past);
    (is_about_this && times.into_iter().all(is_past)).then_some(record)
}

#[cfg(test)]
mod tests;
