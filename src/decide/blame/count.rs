//! How many channels a site holds, and how sure that is. Which sites there are is decided in [`super::sites`].
//!
//! One object in half a megabyte is sampled, so a thousand channels of one site are some ten samples, and a number read
//! off them alone is off by a third. Three things make it better: all sites together are known far better than each, from
//! goroutines or from all that channels take; what was allocated counts, too, where what should live is still there; and
//! sites whose samples do not differ beyond chance are taken to hold alike.

use std::collections::HashSet;

use statrs::distribution::{ChiSquared, ContinuousCDF, DiscreteCDF, Poisson};

use super::{
    Channels, Known, LEAST_CHANNELS, Site,
    frames::{self, Role},
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
/// Clients of libraries are counted by what they hold besides their channel from so many samples on,
const CLIENTS_FROM: f64 = 8.0;
/// if that is large enough to be one for each, bytes.
const A_CLIENT: f64 = 4_096.0;
/// With fewer samples of what is still there, sites cannot be told by it.
const FADED: f64 = 3.0;
/// and a channel that takes less than this has no connection any more, bytes: one with a connection takes 16 KB or more.
const IDLE: f64 = 8_000.0;
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
    /// Of what a library's clients hold besides their channels: the objects of which most bytes are there, one for each
    /// client, and samples of them.
    clients: f64,
    clients_sampled: f64,
    clients_bytes: f64,
    /// All that it holds besides channels.
    beside: f64,
}

impl Tally {
    /// Samples that speak of channels which are still there: of all that was allocated, the share that lasted.
    fn weight(&self) -> f64 {
        let lasted = if self.lasting_allocated > 0.0 { self.lasting_live / self.lasting_allocated } else { 0.0 };
        (self.allocated * lasted.min(1.0)).max(self.live)
    }

    /// Whether clients of a library are counted by what they hold besides their channel.
    fn knows_clients(&self) -> bool {
        self.clients_sampled >= CLIENTS_FROM
            && self.clients_sampled > self.live
            && self.clients_bytes >= A_CLIENT * self.clients
    }

    /// How sure it is that the site holds at least [`LEAST_CHANNELS`], percent.
    fn confidence(&self, rate: f64) -> f64 {
        if self.knows_clients() {
            return surely(self.clients_sampled, LEAST_CHANNELS * self.clients_sampled / self.clients);
        }
        // Objects of the size that most of a channel's are.
        const OBJECT: f64 = 128.0;
        let of_one = ON_THE_CALLERS_STACK / OBJECT * -(-OBJECT / rate).exp_m1();
        surely(self.live, LEAST_CHANNELS * of_one)
    }
}

/// Counts the channels of every site.
pub fn count(profile: &Profile, dials: &Dials, known: Option<f64>) -> Counted {
    let lasting = lasting(profile, dials);
    let tallies: Vec<(usize, Tally)> =
        dials.by_site.iter().map(|(site, of)| (*site, tally(profile, of, dials, &lasting))).collect();
    // Of channels that idled out next to nothing is left with who made them; then what was allocated says who may have.
    let live: f64 = tallies.iter().map(|it| it.1.live + it.1.clients_sampled).sum();
    let bytes = held(profile, &dials.roles);
    let faded = live < FADED && known.is_some_and(|it| it >= LEAST_CHANNELS && bytes < IDLE * it);
    let speaks = |it: &(usize, Tally)| it.1.live > 0.0 || it.1.knows_clients() || faded && it.1.allocated > 0.0;
    let tallies: Vec<(usize, Tally)> = tallies.into_iter().filter(speaks).collect();
    let channels = in_all(profile, dials, &tallies, bytes, known);
    let exact = tallies.iter().map(|it| it.1.objects_sampled).sum::<f64>() >= COUNTED_FROM;
    let weight = |it: &Tally| match it {
        it if it.knows_clients() => (0.0, 0.0),
        it if exact => (it.objects, it.objects_sampled),
        it if faded => (it.allocated, it.allocated),
        it => (it.weight(), it.weight()),
    };
    let (weights, sampled): (Vec<f64>, Vec<f64>) = tallies.iter().map(|it| weight(&it.1)).unzip();
    // Sites that hold libraries' clients are counted by these; the others share what is left.
    let counted: f64 = tallies.iter().filter(|it| it.1.knows_clients()).map(|it| it.1.clients).sum();
    let nobody_else = weights.iter().all(|it| *it <= 0.0) && channels.from == Known::Counted;
    // A heap profile is older than the goroutines; where nobody else made any, they are all there.
    let scale = if nobody_else || counted > channels.count { channels.count / counted.max(1.0) } else { 1.0 };
    let clients = |it: &Tally| it.knows_clients().then_some(it.clients * scale);
    let rest = (channels.count - tallies.iter().filter_map(|it| clients(&it.1)).sum::<f64>()).max(0.0);
    let all = weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let alone = |(tally, weight): (&Tally, &f64)| clients(tally).unwrap_or(rest * weight / all);
    let alone = tallies.iter().map(|it| &it.1).zip(&weights).map(alone).collect();
    let share = shares(&weights, &sampled);
    let site = |(place, (frame, tally)): (usize, &(usize, Tally))| {
        let held = clients(tally).unwrap_or(rest * share[place]);
        let bytes = bytes * held / channels.count.max(1.0) + tally.beside;
        site(profile, *frame, &dials.by_site[frame], tally, held, bytes, sampled[place].max(tally.clients_sampled))
    };
    Counted { sites: tallies.iter().enumerate().map(site).collect(), alone, faded, channels, bytes }
}

/// The share of each site, alike for those that chance may have made differ.
fn shares(weights: &[f64], sampled: &[f64]) -> Vec<f64> {
    let all = weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let mut shares = vec![0.0; weights.len()];
    for group in alike(sampled) {
        let each = group.iter().map(|it| weights[*it]).sum::<f64>() / group.len() as f64 / all;
        group.iter().for_each(|it| shares[*it] = each);
    }
    shares
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
        samples: if tally.knows_clients() { tally.clients_sampled } else { tally.live },
        confidence: tally.confidence(profile.rate),
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
fn lasting<'a>(profile: &'a Profile, dials: &Dials) -> HashSet<&'a [usize]> {
    let all = dials.by_site.values().flatten();
    let lives = all.filter(|it| !it.beside && profile.stacks[it.stack].objects > 0.0);
    lives.map(|it| &profile.path(&profile.stacks[it.stack])[..it.dial]).collect()
}

fn tally(profile: &Profile, of: &[Dial], dials: &Dials, lasting: &HashSet<&[usize]>) -> Tally {
    let mut tally = Tally::default();
    for dial in of {
        let stack = &profile.stacks[dial.stack];
        let path = profile.path(stack);
        let live = profile.samples(stack.objects, stack.bytes);
        if dial.beside {
            tally.beside += stack.bytes;
            if stack.bytes > tally.clients_bytes {
                (tally.clients, tally.clients_sampled, tally.clients_bytes) = (stack.objects, live, stack.bytes);
            }
            continue;
        }
        let allocated = profile.samples(stack.allocated_objects, stack.allocated_bytes).max(live);
        tally.live += live;
        tally.live_bytes += stack.bytes;
        tally.allocated += allocated;
        if lasting.contains(&path[..dial.dial]) {
            tally.lasting_live += live;
            tally.lasting_allocated += allocated;
        }
        let own = path.first().is_some_and(|it| dials.roles[*it].dials);
        if own && stack.objects > 0.0 && stack.bytes / stack.objects >= A_CHANNEL {
            tally.objects += stack.objects;
            tally.objects_sampled += live;
        }
    }
    tally
}

/// What channels take in the heap, bytes, besides their calls.
fn held(profile: &Profile, roles: &[Role]) -> f64 {
    let any = |stack: &Stack, is: fn(&Role) -> bool| profile.path(stack).iter().any(|it| is(&roles[*it]));
    let held = |it: &&Stack| any(it, |it| it.holds) && !any(it, |it| it.calls || it.serves);
    profile.stacks.iter().filter(held).fold(0.0, |sum, it| sum + it.bytes)
}

/// Whether some of what channels hold belongs to TLS.
fn encrypted(profile: &Profile, roles: &[Role]) -> bool {
    let any = |stack: &Stack, is: fn(&Role) -> bool| profile.path(stack).iter().any(|it| is(&roles[*it]));
    profile.stacks.iter().any(|it| it.bytes > 0.0 && any(it, |it| it.encrypts) && any(it, |it| it.holds))
}

fn in_all(profile: &Profile, dials: &Dials, tallies: &[(usize, Tally)], bytes: f64, known: Option<f64>) -> Channels {
    let sum = |of: fn(&Tally) -> f64| tallies.iter().map(|it| of(&it.1)).sum::<f64>();
    if let Some(count) = known {
        return Channels { count, from: Known::Counted };
    }
    if sum(|it| it.objects_sampled) >= COUNTED_FROM {
        return Channels { count: sum(|it| it.objects), from: Known::Objects };
    }
    let on_stacks = sum(|it| it.live_bytes);
    let minor = frames::grpc_version(profile).map_or(0, |it| it.1);
    let encrypted = encrypted(profile, &dials.roles);
    let each = IN_THE_HEAP.iter().rev().find(|it| it.0 <= minor).map_or(0.0, |it| if encrypted { it.2 } else { it.1 });
    // Channels that never connected take no more than what their maker's stack shows.
    let connected = bytes > 2.0 * on_stacks;
    let count = if connected { bytes / each } else { on_stacks / ON_THE_CALLERS_STACK };
    let clients: f64 = tallies.iter().filter(|it| it.1.knows_clients()).map(|it| it.1.clients).sum();
    if clients > count {
        Channels { count: clients, from: Known::Objects }
    } else {
        Channels { count, from: Known::Bytes }
    }
}

/// Sites whose samples differ by no more than chance: neighbours are joined while chi-squared lets them.
fn alike(sampled: &[f64]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sampled.len()).collect();
    order.sort_by(|a, b| sampled[*b].total_cmp(&sampled[*a]));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let (mut sum, mut squares) = (0.0, 0.0);
    for site in order {
        let (with, with_squares) = (sum + sampled[site], squares + sampled[site].powi(2));
        match groups.last_mut() {
            Some(group) if no_more_than_chance(group.len() as f64 + 1.0, with, with_squares) => {
                group.push(site);
                (sum, squares) = (with, with_squares);
            }
            _ => {
                groups.push(vec![site]);
                (sum, squares) = (sampled[site], sampled[site].powi(2));
            }
        }
    }
    groups
}

/// Whether so many counts, of which their sum and that of their squares are known, may be of one size.
fn no_more_than_chance(counts: f64, sum: f64, squares: f64) -> bool {
    let chi_squared = (squares * counts / sum.max(f64::MIN_POSITIVE) - sum).max(0.0);
    ChiSquared::new(counts - 1.0).is_ok_and(|it| it.sf(chi_squared) > DIFFERENT)
}

/// How sure it is that there is more than what so many samples are expected of, percent.
fn surely(samples: f64, expected: f64) -> f64 {
    let by_chance = Poisson::new(expected).map_or(1.0, |it| 1.0 - it.cdf((samples.round() as u64).max(1) - 1));
    100.0 * (1.0 - by_chance)
}

/// The ends of the exact interval for a Poisson mean (Garwood 1936).
fn poisson_at_least(n: f64) -> f64 {
    if n <= 0.0 { 0.0 } else { ChiSquared::new(2.0 * n).map_or(0.0, |it| it.inverse_cdf(TAIL) / 2.0) }
}

fn poisson_at_most(n: f64) -> f64 {
    ChiSquared::new(2.0 * n + 2.0).map_or(f64::INFINITY, |it| it.inverse_cdf(1.0 - TAIL) / 2.0)
}
