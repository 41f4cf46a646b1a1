//! The section `limits` of the configuration: what no policy can exceed. Absent fields are strict, not unlimited.

use std::{collections::BTreeSet, time::Duration};

use serde::Deserialize;

use super::{ConfigError, duration, wrong};
use crate::{
    api::{DurationText, Mode, StandDownSpec, WindowSpec},
    decide::{
        Guard, Windows,
        ledger::{Rate, Rates},
        stand_down,
        storm::StormRule,
    },
};

/// More restarts than this in a window are no limit.
const MAX_RESTARTS: u32 = 1_000;
/// What a policy may say.
const MAX_PER_DAY: u32 = 100;
/// The ledger keeps every restart for a day.
const WINDOWS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(86_400));
const DAYS: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(86_400));
const HOURS: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(3_600));
const WEEKS: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(7 * 86_400));

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LimitFields {
    mode: Option<Mode>,
    namespaces: Option<Vec<String>>,
    windows: Option<Vec<WindowSpec>>,
    cooldown: Option<DurationText>,
    max_per_day: Option<u32>,
    namespace: Option<RateFields>,
    cluster: Option<RateFields>,
    at_once_percent: Option<u32>,
    settling: Option<DurationText>,
    back_off: Option<DurationText>,
    storm: Option<StormFields>,
    stand_down: Option<StandDownSpec>,
}

/// A rate as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RateFields {
    restarts: Option<u32>,
    window: Option<DurationText>,
}

/// What counts as a storm, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StormFields {
    workloads: Option<u32>,
    percent: Option<u32>,
    within: Option<DurationText>,
    vanished_percent: Option<u32>,
    calm: Option<DurationText>,
}

impl LimitFields {
    pub(super) fn check(self) -> Result<Guard, ConfigError> {
        let Self { mode, namespaces, windows, cooldown, max_per_day, .. } = &self;
        let default = Guard::default();
        Ok(Guard {
            mode: mode.unwrap_or(default.mode),
            namespaces: namespaces.clone().filter(|all| !all.iter().any(|it| it == "*")),
            windows: Windows::parse(windows.as_deref().filter(|it| !it.is_empty()))
                .map_err(|it| wrong("limits.windows", format!("{}: {}", it.field, it.problem)))?,
            cooldown: duration("limits.cooldown", cooldown.as_ref(), default.cooldown, WEEKS)?,
            max_per_day: most("limits.maxPerDay", *max_per_day, default.max_per_day, MAX_PER_DAY)?,
            stand_down: self.stand_down.as_ref().map_or(Ok(default.stand_down), stand_down)?,
            storm: self.storm.as_ref().map_or(Ok(default.storm), StormFields::check)?,
            rates: self.rates(&default.rates)?,
        })
    }

    fn rates(self, default: &Rates) -> Result<Rates, ConfigError> {
        let Self { namespace, cluster, at_once_percent, settling, back_off, storm, .. } = self;
        let calm = storm.and_then(|it| it.calm);
        Ok(Rates {
            namespace: namespace.unwrap_or_default().check("limits.namespace", default.namespace)?,
            cluster: cluster.unwrap_or_default().check("limits.cluster", default.cluster)?,
            at_once_percent: most("limits.atOncePercent", at_once_percent, default.at_once_percent, 100)?,
            settling: duration("limits.settling", settling.as_ref(), default.settling, HOURS)?,
            back_off: duration("limits.backOff", back_off.as_ref(), default.back_off, DAYS)?,
            calm: duration("limits.storm.calm", calm.as_ref(), default.calm, DAYS)?,
        })
    }
}

/// No alert is none to wait for: the chart's default.
fn stand_down(spec: &StandDownSpec) -> Result<BTreeSet<String>, ConfigError> {
    if spec.alerts.is_empty() {
        return Ok(BTreeSet::new());
    }
    stand_down::parse("limits.standDown.alerts", spec).map_err(|it| wrong(it.field, it.problem))
}

impl RateFields {
    fn check(self, field: &str, default: Rate) -> Result<Rate, ConfigError> {
        let max = most(&format!("{field}.restarts"), self.restarts, default.max, MAX_RESTARTS)?;
        let window = duration(&format!("{field}.window"), self.window.as_ref(), default.window, WINDOWS)?;
        Ok(Rate { max, window })
    }
}

impl StormFields {
    fn check(&self) -> Result<StormRule, ConfigError> {
        let default = StormRule::default();
        Ok(StormRule {
            workloads: most("limits.storm.workloads", self.workloads, default.workloads, u32::MAX)?,
            percent: most("limits.storm.percent", self.percent, default.percent, 100)?,
            within: duration("limits.storm.within", self.within.as_ref(), default.within, DAYS)?,
            vanished_percent: most(
                "limits.storm.vanishedPercent",
                self.vanished_percent,
                default.vanished_percent,
                100,
            )?,
        })
    }
}

fn most(field: &str, value: Option<u32>, default: u32, most: u32) -> Result<u32, ConfigError> {
    let value = value.unwrap_or(default);
    if value > most && value != default {
        return Err(wrong(field, format!("{value} is out of bounds: write 0 to {most}")));
    }
    Ok(value)
}
