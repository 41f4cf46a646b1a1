//! Approvals as a person gives them: what waits by a policy's status, and the annotation that says yes. It is done with
//! the person's own rights; the operator itself only reads them, in [`super::switch`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{
    Client, Error, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::switch::policies;
use crate::{
    api::{ApprovalStatus, GrpcClientPolicyStatus, Offender, names::annotations::APPROVED},
    decide::approval::Approvals,
};

/// The field manager of what people write with `grpc-hygiene approve`.
const MANAGER: &str = "grpc-hygiene-approve";

/// What is found on a policy.
#[derive(Clone, Debug, Default)]
pub struct Found {
    uid: String,
    /// The approvals that stand on it.
    pub approvals: Approvals,
    /// The offenders whose restart needs one, one for each digest.
    pub asking: Vec<(Offender, ApprovalStatus)>,
}

/// Looks at a policy, `namespace/name` or `name`. `None`: there is none.
///
/// # Errors
/// The API fails or refuses.
pub async fn find(client: &Client, policy: &str) -> Result<Option<Found>, Error> {
    let (api, name) = policies(client, policy);
    let Some(found) = api.get_opt(name).await? else { return Ok(None) };
    let status = found.data.get("status").cloned().and_then(|it| serde_json::from_value(it).ok());
    let status: GrpcClientPolicyStatus = status.unwrap_or_default();
    let mut asking: BTreeMap<String, (Offender, ApprovalStatus)> = BTreeMap::new();
    for offender in status.offenders {
        let approval = offender.remediations.iter().find_map(|it| it.approval.clone());
        if let Some(approval) = approval {
            asking.entry(approval.digest.clone()).or_insert((offender, approval));
        }
    }
    Ok(Some(Found {
        uid: found.uid().unwrap_or_default(),
        approvals: Approvals::of(found.annotations()),
        asking: asking.into_values().collect(),
    }))
}

/// Writes approvals on the policy that was looked at, or removes them (`None`); nobody else's are touched.
///
/// # Errors
/// The API fails or refuses, or another policy has the name now.
pub async fn write(
    client: &Client,
    policy: &str,
    found: &Found,
    changes: &BTreeMap<String, Option<Timestamp>>,
) -> Result<(), Error> {
    let (api, name) = policies(client, policy);
    let annotation = |(digest, until): (&String, &Option<Timestamp>)| {
        let value = until.map_or(Value::Null, |it| json!(format!("{it:.0}")));
        (format!("{APPROVED}{digest}"), value)
    };
    let annotations: serde_json::Map<String, Value> = changes.iter().map(annotation).collect();
    let patch = json!({"metadata": {"uid": found.uid, "annotations": annotations}});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(name, &params, &Patch::Merge(&patch)).await.map(drop)
}
