//! The proxy between one operator and the API server, and between it and Alertmanager: plain HTTP on loopback in, what the
//! operator's own service account may do out. It passes on, numbers, and perturbs once; it judges nothing.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, BodyDataStream, Bytes, to_bytes},
    extract::{Request, State},
    response::Response,
};
use futures::{Stream, StreamExt, stream};
use http::{Method, StatusCode, Uri, header, request::Parts};
use kube::Client;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    point::{Kind, Pattern},
    trace::{Answer, Trace},
};

const MOST: usize = 64 << 20;
/// How late notifications are that come late.
const LATE: Duration = Duration::from_secs(30);
/// From an answer's last byte to its arrival.
const ARRIVAL: Duration = Duration::from_millis(20);
const POLICIES: &str = "/apis/grpc-hygiene.io/v1alpha1/grpcclientpolicies";

/// Both proxies of one run.
pub struct Proxies {
    /// Where the API server is.
    pub api: String,
    /// Where Alertmanager is.
    pub alertmanager: String,
    serving: [JoinHandle<()>; 2],
}

struct Door {
    trace: Arc<Trace>,
    upstream: Upstream,
}

enum Upstream {
    /// The API server; policies are those of one namespace, for other runs go on beside this one.
    Api {
        client: Client,
        namespace: String,
    },
    Http {
        client: reqwest::Client,
        url: String,
    },
}

impl Proxies {
    /// Opens both.
    pub async fn open(trace: &Arc<Trace>, client: Client, namespace: &str, alertmanager: &str) -> Self {
        let upstream = Upstream::Api { client, namespace: namespace.to_owned() };
        let (api, first) = serve(Door { trace: Arc::clone(trace), upstream }).await;
        let upstream = Upstream::Http { client: reqwest::Client::new(), url: alertmanager.to_owned() };
        let (alertmanager, second) = serve(Door { trace: Arc::clone(trace), upstream }).await;
        Self { api, alertmanager, serving: [first, second] }
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        for it in &self.serving {
            it.abort();
        }
    }
}

async fn serve(door: Door) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().fallback(pass).with_state(Arc::new(door));
    let serving = tokio::spawn(async move {
        axum::serve(listener, router).await.expect("served");
    });
    (url, serving)
}

async fn pass(State(door): State<Arc<Door>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, MOST).await.unwrap_or_default();
    let name = name_of(&head.method, &head.uri);
    if head.method == Method::GET {
        return door.read(&name, head, body).await;
    }
    match door.trace.passes(Kind::Write, &name) {
        Some(Pattern::KilledBefore) => {
            door.trace.kill();
            nobody()
        }
        Some(Pattern::KilledUnanswered) => {
            door.written(&head, body).await;
            door.trace.kill();
            nobody()
        }
        Some(_) => {
            let answer = door.written(&head, body).await;
            let trace = Arc::clone(&door.trace);
            tokio::spawn(async move {
                tokio::time::sleep(ARRIVAL).await;
                trace.kill();
            });
            respond(answer)
        }
        None => respond(door.written(&head, body).await),
    }
}

impl Door {
    async fn written(&self, head: &Parts, body: Bytes) -> Answer {
        let answer = whole(self.forward(head, body).await).await;
        if head.uri.path().ends_with("/eviction") && answer.status == StatusCode::CREATED {
            let pod = head.uri.path().rsplit('/').nth(1).unwrap_or_default();
            self.trace.evicted(pod);
        }
        answer
    }

    async fn read(&self, name: &str, head: Parts, body: Bytes) -> Response {
        let response = self.forward(&head, body).await;
        if head.uri.query().is_some_and(|it| it.contains("watch=true")) {
            let (parts, body) = response.into_parts();
            let (trace, name) = (Arc::clone(&self.trace), name.to_owned());
            let body = Body::from_stream(notified(lines(body.into_data_stream()), trace, name));
            return Response::from_parts(parts, body);
        }
        let answer = whole(response).await;
        // The election reads its lease to write it; its own renewals are all that is new there.
        if name == "GET leases" {
            return respond(answer);
        }
        let older = self.trace.answered(name, &head.uri.to_string(), &answer);
        respond(older.unwrap_or(answer))
    }

    async fn forward(&self, head: &Parts, body: Bytes) -> Response {
        match &self.upstream {
            Upstream::Api { client, namespace } => {
                let mut request = http::Request::new(kube::client::Body::from(body.to_vec()));
                *request.method_mut() = head.method.clone();
                *request.uri_mut() = within(&head.uri, namespace);
                *request.headers_mut() = head.headers.clone();
                for own in [header::HOST, header::CONTENT_LENGTH, header::CONNECTION] {
                    request.headers_mut().remove(own);
                }
                match client.send(request).await {
                    Ok(response) => response.map(Body::new),
                    Err(_) => nobody(),
                }
            }
            Upstream::Http { client, url } => {
                let request = client.request(head.method.clone(), format!("{url}{}", head.uri));
                let kind = head.headers.get(header::CONTENT_TYPE).cloned();
                let request = request.headers(kind.into_iter().map(|it| (header::CONTENT_TYPE, it)).collect());
                match request.body(body).send().await {
                    Ok(response) => {
                        let status = response.status();
                        let body = response.bytes().await.unwrap_or_default();
                        let mut answer = Response::new(Body::from(body));
                        *answer.status_mut() = status;
                        answer
                    }
                    Err(_) => nobody(),
                }
            }
        }
    }
}

/// Policies of all namespaces are those of one.
fn within(uri: &Uri, namespace: &str) -> Uri {
    if uri.path() != POLICIES {
        return uri.clone();
    }
    let query = uri.query().map(|it| format!("?{it}")).unwrap_or_default();
    let path = format!("/apis/grpc-hygiene.io/v1alpha1/namespaces/{namespace}/grpcclientpolicies{query}");
    path.parse().expect("a path")
}

/// A request without the names of a run: verb, resource, subresource, and the name of a ConfigMap.
fn name_of(method: &Method, uri: &Uri) -> String {
    let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let after = match parts.as_slice() {
        ["api", "v2", "alerts"] => return format!("{method} alerts"),
        ["api", _, "namespaces", _, rest @ ..] | ["apis", _, _, "namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        other => other,
    };
    let watches = uri.query().is_some_and(|it| it.contains("watch=true"));
    match (after, method) {
        ([resource], &Method::GET) if watches => format!("WATCH {resource}"),
        ([resource], &Method::GET) => format!("LIST {resource}"),
        ([resource @ "configmaps", name], _) => format!("{method} {resource}/{name}"),
        ([resource, _, sub], _) => format!("{method} {resource}/{sub}"),
        ([resource, ..], _) => format!("{method} {resource}"),
        ([], _) => format!("{method} /"),
    }
}

async fn whole(response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, MOST).await.unwrap_or_default();
    Answer { status: parts.status, headers: parts.headers, body }
}

fn respond(Answer { status, mut headers, body }: Answer) -> Response {
    for own in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION] {
        headers.remove(own);
    }
    let mut response = Response::new(Body::from(body));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}

/// An answer that nobody receives, or that there is none.
fn nobody() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// The lines of a stream, each with its end.
fn lines(body: BodyDataStream) -> impl Stream<Item = Bytes> + Send {
    stream::unfold((body, Vec::new()), async |(mut body, mut rest): (BodyDataStream, Vec<u8>)| {
        loop {
            if let Some(end) = rest.iter().position(|it| *it == b'\n') {
                let after = rest.split_off(end + 1);
                return Some((Bytes::from(rest), (body, after)));
            }
            rest.extend_from_slice(&body.next().await?.ok()?);
        }
    })
}

/// The events of a watch as they are to arrive. Bookmarks tell nothing that is decided by, and come as they please.
fn notified(
    lines: impl Stream<Item = Bytes> + Send + 'static,
    trace: Arc<Trace>,
    name: String,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    lines.filter_map(move |line| {
        let (trace, name) = (Arc::clone(&trace), name.clone());
        async move {
            if line.starts_with(br#"{"type":"BOOKMARK""#) {
                return Some(Ok(line));
            }
            match trace.passes(Kind::Notification, &name) {
                Some(Pattern::Missed) => None,
                Some(_) => {
                    tokio::time::sleep(LATE).await;
                    Some(Ok(line))
                }
                None => Some(Ok(line)),
            }
        }
    })
}
