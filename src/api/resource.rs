//! What both policy kinds have in common, so that one controller serves both.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};

use super::{ClusterGrpcClientPolicy, GrpcClientPolicy, GrpcClientPolicyStatus, PolicyRules};

/// Where a policy looks.
#[derive(Clone, Debug, PartialEq)]
pub enum Reach<'a> {
    /// In its own namespace.
    Namespace(String),
    /// In the namespaces that a selector matches.
    Selected(&'a LabelSelector),
}

/// A policy of either kind.
pub trait PolicyResource:
    Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The shared fields of its spec.
    fn rules(&self) -> &PolicyRules;

    /// Its status, if it has been written.
    fn status(&self) -> Option<&GrpcClientPolicyStatus>;

    /// Where it looks.
    fn reach(&self) -> Reach<'_>;

    /// Its name as it stands in annotations, labels and the ledger: `namespace/name`, or `name` for a cluster policy.
    fn key(&self) -> String {
        match self.namespace() {
            Some(namespace) => format!("{namespace}/{}", self.name_any()),
            None => self.name_any(),
        }
    }
}

impl PolicyResource for GrpcClientPolicy {
    fn rules(&self) -> &PolicyRules {
        &self.spec.rules
    }

    fn status(&self) -> Option<&GrpcClientPolicyStatus> {
        self.status.as_ref()
    }

    fn reach(&self) -> Reach<'_> {
        Reach::Namespace(self.namespace().unwrap_or_default())
    }
}

impl PolicyResource for ClusterGrpcClientPolicy {
    fn rules(&self) -> &PolicyRules {
        &self.spec.rules
    }

    fn status(&self) -> Option<&GrpcClientPolicyStatus> {
        self.status.as_ref()
    }

    fn reach(&self) -> Reach<'_> {
        Reach::Selected(&self.spec.namespace_selector)
    }
}
