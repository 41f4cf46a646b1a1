//! Reading back what was done before, and how the suspects' workloads stand: the operator keeps no state of its own.
//! Reads only. What cannot be read is said so, and allows nothing.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{OptionFuture, join_all, join3};
use jiff::{SignedDuration, Timestamp};
use kube::Client;

use crate::{
    api::{Effect, GrpcClientPolicyStatus, Stage},
    decide::{Budget, Finding, History, Policy, Standing, Verdict, Workload, ledger::Ledger, stand_down::Told},
    io::{
        act::SKEW,
        ledger::{self, Page, Unread},
        prometheus::Prometheus,
        switch::is_on,
        workload::{Guards, guards, standing_among},
    },
};

/// The past of a policy, with the ledger and the workloads of those who are suspected now.
///
/// `namespace` is the operator's own, where the ledger is.
pub async fn recall(
    client: &Client,
    namespace: &str,
    policy: &Policy,
    key: &str,
    status: Option<&GrpcClientPolicyStatus>,
    findings: &[Finding],
) -> History {
    let suspects: BTreeMap<&Workload, &Finding> = findings
        .iter()
        .filter(|it| matches!(it.verdict, Verdict::Growing(_)))
        .filter_map(|it| Some((it.target.workload.as_ref()?, it)))
        .collect();
    let standings = standings(client, &suspects);
    let wanted = policy.restart.is_some() && (!suspects.is_empty() || status.is_some_and(restarted_or_alerted));
    let budget = OptionFuture::from(wanted.then(|| budget(client, namespace, policy.stage)));
    let namespaces: BTreeSet<&str> = suspects.keys().map(|it| it.namespace.as_str()).collect();
    let asked = namespaces.into_iter().filter(|_| policy.restart.is_some());
    let stopped =
        join_all(asked.map(|it| async move { Some((it.to_owned(), is_on(client, namespace, it).await.err()?)) }));
    let (standings, budget, stopped) = join3(standings, budget, stopped).await;
    History {
        stopped: stopped.into_iter().flatten().collect(),
        workloads: standings,
        namespace: namespace.to_owned(),
        budget,
        ..History::from_status(key.to_owned(), status)
    }
}

/// The alerting rules that stop restarts, if there is anybody to restart and a rule to ask for.
pub async fn alerting(prometheus: &Prometheus, names: &BTreeSet<String>, findings: &[Finding]) -> Option<Told> {
    let suspected = findings.iter().any(|it| matches!(it.verdict, Verdict::Growing(_)));
    if names.is_empty() || !suspected {
        return None;
    }
    Some(prometheus.alerting_rules(names).await.map_err(|it| it.to_string()))
}

/// How the suspects' workloads stand. What guards a namespace is listed once, however many they are.
async fn standings(client: &Client, suspects: &BTreeMap<&Workload, &Finding>) -> BTreeMap<Workload, Standing> {
    let namespaces: BTreeSet<&str> = suspects.keys().map(|it| it.namespace.as_str()).collect();
    let guards = namespaces.into_iter().map(|it| async move { (it, guards(client, it).await) });
    let guards: BTreeMap<&str, Result<Guards, String>> = join_all(guards).await.into_iter().collect();
    let standings = suspects.iter().filter_map(|(workload, finding)| {
        let guards = guards.get(workload.namespace.as_str())?;
        let pod = &finding.target.subject.pod;
        Some(async move { ((*workload).clone(), standing_among(client, guards, workload, pod).await) })
    });
    join_all(standings).await.into_iter().collect()
}

/// Restarts are counted in status for a day, even while nobody is suspected.
fn restarted_or_alerted(status: &GrpcClientPolicyStatus) -> bool {
    !status.alerts.is_empty()
        || status.restarts.iter().any(|it| it.effect == Effect::Pending)
        || status.counts.as_ref().is_some_and(|it| it.restarts_last_day > 0)
}

/// The ledger. Who may not restart neither begins it nor needs it: where there is none, nothing was restarted.
async fn budget(client: &Client, own: &str, stage: Stage) -> Budget {
    match (ledger::read(client, own).await, stage) {
        (Ok(page), _) if skew(&page).abs() > SKEW => Budget::Skewed { seconds: skew(&page).as_secs() },
        (Ok(Page { ledger: Some(ledger), .. }), _) => Budget::Known(ledger),
        (Ok(_) | Err(Unread::Missing { .. }), Stage::DryRun | Stage::Alert) => {
            Budget::Known(Ledger::begun(Timestamp::UNIX_EPOCH))
        }
        (Ok(page), Stage::Restart) => Budget::Known(Ledger::begun(page.now)),
        (Err(unread), _) => Budget::Unreadable(unread.to_string()),
    }
}

fn skew(page: &Page) -> SignedDuration {
    Timestamp::now().duration_since(page.now)
}
