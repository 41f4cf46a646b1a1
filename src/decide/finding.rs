//! What can be said about a subject: healthy, growing and why, or that nothing can be said and why not.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    api::print_duration,
    decide::{Forecast, Strength, Target, cost::Brought, quietest::DayLoad, stats::Trend},
    signals::Signal,
};

/// A bad habit. `docs/runbooks/` has a page for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Diagnosis {
    /// A new connection per call, or per call of some call sites, never closed.
    DialPerCall,
    /// Open connections rise, and memory with them; what opens them is not known.
    ConnectionLeak,
    /// Connections are flat or gone, goroutines and memory rise: channels idle out but are never closed.
    IdleChannelResidue,
    /// Connections are opened and closed all the time.
    ConnectionChurn,
    /// The server closes connections because of too many keepalive pings.
    KeepaliveRejected,
    /// Connection attempts fail.
    TargetUnreachable,
    /// Memory rises, and connections do not explain it.
    MemoryLeakElsewhere,
}

impl Diagnosis {
    /// All diagnoses.
    pub const ALL: [Self; 7] = [
        Self::DialPerCall,
        Self::ConnectionLeak,
        Self::IdleChannelResidue,
        Self::ConnectionChurn,
        Self::KeepaliveRejected,
        Self::TargetUnreachable,
        Self::MemoryLeakElsewhere,
    ];

    /// Its name in status, labels and annotations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DialPerCall => "DialPerCall",
            Self::ConnectionLeak => "ConnectionLeak",
            Self::IdleChannelResidue => "IdleChannelResidue",
            Self::ConnectionChurn => "ConnectionChurn",
            Self::KeepaliveRejected => "KeepaliveRejected",
            Self::TargetUnreachable => "TargetUnreachable",
            Self::MemoryLeakElsewhere => "MemoryLeakElsewhere",
        }
    }

    /// What the person who owns the code is told to change.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::DialPerCall => "create one client connection per target at start and share it; do not dial per call",
            Self::ConnectionLeak => "close every client connection that is dialled, or share one",
            Self::IdleChannelResidue => "close channels that are no longer used; the idle timeout only hides them",
            Self::ConnectionChurn => "share one client connection instead of dialling and closing one per call",
            Self::KeepaliveRejected => "agree on keepalive: the client may not ping more often than the server permits",
            Self::TargetUnreachable => "make the target reachable, or stop calling it; this is not a leak",
            Self::MemoryLeakElsewhere => "look for the leak outside gRPC: connections do not explain the memory",
        }
    }

    /// Whether a restart gives memory back. Nothing else is ever restarted.
    #[must_use]
    pub const fn restart_helps(self) -> bool {
        matches!(self, Self::DialPerCall | Self::ConnectionLeak | Self::IdleChannelResidue)
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How sure the trend test is: one minus its p-value, in percent, 0 to 99.999.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Confidence(f64);

impl Confidence {
    /// From a p-value. Whatever is not a probability gives no confidence at all.
    #[must_use]
    pub fn from_p_value(p: f64) -> Self {
        if (0.0..=1.0).contains(&p) { Self(((1.0 - p) * 100.0).min(99.999)) } else { Self(0.0) }
    }

    /// In percent.
    #[must_use]
    pub const fn percent(self) -> f64 {
        self.0
    }
}

/// Why nothing can be said. Never a reason to restart.
#[derive(Clone, Debug, PartialEq)]
pub enum Why {
    /// No source has open connections, calls or memory for it.
    NoData,
    /// The container is younger than the warm-up.
    WarmingUp {
        /// How long until it is judged, seconds.
        remaining: f64,
    },
    /// Fewer buckets than the trend test needs.
    TooShort {
        /// The signal.
        signal: Signal,
        /// What there is.
        have: usize,
        /// What is needed.
        need: usize,
    },
    /// The newest sample is old.
    Stale {
        /// The signal.
        signal: Signal,
        /// Its age, seconds.
        age: f64,
    },
    /// Samples are missing in between.
    Gaps {
        /// The signal.
        signal: Signal,
        /// The largest gap, seconds.
        gap: f64,
    },
    /// Samples lie in the future: some clock is wrong.
    Future {
        /// The signal.
        signal: Signal,
    },
    /// The values cannot be measurements.
    BadValues {
        /// The signal.
        signal: Signal,
        /// What is wrong with them.
        what: &'static str,
    },
    /// Several series claim to be the same figure.
    Duplicates {
        /// The signal.
        signal: Signal,
        /// The source.
        source: String,
        /// How many.
        count: usize,
    },
    /// The series of a source carry no usable pod or container label.
    Unattributed {
        /// The signal.
        signal: Signal,
        /// The source.
        source: String,
        /// The label that is missing.
        label: String,
    },
    /// The query failed.
    QueryFailed {
        /// The signal.
        signal: Signal,
        /// What the backend said, shortened.
        reason: String,
    },
    /// The backend warned that its answer is partial.
    Warnings {
        /// The signal.
        signal: Signal,
        /// The first warning, shortened.
        warning: String,
    },
    /// Sockets rise, but the source counts inbound connections, and the pod serves.
    DirectionUnknown {
        /// Why it is taken for a server.
        serves: String,
    },
    /// Connections rise, and so does the load: nothing tells which they follow.
    LoadRisesToo,
    /// Connections rise all through what is seen of them, but by less than the share of their level that a finding asks.
    Creeps,
    /// The trend is neither clear nor absent.
    Unclear {
        /// The signal.
        signal: Signal,
        /// How sure the test is, percent.
        confidence: f64,
    },
}

impl Why {
    /// One word for status and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoData => "NoData",
            Self::WarmingUp { .. } => "WarmingUp",
            Self::TooShort { .. } => "TooShort",
            Self::Stale { .. } => "Stale",
            Self::Gaps { .. } => "Gaps",
            Self::Future { .. } => "ClockSkew",
            Self::BadValues { .. } => "BadValues",
            Self::Duplicates { .. } => "Duplicates",
            Self::Unattributed { .. } => "Unattributed",
            Self::QueryFailed { .. } => "QueryFailed",
            Self::Warnings { .. } => "PartialData",
            Self::DirectionUnknown { .. } => "DirectionUnknown",
            Self::LoadRisesToo => "LoadRisesToo",
            Self::Creeps => "Creeping",
            Self::Unclear { .. } => "Unclear",
        }
    }

    /// Whether the data are at fault (as opposed to the subject being young, say).
    #[must_use]
    pub const fn blames_data(&self) -> bool {
        !matches!(
            self,
            Self::WarmingUp { .. }
                | Self::TooShort { .. }
                | Self::DirectionUnknown { .. }
                | Self::LoadRisesToo
                | Self::Creeps
                | Self::Unclear { .. }
        )
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |seconds: &f64| print_duration(std::time::Duration::try_from_secs_f64(*seconds).unwrap_or_default());
        match self {
            Self::NoData => f.write_str("no source has data about its client connections"),
            Self::WarmingUp { .. } => f.write_str("warming up"),
            // The count moves with every sample; a status would show an old one.
            Self::TooShort { signal, need, .. } => {
                write!(f, "{} has fewer than the {need} usable points that the trend test needs", signal.name())
            }
            Self::Stale { signal, age } => write!(f, "the newest sample of {} is {} old", signal.name(), time(age)),
            Self::Gaps { signal, gap } => write!(f, "{} has a gap of {}", signal.name(), time(gap)),
            Self::Future { signal } => {
                write!(
                    f,
                    "{} has samples in the future: the clocks of operator and metrics backend differ",
                    signal.name()
                )
            }
            Self::BadValues { signal, what } => write!(f, "{} cannot be measured: {what}", signal.name()),
            Self::Duplicates { signal, source, count } => {
                write!(f, "source {source} has {count} series of {} for one container, expected one", signal.name())
            }
            Self::Unattributed { signal, source, label } => write!(
                f,
                "series of source {source} for {} carry no label {label:?}: check the source's labels",
                signal.name()
            ),
            Self::QueryFailed { signal, reason } => write!(f, "the query for {} failed: {reason}", signal.name()),
            Self::Warnings { signal, warning } => {
                write!(f, "the answer for {} may be partial: {warning}", signal.name())
            }
            Self::DirectionUnknown { serves } => write!(
                f,
                "open sockets rise, but {serves}, so they may be its clients': \
                 export grpc.subchannel.open_connections or calls to tell"
            ),
            Self::LoadRisesToo => f.write_str(
                "open connections rise, and the load rises with time as well: nothing tells which they follow",
            ),
            Self::Creeps => f.write_str(
                "open connections rise all through what is seen of them, but by less than a quarter of their level: \
                 an old leak does, and so may a pool",
            ),
            Self::Unclear { signal, confidence } => {
                write!(f, "{} may be rising, {confidence:.1} % sure: not enough to say", signal.name())
            }
        }
    }
}

/// What the numbers say, whether or not they amount to a finding. `explain` prints it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Connections open now.
    pub open_connections: Option<f64>,
    /// Trend of open connections.
    pub connections: Option<Trend>,
    /// What that trend leaves unexplained, point by point, connections.
    pub residuals: Vec<f64>,
    /// Connections opened in the scale that was judged.
    pub opened: Option<f64>,
    /// Calls made in the same time.
    pub calls: Option<f64>,
    /// Calls per connection opened.
    pub calls_per_connection: Option<f64>,
    /// Connections that were not closed, per call made: what the load does not explain.
    pub leaked_per_call: Option<f64>,
    /// Goroutines now.
    pub goroutines: Option<f64>,
    /// Trend of goroutines.
    pub goroutine_trend: Option<Trend>,
    /// Memory in use now, bytes.
    pub memory: Option<f64>,
    /// Trend of memory, bytes per second.
    pub memory_trend: Option<Trend>,
    /// Memory limit, bytes.
    pub memory_limit: Option<f64>,
    /// Memory growth divided by connection growth, bytes.
    pub bytes_per_connection: Option<f64>,
    /// When memory reaches the limit.
    pub forecast: Option<Forecast>,
    /// How many calls are to be expected when. `None`: less than a day is known, or nobody tells.
    pub load: Option<DayLoad>,
    /// Who besides the application vouches for growth, for people.
    pub witnesses: Vec<String>,
    /// The time that was judged, seconds.
    pub span: Option<f64>,
    /// The revision that brought it, if earlier ones tell.
    pub brought: Option<Brought>,
}

/// A finding's content.
#[derive(Clone, Debug, PartialEq)]
pub struct Growth {
    /// Which habit.
    pub diagnosis: Diagnosis,
    /// How sure.
    pub confidence: Confidence,
    /// How much it is worth.
    pub strength: Strength,
    /// The evidence in one sentence.
    pub message: String,
}

/// What can be said.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing grows that should not.
    Healthy,
    /// A bad habit.
    Growing(Growth),
    /// Nothing can be said.
    Inconclusive(Why),
}

/// A verdict about someone, with the numbers behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// About whom.
    pub target: Target,
    /// What.
    pub verdict: Verdict,
    /// The numbers.
    pub evidence: Evidence,
    /// Signal and source that were used.
    pub sources: Vec<(Signal, String)>,
}
