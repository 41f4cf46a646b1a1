//! A metrics backend that holds the series of so many healthy pods. It understands the shapes of query that the operator
//! sends, and makes up the answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Bytes, http::Uri, routing::any};
use jiff::Timestamp;
use promql_parser::parser::{Expr, parse};

use super::process;

/// Between two scrapes, seconds.
const SCRAPE: i64 = 30;
/// What each pod exports: the metric, where it stands, and how much it grows in a second.
const EXPORTED: [(&str, f64, f64); 6] = [
    ("grpc_subchannel_open_connections", 4.0, 0.0),
    ("grpc_subchannel_connection_attempts_succeeded_total", 4.0, 0.0),
    ("grpc_client_attempt_started_total", 0.0, 20.0),
    ("container_memory_working_set_bytes", 120e6, 0.0),
    ("go_goroutines", 40.0, 0.0),
    ("process_open_fds", 16.0, 0.0),
];

/// How often the backend was asked.
#[derive(Clone, Default)]
pub struct Queries(Arc<AtomicUsize>);

impl Queries {
    /// So far.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Serves the backend, and says where.
pub async fn serve(pods: usize) -> (String, Queries) {
    let queries = Queries::default();
    let asked = queries.clone();
    let handle = move |_: Uri, body: Bytes| {
        asked.0.fetch_add(1, Ordering::Relaxed);
        let url = reqwest::Url::parse(&format!("form:?{}", String::from_utf8_lossy(&body))).expect("a form");
        let form: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        async move { ([("content-type", "application/json")], answer(&form, pods)) }
    };
    (process::serve(Router::new().fallback(any(handle))).await, queries)
}

fn answer(form: &BTreeMap<String, String>, pods: usize) -> String {
    let now = Timestamp::now().as_second();
    let at: i64 = form.get("time").and_then(|it| it.parse().ok()).unwrap_or(now);
    let query = form.get("query").map_or("", String::as_str);
    if query == "vector(1)" {
        let vector = format!(r#"[{{"metric":{{}},"value":[{now},"1"]}}]"#);
        return format!(r#"{{"status":"success","data":{{"resultType":"vector","result":{vector}}}}}"#);
    }
    if query.is_empty() {
        return r#"{"status":"success","data":{"version":"3.0.0"}}"#.to_owned();
    }
    let expr = parse(query).expect("PromQL");
    let ((span, step), namespaces) = (shape(&expr), namespaces(&expr));
    let mut body = String::from(r#"{"status":"success","data":{"resultType":"matrix","result":["#);
    let exported = EXPORTED.iter().find(|(name, ..)| query.contains(name));
    let asked = |pod: &usize| namespaces.contains(&super::api_server::namespace_of(*pod));
    for (count, pod) in (0..exported.map_or(0, |_| pods)).filter(asked).enumerate() {
        let (name, level, slope) = exported.expect("a metric");
        if count > 0 {
            body.push(',');
        }
        series(&mut body, (name, *level, *slope), pod, (at, span, step));
    }
    body.push_str("]}}");
    body
}

/// The namespaces that a query is about.
fn namespaces(expr: &Expr) -> BTreeSet<String> {
    let selector = match expr {
        Expr::MatrixSelector(it) => &it.vs,
        Expr::Subquery(it) => return namespaces(&it.expr),
        Expr::Call(it) => return it.args.args.iter().flat_map(|it| namespaces(it)).collect(),
        other => panic!("the operator asks for samples, not for {other}"),
    };
    let named = selector.matchers.matchers.iter().filter(|it| it.name == "namespace");
    named.flat_map(|it| it.value.split('|').map(str::to_owned)).collect()
}

/// How far a query looks back, and in which steps.
fn shape(expr: &Expr) -> (i64, i64) {
    let seconds = |it: std::time::Duration| i64::try_from(it.as_secs()).expect("a span");
    match expr {
        Expr::MatrixSelector(it) => (seconds(it.range), SCRAPE),
        Expr::Subquery(it) => (seconds(it.range), it.step.map_or(SCRAPE, seconds)),
        other => panic!("the operator asks for ranges, not for {other}"),
    }
}

fn series(body: &mut String, (name, level, slope): (&str, f64, f64), pod: usize, (at, span, step): (i64, i64, i64)) {
    let (ip, namespace) = (super::api_server::ip(pod), super::api_server::namespace_of(pod));
    write!(
        body,
        r#"{{"metric":{{"__name__":"{name}","namespace":"{namespace}","pod":"orders-{pod:05}","container":"app","instance":"{ip}:8080","job":"pods"}},"values":["#
    )
    .expect("writing to a string");
    let newest = at.div_euclid(step) * step;
    let points = span / step;
    for point in (0..points).rev() {
        let time = newest - point * step;
        let noise = ((pod as i64 * 7_919 + time * 104_729) % 7) as f64 / 1_000.0;
        let value = (level * (1.0 + noise) + slope * (time % 1_000_000) as f64).round();
        let comma = if point + 1 == points { "" } else { "," };
        write!(body, r#"{comma}[{time},"{value}"]"#).expect("writing to a string");
    }
    body.push_str("]}");
}
