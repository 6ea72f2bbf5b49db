//! Parses and validates the URLs of brokers and proxies.
//!
//! A host has two forms. The typed form is for messages and for the resolver, which understands zone IDs. The canonical form
//! ([`ServerName`]) is for what the peer receives or proves: SNI, certificate verification and `Host:`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use zeroize::Zeroizing;

/// The default port of a proxy.
const DEFAULT_PROXY_PORT: u16 = 8080;

/// The protocols of a connection, as the URL's scheme selects them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// MQTT over TCP.
    Mqtt,
    /// MQTT over TLS.
    Mqtts,
    /// MQTT over WebSocket.
    Ws,
    /// MQTT over WebSocket over TLS.
    Wss,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Mqtt, Self::Mqtts, Self::Ws, Self::Wss];

    /// Returns the scheme in the syntax of a URL.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    /// Returns what the scheme of another program means.
    fn of_other_programs(scheme: &str) -> Option<Self> {
        match scheme.to_ascii_lowercase().as_str() {
            "tcp" | "mqtt+tcp" => Some(Self::Mqtt),
            "ssl" | "tls" | "mqtt+ssl" | "mqtt+tls" => Some(Self::Mqtts),
            "http" | "mqtt+ws" => Some(Self::Ws),
            "https" | "mqtt+wss" => Some(Self::Wss),
            _ => None,
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    /// Returns whether the connection is encrypted.
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    /// Returns whether the connection uses WebSocket.
    pub(crate) fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// The canonical form of a host: lower case, no trailing dot, no zone ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerName {
    Ip(IpAddr),
    /// A DNS name.
    Dns(String),
}

impl fmt::Display for ServerName {
    /// Writes an IPv6 address without brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Dns(name) => f.write_str(name),
        }
    }
}

/// A host and a port to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostPort {
    host: String,
    name: ServerName,
    port: u16,
}

impl HostPort {
    /// Parses `HOST[:PORT]`. An IPv6 address is in brackets.
    fn parse(authority: &str, default_port: u16) -> Result<Self, UrlProblem> {
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or(UrlProblem::InvalidBrackets)?;
                let port = after.strip_prefix(':');
                if port.is_none() && !after.is_empty() {
                    return Err(UrlProblem::InvalidBrackets);
                }
                (host, port)
            }
            None if authority.contains(['[', ']']) => return Err(UrlProblem::InvalidBrackets),
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        if port.is_some_and(|port| port.contains(':')) {
            return Err(UrlProblem::MissingBrackets);
        }
        // A URI has %25 before a zone ID [RFC 6874]; people type % [RFC 9844].
        let host = if authority.starts_with('[') { host.replacen("%25", "%", 1) } else { host.to_owned() };
        let name = if authority.starts_with('[') { ipv6_name(&host)? } else { server_name(&host)? };
        let port = match port {
            None => default_port,
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(UrlProblem::InvalidPort)?,
        };
        Ok(Self { host, name, port })
    }

    /// Returns the host as typed, with `%` before a zone ID.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the socket address if the host is a literal address. An address with a zone ID needs the resolver.
    pub(super) fn literal(&self) -> Option<SocketAddr> {
        match self.name {
            ServerName::Ip(address) if !self.host.contains('%') => Some((address, self.port).into()),
            _ => None,
        }
    }

    /// Returns host and port, as typed.
    pub(super) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// Parses an IPv6 address with an optional zone ID after a `%`. Returns the canonical form.
fn ipv6_name(host: &str) -> Result<ServerName, UrlProblem> {
    let (address, zone) = host.split_once('%').map_or((host, None), |(address, zone)| (address, Some(zone)));
    let is_zone = |zone: &str| !zone.is_empty() && zone.chars().all(|c| c.is_ascii_graphic());
    let address = address.parse().ok().filter(|_| zone.is_none_or(is_zone));
    let address: Ipv6Addr = address.ok_or(UrlProblem::InvalidBrackets)?;
    if zone.is_none() && address.is_unicast_link_local() {
        return Err(UrlProblem::NoZone);
    }
    Ok(ServerName::Ip(address.into()))
}

/// Parses an IPv4 address or a DNS name. Returns the canonical form.
fn server_name(host: &str) -> Result<ServerName, UrlProblem> {
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if name.is_empty() {
        return Err(UrlProblem::NoHost);
    }
    if !name.is_ascii() {
        return Err(UrlProblem::NonAsciiHost);
    }
    // Host names must not contain underscores, but names in container networks do.
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if !name.split('.').all(is_label) {
        return Err(UrlProblem::InvalidHost);
    }
    Ok(name.parse().map_or(ServerName::Dns(name), ServerName::Ip))
}

/// A broker's URL: `SCHEME://HOST[:PORT][/PATH]`. Only WebSocket URLs have a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokerUrl {
    pub(crate) scheme: Scheme,
    address: HostPort,
    path: String,
}

impl BrokerUrl {
    /// Returns the URL of a broker at this address, without TLS.
    #[cfg(any(test, feature = "demo"))]
    pub(crate) fn for_address(address: SocketAddr) -> Self {
        let name = ServerName::Ip(address.ip());
        let address = HostPort { host: address.ip().to_string(), name, port: address.port() };
        Self { scheme: Scheme::Mqtt, address, path: String::new() }
    }

    /// Returns the canonical form of the host.
    pub(crate) fn server_name(&self) -> &ServerName {
        &self.address.name
    }

    /// Host and port as typed.
    pub(super) fn address(&self) -> &HostPort {
        &self.address
    }

    /// Returns the target of an HTTP CONNECT: the canonical host, and always a port [RFC 9110, 9.3.6].
    pub(super) fn tunnel_target(&self) -> String {
        match &self.address.name {
            ServerName::Ip(IpAddr::V6(address)) => format!("[{address}]:{}", self.address.port),
            name => format!("{name}:{}", self.address.port),
        }
    }

    /// Returns the value of the `Host:` header: the canonical host, and the port if it is not the default.
    pub(super) fn host_header(&self) -> String {
        let mut header = self.tunnel_target();
        if self.address.port == self.scheme.default_port() {
            header.truncate(header.rfind(':').unwrap_or(header.len()));
        }
        header
    }

    /// Returns the path with its query; empty if the URL has none.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.as_str(), self.address.authority(), self.path)
    }
}

impl FromStr for BrokerUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        // Never quote a URL with an '@', because the text before it can be a secret.
        if url.contains('@') {
            return Err(UrlError { url: None, problem: UrlProblem::Credentials });
        }
        parse_broker(url).map_err(|problem| UrlError { url: Some(url.to_owned()), problem })
    }
}

fn parse_broker(url: &str) -> Result<BrokerUrl, UrlProblem> {
    if url.is_empty() {
        return Err(UrlProblem::Empty);
    }
    let (scheme, rest) = url.split_once("://").ok_or(UrlProblem::NoScheme)?;
    let scheme = Scheme::ALL.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(scheme));
    let scheme = scheme.ok_or(UrlProblem::UnknownScheme)?;
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    if !scheme.is_websocket() && !matches!(path, "" | "/") {
        return Err(UrlProblem::UnexpectedPath);
    }
    // The path becomes part of an HTTP request line, where a blank or a line end would start something else.
    if path.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
        return Err(UrlProblem::InvalidPath);
    }
    let address = HostPort::parse(authority, scheme.default_port())?;
    let path = if scheme.is_websocket() { path.to_owned() } else { String::new() };
    Ok(BrokerUrl { scheme, address, path })
}

/// What is wrong with a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UrlProblem {
    /// The URL is empty.
    Empty,
    /// It contains a user name or a password, which every user of this machine can read.
    Credentials,
    /// It has no scheme.
    NoScheme,
    /// The scheme is not one of [`Scheme`].
    UnknownScheme,
    /// It has no host.
    NoHost,
    /// The host is neither a DNS name nor an IP address.
    InvalidHost,
    /// The host is an internationalized name that is not encoded.
    NonAsciiHost,
    /// An IPv6 address is not in brackets.
    MissingBrackets,
    /// The brackets do not contain an IPv6 address, or not the whole host.
    InvalidBrackets,
    /// A link-local address has no zone.
    NoZone,
    /// The port is not a number from 1 to 65535.
    InvalidPort,
    /// It has a path, but the scheme is not that of WebSocket.
    UnexpectedPath,
    /// The path contains characters that an HTTP request line does not allow.
    InvalidPath,
}

/// An error about a broker URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UrlError {
    /// `None` if the URL may contain a password.
    url: Option<String>,
    problem: UrlProblem,
}

impl UrlError {
    /// Returns the URL, or `None` if it may contain a password.
    pub(crate) fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// Returns what is wrong with the URL.
    pub(crate) fn problem(&self) -> UrlProblem {
        self.problem
    }

    /// Returns the URL that was probably meant, if the scheme is missing or that of another program.
    pub(crate) fn suggestion(&self) -> Option<String> {
        let url = self.url.as_deref()?;
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (Some(Scheme::of_other_programs(scheme)?), rest),
            None => (None, url.trim_start_matches('/')),
        };
        let scheme = match scheme {
            Some(scheme) if scheme != Scheme::Mqtt => scheme,
            _ if rest.trim_end_matches('/').ends_with(":8883") => Scheme::Mqtts,
            _ => Scheme::Mqtt,
        };
        let suggestion = format!("{}://{rest}", scheme.as_str());
        parse_broker(&suggestion).is_ok().then_some(suggestion)
    }
}

/// The URL of an HTTP proxy: `http://[USER:PASSWORD@]HOST[:PORT]`. Debug omits the credentials.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ProxyUrl {
    address: HostPort,
    credentials: Option<Zeroizing<Vec<u8>>>,
}

impl ProxyUrl {
    /// Returns host and port, without the credentials.
    pub(crate) fn authority(&self) -> String {
        self.address.authority()
    }

    /// Host and port as typed.
    pub(super) fn address(&self) -> &HostPort {
        &self.address
    }

    /// Returns `USER:PASSWORD`, percent-decoded.
    pub(super) fn credentials(&self) -> Option<&[u8]> {
        self.credentials.as_deref().map(Vec::as_slice)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyUrl").field("address", &self.address).finish_non_exhaustive()
    }
}

impl FromStr for ProxyUrl {
    type Err = ProxyUrlError;

    /// Accepts `https://` too, but the connection to the proxy is plain HTTP.
    fn from_str(url: &str) -> Result<Self, ProxyUrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(ProxyUrlError)?;
        if !matches!(scheme, "http" | "https") {
            return Err(ProxyUrlError);
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let (credentials, host) = match authority.rsplit_once('@') {
            Some((credentials, host)) => (Some(percent_decoded(credentials)), host),
            None => (None, authority),
        };
        let address = HostPort::parse(host, DEFAULT_PROXY_PORT).map_err(|_| ProxyUrlError)?;
        Ok(Self { address, credentials })
    }
}

/// An error about a proxy URL. It omits the URL, which may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProxyUrlError;

/// Decodes `%XX` [RFC 3986, 2.1]. A percent sign that does not begin an escape is kept.
fn percent_decoded(text: &str) -> Zeroizing<Vec<u8>> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let byte;
        (byte, rest) = escaped_byte(rest).map_or((first, after), |byte| (byte, &rest[3..]));
        decoded.push(byte);
    }
    decoded
}

/// Decodes the escape at the start of `text`.
fn escaped_byte(text: &[u8]) -> Option<u8> {
    let &[b'%', high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(16 * digit(high)? + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_url_has_a_scheme_a_host_and_perhaps_a_port() {
        for (url, full, name, header) in [
            ("mqtt://localhost", "mqtt://localhost:1883", "localhost", "localhost"),
            ("MQTTS://Broker.Example./", "mqtts://Broker.Example.:8883", "broker.example", "broker.example"),
            ("mqtt://[::1]:1884", "mqtt://[::1]:1884", "::1", "[::1]:1884"),
            ("mqtt://[FE80::0:1%eth0]", "mqtt://[FE80::0:1%eth0]:1883", "fe80::1", "[fe80::1]"),
            ("wss://[fe80::1%25eth0]", "wss://[fe80::1%eth0]:443", "fe80::1", "[fe80::1]"),
            ("ws://h/mqtt?x=1", "ws://h:80/mqtt?x=1", "h", "h"),
            ("wss://H_1:8443", "wss://H_1:8443", "h_1", "h_1:8443"),
            ("wss://127.0.0.1.", "wss://127.0.0.1.:443", "127.0.0.1", "127.0.0.1"),
            (
                "ws://xn--bcher-kva.example:8080",
                "ws://xn--bcher-kva.example:8080",
                "xn--bcher-kva.example",
                "xn--bcher-kva.example:8080",
            ),
        ] {
            let parsed = url.parse::<BrokerUrl>().expect(url);
            assert_eq!(parsed.to_string(), full);
            assert_eq!(parsed.server_name().to_string(), name, "{url}");
            assert_eq!(parsed.host_header(), header, "{url}");
        }
    }

    #[test]
    fn only_an_address_without_a_zone_needs_no_resolver() {
        for (url, literal) in [
            ("mqtt://127.0.0.1", Some("127.0.0.1:1883")),
            ("mqtt://[::1]:7", Some("[::1]:7")),
            ("mqtt://[fe80::1%lo]", None),
            ("mqtt://localhost", None),
        ] {
            let parsed = url.parse::<BrokerUrl>().expect(url);
            assert_eq!(parsed.address().literal(), literal.map(|it| it.parse().expect("an address")), "{url}");
        }
    }

    #[test]
    fn each_mistake_in_a_url_has_its_own_error() {
        use UrlProblem::{
            Empty, InvalidBrackets, InvalidHost, InvalidPath, InvalidPort, MissingBrackets, NoHost, NoScheme, NoZone,
            NonAsciiHost, UnexpectedPath, UnknownScheme,
        };
        for (url, problem) in [
            ("", Empty),
            ("localhost:1883", NoScheme),
            ("http://localhost", UnknownScheme),
            ("mqtt://", NoHost),
            ("mqtt://:1883", NoHost),
            ("mqtt://.", NoHost),
            ("mqtt://[fe80::1]", NoZone),
            ("mqtt://a..b", InvalidHost),
            ("mqtt://a b", InvalidHost),
            ("ws://h?x", InvalidHost),
            ("mqtt://bücher.example", NonAsciiHost),
            ("mqtt://h:0", InvalidPort),
            ("mqtt://h:99999", InvalidPort),
            ("mqtt://h:", InvalidPort),
            ("mqtt://::1", MissingBrackets),
            ("mqtt://fe80::1:1883", MissingBrackets),
            ("mqtt://h/path", UnexpectedPath),
            ("ws://h/a b", InvalidPath),
            ("ws://h/a\r\nHost: x", InvalidPath),
            ("mqtt://[::1", InvalidBrackets),
            ("mqtt://[fe80::1%]", InvalidBrackets),
            ("ws://[[]", InvalidBrackets),
            ("mqtt://[::1]x:1883", InvalidBrackets),
            ("mqtt://h]:1883", InvalidBrackets),
        ] {
            let error = url.parse::<BrokerUrl>().expect_err(url);
            assert_eq!((error.url(), error.problem()), (Some(url), problem));
        }
    }

    #[test]
    fn a_password_in_a_url_is_never_shown() {
        let error = "mqtt://user:hunter2@host".parse::<BrokerUrl>().expect_err("refused");
        assert!(!format!("{error:?}").contains("hunter2"));
        assert_eq!((error.url(), error.problem()), (None, UrlProblem::Credentials));
        let proxy = "http://user:hunter2@host".parse::<ProxyUrl>().expect("a proxy URL");
        assert!(!format!("{proxy:?} {}", proxy.authority()).contains("hunter2"));
    }

    #[test]
    fn a_proxy_url_has_credentials_and_a_default_port() {
        for (url, authority, credentials) in [
            ("http://proxy:3128", "proxy:3128", None),
            ("http://ops:hunter2@proxy", "proxy:8080", Some("ops:hunter2")),
            ("https://us%40er:p%3Aw%2f@[::1]:3128/", "[::1]:3128", Some("us@er:p:w/")),
            ("http://a%:b%4@proxy", "proxy:8080", Some("a%:b%4")),
            ("http://a%+4@proxy", "proxy:8080", Some("a%+4")),
        ] {
            let proxy = url.parse::<ProxyUrl>().expect(url);
            assert_eq!(proxy.authority(), authority);
            assert_eq!(proxy.credentials(), credentials.map(str::as_bytes), "{url}");
        }
        for url in ["proxy:3128", "socks5://proxy", "http://", "http://proxy:none", "http://ops:hunter2@"] {
            assert_eq!(url.parse::<ProxyUrl>(), Err(ProxyUrlError), "{url}");
        }
    }
}
