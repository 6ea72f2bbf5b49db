//! Which broker, and how to reach it: the URL, the credentials, TLS.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::exit::Failure;

/// What the connection is made of. The URL's scheme alone decides it.
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

    /// As a URL begins.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
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

    /// Whether the connection is encrypted.
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    /// Whether MQTT travels in WebSocket frames.
    pub(crate) fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

/// A broker's address: `SCHEME://HOST[:PORT][/PATH]`, where only WebSockets have a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broker {
    /// What the connection is made of.
    pub(crate) scheme: Scheme,
    host: String,
    port: u16,
    path: String,
}

impl Broker {
    /// The address of a proxy, `http[s]://[USER:PASSWORD@]HOST[:PORT]`, as something to connect to.
    ///
    /// # Errors
    /// Where it is no such URL; does not quote it.
    pub(crate) fn of_proxy(url: &Secret) -> Result<Self, Failure> {
        let wrong = || Failure::usage("the proxy's URL is none").hint("write http://HOST:PORT");
        let (_, rest) = url.expose().split_once("://").ok_or_else(wrong)?;
        let authority = rest.split('/').next().unwrap_or_default();
        let authority = authority.rsplit_once('@').map_or(authority, |(_credentials, host)| host);
        let (host, port) = split_port(authority).ok_or_else(wrong)?;
        let port = port.map_or(Ok(8080), str::parse).map_err(|_| wrong())?;
        Ok(Self { scheme: Scheme::Mqtt, host: host.to_owned(), port, path: String::new() })
    }

    /// The host's name or address.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Host and port, as HTTP writes them.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The addresses that the host name stands for now, in the system's order.
    ///
    /// # Errors
    /// Where the name stands for none.
    pub(crate) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        Ok((self.host.as_str(), self.port).to_socket_addrs()?.collect())
    }

    /// The URL for one of [`Broker::addresses`]. With TLS it keeps the host's name, which the certificate is checked
    /// against.
    pub(crate) fn url_for(&self, address: SocketAddr) -> String {
        if self.scheme == Scheme::Mqtt { format!("mqtt://{address}") } else { self.to_string() }
    }
}

impl fmt::Display for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.as_str(), self.authority(), self.path)
    }
}

impl FromStr for Broker {
    type Err = Failure;

    /// Never quotes the text before an `@`: it may be a secret.
    fn from_str(url: &str) -> Result<Self, Failure> {
        if url.contains('@') {
            return Err(Failure::usage(
                "the broker's URL holds a user name or a password, which every user of this machine can read",
            )
            .hint("give the name with --username, and the password with --password-file or RTCOMM_PASSWORD"));
        }
        let wrong = |why: &str| {
            Failure::usage(format!("'{url}' is no broker URL: {why}"))
                .hint("write --broker (or RTCOMM_BROKER) as mqtt://HOST:1883 or mqtts://HOST:8883")
        };
        if url.is_empty() {
            return Err(wrong("it is empty"));
        }
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        let scheme = Scheme::ALL
            .into_iter()
            .find(|it| it.as_str().eq_ignore_ascii_case(scheme))
            .ok_or_else(|| wrong("its scheme is none of mqtt, mqtts, ws, wss"))?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        if !scheme.is_websocket() && !matches!(path, "" | "/") {
            return Err(wrong("only ws:// and wss:// have a path"));
        }
        let (host, port) = split_port(authority)
            .ok_or_else(|| wrong("what its brackets hold is no IPv6 address, or not all of the host"))?;
        if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(wrong("it has no host"));
        }
        let port = match port {
            None => scheme.default_port(),
            Some(port) => {
                port.parse().ok().filter(|port| *port != 0).ok_or_else(|| wrong("its port is none from 1 to 65535"))?
            }
        };
        let path = if scheme.is_websocket() { path.to_owned() } else { String::new() };
        Ok(Self { scheme, host: host.to_owned(), port, path })
    }
}

/// Splits `HOST[:PORT]`, where an IPv6 address stands in brackets; `None` where the brackets hold something else.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let Some(rest) = authority.strip_prefix('[') else {
        let is_bracketed = authority.contains(['[', ']']);
        let parts = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        return (!is_bracketed).then_some(parts);
    };
    let (host, after) = rest.split_once(']')?;
    // What follows a percent sign names the network interface.
    let address = host.split_once('%').map_or(host, |(address, _interface)| address);
    address.parse::<Ipv6Addr>().ok()?;
    match after.strip_prefix(':') {
        None if after.is_empty() => Some((host, None)),
        None => None,
        Some(port) => Some((host, Some(port))),
    }
}

/// A text that must not be shown. It is wiped from memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    /// Keeps the text from now on.
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the one who needs it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

/// What is to be said on every connection whose [`Tls`] is `insecure`.
pub(crate) const UNCHECKED: &str = "the broker's certificate is not checked (--insecure): it may be anybody's";

/// How the broker's certificate is checked, and what is shown to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tls {
    /// Certificate authorities to trust instead of the system's.
    pub(crate) cafile: Option<PathBuf>,
    /// The same, in a folder of hashed files.
    pub(crate) capath: Option<PathBuf>,
    /// The client's certificate.
    pub(crate) cert: Option<PathBuf>,
    /// Its private key; without one it stands in the certificate's file.
    pub(crate) key: Option<PathBuf>,
    /// The private key's passphrase.
    pub(crate) key_password: Option<Secret>,
    /// Application protocols to offer.
    pub(crate) alpn: Vec<String>,
    /// Whether the broker's certificate is not checked at all.
    pub(crate) insecure: bool,
}

/// Which MQTT version to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MqttVersion {
    /// 5, and 3.1.1 where the broker refuses 5
    Auto,
    /// 3.1.1
    #[value(name = "3.1.1")]
    V311,
    /// 5
    #[value(name = "5")]
    V5,
}

/// All that a connection needs.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Which broker.
    pub(crate) broker: Broker,
    /// The MQTT client identifier.
    pub(crate) client_id: String,
    /// Who we are.
    pub(crate) username: Option<String>,
    /// What proves it.
    pub(crate) password: Option<Secret>,
    /// Which MQTT version to speak.
    pub(crate) version: MqttVersion,
    /// How long the connection may be silent: whole seconds, 65535 at the most.
    pub(crate) keepalive: Duration,
    /// How long to wait for a connection, from the name's look-up to the broker's CONNACK.
    pub(crate) connect_timeout: Duration,
    /// For how long the broker is to keep our session while we are away; with MQTT 3.1.1 it keeps it as long as it likes.
    pub(crate) kept: Option<Duration>,
    /// The HTTP proxy to connect through: a URL, which may hold credentials.
    pub(crate) proxy: Option<Secret>,
    /// How the connection is secured, where the scheme says that it is.
    pub(crate) tls: Tls,
}

impl Options {
    /// Options for a broker of our own: no credentials, no TLS.
    #[cfg(feature = "demo")]
    pub(crate) fn for_local(address: SocketAddr) -> Self {
        let broker =
            Broker { scheme: Scheme::Mqtt, host: address.ip().to_string(), port: address.port(), path: String::new() };
        Self {
            broker,
            client_id: fresh_client_id(),
            username: None,
            password: None,
            version: MqttVersion::Auto,
            keepalive: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            kept: None,
            proxy: None,
            tls: Tls::default(),
        }
    }

    /// The same broker by way of somebody at `address` who passes on what is said, and sees to TLS and the proxy.
    pub(crate) fn by_way_of(&self, address: SocketAddr) -> Self {
        let Broker { scheme, path, .. } = &self.broker;
        let scheme = if scheme.is_websocket() { Scheme::Ws } else { Scheme::Mqtt };
        let broker = Broker { scheme, host: address.ip().to_string(), port: address.port(), path: path.clone() };
        Self { broker, proxy: None, tls: Tls::default(), ..self.clone() }
    }

    /// The failure of a connection that this machine does not let us make.
    pub(crate) fn cannot_set_up(&self, error: &dyn fmt::Display) -> Failure {
        Failure::unreachable(format!("cannot set up a connection to {}: {error}", self.broker))
    }

    /// The failure of a broker that accepts the connection and says nothing.
    pub(crate) fn unanswered(&self) -> Failure {
        let timeout = humantime::format_duration(self.connect_timeout);
        Failure::unreachable(format!("{} accepts the connection but does not answer within {timeout}", self.broker))
            .hint("is it an MQTT broker, and is this its MQTT port?")
    }

    /// The same, with a session of this name that the broker keeps for so long while we are away.
    pub(crate) fn durable(self, name: String, expiry: Duration) -> Self {
        Self { client_id: name, kept: Some(expiry), ..self }
    }
}

/// A client identifier that every MQTT 3.1.1 server must take: at most 23 letters and digits [MQTT-3.1.3-5].
pub(crate) fn fresh_client_id() -> String {
    let random = Uuid::new_v4().simple().to_string();
    format!("rtcomm{}", &random[..17])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_url_has_a_scheme_a_host_and_perhaps_a_port() {
        for (url, full) in [
            ("mqtt://localhost", "mqtt://localhost:1883"),
            ("MQTTS://broker.example/", "mqtts://broker.example:8883"),
            ("mqtt://[::1]:1884", "mqtt://[::1]:1884"),
            ("mqtt://[fe80::1%eth0]", "mqtt://[fe80::1%eth0]:1883"),
            ("ws://h/mqtt?x=1", "ws://h:80/mqtt?x=1"),
            ("wss://h:8443", "wss://h:8443"),
        ] {
            assert_eq!(url.parse::<Broker>().expect(url).to_string(), full);
        }
    }

    #[test]
    fn a_wrong_url_says_what_is_wrong() {
        for (url, why) in [
            ("", "it is empty"),
            ("localhost:1883", "it has no scheme"),
            ("http://localhost", "its scheme is none of mqtt, mqtts, ws, wss"),
            ("mqtt://", "it has no host"),
            ("mqtt://:1883", "it has no host"),
            ("mqtt://h:0", "its port is none from 1 to 65535"),
            ("mqtt://h:99999", "its port is none from 1 to 65535"),
            ("mqtt://h/path", "only ws:// and wss:// have a path"),
            ("mqtt://[::1", "what its brackets hold is no IPv6 address, or not all of the host"),
            ("ws://[[]", "what its brackets hold is no IPv6 address, or not all of the host"),
            ("mqtt://[::1]x:1883", "what its brackets hold is no IPv6 address, or not all of the host"),
            ("mqtt://h]:1883", "what its brackets hold is no IPv6 address, or not all of the host"),
        ] {
            let error = url.parse::<Broker>().expect_err(url).to_string();
            assert!(error.ends_with(why), "{error}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let error = "mqtt://user:hunter2@host".parse::<Broker>().expect_err("refused");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "(redacted)");
    }
}
