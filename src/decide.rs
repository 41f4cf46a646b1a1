//! The pure core: observations go in, decisions come out. No async, no clock, no network, no logging, no randomness
//! and no environment; `now` is an argument, and nothing here can fail for lack of data.
//!
//! ```text
//! spec ──Policy::parse──▶ Policy
//! answers + targets ──gather──▶ Observation ──assess──▶ Finding ──plan──▶ Plan ──status──▶ status
//! plan + findings ──autonomy──▶ what Auto may do next time; findings + ledger ──effect──▶ what restarts were good for
//! heap profile ──blame──▶ call sites ──profiles──▶ ProfileRecord, which the next plan is made with
//! ```

pub mod approval;
mod assess;
pub mod autonomy;
pub mod blame;
pub mod blindness;
pub mod clients;
pub mod collapse;
pub mod cost;
mod diagnose;
pub mod discover;
pub mod effect;
mod finding;
mod forecast;
pub mod gather;
mod guard;
mod history;
pub mod keepalive;
pub mod ledger;
mod lineage;
pub mod looks;
pub mod notation;
pub mod observation;
pub mod oom;
pub mod overlap;
mod plan;
pub mod policy;
pub mod profiles;
mod protection;
pub mod quietest;
pub mod replay;
pub mod scales;
pub mod series;
pub mod stand_down;
pub mod stats;
pub mod status;
pub mod storm;
pub mod windows;

pub use assess::{Strength, assess};
pub use finding::{Confidence, Diagnosis, Evidence, Finding, Growth, Verdict, Why};
pub use forecast::{Forecast, forecast};
pub use gather::{Answer, FailureKind, QueryFailure, gather};
pub use guard::Guard;
pub use history::{Autoscaler, Budget, History, Past, Standing, WorkloadState};
pub use observation::{Observation, Reading, Subject, Target, Workload};
pub use plan::{
    Because, Case, Cleared, Decision, Others, Outcome, Plan, RESOLVED_KEPT, Remediation, Restart, Rung, concerns,
    not_reverted, plan, wish,
};
pub use policy::{AlertRule, InvalidPolicy, Policy, RestartRule};
pub use protection::protection;
pub use series::{Level, Matrix, Sample, Samples, Series};
pub use status::{Observed, status, worth_writing};
pub use windows::Windows;
