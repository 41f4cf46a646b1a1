//! The operator's configuration file: where Prometheus and Alertmanager are, the administrator's own metric sources,
//! and a few settings. Everything is checked when it is read, so that a mistake stops the start and names its field.
//!
//! No secret stands in it: it names files, which are read when they are needed. `limits` and `alerts` are the
//! sections of those names.

mod alerts;
mod limits;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::Url;
use serde::{Deserialize, de::DeserializeOwned};

use alerts::AlertFields;
pub use alerts::AlertRules;
use limits::LimitFields;

pub use super::http::{Credentials, Endpoint};
use super::{addresses, http};
use crate::{
    api::{DurationText, parse_duration},
    decide::Guard,
    signals::{CustomSource, InvalidSource, Signal, Source},
};

/// The longest that one request may take unless the configuration says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// The bounds of `timeout`. Longer than Prometheus' own `--query.timeout` (2 min) serves nobody.
const TIMEOUTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));
/// No restart in this time after a start, unless the configuration says otherwise.
const DEFAULT_QUIET_PERIOD: Duration = Duration::from_secs(600);
/// A longer quiet period is a mistake: it would outlast every window a policy may have.
const MAX_QUIET_PERIOD: Duration = Duration::from_secs(7 * 86_400);
/// Where the runbooks are read unless the administrator keeps copies.
const RUNBOOKS: &str = "https://github.com/grpc-hygiene/grpc-hygiene/blob/main/docs/runbooks";

/// The operator's configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where metrics are read.
    pub prometheus: Endpoint,
    /// Where alerts go. Every address behind a name gets every alert.
    pub alertmanagers: Vec<Endpoint>,
    /// No restart in this time after the start or a change of leader.
    pub quiet_period: Duration,
    /// What no policy can exceed.
    pub guard: Guard,
    /// What is said to the receivers besides the policies' alerts, and how.
    pub alerts: AlertRules,
    /// The prefix of the `runbook_url` annotation, without a slash at its end.
    pub runbook_url: String,
    /// The value of the `cluster` label on alerts.
    pub cluster: Option<String>,
    sources: Vec<(CustomSource, Source)>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not YAML, or not a mapping.
    #[error("the configuration cannot be understood: {0}")]
    Yaml(String),
    /// A field has a value that cannot work.
    #[error("{field}: {problem}")]
    Field {
        /// The field, as `alertmanagers[0].url`.
        field: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A custom source cannot work.
    #[error(transparent)]
    Source(#[from] InvalidSource),
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// It cannot be read, or a field in it cannot work.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::from_yaml(&text)
    }

    /// Checks a configuration. The files it names are opened, too.
    ///
    /// # Errors
    /// A field is missing, unknown, or cannot work; the sentence names it and says what would be right.
    pub fn from_yaml(text: &str) -> Result<Self, ConfigError> {
        // An empty file is a file in which everything is missing: the check names what is needed.
        parse::<Option<File>>(text)?.unwrap_or_default().check()
    }

    /// The configuration that needs no file: a Prometheus, and the default of everything else.
    ///
    /// # Errors
    /// The address cannot work.
    pub fn with_prometheus(url: &str) -> Result<Self, ConfigError> {
        let prometheus = EndpointFields { url: Some(url.to_owned()), ..EndpointFields::default() };
        File { prometheus: Some(prometheus), ..File::default() }.check()
    }

    /// The administrator's source of this name for this signal.
    #[must_use]
    pub fn custom(&self, signal: Signal, name: &str) -> Option<(&CustomSource, Source)> {
        let (written, parsed) = self.sources.iter().find(|(_, it)| it.signal == signal && it.name == name)?;
        Some((written, parsed.clone()))
    }
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    prometheus: Option<EndpointFields>,
    alertmanagers: Option<Vec<EndpointFields>>,
    sources: Option<Vec<CustomSource>>,
    quiet_period: Option<DurationText>,
    limits: Option<LimitFields>,
    alerts: Option<AlertFields>,
    runbook_url: Option<String>,
    cluster: Option<String>,
}

/// An endpoint as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EndpointFields {
    url: Option<String>,
    bearer_token_file: Option<PathBuf>,
    basic_auth: Option<BasicAuth>,
    ca_file: Option<PathBuf>,
    timeout: Option<DurationText>,
}

/// A name and a password as they are written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BasicAuth {
    username: String,
    password_file: PathBuf,
}

impl File {
    fn check(self) -> Result<Config, ConfigError> {
        let Self { prometheus, alertmanagers, sources, quiet_period, limits, alerts, runbook_url, cluster } = self;
        let alertmanagers = alertmanagers.unwrap_or_default().into_iter().enumerate();
        let runbook_url = runbook_url.filter(|it| !it.is_empty()).unwrap_or_else(|| RUNBOOKS.to_owned());
        Ok(Config {
            prometheus: prometheus.unwrap_or_default().check("prometheus")?,
            alertmanagers: alertmanagers
                .map(|(n, it)| it.check(&format!("alertmanagers[{n}]")))
                .collect::<Result<_, _>>()?,
            quiet_period: duration(
                "quietPeriod",
                quiet_period.as_ref(),
                DEFAULT_QUIET_PERIOD,
                (Duration::ZERO, MAX_QUIET_PERIOD),
            )?,
            guard: limits.unwrap_or_default().check()?,
            alerts: alerts.unwrap_or_default().check()?,
            runbook_url: address("runbookUrl", &runbook_url, RUNBOOKS)?.as_str().trim_end_matches('/').to_owned(),
            cluster: label("cluster", cluster)?,
            sources: parse_sources(sources.unwrap_or_default())?,
        })
    }
}

impl EndpointFields {
    fn check(self, field: &str) -> Result<Endpoint, ConfigError> {
        let Self { url, bearer_token_file, basic_auth, ca_file, timeout } = self;
        let name = |part: &str| format!("{field}.{part}");
        let credentials = match (bearer_token_file, basic_auth) {
            (Some(_), Some(_)) => return Err(wrong(field, "has bearerTokenFile and basicAuth: keep one of them")),
            (Some(token_file), None) => Some((name("bearerTokenFile"), Credentials::Bearer { token_file })),
            (None, Some(BasicAuth { username, password_file })) => {
                check_username(&name("basicAuth.username"), &username)?;
                Some((name("basicAuth.passwordFile"), Credentials::Basic { username, password_file }))
            }
            (None, None) => None,
        };
        if let Some((field, credentials)) = &credentials {
            check_secret(field, credentials)?;
        }
        if let Some(path) = &ca_file {
            http::certificates(path).map_err(|error| wrong(&name("caFile"), error.to_string()))?;
        }
        Ok(Endpoint {
            url: service(&name("url"), &url.unwrap_or_default())?,
            credentials: credentials.map(|(_, it)| it),
            ca_file,
            timeout: duration(&name("timeout"), timeout.as_ref(), DEFAULT_TIMEOUT, TIMEOUTS)?,
        })
    }
}

/// Reads YAML, and names the field where it cannot.
fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    let mut path = String::new();
    // No snippet in the error: the lines around a mistake may hold what is nobody's business.
    let options = serde_saphyr::options! { with_snippet: false };
    let parsed = serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            path = error.path().to_string();
            error.into_inner()
        })
    });
    // The path of the root is a dot, and a part that has no name yet is a question mark.
    parsed.map_err(|error| match path.trim_end_matches(['.', '?']) {
        "" => ConfigError::Yaml(error.to_string()),
        path => wrong(path, error.to_string()),
    })
}

fn wrong(field: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Field { field: field.to_owned(), problem: problem.into() }
}

/// The base address of a service: `/api/…` is ours to add.
fn service(field: &str, text: &str) -> Result<Url, ConfigError> {
    let mut url = address(field, text, "http://NAME.NAMESPACE.svc:PORT")?;
    if url.path().contains("/api/v") {
        return Err(wrong(field, "is the address of an API: leave out /api and what follows"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// A web address that may be shown to everybody. It is not repeated in the error, since it may hold a password.
fn address(field: &str, text: &str, example: &str) -> Result<Url, ConfigError> {
    let problem = |it: &str| wrong(field, format!("{it}, for example {example}"));
    if text.is_empty() {
        return Err(problem("is missing: write an address"));
    }
    let url = Url::parse(text)
        .map_err(|error| problem(&format!("is not an address ({error}): write http:// or https:// and a host")))?;
    match url.scheme() {
        "http" | "https" if url.host_str().is_some_and(|it| !it.is_empty()) => {}
        _ => return Err(problem("is not the address of a web service: write http:// or https:// and a host")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(
            field,
            "holds a user name or a password: use basicAuth or bearerTokenFile, which read them from a Secret",
        ));
    }
    // What is a name is looked at when it is resolved.
    if let Some(address) = url.host_str().and_then(addresses::literal) {
        addresses::of_a_service(address).map_err(|refused| wrong(field, refused.to_string()))?;
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(problem("holds a query or a fragment (? or #): write the address up to the path"));
    }
    Ok(url)
}

fn duration(
    field: &str,
    text: Option<&DurationText>,
    default: Duration,
    (least, most): (Duration, Duration),
) -> Result<Duration, ConfigError> {
    let Some(text) = text else { return Ok(default) };
    let duration = parse_duration(&text.0).map_err(|error| wrong(field, error.to_string()))?;
    if (least..=most).contains(&duration) {
        return Ok(duration);
    }
    let [least, most] = [least, most].map(crate::api::print_duration);
    Err(wrong(field, format!("{text} is out of bounds: write {least} to {most}")))
}

fn label(field: &str, value: Option<String>) -> Result<Option<String>, ConfigError> {
    match value.filter(|it| !it.is_empty()) {
        Some(it) if it.chars().count() > 128 || it.chars().any(char::is_control) => {
            Err(wrong(field, "is not fit for a label: write at most 128 characters on one line"))
        }
        other => Ok(other),
    }
}

fn check_username(field: &str, username: &str) -> Result<(), ConfigError> {
    // RFC 7617, section 2: the first colon ends the name.
    if username.is_empty() || username.contains(':') || username.chars().any(char::is_control) {
        return Err(wrong(
            field,
            "is not a user name: it must not be empty and may hold neither a colon nor control characters",
        ));
    }
    Ok(())
}

fn check_secret(field: &str, credentials: &Credentials) -> Result<(), ConfigError> {
    let path = credentials.file();
    let at = |problem: &dyn std::fmt::Display| wrong(field, format!("{}: {problem}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| at(&error))?;
    http::header_value(credentials, &text).map(drop).map_err(|problem| at(&problem))
}

fn parse_sources(written: Vec<CustomSource>) -> Result<Vec<(CustomSource, Source)>, ConfigError> {
    let mut seen = BTreeSet::new();
    let mut parsed = Vec::with_capacity(written.len());
    for source in written {
        if !seen.insert((source.signal, source.name.clone())) {
            let field = format!("sources[{:?}].name", source.name);
            return Err(wrong(&field, format!("{} has two sources of this name: rename one", source.signal.name())));
        }
        let ready = source.parse()?;
        parsed.push((source, ready));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests;
