//! Whose code a frame is: gRPC's, the standard library's, a dependency's or the application's own; and which frames of
//! gRPC open channels, use them, or serve. Read off grpc-go 1.45 to 1.85.

use std::collections::HashSet;

use super::profile::{Frame, Profile};

/// Whose code it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// grpc-go itself.
    Grpc,
    /// Go's standard library and runtime.
    Standard,
    /// A module that the application depends on.
    Dependency,
    /// The application.
    Application,
}

const GRPC: &str = "google.golang.org/grpc";
/// The functions that make a channel, on their caller's stack.
const DIALS: [&str; 4] = ["Dial", "DialContext", "NewClient", "newClient"];
/// Modules whose clients are made for their users, for builds whose files do not carry a version: Bazel, `replace`.
const LIBRARIES: [&str; 14] = [
    "go.etcd.io/",
    "go.opentelemetry.io/",
    "go.temporal.io/",
    "cloud.google.com/go",
    "google.golang.org/",
    "github.com/grpc-ecosystem/",
    "github.com/googleapis/",
    "github.com/GoogleCloudPlatform/",
    "github.com/aws/",
    "github.com/Azure/",
    "github.com/dapr/",
    "github.com/containerd/",
    "k8s.io/",
    "sigs.k8s.io/",
];
/// The first parts of the standard library's packages.
const STANDARD: [&str; 46] = [
    "archive",
    "bufio",
    "bytes",
    "cmp",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "debug",
    "embed",
    "encoding",
    "errors",
    "expvar",
    "flag",
    "fmt",
    "go",
    "hash",
    "html",
    "image",
    "index",
    "internal",
    "io",
    "iter",
    "log",
    "maps",
    "math",
    "mime",
    "net",
    "os",
    "path",
    "plugin",
    "reflect",
    "regexp",
    "runtime",
    "slices",
    "sort",
    "strconv",
    "strings",
    "sync",
    "syscall",
    "testing",
    "text",
    "time",
    "unicode",
    "unique",
];

/// A function's package and its name in it: `example.com/shop/handlers` and `(*Orders).GetUser`.
#[must_use]
pub fn package_and_name(function: &str) -> (&str, &str) {
    let vendored = || function.rsplit_once("/vendor/").map_or(function, |it| it.1);
    // Looking for it from the end takes ten times as long, and most have none.
    let function = if function.contains("/vendor/") { vendored() } else { function };
    let last = function.rfind('/').map_or(0, |it| it + 1);
    function[last..].split_once('.').map_or((function, ""), |(tail, name)| (&function[..last + tail.len()], name))
}

/// The function that a closure stands in; a function that is none stands in itself.
#[must_use]
pub fn enclosing(function: &str) -> &str {
    let function = function.strip_suffix("-fm").unwrap_or(function);
    let is_closure = |it: &str| {
        let digits = ["func", "gowrap", "deferwrap"].iter().find_map(|kind| it.strip_prefix(kind)).unwrap_or(it);
        let digits = digits.split_once("-range").map_or(digits, |it| it.0);
        !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit())
    };
    let mut function = function;
    while let Some((outer, inner)) = function.rsplit_once('.') {
        if !is_closure(inner) {
            break;
        }
        function = outer;
    }
    function
}

/// The version of grpc-go, as `(1, 85)`, if a file carries it.
#[must_use]
pub fn grpc_version(profile: &Profile) -> Option<(u32, u32)> {
    profile.frames.iter().filter(|it| it.file.contains("google.golang.org/grpc@v")).find_map(|it| {
        let version = it.file.split("google.golang.org/grpc@v").nth(1)?;
        let mut parts = version.split(['.', '/']);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

/// What is asked of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    /// Whose code it is.
    pub origin: Origin,
    /// Whether it makes a channel.
    pub dials: bool,
    /// Whether it makes a call on a channel.
    pub calls: bool,
    /// Whether it belongs to a server's side.
    pub serves: bool,
    /// Whether it belongs to what a channel holds besides its calls: connections, their buffers and writers, the parts of
    /// the channel that serialise callbacks.
    pub holds: bool,
    /// Whether it is TLS.
    pub encrypts: bool,
}

/// The role of each frame of a profile. Names are long and stacks are many: every name is taken apart once.
pub fn roles(profile: &Profile) -> Vec<Role> {
    // A program that was installed by its version carries one in its own files, too.
    let own: HashSet<&str> =
        profile.frames.iter().filter(|it| it.function.starts_with("main.")).filter_map(|it| module(&it.file)).collect();
    profile.frames.iter().map(|it| role(it, &own)).collect()
}

fn role(frame: &Frame, own: &HashSet<&str>) -> Role {
    let (package, name) = package_and_name(&frame.function);
    let (is_grpc, within) = (package == GRPC, package.starts_with(GRPC));
    let dials = is_grpc && DIALS.contains(&name);
    Role {
        origin: origin(frame, package, own),
        dials,
        calls: is_grpc && matches!(name, "(*ClientConn).Invoke" | "(*ClientConn).NewStream"),
        serves: within && serves(name),
        holds: within && (dials || holds(enclosing(name))),
        encrypts: frame.function.starts_with("crypto/tls."),
    }
}

fn serves(name: &str) -> bool {
    name.starts_with("(*Server).")
        || name.starts_with("(*http2Server).")
        || matches!(enclosing(name), "NewServerTransport" | "newHTTP2Server")
}

fn holds(name: &str) -> bool {
    name.starts_with("(*addrConn).")
        || name.starts_with("(*CallbackSerializer).")
        || matches!(name, "NewHTTP2Client" | "newHTTP2Client" | "NewClientTransport")
}

/// The module with its version that a file is of: up to the end of the part that has an `@`.
fn module(file: &str) -> Option<&str> {
    let at = file.find('@')?;
    Some(&file[..at + file[at..].find('/')?])
}

fn origin(frame: &Frame, package: &str, own: &HashSet<&str>) -> Origin {
    if package == GRPC || package.strip_prefix(GRPC).is_some_and(|it| it.starts_with('/')) {
        return Origin::Grpc;
    }
    let first = package.split('/').next().unwrap_or_default();
    if STANDARD.contains(&first) || package.is_empty() {
        return Origin::Standard;
    }
    let versioned = module(&frame.file).is_some_and(|it| !own.contains(it));
    let vendored = || {
        ["/vendor/", "/external/"]
            .iter()
            .any(|it| frame.file.starts_with(&it[1..]) || frame.file.contains(it) || frame.function.contains(it))
    };
    let known = || LIBRARIES.iter().any(|it| package.starts_with(it));
    if versioned || known() || vendored() { Origin::Dependency } else { Origin::Application }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, file: &str) -> Frame {
        Frame { function: function.into(), file: file.into(), line: 1 }
    }

    fn of(function: &str, file: &str) -> Role {
        role(&frame(function, file), &HashSet::new())
    }

    #[test]
    fn functions_are_split_into_package_and_name() {
        assert_eq!(package_and_name("a.com/x/y.v2/z.(*T).F"), ("a.com/x/y.v2/z", "(*T).F"));
        assert_eq!(package_and_name("main.main.func1"), ("main", "main.func1"));
        assert_eq!(package_and_name("a.com/x/vendor/google.golang.org/grpc.Dial"), (GRPC, "Dial"));
    }

    #[test]
    fn closures_stand_in_their_function() {
        for closure in ["a.F.func1", "a.F.func2.1", "a.F.func2.1.3", "a.F.gowrap1", "a.F-fm", "a.F.func1-range2"] {
            assert_eq!(enclosing(closure), "a.F", "{closure}");
        }
        assert_eq!(enclosing("a.(*T).F"), "a.(*T).F");
    }

    #[test]
    fn code_is_the_applications_unless_it_is_versioned_vendored_or_known() {
        assert_eq!(of("example.com/shop/rpcx.Dial", "example.com/shop/rpcx/rpcx.go").origin, Origin::Application);
        assert_eq!(of("orders/rpc.Dial", "/src/orders/rpc/rpc.go").origin, Origin::Application);
        assert_eq!(of("main.main", "/src/main.go").origin, Origin::Application);
        assert_eq!(of("a.com/x.New", "/go/pkg/mod/a.com/x@v1.2.3/x.go").origin, Origin::Dependency);
        assert_eq!(of("a.com/x.New", "/src/shop/vendor/a.com/x/x.go").origin, Origin::Dependency);
        assert_eq!(of("b.com/shop/vendor/a.com/x.New", "/src/x.go").origin, Origin::Dependency);
        assert_eq!(of("go.etcd.io/etcd/client/v3.New", "client/v3/client.go").origin, Origin::Dependency);
        assert_eq!(of("net/http.(*conn).serve", "net/http/server.go").origin, Origin::Standard);
        assert_eq!(of("google.golang.org/grpc/internal/transport.x", "").origin, Origin::Grpc);
        assert_eq!(of("google.golang.org/grpcurl.Dial", "").origin, Origin::Dependency);
    }

    #[test]
    fn a_program_installed_by_its_version_is_its_own_application() {
        let frames = vec![
            frame("main.main", "/mod/a.com/shop@v1.0.0/cmd/main.go"),
            frame("a.com/shop/h.F", "/mod/a.com/shop@v1.0.0/h/h.go"),
        ];
        let profile = Profile { kind: super::super::Kind::Heap, rate: 1.0, frames, stacks: vec![], paths: vec![] };
        assert!(roles(&profile).iter().all(|it| it.origin == Origin::Application));
    }

    #[test]
    fn a_servers_frames_are_told_from_a_clients() {
        assert!(of("google.golang.org/grpc/internal/transport.NewServerTransport", "").serves);
        assert!(of("google.golang.org/grpc.(*Server).Serve.func3", "").serves);
        assert!(of("google.golang.org/grpc/internal/transport.NewHTTP2Client.func6", "").holds);
        assert!(!of("google.golang.org/grpc/internal/transport.NewServerTransport", "").holds);
    }
}
