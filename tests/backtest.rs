//! `grpc-hygiene backtest --series` as people run it: what it reads, refuses, prints, and how it ends. What is judged
//! is tested in `decide`.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use flate2::{Compression, write::GzEncoder};

const POLICY: &str = "\
apiVersion: grpc-hygiene.io/v1alpha1
kind: GrpcClientPolicy
metadata: {name: clients, namespace: shop}
spec: {allPods: true}
";
/// 2026-11-18, milliseconds.
const BEGIN: u64 = 1_795_000_000_000;

fn file(test: &str, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("backtest-{test}-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join(name);
    fs::write(&path, content).expect("a file");
    path
}

/// A steady client that is killed once after four hours, unseen.
fn recording(namespace: &str) -> String {
    let times: Vec<String> = (0..600).map(|n| (BEGIN + n * 60_000).to_string()).collect();
    let mut text = String::new();
    let mut line = |name: &str, labels: &str, value: &dyn Fn(usize) -> String| {
        let values: Vec<String> = (0..times.len()).map(value).collect();
        writeln!(
            text,
            r#"{{"metric":{{"__name__":"{name}","namespace":"{namespace}","pod":"orders-1","container":"app"{labels}}},"values":[{}],"timestamps":[{}]}}"#,
            values.join(","),
            times.join(",")
        )
        .expect("memory");
    };
    line("go_goroutines", "", &|n| (40 + n % 3).to_string());
    line("container_memory_working_set_bytes", "", &|n| (90_000_000 + n % 7).to_string());
    line("kube_pod_container_status_restarts_total", "", &|n| usize::from(n >= 240).to_string());
    line("kube_pod_container_status_last_terminated_reason", r#","reason":"OOMKilled""#, &|n| {
        if n >= 240 { "1".to_owned() } else { "null".to_owned() }
    });
    text
}

fn run(policy: &Path, series: &Path, more: &[&str]) -> Output {
    run_with(policy, series, more, b"")
}

fn run_with(policy: &Path, series: &Path, more: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_grpc-hygiene"))
        .args(["backtest", "-f"])
        .arg(policy)
        .arg("--series")
        .arg(series)
        .args(more)
        .env_remove("GRPC_HYGIENE_PROMETHEUS")
        .env_remove("GRPC_HYGIENE_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command");
    child.stdin.take().expect("its input").write_all(input).expect("a pipe");
    child.wait_with_output().expect("its end")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_recorded_incident_is_held_against_its_kills_from_plain_text_gzip_and_standard_input() {
    let policy = file("kill", "policy.yaml", POLICY);
    let plain = recording("shop");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain.as_bytes()).expect("memory");
    let packed = file("kill", "series.gz", encoder.finish().expect("memory"));
    let first = run(&policy, &file("kill", "series.jsonl", &plain), &[]);
    let printed = text(&first.stdout);
    assert!(printed.contains("policy shop/clients, 2026-11-18"), "{printed} {}", text(&first.stderr));
    assert!(printed.contains("replayed as if it were Enforce"), "{printed}");
    assert!(printed.contains("OOM-killed 1 container, 1 kill; 0 were alerted before (recall 0 %)"), "{printed}");
    assert_eq!(run(&policy, &packed, &[]).stdout, first.stdout);
    assert_eq!(run_with(&policy, Path::new("-"), &[], plain.as_bytes()).stdout, first.stdout);
}

#[test]
fn json_on_standard_output_is_events_and_nothing_else() {
    let policy = file("json", "policy.yaml", POLICY);
    let series = file("json", "series.jsonl", recording("shop"));
    let output = run(&policy, &series, &["-o", "json"]);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert!(event["kind"].is_string(), "{line}");
    }
}

#[test]
fn the_page_is_written_besides_the_table_and_shows_the_curves() {
    let policy = file("page", "policy.yaml", POLICY);
    let series = file("page", "series.jsonl", recording("shop"));
    let page = file("page", "page.html", "");
    let output = run(&policy, &series, &["--html", page.to_str().expect("a name")]);
    assert!(text(&output.stdout).contains("policy shop/clients"));
    let page = fs::read_to_string(page).expect("a page");
    assert_eq!(page.matches("class=\"curve").count(), 2, "goroutines and memory");
    assert!(page.contains("shop/orders-1") && page.trim_end().ends_with("</html>"));
}

#[test]
fn a_corrupt_line_ends_it_with_file_and_number_or_is_skipped_on_request() {
    let policy = file("corrupt", "policy.yaml", POLICY);
    let series = file("corrupt", "series.jsonl", recording("shop") + "{\"metric\":{}");
    let refused = run(&policy, &series, &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("series.jsonl, line 5: "), "{}", text(&refused.stderr));
    let skipped = run(&policy, &series, &["--skip-bad"]);
    assert!(text(&skipped.stdout).contains("OOM-killed 1 container"), "{}", text(&skipped.stderr));
    assert!(text(&skipped.stderr).contains("skipped: ") && text(&skipped.stderr).contains("line 5"));
}

#[test]
fn a_policy_looks_in_its_own_namespace_and_one_without_looks_in_all() {
    let series = file("namespace", "series.jsonl", recording("other"));
    let own = run(&file("namespace", "own.yaml", POLICY), &series, &[]);
    assert_eq!(own.status.code(), Some(2));
    assert!(text(&own.stderr).contains("none of them says something about namespace shop"), "{}", text(&own.stderr));
    let anywhere = POLICY.replace(", namespace: shop", "");
    let all = run(&file("namespace", "all.yaml", anywhere), &series, &[]);
    assert!(text(&all.stdout).contains("OOM-killed 1 container"), "{}", text(&all.stderr));
    let named = run(&file("namespace", "own.yaml", POLICY), &series, &["-n", "other"]);
    assert!(text(&named.stdout).contains("OOM-killed 1 container"), "{}", text(&named.stderr));
}

#[test]
fn a_question_that_makes_no_sense_is_refused_with_a_sentence() {
    let policy = file("refused", "policy.yaml", POLICY);
    let series = file("refused", "series.jsonl", recording("shop"));
    for (arguments, says) in [
        (&["--since", "yesterday"][..], "neither a duration"),
        (&["--step", "0s"], "longer than zero"),
        (&["--since", "9999d", "--step", "1s"], "choose --since, --until or a longer --step"),
    ] {
        let output = run(&policy, &series, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(says), "{arguments:?}: {}", text(&output.stderr));
    }
}
