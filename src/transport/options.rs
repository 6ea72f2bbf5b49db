//! Connection settings.

use std::fmt;
#[cfg(any(test, feature = "demo"))]
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;
use zeroize::Zeroizing;

use super::no_proxy::NoProxy;
use super::url::{BrokerUrl, ProxyUrl};

/// A string that Debug redacts, and that is wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Returns the secret text.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

/// How the broker's certificate is verified, and the client's own certificate.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsOptions {
    /// File of trusted certificate authorities, instead of the system's.
    pub(crate) cafile: Option<PathBuf>,
    /// Directory of trusted certificate authorities, as hashed files.
    pub(crate) capath: Option<PathBuf>,
    /// The client's certificate.
    pub(crate) cert: Option<PathBuf>,
    /// The client's private key. `None` if the certificate's file contains it.
    pub(crate) key: Option<PathBuf>,
    /// The private key's passphrase.
    pub(crate) key_password: Option<Secret>,
    /// Application protocols to offer (ALPN).
    pub(crate) alpn: Vec<String>,
    /// Whether to accept any certificate of the broker.
    pub(crate) insecure: bool,
}

/// The MQTT version to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MqttVersion {
    /// 5, or 3.1.1 if the broker refuses 5.
    Auto,
    /// 3.1.1.
    V311,
    /// 5.
    V5,
}

/// Which connections go through an HTTP proxy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum ProxyChoice {
    /// No connection.
    #[default]
    Direct,
    /// Every connection.
    Always(ProxyUrl),
    /// Encrypted connections to brokers that `no_proxy` does not match, as with the variables `https_proxy` and `no_proxy`.
    Environment { proxy: ProxyUrl, no_proxy: NoProxy },
}

impl ProxyChoice {
    /// Returns the proxy for connections to this broker.
    pub(crate) fn proxy_for(&self, broker: &BrokerUrl) -> Option<&ProxyUrl> {
        match self {
            Self::Direct => None,
            Self::Always(proxy) => Some(proxy),
            Self::Environment { proxy, no_proxy } => {
                (broker.scheme.is_tls() && !no_proxy.excludes(broker)).then_some(proxy)
            }
        }
    }
}

/// The options of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The brokers, in the order of the attempts.
    pub(crate) brokers: Vec<BrokerUrl>,
    pub(crate) client_id: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    /// The MQTT version to use.
    pub(crate) version: MqttVersion,
    /// The keep-alive interval: whole seconds, at most 65535.
    pub(crate) keepalive: Duration,
    /// The timeout for a broker, from name resolution to its CONNACK.
    pub(crate) connect_timeout: Duration,
    /// How long the broker keeps the session after a disconnect; `None` for a clean session. MQTT 3.1.1 brokers ignore
    /// the duration.
    pub(crate) session_expiry: Option<Duration>,
    /// The largest MQTT packet to accept, in bytes.
    pub(crate) max_packet_size: u32,
    pub(crate) proxy: ProxyChoice,
    pub(crate) tls: TlsOptions,
}

impl Options {
    /// The largest packet that MQTT allows, in bytes: a fixed header of five bytes and 268,435,455 bytes after it.
    pub(crate) const MAX_PACKET_SIZE: u32 = 268_435_460;

    /// Returns options for a broker on this machine: no credentials, no TLS, no proxy.
    #[cfg(any(test, feature = "demo"))]
    pub(crate) fn for_local(address: SocketAddr) -> Self {
        Self {
            brokers: vec![BrokerUrl::for_address(address)],
            client_id: fresh_client_id(),
            username: None,
            password: None,
            version: MqttVersion::Auto,
            keepalive: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            session_expiry: None,
            max_packet_size: Self::MAX_PACKET_SIZE,
            proxy: ProxyChoice::Direct,
            tls: TlsOptions::default(),
        }
    }

    /// Changes to a session that the broker keeps for `expiry` after a disconnect, with the client identifier `name`.
    pub(crate) fn durable(self, name: String, expiry: Duration) -> Self {
        Self { client_id: name, session_expiry: Some(expiry), ..self }
    }
}

/// Returns a random client identifier that every MQTT 3.1.1 server must accept: at most 23 letters and digits
/// [MQTT-3.1.3-5].
pub(crate) fn fresh_client_id() -> String {
    let random = Uuid::new_v4().simple().to_string();
    format!("rtcomm{}", &random[..17])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "(redacted)");
    }

    #[test]
    fn a_fresh_client_id_is_short_and_alphanumeric() {
        let id = fresh_client_id();
        assert_eq!(id.len(), 23);
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
        assert_ne!(id, fresh_client_id());
    }

    #[test]
    fn the_environments_proxy_is_used_for_encrypted_connections_to_hosts_that_are_not_excluded() {
        let proxy: ProxyUrl = "http://proxy".parse().expect("a proxy URL");
        let environment = ProxyChoice::Environment { proxy: proxy.clone(), no_proxy: NoProxy::parse("example.com") };
        for (choice, url, expected) in [
            (&environment, "mqtts://h", true),
            (&environment, "wss://h", true),
            (&environment, "mqtts://a.example.com", false),
            (&environment, "mqtt://h", false),
            (&environment, "ws://h", false),
            (&ProxyChoice::Always(proxy), "mqtt://example.com", true),
            (&ProxyChoice::Direct, "mqtts://h", false),
        ] {
            let broker = url.parse().expect(url);
            assert_eq!(choice.proxy_for(&broker).is_some(), expected, "{url} {choice:?}");
        }
    }
}
