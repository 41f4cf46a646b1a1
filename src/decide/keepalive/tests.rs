//! Which pairs are reproached, on both sides of each bound, and what is said.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{quarrel::Quarrel, *};
use crate::{
    api::{KeepaliveSpec, PolicyRules, names::annotations},
    decide::{Policy, Target},
};

fn declared(spec: Value) -> Declaration {
    let spec: KeepaliveSpec = serde_json::from_value(spec).expect("a spec");
    Declaration::parse(Some(&spec)).expect("valid")
}

fn rules(spec: Value) -> Vec<Rule> {
    declared(spec).remarks().into_iter().map(|it| it.rule).collect()
}

/// The rules that a client breaks with a server that permits anything.
fn alone(client: &Value) -> Vec<Rule> {
    rules(json!({"client": client, "server": {"minTime": "0s", "permitWithoutStream": true}}))
}

fn remark(spec: Value, rule: Rule) -> Remark {
    let remarks = declared(spec).remarks();
    remarks.iter().find(|it| it.rule == rule).unwrap_or_else(|| panic!("{rule} is not in {remarks:#?}")).clone()
}

fn annotated(client: &str, server: Option<&str>) -> Declaration {
    Declaration::of_annotations(Some(client), server).expect("annotations").as_ref().clone()
}

#[test]
fn a_client_may_ping_as_often_as_the_server_permits_and_not_more_often() {
    let pair = |time: &str, min: &str| rules(json!({"client": {"time": time}, "server": {"minTime": min}}));
    assert_eq!(pair("90s", "90s"), []);
    assert_eq!(pair("89s", "90s"), [Rule::TooOften]);
    // Nothing said about the server is gRPC's default.
    assert_eq!(rules(json!({"client": {"time": "5m"}})), []);
    assert_eq!(rules(json!({"client": {"time": "4m59s"}})), [Rule::TooOften]);
}

#[test]
fn pings_without_calls_need_permission_or_two_hours() {
    let pair = |time: &str, permits: Option<bool>| {
        rules(json!({"client": {"time": time, "permitWithoutStream": true},
            "server": {"minTime": "1m", "permitWithoutStream": permits}}))
    };
    assert_eq!(pair("10m", None), [Rule::WithoutStreamNotPermitted]);
    assert_eq!(pair("10m", Some(false)), [Rule::WithoutStreamNotPermitted]);
    assert_eq!(pair("1h59m59s", Some(false)), [Rule::WithoutStreamNotPermitted]);
    assert_eq!(pair("2h", Some(false)), [Rule::WithoutStream]);
    assert_eq!(pair("10m", Some(true)), [Rule::WithoutStream]);
}

#[test]
fn a_minute_between_pings_is_not_reproached_and_less_is() {
    assert_eq!(alone(&json!({"time": "60s"})), []);
    assert_eq!(alone(&json!({"time": "59s"})), [Rule::Frequent]);
}

#[test]
fn a_timeout_lies_between_a_few_round_trips_and_the_time() {
    let pair = |timeout: &str| alone(&json!({"time": "60s", "timeout": timeout}));
    assert_eq!(pair("1s"), [Rule::TimeoutShort]);
    assert_eq!(pair("2s"), []);
    assert_eq!(pair("60s"), []);
    assert_eq!(pair("61s"), [Rule::TimeoutLong]);
    // The zero of grpc-go is its default.
    assert_eq!(alone(&json!({"language": "go", "time": "60s", "timeout": "0s"})), []);
}

#[test]
fn a_load_balancer_that_forgets_first_is_named_unless_pings_or_the_server_come_before() {
    let pair = |client: Value, idle: Option<&str>| {
        rules(json!({"client": client,
            "server": {"minTime": "1m", "loadBalancerIdleTimeout": "350s", "maxConnectionIdle": idle}}))
    };
    let silent = || json!({"preset": "grpc-default"});
    assert_eq!(pair(silent(), None), [Rule::Forgotten]);
    assert_eq!(pair(silent(), Some("351s")), [Rule::Forgotten]);
    assert_eq!(pair(silent(), Some("350s")), []);
    assert_eq!(pair(json!({"time": "350s"}), None), [Rule::Forgotten]);
    assert_eq!(pair(json!({"time": "349s"}), None), []);
}

#[test]
fn an_age_needs_a_grace_that_is_not_shorter_than_the_longest_call() {
    let pair = |grace: Option<&str>, longest: Option<&str>| {
        rules(json!({"client": {"longestCall": longest},
            "server": {"maxConnectionAge": "30m", "maxConnectionAgeGrace": grace}}))
    };
    assert_eq!(pair(None, None), [Rule::AgeWithoutGrace]);
    assert_eq!(pair(Some("5m"), None), []);
    assert_eq!(pair(Some("5m"), Some("5m")), []);
    assert_eq!(pair(Some("5m"), Some("5m1s")), [Rule::GraceTooShort]);
    let no_age = json!({"client": {"longestCall": "1h"}, "server": {"maxConnectionAgeGrace": "5m"}});
    assert_eq!(rules(no_age), []);
}

#[test]
fn closing_idle_connections_helps_with_pick_first_and_not_with_round_robin() {
    let pair = |balancing: Option<&str>, idle: Option<&str>| {
        rules(json!({"client": {"loadBalancing": balancing}, "server": {"maxConnectionIdle": idle}}))
    };
    assert_eq!(pair(Some("round_robin"), Some("5m")), [Rule::IdleWithRoundRobin]);
    assert_eq!(pair(Some("round_robin"), None), []);
    assert_eq!(pair(Some("pick_first"), Some("5m")), []);
    assert_eq!(pair(None, Some("5m")), []);
}

#[test]
fn of_a_client_that_nobody_declared_nothing_is_said() {
    assert_eq!(rules(json!({})), []);
    assert_eq!(rules(json!({"server": {"loadBalancerIdleTimeout": "350s"}})), []);
    assert_eq!(rules(json!({"server": {"maxConnectionAge": "1h"}})), [Rule::AgeWithoutGrace]);
}

#[test]
fn grpc_go_pings_every_ten_seconds_when_anything_but_the_time_is_set() {
    for other in [json!({"timeout": "5s"}), json!({"permitWithoutStream": true}), json!({"permitWithoutStream": false})]
    {
        let mut client = other.clone();
        client["language"] = "go".into();
        let go = declared(json!({"client": client})).client.and_then(|it| it.pings());
        assert_eq!(go, Some(Pings { every: LEAST_TIME, set: None }), "{other}");
        let remarks = rules(json!({"client": client}));
        assert!(remarks.contains(&Rule::TooOften) && remarks.contains(&Rule::TimeRaised), "{other}: {remarks:?}");
        // The others do not ping then, and say so.
        client["language"] = "java".into();
        assert_eq!(rules(json!({"client": client})), [Rule::TimeMissing], "{other}");
    }
    assert_eq!(declared(json!({"client": {"language": "go"}})).client.and_then(|it| it.pings()), None);
    let said = remark(json!({"client": {"language": "go", "timeout": "5s"}}), Rule::TooOften);
    assert_eq!(
        said.message,
        "the client pings every 10s (ClientParameters.Time is not set, and grpc-go makes that 10s); \
         the server permits a ping every 5m (gRPC's default)"
    );
}

#[test]
fn each_implementation_has_its_own_least_time() {
    for (language, set, every) in [
        (Some("go"), "2s", 10),
        (Some("go"), "0s", 10),
        (Some("go"), "10s", 10),
        (Some("java"), "9s", 10),
        (None, "1s", 10),
        (Some("python"), "2s", 2),
        (Some("cpp"), "0s", 1),
        (Some("tonic"), "2s", 2),
        (Some("tonic"), "11s", 11),
    ] {
        let client = json!({"language": language, "time": set});
        let pings = declared(json!({"client": client})).client.and_then(|it| it.pings()).expect("pings");
        assert_eq!(pings.every, Duration::from_secs(every), "{client}");
        assert_eq!(alone(&client).contains(&Rule::TimeRaised), pings.differ(), "{client}");
    }
}

#[test]
fn a_remark_names_both_values_and_the_options_of_the_languages() {
    let pair = |client: &str, server: &str| {
        let spec = json!({"client": {"language": client, "time": "20s", "permitWithoutStream": true},
            "server": {"language": server, "minTime": "1m"}});
        [remark(spec.clone(), Rule::TooOften), remark(spec, Rule::WithoutStreamNotPermitted)]
    };
    for (client, time, without_stream) in [
        ("go", "ClientParameters.Time", "ClientParameters.PermitWithoutStream"),
        ("java", "keepAliveTime", "keepAliveWithoutCalls"),
        ("cpp", "grpc.keepalive_time_ms", "grpc.keepalive_permit_without_calls"),
        ("python", "grpc.keepalive_time_ms", "grpc.keepalive_permit_without_calls"),
        ("ruby", "grpc.keepalive_time_ms", "grpc.keepalive_permit_without_calls"),
        ("php", "grpc.keepalive_time_ms", "grpc.keepalive_permit_without_calls"),
        ("tonic", "Endpoint::http2_keep_alive_interval", "Endpoint::keep_alive_while_idle"),
    ] {
        for (server, min_time, permits) in [
            ("go", "EnforcementPolicy.MinTime", "EnforcementPolicy.PermitWithoutStream"),
            ("java", "permitKeepAliveTime", "permitKeepAliveWithoutCalls"),
            ("python", "grpc.http2.min_ping_interval_without_data_ms", "grpc.keepalive_permit_without_calls"),
        ] {
            let [too_often, idle] = pair(client, server);
            assert_eq!(
                too_often.message,
                format!("the client pings every 20s ({time}); the server permits a ping every 1m ({min_time})")
            );
            assert_eq!(too_often.advice, format!("set {time} to at least 1m, or {min_time} to at most 20s"));
            assert_eq!(idle.advice, format!("set {without_stream} to false, or {permits} to true"));
        }
    }
}

#[test]
fn the_api_server_and_etcd_agree() {
    let pair = json!({"client": {"preset": "kube-apiserver"}, "server": {"preset": "etcd"}});
    assert_eq!(rules(pair.clone()), []);
    assert_eq!(
        declared(pair).both(),
        "the client pings every 30s, only during calls; the server permits one every 5s, only during calls"
    );
    assert_eq!(rules(json!({"client": {"preset": "etcdctl"}, "server": {"preset": "etcd"}})), []);
}

#[test]
fn a_preset_is_not_excused_from_errors_and_not_changed_values_are_from_taste() {
    let against = |server: Value| rules(json!({"client": {"preset": "kube-apiserver"}, "server": server}));
    assert_eq!(against(json!({"preset": "grpc-default"})), [Rule::TooOften]);
    let changed = json!({"client": {"preset": "kube-apiserver", "time": "20s"}, "server": {"preset": "etcd"}});
    assert_eq!(rules(changed), [Rule::Frequent]);
    assert_eq!(rules(json!({"client": {"preset": "grpc-default"}, "server": {"preset": "grpc-default"}})), []);
}

#[test]
fn etcd_does_not_permit_pings_without_calls_and_cannot_be_told_to() {
    let pair = json!({"client": {"language": "go", "time": "60s", "permitWithoutStream": true},
        "server": {"preset": "etcd"}});
    let said = remark(pair, Rule::WithoutStreamNotPermitted);
    assert_eq!(said.rule.severity(), Severity::Error);
    assert_eq!(said.advice, "set ClientParameters.PermitWithoutStream to false");
    assert!(said.message.ends_with("once in 2h (it has no option for that)"), "{}", said.message);
}

#[test]
fn a_server_with_tonic_permits_any_number_of_pings_unless_something_before_it_does_not() {
    let client = json!({"time": "60s", "permitWithoutStream": true});
    assert_eq!(rules(json!({"client": client, "server": {"language": "tonic"}})), [Rule::WithoutStream]);
    let proxied = json!({"client": client, "server": {"language": "tonic", "minTime": "5m"}});
    assert_eq!(rules(proxied), [Rule::TooOften, Rule::WithoutStream]);
}

#[test]
fn a_quarrel_begins_after_three_pings_or_four_and_ends_by_doubling() {
    let quarrel = |language, every, needed| {
        let it = Quarrel::of(language, Duration::from_secs(every), Duration::from_secs(needed));
        (it.silence.1.as_secs(), it.closures)
    };
    assert_eq!(Quarrel::of(None, LEAST_TIME, DEFAULT_MIN_TIME).silence.0, Duration::from_secs(30));
    // 10, 20, 40, 80 and 160 s are too often for 5 minutes.
    assert_eq!(quarrel(Some(Language::Go), 10, 300), (40, Some(5)));
    assert_eq!(quarrel(Some(Language::Java), 150, 300), (600, Some(1)));
    assert_eq!(quarrel(None, 10, 7_200), (40, Some(10)));
    assert_eq!(quarrel(Some(Language::Tonic), 10, 300), (40, None));
    assert_eq!(quarrel(Some(Language::Tonic), 0, 300), (0, None));
}

#[test]
fn who_does_not_learn_is_named() {
    let consequence =
        |language: &str| remark(json!({"client": {"language": language, "time": "10s"}}), Rule::TooOften).consequence;
    assert!(
        consequence("go").ends_with("after 5 closures; a client that dials per call never learns"),
        "{}",
        consequence("go")
    );
    assert!(consequence("tonic").ends_with("it goes on for ever"), "{}", consequence("tonic"));
    assert!(consequence("python").contains("grpc.http2.max_pings_without_data"), "{}", consequence("python"));
}

#[test]
fn annotations_are_read_as_they_are_documented() {
    let it = annotated(
        " time=10s, timeout=5s,permitWithoutStream=true,language=go,loadBalancing=round_robin,longestCall=1m,",
        Some(
            "minTime=5m,permitWithoutStream=false,maxConnectionIdle=1h,maxConnectionAge=2h,maxConnectionAgeGrace=1m,\
              loadBalancerIdleTimeout=350s,language=java",
        ),
    );
    assert_eq!(it.unreadable, Vec::<String>::new());
    let client = it.client.expect("a client");
    assert_eq!((client.time, client.timeout), (Some(Duration::from_secs(10)), Some(Duration::from_secs(5))));
    assert_eq!((client.permit_without_stream, client.language), (Some(true), Some(Language::Go)));
    let server = it.server.expect("a server");
    assert_eq!((server.min_time, server.permit_without_stream), (Some(DEFAULT_MIN_TIME), Some(false)));
    assert_eq!(server.load_balancer_idle_timeout, Some(Duration::from_secs(350)));
    assert_eq!(annotated("preset=etcdctl", None).client, Some(Client::of(ClientPreset::Etcdctl)));
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_counts() {
    for (text, says) in [
        ("time=soon,timeout=5s", "time: \"soon\" is not a duration"),
        ("time,timeout=5s", "\"time\" is not written as name=value"),
        ("tme=1m,timeout=5s", "there is no \"tme\"; there are preset, language, time"),
        ("timeout=5s,timeout=6s", "timeout is given twice"),
        ("permitWithoutStream=yes,timeout=5s", "permitWithoutStream: \"yes\" is neither true nor false"),
        ("language=rust,timeout=5s", "language: unknown variant `rust`, expected one of `go`"),
    ] {
        let it = annotated(text, None);
        let [only] = it.unreadable.as_slice() else { panic!("{text}: {it:?}") };
        assert!(only.starts_with(&format!("annotation {}: ", annotations::KEEPALIVE_CLIENT)), "{only}");
        assert!(only.contains(says), "{text}: {only}");
        assert_eq!(it.client.and_then(|it| it.timeout), Some(Duration::from_secs(5)), "{text}");
        assert_eq!(it.remarks()[0].rule, Rule::Unreadable);
    }
}

#[test]
fn a_side_of_which_nothing_can_be_read_is_not_declared_and_its_text_is_not_passed_on() {
    let it = annotated("tme=<b>1m", Some(""));
    assert_eq!((it.client, it.server, it.unreadable.len()), (None, None, 1));
    assert!(it.told().starts_with("keepalive is not declared"), "{}", it.told());
    assert!(it.told().ends_with("; an annotation of the pod cannot be read"), "{}", it.told());
    assert!(declared(json!({"client": {}, "server": {}})).is_empty());
}

#[test]
fn a_huge_annotation_costs_little() {
    let it = annotated(&"time=1m,".repeat(1_000), None);
    assert_eq!(it.unreadable, [format!("annotation {} is longer than 512 bytes", annotations::KEEPALIVE_CLIENT)]);
    assert!(annotated(&"a,".repeat(200), None).unreadable.len() <= 8);
}

#[test]
fn a_pods_annotation_wins_over_the_policy_field_by_field() {
    let spec = json!({"allPods": true, "keepalive": {
        "client": {"language": "go", "time": "60s", "timeout": "20s"}, "server": {"preset": "etcd"}}});
    let rules: PolicyRules = serde_json::from_value(spec).expect("a spec");
    let policy = Policy::parse(&rules).expect("valid");
    let of = |client, server| {
        let target = Target { keepalive: Declaration::of_annotations(client, server), ..Target::default() };
        Declaration::of(&policy, &target)
    };
    assert_eq!(of(None, None), policy.keepalive);
    let own = of(Some("time=30s"), Some("minTime=1m")).client.expect("a client");
    assert_eq!((own.time, own.timeout), (Some(Duration::from_secs(30)), Some(Duration::from_secs(20))));
    // A preset is the values that it stands for.
    let own = of(None, Some("preset=grpc-default")).server.expect("a server");
    assert_eq!(own.permits(), DEFAULT_MIN_TIME);
}

fn maybe<T: Clone + std::fmt::Debug + 'static>(values: &'static [T]) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(proptest::sample::select(values))
}

fn time() -> impl Strategy<Value = Option<Duration>> {
    let seconds = prop_oneof![0..20_u64, 0..100_000_u64, Just(u64::MAX)];
    proptest::option::of(seconds.prop_map(Duration::from_secs))
}

const LANGUAGES: &[Language] = &[Language::Go, Language::Java, Language::Cpp, Language::Python, Language::Tonic];
const BOTH: &[bool] = &[true, false];

prop_compose! {
    fn client()(
        preset in maybe(&[ClientPreset::GrpcDefault, ClientPreset::KubeApiserver, ClientPreset::Etcdctl]),
        language in maybe(LANGUAGES),
        (time, timeout, longest_call) in (time(), time(), time()),
        permit_without_stream in maybe(BOTH),
        load_balancing in maybe(&[LoadBalancing::PickFirst, LoadBalancing::RoundRobin]),
    ) -> Client {
        Client { preset, language, time, timeout, permit_without_stream, load_balancing, longest_call }
    }
}

prop_compose! {
    fn server()(
        preset in maybe(&[ServerPreset::GrpcDefault, ServerPreset::Etcd]),
        language in maybe(LANGUAGES),
        permit_without_stream in maybe(BOTH),
        (min_time, max_connection_idle, max_connection_age) in (time(), time(), time()),
        (max_connection_age_grace, load_balancer_idle_timeout) in (time(), time()),
    ) -> Server {
        Server {
            preset, language, min_time, permit_without_stream, max_connection_idle, max_connection_age,
            max_connection_age_grace, load_balancer_idle_timeout,
        }
    }
}

fn errors(client: Client, server: Server) -> Vec<Rule> {
    let pair = Declaration { client: Some(client), server: Some(server), unreadable: Vec::new() };
    assert!(!pair.told().is_empty());
    pair.remarks().into_iter().map(|it| it.rule).filter(|it| it.severity() == Severity::Error).collect()
}

proptest! {
    #[test]
    fn who_pings_more_often_breaks_no_fewer_rules(client in client(), server in server(), share in 0.0..1.0_f64) {
        let before = errors(client, server);
        let Some(time) = client.time else { return Ok(()) };
        let oftener = Client { time: Some(time.mul_f64(share).min(time)), ..client };
        let after = errors(oftener, server);
        prop_assert!(before.iter().all(|it| after.contains(it)), "{before:?} {after:?}");
    }

    #[test]
    fn no_annotation_is_too_strange_to_be_read(client in ".{0,60}", server in "([a-zA-Z]{0,9}=?[0-9]{0,9}[smhd]?,?){0,6}") {
        let it = annotated(&client, Some(&server));
        prop_assert!(it.unreadable.len() <= 16);
        prop_assert!(it.remarks().len() >= it.unreadable.len());
    }
}
