//! The eviction request. Not `kube::Api::evict`: in kube 5.0 it loses the preconditions and deletes whatever has the
//! name. See <https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/>.

use k8s_openapi::{
    api::policy::v1::Eviction,
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions},
};
use kube::Error;

use crate::decide::ledger::Object;

/// Evicts this very pod in this very version, or nothing. With strict validation the API server refuses a body that
/// it does not wholly understand, instead of ignoring the part that limits it.
pub(super) fn request(namespace: &str, pod: &Object) -> Result<http::Request<Vec<u8>>, Error> {
    let Object { kind: _, name, uid, resource_version, generation: _ } = pod;
    let preconditions = Preconditions { uid: Some(uid.clone()), resource_version: Some(resource_version.clone()) };
    let eviction = Eviction {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions { preconditions: Some(preconditions), ..DeleteOptions::default() }),
    };
    let body = serde_json::to_vec(&eviction).map_err(Error::SerdeError)?;
    http::Request::post(format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction?fieldValidation=Strict"))
        .header(http::header::CONTENT_TYPE, "application/json")
        .header(http::header::ACCEPT, "application/json")
        .body(body)
        .map_err(Error::HttpError)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_body_says_which_pod_in_which_version_in_the_words_of_the_api() {
        let pod = Object {
            kind: "Pod".into(),
            name: "orders-1".into(),
            uid: "u1".into(),
            resource_version: "7".into(),
            generation: None,
        };
        let request = request("shop", &pod).expect("a request");
        assert_eq!(request.uri(), "/api/v1/namespaces/shop/pods/orders-1/eviction?fieldValidation=Strict");
        let body: Value = serde_json::from_slice(request.body()).expect("JSON");
        assert_eq!(
            body,
            json!({
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": {"name": "orders-1", "namespace": "shop"},
                "deleteOptions": {"preconditions": {"uid": "u1", "resourceVersion": "7"}},
            })
        );
    }
}
