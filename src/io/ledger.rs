//! Keeps the disruption ledger: one ConfigMap in the operator's own namespace, written by compare-and-swap alone.
//!
//! The state machine is `decide::ledger`. A ledger that is missing or cannot be understood allows nothing and is never
//! touched; an empty ConfigMap is begun, which allows nothing for a while. Time is the API server's: two operators
//! whose clocks differ count the same windows. `settle` looks after what earlier requests left open.

mod settle;

use std::collections::BTreeMap;

use http::{StatusCode, header::DATE};
use jiff::{Timestamp, fmt::rfc2822};
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api, Client, Error, ResourceExt,
    api::{ObjectMeta, PostParams, Request},
    client::Body,
    core::params::GetParams,
};

use crate::{
    api::names::FIELD_MANAGER,
    decide::{
        Because,
        ledger::{InvalidLedger, Ledger},
    },
    io::{acting, acting::reason},
};

/// The name of the ConfigMap. The chart makes it; the operator may not.
pub const NAME: &str = "grpc-hygiene-ledger";
/// The key in the ConfigMap.
const KEY: &str = "ledger.json";
/// A lost swap is tried once more with what the winner wrote.
const TRIES: usize = 2;

/// The ledger, and who may write it.
#[derive(Clone, Copy)]
pub struct Book<'a> {
    /// Reads.
    pub reading: &'a Client,
    /// Writes.
    pub acting: &'a Client,
    /// The operator's own namespace, where the ConfigMap is.
    pub own: &'a str,
}

/// The ledger as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The ledger. `None`: the ConfigMap is empty, and it has not begun.
    pub ledger: Option<Ledger>,
    /// The time at the API server when it answered, whole seconds.
    pub now: Timestamp,
    /// The resource version, for the swap.
    version: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// Why a ledger was not read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// There is no such ConfigMap.
    #[error(
        "ConfigMap {own}/{NAME} is missing, and nothing is restarted without it; to begin a new ledger: \
         kubectl create configmap {NAME} --namespace {own}"
    )]
    Missing {
        /// The operator's own namespace.
        own: String,
    },
    /// It cannot be understood, or not be read.
    #[error("ConfigMap {own}/{NAME}: {problem}")]
    Unreadable {
        /// The operator's own namespace.
        own: String,
        /// Why.
        problem: String,
    },
}

/// Why a ledger was not written.
#[derive(Debug, thiserror::Error)]
enum Unwritten {
    /// Somebody else wrote it first. Nothing was changed.
    #[error("somebody else wrote the ledger first")]
    Conflict,
    /// It would be larger than we read.
    #[error("{0}")]
    Unprintable(#[from] InvalidLedger),
    /// The request failed, and may or may not have been carried out.
    #[error("{}", reason(.0))]
    Failed(#[from] Error),
}

/// Reads the ledger.
///
/// # Errors
/// It is missing, cannot be read or cannot be understood.
pub async fn read(client: &Client, own: &str) -> Result<Page, Unread> {
    let unreadable = |problem: String| Unread::Unreadable { own: own.to_owned(), problem };
    let said = |error: Error| unreadable(reason(&error));
    let request = Request::new(format!("/api/v1/namespaces/{own}/configmaps"))
        .get(NAME, &GetParams::default())
        .map_err(|error| said(Error::BuildRequest(error)))?;
    // Not `Api::get`: only the answer's header tells the API server's time.
    let (head, body) = client.send(request.map(Body::from)).await.map_err(said)?.into_parts();
    let body = body.collect_bytes().await.map_err(said)?;
    if head.status == StatusCode::NOT_FOUND {
        return Err(Unread::Missing { own: own.to_owned() });
    }
    if !head.status.is_success() {
        let status: Status = serde_json::from_slice(&body).unwrap_or_default();
        let message = status.message.unwrap_or_default();
        return Err(unreadable(crate::io::http::printable(&format!("{}: {message}", head.status))));
    }
    let date = head.headers.get(DATE).and_then(|it| it.to_str().ok());
    let now = date
        .and_then(|it| rfc2822::parse(it).ok())
        .ok_or_else(|| unreadable("the API server's answer does not tell the time".to_owned()))?
        .timestamp();
    let map: ConfigMap = serde_json::from_slice(&body).map_err(|error| said(Error::SerdeError(error)))?;
    let text = map.data.as_ref().and_then(|it| it.get(KEY));
    Ok(Page {
        ledger: text.map(|it| Ledger::parse(it)).transpose().map_err(|it| unreadable(format!("{KEY} {it}")))?,
        now,
        version: map.resource_version().unwrap_or_default(),
        labels: map.metadata.labels.unwrap_or_default(),
        annotations: map.metadata.annotations.unwrap_or_default(),
    })
}

impl Book<'_> {
    /// Begins the ledger where the ConfigMap is empty: from now on it is known what is restarted.
    ///
    /// # Errors
    /// The ledger cannot be read or written.
    pub async fn begin(&self) -> Result<(), Because> {
        self.change(|ledger, _| Ok(ledger.clone())).await.map(drop)
    }

    /// Reads the ledger, changes it and writes it; once more when somebody else wrote it in between. What is equal to
    /// what was read is not written. The change is told the API server's time, which is returned.
    ///
    /// # Errors
    /// `change` refuses, or the ledger cannot be read or written.
    pub async fn change(
        &self,
        change: impl Fn(&Ledger, Timestamp) -> Result<Ledger, Because>,
    ) -> Result<Timestamp, Because> {
        for _ in 0..TRIES {
            let page = read(self.reading, self.own).await.map_err(|it| Because::Ledger { reason: it.to_string() })?;
            let begun = page.ledger.clone().unwrap_or_else(|| Ledger::begun(page.now));
            let changed = change(&begun, page.now)?;
            if page.ledger.as_ref() == Some(&changed) {
                return Ok(page.now);
            }
            match self.swap(&page, &changed).await {
                Ok(()) => return Ok(page.now),
                Err(Unwritten::Conflict) => {}
                Err(Unwritten::Failed(error)) if acting::because(&error) == Because::NotLeader => {
                    return Err(Because::NotLeader);
                }
                Err(error) => return Err(Because::Ledger { reason: error.to_string() }),
            }
        }
        Err(Because::Ledger { reason: Unwritten::Conflict.to_string() })
    }

    /// Writes the ledger if it still has the version that was read. What others wrote on the ConfigMap stays.
    async fn swap(&self, page: &Page, ledger: &Ledger) -> Result<(), Unwritten> {
        let text = ledger.print()?;
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                resource_version: Some(page.version.clone()),
                labels: Some(page.labels.clone()),
                annotations: Some(page.annotations.clone()),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(KEY.to_owned(), text)])),
            ..ConfigMap::default()
        };
        let api: Api<ConfigMap> = Api::namespaced(self.acting.clone(), self.own);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        match api.replace(NAME, &params, &map).await {
            Ok(_) => Ok(()),
            // 404: it was deleted since we read it.
            Err(Error::Api(status)) if matches!(status.code, 409 | 404) => Err(Unwritten::Conflict),
            Err(error) => Err(error.into()),
        }
    }
}
