//! Any text is a series, or is refused with a reason; never a panic, and never more samples than the limit.

#![no_main]

use grpc_hygiene::decide::notation::{MAX_SAMPLES, labels, values};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(labels) = labels(text) {
        assert!(labels.get("__name__").is_some_and(|it| !it.is_empty()), "{labels:?}");
    }
    if let Ok(values) = values(text) {
        assert!((1..=MAX_SAMPLES).contains(&values.len()));
    }
});
