//! Hysteresis: what is said aloud must have been seen twice in three looks, and what was seen is not forgotten at the
//! first look that misses it. The looks are kept in the policy's status, one letter each, so that they survive the
//! operator.
//!
//! Two evaluations close together see the same buckets and count as one look.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::decide::Strength;

/// How many looks are kept.
const KEPT: usize = 4;
/// Out of so many looks,
const OUT_OF: usize = 3;
/// so many must agree.
const AGREE: usize = 2;

/// The newest looks at one subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// One letter a look, the newest last: `C` certain, `A` alertable, `S` suspected, `-` nothing.
    letters: String,
    /// When the newest was taken.
    at: Option<Timestamp>,
}

impl Looks {
    /// As they stand in a status. Letters that no look writes count as misses.
    #[must_use]
    pub fn of(letters: &str, at: Option<Timestamp>) -> Self {
        let known = letters.chars().map(|it| if "CAS".contains(it) { it } else { '-' }).collect();
        Self { letters: known, at }
    }

    /// The letters, the newest last.
    #[must_use]
    pub fn letters(&self) -> &str {
        &self.letters
    }

    /// When the newest look was taken.
    #[must_use]
    pub const fn at(&self) -> Option<Timestamp> {
        self.at
    }

    /// With one more look, or, within `distance` of the newest one, with what the two saw together.
    #[must_use]
    pub fn with(&self, seen: Option<Strength>, now: Timestamp, distance: Duration) -> Self {
        let letter = letter(seen);
        let distance = SignedDuration::try_from(distance).unwrap_or(SignedDuration::MAX);
        let mut letters: Vec<char> = self.letters.chars().collect();
        let is_same = self.at.is_some_and(|at| now.duration_since(at) < distance);
        match letters.last_mut().filter(|_| is_same) {
            Some(newest) => {
                if rank(letter) > rank(*newest) {
                    *newest = letter;
                }
                return Self { letters: letters.into_iter().collect(), at: self.at };
            }
            None => letters.push(letter),
        }
        let from = letters.len().saturating_sub(KEPT);
        Self { letters: letters[from..].iter().collect(), at: Some(now) }
    }

    /// In how many of the newest three looks it was seen at least so strongly.
    #[must_use]
    pub fn hits(&self, strength: Strength) -> usize {
        self.newest().filter(|it| rank(*it) >= rank(letter(Some(strength)))).count()
    }

    /// Whether two of the newest three looks saw it at least so strongly.
    #[must_use]
    pub fn confirm(&self, strength: Strength) -> bool {
        self.hits(strength) >= AGREE
    }

    /// Whether none of the newest three looks saw anything.
    #[must_use]
    pub fn are_clean(&self) -> bool {
        self.newest().all(|it| it == '-') && (self.letters.is_empty() || self.newest().count() == OUT_OF)
    }

    fn newest(&self) -> impl Iterator<Item = char> + '_ {
        self.letters.chars().rev().take(OUT_OF)
    }
}

fn letter(seen: Option<Strength>) -> char {
    match seen {
        Some(Strength::Certain) => 'C',
        Some(Strength::Alertable) => 'A',
        Some(Strength::Suspected) => 'S',
        None => '-',
    }
}

fn rank(letter: char) -> u8 {
    match letter {
        'C' => 3,
        'A' => 2,
        'S' => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APART: Duration = Duration::from_secs(60);

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minutes * 60).expect("a time")
    }

    fn seen(looks: &[Option<Strength>]) -> Looks {
        (0..).zip(looks).fold(Looks::default(), |all, (n, look)| all.with(*look, at(n), APART))
    }

    #[test]
    fn two_of_three_looks_confirm_and_one_does_not() {
        let (hit, miss) = (Some(Strength::Alertable), None);
        assert!(!seen(&[hit]).confirm(Strength::Alertable));
        assert!(seen(&[hit, hit]).confirm(Strength::Alertable));
        assert!(seen(&[hit, miss, hit]).confirm(Strength::Alertable));
        assert!(!seen(&[hit, miss, miss, hit]).confirm(Strength::Alertable));
        assert!(!seen(&[hit, hit]).confirm(Strength::Certain));
    }

    #[test]
    fn three_misses_clear_and_fewer_do_not() {
        let (hit, miss) = (Some(Strength::Suspected), None);
        assert!(!seen(&[hit, miss, miss]).are_clean());
        assert!(seen(&[hit, miss, miss, miss]).are_clean());
        assert!(Looks::default().are_clean());
    }

    #[test]
    fn evaluations_close_together_are_one_look_and_a_hit_among_them_counts() {
        let first = Looks::default().with(None, at(0), APART * 5);
        let second = first.with(Some(Strength::Certain), at(1), APART * 5);
        assert_eq!((second.letters(), second.at()), ("C", Some(at(0))));
        assert_eq!(second.with(None, at(2), APART * 5).letters(), "C");
        assert_eq!(second.with(None, at(5), APART * 5).letters(), "C-");
    }

    #[test]
    fn what_stands_in_a_status_is_read_back_and_nonsense_is_a_miss() {
        assert_eq!(Looks::of("CxA", None).letters(), "C-A");
        assert!(Looks::of("CC", Some(at(0))).confirm(Strength::Certain));
    }
}
