//! The pods of a workload over a recording: names, owners, revisions, when each began and ended.

use super::draw::Draw;

/// One pod.
#[derive(Clone, Debug)]
pub struct Pod {
    pub name: String,
    pub uid: String,
    pub node: usize,
    pub address: String,
    /// The replica's place; a successor takes it over.
    pub slot: usize,
    pub revision: usize,
    /// The ReplicaSet, or the StatefulSet itself.
    pub owner: String,
    /// How long it ran before the recording began, seconds. 0 for pods that began within it.
    pub age: f64,
    /// The steps in which it runs.
    pub steps: std::ops::Range<usize>,
}

/// All pods of a workload.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub namespace: String,
    pub app: String,
    pub stateful: bool,
    pub pods: Vec<Pod>,
    hashes: Vec<String>,
    end: usize,
}

impl Fleet {
    /// So many replicas that run already when the recording begins.
    pub fn new(rng: &mut Draw, namespace: String, end: usize, replicas: usize) -> Self {
        let app = rng.pick(&["orders", "checkout", "cart", "pricing", "search", "ledger", "gateway", "feed", "mailer"]);
        let mut fleet = Self {
            namespace,
            app: app.to_owned(),
            stateful: rng.chance(0.1),
            pods: Vec::new(),
            hashes: Vec::new(),
            end,
        };
        let age = rng.log_uniform(2.0 * 3_600.0, 20.0 * 86_400.0);
        for slot in 0..replicas {
            let age = age + rng.uniform(0.0, 300.0);
            fleet.add(rng, slot, 0, 0);
            fleet.pods[slot].age = age;
        }
        fleet
    }

    /// One more pod, from a step to the end.
    pub fn add(&mut self, rng: &mut Draw, slot: usize, revision: usize, step: usize) {
        while self.hashes.len() <= revision {
            let length = rng.count(8, 10);
            self.hashes.push(rng.suffix(length));
        }
        let (name, owner) = if self.stateful {
            (format!("{}-{slot}", self.app), self.app.clone())
        } else {
            let set = format!("{}-{}", self.app, self.hashes[revision]);
            (format!("{set}-{}", rng.suffix(5)), set)
        };
        self.pods.push(Pod {
            name,
            uid: rng.uid(),
            node: rng.count(0, 11),
            address: format!("10.244.{}.{}", rng.count(0, 250), rng.count(2, 250)),
            slot,
            revision,
            owner,
            age: 0.0,
            steps: step..self.end,
        });
    }

    /// Ends the pod in this place.
    pub fn remove(&mut self, slot: usize, step: usize) {
        for pod in self.pods.iter_mut().filter(|it| it.slot == slot && it.steps.contains(&step)) {
            pod.steps.end = step;
        }
    }

    /// Replaces all running pods by the next revision, one after another.
    pub fn roll_out(&mut self, rng: &mut Draw, step: usize, stagger: usize) {
        let running: Vec<(usize, usize)> =
            self.pods.iter().filter(|it| it.steps.contains(&step)).map(|it| (it.slot, it.revision)).collect();
        for (place, (slot, revision)) in running.into_iter().enumerate() {
            let begins = step + place * stagger;
            if begins + 2 >= self.end {
                return;
            }
            // A Deployment's new pod runs before the old one ends; a StatefulSet's takes over its name.
            let overlap = if self.stateful { 0 } else { 1 };
            self.remove(slot, begins + overlap);
            self.add(rng, slot, revision + 1, begins + 1 - overlap);
        }
    }
}
