//! Alerts: real sockets stand in for Alertmanagers. What is sent, to whom, again when, and what a receiver that is
//! down, slow or unwilling does to the others.

use std::{future::pending, net::SocketAddr, time::Duration};

use axum::{Router, body::Bytes, extract::ConnectInfo, http::HeaderMap, response::IntoResponse};
use grpc_hygiene::{
    api::{AlertRecord, WorkloadRef},
    decide::{Because, Outcome, Plan, Remediation, Restart},
    io::{
        act::{Hands, act},
        config::Config,
        notify::{Alerts, Counts},
    },
};
use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{advance, pause, resume, timeout},
};

use crate::world::{as_leader, case, hands, now, plan, policy, shop, word};

/// How long a test waits for what must come.
const SOON: Duration = Duration::from_secs(10);

/// A receiver that remembers what it was sent.
pub struct Receiver {
    pub url: String,
    got: watch::Receiver<Vec<(HeaderMap, Value)>>,
    callers: watch::Receiver<Vec<SocketAddr>>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a receiver answers.
#[derive(Clone, Copy)]
pub enum Answer {
    Code(u16),
    RetryAfter(u16, &'static str),
    Never,
}

impl Receiver {
    /// Answers the n-th request, counted from 0, as the function says.
    pub async fn new(answer: impl Fn(usize) -> Answer + Clone + Send + Sync + 'static) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (post, got) = watch::channel(Vec::new());
        let (call, callers) = watch::channel(Vec::new());
        let handle = async move |ConnectInfo(caller): ConnectInfo<SocketAddr>, headers: HeaderMap, body: Bytes| {
            let mut nth = 0;
            call.send_modify(|all: &mut Vec<_>| all.push(caller));
            post.send_modify(|all: &mut Vec<_>| {
                nth = all.len();
                all.push((headers, serde_json::from_slice(&body).expect("JSON")));
            });
            let code = |it| StatusCode::from_u16(it).expect("a status");
            match answer(nth) {
                Answer::Code(it) => code(it).into_response(),
                Answer::RetryAfter(it, after) => (code(it), [("retry-after", after)]).into_response(),
                Answer::Never => pending().await,
            }
        };
        let router = Router::new().route("/api/v2/alerts", axum::routing::post(handle));
        let router = router.into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("serving") });
        Self { url, got, callers, task }
    }

    pub async fn willing() -> Self {
        Self::new(|_| Answer::Code(200)).await
    }

    /// The bodies, as soon as there are so many.
    pub async fn bodies(&self, count: usize) -> Vec<Value> {
        let mut got = self.got.clone();
        let all =
            timeout(SOON, got.wait_for(|it| it.len() >= count)).await.expect("alerts in time").expect("a receiver");
        all.iter().map(|(_, body)| body.clone()).collect()
    }

    /// From where each request came.
    pub fn callers(&self) -> Vec<SocketAddr> {
        self.callers.borrow().clone()
    }

    pub fn count(&self) -> usize {
        self.got.borrow().len()
    }
}

/// An address where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

fn alerts(receivers: &[&str]) -> Alerts {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let receivers: Vec<String> = receivers.iter().map(|it| format!("{{url: '{it}'}}")).collect();
    from_yaml(&format!("alertmanagers: [{}]\ncluster: east", receivers.join(", ")))
}

pub fn from_yaml(text: &str) -> Alerts {
    let config = Config::from_yaml(&format!("prometheus: {{url: 'http://p:9090'}}\n{text}")).expect("a configuration");
    Alerts::new(&config).expect("clients")
}

pub fn record(name: &str) -> AlertRecord {
    AlertRecord {
        namespace: "shop".into(),
        workload: WorkloadRef { kind: "Deployment".into(), name: name.into() },
        container: "app".into(),
        diagnosis: "DialPerCall".into(),
        severity: "warning".into(),
        summary: "3 of 10 call sites dial".into(),
        sites: vec![],
        profile: None,
        approval: None,
        restarts: None,
        collapsed: None,
        starts_at: Time(now()),
        ends_at: None,
        delivered: false,
    }
}

/// Does something while the alerts are being sent.
pub async fn sending<T>(alerts: &Alerts, work: impl Future<Output = T>) -> T {
    tokio::select! {
        done = work => done,
        () = alerts.keep_sending() => unreachable!("it sends for ever"),
    }
}

/// Lets time pass that nobody waits for.
async fn skip(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

fn alerting() -> Plan {
    Plan { alerts: vec![record("orders")], ..plan(vec![case("orders", &[Remediation::Alert], Restart::Evict)]) }
}

async fn carry_out(alerts: &Alerts) -> Vec<Outcome> {
    as_leader(async |leadership| {
        let hands = Hands { alerts: alerts.clone(), ..hands(&shop(), &leadership) };
        sending(alerts, act(&hands, &policy(), &alerting(), now())).await
    })
    .await
}

#[tokio::test]
async fn every_receiver_gets_the_alert_though_one_is_down() {
    let (one, other) = (Receiver::willing().await, Receiver::willing().await);
    let down = nobody().await;
    let alerts = alerts(&[&one.url, &down, &other.url]);
    assert_eq!(word(&carry_out(&alerts).await), "done");
    for receiver in [&one, &other] {
        let body = sending(&alerts, receiver.bodies(1)).await.remove(0);
        let labels = &body[0]["labels"];
        assert_eq!((&labels["alertname"], &labels["cluster"]), (&"GrpcClientHygiene".into(), &"east".into()));
        assert_eq!((&labels["workload"], &labels["policy"]), (&"orders".into(), &"shop/clients".into()));
        assert_eq!(body[0]["startsAt"], "2026-11-23T10:00:00.000Z");
    }
    let reports = alerts.reports();
    assert!(reports[1].failure.as_ref().is_some_and(|it| it.contains("refused")), "{reports:?}");
    assert!(reports[0].failure.is_none() && reports[2].failure.is_none(), "{reports:?}");
    assert!(alerts.take_counts().accepted >= 1);
    assert_eq!(alerts.take_counts(), Counts::default());
}

#[tokio::test]
async fn an_alert_that_nobody_takes_is_not_done() {
    let down = nobody().await;
    let outcomes = carry_out(&alerts(&[&down])).await;
    let Err(Because::RequestFailed { reason }) = &outcomes[0].result else { panic!("{outcomes:?}") };
    assert!(reason.contains("refused"), "{reason}");
    let outcomes = carry_out(&alerts(&[])).await;
    assert_eq!(outcomes[0].result, Err(Because::RequestFailed { reason: "no Alertmanager is configured".into() }));
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_delays_nobody() {
    let (slow, quick) = (Receiver::new(|_| Answer::Never).await, Receiver::willing().await);
    let alerts = alerts(&[&slow.url, &quick.url]);
    sending(&alerts, async {
        for count in 1..=5 {
            let news = alerts.set("shop/clients", (0..count).map(|it| record(&format!("orders-{it}"))).collect());
            assert_eq!(timeout(SOON, alerts.delivered(news)).await, Ok(Ok(())));
        }
    })
    .await;
    assert_eq!(quick.bodies(1).await.last().expect("a body").as_array().map(Vec::len), Some(5));
}

#[tokio::test]
async fn what_fires_is_sent_again_every_minute_and_resolved_when_it_is_over() {
    let receiver = Receiver::willing().await;
    let alerts = alerts(&[&receiver.url]);
    sending(&alerts, async {
        let news = alerts.set("shop/clients", vec![record("orders")]);
        assert_eq!(alerts.delivered(news).await, Ok(()));
        for count in 2..=4 {
            skip(Duration::from_secs(60)).await;
            receiver.bodies(count).await;
        }
        let news = alerts.set("shop/clients", Vec::new());
        assert_eq!(alerts.delivered(news).await, Ok(()));
    })
    .await;
    let bodies = receiver.bodies(5).await;
    let ends = |it: &Value| it[0]["endsAt"].as_str().and_then(|it| it.parse::<Timestamp>().ok()).expect("a time");
    let clock = Timestamp::now();
    assert!(bodies[..4].iter().all(|it| ends(it) > clock), "firing alerts end in the future");
    assert!(ends(&bodies[4]) <= clock, "a resolved one has ended");
    assert!(bodies.iter().all(|it| it[0]["labels"] == bodies[0][0]["labels"]), "labels are the identity");
}

#[tokio::test]
async fn figures_that_move_are_told_with_the_next_round_and_not_at_once() {
    let receiver = Receiver::willing().await;
    let alerts = alerts(&[&receiver.url]);
    sending(&alerts, async {
        let news = alerts.set("shop/clients", vec![record("orders")]);
        assert_eq!(alerts.delivered(news).await, Ok(()));
        let again = alerts.set("shop/clients", vec![AlertRecord { summary: "4 of 10".into(), ..record("orders") }]);
        assert_eq!(again, news);
        skip(Duration::from_secs(60)).await;
        let bodies = receiver.bodies(2).await;
        assert!(bodies[1][0]["annotations"]["description"].as_str().is_some_and(|it| it.starts_with("4 of 10")));
        assert_eq!(bodies.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_overloaded_receiver_is_tried_again_when_it_asks_for_it() {
    let receiver = Receiver::new(|nth| match nth {
        0 => Answer::RetryAfter(429, "5"),
        1 => Answer::Code(503),
        _ => Answer::Code(200),
    })
    .await;
    let alerts = alerts(&[&receiver.url]);
    sending(&alerts, async {
        let news = alerts.set("shop/clients", vec![record("orders")]);
        let problem = alerts.delivered(news).await.expect_err("a refusal");
        assert!(problem.ends_with("answered 429 Too Many Requests"), "{problem}");
        skip(Duration::from_secs(5)).await;
        receiver.bodies(2).await;
        let failing = async {
            while !alerts.reports()[0].failure.as_ref().is_some_and(|it| it.contains("503")) {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, failing).await.expect("a report");
        skip(Duration::from_secs(2)).await;
        receiver.bodies(3).await;
        timeout(SOON, async { while alerts.delivered(news).await.is_err() {} }).await.expect("taken at last");
    })
    .await;
}

#[tokio::test]
async fn a_receiver_that_refuses_is_not_tried_again_before_the_next_round() {
    let refusing = Receiver::new(|_| Answer::Code(401)).await;
    let broken = Receiver::new(|_| Answer::Code(500)).await;
    let alerts = alerts(&[&refusing.url, &broken.url]);
    sending(&alerts, async {
        let news = alerts.set("shop/clients", vec![record("orders")]);
        assert!(alerts.delivered(news).await.is_err_and(|it| it.contains("answered 401 Unauthorized")));
        // The broken one is tried again at the same moments: when it has been, the refusing one would have been, too.
        for (tries, pause) in [(2, 1), (3, 2), (4, 4)] {
            skip(Duration::from_secs(pause)).await;
            broken.bodies(tries).await;
            assert_eq!(refusing.count(), 1);
        }
        skip(Duration::from_secs(60)).await;
        refusing.bodies(2).await;
    })
    .await;
}

#[tokio::test]
async fn credentials_are_sent_and_never_shown() {
    let receiver = Receiver::new(|_| Answer::Code(403)).await;
    let folder = std::env::temp_dir().join(format!("grpc-hygiene-alerts-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let token = folder.join("token");
    std::fs::write(&token, "s3cret\n").expect("a file");
    let alerts =
        from_yaml(&format!("alertmanagers: [{{url: '{}', bearerTokenFile: {}}}]", receiver.url, token.display()));
    sending(&alerts, async {
        let problem =
            alerts.delivered(alerts.set("shop/clients", vec![record("orders")])).await.expect_err("a refusal");
        assert!(!problem.contains("s3cret"), "{problem}");
    })
    .await;
    assert_eq!(receiver.got.borrow()[0].0["authorization"], "Bearer s3cret");
    std::fs::remove_dir_all(&folder).expect("our own folder");
}
