//! What the ledger allows, how it is settled, and what it keeps.

use super::*;

const CALM: Duration = Duration::from_secs(900);

fn rates() -> Rates {
    let hour = Duration::from_secs(3_600);
    Rates {
        namespace: Rate { max: 3, window: hour },
        cluster: Rate { max: 5, window: hour },
        at_once_percent: 10,
        settling: Duration::from_secs(300),
        back_off: Duration::from_secs(1_800),
        calm: CALM,
    }
}

fn limits() -> Limits {
    Limits { cooldown: Duration::from_secs(600), max_per_day: 3, at_once: 10, rates: rates() }
}

/// Minutes after some noon.
fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minutes * 60).expect("a time")
}

/// A second before.
fn before(at: Timestamp) -> Timestamp {
    at - Duration::from_secs(1)
}

/// A ledger that is old enough to be trusted.
fn old() -> Ledger {
    Ledger::begun(at(-100_000))
}

fn workload(name: &str) -> WorkloadRef {
    WorkloadRef { kind: "Deployment".into(), name: name.into() }
}

fn wish(name: &str) -> Wish {
    Wish {
        namespace: "shop".into(),
        workload: workload(name),
        revision: Some("r1".into()),
        replicas: 100,
        policy: "shop/clients".into(),
    }
}

fn entry(name: &str, pod: &str, when: Timestamp) -> Entry {
    let (kind, resource_version) = ("Pod".into(), "7".into());
    Entry {
        diagnosis: None,
        namespace: "shop".into(),
        workload: workload(name),
        revision: Some("r1".into()),
        object: Object { kind, name: pod.into(), uid: pod.into(), resource_version, generation: None },
        policy: "shop/clients".into(),
        at: when,
        state: State::Pending,
    }
}

fn with(ledger: &Ledger, entry: &Entry) -> Ledger {
    ledger.debited(entry.clone()).settled(&entry.object, Evidence::Happened, entry.at)
}

/// With a restart of `orders` at each of these minutes.
fn restarted(minutes: &[i64]) -> Ledger {
    minutes.iter().fold(old(), |ledger, it| with(&ledger, &entry("orders", &format!("p{it}"), at(*it))))
}

fn refusal(ledger: &Ledger, wish: &Wish, limits: &Limits, now: Timestamp) -> Refusal {
    ledger.allows(wish, limits, now).expect_err("a refusal")
}

#[test]
fn an_unsettled_restart_forbids_the_next_one_however_old_it_is() {
    let ledger = old().debited(entry("orders", "a", at(0)));
    assert_eq!(ledger.allows(&wish("orders"), &limits(), at(60_000)), Err(Refusal::Unsettled));
    assert_eq!(ledger.pruned(at(60_000)), ledger);
}

#[test]
fn a_cooldown_that_no_date_can_end_still_holds() {
    let last = Entry { state: State::Confirmed, ..entry("orders", "a", Timestamp::MAX) };
    let ledger = Ledger { entries: vec![last], ..old() };
    let refused = refusal(&ledger, &wish("orders"), &limits(), Timestamp::MAX);
    assert!(matches!(refused, Refusal::Cooldown { .. }), "{refused:?}");
}

#[test]
fn the_cooldown_counts_from_the_latest_time_at_which_it_may_have_happened() {
    let debit = entry("orders", "a", at(0));
    let ledger = old().debited(debit.clone()).settled(&debit.object, Evidence::Happened, at(5));
    let until = at(15) + Duration::from_secs(5);
    assert_eq!(ledger.allows(&wish("orders"), &limits(), at(15)), Err(Refusal::Cooldown { until }));
    assert_eq!(ledger.allows(&wish("orders"), &limits(), until), Ok(()));
}

#[test]
fn the_daily_limit_looks_back_a_sliding_day() {
    let ledger = restarted(&[0, 600, 1_200]);
    assert_eq!(refusal(&ledger, &wish("orders"), &limits(), at(1_439)), Refusal::DailyLimit { restarts: 3 });
    assert_eq!(refusal(&ledger, &wish("orders"), &limits(), at(1_440)), Refusal::DailyLimit { restarts: 3 });
    assert_eq!(ledger.allows(&wish("orders"), &limits(), at(1_441)), Ok(()));
}

#[test]
fn an_entry_that_can_no_longer_happen_gives_its_budget_back() {
    let debit = entry("orders", "a", at(0));
    let ledger = old().debited(debit.clone());
    assert_eq!(ledger.settled(&debit.object, Evidence::CanNoLongerHappen, at(1)), old());
    assert_eq!(ledger.settled(&debit.object, Evidence::MayStillHappen, at(1)), ledger);
}

#[test]
fn a_debit_is_pending_whatever_it_is_made_from() {
    let confirmed = Entry { state: State::Confirmed, ..entry("orders", "a", at(0)) };
    assert_eq!(old().debited(confirmed).pending().count(), 1);
}

#[test]
fn a_policys_restarts_of_a_day_are_counted() {
    let ledger = restarted(&[0, 600, 1_200]);
    let counted = |policy: &str, minutes: i64| ledger.restarts_last_day(policy, at(minutes));
    assert_eq!(
        (counted("shop/clients", 1_300), counted("shop/clients", 1_500), counted("bank/clients", 1_300)),
        (3, 2, 0)
    );
}

#[test]
fn every_refusal_says_what_is_spent_and_when_there_will_be_room_again() {
    let (restarts, until) = (3, at(0));
    let timed = [
        Refusal::Cooldown { until },
        Refusal::Debt { restarts, until },
        Refusal::NamespaceLimit { restarts, until },
        Refusal::ClusterLimit { restarts, until },
        Refusal::Storm { until, why: "3 of 4".into() },
        Refusal::NewLedger { until },
    ];
    for refusal in timed {
        assert!(refusal.to_string().contains("2027-01-15T08:00:00Z"), "{refusal}");
    }
    for refusal in [Refusal::DailyLimit { restarts }, Refusal::AtOnce { restarts }] {
        assert!(refusal.to_string().contains('3'), "{refusal}");
    }
    assert!(Refusal::Unsettled.to_string().contains("not settled"));
}

#[test]
fn what_is_seen_of_one_object_settles_no_other_and_the_rest_stays_pending() {
    let (one, other) = (entry("orders", "a", at(0)), entry("users", "b", at(0)));
    let both = old().debited(one.clone()).debited(other.clone());
    for evidence in [Evidence::Happened, Evidence::CanNoLongerHappen] {
        let pending: Vec<Entry> = both.settled(&one.object, evidence, at(1)).pending().cloned().collect();
        assert_eq!(pending, std::slice::from_ref(&other), "{evidence:?}");
    }
}

#[test]
fn a_clock_that_was_set_back_frees_nothing() {
    let ledger = restarted(&[100]);
    assert!(matches!(refusal(&ledger, &wish("orders"), &limits(), at(0)), Refusal::Cooldown { .. }));
    assert!(matches!(
        refusal(&restarted(&[98, 99, 100]), &wish("users"), &limits(), at(0)),
        Refusal::NamespaceLimit { .. }
    ));
}

#[test]
fn a_new_ledger_allows_nothing_until_its_longest_window_is_over() {
    let begun = Ledger::begun(at(0));
    let until = at(60) + Duration::from_secs(5);
    assert_eq!(begun.allows(&wish("orders"), &limits(), at(59)), Err(Refusal::NewLedger { until }));
    assert_eq!(begun.allows(&wish("orders"), &limits(), before(until)), Err(Refusal::NewLedger { until }));
    assert_eq!(begun.allows(&wish("orders"), &limits(), until), Ok(()));
    let slow = Limits { cooldown: Duration::from_secs(86_400), ..limits() };
    assert!(matches!(refusal(&begun, &wish("orders"), &slow, at(1_439)), Refusal::NewLedger { .. }));
}

#[test]
fn a_namespace_has_so_many_restarts_in_any_window_whatever_the_workload() {
    let ledger = ["a", "b", "c"].iter().zip(0..).fold(old(), |it, (name, n)| with(&it, &entry(name, name, at(n))));
    let until = at(60) + Duration::from_secs(5);
    assert_eq!(refusal(&ledger, &wish("d"), &limits(), at(10)), Refusal::NamespaceLimit { restarts: 3, until });
    assert!(matches!(refusal(&ledger, &wish("d"), &limits(), before(until)), Refusal::NamespaceLimit { .. }));
    assert_eq!(ledger.allows(&wish("d"), &limits(), until), Ok(()));
    let elsewhere = Wish { namespace: "billing".into(), ..wish("d") };
    assert_eq!(ledger.allows(&elsewhere, &limits(), at(10)), Ok(()));
}

#[test]
fn the_cluster_has_so_many_restarts_in_any_window_whatever_the_namespace() {
    let ledger = (0..5).fold(old(), |it, n| {
        let one = Entry { namespace: format!("n{n}"), ..entry("orders", &format!("p{n}"), at(n)) };
        with(&it, &one)
    });
    let until = at(60) + Duration::from_secs(5);
    assert_eq!(refusal(&ledger, &wish("orders"), &limits(), at(10)), Refusal::ClusterLimit { restarts: 5, until });
    assert!(matches!(refusal(&ledger, &wish("orders"), &limits(), before(until)), Refusal::ClusterLimit { .. }));
    assert_eq!(ledger.allows(&wish("orders"), &limits(), until), Ok(()));
}

#[test]
fn what_is_written_is_as_large_as_what_may_be_read_and_never_larger() {
    let of = |padding: usize| {
        let entry = entry("orders", "a", at(0));
        old().debited(Entry { policy: "p".repeat(padding), ..entry })
    };
    let rest = of(0).print().expect("a text").len();
    let whole = of(MAX_BYTES - rest).print().expect("the largest");
    assert_eq!(whole.len(), MAX_BYTES);
    assert!(Ledger::parse(&whole).is_ok());
    assert!(matches!(of(MAX_BYTES - rest + 1).print(), Err(InvalidLedger::TooLarge)));
}

#[test]
fn what_is_pending_counts_against_every_limit_however_old_it_is() {
    let ledger = ["a", "b", "c"].iter().fold(old(), |it, name| it.debited(entry(name, name, at(-50_000))));
    assert!(matches!(refusal(&ledger, &wish("d"), &limits(), at(0)), Refusal::NamespaceLimit { restarts: 3, .. }));
}

#[test]
fn few_of_a_policy_s_pods_are_restarted_at_once() {
    let ledger = with(&old(), &entry("a", "a", at(0)));
    let one = Limits { at_once: rates().at_once(19), ..limits() };
    assert_eq!(ledger.allows(&wish("d"), &one, at(4)), Err(Refusal::AtOnce { restarts: 1 }));
    assert_eq!(ledger.allows(&wish("d"), &one, at(5)), Ok(()));
    let two = Limits { at_once: rates().at_once(20), ..limits() };
    assert_eq!(ledger.allows(&wish("d"), &two, at(4)), Ok(()));
}

#[test]
fn the_share_of_few_pods_is_still_one() {
    assert_eq!([0, 1, 9, 10, 29, 1_000].map(|it| rates().at_once(it)), [1, 1, 1, 1, 2, 100]);
}

#[test]
fn a_revision_that_leaks_again_waits_twice_as_long_after_each_round() {
    let single = Wish { replicas: 1, ..wish("orders") };
    let many = Limits { max_per_day: 100, ..limits() };
    let mut ledger = old();
    for (minutes, wait) in [(0, 30), (100, 60), (300, 120), (600, 240), (1_000, 480), (2_000, 960), (4_000, 1_440)] {
        ledger = with(&ledger, &entry("orders", &format!("p{minutes}"), at(minutes)));
        let until = at(minutes + wait) + Duration::from_secs(5);
        let refused = ledger.allows(&single, &many, at(minutes + 20)).expect_err("a refusal");
        assert!(matches!(refused, Refusal::Debt { until: it, .. } if it == until), "{refused:?}");
        assert!(matches!(refusal(&ledger, &single, &many, before(until)), Refusal::Debt { .. }), "a second early");
    }
    let fixed = Wish { revision: Some("r2".into()), ..single };
    assert_eq!(ledger.allows(&fixed, &many, at(4_020)), Ok(()));
}

#[test]
fn a_round_is_as_many_pods_as_there_are_replicas_and_a_rollout_is_a_round() {
    let three = Wish { replicas: 3, ..wish("orders") };
    let limits = Limits { max_per_day: 100, ..limits() };
    assert_eq!(restarted(&[0, 11]).allows(&three, &limits, at(22)), Ok(()));
    assert!(matches!(refusal(&restarted(&[0, 11, 22]), &three, &limits, at(40)), Refusal::Debt { restarts: 3, .. }));
    let mut rollout = entry("orders", "orders", at(0));
    rollout.object.kind = "Deployment".into();
    assert!(matches!(refusal(&with(&old(), &rollout), &three, &limits, at(20)), Refusal::Debt { restarts: 1, .. }));
}

#[test]
fn a_revision_that_nobody_knows_is_taken_for_the_same() {
    let ledger = restarted(&[0]);
    let unknown = Wish { revision: None, replicas: 1, ..wish("orders") };
    assert!(matches!(refusal(&ledger, &unknown, &limits(), at(20)), Refusal::Debt { .. }));
}

#[test]
fn a_storm_stops_everybody_until_it_has_been_calm() {
    let ledger = old().stormy("shop/clients", "5 of 8 workloads", CALM, at(0));
    let ledger = ledger.stormy("shop/clients", "6 of 8 workloads", CALM, at(10));
    let storm = ledger.storm.clone().expect("a storm");
    assert_eq!((storm.since, storm.seen), (at(0), at(10)));
    let refused = refusal(&ledger, &wish("orders"), &limits(), at(24));
    assert_eq!(refused, Refusal::Storm { until: at(25), why: "6 of 8 workloads".into() });
    assert_eq!(ledger.allows(&wish("orders"), &limits(), at(25)), Ok(()));
    assert_eq!(ledger.stormy("x", "again", CALM, at(100)).storm.expect("a storm").since, at(100));
}

#[test]
fn settled_entries_leave_when_no_limit_looks_at_them() {
    let ledger = restarted(&[0]);
    assert_eq!(ledger.pruned(at(7 * 1_440)).entries, []);
    assert_eq!(ledger.pruned(at(6 * 1_440)).entries.len(), 1);
    let many: Vec<i64> = (0..20).collect();
    assert_eq!(restarted(&many).pruned(at(60)).entries.len(), 20, "a day's entries all count");
    let after = restarted(&many).pruned(at(2 * 1_440));
    assert_eq!(after.entries.first().map(|it| it.at), Some(at(12)));
    assert_eq!(after.entries.len(), KEPT_OF_A_WORKLOAD);
}

fn seen(resource_version: &str) -> Seen {
    let resource_version = resource_version.into();
    Seen { uid: "a".into(), resource_version, generation: Some(3), ..Seen::default() }
}

#[test]
fn a_pod_that_is_gone_or_going_was_evicted() {
    let pod = entry("orders", "a", at(0));
    assert_eq!(conclusion(&pod, None), Some(Evidence::Happened));
    assert_eq!(conclusion(&pod, Some(&Seen { uid: "other".into(), ..seen("7") })), Some(Evidence::Happened));
    assert_eq!(conclusion(&pod, Some(&Seen { terminating: true, ..seen("9") })), Some(Evidence::Happened));
}

#[test]
fn a_living_pod_proves_nothing_though_its_version_moved() {
    let pod = entry("orders", "a", at(0));
    assert_eq!(conclusion(&pod, Some(&seen("7"))), None);
    assert_eq!(conclusion(&pod, Some(&seen("8"))), None);
}

#[test]
fn a_rollout_is_known_by_the_time_that_it_wrote_and_counts_when_the_spec_changed_otherwise() {
    let mut rollout = entry("orders", "a", at(0));
    rollout.object = Object { kind: "Deployment".into(), generation: Some(3), ..rollout.object };
    let by = |at: Timestamp| Seen { restarted_at: Some(restarted_at(at)), generation: Some(4), ..seen("9") };
    assert_eq!(conclusion(&rollout, Some(&by(at(0)))), Some(Evidence::Happened));
    // Somebody restarted it after us, or a tool took our annotation away.
    assert_eq!(conclusion(&rollout, Some(&by(at(1)))), Some(Evidence::Happened));
    assert_eq!(conclusion(&rollout, Some(&Seen { generation: Some(5), ..seen("9") })), Some(Evidence::Happened));
    // What has no generation of its own, as a restart that is written beside the template, is known by the time alone.
    assert_eq!(conclusion(&rollout, Some(&Seen { generation: Some(3), ..by(at(0)) })), Some(Evidence::Happened));
    // Only its status moved: the request demands a version that is gone.
    assert_eq!(conclusion(&rollout, Some(&seen("9"))), Some(Evidence::CanNoLongerHappen));
    assert_eq!(conclusion(&rollout, Some(&seen("7"))), None);
}

#[test]
fn the_restart_annotation_is_written_as_kubectl_does() {
    let at: Timestamp = "2026-11-23T10:00:00.9Z".parse().expect("a time");
    assert_eq!(restarted_at(at), "2026-11-23T10:00:00Z");
}
