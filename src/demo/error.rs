//! Why a demo cannot start, or why it ended. The command makes the messages.

use std::io;
use std::net::SocketAddr;

use crate::protocol::topic::TopicName;

/// Why a demo failed.
#[derive(Debug)]
pub(crate) enum DemoError {
    /// The broker cannot listen on this address.
    Listen { address: SocketAddr, error: anyhow::Error },
    /// The broker does not support topics such as this one, which the server publishes or subscribes to.
    UnsupportedTopic(TopicName),
    /// The broker ended by itself.
    BrokerGone,
    /// The simulated server panicked.
    ServerPanicked,
    /// The broker or the operating system reported another error.
    Other(anyhow::Error),
}

impl From<anyhow::Error> for DemoError {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

impl From<io::Error> for DemoError {
    fn from(error: io::Error) -> Self {
        Self::Other(error.into())
    }
}
