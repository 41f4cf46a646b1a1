//! Reads profiles in pprof's format: what was sampled, with which stacks. It knows nothing of gRPC.
//!
//! The format is [profile.proto](https://github.com/google/pprof/blob/main/proto/profile.proto), usually compressed.
//! Only what is asked of a profile here is kept: neither addresses, mappings nor labels.

use std::{collections::HashMap, io::Read};

use prost::Message;

/// An inflated profile larger than this is not read, bytes: it is no profile of a client.
pub const MAX_INFLATED: u64 = 64 << 20;

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
    /// Indices into [`Profile::frames`], the innermost first.
    pub frames: Vec<usize>,
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
}

impl Profile {
    /// Reads a profile, compressed or not.
    ///
    /// # Errors
    /// It is not one, is too large, or is one of something else.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidProfile> {
        let message =
            Proto::decode(inflated(bytes)?.as_slice()).map_err(|it| InvalidProfile::Format(it.to_string()))?;
        Self::of(&message)
    }

    fn of(message: &Proto) -> Result<Self, InvalidProfile> {
        let kinds: Vec<&str> = message.sample_type.iter().map(|it| message.text(it.kind).unwrap_or_default()).collect();
        let place = |name: &str| kinds.iter().position(|it| *it == name);
        let kind = match (place("inuse_space"), place("goroutine")) {
            (Some(_), _) => Kind::Heap,
            (None, Some(_)) => Kind::Goroutines,
            (None, None) => return Err(InvalidProfile::Kind(kinds.join(", "))),
        };
        let places = ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"].map(place);
        let counts = place("goroutine");
        let (frames, locations) = places_of(message)?;
        let stack = |sample: &SampleProto| {
            let value = |place: Option<usize>| place.and_then(|it| sample.value.get(it)).map_or(0.0, |it| *it as f64);
            let mut stack = Vec::with_capacity(sample.location_id.len());
            for id in &sample.location_id {
                let lines = locations.get(id).ok_or(InvalidProfile::Dangling { what: "location", id: *id })?;
                stack.extend_from_slice(lines);
            }
            let [allocated_objects, allocated_bytes, objects, bytes] = places.map(value);
            let objects = if kind == Kind::Goroutines { value(counts) } else { objects };
            Ok(Stack { frames: stack, allocated_objects, allocated_bytes, objects, bytes })
        };
        let stacks = message.sample.iter().map(stack).collect::<Result<_, _>>()?;
        Ok(Self { kind, rate: message.period.max(1) as f64, frames, stacks })
    }

    /// The frames of a stack, the innermost first.
    pub fn frames_of<'a>(&'a self, stack: &'a Stack) -> impl DoubleEndedIterator<Item = &'a Frame> + ExactSizeIterator {
        stack.frames.iter().map(|it| &self.frames[*it])
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

type Places = (Vec<Frame>, HashMap<u64, Vec<usize>>);

/// Every frame once, and the frames of each location: what was inlined there, and where.
fn places_of(message: &Proto) -> Result<Places, InvalidProfile> {
    let functions: HashMap<u64, &FunctionProto> = message.function.iter().map(|it| (it.id, it)).collect();
    let mut frames: Vec<Frame> = Vec::new();
    let mut known: HashMap<(u64, i64), usize> = HashMap::new();
    let mut locations = HashMap::with_capacity(message.location.len());
    let modules: HashMap<u64, i64> = message.mapping.iter().map(|it| (it.id, it.filename)).collect();
    for location in &message.location {
        let mut lines = Vec::with_capacity(location.line.len().max(1));
        if location.line.is_empty() {
            // Stripped of its symbols: the address, and whose code it is.
            let module = modules.get(&location.mapping_id).map_or(Ok(""), |it| message.text(*it))?;
            frames.push(Frame { function: format!("{:#x}", location.address), file: module.to_owned(), line: 0 });
            lines.push(frames.len() - 1);
        }
        for line in &location.line {
            let place = match known.get(&(line.function_id, line.line)) {
                Some(place) => *place,
                None => {
                    let id = line.function_id;
                    let function = functions.get(&id).ok_or(InvalidProfile::Dangling { what: "function", id })?;
                    let (name, file) = (message.text(function.name)?, message.text(function.filename)?);
                    frames.push(Frame { function: without_types(name), file: file.to_owned(), line: line.line });
                    known.insert((id, line.line), frames.len() - 1);
                    frames.len() - 1
                }
            };
            lines.push(place);
        }
        locations.insert(location.id, lines);
    }
    Ok((frames, locations))
}

/// `Dial[go.shape.string]` is `Dial`: instances of one function are one function.
fn without_types(name: &str) -> String {
    let mut depth = 0_usize;
    let outside = |letter: &char| {
        depth += usize::from(*letter == '[');
        let keep = depth == 0;
        depth -= usize::from(*letter == ']' && depth > 0);
        keep
    };
    name.chars().filter(outside).collect()
}

#[derive(Clone, PartialEq, Message)]
struct Proto {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueTypeProto>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<SampleProto>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<MappingProto>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<LocationProto>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<FunctionProto>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "12")]
    period: i64,
}

impl Proto {
    fn text(&self, index: i64) -> Result<&str, InvalidProfile> {
        let found = usize::try_from(index).ok().and_then(|it| self.string_table.get(it));
        found.map(String::as_str).ok_or(InvalidProfile::Dangling { what: "string", id: index.unsigned_abs() })
    }
}

#[derive(Clone, PartialEq, Message)]
struct ValueTypeProto {
    #[prost(int64, tag = "1")]
    kind: i64,
}

#[derive(Clone, PartialEq, Message)]
struct SampleProto {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct MappingProto {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "5")]
    filename: i64,
}

#[derive(Clone, PartialEq, Message)]
struct LocationProto {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<LineProto>,
}

#[derive(Clone, PartialEq, Message)]
struct LineProto {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, PartialEq, Message)]
struct FunctionProto {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let strings = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
        let cpu = Proto {
            sample_type: vec![ValueTypeProto { kind: 1 }],
            string_table: strings(&["", "cpu"]),
            ..Proto::default()
        };
        assert_eq!(Profile::of(&cpu), Err(InvalidProfile::Kind("cpu".into())));
        let heap = Proto {
            sample_type: vec![ValueTypeProto { kind: 1 }],
            string_table: strings(&["", "inuse_space"]),
            sample: vec![SampleProto { location_id: vec![7], value: vec![1] }],
            ..Proto::default()
        };
        assert_eq!(Profile::of(&heap), Err(InvalidProfile::Dangling { what: "location", id: 7 }));
    }

    #[test]
    fn a_place_without_a_name_has_its_address_and_module() {
        let strings = ["", "inuse_space", "/app/orders"];
        let heap = Proto {
            sample_type: vec![ValueTypeProto { kind: 1 }],
            string_table: strings.iter().map(|it| (*it).to_owned()).collect(),
            mapping: vec![MappingProto { id: 1, filename: 2 }],
            location: vec![LocationProto { id: 7, mapping_id: 1, address: 0x48c2ee, line: vec![] }],
            sample: vec![SampleProto { location_id: vec![7], value: vec![1] }],
            ..Proto::default()
        };
        let profile = Profile::of(&heap).expect("a heap profile");
        let frame = Frame { function: "0x48c2ee".into(), file: "/app/orders".into(), line: 0 };
        assert_eq!((profile.frames, profile.stacks[0].frames.as_slice()), (vec![frame], [0].as_slice()));
    }

    #[test]
    fn instances_of_a_generic_function_are_one_function() {
        assert_eq!(without_types("a/b.Dial[go.shape.struct { X []int }].func1"), "a/b.Dial.func1");
        assert_eq!(without_types("a/b.(*Pool[...]).Get"), "a/b.(*Pool).Get");
    }
}
