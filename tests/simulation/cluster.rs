//! The rest of the cluster, as small as it may be: workloads whose pods are replaced after a while under new names and
//! UIDs, rollouts that surge, budgets that are counted late, and people who delete, roll out and annotate.

use serde_json::{Value, json};

use crate::{
    replica::EPOCH,
    server::merge,
    settings::Scene,
    wire::Sent,
    world::{Millis, World},
};

/// How often the controllers look.
const TICK: Millis = 1_000;
/// What a budget's controller believes in spite of what it sees, as in `disruption.go`.
const DELETION_TIMEOUT: Millis = 120_000;

/// A Deployment.
pub struct Workload {
    pub namespace: &'static str,
    pub name: &'static str,
    pub desired: usize,
    pub leaks: bool,
    pub budget: bool,
    /// What its status, and that of its budget, say whatever is the case.
    pub claims: [Value; 2],
    made: u64,
}

/// A pod.
pub struct Pod {
    pub path: String,
    pub workload: usize,
    pub leaks: bool,
    pub name: String,
    pub uid: String,
    pub ip: String,
    /// Milliseconds; the first pods are older than the simulation.
    pub started: i64,
    pub ready_at: Millis,
    pub ready: bool,
    pub revision: String,
    /// When it is gone, once it terminates.
    pub gone_at: Option<Millis>,
    /// Whether we made it go.
    pub ours: bool,
}

/// Everything that runs.
#[derive(Default)]
pub struct Cluster {
    pub workloads: Vec<Workload>,
    pub pods: Vec<Pod>,
}

impl Workload {
    pub const fn new(namespace: &'static str, name: &'static str, desired: usize, leaks: bool, budget: bool) -> Self {
        Self { namespace, name, desired, leaks, budget, claims: [Value::Null, Value::Null], made: 0 }
    }

    pub fn path(&self) -> String {
        format!("/apis/apps/v1/namespaces/{}/deployments/{}", self.namespace, self.name)
    }

    pub fn budget_path(&self) -> String {
        format!("/apis/policy/v1/namespaces/{}/poddisruptionbudgets/{}", self.namespace, self.name)
    }
}

pub fn time(at: i64) -> String {
    jiff::Timestamp::from_millisecond(EPOCH * 1_000 + at).expect("a time").to_string()
}

/// A name for a revision that follows from the template.
fn revision(template: &Value) -> String {
    let text = template.to_string();
    let hash =
        text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |it, byte| (it ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{:08x}", hash & 0xffff_ffff)
}

fn claimed(status: &mut Value, claim: &Value) {
    if !claim.is_null() {
        merge(status, claim);
    }
}

impl World {
    /// Makes a workload with pods that run for a long time already.
    pub fn deploy(&mut self, workload: Workload) {
        let (place, desired, name) = (self.cluster.workloads.len(), workload.desired, workload.name);
        let labels = json!({"app": name});
        self.server.put(&workload.path(), json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 1},
            "spec": {"replicas": desired, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}},
            "status": {},
        }));
        if workload.budget {
            let budget = json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"generation": 1},
                "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}},
                "status": {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": desired, "desiredHealthy": desired - 1, "expectedPods": desired},
            });
            self.server.put(&workload.budget_path(), budget);
        }
        self.cluster.workloads.push(workload);
        for _ in 0..desired {
            let age = i64::try_from(self.dice.between(1_200_000, 2_400_000)).expect("minutes");
            self.make_pod(place, -age, 0);
        }
        self.report_deployment(place);
    }

    fn make_pod(&mut self, place: usize, started: i64, ready_at: Millis) {
        let workload = &mut self.cluster.workloads[place];
        workload.made += 1;
        let (namespace, app, made) = (workload.namespace, workload.name, workload.made);
        // Where nothing goes wrong, a restart cures.
        let leaks = workload.leaks && (started < 0 || self.settings.scene == Scene::Trouble);
        let owner = self.server.objects[&workload.path()].clone();
        let revision = revision(&owner["spec"]["template"]);
        let set = format!("{app}-{revision}");
        let set_path = format!("/apis/apps/v1/namespaces/{namespace}/replicasets/{set}");
        if self.server.get(&set_path).is_none() {
            let by = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": app, "uid": owner["metadata"]["uid"], "controller": true});
            self.server.put(
                &set_path,
                json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"ownerReferences": [by]}}),
            );
        }
        let by = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set, "uid": self.server.objects[&set_path]["metadata"]["uid"], "controller": true});
        let name = format!("{set}-{made}");
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        let ip = format!("10.0.{place}.{made}");
        let ready = ready_at <= self.now;
        self.server.put(&path, json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"labels": {"app": app, "pod-template-hash": revision}, "ownerReferences": [by]},
            "spec": {"containers": [{"name": "app", "image": "shop", "resources": {"limits": {"memory": "512Mi"}}}]},
            "status": {"phase": "Running", "podIPs": [{"ip": ip}],
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
                "containerStatuses": [{"name": "app", "state": {"running": {"startedAt": time(started)}}}]},
        }));
        let uid = self.server.objects[&path]["metadata"]["uid"].as_str().expect("a UID").to_owned();
        self.cluster.pods.push(Pod {
            path,
            workload: place,
            leaks,
            name,
            uid,
            ip,
            started,
            ready_at,
            ready,
            revision,
            gone_at: None,
            ours: false,
        });
    }

    /// A pod begins to go.
    pub fn terminate(&mut self, path: &str, by_us: Option<&Sent>) {
        let (grace, now) = (self.dice.between(500, 20_000), self.now);
        let stamp = time(i64::try_from(now).expect("centuries"));
        self.server.change(path, &json!({"metadata": {"deletionTimestamp": stamp, "deletionGracePeriodSeconds": 30}}));
        let Some(pod) = self.cluster.pods.iter_mut().find(|it| it.path == path && it.gone_at.is_none()) else { return };
        (pod.gone_at, pod.ready, pod.ours) = (Some(now + grace), false, by_us.is_some());
        let (workload, uid) = (pod.workload, pod.uid.clone());
        if let Some(sent) = by_us {
            self.disturbed(sent, workload, &uid);
        }
    }

    /// A rollout was begun through the API.
    pub fn rolled_out(&mut self, sent: &Sent) {
        let Some(place) = self.cluster.workloads.iter().position(|it| it.path() == sent.path) else { return };
        let uid = self.server.objects[&sent.path]["metadata"]["uid"].as_str().expect("a UID").to_owned();
        self.count("rollout: begun");
        self.disturbed(sent, place, &uid);
    }

    /// Starts the controllers and the people.
    pub fn begin_cluster(&mut self) {
        self.after(TICK, Self::tick);
        self.after(TICK, Self::meddle);
    }

    fn tick(&mut self) {
        let now = self.now;
        let gone: Vec<String> = self
            .cluster
            .pods
            .iter()
            .filter(|it| it.gone_at.is_some_and(|at| at <= now))
            .map(|it| it.path.clone())
            .collect();
        for path in &gone {
            self.server.objects.remove(path);
        }
        self.cluster.pods.retain(|it| it.gone_at.is_none_or(|at| at > now));
        let ready: Vec<String> = self
            .cluster
            .pods
            .iter_mut()
            .filter(|it| !it.ready && it.gone_at.is_none() && it.ready_at <= now)
            .map(|it| {
                it.ready = true;
                it.path.clone()
            })
            .collect();
        for path in ready {
            self.server.change(&path, &json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
        }
        for place in 0..self.cluster.workloads.len() {
            self.keep_replicas(place);
            // Controllers see late what has happened.
            if self.calm || self.dice.happens(600) {
                self.report_deployment(place);
            }
            if self.calm || self.dice.happens(600) {
                self.report_budget(place);
            }
        }
        self.after(TICK, Self::tick);
    }

    fn keep_replicas(&mut self, place: usize) {
        let workload = &self.cluster.workloads[place];
        let desired = workload.desired;
        let current = revision(&self.server.objects[&workload.path()]["spec"]["template"]);
        let of = |it: &&Pod| it.workload == place && it.gone_at.is_none();
        let live: Vec<&Pod> = self.cluster.pods.iter().filter(of).collect();
        let (all, ready) = (live.len(), live.iter().filter(|it| it.ready).count());
        let old = live.iter().find(|it| it.revision != current).map(|it| it.path.clone());
        let surge = usize::from(old.is_some());
        if all < desired + surge {
            let start = self.now + self.dice.between(500, 4_000);
            let ready_at = start + self.dice.between(1_000, 15_000);
            self.make_pod(place, i64::try_from(start).expect("centuries"), ready_at);
        } else if let Some(path) = old.filter(|_| ready > desired) {
            self.terminate(&path, None);
        }
    }

    pub fn report_deployment(&mut self, place: usize) {
        let workload = &self.cluster.workloads[place];
        let (path, claim) = (workload.path(), workload.claims[0].clone());
        let deployment = &self.server.objects[&path];
        let current = revision(&deployment["spec"]["template"]);
        let live: Vec<&Pod> =
            self.cluster.pods.iter().filter(|it| it.workload == place && it.gone_at.is_none()).collect();
        let ready = live.iter().filter(|it| it.ready).count();
        let updated = live.iter().filter(|it| it.revision == current).count();
        let mut status = json!({"status": {
            "observedGeneration": deployment["metadata"]["generation"], "replicas": live.len(), "updatedReplicas": updated,
            "readyReplicas": ready, "availableReplicas": ready,
        }});
        claimed(&mut status["status"], &claim);
        self.server.change(&path, &status);
    }

    pub fn report_budget(&mut self, place: usize) {
        let workload = &self.cluster.workloads[place];
        let (path, desired, claim) = (workload.budget_path(), workload.desired, workload.claims[1].clone());
        let Some(budget) = self.server.get(&path) else { return };
        let live: Vec<&Pod> =
            self.cluster.pods.iter().filter(|it| it.workload == place && it.gone_at.is_none()).collect();
        // What was let go and is still there counts as gone for two minutes.
        let believed: Vec<(String, Value)> = budget["status"]["disruptedPods"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, at)| {
                live.iter().any(|it| it.name == **name)
                    && at.as_u64().is_some_and(|at| self.now < at + DELETION_TIMEOUT)
            })
            .map(|(name, at)| (name.clone(), at.clone()))
            .collect();
        let healthy = live.iter().filter(|it| it.ready && !believed.iter().any(|(name, _)| *name == it.name)).count();
        let mut after = budget.clone();
        after["status"]["currentHealthy"] = json!(healthy);
        after["status"]["disruptionsAllowed"] = json!(healthy.saturating_sub(desired - 1));
        after["status"]["observedGeneration"] = budget["metadata"]["generation"].clone();
        after["status"]["disruptedPods"] = Value::Object(believed.into_iter().collect());
        claimed(&mut after["status"], &claim);
        if after != *budget {
            self.server.put(&path, after);
        }
    }

    /// What others do at any time.
    fn meddle(&mut self) {
        if self.calm {
            return;
        }
        let place = usize::try_from(self.dice.below_thousand()).expect("small") % self.cluster.workloads.len();
        let path = self.cluster.workloads[place].path();
        match self.dice.below_thousand() {
            0..100 => self.delete_some_pod(place),
            100..150 => {
                self.count("others: rollout");
                let now = self.now;
                self.server.change(
                    &path,
                    &json!({"spec": {"template": {"metadata": {"annotations": {"build": now.to_string()}}}}}),
                );
            }
            150..500 => {
                let pods: Vec<String> =
                    self.cluster.pods.iter().filter(|it| it.workload == place).map(|it| it.path.clone()).collect();
                let now = self.now;
                for pod in pods {
                    self.server.change(&pod, &json!({"metadata": {"annotations": {"kubelet": now.to_string()}}}));
                }
                self.count("others: pods touched");
            }
            500..600 => self.overlap(place),
            600..700 => self.suspend(),
            700..750 => self.stop_all(),
            750..800 => self.delete_lease(),
            _ => {}
        }
        let pause = self.dice.between(5_000, 60_000);
        self.after(pause, Self::meddle);
    }

    fn delete_some_pod(&mut self, place: usize) {
        let pods = self.cluster.pods.iter().filter(|it| it.workload == place && it.gone_at.is_none());
        if let Some(path) = pods.map(|it| it.path.clone()).next() {
            self.count("others: pod deleted");
            self.terminate(&path, None);
        }
    }

    /// A second budget over the same pods, for a while.
    fn overlap(&mut self, place: usize) {
        let workload = &self.cluster.workloads[place];
        let path = format!("{}-too", workload.budget_path());
        let budget = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"generation": 1},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": workload.name}}},
            "status": {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1},
        });
        self.server.put(&path, budget);
        self.count("others: second budget");
        self.after(20_000, move |world| {
            world.server.objects.remove(&path);
        });
    }

    /// Whoever deletes the lease makes another lead at once, while the one that did does not know yet.
    fn delete_lease(&mut self) {
        self.server.objects.retain(|_, it| it["kind"] != "Lease");
        self.count("others: lease deleted");
    }

    /// People suspend the policy for a while.
    fn suspend(&mut self) {
        let path = "/apis/grpc-hygiene.io/v1alpha1/namespaces/shop/grpcclientpolicies/clients";
        let set = |world: &mut Self, to: bool| {
            world.server.change(path, &json!({"spec": {"suspend": to}}));
            world.witness.suspended = to.then_some(world.now);
            world.tell_watchers();
        };
        self.count("others: policy suspended");
        set(self, true);
        let pause = self.dice.between(2_000, 40_000);
        self.after(pause, move |world| set(world, false));
    }

    /// People stop all restarts for a while.
    fn stop_all(&mut self) {
        let path = "/api/v1/namespaces/hygiene/configmaps/grpc-hygiene-switch";
        let set = |world: &mut Self, to: &str| {
            let switch = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {"restarts": to}});
            world.server.put(path, switch);
            world.witness.stopped = (to == "off").then_some(world.now);
        };
        self.count("others: all restarts stopped");
        set(self, "off");
        let pause = self.dice.between(5_000, 60_000);
        self.after(pause, move |world| set(world, "on"));
    }
}
