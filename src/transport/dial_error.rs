//! Why no connection to a broker was made. Typed, so that `commands` alone decides on sentences, hints and statuses.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The host that an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The broker.
    Broker,
    /// The HTTP proxy on the way to it.
    Proxy,
}

/// The step that was not finished in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DialStep {
    /// The resolution of the host name.
    Resolve,
    /// The TCP connection.
    Connect,
    /// What follows the TCP connection: proxy, TLS, WebSocket.
    Handshake,
}

/// Why no connection to a broker was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DialError {
    /// The resolver does not know the host.
    Resolve {
        /// The host is the broker's or the proxy's.
        peer: Peer,
        /// The host as typed.
        host: String,
        /// The resolver's message.
        reason: String,
    },
    /// The host name has no address.
    NoAddress {
        /// The host is the broker's or the proxy's.
        peer: Peer,
        /// The host as typed.
        host: String,
    },
    /// No TCP connection.
    Connect {
        /// The address is the broker's or the proxy's.
        peer: Peer,
        /// The address that was tried.
        address: SocketAddr,
        /// The kind of the system's error.
        kind: io::ErrorKind,
        /// The system's error.
        reason: String,
    },
    /// The deadline passed.
    Timeout {
        /// The host that did not answer.
        peer: Peer,
        /// What was not finished.
        step: DialStep,
    },
    /// The proxy makes no tunnel.
    Proxy(ProxyError),
    /// No TLS session.
    Tls(TlsError),
    /// No WebSocket.
    WebSocket(WebSocketError),
    /// This machine cannot make a connection.
    Io(String),
}

impl DialError {
    /// The host that the error is about.
    pub(crate) fn peer(&self) -> Peer {
        match self {
            Self::Resolve { peer, .. }
            | Self::NoAddress { peer, .. }
            | Self::Connect { peer, .. }
            | Self::Timeout { peer, .. } => *peer,
            Self::Proxy(_) => Peer::Proxy,
            Self::Tls(_) | Self::WebSocket(_) | Self::Io(_) => Peer::Broker,
        }
    }
}

impl DialError {
    /// Whether it concerns what was typed, so that no other broker changes it.
    pub(super) fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Tls(TlsError::UnreadableFile { .. } | TlsError::InvalidFile { .. } | TlsError::KeyMismatch { .. })
        )
    }
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// Why the proxy makes no tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProxyError {
    /// It requires credentials, and there are none.
    AuthenticationRequired,
    /// It does not accept the credentials.
    AuthenticationFailed,
    /// It answers with this status line.
    Refused {
        /// The status line, escaped and cut.
        status_line: String,
    },
    /// It does not speak HTTP.
    NotHttp,
    /// It closes the connection without an answer.
    Closed,
    /// The connection to it failed for this reason.
    Io(String),
}

/// Why there is no WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WebSocketError {
    /// The server answers with this status line instead of 101.
    Status {
        /// The status line, escaped and cut.
        line: String,
    },
    /// The server does not speak HTTP.
    NotHttp,
    /// The server closes the connection without an answer.
    Closed,
    /// The answer does not name the protocol that was asked for in `Upgrade` and `Connection`.
    NotUpgraded,
    /// `Sec-WebSocket-Accept` does not match the key.
    BadAccept,
    /// The server chose a subprotocol that is not MQTT.
    BadProtocol {
        /// Its name, escaped and cut.
        name: String,
    },
    /// The connection failed for this reason.
    Io(String),
}

/// The kinds of files that TLS reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsFile {
    /// The trusted authorities.
    CaFile,
    /// The client's certificate.
    Certificate,
    /// The client's private key.
    Key,
}

/// Why there is no TLS session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TlsError {
    /// No trusted authority signed the broker's certificate.
    UnknownCa {
        /// OpenSSL's message.
        reason: String,
    },
    /// The broker's certificate is for another host.
    HostMismatch {
        /// The host that was expected.
        host: String,
    },
    /// The broker's certificate has expired.
    Expired,
    /// The broker's certificate is not valid yet.
    NotYetValid,
    /// The broker's certificate is not acceptable for another reason.
    BadCertificate {
        /// OpenSSL's message.
        reason: String,
    },
    /// The server does not speak TLS.
    NotTls,
    /// The broker requires a client certificate.
    ClientCertificateRequired,
    /// The broker does not accept the client's certificate.
    ClientCertificateRejected {
        /// The alert's name.
        reason: String,
    },
    /// The broker refuses the handshake without a more exact reason.
    HandshakeRefused {
        /// The alert's name.
        reason: String,
    },
    /// The broker does not speak TLS 1.2 or later.
    ProtocolVersion,
    /// The broker accepts none of the application protocols that were offered, or requires one.
    NoApplicationProtocol,
    /// The server closes the connection during the handshake.
    Closed,
    /// A file cannot be read.
    UnreadableFile {
        /// What it was read for.
        file: TlsFile,
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: String,
    },
    /// A file does not hold what it is for.
    InvalidFile {
        /// What it was read for.
        file: TlsFile,
        /// The file.
        path: PathBuf,
    },
    /// The private key does not belong to the certificate.
    KeyMismatch {
        /// The private key's file.
        key: PathBuf,
        /// The certificate's file.
        cert: PathBuf,
    },
    /// Anything else.
    Other {
        /// OpenSSL's message.
        reason: String,
    },
}
