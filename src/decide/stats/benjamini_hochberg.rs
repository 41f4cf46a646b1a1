//! Many tests at once: how many of the rejections may be false.

/// The p-values adjusted by Benjamini & Hochberg (1995), in the order given: accept those at most `q` as discoveries,
/// and of the accepted no more than a share of `q` is false on average, provided the tests are independent or
/// positively dependent (Benjamini & Yekutieli 2001). `min over j >= i of m p_(j) / j`, at most one.
///
/// It bounds a share, not a number: with nothing to find it lets a false alarm through in a share `q` of all rounds,
/// for ever. It ranks what else has already been found sure; it does not replace a strict level per test.
///
/// `None` if a value is not in `[0, 1]`.
///
/// ```
/// use grpc_hygiene::decide::stats::benjamini_hochberg;
/// assert_eq!(benjamini_hochberg(&[0.5, 0.01, 0.04]), Some(vec![0.5, 0.03, 0.06]));
/// ```
pub fn benjamini_hochberg(p_values: &[f64]) -> Option<Vec<f64>> {
    if !p_values.iter().all(|p| (0.0..=1.0).contains(p)) {
        return None;
    }
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_unstable_by(|&a, &b| p_values[b].total_cmp(&p_values[a]));
    let count = p_values.len() as f64;
    let mut adjusted = vec![0.0; p_values.len()];
    let mut least = 1.0_f64;
    for (larger, index) in order.into_iter().enumerate() {
        least = least.min(count / (count - larger as f64) * p_values[index]);
        adjusted[index] = least;
    }
    Some(adjusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_test_needs_no_adjustment_and_equal_ones_stay_equal() {
        assert_eq!(benjamini_hochberg(&[]), Some(vec![]));
        assert_eq!(benjamini_hochberg(&[0.04]), Some(vec![0.04]));
        assert_eq!(benjamini_hochberg(&[0.04; 3]), Some(vec![0.04; 3]));
    }

    #[test]
    fn many_that_agree_help_each_other_and_one_among_many_pays() {
        let mut p = vec![0.9; 100];
        p[7] = 0.001;
        assert_eq!(benjamini_hochberg(&p).expect("probabilities")[7], 0.1);
        p[..50].fill(0.001);
        assert_eq!(benjamini_hochberg(&p).expect("probabilities")[7], 0.002);
    }

    #[test]
    fn what_is_no_probability_gives_nothing() {
        for bad in [-0.1, 1.1, f64::NAN] {
            assert_eq!(benjamini_hochberg(&[0.5, bad]), None);
        }
    }
}
