//! The same client against a real Prometheus. It is ignored unless asked for, since it needs the server's binary:
//! `PROMETHEUS_BIN=/path/to/prometheus cargo test --test prometheus -- --ignored`.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use grpc_hygiene::io::prometheus::{BackendInfo, Prometheus};
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

#[tokio::test]
#[ignore = "needs PROMETHEUS_BIN, the path of a prometheus binary"]
async fn a_real_prometheus_answers_with_its_own_samples() {
    let binary = std::env::var_os("PROMETHEUS_BIN").expect("PROMETHEUS_BIN names a prometheus binary");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port();
    let config = file(
        "prometheus.yaml",
        &format!(
            "{{global: {{scrape_interval: 1s}}, scrape_configs: [{{job_name: self, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]}}"
        ),
    );
    let data = config.with_file_name("data");
    let _server = Server(
        Command::new(binary)
            .args([format!("--config.file={}", config.display()), format!("--storage.tsdb.path={}", data.display())])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stderr(Stdio::null())
            .spawn()
            .expect("PROMETHEUS_BIN runs"),
        data,
    );
    let prometheus = Prometheus::new(&endpoint(&format!("http://127.0.0.1:{port}"))).expect("a client");

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
    assert_eq!(series.labels["__name__"], "go_goroutines");
    assert!(series.samples.iter().all(|it| it.value > 1.0));

    let failure = prometheus.read("sum(", Timestamp::now()).await.expect_err("not PromQL");
    assert!(failure.to_string().contains("parse error"), "{failure}");
    let failure = prometheus.read("go_goroutines", Timestamp::now()).await.expect_err("not a range");
    assert!(failure.to_string().contains("vector"), "{failure}");
}
