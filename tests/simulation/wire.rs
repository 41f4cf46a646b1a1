//! The way of a process's requests to the API server: each gets its fate when it is sent, arrives and is answered at
//! times of the simulation's, and is carried out whether or not its sender still lives.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body as Answer, Bytes};
use futures::{FutureExt, channel::mpsc, future::BoxFuture};
use http::{Method, Request, Response, StatusCode, header};
use kube::client::Body;
use serde_json::Value;
use tower::{BoxError, Service};

use crate::{
    replica::{EPOCH, local_now},
    world::{Millis, Sending, World},
};

/// Whose request it is, which says what it may do and how long its sender waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Reading,
    Acting,
    Election,
}

/// A request as it was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub place: usize,
    pub life: u64,
    pub role: Role,
    pub at: Millis,
    pub method: Method,
    pub path: String,
    pub query: String,
    pub apply: bool,
    pub body: Value,
}

impl Sent {
    /// What would disturb somebody: an eviction, or a rollout.
    pub fn disturbs(&self) -> bool {
        self.path.ends_with("/eviction") || !self.body["spec"]["template"].is_null()
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.split('&').find_map(|it| it.strip_prefix(name)?.strip_prefix('='))
    }

    /// The namespace in its path.
    pub fn namespace(&self) -> &str {
        self.path.split("/namespaces/").nth(1).and_then(|it| it.split('/').next()).unwrap_or_default()
    }
}

/// What comes back.
pub enum Reply {
    Json { code: u16, body: Value, retry_after: Option<u64> },
    Stream(mpsc::UnboundedReceiver<Result<Bytes, std::io::Error>>),
}

/// See the head of the file.
#[derive(Clone)]
pub struct Wire {
    pub sending: Sending,
    pub role: Role,
}

/// What happens to a request on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Fine,
    /// It never arrives.
    Lost,
    /// It is carried out, and the answer is lost.
    ReplyLost,
    /// A server that is not itself answers.
    Status(u16),
}

impl Service<Request<Body>> for Wire {
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Answer>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { sending, role } = self.clone();
        let (parts, body) = request.into_parts();
        let text = format!("{} {} {}", parts.method, parts.uri, sending.place);
        if sending.world.lock().expect("no panic").about_to_send(sending.place, role, &text, local_now()) {
            // The simulation takes over before this request goes on.
            sending.sent.notify_one();
        }
        let apply = parts.headers.get(header::CONTENT_TYPE).is_some_and(|it| it == "application/apply-patch+yaml");
        async move {
            let body = body.collect_bytes().await?;
            let sent = Sent {
                place: sending.place,
                life: sending.life,
                role,
                at: local_now(),
                method: parts.method,
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().trim_start_matches('&').to_owned(),
                apply,
                body: serde_json::from_slice(&body).unwrap_or(Value::Null),
            };
            let (tell, told) = futures::channel::oneshot::channel();
            let late = give_up(role, &sent);
            sending.world.lock().expect("no panic").send(sent, tell);
            sending.sent.notify_one();
            // The acting client has a patience of its own; the others' stands in the configuration of a connection.
            let answer = tokio::time::timeout(late, told).await;
            let (now, reply) = answer.map_err(|_| "no answer")?.map_err(|_| "the connection was reset")?;
            response(now, reply)
        }
        .boxed()
    }
}

fn give_up(role: Role, sent: &Sent) -> Duration {
    match role {
        Role::Reading if sent.parameter("watch").is_some() => Duration::from_secs(295),
        Role::Reading => Duration::from_secs(30),
        Role::Election => Duration::from_secs(5),
        Role::Acting => Duration::from_secs(3_600),
    }
}

/// The answer, with the time of the API server that gave it.
fn response(date: i64, reply: Reply) -> Result<Response<Answer>, BoxError> {
    let (code, body, retry_after) = match reply {
        Reply::Json { code, body, retry_after } => (code, Answer::from(body.to_string()), retry_after),
        Reply::Stream(stream) => (200, Answer::from_stream(stream), None),
    };
    let date = jiff::Timestamp::from_millisecond(EPOCH * 1_000 + date)?;
    let date = jiff::fmt::rfc2822::to_string(&date.to_zoned(jiff::tz::TimeZone::UTC))?;
    let mut response = Response::new(body);
    response.headers_mut().insert(header::DATE, date.parse()?);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    *response.status_mut() = StatusCode::from_u16(code)?;
    Ok(response)
}

/// A request's way, settled when it is sent. It follows from the request and not from what else is sent at the time, whose
/// order within a millisecond nobody settles.
#[derive(Clone, Copy, Debug)]
pub struct Journey {
    pub fate: Fate,
    pub there: Millis,
    pub back: Millis,
    /// Whether a server that is not itself does what it was asked for.
    pub carried: bool,
    /// How long after a loss the connection breaks. `None`: it never does.
    pub broken_after: Option<Millis>,
    /// Which API server tells the time.
    pub second_server: bool,
    /// Its sender dies when the answer comes.
    pub fatal: bool,
}

impl World {
    pub fn journey(&mut self, sent: &Sent) -> Journey {
        let role = sent.role;
        let text = format!("{} {} {} {}", sent.place, sent.method, sent.path, sent.query);
        let mut dice = self.dice_of(&text, sent.at);
        let (mut there, mut back) = (dice.between(1, 12), dice.between(1, 12));
        let second_server = dice.happens(500);
        let fine =
            Journey { fate: Fate::Fine, there, back, carried: true, broken_after: None, second_server, fatal: false };
        if self.loses_answer(sent) {
            self.count("write: answer lost");
            return Journey { fate: Fate::ReplyLost, ..fine };
        }
        if self.calm {
            return fine;
        }
        if self.is_cut_off(sent) {
            self.count("request cut off");
            return Journey { fate: Fate::Lost, ..fine };
        }
        if dice.happens(if role == Role::Acting { 100 } else { 15 }) {
            // A proxy may hold a request for longer than anybody waits for the answer.
            let longest = if role == Role::Acting { dice.pick(&[5_000, 15_000, 90_000]) } else { 4_000 };
            let slow = dice.between(100, longest);
            if dice.happens(500) {
                there += slow;
            } else {
                back += slow;
            }
            self.count("request delayed");
        }
        let troubled = if role == Role::Acting { 80 } else { 12 };
        let fate = match dice.below_thousand() {
            n if n >= troubled => Fate::Fine,
            n if n % 5 < 2 => Fate::ReplyLost,
            n if n % 5 == 2 => Fate::Lost,
            _ => Fate::Status(dice.pick(&[429, 500, 502, 503, 504])),
        };
        if fate != Fate::Fine {
            self.count(&format!("{role:?} request: {fate:?}"));
        }
        // A proxy may give up before or after the API server does what it was asked for.
        let carried = matches!(fate, Fate::Status(502 | 504)) && dice.happens(500);
        let hangs = role == Role::Acting && dice.happens(500);
        let broken_after = (!hangs).then(|| dice.between(1, 3_000));
        Journey { fate, there, back, carried, broken_after, ..fine }
    }
}
