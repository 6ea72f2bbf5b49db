//! Reconnecting while calls are followed: the state of the connection, and the thread that reestablishes it.
//!
//! A lost connection does not end followed calls: their sessions go on, and later events arrive over the next connection.
//! The [`CallClient`](super::client::CallClient) keeps its calls meanwhile, and gives up after the timeout.

use std::sync::mpsc::Sender;
use std::thread;
use std::time::Instant;

use jiff::Timestamp;

use super::incoming::{Incoming, Recovered};
use crate::commands::transport_error::{session_failure, warn_of_failures};
use crate::output::report::Report;
use crate::transport::client::Client;
use crate::transport::error::ConnectionEnd;
use crate::transport::moment::Moment;
use crate::transport::options::Options;
use crate::transport::session::{Recovery, SessionEvent};
use crate::transport::url::BrokerUrl;

/// Whether the client is connected.
pub(super) enum ConnectionState {
    Connected(Box<ConnectedClient>),
    /// Another thread reconnects.
    Lost(CallOutage),
}

/// A client that is connected and subscribed.
pub(super) struct ConnectedClient {
    pub(super) client: Client,
    /// How it reconnects.
    pub(super) recovery: Recovery,
}

/// A time without a connection.
pub(super) struct CallOutage {
    /// No event is missing that was published before.
    pub(super) from: Timestamp,
    pub(super) reason: String,
    /// When to give up. `None` if the clock cannot represent it.
    pub(super) until: Option<Instant>,
}

impl ConnectionState {
    /// Makes the state of a client that is connected and subscribed now.
    pub(super) fn connected(client: Client) -> Self {
        Self::Connected(Box::new(ConnectedClient { client, recovery: Recovery::new() }))
    }

    /// Returns the time up to which all published messages have arrived, or `None` without a connection.
    pub(super) fn complete_until(&self) -> Option<Timestamp> {
        match self {
            Self::Connected(connected) => {
                Some(connected.client.complete_until().map_or_else(Timestamp::now, Moment::to_wall))
            }
            Self::Lost(_) => None,
        }
    }

    /// Returns when to give up reconnecting.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Connected(_) => None,
            Self::Lost(outage) => outage.until,
        }
    }

    /// Returns why the connection was lost, if it is time to give up. Does so once for an outage.
    pub(super) fn expire(&mut self, now: Instant) -> Option<String> {
        let Self::Lost(CallOutage { reason, until, .. }) = self else { return None };
        until.take_if(|until| *until <= now).map(|_| std::mem::take(reason))
    }
}

/// What the thread that reconnects needs of a [`CallClient`](super::client::CallClient).
pub(super) struct ReconnectContext {
    pub(super) options: Options,
    /// The broker of the lost connection.
    pub(super) broker: BrokerUrl,
    pub(super) report: Report,
    /// Receives [`Incoming::Recovered`] at the end.
    pub(super) incoming: Sender<Incoming>,
}

/// Starts a thread that reconnects a client, and prints warnings meanwhile. `end` is how the connection was lost.
pub(super) fn reconnect(client: Client, recovery: Recovery, end: ConnectionEnd, context: ReconnectContext) {
    let ReconnectContext { options, mut broker, report, incoming } = context;
    thread::spawn(move || {
        let (client, recovery, result) = recovery.run(client, end, |event| match event {
            SessionEvent::Connected(connected) => {
                warn_of_failures(&connected.failures, &options, report);
                broker = connected.broker;
            }
            SessionEvent::Retrying(error) => {
                report.warn(format_args!("{}; trying again", session_failure(&error, &options, report)));
            }
            SessionEvent::Ready { .. } | SessionEvent::Settled | SessionEvent::Lost { .. } | SessionEvent::Stable => {}
        });
        let recovered = Recovered { client, recovery, result: result.map(|_granted| broker) };
        // Ignore a closed channel: the client has ended.
        let _ = incoming.send(Incoming::Recovered(Box::new(recovered)));
    });
}
