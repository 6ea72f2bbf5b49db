//! Owns the connection to the broker, and relays it to the MQTT library.
//!
//! The library sends CONNECT, SUBSCRIBE, PUBLISH and DISCONNECT. It is connected to the relay by a loopback socket. It
//! receives no messages: the relay handles and acknowledges them itself, because the library needs 8 to 11 system calls per
//! message, acknowledges inside a callback under a process-wide lock, trusts the bytes that it receives, and hides the
//! broker's reason codes.
//!
//! * The **reader** ([`reader`]) of a connection reads from the broker into one buffer, decodes and checks every packet, and
//!   passes messages to the handler while they are still in that buffer. At the end of the buffer it calls
//!   [`MessageHandler::commit`], which writes the records, and then sends all acknowledgements at once. While records cannot
//!   be written, the reader blocks and reads nothing.
//! * The **forwarder** ([`forwarder`]) forwards what the library sends, and sends the pings that keep the connection alive,
//!   also while the reader is blocked.
//!
//! The library connects to the relay once and never sees that connection fail: the relay answers it until it disconnects,
//! whatever happens to the broker. A new connection to the broker begins with the CONNECT that the library sent. A failing
//! connection would expose defects of the library: it frees memory twice after a failed write, closes a refused socket
//! twice, notices a new socket only after up to a second, and uses a whole core while it has no socket.
//!
//! | file | contents |
//! | --- | --- |
//! | `reader` | the reader's thread |
//! | `forwarder` | the forwarder's thread |

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::codec::{self, Version};
use super::error::{BrokerReason, ConnectionEnd};
use super::gate::Gate;
use super::moment::Moment;
use super::stream::{BrokerReader, BrokerStream, BrokerWriter};
use super::subscription::Subscription;
use crate::sync::lock;
pub(crate) use codec::Publish;

mod forwarder;
mod reader;

pub(super) use forwarder::LibraryLink;
use reader::Reader;
pub use reader::Replayed;
pub(crate) use reader::replay;

/// What the reader does about acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ack {
    /// Acknowledge the messages.
    Send,
    /// Acknowledge neither these messages nor any later ones: the connection can only be closed.
    Withhold,
}

/// Handles messages one by one, on the reader's thread. It may block.
pub(crate) trait MessageHandler: Send {
    /// Handles a message that was read at `received`. The message need not be written before [`MessageHandler::commit`]
    /// returns.
    fn message(&mut self, message: &Publish<'_>, received: Timestamp) -> Ack;

    /// Returns whether [`MessageHandler::large_message`] is called for messages that fill the buffer alone.
    fn takes_large_messages(&self) -> bool {
        false
    }

    /// Handles a message of which it gets the payload, without a copy.
    fn large_message(&mut self, message: LargeMessage, received: Timestamp) -> Ack {
        self.message(&message.as_publish(), received)
    }

    /// Handles a message that exceeds the packet size limit. Its payload is empty.
    fn oversized(&mut self, message: &Publish<'_>, size: PacketSize, received: Timestamp) -> Ack;

    /// Writes everything that was handled. Acknowledgements are sent afterwards.
    fn commit(&mut self) -> Ack;
}

/// A message that owns its payload.
#[derive(Debug)]
pub(crate) struct LargeMessage {
    pub(crate) topic: String,
    /// 0, 1 or 2.
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// The packet identifier.
    id: u16,
    pub(crate) payload: Vec<u8>,
}

impl LargeMessage {
    /// Returns the message without its properties.
    pub(crate) fn as_publish(&self) -> Publish<'_> {
        let Self { topic, qos, retain, id, payload } = self;
        Publish { topic, qos: *qos, retain: *retain, id: *id, properties: codec::Properties::default(), payload }
    }
}

/// The size of a packet that exceeds the limit, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PacketSize {
    pub(crate) packet: usize,
    /// The largest accepted size.
    pub(crate) limit: usize,
}

/// A handler that outlives connections. One reader at a time locks it.
pub(crate) type SharedHandler = Arc<Mutex<dyn MessageHandler>>;

/// The outcome of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Published {
    /// The broker acknowledged it, or it was sent with QoS 0.
    Accepted,
    /// The broker acknowledged it, but nobody subscribes to its topic (MQTT 5, 3.4.2.1).
    NoMatchingSubscribers,
    /// The broker refused it.
    Denied(BrokerReason),
    /// It was not sent, because it exceeds the broker's maximum packet size. Sizes are in bytes.
    TooLarge { size: usize, largest: u32 },
    /// It was not sent, because the connection had ended.
    NotSent,
    /// The connection ended before the broker acknowledged it.
    Lost,
}

/// The outcome of a SUBSCRIBE for one filter: the granted QoS, or the refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscribed {
    /// The filter as it was sent.
    pub(super) filter: String,
    pub(super) granted: Result<u8, BrokerReason>,
}

/// What the relay reports to the client, in the order in which it happens.
#[derive(Debug)]
pub(super) enum RelayEvent {
    /// The broker accepted the connection.
    Accepted(Accepted),
    Subscribed(Subscribed),
    /// The broker answered [`Relay::ping`]. Everything that it sent before is handled.
    Answered,
    /// The connection ended; no event follows.
    Ended(ConnectionEnd),
}

/// The content of a CONNACK that accepts the connection (MQTT 5, 3.2.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) session_present: bool,
    pub(crate) limits: BrokerLimits,
}

/// Limits and settings that the broker imposes (MQTT 5, 3.2.2.3). MQTT 3.1.1 has none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each property")]
pub(crate) struct BrokerLimits {
    /// Replaces the requested session expiry interval.
    pub(crate) session_expiry: Option<Duration>,
    /// The number of publications that may be unacknowledged at a time.
    pub(crate) receive_maximum: u16,
    /// The highest QoS for publications.
    pub(crate) maximum_qos: u8,
    pub(crate) retain_available: bool,
    /// The largest packet that the broker accepts, in bytes.
    pub(crate) maximum_packet_size: Option<u32>,
    /// Replaces our client identifier.
    pub(crate) assigned_client_id: Option<String>,
    pub(crate) wildcard_subscriptions: bool,
    pub(crate) subscription_identifiers: bool,
    pub(crate) shared_subscriptions: bool,
    /// Replaces our keep-alive interval; zero means that the broker has none.
    pub(crate) server_keep_alive: Option<Duration>,
}

impl Default for BrokerLimits {
    /// Returns the limits that apply if the CONNACK has no properties.
    fn default() -> Self {
        Self {
            session_expiry: None,
            receive_maximum: u16::MAX,
            maximum_qos: 2,
            retain_available: true,
            maximum_packet_size: None,
            assigned_client_id: None,
            wildcard_subscriptions: true,
            subscription_identifiers: true,
            shared_subscriptions: true,
            server_keep_alive: None,
        }
    }
}

/// The settings of a relay.
pub(super) struct RelayOptions {
    pub(super) version: Version,
    pub(super) keepalive: Duration,
    /// The largest packet to accept, in bytes.
    pub(super) max_packet_size: usize,
    pub(super) subscription: Arc<Subscription>,
    pub(super) handler: SharedHandler,
    pub(super) gate: Arc<Gate>,
    /// Identifiers of QoS 2 messages that are handled, but not released yet [MQTT-4.3.3-10]. They outlive a connection, as
    /// the session does.
    pub(super) unreleased: Arc<Mutex<HashSet<u16>>>,
    /// Whether the kernel sends TCP acknowledgements at once: see [`BrokerWriter::acknowledge_at_once`].
    pub(super) acknowledges_at_once: bool,
    /// Called with each event, on the reader's thread.
    pub(super) report: Box<dyn FnMut(RelayEvent) + Send>,
}

/// A connection to the broker, relayed to the library.
#[derive(Debug)]
pub(super) struct Relay {
    connection: Arc<RelayedConnection>,
    reader: JoinableThread,
}

/// A thread whose end can be awaited.
#[derive(Debug)]
struct JoinableThread(Receiver<Infallible>);

impl JoinableThread {
    fn start(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        let (alive, end) = channel::<Infallible>();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            work();
            drop(alive);
        })?;
        Ok(Self(end))
    }

    /// Waits until the thread has ended or `deadline` passes. Returns whether it has ended.
    fn await_end(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        self.0.recv_timeout(left) == Err(RecvTimeoutError::Disconnected)
    }
}

type OnOutcome = Box<dyn FnOnce(Published) + Send>;

/// The state that reader, forwarder and client share.
struct RelayedConnection {
    writer: Arc<BrokerWriter>,
    requests: Mutex<Requests>,
    /// The unanswered PINGREQs, oldest first.
    pings: Mutex<VecDeque<Ping>>,
    gate: Arc<Gate>,
    times: ActivityTimes,
    /// The number of handled messages.
    messages: AtomicU64,
    /// The number of handled retained messages.
    retained: AtomicU64,
}

/// A PINGREQ that was sent.
#[derive(Debug, Clone, Copy)]
struct Ping {
    sent: Moment,
    /// Whether the answer is reported as [`RelayEvent::Answered`].
    is_reported: bool,
}

/// The library's requests that have no outcome yet.
#[derive(Default)]
struct Requests {
    /// Publications that the library has not sent yet, in order.
    unsent: VecDeque<OnOutcome>,
    /// Publications by packet identifier.
    unacknowledged: HashMap<u16, OnOutcome>,
    /// The filters of unanswered SUBSCRIBE packets, by packet identifier.
    subscribing: HashMap<u16, String>,
    /// Whether the connection has ended.
    has_ended: bool,
}

/// The times of the connection's last activities, as [`Moment::to_nanos`].
#[derive(Debug, Default)]
struct ActivityTimes {
    sent: AtomicU64,
    read: AtomicU64,
    /// When the last PINGREQ was sent.
    pinged: AtomicU64,
    /// All messages that were published before this time have arrived.
    complete_until: AtomicU64,
    /// The keep-alive interval in force, in nanoseconds.
    keepalive: AtomicU64,
}

impl ActivityTimes {
    fn set(slot: &AtomicU64, moment: Moment) {
        slot.store(moment.to_nanos(), Ordering::Relaxed);
    }

    fn get(slot: &AtomicU64) -> Moment {
        Moment::from_nanos(slot.load(Ordering::Relaxed))
    }

    fn keepalive(&self) -> Duration {
        Duration::from_nanos(self.keepalive.load(Ordering::Relaxed))
    }

    fn set_keepalive(&self, keepalive: Duration) {
        self.keepalive.store(u64::try_from(keepalive.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Relay {
    /// Starts the reader, and sends the library's CONNECT to the broker.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn start(stream: BrokerStream, library: &LibraryLink, options: RelayOptions) -> std::io::Result<Self> {
        let (from_broker, writer) = stream.split();
        let connection = Arc::new(RelayedConnection::new(writer, &options));
        let reader = Reader::new(connection.clone(), library.answers(), from_broker, options);
        let reader = JoinableThread::start("mqtt-reader", move || reader.run())?;
        library.attach(connection.clone());
        Ok(Self { connection, reader })
    }

    /// Registers the publication that the library is given next. `on_outcome` is called with its outcome, on one of the
    /// relay's threads. Outcomes come in the order of the broker's answers.
    pub(super) fn expect_publication(&self, on_outcome: impl FnOnce(Published) + Send + 'static) {
        let mut requests = self.connection.requests();
        if requests.has_ended {
            drop(requests);
            return on_outcome(Published::NotSent);
        }
        requests.unsent.push_back(Box::new(on_outcome));
    }

    /// Withdraws the last registered publication, because the library did not accept it.
    pub(super) fn withdraw_publication(&self) {
        let last = self.connection.requests().unsent.pop_back();
        if let Some(on_outcome) = last {
            on_outcome(Published::NotSent);
        }
    }

    /// Returns the time of the last read.
    pub(super) fn read_at(&self) -> Moment {
        ActivityTimes::get(&self.connection.times.read)
    }

    /// Returns the time up to which all published messages have arrived.
    pub(super) fn complete_until(&self) -> Moment {
        ActivityTimes::get(&self.connection.times.complete_until)
    }

    /// Returns the number of handled messages.
    pub(super) fn messages(&self) -> u64 {
        self.connection.messages.load(Ordering::Relaxed)
    }

    /// Returns the number of handled retained messages.
    pub(super) fn retained(&self) -> u64 {
        self.connection.retained.load(Ordering::Relaxed)
    }

    /// Sends a PINGREQ. Its answer is reported as [`RelayEvent::Answered`].
    pub(super) fn ping(&self) {
        self.connection.ping(true);
    }

    /// Returns the time of the last read, or the current time while messages are being handled.
    pub(super) fn waiting_since(&self) -> Moment {
        if self.connection.gate.is_busy() { Moment::now() } else { ActivityTimes::get(&self.connection.times.read) }
    }

    /// Closes the connection to the broker.
    pub(super) fn close(&self) {
        self.connection.writer.close();
    }

    /// Waits until the reader has ended or `deadline` passes. Returns whether it has ended.
    pub(super) fn await_reader(&self, deadline: Instant) -> bool {
        self.reader.await_end(deadline)
    }
}

impl RelayedConnection {
    fn new(writer: Arc<BrokerWriter>, options: &RelayOptions) -> Self {
        let now = Moment::now();
        let times = ActivityTimes::default();
        for slot in [&times.sent, &times.read, &times.complete_until] {
            ActivityTimes::set(slot, now);
        }
        times.set_keepalive(options.keepalive);
        Self {
            writer,
            requests: Mutex::default(),
            pings: Mutex::default(),
            gate: options.gate.clone(),
            times,
            messages: AtomicU64::new(0),
            retained: AtomicU64::new(0),
        }
    }

    /// Sends a PINGREQ.
    fn ping(&self, is_reported: bool) {
        // Hold the lock while sending: answers come in the order of the requests, and not before the request is noted.
        let mut pings = lock(&self.pings);
        let now = Moment::now();
        pings.push_back(Ping { sent: now, is_reported });
        ActivityTimes::set(&self.times.pinged, now);
        self.send(&codec::PINGREQ);
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        lock(&self.requests)
    }

    /// Sends to the broker. Ignores errors: the reader finds the connection ended.
    fn send(&self, packets: &[u8]) {
        if self.writer.send(packets).is_ok() {
            ActivityTimes::set(&self.times.sent, Moment::now());
        }
    }

    /// Closes the connection, and reports the outcome of every pending publication. Returns the packet identifiers of the
    /// unanswered SUBSCRIBEs.
    fn finish(&self) -> Vec<u16> {
        let mut requests = self.requests();
        requests.has_ended = true;
        let subscribing = std::mem::take(&mut requests.subscribing);
        let unacknowledged = std::mem::take(&mut requests.unacknowledged);
        let unsent = std::mem::take(&mut requests.unsent);
        drop(requests);
        for on_outcome in unacknowledged.into_values() {
            on_outcome(Published::Lost);
        }
        for on_outcome in unsent {
            on_outcome(Published::NotSent);
        }
        self.writer.close();
        self.gate.set_connected(false);
        subscribing.into_keys().collect()
    }
}

impl std::fmt::Debug for RelayedConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayedConnection").finish_non_exhaustive()
    }
}
