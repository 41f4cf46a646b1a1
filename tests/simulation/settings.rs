//! What differs from run to run: what happens in it, limits and times, and what is broken on purpose to show that it is
//! noticed.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{dice::Dice, world::Millis};

/// Everything that a run follows from.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Script {
    pub seed: u64,
    pub broken: Broken,
    pub scene: Scene,
    /// Print every request.
    pub verbose: bool,
}

/// What happens in a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Scene {
    /// Everything goes wrong, as the dice want it.
    #[default]
    Trouble,
    /// Nothing goes wrong, and whoever is restarted is cured. The run comes to rest.
    Peace,
    /// The same, but one thing happens to a process at the write of this number, counted from 0: whichever process makes
    /// it, of all writes but those of the lease.
    Hurt { write: u64, how: Hurt },
    /// As peace, with the wall clocks of both processes ahead by so many milliseconds.
    Clocks { ahead: i64 },
    /// As peace, but for one thing that is so of the workload `orders`.
    But(Condition),
    /// So many of 20 workloads begin to offend at once.
    Offenders { count: usize },
    /// As peace, but nobody can write the ledger.
    NoLedger,
    /// As peace, but a receiver of alerts never answers.
    SlowReceiver,
}

impl Scene {
    /// Whether the run is to end at rest: everybody cured, all marks gone.
    pub fn rests(&self) -> bool {
        matches!(self, Self::Peace | Self::Hurt { .. } | Self::SlowReceiver)
    }
}

/// What happens to a process at a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hurt {
    /// It is killed when the request is about to be sent.
    KilledBefore,
    /// It is killed when the request was sent. It arrives.
    KilledAfter,
    /// It is killed when the answer comes.
    KilledAtAnswer,
    /// It stands still for a minute when the request is about to be sent.
    StoppedBefore,
    /// It stands still for a minute when the request was sent. The answer waits.
    StoppedAfter,
    /// The answer never comes.
    AnswerLost,
}

impl Hurt {
    pub const ALL: [Self; 6] = [
        Self::KilledBefore,
        Self::KilledAfter,
        Self::KilledAtAnswer,
        Self::StoppedBefore,
        Self::StoppedAfter,
        Self::AnswerLost,
    ];
}

/// What is enough for nobody to be restarted. Of the workload `orders`, or of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    NotAllReady,
    NotAllAvailable,
    OnlyReplica,
    RollingOut,
    Unobserved,
    BudgetOfNothing,
    BudgetUnobserved,
    TwoBudgets,
    ScaledToMaximum,
    ScaledJustNow,
    Exempt,
    NamespaceOff,
    SwitchOff,
    Suspended,
}

impl Condition {
    pub const ALL: [Self; 14] = [
        Self::NotAllReady,
        Self::NotAllAvailable,
        Self::OnlyReplica,
        Self::RollingOut,
        Self::Unobserved,
        Self::BudgetOfNothing,
        Self::BudgetUnobserved,
        Self::TwoBudgets,
        Self::ScaledToMaximum,
        Self::ScaledJustNow,
        Self::Exempt,
        Self::NamespaceOff,
        Self::SwitchOff,
        Self::Suspended,
    ];
}

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Broken {
    #[default]
    Nothing,
    /// The operator believes in limits that are far too high.
    Limits,
    /// The operator does not keep quiet after its start.
    Quiet,
    /// The API server ignores what requests demand of an object.
    Preconditions,
    /// Nothing asks right before a request whether its sender leads.
    Gate,
    /// The same, of what it reports alone.
    Reports,
    /// Answers of the metrics backend that cannot be trusted do not show it.
    Evidence,
    /// The API server takes any version of the ledger for the newest.
    Swap,
}

impl Broken {
    pub fn ignores_preconditions(self) -> bool {
        self == Self::Preconditions
    }
}

/// So many restarts in so many seconds.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub max: usize,
    pub window: u64,
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub broken: Broken,
    pub scene: Scene,
    /// When trouble ends, and when the run does. Milliseconds.
    pub calm: Millis,
    pub end: Millis,
    /// How long it takes until something happens to a process again: from, to. Milliseconds.
    pub pauses: [Millis; 2],
    /// Seconds.
    pub quiet: u64,
    pub cooldown: u64,
    pub namespace: Rate,
    pub cluster: Rate,
    /// So many workloads that begin to offend within so many seconds are a storm.
    pub storm: u64,
    pub storm_within: u64,
    pub rollouts: bool,
    /// The mode of the second namespace's policy, if it only says what it would do: `Auto` has earned nothing in a run of
    /// minutes.
    pub dry_run: Option<&'static str>,
    pub new_ledger: bool,
    /// Milliseconds.
    pub watch_lag: u64,
    /// How far the clocks of the API servers are ahead, milliseconds.
    pub dates: [i64; 2],
    /// Print every request.
    pub verbose: bool,
}

impl Settings {
    pub fn of(script: &Script) -> Self {
        if script.scene != Scene::Trouble {
            return Self::peaceful(script);
        }
        let Script { seed, broken, verbose, .. } = *script;
        let mut dice = Dice::new(seed.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ 0x1405_7b7e);
        let namespace = Rate { max: dice.pick(&[1, 2, 3]), window: dice.pick(&[60, 120, 240]) };
        Self {
            broken,
            scene: Scene::Trouble,
            calm: 320_000,
            end: 420_000,
            pauses: dice.pick(&[[2_000, 60_000], [10_000, 120_000], [60_000, 240_000]]),
            quiet: dice.pick(&[10, 20, 40]),
            cooldown: dice.pick(&[60, 90]),
            namespace,
            cluster: Rate { max: dice.pick(&[1, 2, 4]), window: dice.pick(&[60, 120, 240]) },
            storm: dice.pick(&[2, 3, 5]),
            storm_within: 60,
            rollouts: dice.happens(150),
            dry_run: dice.happens(300).then_some(if seed % 2 == 0 { "DryRun" } else { "Auto" }),
            new_ledger: dice.happens(150),
            watch_lag: dice.pick(&[5, 500, 5_000, 20_000]),
            dates: dice.pick(&[[0, 0], [0, 900], [-1_900, 1_900]]),
            verbose,
        }
    }

    /// Wide limits, but for the cooldown: a workload is done when all its pods were replaced, one after the other.
    fn peaceful(script: &Script) -> Self {
        let wide = Rate { max: 100, window: 60 };
        let sweeps = matches!(script.scene, Scene::Offenders { .. });
        Self {
            broken: script.broken,
            scene: script.scene.clone(),
            calm: 0,
            end: if script.scene.rests() { 600_000 } else { 150_000 },
            pauses: [0, 0],
            quiet: 10,
            cooldown: 60,
            namespace: wide,
            cluster: wide,
            storm: if sweeps { 3 } else { 50 },
            storm_within: 600,
            rollouts: false,
            dry_run: None,
            new_ledger: false,
            watch_lag: 20,
            dates: [0, 0],
            verbose: script.verbose,
        }
    }

    /// The operator's configuration.
    pub fn config(&self) -> String {
        let strict = self.broken != Broken::Limits;
        let most = |rate: Rate| if strict { rate.max } else { 100 };
        let quiet = if self.broken == Broken::Quiet { 0 } else { self.quiet };
        let Self { namespace, cluster, .. } = self;
        format!(
            "{{prometheus: {{url: 'http://metrics'}}, quietPeriod: {quiet}s, \
             alertmanagers: [{{url: 'http://alerts:9093'}}, {{url: 'http://pages:9093'}}], \
             limits: {{namespace: {{restarts: {}, window: {}s}}, cluster: {{restarts: {}, window: {}s}}, atOncePercent: 100, \
             settling: 10s, backOff: 0s, cooldown: 1m, maxPerDay: 100, storm: {{workloads: {}, within: {}s, calm: 60s}}}}}}",
            most(*namespace),
            namespace.window,
            most(*cluster),
            cluster.window,
            self.storm,
            self.storm_within,
        )
    }

    /// The policy of a namespace.
    pub fn policy(&self, namespace: &str) -> Value {
        let mode = self.dry_run.filter(|_| namespace == "bank").unwrap_or("Enforce");
        let method = if self.rollouts { "Rollout" } else { "Auto" };
        let cooldown = format!("{}s", self.cooldown);
        json!({
            "allPods": true, "mode": mode, "interval": "15s", "window": "10m", "warmUp": "30s",
            "remediation": {"annotate": {}, "alert": {"after": "0s"},
                "restart": {"after": "0s", "cooldown": cooldown, "maxPerDay": 100, "method": method}},
        })
    }
}
