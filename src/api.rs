//! The custom resources: what people write, what they read back, and every name that stands in the cluster.
//!
//! Nothing here decides or acts. [`crate::decide::Policy`] is the parsed form of a spec; after parsing, nobody
//! reads the raw spec again.

mod autonomy;
mod crd;
mod duration;
mod keepalive;
pub mod names;
mod quantity;
mod resource;
mod restarts;
mod restraint;
mod spec;
mod status;
mod windows;

pub use autonomy::{Autonomy, CaseKind, CaseOutcome, ClosedCase, Demotion, Levels, Life, OpenCase, Stage, Tally};
pub use crd::{custom_resources, unknown_fields, yaml};
pub use duration::{DurationText, InvalidDuration, parse_duration, print_duration};
pub use keepalive::{
    ClientPreset, KeepaliveClientSpec, KeepaliveServerSpec, KeepaliveSpec, Language, LoadBalancing, ServerPreset,
};
pub use quantity::parse_quantity;
pub use resource::{PolicyResource, Reach};
pub use restarts::{Effect, LifeFigures, RestartRecord};
pub use restraint::{ApprovalRule, ApprovalState, ApprovalStatus, StandDownSpec, When};
pub use spec::{
    AlertSpec, AnnotateSpec, ClusterGrpcClientPolicy, ClusterGrpcClientPolicySpec, EvidenceRule, GrpcClientPolicy,
    GrpcClientPolicySpec, Mode, PolicyRules, ProfilesSpec, RemediationSpec, RestartMethod, RestartSpec, Severity,
    SourcesSpec, ThresholdsSpec, Through,
};
pub use status::{
    AlertRecord, AnnotatedWorkload, CollapsedAlert, Counts, Figures, GrpcClientPolicyStatus, InconclusiveGroup,
    Offender, ProfileRecord, RemediationState, RemediationStatus, SiteRecord, SourceInUse, WorkloadRef,
};
pub use windows::{Day, WindowSpec};
