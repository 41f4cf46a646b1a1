//! The request that restarts a workload as `kubectl rollout restart` does: one annotation of its pod template.

use jiff::Timestamp;
use kube::{
    Error,
    api::{ApiResource, Patch, PatchParams, Request},
};
use serde_json::json;

use crate::{
    api::names::{FIELD_MANAGER, RESTARTED_AT},
    decide::ledger::{Object, restarted_at},
};

/// Restarts this very workload in this very version. The time stands in the ledger, too, so that writing it twice
/// changes nothing and its effect can be recognised.
pub(super) fn request(
    resource: &ApiResource,
    namespace: &str,
    workload: &Object,
    at: Timestamp,
) -> Result<http::Request<Vec<u8>>, Error> {
    let Object { kind: _, name, uid, resource_version, generation: _ } = workload;
    let patch = json!({
        "metadata": {"uid": uid, "resourceVersion": resource_version},
        "spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: restarted_at(at)}}}},
    });
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let url = format!("/apis/{}/namespaces/{namespace}/{}", resource.api_version, resource.plural);
    Request::new(url).patch_metadata(name, &params, &Patch::Merge(patch)).map_err(Error::BuildRequest)
}
