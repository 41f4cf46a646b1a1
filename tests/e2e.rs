//! The whole thing on a real cluster: real gRPC programs leak real connections, and the operator, installed by Helm
//! from its image, finds, annotates, alerts, evicts, or holds back and says why. `e2e_uninstall.rs` comes after it.
//!
//! `tests/run` starts the cluster and sets `GRPC_HYGIENE_E2E_KUBECONFIG`. Every scenario has namespaces of its own.
//! They run at the same time, but for those that disturb the others: see [`world::QUIET`]. `make soak` alone runs the soak.

// The tests tidy up after themselves; what they try is not what they tidy with.
#![allow(clippy::disallowed_methods)]

#[path = "e2e/alert.rs"]
mod alert;
#[path = "e2e/asked.rs"]
mod asked;
#[path = "e2e/audit.rs"]
mod audit;
#[path = "e2e/blind.rs"]
mod blind;
#[path = "e2e/chaos.rs"]
mod chaos;
#[path = "e2e/detection.rs"]
mod detection;
#[path = "e2e/diagnoses.rs"]
mod diagnoses;
#[path = "e2e/dry_run.rs"]
mod dry_run;
#[path = "e2e/enforce.rs"]
mod enforce;
#[path = "e2e/etcd.rs"]
mod etcd;
#[path = "e2e/evidence.rs"]
mod evidence;
#[path = "e2e/host.rs"]
mod host;
#[path = "e2e/killed.rs"]
mod killed;
#[path = "e2e/pages.rs"]
mod pages;
#[path = "e2e/random.rs"]
mod random;
#[path = "e2e/shop.rs"]
mod shop;
#[path = "e2e/soak.rs"]
mod soak;
#[path = "e2e/unreadable.rs"]
mod unreadable;
#[path = "e2e/world.rs"]
mod world;
