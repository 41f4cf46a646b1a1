//! What people say first: nothing is restarted while an alert fires that the policy stands down for, nor before a person
//! has said yes, with the command and with the annotation that it writes.

use std::collections::BTreeSet;

use grpc_hygiene::api::{GrpcClientPolicy, GrpcClientPolicyStatus};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use super::{
    audit::evicted,
    pages,
    shop::{Client, POLICY, Shop, withheld},
    world::{DETECTION, QUIET, SOON, World},
};

const LEAKY: &str = "orders-leaky";
/// An alert of the test cluster's Prometheus fires while pods of this name are there.
const DEPLOYING: &str = "deploying";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn nothing_is_restarted_while_a_named_alert_fires_or_before_a_person_has_said_yes() {
    let world = World::with_operator().await;
    let undisturbed = QUIET.read().await;
    let (began, shop) = (Timestamp::now().to_string(), Shop::open(world, "e2e-asked").await);
    shop.deploy(&[Client::plain(LEAKY, 2), Client::one(DEPLOYING, "orders-fixed", "1.85", &[])]).await;
    let leaking: BTreeSet<String> = shop.pods(LEAKY).await.iter().map(ResourceExt::name_any).collect();
    shop.policy(json!({"mode": "Enforce", "remediation": {"annotate": {}, "alert": {"after": "0s"}, "restart": {
        "after": "10s", "method": "Evict", "cooldown": "1m", "when": "Now", "approval": "First",
        "standDown": {"alerts": ["DeploymentInProgress"]}}}}))
        .await;

    shop.wait(DETECTION, "the alert holds the restart back", |it| withheld(it, "StandDown")).await;
    shop.api::<Deployment>().delete(DEPLOYING, &DeleteParams::default()).await.expect("deleted");
    let status = shop.wait(SOON, "a person is asked", |it| withheld(it, "AwaitingApproval")).await;
    let digest = digest(&status);
    told_how(&shop, &digest).await;
    expired_means_no(&shop, &digest).await;
    assert_eq!(evicted(&shop.namespace, &began), [""; 0], "nobody has said yes");

    let (code, said) = approve(&shop, &["Deployment/orders-leaky", "--for", "10m"]);
    assert!(code == Some(0) && said.contains(&digest) && said.contains("approved until"), "{code:?} {said}");
    let evicted = shop.evicted(&began, 1, SOON, "it is restarted after the yes").await;
    assert!(evicted.iter().all(|it| leaking.contains(it)), "{evicted:?} of {leaking:?}");
    drop(undisturbed);
    shop.remove().await;
}

/// The digest of the finding that waits for a yes.
fn digest(status: &GrpcClientPolicyStatus) -> String {
    let asked = status.offenders.iter().flat_map(|it| &it.remediations).filter_map(|it| it.approval.as_ref());
    let digests: BTreeSet<&str> = asked.map(|it| it.digest.as_str()).collect();
    assert_eq!(digests.len(), 1, "two pods of one workload are one finding: {:?}", status.offenders);
    digests.first().map(|it| (*it).to_owned()).expect("there is one")
}

/// The alert and the command say what waits.
async fn told_how(shop: &Shop, digest: &str) {
    let alert = || async {
        let alerts = pages::alerts(&shop.world, 0, &shop.namespace).await?;
        let how = alerts.iter().filter_map(|it| it["annotations"]["approval"].as_str());
        let says = how.clone().any(|it| it.contains("grpc-hygiene approve e2e-asked/clients"));
        if says { Ok(()) } else { Err(format!("{alerts:?}")) }
    };
    shop.world.eventually(&shop.namespace, SOON, "the alert says how to approve", alert).await;
    let (code, said) = approve(shop, &[]);
    assert_eq!(code, Some(1), "something waits: {said}");
    for part in [digest, "Waiting", "e2e-asked/Deployment/orders-leaky", "DialPerCall"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// A yes that is over is none, and the status says so.
async fn expired_means_no(shop: &Shop, digest: &str) {
    let key = format!("approved.grpc-hygiene.io/{digest}");
    let patch = json!({"metadata": {"annotations": {key: "2026-01-01T00:00:00Z"}}});
    let policies = shop.api::<GrpcClientPolicy>();
    policies.patch(POLICY, &PatchParams::default(), &Patch::Merge(patch)).await.expect("annotated");
    let expired = |it: &GrpcClientPolicyStatus| {
        let mut said = it.offenders.iter().flat_map(|it| &it.remediations).filter_map(|it| it.message.as_deref());
        withheld(it, "AwaitingApproval") && said.any(|it| it.contains("the approval expired at 2026-01-01T00:00:00Z"))
    };
    shop.wait(SOON, "a yes that is over counts for nothing", expired).await;
}

/// What `approve` answers, by its exit code and on both outputs.
fn approve(shop: &Shop, more: &[&str]) -> (Option<i32>, String) {
    let policy = format!("{}/{POLICY}", shop.namespace);
    let output = shop.world.command().args(["approve", &policy]).args(more).output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}
