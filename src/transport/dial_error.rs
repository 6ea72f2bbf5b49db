//! Typed errors of dialing. Messages, hints and statuses are made in `commands`.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The host that an error concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Broker,
    Proxy,
}

/// The step that timed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DialStep {
    /// Resolving the host name.
    Resolve,
    /// Connecting the TCP socket.
    Connect,
    /// Setting up proxy, TLS or WebSocket.
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
    /// The TCP connection failed.
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
        /// The step that was not finished.
        step: DialStep,
    },
    /// The proxy refuses the tunnel.
    Proxy(ProxyError),
    /// The TLS handshake failed.
    Tls(TlsError),
    /// The WebSocket handshake failed.
    WebSocket(WebSocketError),
    /// A system call failed, for the given reason.
    Io(String),
}

impl DialError {
    /// Returns the host that the error concerns.
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

    /// Returns whether the cause is the user's configuration, so that no other broker can help.
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

/// Why the proxy refuses the tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ProxyError {
    /// The proxy requires credentials, but the URL has none.
    AuthenticationRequired,
    /// The proxy rejects the credentials.
    AuthenticationFailed,
    /// The proxy answers with another status.
    Refused {
        /// The status line, escaped and cut.
        status_line: String,
    },
    /// The proxy does not speak HTTP.
    NotHttp,
    /// The proxy closes the connection without an answer.
    Closed,
    /// The connection to the proxy failed, for the given reason.
    Io(String),
}

/// Why the WebSocket handshake failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WebSocketError {
    /// The server answers with a status other than 101.
    Status {
        /// The status line, escaped and cut.
        line: String,
    },
    /// The server does not speak HTTP.
    NotHttp,
    /// The server closes the connection without an answer.
    Closed,
    /// The headers `Upgrade` and `Connection` do not confirm WebSocket.
    NotUpgraded,
    /// `Sec-WebSocket-Accept` does not match the key.
    BadAccept,
    /// The server chose a subprotocol that is not MQTT.
    BadProtocol {
        /// Its name, escaped and cut.
        name: String,
    },
    /// The connection failed, for the given reason.
    Io(String),
}

/// The files that TLS reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsFile {
    /// The trusted authorities.
    CaFile,
    /// The client's certificate.
    Certificate,
    /// The client's private key.
    Key,
}

/// Why the TLS handshake failed.
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
    /// The broker rejects the client's certificate.
    ClientCertificateRejected {
        /// The alert's name.
        reason: String,
    },
    /// The broker refuses the handshake without a specific reason.
    HandshakeRefused {
        /// The alert's name.
        reason: String,
    },
    /// The broker does not speak TLS 1.2 or later.
    ProtocolVersion,
    /// The broker accepts none of the offered application protocols, or requires one.
    NoApplicationProtocol,
    /// The server closes the connection during the handshake.
    Closed,
    /// A file cannot be read.
    UnreadableFile {
        /// The kind of file.
        file: TlsFile,
        /// The file.
        path: PathBuf,
        /// The system's error.
        reason: String,
    },
    /// A file does not contain what it should.
    InvalidFile {
        /// The kind of file.
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
