//! Which files are accepted, and how the others are refused.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;

const POLICY: &str = "{apiVersion: grpc-hygiene.io/v1alpha1, kind: GrpcClientPolicy, \
                      metadata: {name: clients, namespace: shop}, spec: {allPods: true, window: 2h}}";
const SERIES: &str =
    r#"{series: 'container_sockets{namespace="shop",pod="orders-1",container="app"}', values: '1+6x180'}"#;

/// A folder of this test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("grpc-hygiene-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn read(text: &str) -> anyhow::Result<File> {
    File::read(&Folder::new().file("a_test.yaml", text))
}

fn one_test(test: &str) -> String {
    format!("policy: {POLICY}\ntests: [{test}]\n")
}

fn expecting(expect: &str) -> String {
    one_test(&format!("{{name: a, input_series: [{SERIES}], expect: [{expect}]}}"))
}

#[test]
fn a_file_with_nothing_but_a_policy_and_a_test_is_enough() {
    let file = read(&expecting("{by: 1h, finding: DialPerCall}")).expect("a file");
    assert_eq!((file.key.as_str(), file.step), ("shop/clients", Duration::from_secs(60)));
    let test = &file.tests[0];
    assert_eq!(test.end.duration_since(file.start).as_hours(), 3);
    assert_eq!(test.recording.answers.len(), 1);
    let (_, who) = &test.expect[0];
    assert_eq!(who.len(), 1);
    assert_eq!((who[0].namespace.as_str(), who[0].pod.as_str()), ("shop", "orders-1"));
}

#[test]
fn a_long_window_is_evaluated_less_often_unless_the_file_says_how_often() {
    let long = expecting("{never: true, finding: Any}").replace("window: 2h", "window: 4d");
    assert_eq!(read(&long).expect("a file").step, Duration::from_secs(300));
    assert_eq!(read(&format!("step: 90s\n{long}")).expect("a file").step, Duration::from_secs(90));
}

#[test]
fn the_policy_may_stand_in_another_file_beside_the_test() {
    let folder = Folder::new();
    let test = expecting("{by: 1h, finding: Any}").replace(POLICY, "policy.yaml");
    let path = folder.file("a_test.yaml", &test);
    assert!(format!("{:#}", File::read(&path).expect_err("no policy yet")).contains("policy.yaml"));
    folder.file("policy.yaml", POLICY);
    assert_eq!(File::read(&path).expect("a file").key, "shop/clients");
    folder.file("policy.yaml", &format!("{POLICY}\n---\n{POLICY}"));
    assert!(format!("{:#}", File::read(&path).expect_err("two")).contains("holds 2 policies"));
}

#[test]
fn an_expectation_without_names_is_about_every_pod() {
    let second = SERIES.replace("orders-1", "orders-2");
    let test = |expect: &str| one_test(&format!("{{name: a, input_series: [{SERIES}, {second}], expect: [{expect}]}}"));
    let pods = |expect: &str| read(&test(expect)).expect("a file").tests[0].expect[0].1.len();
    assert_eq!(pods("{never: true, finding: Any}"), 2);
    assert_eq!(pods("{never: true, finding: Any, pod: orders-2}"), 1);
    assert_eq!(pods("{never: true, finding: Any, container: app}"), 2);
}

#[test]
fn what_would_test_nothing_is_refused_with_its_place() {
    let good = expecting("{by: 1h, finding: Any}");
    for (text, reason) in [
        (
            expecting("{by: 1h, finding: Any, pod: orders-9}"),
            "tests[0] (a): expect[0]: no series is about pod orders-9",
        ),
        (expecting("{by: 1h, finding: Any, namespace: shopp}"), "no series is about namespace shopp"),
        (expecting("{by: 1h, finding: Any, container: ap}"), "no series is about container ap"),
        (expecting("{by: 1h, findings: Any}"), "tests[0].expect[0].findings"),
        (expecting("{by: 1h, finding: Leak}"), "expect[0]: finding: \"Leak\""),
        (expecting("{at: 4h, finding: None}"), "the series end 3h after the start"),
        (expecting(""), "it expects nothing"),
        (one_test(""), "tests: there is none"),
        (one_test("{name: a, input_series: [], expect: [{never: true, finding: Any}]}"), "input_series: there is none"),
        (good.replace("container_sockets", "container_socket"), "no source knows container_socket{"),
        (good.replace("1+6x180", "1+6"), "input_series[0]: \"1+6\" is not a value"),
        (good.replace("pod=", "pod=~"), "input_series[0]: "),
        (good.replace(SERIES, &format!("{SERIES}, {SERIES}")), "is given twice"),
        (good.replace(r#"namespace="shop""#, r#"namespace="bank""#), "looks into namespace shop"),
        (good.replace("allPods", "allPod"), "policy: there is no field spec.allPod"),
        (good.replace("window: 2h", "window: 1s"), "policy: spec.window"),
        (format!("interval: 0s\n{good}"), "interval: may not be zero"),
        (format!("start: yesterday\n{good}"), "start: "),
        (format!("evaluation_interval: 1m\n{good}"), "evaluation_interval"),
        (good.replace("name: a,", ""), "missing field `name`"),
        ("tests: [".to_owned(), "is not YAML"),
    ] {
        let error = format!("{:#}", read(&text).expect_err(&text));
        assert!(error.contains(reason), "{error}\ndoes not say\n{reason}");
    }
}

#[test]
fn two_tests_of_one_name_are_refused() {
    let test = format!("{{name: a, input_series: [{SERIES}], expect: [{{never: true, finding: Any}}]}}");
    let error = read(&one_test(&format!("{test}, {test}"))).expect_err("two").to_string();
    assert_eq!(error, "tests[1]: there are two tests \"a\"");
}
