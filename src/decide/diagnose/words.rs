//! The sentences of evidence, for people. Nothing is decided here.

use std::time::Duration;

use crate::{
    api::print_duration,
    decide::{Evidence, assess::Rise},
};

const HOUR: f64 = 3_600.0;
const KIB: f64 = 1_024.0;
const MIB: f64 = 1_048_576.0;
/// Resident memory of one leaked connection, KiB.
const MEASURED: std::ops::RangeInclusive<f64> = 49.0..=95.0;

pub fn seconds(seconds: f64) -> String {
    print_duration(Duration::try_from_secs_f64(seconds.round()).unwrap_or_default())
}

pub fn within(span: f64) -> String {
    format!("in {}", seconds(span))
}

/// How open connections rose.
fn rose(leak: &Rise) -> String {
    format!(
        "open connections rose from {:.0} to {:.0} {} ({:.0} per hour)",
        leak.start.max(0.0),
        leak.now,
        within(leak.span),
        leak.trend.slope.per_second * HOUR
    )
}

pub fn dials_per_call(leak: &Rise, evidence: &Evidence) -> String {
    let opened = evidence.opened.unwrap_or(leak.growth);
    let calls = evidence.calls.unwrap_or_default();
    let each = evidence.calls_per_connection.unwrap_or_default();
    format!("{}, {}{}", rose(leak), ratio(opened, calls, each), memory(evidence))
}

pub fn leaks(leak: &Rise, evidence: &Evidence) -> String {
    let per_call = leak.per_call.map(|it| format!(", {:.2} more for every 1,000 calls", it * 1_000.0));
    format!("{}{}{}", rose(leak), per_call.unwrap_or_default(), memory(evidence))
}

/// Memory per connection, next to what was measured for grpc-go 1.45 to 1.85 with and without TLS: resident memory of
/// the client, which is what the kubelet sees.
fn balance(bytes: f64) -> String {
    let each = bytes / KIB;
    let fits = if MEASURED.contains(&each) { "as" } else { "where" };
    format!(
        ", {each:.0} KiB for each connection ({fits} grpc-go takes {:.0} to {:.0})",
        MEASURED.start(),
        MEASURED.end()
    )
}

/// Memory rises, and what connections the client made does not explain it.
pub fn elsewhere(sockets_rise: bool, evidence: &Evidence) -> String {
    let what = if sockets_rise { "open sockets rise, but may be its clients'" } else { "connections do not rise" };
    format!("{what}{}", memory(evidence))
}

pub fn ratio(opened: f64, calls: f64, each: f64) -> String {
    format!("{opened:.0} connections opened for {calls:.0} calls: one per {each:.1} calls")
}

pub fn unreachable(failed: f64, opened: f64, span: f64) -> String {
    format!("{failed:.0} connection attempts failed and {opened:.0} succeeded {}", within(span))
}

pub fn churns(opened: f64, calls: f64, each: f64, span: f64) -> String {
    format!("connections are opened and closed again: {} {}", ratio(opened, calls, each), within(span))
}

/// How memory rises, if it does, and when it runs out.
pub fn memory(evidence: &Evidence) -> String {
    let Some(trend) = &evidence.memory_trend else { return standing(evidence).unwrap_or_default() };
    let balance = evidence.bytes_per_connection.map(balance).unwrap_or_default();
    let rate = format!("; memory rises by {:.1} MiB per hour{balance}", trend.slope.per_second * HOUR / MIB);
    let limit = match (&evidence.forecast, evidence.memory_limit) {
        (Some(forecast), _) => format!(" and reaches its limit in {}", seconds(forecast.expected)),
        (None, None) => " and has no limit".to_owned(),
        (None, Some(_)) => String::new(),
    };
    rate + &limit
}

/// Memory stands still, and connections will fill it all the same.
fn standing(evidence: &Evidence) -> Option<String> {
    let (forecast, each) = (evidence.forecast.as_ref()?, evidence.memory? / evidence.open_connections? / KIB);
    Some(format!(
        "; memory stands still for now, but with {each:.0} KiB for each connection it reaches its limit in {}",
        seconds(forecast.expected)
    ))
}
