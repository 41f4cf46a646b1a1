//! Random draws, seeded: the same seed gives the same corpus on every machine. It knows distributions, not pods.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};

/// Above this mean a Poisson draw is a rounded normal one: nobody can tell them apart, and it is much faster.
const NORMAL_FROM: f64 = 1_000.0;

/// A source of random numbers.
pub struct Draw(ChaCha8Rng);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Evenly from `[low, high)`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.random::<f64>()
    }

    /// Evenly in the logarithm from `[low, high)`.
    pub fn log_uniform(&mut self, low: f64, high: f64) -> f64 {
        self.uniform(low.ln(), high.ln()).exp()
    }

    /// From `[low, high]`.
    pub fn count(&mut self, low: usize, high: usize) -> usize {
        self.0.random_range(low..=high)
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.0.random::<f64>() < probability
    }

    /// One of some.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.count(0, from.len() - 1)]
    }

    /// Normal with mean 0.
    pub fn normal(&mut self, deviation: f64) -> f64 {
        let standard: f64 = StandardNormal.sample(&mut self.0);
        standard * deviation
    }

    /// About 1, log-normal.
    pub fn factor(&mut self, deviation: f64) -> f64 {
        self.normal(deviation).exp()
    }

    /// How many events happen where so many are expected.
    pub fn events(&mut self, mean: f64) -> f64 {
        if mean <= 0.0 {
            0.0
        } else if mean < NORMAL_FROM {
            Poisson::new(mean).map_or(0.0, |it| it.sample(&mut self.0))
        } else {
            (mean + self.normal(mean.sqrt())).round()
        }
    }

    /// A name of so many characters from the alphabet that Kubernetes uses for suffixes.
    pub fn suffix(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(self.pick(b"bcdfghjklmnpqrstvwxz2456789"))).collect()
    }

    /// So many hexadecimal digits.
    pub fn hex(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(self.pick(b"0123456789abcdef"))).collect()
    }

    /// A UID as the API server makes them.
    pub fn uid(&mut self) -> String {
        [8, 4, 4, 4, 12].map(|it| self.hex(it)).join("-")
    }

    /// A mean-reverting random walk about 0 with this standard deviation and relaxation time, one value per step.
    pub fn wandering(&mut self, steps: usize, dt: f64, deviation: f64, relaxation: f64) -> Vec<f64> {
        let keep = (-dt / relaxation).exp();
        let shock = deviation * (1.0 - keep * keep).sqrt();
        let mut level = self.normal(deviation);
        (0..steps)
            .map(|_| {
                level = level * keep + self.normal(shock);
                level
            })
            .collect()
    }
}
