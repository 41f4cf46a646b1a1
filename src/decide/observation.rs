//! Whom we look at and what we saw of them: plain data between `gather` and `assess`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    api::{Offender, ProfileRecord, WorkloadRef},
    decide::{
        Why,
        keepalive::Declaration,
        lineage::Ancestor,
        series::{Level, Samples},
    },
    signals::Signal,
};

/// One container of one pod. A pod recreated under its name has another uid and is another subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID. Empty when no Kubernetes API was asked.
    pub uid: String,
    /// The container's name.
    pub container: String,
}

impl From<&Offender> for Subject {
    fn from(it: &Offender) -> Self {
        let Offender { namespace, pod, uid, container, .. } = it;
        Self { namespace: namespace.clone(), pod: pod.clone(), uid: uid.clone(), container: container.clone() }
    }
}

impl From<&ProfileRecord> for Subject {
    fn from(it: &ProfileRecord) -> Self {
        let ProfileRecord { namespace, pod, uid, container, .. } = it;
        Self { namespace: namespace.clone(), pod: pod.clone(), uid: uid.clone(), container: container.clone() }
    }
}

/// The controller at the top of a pod's owner chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Its kind, for example `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

impl Workload {
    /// The form that stands in status.
    #[must_use]
    pub fn reference(&self) -> WorkloadRef {
        WorkloadRef { kind: self.kind.clone(), name: self.name.clone() }
    }

    /// Whether this is the workload that a record is about.
    #[must_use]
    pub fn is(&self, namespace: &str, reference: &WorkloadRef) -> bool {
        self.namespace == namespace && self.kind == reference.kind && self.name == reference.name
    }
}

/// Whether two revisions may be the same: one that is not known is taken for any other.
#[must_use]
pub fn may_be_same_revision(a: Option<&String>, b: Option<&String>) -> bool {
    a.zip(b).is_none_or(|(a, b)| a == b)
}

/// What is known about a subject besides its series. The default is to know nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// Who.
    pub subject: Subject,
    /// The owner, when there is one of a kind we know.
    pub workload: Option<Workload>,
    /// The template's hash: tells revisions apart.
    pub revision: Option<String>,
    /// The container's image.
    pub image: Option<String>,
    /// When the container started, Unix seconds. `None` when nothing says so.
    pub started: Option<f64>,
    /// When the kernel last killed the container for its memory, Unix seconds.
    pub killed: Option<f64>,
    /// The memory limit, bytes.
    pub memory_limit: Option<f64>,
    /// The pod's own addresses, to check who was scraped.
    pub pod_ips: Vec<String>,
    /// The container's ports that have a name.
    pub ports: BTreeMap<String, u16>,
    /// What the pod's annotation says of where it serves profiles.
    pub pprof: Option<String>,
    /// Whether the pod's addresses are its node's.
    pub host_network: bool,
    /// Containers in the pod: a series that names none can be attributed only when there is one.
    pub containers_in_pod: usize,
    /// The Service in front of the pod, if there is one: then open sockets may be its clients'.
    pub service: Option<String>,
    /// Whether the pod is running and ready.
    pub ready: bool,
    /// What says that the pod is not to be disturbed, for people.
    pub protected: Option<String>,
    /// A pod of the same workload that goes because its node is emptied, or this one.
    pub draining: Option<String>,
    /// Whether the pod carries our annotations.
    pub annotated: bool,
    /// What the pod's own annotations say about keepalive.
    pub keepalive: Option<Arc<Declaration>>,
}

/// One signal of one subject.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// No source has data.
    Absent,
    /// There are data that cannot be used.
    Unusable(Why),
    /// Samples of the current life, in time order, finite.
    Usable(Measured),
}

/// Samples good enough to compute with.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The source's name.
    pub source: String,
    /// The newest samples, of the current life only.
    pub samples: Samples,
    /// What is known from further back, per bucket, of the current life only.
    pub levels: Vec<Level>,
    /// Whether somebody other than the pod's owner vouches for them.
    pub witnessed: bool,
    /// Whether inbound connections are counted, too.
    pub direction_blind: bool,
}

/// All that was seen of one subject in one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Whom it is about.
    pub target: Target,
    /// The signals. A signal that is not here was not asked for.
    pub signals: BTreeMap<Signal, Reading>,
    /// Who ran before, the oldest first.
    pub ancestors: Arc<[Ancestor]>,
    /// How far back was looked.
    pub window: Duration,
    /// When it was made.
    pub at: Timestamp,
}

impl Observation {
    /// The usable samples of a signal.
    #[must_use]
    pub fn measured(&self, signal: Signal) -> Option<&Measured> {
        match self.signals.get(&signal)? {
            Reading::Usable(measured) => Some(measured),
            Reading::Absent | Reading::Unusable(_) => None,
        }
    }
}
