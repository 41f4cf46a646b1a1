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
    let namespaces: BTreeSet<&str> = suspects.keys().map(|it| it.namespace.as_str()).collect();
    let wanted = if policy.restart.is_some() { namespaces } else { BTreeSet::new() };
    let ledgers = join_all(
        wanted.into_iter().map(|of| async move { (of.to_owned(), ledger::read(client, namespace, of).await.0) }),
    );
    let (standings, ledgers) = join(standings, ledgers).await;
    History {
        workloads: standings.into_iter().collect::<BTreeMap<Workload, Standing>>(),
        ledgers: ledgers.into_iter().collect::<BTreeMap<String, Budget>>(),
        ..History::from_status(key.to_owned(), status)
    }
}
