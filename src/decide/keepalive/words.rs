//! The phrases about each side that remarks and findings share. Nothing is compared here.

use super::{Client, Pings, Server, names};
use crate::api::print_duration;

/// How often the client pings, and which option says so.
pub fn pings(client: &Client, pings: &Pings) -> String {
    let (every, time) = (print_duration(pings.every), names::of_client(client).time);
    match pings.set {
        None => format!("the client pings every {every} ({time} is not set, and grpc-go makes that {every})"),
        Some(set) if set < pings.every => {
            format!("the client pings every {every} ({time} {}, raised to {every})", print_duration(set))
        }
        Some(_) => format!("the client pings every {every} ({time})"),
    }
}

/// How often the server permits it, and which option says so.
pub fn permits(server: &Server) -> String {
    let (every, min_time) = (print_duration(server.permits()), names::of_server(server).min_time);
    let source = if server.min_time.is_some() { min_time } else { "gRPC's default" };
    format!("the server permits a ping every {every} ({source})")
}

/// What the server permits without calls, for a sentence that goes on.
pub fn without_stream(server: &Server) -> String {
    let source = match (names::of_server(server).without_stream, server.permit_without_stream) {
        (_, None) => "gRPC's default".to_owned(),
        (Some(option), Some(permits)) => format!("{option} {permits}"),
        (None, Some(_)) => "it has no option for that".to_owned(),
    };
    format!("the server permits that only once in 2h ({source})")
}

/// Both sides in one line, for people who look at a pod.
pub fn both(client: Option<&Client>, server: Option<&Server>) -> String {
    let when = |without_stream| if without_stream { "also without calls" } else { "only during calls" };
    let client = match client.map(|it| (it, it.pings())) {
        None => "the client's keepalive is not declared".to_owned(),
        Some((_, None)) => "the client sends no pings".to_owned(),
        Some((client, Some(pings))) => {
            let why = match pings.set {
                None => format!(" ({} is not set)", names::of_client(client).time),
                Some(set) if pings.differ() => format!(" ({} is raised)", print_duration(set)),
                Some(_) => String::new(),
            };
            let every = print_duration(pings.every);
            format!("the client pings every {every}{why}, {}", when(client.pings_without_stream()))
        }
    };
    let server = server.copied().unwrap_or_default();
    if server.permits().is_zero() && server.permits_without_stream() {
        return format!("{client}; the server permits any number of pings");
    }
    let every = print_duration(server.permits());
    let default = if server.min_time.is_none() { " (gRPC's default)" } else { "" };
    format!("{client}; the server permits one every {every}{default}, {}", when(server.permits_without_stream()))
}
