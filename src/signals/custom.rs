//! Sources that the administrator adds in the operator's configuration. Policies choose them by name only.
//!
//! They are checked when the operator starts: an expression that does not parse stops the start, with the reason.

use serde::{Deserialize, Serialize};

use super::{InvalidQuery, Labels, Merge, Query, Signal, Source, Witness, catalog, promql};

/// One source of the administrator's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomSource {
    /// The name that policies write.
    pub name: String,
    /// What it says.
    pub signal: Signal,
    /// A PromQL instant expression with one series per container; the namespaces are added to every selector.
    pub query: String,
    /// Which labels name namespace, pod and container.
    #[serde(default)]
    pub labels: Labels,
    /// The namespaces whose policies may use it. `*` stands for all.
    pub namespaces: Vec<String>,
}

/// Why a custom source cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSource {
    /// A name that the catalog has, or no name.
    #[error("sources[{0:?}].name: {1}")]
    Name(String, &'static str),
    /// Nobody could use it.
    #[error("sources[{0:?}].namespaces: name at least one namespace, or \"*\" for all")]
    NoNamespaces(String),
    /// The expression cannot be used.
    #[error("sources[{0:?}].query: {1}")]
    Query(String, InvalidQuery),
}

impl CustomSource {
    /// Checks the source and turns it into one that can be asked.
    ///
    /// # Errors
    /// The name is taken, nobody may use it, or the expression is not PromQL that can be pinned to namespaces.
    pub fn parse(&self) -> Result<Source, InvalidSource> {
        let name = || self.name.clone();
        if self.name.is_empty() || self.name.len() > 63 {
            return Err(InvalidSource::Name(name(), "must have 1 to 63 characters"));
        }
        if catalog::names(self.signal).contains(&self.name) {
            return Err(InvalidSource::Name(name(), "the catalog already has a source of this name"));
        }
        if self.namespaces.is_empty() {
            return Err(InvalidSource::NoNamespaces(name()));
        }
        promql::check_custom(&self.query, &self.labels.clone().into())
            .map_err(|why| InvalidSource::Query(name(), why))?;
        Ok(Source {
            name: name(),
            signal: self.signal,
            query: Query::Custom(self.query.clone()),
            naming: self.labels.clone().into(),
            witness: Witness::Application,
            merge: Merge::One,
            direction_blind: false,
        })
    }

    /// Whether policies about this namespace may use it.
    #[must_use]
    pub fn allows(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|it| it == "*" || it == namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, query: &str, namespaces: &[&str]) -> CustomSource {
        CustomSource {
            name: name.to_owned(),
            signal: Signal::OpenConnections,
            query: query.to_owned(),
            labels: Labels::default(),
            namespaces: namespaces.iter().map(|it| (*it).to_owned()).collect(),
        }
    }

    #[test]
    fn a_custom_source_is_usable_only_where_the_administrator_allows_it() {
        let source = source("mesh", "tcp_open_connections", &["shop"]);
        assert!(source.parse().is_ok());
        assert!(source.allows("shop") && !source.allows("other"));
    }

    #[test]
    fn one_label_can_be_named_without_the_others_and_a_misspelt_one_is_refused() {
        let labels: Labels = serde_json::from_str(r#"{"pod": "k8s_pod_name"}"#).expect("labels");
        assert_eq!(labels, Labels { pod: "k8s_pod_name".into(), ..Labels::default() });
        assert!(serde_json::from_str::<Labels>(r#"{"pods": "k8s_pod_name"}"#).is_err());
    }

    #[test]
    fn a_source_that_cannot_work_says_which_field_is_wrong() {
        let error = |it: CustomSource| it.parse().expect_err("must be refused").to_string();
        assert!(error(source("mesh", "sum(", &["*"])).contains("sources[\"mesh\"].query"));
        assert!(error(source("Auto", "x", &["*"])).contains(".name"));
        assert!(error(source("mesh", "x", &[])).contains(".namespaces"));
    }
}
