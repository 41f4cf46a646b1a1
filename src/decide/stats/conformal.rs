//! How far off forecasts are, learnt from how far off they were.
//!
//! An interval from the slope's standard error is too narrow: that the world stays linear is the larger error. Split
//! conformal prediction asks no model. If past and future errors are exchangeable, an interval between two of the past
//! ones holds at the rate it says, whatever their distribution and however few they are.

use super::{normal_quantile, order::all_finite};

/// How many scores the prior stands for; with as many of one's own it is not used any more.
const PRIOR_SCORES: usize = 19;

/// The spread of the prior's lower half: its 10 % quantile is ln 0.70.
const PRIOR_BELOW: f64 = 0.278_31;

/// The spread of the prior's upper half: its 90 % quantile is ln 1.75.
const PRIOR_ABOVE: f64 = 0.436_67;

/// What to multiply a forecast with for an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factors {
    /// The lower end divided by the forecast; positive.
    pub low: f64,
    /// The upper end divided by the forecast; positive.
    pub high: f64,
}

/// The factors between which `true / forecast` lies with a probability of at least `1 - alpha`, from the scores
/// `ln(true / forecast)` of n past forecasts: the exponentials of the scores with the ranks `floor((n+1) alpha/2)` and
/// `ceil((n+1) (1 - alpha/2))`, so that each side is missed in at most a share of `alpha / 2`, for every n (Vovk,
/// Gammerman & Shafer 2005; Lei et al. 2018). The coverage exceeds what is asked by less than `2 / (n+1)`.
///
/// With fewer than 19 scores, 19 of a prior are added as if they had been forecasts of one's own: the quantiles of a
/// normal distribution with unequal halves whose 80 % interval is 0.70 to 1.75, as fitted on simulated leaks. The
/// promise then is as good as the prior.
///
/// `None` if `alpha` is outside (0, 1), if anything is not finite or overflows, or if the scores are too few for a
/// bound on either side, that is fewer than `2 / alpha - 1`: no interval could be promised.
///
/// ```
/// use grpc_hygiene::decide::stats::conformal_factors;
/// let prior = conformal_factors(&[], 0.2).expect("an interval");
/// assert!((prior.low - 0.70).abs() < 0.001 && (prior.high - 1.75).abs() < 0.001);
/// assert_eq!(conformal_factors(&[], 0.01), None);
/// ```
pub fn conformal_factors(scores: &[f64], alpha: f64) -> Option<Factors> {
    if !(alpha > 0.0 && alpha < 1.0 && all_finite(scores)) {
        return None;
    }
    let mut scores = scores.to_vec();
    if scores.len() < PRIOR_SCORES {
        scores.extend((1..=PRIOR_SCORES).map(prior_score));
    }
    scores.sort_unstable_by(f64::total_cmp);
    let places = (scores.len() + 1) as f64;
    // A hair, so that 0.1 of 20 places is the second and not, by rounding, the first.
    let hair = 1e-9;
    let low = (places * alpha / 2.0 + hair).floor() as usize;
    let high = (places * (1.0 - alpha / 2.0) - hair).ceil() as usize;
    let (low, high) = (scores.get(low.checked_sub(1)?)?.exp(), scores.get(high.checked_sub(1)?)?.exp());
    (low > 0.0 && high.is_finite()).then_some(Factors { low, high })
}

/// The prior's score with the given rank, from 1.
fn prior_score(rank: usize) -> f64 {
    let deviate = normal_quantile(rank as f64 / (PRIOR_SCORES + 1) as f64);
    deviate * if deviate < 0.0 { PRIOR_BELOW } else { PRIOR_ABOVE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(n: i32) -> Vec<f64> {
        (1..=n).map(|i| f64::from(i) / 10.0).collect()
    }

    #[test]
    fn the_ranks_are_those_of_n_plus_one() {
        let of_19 = conformal_factors(&scores(19), 0.2).expect("enough");
        assert_eq!((of_19.low, of_19.high), (0.2_f64.exp(), 1.8_f64.exp()));
        let of_30 = conformal_factors(&scores(30), 0.2).expect("enough");
        assert_eq!((of_30.low, of_30.high), (0.3_f64.exp(), 2.8_f64.exp()));
    }

    #[test]
    fn without_enough_scores_for_the_confidence_nothing_is_promised() {
        assert!(conformal_factors(&scores(39), 0.05).is_some());
        assert_eq!(conformal_factors(&scores(38), 0.05), None);
    }

    #[test]
    fn a_few_scores_of_its_own_move_the_interval_from_the_prior() {
        let (prior, late) =
            (conformal_factors(&[], 0.2).expect("enough"), conformal_factors(&[1.0; 6], 0.2).expect("enough"));
        assert!(late.high > prior.high && late.low >= prior.low, "{prior:?}, {late:?}");
        let own = conformal_factors(&[1.0; 19], 0.2).expect("enough");
        assert_eq!((own.low, own.high), (1_f64.exp(), 1_f64.exp()), "the prior is gone");
    }

    #[test]
    fn bad_input_has_no_factors() {
        for alpha in [0.0, 1.0, -0.1, f64::NAN] {
            assert_eq!(conformal_factors(&scores(50), alpha), None);
        }
        assert_eq!(conformal_factors(&[f64::NAN], 0.2), None);
        assert_eq!(conformal_factors(&[1e4; 50], 0.2), None, "the factor overflows");
        assert_eq!(conformal_factors(&[-1e4; 50], 0.2), None, "the factor vanishes");
    }
}
