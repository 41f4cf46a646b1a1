//! What was said goes on being said, and what is new is confirmed first.

use super::*;
use crate::api::SiteRecord;

#[test]
fn an_alert_begins_when_two_looks_agree_and_goes_on_when_one_of_three_still_sees_it() {
    let alerts = |looks: &str, confirmed: bool| {
        let mut world = world();
        world.history.alerts.clear();
        for past in world.history.past.values_mut() {
            (past.offender.looks, past.offender.confirmed) = (looks.into(), confirmed);
        }
        world.plan().cases[0].does(Remediation::Alert)
    };
    assert!(!alerts("", false), "one look is none");
    assert!(alerts("A", false));
    assert!(!alerts("--", false));
    assert!(alerts("--", true), "it was said before");
}

#[test]
fn whoever_cannot_be_judged_now_is_remembered_as_surely_as_he_was_found() {
    let mut blind = world();
    blind.findings[0].verdict = Verdict::Inconclusive(Why::NoData);
    let growth = &blind.plan().cases[0].growth;
    assert_eq!((growth.diagnosis, growth.message.as_str()), (Diagnosis::DialPerCall, "it leaks"));
    assert!((growth.confidence.percent() - 99.99).abs() < 1e-9, "{growth:?}");
}

#[test]
fn what_waits_says_how_much_longer() {
    let mut young = world();
    young.history.past.values_mut().for_each(|it| it.since = at(3_540));
    let because = young.decided("a").expect_err("withheld").expect("a reason");
    assert_eq!(because, Because::TooSoon { remaining: Duration::from_secs(9 * 60) });
}

#[test]
fn the_alert_names_the_lines_of_code_and_the_profile_that_names_them() {
    let mut profiled = world();
    let subject = profiled.findings[0].target.subject.clone();
    let (function, line) = ("main.GetUser".into(), "user.go:28".into());
    let site = SiteRecord { function, line, channels: 900.0, bytes: 9e7, confidence: 99.0 };
    profiled.history.profiles = vec![ProfileRecord {
        namespace: subject.namespace,
        pod: subject.pod,
        uid: subject.uid,
        container: subject.container,
        taken_at: Time(at(60)),
        file: Some("heap".into()),
        stored_by: None,
        channels: Some(1_000.0),
        samples: Some(100.0),
        sites: vec![site.clone()],
        problem: None,
    }];
    let alert = profiled.plan().alerts.remove(0);
    assert_eq!((alert.sites, alert.profile.as_deref()), (vec![site], Some("heap")));
}
