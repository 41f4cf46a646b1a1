//! A column of a regression, centred and scaled so that no sum of squares overflows or cancels.

use super::{fast::dot, order::all_finite};

/// A column less its mean, brought to length one.
pub(super) struct Column {
    /// The mean, in the unit of the values.
    pub(super) mean: f64,
    /// The root of the sum of the squared deviations from the mean, in the unit of the values.
    pub(super) length: f64,
    /// How long the rounding of the values may be at most, divided by `length`.
    pub(super) rounding: f64,
    /// The deviations, divided by `length`.
    pub(super) unit: Vec<f64>,
}

impl Column {
    /// `None` if anything is not finite or overflows. A constant column keeps length 0 and zeros.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let first = *values.first()?;
        // From the first value on, so that large times (Unix seconds) lose no digits to the sum.
        let mean = first + values.iter().map(|value| value - first).sum::<f64>() / count;
        let mut unit: Vec<f64> = values.iter().map(|value| value - mean).collect();
        let largest = unit.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        if !all_finite(&unit) || !mean.is_finite() {
            return None;
        }
        let rounding = count * f64::EPSILON * values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        if largest <= rounding {
            return Some(Self { mean, length: 0.0, rounding: 0.0, unit: vec![0.0; values.len()] });
        }
        // In units of the largest, no square overflows or vanishes.
        unit.iter_mut().for_each(|value| *value /= largest);
        let length = dot(&unit, &unit).sqrt();
        unit.iter_mut().for_each(|value| *value /= length);
        Some(Self { mean, length: length * largest, rounding: rounding / (length * largest), unit })
    }

    /// False if the values are the same but for rounding.
    pub(super) fn varies(&self) -> bool {
        self.length > 0.0
    }
}
