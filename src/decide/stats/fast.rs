//! The inner loops of the tests: where the time of a verdict goes.
//!
//! Not statistics: [`theil_sen`](super::theil_sen()) and [`mann_kendall`](super::mann_kendall()) say what is computed,
//! this file only how. All of it is plain safe code that the compiler can put into vector registers.

use super::order::all_finite;

/// How many sums run side by side in [`dot`]: one addition need not wait for the one before it.
const LANES: usize = 8;

/// The sum of the products of two slices, over the shorter of them. Exact whenever the products are multiples of one
/// half or of one quarter and not huge, as those of ranks are; otherwise the order of the additions is not specified.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let length = a.len().min(b.len());
    let (a, b) = (a[..length].chunks_exact(LANES), b[..length].chunks_exact(LANES));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    let mut lanes = [0.0; LANES];
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// Kendall's S: how many pairs rise minus how many fall.
pub(super) fn kendall_s(y: &[f64]) -> f64 {
    (1..y.len()).map(|i| exceeds(y[i], &y[..i])).sum()
}

/// Twice the ranks of the values less their mean, equal values sharing the mean of their ranks: how many values are
/// below each, minus how many are above. Comparing all with all beats sorting for the lengths that matter.
pub(super) fn centred_ranks(values: &[f64]) -> Vec<f64> {
    values.iter().map(|&value| exceeds(value, values)).collect()
}

/// How many of `others` are below `value`, minus how many are above.
fn exceeds(value: f64, others: &[f64]) -> f64 {
    let sign = |other: f64| i64::from(value > other) - i64::from(value < other);
    let chunks = others.chunks_exact(LANES);
    let rest: i64 = chunks.remainder().iter().map(|&other| sign(other)).sum();
    let mut lanes = [0; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] += sign(chunk[lane]);
        }
    }
    (lanes.iter().sum::<i64>() + rest) as f64
}

/// The slopes of all pairs of points, as integers in the same order: selecting among integers takes half the time.
pub(super) struct PairSlopes(Vec<i64>);

impl PairSlopes {
    /// The slopes over times; points at the same time have none. `None` if the lengths differ or if anything, given or
    /// computed, is not finite.
    pub(super) fn over_time(t: &[f64], y: &[f64]) -> Option<Self> {
        if t.len() != y.len() || !all_finite(t) || !all_finite(y) {
            return None;
        }
        let mut slopes = Vec::with_capacity(pairs(y.len()));
        for i in 0..t.len() {
            for (later, value) in t[i + 1..].iter().zip(&y[i + 1..]) {
                let elapsed = later - t[i];
                if !elapsed.is_finite() {
                    return None;
                }
                if elapsed != 0.0 {
                    slopes.push((value - y[i]) / elapsed);
                }
            }
        }
        all_finite(&slopes).then(|| Self(slopes.into_iter().map(to_ordered).collect()))
    }

    /// The slopes over the places in line, in units of `y` per place, of finite values. `None` if a slope overflows.
    pub(super) fn over_places(y: &[f64]) -> Option<Self> {
        // The steepest difference is that of the extremes, and no place is less than one from the next.
        let (low, high) = y.iter().fold((f64::MAX, f64::MIN), |(low, high), &y| (y.min(low), y.max(high)));
        if !(high - low).is_finite() && !y.is_empty() {
            return None;
        }
        let mut slopes = Vec::with_capacity(pairs(y.len()));
        for apart in 1..y.len() {
            let places = apart as f64;
            slopes.extend(y.iter().zip(&y[apart..]).map(|(earlier, later)| to_ordered((later - earlier) / places)));
        }
        Some(Self(slopes))
    }

    /// How many slopes there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The median; `None` without slopes. Leaves the slopes parted at the middle.
    pub(super) fn median(&mut self) -> Option<f64> {
        if self.0.is_empty() {
            return None;
        }
        let (middle, even) = (self.0.len() / 2, self.0.len().is_multiple_of(2));
        let (left, &mut upper, _) = self.0.select_nth_unstable(middle);
        let upper = from_ordered(upper);
        if !even {
            return Some(upper);
        }
        left.iter().copied().max().map(|lower| f64::midpoint(from_ordered(lower), upper))
    }

    /// The slopes with the ranks `low` and `high` (from 0), which must lie on either side of the middle. Only after
    /// [`Self::median`], whose parting saves half the work.
    pub(super) fn around_the_median(&mut self, low: usize, high: usize) -> (f64, f64) {
        let middle = self.0.len() / 2;
        let upper = *self.0[middle..].select_nth_unstable(high - middle).1;
        let lower = *self.0[..=middle].select_nth_unstable(low).1;
        (from_ordered(lower), from_ordered(upper))
    }
}

/// How many pairs `n` points make.
fn pairs(n: usize) -> usize {
    n * n.saturating_sub(1) / 2
}

/// An integer that orders as `value` does in `f64::total_cmp`: the bits, but for the sign those of negatives inverted.
pub(super) fn to_ordered(value: f64) -> i64 {
    invert_negative(value.to_bits().cast_signed())
}

/// The number that [`to_ordered`] came from.
fn from_ordered(key: i64) -> f64 {
    f64::from_bits(invert_negative(key).cast_unsigned())
}

fn invert_negative(bits: i64) -> i64 {
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_as_numbers_and_lead_back_to_them() {
        let ascending = [f64::MIN, -2.5, -f64::MIN_POSITIVE, -0.0, 0.0, 1e-300, 1.0, 1.5, f64::MAX];
        assert!(ascending.map(to_ordered).is_sorted_by(|a, b| a < b));
        for value in ascending {
            assert_eq!(from_ordered(to_ordered(value)).to_bits(), value.to_bits());
        }
    }

    #[test]
    fn products_of_all_lengths_are_summed() {
        for length in 0..40 {
            let a: Vec<f64> = (0..length).map(f64::from).collect();
            let expected: f64 = a.iter().map(|a| a * (a + 1.0)).sum();
            let b: Vec<f64> = a.iter().map(|a| a + 1.0).chain([7.0; 3]).collect();
            assert_eq!(dot(&a, &b), expected);
        }
    }

    #[test]
    fn pairs_are_counted_as_rising_falling_or_neither() {
        let y: Vec<f64> = (0..37).map(|i| f64::from(i * 11 % 13)).collect();
        let mut expected = 0;
        for (i, earlier) in y.iter().enumerate() {
            expected += y[i + 1..].iter().map(|later| (later - earlier).clamp(-1.0, 1.0) as i32).sum::<i32>();
        }
        assert_eq!(kendall_s(&y), f64::from(expected));
        assert_eq!(kendall_s(&[0.0, -0.0]), 0.0);
    }

    #[test]
    fn equal_values_share_their_ranks() {
        // The ranks are 3.5, 1.5, 3.5, 1.5 around a mean of 2.5.
        assert_eq!(centred_ranks(&[10.0, 0.0, 10.0, -0.0]), [2.0, -2.0, 2.0, -2.0]);
        assert_eq!(centred_ranks(&[1.0, 2.0, 3.0]), [-2.0, 0.0, 2.0]);
    }

    #[test]
    fn places_in_line_are_times_one_apart() {
        let y: Vec<f64> = (0..21).map(|i| (f64::from(i) * 12.9898).sin()).collect();
        let t: Vec<f64> = (0..21).map(f64::from).collect();
        let (mut places, mut times) =
            (PairSlopes::over_places(&y).expect("n"), PairSlopes::over_time(&t, &y).expect("n"));
        assert_eq!(places.median(), times.median());
        assert_eq!(places.around_the_median(20, 180), times.around_the_median(20, 180));
        let mut all = places.0;
        all.sort_unstable();
        assert_eq!(times.around_the_median(3, 200), (from_ordered(all[3]), from_ordered(all[200])));
    }
}
