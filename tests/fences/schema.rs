//! What the API server knows about the kinds that the operator writes, against what the tests try: a field that Kubernetes
//! adds is frozen by the policies without their knowing it, and this says that nobody has tried it yet.

use std::collections::BTreeSet;

use kube::Client;
use serde_json::Value;

use crate::{kinds, real::empty};

async fn schema(client: &Client, group: &str, name: &str) -> Value {
    let request = http::Request::get(format!("/openapi/v3/{group}")).body(Vec::new()).expect("a request");
    let document: Value = client.request(request).await.expect("the API's description");
    document["components"]["schemas"][name].clone()
}

fn fields(schema: &Value) -> BTreeSet<String> {
    schema["properties"].as_object().unwrap_or_else(|| panic!("{schema} has fields")).keys().cloned().collect()
}

fn set(fields: &[&str]) -> BTreeSet<String> {
    fields.iter().map(|it| (*it).to_owned()).collect()
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn every_field_that_the_api_server_knows_of_a_workload_has_been_tried() {
    let real = empty("schema").await;
    for kind in kinds::all().into_iter().filter(|it| it.api == "/apis/apps/v1") {
        let spec = schema(&real.client, "apis/apps/v1", &format!("io.k8s.api.apps.v1.{}Spec", kind.name)).await;
        let tried: BTreeSet<String> = kind.changes.iter().map(|it| it.field.to_owned()).collect();
        assert_eq!(fields(&spec), tried, "{}: try the new field in tests/fences/kinds.rs", kind.name);
        let whole = schema(&real.client, "apis/apps/v1", &format!("io.k8s.api.apps.v1.{}", kind.name)).await;
        assert_eq!(fields(&whole), set(&["apiVersion", "kind", "metadata", "spec", "status"]), "{}", kind.name);
    }
    real.done().await;
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn what_surrounds_them_has_the_fields_that_the_policies_are_written_for() {
    let real = empty("surroundings").await;
    let of = async |group: &str, name: &str| fields(&schema(&real.client, group, name).await);
    assert_eq!(
        of("api/v1", "io.k8s.api.core.v1.Pod").await,
        set(&["apiVersion", "kind", "metadata", "spec", "status"])
    );
    assert_eq!(of("apis/apps/v1", "io.k8s.api.core.v1.PodTemplateSpec").await, set(&["metadata", "spec"]));
    assert_eq!(
        of("api/v1", "io.k8s.api.core.v1.ConfigMap").await,
        set(&["apiVersion", "binaryData", "data", "immutable", "kind", "metadata"])
    );
    assert_eq!(
        of("api/v1", "io.k8s.api.policy.v1.Eviction").await,
        set(&["apiVersion", "deleteOptions", "kind", "metadata"])
    );
    let options = of("api/v1", "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions").await;
    // The third is refused to everybody.
    let tried = [
        "dryRun",
        "gracePeriodSeconds",
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "orphanDependents",
        "preconditions",
        "propagationPolicy",
    ];
    assert_eq!(
        options,
        set(&[&["apiVersion", "kind"], &tried[..]].concat()),
        "try the new option in tests/fences/others.rs"
    );
    let metadata = of("api/v1", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").await;
    let tried = ["annotations", "finalizers", "labels", "ownerReferences"];
    let of_the_server = [
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generateName",
        "generation",
        "managedFields",
        "name",
        "namespace",
        "resourceVersion",
        "selfLink",
        "uid",
    ];
    assert_eq!(metadata, set(&[&tried[..], &of_the_server[..]].concat()), "try the new field in tests/fences/deny.rs");
    real.done().await;
}
