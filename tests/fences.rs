//! The fences in the API server, on a real one: which writes the chart's admission policies refuse to the operator's own
//! accounts, which rights its roles grant, and that what the operator really does passes both. There is no node.
//!
//! Where a fence is tested, the accounts are given all rights first: what is refused then is refused by the fence.
//! `tests/run` starts the server and sets `GRPC_HYGIENE_API_KUBECONFIG`; by hand: `tests/cluster/cluster api-up`.

// What these tests try is what the operator must never do.
#![allow(clippy::disallowed_methods)]

#[path = "fences/acts.rs"]
mod acts;
#[path = "fences/deny.rs"]
mod deny;
#[allow(dead_code, reason = "the tests of acting use the rest")]
#[path = "act/fake.rs"]
mod fake;
#[path = "fences/kinds.rs"]
mod kinds;
#[path = "fences/others.rs"]
mod others;
#[allow(dead_code, reason = "the tests of acting use the rest")]
#[path = "act/real.rs"]
mod real;
#[path = "fences/release.rs"]
mod release;
#[path = "fences/rights.rs"]
mod rights;
#[path = "fences/schema.rs"]
mod schema;
#[path = "fences/stop.rs"]
mod stop;
#[path = "fences/tries.rs"]
mod tries;
#[allow(dead_code, reason = "the tests of acting use the rest")]
#[path = "act/world.rs"]
mod world;
