//! What the API server promises about evictions and updates, as a table. Each row is tried on the fake and on a real API
//! server, and both must say the same, so that the simulation rests on what is so.
//!
//! Not in it, for the fake does not have them: pages, watches that begin too early on a real server (which forgets after
//! minutes), throttling, admission, and a budget whose status is nonsense.

use http::Method;
use serde_json::{Value, json};

use crate::place::{OTHER_UID, Place, wrong_uid};

/// What is tried, and what is said of each request: status, reason, causes, the pod afterwards, and its budget.
const EVICTIONS: [(&str, &[&str]); 19] = [
    ("without a budget", &["201; goes, targeted"]),
    ("with a budget that allows it, exactly this pod", &["201; goes, targeted; 0 allowed, 1 believed"]),
    ("two budgets", &["500; stays; 1 allowed, 0 believed"]),
    ("two budgets, dry run", &["500; stays; 1 allowed, 0 believed"]),
    ("a budget of nothing", &["429 TooManyRequests DisruptionBudget; stays; 0 allowed, 0 believed"]),
    (
        "a budget that was not observed",
        &["429 TooManyRequests DisruptionBudget after 10; stays; 1 allowed, 0 believed"],
    ),
    ("a pod that is pending bypasses the budget", &["201; goes, targeted; 0 allowed, 0 believed"]),
    ("a pod that has failed bypasses the budget", &["201; no pod; 0 allowed, 0 believed"]),
    (
        "a pod that is not ready, and others are missing",
        &["429 TooManyRequests DisruptionBudget; stays; 0 allowed, 0 believed"],
    ),
    ("a pod that is not ready, and no other is missing", &["201; goes, targeted; 0 allowed, 0 believed"]),
    ("a pod that is not ready, AlwaysAllow", &["201; goes, targeted; 0 allowed, 0 believed"]),
    ("another UID, another version, without a budget", &["409 Conflict; stays", "409 Conflict; stays"]),
    (
        "another UID spends the budget",
        &[
            "409 Conflict; stays; 0 allowed, 1 believed",
            "429 TooManyRequests DisruptionBudget; stays; 0 allowed, 1 believed",
        ],
    ),
    ("another version spends the budget", &["409 Conflict; stays; 0 allowed, 1 believed"]),
    (
        "dry runs reserve nothing",
        &[
            "201; stays; 1 allowed, 0 believed",
            "201; stays; 1 allowed, 0 believed",
            "201; stays; 1 allowed, 0 believed",
        ],
    ),
    (
        "a pod that goes already",
        &[
            "201; goes, targeted",
            "201; goes, targeted; 0 allowed, 0 believed",
            "409 Conflict; goes, targeted; 0 allowed, 0 believed",
        ],
    ),
    ("no pod", &["404 NotFound; no pod"]),
    ("a body that is not understood", &["400 BadRequest; stays", "201; goes, targeted"]),
    ("another name in the body", &["400 BadRequest; stays"]),
];

async fn evicted(case: &str, at: &Place) -> Vec<String> {
    if case != "no pod" {
        let phase = match case {
            "a pod that is pending bypasses the budget" => "Pending",
            "a pod that has failed bypasses the budget" => "Failed",
            _ => "Running",
        };
        at.pod(phase, phase == "Running" && !case.starts_with("a pod that is not ready")).await;
    }
    let none = || json!({});
    let one = |allowed: u32| json!({"disruptionsAllowed": allowed});
    match case {
        "with a budget that allows it, exactly this pod" => {
            at.allows(1).await;
            vec![at.evict(at.exactly().await, "?fieldValidation=Strict").await]
        }
        "two budgets" | "two budgets, dry run" => {
            at.allows(1).await;
            at.budget("y", none(), one(1)).await;
            vec![at.evict(none(), if case == "two budgets" { "" } else { "?dryRun=All" }).await]
        }
        "a budget that was not observed" => {
            at.budget("x", none(), json!({"disruptionsAllowed": 1, "observedGeneration": 0})).await;
            vec![at.evict(none(), "").await]
        }
        "a pod that is not ready, and others are missing" => {
            at.budget("x", none(), json!({"currentHealthy": 1})).await;
            vec![at.evict(none(), "").await]
        }
        "a pod that is not ready, and no other is missing" => {
            at.budget("x", none(), json!({"currentHealthy": 2})).await;
            vec![at.evict(none(), "").await]
        }
        "a pod that is not ready, AlwaysAllow" => {
            at.budget("x", json!({"unhealthyPodEvictionPolicy": "AlwaysAllow"}), json!({"currentHealthy": 1})).await;
            vec![at.evict(none(), "").await]
        }
        "another UID, another version, without a budget" => {
            let version = json!({"preconditions": {"resourceVersion": "1"}});
            vec![at.evict(wrong_uid(), "").await, at.evict(version, "").await]
        }
        "another UID spends the budget" => {
            at.allows(1).await;
            vec![at.evict(wrong_uid(), "").await, at.evict(at.exactly().await, "").await]
        }
        "another version spends the budget" => {
            at.allows(1).await;
            vec![at.evict(json!({"preconditions": {"resourceVersion": "1"}}), "").await]
        }
        "dry runs reserve nothing" => {
            at.allows(1).await;
            let in_body = json!({"dryRun": ["All"]});
            vec![
                at.evict(none(), "?dryRun=All").await,
                at.evict(in_body, "").await,
                at.evict(none(), "?dryRun=All").await,
            ]
        }
        "a pod that goes already" => {
            let first = at.evict(none(), "").await;
            at.allows(0).await;
            vec![first, at.evict(none(), "").await, at.evict(wrong_uid(), "").await]
        }
        "a body that is not understood" => {
            let misspelt = json!({"delete_options": wrong_uid()});
            vec![at.evict_with(misspelt.clone(), "?fieldValidation=Strict").await, at.evict_with(misspelt, "").await]
        }
        "another name in the body" => vec![at.evict_with(json!({"metadata": {"name": "q"}}), "").await],
        "without a budget" | "no pod" => vec![at.evict(none(), "").await],
        _ => {
            at.allows(0).await;
            vec![at.evict(none(), "").await]
        }
    }
}

/// What is said of updates, and whether they changed version (V) and generation (G).
const UPDATES: [(&str, &str); 16] = [
    ("made again", "409 AlreadyExists"),
    ("replaced in its version", "200 V"),
    ("replaced in an old version", "409 Conflict"),
    ("replaced in no version", "200 V"),
    ("replaced by the same", "200"),
    ("replaced with another UID", "409 Conflict"),
    ("replaced where nothing is", "404 NotFound"),
    ("patched in its version", "200 V"),
    ("patched in an old version", "409 Conflict"),
    ("patched with its UID", "200 V"),
    ("patched with another UID", "422 Invalid FieldValueInvalid metadata.uid FieldValueInvalid metadata.uid"),
    ("patched to the same", "200"),
    ("patched where nothing is", "404 NotFound"),
    ("a deployment's annotation", "200 VG"),
    ("a deployment's template", "200 VG"),
    ("a deployment's status", "200 V"),
];

async fn updated(case: &str, at: &Place) -> String {
    const MAPS: &str = "/api/v1/namespaces/NS/configmaps";
    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/NS/deployments";
    let is_deployment = case.starts_with("a deployment");
    let (collection, object) = if is_deployment {
        let template =
            json!({"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": "none"}]}});
        (
            DEPLOYMENTS,
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "m"},
            "spec": {"replicas": 0, "paused": true, "selector": {"matchLabels": {"app": "d"}}, "template": template}}),
        )
    } else {
        (MAPS, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "1"}}))
    };
    let url = format!("{collection}/m");
    let before = at.must(Method::POST, collection, &object).await;
    let changed =
        |metadata: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "2"}});
    let version = &before["metadata"]["resourceVersion"];
    let uid = &before["metadata"]["uid"];
    let nowhere = format!("{collection}/n");
    let answer = match case {
        "made again" => at.send(Method::POST, collection, &object).await,
        "replaced in its version" => {
            at.send(Method::PUT, &url, &changed(json!({"name": "m", "resourceVersion": version}))).await
        }
        "replaced in an old version" => {
            at.send(Method::PUT, &url, &changed(json!({"name": "m", "resourceVersion": "1"}))).await
        }
        "replaced in no version" => at.send(Method::PUT, &url, &changed(json!({"name": "m"}))).await,
        "replaced by the same" => at.send(Method::PUT, &url, &before).await,
        "replaced with another UID" => {
            at.send(Method::PUT, &url, &changed(json!({"name": "m", "uid": OTHER_UID}))).await
        }
        "replaced where nothing is" => {
            at.send(Method::PUT, &nowhere, &changed(json!({"name": "n", "resourceVersion": version}))).await
        }
        "patched in its version" => at.send(Method::PATCH, &url, &changed(json!({"resourceVersion": version}))).await,
        "patched in an old version" => at.send(Method::PATCH, &url, &changed(json!({"resourceVersion": "1"}))).await,
        "patched with its UID" => at.send(Method::PATCH, &url, &changed(json!({"uid": uid}))).await,
        "patched with another UID" => at.send(Method::PATCH, &url, &changed(json!({"uid": OTHER_UID}))).await,
        "patched to the same" => at.send(Method::PATCH, &url, &json!({"data": {"a": "1"}})).await,
        "patched where nothing is" => at.send(Method::PATCH, &nowhere, &changed(json!({}))).await,
        "a deployment's annotation" => {
            at.send(Method::PATCH, &url, &json!({"metadata": {"annotations": {"a": "1"}}})).await
        }
        "a deployment's template" => {
            let template = json!({"metadata": {"annotations": {"a": "1"}}});
            at.send(Method::PATCH, &url, &json!({"spec": {"template": template}})).await
        }
        _ => {
            at.send(
                Method::PATCH,
                &format!("{url}/status"),
                &json!({"status": {"observedGeneration": 0, "replicas": 1}}),
            )
            .await
        }
    };
    let after = at.get(&url).await.expect("it is there");
    let moved = |field: &str| after["metadata"][field] != before["metadata"][field];
    let version = if moved("resourceVersion") { "V" } else { "" };
    let generation = if moved("generation") { "G" } else { "" };
    format!("{} {version}{generation}", answer.words()).trim_end().to_owned()
}

/// Tries every row, each in a place of its own.
async fn differences(place: impl AsyncFn(&str) -> Place) -> Vec<String> {
    let mut found = Vec::new();
    for (number, (case, expected)) in EVICTIONS.iter().enumerate() {
        let at = place(&format!("evict-{number}")).await;
        let said = evicted(case, &at).await;
        at.done().await;
        if said != *expected {
            found.push(format!("{case}: {said:?}, not {expected:?}"));
        }
    }
    for (number, (case, expected)) in UPDATES.iter().enumerate() {
        let at = place(&format!("update-{number}")).await;
        let said = updated(case, &at).await;
        at.done().await;
        if said != *expected {
            found.push(format!("{case}: {said:?}, not {expected:?}"));
        }
    }
    found
}

#[test]
fn the_fake_api_server_keeps_the_contract() {
    let found = futures::executor::block_on(differences(async |_| Place::fake()));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test]
#[ignore = "a real API server: make test"]
async fn a_real_api_server_keeps_the_contract() {
    Place::without_controller().await;
    let found = differences(Place::real).await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}
