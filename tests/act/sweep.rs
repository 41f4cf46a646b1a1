//! Sweeping: our annotations leave with their policy, page by page, and nothing else does.

use grpc_hygiene::io::sweep::{Swept, cleanup, sweep};
use http::Method;
use serde_json::json;

use crate::{
    fake::{Answer, Fake, status},
    world::{DEPLOYMENT, POD, as_leader, hands, shop},
};

fn mark(fake: &Fake, path: &str, policy: &str) {
    let annotations = json!({
        "grpc-hygiene.io/diagnosis": "DialPerCall", "grpc-hygiene.io/evidence": "e", "grpc-hygiene.io/since": "s",
        "grpc-hygiene.io/blame": "b", "grpc-hygiene.io/policy": policy, "grpc-hygiene.io/exempt": "true", "team": "shop",
    });
    fake.touch(path, &json!({"metadata": {"annotations": annotations}}));
}

fn left(fake: &Fake, path: &str) -> Vec<String> {
    let object = fake.object(path).expect("an object");
    object["metadata"]["annotations"].as_object().expect("annotations").keys().cloned().collect()
}

#[tokio::test]
async fn marks_of_policies_that_are_gone_are_removed_and_people_keep_theirs() {
    let fake = shop();
    mark(&fake, POD, "shop/gone");
    mark(&fake, DEPLOYMENT, "shop/clients");
    let swept = as_leader(async |leadership| sweep(&hands(&fake, &leadership), |it| it == "shop/gone").await).await;
    assert_eq!(swept.expect("a sweep"), Swept { pods: 1, workloads: 0, failed: 0 });
    assert_eq!(left(&fake, POD), ["grpc-hygiene.io/exempt", "team"]);
    assert_eq!(left(&fake, DEPLOYMENT).len(), 7);
}

#[tokio::test]
async fn a_clean_up_removes_everything_that_is_ours_from_every_page() {
    let fake = shop();
    for n in 0..250 {
        let path = format!("/api/v1/namespaces/shop/pods/many-{n}");
        fake.put(&path, json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}}));
        mark(&fake, &path, "shop/clients");
    }
    mark(&fake, DEPLOYMENT, "");
    fake.touch(POD, &json!({"metadata": {"annotations": {"grpc-hygiene.io/fence": "7"}}}));
    assert_eq!(cleanup(&fake.reading()).await.expect("a sweep"), Swept { pods: 251, workloads: 1, failed: 0 });
    assert_eq!(left(&fake, DEPLOYMENT), ["grpc-hygiene.io/exempt", "team"]);
    fake.forget_log();
    assert_eq!(cleanup(&fake.reading()).await.expect("a sweep"), Swept::default());
    assert_eq!(fake.writes(), Vec::<String>::new());
    let pages = fake.log().iter().filter(|it| it.path == "/api/v1/pods").count();
    assert_eq!(pages, 3);
}

#[tokio::test]
async fn a_role_that_may_not_list_the_copies_on_replica_sets_still_removes_the_marks() {
    let fake = shop();
    mark(&fake, DEPLOYMENT, "shop/clients");
    let (code, body) = status(403, "Forbidden", "replicasets is forbidden");
    fake.script(Method::GET, "/replicasets", Answer::Status(code, body));
    assert_eq!(cleanup(&fake.reading()).await.expect("a sweep"), Swept { pods: 0, workloads: 1, failed: 0 });
}

#[tokio::test]
async fn rollouts_of_argo_are_swept_too_and_left_out_where_the_kind_is_not_there_or_not_granted() {
    const ROLLOUT: &str = "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/orders";
    let fake = shop();
    fake.put(ROLLOUT, json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {}}));
    mark(&fake, ROLLOUT, "shop/clients");
    for (code, reason) in [(404, "NotFound"), (403, "Forbidden")] {
        let (code, body) = status(code, reason, "no");
        fake.script(Method::GET, "/rollouts", Answer::Status(code, body));
        assert_eq!(cleanup(&fake.reading()).await.expect("a sweep"), Swept::default());
    }
    assert_eq!(cleanup(&fake.reading()).await.expect("a sweep"), Swept { pods: 0, workloads: 1, failed: 0 });
    let (code, body) = status(500, "InternalError", "no");
    fake.script(Method::GET, "/rollouts", Answer::Status(code, body));
    assert!(cleanup(&fake.reading()).await.is_err(), "what is broken is not taken for left out");
}
