//! Fetches profiles of a running Go program through pprof's HTTP pages: from the pod's address, or by way of the API
//! server's pod proxy, for whoever may not reach the pod's network may still be allowed to `get pods/proxy`. It reads
//! nothing out of them.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures::AsyncReadExt;
use http::Request;
use kube::Client;
use tokio::time::timeout;

use crate::{
    decide::{blame::Kind, profiles},
    io::{addresses::Refused, http::root_cause},
};

/// A compressed profile larger than this is not fetched to its end, bytes.
pub const MAX_FETCHED: u64 = 16 << 20;
/// How long one profile may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a pod may take to accept a connection: what the network drops is asked for through the API server.
const CONNECT: Duration = Duration::from_secs(3);

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The pod serves no profiles at this place: it is no Go program, or does not serve pprof there.
    #[error("{place}: {answer}")]
    NoProfile {
        /// What was asked for.
        place: String,
        /// What came instead.
        answer: String,
    },
    /// There is no such pod.
    #[error("there is no pod {pod} in namespace {namespace}")]
    NoPod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        pod: String,
    },
    /// We may not ask.
    #[error("{place}: the API server forbids it; it takes `get` on `pods/proxy` in namespace {namespace}")]
    Forbidden {
        /// What was asked for.
        place: String,
        /// Where the permission is missing.
        namespace: String,
    },
    /// It took too long.
    #[error("{place}: no answer within {} s", PATIENCE.as_secs())]
    TimedOut {
        /// What was asked for.
        place: String,
    },
    /// It is too large.
    #[error("{place}: the profile is larger than {} MiB", MAX_FETCHED >> 20)]
    TooLarge {
        /// What was asked for.
        place: String,
    },
    /// The pod claims an address that no pod has.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Nothing answers at the pod's address.
    #[error("{place}: {why}")]
    Unreachable {
        /// What was asked for.
        place: String,
        /// What the network said.
        why: String,
    },
    /// Neither the pod's address nor the API server's proxy led to one.
    #[error("{place}: {why}; and through the API server {second}")]
    BothWays {
        /// What was asked for first.
        place: String,
        /// What the network said.
        why: String,
        /// What came of the second way.
        second: String,
    },
    /// The API server cannot be asked.
    #[error("{place}: {source}")]
    Api {
        /// What was asked for.
        place: String,
        /// Why not.
        source: Box<kube::Error>,
    },
}

/// Where a pod serves pprof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod's name.
    pub pod: &'a str,
    /// The port, a number or a name.
    pub port: &'a str,
    /// The path that pprof's pages are below: `/debug/pprof`.
    pub path: &'a str,
}

/// The page. A heap profile is two collections old, which may be four minutes, unless one is asked for: `gc=1`.
const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Heap => "heap?gc=1",
        Kind::Goroutines => "goroutine",
    }
}

impl Page<'_> {
    fn place(&self, kind: Kind) -> String {
        let name = name(kind);
        let Page { namespace, pod, port, path } = self;
        let path = path.trim_matches('/');
        format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/{path}/{name}")
    }
}

/// Fetches a profile, as it is served: compressed.
///
/// # Errors
/// See [`FetchError`].
pub async fn fetch(client: &Client, page: &Page<'_>, kind: Kind) -> Result<Vec<u8>, FetchError> {
    let place = page.place(kind);
    let fetched = timeout(PATIENCE, read(client, &place)).await;
    match fetched.map_err(|_| FetchError::TimedOut { place: place.clone() })? {
        Ok(bytes) if bytes.len() as u64 > MAX_FETCHED => Err(FetchError::TooLarge { place }),
        Ok(bytes) => Ok(bytes),
        Err(kube::Error::Api(status)) => Err(refused(page, place, &status)),
        Err(source) => Err(FetchError::Api { place, source: Box::new(source) }),
    }
}

/// A client for [`fetch_directly`]: it follows no redirect, takes no proxy, and unpacks nothing.
///
/// # Errors
/// It cannot be built.
pub fn http() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .user_agent(concat!("grpc-hygiene/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .no_gzip()
        .tls_certs_only([])
        .build()
}

/// Fetches a profile from a pod's address, as it is served: compressed.
///
/// # Errors
/// See [`FetchError`].
pub async fn fetch_directly(
    http: &reqwest::Client,
    address: IpAddr,
    page: &profiles::Page,
    kind: Kind,
) -> Result<Vec<u8>, FetchError> {
    let place = format!("http://{}{}/{}", SocketAddr::new(address, page.port), page.path, name(kind));
    let failed = |error: &reqwest::Error| match error {
        error if error.is_connect() => FetchError::Unreachable { place: place.clone(), why: root_cause(error) },
        error if error.is_timeout() => FetchError::TimedOut { place: place.clone() },
        error => FetchError::NoProfile { place: place.clone(), answer: root_cause(error) },
    };
    let mut response = http.get(&place).send().await.map_err(|it| failed(&it))?;
    if !response.status().is_success() {
        return Err(FetchError::NoProfile { place, answer: format!("it answered {}", response.status()) });
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|it| failed(&it))? {
        if (bytes.len() + chunk.len()) as u64 > MAX_FETCHED {
            return Err(FetchError::TooLarge { place });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn read(client: &Client, place: &str) -> Result<Vec<u8>, kube::Error> {
    let request = Request::get(place).body(Vec::new()).map_err(kube::Error::HttpError)?;
    let mut bytes = Vec::new();
    let stream = client.request_stream(request).await?;
    stream.take(MAX_FETCHED + 1).read_to_end(&mut bytes).await.map_err(kube::Error::ReadEvents)?;
    Ok(bytes)
}

fn refused(page: &Page<'_>, place: String, status: &kube::core::Status) -> FetchError {
    let (namespace, pod) = (page.namespace.to_owned(), page.pod.to_owned());
    match status.code {
        403 => FetchError::Forbidden { place, namespace },
        404 if status.message.contains(&format!("pods \"{}\" not found", page.pod)) => {
            FetchError::NoPod { namespace, pod }
        }
        code => FetchError::NoProfile { place, answer: format!("{code} {}", status.message.trim()) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_asked_for_through_the_pod_proxy() {
        let page = Page { namespace: "shop", pod: "orders-1", port: "6060", path: "/debug/pprof/" };
        assert_eq!(page.place(Kind::Heap), "/api/v1/namespaces/shop/pods/orders-1:6060/proxy/debug/pprof/heap?gc=1");
    }
}
