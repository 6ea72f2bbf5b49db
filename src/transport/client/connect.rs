//! Connects a [`Client`]: chooses the broker, its address and the MQTT version.
//!
//! A CONNECT that fails is repeated with the next address, the lower version and the next broker, while that may help. Each
//! attempt has a [`Relay`] of its own; the client of the MQTT library outlives it.

use std::time::{Duration, Instant};

use super::{Client, ClientMessage, Connected, Connection, Purpose};
use crate::transport::codec::{ReasonCode, Version};
use crate::transport::dial::{Dialer, share_of};
use crate::transport::error::{ConnectError, ConnectFailure, ConnectFailures, ConnectionEnd, DialError};
use crate::transport::library::LIBRARY_TIMEOUT;
use crate::transport::options::MqttVersion;
use crate::transport::relay::{Accepted, Relay, RelayEvent, RelayOptions};
use crate::transport::stream::BrokerStream;
use crate::transport::url::BrokerUrl;

/// How long a cancelled client waits for the handler to finish a buffer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

impl Client {
    /// Connects to the first broker that accepts, starting after the broker of the last connection. Each broker has the
    /// connect timeout. If the broker has kept the session, messages arrive at once; otherwise after [`Client::subscribe`].
    ///
    /// # Errors
    /// If no broker accepts the connection: the failure of each.
    pub(crate) fn connect(&mut self) -> Result<Connected, ConnectFailures> {
        let count = self.options.brokers.len();
        let mut failures = Vec::new();
        for offset in 0..count {
            let index = (self.first_broker + offset) % count;
            let broker = self.options.brokers[index].clone();
            match self.connect_to(&broker) {
                Ok(connection) => {
                    self.first_broker = (index + 1) % count;
                    let Connection { version, accepted, .. } = &connection;
                    let connected = Connected { broker, version: *version, accepted: accepted.clone(), failures };
                    self.connection = Some(connection);
                    return Ok(connected);
                }
                Err(error) => {
                    let failure = ConnectFailure { broker, error };
                    if !failure.error.may_succeed_elsewhere() || offset + 1 == count {
                        return Err(ConnectFailures { earlier: failures, last: Box::new(failure) });
                    }
                    failures.push(failure);
                }
            }
        }
        unreachable!("there is at least one broker, and the last one returns")
    }

    /// Connects to the first of the broker's addresses that accepts.
    fn connect_to(&mut self, broker: &BrokerUrl) -> Result<Connection, ConnectError> {
        let deadline = Instant::now() + self.options.connect_timeout;
        let mut dialer = Dialer::new(&self.options, broker)?;
        let mut first = None;
        while let Some(dialed) = dialer.next(deadline) {
            if self.is_cancelled() {
                return Err(ConnectError::Cancelled);
            }
            let connection = match dialed {
                Err(error) => Err(error.into()),
                Ok((address, stream)) => {
                    let deadline = share_of(deadline, dialer.remaining() + 1);
                    let redial = |deadline| dialer.redial(address, deadline);
                    self.negotiate(stream, redial, deadline)
                }
            };
            match connection {
                Ok(connection) => return Ok(connection),
                Err(error) if !error.may_succeed_elsewhere() => return Err(error),
                // Keep the error of the attempt that got furthest: it explains the most.
                Err(error) => {
                    let explains_more = matches!(first, None | Some(ConnectError::Dial(_)));
                    if explains_more {
                        first = Some(error);
                    }
                }
            }
        }
        Err(first.unwrap_or(ConnectError::Unanswered(self.options.connect_timeout)))
    }

    /// Connects with the highest MQTT version that the options allow and the broker accepts. `redial` opens a second
    /// connection to the same address.
    fn negotiate(
        &mut self,
        stream: BrokerStream,
        redial: impl FnOnce(Instant) -> Result<BrokerStream, DialError>,
        deadline: Instant,
    ) -> Result<Connection, ConnectError> {
        match self.options.version {
            MqttVersion::V5 => self.establish(stream, Version::V5, deadline),
            MqttVersion::V311 => self.establish(stream, Version::V311, deadline),
            MqttVersion::Auto => match self.establish(stream, Version::V5, share_of(deadline, 2)) {
                Err(error) if may_be_the_version(&error) => {
                    if self.options.password.is_some() && self.options.username.is_none() {
                        return Err(ConnectError::PasswordNeedsUserName);
                    }
                    // If the second connection fails, the first error explains more.
                    let Ok(stream) = redial(deadline) else { return Err(error) };
                    self.establish(stream, Version::V311, deadline).map_err(|second| match second {
                        ConnectError::Unanswered(_) => ConnectError::Unanswered(self.options.connect_timeout),
                        other => other,
                    })
                }
                other => other,
            },
        }
    }

    /// Sends the library's CONNECT through a relay, and waits for the CONNACK.
    fn establish(
        &mut self,
        stream: BrokerStream,
        version: Version,
        deadline: Instant,
    ) -> Result<Connection, ConnectError> {
        let began = Instant::now();
        self.discard_messages();
        self.libraries.start(version, &self.options).map_err(ConnectError::Local)?;
        let relay = self.relay(stream, version).map_err(|error| ConnectError::Local(error.to_string()))?;
        let accepted = self.await_accepted(deadline, began).map_err(|error| match error {
            ConnectError::Ended(ConnectionEnd::Refused(reason))
                if reason.code == ReasonCode::UNSUPPORTED_PROTOCOL_VERSION =>
            {
                ConnectError::UnsupportedVersion(version)
            }
            other => other,
        });
        let accepted = accepted
            .and_then(|accepted| self.await_library(version, Instant::now() + LIBRARY_TIMEOUT).map(|()| accepted));
        match accepted {
            Ok(accepted) => Ok(Connection { relay, version, accepted }),
            // A resumed session may have delivered messages already, so it must be closed with a DISCONNECT.
            Err(ConnectError::Cancelled) if self.is_connected_when_idle() => {
                self.connection = Some(Connection { relay, version, accepted: Accepted::default() });
                Err(ConnectError::Cancelled)
            }
            Err(error) => {
                relay.close();
                relay.await_reader(Instant::now() + LIBRARY_TIMEOUT);
                Err(error)
            }
        }
    }

    /// Waits until the current buffer is handled: it may hold the CONNACK. Returns whether the broker has accepted the
    /// connection.
    fn is_connected_when_idle(&self) -> bool {
        self.gate.await_idle(Instant::now() + IDLE_TIMEOUT);
        self.gate.is_connected()
    }

    /// Starts a relay that reports to this client's channel.
    fn relay(&self, stream: BrokerStream, version: Version) -> std::io::Result<Relay> {
        let messages = self.canceller.messages.clone();
        let on_ended = self.on_ended.clone();
        let mut is_accepted = false;
        let options = RelayOptions {
            version,
            keepalive: self.options.keepalive,
            max_packet_size: self.options.max_packet_size.try_into().unwrap_or(usize::MAX),
            subscription: self.subscription.clone(),
            handler: self.handler.clone(),
            gate: self.gate.clone(),
            unreleased: self.unreleased.clone(),
            acknowledges_at_once: self.purpose == Purpose::Request,
            report: Box::new(move |event| {
                is_accepted |= matches!(event, RelayEvent::Accepted(_));
                if let RelayEvent::Ended(end) = &event
                    && is_accepted
                {
                    on_ended(end);
                }
                // Ignore errors: the client is gone.
                let _ = messages.send(ClientMessage::Relay(event));
            }),
        };
        Relay::start(stream, self.library(version).link(), options)
    }

    /// Waits for the CONNACK. `began` is when the attempt began.
    fn await_accepted(&self, deadline: Instant, began: Instant) -> Result<Accepted, ConnectError> {
        match self.receive(Some(deadline)) {
            Some(ClientMessage::Relay(RelayEvent::Accepted(accepted))) => Ok(accepted),
            Some(ClientMessage::Relay(RelayEvent::Ended(end))) => Err(ConnectError::Ended(end)),
            Some(ClientMessage::Relay(RelayEvent::Subscribed(_) | RelayEvent::Answered)) | None => {
                Err(ConnectError::Unanswered(began.elapsed()))
            }
            Some(ClientMessage::Cancelled) => Err(ConnectError::Cancelled),
        }
    }

    /// Discards messages about earlier connections.
    fn discard_messages(&self) {
        while self.messages.try_recv().is_ok() {}
    }
}

/// Returns whether MQTT 3.1.1 may succeed. Brokers that do not support MQTT 5 refuse the version, close the connection, send
/// a malformed answer, or do not answer.
fn may_be_the_version(error: &ConnectError) -> bool {
    match error {
        ConnectError::UnsupportedVersion(_) | ConnectError::Unanswered(_) => true,
        ConnectError::Ended(end) => !matches!(end, ConnectionEnd::Refused(_) | ConnectionEnd::Tls(_)),
        ConnectError::Dial(_)
        | ConnectError::PasswordNeedsUserName
        | ConnectError::LibraryTimeout
        | ConnectError::Local(_)
        | ConnectError::Cancelled => false,
    }
}
