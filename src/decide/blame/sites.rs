//! Finds the frame to blame in a stack that makes a channel: the first one of the application itself, outside gRPC,
//! outside libraries that make clients for their users, and outside the application's own functions that only forward a
//! dial. It counts nothing.
//!
//! A profile does not say what a function returns. What gives a forwarder away: it never appears above a call on a
//! channel, because it hands the channel on; and it is called from several places, or named like one.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    frames::{self, Origin, enclosing, package_and_name},
    profile::{Frame, Profile, Stack},
};

/// Libraries' functions that make clients whose channel is so small a part of them that it may not have been sampled.
const KNOWN_MAKERS: [&str; 2] = ["go.etcd.io/etcd/client/v3.New", "go.etcd.io/etcd/client/v3.NewCtxClient"];

/// A stack of a profile that makes a channel, split at the frame to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Which stack of the profile.
    pub stack: usize,
    /// Where in it the outermost frame of gRPC that makes a channel is.
    pub dial: usize,
    /// Where in it the frame to blame is.
    pub site: usize,
    /// Whether no channel is made in it, but something else of a library's client that comes with one.
    pub beside: bool,
}

/// All stacks that make channels, by the frame that is to blame for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dials {
    /// By index into the profile's frames.
    pub by_site: BTreeMap<usize, Vec<Dial>>,
    /// Whether the program has a gRPC server.
    pub serves: bool,
}

/// Finds who makes channels.
pub fn dials(profile: &Profile) -> Dials {
    let dials = profile.which(frames::dials);
    // Where the outermost call that makes a channel is: a resolver that makes one of its own does so for the outer one.
    let dialled_at = |stack: &Stack| stack.frames.iter().rposition(|it| dials[*it]);
    let dialled_at: Vec<Option<usize>> = profile.stacks.iter().map(dialled_at).collect();
    let seen = Seen::of(profile, &dialled_at);
    let mut by_site: BTreeMap<usize, Vec<Dial>> = BTreeMap::new();
    let mut place: HashMap<&Frame, usize> = HashMap::new();
    let makers = seen.makers(&dialled_at);
    for (index, (stack, dialled)) in profile.stacks.iter().zip(&dialled_at).enumerate() {
        let beside = dialled.is_none();
        let Some(dial) = dialled.or_else(|| seen.made_at(stack, &makers)) else { continue };
        let site = seen.to_blame(stack, dial);
        let frame = stack.frames[site];
        // The same place may be there twice, with the addresses of two instances.
        let frame = *place.entry(&profile.frames[frame]).or_insert(frame);
        by_site.entry(frame).or_default().push(Dial { stack: index, dial, site, beside });
    }
    Dials { by_site, serves: profile.frames.iter().any(frames::serves) }
}

/// What all stacks together say about functions.
struct Seen<'a> {
    profile: &'a Profile,
    origins: Vec<Origin>,
    /// By frame: its function, closures counted as the function that they stand in.
    functions: Vec<&'a str>,
    /// By frame: whether it is `sync.Once`.
    once: Vec<bool>,
    /// Functions that make calls on channels, or call who does.
    uses: HashSet<&'a str>,
    /// Functions that were called on the way to a dial, by how many others of the application.
    callers: HashMap<&'a str, HashSet<&'a str>>,
}

impl<'a> Seen<'a> {
    fn of(profile: &'a Profile, dialled_at: &[Option<usize>]) -> Self {
        let mut seen = Self {
            profile,
            origins: frames::origins(profile),
            functions: profile.frames.iter().map(|it| enclosing(&it.function)).collect(),
            once: profile.which(|it| it.function.starts_with("sync.(*Once).")),
            uses: HashSet::new(),
            callers: HashMap::new(),
        };
        let calls = profile.which(frames::calls);
        for (stack, dialled) in profile.stacks.iter().zip(dialled_at) {
            if let Some(dial) = *dialled {
                for pair in seen.application(stack, dial).windows(2).filter(|it| it[0].1 != it[1].1) {
                    seen.callers.entry(pair[0].1).or_default().insert(pair[1].1);
                }
            } else if let Some(call) = stack.frames.iter().position(|it| calls[*it]) {
                let above = seen.application(stack, call);
                seen.note_users(stack, &above);
            }
        }
        seen
    }

    /// The functions of libraries that make a client with a channel in it, as the application calls them. What else they
    /// allocate lives as long as the client, and is often more than the channel itself: a client of etcd comes with a
    /// logger of 120 KB.
    fn makers(&self, dialled_at: &[Option<usize>]) -> HashSet<&'a str> {
        let dialling = self.profile.stacks.iter().zip(dialled_at).filter_map(|(it, dial)| dial.map(|dial| (it, dial)));
        let maker = |(stack, dial): (&Stack, usize)| {
            let site = self.application(stack, dial).first()?.0;
            let library = stack.frames[site - 1];
            (site > dial + 1 && self.origins[library] == Origin::Dependency).then(|| self.functions[library])
        };
        dialling.filter_map(maker).chain(KNOWN_MAKERS).collect()
    }

    /// Where in a stack a library's client is made, if one is and no call is made on it.
    fn made_at(&self, stack: &Stack, makers: &HashSet<&'a str>) -> Option<usize> {
        let at = stack.frames.iter().rposition(|it| makers.contains(self.functions[*it]))?;
        let caller = stack.frames.get(at + 1)?;
        (self.origins[*caller] == Origin::Application).then_some(at)
    }

    /// Notes who uses channels. Who runs a closure of its own caller lends it a channel, and uses none.
    fn note_users(&mut self, stack: &Stack, above: &[(usize, &'a str)]) {
        for (place, (_, function)) in above.iter().enumerate() {
            let callee = place.checked_sub(1).map(|it| above[it]);
            let lends = callee.is_some_and(|(at, callee)| {
                let closure = &self.profile.frames[stack.frames[at]].function;
                // Inlined elsewhere, a closure is named after where it is now, and then after its function.
                let is_its_own = |it: &(usize, &str)| last(it.1, '.') == last(callee, '.');
                closure != callee && callee != *function && above[place + 1..].iter().any(is_its_own)
            });
            if !lends {
                self.uses.insert(function);
            }
        }
    }

    /// The frames of the application above a place, innermost first: where, and the function, closures counted as the
    /// function that they stand in.
    fn application(&self, stack: &Stack, above: usize) -> Vec<(usize, &'a str)> {
        let own = |(_, frame): &(usize, &usize)| self.origins[**frame] == Origin::Application;
        let places = stack.frames.iter().enumerate().skip(above + 1).filter(own);
        places.map(|(at, frame)| (at, self.functions[*frame])).collect()
    }

    fn to_blame(&self, stack: &Stack, dial: usize) -> usize {
        let once = stack.frames.iter().position(|it| self.once[*it]);
        // What runs once makes one channel; who waits for it makes none.
        let mut own = self.application(stack, dial);
        own.retain(|it| once.is_none_or(|once| it.0 < once || once < dial));
        let first = own.iter().find(|(_, function)| !self.forwards(function));
        // A library on a goroutine of its own: whoever called gRPC.
        let nobody = || (dial + 1).min(stack.frames.len() - 1);
        first.or(own.first()).map_or_else(nobody, |it| it.0)
    }

    fn forwards(&self, function: &str) -> bool {
        if self.uses.contains(function) {
            return false;
        }
        let called_from_several_places = self.callers.get(function).is_some_and(|it| it.len() >= 2);
        called_from_several_places || named_like_a_forwarder(function)
    }
}

fn last(of: &str, separator: char) -> &str {
    of.rsplit(separator).next().unwrap_or(of)
}

fn named_like_a_forwarder(function: &str) -> bool {
    const NAMES: [&str; 7] = ["dial", "conn", "client", "channel", "grpc", "stub", "rpc"];
    const EXACTLY: [&str; 6] = ["new", "open", "get", "make", "create", "acquire"];
    let (package, name) = package_and_name(function);
    let (package, name) = (last(package, '/').to_lowercase(), last(name, '.').to_lowercase());
    let speaks = |of: &str| NAMES.iter().any(|it| of.contains(it));
    // `main` is nobody's wrapper.
    name != "main" && (speaks(&name) || EXACTLY.contains(&name.as_str()) || speaks(&package) && package != "main")
}
