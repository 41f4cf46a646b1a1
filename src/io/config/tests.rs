//! Which mistakes are found at the start, and that each names its field.

use super::*;
use crate::api::Mode;

const MINIMAL: &str = "prometheus: {url: 'http://prometheus.monitoring.svc:9090'}";

fn error(text: &str) -> String {
    Config::from_yaml(text).expect_err(text).to_string()
}

/// A file with this content, in a directory of this process.
fn file(name: &str, content: &str) -> String {
    let directory = std::env::temp_dir().join(format!("grpc-hygiene-config-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join(name);
    std::fs::write(&path, content).expect("a file");
    path.display().to_string()
}

#[test]
fn one_address_is_a_configuration() {
    let config = Config::from_yaml(MINIMAL).expect("minimal");
    assert_eq!(config.prometheus.address(), "prometheus.monitoring.svc:9090");
    assert_eq!(config.prometheus.timeout, Duration::from_secs(30));
    assert_eq!(config.quiet_period, Duration::from_secs(600));
    assert_eq!((config.runbook_url.as_str(), config.cluster.as_deref()), (RUNBOOKS, None));
    assert!(config.alertmanagers.is_empty() && config.prometheus.credentials.is_none());
    assert_eq!(
        Config::with_prometheus("http://prometheus.monitoring.svc:9090").expect("the same").prometheus,
        config.prometheus
    );
}

#[test]
fn every_field_is_read() {
    let (token, password) = (file("token", "t0ken\n"), file("password", "pass"));
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate").cert.pem();
    let config = Config::from_yaml(&format!(
        "
prometheus: {{url: https://p/prom/, bearerTokenFile: {token}, caFile: {ca}, timeout: 1m30s}}
alertmanagers:
- {{url: 'http://a:9093', basicAuth: {{username: ops, passwordFile: {password}}}}}
- url: http://b:9093
sources:
- {{name: mesh, signal: OpenConnections, query: tcp_open, namespaces: [shop]}}
- {{name: mesh, signal: Calls, query: tcp_calls, namespaces: ['*']}}
quietPeriod: 0s
runbookUrl: https://wiki/runbooks/
cluster: prod-1
",
        ca = file("ca.pem", &certificate),
    ))
    .expect("everything");
    assert_eq!(config.prometheus.url.as_str(), "https://p/prom");
    assert_eq!(config.prometheus.credentials, Some(Credentials::Bearer { token_file: token.into() }));
    assert_eq!(
        config.alertmanagers[0].credentials,
        Some(Credentials::Basic { username: "ops".into(), password_file: password.into() })
    );
    assert_eq!(
        (config.quiet_period, config.runbook_url.as_str(), config.cluster.as_deref()),
        (Duration::ZERO, "https://wiki/runbooks", Some("prod-1"))
    );
    let (written, source) = config.custom(Signal::Calls, "mesh").expect("a source");
    assert_eq!((written.query.as_str(), source.signal), ("tcp_calls", Signal::Calls));
    assert!(written.allows("shop"));
    assert!(config.custom(Signal::Memory, "mesh").is_none());
}

#[test]
fn an_address_that_cannot_work_is_named_and_never_repeated() {
    for url in [
        "",
        "prometheus",
        "prometheus:9090",
        "ftp://p",
        "file:///etc/passwd",
        "http://",
        "http://p:99999",
        "http://user:hunter2@p",
        "http://hunter2@p",
        "http://p?token=hunter2",
        "http://p#x",
        "http://p/api/v1/query",
        "http://[::1",
        "http://169.254.169.254",
        "http://[::ffff:169.254.169.254]:9090",
        "http://0x7f000001.evil#",
        "http://0xa9fea9fe",
        "http://2852039166",
        "http://0251.0376.0251.0376",
        "http://0.0.0.0:9090",
    ] {
        let error = error(&format!("prometheus: {{url: '{url}'}}"));
        assert!(error.starts_with("prometheus.url: "), "{url}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn the_field_is_named_by_its_path() {
    let empty = file("empty", "\n");
    let with = |rest: &str| error(&format!("{MINIMAL}\n{rest}"));
    let endpoint = |rest: &str| with(&format!("alertmanagers: [{{url: 'http://a'}}, {{url: 'http://b', {rest}}}]"));
    for (error, start) in [
        (endpoint("timeout: 5"), "alertmanagers[1].timeout: \"5\" is not a duration"),
        (endpoint("timeout: 1h"), "alertmanagers[1].timeout: 1h is out of bounds: write 1s to 2m"),
        (endpoint("bearerTokenFile: /nowhere"), "alertmanagers[1].bearerTokenFile: /nowhere: No such file"),
        (endpoint(&format!("bearerTokenFile: {empty}")), "alertmanagers[1].bearerTokenFile: "),
        (endpoint(&format!("caFile: {empty}")), "alertmanagers[1].caFile: "),
        (
            endpoint(&format!("basicAuth: {{username: 'a:b', passwordFile: {empty}}}")),
            "alertmanagers[1].basicAuth.username: ",
        ),
        (
            endpoint(&format!("basicAuth: {{username: a, passwordFile: {empty}}}")),
            "alertmanagers[1].basicAuth.passwordFile: ",
        ),
        (endpoint("bearerTokenFile: /t, basicAuth: {username: a, passwordFile: /p}"), "alertmanagers[1]: "),
        (with("quietPeriod: -5m"), "quietPeriod: "),
        (with("quietPeriod: 8d"), "quietPeriod: "),
        (with("runbookUrl: wiki"), "runbookUrl: "),
        (with("limits: {standDown: {alerts: [' x']}}"), "limits.standDown.alerts: "),
        (with("limits: {standDown: {alert: x}}"), "limits.standDown"),
        (with(&format!("cluster: {}", "x".repeat(200))), "cluster: "),
        (with("sources: [{name: m, signal: Calls, query: 'sum(', namespaces: ['*']}]"), "sources[\"m\"].query: "),
        (
            with(
                "sources: [{name: m, signal: Calls, query: a, namespaces: ['*']}, {name: m, signal: Calls, query: b, namespaces: ['*']}]",
            ),
            "sources[\"m\"].name: Calls has two",
        ),
    ] {
        assert!(error.starts_with(start), "{error:?} does not start with {start:?}");
    }
}

#[test]
fn what_is_not_the_expected_yaml_names_the_place() {
    for (text, named) in [
        ("", "prometheus.url: is missing"),
        ("# nothing yet", "prometheus.url: is missing"),
        ("prometheus:", "prometheus.url: is missing"),
        ("prometheus: {}", "prometheus.url: is missing"),
        ("prometheus: {url: }", "prometheus.url: is missing"),
        ("- prometheus", "configuration"),
        ("prometheus: {url: 'http://p'", "prometheus: unclosed bracket"),
        (
            "prometheus: {url: 'http://u:hunter2@p', tokenFile: /x}",
            "prometheus.tokenFile: unknown field `tokenFile`, expected one of url",
        ),
        ("prometheus: {url: [1]}", "prometheus.url: expected string scalar at line 1, column 19"),
        (&format!("{MINIMAL}\nalertmanager: []"), "alertmanager: unknown field"),
        (
            &format!("{MINIMAL}\nsources: [{{name: m, signal: Cals, query: a, namespaces: ['*']}}]"),
            "sources[0].signal: unknown variant `Cals`, expected one of OpenConnections",
        ),
        (
            &format!("{MINIMAL}\nsources: [{{name: m, signal: Calls, query: a}}]"),
            "sources[0]: missing field `namespaces`",
        ),
        (&format!("{MINIMAL}\nprometheus: {{url: 'http://q'}}"), "duplicate mapping key: prometheus"),
    ] {
        let error = error(text);
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.contains(named), "{error:?} does not name {named:?}");
    }
}

#[test]
fn lists_and_texts_left_empty_are_as_if_left_out() {
    let config = Config::from_yaml(&format!("{MINIMAL}\nalertmanagers:\nsources:\ncluster: ''\nrunbookUrl: ''"))
        .expect("empty lists");
    assert!(config.alertmanagers.is_empty() && config.cluster.is_none());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nowhere/config.yaml")).expect_err("no file").to_string();
    assert!(error.contains("/nowhere/config.yaml"), "{error}");
}

#[test]
fn limits_that_are_left_out_are_strict_and_those_that_cannot_work_are_named() {
    let with = |limits: &str| Config::from_yaml(&format!("prometheus: {{url: http://p:9090}}\nlimits: {limits}\n"));
    let rates = with("{cluster: {restarts: 0}, namespace: {window: 2h}, backOff: 0s}").expect("valid").guard.rates;
    let default = crate::decide::ledger::Rates::default();
    assert_eq!((rates.cluster.max, rates.cluster.window), (0, default.cluster.window));
    assert_eq!((rates.namespace.max, rates.namespace.window), (3, Duration::from_secs(7_200)));
    assert_eq!((rates.at_once_percent, rates.settling, rates.back_off), (10, Duration::from_secs(300), Duration::ZERO));
    for (limits, field) in [
        ("{namespace: {restarts: 1001}}", "limits.namespace.restarts"),
        ("{namespace: {restarts: -1}}", "limits.namespace.restarts"),
        ("{cluster: {window: 30s}}", "limits.cluster.window"),
        ("{cluster: {window: 25h}}", "limits.cluster.window"),
        ("{atOncePercent: 101}", "limits.atOncePercent"),
        ("{settling: 2h}", "limits.settling"),
        ("{mode: Off}", "limits.mode"),
        ("{maxPerDay: 101}", "limits.maxPerDay"),
        ("{cooldown: 8d}", "limits.cooldown"),
        ("{windows: [{from: '22:00', to: '04:00', timeZone: CEST}]}", "limits.windows"),
        ("{storm: {percent: 101}}", "limits.storm.percent"),
        ("{storm: {calm: 25h}}", "limits.storm.calm"),
        ("{unlimited: true}", "limits"),
    ] {
        let error = with(limits).expect_err(limits).to_string();
        assert!(error.starts_with(field), "{error}");
    }
}

#[test]
fn the_administrator_s_bounds_are_read() {
    let text = "prometheus: {url: http://p:9090}
limits:
  mode: DryRun
  namespaces: [shop]
  cooldown: 2h
  maxPerDay: 1
  windows: [{from: '22:00', to: '04:00', timeZone: Europe/Berlin}]
  storm: {workloads: 5, calm: 1h}
";
    let guard = Config::from_yaml(text).expect("valid").guard;
    assert_eq!((guard.mode, guard.cooldown, guard.max_per_day), (Mode::DryRun, Duration::from_secs(7_200), 1));
    assert!(guard.allows_in("shop") && !guard.allows_in("billing"));
    assert_eq!((guard.storm.workloads, guard.storm.percent), (5, 30));
    assert_eq!(guard.rates.calm, Duration::from_secs(3_600));
    let noon: jiff::Timestamp = "2026-11-26T12:00:00Z".parse().expect("a time");
    assert!(!guard.windows.is_open(noon));
    let all = Config::from_yaml("prometheus: {url: http://p:9090}\nlimits: {namespaces: ['*']}\n").expect("valid");
    assert!(all.guard.allows_in("billing"));
}

#[test]
fn when_many_alerts_become_one_and_what_the_operator_says_about_itself_is_read() {
    let with = |alerts: &str| Config::from_yaml(&format!("{MINIMAL}\nalerts: {alerts}"));
    let rule = with("{collapse: {count: 50, within: 5m}}").expect("valid").alerts.collapse;
    assert_eq!((rule.count, rule.within, rule.calm), (50, Duration::from_secs(300), Duration::from_secs(3_600)));
    assert_eq!(with("{collapse: {count: 0}}").expect("valid").alerts.collapse.count, 0);
    assert_eq!(Config::from_yaml(MINIMAL).expect("valid").alerts, AlertRules::default());
    let own = with("{blindAfter: 10m, watchdog: true}").expect("valid").alerts;
    assert_eq!((own.blind_after, own.watchdog), (Duration::from_secs(600), true));
    for (alerts, field) in [
        ("{collapse: {count: 1}}", "alerts.collapse.count"),
        ("{collapse: {count: 10001}}", "alerts.collapse.count"),
        ("{collapse: {within: 30s}}", "alerts.collapse.within"),
        ("{collapse: {within: 2h}}", "alerts.collapse.within"),
        ("{collapse: {calm: 1m}}", "alerts.collapse.calm"),
        ("{collaps: {}}", "alerts.collaps"),
        ("{blindAfter: 1s}", "alerts.blindAfter"),
        ("{watchdog: 5}", "alerts.watchdog"),
    ] {
        let error = with(alerts).expect_err(alerts).to_string();
        assert!(error.starts_with(field), "{error}");
    }
}
