//! Annotations: written once, on the right object, and removed again; a dry run writes nothing at all.

use std::time::Duration;

use grpc_hygiene::{
    api::Stage,
    decide::{Cleared, Decision, Plan, Remediation, Restart, Workload},
};
use http::Method;
use serde_json::json;

use crate::{
    fake::{Answer, Fake, status},
    world::{DEPLOYMENT, POD, REPLICA_SET, carry_out, case, evict_orders, now, plan, shop, word},
};

const KEYS: [&str; 4] =
    ["grpc-hygiene.io/diagnosis", "grpc-hygiene.io/evidence", "grpc-hygiene.io/since", "grpc-hygiene.io/policy"];

fn annotate_orders() -> Plan {
    plan(vec![case("orders", &[Remediation::Annotate], Restart::Evict)])
}

fn clear_orders() -> Plan {
    let subject = annotate_orders().cases[0].target.subject.clone();
    let workload = Workload { namespace: "shop".into(), kind: "Deployment".into(), name: "orders".into() };
    Plan { cleared: Cleared { pods: vec![subject], workloads: vec![workload] }, ..plan(Vec::new()) }
}

fn marks(fake: &Fake, path: &str) -> Vec<String> {
    let object = fake.object(path).expect("an object");
    KEYS.iter().filter_map(|it| object["metadata"]["annotations"][it].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_finding_is_written_on_pod_and_workload_and_not_on_the_template() {
    let fake = shop();
    assert_eq!(word(&carry_out(&fake, &annotate_orders()).await), "done");
    let expected = ["DialPerCall", "3 of 10 call sites dial", "2026-11-23T10:00:00Z", "shop/clients"];
    assert_eq!(marks(&fake, POD), expected);
    assert_eq!(marks(&fake, DEPLOYMENT), expected);
    assert!(fake.log().iter().all(|it| it.body.get("spec").is_none()));
    let patch = fake.written(POD);
    assert_eq!((patch.method, patch.query.as_str()), (Method::PATCH, "fieldManager=grpc-hygiene"));
    assert_eq!(patch.body["metadata"]["uid"], "uid-orders-1");
}

#[tokio::test]
async fn what_stands_there_is_not_written_again_though_the_figures_moved() {
    let fake = shop();
    carry_out(&fake, &annotate_orders()).await;
    fake.forget_log();
    let mut plan = annotate_orders();
    plan.cases[0].growth.message = "4 of 10 call sites dial".into();
    assert_eq!(word(&carry_out(&fake, &plan).await), "done");
    assert_eq!(fake.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn another_diagnosis_is_written_over_the_old_one() {
    let fake = shop();
    carry_out(&fake, &annotate_orders()).await;
    let mut plan = annotate_orders();
    plan.cases[0].growth.diagnosis = grpc_hygiene::decide::Diagnosis::ConnectionLeak;
    carry_out(&fake, &plan).await;
    assert_eq!(marks(&fake, POD)[0], "ConnectionLeak");
}

#[tokio::test]
async fn of_several_offenders_the_oldest_speaks_for_the_workload() {
    let fake = shop();
    let young = case("orders", &[Remediation::Annotate], Restart::Evict);
    let mut old = young.clone();
    old.target.subject.container = "sidecar".into();
    old.since = now() - Duration::from_secs(600);
    for cases in [vec![young.clone(), old.clone()], vec![old, young]] {
        assert!(carry_out(&fake, &plan(cases)).await.iter().all(|it| it.result.is_ok()));
        assert_eq!(marks(&fake, DEPLOYMENT)[2], "2026-11-23T09:50:00Z");
    }
    assert_eq!(fake.writes().len(), 2, "the order of the cases is no reason to write");
}

#[tokio::test]
async fn a_mark_of_another_policy_is_neither_overwritten_nor_removed() {
    let fake = shop();
    carry_out(&fake, &Plan { policy: "first".into(), ..annotate_orders() }).await;
    fake.forget_log();
    assert_eq!(word(&carry_out(&fake, &annotate_orders()).await), "done");
    carry_out(&fake, &clear_orders()).await;
    assert_eq!(fake.writes(), Vec::<String>::new());
    assert_eq!(marks(&fake, POD)[3], "first");
}

#[tokio::test]
async fn whoever_is_clean_loses_our_annotations_and_no_others() {
    let fake = shop();
    fake.touch(POD, &json!({"metadata": {"annotations": {"team": "shop"}}}));
    carry_out(&fake, &annotate_orders()).await;
    // The controller of the Deployment copies them, and leaves the copies there.
    let copied = fake.object(DEPLOYMENT).expect("the Deployment")["metadata"]["annotations"].clone();
    fake.touch(REPLICA_SET, &json!({"metadata": {"annotations": copied}}));
    carry_out(&fake, &clear_orders()).await;
    assert_eq!(marks(&fake, REPLICA_SET), Vec::<String>::new());
    assert_eq!(fake.object(POD).expect("the pod")["metadata"]["annotations"], json!({"team": "shop"}));
    assert_eq!(marks(&fake, DEPLOYMENT), Vec::<String>::new());
    fake.forget_log();
    carry_out(&fake, &clear_orders()).await;
    assert_eq!(fake.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_pod_made_anew_or_gone_is_never_marked() {
    let fake = shop();
    fake.touch(POD, &json!({"metadata": {"uid": "another"}}));
    assert_eq!(word(&carry_out(&fake, &annotate_orders()).await), "done");
    assert_eq!(marks(&fake, POD), Vec::<String>::new());
    fake.remove(POD);
    assert_eq!(word(&carry_out(&fake, &annotate_orders()).await), "done");
    let fake = shop();
    fake.script(
        Method::PATCH,
        POD,
        Answer::After(Box::new(|it| it.touch(POD, &json!({"metadata": {"uid": "another"}})))),
    );
    assert_eq!(word(&carry_out(&fake, &annotate_orders()).await), "done");
    assert_eq!(marks(&fake, POD), Vec::<String>::new());
    let fake = shop();
    fake.script(Method::PATCH, POD, Answer::After(Box::new(|it| it.remove(POD))));
    assert_eq!(word(&carry_out(&fake, &annotate_orders()).await), "done");
}

#[tokio::test]
async fn a_kind_that_we_do_not_know_is_left_alone() {
    let fake = shop();
    let mut plan = annotate_orders();
    plan.cases[0].target.workload.as_mut().expect("a workload").kind = "Rollout".into();
    assert_eq!(word(&carry_out(&fake, &plan).await), "done");
    assert_eq!(fake.writes(), [format!("PATCH {POD}")]);
}

#[tokio::test]
async fn a_refused_annotation_is_an_outcome_and_stops_nothing_else() {
    let fake = shop();
    let (code, body) = status(403, "Forbidden", "pods is forbidden");
    fake.script(Method::PATCH, POD, Answer::Status(code, body));
    let outcomes =
        carry_out(&fake, &plan(vec![case("orders", &[Remediation::Annotate, Remediation::Restart], Restart::Evict)]))
            .await;
    assert_eq!(word(&outcomes[..1]), "RequestFailed");
    assert_eq!(outcomes[1].remediation, Remediation::Restart);
    assert_eq!(word(&outcomes[1..]), "done");
}

#[tokio::test]
async fn only_what_is_to_be_done_is_done() {
    let fake = shop();
    let mut plan =
        plan(vec![case("orders", &[Remediation::Annotate, Remediation::Alert, Remediation::Restart], Restart::Evict)]);
    for decision in [Decision::WouldDo, Decision::Withheld(grpc_hygiene::decide::Because::NotJudgedNow)] {
        plan.cases[0].rungs.iter_mut().for_each(|it| it.decision = decision.clone());
        assert_eq!(carry_out(&fake, &plan).await, []);
    }
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_dry_run_is_not_carried_out_whatever_it_says() {
    let fake = shop();
    for plan in [evict_orders(), annotate_orders(), clear_orders()] {
        assert_eq!(carry_out(&fake, &Plan { stage: Stage::DryRun, ..plan }).await, []);
    }
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn at_the_stage_of_alerts_nobody_is_restarted_whatever_the_plan_says() {
    let fake = shop();
    assert_eq!(carry_out(&fake, &Plan { stage: Stage::Alert, ..evict_orders() }).await, []);
    assert_eq!(fake.lines(), Vec::<String>::new());
    carry_out(&fake, &Plan { stage: Stage::Alert, ..annotate_orders() }).await;
    assert!(fake.lines().iter().any(|it| it.starts_with("PATCH")), "it annotates");
}
