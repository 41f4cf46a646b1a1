//! The annotations by which a team says what its own pods set: `time=30s,timeout=10s,language=go`. What cannot be read
//! is named and left out; the rest counts.

use std::{sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

use super::{Client, Declaration, Server};
use crate::{
    api::{
        names::annotations::{KEEPALIVE_CLIENT, KEEPALIVE_SERVER},
        parse_duration,
    },
    decide::status::shortened,
};

/// A longer annotation is none of ours, bytes.
const LONGEST: usize = 512;
/// How much of a wrong word is shown, bytes,
const SHOWN: usize = 40;
/// and how many wrong words of one annotation.
const MOST: usize = 8;

impl Declaration {
    /// Reads both annotations of a pod. `None`: it has neither, which is nearly every pod.
    #[must_use]
    pub fn of_annotations(client: Option<&str>, server: Option<&str>) -> Option<Arc<Self>> {
        if client.is_none() && server.is_none() {
            return None;
        }
        let mut unreadable = Vec::new();
        let client = client.map(|text| {
            let own: Client = read(KEEPALIVE_CLIENT, text, set_client, &mut unreadable);
            own.over(&own.preset.map(Client::of).unwrap_or_default())
        });
        let server = server.map(|text| {
            let own: Server = read(KEEPALIVE_SERVER, text, set_server, &mut unreadable);
            own.over(&own.preset.map(Server::of).unwrap_or_default())
        });
        Some(Arc::new(Self { client, server, unreadable }.without_empty_sides()))
    }
}

fn read<T: Default>(
    key: &str,
    text: &str,
    set: fn(&mut T, &str, &str) -> Result<(), String>,
    unreadable: &mut Vec<String>,
) -> T {
    let mut side = T::default();
    if text.len() > LONGEST {
        unreadable.push(format!("annotation {key} is longer than {LONGEST} bytes"));
        return side;
    }
    let mut seen: Vec<&str> = Vec::new();
    let most = unreadable.len() + MOST;
    for part in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        let result = match part.split_once('=') {
            None => Err(format!("{:?} is not written as name=value", shown(part))),
            Some((name, value)) => {
                let (name, value) = (name.trim(), value.trim());
                let again = seen.contains(&name);
                seen.push(name);
                if again { Err(format!("{} is given twice", shown(name))) } else { set(&mut side, name, value) }
            }
        };
        if let Err(why) = result {
            unreadable.push(format!("annotation {key}: {why}"));
            unreadable.truncate(most);
        }
    }
    side
}

fn set_client(client: &mut Client, name: &str, value: &str) -> Result<(), String> {
    match name {
        "preset" => client.preset = Some(word(name, value)?),
        "language" => client.language = Some(word(name, value)?),
        "time" => client.time = Some(duration(name, value)?),
        "timeout" => client.timeout = Some(duration(name, value)?),
        "permitWithoutStream" => client.permit_without_stream = Some(yes_or_no(name, value)?),
        "loadBalancing" => client.load_balancing = Some(word(name, value)?),
        "longestCall" => client.longest_call = Some(duration(name, value)?),
        _ => {
            return Err(unknown(
                name,
                "preset, language, time, timeout, permitWithoutStream, loadBalancing and longestCall",
            ));
        }
    }
    Ok(())
}

fn set_server(server: &mut Server, name: &str, value: &str) -> Result<(), String> {
    match name {
        "preset" => server.preset = Some(word(name, value)?),
        "language" => server.language = Some(word(name, value)?),
        "minTime" => server.min_time = Some(duration(name, value)?),
        "permitWithoutStream" => server.permit_without_stream = Some(yes_or_no(name, value)?),
        "maxConnectionIdle" => server.max_connection_idle = Some(duration(name, value)?),
        "maxConnectionAge" => server.max_connection_age = Some(duration(name, value)?),
        "maxConnectionAgeGrace" => server.max_connection_age_grace = Some(duration(name, value)?),
        "loadBalancerIdleTimeout" => server.load_balancer_idle_timeout = Some(duration(name, value)?),
        _ => {
            return Err(unknown(
                name,
                "preset, language, minTime, permitWithoutStream, maxConnectionIdle, maxConnectionAge, \
                 maxConnectionAgeGrace and loadBalancerIdleTimeout",
            ));
        }
    }
    Ok(())
}

fn unknown(name: &str, known: &str) -> String {
    format!("there is no {:?}; there are {known}", shown(name))
}

fn duration(name: &str, value: &str) -> Result<Duration, String> {
    parse_duration(&shown(value)).map_err(|why| format!("{name}: {why}"))
}

fn yes_or_no(name: &str, value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| format!("{name}: {:?} is neither true nor false", shown(value)))
}

/// A word of a policy's vocabulary, which is that of its types.
fn word<T: DeserializeOwned>(name: &str, value: &str) -> Result<T, String> {
    let parsed = serde_json::from_value(serde_json::Value::String(shown(value)));
    parsed.map_err(|why| format!("{name}: {why}"))
}

fn shown(text: &str) -> String {
    shortened(text, SHOWN)
}
