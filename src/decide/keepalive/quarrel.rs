//! How a disagreement unfolds: after which silence the server closes the connection, and whether the client learns.

use std::time::Duration;

use crate::api::{Language, print_duration};

/// Pings until the server closes. The first is free, for no other came before it; then it bears two strikes (A8:
/// `MAX_PING_STRIKES`). Measured with grpc-go: closed 40 s after the last data, with a ping every 10 s.
const PINGS: u32 = 4;

/// How it unfolds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarrel {
    /// The silence after which a connection is closed.
    pub first: Duration,
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
        Self { first: every.saturating_mul(PINGS), closures: learns.then(closures) }
    }

    /// The same in words, for connections without calls or for those with some.
    pub fn sentence(&self, language: Option<Language>, idle: bool) -> String {
        let about = print_duration(self.first);
        let closed = if idle {
            format!("a connection without calls is closed with ENHANCE_YOUR_CALM after about {about}")
        } else {
            format!(
                "a connection on which the server sends nothing for about {about} is closed with ENHANCE_YOUR_CALM, \
                 and its calls fail"
            )
        };
        format!("{closed} (the first ping is free, the third strike is one too many); {}", self.cure(language))
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
                doubles += "; the C core hides it while grpc.http2.max_pings_without_data is 2, its default: it then \
                            stops after two pings without data";
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
