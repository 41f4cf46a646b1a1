//! The administrator's switch: a policy that is there and bound to nothing, until somebody binds it.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::{
    kinds::{deployment, pod},
    real::until,
    release::Release,
    tries::{Answer, Try, send},
};

/// An eviction of a version that has gone by, which the API server refuses once the fences let it through; and a restart.
async fn acts(release: &Release, minute: u32) -> [Try; 2] {
    let own = &release.namespace;
    let probe = Api::<Pod>::namespaced(release.admin.clone(), own).get("probe").await.expect("the pod");
    let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "probe"},
        "deleteOptions": {"preconditions": {"uid": probe.uid(), "resourceVersion": "1"}}});
    let at = format!("2026-11-23T10:{minute:02}:00Z");
    let restart =
        json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": at}}}}});
    [
        Try::post("an eviction", &format!("{}/eviction", pod().path(own)), body),
        Try::patch("a restart", &deployment().path(own), restart),
    ]
}

fn mark(release: &Release, value: &Value) -> Try {
    let body = json!({"metadata": {"annotations": {"grpc-hygiene.io/diagnosis": value}}});
    Try::patch("a mark", &deployment().path(&release.namespace), body)
}

fn passes(answer: &Answer) -> bool {
    matches!(answer, Answer::Allowed | Answer::Refused(409, _))
}

/// Everything that may still be done, and what may not.
async fn is_stopped(release: &Release, minute: u32) {
    let actor = release.client_of(&release.actor());
    for it in acts(release, minute).await {
        until(&format!("refusal of {}", it.what), async || send(&actor, &it).await == Answer::Fenced("stop".into()))
            .await;
        assert!(passes(&send(&release.admin, &it.dry()).await), "{} by somebody else", it.what);
    }
    for value in ["x".into(), Value::Null] {
        assert_eq!(send(&actor, &mark(release, &value)).await, Answer::Allowed, "{value}");
    }
}

async fn acts_again(release: &Release, minute: u32) {
    let actor = release.client_of(&release.actor());
    for it in acts(release, minute).await {
        until(&format!("{} let through", it.what), async || passes(&send(&actor, &it).await)).await;
    }
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn whoever_binds_the_stop_stops_evictions_and_restarts_and_lets_annotations_come_and_go() {
    let release = Release::new("stop", &[]).await.with_all_rights().await;
    acts_again(&release, 1).await;
    let bindings = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
    let name = format!("{}-stop-now", release.namespace);
    let binding = json!({"metadata": {"name": name}, "spec": {
        "policyName": format!("{}-stop", release.namespace), "validationActions": ["Deny"]}});
    // More than once: it must not wear out.
    for round in 1..=3 {
        assert_eq!(send(&release.admin, &Try::post("stop", bindings, binding.clone())).await, Answer::Allowed);
        is_stopped(&release, 10 * round).await;
        assert_eq!(send(&release.admin, &Try::delete("go", &format!("{bindings}/{name}"))).await, Answer::Allowed);
        acts_again(&release, 10 * round + 1).await;
    }
    release.done().await;
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn a_value_of_the_chart_stops_as_well() {
    let mut release = Release::new("stopped", &["admission.stop=true"]).await.with_all_rights().await;
    is_stopped(&release, 1).await;
    release.lose("ValidatingAdmissionPolicyBinding", "-stop").await;
    acts_again(&release, 2).await;
    release.done().await;
}
