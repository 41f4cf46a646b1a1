//! Any text is policies, or is refused with a reason; what is accepted keeps the rules that the rest relies on.

#![no_main]

use std::sync::LazyLock;

use grpc_hygiene::{
    api::{PolicyRules, custom_resources, unknown_fields},
    decide::Policy,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static DEFINITIONS: LazyLock<[CustomResourceDefinition; 2]> = LazyLock::new(custom_resources);

fuzz_target!(|text: &str| {
    let Ok(documents) = serde_saphyr::from_multiple::<Value>(text) else { return };
    for document in documents {
        if let Some(Ok(rules)) = document.get("spec").cloned().map(serde_json::from_value::<PolicyRules>)
            && let Ok(policy) = Policy::parse(&rules)
        {
            keeps_its_rules(&policy);
        }
        for definition in DEFINITIONS.iter() {
            let _ = unknown_fields(definition, &document);
        }
    }
});

fn keeps_its_rules(policy: &Policy) {
    assert!(policy.window > policy.interval && policy.warm_up < policy.window, "{policy:?}");
    assert!(policy.max_p_value > 0.0 && policy.max_p_value < 0.5, "{policy:?}");
    assert!(policy.calls_per_connection.is_finite() && policy.connection_growth.is_finite(), "{policy:?}");
    let Some(restart) = &policy.restart else { return };
    let alert = policy.alert.as_ref().expect("who restarts tells people");
    assert!(restart.after >= alert.after, "people hear first: {policy:?}");
    assert!(restart.max_per_day >= 1 && restart.cooldown.as_secs() >= 60, "{policy:?}");
}
