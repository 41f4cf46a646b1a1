//! The section `alerts` of the configuration: when many alerts become one.

use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, duration, wrong};
use crate::{api::DurationText, decide::collapse::CollapseRule};

/// More at once than this is no limit.
const MAX_COUNT: u32 = 10_000;
const WITHIN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3_600));
const CALM: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(7 * 86_400));

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AlertFields {
    collapse: Option<CollapseFields>,
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
    pub(super) fn check(self) -> Result<CollapseRule, ConfigError> {
        let CollapseFields { count, within, calm } = self.collapse.unwrap_or_default();
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
