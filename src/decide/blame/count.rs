//! How many channels a site holds, and how sure that is. Which sites there are is decided in [`super::sites`].
//!
//! One object in half a megabyte is sampled, so a thousand channels of one site are some ten samples, and a number read
//! off them alone is off by a third. Three things make it better: all sites together are known far better than each, from
//! goroutines or from all that channels take; what was allocated counts, too, where what should live is still there; and
//! sites whose samples do not differ beyond chance are taken to hold alike.

use std::collections::HashSet;

use statrs::distribution::{ChiSquared, ContinuousCDF, DiscreteCDF, Poisson};

use super::{
    Channels, Known, LEAST_CHANNELS, Site, frames,
    profile::{Frame, Profile, Stack},
    sites::{Dial, Dials},
};

/// What a channel leaves on its maker's stack, bytes (grpc-go 1.45 to 1.85: 4.2 to 4.7 KB).
const ON_THE_CALLERS_STACK: f64 = 4_400.0;
/// What a channel that was used once takes in the heap, bytes, without and with TLS, from a version of grpc-go 1 on. As
/// measured, less the 440 bytes that each of its goroutines takes on nobody's stack.
const IN_THE_HEAP: [(u32, f64, f64); 6] = [
    (0, 109_700.0, 115_700.0),
    (56, 112_200.0, 117_200.0),
    (58, 79_800.0, 84_800.0),
    (75, 81_800.0, 86_800.0),
    (80, 49_800.0, 56_800.0),
    (81, 16_800.0, 56_800.0),
];
/// With fewer samples of what is still there, sites cannot be told by it.
const FADED: f64 = 3.0;
/// From so many samples of the channels' own objects on these are simply counted.
const COUNTED_FROM: f64 = 50.0;
/// The smallest object of its own that a channel is, bytes: it is a thousand or more, all else is small.
const A_CHANNEL: f64 = 640.0;
/// Sites differ when chance would make them differ as much less often than this.
const DIFFERENT: f64 = 0.05;
/// The interval misses this share at either end.
const TAIL: f64 = 0.1;

/// Sites with their figures.
pub struct Counted {
    pub sites: Vec<Site>,
    /// What each site holds by its own samples alone, whoever is like it.
    pub alone: Vec<f64>,
    /// Whether they only may have made the channels: what they allocated has gone.
    pub faded: bool,
    pub channels: Channels,
    /// What channels take, bytes.
    pub bytes: f64,
}

/// What the samples of one site add up to.
#[derive(Clone, Copy, Default)]
struct Tally {
    /// Samples of what is still there.
    live: f64,
    live_bytes: f64,
    /// Samples of what was ever allocated.
    allocated: f64,
    /// The same of what stays as long as a channel does.
    lasting_live: f64,
    lasting_allocated: f64,
    /// Channels' own objects, and samples of them.
    objects: f64,
    objects_sampled: f64,
}

impl Tally {
    /// Samples that speak of channels which are still there: of all that was allocated, the share that lasted.
    fn weight(&self) -> f64 {
        let lasted = if self.lasting_allocated > 0.0 { self.lasting_live / self.lasting_allocated } else { 0.0 };
        (self.allocated * lasted.min(1.0)).max(self.live)
    }
}

/// Counts the channels of every site.
pub fn count(profile: &Profile, dials: &Dials, known: Option<f64>) -> Counted {
    let lasting = lasting(profile, dials);
    let tallies: Vec<(usize, Tally)> =
        dials.by_site.iter().map(|(site, stacks)| (*site, tally(profile, stacks, &lasting))).collect();
    // Of channels that idled out next to nothing is left with who made them; then what was allocated says who may have.
    let live: f64 = tallies.iter().map(|it| it.1.live).sum();
    let faded = live < FADED && known.is_some_and(|it| it >= LEAST_CHANNELS);
    let speaks = |it: &(usize, Tally)| it.1.live > 0.0 || faded && it.1.allocated > 0.0;
    let tallies: Vec<(usize, Tally)> = tallies.into_iter().filter(speaks).collect();
    let bytes = held(profile);
    let channels = in_all(profile, &tallies, bytes, known);
    let exact = tallies.iter().map(|it| it.1.objects_sampled).sum::<f64>() >= COUNTED_FROM;
    let weight = |it: &Tally| if faded { it.allocated } else { it.weight() };
    let weights: Vec<f64> = tallies.iter().map(|(_, it)| if exact { it.objects } else { weight(it) }).collect();
    let sampled: Vec<f64> = tallies.iter().map(|(_, it)| if exact { it.objects_sampled } else { weight(it) }).collect();
    let alike = alike(&sampled);
    let all: f64 = weights.iter().sum();
    let shares = alike.iter().map(|group| {
        let of = |it: &usize| weights[*it];
        group.iter().map(of).sum::<f64>() / group.len() as f64 / all.max(f64::MIN_POSITIVE)
    });
    let mut share = vec![0.0; weights.len()];
    for (group, each) in alike.iter().zip(shares) {
        group.iter().for_each(|it| share[*it] = each);
    }
    let alone = weights.iter().map(|it| channels.count * it / all.max(f64::MIN_POSITIVE)).collect();
    let site = |(place, (frame, tally)): (usize, &(usize, Tally))| {
        let held = channels.count * share[place];
        site(profile, *frame, &dials.by_site[frame], tally, held, bytes * share[place], sampled[place])
    };
    Counted { sites: tallies.iter().enumerate().map(site).collect(), alone, faded, channels, bytes }
}

fn site(profile: &Profile, frame: usize, stacks: &[Dial], tally: &Tally, channels: f64, bytes: f64, n: f64) -> Site {
    let Frame { function, file, line } = profile.frames[frame].clone();
    // Of several ways to the site the one that most samples took is shown.
    let live = |it: &Dial| profile.stacks[it.stack].bytes.max(profile.stacks[it.stack].allocated_bytes / 1e6);
    let usual = stacks.iter().max_by(|a, b| live(a).total_cmp(&live(b))).copied();
    let shown = usual.map(|it| (it, &profile.stacks[it.stack])).map_or_else(Default::default, |it| ways(profile, it));
    let per_sample = if n > 0.0 { channels / n } else { 0.0 };
    Site {
        function,
        file,
        line,
        channels,
        at_least: per_sample * poisson_at_least(n),
        at_most: per_sample * poisson_at_most(n),
        bytes,
        samples: tally.live,
        confidence: confidence(profile.rate, tally.live),
        through: shown.0,
        callers: shown.1,
        grew: None,
    }
}

/// The functions between a site and gRPC, and those above the site.
fn ways(profile: &Profile, (dial, stack): (Dial, &Stack)) -> (Vec<String>, Vec<String>) {
    let frames: Vec<&Frame> = profile.frames_of(stack).collect();
    let through = frames[dial.dial + 1..dial.site.max(dial.dial + 1)].iter().rev().map(|it| it.function.clone());
    let callers = frames[(dial.site + 1).min(frames.len())..].iter();
    (through.collect(), callers.map(|it| format!("{} {}:{}", it.function, it.file, it.line)).collect())
}

/// What is allocated while dialling and is still there with some channel: by the places below the dial.
fn lasting(profile: &Profile, dials: &Dials) -> HashSet<Vec<usize>> {
    let all = dials.by_site.values().flatten();
    let lives = all.filter(|it| profile.stacks[it.stack].objects > 0.0);
    lives.map(|it| profile.stacks[it.stack].frames[..it.dial].to_vec()).collect()
}

fn tally(profile: &Profile, stacks: &[Dial], lasting: &HashSet<Vec<usize>>) -> Tally {
    let mut tally = Tally::default();
    for dial in stacks {
        let stack = &profile.stacks[dial.stack];
        let live = profile.samples(stack.objects, stack.bytes);
        let allocated = profile.samples(stack.allocated_objects, stack.allocated_bytes).max(live);
        tally.live += live;
        tally.live_bytes += stack.bytes;
        tally.allocated += allocated;
        if lasting.contains(&stack.frames[..dial.dial]) {
            tally.lasting_live += live;
            tally.lasting_allocated += allocated;
        }
        let own = stack.frames.first().is_some_and(|it| frames::dials(&profile.frames[*it]));
        if own && stack.objects > 0.0 && stack.bytes / stack.objects >= A_CHANNEL {
            tally.objects += stack.objects;
            tally.objects_sampled += live;
        }
    }
    tally
}

/// What channels take in the heap, bytes, besides their calls.
fn held(profile: &Profile) -> f64 {
    let of = |test: fn(&Frame) -> bool| profile.frames.iter().map(test).collect::<Vec<bool>>();
    let (holds, calls, serves) = (of(frames::holds), of(frames::calls), of(frames::serves));
    let any = |stack: &Stack, those: &[bool]| stack.frames.iter().any(|it| those[*it]);
    let held = |it: &&Stack| any(it, &holds) && !any(it, &calls) && !any(it, &serves);
    profile.stacks.iter().filter(held).fold(0.0, |sum, it| sum + it.bytes)
}

fn in_all(profile: &Profile, tallies: &[(usize, Tally)], bytes: f64, known: Option<f64>) -> Channels {
    let sum = |of: fn(&Tally) -> f64| tallies.iter().map(|it| of(&it.1)).sum::<f64>();
    if let Some(count) = known {
        return Channels { count, from: Known::Counted };
    }
    if sum(|it| it.objects_sampled) >= COUNTED_FROM {
        return Channels { count: sum(|it| it.objects), from: Known::Objects };
    }
    let on_stacks = sum(|it| it.live_bytes);
    let minor = frames::grpc_version(profile).map_or(0, |it| it.1);
    let encrypted = profile.stacks.iter().any(|stack| {
        stack.bytes > 0.0
            && profile.frames_of(stack).any(frames::encrypts)
            && profile.frames_of(stack).any(frames::holds)
    });
    let each = IN_THE_HEAP.iter().rev().find(|it| it.0 <= minor).map_or(0.0, |it| if encrypted { it.2 } else { it.1 });
    // Channels that never connected take no more than what their maker's stack shows.
    let connected = bytes > 2.0 * on_stacks;
    let count = if connected { bytes / each } else { on_stacks / ON_THE_CALLERS_STACK };
    Channels { count, from: Known::Bytes }
}

/// Sites whose samples differ by no more than chance: neighbours are joined while chi-squared lets them.
fn alike(sampled: &[f64]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sampled.len()).collect();
    order.sort_by(|a, b| sampled[*b].total_cmp(&sampled[*a]));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for site in order {
        match groups.last_mut() {
            Some(group) if no_more_than_chance(group.iter().map(|it| sampled[*it]).chain([sampled[site]])) => {
                group.push(site);
            }
            _ => groups.push(vec![site]),
        }
    }
    groups
}

fn no_more_than_chance(counts: impl Iterator<Item = f64>) -> bool {
    let counts: Vec<f64> = counts.collect();
    let mean = counts.iter().sum::<f64>() / counts.len() as f64;
    let chi_squared: f64 = counts.iter().map(|it| (it - mean).powi(2) / mean.max(f64::MIN_POSITIVE)).sum();
    ChiSquared::new(counts.len() as f64 - 1.0).is_ok_and(|it| it.sf(chi_squared) > DIFFERENT)
}

/// How sure it is that so many samples are those of [`LEAST_CHANNELS`] or more, percent.
fn confidence(rate: f64, samples: f64) -> f64 {
    // Objects of the size that most of a channel's are.
    const OBJECT: f64 = 128.0;
    let of_one = ON_THE_CALLERS_STACK / OBJECT * -(-OBJECT / rate).exp_m1();
    let by_fewer =
        Poisson::new(LEAST_CHANNELS * of_one).map_or(1.0, |it| 1.0 - it.cdf((samples.round() as u64).max(1) - 1));
    100.0 * (1.0 - by_fewer)
}

/// The ends of the exact interval for a Poisson mean (Garwood 1936).
fn poisson_at_least(n: f64) -> f64 {
    if n <= 0.0 { 0.0 } else { ChiSquared::new(2.0 * n).map_or(0.0, |it| it.inverse_cdf(TAIL) / 2.0) }
}

fn poisson_at_most(n: f64) -> f64 {
    ChiSquared::new(2.0 * n + 2.0).map_or(f64::INFINITY, |it| it.inverse_cdf(1.0 - TAIL) / 2.0)
}
