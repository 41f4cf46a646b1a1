//! Which pods are never restarted, and which of several goes first.

use super::*;

/// A world whose pod and its workload are of this namespace, with everything else as it was.
fn in_namespace(namespace: &str) -> World {
    let mut moved = world();
    moved.findings[0].target.subject.namespace = namespace.into();
    moved.findings[0].target.workload.as_mut().expect("an owner").namespace = namespace.into();
    moved.history.past = BTreeMap::from([past(&moved.findings[0])]);
    moved.history.alerts = vec![AlertRecord { namespace: namespace.into(), ..firing() }];
    let standing = moved.history.workloads.pop_first().expect("a workload").1;
    let workload = Workload { namespace: namespace.into(), ..workload() };
    moved.history.workloads.insert(workload, standing);
    moved
}

#[test]
fn the_namespaces_of_the_cluster_and_of_the_operator_are_never_touched() {
    for namespace in ["kube-system", "kube-public", "kube-node-lease", "kube-flannel", "hygiene"] {
        let mut system = in_namespace(namespace);
        system.history.namespace = "hygiene".into();
        assert_eq!(system.restart_of("a"), Err("SystemNamespace"), "{namespace}");
    }
    for namespace in ["kubernetes", "shop-kube-system", "hygiene-shop"] {
        let mut other = in_namespace(namespace);
        other.history.namespace = "hygiene".into();
        assert_eq!(other.restart_of("a"), Ok(Restart::Evict), "{namespace}");
    }
}

#[test]
fn a_pod_that_is_not_to_be_disturbed_says_what_protects_it() {
    let mut protected = world();
    protected.findings[0].target.protected = Some("its priority class is system-node-critical".into());
    let because = protected.decided("a").expect_err("withheld").expect("a reason");
    assert_eq!(because.reason(), "Protected");
    assert_eq!(because.to_string(), "the pod is not to be disturbed: its priority class is system-node-critical");
}

#[test]
fn only_owners_that_make_the_pod_again_and_can_be_read_are_restarted() {
    for kind in ["Job", "Node", "ReplicaSet", "ReplicationController", "Tortoise", "StatefulSet.apps.kruise.io"] {
        let mut strange = world();
        strange.findings[0].target.workload.as_mut().expect("an owner").kind = kind.into();
        let because = strange.decided("a").expect_err("withheld").expect("a reason");
        assert_eq!(because, Because::UnsupportedOwner { kind: kind.into() });
    }
    let mut bare = world();
    bare.findings[0].target.workload = None;
    assert_eq!(bare.restart_of("a"), Err("NoWorkload"));
}

/// A world of three pods that reach their limit in this many seconds.
fn three(soonest: [f64; 3]) -> World {
    let mut three = world();
    three.findings = ["a", "b", "c"].map(finding).into();
    for (finding, soonest) in three.findings.iter_mut().zip(soonest) {
        let (expected, latest) = (soonest * 1.5, soonest * 2.5);
        finding.evidence.forecast = Some(Forecast { soonest, expected, latest, restart_by: 0.0 });
    }
    three.history.past = three.findings.iter().map(past).collect();
    three
}

fn order(world: &World) -> Vec<String> {
    world.plan().cases.iter().map(|it| it.target.subject.pod.clone()).collect()
}

#[test]
fn of_the_sick_pods_the_worst_goes_first_and_alone_and_the_well_ones_never() {
    let mut sick = three([7_000.0, 60.0, 600.0]);
    sick.findings.push(Finding { verdict: Verdict::Healthy, ..finding("well") });
    assert_eq!(order(&sick), ["b", "c", "a"]);
    assert_eq!(sick.restart_of("b"), Ok(Restart::Evict));
    assert_eq!([sick.restart_of("c"), sick.restart_of("a")], [Err("OneAtATime"); 2]);
}

#[test]
fn of_equally_urgent_pods_the_surest_goes_first_and_then_the_name_decides() {
    let mut equal = three([600.0; 3]);
    assert_eq!(order(&equal), ["a", "b", "c"]);
    for finding in &mut equal.findings[..2] {
        let Verdict::Growing(growth) = &mut finding.verdict else { panic!("a healthy pod") };
        growth.confidence = Confidence::from_p_value(1e-4);
    }
    assert_eq!(order(&equal), ["c", "a", "b"]);
}

#[test]
fn a_pod_that_may_not_be_restarted_does_not_hold_up_the_next() {
    let mut sick = three([7_000.0, 60.0, 600.0]);
    sick.findings[1].target.ready = false;
    assert_eq!(sick.restart_of("b"), Err("PodNotReady"));
    assert_eq!(sick.restart_of("c"), Ok(Restart::Evict));
}

#[test]
fn pods_of_two_workloads_do_not_wait_for_each_other() {
    let mut two = three([7_000.0, 60.0, 600.0]);
    let users = Workload { name: "users".into(), ..workload() };
    two.findings[0].target.workload = Some(users.clone());
    let standing = two.history.workloads[&workload()].clone();
    two.history.workloads.insert(users.clone(), standing);
    two.history.alerts.push(AlertRecord { workload: users.reference(), ..firing() });
    assert_eq!([two.restart_of("b"), two.restart_of("a")], [Ok(Restart::Evict); 2]);
    assert_eq!(two.restart_of("c"), Err("OneAtATime"));
}
