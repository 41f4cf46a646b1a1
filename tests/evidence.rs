//! Taking a profile, at the wire: a pod is a real socket that serves a real profile, or whatever else a pod may serve;
//! the API server is a fake that refuses. Nothing that a pod answers may stop, fill or fool the operator.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use flate2::{Compression, write::GzEncoder};
use futures::stream;
use grpc_hygiene::{
    api::{ProfileRecord, Through},
    decide::{
        Case, Confidence, Diagnosis, Evidence, Growth, Strength, Subject, Target,
        approval::Asked,
        profiles::{Port, ProfilesRule},
    },
    io::{profiles::Camera, shelf::Shelf},
    web,
};
use jiff::Timestamp;
use kube::{
    Client,
    client::{Body as KubeBody, ClientBuilder},
};
use tokio::net::TcpListener;
use tower::service_fn;

const FIXTURE: &str = "tests/profiles/grpc-go-1.85.0";

/// A pod that answers every request the same way.
async fn pod(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let routes = Router::new().fallback(get(move || {
        let answer = answer.clone();
        async move { answer() }
    }));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

/// A pod that serves the profiles of a leaking client.
async fn leaking() -> SocketAddr {
    let served = |kind: &str| std::fs::read(format!("{FIXTURE}.{kind}.pb.gz")).expect("a fixture");
    let (heap, goroutines) = (served("heap"), served("goroutine"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let routes = Router::new()
        .route("/debug/pprof/heap", get(|| async { heap }))
        .route("/debug/pprof/goroutine", get(|| async { goroutines }));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

/// An API server that forbids everything.
fn forbidding() -> Client {
    let refuse = |_: http::Request<KubeBody>| async {
        let status = r#"{"kind":"Status","status":"Failure","message":"no","reason":"Forbidden","code":403}"#;
        let response = http::Response::builder().status(403).body(KubeBody::from(status.as_bytes().to_vec()));
        Ok::<_, std::convert::Infallible>(response.expect("a response"))
    };
    ClientBuilder::new(service_fn(refuse), "default").build()
}

async fn shelf(test: &str) -> Arc<Shelf> {
    let folder = std::env::temp_dir().join(format!("grpc-hygiene-evidence-{test}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    Arc::new(Shelf::open(&folder, 64 << 20).await.expect("a shelf"))
}

fn case() -> Case {
    let text = |it: &str| it.to_owned();
    let subject = Subject { namespace: text("shop"), pod: text("orders-1"), uid: text("u1"), container: text("app") };
    Case {
        target: Target { subject, pod_ips: vec![text("127.0.0.1")], ready: true, ..Target::default() },
        growth: Growth {
            diagnosis: Diagnosis::DialPerCall,
            confidence: Confidence::from_p_value(0.0),
            strength: Strength::Certain,
            message: text("it leaks"),
        },
        evidence: Evidence::default(),
        since: Timestamp::UNIX_EPOCH,
        standing: false,
        looks: grpc_hygiene::decide::looks::Looks::default(),
        confirmed: true,
        profile: None,
        approvals: Asked::default(),
        rungs: vec![],
    }
}

async fn taken(shelf: &Arc<Shelf>, port: u16, through: Through) -> ProfileRecord {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let camera = Camera::new(forbidding(), Some(Arc::clone(shelf)), "operator-1".into(), Duration::from_secs(5));
    let rule = ProfilesRule { port: Port::Number(port), path: "/debug/pprof".into(), through };
    let at = Timestamp::from_second(1_800_000_000).expect("a time");
    // The pods of these tests are on this machine.
    let camera = camera.expect("a camera").reaching(|_| Ok(()));
    let mut records = camera.take(&rule, &[&case()], at).await;
    records.pop().expect("a record for the case")
}

#[tokio::test]
async fn a_profile_is_blamed_stored_and_can_be_downloaded_again() {
    let shelf = shelf("stored").await;
    let record = taken(&shelf, leaking().await.port(), Through::Auto).await;
    let lines: BTreeSet<&str> = record.sites.iter().map(|it| it.line.as_str()).collect();
    assert_eq!(
        lines,
        BTreeSet::from(["handlers/handlers.go:28", "handlers/handlers.go:33", "handlers/handlers.go:38"])
    );
    assert!(record.sites.iter().all(|it| (it.channels - 1_000.0).abs() <= 150.0), "{record:?}");
    assert_eq!((record.problem, record.stored_by.as_deref()), (None, Some("operator-1")));
    let file = record.file.expect("stored");
    assert_eq!(file, "shop_orders-1_app_20270115T080000Z.heap.pb.gz");

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(web::serve_profiles(listener, Arc::clone(&shelf), std::future::pending()));
    let read = |path: String| async move {
        let answer = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
        let answer = answer.get(format!("http://{address}{path}")).send().await.expect("an answer");
        (answer.status().as_u16(), answer.bytes().await.expect("a body"))
    };
    let (status, bytes) = read(format!("/profiles/{file}")).await;
    assert_eq!(status, 200);
    assert_eq!(bytes, std::fs::read(format!("{FIXTURE}.heap.pb.gz")).expect("a fixture"), "byte for byte");
    let list = String::from_utf8(read("/profiles".to_owned()).await.1.to_vec()).expect("text");
    assert!(list.contains(&file) && list.contains(".goroutine.pb.gz"), "{list}");
    for path in ["/profiles/nothing.pb.gz", "/profiles/..%2f..%2fetc%2fpasswd", "/profiles/%2fetc%2fpasswd"] {
        assert_eq!(read(path.to_owned()).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn what_is_no_profile_is_named_and_not_stored() {
    let bomb = {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        std::io::Write::write_all(&mut gzip, &vec![0; 80 << 20]).expect("packed");
        gzip.finish().expect("packed")
    };
    let endless = || Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![7; 1 << 20]))));
    let pods = [
        ("page", pod(|| "<html>hello</html>".into_response()).await, "no heap profile"),
        ("gone", pod(|| StatusCode::NOT_FOUND.into_response()).await, "404"),
        ("moved", pod(|| Redirect::temporary("http://127.0.0.1:1/").into_response()).await, "307"),
        ("empty", pod(|| Vec::<u8>::new().into_response()).await, "no heap profile"),
        ("bomb", pod(move || bomb.clone().into_response()).await, "64 MiB"),
        ("endless", pod(move || endless().into_response()).await, "larger than 16 MiB"),
    ];
    for (name, address, problem) in pods {
        let shelf = shelf(name).await;
        let record = taken(&shelf, address.port(), Through::PodIp).await;
        let said = record.problem.unwrap_or_default();
        assert!(said.contains(problem), "{name}: {said}");
        assert!(record.file.is_none() && shelf.names().await.is_empty(), "{name}: nothing is stored");
    }
}

#[tokio::test]
async fn a_pod_that_drips_is_given_up_and_one_that_does_not_answer_is_asked_for_through_the_api_server() {
    let drip = || {
        let slowly = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"x")), ()))
        });
        Body::from_stream(slowly).into_response()
    };
    let shelf = shelf("drip").await;
    let record = taken(&shelf, pod(drip).await.port(), Through::Auto).await;
    assert!(record.problem.as_deref().unwrap_or_default().contains("within 5 s"), "{record:?}");

    let closed = TcpListener::bind("127.0.0.1:0").await.and_then(|it| it.local_addr()).expect("a port").port();
    let record = taken(&shelf, closed, Through::Auto).await;
    let said = record.problem.expect("a problem");
    assert!(said.contains("refused") && said.contains("`get` on `pods/proxy`"), "{said}");
    let record = taken(&shelf, closed, Through::PodIp).await;
    assert!(!record.problem.expect("a problem").contains("pods/proxy"), "the policy forbids that way");
}

#[tokio::test]
async fn without_a_shelf_nobody_is_asked() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let camera = Camera::new(forbidding(), None, "operator-1".into(), Duration::from_secs(5)).expect("a camera");
    let rule = ProfilesRule { port: Port::Number(1), path: String::new(), through: Through::Auto };
    let records = camera.take(&rule, &[&case()], Timestamp::UNIX_EPOCH).await;
    assert!(records[0].problem.as_deref().unwrap_or_default().contains("--profiles-dir"), "{records:?}");
}

#[tokio::test]
async fn a_pod_that_claims_the_operators_own_machine_is_not_asked_nor_asked_for() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let shelf = shelf("own").await;
    let patience = Duration::from_secs(5);
    let camera = Camera::new(forbidding(), Some(shelf), "operator-1".into(), patience).expect("a camera");
    let port = Port::Number(leaking().await.port());
    let rule = ProfilesRule { port, path: "/debug/pprof".into(), through: Through::Auto };
    let records = camera.take(&rule, &[&case()], Timestamp::UNIX_EPOCH).await;
    let said = records[0].problem.as_deref().unwrap_or_default();
    assert_eq!(said, "127.0.0.1 is the operator's own machine, and never talked to");
}
