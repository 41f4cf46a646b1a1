//! Any bytes are an answer of the metrics backend, or are refused with a reason that is fit to be printed; what is read
//! is no larger than what was sent.

#![no_main]

use grpc_hygiene::io::{http::printable, prometheus::decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| match decode(bytes) {
    Ok(matrix) => {
        let samples: usize = matrix.series.iter().map(|it| it.samples.len()).sum();
        // `[0,"0"],` is the shortest sample.
        assert!(samples <= bytes.len() / 7, "{samples} samples out of {} bytes", bytes.len());
        matrix.warnings.iter().for_each(|it| is_printable(it));
    }
    Err(failure) => is_printable(&failure.message),
});

fn is_printable(text: &str) {
    assert_eq!(printable(text), text, "would spoil a log or a status");
}
