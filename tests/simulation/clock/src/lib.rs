//! The clocks and the randomness of simulated processes: takes the place of libc's `clock_gettime` and `getrandom` in the
//! program that it is linked into, so that `Instant::now()`, `Timestamp::now()` and the hash maps of unmodified code ask
//! the simulation. A thread that simulates nothing has the real ones.
//!
//! It decides nothing about time: whoever simulates sets the clocks. It is a crate of its own because it needs unsafe
//! code, which the operator's own crate forbids.

use std::cell::Cell;

use libc::{CLOCK_REALTIME, c_int, c_uint, c_void, clockid_t, size_t, ssize_t, timespec};

/// What the clocks of a thread show.
#[derive(Clone, Copy)]
pub struct Clocks {
    /// Nanoseconds since 1970, of the wall clock at elapsed time zero.
    pub wall: i64,
    /// Nanoseconds of the monotonic clock at elapsed time zero.
    pub monotonic: i64,
    /// Nanoseconds since then.
    pub elapsed: fn() -> i64,
}

thread_local! {
    static CLOCKS: Cell<Option<Clocks>> = const { Cell::new(None) };
    static ENTROPY: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Sets the clocks of this thread. `None`: the real ones.
pub fn set(clocks: Option<Clocks>) {
    CLOCKS.set(clocks);
}

/// From now on the randomness of this thread follows from a number: whoever asks gets the same, so that it does not matter
/// who asked before.
pub fn seed(seed: u64) {
    ENTROPY.set(Some(seed));
}

/// Takes the place of libc's.
///
/// # Safety
/// As libc's: `time` points to a `timespec` that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    // While the elapsed time is asked for, whatever that asks gets the real clock.
    let Some(clocks) = CLOCKS.try_with(Cell::take).ok().flatten() else {
        // SAFETY: the kernel's call has the arguments of libc's.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) } as c_int;
    };
    let elapsed = (clocks.elapsed)();
    CLOCKS.set(Some(clocks));
    let now = elapsed + if clock == CLOCK_REALTIME { clocks.wall } else { clocks.monotonic };
    // SAFETY: the caller says that it may be written.
    unsafe { *time = timespec { tv_sec: now.div_euclid(1_000_000_000), tv_nsec: now.rem_euclid(1_000_000_000) } };
    0
}

/// Takes the place of libc's.
///
/// # Safety
/// As libc's: `buffer` points to `length` bytes that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    let Some(mut state) = ENTROPY.try_with(Cell::get).ok().flatten() else {
        // SAFETY: the kernel's call has the arguments of libc's.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) } as ssize_t;
    };
    // SAFETY: the caller says that so many bytes may be written.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    for byte in bytes {
        // SplitMix64 (Steele, Lea & Flood 2014), one byte of each number.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        *byte = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb).to_be_bytes()[0];
    }
    length as ssize_t
}
