//! Every way a query can fail, as a [`QueryFailure`]: a kind for status and metrics, and a sentence for a person.
//! No secret, no address beyond host and port, and nothing of a body but the API's own error text stands in it.

use std::error::Error;

use reqwest::StatusCode;

use super::decode::decode_error;
use crate::{
    api::print_duration,
    decide::{FailureKind, QueryFailure},
    io::http::{Endpoint, HttpError, printable, root_cause},
};

/// A failure whose message is fit to be shown.
pub fn failure(kind: FailureKind, message: &str) -> QueryFailure {
    QueryFailure { kind, message: printable(message) }
}

/// The request was not answered.
pub fn no_reply(endpoint: &Endpoint, error: &(dyn Error + 'static)) -> QueryFailure {
    let mut chain = std::iter::successors(Some(error), |&it| it.source());
    // Reqwest's errors say `timed out` at several depths, and never after how long.
    let reason = match chain.find_map(|it| it.downcast_ref::<reqwest::Error>()) {
        Some(it) if it.is_timeout() && it.is_connect() => "no connection in time".to_owned(),
        Some(it) if it.is_timeout() => format!("no complete answer within {}", print_duration(endpoint.timeout)),
        Some(it) => root_cause(it),
        None => root_cause(error),
    };
    failure(FailureKind::Unreachable, &format!("{}: {reason}", endpoint.address()))
}

/// The answer could not be read, or the request not be written.
pub fn of_http(endpoint: &Endpoint, error: &HttpError) -> QueryFailure {
    let kind = match error {
        HttpError::Broken(error) => return no_reply(endpoint, error),
        HttpError::File { .. } => FailureKind::Unauthorized,
        HttpError::TooLarge(_) => FailureKind::TooLarge,
        HttpError::Encoding(_) | HttpError::Client(_) => FailureKind::Unexpected,
    };
    failure(kind, &error.to_string())
}

/// The server answered with a status other than success.
pub fn of_status(status: StatusCode, body: &[u8]) -> QueryFailure {
    let (kind, hint) = match status.as_u16() {
        401 | 403 => (FailureKind::Unauthorized, "check bearerTokenFile or basicAuth"),
        404 => (FailureKind::Refused, "is the path of the address right?"),
        300..=399 => (FailureKind::Refused, "redirects are not followed: configure the final address"),
        429 | 503 => (FailureKind::Overloaded, "the server is busy or starting"),
        502 | 504 => (FailureKind::Unreachable, "a proxy does not reach the server"),
        400..=499 => (FailureKind::Refused, "the query was refused"),
        _ => (FailureKind::Unexpected, "the server failed"),
    };
    let said = decode_error(body).unwrap_or_else(|| hint.to_owned());
    failure(kind, &format!("HTTP {status}: {said}"))
}

/// The API's own error under a status of success.
pub fn api_error(kind: Option<&str>, said: Option<&str>) -> QueryFailure {
    let kind = match kind {
        Some("timeout" | "canceled" | "unavailable" | "too_many_requests") => FailureKind::Overloaded,
        Some("internal") | None => FailureKind::Unexpected,
        Some(_) => FailureKind::Refused,
    };
    failure(kind, said.unwrap_or("the answer says neither success nor why not"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_kind_and_its_hint() {
        for (status, kind) in [
            (400, FailureKind::Refused),
            (401, FailureKind::Unauthorized),
            (403, FailureKind::Unauthorized),
            (404, FailureKind::Refused),
            (302, FailureKind::Refused),
            (422, FailureKind::Refused),
            (429, FailureKind::Overloaded),
            (502, FailureKind::Unreachable),
            (503, FailureKind::Overloaded),
            (500, FailureKind::Unexpected),
        ] {
            let failure = of_status(StatusCode::from_u16(status).expect("a status"), b"<html>secret</html>");
            assert_eq!(failure.kind, kind, "{status}");
            assert!(failure.message.starts_with(&format!("HTTP {status}")), "{failure}");
            assert!(!failure.message.contains("secret"), "a body that is not the API's is not shown: {failure}");
        }
    }

    #[test]
    fn the_servers_sentence_is_shown_on_one_short_line() {
        let body =
            format!(r#"{{"status":"error","errorType":"execution","error":"too many\nsamples {}"}}"#, "x".repeat(900));
        let failure = of_status(StatusCode::UNPROCESSABLE_ENTITY, body.as_bytes());
        assert!(failure.message.contains("too many samples x"));
        assert_eq!(failure.message.chars().count(), 256);
    }
}
