//! x
pub mod api;
pub mod signals;
pub mod decide;
