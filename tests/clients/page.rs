//! Pages of metrics as series: what a Prometheus would hold after it scraped them for an hour, once a minute.

use std::{collections::BTreeMap, fs, path::Path};

use grpc_hygiene::{
    decide::{Sample, Series, notation},
    signals::LabelSet,
};

/// When the pages `before` were scraped, Unix seconds; a multiple of the step.
pub const START: i64 = 1_799_996_400;
/// When the pages `after` were scraped.
pub const END: i64 = START + 3_600;
/// Points a series has.
const POINTS: i64 = 61;

/// The pages of one target with the labels that its scrape adds.
pub fn scraped(name: &str, target: &[(&str, &str)]) -> Vec<Series> {
    let [before, after] = ["before", "after"].map(|when| page(&format!("{name}.{when}.prom")));
    let rows = after.into_iter().map(|(labels, last)| {
        let first = before.get(&labels).copied().unwrap_or(0.0);
        let share = |n: i64| n as f64 / (POINTS - 1) as f64;
        let at = |n: i64| (START + n * (END - START) / (POINTS - 1)) as f64;
        let sample = |n| Sample { at: at(n), value: (first + (last - first) * share(n)).round() };
        Series {
            labels: labels.iter().chain(target.iter().copied()).collect(),
            samples: (0..POINTS).map(sample).collect(),
        }
    });
    rows.collect()
}

/// The rows of a page: the text format of Prometheus, or that of OpenMetrics.
fn page(name: &str) -> BTreeMap<LabelSet, f64> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages").join(name);
    let text = fs::read_to_string(path).expect(name);
    let row = |line: &str| {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        (notation::labels(series).expect(line), value.parse().expect("a number"))
    };
    text.lines().filter(|it| !it.starts_with('#')).map(row).collect()
}

fn pod<'a>(namespace: &'a str, name: &'a str, instance: &'a str) -> [(&'a str, &'a str); 5] {
    [("namespace", namespace), ("pod", name), ("container", "app"), ("instance", instance), ("job", "pods")]
}

/// What the clients say of themselves.
pub fn open_telemetry() -> Vec<Series> {
    [
        scraped("a94-orders-1", &pod("shop", "orders-5967f54959-klmnl", "10.244.3.7:8080")),
        scraped("a94-orders-2", &pod("shop", "orders-5967f54959-x2x4q", "10.244.3.8:8080")),
        scraped("a94-web-1", &pod("web", "web-6c8d9f7b5d-9sxzt", "10.244.3.9:8080")),
        scraped("a94-sync-1", &pod("jobs", "sync-0", "10.244.3.10:8080")),
    ]
    .concat()
}

/// What Coroot's agent on their node says.
pub fn coroot() -> Vec<Series> {
    let agent = [("namespace", "coroot"), ("pod", "coroot-node-agent-x7k2p"), ("container", "node-agent")];
    scraped("coroot-node-1", &[&agent[..], &[("instance", "10.244.3.2:80"), ("job", "coroot-node-agent")]].concat())
}

/// What the Linkerd proxies beside them say. The scrape of linkerd-viz adds no container.
pub fn linkerd() -> Vec<Series> {
    let job = [("job", "linkerd-proxy")];
    let of =
        |pod: &'static str| [("namespace", if pod.starts_with("web") { "web" } else { "shop" }), ("pod", pod), job[0]];
    [scraped("linkerd-orders-1", &of("orders-5967f54959-klmnl")), scraped("linkerd-web-1", &of("web-6c8d9f7b5d-9sxzt"))]
        .concat()
}

/// What the ztunnels of two nodes say.
pub fn istio() -> Vec<Series> {
    let of = |pod: &'static str, instance: &'static str| {
        [("namespace", "istio-system"), ("pod", pod), ("instance", instance), ("job", "ztunnel")]
    };
    [
        scraped("ztunnel-node-1", &of("ztunnel-aaaaa", "10.244.1.2:15020")),
        scraped("ztunnel-node-2", &of("ztunnel-bbbbb", "10.244.2.2:15020")),
    ]
    .concat()
}
