//! The custom resources on a real API server: what it refuses and in which words, what it fills in, and what
//! `kubectl explain` prints. Nothing is evaluated here, so neither nodes nor metrics are needed.
//!
//! `tests/run` starts the server and sets `GRPC_HYGIENE_API_KUBECONFIG`; by hand: `tests/cluster/cluster api-up`.

// The tests tidy up after themselves; what they try is not what they tidy with.
#![allow(clippy::disallowed_methods)]

use std::{path::PathBuf, process::Command, time::Duration};

use grpc_hygiene::{
    api::{ClusterGrpcClientPolicy, GrpcClientPolicy, GrpcClientPolicyStatus, custom_resources},
    io::report::{self, Address, Unwritten},
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Config, Error, Resource,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{conditions, wait::await_condition},
};
use serde_json::{Value, json};

const KUBECONFIG: &str = "GRPC_HYGIENE_API_KUBECONFIG";

fn kubeconfig() -> PathBuf {
    let Some(path) = std::env::var_os(KUBECONFIG) else {
        panic!(
            "{KUBECONFIG} is not set: run `make test`, or `tests/cluster/cluster api-up` and set it to what that prints"
        )
    };
    path.into()
}

/// A client, and both definitions in place.
async fn server() -> Client {
    // Fails when another test was first, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let file = Kubeconfig::read_from(kubeconfig()).expect("the kubeconfig can be read");
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a kubeconfig");
    let client = Client::try_from(config).expect("a client");
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in custom_resources() {
        let name = crd.metadata.name.clone().expect("a name");
        let params = PatchParams::apply("grpc-hygiene-test").force();
        api.patch(&name, &params, &Patch::Apply(&crd)).await.expect("the server accepts the definition and its rules");
        let established = await_condition(api.clone(), &name, conditions::is_crd_established());
        tokio::time::timeout(Duration::from_secs(30), established).await.expect("in time").expect("established");
    }
    client
}

/// Asks the server to create a policy of kind `K` without storing it, as `kubectl apply --dry-run=server` does.
async fn submit<K: Resource<DynamicType = ()>>(client: &Client, spec: &Value) -> Result<Value, String> {
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = if K::plural(&()) == GrpcClientPolicy::plural(&()) {
        Api::namespaced_with(client.clone(), "default", &resource)
    } else {
        Api::all_with(client.clone(), &resource)
    };
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "a"}, "spec": spec,
    }))
    .expect("an object");
    let strict = PostParams { dry_run: true, ..PostParams::default() };
    match api.create(&strict, &object).await {
        Ok(created) => Ok(created.data["spec"].clone()),
        Err(Error::Api(status)) => Err(status.message),
        Err(other) => panic!("{spec}: {other}"),
    }
}

/// Invalid specs of either kind, the field that the refusal names, and words of the rule.
///
/// Kubernetes prints an upper bound without its fraction (99 for 99.999), so 99 is what stands here.
fn refusals() -> Vec<(Value, &'static str, &'static str)> {
    let labels = json!({"matchLabels": {"app": "orders"}});
    let all = |more: Value| {
        let mut spec = more;
        spec["allPods"] = true.into();
        spec
    };
    let restart = |rule: Value| all(json!({"remediation": {"alert": {}, "restart": rule}}));
    vec![
        (json!({}), "spec.selector", "exactly one of selector and allPods: true"),
        (json!({"allPods": false}), "spec.selector", "exactly one of selector and allPods: true"),
        (all(json!({"selector": labels})), "spec.selector", "exactly one of selector and allPods: true"),
        (json!({"selector": {}}), "spec.selector", "may not be empty"),
        (json!({"selector": {"matchLabels": {}}}), "spec.selector", "may not be empty"),
        (json!({"selector": {"matchExpressions": []}}), "spec.selector", "may not be empty"),
        (
            json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Has"}]}}),
            "spec.selector.matchExpressions",
            "operator must be In or NotIn with values",
        ),
        (
            json!({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
            "spec.selector.matchExpressions",
            "operator must be In or NotIn with values",
        ),
        (all(json!({"mode": "Enforced"})), "spec.mode", "supported values: \"DryRun\", \"Auto\", \"Enforce\""),
        (json!({"allPods": "yes"}), "spec.allPods", "must be of type boolean"),
        (all(json!({"suspend": "no"})), "spec.suspend", "must be of type boolean"),
        (all(json!({"interval": "1s"})), "spec.interval", "must be between 5s and 1h"),
        (all(json!({"interval": "2h", "window": "7d"})), "spec.interval", "must be between 5s and 1h"),
        (all(json!({"interval": "soon"})), "spec.interval", "should match"),
        (all(json!({"interval": "1m1h"})), "spec.interval", "should match"),
        (all(json!({"interval": "1.5m"})), "spec.interval", "should match"),
        (all(json!({"interval": ""})), "spec.interval", "at least 2 chars"),
        (all(json!({"interval": 60})), "spec.interval", "must be of type string"),
        (all(json!({"window": "4m"})), "spec.window", "must be between 5m and 7d"),
        (all(json!({"window": "8d"})), "spec.window", "must be between 5m and 7d"),
        (all(json!({"window": "5m", "interval": "10m"})), "spec.window", "must be longer than interval"),
        (all(json!({"window": "5m", "interval": "5m"})), "spec.window", "must be longer than interval"),
        (all(json!({"window": "5m", "warmUp": "5m"})), "spec.warmUp", "must be shorter than window"),
        (all(json!({"sources": {"calls": ""}})), "spec.sources.calls", "at least 1 chars"),
        (all(json!({"thresholds": {"confidence": 50}})), "spec.thresholds.confidence", "greater than or equal to 90"),
        (all(json!({"thresholds": {"confidence": 100}})), "spec.thresholds.confidence", "less than or equal to 99"),
        (
            all(json!({"thresholds": {"callsPerConnection": 0}})),
            "spec.thresholds.callsPerConnection",
            "greater than or equal to 1",
        ),
        (
            all(json!({"thresholds": {"connectionGrowth": -1}})),
            "spec.thresholds.connectionGrowth",
            "greater than or equal to 1",
        ),
        (
            all(json!({"thresholds": {"timeToMemoryLimit": "31d"}})),
            "spec.thresholds.timeToMemoryLimit",
            "must be between 1m and 30d",
        ),
        (
            all(json!({"keepalive": {"client": {"language": "rust"}}})),
            "spec.keepalive.client.language",
            "supported values: \"go\", \"java\"",
        ),
        (all(json!({"keepalive": {"server": {"minTime": "5min"}}})), "spec.keepalive.server.minTime", "should match"),
        (all(json!({"profiles": {"port": 0}})), "spec.profiles.port", "from 1 to 65535"),
        (all(json!({"profiles": {"port": "6060"}})), "spec.profiles.port", "the name of a container's port"),
        (all(json!({"profiles": {"path": "/debug/../etc"}})), "spec.profiles.path", "must not hold .."),
        (all(json!({"profiles": {"path": "debug"}})), "spec.profiles.path", "should match"),
        (restart(json!({"evidence": "Required"})), "spec.remediation.restart.evidence", "needs spec.profiles"),
        (all(json!({"remediation": {"restart": {}}})), "spec.remediation.restart", "needs remediation.alert"),
        (
            all(json!({"remediation": {"annotate": {"after": "8d"}}})),
            "spec.remediation.annotate.after",
            "must be at most 7d",
        ),
        (
            all(json!({"remediation": {"annotate": {"after": "5m"}, "alert": {"after": "1m"}}})),
            "spec.remediation.alert.after",
            "must not be shorter than remediation.annotate.after",
        ),
        (
            all(json!({"remediation": {"alert": {"after": "5m"}, "restart": {"after": "1m"}}})),
            "spec.remediation.restart.after",
            "must not be shorter than remediation.alert.after",
        ),
        (
            all(json!({"remediation": {"alert": {"severity": "page"}}})),
            "spec.remediation.alert.severity",
            "supported values: \"info\", \"warning\", \"critical\"",
        ),
        (restart(json!({"method": "Delete"})), "spec.remediation.restart.method", "supported values: \"Auto\""),
        (restart(json!({"cooldown": "1s"})), "spec.remediation.restart.cooldown", "must be between 1m and 7d"),
        (restart(json!({"maxPerDay": 0})), "spec.remediation.restart.maxPerDay", "greater than or equal to 1"),
        (restart(json!({"maxPerDay": 101})), "spec.remediation.restart.maxPerDay", "less than or equal to 100"),
        (restart(json!({"maxUnavailable": 0})), "spec.remediation.restart.maxUnavailable", "at least 1"),
        (restart(json!({"maxUnavailable": "0%"})), "spec.remediation.restart.maxUnavailable", "from 1% to 100%"),
        (restart(json!({"maxUnavailable": "101%"})), "spec.remediation.restart.maxUnavailable", "from 1% to 100%"),
        (
            restart(json!({"approval": "Maybe"})),
            "spec.remediation.restart.approval",
            "supported values: \"None\", \"First\"",
        ),
        (restart(json!({"when": "Later"})), "spec.remediation.restart.when", "supported values: \"Quietest\", \"Now\""),
        (restart(json!({"standDown": {}})), "spec.remediation.restart.standDown.alerts", "Required value"),
        (
            restart(json!({"standDown": {"alerts": []}})),
            "spec.remediation.restart.standDown.alerts",
            "at least 1 items",
        ),
        (
            restart(json!({"standDown": {"alerts": ["NodeDown", " x"]}})),
            "spec.remediation.restart.standDown.alerts[1]",
            "should match",
        ),
        (restart(json!({"windows": []})), "spec.remediation.restart.windows", "at least 1 items"),
        (
            restart(json!({"windows": [{"from": "24:00", "to": "04:00"}]})),
            "spec.remediation.restart.windows[0].from",
            "should match",
        ),
        (
            restart(json!({"windows": [{"from": "22:00", "to": "24:01"}]})),
            "spec.remediation.restart.windows[0].to",
            "should match",
        ),
        (
            restart(json!({"windows": [{"from": "22:00", "to": "22:00"}]})),
            "spec.remediation.restart.windows",
            "may not end when they begin",
        ),
        (
            restart(json!({"windows": [{"from": "22:00", "to": "04:00", "days": ["Monday"]}]})),
            "spec.remediation.restart.windows[0].days[0]",
            "supported values: \"Mon\"",
        ),
        (restart(json!({"windows": [{"from": "22:00"}]})), "spec.remediation.restart.windows[0].to", "Required value"),
        (
            restart(json!({"maxUnavailable": "two"})),
            "spec.remediation.restart.maxUnavailable",
            "a number of at least 1",
        ),
    ]
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn an_invalid_policy_is_refused_with_a_sentence_that_names_field_and_rule() {
    let client = server().await;
    for (spec, field, says) in refusals() {
        let mut selected = spec.clone();
        selected["namespaceSelector"] = json!({"matchLabels": {"team": "shop"}});
        for refusal in [
            submit::<GrpcClientPolicy>(&client, &spec).await,
            submit::<ClusterGrpcClientPolicy>(&client, &selected).await,
        ] {
            let message = refusal.expect_err(&format!("{spec} must be refused"));
            assert!(message.contains(&format!("{field}: ")) && message.contains(says), "{spec}: {message}");
        }
    }
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn a_cluster_policy_must_say_which_namespaces() {
    let client = server().await;
    for (spec, says) in [
        (json!({"allPods": true}), "Required value"),
        (json!({"allPods": true, "namespaceSelector": {}}), "may not be empty"),
        (json!({"allPods": true, "namespaceSelector": {"matchLabels": {}}}), "may not be empty"),
        (
            json!({"allPods": true, "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exist"}]}}),
            "operator must be In or NotIn with values, or Exists or DoesNotExist without",
        ),
    ] {
        let message = submit::<ClusterGrpcClientPolicy>(&client, &spec).await.expect_err("must be refused");
        assert!(message.contains("spec.namespaceSelector") && message.contains(says), "{spec}: {message}");
    }
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn valid_policies_are_accepted() {
    let client = server().await;
    for spec in [
        json!({"allPods": true}),
        json!({"selector": {"matchLabels": {"app": "orders"}}}),
        json!({"selector": {"matchExpressions": [
            {"key": "app", "operator": "In", "values": ["orders", "users"]},
            {"key": "canary", "operator": "DoesNotExist"}]}}),
        json!({"allPods": false, "selector": {"matchLabels": {"app": "orders"}}}),
        json!({"allPods": true, "suspend": true, "window": "7d", "interval": "1h"}),
        json!({"allPods": true, "thresholds": {"confidence": 99.999}}),
        json!({"allPods": true, "window": "1h30m", "interval": "90s", "warmUp": "0s"}),
        json!({"allPods": true, "keepalive": {}}),
        json!({"allPods": true, "keepalive": {
            "client": {"preset": "kube-apiserver", "time": "0s", "loadBalancing": "round_robin"},
            "server": {"preset": "etcd", "language": "go", "permitWithoutStream": true, "minTime": "1m30s"}}}),
        json!({"allPods": true, "mode": "Enforce", "remediation": {"annotate": {}, "alert": {}, "restart": {}}}),
        json!({"allPods": true, "remediation": {"alert": {}, "restart": {"windows": [
            {"from": "00:00", "to": "24:00"},
            {"days": ["Mon", "Fri"], "from": "22:00", "to": "04:00", "timeZone": "Europe/Berlin"}]}}}),
        json!({"allPods": true, "remediation": {"annotate": {"after": "1m"}, "alert": {"after": "1m"},
            "restart": {"after": "1m", "method": "Evict", "cooldown": "1m", "maxPerDay": 100, "maxUnavailable": "25%"}}}),
    ] {
        submit::<GrpcClientPolicy>(&client, &spec).await.unwrap_or_else(|message| panic!("{spec}: {message}"));
    }
    let everywhere = json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]});
    let spec = json!({"allPods": true, "namespaceSelector": everywhere});
    submit::<ClusterGrpcClientPolicy>(&client, &spec).await.expect("valid");
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn the_server_fills_in_the_defaults() {
    let client = server().await;
    let spec = json!({"allPods": true, "remediation": {"annotate": {}, "alert": {}, "restart": {}}});
    let filled = submit::<GrpcClientPolicy>(&client, &spec).await.expect("valid");
    for (pointer, wanted) in [
        ("/mode", json!("DryRun")),
        ("/suspend", json!(false)),
        ("/interval", json!("1m")),
        ("/window", json!("4d")),
        ("/sources/calls", json!("Auto")),
        ("/thresholds/callsPerConnection", json!(20)),
        ("/thresholds/timeToMemoryLimit", json!("7d")),
        ("/remediation/annotate/after", json!("0s")),
        ("/remediation/alert/severity", json!("warning")),
        ("/remediation/restart/method", json!("Auto")),
        ("/remediation/restart/maxUnavailable", json!(1)),
        ("/remediation/restart/maxPerDay", json!(3)),
        ("/remediation/restart/evidence", json!("BestEffort")),
    ] {
        assert_eq!(filled.pointer(pointer), Some(&wanted), "{pointer} of {filled}");
    }
    assert_eq!(filled.get("warmUp"), None, "its default follows the window");
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn what_the_server_stored_is_what_the_operator_reads() {
    let client = server().await;
    let api: Api<GrpcClientPolicy> = Api::namespaced(client, "default");
    let spec = json!({"selector": {"matchLabels": {"app": "orders"}}, "remediation": {"alert": {}}});
    let policy: GrpcClientPolicy = serde_json::from_value(json!({
        "apiVersion": "grpc-hygiene.io/v1alpha1", "kind": "GrpcClientPolicy",
        "metadata": {"name": "stored"}, "spec": spec,
    }))
    .expect("a policy");
    let created = api.create(&PostParams::default(), &policy).await.expect("valid");
    let stored = api.get("stored").await;
    api.delete("stored", &DeleteParams::default()).await.expect("deleted");
    assert_eq!(stored.expect("stored").spec, created.spec);
    assert_eq!(created.spec, policy.spec, "the server's defaults are the program's");
}

/// kubectl as the test cluster built it.
fn kubectl() -> Command {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let cluster = std::env::var_os("CLUSTER_DIR").map_or_else(|| repository.join(".cluster"), PathBuf::from);
    let program = cluster.join("bin/kubectl");
    assert!(program.exists(), "{} is missing: run `tests/cluster/cluster build kube`", program.display());
    let mut command = Command::new(program);
    command.arg("--kubeconfig").arg(kubeconfig());
    command
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn kubectl_explain_describes_the_fields() {
    server().await;
    for (path, says) in [
        ("gcpol", "Watches the gRPC clients of one namespace"),
        ("cgcpol.spec.namespaceSelector", "Which namespaces are watched"),
        ("gcpol.spec.mode", "says in status, events and metrics what it would"),
        ("gcpol.spec.keepalive.server.minTime", "The shortest time between two pings"),
        ("gcpol.spec.window", "The longest look back, 5m to 7d"),
        ("gcpol.spec.remediation.restart.windows.to", "Earlier than `from` means on the next day"),
        ("gcpol.spec.remediation.restart.maxUnavailable", "How many pods of a workload may be unavailable"),
        ("gcpol.status.offenders.remediations.because", "Why it was withheld"),
    ] {
        let output = kubectl().args(["explain", path]).output().expect("kubectl starts");
        let text = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(says), "{path}: {text}{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
#[ignore = "needs an API server: make test"]
async fn kubectl_apply_refuses_a_misspelt_field() {
    server().await;
    let policy = r#"{"apiVersion": "grpc-hygiene.io/v1alpha1", "kind": "GrpcClientPolicy",
        "metadata": {"name": "a", "namespace": "default"}, "spec": {"allPods": true, "wndow": "5m"}}"#;
    let file = std::env::temp_dir().join(format!("grpc-hygiene-misspelt-{}.json", std::process::id()));
    std::fs::write(&file, policy).expect("a temporary file");
    let output = kubectl().args(["apply", "--dry-run=server", "--filename"]).arg(&file).output();
    std::fs::remove_file(&file).expect("removed");
    let output = output.expect("kubectl starts");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.contains("unknown field \"spec.wndow\""), "{message}");
}

#[tokio::test]
#[ignore = "needs a real API server: make test"]
async fn a_status_is_written_over_what_people_changed_and_never_over_another_replicas() {
    let client = server().await;
    let api: Api<GrpcClientPolicy> = Api::namespaced(client.clone(), "default");
    let policy: GrpcClientPolicy = serde_json::from_value(json!({
        "apiVersion": "grpc-hygiene.io/v1alpha1", "kind": "GrpcClientPolicy", "metadata": {"name": "status"},
        "spec": {"allPods": true},
    }))
    .expect("a policy");
    let _ = api.delete("status", &DeleteParams::default()).await;
    let policy = api.create(&PostParams::default(), &policy).await.expect("a policy");
    let address = Address::of::<GrpcClientPolicy>(&policy.metadata);
    let says = |seconds: i64| GrpcClientPolicyStatus { observed_generation: Some(seconds), ..Default::default() };
    let read = || async { report::read_status(&client, &address).await.expect("a status") };

    let before = read().await;
    let labelled = json!({"metadata": {"labels": {"team": "shop"}}});
    api.patch("status", &PatchParams::default(), &Patch::Merge(&labelled)).await.expect("a label");
    let version =
        report::write_status(&client, &address, &before, &says(1)).await.expect("people changed a label only");
    let after = read().await;
    assert_eq!((after.status.as_ref(), &after.version), (Some(&says(1)), &version));

    // A leader that stood still since `before`, and since `after`, while others wrote.
    let late = report::write_status(&client, &address, &before, &says(2)).await;
    assert!(matches!(late, Err(Unwritten::Overtaken)), "{late:?}");
    report::write_status(&client, &address, &after, &says(3)).await.expect("nobody else wrote");
    let late = report::write_status(&client, &address, &after, &says(4)).await;
    assert!(matches!(late, Err(Unwritten::Overtaken)), "{late:?}");
    assert_eq!(read().await.status, Some(says(3)));
    api.delete("status", &DeleteParams::default()).await.expect("deleted");
    let gone = report::write_status(&client, &address, &after, &says(5)).await.expect("nobody is left to tell");
    assert_eq!(gone, None);
}
