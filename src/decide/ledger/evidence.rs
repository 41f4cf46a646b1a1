//! What the sight of an object proves about a restart whose answer was lost.

use jiff::Timestamp;

use super::{Entry, Object};

/// What is seen of an entry's object now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// It happened, or that cannot be ruled out any more.
    Happened,
    /// It did not happen, and a request still in flight can only be refused.
    CanNoLongerHappen,
    /// The object lives unchanged: the request may still arrive.
    MayStillHappen,
}

/// An object as it is seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its UID.
    pub uid: String,
    /// Its resource version.
    pub resource_version: String,
    /// The generation of its spec.
    pub generation: Option<i64>,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// The time of the restart that it carries: in its template, or what Argo Rollouts has for that.
    pub restarted_at: Option<String>,
}

/// The time that an entry's rollout writes, as restart annotation or as `restartAt`: RFC 3339, whole seconds, as kubectl does.
#[must_use]
pub fn restarted_at(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// What the sight of an entry's object proves. `None`: nothing, until its resource version is moved by us (a fence),
/// which proves that the request can no longer happen.
///
/// A pod whose version has moved proves nothing yet: the API server writes the condition `DisruptionTarget` before it
/// deletes, and its deletion then demands the version of that write (Kubernetes 1.34, `addConditionAndDeletePod`).
/// A workload whose spec has changed since, by us or by others, may have been restarted by us in between: it counts.
#[must_use]
pub fn conclusion(entry: &Entry, seen: Option<&Seen>) -> Option<Evidence> {
    let Object { kind, uid, resource_version, generation, name: _ } = &entry.object;
    match seen {
        // Of an object that is gone nobody can tell; it counts.
        None => Some(Evidence::Happened),
        Some(seen) if seen.uid != *uid || seen.terminating => Some(Evidence::Happened),
        Some(_) if kind == "Pod" => None,
        Some(seen) if seen.restarted_at.as_deref() == Some(&restarted_at(entry.at)) => Some(Evidence::Happened),
        Some(seen) if generation.is_none() || seen.generation != *generation => Some(Evidence::Happened),
        Some(seen) if seen.resource_version != *resource_version => Some(Evidence::CanNoLongerHappen),
        Some(_) => None,
    }
}
