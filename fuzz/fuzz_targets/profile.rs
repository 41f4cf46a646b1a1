//! Any bytes are a profile, or are refused with a reason; whatever the profile, blame comes to an end.

#![no_main]

use grpc_hygiene::decide::blame::{Census, Profile, blame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(profile) = Profile::parse(bytes) {
        let _ = Census::of(&profile);
        if let Ok(blame) = blame(&profile, None, Some(&profile)) {
            assert!(blame.accused.is_empty(), "nothing grew since the same moment: {blame:?}");
        }
    }
});
