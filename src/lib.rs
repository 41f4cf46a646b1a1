//! x
pub mod api;
pub mod decide;
pub mod signals;
