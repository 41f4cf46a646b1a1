//! A small generator, so that a run can be repeated: splitmix64. `SEED` is printed, and taken from the environment.

use jiff::Timestamp;

/// Numbers that follow from a seed.
pub struct Random(u64);

impl Random {
    /// By `SEED`, else by the clock. Says which.
    pub fn seeded() -> Self {
        let seed = std::env::var("SEED").ok().and_then(|it| it.parse().ok());
        let seed = seed.unwrap_or_else(|| Timestamp::now().as_second() as u64);
        println!("SEED={seed}");
        Self::of(seed)
    }

    /// By a seed that is known.
    pub const fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one, smaller than `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}
