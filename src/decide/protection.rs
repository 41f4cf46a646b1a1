//! What others say of a pod that they do not want to be disturbed. Other tools that evict pods heed the same words, so
//! whoever wrote them meant us as well.

use std::collections::BTreeMap;

/// Karpenter's word. `"true"`, or for how long; only `"false"` takes it back.
const KARPENTER: &str = "karpenter.sh/do-not-disrupt";
/// The cluster autoscaler's word; only `"false"` protects.
const AUTOSCALER: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
/// The descheduler's word, whatever its value.
const DESCHEDULER: &str = "descheduler.alpha.kubernetes.io/prefer-no-eviction";
/// The kubelet's mark on a pod that only it can remove.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Pods that a cluster or its nodes cannot be without.
const CRITICAL: [&str; 2] = ["system-cluster-critical", "system-node-critical"];

/// What protects a pod with these annotations and this priority class, for people. `None`: nothing.
#[must_use]
pub fn protection(annotations: &BTreeMap<String, String>, priority_class: Option<&str>) -> Option<String> {
    let value = |key: &str| annotations.get(key).map(String::as_str);
    if value(MIRROR).is_some() {
        return Some("it is a static pod of its node".to_owned());
    }
    if let Some(class) = priority_class.filter(|it| CRITICAL.contains(it)) {
        return Some(format!("its priority class is {class}"));
    }
    let said = match () {
        () if value(KARPENTER).is_some_and(|it| it != "false") => KARPENTER,
        () if value(AUTOSCALER) == Some("false") => AUTOSCALER,
        () if value(DESCHEDULER).is_some() => DESCHEDULER,
        () => return None,
    };
    Some(format!("it carries the annotation {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(key: &str, value: &str) -> Option<String> {
        protection(&BTreeMap::from([(key.to_owned(), value.to_owned())]), Some("high"))
    }

    #[test]
    fn a_pod_that_other_tools_leave_alone_is_left_alone() {
        for (key, value) in [(KARPENTER, "true"), (KARPENTER, "4h"), (AUTOSCALER, "false"), (DESCHEDULER, "")] {
            assert_eq!(by(key, value), Some(format!("it carries the annotation {key}")), "{value}");
        }
        assert_eq!(by(KARPENTER, "false"), None);
        assert_eq!(by(AUTOSCALER, "true"), None);
        assert_eq!(by("example.com/do-not-disrupt", "true"), None);
    }

    #[test]
    fn static_pods_and_those_that_the_cluster_cannot_be_without_are_left_alone() {
        assert_eq!(by(MIRROR, "9f2c").as_deref(), Some("it is a static pod of its node"));
        for class in CRITICAL {
            let said = protection(&BTreeMap::new(), Some(class));
            assert!(said.is_some_and(|it| it.ends_with(class)));
        }
        assert_eq!(protection(&BTreeMap::new(), None), None);
    }
}
