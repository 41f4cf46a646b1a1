//! The section `alerts` of the configuration: when many alerts become one, and what the operator says about itself.

use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, duration, wrong};
use crate::{api::DurationText, decide::collapse::CollapseRule};

/// More at once than this is no limit.
const MAX_COUNT: u32 = 10_000;
const WITHIN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3_600));
const CALM: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(7 * 86_400));
const BLIND_AFTER: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(86_400));

/// What is said to the receivers besides the policies' alerts, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertRules {
    /// When many alerts become one.
    pub collapse: CollapseRule,
    /// A metrics backend that has not answered for so long is an alert of its own.
    pub blind_after: Duration,
    /// Whether an alert always fires, so that its absence can be noticed.
    pub watchdog: bool,
}

impl Default for AlertRules {
    fn default() -> Self {
        Self { collapse: CollapseRule::default(), blind_after: Duration::from_secs(300), watchdog: false }
    }
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AlertFields {
    collapse: Option<CollapseFields>,
    blind_after: Option<DurationText>,
    watchdog: Option<bool>,
}

/// When many alerts become one, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CollapseFields {
    count: Option<u32>,
    within: Option<DurationText>,
    calm: Option<DurationText>,
}

impl AlertFields {
    pub(super) fn check(self) -> Result<AlertRules, ConfigError> {
        let Self { collapse, blind_after, watchdog } = self;
        let default = AlertRules::default();
        Ok(AlertRules {
            collapse: collapse.unwrap_or_default().check()?,
            blind_after: duration("alerts.blindAfter", blind_after.as_ref(), default.blind_after, BLIND_AFTER)?,
            watchdog: watchdog.unwrap_or(default.watchdog),
        })
    }
}

impl CollapseFields {
    fn check(self) -> Result<CollapseRule, ConfigError> {
        let Self { count, within, calm } = self;
        let default = CollapseRule::default();
        let count = count.unwrap_or(default.count);
        if count == 1 || count > MAX_COUNT {
            let problem = format!("{count} is out of bounds: write 2 to {MAX_COUNT}, or 0 for never");
            return Err(wrong("alerts.collapse.count", problem));
        }
        Ok(CollapseRule {
            count,
            within: duration("alerts.collapse.within", within.as_ref(), default.within, WITHIN)?,
            calm: duration("alerts.collapse.calm", calm.as_ref(), default.calm, CALM)?,
        })
    }
}
