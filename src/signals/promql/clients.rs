//! The queries of the ranking of clients. They ask all namespaces for whoever reaches one Service, so they are pinned
//! by the Service instead of by a namespace; a selector that is pinned by neither is never made.
//!
//! A query may find more than what it looks for (a pattern's dot stands for any character): whoever reads the answer
//! compares exactly.

use std::time::Duration;

use promql_parser::{
    label::{Matcher, Matchers},
    parser::{Expr, SubqueryExpr, VectorSelector},
};

use super::{InvalidQuery, ParsedOp, Scope, named, parsed, parsed_query, regex_matcher};
use crate::signals::{
    ClientNaming, ClientSource, Destination, Labels, Metric, Naming, Toward, clients::CONTAINER_SOCKETS,
};

/// Addresses in one query: with IPv6 it stays within the longest text that a backend reads.
const ADDRESSES: usize = 100;

/// The queries that read one figure of a source about a Service: the value at every multiple of `step` in the last
/// `span`. `within`: only clients of these namespaces. No query when nothing is known by which to ask.
///
/// # Errors
/// A query is not PromQL, which would be a bug.
pub fn client_queries(
    source: &ClientSource,
    metric: &Metric,
    destination: &Destination,
    within: Option<&Scope>,
    (span, step): (Duration, Duration),
) -> Result<Vec<String>, InvalidQuery> {
    let within = within.map(|it| clients_in(&source.client, it));
    // What is pinned by no Service must be pinned by namespaces.
    let pinned = pins(source.toward, destination).into_iter().filter(|it| !it.is_empty() || within.is_some());
    pinned.map(|pins| over_time(metric, pins.into_iter().chain(within.clone()), (span, step))).collect()
}

/// The queries that read the sockets of a server's own pods, in the same way.
///
/// # Errors
/// As [`client_queries`].
pub fn server_queries(
    namespace: &str,
    pods: &[String],
    times: (Duration, Duration),
) -> Result<Vec<String>, InvalidQuery> {
    let labels = Labels::default();
    let query = |pods: &[String]| {
        let pins = [Matcher::new(ParsedOp::Equal, &labels.namespace, namespace), any_of(&labels.pod, pods.to_vec())];
        over_time(&CONTAINER_SOCKETS, pins.into_iter(), times)
    };
    pods.chunks(ADDRESSES).map(query).collect()
}

/// The value of a metric at every multiple of `step` in the last `span`.
fn over_time(
    metric: &Metric,
    pins: impl Iterator<Item = Matcher>,
    (span, step): (Duration, Duration),
) -> Result<String, InvalidQuery> {
    let (name, mut all) = named(metric.names);
    all.extend(metric.matchers.iter().map(|(label, op, value)| Matcher::new(parsed(*op), label, value)));
    all.extend(pins);
    let selector = Expr::VectorSelector(VectorSelector::new(name, Matchers::new(all)));
    let steps = SubqueryExpr { expr: Box::new(selector), offset: None, at: None, range: span, step: Some(step) };
    let text = Expr::Subquery(steps).to_string();
    parsed_query(&text).map(|_| text)
}

/// The matchers that pin a selector to the Service, one list for each query.
fn pins(toward: Toward, destination: &Destination) -> Vec<Vec<Matcher>> {
    let ips: Vec<String> = destination.addresses().iter().map(|it| it.ip.to_string()).collect();
    match toward {
        Toward::Unknown => vec![Vec::new()],
        Toward::Service { name, namespace } => vec![vec![
            Matcher::new(ParsedOp::Equal, name, destination.name()),
            Matcher::new(ParsedOp::Equal, namespace, destination.namespace()),
        ]],
        Toward::Address(labels) => {
            labels.iter().flat_map(|label| by_address(label, &ips, |ip| format!(".?{ip}.?:.+"))).collect()
        }
        Toward::Target(label) => {
            let by_name = any_of(label, [format!("(.*[^a-z0-9-])?{}([^a-z0-9-].*)?", destination.name())]);
            let by_address = by_address(label, &ips, |ip| format!("(.*[^0-9a-f.:])?{ip}([^0-9a-f.].*)?"));
            std::iter::once(vec![by_name]).chain(by_address).collect()
        }
    }
}

fn by_address(label: &str, ips: &[String], pattern: impl Fn(&String) -> String) -> Vec<Vec<Matcher>> {
    ips.chunks(ADDRESSES).map(|ips| vec![any_of(label, ips.iter().map(&pattern))]).collect()
}

fn any_of(label: &str, patterns: impl IntoIterator<Item = String>) -> Matcher {
    let patterns: Vec<String> = patterns.into_iter().collect();
    regex_matcher(label, &patterns.iter().map(String::as_str).collect::<Vec<_>>())
}

fn clients_in(client: &ClientNaming, scope: &Scope) -> Matcher {
    match client {
        ClientNaming::Pod(Naming::Path(label)) => {
            let namespaces: Vec<&str> = scope.iter().collect();
            any_of(label, [format!("/k8s(-cronjob)?/({})/.+", namespaces.join("|"))])
        }
        ClientNaming::Pod(naming) => scope.matcher(naming),
        ClientNaming::Workload { namespace, .. } => {
            let labels = Labels { namespace: (*namespace).to_owned(), ..Labels::default() };
            scope.matcher(&Naming::from(labels))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::{Address, client_sources};

    fn users(addresses: &[&str]) -> Destination {
        let addresses: Vec<Address> = addresses.iter().map(|it| Address::parse(it).expect(it)).collect();
        Destination::new("shop", "users").expect("good names").with_addresses(addresses)
    }

    fn queries(source: usize, destination: &Destination, within: &[&str]) -> Vec<String> {
        let source = client_sources().remove(source);
        let within = Scope::new(within.iter().map(|it| (*it).to_owned())).ok();
        let times = (Duration::from_secs(3_600), Duration::from_secs(60));
        client_queries(&source, &source.figures[0].1, destination, within.as_ref(), times).expect("PromQL")
    }

    #[test]
    fn a_client_s_own_metrics_are_asked_by_name_and_by_address() {
        let asked = queries(0, &users(&["10.96.7.20:443"]), &[]);
        let metrics = r#"__name__=~"grpc_subchannel_open_connections|grpc_subchannel_open_connections_connection""#;
        assert_eq!(
            asked,
            [
                format!(r#"{{{metrics},grpc_target=~"(.*[^a-z0-9-])?users([^a-z0-9-].*)?"}}[1h:1m]"#),
                format!(r#"{{{metrics},grpc_target=~"(.*[^0-9a-f.:])?10.96.7.20([^0-9a-f.].*)?"}}[1h:1m]"#),
            ]
        );
    }

    #[test]
    fn a_source_that_knows_addresses_only_is_asked_nothing_without_one() {
        assert!(queries(1, &users(&[]), &[]).is_empty() && queries(2, &users(&[]), &[]).is_empty());
        let (by_path, at) = (r#"container_id=~"/k8s(-cronjob)?/(shop)/.+""#, r#"~".?10.96.7.20.?:.+|.?fd00::1.?:.+""#);
        assert_eq!(
            queries(1, &users(&["10.96.7.20:443", "fd00::1"]), &["shop"]),
            [
                format!("container_net_tcp_active_connections{{{by_path},destination={at}}}[1h:1m]"),
                format!("container_net_tcp_active_connections{{actual_destination={at},{by_path}}}[1h:1m]"),
            ]
        );
        assert_eq!(
            queries(2, &users(&["10.96.7.20"]), &[]),
            [r#"tcp_open_connections{direction="outbound",peer="src",target_addr=~".?10.96.7.20.?:.+"}[1h:1m]"#]
        );
    }

    #[test]
    fn a_mesh_that_knows_services_is_asked_by_the_service() {
        assert_eq!(
            queries(3, &users(&[]), &["web", "shop"]),
            [
                r#"istio_tcp_connections_opened_total{destination_service_name="users",destination_service_namespace="shop",reporter="source",source_workload_namespace=~"shop|web"}[1h:1m]"#
            ]
        );
        assert_eq!(
            queries(4, &users(&[]), &[]),
            [
                r#"tcp_open_connections{direction="outbound",dst_namespace="shop",dst_service="users",peer="dst"}[1h:1m]"#
            ]
        );
    }

    #[test]
    fn sockets_are_asked_for_in_named_namespaces_and_never_everywhere() {
        assert!(queries(5, &users(&["10.96.7.20"]), &[]).is_empty());
        assert_eq!(
            queries(5, &users(&[]), &["shop"]),
            [r#"container_sockets{container!="",container!="POD",namespace="shop"}[1h:1m]"#]
        );
    }

    #[test]
    fn a_server_s_own_sockets_are_asked_for_by_its_pods() {
        let times = (Duration::from_secs(3_600), Duration::from_secs(60));
        let asked = |pods: &[&str]| {
            let pods: Vec<String> = pods.iter().map(|it| (*it).to_owned()).collect();
            server_queries("shop", &pods, times).expect("PromQL")
        };
        assert_eq!(
            asked(&["users-0", "users-1"]),
            [r#"container_sockets{container!="",container!="POD",namespace="shop",pod=~"users-0|users-1"}[1h:1m]"#]
        );
        assert!(asked(&[]).is_empty());
    }

    #[test]
    fn many_endpoints_are_asked_for_in_several_queries_of_bearable_length() {
        let addresses: Vec<String> = (0..1_000).map(|n| format!("fd00:1234:5678:9abc:def0:1234:5678:{n:x}")).collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        for source in 0..=2 {
            let asked = queries(source, &users(&addresses), &[]);
            assert!(asked.len() >= 10 && asked.iter().all(|it| it.len() < super::super::MAX_QUERY_BYTES));
        }
    }
}
