//! Why there is no connection, no subscription, or no connection any more. No sentences for people: the commands make
//! them.

use std::io;
use std::time::Duration;

use super::codec::{Properties, ProtocolError, ReasonCode, Version};
pub(crate) use super::dial_error::{DialError, DialStep, Peer, ProxyError, TlsError, TlsFile, WebSocketError};
use super::tls::late_tls_error;
use super::url::BrokerUrl;
use crate::protocol::topic::TopicFilter;

/// What a broker says when it refuses something or leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokerReason {
    pub(crate) code: ReasonCode,
    /// The broker's own words (Reason String).
    pub(crate) text: Option<String>,
    /// Another server to use (Server Reference).
    pub(crate) server_reference: Option<String>,
}

impl BrokerReason {
    /// The reason with what the packet's properties add to it.
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
    /// The broker broke the protocol.
    Protocol(ProtocolError),
    /// The broker sent nothing for this long, although it was asked.
    Silent(Duration),
    /// The broker's TLS ended it.
    Tls(TlsError),
    /// Reading failed; with the system's reason.
    Broken(String),
}

impl ConnectionEnd {
    /// The end that a failed read means.
    pub(super) fn from_io(error: &io::Error) -> Self {
        match late_tls_error(error) {
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

impl From<ProtocolError> for ConnectionEnd {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

/// Why a broker could not be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConnectError {
    /// There is no way to it.
    Dial(DialError),
    /// It ended the connection before it accepted it.
    Ended(ConnectionEnd),
    /// It took the connection and did not answer in this time.
    Unanswered(Duration),
    /// It does not speak this version, which was requested.
    UnsupportedVersion(Version),
    /// It speaks MQTT 3.1.1 alone, where a password needs a user name [MQTT-3.1.2-22].
    PasswordNeedsUserName,
    /// This machine does not let us; with the system's reason.
    Local(String),
    /// It was cancelled.
    Cancelled,
}

impl From<DialError> for ConnectError {
    fn from(error: DialError) -> Self {
        Self::Dial(error)
    }
}

impl ConnectError {
    /// Whether another address or another broker may succeed.
    pub(crate) fn may_differ_elsewhere(&self) -> bool {
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
            Self::PasswordNeedsUserName | Self::Local(_) | Self::Cancelled => false,
        }
    }
}

/// A broker that could not be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectFailure {
    pub(crate) broker: BrokerUrl,
    pub(crate) error: ConnectError,
}

/// Why none of the brokers could be connected to: at least one failure, in the order of the attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectFailures {
    /// What was tried before the last.
    pub(crate) earlier: Vec<ConnectFailure>,
    pub(crate) last: Box<ConnectFailure>,
}

/// A subscription that a broker may not offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    SharedSubscriptions,
    WildcardSubscriptions,
}

/// Why there is no subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SubscribeError {
    /// The broker refused these filters.
    Refused { denied: Vec<(TopicFilter, BrokerReason)>, of: usize },
    /// The broker said beforehand that it does not offer this.
    Unsupported(Feature),
    /// The connection ended before the broker answered.
    Ended(ConnectionEnd),
    /// The broker did not answer in this time.
    Unanswered(Duration),
    /// It was cancelled.
    Cancelled,
}
