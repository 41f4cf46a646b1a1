//! Scenario 1: the leak is found whatever the version of grpc-go can tell, and nobody else is blamed; and what the
//! command line says about it.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use super::{
    shop::{Client, Shop, diagnoses},
    world::{DETECTION, QUIET, SOON, World},
};

const LEAK: [&str; 2] = ["DialPerCall", "ConnectionLeak"];

/// `check` from this host: its exit code, and the verdict (with its reason) of every workload.
pub async fn check(shop: &Shop, more: &[&str]) -> (Option<i32>, BTreeMap<String, String>) {
    let namespace = ["check", "--namespace", &shop.namespace, "--output", "json"];
    let output = shop.world.program(&[&namespace, more].concat()).await;
    let page: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let containers = page["policies"].as_array().into_iter().flatten().flat_map(|it| it["containers"].as_array());
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let verdict = |it: &Value| match it["reason"].as_str() {
        Some(reason) => format!("{} {reason}", text(&it["verdict"])),
        None => text(&it["verdict"]),
    };
    let verdicts = containers.flatten().map(|it| (text(&it["workload"]["name"]), verdict(it)));
    (output.status.code(), verdicts.collect())
}

/// Waits until everybody who leaks is found, and fails at once when somebody else is.
async fn found(shop: &Shop, leaking: &[&str], also: &[(&str, &str)]) {
    let ask = || async {
        let found = diagnoses(&shop.status().await?);
        for (workload, names) in &found {
            let leaks = leaking.contains(&workload.as_str()) && names.iter().all(|it| LEAK.contains(&it.as_str()));
            let other = also.iter().any(|(who, what)| who == workload && names.iter().all(|it| it == what));
            assert!(leaks || other, "{}: {workload} is blamed for {names:?}", shop.namespace);
        }
        let all = leaking.iter().chain(also.iter().map(|(who, _)| who)).all(|it| found.contains_key(*it));
        if all { Ok(()) } else { Err(format!("only {found:?}")) }
    };
    shop.world.eventually(&shop.namespace, DETECTION, "all leaks are found", ask).await;
}

/// Waits until `check` gives everybody else a final verdict, which is one of those allowed.
pub async fn judged(shop: &Shop, who: &[&str], allowed: &[&str]) {
    let ask = || async {
        let (_, verdicts) = check(shop, &[]).await;
        let is = |name: &&str| verdicts.get(*name).is_some_and(|it| allowed.contains(&it.as_str()));
        if who.iter().all(is) { Ok(()) } else { Err(format!("{verdicts:?}")) }
    };
    shop.world.eventually(&shop.namespace, DETECTION, "the others are judged", ask).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn the_leak_is_found_with_every_version_and_nobody_else_is_blamed() {
    let world = World::with_operator().await;
    let undisturbed = QUIET.read().await;
    let shop = Shop::open(world, "e2e-versions").await;
    let leaky = |name, version, arguments| Client::one(name, "orders-leaky", version, arguments);
    shop.deploy(&[
        leaky("orders-145", "1.45", &["--metrics=middleware"]),
        leaky("orders-175", "1.75", &["--metrics=middleware"]),
        leaky("orders-185", "1.85", &["--metrics=otel"]),
        Client::plain("orders-fixed", 1),
        Client::plain("pool", 1),
        Client::plain("churn", 1),
    ])
    .await;
    shop.policy(json!({})).await;
    let leaking = ["orders-145", "orders-175", "orders-185"];
    found(&shop, &leaking, &[("churn", "ConnectionChurn")]).await;
    judged(&shop, &["orders-fixed", "pool", "shop-server"], &["Healthy", "Inconclusive DirectionUnknown"]).await;
    let (code, verdicts) = check(&shop, &[]).await;
    assert_eq!(code, Some(1), "{verdicts:?}");
    assert_eq!(verdicts["orders-fixed"], "Healthy");
    assert_eq!(verdicts["pool"], "Healthy");
    assert_eq!(verdicts["churn"], "Growing ConnectionChurn");
    the_command_line_explains_itself(&shop).await;
    drop(undisturbed);
    shop.remove().await;
}

/// Exit codes of `check` with a policy file, and what `explain` shows.
async fn the_command_line_explains_itself(shop: &Shop) {
    let file = std::env::temp_dir().join(format!("grpc-hygiene-e2e-{}.yaml", std::process::id()));
    let path = file.display().to_string();
    let policy = |deployment: &str| {
        json!({
            "apiVersion": "grpc-hygiene.io/v1alpha1", "kind": "GrpcClientPolicy",
            "metadata": {"name": "file", "namespace": shop.namespace},
            "spec": {"selector": {"matchLabels": {"app.kubernetes.io/name": deployment}}, "window": "5m", "interval": "10s"},
        })
        .to_string()
    };
    for (deployment, code) in [("orders-fixed", 0), ("orders-185", 1), ("nobody", 2)] {
        fs::write(&file, policy(deployment)).expect("a temporary file");
        let (found, verdicts) = check(shop, &["--filename", &path]).await;
        assert_eq!(found, Some(code), "{deployment}: {verdicts:?}");
    }
    let wrong = shop.world.program(&["check", "--filename", &path, "--prometheus", "http://127.0.0.1:9"]).await;
    fs::remove_file(&file).expect("removed");
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(wrong.status.code(), Some(2), "{said}");
    assert!(said.contains("127.0.0.1:9"), "the address is named: {said}");

    let pod = shop.pods("orders-185").await[0].metadata.name.clone().expect("a name");
    let explained = || async {
        let output = shop.world.program(&["explain", &pod, "--namespace", &shop.namespace]).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let all = ["OpenConnections", "OpenTelemetry", "calls per connection", "Verdict: DialPerCall"];
        if output.status.success() && all.iter().all(|it| text.contains(it)) { Ok(()) } else { Err(text) }
    };
    shop.world.eventually(&shop.namespace, SOON, "explain shows signals, thresholds and verdict", explained).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn the_leak_is_found_by_its_sockets_alone() {
    let world = World::with_operator().await;
    let undisturbed = QUIET.read().await;
    let silent = |name, manifest, version| Client::one(name, manifest, version, &["--metrics=none"]);
    let slow = |name, version| Client::one(name, "orders-leaky", version, &["--metrics=none", "--rate=10"]);
    let shop = Shop::open_with(world, "e2e-sockets", silent("server", "server", "1.85")).await;
    shop.deploy(&[
        silent("orders-silent", "orders-leaky", "1.85"),
        slow("silent-175", "1.75"),
        slow("silent-145", "1.45"),
        silent("fixed-silent", "orders-fixed", "1.85"),
        silent("pool", "pool", "1.85"),
    ])
    .await;
    shop.policy(json!({})).await;
    found(&shop, &["orders-silent", "silent-175", "silent-145"], &[]).await;
    judged(&shop, &["fixed-silent", "pool"], &["Healthy"]).await;
    judged(&shop, &["shop-server"], &["Inconclusive DirectionUnknown"]).await;
    drop(undisturbed);
    shop.remove().await;
}
