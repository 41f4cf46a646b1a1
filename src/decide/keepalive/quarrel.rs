//! How a disagreement unfolds: after which silence the server closes the connection, and whether the client learns.

use std::time::Duration;

use crate::api::{Language, print_duration};

/// Strikes until the server closes: it bears two (A8: `MAX_PING_STRIKES`).
const STRIKES: u32 = 3;
/// Pings until then. The first is free, for no other came before it, unless the client has pinged already to measure the
/// bandwidth, as it does after data. Measured with a ping every 10 s: grpc-go 1.84 is closed 40 s after an
/// idle connection was made, and 31 s after the last data on a stream; grpcio 1.85 after 31 s, too.
const PINGS: u32 = STRIKES + 1;

/// How it unfolds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarrel {
    /// The silence after which a connection is closed, at least and at most.
    pub silence: (Duration, Duration),
    /// How many connections of one channel are closed before it pings rarely enough. `None`: it never does.
    pub closures: Option<u32>,
}

impl Quarrel {
    /// Between a client that pings so often and a server that asks for `needed` between two pings.
    pub fn of(language: Option<Language>, every: Duration, needed: Duration) -> Self {
        let learns = language != Some(Language::Tonic) && !every.is_zero();
        let closures = || {
            let (mut interval, mut closures) = (every, 0);
            while interval < needed {
                // Every implementation but tonic doubles, for the channel's next connections (A8).
                (interval, closures) = (interval.saturating_mul(2), closures + 1);
            }
            closures
        };
        let silence = (every.saturating_mul(STRIKES), every.saturating_mul(PINGS));
        Self { silence, closures: learns.then(closures) }
    }

    /// The same in words, for connections without calls or for those with some.
    pub fn sentence(&self, language: Option<Language>, idle: bool) -> String {
        let (least, most) = (print_duration(self.silence.0), print_duration(self.silence.1));
        let closed = if idle {
            format!("a connection without calls is closed with ENHANCE_YOUR_CALM after about {most}")
        } else {
            format!(
                "a connection on which the server sends nothing for {least} to {most} is closed with \
                 ENHANCE_YOUR_CALM, and its calls fail"
            )
        };
        format!("{closed} (the third ping that comes too early is one too many); {}", self.cure(language))
    }

    fn cure(&self, language: Option<Language>) -> String {
        let Some(closures) = self.closures else {
            return "tonic does not ping less often after that, so it goes on for ever".to_owned();
        };
        let mut doubles = format!(
            "each time the channel doubles its interval, so that there is peace after {}; a client that dials per \
             call never learns",
            closed(closures)
        );
        match language {
            None => doubles += ", nor does tonic",
            Some(Language::Cpp | Language::Python | Language::Ruby | Language::Php) => {
                // Measured with grpcio 1.85 and a ping every 10 s: closed after 81 s instead of 31. Older ones stop.
                doubles += "; the C core delays or hides it: after grpc.http2.max_pings_without_data (2) it pings once \
                            a minute, older versions not at all";
            }
            Some(Language::Go | Language::Java | Language::Tonic) => {}
        }
        doubles
    }
}

fn closed(n: u32) -> String {
    match n {
        1 => "one closure".to_owned(),
        n => format!("{n} closures"),
    }
}
