//! The house rules that the compiler does not check: who may import whom, and that the pure core is pure.
//!
//! They are read off the source text. What a rule forbids is listed here, so that breaking one is a decision.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The layers, lowest first. A file may import its own layer and those before it.
const LAYERS: [&str; 7] = ["api", "signals", "decide", "io", "metrics", "controller", "cli"];

fn files(of: &str) -> Vec<PathBuf> {
    fn collect(path: &Path, into: &mut Vec<PathBuf>) {
        if path.is_dir() {
            for entry in fs::read_dir(path).expect("a folder").flatten() {
                collect(&entry.path(), into);
            }
        } else if path.extension().is_some_and(|it| it == "rs") {
            into.push(path.to_owned());
        }
    }
    let mut found = Vec::new();
    for path in [format!("src/{of}.rs"), format!("src/{of}")] {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path), &mut found);
    }
    assert!(!found.is_empty(), "no files in {of}");
    found
}

/// The code of a file: without comments, and without its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a file");
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|it| !it.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_test(path: &Path) -> bool {
    path.file_stem().is_some_and(|it| it == "tests" || it == "properties")
}

#[test]
fn a_layer_imports_only_the_layers_below_it() {
    for (level, layer) in LAYERS.iter().enumerate() {
        for path in files(layer) {
            let code = code(&path);
            for above in &LAYERS[level + 1..] {
                let imports = code.contains(&format!("crate::{above}"))
                    || code.lines().any(|it| {
                        it.starts_with(&format!("    {above}::")) || it.starts_with(&format!("    {above},"))
                    });
                assert!(!imports, "{} imports {above}, which is above {layer}", path.display());
            }
        }
    }
}

#[test]
fn the_pure_core_has_no_hands() {
    const HANDS: [&str; 14] = [
        "async ",
        ".await",
        "tokio",
        "reqwest",
        "kube::Client",
        "kube::Api",
        "std::env",
        "std::fs",
        "std::net",
        "Timestamp::now",
        "SystemTime",
        "Instant",
        "tracing::",
        "rand::",
    ];
    for path in ["signals", "decide"].into_iter().flat_map(files).filter(|it| !is_test(it)) {
        let code = code(&path);
        for hand in HANDS {
            assert!(!code.contains(hand), "{} uses {hand:?}", path.display());
        }
    }
}

#[test]
fn the_statistics_import_nothing_of_ours() {
    for path in files("decide/stats") {
        assert!(!code(&path).contains("crate::"), "{}", path.display());
    }
}

#[test]
fn only_the_hands_that_act_hold_the_acting_client() {
    const MAY: [&str; 6] = ["io/act", "io/ledger", "io/acting", "io/sweep", "io/leadership", "cli/run"];
    for path in ["api", "signals", "decide", "io", "controller", "cli"].into_iter().flat_map(files) {
        let name = path.to_string_lossy().replace('\\', "/");
        let code = code(&path);
        let reaches = [".acting", "acting::client", "acting::send"].iter().any(|it| code.contains(it));
        assert!(!reaches || MAY.iter().any(|it| name.contains(it)), "{name} reaches for the acting client");
    }
}

#[test]
fn every_file_says_what_it_is_for_and_stays_short() {
    for path in
        ["api", "signals", "decide", "io", "controller", "cli", "args", "lib", "main", "metrics", "telemetry", "web"]
            .into_iter()
            .flat_map(files)
    {
        let text = fs::read_to_string(&path).expect("a file");
        assert!(text.starts_with("//! "), "{} does not say what it is for", path.display());
        assert!(text.lines().count() <= 450, "{} has {} lines", path.display(), text.lines().count());
    }
}

#[test]
fn every_reason_for_a_refusal_is_explained_to_users_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["src/decide/plan/because.rs", "src/decide/ledger/limits.rs"];
    let code = files.map(|it| code(&folder.join(it))).join("\n");
    let reasons: Vec<&str> = code
        .lines()
        .filter_map(|it| it.trim().strip_prefix("Self::")?.split_once("=> \"")?.1.strip_suffix("\","))
        .collect();
    assert!(reasons.len() > 40, "{reasons:?}");
    let page = fs::read_to_string(folder.join("docs/safety.md")).expect("the page");
    for reason in reasons {
        let row = |it: &&str| it.split(" | ").next().is_some_and(|it| it.contains(&format!("`{reason}`")));
        let rows = page.lines().filter(|it| it.starts_with("| `")).filter(row).count();
        assert_eq!(rows, 1, "{reason} in docs/safety.md");
    }
}
