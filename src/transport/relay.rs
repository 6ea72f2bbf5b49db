//! Owns the connection to the broker, and stands between it and the MQTT library.
//!
//! The library keeps the conversation: CONNECT, SUBSCRIBE, PUBLISH, DISCONNECT. It is connected to the relay over loopback
//! socket. Messages never reach it: the relay takes them off the wire, has them handled and acknowledges them. The reasons:
//! the library needs 8 to 11 system calls for a message, acknowledges inside a callback under a lock of the whole process,
//! trusts the bytes that it receives, and keeps to itself what the broker says.
//!
//! * The **reader** ([`reader`]) of a connection reads from the broker into one buffer, decodes and checks every packet, and
//!   has messages handled as they stand in the buffer. At the end of the buffer it has the records written, and then sends
//!   all acknowledgements at once. If records cannot be written it waits, and nothing is read meanwhile.
//! * The **forwarder** ([`library`]) passes on what the library sends, and keeps the connection alive, also while the reader
//!   waits.
//!
//! The library connects to the relay once and never sees that connection fail: whatever happens to the broker, it is
//! answered until it disconnects. A new connection to the broker begins with the CONNECT that it sent. The reasons: it frees
//! twice what it cannot write, closes a refused socket twice, takes a second to notice a new socket, and keeps a core busy
//! while it has none.

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

mod library;
mod reader;

pub(super) use library::LibraryLink;
use reader::Reader;
pub use reader::Replayed;
pub(crate) use reader::replay;

/// Whether messages are acknowledged to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ack {
    /// They are.
    Send,
    /// They are not, and neither is any message after them: the connection can only be left.
    Withhold,
}

/// Handles messages, one after the other, on the reader's thread. It may wait for as long as it likes.
pub(crate) trait MessageHandler: Send {
    /// Handles a message, which was read at this time. It need not be safe before [`MessageHandler::commit`] returns.
    fn message(&mut self, message: &Publish<'_>, received: Timestamp) -> Ack;

    /// Handles a message that is too large to be received: its payload is missing.
    fn oversized(&mut self, message: &Publish<'_>, size: PacketSize, received: Timestamp) -> Ack;

    /// Makes safe all that was handled: acknowledgements are sent after it.
    fn commit(&mut self) -> Ack;
}

/// The size of a packet that is too large. In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PacketSize {
    pub(crate) packet: usize,
    /// The largest that is accepted.
    pub(crate) limit: usize,
}

/// A handler that outlives a connection. One reader at a time holds it.
pub(crate) type SharedHandler = Arc<Mutex<dyn MessageHandler>>;

/// The outcome of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Published {
    /// The broker took it, or it was sent with QoS 0.
    Accepted,
    /// The broker took it, and nobody subscribes to its topic (MQTT 5, 3.4.2.1).
    NoMatchingSubscribers,
    /// The broker refused it.
    Denied(BrokerReason),
    /// It was not sent: the broker accepts no packet of this size. In bytes.
    TooLarge { size: usize, largest: u32 },
    /// It was not sent: the connection ended before.
    NotSent,
    /// The connection ended before the broker acknowledged it.
    Lost,
}

/// The outcome of a SUBSCRIBE for one filter: the granted QoS, or the refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscribed {
    /// The filter, as it was sent.
    pub(super) filter: String,
    pub(super) granted: Result<u8, BrokerReason>,
}

/// What the relay reports to the client, in the order of the wire.
#[derive(Debug)]
pub(super) enum RelayEvent {
    /// The broker accepted the connection.
    Accepted(Accepted),
    Subscribed(Subscribed),
    /// The broker answered [`Relay::ask`]. What it sent before is handled.
    Answered,
    /// The broker sends nothing more.
    Ended(ConnectionEnd),
}

/// An accepted connection: the CONNACK's content (MQTT 5, 3.2.2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) session_present: bool,
    pub(crate) limits: Limits,
}

/// What the broker limits or changes (MQTT 5, 3.2.2.3). MQTT 3.1.1 says nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each property")]
pub(crate) struct Limits {
    /// The session expiry that replaces the requested one.
    pub(crate) session_expiry: Option<Duration>,
    /// How many publications may be unacknowledged.
    pub(crate) receive_maximum: u16,
    /// The highest QoS that we may publish with.
    pub(crate) maximum_qos: u8,
    pub(crate) retain_available: bool,
    /// The largest packet that we may send, in bytes.
    pub(crate) maximum_packet_size: Option<u32>,
    /// The client identifier that replaces ours.
    pub(crate) assigned_client_id: Option<String>,
    pub(crate) wildcard_subscriptions: bool,
    pub(crate) subscription_identifiers: bool,
    pub(crate) shared_subscriptions: bool,
    /// The keep-alive interval that replaces ours; zero for none.
    pub(crate) server_keep_alive: Option<Duration>,
}

impl Default for Limits {
    /// What holds if the broker says nothing.
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

/// What a relay needs to know.
pub(super) struct RelayOptions {
    pub(super) version: Version,
    pub(super) keepalive: Duration,
    /// The largest packet that we accept, in bytes.
    pub(super) max_packet_size: usize,
    pub(super) subscription: Arc<Subscription>,
    pub(super) handler: SharedHandler,
    pub(super) gate: Arc<Gate>,
    /// The identifiers of QoS 2 messages that were handled and not released yet [MQTT-4.3.3-10]. They outlive a
    /// connection as the session does.
    pub(super) unreleased: Arc<Mutex<HashSet<u16>>>,
    /// Whether the kernel is to acknowledge at once what it receives: see [`BrokerWriter::acknowledge_at_once`].
    pub(super) acknowledges_at_once: bool,
    /// Called on the reader's thread with each event.
    pub(super) report: Box<dyn FnMut(RelayEvent) + Send>,
}

/// A connection to the broker that is relayed to the library.
#[derive(Debug)]
pub(super) struct Relay {
    connection: Arc<Connection>,
    reader: Worker,
}

/// A thread whose end can be waited for.
#[derive(Debug)]
struct Worker(Receiver<Infallible>);

impl Worker {
    fn start(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        let (alive, end) = channel::<Infallible>();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            work();
            drop(alive);
        })?;
        Ok(Self(end))
    }

    /// Waits until it has ended, or until `deadline`; whether it has.
    fn await_end(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        self.0.recv_timeout(left) == Err(RecvTimeoutError::Disconnected)
    }
}

type OnPublished = Box<dyn FnOnce(Published) + Send>;

/// What the threads have in common.
struct Connection {
    writer: Arc<BrokerWriter>,
    requests: Mutex<Requests>,
    /// Each PINGREQ that is not answered yet.
    pings: Mutex<VecDeque<Ping>>,
    gate: Arc<Gate>,
    times: Times,
    /// How many messages were handled.
    messages: AtomicU64,
    /// How many of them were retained.
    retained: AtomicU64,
}

/// A PINGREQ.
#[derive(Debug, Clone, Copy)]
struct Ping {
    sent: Moment,
    /// Whether its answer is reported.
    is_reported: bool,
}

/// What was handed to the library and is not answered yet.
#[derive(Default)]
struct Requests {
    /// Publications that the library has not written yet, in their order.
    unsent: VecDeque<OnPublished>,
    /// Publications by packet identifier.
    unacknowledged: HashMap<u16, OnPublished>,
    /// SUBSCRIBE packets by packet identifier: their filters.
    subscribing: HashMap<u16, String>,
    /// Whether the connection has ended.
    is_over: bool,
}

/// When something last happened on the connection, in [`Moment::to_nanos`].
#[derive(Debug, Default)]
struct Times {
    sent: AtomicU64,
    read: AtomicU64,
    /// When the last PINGREQ was sent.
    pinged: AtomicU64,
    /// The last proof that nothing is missing that was published before.
    proof: AtomicU64,
    /// The keep-alive interval that holds, in nanoseconds.
    keepalive: AtomicU64,
}

impl Times {
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
    /// Begins a connection to the broker with the library's CONNECT.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn start(stream: BrokerStream, library: &LibraryLink, options: RelayOptions) -> std::io::Result<Self> {
        let (from_broker, writer) = stream.split();
        let connection = Arc::new(Connection::new(writer, &options));
        let reader = Reader::new(connection.clone(), library.answers(), from_broker, options);
        let reader = Worker::start("mqtt-reader", move || reader.run())?;
        library.attach(connection.clone());
        Ok(Self { connection, reader })
    }

    /// Registers a publication that the library is given next. `then` is called with its outcome, on one of the relay's
    /// threads and in the order of the wire.
    pub(super) fn expect_publication(&self, then: impl FnOnce(Published) + Send + 'static) {
        let mut requests = self.connection.requests();
        if requests.is_over {
            drop(requests);
            return then(Published::NotSent);
        }
        requests.unsent.push_back(Box::new(then));
    }

    /// Withdraws the publication that was registered last: the library does not take it.
    pub(super) fn withdraw_publication(&self) {
        let last = self.connection.requests().unsent.pop_back();
        if let Some(then) = last {
            then(Published::NotSent);
        }
    }

    /// When the broker was read from last.
    pub(super) fn read_at(&self) -> Moment {
        Times::get(&self.connection.times.read)
    }

    /// The last proof that the stream is complete.
    pub(super) fn proof(&self) -> Moment {
        Times::get(&self.connection.times.proof)
    }

    /// How many messages were handled.
    pub(super) fn messages(&self) -> u64 {
        self.connection.messages.load(Ordering::Relaxed)
    }

    /// How many retained messages were handled.
    pub(super) fn retained(&self) -> u64 {
        self.connection.retained.load(Ordering::Relaxed)
    }

    /// Asks the broker for a sign of life. Its answer is [`RelayEvent::Answered`].
    pub(super) fn ask(&self) {
        self.connection.ping(true);
    }

    /// Since when the reader has been waiting for the broker; now, if it is not.
    pub(super) fn waiting_since(&self) -> Moment {
        if self.connection.gate.is_busy() { Moment::now() } else { Times::get(&self.connection.times.read) }
    }

    /// Ends the connection to the broker, which then finds it closed.
    pub(super) fn close(&self) {
        self.connection.writer.close();
    }

    /// Waits until the broker has ended the connection, or until `deadline`.
    pub(super) fn await_broker(&self, deadline: Instant) -> bool {
        self.reader.await_end(deadline)
    }
}

impl Connection {
    fn new(writer: Arc<BrokerWriter>, options: &RelayOptions) -> Self {
        let now = Moment::now();
        let times = Times::default();
        for slot in [&times.sent, &times.read, &times.proof] {
            Times::set(slot, now);
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

    /// Asks the broker for a sign of life.
    fn ping(&self, is_reported: bool) {
        // Hold the lock while sending: the answers come in the order of the requests, and not before they are noted.
        let mut pings = lock(&self.pings);
        let now = Moment::now();
        pings.push_back(Ping { sent: now, is_reported });
        Times::set(&self.times.pinged, now);
        self.send(&codec::PINGREQ);
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        lock(&self.requests)
    }

    /// Sends to the broker. A failure shows when the reader finds the connection ended.
    fn send(&self, packets: &[u8]) {
        if self.writer.send(packets).is_ok() {
            Times::set(&self.times.sent, Moment::now());
        }
    }

    /// Ends the connection: gives every publication its outcome. Returns the identifiers of the SUBSCRIBE packets that are
    /// not answered.
    fn finish(&self) -> Vec<u16> {
        let mut requests = self.requests();
        requests.is_over = true;
        let subscribing = std::mem::take(&mut requests.subscribing);
        let unacknowledged = std::mem::take(&mut requests.unacknowledged);
        let unsent = std::mem::take(&mut requests.unsent);
        drop(requests);
        for then in unacknowledged.into_values() {
            then(Published::Lost);
        }
        for then in unsent {
            then(Published::NotSent);
        }
        self.writer.close();
        self.gate.set_connected(false);
        subscribing.into_keys().collect()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
