//! The condition about the keepalive that a policy declares. What pods declare by annotations is not in it: `check` and
//! `explain` show that.

use super::{conditions::State, shortened};
use crate::{
    api::names::reasons,
    decide::keepalive::{Declaration, Remark, Severity},
};

/// How long the condition's message may get, bytes.
const MAX_MESSAGE: usize = 600;

/// Whether what is declared agrees; `None` while nothing of it can be compared.
pub fn agreed(declared: &Declaration) -> Option<State> {
    let remarks = declared.remarks();
    if declared.client.is_none() && remarks.is_empty() {
        return None;
    }
    let is_error = |it: &&Remark| it.rule.severity() == Severity::Error;
    // Errors come first.
    let Some(worst) = remarks.first() else { return Some(("True", reasons::SUCCEEDED, String::new())) };
    let (errors, warnings) =
        (remarks.iter().filter(is_error).count(), remarks.iter().filter(|it| !is_error(it)).count());
    let message = format!("{}: {}; {}", worst.rule, worst.message, worst.advice);
    let more = match (errors, warnings) {
        (1, 0) | (0, 1) => String::new(),
        _ => format!(" (errors: {errors}, warnings: {warnings})"),
    };
    let message = shortened(&message, MAX_MESSAGE) + &more;
    Some(if errors > 0 {
        ("False", reasons::KEEPALIVE_CONFLICT, message)
    } else {
        ("True", reasons::SUCCEEDED, message)
    })
}
