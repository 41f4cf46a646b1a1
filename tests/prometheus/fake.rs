//! A server on loopback that answers as a test says and remembers what it was asked.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, Method, Uri, header},
    response::{IntoResponse, Response},
};
use grpc_hygiene::io::config::{Config, Endpoint};
use jiff::Timestamp;
use tokio::{net::TcpListener, task::JoinHandle};

/// The time of every query. The servers do not look at it.
pub const AT: Timestamp = Timestamp::constant(1_700_000_000, 0);
/// The answer that finds nothing.
pub const EMPTY: &str = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub form: BTreeMap<String, String>,
}

/// The server. It ends with the test.
pub struct Fake {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Fake {
    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves plain HTTP.
pub async fn serve<F, R>(answer: F) -> Fake
where
    F: Fn(Asked) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    serve_on(listener, url, answer)
}

/// Serves whatever the listener speaks.
pub fn serve_on<L, F, R>(listener: L, url: String, answer: F) -> Fake
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
    F: Fn(Asked) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response> + Send + 'static,
{
    // Whichever test comes first installs it; the others find it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let asked = Arc::<Mutex<Vec<Asked>>>::default();
    let seen = Arc::clone(&asked);
    let handle = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
        let form = reqwest::Url::parse(&format!("form:?{}", String::from_utf8_lossy(&body))).expect("a form");
        let form = form.query_pairs().into_owned().collect();
        let request = Asked {
            method,
            path: uri.path().to_owned(),
            query: uri.query().unwrap_or_default().to_owned(),
            headers,
            form,
        };
        seen.lock().expect("no panic").push(request.clone());
        answer(request)
    };
    let task =
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handle)).await.expect("serving") });
    Fake { url, asked, task }
}

/// An endpoint with a deadline that tests can wait for.
pub fn endpoint(url: &str) -> Endpoint {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Endpoint { timeout: Duration::from_secs(2), ..Config::with_prometheus(url).expect("an address").prometheus }
}

/// A JSON answer.
pub fn json(body: impl Into<String>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

/// A range answer of one series with these samples.
pub fn up(samples: &str) -> String {
    EMPTY.replace("[]", &format!(r#"[{{"metric":{{"__name__":"up","pod":"a"}},"values":[{samples}]}}]"#))
}

/// A file with this content, in cargo's directory for what tests write.
pub fn file(name: &str, content: &str) -> std::path::PathBuf {
    let directory =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("prometheus-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join(name);
    std::fs::write(&path, content).expect("a file");
    path
}
