//! x
pub mod api;
pub mod signals;
