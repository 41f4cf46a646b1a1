//! What queries look like, and what is refused.

use super::*;
use crate::signals::{Labels, Signal, catalog};

const WINDOW: Duration = Duration::from_secs(300);

fn scope(namespaces: &[&str]) -> Scope {
    Scope::new(namespaces.iter().map(|it| (*it).to_owned())).expect("good names")
}

fn custom(text: &str) -> Source {
    Source { query: Query::Custom(text.to_owned()), ..catalog::sources(Signal::Goroutines).remove(0) }
}

#[test]
fn a_source_becomes_one_raw_range_query_pinned_to_its_namespaces() {
    let source = catalog::sources(Signal::OpenConnections).remove(2);
    assert_eq!(
        range_query(&source, &scope(&["shop"]), WINDOW),
        Ok(vec![r#"container_sockets{container!="",container!="POD",namespace="shop"}[5m]"#.to_owned()])
    );
    let source = catalog::sources(Signal::OpenConnections).remove(0);
    let queries = range_query(&source, &scope(&["b", "a"]), WINDOW).expect("a query");
    assert_eq!(
        queries,
        [
            r#"{__name__=~"grpc_subchannel_open_connections|grpc_subchannel_open_connections_connection",namespace=~"a|b"}[5m]"#
        ]
    );
}

#[test]
fn a_source_that_names_containers_by_a_path_is_pinned_by_the_path() {
    let source = catalog::sources(Signal::OpenConnections).remove(1);
    let text = |scope: &Scope| range_query(&source, scope, WINDOW).expect("allowed")[0].clone();
    assert_eq!(text(&scope(&["shop"])), r#"container_net_tcp_active_connections{container_id=~"/k8s/(shop)/.+"}[5m]"#);
    assert_eq!(text(&scope(&["b", "a"])), r#"container_net_tcp_active_connections{container_id=~"/k8s/(a|b)/.+"}[5m]"#);
}

#[test]
fn buckets_are_floors_of_gauges_and_last_values_of_counters() {
    let text = |source: &Source| {
        let (span, width) = (Duration::from_secs(86_400), Duration::from_secs(1_800));
        bucket_query(source, &scope(&["shop"]), span, width).expect("allowed")[0].clone()
    };
    assert_eq!(
        text(&catalog::sources(Signal::Goroutines).remove(0)),
        r#"min_over_time(go_goroutines{namespace="shop"}[30m])[86400s:1800s]"#
    );
    assert_eq!(
        text(&catalog::sources(Signal::Calls).remove(1)),
        r#"last_over_time(grpc_client_started_total{namespace="shop"}[30m])[86400s:1800s]"#
    );
    assert_eq!(
        text(&custom("sum by (pod) (x)")),
        r#"min_over_time((sum by (pod) (x{namespace="shop"}))[30m:15s])[86400s:1800s]"#
    );
}

#[test]
fn every_query_of_the_catalog_parses_and_is_pinned() {
    for source in Signal::ALL.into_iter().flat_map(catalog::sources) {
        assert!(range_query(&source, &scope(&["a", "b"]), WINDOW).is_ok(), "{source:?}");
        assert!(bucket_query(&source, &scope(&["a", "b"]), WINDOW, WINDOW / 5).is_ok(), "{source:?}");
    }
}

#[test]
fn no_namespace_and_no_strange_namespace_is_ever_asked_for() {
    assert_eq!(Scope::new([]), Err(InvalidQuery::NoNamespace));
    for bad in ["", "a|b", ".*", "A", "a\"} or up{x=\"", "-a", "a-"] {
        assert!(Scope::new([bad.to_owned()]).is_err(), "{bad:?}");
    }
}

#[test]
fn a_custom_selector_becomes_a_raw_range_and_an_expression_a_subquery() {
    let text = |query: &str| range_query(&custom(query), &scope(&["shop"]), WINDOW).expect("allowed")[0].clone();
    assert_eq!(text(r#"app_conns{kind="out"}"#), r#"app_conns{kind="out",namespace="shop"}[5m]"#);
    assert_eq!(
        text("sum by (namespace, pod) (app_conns) - on (pod) app_idle"),
        r#"(sum by (namespace, pod) (app_conns{namespace="shop"}) - on (pod) app_idle{namespace="shop"})[5m:15s]"#
    );
}

#[test]
fn values_in_custom_sources_stay_quoted() {
    let query = range_query(&custom(r#"x{a="\"} or y{b=\""}"#), &scope(&["shop"]), WINDOW).expect("allowed");
    assert_eq!(query[0], r#"x{a="\"} or y{b=\"",namespace="shop"}[5m]"#);
}

#[test]
fn what_hides_time_or_escapes_the_namespace_is_refused() {
    for text in ["x offset 5m", "x @ 5", "x[5m]", "1", "x{", "topk(scalar(y), x)", r#"{a="1" or b="2"}"#, ""] {
        assert!(range_query(&custom(text), &scope(&["shop"]), WINDOW).is_err(), "{text:?} was allowed");
    }
}

#[test]
fn a_span_of_time_that_nothing_can_hold_is_refused_and_not_fatal() {
    for text in [
        "x offset 57777777777777777777@777m",
        "x offset - 1e300",
        "x offset +Inf",
        "x offset NaN",
        "rate(x[1e99])",
        "max_over_time(x[1e99:5m])",
        "max_over_time(x[5m:1e99])",
    ] {
        let why = range_query(&custom(text), &scope(&["shop"]), WINDOW).expect_err(text).to_string();
        assert!(why.contains("seconds"), "{text}: {why}");
    }
    assert!(range_query(&custom("rate(x[300]) > 1e300"), &scope(&["shop"]), WINDOW).is_ok(), "a number is no span");
}

#[test]
fn a_query_about_another_namespace_does_not_verify() {
    let (shop, labels) = (scope(&["shop"]), Naming::from(Labels::default()));
    assert!(verify(r#"x{namespace="shop"}[5m]"#, &labels, &shop).is_ok());
    for text in [r#"x{namespace="other"}[5m]"#, r#"x{namespace="shop"} + y"#, "x", "1 + 1"] {
        assert!(verify(text, &labels, &shop).is_err(), "{text}");
    }
}

#[test]
fn a_long_list_of_namespaces_is_split_into_several_queries() {
    let many: Vec<String> = (0..900).map(|n| format!("namespace-number-{n}")).collect();
    let scope = Scope::new(many.clone()).expect("good names");
    let queries = range_query(&catalog::sources(Signal::Calls).remove(0), &scope, WINDOW).expect("queries");
    assert!(queries.len() > 1 && queries.iter().all(|it| it.len() <= MAX_QUERY_BYTES));
    assert!(many.iter().all(|name| queries.iter().any(|query| query.contains(name.as_str()))));
}
