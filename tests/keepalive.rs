//! `grpc-hygiene lint` as a user runs it, the examples of the documentation, and what is said of a real client whose pings
//! were rejected.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use grpc_hygiene::{
    api::PolicyRules,
    decide::{
        Policy,
        replay::{EventKind, Recording, replay},
    },
    io::series::{Reading, read_files},
};
use jiff::Timestamp;
use serde_json::{Value, json};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/keepalive.md");

fn lint(file: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grpc-hygiene"));
    command.arg("lint").arg("-f").arg(file).args(more).output().expect("the binary runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A file of this run's own.
fn file(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lint-{name}.yaml"));
    std::fs::write(&path, text).expect("a file");
    path
}

/// A policy with more in its spec, as a YAML document.
fn policy(name: &str, more: &str) -> String {
    format!(
        "apiVersion: grpc-hygiene.io/v1alpha1\nkind: GrpcClientPolicy\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{allPods: true{more}}}\n"
    )
}

#[test]
fn a_clean_file_ends_with_0_an_error_with_1_and_a_warning_only_when_strict() {
    let clean = file("clean", &policy("a", ", keepalive: {client: {time: 5m}}"));
    let warned = file("warned", &policy("b", ", keepalive: {client: {time: 5m, timeout: 1s}}"));
    let wrong = file("wrong", &policy("c", ", keepalive: {client: {time: 1m}}"));
    for (path, flags, code, says) in [
        (&clean, &["--strict"][..], 0, "1 policy, 0 errors, 0 warnings\n"),
        (&warned, &[], 0, "  warning  TimeoutShort: client timeout is 1s\n"),
        (&warned, &["--strict"], 1, "1 policy, 0 errors, 1 warning\n"),
        (
            &wrong,
            &[],
            1,
            "  error    TooOften: the client pings every 1m (client time); the server permits a ping every 5m",
        ),
    ] {
        let output = lint(path, flags);
        assert_eq!(output.status.code(), Some(code), "{}", out(&output));
        assert!(out(&output).contains(says), "{}", out(&output));
    }
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_the_field_and_hides_no_other_policy() {
    let documents = [
        policy("a", ", keepalive: {client: {time: soon}}"),
        policy("b", ", keepalive: {client: {tme: 1m}}"),
        policy("c", ", keepalive: {server: {permitWithoutStream: 1}}"),
        policy("d", ", window: 8d"),
        policy("e", ""),
        "kind: Deployment\n".to_owned(),
    ];
    let output = lint(&file("unreadable", &documents.join("---\n")), &["-o", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", out(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let said =
        |index: usize| report["policies"][index]["remarks"][0]["message"].as_str().unwrap_or_default().to_owned();
    for (index, says) in [
        (0, "spec.keepalive.client.time: \"soon\" is not a duration"),
        (1, "there is no field spec.keepalive.client.tme"),
        (2, "spec.keepalive.server.permitWithoutStream: invalid type: integer `1`, expected a boolean"),
        (3, "spec.window: must be between 5m and 7d"),
        (4, ""),
        (5, "kind \"Deployment\" is none of"),
    ] {
        assert!(said(index).starts_with(says) && said(index).is_empty() == says.is_empty(), "{}", said(index));
    }
    assert_eq!((&report["errors"], &report["warnings"]), (&json!(5), &json!(0)));
    assert_eq!(report["policies"][5]["policy"], "document 6");
}

#[test]
fn what_kubectl_prints_can_be_linted() {
    let item: Value = serde_json::from_str(
        &json!({
            "apiVersion": "grpc-hygiene.io/v1alpha1", "kind": "GrpcClientPolicy",
            "metadata": {"name": "a", "namespace": "shop", "uid": "u", "managedFields": [{"manager": "kubectl"}]},
            "spec": {"allPods": true}, "status": {"conditions": []},
        })
        .to_string(),
    )
    .expect("JSON");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [item.clone(), item]});
    let output = lint(&file("list", &list.to_string()), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert!(out(&output).ends_with("2 policies, 0 errors, 0 warnings\n"), "{}", out(&output));
}

#[test]
fn a_bad_question_ends_with_2() {
    for (path, says) in [
        (PathBuf::from("/no/such/file.yaml"), "cannot read /no/such/file.yaml"),
        (file("empty", "---\n"), "holds no policy"),
        (file("no-yaml", "a: [b"), "is not YAML"),
    ] {
        let output = lint(&path, &[]);
        assert_eq!((output.status.code(), out(&output).contains(says)), (Some(2), true), "{}", out(&output));
    }
}

#[test]
fn the_policy_of_the_documentation_is_clean_and_its_quarrel_is_what_is_printed() {
    let page = std::fs::read_to_string(PAGE).expect("the page");
    let (_, rest) = page.split_once("```yaml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let output = lint(&file("documentation", example), &["--strict"]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));

    let trap = policy("clients", ", keepalive: {client: {language: go, permitWithoutStream: false}}");
    let printed = out(&lint(&file("trap", &trap), &[]));
    let (_, rest) = page.split_once("policy.yaml: shop/clients\n").expect("what is printed");
    let (documented, _) = rest.split_once("```").expect("its end");
    assert!(printed.contains(documented), "{printed}");
}

#[test]
fn every_rule_stands_in_the_documentation() {
    use grpc_hygiene::decide::keepalive::Rule;
    let page = std::fs::read_to_string(PAGE).expect("the page");
    for rule in Rule::ALL {
        let row = format!("| `{rule}` | {} |", rule.severity().name());
        assert!(page.contains(&row), "{row}");
    }
}

#[test]
fn a_real_client_whose_pings_were_rejected_is_told_both_sides() {
    let keepalive = json!({"client": {"language": "go", "time": "10s", "permitWithoutStream": true}});
    let spec = json!({"allPods": true, "window": "5m", "interval": "10s", "keepalive": keepalive});
    let rules: PolicyRules = serde_json::from_value(spec).expect("rules");
    let policy = Policy::parse(&rules).expect("a valid policy");
    let path = format!("{}/tests/recordings/pinger.jsonl.gz", env!("CARGO_MANIFEST_DIR"));
    let reading = Reading { wanted: &|_| true, skip_bad: false };
    let loaded = read_files(&[PathBuf::from(path)], reading, &mut |_| {}).expect("the recording can be read");
    let at: Vec<f64> = loaded.series.iter().flat_map(|it| &it.samples).map(|it| it.at).collect();
    let time = |seconds: f64| Timestamp::from_second(seconds as i64).expect("a time of this century");
    let span = (time(at.iter().copied().fold(f64::INFINITY, f64::min)), time(at.iter().copied().fold(0.0, f64::max)));
    let step = std::time::Duration::from_secs(10);
    let replayed = replay(&policy, "recordings/clients", &Recording::of(loaded.series), span, step, &mut |_| {});
    let finding = replayed.events.iter().find(|it| it.kind == EventKind::Finding).expect("a finding");
    let says = ": the client pings every 10s, also without calls; the server permits one every 5m (gRPC's default), only \
                during calls (broken: WithoutStreamNotPermitted, TooOften)";
    assert!(finding.message.contains(says), "{}", finding.message);
    assert!(!finding.message.contains("never learns"), "its channels are kept: {}", finding.message);
}
