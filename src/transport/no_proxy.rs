//! The hosts that are connected to without the environment's proxy, in the syntax of curl 7.86 and later.
//!
//! - Commas or blanks separate the entries. A list that is `*` and nothing else matches every host.
//! - A DNS name matches itself and every name below it. Case, one leading dot and one trailing dot are ignored.
//! - An IP address matches itself; `ADDRESS/BITS` matches a network. `/0` means the address itself, as in curl.
//! - Other syntax is not supported: no `*.domain`, no port and no brackets.

use std::net::IpAddr;

use super::url::{BrokerUrl, ServerName};

/// A `no_proxy` list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoProxy(String);

impl NoProxy {
    /// Wraps the list. Invalid entries match nothing.
    pub(crate) fn parse(list: &str) -> Self {
        Self(list.to_owned())
    }

    /// Returns whether the broker is on the list.
    pub(crate) fn excludes(&self, broker: &BrokerUrl) -> bool {
        let mut entries = self.0.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
        self.0 == "*"
            || match broker.server_name() {
                ServerName::Ip(address) => entries.any(|entry| is_in_network(*address, entry)),
                ServerName::Dns(name) => entries.any(|entry| is_in_domain(name, entry)),
            }
    }
}

fn is_in_domain(name: &str, entry: &str) -> bool {
    let domain = entry.strip_suffix('.').unwrap_or(entry);
    let domain = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
    name.strip_suffix(&*domain).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

fn is_in_network(address: IpAddr, entry: &str) -> bool {
    let (network, bits) = entry.split_once('/').unwrap_or((entry, "0"));
    let (Ok(network), Ok(bits)) = (network.parse(), bits.parse::<u32>()) else { return false };
    let (difference, width) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => (u128::from(address.to_bits() ^ network.to_bits()), 32),
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits() ^ network.to_bits(), 128),
        _ => return false,
    };
    match bits {
        0 => difference == 0,
        bits if bits > width => false,
        bits => difference.checked_shr(width - bits).unwrap_or(0) == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_excluded_as_curl_excludes_them() {
        for (host, list, expected) in [
            ("localhost", "localhost", true),
            ("LOCALHOST", "localhost", true),
            ("localhost", "LOCALHOST", true),
            ("localhost", "localhost.", true),
            ("localhost.", "localhost", true),
            ("localhost.", "localhost.", true),
            ("localhost", ".localhost", true),
            ("localhost", ".localhost.", true),
            ("localhost", "..localhost", false),
            ("a.localhost", "localhost", true),
            ("a.localhost", ".localhost", true),
            ("a.localhost", "*.localhost", false),
            ("alocalhost", "localhost", false),
            ("localhost", "a.localhost", false),
            ("localhost", "localhost:9", false),
            ("localhost", "foo,localhost", true),
            ("localhost", "foo localhost", true),
            ("localhost", "foo\tlocalhost", true),
            ("localhost", " foo , localhost ", true),
            ("localhost", ",,localhost,,", true),
            ("localhost", "foo", false),
            ("localhost", "", false),
            ("localhost", ".", false),
            ("localhost", "*", true),
            ("127.0.0.1", "*", true),
            ("localhost", "*,foo", false),
            ("localhost", " *", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.1/32", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "127.0.0.0/8", true),
            ("127.0.0.1", "127.9.9.9/8", true),
            ("127.0.0.1", "126.0.0.0/8", false),
            ("127.0.0.1", "126.0.0.0/7", true),
            ("127.0.0.1", "0.0.0.0/0", false),
            ("127.0.0.1", "127.0.0.1/0", true),
            ("127.0.0.1", "127.0.0.0/33", false),
            ("127.0.0.1", "0.0.1", false),
            ("127.0.0.1", ".127.0.0.1", false),
            ("127.0.0.1", "::/1", false),
            ("[::1]", "::1", true),
            ("[::1]", "0:0::1", true),
            ("[::1]", "[::1]", false),
            ("[::1]", "::/0", false),
            ("[::1]", "::1/128", true),
            ("[::1]", "::2/128", false),
            ("[::1]", "::/64", true),
            ("[::1]", "1::/64", false),
            ("[::1]", "::/129", false),
            ("[::1]", "::1/0", true),
            ("[::1]", "127.0.0.0/8", false),
            ("localhost", "127.0.0.0/8", false),
        ] {
            let broker = format!("mqtts://{host}:9").parse().expect(host);
            assert_eq!(NoProxy::parse(list).excludes(&broker), expected, "{host} with no_proxy={list:?}");
        }
    }
}
