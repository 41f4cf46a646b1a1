//! `grpc-hygiene blame` as people run it: what it reads, refuses, prints, and how it ends. Who is to blame is tested in
//! `decide::blame`.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use grpc_hygiene::decide::blame::{Profile, blame};
use proptest::prelude::*;

fn profile(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/profiles").join(name)
}

fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grpc-hygiene"));
    command.arg("blame").args(arguments).env("KUBECONFIG", "/nowhere").env_remove("KUBERNETES_SERVICE_HOST");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("standard input").write_all(input).expect("written");
    child.wait_with_output().expect("it ends")
}

fn text(output: &Output) -> (Option<i32>, String, String) {
    let of = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
    (output.status.code(), of(&output.stdout), of(&output.stderr))
}

#[test]
fn a_file_with_goroutines_and_stacks_names_sites_ways_and_callers() {
    let (heap, goroutines) = (profile("grpc-go-1.75.1.heap.pb.gz"), profile("grpc-go-1.75.1.goroutine.pb.gz"));
    let (heap, goroutines) = (heap.to_str().expect("a path"), goroutines.to_str().expect("a path"));
    let (code, out, _) = text(&run(&[heap, "--goroutines", goroutines, "--stacks"], b""));
    assert_eq!(code, Some(1), "{out}");
    for part in [
        "grpc-go 1.75",
        "3001 channels (counted)",
        "handlers.(*Orders).GetUser",
        "example.com/shop/orders/handlers/handlers.go:33  through rpcx.Dial",
        "main.main example.com/shop/orders/main.go:36",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
}

#[test]
fn standard_input_gives_json_with_every_figure() {
    let heap = fs::read(profile("grpc-go-1.85.0.heap.pb.gz")).expect("a profile");
    let (code, out, _) = text(&run(&["-", "-o", "json"], &heap));
    let report: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, report["accused"].as_array().map(Vec::len)), (Some(1), Some(3)));
    assert_eq!(report["grpcGo"], "1.85");
    let site = report["accused"][0].as_object().expect("a site");
    for field in [
        "function",
        "file",
        "line",
        "channels",
        "atLeast",
        "atMost",
        "bytes",
        "samples",
        "confidence",
        "through",
        "callers",
    ] {
        assert!(site.contains_key(field), "{field}");
    }
}

#[test]
fn a_profile_compared_with_itself_accuses_nobody() {
    let heap = profile("grpc-go-1.45.0.heap.pb.gz");
    let heap = heap.to_str().expect("a path");
    let (code, out, _) = text(&run(&[heap, "--diff", heap], b""));
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("GREW BY") && out.contains("Nobody is to blame"), "{out}");
}

#[test]
fn what_is_no_heap_profile_is_refused_by_name() {
    let goroutines = profile("grpc-go-1.85.0.goroutine.pb.gz");
    let (code, _, error) = text(&run(&[goroutines.to_str().expect("a path")], b""));
    assert!(code == Some(2) && error.contains("goroutines, where one of the heap is needed"), "{error}");
    let (code, _, error) = text(&run(&["-"], b"heap profile: 1: 2 [3: 4] @ heap/1048576\n"));
    assert!(code == Some(2) && error.contains("it is text, not a profile"), "{error}");
    let (code, _, error) = text(&run(&["no-such-pod"], b""));
    assert!(code == Some(2) && error.contains("no Kubernetes cluster is configured"), "{error}");
    let (code, _, error) = text(&run(&["missing.pb.gz"], b""));
    assert!(code == Some(2) && error.contains("missing.pb.gz"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn broken_profiles_never_panic(cut in 0_usize..40_000, at in 0_usize..40_000, byte in any::<u8>()) {
        use std::io::Read as _;
        let file = fs::File::open(profile("grpc-go-1.85.0.heap.pb.gz")).expect("a profile");
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).expect("inflated");
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.truncate(length - cut % length / 8);
        if let Ok(profile) = Profile::parse(&bytes) {
            let _ = blame(&profile, None, Some(&profile));
        }
    }
}
