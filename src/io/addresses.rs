//! Which network addresses are talked to. A name that an administrator or a pod's status gives may lead anywhere,
//! today or after the next change of DNS: to the cloud's metadata service, which hands out credentials, or back to the
//! operator's own machine. Such addresses are refused where the connection is made, so that what was checked is what
//! is used. It knows no host by name but `localhost`.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The metadata services of clouds that do not use a link-local address: Alibaba, Oracle, Azure; Amazon and Google over
/// IPv6.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// Why an address is not talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {what}, and never talked to")]
pub struct Refused {
    /// The address.
    pub address: IpAddr,
    /// What it is.
    pub what: &'static str,
}

/// Whether a service of the administrator's may be at this address.
///
/// # Errors
/// It is link-local, a cloud's metadata service, multicast, or stands for no host.
pub fn of_a_service(address: IpAddr) -> Result<(), Refused> {
    let what = [Some(address), embedded(address)].into_iter().flatten().find_map(|it| {
        let (link_local, broadcast) = match it {
            IpAddr::V4(it) => (it.is_link_local(), it.is_broadcast() || it.octets()[0] == 0),
            IpAddr::V6(it) => (it.is_unicast_link_local(), it.is_unspecified()),
        };
        match it {
            _ if link_local => Some("link-local, where clouds keep their metadata service"),
            it if METADATA.contains(&it) => Some("a cloud's metadata service"),
            it if it.is_multicast() => Some("a multicast address"),
            _ if broadcast => Some("the address of no host"),
            _ => None,
        }
    });
    what.map_or(Ok(()), |what| Err(Refused { address, what }))
}

/// Whether a pod, or a service that is known by name, may be at this address.
///
/// # Errors
/// As [`of_a_service`], and the operator's own machine.
pub fn of_another_host(address: IpAddr) -> Result<(), Refused> {
    if address.is_loopback() || embedded(address).is_some_and(|it| it.is_loopback()) {
        return Err(Refused { address, what: "the operator's own machine" });
    }
    of_a_service(address)
}

/// The rule for what a host of an endpoint resolves to. Who writes `localhost` or an address of it means it; any other
/// name that leads there does not.
#[must_use]
pub fn rule(host: &str) -> fn(IpAddr) -> Result<(), Refused> {
    if literal(host).is_some() || host.trim_end_matches('.').eq_ignore_ascii_case("localhost") {
        of_a_service
    } else {
        of_another_host
    }
}

/// The address that stands where a name would, in brackets or not.
#[must_use]
pub fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Why a host has no address that may be talked to.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    /// The system's resolver fails.
    #[error(transparent)]
    Unknown(#[from] io::Error),
    /// Every address that it has is refused.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// The addresses of an endpoint's host that may be talked to.
///
/// # Errors
/// See [`Unresolved`].
pub async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, Unresolved> {
    let allowed = rule(host);
    let (mut kept, mut refused) = (Vec::new(), None);
    for address in tokio::net::lookup_host(format!("{host}:{port}")).await? {
        match allowed(address.ip()) {
            Ok(()) => kept.push(address),
            Err(why) => refused = refused.or(Some(why)),
        }
    }
    match refused {
        Some(why) if kept.is_empty() => Err(why.into()),
        _ => Ok(kept),
    }
}

/// The IPv4 address that an IPv6 address leads to: mapped (RFC 4291), compatible (the same, deprecated), NAT64 (RFC
/// 6052), 6to4 (RFC 3056).
fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else { return None };
    let last = |[a, b]: [u16; 2]| IpAddr::V4(Ipv4Addr::from(u32::from(a) << 16 | u32::from(b)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, a, b] | [0x64, 0xff9b, 0, 0, 0, 0, a, b] | [0x2002, a, b, ..] => Some(last([a, b])),
        _ => None,
    }
}

/// The system's resolver, without the addresses that are not talked to.
pub struct Resolver;

impl Resolver {
    /// For a client.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        Arc::new(Self)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = lookup(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn addresses_of_services_are_talked_to_wherever_they_are() {
        for text in ["10.96.0.10", "192.168.1.7", "172.16.0.1", "100.64.0.1", "8.8.8.8", "fd12:3456::1", "2001:db8::7"]
        {
            assert_eq!(of_another_host(ip(text)), Ok(()), "{text}");
        }
    }

    #[test]
    fn metadata_services_are_never_talked_to_however_their_address_is_written() {
        for text in [
            "169.254.169.254",
            "169.254.170.2",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::a9fe:a9fe",
            "100.100.100.200",
            "::ffff:100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd20:ce::254",
        ] {
            assert!(of_a_service(ip(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_not_talked_to() {
        for text in ["0.0.0.0", "0.1.2.3", "255.255.255.255", "224.0.0.1", "ff02::1", "::", "::ffff:0.0.0.0"] {
            assert!(of_a_service(ip(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn the_own_machine_is_talked_to_only_by_its_own_name() {
        for text in ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
            assert!(of_another_host(ip(text)).is_err(), "{text}");
            for host in ["localhost", "LOCALHOST.", "127.0.0.1", "[::1]"] {
                assert_eq!(rule(host)(ip(text)), Ok(()), "{host} at {text}");
            }
            for host in ["prometheus.monitoring.svc", "localhost.evil.example", "127.0.0.1.nip.io"] {
                assert!(rule(host)(ip(text)).is_err(), "{host} at {text}");
            }
        }
    }

    #[tokio::test]
    async fn a_name_of_the_own_machine_resolves() {
        let name = "localhost".parse().expect("a name");
        let found = Resolver.resolve(name).await.expect("it resolves");
        assert!(found.into_iter().all(|it| it.ip().is_loopback()));
    }
}
