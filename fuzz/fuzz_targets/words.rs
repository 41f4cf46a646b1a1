//! Any text is a duration, an amount or a word of when to come back, or is not; what is printed reads the same again.

#![no_main]

use grpc_hygiene::{
    api::{parse_duration, parse_quantity, print_duration},
    io::http::retry_after,
};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(duration) = parse_duration(text) {
        let printed = print_duration(duration);
        let again = parse_duration(&printed).unwrap_or_else(|why| panic!("printed as {printed:?}: {why}"));
        assert!(again <= duration, "{text:?} was printed as {printed:?}, which is longer");
        assert_eq!(print_duration(again), printed, "{text:?}");
    }
    if let Some(amount) = parse_quantity(text) {
        assert!(amount.is_finite() && amount > 0.0, "{text:?} is {amount}");
    }
    let _ = retry_after(text, Timestamp::UNIX_EPOCH);
});
