//! Looks at what there is every 15 s: alerts at both Alertmanagers, the ledger, the last evaluations, why restarts are held
//! back, and the memory of the operator's processes; and it follows the audit log. It judges by `judge`, and says what is
//! broken as soon as it is known.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use grpc_hygiene::{
    api::{GrpcClientPolicy, RemediationState},
    io::ledger::NAME,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::Value;

use super::super::{
    audit::{Follow, Write},
    host, pages,
    shop::{POLICY, Shop, step},
    world::{SOON, World, entries},
};
use super::{
    DETECTION, LEAKY, Tenant,
    judge::{self, Verdict},
    memory::Life,
};

const EVERY: Duration = Duration::from_secs(15);
/// An alert may be away for so long: Alertmanagers are stopped for up to 40 s or start with nothing, an alert is sent again
/// within 65 s, and the next minute's disturbance may be the operator's, who takes over within 30 s and looks around.
const ABSENT: Duration = Duration::from_secs(4 * 60);
/// An evaluation may be so old: Prometheus or the leader is stopped for up to 40 s, queries give up after 30 s, another
/// leads after 15 s, and a process that was ended before is started again after 20 s; two of these in a row.
const OLD: Duration = Duration::from_secs(3 * 60);

/// Watches the tenants and the operator.
pub struct Watch {
    world: World,
    tenants: Vec<Tenant>,
    state: Mutex<State>,
}

struct State {
    follow: Follow,
    writes: Vec<Write>,
    /// The confirmed restarts that the ledger has ever had: namespace, pod, time.
    confirmed: BTreeSet<(String, String, String)>,
    pending: usize,
    /// When each alert was seen last, by namespace; since all are told.
    seen: BTreeMap<String, Instant>,
    /// When each policy was evaluated last, Unix seconds; since all are told.
    evaluated: BTreeMap<String, f64>,
    began: Instant,
    sampled: Option<Instant>,
    resident: Vec<String>,
    /// What was said already.
    said: BTreeSet<String>,
    verdict: Verdict,
}

/// What one look at the cluster has found. What did not answer is not there.
struct Look {
    /// The namespaces whose leak is told, at each Alertmanager.
    alerts: [Option<BTreeSet<String>>; 2],
    evaluations: BTreeMap<String, f64>,
    ledger: Option<ConfigMap>,
    policies: Vec<GrpcClientPolicy>,
    operators: Vec<Pod>,
    leader: Option<String>,
}

impl Watch {
    /// Follows the audit log from now on.
    pub fn begin(world: World, tenants: Vec<Tenant>) -> Self {
        let state = State {
            follow: Follow::begin(),
            writes: Vec::new(),
            confirmed: BTreeSet::new(),
            pending: 0,
            seen: BTreeMap::new(),
            evaluated: BTreeMap::new(),
            began: Instant::now(),
            sampled: None,
            resident: Vec::new(),
            said: BTreeSet::new(),
            verdict: Verdict::default(),
        };
        Self { world, tenants, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leaking(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.iter().filter(|it| it.leaks)
    }

    /// Waits until every leak is found and told. From then on alerts and evaluations are missed.
    pub async fn told(&self, shops: &[Shop]) {
        let leaking = shops.iter().zip(&self.tenants).filter(|(_, tenant)| tenant.leaks);
        let told = leaking.map(|(shop, _)| {
            shop.wait(2 * DETECTION, "the leak is found and told", |it| it.alerts.iter().any(|it| it.delivered))
        });
        join_all(told).await;
        let seen = self.leaking().map(|it| (it.namespace.clone(), Instant::now())).collect();
        let now = Timestamp::now().as_second() as f64;
        let evaluated = self.tenants.iter().map(|it| (format!("{}/{POLICY}", it.namespace), now)).collect();
        let mut state = self.state();
        (state.seen, state.evaluated, state.began) = (seen, evaluated, Instant::now());
    }

    /// Looks again and again until so much time has passed.
    pub async fn until(&self, began: Instant, end: Duration, what: &str) {
        let over = || async {
            let is_due = self.state().sampled.is_none_or(|it| it.elapsed() >= EVERY);
            if is_due {
                self.state().sampled = Some(Instant::now());
                let look = self.look().await;
                self.note(&look);
            }
            let so_far = began.elapsed();
            if so_far >= end { Ok(()) } else { Err(format!("only {} s so far", so_far.as_secs())) }
        };
        self.world.eventually("soak", end.saturating_sub(began.elapsed()) + SOON, what, over).await;
    }

    async fn look(&self) -> Look {
        let policies: Api<GrpcClientPolicy> = Api::all(self.world.client.clone());
        let (ledgers, all) = (self.world.ledgers(), ListParams::default());
        let (alerts, evaluations, ledger, policies, operators, leader) = tokio::join!(
            self.alerts(),
            pages::last_evaluations(&self.world),
            ledgers.get_opt(NAME),
            policies.list(&all),
            self.world.operators(),
            self.world.leader(),
        );
        Look {
            alerts,
            evaluations: evaluations.unwrap_or_default(),
            ledger: ledger.unwrap_or_default(),
            policies: policies.map(|it| it.items).unwrap_or_default(),
            operators: operators.unwrap_or_default(),
            leader: leader.ok().map(|it| it.name_any()),
        }
    }

    /// The namespaces whose leak is told at each Alertmanager. One that does not answer has none.
    async fn alerts(&self) -> [Option<BTreeSet<String>>; 2] {
        let (first, second) = tokio::join!(pages::all_alerts(&self.world, 0), pages::all_alerts(&self.world, 1));
        let of_leaks = |all: Vec<Value>| {
            let leaky = all.into_iter().filter(|it| it["labels"]["workload"] == LEAKY);
            leaky.filter_map(|it| it["labels"]["namespace"].as_str().map(str::to_owned)).collect()
        };
        [first, second].map(|it| it.ok().map(of_leaks))
    }

    fn note(&self, look: &Look) {
        let mut state = self.state();
        if let Some(alerts) = look.alerts.iter().flatten().cloned().reduce(|one, other| &one | &other) {
            state.note_alerts(&alerts);
        }
        state.note_evaluations(&look.evaluations);
        state.note_ledger(look.ledger.as_ref(), &self.tenants);
        state.note_reasons(&look.policies);
        if let Some(leader) = &look.leader {
            state.note_memory(&look.operators, leader);
        }
    }

    /// What is known so far, in one line. What is broken and was not said yet is said before it.
    pub async fn progress(&self) -> String {
        let operators = self.world.operators().await.unwrap_or_default();
        let mut state = self.state();
        state.judge(&self.tenants);
        let verdict = &state.verdict;
        let mut broken: BTreeSet<String> = verdict.lost.union(&verdict.late).cloned().collect();
        broken.extend([&verdict.overruns, &verdict.good, &verdict.usurped].into_iter().flatten().cloned());
        for it in broken.difference(&state.said) {
            println!("soak: BROKEN: {it}");
        }
        let line = format!(
            "evictions {}, broken promises {}, resident {:?}, replicas {}",
            verdict.evictions,
            broken.len(),
            state.resident,
            operators.len()
        );
        state.said = broken;
        line
    }

    /// The end: all alerts are there, and the ledger is settled and tells what the audit log tells, or too much time has
    /// passed. What is missing then is missing.
    pub async fn settled(&self) -> Verdict {
        let since = Instant::now();
        let settled = || async {
            let look = self.look().await;
            self.note(&look);
            let told_by =
                |it: &Tenant, at: &Option<BTreeSet<String>>| at.as_ref().is_some_and(|at| at.contains(&it.namespace));
            let untold = self.leaking().filter(|it| !look.alerts.iter().all(|at| told_by(it, at)));
            let untold: Vec<String> = untold.map(|it| it.namespace.clone()).collect();
            let mut state = self.state();
            state.judge(&self.tenants);
            let (unaccounted, pending) = (state.unaccounted(&self.tenants), state.pending);
            let is_settled = untold.is_empty() && unaccounted.is_empty() && pending == 0;
            if is_settled || since.elapsed() > 2 * SOON {
                Ok((untold, unaccounted, pending))
            } else {
                Err(format!("untold {untold:?}, unaccounted {unaccounted:?}, pending {pending}"))
            }
        };
        let (untold, unaccounted, pending) =
            self.world.eventually("soak", 3 * SOON, "alerts, ledger and audit log were compared", settled).await;
        let mut verdict = std::mem::take(&mut self.state().verdict);
        verdict.unaccounted = unaccounted;
        verdict.unaccounted.extend((pending > 0).then(|| format!("{pending} entries of the ledger are not settled")));
        verdict.lost.extend(untold.iter().map(|it| format!("the alert of {it} is not there at the end")));
        verdict
    }
}

impl State {
    fn note_alerts(&mut self, alerts: &BTreeSet<String>) {
        for (namespace, seen) in &mut self.seen {
            if alerts.contains(namespace) {
                *seen = Instant::now();
                continue;
            }
            let away = seen.elapsed();
            self.verdict.longest.0 = self.verdict.longest.0.max(away);
            if away > ABSENT {
                self.verdict.lost.insert(format!("the alert of {namespace} was away for more than {ABSENT:?}"));
            }
        }
    }

    fn note_evaluations(&mut self, evaluations: &BTreeMap<String, f64>) {
        let now = Timestamp::now().as_second() as f64;
        for (policy, last) in &mut self.evaluated {
            *last = evaluations.get(policy).map_or(*last, |it| it.max(*last));
            let age = Duration::from_secs_f64((now - *last).max(0.0));
            self.verdict.longest.1 = self.verdict.longest.1.max(age);
            if age > OLD {
                self.verdict.late.insert(format!("{policy} was not evaluated for more than {OLD:?}"));
            }
        }
    }

    fn note_ledger(&mut self, ledger: Option<&ConfigMap>, tenants: &[Tenant]) {
        if ledger.is_none() {
            return;
        }
        let all: Vec<Value> = tenants.iter().flat_map(|it| entries(ledger, &it.namespace)).collect();
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let (confirmed, pending): (Vec<&Value>, Vec<&Value>) = all.iter().partition(|it| it["state"] == "Confirmed");
        self.pending = pending.len();
        let key = |it: &Value| (text(&it["namespace"]), text(&it["object"]["name"]), text(&it["at"]));
        self.confirmed.extend(confirmed.into_iter().map(key));
    }

    fn note_reasons(&mut self, policies: &[GrpcClientPolicy]) {
        let ours = policies.iter().filter(|it| it.namespace().is_some_and(|it| it.starts_with("e2e-soak-")));
        for offender in ours.filter_map(|it| it.status.as_ref()).flat_map(|it| &it.offenders) {
            if let Some((RemediationState::Withheld, Some(because))) = step(offender, "Restart") {
                *self.verdict.held.entry(because).or_default() += 1;
            }
        }
    }

    fn note_memory(&mut self, operators: &[Pod], leader: &str) {
        let at = self.began.elapsed();
        self.resident.clear();
        for pod in operators {
            let Some(process) = host::process(pod, "grpc-hygiene") else { continue };
            let Some(resident) = host::resident(&process) else { continue };
            let life = Life { pod: pod.name_any(), process, leads: pod.name_any() == leader };
            let role = if life.leads { "leads" } else { "stands by" };
            self.resident.push(format!("{:.1} MiB ({role})", resident as f64 / 1_024.0));
            self.verdict.memory.note(life, at, resident);
        }
    }

    /// Reads what was written, and judges it.
    fn judge(&mut self, tenants: &[Tenant]) {
        self.writes.extend(self.follow.writes());
        let evictions = judge::evictions(tenants, &self.writes);
        self.verdict.evictions = evictions.len();
        self.verdict.overruns = judge::overruns(tenants, &evictions);
        self.verdict.good = judge::acts_on_good_ones(tenants, &self.writes);
        self.verdict.nameless = evictions.iter().filter(|it| !it.acts).count();
        self.verdict.holders = judge::holders(&self.writes);
        (self.verdict.usurped, self.verdict.reports) = judge::usurped(&self.writes);
    }

    fn unaccounted(&self, tenants: &[Tenant]) -> Vec<String> {
        let evictions = judge::evictions(tenants, &self.writes);
        let confirmed = self.confirmed.iter().map(|(namespace, pod, _)| (namespace.clone(), pod.clone()));
        judge::unaccounted(&evictions, confirmed)
    }
}
