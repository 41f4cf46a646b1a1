//! The alert that stands for many that began together: its labels never change while it fires, and its annotations say
//! what is behind it and how to see all of it.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::Timestamp;

use super::{
    alertmanager::{Alert, Letterhead, span},
    board::Posters,
};
use crate::{
    api::{AlertRecord, CollapsedAlert},
    decide::{Diagnosis, collapse::rank},
};

/// So many are named.
const NAMED: usize = 5;

impl Letterhead {
    /// The summary that fires, and those that are over.
    pub(super) fn summaries(&self, posters: &Posters, now: Timestamp) -> Vec<Alert> {
        let firing = posters
            .summary
            .iter()
            .map(|(it, members)| Alert { annotations: self.of_many(members), ..self.blank(it, None, now) });
        let over = posters.over.iter().map(|(it, ended)| Alert {
            annotations: BTreeMap::from([(
                "summary",
                "Not so many gRPC clients break their policies any more".to_owned(),
            )]),
            ..self.blank(it, Some(*ended), now)
        });
        firing.chain(over).collect()
    }

    fn blank(&self, summary: &CollapsedAlert, ended: Option<Timestamp>, now: Timestamp) -> Alert {
        let (starts_at, ends_at) = span(summary.since.0, ended, now);
        Alert {
            labels: self.labels("GrpcClientHygieneMany", &summary.severity),
            annotations: BTreeMap::new(),
            starts_at,
            ends_at,
        }
    }

    fn of_many(&self, members: &[(String, AlertRecord)]) -> BTreeMap<&'static str, String> {
        let counted = |of: fn(&AlertRecord) -> &String| {
            let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
            members.iter().for_each(|(_, it)| *counts.entry(of(it)).or_default() += 1);
            let mut counts: Vec<(&String, usize)> = counts.into_iter().collect();
            counts.sort_by_key(|(_, count)| Reverse(*count));
            counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
        };
        BTreeMap::from([
            ("summary", format!("{} gRPC clients began to break their policies at about the same time", members.len())),
            (
                "description",
                "One cause may be behind all of them: a release, a server that is gone, or what measures them. They are \
                 told one by one when fewer are left, or when it has been calm. To see all of them: \
                 kubectl get gcpol,cgcpol -A -o wide, and status.alerts of each."
                    .to_owned(),
            ),
            ("diagnoses", counted(|it| &it.diagnosis)),
            ("namespaces", counted(|it| &it.namespace)),
            ("worst", worst(members)),
            ("runbook_url", format!("{}/operator.md#grpcclienthygienemany", self.runbook_url)),
        ])
    }
}

/// The severest first; of these, those that take memory.
fn worst(members: &[(String, AlertRecord)]) -> String {
    let leaks = |it: &AlertRecord| {
        Diagnosis::ALL.into_iter().find(|of| of.name() == it.diagnosis).is_some_and(Diagnosis::restart_helps)
    };
    let mut all: Vec<&AlertRecord> = members.iter().map(|(_, it)| it).collect();
    all.sort_by_key(|it| (Reverse(rank(&it.severity)), !leaks(it), it.starts_at.0, &it.namespace, &it.workload));
    let named = all.into_iter().take(NAMED).map(|it| {
        let AlertRecord { namespace, workload, container, diagnosis, .. } = it;
        format!("{} {namespace}/{} ({container}): {diagnosis}", workload.kind, workload.name)
    });
    named.collect::<Vec<_>>().join("; ")
}
