//! What counts as a yes. Whom a digest names is tested with the plans.

use super::*;

fn now() -> Timestamp {
    "2027-01-15T09:00:00Z".parse().expect("a time")
}

fn answer(value: &str) -> Answer {
    let annotations = [("approved.grpc-hygiene.io/3fa1c0de12", value), ("grpc-hygiene.io/requestedAt", "now")];
    let annotations = annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let approvals = Approvals::of(&annotations);
    assert_eq!(approvals.digests().collect::<Vec<_>>(), ["3fa1c0de12"]);
    assert_eq!(approvals.answer("0000000000", now()), Answer::None);
    approvals.answer("3fa1c0de12", now())
}

#[test]
fn a_yes_is_a_time_that_lies_ahead_by_a_day_at_most() {
    let at = |text: &str| text.parse().expect("a time");
    assert_eq!(answer("2027-01-15T09:00:01Z"), Answer::Given { until: at("2027-01-15T09:00:01Z") });
    assert_eq!(answer("2027-01-16T10:00:00+01:00"), Answer::Given { until: at("2027-01-16T09:00:00Z") });
    assert_eq!(answer("2027-01-15T09:00:00Z"), Answer::Expired { at: now() });
    assert_eq!(answer("2027-01-16T09:02:00Z"), Answer::TooLong { until: at("2027-01-16T09:02:00Z") });
    for text in ["", "yes", "2027-01-16", "2027-01-15T12:00:00"] {
        assert_eq!(answer(text), Answer::Unreadable, "{text:?}");
    }
}

#[test]
fn what_does_not_count_says_why_and_how_to_approve() {
    let said = |answer| {
        let too_late = Some(now());
        Approval { policy: "shop/clients".into(), digest: "3fa1c0de12".into(), too_late, answer }.to_string()
    };
    let how = "a person has to approve it: grpc-hygiene approve shop/clients 3fa1c0de12; after 2027-01-15T09:00:00Z it \
               would come too late";
    assert_eq!(said(Answer::None), how);
    assert_eq!(said(Answer::Expired { at: now() }), format!("the approval expired at 2027-01-15T09:00:00Z; {how}"));
    assert_eq!(said(Answer::Unreadable), format!("the approval on the policy is no time (RFC 3339); {how}"));
    assert!(said(Answer::TooLong { until: now() }).contains("is longer than 24h"));
}

#[test]
fn of_several_approvals_the_first_to_end_ends_the_permission() {
    let given = |policy: &str, second| {
        let until = Timestamp::from_second(second).expect("a time");
        let (policy, digest) = (policy.to_owned(), "3fa1c0de12".to_owned());
        Approval { policy, digest, too_late: None, answer: Answer::Given { until } }
    };
    let asked = Asked { own: Some(given("a", 9)), others: vec![given("b", 7)] };
    assert_eq!(asked.given().map(|it| it.map(Timestamp::as_second)), Ok(Some(7)));
    assert_eq!(Asked::default().given(), Ok(None));
    let waits = Asked { others: vec![Approval { answer: Answer::None, ..given("b", 7) }], ..asked };
    assert!(waits.given().is_err_and(|it| matches!(it, Because::Overlap { .. }) && it.reason() == "AwaitingApproval"));
}
