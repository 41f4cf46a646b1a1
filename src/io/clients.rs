//! What the ranking of clients is made from: the addresses of a Service and the owners of pods from the Kubernetes API,
//! and who is connected to it from the metrics backend. Reads only; whatever cannot be read is said and done without.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use core::net::IpAddr;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{Service, ServiceSpec},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, api::ListParams};

use crate::{
    decide::{
        Answer, Matrix, QueryFailure, Series, Subject, Target,
        clients::{Owners, Server, Told, is_known, pods as told_pods},
        discover,
    },
    io::{pods, prometheus::Prometheus},
    signals::{
        Address, ClientSource, Destination, Figure, LabelSet, Scope, Signal, Toward, catalog, client_queries,
        client_sources, range_query, server_queries,
    },
};

/// So many points tell how a number went; more would only cost the backend more.
const POINTS: u32 = 60;
/// No points are closer together than this: metrics are scraped no more often.
const LEAST_STEP: Duration = Duration::from_secs(15);
/// How far back owners are looked for: kube-state-metrics is scraped once a minute or more often.
const OWNERS_SINCE: Duration = Duration::from_secs(600);

/// What was told, and what could not be asked.
#[derive(Debug, Default)]
pub struct Asked {
    /// The sources that have series, best first.
    pub told: Vec<Told>,
    /// Sentences about what is missing or in doubt.
    pub notes: Vec<String>,
    /// Whether any source answered at all.
    pub answered: bool,
}

/// Where to ask, about what, and for how long back.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The Service.
    pub destination: &'a Destination,
    /// Only clients of these namespaces. `None`: of all.
    pub within: Option<&'a Scope>,
    /// How far back.
    pub span: Duration,
    /// When.
    pub now: Timestamp,
}

impl Question<'_> {
    /// How far back, and at which steps.
    fn times(&self) -> (Duration, Duration) {
        (self.span, (self.span / POINTS).max(LEAST_STEP))
    }
}

/// Where a Service is.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The addresses at which it is reached: its own, those outside of the cluster, and its endpoints'.
    pub addresses: Vec<Address>,
    /// The names of the pods behind it.
    pub pods: BTreeSet<String>,
    /// Why its own addresses are not among them: the operator itself may read `EndpointSlices`, and no Services.
    pub withheld: Option<String>,
}

/// Where a Service is. `None`: there is no such Service.
///
/// # Errors
/// The API fails or refuses.
pub async fn place(client: &Client, destination: &Destination) -> Result<Option<Place>, kube::Error> {
    let services: Api<Service> = Api::namespaced(client.clone(), destination.namespace());
    let mut place = Place::default();
    match services.get_opt(destination.name()).await {
        Ok(Some(service)) => place.addresses = of_spec(&service),
        Ok(None) => return Ok(None),
        Err(kube::Error::Api(why)) if why.code == 403 => place.withheld = Some(why.message.clone()),
        Err(why) => return Err(why),
    }
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), destination.namespace());
    let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={}", destination.name()));
    for slice in &slices.list(&of_service).await?.items {
        place.addresses.extend(of_slice(slice));
        let behind = slice.endpoints.iter().filter_map(|it| it.target_ref.as_ref());
        let pods = behind.filter(|it| it.kind.as_deref() == Some("Pod")).filter_map(|it| it.name.clone());
        place.pods.extend(pods);
    }
    Ok(Some(place))
}

/// The sockets of the pods behind a Service. `None` when there are none, or nobody counts them.
pub async fn sockets(prometheus: &Prometheus, pods: &BTreeSet<String>, question: Question<'_>) -> Option<Server> {
    let pods: Vec<String> = pods.iter().cloned().collect();
    let queries = server_queries(question.destination.namespace(), &pods, question.times()).ok()?;
    Server::of(&merged(prometheus, &queries, question.now).await.ok()?)
}

fn of_spec(service: &Service) -> Vec<Address> {
    let Some(ServiceSpec { cluster_ips, cluster_ip, external_ips, ports, .. }) = &service.spec else {
        return Vec::new();
    };
    let outside = service.status.iter().flat_map(|it| &it.load_balancer).flat_map(|it| &it.ingress).flatten();
    let outside = outside.filter_map(|it| it.ip.as_ref());
    let own = cluster_ips.iter().flatten().chain(cluster_ip).chain(external_ips.iter().flatten());
    at(own.chain(outside), ports.iter().flatten().map(|it| it.port))
}

fn of_slice(slice: &EndpointSlice) -> Vec<Address> {
    let ports = slice.ports.iter().flatten().filter_map(|it| it.port);
    at(slice.endpoints.iter().flat_map(|it| &it.addresses), ports)
}

/// A headless Service's `None` and an `ExternalName`'s host are no addresses, and are left out.
fn at<'a>(ips: impl Iterator<Item = &'a String>, ports: impl Iterator<Item = i32>) -> Vec<Address> {
    let ports: BTreeSet<u16> = ports.filter_map(|it| u16::try_from(it).ok()).collect();
    let ips = ips.filter_map(|it| it.parse::<IpAddr>().ok());
    ips.map(|ip| Address { ip: ip.to_canonical(), ports: ports.clone() }).collect()
}

/// Asks every source who is connected; the one that knows no target only when no other knows a client, and unless
/// namespaces are named only in the Service's own.
pub async fn ask(prometheus: &Prometheus, question: Question<'_>) -> Asked {
    let knows_targets = |it: &ClientSource| it.toward != Toward::Unknown;
    let (sources, last): (Vec<ClientSource>, Vec<ClientSource>) = client_sources().into_iter().partition(knows_targets);
    let mut asked = Asked::default();
    for source in join_all(sources.into_iter().map(|it| ask_source(prometheus, it, question))).await {
        asked.take(source);
    }
    if !is_known(&asked.told, question.destination) {
        let home = Scope::new([question.destination.namespace().to_owned()]).ok();
        let nearby = Question { within: question.within.or(home.as_ref()), ..question };
        for source in last {
            asked.take(ask_source(prometheus, source, nearby).await);
        }
    }
    asked
}

impl Asked {
    fn take(&mut self, source: Answered) {
        let Answered { told, notes, answered } = source;
        self.told.extend(told);
        self.notes.extend(notes);
        self.answered |= answered;
    }
}

/// What one source said.
struct Answered {
    told: Option<Told>,
    notes: Vec<String>,
    answered: bool,
}

async fn ask_source(prometheus: &Prometheus, source: ClientSource, question: Question<'_>) -> Answered {
    let mut answered = Answered { told: None, notes: Vec::new(), answered: false };
    let mut figures: BTreeMap<Figure, Matrix> = BTreeMap::new();
    for (figure, metric) in source.figures {
        let queries = client_queries(&source, metric, question.destination, question.within, question.times());
        let matrix = match queries {
            // Nothing is known by which to ask.
            Ok(queries) if queries.is_empty() => break,
            Ok(queries) => merged(prometheus, &queries, question.now).await.map_err(|it| it.to_string()),
            Err(why) => Err(why.to_string()),
        };
        match matrix {
            Ok(matrix) => {
                answered.answered = true;
                answered.notes.extend(matrix.warnings.iter().map(|it| format!("{}: {it}", source.name)));
                if matrix.series.is_empty() && figures.is_empty() {
                    break;
                }
                figures.insert(*figure, matrix);
            }
            Err(why) => {
                answered.notes.push(format!("{} could not be asked for {}: {why}", source.name, metric.names[0]));
                // Without what was closed, all that was ever opened would look as if it were held.
                if *figure == Figure::Closed {
                    figures.clear();
                }
                break;
            }
        }
    }
    // Without its first figure a source tells of nobody's connections.
    let first = source.figures.first().is_some_and(|(figure, _)| figures.contains_key(figure));
    answered.told = first.then_some(Told { source, figures });
    answered
}

/// The answers to several queries as one, a series that several of them found once.
async fn merged(prometheus: &Prometheus, queries: &[String], now: Timestamp) -> Result<Matrix, QueryFailure> {
    let mut series: BTreeMap<LabelSet, Series> = BTreeMap::new();
    let mut warnings = BTreeSet::new();
    for query in queries {
        let matrix = prometheus.read(query, now).await?;
        series.extend(matrix.series.iter().map(|it| (it.labels.clone(), it.clone())));
        warnings.extend(matrix.warnings.iter().cloned());
    }
    Ok(Matrix { series: series.into_values().collect(), warnings: warnings.into_iter().collect() })
}

/// Who owns the pods that were told of: by the Kubernetes API, and for those it does not know (they may be gone) by
/// kube-state-metrics. The sentences say what could not be asked.
pub async fn owners(
    client: Option<&Client>,
    prometheus: &Prometheus,
    asked: &Asked,
    question: Question<'_>,
) -> (Owners, Vec<String>) {
    let pods = told_pods(&asked.told, question.destination);
    let mut notes = Vec::new();
    let mut owners = Owners::new();
    if let (Some(client), Some(scope)) = (client, scope_of(&pods)) {
        match pods::targets(client, &pods::Owners::default(), &scope, None, "").await {
            Ok(targets) => owners = owned(targets),
            Err(why) => notes.push(format!("the Kubernetes API does not say who owns the pods: {why}")),
        }
    }
    let unknown: Vec<(String, String)> = pods.into_iter().filter(|it| !owners.contains_key(it)).collect();
    if let Some(scope) = scope_of(&unknown) {
        owners.extend(owners_by_metrics(prometheus, &unknown, &scope, question.now).await);
    }
    (owners, notes)
}

fn scope_of(pods: &[(String, String)]) -> Option<Scope> {
    Scope::new(pods.iter().map(|(namespace, _)| namespace.clone())).ok()
}

fn owned(targets: Vec<Target>) -> Owners {
    let owner = |it: Target| Some(((it.subject.namespace, it.subject.pod), it.workload?));
    targets.into_iter().filter_map(owner).collect()
}

async fn owners_by_metrics(
    prometheus: &Prometheus,
    pods: &[(String, String)],
    scope: &Scope,
    now: Timestamp,
) -> Owners {
    let mut answers = Vec::new();
    for source in [Signal::PodOwner, Signal::ReplicaSetOwner].into_iter().flat_map(catalog::sources) {
        let queries = range_query(&source, scope, OWNERS_SINCE).unwrap_or_default();
        let result = merged(prometheus, &queries, now).await.map(std::sync::Arc::new);
        answers.push(Answer { source, width: None, result });
    }
    let target = |(namespace, pod): &(String, String)| Target {
        subject: Subject { namespace: namespace.clone(), pod: pod.clone(), ..Subject::default() },
        ..Target::default()
    };
    owned(discover::owned(pods.iter().map(target).collect(), &answers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_at_its_own_addresses_and_at_its_endpoints_each_with_its_ports() {
        let service: Service = serde_json::from_value(serde_json::json!({
            "spec": {"clusterIP": "10.96.7.20", "clusterIPs": ["10.96.7.20", "fd00::1"],
                "ports": [{"port": 443, "targetPort": 8443}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}, {"hostname": "lb.example.com"}]}}
        }))
        .expect("a Service");
        let slice: EndpointSlice = serde_json::from_value(serde_json::json!({
            "addressType": "IPv4", "ports": [{"name": "grpc", "port": 8443}],
            "endpoints": [{"addresses": ["10.244.1.5"]}, {"addresses": ["10.244.2.6"]}]
        }))
        .expect("an EndpointSlice");
        let users = Destination::new("shop", "users").expect("good names");
        let users = users.with_addresses(of_spec(&service)).with_addresses(of_slice(&slice));
        let is_at = |ip: &str, port| users.is_at(ip.parse().expect(ip), Some(port));
        assert!(is_at("10.96.7.20", 443) && is_at("fd00::1", 443) && is_at("203.0.113.9", 443));
        assert!(is_at("10.244.1.5", 8443) && is_at("10.244.2.6", 8443));
        assert!(!is_at("10.244.1.5", 9090), "whoever scrapes the pod's metrics is no client of the Service");
        assert_eq!(users.addresses().len(), 5);
    }

    #[test]
    fn a_headless_service_has_the_addresses_of_its_endpoints_alone() {
        let headless =
            serde_json::json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"], "ports": [{"port": 443}]}});
        let service: Service = serde_json::from_value(headless).expect("a Service");
        assert_eq!(of_spec(&service), []);
    }
}
