//! What the pods of one workload say about each other.

use crate::decide::{Finding, Policy};

/// The findings, each in the light of its peers.
pub fn compared(_policy: &Policy, findings: Vec<Finding>) -> Vec<Finding> {
    findings
}
