//! Typed errors of connections and subscriptions. Messages, hints and statuses are made in `commands`.

use std::io;
use std::time::Duration;

use super::codec::{Properties, ProtocolError, ReasonCode, Version};
pub(crate) use super::dial_error::{DialError, DialStep, Peer, ProxyError, TlsError, TlsFile, WebSocketError};
use super::tls::late_tls_error;
use super::url::BrokerUrl;
use crate::protocol::topic::TopicFilter;

/// The reason that a broker gives for a refusal or a DISCONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokerReason {
    pub(crate) code: ReasonCode,
    /// The Reason String.
    pub(crate) text: Option<String>,
    /// The Server Reference: another server to use.
    pub(crate) server_reference: Option<String>,
}

impl BrokerReason {
    /// Adds the Reason String and Server Reference of the packet's properties to the reason code.
    pub(super) fn new(code: ReasonCode, properties: Properties<'_>) -> Self {
        Self {
            code,
            text: properties.reason_string().map(str::to_owned),
            server_reference: properties.server_reference().map(str::to_owned),
        }
    }
}

impl From<ReasonCode> for BrokerReason {
    fn from(code: ReasonCode) -> Self {
        Self { code, text: None, server_reference: None }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConnectionEnd {
    /// The broker closed it without a DISCONNECT.
    Closed,
    /// The broker refused it in its CONNACK.
    Refused(BrokerReason),
    /// The broker sent a DISCONNECT.
    Disconnected(BrokerReason),
    /// The broker violated MQTT.
    Protocol(ProtocolError),
    /// The broker violated WebSocket.
    WebSocket(FrameError),
    /// The broker sent nothing for this long, although it was pinged.
    Silent(Duration),
    /// The broker ended the TLS session with an alert.
    Tls(TlsError),
    /// The broker did not read what was sent to it.
    NotReading,
    /// Reading failed, for the given reason.
    Broken(String),
}

impl ConnectionEnd {
    /// Returns whether the broker violated a protocol. The same message may cause that again.
    pub(crate) fn is_violation(&self) -> bool {
        matches!(self, Self::Protocol(_) | Self::WebSocket(_))
    }
}

/// Why the broker's bytes could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The connection failed, or the peer violated TLS.
    Io(io::Error),
    /// The peer violated WebSocket.
    Frame(FrameError),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<FrameError> for ReadError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<ReadError> for ConnectionEnd {
    fn from(error: ReadError) -> Self {
        let error = match error {
            ReadError::Frame(error) => return Self::WebSocket(error),
            ReadError::Io(error) => error,
        };
        match late_tls_error(&error) {
            Some(error) => Self::Tls(error),
            None => match error.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => {
                    Self::Closed
                }
                _ => Self::Broken(error.to_string()),
            },
        }
    }
}

/// What is wrong with a WebSocket frame of the broker [RFC 6455, 5].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// It uses an extension, which was not negotiated.
    Extension,
    /// It is masked, but only clients mask frames.
    Masked,
    /// It does not continue the message that has begun, or continues none.
    OutOfSequence,
    /// It contains text, but MQTT uses binary frames [MQTT-6.0.0-1].
    Text,
    /// It is a control frame that is fragmented or too long.
    InvalidControlFrame,
    /// Its opcode is reserved.
    UnknownOpcode,
    /// Its length exceeds 63 bits.
    InvalidLength,
}

impl From<ProtocolError> for ConnectionEnd {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

/// Why connecting to a broker failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConnectError {
    /// Dialing failed.
    Dial(DialError),
    /// The connection ended before the broker accepted it.
    Ended(ConnectionEnd),
    /// The broker did not answer the CONNECT in this time.
    Unanswered(Duration),
    /// The broker does not support the requested version.
    UnsupportedVersion(Version),
    /// The broker supports only MQTT 3.1.1, where a password needs a user name [MQTT-3.1.2-22].
    PasswordNeedsUserName,
    /// The MQTT library did not connect to the relay in time.
    LibraryTimeout,
    /// A local error, for the given reason.
    Local(String),
    /// The client was cancelled.
    Cancelled,
}

impl From<DialError> for ConnectError {
    fn from(error: DialError) -> Self {
        Self::Dial(error)
    }
}

impl ConnectError {
    /// Returns whether connecting to another address or broker may succeed.
    pub(crate) fn may_succeed_elsewhere(&self) -> bool {
        match self {
            Self::Dial(error) => !error.is_usage(),
            Self::Ended(ConnectionEnd::Refused(reason)) => {
                reason.code.is_transient()
                    || matches!(
                        reason.code,
                        ReasonCode::USE_ANOTHER_SERVER
                            | ReasonCode::SERVER_MOVED
                            | ReasonCode::CONNECTION_RATE_EXCEEDED
                    )
            }
            Self::Ended(_) | Self::Unanswered(_) | Self::UnsupportedVersion(_) => true,
            Self::PasswordNeedsUserName | Self::LibraryTimeout | Self::Local(_) | Self::Cancelled => false,
        }
    }
}

/// A failed attempt to connect to a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectFailure {
    pub(crate) broker: BrokerUrl,
    pub(crate) error: ConnectError,
}

/// The failures of all brokers, in the order of the attempts; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectFailures {
    /// All failures but the last.
    pub(crate) earlier: Vec<ConnectFailure>,
    pub(crate) last: Box<ConnectFailure>,
}

/// A feature that a broker may not support.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    SharedSubscriptions,
    WildcardSubscriptions,
}

/// Why subscribing failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SubscribeError {
    /// The broker refused these filters, of `of` requested ones.
    Refused { denied: Vec<(TopicFilter, BrokerReason)>, of: usize },
    /// The broker's CONNACK rules this feature out.
    Unsupported(Feature),
    /// The connection ended before the broker answered.
    Ended(ConnectionEnd),
    /// The broker did not answer in this time.
    Unanswered(Duration),
    /// The client was cancelled.
    Cancelled,
}
