//! Remarks about keepalive in words and as JSON: what `check`, `explain` and `lint` share.

use serde_json::{Value, json};

use crate::decide::{
    Finding, Policy,
    keepalive::{Declaration, Remark},
};

/// Remarks as lines: what, what follows, and what to change.
pub fn text(remarks: &[Remark]) -> String {
    let lines = |it: &Remark| {
        let Remark { rule, message, consequence, advice } = it;
        let severity = rule.severity().name();
        format!("  {severity:<7}  {rule}: {message}\n           then: {consequence}\n           fix: {advice}\n")
    };
    remarks.iter().map(lines).collect()
}

/// One remark as JSON.
pub fn object(remark: &Remark) -> Value {
    let Remark { rule, message, consequence, advice } = remark;
    json!({
        "severity": rule.severity().name(), "rule": rule.name(), "message": message, "consequence": consequence,
        "advice": advice,
    })
}

/// What is to be said about the keepalive of a policy, and of the pods that declare their own. Pods of which the same is
/// to be said are named together.
pub fn of_all(policy: &Policy, findings: &[Finding]) -> String {
    let mut text = section("as the policy declares it", &policy.keepalive.remarks());
    let mut groups: Vec<(Vec<Remark>, Vec<String>)> = Vec::new();
    for finding in findings.iter().filter(|it| it.target.keepalive.is_some()) {
        let remarks = Declaration::of(policy, &finding.target).remarks();
        let pod = format!("{}/{}", finding.target.subject.namespace, finding.target.subject.pod);
        match groups.iter_mut().find(|it| it.0 == remarks) {
            Some((_, pods)) if pods.contains(&pod) => {}
            Some((_, pods)) => pods.push(pod),
            None => groups.push((remarks, vec![pod])),
        }
    }
    for (remarks, pods) in groups {
        let more = if pods.len() > 1 { format!(" and {} more", pods.len() - 1) } else { String::new() };
        text += &section(&format!("of {}{more}, with annotations", pods[0]), &remarks);
    }
    text
}

fn section(whose: &str, remarks: &[Remark]) -> String {
    if remarks.is_empty() { String::new() } else { format!("\nkeepalive {whose}\n{}", text(remarks)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::PolicyRules,
        decide::{Evidence, Subject, Target, Verdict},
    };

    fn finding(pod: &str, annotation: Option<&str>) -> Finding {
        let subject = Subject { namespace: "shop".into(), pod: pod.into(), ..Subject::default() };
        let keepalive = Declaration::of_annotations(annotation, None);
        let target = Target { subject, keepalive, ..Target::default() };
        Finding { target, verdict: Verdict::Healthy, evidence: Evidence::default(), sources: Vec::new() }
    }

    #[test]
    fn pods_of_which_the_same_is_said_are_named_together_and_silent_ones_not_at_all() {
        let spec = json!({"allPods": true, "keepalive": {"server": {"preset": "etcd", "minTime": "30s"}}});
        let rules: PolicyRules = serde_json::from_value(spec).expect("a spec");
        let policy = Policy::parse(&rules).expect("valid");
        let often = Some("time=20s,language=go");
        let findings = [finding("a", often), finding("b", None), finding("c", often), finding("d", Some("time=90s"))];
        let text = of_all(&policy, &findings);
        assert!(
            text.starts_with("\nkeepalive of shop/a and 1 more, with annotations\n  error    TooOften: "),
            "{text}"
        );
        assert_eq!(text.matches("keepalive of").count(), 1, "{text}");
        assert_eq!(of_all(&policy, &[finding("b", None)]), "");
    }
}
