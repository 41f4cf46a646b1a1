//! Rollouts: one annotation of the template, in the words of kubectl, under the same ledger as evictions.

use grpc_hygiene::decide::{Remediation, Restart, Workload, ledger::State};
use http::Method;
use serde_json::json;

use crate::{
    fake::Answer,
    world::{
        BUDGETS, DEPLOYMENT, LEDGER, NAMESPACE, POD, POLICY, REPLICA_SET, SWITCH, carry_out, case, ledger_of, owner,
        plan, shop, states, word,
    },
};

fn roll_out_orders() -> grpc_hygiene::decide::Plan {
    plan(vec![case("orders", &[Remediation::Restart], Restart::Rollout)])
}

#[tokio::test]
async fn a_rollout_writes_one_annotation_of_this_workload_in_this_version() {
    let fake = shop();
    let before = fake.object(DEPLOYMENT).expect("the Deployment");
    assert_eq!(word(&carry_out(&fake, &roll_out_orders()).await), "done");
    let patch = fake.written(DEPLOYMENT);
    assert_eq!((patch.method, patch.query.as_str()), (Method::PATCH, "fieldManager=grpc-hygiene"));
    assert_eq!(
        patch.body,
        json!({
            "metadata": {"uid": before["metadata"]["uid"], "resourceVersion": before["metadata"]["resourceVersion"]},
            "spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-11-23T10:00:00Z"}}}},
        })
    );
    assert_eq!(
        fake.lines(),
        [
            format!("GET {SWITCH}"),
            format!("GET {POLICY}"),
            format!("GET {NAMESPACE}"),
            format!("GET {POD}"),
            format!("GET {DEPLOYMENT}"),
            format!("GET {BUDGETS}"),
            format!("GET {REPLICA_SET}"),
            format!("GET {LEDGER}"),
            format!("PUT {LEDGER}"),
            format!("PATCH {DEPLOYMENT}"),
            format!("GET {LEDGER}"),
            format!("PUT {LEDGER}"),
        ]
    );
    assert_eq!(ledger_of(&fake).await.entries[0].object.kind, "Deployment");
    assert_eq!(states(&fake).await, [State::Confirmed]);
}

#[tokio::test]
async fn a_stateful_set_is_restarted_the_same_way() {
    let fake = shop();
    let path = "/apis/apps/v1/namespaces/shop/statefulsets/orders";
    fake.put(
        path,
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"uid": "uid-set", "generation": 1},
            "spec": {"replicas": 2, "selector": {}, "serviceName": "orders", "template": {}},
            "status": {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2,
                "currentRevision": "a", "updateRevision": "a"},
        }),
    );
    fake.touch(POD, &json!({"metadata": {"ownerReferences": [owner("StatefulSet", "orders", "uid-set")]}}));
    let mut plan = roll_out_orders();
    plan.cases[0].target.workload =
        Some(Workload { namespace: "shop".into(), kind: "StatefulSet".into(), name: "orders".into() });
    assert_eq!(word(&carry_out(&fake, &plan).await), "done");
    let template = &fake.object(path).expect("the set")["spec"]["template"];
    assert_eq!(template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"], "2026-11-23T10:00:00Z");
}

#[tokio::test]
async fn a_workload_that_changes_in_between_is_not_restarted() {
    let fake = shop();
    fake.script(
        Method::PUT,
        LEDGER,
        Answer::After(Box::new(|it| it.touch(DEPLOYMENT, &json!({"spec": {"replicas": 4}})))),
    );
    assert_eq!(word(&carry_out(&fake, &roll_out_orders()).await), "Changed");
    let template = &fake.object(DEPLOYMENT).expect("the Deployment")["spec"]["template"];
    assert!(template["metadata"]["annotations"].is_null());
    assert_eq!(states(&fake).await, []);
}

#[tokio::test]
async fn a_paused_workload_is_not_restarted() {
    let fake = shop();
    fake.touch(DEPLOYMENT, &json!({"spec": {"paused": true}}));
    assert_eq!(word(&carry_out(&fake, &roll_out_orders()).await), "RolloutBlocked");
    assert_eq!(fake.writes(), Vec::<String>::new());
}
