//! The same client against a real Prometheus. It is ignored unless asked for, since it needs the server's binary:
//! `PROMETHEUS_BIN=/path/to/prometheus cargo test --test prometheus -- --ignored`.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use grpc_hygiene::{
    decide::stand_down::{Told, is_quiet},
    io::prometheus::{BackendInfo, Prometheus},
};
use jiff::Timestamp;

use crate::fake::{endpoint, file};

/// The process and its data. Both end with the test.
struct Server(Child, PathBuf);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

/// Asks again until the answer is good or the deadline has passed.
async fn eventually<T, E: std::fmt::Debug>(mut ask: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match ask().await {
            Ok(it) => return it,
            Err(error) => assert!(Instant::now() < deadline, "not in 30 s: {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A Prometheus that scrapes itself every second, with these alerting rules, and a client of it.
fn start(name: &str, rules: &str) -> (Server, Prometheus) {
    let binary = std::env::var_os("PROMETHEUS_BIN").expect("PROMETHEUS_BIN names a prometheus binary");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
    let rules = file(&format!("{name}-rules.yaml"), &format!("{{groups: [{{name: g, rules: [{rules}]}}]}}"));
    let config = file(
        &format!("{name}.yaml"),
        &format!(
            "{{global: {{scrape_interval: 1s, evaluation_interval: 1s}}, rule_files: ['{}'], scrape_configs: \
             [{{job_name: self, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]}}",
            rules.display()
        ),
    );
    let data = config.with_file_name(format!("{name}-data"));
    let server = Server(
        Command::new(binary)
            .args([format!("--config.file={}", config.display()), format!("--storage.tsdb.path={}", data.display())])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(Stdio::null())
            .spawn()
            .expect("PROMETHEUS_BIN runs"),
        data,
    );
    (server, Prometheus::new(&endpoint(&format!("http://127.0.0.1:{port}"))).expect("a client"))
}

#[tokio::test]
#[ignore = "needs PROMETHEUS_BIN, the path of a prometheus binary"]
async fn a_real_prometheus_tells_which_alert_fires_and_which_does_not() {
    let rules = "{alert: Fires, expr: vector(1), labels: {namespace: shop}}, {alert: Waits, expr: vector(1), for: 1h}, \
                 {alert: Rests, expr: vector(1) > 2}, \
                 {record: Recorded, expr: vector(1)}";
    let (_server, prometheus) = start("rules", rules);
    let within = |name: &str, namespace: Option<&str>, told: &Told| {
        let names = BTreeSet::from([name.to_owned()]);
        is_quiet(&names, namespace, Some(told), Timestamp::now()).map_err(|it| it.to_string())
    };
    let names = ["Fires", "Waits", "Rests", "Recorded", "Nobody"].map(str::to_owned).into();
    let told = eventually(async || {
        let told = prometheus.alerting_rules(&names).await.map_err(|it| it.to_string());
        within("Rests", None, &told).map(|()| told)
    })
    .await;
    let said = within("Fires", None, &told).expect_err("it fires");
    assert!(said.contains("alert Fires is firing, since 2"), "{said}");
    assert_eq!(within("Fires", Some("bank"), &told), Ok(()));
    assert!(within("Fires", Some("shop"), &told).is_err());
    assert_eq!(within("Waits", None, &told), Ok(()), "it is pending");
    assert!(within("Nobody", None, &told).is_err() && within("Recorded", None, &told).is_err());
}

#[tokio::test]
#[ignore = "needs PROMETHEUS_BIN, the path of a prometheus binary"]
async fn a_real_prometheus_answers_with_its_own_samples() {
    let (_server, prometheus) = start("samples", "");
    let BackendInfo { version, clock_ahead, .. } = eventually(async || prometheus.probe().await).await;
    // A binary from `go build` has no version; a released one has.
    assert!(version.is_none_or(|it| it.starts_with(|c: char| c.is_ascii_digit())));
    assert!(clock_ahead.abs() < 1.0, "the same clock, and yet {clock_ahead} s apart");

    let series = eventually(async || {
        let now = Timestamp::now();
        let matrix = prometheus.read("go_goroutines{job=\"self\"}[1m]", now).await.map_err(|it| it.to_string())?;
        let [series] = matrix.series.as_slice() else { return Err("no series yet".to_owned()) };
        if series.samples.len() < 2 { Err("one sample so far".to_owned()) } else { Ok(series.clone()) }
    })
    .await;
    assert_eq!(series.labels.get("__name__"), Some("go_goroutines"));
    assert!(series.samples.iter().all(|it| it.value > 1.0));

    let failure = prometheus.read("sum(", Timestamp::now()).await.expect_err("not PromQL");
    assert!(failure.to_string().contains("parse error"), "{failure}");
    let failure = prometheus.read("go_goroutines", Timestamp::now()).await.expect_err("not a range");
    assert!(failure.to_string().contains("vector"), "{failure}");
}
