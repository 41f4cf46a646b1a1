//! How fast an answer of 50 MB becomes a matrix, beside the same answer read with prometheus-http-query's own types.
//! It measures decoding alone, in one run on one thread, and prints MB/s of both and the ratio.
//!
//! `cargo bench --bench decode`. It fails when our decoder is not at least twice as fast: then it has no reason to be.

use std::{fmt::Write, hint::black_box, process::ExitCode, time::Instant};

use grpc_hygiene::io::prometheus::decode;
use prometheus_http_query::response::PromqlResult;
use serde::Deserialize;

/// Six hours at 30 seconds.
const SAMPLES: usize = 720;
/// The size of the answer, bytes.
const SIZE: usize = 50_000_000;
/// Each decoder runs so often; the best run counts, since everything else on the machine only slows it down.
const RUNS: usize = 5;

/// What prometheus-http-query puts around [`PromqlResult`]; its own type is private.
#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Theirs {
    Success { data: PromqlResult },
}

/// An answer about cAdvisor's working set, with its long labels.
fn answer() -> (String, usize) {
    let mut body = String::from(r#"{"status":"success","data":{"resultType":"matrix","result":["#);
    let mut series = 0;
    while body.len() < SIZE {
        let comma = if series == 0 { "" } else { "," };
        write!(
            body,
            r#"{comma}{{"metric":{{"__name__":"container_memory_working_set_bytes","container":"orders","endpoint":"https-metrics","id":"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{series:08x}_5a1c_4b7e_9d2f.slice/cri-containerd-{series:064x}.scope","image":"registry.example.com/shop/orders:1.{series}","instance":"10.0.{}.{}:10250","job":"kubelet","metrics_path":"/metrics/cadvisor","name":"{series:064x}","namespace":"shop","node":"node-{}","pod":"orders-7d9c6b{series:05}"}},"values":["#,
            series / 250, series % 250, series % 40,
        ).expect("writing to a string");
        for sample in 0..SAMPLES {
            let comma = if sample == 0 { "" } else { "," };
            let value = 200_000_000 + sample * 65_536 + (series * 7_919 + sample * 104_729) % 4_096_000;
            write!(body, "{comma}[{}.{:03},\"{value}\"]", 1_700_000_000 + sample * 30, series % 1000)
                .expect("writing to a string");
        }
        body.push_str("]}");
        series += 1;
    }
    body.push_str("]}}");
    (body, series)
}

/// The best throughput of some runs, MB/s.
fn best<T>(name: &str, bytes: usize, mut run: impl FnMut() -> T) -> f64 {
    #[expect(clippy::cast_precision_loss)]
    let mb = bytes as f64 / 1e6;
    let seconds = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            black_box(run());
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    println!("{name:<28} {:>7.1} ms  {:>7.1} MB/s", seconds * 1e3, mb / seconds);
    mb / seconds
}

fn main() -> ExitCode {
    let (body, series) = answer();
    println!("{} bytes, {series} series, {} samples; best of {RUNS}", body.len(), series * SAMPLES);
    let ours = best("grpc-hygiene", body.len(), || decode(body.as_bytes()).expect("a matrix"));
    let theirs = best("prometheus-http-query 0.9", body.len(), || {
        let Theirs::Success { data } = serde_json::from_str(&body).expect("a result");
        data
    });
    println!("ratio {:.1}", ours / theirs);
    if ours < 2.0 * theirs { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
