//! How long it takes to read a heap profile of 5 MB and to name the sites in it, compressed as a pod serves it, on one
//! thread. Two shapes: many functions with few stacks each, as in a large program, and many stacks through few functions,
//! as where everything calls everything. It does not judge who is blamed: `decide::blame` has tests for that.
//!
//! `cargo bench --bench blame`. It fails when either takes 100 ms or more. `--write DIRECTORY` only writes the profiles,
//! to look at them with other tools.

use std::{
    env, fs,
    hint::black_box,
    io::{Read, Write},
    path::Path,
    process::ExitCode,
    time::Instant,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use grpc_hygiene::decide::blame::{Profile, blame};
use prost::Message;

/// A real profile of 30 KB, of which the large ones are made.
const SEED: &[u8] = include_bytes!("../tests/profiles/grpc-go-1.85.0.heap.pb.gz");
/// How large they are, inflated, bytes.
const SIZE: usize = 5_000_000;
/// Each is read so often; the best run counts, since everything else on the machine only slows it down.
const RUNS: usize = 15;
/// What it may take, ms.
const AT_MOST: f64 = 100.0;

#[derive(Clone, PartialEq, Message)]
struct Proto {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<Rest>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Rest>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<Rest>,
    #[prost(int64, tag = "12")]
    period: i64,
}

/// Messages of numbers that are passed on as they are: types of values, mappings, labels.
#[derive(Clone, PartialEq, Message)]
struct Rest {
    #[prost(int64, tag = "1")]
    first: i64,
    #[prost(int64, tag = "2")]
    second: i64,
    #[prost(int64, tag = "3")]
    third: i64,
    #[prost(int64, tag = "5")]
    fifth: i64,
    #[prost(int64, tag = "7")]
    seventh: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Rest>,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Rest>,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
    #[prost(int64, tag = "5")]
    start_line: i64,
}

/// The whole program again and again, each time under another name.
fn many_functions(seed: &Proto) -> Proto {
    let mut large = seed.clone();
    let (strings, locations, functions) = (seed.string_table.len(), seed.location.len(), seed.function.len());
    let copies = SIZE / seed.encoded_len();
    for copy in 1..copies {
        let of = |name: &String| name.replace("example.com/shop", &format!("example.com/shop{copy}"));
        let moved = |id: u64| id + (copy * locations) as u64;
        let string = |index: i64| if index == 0 { 0 } else { index + (copy * strings) as i64 };
        let function = |id: i64| id + (copy * functions) as i64;
        large.string_table.extend(seed.string_table.iter().map(of));
        large.function.extend(seed.function.iter().map(|it| Function {
            id: function(it.id),
            name: string(it.name),
            system_name: string(it.system_name),
            filename: string(it.filename),
            ..it.clone()
        }));
        large.location.extend(seed.location.iter().map(|it| Location {
            id: moved(it.id),
            line: it.line.iter().map(|it| Rest { first: function(it.first), ..it.clone() }).collect(),
            ..it.clone()
        }));
        large.sample.extend(
            seed.sample
                .iter()
                .map(|it| Sample { location_id: it.location_id.iter().map(|it| moved(*it)).collect(), ..it.clone() }),
        );
    }
    large
}

/// Every stack again and again, each time called by another three of the program's places.
fn many_stacks(seed: &Proto) -> Proto {
    let mut large = seed.clone();
    let locations = seed.location.len();
    let each: usize = seed.sample.iter().map(|it| it.encoded_len() + 9).sum();
    for copy in 1..SIZE / each {
        large.sample.extend(seed.sample.iter().map(|it| {
            let mut sample = it.clone();
            let callers = [1, 7, 49].map(|step| seed.location[copy * step % locations].id);
            sample.location_id.extend(callers);
            sample
        }));
    }
    large
}

fn packed(profile: &Proto) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(&profile.encode_to_vec()).expect("written to memory");
    packer.finish().expect("written to memory")
}

/// The best time of some runs, ms.
fn best(packed: &[u8]) -> f64 {
    let run = |_| {
        let start = Instant::now();
        let profile = Profile::parse(packed).expect("a profile");
        black_box(blame(&profile, None, None).expect("of the heap"));
        start.elapsed().as_secs_f64() * 1e3
    };
    (0..RUNS).map(run).fold(f64::INFINITY, f64::min)
}

fn main() -> ExitCode {
    let mut seed = Vec::new();
    GzDecoder::new(SEED).read_to_end(&mut seed).expect("inflated");
    let seed = Proto::decode(seed.as_slice()).expect("a profile");
    let directory = env::args().skip_while(|it| it != "--write").nth(1);
    let mut slow = false;
    for (name, profile) in [("many-functions", many_functions(&seed)), ("many-stacks", many_stacks(&seed))] {
        let packed = packed(&profile);
        if let Some(directory) = &directory {
            fs::write(Path::new(directory).join(name).with_extension("pb.gz"), packed).expect("written");
            continue;
        }
        let ms = best(&packed);
        let (bytes, samples, frames) = (profile.encoded_len(), profile.sample.len(), profile.location.len());
        println!("{name:<15} {bytes} bytes, {samples} stacks, {frames} places: {ms:>6.1} ms, best of {RUNS}");
        slow |= ms >= AT_MOST;
    }
    if slow { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
