//! The request that restarts a workload: as `kubectl rollout restart` does, by one annotation of its pod template; or, for
//! a Rollout of Argo Rollouts, as its own plugin for kubectl does, by `spec.restartAt`.

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
    let Object { kind, name, uid, resource_version, generation: _ } = workload;
    let spec = match kind.as_str() {
        "Rollout" => json!({"restartAt": restarted_at(at)}),
        _ => json!({"template": {"metadata": {"annotations": {RESTARTED_AT: restarted_at(at)}}}}),
    };
    let patch = json!({"metadata": {"uid": uid, "resourceVersion": resource_version}, "spec": spec});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let url = format!("/apis/{}/namespaces/{namespace}/{}", resource.api_version, resource.plural);
    Request::new(url).patch_metadata(name, &params, &Patch::Merge(patch)).map_err(Error::BuildRequest)
}
