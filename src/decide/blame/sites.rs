//! Finds the frame to blame in a stack that makes a channel: the first one of the application itself, outside gRPC,
//! outside libraries that make clients for their users, and outside the application's own functions that only forward a
//! dial. It counts nothing.
//!
//! A profile does not say what a function returns. What gives a forwarder away: it never appears above a call on a
//! channel, because it hands the channel on; and it is called from several places, or named like one. A name that an
//! application gives to its own work as well, such as `Acquire`, says so only where calls would have been sampled.

use std::{
    cell::LazyCell,
    collections::{BTreeMap, HashMap},
};

use super::{
    frames::{Origin, Role, enclosing, package_and_name, roles},
    profile::{Frame, Profile, Stack},
};

/// Libraries' functions that make clients whose channel is so small a part of them that it may not have been sampled.
const KNOWN_MAKERS: [&str; 2] = ["go.etcd.io/etcd/client/v3.New", "go.etcd.io/etcd/client/v3.NewCtxClient"];
/// Who dialled for so many samples and was never seen to call, does not call: on its caller's stack a call allocates at
/// least three quarters of what a dial does (grpc-go 1.45 to 1.85), and three samples are missed one time in twenty.
const TELLING: f64 = 4.0;

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
    /// What each of the profile's frames is.
    pub roles: Vec<Role>,
}

/// Finds who makes channels.
pub fn dials(profile: &Profile) -> Dials {
    let roles = roles(profile);
    // Where the outermost call that makes a channel is: a resolver that makes one of its own does so for the outer one.
    let dialled_at = |stack: &Stack| profile.path(stack).iter().rposition(|it| roles[*it].dials);
    let dialled_at: Vec<Option<usize>> = profile.stacks.iter().map(dialled_at).collect();
    let seen = Seen::of(profile, &roles, &dialled_at);
    let (forwards, makers) = (seen.forwarders(), seen.makers(&dialled_at));
    let mut by_site: BTreeMap<usize, Vec<Dial>> = BTreeMap::new();
    // The same place may be there twice, with the addresses of two instances.
    let mut place: HashMap<&Frame, usize> = HashMap::new();
    let mut same: Vec<Option<usize>> = vec![None; profile.frames.len()];
    for (index, (stack, dialled)) in profile.stacks.iter().zip(&dialled_at).enumerate() {
        let (path, beside) = (profile.path(stack), dialled.is_none());
        let Some(dial) = dialled.or_else(|| seen.made_at(path, &makers)) else { continue };
        let site = seen.to_blame(path, dial, &forwards);
        let frame = path[site];
        let frame = *same[frame].get_or_insert_with(|| *place.entry(&profile.frames[frame]).or_insert(frame));
        by_site.entry(frame).or_default().push(Dial { stack: index, dial, site, beside });
    }
    Dials { by_site, roles }
}

/// Who was seen to call a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Callers {
    Nobody,
    One(usize),
    Several,
}

/// What all stacks together say about functions. They are numbered, so that a name is looked at once, not in each stack.
struct Seen<'a> {
    profile: &'a Profile,
    roles: &'a [Role],
    /// By frame: the number of its function, closures counted as the function that they stand in.
    functions: Vec<usize>,
    /// By function: its name.
    names: Vec<&'a str>,
    /// By frame: whether it is `sync.Once`.
    once: Vec<bool>,
    /// By function: whether it makes calls on channels, or calls who does.
    uses: Vec<bool>,
    /// By function: who else of the application called it on the way to a dial.
    callers: Vec<Callers>,
    /// By function: samples of what it allocated by dialling.
    dialled: Vec<f64>,
}

impl<'a> Seen<'a> {
    fn of(profile: &'a Profile, roles: &'a [Role], dialled_at: &[Option<usize>]) -> Self {
        let (functions, names) = numbered(profile.frames.iter().map(|it| enclosing(&it.function)));
        let mut seen = Self {
            profile,
            roles,
            once: profile.which(|it| it.function.starts_with("sync.(*Once).")),
            uses: vec![false; names.len()],
            callers: vec![Callers::Nobody; names.len()],
            dialled: vec![0.0; names.len()],
            functions,
            names,
        };
        for (stack, dialled) in profile.stacks.iter().zip(dialled_at) {
            let path = profile.path(stack);
            if let Some(dial) = *dialled {
                seen.note_callers(path, dial, profile.samples(stack.allocated_objects, stack.allocated_bytes));
            } else if let Some(call) = path.iter().position(|it| roles[*it].calls) {
                seen.note_users(path, call);
            }
        }
        seen
    }

    fn note_callers(&mut self, path: &[usize], dial: usize, samples: f64) {
        let mut callee = None;
        for (_, caller) in application(self.roles, &self.functions, path, dial) {
            self.dialled[caller] += samples;
            if let Some(callee) = callee.replace(caller).filter(|it| *it != caller) {
                self.callers[callee] = match self.callers[callee] {
                    Callers::Nobody => Callers::One(caller),
                    Callers::One(first) if first == caller => Callers::One(first),
                    Callers::One(_) | Callers::Several => Callers::Several,
                };
            }
        }
    }

    /// Notes who uses channels. Who runs a closure of its own caller lends it a channel, and uses none.
    fn note_users(&mut self, path: &[usize], call: usize) {
        let above: Vec<(usize, usize)> = application(self.roles, &self.functions, path, call).collect();
        // Inlined elsewhere, a closure is named after where it is now, and then after its function.
        let name = |function: usize| last(self.names[function], '.');
        let outermost: LazyCell<HashMap<&str, usize>, _> =
            LazyCell::new(|| above.iter().enumerate().map(|(place, it)| (name(it.1), place)).collect());
        for (place, (_, function)) in above.iter().enumerate() {
            let lends = place.checked_sub(1).map(|it| above[it]).is_some_and(|(at, callee)| {
                let is_closure = self.profile.frames[path[at]].function != self.names[callee];
                is_closure && callee != *function && outermost.get(name(callee)).is_some_and(|it| *it > place)
            });
            if !lends {
                self.uses[*function] = true;
            }
        }
    }

    /// By function: whether it only forwards a dial.
    fn forwarders(&self) -> Vec<bool> {
        let forwards = |function: usize| {
            let by_name = match named_like_a_forwarder(self.names[function]) {
                Likeness::Close => true,
                Likeness::Distant => self.dialled[function] >= TELLING,
                Likeness::None => false,
            };
            !self.uses[function] && (self.callers[function] == Callers::Several || by_name)
        };
        (0..self.names.len()).map(forwards).collect()
    }

    /// By function: whether it is a library's and makes a client with a channel in it, as the application calls it. What
    /// else it allocates lives as long as the client, and is often more than the channel itself: a client of etcd comes
    /// with a logger of 120 KB.
    fn makers(&self, dialled_at: &[Option<usize>]) -> Vec<bool> {
        let mut makers: Vec<bool> = self.names.iter().map(|it| KNOWN_MAKERS.contains(it)).collect();
        for (stack, dialled) in self.profile.stacks.iter().zip(dialled_at) {
            let (path, Some(dial)) = (self.profile.path(stack), *dialled) else { continue };
            let Some((site, _)) = application(self.roles, &self.functions, path, dial).next() else { continue };
            let library = path[site - 1];
            if site > dial + 1 && self.roles[library].origin == Origin::Dependency {
                makers[self.functions[library]] = true;
            }
        }
        makers
    }

    /// Where in a stack a library's client is made, if one is and no call is made on it.
    fn made_at(&self, path: &[usize], makers: &[bool]) -> Option<usize> {
        let at = path.iter().rposition(|it| makers[self.functions[*it]])?;
        let caller = path.get(at + 1)?;
        (self.roles[*caller].origin == Origin::Application).then_some(at)
    }

    fn to_blame(&self, path: &[usize], dial: usize, forwards: &[bool]) -> usize {
        let once = path.iter().position(|it| self.once[*it]);
        // What runs once makes one channel; who waits for it makes none.
        let counts = |it: &(usize, usize)| once.is_none_or(|once| it.0 < once || once < dial);
        let mut own = application(self.roles, &self.functions, path, dial).filter(counts).peekable();
        let innermost = own.peek().map(|it| it.0);
        // A library on a goroutine of its own: whoever called gRPC.
        let nobody = || (dial + 1).min(path.len() - 1);
        let first = own.find(|(_, function)| !forwards[*function]).map(|it| it.0);
        first.or(innermost).unwrap_or_else(nobody)
    }
}

/// The frames of the application above a place, innermost first: where, and the function.
fn application<'a>(
    roles: &'a [Role],
    functions: &'a [usize],
    path: &'a [usize],
    above: usize,
) -> impl Iterator<Item = (usize, usize)> + 'a {
    let places = path.iter().enumerate().skip(above + 1);
    places.filter(|(_, it)| roles[**it].origin == Origin::Application).map(|(at, it)| (at, functions[*it]))
}

/// Numbers names: the number of each, and the name of each number.
fn numbered<'a>(names: impl Iterator<Item = &'a str>) -> (Vec<usize>, Vec<&'a str>) {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut distinct = Vec::new();
    let number = |name| {
        *numbers.entry(name).or_insert_with(|| {
            distinct.push(name);
            distinct.len() - 1
        })
    };
    let each = names.map(number).collect();
    (each, distinct)
}

fn last(of: &str, separator: char) -> &str {
    of.rsplit(separator).next().unwrap_or(of)
}

/// How much a name is that of a function which hands a channel on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Likeness {
    /// It speaks of channels, or of making one.
    Close,
    /// It may as well be a call (`(*Orders).Create`) or a server's (package `grpcapi`).
    Distant,
    None,
}

fn named_like_a_forwarder(function: &str) -> Likeness {
    const SPEAK: [&str; 7] = ["dial", "conn", "client", "channel", "grpc", "stub", "rpc"];
    const MAKES: [&str; 3] = ["new", "open", "make"];
    const MAY_MAKE: [&str; 3] = ["get", "create", "acquire"];
    let (package, name) = package_and_name(function);
    let (package, name) = (last(package, '/').to_lowercase(), last(name, '.').to_lowercase());
    let speaks = |of: &str| SPEAK.iter().any(|it| of.contains(it));
    match name.as_str() {
        // `main` is nobody's wrapper.
        "main" => Likeness::None,
        it if speaks(it) || MAKES.contains(&it) => Likeness::Close,
        it if MAY_MAKE.contains(&it) || speaks(&package) && package != "main" => Likeness::Distant,
        _ => Likeness::None,
    }
}
