//! An MQTT client that connects to a list of brokers.
//!
//! The MQTT library builds and numbers the packets that it sends: see [`library`](super::library). A [`Relay`] between the
//! library and the broker handles what the broker sends, and never lets the library see a failure.
//!
//! [`connect`] establishes a connection. This file has the client and what it does with the connection: it subscribes,
//! publishes, waits and disconnects.
//!
//! | file | contents |
//! | --- | --- |
//! | `connect` | chooses the broker, its address and the MQTT version |

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::codec::Version;
use super::error::{BrokerReason, ConnectError, ConnectFailure, ConnectionEnd, Feature, SubscribeError};
use super::gate::Gate;
use super::library::{LibraryClient, LibraryClients};
use super::moment::Moment;
use super::options::Options;
use super::relay::{Accepted, Published, Relay, RelayEvent, SharedHandler, Subscribed};
use super::subscription::Subscription;
use super::url::BrokerUrl;
use crate::protocol::topic::{TopicFilter, TopicName};

mod connect;

/// A SUBSCRIBE is unanswered if the broker sends nothing for this long.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(20);

/// How often a waiting client checks for timeouts and cancellation.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A list of retained messages is complete if no more of them arrive for this long. Brokers may send them late.
const LISTING_PAUSE: Duration = Duration::from_millis(200);

/// The largest size of a PUBLISH besides its topic and payload, in bytes.
const PUBLISH_OVERHEAD: usize = 16;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Receive messages.
    Receive,
    /// Publish requests and receive replies with low latency.
    Request,
}

/// What a waiting client returns.
#[derive(Debug)]
pub(crate) enum ClientEvent {
    /// The connection ended.
    Ended(ConnectionEnd),
    /// [`Canceller::cancel`] was called.
    Cancelled,
}

/// The messages of the client's channel.
enum ClientMessage {
    Relay(RelayEvent),
    Cancelled,
}

/// Cancels the waits of a client, from any thread.
#[derive(Clone)]
pub(crate) struct Canceller {
    is_cancelled: Arc<AtomicBool>,
    messages: Sender<ClientMessage>,
}

impl Canceller {
    /// Ends the client's present wait and all later ones.
    pub(crate) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::SeqCst);
        // Ignore errors: the client is gone.
        let _ = self.messages.send(ClientMessage::Cancelled);
    }
}

/// Called when an accepted connection has ended, on the reader's thread, after the outcomes of all its publications.
pub(crate) type OnEnded = Arc<dyn Fn(&ConnectionEnd) + Send + Sync>;

/// An accepted connection.
#[derive(Debug, Clone)]
pub(crate) struct Connected {
    pub(crate) broker: BrokerUrl,
    pub(crate) version: Version,
    pub(crate) accepted: Accepted,
    /// The failures of the brokers that were tried before.
    pub(crate) failures: Vec<ConnectFailure>,
}

/// A granted subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    /// The filters that the broker refused.
    pub(crate) denied: Vec<(TopicFilter, BrokerReason)>,
    /// The lowest QoS that the broker granted.
    pub(crate) qos: u8,
}

/// A filter, and the granted QoS or the refusal.
type SubscribeOutcome = (TopicFilter, Result<u8, BrokerReason>);

/// An MQTT client with at most one connection. See the module.
pub(crate) struct Client {
    options: Options,
    purpose: Purpose,
    subscription: Arc<Subscription>,
    handler: SharedHandler,
    gate: Arc<Gate>,
    on_ended: OnEnded,
    unreleased: Arc<Mutex<HashSet<u16>>>,
    canceller: Canceller,
    messages: Receiver<ClientMessage>,
    /// The index of the broker to try first.
    first_broker: usize,
    libraries: LibraryClients,
    connection: Option<Connection>,
}

/// A connection that the broker has accepted.
struct Connection {
    relay: Relay,
    version: Version,
    accepted: Accepted,
}

impl Client {
    /// Creates a client without connecting. Messages are handled only while `gate` is open.
    pub(crate) fn new(
        options: Options,
        purpose: Purpose,
        subscription: Subscription,
        handler: SharedHandler,
        gate: Arc<Gate>,
        on_ended: OnEnded,
    ) -> Self {
        let (sender, messages) = channel();
        Self {
            options,
            purpose,
            subscription: Arc::new(subscription),
            handler,
            gate,
            on_ended,
            unreleased: Arc::default(),
            canceller: Canceller { is_cancelled: Arc::default(), messages: sender },
            messages,
            first_broker: 0,
            libraries: LibraryClients::default(),
            connection: None,
        }
    }

    /// Returns a handle that cancels this client's waits.
    pub(crate) fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Waits until the library has processed its CONNACK.
    ///
    /// # Errors
    /// If it has not at `deadline`.
    fn await_library(&mut self, version: Version, deadline: Instant) -> Result<(), ConnectError> {
        if self.libraries.get_mut(version).is_some_and(|library| library.await_connected(deadline)) {
            Ok(())
        } else {
            Err(ConnectError::LibraryTimeout)
        }
    }

    /// Receives the next message; `None` at the deadline.
    fn receive(&self, deadline: Option<Instant>) -> Option<ClientMessage> {
        if self.is_cancelled() {
            return Some(ClientMessage::Cancelled);
        }
        let received = match deadline {
            None => self.messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(deadline) => self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now())),
        };
        received.ok()
    }

    fn is_cancelled(&self) -> bool {
        self.canceller.is_cancelled.load(Ordering::SeqCst)
    }

    /// Waits until the connection ends or the client is cancelled; `None` at the deadline.
    pub(crate) fn await_end(&self, deadline: Option<Instant>) -> Option<ClientEvent> {
        loop {
            match self.receive(deadline)? {
                ClientMessage::Relay(RelayEvent::Ended(end)) => return Some(ClientEvent::Ended(end)),
                ClientMessage::Relay(RelayEvent::Accepted(_) | RelayEvent::Subscribed(_) | RelayEvent::Answered) => {}
                ClientMessage::Cancelled => return Some(ClientEvent::Cancelled),
            }
        }
    }

    /// Waits until all retained messages of the subscription are handled. Returns the event that ended the wait early, if
    /// any.
    ///
    /// A broker sends retained messages with its SUBACK, or some time later. So the wait is a round trip, then a pause,
    /// repeated while retained messages arrive. The round trip after each pause covers messages that are read, but not
    /// handled.
    pub(crate) fn settle(&self) -> Option<ClientEvent> {
        let Some(Connection { relay, .. }) = &self.connection else { return None };
        let mut before = None;
        loop {
            if let Some(event) = self.await_round_trip(relay) {
                return Some(event);
            }
            let retained = relay.retained();
            if before == Some(retained) {
                return None;
            }
            before = Some(retained);
            if let Some(event) = self.await_end(Some(Instant::now() + LISTING_PAUSE)) {
                return Some(event);
            }
        }
    }

    /// Sends a PINGREQ and waits for an answer. Returns the event that ended the wait early, if any.
    ///
    /// A broker with a full queue for this client may drop its answer, as mosquitto does. So a silent broker is asked again.
    fn await_round_trip(&self, relay: &Relay) -> Option<ClientEvent> {
        relay.ping();
        let mut asked = Moment::now();
        loop {
            match self.receive(Some(Instant::now() + POLL_INTERVAL)) {
                Some(ClientMessage::Relay(RelayEvent::Answered)) => return None,
                Some(ClientMessage::Relay(RelayEvent::Ended(end))) => return Some(ClientEvent::Ended(end)),
                Some(ClientMessage::Relay(RelayEvent::Accepted(_) | RelayEvent::Subscribed(_))) => {}
                Some(ClientMessage::Cancelled) => return Some(ClientEvent::Cancelled),
                None if asked.max(relay.waiting_since()).elapsed() >= POLL_INTERVAL => {
                    relay.ping();
                    asked = Moment::now();
                }
                None => {}
            }
        }
    }

    /// Waits for `duration`. Returns whether the client was cancelled meanwhile.
    pub(crate) fn pause(&self, duration: Duration) -> bool {
        let until = Instant::now() + duration;
        loop {
            match self.receive(Some(until)) {
                None => return false,
                Some(ClientMessage::Cancelled) => return true,
                Some(ClientMessage::Relay(_)) => {}
            }
        }
    }

    /// Returns the number of messages that the connection has delivered.
    pub(crate) fn messages(&self) -> u64 {
        self.connection.as_ref().map_or(0, |connection| connection.relay.messages())
    }

    /// Subscribes to each filter and waits for all answers. A message that matches several filters is handled once.
    ///
    /// # Errors
    /// If the broker refuses a filter (unless a partial grant is acceptable), does not support the subscription, or does not
    /// answer; if the connection ends or the client is cancelled.
    pub(crate) fn subscribe(&mut self) -> Result<Granted, SubscribeError> {
        let subscription = self.subscription.clone();
        let Some(connection) = &self.connection else { return Err(SubscribeError::Ended(ConnectionEnd::Closed)) };
        let limits = &connection.accepted.limits;
        if subscription.group.is_some() && !limits.shared_subscriptions {
            return Err(SubscribeError::Unsupported(Feature::SharedSubscriptions));
        }
        let requests = subscription.deduplicator(connection.version, limits.subscription_identifiers).subscriptions();
        if !limits.wildcard_subscriptions && requests.iter().any(|(_, filter)| filter.has_wildcard()) {
            return Err(SubscribeError::Unsupported(Feature::WildcardSubscriptions));
        }
        let version = connection.version;
        for (number, filter) in &requests {
            self.send_subscribe(version, filter, *number);
        }
        let filters: Vec<TopicFilter> = requests.into_iter().map(|(_, filter)| filter).collect();
        let mut granted = Granted { denied: Vec::new(), qos: subscription.qos };
        let requested = filters.len();
        for (filter, outcome) in self.await_subscribed(filters)? {
            match outcome {
                Ok(_) if subscription.is_listing(&filter) => {}
                Ok(qos) => granted.qos = granted.qos.min(qos),
                Err(reason) => granted.denied.push((filter, reason)),
            }
        }
        let is_partial = subscription.allow_partial && granted.denied.len() < requested;
        if granted.denied.is_empty() || is_partial {
            Ok(granted)
        } else {
            Err(SubscribeError::Refused { denied: granted.denied, of: requested })
        }
    }

    /// Waits for the answers to all SUBSCRIBEs, for as long as the broker sends anything: messages that are not handled yet
    /// may precede the answer.
    fn await_subscribed(&self, mut filters: Vec<TopicFilter>) -> Result<Vec<SubscribeOutcome>, SubscribeError> {
        let mut outcomes = Vec::new();
        let subscribed_at = Moment::now();
        while !filters.is_empty() {
            match self.receive(Some(Instant::now() + POLL_INTERVAL)) {
                Some(ClientMessage::Relay(RelayEvent::Subscribed(Subscribed { filter: sent, granted }))) => {
                    if let Some(at) = filters.iter().position(|filter| self.as_sent(filter).as_str() == sent) {
                        outcomes.push((filters.remove(at), granted));
                    }
                }
                Some(ClientMessage::Relay(RelayEvent::Ended(end))) => return Err(SubscribeError::Ended(end)),
                Some(ClientMessage::Relay(RelayEvent::Accepted(_) | RelayEvent::Answered)) => {}
                Some(ClientMessage::Cancelled) => return Err(SubscribeError::Cancelled),
                None => {
                    let waiting_since = self.connection.as_ref().map_or(subscribed_at, |it| it.relay.waiting_since());
                    if subscribed_at.max(waiting_since).elapsed() >= SUBSCRIBE_TIMEOUT {
                        return Err(SubscribeError::Unanswered(SUBSCRIBE_TIMEOUT));
                    }
                }
            }
        }
        Ok(outcomes)
    }

    /// Returns the filter as it is sent: with the prefix of the shared subscription's group.
    fn as_sent(&self, filter: &TopicFilter) -> TopicFilter {
        self.subscription.group.as_ref().map_or(filter.clone(), |group| filter.shared_by(group))
    }

    fn send_subscribe(&self, version: Version, filter: &TopicFilter, identifier: Option<u32>) {
        self.library(version).subscribe(&self.as_sent(filter), self.subscription.qos_of(filter), identifier);
    }

    /// Publishes once, with QoS 1, or 0 if that is the broker's maximum. `on_outcome` is called with the outcome on one of
    /// the relay's threads, in the order of the broker's answers.
    pub(crate) fn publish(
        &self,
        topic: &TopicName,
        payload: String,
        on_outcome: impl FnOnce(Published) + Send + 'static,
    ) {
        let Some(Connection { relay, version, accepted, .. }) = &self.connection else {
            return on_outcome(Published::NotSent);
        };
        let size = topic.as_str().len() + payload.len() + PUBLISH_OVERHEAD;
        let largest = accepted.limits.maximum_packet_size;
        if largest.is_some_and(|largest| usize::try_from(largest).is_ok_and(|largest| size > largest)) {
            return on_outcome(Published::TooLarge { size, largest: largest.unwrap_or_default() });
        }
        let Some(library) = self.libraries.get(*version) else { return on_outcome(Published::NotSent) };
        relay.expect_publication(on_outcome);
        if !library.publish(topic, payload, accepted.limits.maximum_qos.min(1)) {
            relay.withdraw_publication();
        }
    }

    /// Returns whether there is a connection that the broker has accepted.
    pub(crate) fn is_connected(&self) -> bool {
        self.gate.is_connected()
    }

    /// Returns the time of the last read from the broker.
    pub(crate) fn read_at(&self) -> Option<Moment> {
        self.connection.as_ref().map(|connection| connection.relay.read_at())
    }

    /// Returns the time up to which all published messages have arrived.
    pub(crate) fn complete_until(&self) -> Option<Moment> {
        self.connection.as_ref().map(|connection| connection.relay.complete_until())
    }

    /// Closes the connection: waits until the current buffer is handled and acknowledged, sends DISCONNECT, and, if the
    /// broker keeps or shares the session, waits until the broker has read everything. Takes at most `timeout`.
    pub(crate) fn disconnect(&mut self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        self.gate.close();
        let Some(Connection { relay, version, .. }) = self.connection.take() else { return };
        self.gate.await_idle(deadline);
        // The relay has answered all of the library's packets, so it is connected or about to be.
        let _ = self.await_library(version, deadline);
        self.library(version).disconnect(deadline);
        // Closing a connection with unread bytes resets it, and the broker drops the acknowledgements that it has not read
        // [RFC 1122, 4.2.2.13].
        if self.options.session_expiry.is_some() || self.subscription.group.is_some() {
            relay.await_reader(deadline);
        }
        relay.close();
    }

    /// Drops the connection so that the client can reconnect. Waits until its last message is handled; returns `false` if
    /// the client is cancelled meanwhile.
    pub(crate) fn abandon(&mut self) -> bool {
        let Some(Connection { relay, .. }) = self.connection.take() else { return true };
        relay.close();
        while !relay.await_reader(Instant::now() + POLL_INTERVAL) {
            if self.is_cancelled() {
                return false;
            }
        }
        true
    }

    /// Returns the library's client of a connection's version.
    fn library(&self, version: Version) -> &LibraryClient {
        self.libraries.get(version).expect("a client of the library is made before it is used")
    }
}
