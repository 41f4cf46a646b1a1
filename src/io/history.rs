//! The past as a metrics backend has it: the queries of an evaluation, asked piece by piece for a longer time, and put
//! together as a recording. What the Kubernetes API would say is read from series, too.
//!
//! A piece that is too much for the backend is halved. One that fails for good ends it all: a past with holes would be
//! judged as if it were whole.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp, Unit};

use crate::{
    decide::{Answer, FailureKind, InvalidPolicy, Matrix, Policy, QueryFailure, oom, replay::Recording},
    io::{
        observe::{Eyes, candidates},
        prometheus::Prometheus,
        series::Merged,
    },
    signals::{Query, Scope, Signal, Source, catalog, range_query},
};

/// How much is asked for at first.
const FIRST_PIECE: Duration = Duration::from_secs(4 * 3_600);
/// The most that is asked for at once, when there is little.
const LARGEST_PIECE: Duration = Duration::from_secs(24 * 3_600);
/// What fails for this little time fails for good.
const SMALLEST_PIECE: Duration = Duration::from_secs(300);
/// An answer with fewer samples is worth asking for twice the time.
const FEW_SAMPLES: usize = 200_000;
/// Sources that are read at the same time: as many as the client lets ask.
const AT_ONCE: usize = 2;

/// From when to when samples are read.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The beginning.
    pub from: Timestamp,
    /// The end.
    pub to: Timestamp,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Read {
    /// What was recorded.
    pub recording: Recording,
    /// What the backend warned of, each once.
    pub warnings: Vec<String>,
}

/// Why the past cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The policy names a source that it may not use.
    #[error(transparent)]
    Source(#[from] InvalidPolicy),
    /// A source could not be read.
    #[error("{signal} from {source_name}, the {length} before {at}: {failure}")]
    Query {
        /// What it says.
        signal: &'static str,
        /// The source.
        source_name: String,
        /// The end of the piece.
        at: Timestamp,
        /// The piece's length.
        length: String,
        /// Why.
        failure: QueryFailure,
    },
}

/// Reads all that a policy's evaluations in this time would have read, and what tells of OOM kills. `progress` is told
/// the share that is done, 0 to 1.
///
/// # Errors
/// The policy names an unknown source, or a query fails however little it asks for.
pub async fn read(
    eyes: &Eyes<'_>,
    policy: &Policy,
    scope: &Scope,
    span: Span,
    progress: &mut (dyn FnMut(f64) + Send),
) -> Result<Read, HistoryError> {
    let mut sources = Vec::new();
    for signal in Signal::ALL {
        let name = match policy.source(signal) {
            // The API does not tell the past; what the exporters said stands in for it.
            catalog::API => catalog::AUTO,
            name => name,
        };
        sources.extend(candidates(eyes.config, signal, name, scope)?);
    }
    let of_catalog = sources.len();
    sources.extend(oom_sources());
    let all = u32::try_from(sources.len()).unwrap_or(u32::MAX);
    let reads = sources.into_iter().enumerate().map(|(place, source)| async move {
        read_source(eyes.prometheus, &source, scope, span).await.map(|it| (place, source, it))
    });
    let mut reads = stream::iter(reads).buffer_unordered(AT_ONCE);
    let mut done = Vec::new();
    while let Some(read) = reads.try_next().await? {
        done.push(read);
        progress(f64::from(u32::try_from(done.len()).unwrap_or(u32::MAX)) / f64::from(all));
    }
    done.sort_by_key(|(place, ..)| *place);
    let mut read = Read::default();
    for (place, source, matrix) in done {
        for warning in &matrix.warnings {
            if !read.warnings.contains(warning) {
                read.warnings.push(warning.clone());
            }
        }
        match matrix.series.is_empty() {
            true => {}
            false if place < of_catalog => {
                read.recording.answers.push(Answer { source, width: None, result: Ok(std::sync::Arc::new(matrix)) });
            }
            false => read.recording.others.extend(matrix.series),
        }
    }
    Ok(read)
}

/// How the metrics that tell of OOM kills are asked for. They are no signals of a policy; what else a source says
/// (whose labels, which merge) is that of the restarts, which come from the same exporter.
fn oom_sources() -> Vec<Source> {
    let like = catalog::sources(Signal::Restarts);
    let ask = |metrics: &'static [&'static str]| Query::Selector { metrics, matchers: &[] };
    let source = |query| like.first().map(|like| Source { query, ..like.clone() });
    oom::METRICS.chunks(1).filter_map(|it| source(ask(it))).collect()
}

async fn read_source(
    prometheus: &Prometheus,
    source: &Source,
    scope: &Scope,
    span: Span,
) -> Result<Matrix, HistoryError> {
    let (mut merged, mut warnings) = (Merged::default(), Vec::new());
    // Queries are asked at whole seconds.
    let whole = |it: Timestamp| it.round(Unit::Second).unwrap_or(it);
    let (mut at, to, mut length) = (whole(span.from), whole(span.to), FIRST_PIECE);
    while at < to {
        let rest = to.duration_since(at).unsigned_abs();
        // Samples on the border of two pieces may come twice; they are merged.
        let piece = length.min(rest);
        let end = SignedDuration::try_from(piece).map_or(to, |it| at.saturating_add(it).unwrap_or(to));
        match read_piece(prometheus, source, scope, piece, end).await {
            Ok(matrix) => {
                let samples: usize = matrix.series.iter().map(|it| it.samples.len()).sum();
                if samples < FEW_SAMPLES && piece == length {
                    length = (2 * length).min(LARGEST_PIECE);
                }
                for series in matrix.series {
                    merged.add(series.labels, series.samples.iter().copied());
                }
                warnings.extend(matrix.warnings);
                at = end;
            }
            Err(failure) if is_too_much(failure.kind) && piece > SMALLEST_PIECE => {
                length = (piece / 2).max(SMALLEST_PIECE);
            }
            Err(failure) => {
                return Err(HistoryError::Query {
                    signal: source.signal.name(),
                    source_name: source.name.clone(),
                    at: end,
                    length: crate::api::print_duration(piece),
                    failure,
                });
            }
        }
    }
    Ok(Matrix { series: merged.finish(), warnings })
}

/// Whether asking for less may help.
const fn is_too_much(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::TooLarge | FailureKind::Refused | FailureKind::Overloaded)
}

async fn read_piece(
    prometheus: &Prometheus,
    source: &Source,
    scope: &Scope,
    piece: Duration,
    end: Timestamp,
) -> Result<Matrix, QueryFailure> {
    let refused = |message: String| QueryFailure { kind: FailureKind::Unexpected, message };
    let mut all = Matrix::default();
    for query in range_query(source, scope, piece).map_err(|why| refused(why.to_string()))? {
        let part = prometheus.read(&query, end).await?;
        all.series.extend(part.series.iter().cloned());
        all.warnings.extend(part.warnings.iter().cloned());
    }
    Ok(all)
}
