//! A progress bar on standard error. indicatif hides it where that is no terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The parts that a share of the work is counted in.
const PARTS: f64 = 1_000.0;

/// Whether and where progress is shown.
pub struct Progress {
    quiet: bool,
}

/// The progress of one piece of work.
pub struct Bar(ProgressBar);

impl Progress {
    /// Shows progress, or none.
    pub const fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// Work that knows its share, 0 to 1.
    pub fn share(&self, what: &str) -> Bar {
        self.bar(what, PARTS as u64, "{msg} {wide_bar} {percent:>3} %, {eta} left")
    }

    /// Bytes out of so many. Zero: nobody knows how many.
    pub fn bytes(&self, what: &str, all: u64) -> Bar {
        let template = match all {
            0 => "{msg} {spinner} {bytes} at {bytes_per_sec}",
            _ => "{msg} {wide_bar} {bytes} of {total_bytes} at {bytes_per_sec}, {eta} left",
        };
        self.bar(what, all, template)
    }

    fn bar(&self, what: &str, length: u64, template: &str) -> Bar {
        let target = if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Bar(ProgressBar::with_draw_target(Some(length), target).with_style(style).with_message(what.to_owned()))
    }
}

impl Bar {
    /// The share that is done, 0 to 1.
    pub fn set(&self, share: f64) {
        self.0.set_position((share.clamp(0.0, 1.0) * PARTS) as u64);
    }

    /// More bytes.
    pub fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Done: the bar goes away.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_one_that_indicatif_understands() {
        let progress = Progress::new(true);
        for bar in [progress.share("x"), progress.bytes("x", 0), progress.bytes("x", 9)] {
            bar.set(2.0);
            bar.add(1);
            bar.end();
        }
        assert!(ProgressStyle::with_template("{msg} {wide_bar} {percent:>3} %, {eta} left").is_ok());
    }
}
