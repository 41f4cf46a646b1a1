//! The Prometheus client against servers that answer well, badly, slowly, without end, or not at all, over real
//! sockets. What an answer may hold is tested beside the decoder; here is what happens on the wire.

#[path = "prometheus/canary.rs"]
mod canary;
#[path = "prometheus/fake.rs"]
mod fake;
#[path = "prometheus/history.rs"]
mod history;
#[path = "prometheus/real.rs"]
mod real;
#[path = "prometheus/transport.rs"]
mod transport;

use std::time::Duration;

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use fake::{AT, EMPTY, Fake, endpoint, json, serve, up};
use grpc_hygiene::{
    decide::{FailureKind, Matrix, QueryFailure},
    io::prometheus::Prometheus,
};

/// Reads one query from a server that always answers like this.
async fn read(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> Result<Matrix, QueryFailure> {
    let fake = serve(move |_| std::future::ready(answer())).await;
    read_from(&fake).await
}

/// The answer to `vector(1)` at a time.
fn one(at: &str) -> String {
    let element = format!(r#"[{{"metric":{{}},"value":[{at},"1"]}}]"#);
    EMPTY.replace("matrix", "vector").replace("[]", &element)
}

async fn read_from(fake: &Fake) -> Result<Matrix, QueryFailure> {
    let prometheus = Prometheus::new(&endpoint(&fake.url)).expect("a client");
    prometheus.read("up[5m]", AT).await.map(|it| (*it).clone())
}

#[tokio::test]
async fn the_query_is_posted_with_its_time_its_deadline_and_the_wish_for_whole_answers() {
    let fake = serve(|_| async { json(up("[1,\"1\"]")) }).await;
    let matrix = read_from(&fake).await.expect("an answer");
    assert_eq!((matrix.series.len(), matrix.series[0].labels.get("pod")), (1, Some("a")));
    let asked = &fake.asked()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/api/v1/query"));
    for (name, value) in [
        ("query", "up[5m]"),
        ("time", "1700000000"),
        ("timeout", "1800ms"),
        ("partial_response", "false"),
        ("deny_partial_response", "1"),
    ] {
        assert_eq!(asked.form[name], value);
    }
    assert_eq!(asked.headers[header::USER_AGENT], concat!("grpc-hygiene/", env!("CARGO_PKG_VERSION")));
    assert_eq!(asked.headers[header::ACCEPT_ENCODING], "identity");
}

#[tokio::test]
async fn a_server_below_a_path_is_asked_below_that_path() {
    let fake = serve(|_| async { json(EMPTY) }).await;
    let prometheus = Prometheus::new(&endpoint(&format!("{}/prom/", fake.url))).expect("a client");
    prometheus.read("up[5m]", AT).await.expect("an answer");
    prometheus.probe().await.expect_err("a matrix is not an instant");
    assert_eq!(fake.asked()[0].path, "/prom/api/v1/query");
}

#[tokio::test]
async fn warnings_and_partial_answers_stay_visible() {
    let warned =
        r#"{"status":"success","data":{"resultType":"matrix","result":[]},"warnings":["no store"],"isPartial":true}"#;
    let matrix = read(move || json(warned)).await.expect("an answer");
    assert_eq!(matrix.warnings.len(), 2);
    assert_eq!(matrix.warnings[0], "no store");
}

#[tokio::test]
async fn an_empty_answer_is_an_answer_without_series() {
    assert_eq!(read(|| json(EMPTY)).await, Ok(Matrix::default()));
}

#[tokio::test]
async fn odd_samples_arrive_as_they_are() {
    let matrix = read(|| json(up(r#"[3,"NaN"],[2,"+Inf"],[2,"+Inf"],[1,"-1"]"#))).await.expect("an answer");
    let times: Vec<f64> = matrix.series[0].samples.iter().map(|it| it.at).collect();
    assert_eq!(times, [3.0, 2.0, 2.0, 1.0]);
    assert!(matrix.series[0].samples[0].value.is_nan() && matrix.series[0].samples[1].value.is_infinite());
}

#[tokio::test]
async fn a_refusal_is_told_by_its_kind_and_in_the_servers_words() {
    for (status, kind) in [
        (400, FailureKind::Refused),
        (401, FailureKind::Unauthorized),
        (403, FailureKind::Unauthorized),
        (404, FailureKind::Refused),
        (422, FailureKind::Refused),
        (429, FailureKind::Overloaded),
        (503, FailureKind::Overloaded),
    ] {
        let status = StatusCode::from_u16(status).expect("a status");
        let body = r#"{"status":"error","errorType":"any","error":"what the server says"}"#;
        let failure = read(move || (status, json(body)).into_response()).await.expect_err("a refusal");
        assert_eq!(failure.kind, kind, "{status}");
        assert!(
            failure.message.contains("what the server says") && failure.message.contains(status.as_str()),
            "{failure}"
        );
    }
}

#[tokio::test]
async fn an_error_without_the_apis_body_shows_no_body() {
    let failure = read(|| (StatusCode::SERVICE_UNAVAILABLE, "token=hunter2").into_response()).await.expect_err("busy");
    assert_eq!(failure.kind, FailureKind::Overloaded);
    assert!(!failure.message.contains("hunter2"), "{failure}");
}

#[tokio::test]
async fn a_web_page_under_200_is_not_json() {
    let failure = read(|| axum::response::Html("<html>Log in</html>").into_response()).await.expect_err("a page");
    assert_eq!(failure.kind, FailureKind::NotJson);
    assert!(failure.message.contains("login page"), "{failure}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    let shorter = || {
        let cut = futures::stream::iter([Ok(EMPTY[..20].to_owned()), Err(std::io::Error::other("cut"))]);
        Response::builder().header(header::CONTENT_LENGTH, 500).body(Body::from_stream(cut)).expect("a response")
    };
    let failure = read(shorter).await.expect_err("cut on the wire");
    assert_eq!(failure.kind, FailureKind::Unreachable, "{failure}");
    let failure = read(|| json(&EMPTY[..20])).await.expect_err("cut before the wire");
    assert_eq!(failure.kind, FailureKind::NotJson, "{failure}");
}

#[tokio::test]
async fn a_redirect_is_refused_and_not_followed() {
    let target = serve(|_| async { json(EMPTY) }).await;
    let location = format!("{}/stolen", target.url);
    let failure =
        read(move || (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location.clone())]).into_response())
            .await
            .expect_err("a redirect");
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(failure.message.contains("redirects are not followed"), "{failure}");
    assert!(target.asked().is_empty());
}

#[tokio::test]
async fn what_never_ends_ends_at_the_deadline() {
    let silent = serve(|_| std::future::pending::<Response>()).await;
    let dripping = serve(|_| async {
        let drops = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Some((Ok::<_, std::io::Error>(" "), ()))
        });
        Body::from_stream(drops).into_response()
    })
    .await;
    for fake in [silent, dripping] {
        let failure = tokio::time::timeout(Duration::from_secs(10), read_from(&fake))
            .await
            .expect("in time")
            .expect_err("too slow");
        assert_eq!(failure.kind, FailureKind::Unreachable);
        assert!(failure.message.ends_with("no complete answer within 2s"), "{failure}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let failure = Prometheus::new(&endpoint("http://127.0.0.1:1"))
        .expect("a client")
        .read("up[5m]", AT)
        .await
        .expect_err("nobody");
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert_eq!(failure.message, "127.0.0.1:1: Connection refused (os error 111)");
}

#[tokio::test]
async fn a_probe_tells_version_and_clock() {
    let hour_ahead = jiff::Timestamp::now().as_second() + 3_600;
    let fake = serve(move |asked| async move {
        match asked.path.as_str() {
            "/api/v1/status/buildinfo" => json(r#"{"status":"success","data":{"version":"3.14.0","revision":"x"}}"#),
            _ => json(one(&format!("{hour_ahead}.5"))),
        }
    })
    .await;
    let info = Prometheus::new(&endpoint(&fake.url)).expect("a client").probe().await.expect("a probe");
    assert_eq!(info.version.as_deref(), Some("3.14.0"));
    assert!((3_590.0..=3_601.0).contains(&info.clock_ahead), "{info:?}");
}

#[tokio::test]
async fn a_backend_that_does_not_say_its_version_is_a_backend() {
    let now = jiff::Timestamp::now().as_second();
    let fake = serve(move |asked| async move {
        match asked.path.as_str() {
            "/api/v1/query" => json(one(&now.to_string())),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    })
    .await;
    let info = Prometheus::new(&endpoint(&fake.url)).expect("a client").probe().await.expect("a probe");
    assert_eq!(info.version, None);
}

#[tokio::test]
async fn alerting_rules_are_asked_for_by_name_with_the_credentials_and_a_warning_spoils_the_answer() {
    let answer = r#"{"status":"success","data":{"groups":[{"name":"g","rules":[{"type":"alerting","name":"Node down",
        "state":"inactive","health":"ok","lastEvaluation":"2027-01-15T08:59:45Z","alerts":[]}]}]}}"#;
    let names = std::collections::BTreeSet::from(["Node down".to_owned()]);
    let fake = serve(move |_| async move { json(answer) }).await;
    let token_file = fake::file("rules-token", "secret");
    let credentials = Some(grpc_hygiene::io::config::Credentials::Bearer { token_file });
    let with_token = grpc_hygiene::io::config::Endpoint { credentials, ..endpoint(&fake.url) };
    let prometheus = Prometheus::new(&with_token).expect("a client");
    let rules = prometheus.alerting_rules(&names).await.expect("an answer");
    assert_eq!((rules.len(), rules[0].state.as_str()), (1, "inactive"));
    let asked = &fake.asked()[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", "/api/v1/rules"));
    assert_eq!(asked.query, "type=alert&rule_name%5B%5D=Node+down");
    assert_eq!(asked.headers[header::AUTHORIZATION], "Bearer secret");
    let partial =
        serve(move |_| async move { json(answer.replacen('{', r#"{"warnings":["a ruler is away"],"#, 1)) }).await;
    let prometheus = Prometheus::new(&endpoint(&partial.url)).expect("a client");
    let failure = prometheus.alerting_rules(&names).await.expect_err("not whole");
    assert!(failure.message.contains("a ruler is away"), "{failure}");
    assert_eq!(prometheus.take_counts().into_iter().collect::<Vec<_>>(), [("Unexpected", 1)]);
}
