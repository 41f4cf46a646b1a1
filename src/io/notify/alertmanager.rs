//! Alertmanager's API v2: the alerts as JSON, and one request to one address. It does not decide when to send.
//!
//! Replicas of an Alertmanager do not tell each other about alerts, so every address behind a name gets all of them.
//! See <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, StatusCode, header};
use serde::Serialize;

use crate::{
    api::AlertRecord,
    decide::{Diagnosis, profiles},
    io::{
        addresses::{self, Unresolved},
        http::{self, Endpoint, HttpError, root_cause},
        notify::board::Posters,
    },
};

/// A firing alert ends by itself so long after it was last sent: four times the period.
const STANDS: SignedDuration = SignedDuration::from_mins(4);
/// The longest that one request may take, whatever the endpoint's `timeout`: alerts are small.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Alerts in one request.
const BATCH: usize = 256;

/// What every alert carries besides what it is about.
pub(super) struct Letterhead {
    /// The prefix of the runbooks' addresses.
    pub runbook_url: String,
    /// The value of the label `cluster`.
    pub cluster: Option<String>,
    /// Whether an alert that always fires goes with them.
    pub watchdog: bool,
}

/// Alerts, ready to be sent.
pub(super) struct Mail {
    batches: Vec<Vec<u8>>,
    alerts: u64,
}

/// What finds the receivers and carries alerts to them. `Alerts::new` takes HTTP.
pub trait Courier: Send + Sync {
    /// Every address behind the endpoint's name now, or why there is none.
    fn addresses<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<BTreeSet<SocketAddr>, String>>;

    /// Takes the whole mail to one address of the endpoint: batches of alerts, each as JSON.
    fn deliver<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        address: SocketAddr,
        mail: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<(), Failure>>;
}

/// Why an address did not take the mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For people. Holds neither secrets nor what the receiver wrote.
    pub problem: String,
    /// Whether another try may help.
    pub retry: bool,
    /// How long the receiver wants to be left alone.
    pub after: Option<Duration>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    pub labels: BTreeMap<&'static str, String>,
    pub annotations: BTreeMap<&'static str, String>,
    pub starts_at: String,
    pub ends_at: String,
}

impl Letterhead {
    /// What stands on the board.
    pub(super) fn mail(&self, posters: &Posters, now: Timestamp) -> Mail {
        let alerts = posters.alerts.iter().map(|(policy, it)| self.alert(policy, it, now));
        let own = self.own(posters.blind.as_ref(), now);
        let alerts: Vec<Alert> = alerts.chain(self.summaries(posters, now)).chain(own).collect();
        // Maps of strings always make JSON.
        let batches = alerts.chunks(BATCH).map(|it| serde_json::to_vec(it).unwrap_or_default());
        Mail { batches: batches.collect(), alerts: u64::try_from(alerts.len()).unwrap_or(u64::MAX) }
    }

    /// The labels that every alert has.
    pub(super) fn labels(&self, name: &str, severity: &str) -> BTreeMap<&'static str, String> {
        let cluster = self.cluster.iter().map(|it| ("cluster", it.clone()));
        [("alertname", name.to_owned()), ("severity", severity.to_owned())].into_iter().chain(cluster).collect()
    }

    fn alert(&self, policy: &str, record: &AlertRecord, now: Timestamp) -> Alert {
        let AlertRecord {
            namespace,
            workload,
            container,
            diagnosis,
            severity,
            summary,
            sites,
            profile,
            approval,
            restarts,
            starts_at,
            ends_at,
            delivered: _,
            collapsed: _,
        } = record;
        let about = [
            ("namespace", namespace.clone()),
            ("workload_kind", workload.kind.clone()),
            ("workload", workload.name.clone()),
            ("container", container.clone()),
            ("diagnosis", diagnosis.clone()),
            ("policy", policy.to_owned()),
        ];
        let advice = Diagnosis::ALL.into_iter().find(|it| it.name() == diagnosis).map_or("", Diagnosis::advice);
        let annotations = [
            ("summary", format!("{diagnosis}: {} {namespace}/{}, container {container}", workload.kind, workload.name)),
            ("description", format!("{summary}. What to change: {advice}.")),
            ("runbook_url", format!("{}/{diagnosis}.md", self.runbook_url)),
        ];
        let told = |name, text: String| (!text.is_empty()).then_some((name, text));
        let evidence = [
            told("sites", profiles::words(sites)),
            told("profile", profile.clone().unwrap_or_default()),
            told("approval", approval.clone().unwrap_or_default()),
            told("restarts", restarts.clone().unwrap_or_default()),
        ];
        let (starts_at, ends_at) = span(starts_at.0, ends_at.as_ref().map(|it| it.0), now);
        Alert {
            labels: self.labels("GrpcClientHygiene", severity).into_iter().chain(about).collect(),
            annotations: annotations.into_iter().chain(evidence.into_iter().flatten()).collect(),
            starts_at,
            ends_at,
        }
    }
}

impl Mail {
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// How many alerts it holds.
    pub(super) const fn alerts(&self) -> u64 {
        self.alerts
    }

    pub(super) fn batches(&self) -> &[Vec<u8>] {
        &self.batches
    }
}

/// When an alert begins and when it ends, RFC 3339 in milliseconds. One of the future (a clock that was set back since, or
/// an edited status) begins now, for Alertmanager refuses what ends before it begins. One that has not ended ends by itself
/// when nobody repeats it.
pub(super) fn span(since: Timestamp, ended: Option<Timestamp>, now: Timestamp) -> (String, String) {
    let since = since.min(now);
    let until = ended.map_or_else(|| now.saturating_add(STANDS).unwrap_or(now), |it| it.max(since));
    (format!("{since:.3}"), format!("{until:.3}"))
}

/// HTTP; host header and TLS name stay those of the endpoint's name, whichever address is asked.
pub(super) struct Http;

impl Courier for Http {
    fn addresses<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<BTreeSet<SocketAddr>, String>> {
        addresses(endpoint).boxed()
    }

    fn deliver<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        address: SocketAddr,
        mail: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        deliver(endpoint, address, mail).boxed()
    }
}

async fn addresses(endpoint: &Endpoint) -> Result<BTreeSet<SocketAddr>, String> {
    let url = &endpoint.url;
    let found = addresses::lookup(url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80)).await;
    let found: BTreeSet<SocketAddr> = match found {
        Ok(found) => found.into_iter().collect(),
        Err(Unresolved::Unknown(error)) => return Err(format!("cannot be resolved: {}", root_cause(&error))),
        Err(Unresolved::Refused(refused)) => return Err(refused.to_string()),
    };
    if found.is_empty() { Err("has no address".to_owned()) } else { Ok(found) }
}

/// One client carries the whole mail, and one connection where the receiver keeps it open.
async fn deliver(endpoint: &Endpoint, address: SocketAddr, mail: &[Vec<u8>]) -> Result<(), Failure> {
    let client = http::builder(endpoint)?
        .resolve(endpoint.url.host_str().unwrap_or_default(), address)
        .timeout(endpoint.timeout.min(TIMEOUT))
        .build()
        .map_err(HttpError::from)?;
    for alerts in mail {
        post(&client, endpoint, alerts).await?;
    }
    Ok(())
}

async fn post(client: &Client, endpoint: &Endpoint, alerts: &[u8]) -> Result<(), Failure> {
    let mut request = client.post(endpoint.join("api/v2/alerts")).header(header::CONTENT_TYPE, "application/json");
    if let Some(value) = http::authorization(endpoint).await? {
        request = request.header(header::AUTHORIZATION, value);
    }
    let response = request.body(alerts.to_vec()).send().await.map_err(HttpError::from)?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let after = response.headers().get(header::RETRY_AFTER).and_then(|it| it.to_str().ok());
    Err(Failure::answered(status, after.and_then(|it| http::retry_after(it, Timestamp::now()))))
}

impl Failure {
    /// Being overloaded or broken passes; being refused does not.
    fn answered(status: StatusCode, after: Option<Duration>) -> Self {
        let retry = status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::REQUEST_TIMEOUT
            || status.is_server_error();
        Self { problem: format!("answered {status}"), retry, after }
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self { problem: error.to_string(), retry: true, after: None }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::{SiteRecord, WorkloadRef};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn record(ends_at: Option<i64>) -> AlertRecord {
        AlertRecord {
            namespace: "shop".into(),
            workload: WorkloadRef { kind: "Deployment".into(), name: "orders".into() },
            container: "app".into(),
            diagnosis: "DialPerCall".into(),
            severity: "critical".into(),
            summary: "10 calls per connection".into(),
            sites: vec![],
            profile: None,
            approval: None,
            restarts: None,
            collapsed: None,
            starts_at: Time(at(0)),
            delivered: false,
            ends_at: ends_at.map(|it| Time(at(it))),
        }
    }

    fn sent(record: AlertRecord, now: i64) -> Value {
        let letterhead =
            Letterhead { runbook_url: "https://runbooks".into(), cluster: Some("east".into()), watchdog: false };
        let posters = Posters { alerts: vec![("shop/clients".into(), record)], ..Posters::default() };
        let mail = letterhead.mail(&posters, at(now));
        serde_json::from_slice::<Value>(&mail.batches[0]).expect("JSON")[0].take()
    }

    #[test]
    fn an_alert_says_who_what_and_what_to_do() {
        assert_eq!(
            sent(record(None), 60),
            json!({
                "labels": {
                    "alertname": "GrpcClientHygiene", "severity": "critical", "namespace": "shop",
                    "workload_kind": "Deployment", "workload": "orders", "container": "app",
                    "diagnosis": "DialPerCall", "policy": "shop/clients", "cluster": "east",
                },
                "annotations": {
                    "summary": "DialPerCall: Deployment shop/orders, container app",
                    "description": "10 calls per connection. What to change: create one client connection per target \
                                    at start and share it; do not dial per call.",
                    "runbook_url": "https://runbooks/DialPerCall.md",
                },
                "startsAt": "2027-01-15T08:00:00.000Z",
                "endsAt": "2027-01-15T08:05:00.000Z",
            })
        );
    }

    #[test]
    fn an_alert_with_evidence_carries_the_lines_and_the_profile() {
        let site = SiteRecord {
            function: "example.com/shop/handlers.(*Orders).GetUser".into(),
            line: "handlers/orders.go:28".into(),
            channels: 510.0,
            bytes: 2e6,
            confidence: 99.9,
        };
        let file = "shop_orders-1_app_20260101T000000Z.heap.pb.gz";
        let alert = sent(AlertRecord { sites: vec![site], profile: Some(file.into()), ..record(None) }, 60);
        let sites = "handlers.(*Orders).GetUser (handlers/orders.go:28) holds 510 channels";
        assert_eq!(alert["annotations"]["sites"], sites);
        assert_eq!(alert["annotations"]["profile"], file);
    }

    #[test]
    fn a_resolved_alert_ends_when_it_ended_and_never_before_it_began() {
        assert_eq!(sent(record(Some(30)), 600)["endsAt"], "2027-01-15T08:00:30.000Z");
        assert_eq!(sent(record(Some(-30)), 600)["endsAt"], "2027-01-15T08:00:00.000Z");
    }

    #[test]
    fn an_alert_of_the_future_begins_now() {
        let alert = sent(AlertRecord { starts_at: Time(at(9_000)), ..record(None) }, 60);
        assert_eq!(
            (&alert["startsAt"], &alert["endsAt"]),
            (&json!("2027-01-15T08:01:00.000Z"), &json!("2027-01-15T08:05:00.000Z"))
        );
    }

    #[test]
    fn an_overloaded_receiver_is_tried_again_and_a_refusing_one_is_not() {
        for (code, retry) in
            [(429, true), (500, true), (503, true), (400, false), (401, false), (404, false), (301, false)]
        {
            let status = StatusCode::from_u16(code).expect("a status");
            assert_eq!(Failure::answered(status, None).retry, retry, "{code}");
        }
    }

    #[tokio::test]
    async fn an_address_needs_no_name() {
        let url = "http://[::1]:9093".parse().expect("a URL");
        let endpoint = Endpoint { url, credentials: None, ca_file: None, timeout: TIMEOUT };
        assert_eq!(addresses(&endpoint).await, Ok(BTreeSet::from(["[::1]:9093".parse().expect("an address")])));
    }
}
