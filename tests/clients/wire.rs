//! `grpc-hygiene clients` as people run it, against a server that answers its queries from the pages: what is asked,
//! printed, and how it ends. There is no Kubernetes API here: owners come from kube-state-metrics.

use std::process::{Command, Output};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use grpc_hygiene::decide::{Sample, Series};
use promql_parser::parser::{Expr, VectorSelector, parse};
use serde_json::{Value, json};

#[path = "../prometheus/fake.rs"]
#[expect(dead_code, reason = "the client's own tests use more of it")]
pub mod fake;

use self::fake::{Asked, Fake, json as answer, serve};
use super::page;

/// kube-state-metrics' word on who owns the pods.
fn owners() -> Vec<Series> {
    let series = |labels: &[(&str, &str)]| Series {
        labels: labels.iter().copied().collect(),
        samples: vec![Sample { at: page::END as f64, value: 1.0 }].into(),
    };
    let of_pod = |pod: &str| {
        let owner = [("owner_kind", "ReplicaSet"), ("owner_name", "orders-5967f54959")];
        series(&[&[("__name__", "kube_pod_owner"), ("namespace", "shop"), ("pod", pod)][..], &owner].concat())
    };
    let set = [
        ("__name__", "kube_replicaset_owner"),
        ("namespace", "shop"),
        ("replicaset", "orders-5967f54959"),
        ("owner_kind", "Deployment"),
        ("owner_name", "orders"),
    ];
    vec![of_pod("orders-5967f54959-klmnl"), of_pod("orders-5967f54959-x2x4q"), series(&set)]
}

/// A metrics backend that holds these series and understands selectors.
pub async fn backend(held: Vec<Series>) -> Fake {
    serve(move |asked: Asked| {
        let reply = match asked.form.get("query").map(String::as_str) {
            Some("vector(1)") => one(),
            Some(query) => answer(found(query, &held).to_string()),
            None => StatusCode::NOT_FOUND.into_response(),
        };
        async move { reply }
    })
    .await
}

fn one() -> Response {
    let now = jiff::Timestamp::now().as_second();
    let data = json!({"resultType": "vector", "result": [{"metric": {}, "value": [now, "1"]}]});
    answer(json!({"status": "success", "data": data}).to_string())
}

fn found(query: &str, held: &[Series]) -> Value {
    let selector = selector(parse(query).expect(query));
    let matches = |it: &&Series| {
        let label = |name: &str| it.labels.get(name).unwrap_or_default();
        selector.name.as_deref().is_none_or(|name| name == label("__name__"))
            && selector.matchers.matchers.iter().all(|it| it.is_match(label(&it.name)))
    };
    let series = |it: &Series| {
        let values: Vec<Value> = it.samples.iter().map(|it| json!([it.at, it.value.to_string()])).collect();
        json!({"metric": it.labels, "values": values})
    };
    let result: Vec<Value> = held.iter().filter(matches).map(series).collect();
    json!({"status": "success", "data": {"resultType": "matrix", "result": result}})
}

fn selector(expr: Expr) -> VectorSelector {
    match expr {
        Expr::Subquery(it) => selector(*it.expr),
        Expr::MatrixSelector(it) => it.vs,
        Expr::VectorSelector(it) => it,
        other => panic!("not a selector: {other}"),
    }
}

async fn run(fake: &Fake, arguments: &[&str]) -> (Option<i32>, String, String) {
    run_with(fake, "/nowhere", arguments).await
}

/// Runs the command with a kubeconfig: how it ends, and what it prints.
pub async fn run_with(fake: &Fake, kubeconfig: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let kubeconfig = kubeconfig.to_owned();
    let url = fake.url.clone();
    let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
    let run = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grpc-hygiene"));
        command.arg("clients").args(arguments).args(["--prometheus", &url]);
        command.env("KUBECONFIG", &kubeconfig).env_remove("KUBERNETES_SERVICE_HOST");
        command.output().expect("it runs")
    };
    let Output { status, stdout, stderr } = tokio::task::spawn_blocking(run).await.expect("it ends");
    let text = |it: Vec<u8>| String::from_utf8(it).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

/// The sockets of a pod, which rise by so many each minute.
pub fn sockets(pod: &str, slope: f64) -> Series {
    let labels = [("__name__", "container_sockets"), ("namespace", "shop"), ("pod", pod), ("container", "app")];
    let sample = |n: i64| Sample { at: (page::START + 60 * n) as f64, value: (30.0 + slope * n as f64).round() };
    Series { labels: labels.into_iter().collect(), samples: (0..61).map(sample).collect() }
}

#[tokio::test]
async fn the_rogue_is_named_with_its_figures_and_the_next_step() {
    let fake = backend([page::open_telemetry(), owners()].concat()).await;
    let (code, out, err) = run(&fake, &["users", "-n", "shop", "--offline"]).await;
    assert_eq!(code, Some(1), "{out}{err}");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "shop/users: 642 connections held by 2 clients, +585 per hour, in the last 1h");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    assert_eq!(words(lines[2]), "CLIENT PODS HELD OPENED/H GROWTH/H CALLS/CONN SHARE SOURCE");
    assert_eq!(words(lines[3]), "shop deployment/orders 2 640 585 +585 3.3 100 % OpenTelemetry");
    assert_eq!(words(lines[4]), "web pod/web-6c8d9f7b5d-9sxzt 1 2 0 +0 - 0 % OpenTelemetry");
    assert!(out.contains("shop deployment/orders stands out: what it holds rises by 585 per hour"), "{out}");
    assert!(out.contains("\n  grpc-hygiene blame orders-5967f54959-klmnl -n shop\n"), "{out}");
    assert!(out.contains("note: no address of shop/users is known"), "{out}");
    assert!(lines.iter().all(|it| it.chars().count() <= 100 && !it.ends_with(' ')), "{out}");
}

#[tokio::test]
async fn an_address_opens_the_sources_that_know_addresses_only() {
    let fake = backend(page::coroot()).await;
    let flags = ["users", "-n", "shop", "--offline", "-o", "json", "--top", "1"];
    let (code, out, _) = run(&fake, &flags).await;
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, report["clients"].as_array().map(Vec::len)), (Some(2), Some(0)), "nothing known by the name");

    let with_address = [&flags[..], &["--address", "10.96.7.20:443"]].concat();
    let (code, out, _) = run(&fake, &with_address).await;
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(code, Some(1), "{out}");
    assert_eq!(report["clients"].as_array().map(Vec::len), Some(1), "the first alone: {out}");
    let client = &report["clients"][0];
    assert_eq!((&client["source"], &client["kind"]), (&json!("Coroot"), &json!("Pod")), "{out}");
    assert_eq!((&client["name"], &client["held"]), (&json!("orders-5967f54959-klmnl"), &json!(330.0)), "{out}");
    assert!(report["rogues"][0]["habit"]["grows"]["perHour"].is_number(), "{out}");
}

#[tokio::test]
async fn only_clients_of_the_namespaces_that_are_named_are_asked_for() {
    let fake = backend([page::open_telemetry(), page::istio()].concat()).await;
    let (code, out, _) = run(&fake, &["users", "-n", "shop", "--offline", "--from", "web"]).await;
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("2 connections held by 1 client") && out.contains("Nobody stands out"), "{out}");
    let queries: Vec<String> = fake.asked().iter().filter_map(|it| it.form.get("query").cloned()).collect();
    let pinned = |it: &&String| it.contains(r#"namespace="web""#);
    assert_eq!(queries.iter().filter(pinned).count(), queries.len() - 1, "all but vector(1): {queries:?}");
}

#[tokio::test]
async fn sockets_are_the_last_resort_and_say_that_they_know_no_target() {
    let fake = backend(vec![sockets("users-0", 0.0), sockets("orders-1", 5.0)]).await;
    let (code, out, _) = run(&fake, &["users", "-n", "shop", "--offline"]).await;
    assert_eq!(code, Some(0), "nobody knows which of them is the server: {out}");
    let rows: Vec<&str> = out.lines().filter(|it| it.contains("KubeletSockets") && it.contains("pod/")).collect();
    assert!(rows[0].contains("orders-1") && rows[1].contains("users-0"), "by growth: {out}");
    assert!(out.contains("note: KubeletSockets knows no target"), "{out}");
}

#[tokio::test]
async fn a_question_that_cannot_be_answered_ends_with_two_and_names_what_is_wrong() {
    let fake = backend(Vec::new()).await;
    for (flags, reason) in [
        (vec!["users.*", "-n", "shop"], "SERVICE: \"users.*\" is not the name of a Service"),
        (vec!["users", "-n", "Shop"], "--namespace: \"Shop\""),
        (vec!["users", "-n", "shop", "--from", "a|b"], "--from"),
        (vec!["users", "-n", "shop", "--address", "users:443"], "--address: \"users:443\" is neither"),
        (vec!["users", "-n", "shop", "--since", "1y"], "--since \"1y\""),
        (vec!["users", "-n", "shop", "--since", "10s"], "choose from 5m to 7d"),
        (vec!["users"], "--namespace: name the Service's"),
    ] {
        let (code, _, err) = run(&fake, &[&flags[..], &["--offline"]].concat()).await;
        assert!(code == Some(2) && err.contains(reason), "{flags:?}: {code:?} {err}");
    }
    let (code, out, _) = run(&fake, &["users", "-n", "shop"]).await;
    assert_eq!(code, Some(2), "{out}");
    assert!(out.contains("no client is known") && out.contains("note: no Kubernetes cluster was asked"), "{out}");
}

#[tokio::test]
async fn a_backend_that_refuses_every_query_is_an_error_and_not_an_empty_table() {
    let fake = serve(|asked: Asked| async move {
        match asked.form.get("query").map(String::as_str) {
            Some("vector(1)") => one(),
            _ => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    })
    .await;
    let (code, out, err) = run(&fake, &["users", "-n", "shop", "--offline", "--address", "10.96.7.20"]).await;
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("Istio could not be asked for istio_tcp_connections_opened_total"), "{err}");
}

#[tokio::test]
async fn what_was_opened_is_not_taken_for_held_when_nobody_says_what_was_closed() {
    let held = page::istio();
    let fake = serve(move |asked: Asked| {
        let reply = match asked.form.get("query").map(String::as_str) {
            Some("vector(1)") => one(),
            Some(query) if query.contains("closed") => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            Some(query) => answer(found(query, &held).to_string()),
            None => StatusCode::NOT_FOUND.into_response(),
        };
        async move { reply }
    })
    .await;
    let (code, out, _) = run(&fake, &["users", "-n", "shop", "--offline"]).await;
    assert_eq!(code, Some(2), "{out}");
    assert!(out.contains("note: Istio could not be asked for istio_tcp_connections_closed_total"), "{out}");
}
