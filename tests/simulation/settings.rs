//! What differs from run to run: limits and times, and what is broken on purpose to show that it is noticed.

use serde_json::{Value, json};

use crate::dice::Dice;

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Seconds.
    pub quiet: u64,
    pub cooldown: u64,
    pub namespace: Rate,
    pub cluster: Rate,
    /// So many workloads that begin to offend within a minute are a storm.
    pub storm: u64,
    pub rollouts: bool,
    /// The policy of the second namespace only says what it would do.
    pub dry_run: bool,
    pub new_ledger: bool,
    /// Milliseconds.
    pub watch_lag: u64,
    /// How far the clocks of the API servers are ahead, milliseconds.
    pub dates: [i64; 2],
    /// Print every request.
    pub verbose: bool,
}

impl Settings {
    pub fn of(seed: u64, broken: Broken) -> Self {
        let mut dice = Dice::new(seed.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ 0x1405_7b7e);
        let namespace = Rate { max: dice.pick(&[1, 2, 3]), window: dice.pick(&[60, 120, 240]) };
        Self {
            broken,
            quiet: dice.pick(&[10, 20, 40]),
            cooldown: dice.pick(&[60, 90]),
            namespace,
            cluster: Rate { max: dice.pick(&[1, 2, 4]), window: dice.pick(&[60, 120, 240]) },
            storm: dice.pick(&[2, 3]),
            rollouts: dice.happens(150),
            dry_run: dice.happens(300),
            new_ledger: dice.happens(150),
            watch_lag: dice.pick(&[5, 500, 5_000, 20_000]),
            dates: dice.pick(&[[0, 0], [0, 900], [-1_900, 1_900]]),
            verbose: std::env::var("SIMULATION_TRACE").is_ok(),
        }
    }

    /// The operator's configuration.
    pub fn config(&self) -> String {
        let strict = self.broken != Broken::Limits;
        let most = |rate: Rate| if strict { rate.max } else { 100 };
        let quiet = if self.broken == Broken::Quiet { 0 } else { self.quiet };
        let Self { namespace, cluster, .. } = self;
        format!(
            "{{prometheus: {{url: 'http://metrics'}}, alertmanagers: [{{url: 'http://alerts:9093'}}], quietPeriod: {quiet}s, \
             limits: {{namespace: {{restarts: {}, window: {}s}}, cluster: {{restarts: {}, window: {}s}}, atOncePercent: 100, \
             settling: 10s, backOff: 0s, cooldown: 1m, maxPerDay: 100, storm: {{workloads: {}, within: 60s, calm: 60s}}}}}}",
            most(*namespace),
            namespace.window,
            most(*cluster),
            cluster.window,
            self.storm,
        )
    }

    /// The policy of a namespace.
    pub fn policy(&self, namespace: &str) -> Value {
        let mode = if self.dry_run && namespace == "bank" { "DryRun" } else { "Enforce" };
        let method = if self.rollouts { "Rollout" } else { "Auto" };
        let cooldown = format!("{}s", self.cooldown);
        json!({
            "allPods": true, "mode": mode, "interval": "15s", "window": "10m", "warmUp": "30s",
            "remediation": {"annotate": {}, "alert": {"after": "0s"},
                "restart": {"after": "0s", "cooldown": cooldown, "maxPerDay": 100, "method": method}},
        })
    }
}
