//! Whether what a client says it is connected to is the Service that is asked about: gRPC targets in all their
//! spellings, and plain addresses. It resolves no name: what is not written cannot be known.

// `core::net` holds values, not sockets.
use core::net::IpAddr;

use crate::signals::Destination;

/// Schemes that may stand before a target with a single colon, as in `dns:users:443`.
const SCHEMES: [&str; 8] = ["dns", "passthrough", "xds", "kubernetes", "ipv4", "ipv6", "static", "direct"];
/// Schemes that never lead to a Service.
const LOCAL: [&str; 3] = ["unix", "unix-abstract", "vsock"];

/// Whether a gRPC target, or an `IP:PORT`, of a client in this namespace means the destination.
///
/// `users` alone means the Service of the client's own namespace; `users.shop` and `users.shop.svc`, with or without a
/// cluster domain, name the namespace; `users-0.users.shop.svc` is one endpoint of a headless Service. An address
/// counts when it is one of the destination's. The syntax: <https://grpc.github.io/grpc/core/md_doc_naming.html>.
#[must_use]
pub fn means(target: &str, namespace: &str, destination: &Destination) -> bool {
    let target = unbracketed(target);
    let Some((scheme, authority, endpoints)) = split(&target) else { return false };
    // kuberesolver alone reads a namespace there; for the others it is the server that resolves names.
    let namespace = if scheme == "kubernetes" && !authority.is_empty() { authority } else { namespace };
    endpoints.split(',').any(|it| is_endpoint(it, namespace, destination))
}

/// Percent-encoded brackets of an IPv6 address as they were.
fn unbracketed(target: &str) -> String {
    target.replace("%5B", "[").replace("%5b", "[").replace("%5D", "]").replace("%5d", "]")
}

/// Scheme, authority and the rest. `None` for what is on the client's own machine.
fn split(target: &str) -> Option<(&str, &str, &str)> {
    let bare = |it: &'_ str| it.trim_end_matches('/').split('?').next().map_or(0, str::len);
    let (scheme, authority, rest) = match target.split_once("://") {
        Some((scheme, rest)) => match rest.split_once('/') {
            Some((authority, rest)) if !rest.is_empty() => (scheme, authority, rest),
            _ => (scheme, "", rest),
        },
        None => match target.split_once(':') {
            Some((scheme, rest)) if SCHEMES.contains(&scheme) || LOCAL.contains(&scheme) => (scheme, "", rest),
            _ => ("", "", target),
        },
    };
    (!LOCAL.contains(&scheme)).then(|| (scheme, authority, &rest[..bare(rest)]))
}

fn is_endpoint(endpoint: &str, namespace: &str, destination: &Destination) -> bool {
    let (host, port) = host_and_port(endpoint.trim());
    match host.parse::<IpAddr>() {
        Ok(ip) => destination.is_at(ip, port),
        Err(_) => is_name(&host.to_ascii_lowercase(), namespace, destination),
    }
}

fn host_and_port(endpoint: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = endpoint.strip_prefix('[').and_then(|it| it.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|it| it.parse().ok()));
    }
    match endpoint.split_once(':') {
        // More than one colon and no brackets: an IPv6 address without a port.
        Some((_, rest)) if rest.contains(':') => (endpoint, None),
        // A port may have a name; then it is not known which number it stands for.
        Some((host, port)) => (host, port.parse().ok()),
        None => (endpoint, None),
    }
}

fn is_name(host: &str, namespace: &str, destination: &Destination) -> bool {
    let (wanted, its_namespace) = (destination.name(), destination.namespace());
    let labels: Vec<&str> = host.trim_end_matches('.').split('.').collect();
    match labels.as_slice() {
        [service] => *service == wanted && namespace == its_namespace,
        [service, of] | [service, of, "svc", ..] | [_, service, of, "svc", ..] => {
            *service == wanted && *of == its_namespace
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::Address;

    fn users() -> Destination {
        let addresses = ["10.96.7.20:443", "10.244.1.5:8443", "[fd00::1]:443"];
        let addresses = addresses.map(|it| Address::parse(it).expect(it));
        Destination::new("shop", "users").expect("good names").with_addresses(addresses)
    }

    #[test]
    fn every_spelling_of_the_service_means_it() {
        for target in [
            "dns:///users.shop.svc.cluster.local:443",
            "dns:///users.shop.svc.cluster.local.:443",
            "dns:///users.shop.svc.corp.example:443",
            "dns:///users.shop.svc:443",
            "dns:///users.shop:443",
            "dns:///users.shop",
            "dns:users.shop:443",
            "dns://10.96.0.10/users.shop.svc.cluster.local:443",
            "users.shop.svc:443",
            "Users.Shop.svc:443",
            "passthrough:///users.shop:443",
            "xds:///users.shop.svc.cluster.local:443",
            "kubernetes:///users.shop:grpc",
            "kubernetes://users.shop:443/",
            "kubernetes://shop/users:443",
            "dns:///users-0.users.shop.svc.cluster.local:443",
            "dns:///10.96.7.20:443",
            "passthrough:///10.244.1.5:8443",
            "10.96.7.20:443",
            "ipv4:10.0.0.9:443,10.244.1.5:8443",
            "ipv6:[fd00::1]:443",
            "dns:///%5Bfd00::1%5D:443",
            "fd00::1",
        ] {
            assert!(means(target, "web", &users()), "{target}");
        }
    }

    #[test]
    fn a_bare_name_means_the_service_of_the_client_s_own_namespace() {
        for target in
            ["users:443", "dns:///users:443", "passthrough:///users:443", "xds:///users", "kubernetes:///users:grpc"]
        {
            assert!(means(target, "shop", &users()), "{target}");
            assert!(!means(target, "web", &users()), "{target}");
        }
    }

    #[test]
    fn what_only_looks_like_it_is_somebody_else() {
        for target in [
            "",
            "dns:///users-v2.shop.svc.cluster.local:443",
            "dns:///my-users.shop:443",
            "dns:///users.shop2.svc:443",
            "dns:///shop.users.svc:443",
            "dns:///users.shop.example.com:443",
            "dns:///users.example.com:443",
            "dns:///a.b.users.shop.svc:443",
            "dns://users.shop/orders.shop:443",
            "kubernetes://web/users:443",
            "dns:///10.96.7.20:9090",
            "dns:///10.96.7.2:443",
            "dns:///110.96.7.20:443",
            "unix:///users.shop",
            "unix:users",
        ] {
            assert!(!means(target, "shop", &users()), "{target}");
        }
    }
}
