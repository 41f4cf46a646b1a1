//! A past that is read piece by piece: nothing is left out between the pieces, and what fails for good is told.

use std::{collections::BTreeMap, time::Duration};

use axum::{http::StatusCode, response::IntoResponse};
use grpc_hygiene::{
    api::parse_duration,
    decide::Policy,
    io::{
        config::Config,
        history::{HistoryError, Read, Span, read},
        observe::Eyes,
        prometheus::Prometheus,
    },
    signals::Scope,
};
use jiff::{SignedDuration, Timestamp};

use crate::fake::{AT, Asked, EMPTY, Fake, endpoint, json, serve};

const LENGTH: Duration = Duration::from_secs(3 * 86_400 + 1_234);

/// The metrics in a query, and how far it looks back, seconds.
fn question(asked: &Asked) -> (String, u64) {
    let query = &asked.form["query"];
    let (selector, range) = query.rsplit_once('[').expect("a range");
    let range = parse_duration(range.trim_end_matches(']')).expect("a duration");
    (selector.to_owned(), range.as_secs())
}

fn end(asked: &Asked) -> i64 {
    asked.form["time"].parse().expect("a time")
}

async fn read_from(fake: &Fake, shares: &mut Vec<f64>) -> Result<Read, HistoryError> {
    let prometheus = Prometheus::new(&endpoint(&fake.url)).expect("a client");
    let config = Config::with_prometheus(&fake.url).expect("an address");
    let eyes = Eyes { prometheus: &prometheus, config: &config };
    let rules = serde_json::from_value(serde_json::json!({"allPods": true})).expect("rules");
    let policy = Policy::parse(&rules).expect("a policy");
    let scope = Scope::new(["shop".to_owned()]).expect("a scope");
    let span = Span { from: AT, to: AT + SignedDuration::try_from(LENGTH).expect("a time") };
    read(&eyes, &policy, &scope, span, &mut |share| shares.push(share)).await
}

#[tokio::test]
async fn the_pieces_of_every_source_cover_the_whole_time() {
    let fake = serve(|_| async { json(EMPTY) }).await;
    let mut shares = Vec::new();
    let read = read_from(&fake, &mut shares).await.expect("a past");
    assert!(read.recording.answers.is_empty() && read.warnings.is_empty());
    assert!(shares.is_sorted() && shares.last() == Some(&1.0), "{shares:?}");
    let mut covered: BTreeMap<String, i64> = BTreeMap::new();
    for asked in fake.asked() {
        let (selector, range) = question(&asked);
        let until = covered.entry(selector).or_insert(AT.as_second());
        assert_eq!(
            end(&asked) - i64::try_from(range).expect("small"),
            *until,
            "a piece begins where the last one ended"
        );
        *until = end(&asked);
    }
    assert!(covered.len() > 20, "{covered:?}");
    assert!(covered.keys().any(|it| it.contains("last_terminated_reason")), "OOM kills are asked for");
    let to = AT.as_second() + i64::try_from(LENGTH.as_secs()).expect("small");
    assert!(covered.values().all(|it| *it == to), "{covered:?}");
}

#[tokio::test]
async fn a_piece_that_is_too_much_is_halved_and_copies_at_the_borders_are_one_sample() {
    let fake = serve(|asked| async move {
        let (selector, range) = question(&asked);
        if !selector.contains("go_goroutines") {
            return json(EMPTY);
        }
        if range > 3_600 {
            let body = r#"{"status":"error","errorType":"execution","error":"too many samples"}"#;
            return (StatusCode::UNPROCESSABLE_ENTITY, body).into_response();
        }
        // A sample at both ends of the piece.
        let (end, begin) = (end(&asked), end(&asked) - i64::try_from(range).expect("small"));
        let series =
            format!(r#"[{{"metric":{{"__name__":"go_goroutines","pod":"a"}},"values":[[{begin},"7"],[{end},"7"]]}}]"#);
        json(EMPTY.replace("[]", &series))
    })
    .await;
    let read = read_from(&fake, &mut Vec::new()).await.expect("a past");
    let [answer] = read.recording.answers.as_slice() else { panic!("{:?}", read.recording) };
    let samples = &answer.result.as_ref().expect("an answer").series[0].samples;
    assert!(samples.windows(2).all(|pair| pair[0].at < pair[1].at && pair[1].at - pair[0].at <= 3_600.0));
    let first = Timestamp::from_second(samples[0].at as i64).expect("a time");
    assert_eq!((first, samples.len()), (AT, 74));
}

#[tokio::test]
async fn what_fails_however_little_is_asked_ends_it_with_the_source_and_the_time() {
    let fake = serve(|asked| async move {
        if question(&asked).0.contains("go_goroutines") { StatusCode::BAD_REQUEST.into_response() } else { json(EMPTY) }
    })
    .await;
    let error = read_from(&fake, &mut Vec::new()).await.expect_err("a failure").to_string();
    assert!(error.contains("Goroutines from GoRuntime") && error.contains("HTTP 400"), "{error}");
}

#[tokio::test]
async fn warnings_are_told_once() {
    let warned = EMPTY.replace("}}", r#"},"warnings":["no store"]}"#);
    assert!(warned.contains("warnings"));
    let fake = serve(move |_| std::future::ready(json(warned.clone()))).await;
    let read = read_from(&fake, &mut Vec::new()).await.expect("a past");
    assert_eq!(read.warnings, ["no store"]);
}
