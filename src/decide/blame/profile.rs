//! Reads profiles in pprof's format: what was sampled, with which stacks. It knows nothing of gRPC.
//!
//! The format is [profile.proto](https://github.com/google/pprof/blob/main/proto/profile.proto), usually compressed.
//! Only what is asked of a profile here is kept: neither addresses, mappings nor labels.

mod proto;

use std::{collections::HashMap, io::Read, ops::Range};

use prost::{DecodeError, Message, bytes::Bytes};

use proto::{ById, FunctionProto, LocationProto, Proto, SampleProto};

/// An inflated profile larger than this is not read, bytes: it is no profile of a client.
pub const MAX_INFLATED: u64 = 64 << 20;
/// What is made of a profile takes two to five times its own memory. One that is meant to do harm mentions a place of
/// many inlined functions, or a function with a long name, again and again; past this it is not read on, bytes.
const MAX_UNFOLDED: usize = 256 << 20;

/// Why something is no profile that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProfile {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// It inflates to more than [`MAX_INFLATED`].
    #[error("it inflates to more than {} MiB", MAX_INFLATED >> 20)]
    TooLarge,
    /// The compression is broken, or it ends too early.
    #[error("it cannot be inflated: {0}")]
    Compression(String),
    /// Something else answered, or the text form was asked for.
    #[error("it is text, not a profile: {0:?}… (leave out `debug=` for the form that can be read)")]
    Text(String),
    /// The bytes are no message of this kind.
    #[error("it is not in pprof's format: {0}")]
    Format(String),
    /// Few bytes of it stand for stacks and names without end.
    #[error("its stacks and names unfold to more than {} MiB", MAX_UNFOLDED >> 20)]
    Unfolds,
    /// A sample refers to what is not there.
    #[error("it refers to {what} {id}, which it does not have")]
    Dangling {
        /// What kind of thing.
        what: &'static str,
        /// Which.
        id: u64,
    },
    /// It profiles something else, for example the CPU.
    #[error("it is a profile of {0}, neither of the heap nor of goroutines")]
    Kind(String),
}

/// What was sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Allocations and what is left of them.
    Heap,
    /// Goroutines, all of them.
    Goroutines,
}

/// A place in the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frame {
    /// The function with its package, without type arguments: `example.com/shop/handlers.(*Orders).GetUser`.
    pub function: String,
    /// The file as the compiler was given it.
    pub file: String,
    /// The line, from 1; 0 when it is not known.
    pub line: i64,
}

/// One stack, and what was sampled with it. Objects and bytes are those of the program: the Go runtime has scaled the
/// samples up already.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stack {
    /// Its part of [`Profile::paths`]. All stacks share one vector: there may be a hundred thousand, most of them short.
    pub path: Range<usize>,
    /// Objects that were ever allocated; of a goroutine profile nothing.
    pub allocated_objects: f64,
    /// Their bytes.
    pub allocated_bytes: f64,
    /// Objects that are still there; of a goroutine profile the goroutines.
    pub objects: f64,
    /// Their bytes.
    pub bytes: f64,
}

/// A profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Of what.
    pub kind: Kind,
    /// One object is sampled in so many bytes, on average.
    pub rate: f64,
    /// Every place that a stack mentions.
    pub frames: Vec<Frame>,
    /// The stacks.
    pub stacks: Vec<Stack>,
    /// The frames of one stack after the other: indices into `frames`, the innermost first.
    pub paths: Vec<usize>,
}

impl Profile {
    /// Reads a profile, compressed or not.
    ///
    /// # Errors
    /// It is not one, is too large, or is one of something else.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidProfile> {
        Self::of(&Proto::decode(Bytes::from(inflated(bytes)?))?, Room(MAX_UNFOLDED))
    }

    fn of(message: &Proto, mut room: Room) -> Result<Self, InvalidProfile> {
        let kinds: Vec<&str> = message.sample_type.iter().map(|it| message.text(it.kind).unwrap_or_default()).collect();
        let place = |name: &str| kinds.iter().position(|it| *it == name);
        let kind = match (place("inuse_space"), place("goroutine")) {
            (Some(_), _) => Kind::Heap,
            (None, Some(_)) => Kind::Goroutines,
            (None, None) => return Err(InvalidProfile::Kind(kinds.join(", "))),
        };
        let objects = if kind == Kind::Goroutines { "goroutine" } else { "inuse_objects" };
        let places = ["alloc_objects", "alloc_space", objects, "inuse_space"].map(place);
        room.take(size_of::<Stack>() * message.sample.len())?;
        let locations = Locations::of(message, &mut room)?;
        let mut sample = SampleProto::default();
        let (mut stacks, mut paths) = (Vec::with_capacity(message.sample.len()), Vec::new());
        for bytes in &message.sample {
            sample.clear();
            sample.merge(bytes.as_ref())?;
            let path = locations.unfold(&sample.location_id, &mut paths, &mut room)?;
            let value = |place: Option<usize>| place.and_then(|it| sample.value.get(it)).map_or(0.0, |it| *it as f64);
            let [allocated_objects, allocated_bytes, objects, bytes] = places.map(value);
            stacks.push(Stack { path, allocated_objects, allocated_bytes, objects, bytes });
        }
        Ok(Self { kind, rate: message.period.max(1) as f64, frames: locations.frames, stacks, paths })
    }

    /// The frames of a stack as indices into `frames`, the innermost first.
    #[must_use]
    pub fn path(&self, stack: &Stack) -> &[usize] {
        &self.paths[stack.path.clone()]
    }

    /// The frames of a stack, the innermost first.
    pub fn frames_of<'a>(&'a self, stack: &Stack) -> impl DoubleEndedIterator<Item = &'a Frame> + ExactSizeIterator {
        self.path(stack).iter().map(|it| &self.frames[*it])
    }

    /// Which frames pass a test. Frames are few and stacks are many: what takes time is asked of each frame once.
    pub fn which(&self, test: fn(&Frame) -> bool) -> Vec<bool> {
        self.frames.iter().map(test).collect()
    }

    /// How many samples stand behind so many objects of so many bytes in all: an object of `s` bytes is sampled with
    /// probability `1 - exp(-s / rate)` (`runtime.MemProfileRate`).
    #[must_use]
    pub fn samples(&self, objects: f64, bytes: f64) -> f64 {
        if objects > 0.0 { objects * -(-bytes / objects / self.rate).exp_m1() } else { 0.0 }
    }
}

fn inflated(bytes: &[u8]) -> Result<Vec<u8>, InvalidProfile> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    if bytes.is_empty() {
        return Err(InvalidProfile::Empty);
    }
    if !bytes.starts_with(&GZIP) {
        let head = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
        let readable = head.chars().all(|it| !it.is_control() || it.is_whitespace()) && !head.contains('\u{fffd}');
        return if readable { Err(InvalidProfile::Text(head.trim().to_owned())) } else { Ok(bytes.to_vec()) };
    }
    let mut inflated = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(MAX_INFLATED + 1);
    reader.read_to_end(&mut inflated).map_err(|it| InvalidProfile::Compression(it.to_string()))?;
    if inflated.len() as u64 > MAX_INFLATED { Err(InvalidProfile::TooLarge) } else { Ok(inflated) }
}

/// The memory that may still be taken, bytes.
struct Room(usize);

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), InvalidProfile> {
        self.0 = self.0.checked_sub(bytes).ok_or(InvalidProfile::Unfolds)?;
        Ok(())
    }
}

/// The places that samples mention.
struct Locations {
    /// Every frame once.
    frames: Vec<Frame>,
    /// What was inlined at each place, and where, one place after the other: indices into `frames`.
    lines: Vec<usize>,
    /// The place of each id: a part of `lines`.
    places: ById<Range<usize>>,
}

impl Locations {
    fn of(message: &Proto, room: &mut Room) -> Result<Self, InvalidProfile> {
        let functions: ById<&FunctionProto> = message.function.iter().map(|it| (it.id, it)).collect();
        let modules: ById<i64> = message.mapping.iter().map(|it| (it.id, it.filename)).collect();
        let (mut frames, mut lines) = (Vec::new(), Vec::new());
        let mut known: HashMap<(u64, i64), usize> = HashMap::new();
        let mut places = Vec::with_capacity(message.location.len());
        let mut location = LocationProto::default();
        for bytes in &message.location {
            location.clear();
            location.merge(bytes.as_ref())?;
            let begins = lines.len();
            if location.line.is_empty() {
                // Stripped of its symbols: the address, and whose code it is.
                let module = modules.get(location.mapping_id).map_or(Ok(""), |it| message.text(*it))?;
                room.take(size_of::<Frame>() + module.len())?;
                frames.push(Frame { function: format!("{:#x}", location.address), file: module.to_owned(), line: 0 });
                lines.push(frames.len() - 1);
            }
            for line in &location.line {
                let (id, line) = (line.function_id, line.line);
                let place = *known.entry((id, line)).or_insert(frames.len());
                if place == frames.len() {
                    let function = functions.get(id).ok_or(InvalidProfile::Dangling { what: "function", id })?;
                    let (name, file) = (message.text(function.name)?, message.text(function.filename)?);
                    room.take(size_of::<Frame>() + name.len() + file.len())?;
                    frames.push(Frame { function: without_types(name), file: file.to_owned(), line });
                }
                lines.push(place);
            }
            places.push((location.id, begins..lines.len()));
        }
        Ok(Self { frames, lines, places: places.into_iter().collect() })
    }

    /// Appends the frames of a stack of places, and says where they are.
    fn unfold(&self, stack: &[u64], paths: &mut Vec<usize>, room: &mut Room) -> Result<Range<usize>, InvalidProfile> {
        let begins = paths.len();
        for id in stack {
            let place = self.places.get(*id).ok_or(InvalidProfile::Dangling { what: "location", id: *id })?;
            room.take(size_of::<usize>() * place.len())?;
            paths.extend_from_slice(&self.lines[place.clone()]);
        }
        Ok(begins..paths.len())
    }
}

/// `Dial[go.shape.string]` is `Dial`: instances of one function are one function.
fn without_types(name: &str) -> String {
    if !name.contains('[') {
        return name.to_owned();
    }
    let mut depth = 0_usize;
    let outside = |letter: &char| {
        depth += usize::from(*letter == '[');
        let keep = depth == 0;
        depth -= usize::from(*letter == ']' && depth > 0);
        keep
    };
    name.chars().filter(outside).collect()
}

impl From<DecodeError> for InvalidProfile {
    fn from(error: DecodeError) -> Self {
        Self::Format(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        proto::{LineProto, MappingProto, ValueTypeProto},
        *,
    };

    const ROOM: Room = Room(1 << 20);

    fn packed(message: &impl Message) -> Bytes {
        message.encode_to_vec().into()
    }

    #[test]
    fn text_and_nothing_and_the_truncated_are_told_from_profiles() {
        assert_eq!(Profile::parse(b""), Err(InvalidProfile::Empty));
        let text = Profile::parse(b"goroutine profile: total 15006\n9003 @ 0x48c2ee").expect_err("text");
        assert!(text.to_string().contains("goroutine profile"), "{text}");
        assert!(matches!(Profile::parse(&[0x1f, 0x8b, 8, 0]), Err(InvalidProfile::Compression(_))));
        assert!(Profile::parse(&[0xff; 40]).is_err());
    }

    #[test]
    fn what_inflates_without_end_is_refused() {
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for _ in 0..65 {
            std::io::Write::write_all(&mut bomb, &vec![0; 1 << 20]).expect("written");
        }
        assert_eq!(Profile::parse(&bomb.finish().expect("closed")), Err(InvalidProfile::TooLarge));
    }

    #[test]
    fn a_profile_of_the_cpu_is_named_as_such_and_dangling_ids_are_refused() {
        let strings = |all: &[&'static str]| all.iter().map(|it| Bytes::from(*it)).collect();
        let cpu = Proto {
            sample_type: vec![ValueTypeProto { kind: 1 }],
            string_table: strings(&["", "cpu"]),
            ..Proto::default()
        };
        assert_eq!(Profile::of(&cpu, ROOM), Err(InvalidProfile::Kind("cpu".into())));
        let heap = Proto {
            sample_type: vec![ValueTypeProto { kind: 1 }],
            string_table: strings(&["", "inuse_space"]),
            sample: vec![packed(&SampleProto { location_id: vec![7], value: vec![1] })],
            ..Proto::default()
        };
        assert_eq!(Profile::of(&heap, ROOM), Err(InvalidProfile::Dangling { what: "location", id: 7 }));
    }

    #[test]
    fn a_place_without_a_name_has_its_address_and_module() {
        let strings = ["", "inuse_space", "/app/orders"];
        let heap = Proto {
            sample_type: vec![ValueTypeProto { kind: 1 }],
            string_table: strings.map(Bytes::from).to_vec(),
            mapping: vec![MappingProto { id: 1, filename: 2 }],
            location: vec![packed(&LocationProto { id: 7, mapping_id: 1, address: 0x48c2ee, line: vec![] })],
            sample: vec![packed(&SampleProto { location_id: vec![7], value: vec![1] })],
            ..Proto::default()
        };
        let profile = Profile::of(&heap, ROOM).expect("a heap profile");
        let frame = Frame { function: "0x48c2ee".into(), file: "/app/orders".into(), line: 0 };
        assert_eq!((profile.path(&profile.stacks[0]), &profile.frames), ([0].as_slice(), &vec![frame]));
    }

    #[test]
    fn instances_of_a_generic_function_are_one_function() {
        assert_eq!(without_types("a/b.Dial[go.shape.struct { X []int }].func1"), "a/b.Dial.func1");
        assert_eq!(without_types("a/b.(*Pool[...]).Get"), "a/b.(*Pool).Get");
    }

    #[test]
    fn ids_may_be_in_any_order_and_have_gaps() {
        let by_id: ById<&str> = [(9, "nine"), (2, "two"), (u64::MAX, "last"), (0, "none")].into_iter().collect();
        for (id, name) in [(9, "nine"), (2, "two"), (u64::MAX, "last"), (0, "none")] {
            assert_eq!(by_id.get(id), Some(&name), "{id}");
        }
        assert_eq!((by_id.get(1), by_id.get(3)), (None, None));
    }

    /// A heap profile of one place where a function of this name is inlined at so many lines, in a stack of so many places.
    fn folded(name: &str, inlined: i64, places: usize) -> Result<Profile, InvalidProfile> {
        let line = (1..=inlined).map(|line| LineProto { function_id: 1, line }).collect();
        let profile = Proto {
            sample_type: vec![ValueTypeProto { kind: 1 }],
            string_table: vec!["".into(), "inuse_space".into(), name.to_owned().into()],
            function: vec![FunctionProto { id: 1, name: 2, filename: 2 }],
            location: vec![packed(&LocationProto { id: 1, mapping_id: 0, address: 0, line })],
            sample: vec![packed(&SampleProto { location_id: vec![1; places], value: vec![1] })],
            ..Proto::default()
        };
        Profile::of(&profile, ROOM)
    }

    #[test]
    fn a_small_profile_that_unfolds_to_a_huge_one_is_refused() {
        assert_eq!(folded("a.F", 20, 20).map(|it| it.stacks[0].path.len()), Ok(400));
        assert_eq!(folded("a.F", 1_000, 1_000), Err(InvalidProfile::Unfolds));
        assert_eq!(folded(&"a".repeat(1_000), 1_000, 1), Err(InvalidProfile::Unfolds));
    }
}
