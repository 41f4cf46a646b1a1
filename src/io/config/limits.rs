//! The section `limits` of the configuration: what no policy can exceed. Absent fields are strict, not unlimited.

use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, duration, wrong};
use crate::{
    api::DurationText,
    decide::ledger::{Rate, Rates},
};

/// More restarts than this in a window are no limit.
const MAX_RESTARTS: u32 = 1_000;
/// The ledger keeps every restart for a day.
const WINDOWS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(86_400));
const BACK_OFFS: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(86_400));
const SETTLINGS: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(3_600));

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LimitFields {
    namespace: Option<RateFields>,
    cluster: Option<RateFields>,
    at_once_percent: Option<u32>,
    settling: Option<DurationText>,
    back_off: Option<DurationText>,
}

/// A rate as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RateFields {
    restarts: Option<u32>,
    window: Option<DurationText>,
}

impl LimitFields {
    pub(super) fn check(self) -> Result<Rates, ConfigError> {
        let Self { namespace, cluster, at_once_percent, settling, back_off } = self;
        let default = Rates::default();
        let at_once_percent = at_once_percent.unwrap_or(default.at_once_percent);
        if at_once_percent > 100 {
            return Err(wrong("limits.atOncePercent", format!("{at_once_percent} is out of bounds: write 0 to 100")));
        }
        Ok(Rates {
            namespace: namespace.unwrap_or_default().check("limits.namespace", default.namespace)?,
            cluster: cluster.unwrap_or_default().check("limits.cluster", default.cluster)?,
            at_once_percent,
            settling: duration("limits.settling", settling.as_ref(), default.settling, SETTLINGS)?,
            back_off: duration("limits.backOff", back_off.as_ref(), default.back_off, BACK_OFFS)?,
        })
    }
}

impl RateFields {
    fn check(self, field: &str, default: Rate) -> Result<Rate, ConfigError> {
        let max = self.restarts.unwrap_or(default.max);
        if max > MAX_RESTARTS {
            let problem = format!("{max} is out of bounds: write 0 (nothing is restarted) to {MAX_RESTARTS}");
            return Err(wrong(&format!("{field}.restarts"), problem));
        }
        let window = duration(&format!("{field}.window"), self.window.as_ref(), default.window, WINDOWS)?;
        Ok(Rate { max, window })
    }
}
