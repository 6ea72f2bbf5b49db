//! Changes of a stream's connection. They explain why messages may be missing from a recording.

use std::borrow::Cow;

use jiff::Timestamp;

/// A change of a stream's connection, with time and reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionStatus<'a> {
    /// When this client noticed it.
    pub received: Timestamp,
    /// What changed.
    pub change: ConnectionChange,
    /// Why it changed, if known.
    pub reason: Option<Cow<'a, str>>,
}

/// The kinds of connection changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionChange {
    /// The broker accepted the connection.
    Connected,
    /// The connection ended.
    Disconnected,
    /// The broker accepted the subscriptions.
    Ready,
    /// All retained messages of the subscriptions have arrived. Only noticed while presence documents are watched.
    Settled,
    /// Messages published in this period may be missing.
    Gap {
        /// The last time at which the stream is known to be complete.
        from: Timestamp,
        /// When the subscriptions were active again.
        until: Timestamp,
    },
}

impl ConnectionChange {
    /// Returns the value of `status` in a JSON line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Ready => "ready",
            Self::Settled => "settled",
            Self::Gap { .. } => "gap",
        }
    }
}
