//! Reading back what was done before, and how the suspects' workloads stand: the operator keeps no state of its own.
//! Reads only. What cannot be read is said so, and allows nothing.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join, join_all};
use kube::Client;

use crate::{
    api::GrpcClientPolicyStatus,
    decide::{Budget, Finding, History, Policy, Standing, Verdict, Workload},
    io::{ledger, workload},
};

/// The past of a policy, with the ledgers and workloads of those who are suspected now.
///
/// `namespace` is the operator's own, where the ledgers are.
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
    let standings = join_all(suspects.iter().map(|(workload, finding)| async move {
        ((*workload).clone(), workload::standing(client, workload, &finding.target.subject.pod).await)
    }));
    let wanted =
        if policy.restart.is_some() { ledgers_of(key, status, suspects.keys().copied()) } else { BTreeSet::new() };
    let ledgers = join_all(wanted.into_iter().map(|of| async move {
        let budget = ledger::read(client, namespace, &of).await.0;
        (of, budget)
    }));
    let (standings, ledgers) = join(standings, ledgers).await;
    History {
        workloads: standings.into_iter().collect::<BTreeMap<Workload, Standing>>(),
        ledgers: ledgers.into_iter().collect::<BTreeMap<String, Budget>>(),
        ..History::from_status(key.to_owned(), status)
    }
}

/// The namespaces whose ledgers are read: those of suspects and of alerts, and a namespaced policy's own, whose
/// restarts are counted in its status even while nobody is suspected.
fn ledgers_of<'a>(
    key: &str,
    status: Option<&GrpcClientPolicyStatus>,
    suspects: impl Iterator<Item = &'a Workload>,
) -> BTreeSet<String> {
    let own = key.split_once('/').map(|(namespace, _)| namespace.to_owned());
    let alerted = status.iter().flat_map(|it| &it.alerts).map(|it| it.namespace.clone());
    suspects.map(|it| it.namespace.clone()).chain(alerted).chain(own).collect()
}
