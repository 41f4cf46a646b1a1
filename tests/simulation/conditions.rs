//! One thing that is so of the workload `orders`, or of the cluster, and is enough for nobody to be restarted.

use serde_json::json;

use crate::{
    cluster::time,
    settings::Condition,
    world::{Millis, World},
};

const ORDERS: usize = 0;
/// How often an autoscaler scales that does not come to rest.
const SCALES: Millis = 60_000;

impl World {
    /// Makes it so, for the whole run.
    pub fn falsify(&mut self, condition: Condition) {
        let (deployment, budget) = {
            let orders = &self.cluster.workloads[ORDERS];
            (orders.path(), orders.budget_path())
        };
        let [status, of_budget] = &mut self.cluster.workloads[ORDERS].claims;
        match condition {
            Condition::NotAllReady => self.keep_unready(),
            Condition::NotAllAvailable => *status = json!({"availableReplicas": 1}),
            Condition::OnlyReplica => self.server.change(&deployment, &json!({"spec": {"replicas": 1}})),
            Condition::RollingOut => *status = json!({"updatedReplicas": 1}),
            Condition::Unobserved => *status = json!({"observedGeneration": 0}),
            Condition::BudgetOfNothing => *of_budget = json!({"disruptionsAllowed": 0}),
            Condition::BudgetUnobserved => *of_budget = json!({"observedGeneration": 0}),
            Condition::TwoBudgets => {
                let other = self.server.objects[&budget].clone();
                self.server.put(&format!("{budget}-too"), other);
            }
            Condition::ScaledToMaximum => self.scale(2, -3_600_000),
            Condition::ScaledJustNow => self.keep_scaling(),
            Condition::Exempt => {
                self.server
                    .change(&deployment, &json!({"metadata": {"annotations": {"grpc-hygiene.io/exempt": "true"}}}));
            }
            Condition::NamespaceOff => {
                let label = json!({"metadata": {"labels": {"grpc-hygiene.io/restarts": "off"}}});
                self.server.change("/api/v1/namespaces/shop", &label);
            }
            Condition::SwitchOff => {
                let switch =
                    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {"restarts": "off"}});
                self.server.put("/api/v1/namespaces/hygiene/configmaps/grpc-hygiene-switch", switch);
            }
            Condition::Suspended => {
                let path = "/apis/grpc-hygiene.io/v1alpha1/namespaces/shop/grpcclientpolicies/clients";
                self.server.change(path, &json!({"spec": {"suspend": true}}));
            }
        }
        self.report_deployment(ORDERS);
        self.report_budget(ORDERS);
    }

    fn keep_unready(&mut self) {
        let pod = self.cluster.pods.iter_mut().find(|it| it.workload == ORDERS).expect("a pod");
        (pod.ready, pod.ready_at) = (false, Millis::MAX);
        let path = pod.path.clone();
        self.server.change(&path, &json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}));
    }

    fn scale(&mut self, max: u32, at: i64) {
        let path = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/orders";
        self.server.put(path, json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {},
            "spec": {"maxReplicas": max, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "orders"}},
            "status": {"desiredReplicas": 2, "currentReplicas": 2, "lastScaleTime": time(at)},
        }));
    }

    fn keep_scaling(&mut self) {
        self.scale(10, i64::try_from(self.now).expect("centuries"));
        self.after(SCALES, Self::keep_scaling);
    }
}
