//! Numbers that follow from a seed, the same on every machine and in every version.

/// `SplitMix64` (Steele, Lea & Flood 2014).
pub struct Dice(u64);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From the first up to and without the second.
    pub const fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.roll() % (to - from)
    }

    /// So many times in a thousand.
    pub const fn happens(&mut self, in_thousand: u64) -> bool {
        self.below_thousand() < in_thousand
    }

    /// From 0 to 999.
    pub const fn below_thousand(&mut self) -> u64 {
        self.roll() % 1_000
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let n = usize::try_from(self.roll() % of.len() as u64).expect("an index");
        of[n]
    }
}
