//! The rights that the operator has against those that it used, by the API server's audit log. It installs nothing and
//! changes nothing; it is of use after the other scenarios.

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::Api;
use serde_json::Value;

use super::{
    audit::{events_of_the_operator, resource},
    world::{HOME, World},
};

/// Whose right it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Account {
    Observer,
    Actor,
}

/// One verb on one resource.
#[derive(Clone, Debug, PartialEq)]
struct Right {
    account: Account,
    verb: String,
    group: String,
    resource: String,
    /// In this namespace only.
    namespace: Option<String>,
    /// Of this object only.
    name: Option<String>,
}

/// Rights that no scenario uses, and why they are granted all the same.
const UNUSED: [(&str, &str, &str); 11] = [
    ("get", "leases", "the log leaves reads of leases out"),
    ("get", "clustergrpcclientpolicies", "the scenarios write policies of namespaces"),
    ("patch", "clustergrpcclientpolicies/status", "the same"),
    ("list", "namespaces", "the same"),
    (
        "get",
        "statefulsets",
        "the shop is made of Deployments, but in one scenario; tests/fences patches the other kinds",
    ),
    ("get", "daemonsets", "the same"),
    ("patch", "statefulsets", "the same"),
    ("patch", "daemonsets", "the same"),
    ("patch", "replicasets", "only where the controller has copied a mark before it was removed"),
    ("get", "replicasets", "an owner is asked for once, and then known from the list"),
    ("patch", "events", "only when an event is told twice within minutes"),
];

/// Asserts that nothing was done by other rights than the chart's. After all scenarios it also asserts that none of
/// these is left over.
pub async fn are_those_that_were_used(world: &World) {
    let (granted, used) = (granted(world).await, used());
    let covers = |grant: &Right, it: &Right| {
        (grant.account, &grant.verb, &grant.group, &grant.resource) == (it.account, &it.verb, &it.group, &it.resource)
            && (grant.namespace.is_none() || grant.namespace == it.namespace)
            && (grant.name.is_none() || grant.name == it.name)
    };
    let beyond: Vec<_> = used.iter().filter(|it| !granted.iter().any(|grant| covers(grant, it))).collect();
    assert!(beyond.is_empty(), "used and not granted by the chart: {beyond:#?}");
    if !used.iter().any(|it| it.resource == "pods/eviction") {
        println!("rights: not all scenarios ran, so nobody can say which rights are left over");
        return;
    }
    let is_known =
        |it: &Right| UNUSED.iter().any(|(verb, of, _)| (it.verb.as_str(), it.resource.as_str()) == (*verb, *of));
    let over: Vec<_> =
        granted.iter().filter(|grant| !used.iter().any(|it| covers(grant, it)) && !is_known(grant)).collect();
    assert!(over.is_empty(), "granted and never used; take it away, or say why in tests/e2e/rights.rs: {over:#?}");
}

/// What the chart's roles grant.
async fn granted(world: &World) -> Vec<Right> {
    let everywhere: Api<ClusterRole> = Api::all(world.client.clone());
    let home: Api<Role> = Api::namespaced(world.client.clone(), HOME);
    let mut rights = Vec::new();
    for (name, account) in [("grpc-hygiene", Account::Observer), ("grpc-hygiene-actor", Account::Actor)] {
        let role = everywhere.get(name).await.expect("a cluster role");
        rights.extend(role.rules.iter().flatten().flat_map(|it| of_rule(it, account, None)));
        let role = home.get(name).await.expect("a role");
        rights.extend(role.rules.iter().flatten().flat_map(|it| of_rule(it, account, Some(HOME))));
    }
    let role = home.get("grpc-hygiene-impersonator").await.expect("a role");
    rights.extend(role.rules.iter().flatten().flat_map(|it| of_rule(it, Account::Observer, Some(HOME))));
    rights
}

fn of_rule(rule: &PolicyRule, account: Account, namespace: Option<&str>) -> Vec<Right> {
    let mut rights = Vec::new();
    let names = rule.resource_names.clone().unwrap_or_default();
    let names: Vec<Option<String>> = if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
    for group in rule.api_groups.iter().flatten() {
        for resource in rule.resources.iter().flatten() {
            for (verb, name) in rule.verbs.iter().flat_map(|verb| names.iter().map(move |name| (verb, name))) {
                let (verb, group, resource) = (verb.clone(), group.clone(), resource.clone());
                let (namespace, name) = (namespace.map(str::to_owned), name.clone());
                rights.push(Right { account, verb, group, resource, namespace, name });
            }
        }
    }
    rights
}

/// What was done, each once. What the API server refused was not done.
fn used() -> Vec<Right> {
    let mut used: Vec<Right> = Vec::new();
    let mut note = |right: Right| {
        if !used.contains(&right) {
            used.push(right);
        }
    };
    for event in events_of_the_operator() {
        let refused = matches!(event["responseStatus"]["code"].as_u64(), Some(401 | 403));
        if refused || event["objectRef"]["resource"].is_null() {
            continue;
        }
        let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
        let named = |it: &Value| it.as_str().map(str::to_owned);
        let other = named(&event["impersonatedUser"]["username"]);
        if let Some(name) = other.as_deref().and_then(|it| it.rsplit(':').next()) {
            note(impersonation(name));
        }
        let right = Right {
            account: if other.is_some() { Account::Actor } else { Account::Observer },
            verb: text(&event["verb"]),
            group: text(&event["objectRef"]["apiGroup"]),
            resource: resource(&event),
            namespace: named(&event["objectRef"]["namespace"]),
            name: None,
        };
        // Of all objects only those of the operator's own are granted by their names.
        let by_name = ["leases", "configmaps"].contains(&right.resource.as_str());
        let name = if by_name { named(&event["objectRef"]["name"]) } else { None };
        note(Right { name, ..right });
    }
    used
}

/// The log has it as the second name of an event, not as an event.
fn impersonation(name: &str) -> Right {
    Right {
        account: Account::Observer,
        verb: "impersonate".to_owned(),
        group: String::new(),
        resource: "serviceaccounts".to_owned(),
        namespace: Some(HOME.to_owned()),
        name: Some(name.to_owned()),
    }
}
