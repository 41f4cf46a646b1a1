//! The policies' own tests, run as a user runs them: `grpc-hygiene test tests/policies`. And how the command ends when
//! a test fails or a file cannot be used.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/policies");

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grpc-hygiene"));
    command.arg("test").args(arguments).output().expect("the binary runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A folder of this run's own.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("policies-{name}"));
    if path.exists() {
        std::fs::remove_dir_all(&path).expect("an old folder");
    }
    std::fs::create_dir_all(&path).expect("a new folder");
    path
}

/// One of our tests, with a part of it replaced, in a folder of its own beside its policy.
fn changed(name: &str, file: &str, from: &str, to: &str) -> PathBuf {
    let folder = folder(name);
    let text = std::fs::read_to_string(Path::new(FOLDER).join(file)).expect("a test file");
    assert!(text.contains(from), "{file} no longer holds {from}");
    std::fs::write(folder.join(file), text.replace(from, to)).expect("a file");
    std::fs::copy(Path::new(FOLDER).join("clients.yaml"), folder.join("clients.yaml")).expect("the policy");
    folder
}

#[test]
fn every_example_does_what_it_says() {
    let output = run(&[FOLDER]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
    assert!(out(&output).ends_with("14 passed, 0 failed\n"), "{}", out(&output));
}

#[test]
fn the_example_of_the_documentation_does_what_it_says() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/policy-tests.md")).expect("a page");
    let (_, rest) = page.split_once("```yaml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let path = folder("documentation").join("orders_test.yaml");
    std::fs::write(&path, example).expect("a file");
    let output = run(&[&path.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(0), "{}", out(&output));
}

#[test]
fn a_test_that_fails_says_what_happened_and_ends_with_1() {
    let folder = changed("failing", "leaks_test.yaml", "finding: ConnectionChurn", "finding: ConnectionLeak");
    let report = folder.join("report.xml");
    let output = run(&[&folder.to_string_lossy(), "--junit", &report.to_string_lossy()]);
    let text = out(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in [
        "  ok        a target that cannot be reached is named\n",
        "  FAILED    dialling and closing is churn, which a restart does not cure\n",
        "expected shop/orders-1: by 1h finding ConnectionLeak\n",
        "finding ConnectionChurn: connections are opened and closed again",
        "4 passed, 1 failed\n",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let report = std::fs::read_to_string(report).expect("a report");
    assert!(report.contains(r#"tests="5" skipped="0" failures="1" errors="0""#), "{report}");
}

#[test]
fn only_the_tests_that_are_asked_for_are_run() {
    let output = run(&[FOLDER, "--run", "^a pool that breathes"]);
    assert!(out(&output).ends_with("1 passed, 0 failed\n"), "{}", out(&output));
    let output = run(&[FOLDER, "--run", "no such test"]);
    assert_eq!(output.status.code(), Some(2), "{}", out(&output));
}

#[test]
fn a_file_that_cannot_be_used_ends_with_2_and_hides_no_other() {
    let folder = changed("unusable", "leaks_test.yaml", "pod: orders-2, finding", "pod: orders-3, finding");
    let good = format!("{FOLDER}/harmless_test.yaml");
    let output = run(&[&folder.to_string_lossy(), &good]);
    let text = out(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("expect[1]: no series is about pod orders-3"), "{text}");
    assert!(text.ends_with("5 passed, 0 failed, 1 unusable\n"), "{text}");
}

#[test]
fn a_folder_without_tests_and_a_file_that_is_not_there_end_with_2() {
    let empty = folder("empty");
    let output = run(&[&empty.to_string_lossy()]);
    assert_eq!((output.status.code(), out(&output).contains("holds no test")), (Some(2), true), "{}", out(&output));
    let output = run(&[&empty.join("a_test.yaml").to_string_lossy()]);
    assert_eq!((output.status.code(), out(&output).contains("cannot be read")), (Some(2), true), "{}", out(&output));
}
