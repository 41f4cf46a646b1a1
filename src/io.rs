//! The hands: everything that touches the network or a file. Reading is in `observe`, `pods`, `prometheus`, `workload`,
//! `recall`, `history`, `clients`, `series`, `pprof` and `profiles`, which fills the `shelf`; acting is in `act`, with
//! `acting` (the one client that may change things), `leadership`, `ledger`, `notify` and `sweep`; `report` writes status
//! and events, and `approvals` what a person says to them.

pub mod act;
pub mod acting;
pub mod addresses;
pub mod approvals;
pub mod clients;
pub mod config;
pub mod history;
pub mod http;
pub mod leadership;
pub mod ledger;
pub mod notify;
pub mod observe;
pub mod pods;
pub mod pprof;
pub mod profiles;
pub mod prometheus;
pub mod quiet;
pub mod recall;
pub mod report;
pub mod series;
pub mod shelf;
pub mod sweep;
pub mod switch;
pub mod workload;
