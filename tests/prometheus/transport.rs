//! Size, secrecy, TLS and sharing: what protects the operator's memory, the credentials and the server.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{StatusCode, header},
    response::IntoResponse,
};
use flate2::{Compression, write::GzEncoder};
use grpc_hygiene::{
    decide::FailureKind,
    io::{
        config::{Credentials, Endpoint},
        prometheus::Prometheus,
    },
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};

use crate::fake::{AT, EMPTY, endpoint, file, json, serve, serve_on};

const MIB: usize = 1024 * 1024;

/// `chunk` again and again, 500 times; the counter says how many bytes were asked for.
fn repeated(chunk: Bytes, counter: &Arc<AtomicUsize>) -> Body {
    let counter = Arc::clone(counter);
    Body::from_stream(futures::stream::iter((0..500).map(move |_| {
        counter.fetch_add(chunk.len(), SeqCst);
        Ok::<_, std::io::Error>(chunk.clone())
    })))
}

fn patient(url: &str) -> Endpoint {
    Endpoint { timeout: Duration::from_secs(100), ..endpoint(url) }
}

#[tokio::test]
async fn of_a_body_of_500_mb_no_more_than_64_mib_are_read() {
    let sent = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&sent);
    let fake =
        serve(move |_| std::future::ready(repeated(Bytes::from(vec![b' '; MIB]), &counter).into_response())).await;
    let failure =
        Prometheus::new(&patient(&fake.url)).expect("a client").read("up[5m]", AT).await.expect_err("too large");
    assert_eq!(failure.kind, FailureKind::TooLarge, "{failure}");
    // What is above the limit stands in the buffers of the two sockets.
    let sent = sent.load(SeqCst);
    assert!((64 * MIB..=80 * MIB).contains(&sent), "{} MiB were taken", sent / MIB);
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_not_read_at_all() {
    let sent = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&sent);
    let fake = serve(move |_| {
        let body = repeated(Bytes::from(vec![b' '; MIB]), &counter);
        std::future::ready(([(header::CONTENT_LENGTH, (500 * MIB).to_string())], body).into_response())
    })
    .await;
    let failure =
        Prometheus::new(&patient(&fake.url)).expect("a client").read("up[5m]", AT).await.expect_err("too large");
    assert_eq!(failure.kind, FailureKind::TooLarge, "{failure}");
    assert!(sent.load(SeqCst) <= 16 * MIB, "{} MiB were taken", sent.load(SeqCst) / MIB);
}

/// A gzip stream of one MiB of blanks, cut where it may be repeated without end.
fn bomb() -> (Vec<u8>, Bytes) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.flush().expect("in memory");
    let start = encoder.get_ref().len();
    encoder.write_all(&vec![b' '; MIB]).expect("in memory");
    encoder.flush().expect("in memory");
    let header = encoder.get_ref()[..start].to_vec();
    // A block of stored or repeated blanks refers only to the window before it, which is blank, too.
    let once = encoder.get_ref().len();
    encoder.write_all(&vec![b' '; MIB]).expect("in memory");
    encoder.flush().expect("in memory");
    let all = encoder.get_ref().clone();
    ([header, all[start..once].to_vec()].concat(), Bytes::copy_from_slice(&all[once..]))
}

#[tokio::test]
async fn a_small_body_that_inflates_without_end_is_stopped_at_64_mib() {
    let sent = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&sent);
    let (start, block) = bomb();
    assert!(block.len() < 4096, "it is a bomb: {} bytes for one MiB", block.len());
    let fake = serve(move |_| {
        use futures::StreamExt;
        let rest = repeated(block.clone(), &counter).into_data_stream();
        let all = futures::stream::iter([Ok(Bytes::from(start.clone()))]).chain(rest);
        std::future::ready(([(header::CONTENT_ENCODING, "gzip")], Body::from_stream(all)).into_response())
    })
    .await;
    let failure =
        Prometheus::new(&patient(&fake.url)).expect("a client").read("up[5m]", AT).await.expect_err("too large");
    assert_eq!(failure.kind, FailureKind::TooLarge, "{failure}");
}

#[tokio::test]
async fn a_compressed_answer_is_read_and_an_unknown_encoding_refused() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(EMPTY.as_bytes()).expect("in memory");
    let body = encoder.finish().expect("in memory");
    let fake =
        serve(move |_| std::future::ready(([(header::CONTENT_ENCODING, "gzip")], body.clone()).into_response())).await;
    assert!(Prometheus::new(&endpoint(&fake.url)).expect("a client").read("up[5m]", AT).await.is_ok());
    let fake = serve(|_| std::future::ready(([(header::CONTENT_ENCODING, "br")], EMPTY).into_response())).await;
    let failure =
        Prometheus::new(&endpoint(&fake.url)).expect("a client").read("up[5m]", AT).await.expect_err("brotli");
    assert!(failure.kind == FailureKind::Unexpected && failure.message.contains("\"br\""), "{failure}");
}

/// Speaks TLS to whoever completes the handshake.
struct Tls(TcpListener, TlsAcceptor);

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.0.accept().await else { continue };
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

#[tokio::test]
async fn a_certificate_of_ones_own_is_trusted_only_with_its_ca_file() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("TLS");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let tls = Tls(listener, TlsAcceptor::from(Arc::new(config)));
    let fake = serve_on(tls, format!("https://localhost:{port}"), |_| async { json(EMPTY) });

    let stranger = endpoint(&fake.url);
    let failure = Prometheus::new(&stranger).expect("a client").read("up[5m]", AT).await.expect_err("a stranger");
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(failure.message.contains("certificate"), "{failure}");
    assert!(fake.asked().is_empty());

    let known = Endpoint { ca_file: Some(file("ca.pem", &made.cert.pem())), ..stranger };
    Prometheus::new(&known).expect("a client").read("up[5m]", AT).await.expect("trusted");

    let elsewhere =
        Endpoint { url: known.url.as_str().replace("localhost", "127.0.0.1").parse().expect("a URL"), ..known };
    let failure = Prometheus::new(&elsewhere).expect("a client").read("up[5m]", AT).await.expect_err("another name");
    assert!(failure.message.contains("not valid for name"), "{failure}");
}

#[tokio::test]
async fn a_rotated_token_is_used_at_once_and_a_lost_one_is_named() {
    let fake = serve(|_| async { json(EMPTY) }).await;
    let token_file = file("token", "first\n");
    let credentials = Some(Credentials::Bearer { token_file: token_file.clone() });
    let prometheus = Prometheus::new(&Endpoint { credentials, ..endpoint(&fake.url) }).expect("a client");
    prometheus.read("a[5m]", AT).await.expect("an answer");
    file("token", "second\n");
    prometheus.read("b[5m]", AT).await.expect("an answer");
    let sent: Vec<_> = fake.asked().iter().map(|it| it.headers[header::AUTHORIZATION].clone()).collect();
    assert_eq!(sent, ["Bearer first", "Bearer second"]);
    std::fs::remove_file(&token_file).expect("the file");
    let failure = prometheus.read("c[5m]", AT).await.expect_err("no token");
    assert_eq!((failure.kind, fake.asked().len()), (FailureKind::Unauthorized, 2));
    assert!(failure.message.contains("token: No such file"), "{failure}");
}

#[tokio::test]
async fn a_password_is_sent_with_queries_and_probes_and_shown_nowhere() {
    let fake = serve(|asked| async move {
        let known = asked.headers.get(header::AUTHORIZATION).is_some_and(|it| it == "Basic b3BzOmh1bnRlcjI=");
        if known { json(EMPTY) } else { StatusCode::UNAUTHORIZED.into_response() }
    })
    .await;
    let named = |username: &str| {
        let credentials = Credentials::Basic { username: username.into(), password_file: file("password", "hunter2") };
        Prometheus::new(&Endpoint { credentials: Some(credentials), ..endpoint(&fake.url) }).expect("a client")
    };
    named("ops").read("up[5m]", AT).await.expect("known");
    let failure = named("ops").probe().await.expect_err("known, but this answer is no instant");
    assert_eq!(failure.kind, FailureKind::Unexpected);
    let failure = named("eve").read("up[5m]", AT).await.expect_err("unknown");
    assert_eq!(failure.kind, FailureKind::Unauthorized);
    assert!(!format!("{failure:?} {failure}").contains("hunter2"));
}

#[tokio::test]
async fn equal_queries_reach_the_server_once() {
    let fake = serve(|_| async { json(EMPTY) }).await;
    let prometheus = Prometheus::new(&endpoint(&fake.url)).expect("a client");
    let answers = futures::future::join_all((0..20).map(|_| prometheus.read("up[5m]", AT))).await;
    let first = answers[0].as_ref().expect("an answer");
    assert!(answers.iter().all(|it| it.as_ref().is_ok_and(|it| Arc::ptr_eq(it, first))));
    assert_eq!(fake.asked().len(), 1);
    prometheus.clone().read("up[5m]", AT).await.expect("the same answer");
    assert_eq!(fake.asked().len(), 1);
    prometheus.read("up[10m]", AT).await.expect("another answer");
    assert_eq!(fake.asked().len(), 2);
}

#[tokio::test]
async fn a_failure_is_not_remembered() {
    let times = Arc::<AtomicUsize>::default();
    let fake = serve(move |_| {
        let first = times.fetch_add(1, SeqCst) == 0;
        async move { if first { StatusCode::SERVICE_UNAVAILABLE.into_response() } else { json(EMPTY) } }
    })
    .await;
    let prometheus = Prometheus::new(&endpoint(&fake.url)).expect("a client");
    assert_eq!(prometheus.read("up[5m]", AT).await.expect_err("busy").kind, FailureKind::Overloaded);
    prometheus.read("up[5m]", AT).await.expect("an answer");
}

#[tokio::test]
async fn the_server_never_works_on_more_than_two_queries_of_ours() {
    let (running, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let highest = Arc::clone(&most);
    let fake = serve(move |_| {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        async move {
            most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
            // A query takes its time; without the limit all eight would be here by then.
            tokio::time::sleep(Duration::from_millis(50)).await;
            running.fetch_sub(1, SeqCst);
            json(EMPTY)
        }
    })
    .await;
    let prometheus = Prometheus::new(&endpoint(&fake.url)).expect("a client");
    let queries: Vec<String> = (1..=8).map(|n| format!("up[{n}m]")).collect();
    for answer in futures::future::join_all(queries.iter().map(|it| prometheus.read(it, AT))).await {
        answer.expect("an answer");
    }
    assert_eq!(highest.load(SeqCst), 2);
}
