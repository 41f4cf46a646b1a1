//! Whether a policy has been without answers for too long: nobody is found then, and silence is not health. Pure; who
//! hears of it is `io::notify`'s.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::api::{GrpcClientPolicyStatus, names::conditions::DATA_SOURCE_REACHABLE};

/// Since when the metrics backend has not answered this policy, by its status; `None` while it answers, or for less than
/// `patience`.
#[must_use]
pub fn blind_since(status: &GrpcClientPolicyStatus, patience: Duration, now: Timestamp) -> Option<Timestamp> {
    let condition = status.conditions.iter().find(|it| it.type_ == DATA_SOURCE_REACHABLE && it.status == "False")?;
    let since = condition.last_transition_time.0;
    let patience = SignedDuration::try_from(patience).unwrap_or(SignedDuration::MAX);
    (now.duration_since(since) >= patience).then_some(since)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn blind(state: &str, now: i64) -> Option<Timestamp> {
        let condition = Condition {
            type_: DATA_SOURCE_REACHABLE.to_owned(),
            status: state.to_owned(),
            last_transition_time: Time(at(0)),
            message: String::new(),
            observed_generation: None,
            reason: "QueryFailed".to_owned(),
        };
        let status = GrpcClientPolicyStatus { conditions: vec![condition], ..GrpcClientPolicyStatus::default() };
        blind_since(&status, Duration::from_secs(300), at(now))
    }

    #[test]
    fn a_backend_that_has_not_answered_for_five_minutes_leaves_the_policy_blind_since_then() {
        assert_eq!(blind("False", 299), None);
        assert_eq!(blind("False", 300), Some(at(0)));
    }

    #[test]
    fn a_backend_that_answers_and_one_that_was_never_asked_leave_nobody_blind() {
        assert_eq!(blind("True", 9_000), None);
        assert_eq!(blind("Unknown", 9_000), None);
        assert_eq!(blind_since(&GrpcClientPolicyStatus::default(), Duration::ZERO, at(0)), None);
    }
}
