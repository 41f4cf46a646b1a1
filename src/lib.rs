//! grpc-hygiene finds gRPC clients with bad habits before they take a node's memory.
//!
//! **A policy is read, the world is observed, two pure functions decide, hands act, the result is reported.**
//!
//! ```text
//! CRD --parse--> Policy --observe--> Observation --assess--> Finding --plan--> Plan --act--> Outcome --report--> status
//! api            decide   io                       decide             decide         io               decide, then io
//! ```
//!
//! Read the modules in this order: [`api`] (what people write and read), [`signals`] (which metric says what),
//! [`decide`] (the pure core), [`io`] (the hands), [`controller`] (the loop), [`cli`] (the commands).
//!
//! # Invariants
//!
//! Each names the test that holds it.
//!
//! 1. **`decide` has no hands.** `now` is an argument. (`architecture::the_pure_core_has_no_hands`)
//! 2. **`assess` and `plan` cannot fail.** Missing, partial, stale or short data is `Inconclusive(why)`, a value, and
//!    never leads to a restart. (`decide::assess::tests::any_unusable_signal_makes_the_verdict_inconclusive`)
//! 3. **The operator keeps no state of its own.** History stands in the cluster and in the metrics backend; kill it at
//!    any line, and the next evaluation finishes. (`e2e`: killed at random)
//! 4. **Only `act` changes a workload**, and only what is in the plan; a dry run is the same plan not handed to `act`.
//!    (`architecture::only_the_hands_that_act_hold_the_acting_client`, `e2e`: a dry run writes nothing)
//! 5. **Every refusal has a name.** What is not done is in the plan as `Withheld(because)`.
//!    (`decide::plan::tests::each_doubt_about_the_finding_withholds_the_restart_by_name` and its neighbours)
//! 6. **Doubt means no restart.** (`decide::plan::tests::without_data_the_finding_stands_and_so_does_its_alert`)
//! 7. **Status is written only when it says something new**, compared without times.
//!    (`decide::status::tests::times_alone_are_not_worth_a_write`)
//! 8. **No address and no query comes from a tenant.** A policy names sources; the administrator defines them. It names a
//!    port and a path of pods that it selects, and their addresses are the API server's.
//!    (`signals::promql::tests::a_query_about_another_namespace_does_not_verify`,
//!    `decide::profiles::tests::the_page_is_where_the_annotation_says_or_else_the_policy`)
//! 9. **Evidence first, restart second.** Where a profile is required, a restart waits until one is stored that names the
//!    lines, or memory is about to run out. Profiles are the one thing that goes with the operator's pod; what they say
//!    stands in the status.
//!    (`decide::profiles::tests::where_a_profile_is_required_only_a_stored_one_will_do_until_memory_is_about_to_run_out`)
//!
//! Who may import whom: `main -> cli -> controller -> io -> decide -> signals -> api`
//! (`architecture::a_layer_imports_only_the_layers_below_it`).

pub mod api;
pub mod args;
pub mod cli;
pub mod controller;
pub mod decide;
pub mod io;
pub mod metrics;
pub mod signals;
pub mod telemetry;
pub mod web;
