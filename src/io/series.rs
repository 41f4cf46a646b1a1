//! Recorded series from files, as `VictoriaMetrics` exports them (`/api/v1/export`): one series a line, with `metric`,
//! `values` and `timestamps` in milliseconds; plain or gzip, told apart by the first bytes.
//!
//! A file is read once, in pieces, and only what is wanted is kept. A bad line names its file and number; a line is
//! never repaired. It does not know what the series mean.

mod line;
mod merge;

pub use merge::Merged;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use flate2::read::MultiGzDecoder;

use crate::{
    decide::{Sample, Series},
    signals::LabelSet,
};
use line::parse;

/// How much text is handed to a parser at once, bytes.
const BATCH: usize = 1 << 20;
/// The longest line, bytes: a series of ten million points. Nobody exports more in one line.
const MAX_LINE: usize = 512 << 20;
/// Parsers beside the thread that reads and decompresses.
const PARSERS: usize = 2;
/// How many bad lines are kept with their reasons; the rest is counted.
const MAX_NAMED: usize = 20;

/// Why a file of series cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeriesError {
    /// It cannot be opened or read at all.
    #[error("{file}: {problem}")]
    File {
        /// The file, `-` for standard input.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// One line cannot be understood.
    #[error("{file}, line {line}: {problem}")]
    Line {
        /// The file, `-` for standard input.
        file: String,
        /// The line's number, from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
}

/// What was read.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The series that were wanted and have a value, each label set once, in time order.
    pub series: Vec<Series>,
    /// How many lines hold a series, wanted or not.
    pub lines: u64,
    /// How many bad lines were skipped.
    pub skipped: u64,
    /// The first of them.
    pub bad: Vec<SeriesError>,
}

/// How to read.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// Whether a series is wanted, by its labels.
    pub wanted: &'a (dyn Fn(&LabelSet) -> bool + Sync),
    /// Whether bad lines are counted and left out rather than an error.
    pub skip_bad: bool,
}

/// Reads files one after the other and merges what they say about the same series. `-` is standard input. `progress`
/// is told how many more bytes were read, before decompression.
///
/// # Errors
/// A file cannot be read, or (unless bad lines are skipped) the first line that cannot be understood.
pub fn read_files(
    paths: &[PathBuf],
    reading: Reading<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Loaded, SeriesError> {
    let mut loaded = Loaded::default();
    let mut merged = Merged::default();
    for path in paths {
        let name = path.display().to_string();
        if path == Path::new("-") {
            read_one(&name, io::stdin().lock(), reading, &mut loaded, &mut merged, progress)?;
        } else {
            let file = File::open(path).map_err(|error| SeriesError::File {
                file: name.clone(),
                problem: format!("cannot be opened: {error}"),
            })?;
            read_one(&name, file, reading, &mut loaded, &mut merged, progress)?;
        }
    }
    loaded.series = merged.finish();
    Ok(loaded)
}

fn read_one(
    name: &str,
    input: impl Read,
    reading: Reading<'_>,
    loaded: &mut Loaded,
    merged: &mut Merged,
    progress: &mut dyn FnMut(u64),
) -> Result<(), SeriesError> {
    let text = open(Told { input, progress })
        .map_err(|error| SeriesError::File { file: name.to_owned(), problem: format!("cannot be read: {error}") })?;
    let Pieces { mut parsed, failure } = parse_in_parallel(text, reading);
    parsed.sort_by_key(|it| it.first_line);
    let mut problems: Vec<(u64, String)> = parsed.iter_mut().flat_map(|it| std::mem::take(&mut it.bad)).collect();
    problems.extend(failure);
    let named = |(line, problem)| SeriesError::Line { file: name.to_owned(), line, problem };
    if !reading.skip_bad && !problems.is_empty() {
        return Err(named(problems.swap_remove(0)));
    }
    loaded.skipped += problems.len() as u64;
    let room = MAX_NAMED.saturating_sub(loaded.bad.len());
    loaded.bad.extend(problems.into_iter().take(room).map(named));
    for piece in parsed {
        loaded.lines += piece.lines;
        for (labels, samples) in piece.series {
            merged.add(labels, samples);
        }
    }
    Ok(())
}

/// Plain text, whatever comes in.
fn open<'a>(mut input: impl Read + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut head = Vec::with_capacity(2);
    input.by_ref().take(2).read_to_end(&mut head)?;
    let gzip = head == [0x1f, 0x8b];
    let whole = BufReader::with_capacity(1 << 18, Cursor::new(head).chain(input));
    // An archive may consist of several members, one after the other.
    Ok(if gzip { Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(whole))) } else { Box::new(whole) })
}

/// A reader that tells how much was read.
struct Told<'a, R> {
    input: R,
    progress: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(into)?;
        (self.progress)(n as u64);
        Ok(n)
    }
}

/// Whole lines of one file.
struct Batch {
    first_line: u64,
    text: Vec<u8>,
}

/// What a batch came to.
struct Parsed {
    first_line: u64,
    lines: u64,
    series: Vec<(LabelSet, Vec<Sample>)>,
    bad: Vec<(u64, String)>,
}

/// All of one file, in no order, and where reading it ended early.
struct Pieces {
    parsed: Vec<Parsed>,
    failure: Option<(u64, String)>,
}

/// Reads on this thread and parses on others. After a bad line that may not be skipped, no further text is read; what
/// stands before it is still parsed, so that the first bad line is the one that is told.
fn parse_in_parallel(mut text: Box<dyn BufRead + '_>, reading: Reading<'_>) -> Pieces {
    let (send, receive) = mpsc::sync_channel::<Batch>(2 * PARSERS);
    let (receive, stop, parsed) = (Mutex::new(receive), AtomicBool::new(false), Mutex::new(Vec::new()));
    let next = || receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
    let work = || {
        while let Ok(batch) = next() {
            let done = parse_batch(&batch, reading.wanted);
            if !done.bad.is_empty() && !reading.skip_bad {
                stop.store(true, Ordering::Relaxed);
            }
            parsed.lock().unwrap_or_else(PoisonError::into_inner).push(done);
        }
    };
    let failure = thread::scope(|scope| {
        for _ in 0..PARSERS {
            scope.spawn(work);
        }
        let mut line = 1;
        // Moved in, so that the parsers end when everything was sent.
        let send = send;
        while !stop.load(Ordering::Relaxed) {
            let (batch, lines, failure) = read_batch(&mut text, line);
            let end = batch.text.is_empty();
            // It fails only when all parsers are gone, and they stay as long as somebody sends.
            if send.send(batch).is_err() || end || failure.is_some() {
                return failure;
            }
            line += lines;
        }
        None
    });
    Pieces { parsed: parsed.into_inner().unwrap_or_else(PoisonError::into_inner), failure }
}

/// The next lines, how many they are, and why there is no more if that is not the file's end.
fn read_batch(text: &mut Box<dyn BufRead + '_>, first_line: u64) -> (Batch, u64, Option<(u64, String)>) {
    let mut batch = Batch { first_line, text: Vec::with_capacity(BATCH + BATCH / 4) };
    let mut lines = 0;
    while batch.text.len() < BATCH {
        let before = batch.text.len();
        let read = text.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut batch.text);
        let problem = match read {
            Ok(0) => break,
            Ok(MAX_LINE) => format!("a line longer than {} MiB", MAX_LINE >> 20),
            Ok(_) => {
                lines += 1;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => "the file ends in the middle".to_owned(),
            Err(error) => format!("cannot be read on: {error}"),
        };
        // Half a line says nothing.
        batch.text.truncate(before);
        return (batch, lines, Some((first_line + lines, problem)));
    }
    (batch, lines, None)
}

fn parse_batch(batch: &Batch, wanted: &(dyn Fn(&LabelSet) -> bool + Sync)) -> Parsed {
    let mut parsed = Parsed { first_line: batch.first_line, lines: 0, series: Vec::new(), bad: Vec::new() };
    for (line, number) in batch.text.split(|it| *it == b'\n').zip(batch.first_line..) {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        parsed.lines += 1;
        match parse(line, wanted) {
            Ok(Some((labels, samples))) if !samples.is_empty() => parsed.series.push((labels, samples)),
            Ok(_) => {}
            Err(problem) => parsed.bad.push((number, problem)),
        }
    }
    parsed
}

#[cfg(test)]
mod tests;
