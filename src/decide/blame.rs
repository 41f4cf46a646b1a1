//! From a heap profile to the line of code that leaks channels. Pure: bytes go in, call sites come out.
//!
//! Buffers and connections do not tell who dialled, for a channel connects on goroutines of its own. But
//! `grpc.NewClient`, `Dial` and `DialContext` allocate on their caller's stack, and what they allocate lives as long as
//! the channel: about 4.4 KB for each. So the stacks above them say who holds channels, and their samples how many.
//!
//! - `profile` reads pprof's format and knows nothing of gRPC.
//! - `frames` says whose code a frame is.
//! - `sites` finds the frame to blame in a stack, through libraries and wrappers.
//! - `count` says how many channels a site holds, and how sure that is.
//! - `goroutines` counts channels in a goroutine profile, exactly, but cannot tell who made them.

mod count;
mod frames;
mod goroutines;
mod profile;
mod sites;

use std::collections::HashMap;

use serde::Serialize;

pub use goroutines::Census;
use profile::Stack;
pub use profile::{Frame, InvalidProfile, Kind, MAX_INFLATED, Profile};
use sites::{Dials, dials};

/// A site that holds fewer channels is a client or a pool of them, not a leak.
pub const LEAST_CHANNELS: f64 = 20.0;
/// A site is accused when it is at least this sure, percent, that it holds so many.
pub const ACCUSED_FROM: f64 = 95.0;

/// A place that makes channels which are still there.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Site {
    /// The function of the application: `example.com/shop/handlers.(*Orders).GetUser`.
    pub function: String,
    /// Its file, as the compiler was given it.
    pub file: String,
    /// The line of the call that ends in gRPC.
    pub line: i64,
    /// How many channels it holds.
    pub channels: f64,
    /// The ends of an 80 % interval of that.
    pub at_least: f64,
    /// See `at_least`.
    pub at_most: f64,
    /// What they take in the heap, bytes: the channels' share of all that channels take.
    pub bytes: f64,
    /// How many samples say so.
    pub samples: f64,
    /// How sure it is that it holds at least [`LEAST_CHANNELS`], percent.
    pub confidence: f64,
    /// The functions between the site and gRPC, outermost first: libraries and wrappers.
    pub through: Vec<String>,
    /// Who called the site, innermost first, `function file:line`.
    pub callers: Vec<String>,
    /// By how many channels it grew since the profile that this one is compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grew: Option<f64>,
}

impl Site {
    fn place(&self) -> (&str, &str, i64) {
        (&self.function, &self.file, self.line)
    }
}

/// What a heap profile says.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blame {
    /// Who leaks: what holds most comes first.
    pub accused: Vec<Site>,
    /// Who makes channels, and is not accused: they hold one, a few, or too few samples speak of them.
    pub others: Vec<Site>,
    /// How many channels there are in all, and how that is known.
    pub channels: Channels,
    /// What channels take in the heap, bytes.
    pub bytes: f64,
    /// What the whole heap takes, bytes.
    pub heap: f64,
    /// The version of grpc-go, if the profile says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc_go: Option<String>,
    /// Whether the channels idled out, so that next to nothing is left with who made them: `others` are those who
    /// dialled most, whether they closed what they dialled or not.
    pub faded: bool,
    /// Whether what holds channels is a server's side alone.
    pub serves_only: bool,
    /// Where most of the heap was allocated, `address in module`, if the profile names no functions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameless: Vec<String>,
}

/// How many channels there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Channels {
    /// So many.
    pub count: f64,
    /// Known from what.
    pub from: Known,
}

/// From what a number of channels is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Known {
    /// The goroutine profile or the caller: exactly.
    Counted,
    /// The channels' own objects in the heap, many of which were sampled.
    Objects,
    /// What channels take in the heap, and what one takes by measurement: to a tenth or two.
    #[default]
    Bytes,
}

/// Who made the channels that a heap profile shows. `channels` is how many there are, where that is known better than a
/// heap profile says it: from goroutines or from metrics. `before` is an earlier heap profile of the same program.
///
/// # Errors
/// One of them is no heap profile.
pub fn blame(heap: &Profile, channels: Option<f64>, before: Option<&Profile>) -> Result<Blame, InvalidProfile> {
    let found = dials(of_the_heap(heap)?);
    let mut counted = count::count(heap, &found, channels);
    if let Some(before) = before {
        let dials_before = dials(of_the_heap(before)?);
        let then = count::count(before, &dials_before, None);
        let held: HashMap<_, f64> = then.sites.iter().map(Site::place).zip(then.alone).collect();
        for (site, now) in counted.sites.iter_mut().zip(&counted.alone) {
            site.grew = Some(now - held.get(&site.place()).copied().unwrap_or_default());
        }
    }
    Ok(verdict(heap, &found, counted))
}

fn of_the_heap(profile: &Profile) -> Result<&Profile, InvalidProfile> {
    match profile.kind {
        Kind::Heap => Ok(profile),
        Kind::Goroutines => Err(InvalidProfile::Kind("goroutines, where one of the heap is needed".to_owned())),
    }
}

fn verdict(heap: &Profile, found: &Dials, counted: count::Counted) -> Blame {
    let mut sites = counted.sites;
    sites.sort_by(|a, b| b.channels.total_cmp(&a.channels).then_with(|| a.function.cmp(&b.function)));
    let leaks = |it: &Site| {
        let enough = it.channels >= LEAST_CHANNELS && it.confidence >= ACCUSED_FROM;
        enough && it.grew.is_none_or(|grew| grew >= LEAST_CHANNELS / 2.0)
    };
    let (accused, others): (Vec<Site>, Vec<Site>) = sites.into_iter().partition(leaks);
    Blame {
        serves_only: accused.is_empty() && others.is_empty() && found.roles.iter().any(|it| it.serves),
        accused,
        others,
        channels: counted.channels,
        faded: counted.faded,
        bytes: counted.bytes,
        heap: heap.stacks.iter().map(|it| it.bytes).sum(),
        nameless: nameless(heap),
        grpc_go: frames::grpc_version(heap).map(|(major, minor)| format!("{major}.{minor}")),
    }
}

/// The places of the largest stacks of a profile that was stripped of its symbols.
fn nameless(heap: &Profile) -> Vec<String> {
    const SHOWN: usize = 3;
    if heap.frames.is_empty() || heap.frames.iter().any(|it| !it.function.starts_with("0x")) {
        return Vec::new();
    }
    let mut stacks: Vec<&Stack> = heap.stacks.iter().collect();
    stacks.sort_by(|a, b| b.bytes.total_cmp(&a.bytes));
    let place = |it: &&Stack| heap.frames_of(it).next().map(|it| format!("{} in {}", it.function, it.file));
    stacks.iter().filter_map(place).take(SHOWN).collect()
}

#[cfg(test)]
mod tests;
