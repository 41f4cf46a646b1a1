//! The deny table: every kind, every forbidden field, every way to write. Each change is tried by the acting account,
//! which must be refused by its fence; by the observing account, likewise; and by somebody else, who must not notice.

use std::collections::BTreeSet;

use http::Method;
use kube::Client;
use serde_json::{Value, json};

use grpc_hygiene::api::names::annotations;

use crate::{
    kinds::{Kind, all, deployment, rollout_definition},
    real::until,
    release::Release,
    tries::{Answer, Try, send},
};

/// A change that the fence must refuse, and whether the API server refuses it to everybody.
struct Row {
    it: Try,
    immutable: bool,
}

/// Changes of metadata that are refused whatever the kind.
fn metadata() -> Vec<(&'static str, Value)> {
    let mark = |key: &str| json!({"annotations": {key: "x"}});
    vec![
        ("a label", json!({"labels": {"more": "1"}})),
        ("a label's value", json!({"labels": {"team": "another"}})),
        ("a label's removal", json!({"labels": {"team": null}})),
        ("a foreign annotation", mark("more")),
        ("a foreign annotation's value", mark("theirs")),
        ("a foreign annotation's removal", json!({"annotations": {"theirs": null}})),
        ("an annotation of a neighbour's name", mark("grpc-hygiene.io.evil/diagnosis")),
        ("an annotation that people write to us", mark(annotations::EXEMPT)),
        ("another one", mark(annotations::PPROF)),
        ("a finalizer", json!({"finalizers": ["example.com/stay"]})),
        ("an owner", json!({"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}]})),
    ]
}

fn rows(kind: &Kind, namespace: &str) -> Vec<Row> {
    let path = kind.path(namespace);
    let row = |what: String, body: Value, immutable| Row { it: Try::patch(&what, &path, body), immutable };
    let named = |what: &str| format!("{} {what}", kind.name);
    let metadata = metadata().into_iter().map(|(what, it)| row(named(what), json!({"metadata": it}), false));
    let both = json!({"metadata": {"annotations": {annotations::DIAGNOSIS: "x", "theirs": "2"}}});
    let spec = kind
        .changes
        .iter()
        .map(|it| row(named(&format!("{} {}", it.field, it.patch)), json!({"spec": it.patch}), it.immutable));
    metadata.chain(spec).chain([row(named("an own annotation and a foreign one"), both, false)]).collect()
}

/// What the operator may write to a kind: each of its annotations, their removal, and what restarts.
fn allowed(kind: &Kind, namespace: &str) -> Vec<Try> {
    let path = kind.path(namespace);
    let mark = |key: &str, value: Value| {
        Try::patch(&format!("{} {key}: {value}", kind.name), &path, json!({"metadata": {"annotations": {key: value}}}))
    };
    let marks =
        annotations::WRITTEN.iter().flat_map(|it| [mark(it, "x".into()), mark(it, "y".into()), mark(it, Value::Null)]);
    let restarts =
        kind.restarts.iter().flatten().map(|it| Try::patch(&format!("{} {it}", kind.name), &path, json!({"spec": it})));
    marks.chain(restarts).collect()
}

/// Tries rows as all three, and says what is not as it must be.
async fn problems(release: &Release, fence: &str, rows: &[Row]) -> Vec<String> {
    let users = [release.actor(), release.observer()];
    let clients = users.map(|it| release.client_of(&it));
    let fenced = Answer::Fenced(fence.to_owned());
    let mut problems = Vec::new();
    for Row { it, immutable } in rows {
        for client in &clients {
            let answer = send(client, it).await;
            let before = matches!(answer, Answer::Refused(422, _)) && *immutable;
            if answer != fenced && !before {
                problems.push(format!("{}: {answer:?}", it.what));
            }
        }
        let other = send(&release.admin, &it.dry()).await;
        let passes = if *immutable { matches!(other, Answer::Refused(422, _)) } else { other == Answer::Allowed };
        if !passes {
            problems.push(format!("{} by somebody else: {other:?}", it.what));
        }
    }
    problems
}

/// What of an object may not have moved.
async fn frozen(client: &Client, path: &str) -> Value {
    let request = http::Request::get(path).body(Vec::new()).expect("a request");
    let mut object: Value = client.request(request).await.expect("the object");
    let metadata = object["metadata"].as_object_mut().expect("metadata");
    metadata.retain(|key, _| !["managedFields", "resourceVersion"].contains(&key.as_str()));
    // The controller writes it when it first sees the object.
    metadata["annotations"].as_object_mut().expect("annotations").remove("deployment.kubernetes.io/revision");
    json!([metadata, object["spec"]])
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn of_pods_and_workloads_nothing_may_change_but_our_annotations_and_what_restarts() {
    let release = Release::new("deny", &[]).await.with_all_rights().await;
    // After the policies: they hold for a kind that is installed later.
    let definition =
        Try::post("the definition", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", rollout_definition());
    assert_eq!(send(&release.admin, &definition).await, Answer::Allowed);
    let rollouts = Try::new(Method::GET, "", "/apis/argoproj.io/v1alpha1/rollouts", json!({}));
    until("rollouts", async || send(&release.admin, &rollouts).await == Answer::Allowed).await;
    let (actor, observer) = (release.client_of(&release.actor()), release.client_of(&release.observer()));
    let mut found = Vec::new();
    for kind in all() {
        kind.create(&release).await;
        let path = kind.path(&release.namespace);
        let before = frozen(&release.admin, &path).await;
        found.extend(problems(&release, kind.fence, &rows(&kind, &release.namespace)).await);
        if frozen(&release.admin, &path).await != before {
            found.push(format!("{}: what was refused left a trace", kind.name));
        }
        for it in allowed(&kind, &release.namespace) {
            let (observed, acted) = (send(&observer, &it).await, send(&actor, &it).await);
            if (&observed, &acted) != (&Answer::Fenced(kind.fence.to_owned()), &Answer::Allowed) {
                found.push(format!("{}: observing {observed:?}, acting {acted:?}", it.what));
            }
        }
        found.extend(problems(&release, kind.fence, &removal(&kind, &release.namespace)).await);
    }
    let gone = Try::delete("the definition", &format!("{}/rollouts.argoproj.io", definition.path));
    assert_eq!(send(&release.admin, &gone).await, Answer::Allowed);
    assert!(found.is_empty(), "{} problems:\n{}", found.len(), found.join("\n"));
    release.done().await;
}

/// To take back what restarted would restart again. It can be tried only after it has been written.
fn removal(kind: &Kind, namespace: &str) -> Vec<Row> {
    let Some([mut patch, _]) = kind.restarts.clone() else { return Vec::new() };
    clear(&mut patch);
    let it = Try::patch(&format!("{} {patch}", kind.name), &kind.path(namespace), json!({"spec": patch}));
    vec![Row { it, immutable: false }]
}

/// Makes the patch that sets a value one that removes it.
fn clear(patch: &mut Value) {
    match patch {
        Value::Object(fields) => fields.values_mut().for_each(clear),
        other => *other = Value::Null,
    }
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn it_does_not_matter_how_a_change_is_written() {
    let release = Release::new("ways", &[]).await.with_all_rights().await;
    let kind = deployment();
    kind.create(&release).await;
    let path = kind.path(&release.namespace);
    let mut whole = kind.object();
    whole["spec"]["replicas"] = 1.into();
    whole["metadata"]["namespace"] = release.namespace.clone().into();
    let apply =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "probe"}, "spec": {"replicas": 1}});
    let ways = [
        Try::patch("a merge patch", &path, json!({"spec": {"replicas": 1}})),
        Try::patch("a strategic patch", &path, json!({"spec": {"replicas": 1}}))
            .with("application/strategic-merge-patch+json"),
        Try::patch("a JSON patch", &path, json!([{"op": "replace", "path": "/spec/replicas", "value": 1}]))
            .with("application/json-patch+json"),
        Try::patch("an apply", &format!("{path}?fieldManager=a&force=true"), apply)
            .with("application/apply-patch+yaml"),
        Try::new(Method::PUT, "a replacement", &path, whole),
    ];
    let rows: Vec<Row> = ways.into_iter().map(|it| Row { it, immutable: false }).collect();
    assert_eq!(problems(&release, kind.fence, &rows).await, Vec::<String>::new());
    release.done().await;
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn the_expressions_fit_the_types_of_the_api_server() {
    let release = Release::new("types", &[]).await;
    let policies: BTreeSet<String> = release.policies().into_iter().collect();
    assert_eq!(policies.len(), 7, "{policies:?}");
    assert_eq!(release.warnings().await, Vec::<String>::new());
    release.done().await;
}

#[test]
fn the_chart_lists_the_annotations_that_the_operator_writes() {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/grpc-hygiene/templates/_admission.tpl");
    let text = std::fs::read_to_string(chart).expect("the template");
    let line = text.lines().find(|it| it.contains("$marks := list")).expect("the list");
    let listed: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
    assert_eq!(listed, annotations::WRITTEN);
}
