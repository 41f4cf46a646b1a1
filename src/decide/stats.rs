//! The statistics of the detector: is a series growing, how fast, and how sure are we?
//!
//! Pure functions from `f64` slices to plain structs. They import nothing of ours, know nothing of pods or metrics,
//! and never panic: input that is too short, not finite or degenerate gives `None`. In reading order:
//!
//! - [`theil_sen`]: how fast, with an interval (Theil 1950, Sen 1968);
//! - [`mann_kendall`], [`mann_kendall_hamed_rao`]: does the *level* rise (Mann 1945, Kendall 1975, Hamed & Rao 1998);
//! - [`increment_test`]: do the *steps* rise on average, against their long-run variance (Newey & West 1987);
//! - [`trend`]: the verdict, which both tests have to support, because each alone is fooled;
//! - [`median`], [`quantile`]: order statistics.

mod fast;
mod increment;
mod mann_kendall;
mod order;
#[cfg(test)]
mod properties;
mod regression;
mod small_sample;
mod theil_sen;
mod trend;

pub use increment::increment_test;
pub use mann_kendall::{MannKendall, mann_kendall, mann_kendall_hamed_rao};
pub use order::{median, quantile};
pub use regression::{Constrained, Quadratic, constrained, quadratic};
pub use theil_sen::{Slope, theil_sen};
pub use trend::{Trend, growth_z, trend};

use statrs::distribution::{ContinuousCDF, Normal};

/// P(Z > z) of the standard normal.
#[must_use]
pub fn upper_tail_of(z: f64) -> f64 {
    normal_upper_tail(z)
}

/// The z with P(Z > z) = p of the standard normal; p must lie in (0, 1).
#[must_use]
pub fn z_of_upper_tail(p: f64) -> f64 {
    -normal_quantile(p)
}

/// P(Z > z) of the standard normal, without the cancellation of `1 - cdf(z)`.
fn normal_upper_tail(z: f64) -> f64 {
    Normal::standard().sf(z)
}

/// The z with P(Z <= z) = p of the standard normal; p must lie in (0, 1).
fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p)
}
