//! The ledger as text, and what of a text is a ledger. Strict: what is not fully understood is not a ledger, and without
//! one nothing is restarted.

use serde_json::Value;

use super::{Ledger, VERSION};

/// A ledger larger than this is not read and not written: about 800 restarts in a day. Whoever needs more does not need
/// restarts.
pub const MAX_BYTES: usize = 256 * 1024;

/// Why a text is not a ledger, or a ledger not a text.
#[derive(Debug, thiserror::Error)]
pub enum InvalidLedger {
    /// It is too large, to be read as well as to be written.
    #[error("is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// It is not JSON, or a field is missing, unknown, or has a value that cannot be.
    #[error("is not a ledger: {0}")]
    NotALedger(#[from] serde_json::Error),
    /// Another version of this program wrote it.
    #[error("has version {0}, this operator knows {VERSION}")]
    Version(u64),
    /// Nobody can tell what wrote it.
    #[error("has no version")]
    NoVersion,
}

impl Ledger {
    /// Reads a ledger.
    ///
    /// # Errors
    /// It is too large, of another version, or anything in it is not understood.
    pub fn parse(text: &str) -> Result<Self, InvalidLedger> {
        if text.len() > MAX_BYTES {
            return Err(InvalidLedger::TooLarge);
        }
        let value: Value = serde_json::from_str(text)?;
        match value.get("version").and_then(Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => Ok(serde_json::from_value(value)?),
            Some(version) => Err(InvalidLedger::Version(version)),
            None => Err(InvalidLedger::NoVersion),
        }
    }

    /// Writes a ledger that [`Ledger::parse`] reads.
    ///
    /// # Errors
    /// It would be too large.
    pub fn print(&self) -> Result<String, InvalidLedger> {
        let text = serde_json::to_string(self)?;
        if text.len() > MAX_BYTES { Err(InvalidLedger::TooLarge) } else { Ok(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_is_not_understood_is_unreadable() {
        let good = r#"{"version":1,"since":"2026-11-23T10:00:00Z","entries":[]}"#;
        let huge = good.replace("[]", &format!("[],\"x\":\"{}\"", "x".repeat(MAX_BYTES)));
        let (newer, ageless) = (good.replace(":1,", ":2,"), r#"{"version":1,"entries":[]}"#);
        let unknown = good.replace("[]", "[],\"limits\":{}");
        for text in ["", "[]", r#"{"entries":[]}"#, &newer, ageless, &huge, &unknown] {
            assert!(Ledger::parse(text).is_err(), "{:?}", text.chars().take(60).collect::<String>());
        }
        let begun = Ledger::begun("2026-11-23T10:00:00Z".parse().expect("a time"));
        assert_eq!(Ledger::parse(good).expect("a ledger"), begun);
        assert_eq!(begun.print().expect("a text"), good);
    }

    #[test]
    fn what_is_read_may_be_as_large_as_what_is_written() {
        let good = r#"{"version":1,"since":"2026-11-23T10:00:00Z","entries":[]}"#;
        let padded = |bytes: usize| good.to_owned() + &" ".repeat(bytes - good.len());
        assert!(Ledger::parse(&padded(256 * 1024)).is_ok());
        assert!(matches!(Ledger::parse(&padded(256 * 1024 + 1)), Err(InvalidLedger::TooLarge)));
    }
}
