//! `grpc-hygiene approve`: lists the restarts that wait for a person, and says yes to one. The operator reads it from the
//! policy, and only there.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use comfy_table::{Table, presets::NOTHING};
use jiff::{SignedDuration, Timestamp};
use kube::Client;

use super::rows::rows;
use crate::{
    api::{ApprovalState, ApprovalStatus, Offender, parse_duration},
    args::ApproveArgs,
    decide::approval::LONGEST,
    io::approvals::{Found, find, write},
};

/// Nothing waits.
const NOTHING_WAITS: u8 = 0;
/// Something does.
const SOMETHING_WAITS: u8 = 1;
/// A shorter approval would be over before an evaluation sees it.
const SHORTEST: Duration = Duration::from_secs(60);

/// Lists what waits, or approves it.
///
/// # Errors
/// No cluster is configured, there is no such policy, nothing of that name waits, or the API refuses.
pub async fn approve(args: &ApproveArgs) -> anyhow::Result<ExitCode> {
    let ApproveArgs { policy, what, duration, revoke } = args;
    let span = span(duration)?;
    let client = Client::try_default().await.context("no Kubernetes cluster is configured")?;
    let found = find(&client, policy).await.context("the policy cannot be read")?;
    let Some(found) = found else { bail!("there is no policy {policy}") };
    let Some(what) = what else {
        print!("{}", list(policy, &found.asking));
        let waits = found.asking.iter().any(|(_, it)| it.state == ApprovalState::Waiting);
        return Ok(ExitCode::from(if waits { SOMETHING_WAITS } else { NOTHING_WAITS }));
    };
    let now = Timestamp::now();
    let mut changes: BTreeMap<String, Option<Timestamp>> =
        found.approvals.expired(now).into_iter().map(|it| (it.to_owned(), None)).collect();
    let said = if *revoke {
        let digest = revoked(&found, what)?;
        changes.insert(digest.clone(), None);
        format!("{digest} is not approved any more\n")
    } else {
        let (offender, approval) = chosen(&found.asking, what)?;
        let until = now.saturating_add(span)?;
        changes.insert(approval.digest.clone(), Some(until));
        print!("{}", evidence(offender, approval));
        said(approval, now, until)
    };
    write(&client, policy, &found, &changes).await.context("the policy cannot be changed")?;
    print!("{said}");
    Ok(ExitCode::SUCCESS)
}

fn span(text: &str) -> anyhow::Result<SignedDuration> {
    let parsed = parse_duration(text).with_context(|| format!("--for {text}"))?;
    let span = SignedDuration::try_from(parsed)?;
    if parsed < SHORTEST || span > LONGEST {
        bail!("--for {text} is out of bounds: give 1m to 24h");
    }
    Ok(span)
}

/// The one that is meant by a digest, or by a workload, `NAME` or `KIND/NAME`.
fn chosen<'a>(asking: &'a [(Offender, ApprovalStatus)], what: &str) -> anyhow::Result<&'a (Offender, ApprovalStatus)> {
    let is_meant = |(offender, approval): &&(Offender, ApprovalStatus)| {
        let workload = offender.workload.as_ref();
        approval.digest == what
            || workload.is_some_and(|it| it.name == what || format!("{}/{}", it.kind, it.name) == what)
    };
    let meant: Vec<_> = asking.iter().filter(is_meant).collect();
    match meant.as_slice() {
        [one] => Ok(one),
        [] => bail!("no restart of {what} waits for an approval; leave it out to list what waits"),
        several => {
            let digests: Vec<&str> = several.iter().map(|(_, it)| it.digest.as_str()).collect();
            bail!("{what} is more than one: name a digest, {}", digests.join(" or "))
        }
    }
}

/// The digest whose approval is taken back: also one that nothing waits for any more.
fn revoked(found: &Found, what: &str) -> anyhow::Result<String> {
    if found.approvals.digests().any(|it| it == what) {
        return Ok(what.to_owned());
    }
    let (_, approval) = chosen(&found.asking, what)?;
    if !found.approvals.digests().any(|it| it == approval.digest) {
        bail!("{what} has no approval");
    }
    Ok(approval.digest.clone())
}

fn said(approval: &ApprovalStatus, now: Timestamp, until: Timestamp) -> String {
    let mut said = format!("approved until {until:.0}\n");
    if approval.too_late_after.as_ref().is_some_and(|it| it.0 < now) {
        said += "by the forecast it comes too late: memory may run out before the restart\n";
    }
    said
}

fn list(policy: &str, asking: &[(Offender, ApprovalStatus)]) -> String {
    if asking.is_empty() {
        return format!("no restart of policy {policy} waits for an approval\n");
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["DIGEST", "STATE", "WORKLOAD", "DIAGNOSIS", "REVISION", "TOO LATE AFTER"]);
    for (offender, approval) in asking {
        let state = match (approval.state, &approval.until) {
            (ApprovalState::Approved, Some(until)) => format!("Approved until {:.0}", until.0),
            (state, _) => format!("{state:?}"),
        };
        table.add_row([
            approval.digest.clone(),
            state,
            workload(offender),
            offender.diagnosis.clone(),
            approval.revision.clone().unwrap_or_else(|| "-".to_owned()),
            approval.too_late_after.as_ref().map_or_else(|| "-".to_owned(), |it| format!("{:.0}", it.0)),
        ]);
    }
    rows(&table)
        + &asking.iter().map(|(offender, approval)| "\n".to_owned() + &evidence(offender, approval)).collect::<String>()
}

fn workload(offender: &Offender) -> String {
    let pod = || format!("{}/Pod/{}", offender.namespace, offender.pod);
    offender.workload.as_ref().map_or_else(pod, |it| format!("{}/{}/{}", offender.namespace, it.kind, it.name))
}

/// What a person is to know before the yes; sentences stand below a table, for they are longer than a column.
fn evidence(offender: &Offender, approval: &ApprovalStatus) -> String {
    let Offender { pod, container, diagnosis, confidence, since, message, figures, .. } = offender;
    let mut text = format!("{}  {}\n", approval.digest, workload(offender));
    text += &format!("  {diagnosis}, {confidence} % sure, since {:.0}: {message}\n", since.0);
    text += &format!("  for example {pod}, container {container}");
    if let Some(soonest) = &figures.time_to_limit_soonest {
        text += &format!("; memory reaches its limit in {soonest} at the soonest");
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asking(digest: &str, name: &str) -> (Offender, ApprovalStatus) {
        let offender = json!({
            "namespace": "shop", "pod": format!("{name}-7d-1"), "uid": "u1", "container": "app",
            "workload": {"kind": "Deployment", "name": name}, "diagnosis": "DialPerCall", "confidence": 99.9,
            "since": "2027-01-15T08:00:00Z", "message": "3 of 10 calls dial", "figures": {"timeToLimitSoonest": "3h"}});
        let approval =
            json!({"digest": digest, "state": "Waiting", "revision": "7d", "tooLateAfter": "2027-01-15T12:00:00Z"});
        let offender = serde_json::from_value(offender).expect("an offender");
        (offender, serde_json::from_value(approval).expect("an approval"))
    }

    #[test]
    fn what_is_approved_is_named_by_its_digest_or_its_workload_and_never_guessed() {
        let all = [asking("3fa1c0de12", "orders"), asking("00c0ffee00", "users"), asking("1234567890", "users")];
        let digest = |what| chosen(&all, what).map(|(_, it)| it.digest.as_str()).map_err(|it| it.to_string());
        assert_eq!(digest("orders"), Ok("3fa1c0de12"));
        assert_eq!(digest("Deployment/orders"), Ok("3fa1c0de12"));
        assert_eq!(digest("1234567890"), Ok("1234567890"));
        assert_eq!(digest("users"), Err("users is more than one: name a digest, 00c0ffee00 or 1234567890".into()));
        assert!(digest("StatefulSet/orders").is_err() && digest("").is_err());
    }

    #[test]
    fn the_list_says_what_waits_on_what_evidence_and_until_when() {
        let text = list("shop/clients", &[asking("3fa1c0de12", "orders")]);
        for part in
            ["3fa1c0de12", "Waiting", "shop/Deployment/orders", "7d", "2027-01-15T12:00:00Z", "3 of 10 calls dial"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(list("shop/clients", &[]), "no restart of policy shop/clients waits for an approval\n");
    }

    #[test]
    fn an_approval_stands_for_a_minute_to_a_day() {
        assert_eq!(span("24h").ok(), Some(LONGEST));
        for text in ["59s", "25h", "0s", "soon"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
