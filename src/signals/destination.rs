//! Whom clients are connected to: a Service, by its name and by its addresses. Plain data, checked where it is made, so
//! that no name and no address can smuggle a pattern into a query.

// `core::net` holds values, not sockets: nothing here reaches a network.
use core::{
    fmt,
    net::{IpAddr, SocketAddr},
};
use std::collections::BTreeSet;

use super::promql::is_dns_label;

/// A Service, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    namespace: String,
    name: String,
    addresses: Vec<Address>,
}

/// One IP address of a Service: its own, or that of one of its endpoints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// The ports at which it is the Service. Empty: all ports.
    pub ports: BTreeSet<u16>,
}

/// Why there is no such destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDestination {
    /// The Service's name.
    #[error("SERVICE: {0:?} is not the name of a Service: write lower-case letters, digits and -, as in `users`")]
    Name(String),
    /// The namespace's name.
    #[error("--namespace: {0:?} is not the name of a namespace")]
    Namespace(String),
    /// An address.
    #[error("--address: {0:?} is neither an IP address nor IP:PORT; write 10.96.7.20, 10.96.7.20:443 or [fd00::1]:443")]
    Address(String),
}

impl Destination {
    /// A Service by its name.
    ///
    /// # Errors
    /// A name is not a DNS label (RFC 1123), as Kubernetes demands.
    pub fn new(namespace: &str, name: &str) -> Result<Self, InvalidDestination> {
        if !is_dns_label(name) {
            return Err(InvalidDestination::Name(name.to_owned()));
        }
        if !is_dns_label(namespace) {
            return Err(InvalidDestination::Namespace(namespace.to_owned()));
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned(), addresses: Vec::new() })
    }

    /// The same with these addresses besides those it has. One that is there already gets the ports of both.
    #[must_use]
    pub fn with_addresses(mut self, addresses: impl IntoIterator<Item = Address>) -> Self {
        for Address { ip, ports } in addresses {
            match self.addresses.iter_mut().find(|it| it.ip == ip) {
                Some(known) if known.ports.is_empty() || ports.is_empty() => known.ports.clear(),
                Some(known) => known.ports.extend(ports),
                None => self.addresses.push(Address { ip, ports }),
            }
        }
        self
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its addresses. Empty when none is known.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Whether it is reached at this address. `None` for a port that is not known.
    #[must_use]
    pub fn is_at(&self, ip: IpAddr, port: Option<u16>) -> bool {
        let serves = |it: &Address| it.ports.is_empty() || port.is_none_or(|port| it.ports.contains(&port));
        self.addresses.iter().any(|it| it.ip == ip.to_canonical() && serves(it))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Address {
    /// Reads `IP` or `IP:PORT`; an IPv6 address with a port stands in brackets.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self, InvalidDestination> {
        let plain = |ip: IpAddr| Self { ip: ip.to_canonical(), ports: BTreeSet::new() };
        let with_port = |it: SocketAddr| Self { ip: it.ip().to_canonical(), ports: BTreeSet::from([it.port()]) };
        let ip = text.parse::<IpAddr>().map(plain);
        ip.or_else(|_| text.parse().map(with_port)).map_err(|_| InvalidDestination::Address(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(addresses: &[&str]) -> Destination {
        let addresses: Vec<Address> = addresses.iter().map(|it| Address::parse(it).expect(it)).collect();
        Destination::new("shop", "users").expect("good names").with_addresses(addresses)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn no_name_and_no_address_holds_a_pattern() {
        for bad in ["", "users.*", "Users", "users|", "-users", "users\"", "users.shop"] {
            assert_eq!(Destination::new("shop", bad), Err(InvalidDestination::Name(bad.to_owned())));
            assert_eq!(Destination::new(bad, "users"), Err(InvalidDestination::Namespace(bad.to_owned())));
        }
        for bad in ["", "users:443", "10.0.0.*", "10.0.0.1:", "10.0.0.1:http", "fd00::1]:443", "10.0.0.1:70000"] {
            assert!(Address::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_address_with_ports_is_the_service_at_these_ports_only() {
        let users = users(&["10.96.7.20:443", "10.244.1.5", "[fd00::1]:443", "10.96.7.20:80"]);
        assert!(users.is_at(ip("10.96.7.20"), Some(443)) && users.is_at(ip("10.96.7.20"), Some(80)));
        assert!(!users.is_at(ip("10.96.7.20"), Some(9090)), "another port is another server");
        assert!(users.is_at(ip("10.244.1.5"), Some(9090)) && users.is_at(ip("10.96.7.20"), None));
        assert!(users.is_at(ip("fd00::1"), Some(443)) && !users.is_at(ip("fd00::2"), Some(443)));
        assert!(users.is_at(ip("::ffff:10.244.1.5"), None), "IPv4 as Go prints it on a dual-stack socket");
    }
}
