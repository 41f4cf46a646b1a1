//! The controller: one loop for both policy kinds. It reads policies, lets `io` observe, lets `decide` judge, lets
//! `io` act, and reports. It decides nothing itself.
//!
//! Status writes never wake it: only a new generation, or a new value of the annotation
//! `grpc-hygiene.io/requestedAt`, or another approval, does, and the clock.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    core::{DeserializeGuard, error_boundary::InvalidObject},
    runtime::{
        Predicate, PredicateConfig, WatchStreamExt,
        controller::{Action, Config, Controller},
        events::Recorder,
        predicates, reflector,
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::mpsc;
use tracing::{Instrument, debug, error, info_span, warn};

use crate::{
    api::{Autonomy, GrpcClientPolicyStatus, PolicyResource, ProfileRecord, Reach, Stage, names::annotations},
    decide::{
        Budget, Finding, History, Observation, Observed, Outcome, Plan, Policy, QueryFailure,
        approval::Approvals,
        assess,
        autonomy::{self, Seen},
        blindness::blind_since,
        effect::effects,
        overlap::Rival,
        plan,
        profiles::{self, Held},
        stand_down, status,
    },
    io::{
        act::{self, Hands},
        acting::reason,
        config::Config as OperatorConfig,
        observe::{Eyes, ObserveError, observe, scope_of},
        pods::Owners,
        profiles::Camera,
        prometheus::Prometheus,
        quiet::Quiet,
        recall::{alerting, recall},
        report::{self, Address, Stored, Unwritten},
    },
    metrics::Metrics,
    signals::Scope,
};

/// How many policies are evaluated at once.
const CONCURRENCY: u16 = 8;
/// How long a failed report waits for its next try.
const RETRY: Duration = Duration::from_secs(10);

/// What every evaluation needs.
pub struct Context {
    /// Reads the cluster. May retry.
    pub client: Client,
    /// Where metrics are read.
    pub prometheus: Prometheus,
    /// The administrator's settings.
    pub config: OperatorConfig,
    /// Owners of pods.
    pub owners: Owners,
    /// What takes profiles.
    pub camera: Camera,
    /// What acts.
    pub hands: Hands,
    /// Publishes events.
    pub recorder: Recorder,
    /// Our own metrics.
    pub metrics: Arc<Metrics>,
    /// The operator's own namespace.
    pub namespace: String,
    /// No restart in it.
    pub quiet: Quiet,
    /// The policies that restart, as each was evaluated last.
    pub rivals: Mutex<BTreeMap<String, Rival>>,
}

impl Context {
    /// Remembers what a policy restarts, or that it restarts nobody, and tells what the others do.
    fn rivals(&self, policy: &str, own: Option<Rival>) -> Vec<Rival> {
        let mut all = self.rivals.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.remove(policy);
        if let Some(own) = own {
            // What it asked for stands until it has planned anew.
            let approved = before.map(|it| it.approved).unwrap_or_default();
            all.insert(policy.to_owned(), Rival { approved, ..own });
        }
        all.values().filter(|it| it.policy != policy).cloned().collect()
    }

    /// Remembers what a policy asks for before the pods that it selects are restarted.
    fn planned(&self, plan: &Plan) {
        let mut all = self.rivals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = all.get_mut(&plan.policy) {
            *own = own.clone().planned(plan);
        }
    }

    /// Forgets a policy that is gone or suspended.
    pub fn forget(&self, policy: &str) {
        self.rivals(policy, None);
        self.metrics.forget(policy);
    }
}

/// Why an evaluation could not be finished. What can be said about it is in the status already.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The status could not be written.
    #[error("the status could not be written: {0}")]
    Report(#[from] Unwritten),
}

/// Watches the policies of one kind and evaluates each at its interval, until `stop` completes or the future is
/// dropped. Names of policies that are deleted go to `gone`.
pub async fn run<K: PolicyResource>(ctx: Arc<Context>, gone: mpsc::UnboundedSender<String>) {
    let api: Api<DeserializeGuard<K>> = Api::all(ctx.client.clone());
    let (reader, writer) = reflector::store();
    let changes = woken_by(watcher(api, watcher::Config::default()).default_backoff().reflect(writer), gone);
    Controller::for_stream(changes, reader)
        .with_config(Config::default().concurrency(CONCURRENCY))
        .run(reconcile::<K>, error_policy::<K>, ctx)
        .for_each(|result| async move {
            if let Err(error) = result {
                debug!(%error, "reconcile ended");
            }
        })
        .await;
}

/// The objects that are worth a look: new ones, and changes that people made.
fn woken_by<K: PolicyResource>(
    events: impl Stream<Item = Result<Event<DeserializeGuard<K>>, watcher::Error>> + Send,
    gone: mpsc::UnboundedSender<String>,
) -> impl Stream<Item = Result<DeserializeGuard<K>, watcher::Error>> + Send {
    let asked = |it: &DeserializeGuard<K>| {
        let mut hasher = DefaultHasher::new();
        it.annotations().get(annotations::REQUESTED_AT).hash(&mut hasher);
        it.annotations()
            .iter()
            .filter(|(key, _)| key.starts_with(annotations::APPROVED))
            .for_each(|it| it.hash(&mut hasher));
        Some(hasher.finish())
    };
    events
        .inspect_ok(move |event| {
            if let Event::Delete(resource) = event {
                // Nobody listens while the operator stops; then nothing is left to tidy.
                let _ = gone.send(key(resource));
            }
        })
        .inspect_err(|error| warn!(%error, "policies cannot be watched"))
        .applied_objects()
        .predicate_filter(predicates::generation.combine(asked), PredicateConfig::default())
}

fn key<K: PolicyResource>(resource: &DeserializeGuard<K>) -> String {
    match resource.namespace() {
        Some(namespace) => format!("{namespace}/{}", resource.name_any()),
        None => resource.name_any(),
    }
}

/// Evaluates one policy.
///
/// # Errors
/// The status cannot be written.
pub async fn reconcile<K: PolicyResource>(
    resource: Arc<DeserializeGuard<K>>,
    ctx: Arc<Context>,
) -> Result<Action, Error> {
    let span = info_span!("reconcile", kind = %K::kind(&()), policy = %key(&resource));
    let work = async {
        match &resource.0 {
            Ok(resource) => evaluate(resource, &ctx).await,
            Err(invalid) => unreadable::<K>(&key(&resource), invalid, &ctx).await,
        }
    };
    work.instrument(span).await
}

/// Waits before the next try. The signature is kube's.
#[allow(clippy::needless_pass_by_value)]
pub fn error_policy<K: PolicyResource>(resource: Arc<DeserializeGuard<K>>, error: &Error, ctx: Arc<Context>) -> Action {
    warn!(policy = %key(&resource), %error, "evaluation not finished");
    ctx.metrics.evaluated(&key(&resource), "error", 0.0, seconds(Timestamp::now()));
    Action::requeue(RETRY)
}

async fn evaluate<K: PolicyResource>(resource: &K, ctx: &Context) -> Result<Action, Error> {
    let stored = fresh_status(resource, ctx).await?;
    let before = stored.status.as_ref();
    let policy = match Policy::parse(resource.rules()) {
        Ok(policy) => policy,
        Err(invalid) => {
            warn!(%invalid, "the policy cannot work");
            ctx.rivals(&resource.key(), None);
            write(ctx, resource, &stored, &Observed::Invalid(invalid.to_string())).await?;
            return Ok(Action::await_change());
        }
    };
    let exceeded = ctx.config.guard.exceeded_by(&policy);
    let policy = ctx.config.guard.bound(policy);
    if policy.suspend {
        ctx.hands.alerts.end(&resource.key());
        ctx.forget(&resource.key());
        write(ctx, resource, &stored, &Observed::Suspended).await?;
        return Ok(Action::await_change());
    }
    let (now, started) = (Timestamp::now(), Instant::now());
    let fingerprint = fingerprint(resource);
    let policy = autonomy::entrusted(policy, &fingerprint, before, now);
    let result = match judge(resource, &policy, &fingerprint, exceeded, before, ctx, now).await {
        Ok(judged) => {
            finish(resource, &policy, &stored, &judged, ctx).await?;
            "success"
        }
        Err(ObserveError::Source(invalid)) => {
            write(ctx, resource, &stored, &Observed::Invalid(invalid.to_string())).await?;
            "invalid"
        }
        Err(ObserveError::Api(error)) => {
            let reason = reason(&error);
            error!(reason, "the Kubernetes API failed");
            write(ctx, resource, &stored, &Observed::ApiFailed(reason)).await?;
            "error"
        }
    };
    ctx.metrics.evaluated(&resource.key(), result, started.elapsed().as_secs_f64(), seconds(now));
    Ok(Action::requeue(report::until_next(policy.interval, Timestamp::now())))
}

/// What a record of trust is about.
fn fingerprint<K: PolicyResource>(resource: &K) -> String {
    let namespaces = match resource.reach() {
        Reach::Namespace(_) => None,
        Reach::Selected(selector) => Some(selector),
    };
    autonomy::fingerprint(resource.rules(), namespaces)
}

/// What one evaluation found and did.
struct Judged {
    findings: Vec<Finding>,
    history: History,
    plan: Plan,
    outcomes: Vec<Outcome>,
    profiles: Vec<ProfileRecord>,
    autonomy: Option<Autonomy>,
    unreachable: Option<QueryFailure>,
    now: Timestamp,
}

/// The loop: observe, assess, recall, plan, take profiles of those whom the plan is about, plan with them, act.
async fn judge<K: PolicyResource>(
    resource: &K,
    policy: &Policy,
    fingerprint: &str,
    exceeded: Vec<&'static str>,
    before: Option<&GrpcClientPolicyStatus>,
    ctx: &Context,
    now: Timestamp,
) -> Result<Judged, ObserveError> {
    let findings = see(resource, policy, ctx, now).await?;
    if policy.stage == Stage::Restart {
        act::settle(&ctx.hands, policy, before).await;
    }
    let recalled = recall(&ctx.client, &ctx.namespace, policy, &resource.key(), before, &findings).await;
    // Whoever takes no profiles and remembers none has none to look for.
    let profiled = policy.profiles.is_some() || !recalled.profiles.is_empty();
    let held = if profiled { ctx.camera.held().await } else { Held::new() };
    let operator = ctx.camera.operator().to_owned();
    let (quiet_until, guard) = (ctx.quiet.until(now), ctx.config.guard.clone());
    let (key, generation) = (resource.key(), resource.meta().generation);
    let restarts = policy.restart.as_ref().filter(|_| policy.stage == Stage::Restart);
    let rivals = ctx.rivals(&key, restarts.map(|rule| Rival::new(&key, rule, &findings)));
    let names = stand_down::wanted(policy.restart.as_ref(), &guard, &rivals);
    let alerting = alerting(&ctx.prometheus, &names, &findings).await;
    let approvals = Approvals::of(resource.annotations());
    let history =
        History { quiet_until, guard, exceeded, rivals, generation, held, operator, approvals, alerting, ..recalled };
    let history = History { restarts: effects(&findings, &history, now), ..history };
    let (mut plan, history) = with_profiles(ctx, policy, &findings, history, now).await;
    ctx.planned(&plan);
    let profiles = profiles::remembered(&history, &plan, now);
    let outcomes = carry_out(ctx, policy, &plan, now).await;
    plan.alerts = ctx.hands.alerts.noted(&plan.policy, plan.alerts);
    let seen = Seen { policy, findings: &findings, plan: &plan, restarts: &history.restarts, fingerprint, now };
    let autonomy = autonomy::after(before.and_then(|it| it.autonomy.as_ref()), &seen);
    // With nobody to look at, no query was sent; a wrong address is to be seen before the first pod comes.
    let unreachable = if findings.is_empty() { ctx.prometheus.probe().await.err() } else { None };
    Ok(Judged { findings, history, plan, outcomes, profiles, autonomy, unreachable, now })
}

/// Does what the stage allows.
async fn carry_out(ctx: &Context, policy: &Policy, plan: &Plan, now: Timestamp) -> Vec<Outcome> {
    match plan.stage {
        Stage::Alert | Stage::Restart => act::act(&ctx.hands, policy, plan, now).await,
        Stage::DryRun => {
            // What fired under Enforce does not go on firing behind people's back.
            ctx.hands.alerts.end(&plan.policy);
            Vec::new()
        }
    }
}

/// The plan as it is when the evidence is in. First the plan says of whom a profile is wanted; with what came of that it
/// is made again, for a restart may wait for nothing else.
async fn with_profiles(
    ctx: &Context,
    policy: &Policy,
    findings: &[Finding],
    history: History,
    now: Timestamp,
) -> (Plan, History) {
    let first = plan(policy, findings, &history, now);
    let wanted = profiles::wanted(policy, &first, &history, now);
    let Some(rule) = policy.profiles.as_ref().filter(|_| !wanted.is_empty()) else { return (first, history) };
    let taken = ctx.camera.take(rule, &wanted, now).await;
    let held = ctx.camera.held().await;
    let history = History { held, ..history.with(taken) };
    (plan(policy, findings, &history, now), history)
}

async fn see<K: PolicyResource>(
    resource: &K,
    policy: &Policy,
    ctx: &Context,
    now: Timestamp,
) -> Result<Vec<Finding>, ObserveError> {
    let scope = match resource.reach() {
        Reach::Namespace(namespace) => Scope::new([namespace]).ok(),
        Reach::Selected(selector) => scope_of(&ctx.client, selector).await?,
    };
    let Some(scope) = scope else { return Ok(Vec::new()) };
    let eyes = Eyes { prometheus: &ctx.prometheus, config: &ctx.config };
    let mut findings = Vec::new();
    let judge = |it: Vec<Observation>| findings.extend(assess(policy, &it, now));
    observe(&eyes, (&ctx.client, &ctx.owners), policy, &resource.key(), &scope, now, judge).await?;
    Ok(findings)
}

/// Reports what was found and done.
async fn finish<K: PolicyResource>(
    resource: &K,
    policy: &Policy,
    stored: &Stored,
    judged: &Judged,
    ctx: &Context,
) -> Result<(), Error> {
    let Judged { findings, history, plan, outcomes, profiles, autonomy, unreachable, now } = judged;
    let severity = policy.alert.as_ref().map_or("warning", |it| it.severity.as_str());
    ctx.metrics.judged(plan, findings, outcomes, severity);
    ctx.metrics.trusted(&plan.policy, autonomy.as_ref().map(|it| it.stage));
    let sent = ctx.hands.alerts.take_counts();
    ctx.metrics.alerts_sent("accepted", sent.accepted);
    ctx.metrics.alerts_sent("failed", sent.failed);
    for (result, count) in ctx.prometheus.take_counts() {
        ctx.metrics.queried(result, count);
    }
    let restarts_last_day = match &history.budget {
        Some(Budget::Known(ledger)) => ledger.restarts_last_day(&plan.policy, *now),
        Some(Budget::Unreadable(_) | Budget::Skewed { .. }) | None => 0,
    };
    let observed = Observed::Judged {
        findings,
        plan,
        outcomes,
        profiles,
        unreachable: unreachable.as_ref(),
        restarts_last_day,
        restarts: &history.restarts,
        autonomy: autonomy.as_ref(),
        keepalive: &policy.keepalive,
    };
    let (after, _) = write(ctx, resource, stored, &observed).await?;
    if policy.alert.is_some() && plan.stage >= Stage::Alert {
        ctx.hands.alerts.blind(&plan.policy, blind_since(&after, ctx.config.alerts.blind_after, *now));
    }
    debug!(targets = findings.len(), violating = plan.cases.len(), "evaluated");
    report::publish(&ctx.recorder, resource, stored.status.as_ref(), &after, plan, findings, history).await;
    Ok(())
}

/// The status as the API server has it now: the watch's copy may be older than our own last write, and what stands
/// there is our memory. At first sight a status is written at once, so that nobody takes silence for health.
async fn fresh_status<K: PolicyResource>(resource: &K, ctx: &Context) -> Result<Stored, Error> {
    let address = Address::of::<K>(resource.meta());
    let current = report::read_status(&ctx.client, &address).await.map_err(Unwritten::Api)?;
    if current.status.as_ref().is_some_and(|it| !it.conditions.is_empty()) {
        return Ok(current);
    }
    let (status, version) = write(ctx, resource, &current, &Observed::FirstSight).await?;
    Ok(Stored { status: Some(status), version })
}

/// Writes what was observed, and returns the status and the version that it stands in.
async fn write<K: PolicyResource>(
    ctx: &Context,
    resource: &K,
    stored: &Stored,
    observed: &Observed<'_>,
) -> Result<(GrpcClientPolicyStatus, Option<String>), Error> {
    let before = stored.status.as_ref();
    let mut after = status(before, resource.meta().generation, observed, Timestamp::now());
    after.last_handled_reconcile_at = resource.annotations().get(annotations::REQUESTED_AT).cloned();
    let address = Address::of::<K>(resource.meta());
    let version = report::write_status(&ctx.client, &address, stored, &after).await?;
    report::log_transitions(&resource.key(), before, &after);
    if matches!(observed, Observed::Invalid(_)) {
        // Nobody asks the backend for it any more.
        ctx.hands.alerts.blind(&resource.key(), None);
    }
    Ok((after, version))
}

/// A stored object that does not parse stops only itself, and says so.
async fn unreadable<K: PolicyResource>(key: &str, invalid: &InvalidObject, ctx: &Context) -> Result<Action, Error> {
    warn!(error = %invalid.error, "the stored policy cannot be read");
    ctx.hands.alerts.blind(key, None);
    let address = Address::of::<K>(&invalid.metadata);
    let before = report::read_status(&ctx.client, &address).await.map_err(Unwritten::Api)?;
    let observed = Observed::Unreadable(invalid.error.clone());
    let after = status(before.status.as_ref(), invalid.metadata.generation, &observed, Timestamp::now());
    report::publish_unreadable::<K>(&ctx.recorder, invalid).await;
    if let Err(error) = report::write_conditions(&ctx.client, &address, &after).await {
        // Trying again would not help: only a person can mend the object.
        warn!(reason = reason(&error), "the status of the unreadable policy cannot be written");
    }
    Ok(Action::await_change())
}

fn seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}
