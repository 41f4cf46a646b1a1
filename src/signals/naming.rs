//! How series say whom they are about: in labels of their own, or in a path that one label holds. It reads labels; it
//! does not know which exporter writes which ([`super::catalog`] does).

use super::{LabelSet, Labels};

/// The label in which Coroot's node agent names the container.
pub(super) const CONTAINER_ID: &str = "container_id";
/// How that label's value begins for a container of a pod,
pub(super) const POD_PATH: &str = "/k8s/";
/// and for one of a `CronJob`'s pods, which are not told apart.
const CRON_JOB_PATH: &str = "/k8s-cronjob/";

/// How the series of a source say whom they are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// In three labels.
    Labels(Labels),
    /// In this label, whose value is `/k8s/NAMESPACE/POD/CONTAINER`. The series' other labels are about the agent that
    /// measured, not about the container.
    Path(&'static str),
}

/// Whom a series is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whom<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod's name.
    pub pod: &'a str,
    /// The container's name. `None`: the series does not say.
    pub container: Option<&'a str>,
}

impl Naming {
    /// Whom the series with these labels is about; `None` when it names no pod.
    #[must_use]
    pub fn whom<'a>(&self, labels: &'a LabelSet) -> Option<Whom<'a>> {
        let label = |name: &str| labels.filled(name);
        match self {
            Self::Labels(names) => Some(Whom {
                namespace: label(&names.namespace)?,
                pod: label(&names.pod)?,
                container: label(&names.container),
            }),
            Self::Path(name) => {
                let mut parts = label(name)?.strip_prefix(POD_PATH)?.split('/');
                let mut part = || parts.next().filter(|it| !it.is_empty());
                let whom = Whom { namespace: part()?, pod: part()?, container: Some(part()?) };
                parts.next().is_none().then_some(whom)
            }
        }
    }

    /// The label that should have named the pod, for a sentence about its absence.
    #[must_use]
    pub fn pod_label(&self) -> &str {
        match self {
            Self::Labels(names) => &names.pod,
            Self::Path(name) => name,
        }
    }

    /// The label that should have named the container.
    #[must_use]
    pub fn container_label(&self) -> &str {
        match self {
            Self::Labels(names) => &names.container,
            Self::Path(name) => name,
        }
    }
}

impl From<Labels> for Naming {
    fn from(labels: Labels) -> Self {
        Self::Labels(labels)
    }
}

/// Namespace and name of the `CronJob` that a path names instead of a pod.
#[must_use]
pub fn cron_job<'a>(naming: &Naming, labels: &'a LabelSet) -> Option<(&'a str, &'a str)> {
    let Naming::Path(name) = naming else { return None };
    let (namespace, rest) = labels.get(name)?.strip_prefix(CRON_JOB_PATH)?.split_once('/')?;
    let (job, _container) = rest.split_once('/')?;
    (!namespace.is_empty() && !job.is_empty()).then_some((namespace, job))
}

/// Whom a series of the catalog is about, for those who hold series and do not know of which source.
#[must_use]
pub fn whom_of(labels: &LabelSet) -> Option<Whom<'_>> {
    Naming::Path(CONTAINER_ID).whom(labels).or_else(|| Naming::from(Labels::default()).whom(labels))
}

/// The namespace that a series of the catalog is about; it need not be about a pod.
#[must_use]
pub fn namespace_of(labels: &LabelSet) -> Option<&str> {
    let by_path = Naming::Path(CONTAINER_ID).whom(labels).map(|it| it.namespace);
    by_path.or_else(|| labels.filled(&Labels::default().namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> LabelSet {
        pairs.iter().copied().collect()
    }

    #[test]
    fn a_path_names_namespace_pod_and_container_and_the_agent_s_own_labels_do_not_count() {
        let labels = labels(&[
            ("container_id", "/k8s/shop/orders-7d9f-abcde/app"),
            ("namespace", "coroot"),
            ("pod", "coroot-node-agent-x7k2p"),
        ]);
        let whom = Naming::Path(CONTAINER_ID).whom(&labels);
        assert_eq!(whom, Some(Whom { namespace: "shop", pod: "orders-7d9f-abcde", container: Some("app") }));
        assert_eq!((whom_of(&labels), namespace_of(&labels)), (whom, Some("shop")));
    }

    #[test]
    fn what_is_no_container_of_a_pod_has_no_name() {
        for path in
            ["", "/k8s/shop/orders", "/k8s/shop//app", "/k8s/a/b/c/d", "/k8s-cronjob/shop/job/app", "/docker/web"]
        {
            let labels = labels(&[("container_id", path), ("namespace", "coroot")]);
            assert_eq!(Naming::Path(CONTAINER_ID).whom(&labels), None, "{path:?}");
            assert_eq!(namespace_of(&labels), Some("coroot"), "{path:?}");
            let job = path.starts_with("/k8s-cronjob").then_some(("shop", "job"));
            assert_eq!(cron_job(&Naming::Path(CONTAINER_ID), &labels), job, "{path:?}");
        }
    }

    #[test]
    fn labels_name_the_pod_and_perhaps_the_container() {
        let naming = Naming::from(Labels::default());
        let whom = |pairs: &[(&str, &str)]| naming.whom(&labels(pairs)).map(|it| it.container.map(str::to_owned));
        assert_eq!(whom(&[("namespace", "shop"), ("pod", "a"), ("container", "app")]), Some(Some("app".to_owned())));
        assert_eq!(whom(&[("namespace", "shop"), ("pod", "a"), ("container", "")]), Some(None));
        assert_eq!(whom(&[("namespace", "shop"), ("pod", "")]), None);
    }
}
