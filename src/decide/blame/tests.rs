//! Real profiles, and stacks made up for what those do not show.

use super::{
    profile::{Frame, Stack},
    *,
};

const HEAPS: [(&str, &[u8], &[u8]); 3] = [
    (
        "1.45",
        include_bytes!("../../../tests/profiles/grpc-go-1.45.0.heap.pb.gz"),
        include_bytes!("../../../tests/profiles/grpc-go-1.45.0.goroutine.pb.gz"),
    ),
    (
        "1.75",
        include_bytes!("../../../tests/profiles/grpc-go-1.75.1.heap.pb.gz"),
        include_bytes!("../../../tests/profiles/grpc-go-1.75.1.goroutine.pb.gz"),
    ),
    (
        "1.85",
        include_bytes!("../../../tests/profiles/grpc-go-1.85.0.heap.pb.gz"),
        include_bytes!("../../../tests/profiles/grpc-go-1.85.0.goroutine.pb.gz"),
    ),
];

/// A heap profile, frame by frame: `function@file:line`, innermost first, and how many channels were made there.
fn heap(stacks: &[(f64, &[&str])]) -> Profile {
    let mut profile = Profile { kind: Kind::Heap, rate: 524_288.0, frames: vec![], stacks: vec![], paths: vec![] };
    for (channels, names) in stacks {
        let frames = names.iter().map(|name| {
            let (function, place) = name.split_once('@').unwrap_or((name, "x.go:1"));
            let (file, line) = place.rsplit_once(':').expect("file:line");
            let frame = Frame { function: function.into(), file: file.into(), line: line.parse().expect("a line") };
            profile.frames.iter().position(|it| *it == frame).unwrap_or_else(|| {
                profile.frames.push(frame);
                profile.frames.len() - 1
            })
        });
        let frames: Vec<usize> = frames.collect();
        let path = profile.paths.len()..profile.paths.len() + frames.len();
        profile.paths.extend(frames);
        let (objects, bytes) = (channels * 30.0, channels * 4_400.0);
        let lives = if *channels > 0.0 { 1.0 } else { 0.0 };
        profile.stacks.push(Stack {
            path,
            allocated_objects: objects.max(1.0),
            allocated_bytes: bytes.max(4_400.0),
            objects: objects * lives,
            bytes: bytes * lives,
        });
    }
    profile
}

const NEW: &str = "google.golang.org/grpc.NewClient@google.golang.org/grpc@v1.85.0/clientconn.go:184";
const INVOKE: &str = "google.golang.org/grpc.(*ClientConn).Invoke@google.golang.org/grpc@v1.85.0/call.go:37";
const MAIN: &str = "main.main@example.com/shop/main.go:9";

fn accused(profile: &Profile) -> Vec<String> {
    let blame = blame(profile, None, None).expect("a heap profile");
    blame.accused.iter().map(|it| format!("{}:{}", it.function, it.line)).collect()
}

#[test]
fn the_three_sites_that_leak_are_named_with_their_lines_in_every_version_and_nobody_else_is() {
    for (version, heap, _) in HEAPS {
        let profile = Profile::parse(heap).expect(version);
        let blame = blame(&profile, None, None).expect("a heap profile");
        let mut sites: Vec<String> =
            blame.accused.iter().map(|it| format!("{} {}:{}", it.function, it.file, it.line)).collect();
        sites.sort();
        let of = |name: &str, line: i64| {
            format!(
                "example.com/shop/orders/handlers.(*Orders).{name} example.com/shop/orders/handlers/handlers.go:{line}"
            )
        };
        assert_eq!(sites, [of("GetUser", 28), of("ReserveStock", 33), of("notify", 38)], "{version}");
        assert!(!blame.others.iter().any(|it| it.channels >= LEAST_CHANNELS), "{version}: {:?}", blame.others);
        assert_eq!(blame.grpc_go.as_deref(), Some(version));
    }
}

#[test]
fn each_site_holds_a_thousand_channels_to_within_15_percent() {
    for (version, heap, goroutines) in HEAPS {
        let heap = Profile::parse(heap).expect(version);
        let census = Census::of(&Profile::parse(goroutines).expect(version)).expect("goroutines");
        assert_eq!((census.channels, census.connections), (3_001.0, 3_001.0), "{version}");
        for known in [None, Some(census.channels)] {
            let blame = blame(&heap, known, None).expect("a heap profile");
            for site in &blame.accused {
                let off = (site.channels / 1_000.0 - 1.0).abs();
                assert!(off <= 0.15, "{version}, {known:?}: {} holds {}", site.function, site.channels);
                assert!(site.at_least <= 1_000.0 && 1_000.0 <= site.at_most, "{version}: {site:?}");
                assert!(site.confidence > 99.0, "{version}: {site:?}");
            }
        }
    }
}

#[test]
fn wrappers_are_shown_as_the_way_and_callers_as_the_stack() {
    let profile = Profile::parse(HEAPS[2].1).expect("a profile");
    let blame = blame(&profile, None, None).expect("a heap profile");
    let notify = blame.accused.iter().find(|it| it.function.ends_with("notify")).expect("accused");
    assert_eq!(
        notify.through,
        [
            "example.com/shop/orders/rpcx.DialDirect",
            "google.golang.org/grpc.Dial",
            "google.golang.org/grpc.DialContext"
        ][..1]
    );
    assert!(notify.callers.iter().any(|it| it.starts_with("main.main example.com/shop/orders/main.go:")), "{notify:?}");
}

#[test]
fn a_dial_in_the_handler_itself_is_the_handlers() {
    let handler = "example.com/shop/h.Handle@example.com/shop/h/h.go:12";
    assert_eq!(accused(&heap(&[(500.0, &[NEW, handler, MAIN])])), ["example.com/shop/h.Handle:12"]);
}

#[test]
fn libraries_that_make_clients_for_their_users_are_seen_through() {
    for library in [
        "go.etcd.io/etcd/client/v3.New@go.etcd.io/etcd/client/v3@v3.5.9/client.go:80",
        "go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc.New@/src/vendor/go.opentelemetry.io/x.go:5",
        "corp.example/platform/clients.Open@corp.example/platform@v1.4.0/clients/open.go:7",
    ] {
        let site = "example.com/shop/h.Handle@example.com/shop/h/h.go:12";
        assert_eq!(
            accused(&heap(&[(500.0, &[NEW, library, site, MAIN])])),
            ["example.com/shop/h.Handle:12"],
            "{library}"
        );
    }
}

#[test]
fn generic_method_and_closure_wrappers_are_seen_through() {
    let call = "example.com/shop/h.Handle@example.com/shop/h/h.go:14";
    for wrapper in [
        "example.com/shop/rpcx.Dial[go.shape.string]@example.com/shop/rpcx/x.go:3",
        "example.com/shop/pool.(*Pool).conn.func1@example.com/shop/pool/pool.go:30",
        "example.com/shop/users.New@example.com/shop/users/users.go:4",
    ] {
        let wrapper = wrapper.replace("[go.shape.string]", "");
        let site = "example.com/shop/h.Handle@example.com/shop/h/h.go:12";
        let profile = heap(&[(500.0, &[NEW, &wrapper, site, MAIN]), (0.0, &[INVOKE, call, MAIN])]);
        assert_eq!(accused(&profile), ["example.com/shop/h.Handle:12"], "{wrapper}");
    }
}

#[test]
fn a_name_that_may_be_an_applications_own_work_counts_only_where_calls_would_have_been_sampled() {
    let site = "example.com/shop/h.Handle@example.com/shop/h/h.go:12";
    for name in ["locks.(*Store).Acquire", "users.(*Users).Get", "orders.Create", "grpcapi.(*Server).GetUser"] {
        let dials = format!("example.com/shop/{name}@example.com/shop/x/x.go:3");
        let calls = format!("example.com/shop/{name}@example.com/shop/x/x.go:4");
        let named = |channels, calls: &str| {
            let profile = heap(&[(channels, &[NEW, &dials, site, MAIN]), (0.0, &[INVOKE, calls, MAIN])]);
            accused(&profile)
        };
        let itself = [format!("example.com/shop/{name}:3")];
        assert_eq!(named(300.0, site), itself, "of its calls no sample would be expected yet");
        assert_eq!(
            named(3_000.0, site),
            ["example.com/shop/h.Handle:12"],
            "{name} made 3,000, and was not seen to call"
        );
        assert_eq!(named(3_000.0, &calls), itself);
    }
    let client = "example.com/shop/grpcapi.Client@example.com/shop/x/x.go:3";
    let profile = heap(&[(300.0, &[NEW, client, site, MAIN])]);
    assert_eq!(accused(&profile), ["example.com/shop/h.Handle:12"], "this is what a client is called");
}

#[test]
fn who_lends_a_channel_to_a_callback_is_a_wrapper() {
    let with = "example.com/shop/rpcx.WithConn@example.com/shop/rpcx/x.go:3";
    let callback = "example.com/shop/h.Handle.func1@example.com/shop/h/h.go:13";
    let site = "example.com/shop/h.Handle@example.com/shop/h/h.go:12";
    let inlined = "main.main.Handle.func1@example.com/shop/h/h.go:13";
    for callback in [callback, inlined] {
        let profile = heap(&[(500.0, &[NEW, with, site, MAIN]), (0.0, &[INVOKE, callback, with, site, MAIN])]);
        assert_eq!(accused(&profile), ["example.com/shop/h.Handle:12"], "{callback}");
    }
}

#[test]
fn a_function_that_dials_and_calls_is_the_site_however_many_call_it() {
    let users = "example.com/shop/h.fetchClientData@example.com/shop/h/h.go:20";
    let used = "example.com/shop/h.fetchClientData@example.com/shop/h/h.go:22";
    let (a, b) = ("example.com/shop/h.A@example.com/shop/h/h.go:1", "example.com/shop/h.B@example.com/shop/h/h.go:2");
    let profile =
        heap(&[(300.0, &[NEW, users, a, MAIN]), (300.0, &[NEW, users, b, MAIN]), (0.0, &[INVOKE, used, a, MAIN])]);
    assert_eq!(accused(&profile), ["example.com/shop/h.fetchClientData:20"]);
}

#[test]
fn one_channel_or_a_pool_of_a_few_is_nobodys_leak() {
    let get = "example.com/shop/clients.GetClient@example.com/shop/clients/c.go:5";
    let rate = |rate: f64, channels: f64| Profile { rate, ..heap(&[(channels, &[NEW, get, MAIN])]) };
    assert_eq!(accused(&rate(1.0, 1.0)), [""; 0]);
    assert_eq!(accused(&rate(1.0, 12.0)), [""; 0]);
    assert_eq!(accused(&rate(1.0, 200.0)).len(), 1);
    // A single sample looks like a hundred channels and may be one.
    assert_eq!(accused(&rate(524_288.0, 100.0)), [""; 0]);
}

#[test]
fn what_runs_once_is_not_its_callers_doing() {
    let inner = "example.com/shop/clients.GetClient.func1@example.com/shop/clients/c.go:5";
    let once = "sync.(*Once).doSlow@sync/once.go:78";
    let outer = "example.com/shop/clients.GetClient@example.com/shop/clients/c.go:4";
    let profile = heap(&[(300.0, &[NEW, inner, once, outer, MAIN])]);
    assert_eq!(accused(&profile), ["example.com/shop/clients.GetClient.func1:5"]);
}

#[test]
fn a_site_that_dials_and_closes_holds_nothing_and_one_that_stopped_growing_is_not_accused() {
    let old = "example.com/shop/h.Old@example.com/shop/h/h.go:1";
    let new = "example.com/shop/h.New2@example.com/shop/h/h.go:2";
    let churn = "example.com/shop/h.Churn@example.com/shop/h/h.go:3";
    let before = heap(&[(400.0, &[NEW, old, MAIN]), (0.0, &[NEW, churn, MAIN])]);
    let after = heap(&[(400.0, &[NEW, old, MAIN]), (900.0, &[NEW, new, MAIN]), (0.0, &[NEW, churn, MAIN])]);
    let blame = blame(&after, None, Some(&before)).expect("heap profiles");
    let names = |of: &[Site]| of.iter().map(|it| it.function.clone()).collect::<Vec<_>>();
    assert_eq!(names(&blame.accused), ["example.com/shop/h.New2"]);
    assert_eq!(names(&blame.others), ["example.com/shop/h.Old"]);
}

#[test]
fn of_channels_that_idled_out_those_who_dialled_are_listed_and_nobody_is_accused() {
    let dialled = heap(&[(0.0, &[NEW, "example.com/shop/h.Handle@example.com/shop/h/h.go:12", MAIN])]);
    let blame = |known| blame(&dialled, known, None).expect("a heap profile");
    let faded = blame(Some(780.0));
    assert!(faded.faded && faded.accused.is_empty(), "{faded:?}");
    assert_eq!(faded.others.iter().map(|it| it.function.as_str()).collect::<Vec<_>>(), ["example.com/shop/h.Handle"]);
    // Who closes what it dials, leaves nothing either; only the number of channels tells the two apart.
    assert_eq!(blame(Some(2.0)).others, []);
}

#[test]
fn a_server_and_a_program_without_grpc_have_nobody_to_blame() {
    let server = "google.golang.org/grpc/internal/transport.NewServerTransport@google.golang.org/grpc@v1.85.0/x.go:1";
    let serves = blame(&heap(&[(9_000.0, &[server, MAIN])]), None, None).expect("a heap profile");
    assert!(serves.accused.is_empty() && serves.serves_only && serves.bytes == 0.0, "{serves:?}");
    let other = blame(&heap(&[(9_000.0, &["example.com/x.Cache", MAIN])]), None, None).expect("a heap profile");
    assert!(other.accused.is_empty() && other.others.is_empty() && !other.serves_only);
}

#[test]
fn profiles_of_the_wrong_kind_are_refused_by_name() {
    let goroutines = Profile::parse(HEAPS[0].2).expect("goroutines");
    assert!(blame(&goroutines, None, None).expect_err("refused").to_string().contains("goroutines"));
    let heap = Profile::parse(HEAPS[0].1).expect("a heap");
    assert!(Census::of(&heap).expect_err("refused").to_string().contains("the heap"));
}

#[test]
fn clients_of_a_library_are_counted_by_what_they_hold_besides_their_channel() {
    let read = |bytes: &[u8]| Profile::parse(bytes).expect("a profile");
    let heap = read(include_bytes!("../../../tests/profiles/etcd-client-3.7.heap.pb.gz"));
    let goroutines = read(include_bytes!("../../../tests/profiles/etcd-client-3.7.goroutine.pb.gz"));
    let census = Census::of(&goroutines).expect("goroutines");
    for channels in [None, Some(census.channels)] {
        let blame = blame(&heap, channels, None).expect("a heap profile");
        let [site] = blame.accused.as_slice() else { panic!("{:?}", blame.accused) };
        assert_eq!((site.function.as_str(), site.line), ("main.(*store).Acquire", 37));
        assert!((site.channels - 600.0).abs() <= 90.0, "{channels:?}: {site:?}");
        assert!(blame.others.is_empty(), "the client that was made once is not told: {:?}", blame.others);
    }
}
