//! Reads from the broker: decodes and checks packets, passes messages to the handler, and acknowledges them.
//!
//! | file | contents |
//! | --- | --- |
//! | `moderation` | pauses between reads, so that several messages share the system calls |
//! | `replay` | feeds arbitrary bytes to the reader, for tests |

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::codec::{
    self, Connack, Fault, FixedHeader, Inbound, PacketType, Property, ProtocolError, Publish, ReasonCode, Suback,
};
use super::forwarder::LibraryAnswers;
use super::{
    Accepted, Ack, ActivityTimes, BrokerLimits, BrokerReader, BrokerReason, ConnectionEnd, LargeMessage,
    MessageHandler, Moment, PacketSize, Ping, Published, RelayEvent, RelayOptions, RelayedConnection, Subscribed,
    Version, lock,
};
use crate::transport::buffer::Buffer;
use crate::transport::dedup::Deduplicator;

use moderation::Arrival;

mod moderation;
mod replay;

pub use replay::Replayed;
pub(crate) use replay::replay;

/// How long the first read waits at most. The limit doubles with each read that returns nothing, up to [`LONGEST_SLICE`].
const FIRST_SLICE: Duration = Duration::from_millis(20);
const LONGEST_SLICE: Duration = Duration::from_secs(1);

/// If a read begins this long after the stream was drained, the handler was blocked.
const BLOCKED_THRESHOLD: Duration = Duration::from_millis(50);

/// The connection is closed if more bytes than this wait to be sent: the acknowledgements of four million messages. The
/// reader does not wait for the broker to read them, because the broker may itself be blocked writing to us.
const MAX_UNSENT: usize = 16 * 1024 * 1024;

/// The broker may be silent for this many keep-alive intervals [MQTT-3.1.2-22].
const SILENCE_FACTOR: f64 = 1.5;

/// The thread that reads from the broker.
pub(super) struct Reader {
    connection: Arc<RelayedConnection>,
    library: Arc<LibraryAnswers>,
    stream: BrokerReader,
    options: RelayOptions,
    deduplicator: Option<Deduplicator>,
    /// A message that exceeds the size limit; its bytes are read and dropped.
    skipped: Option<Skipped>,
    acknowledgements: Vec<u8>,
    to_library: Vec<u8>,
    /// The number of handled messages.
    messages: u64,
    /// Whether the handler withholds acknowledgements. Nothing is handled after that.
    is_withheld: bool,
    /// When the bytes in the buffer were read.
    received: Timestamp,
    /// When the stream was last known to be drained: a read did not fill the buffer.
    drained: Moment,
    /// How long the broker took for its last answer.
    round_trip: Duration,
    /// Set if the handler was blocked at this time: arriving messages prove nothing until a later PINGREQ is answered.
    blocked_at: Option<Moment>,
    /// How the last bytes arrived. After an idle time, incoming bytes are acknowledged at once, because a broker with
    /// Nagle's algorithm, such as mosquitto, holds the next message back until the previous one is acknowledged [RFC 896],
    /// which the kernel delays by up to 40 ms.
    arrival: Arrival,
    /// Whether the messages of the last read were acknowledged.
    has_acknowledged: bool,
}

/// The remainder of a message that exceeds the size limit.
struct Skipped {
    left: usize,
    qos: u8,
    id: u16,
}

impl Reader {
    pub(super) fn new(
        connection: Arc<RelayedConnection>,
        library: Arc<LibraryAnswers>,
        stream: BrokerReader,
        options: RelayOptions,
    ) -> Self {
        Self {
            connection,
            library,
            stream,
            options,
            deduplicator: None,
            skipped: None,
            acknowledgements: Vec::new(),
            to_library: Vec::new(),
            messages: 0,
            is_withheld: false,
            received: Timestamp::UNIX_EPOCH,
            drained: Moment::now(),
            round_trip: Duration::ZERO,
            blocked_at: None,
            arrival: Arrival::Late,
            has_acknowledged: false,
        }
    }

    /// Reads until the connection ends.
    pub(super) fn run(mut self) {
        let handler = self.options.handler.clone();
        let Err(end) = self.read_all(&mut *lock(&handler));
        if let ConnectionEnd::Protocol(_) = end {
            self.disconnect(ReasonCode::PROTOCOL_ERROR);
        }
        let unanswered = self.connection.finish();
        self.library.finish(self.options.version, &unanswered);
        (self.options.report)(RelayEvent::Ended(end));
    }

    fn read_all(&mut self, handler: &mut dyn MessageHandler) -> Result<Infallible, ConnectionEnd> {
        let mut buffer = Buffer::new();
        loop {
            self.fill(&mut buffer)?;
            if self.is_withheld || !self.connection.gate.enter() {
                buffer.clear();
                continue;
            }
            let handled = self.handle(&mut buffer, handler);
            self.commit(handler);
            self.connection.gate.leave();
            handled?;
            if self.connection.writer.unsent() > MAX_UNSENT {
                return Err(ConnectionEnd::NotReading);
            }
        }
    }

    /// Waits for bytes and reads them into the buffer.
    fn fill(&mut self, buffer: &mut Buffer) -> Result<(), ConnectionEnd> {
        if let Some(pause) = self.arrival.pause(self.has_acknowledged) {
            thread::sleep(pause);
        }
        let max_silence = self.connection.times.keepalive().mul_f64(SILENCE_FACTOR);
        let (mut silence, mut slice) = (Duration::ZERO, FIRST_SLICE);
        let packet_len = packet_len(buffer.unhandled());
        loop {
            if self.options.acknowledges_at_once || self.arrival == Arrival::Late {
                self.connection.writer.acknowledge_at_once();
            }
            let before = Moment::now();
            let room = buffer.room(packet_len);
            let room_len = room.len();
            let read = self.stream.read(room, slice);
            self.received = Timestamp::now();
            let after = Moment::now();
            match read? {
                Some(0) => return Err(ConnectionEnd::Closed),
                Some(count) => {
                    buffer.fill(count);
                    self.note_arrival(before, after);
                    let is_short = count < room_len;
                    if is_short {
                        self.drained = after;
                    }
                    self.arrival = Arrival::of_read(count, is_short, after.since(before));
                    return Ok(());
                }
                None => {
                    self.drained = after;
                    // Exclude time for which this process was stopped.
                    silence += after.since(before).min(slice);
                    slice = LONGEST_SLICE.min(slice * 2);
                    if silence > LONGEST_SLICE {
                        self.blocked_at = None;
                    }
                    if silence >= max_silence {
                        return Err(ConnectionEnd::Silent(silence));
                    }
                }
            }
        }
    }

    /// Updates the time up to which all published messages have arrived, after bytes were read.
    ///
    /// The bytes arrived after the read began. (How long after is unknown, because this process may have been stopped
    /// meanwhile.) They were sent at most one round trip earlier, so everything that was published before that has arrived.
    /// There are two exceptions. If a PINGREQ is unanswered, the bytes may be older than one round trip, but not older than
    /// the PINGREQ. If the handler was blocked before, many messages may have queued up on the way, so nothing is known
    /// until a later PINGREQ is answered or the stream is idle. (Sending a PINGREQ right away does not help: if the broker
    /// has closed the connection, it would answer with a reset, and the messages on the way would be lost.)
    fn note_arrival(&mut self, before: Moment, after: Moment) {
        if before.since(self.drained) > BLOCKED_THRESHOLD {
            self.blocked_at = Some(before);
        }
        let sent = before - self.round_trip;
        let pinged = lock(&self.connection.pings).front().copied();
        self.advance_complete_until(pinged.map_or(sent, |ping| ping.sent.min(sent)));
        ActivityTimes::set(&self.connection.times.read, after);
    }

    /// Handles the answer to the oldest PINGREQ.
    fn on_pingresp(&mut self) {
        let ping = lock(&self.connection.pings).pop_front();
        if let Some(Ping { sent, is_reported }) = ping {
            self.blocked_at = self.blocked_at.filter(|since| sent < *since);
            self.round_trip = sent.elapsed();
            self.advance_complete_until(sent);
            if is_reported {
                (self.options.report)(RelayEvent::Answered);
            }
        }
    }

    fn advance_complete_until(&self, moment: Moment) {
        if self.blocked_at.is_some() {
            return;
        }
        let complete_until = &self.connection.times.complete_until;
        ActivityTimes::set(complete_until, ActivityTimes::get(complete_until).max(moment));
    }

    /// Handles every complete packet in the buffer.
    fn handle(&mut self, buffer: &mut Buffer, handler: &mut dyn MessageHandler) -> Result<(), ConnectionEnd> {
        self.skip(buffer);
        if self.handle_large(buffer, handler)? {
            return Ok(());
        }
        let bytes = buffer.unhandled();
        let mut at = 0;
        let result = loop {
            if self.is_withheld || self.skipped.is_some() {
                break Ok(());
            }
            let rest = &bytes[at..];
            let header = match FixedHeader::decode(rest) {
                Ok(Some(header)) => header,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            };
            if header.packet_len() > self.options.max_packet_size {
                match self.begin_skip(header, rest, handler) {
                    Ok(0) => break Ok(()),
                    Ok(taken) => at += taken,
                    Err(end) => break Err(end),
                }
                continue;
            }
            let Some(packet) = rest.get(..header.packet_len()) else { break Ok(()) };
            if let Err(end) = self.handle_packet(packet, header.len, handler) {
                break Err(end);
            }
            at += packet.len();
        };
        buffer.consume(at);
        result
    }

    /// Handles a message that fills a grown buffer alone, and gives its payload to the handler. Returns whether there is one.
    fn handle_large(&mut self, buffer: &mut Buffer, handler: &mut dyn MessageHandler) -> Result<bool, ConnectionEnd> {
        let bytes = buffer.unhandled();
        let is_ready = !self.is_withheld && self.skipped.is_none() && self.deduplicator.is_some();
        if !is_ready || !buffer.is_large() || !handler.takes_large_messages() {
            return Ok(false);
        }
        let header = FixedHeader::decode(bytes)?.filter(|header| header.packet_len() == bytes.len());
        let Some(header) = header.filter(|header| header.packet_len() <= self.options.max_packet_size) else {
            return Ok(false);
        };
        let Inbound::Publish(message) = codec::decode(self.options.version, bytes[0], &bytes[header.len..])? else {
            return Ok(false);
        };
        if !self.is_new(&message) {
            return Ok(false);
        }
        let Publish { qos, retain, id, payload, .. } = message;
        let (topic, len) = (message.topic.to_owned(), payload.len());
        let message = LargeMessage { topic, qos, retain, id, payload: buffer.take_last(len) };
        let ack = handler.large_message(message, self.received);
        self.on_handled(ack, qos, retain, id);
        Ok(true)
    }

    fn handle_packet(
        &mut self,
        packet: &[u8],
        header_len: usize,
        handler: &mut dyn MessageHandler,
    ) -> Result<(), ConnectionEnd> {
        let (first, body) = (packet[0], &packet[header_len..]);
        let version = self.options.version;
        if self.deduplicator.is_none() {
            return self.handle_first(packet, first, body);
        }
        match codec::decode(version, first, body)? {
            Inbound::Publish(message) => self.publish(&message, handler),
            Inbound::Pubrel { id } => {
                lock(&self.options.unreleased).remove(&id);
                codec::put_acknowledgement(&mut self.acknowledgements, PacketType::Pubcomp, id);
            }
            Inbound::Puback(answer) => {
                self.puback(&answer)?;
                self.to_library.extend_from_slice(packet);
            }
            Inbound::Suback(answer) => {
                self.suback(&answer)?;
                self.to_library.extend_from_slice(packet);
            }
            Inbound::Pingresp => self.on_pingresp(),
            Inbound::Connack(_) => return Err(ProtocolError::new(PacketType::Connack, Fault::Repeated).into()),
            Inbound::Disconnect { reason, properties } => {
                return Err(ConnectionEnd::Disconnected(BrokerReason::new(reason, properties)));
            }
        }
        Ok(())
    }

    /// Handles the first packet, which must be a CONNACK [MQTT-3.2.0-1].
    fn handle_first(&mut self, packet: &[u8], first: u8, body: &[u8]) -> Result<(), ConnectionEnd> {
        let version = self.options.version;
        let is_connack = PacketType::of(first) == Some(PacketType::Connack);
        if version == Version::V5 && is_connack && codec::is_old_connack(body) {
            return Err(ConnectionEnd::Refused(BrokerReason::from(ReasonCode::UNSUPPORTED_PROTOCOL_VERSION)));
        }
        let Inbound::Connack(connack) = codec::decode(version, first, body)? else {
            let packet = PacketType::of(first).unwrap_or(PacketType::Connack);
            return Err(ProtocolError::new(packet, Fault::BeforeConnack).into());
        };
        if connack.reason != ReasonCode::SUCCESS {
            return Err(ConnectionEnd::Refused(BrokerReason::new(
                connack.reason.of_version(version),
                connack.properties,
            )));
        }
        let accepted = Accepted { session_present: connack.session_present, limits: limits(&connack) };
        self.round_trip = ActivityTimes::get(&self.connection.times.sent).elapsed();
        if !accepted.session_present {
            lock(&self.options.unreleased).clear();
        }
        if let Some(interval) = accepted.limits.server_keep_alive.filter(|interval| !interval.is_zero()) {
            self.connection.times.set_keepalive(interval);
        }
        self.deduplicator =
            Some(self.options.subscription.deduplicator(version, accepted.limits.subscription_identifiers));
        self.library.accept(packet);
        self.connection.gate.set_connected(true);
        (self.options.report)(RelayEvent::Accepted(accepted));
        Ok(())
    }

    /// Passes a message to the handler, unless it is a copy, and queues its acknowledgement.
    fn publish(&mut self, message: &Publish<'_>, handler: &mut dyn MessageHandler) {
        let ack = if self.is_new(message) { handler.message(message, self.received) } else { Ack::Send };
        self.on_handled(ack, message.qos, message.retain, message.id);
    }

    /// Returns whether a message is neither a copy that overlapping filters cause, nor a handled message of QoS 2.
    fn is_new(&self, message: &Publish<'_>) -> bool {
        let is_accepted = self.deduplicator.as_ref().is_none_or(|it| it.accepts(message.topic, message.properties));
        is_accepted && !(message.qos == 2 && lock(&self.options.unreleased).contains(&message.id))
    }

    /// Counts a message that was handled, and queues its acknowledgement.
    fn on_handled(&mut self, ack: Ack, qos: u8, retain: bool, id: u16) {
        if ack == Ack::Withhold {
            self.is_withheld = true;
            return;
        }
        self.messages += 1;
        if retain {
            self.connection.retained.fetch_add(1, Ordering::Relaxed);
        }
        self.acknowledge(qos, id);
    }

    fn acknowledge(&mut self, qos: u8, id: u16) {
        match qos {
            0 => {}
            1 => codec::put_acknowledgement(&mut self.acknowledgements, PacketType::Puback, id),
            _ => {
                lock(&self.options.unreleased).insert(id);
                codec::put_acknowledgement(&mut self.acknowledgements, PacketType::Pubrec, id);
            }
        }
    }

    fn puback(&mut self, answer: &codec::Acknowledgement<'_>) -> Result<(), ConnectionEnd> {
        let on_outcome = self.connection.requests().unacknowledged.remove(&answer.id);
        let on_outcome = on_outcome.ok_or_else(|| ProtocolError::new(PacketType::Puback, Fault::AnswersNoPublish))?;
        on_outcome(match answer.reason {
            ReasonCode::NO_MATCHING_SUBSCRIBERS => Published::NoMatchingSubscribers,
            reason if reason.is_refusal() => Published::Denied(BrokerReason::new(reason, answer.properties)),
            _ => Published::Accepted,
        });
        Ok(())
    }

    fn suback(&mut self, answer: &Suback<'_>) -> Result<(), ConnectionEnd> {
        let wrong = |fault| ProtocolError::new(PacketType::Suback, fault);
        let filter = self.connection.requests().subscribing.remove(&answer.id);
        let filter = filter.ok_or_else(|| wrong(Fault::AnswersNoSubscribe))?;
        // Each SUBSCRIBE has one filter.
        let [code] = answer.codes else {
            return Err(wrong(Fault::TooManyReturnCodes).into());
        };
        let reason = ReasonCode(*code);
        let granted = if reason.is_refusal() { Err(BrokerReason::new(reason, answer.properties)) } else { Ok(*code) };
        (self.options.report)(RelayEvent::Subscribed(Subscribed { filter, granted }));
        Ok(())
    }

    /// Begins to skip a packet that exceeds the size limit. MQTT 3.1.1 cannot announce the limit to the broker, so with it
    /// such a message is reported without its payload; any other packet is an error. Returns the number of bytes handled, or
    /// 0 if more bytes are needed.
    fn begin_skip(
        &mut self,
        header: FixedHeader,
        bytes: &[u8],
        handler: &mut dyn MessageHandler,
    ) -> Result<usize, ConnectionEnd> {
        let packet = PacketType::of(header.first).unwrap_or(PacketType::Publish);
        if self.options.version == Version::V5 || packet != PacketType::Publish || self.deduplicator.is_none() {
            return Err(ProtocolError::new(packet, Fault::TooLarge).into());
        }
        let taken = bytes.len().min(header.packet_len());
        let Some((topic, id)) = codec::publish_head(header.first, &bytes[header.len..taken])? else {
            let is_whole = taken == header.packet_len();
            return if is_whole { Err(ProtocolError::new(packet, Fault::EndsEarly).into()) } else { Ok(0) };
        };
        let (qos, retain) = (header.first >> 1 & 3, header.first & 1 == 1);
        let message = Publish { topic, qos, retain, id, properties: codec::Properties::default(), payload: &[] };
        let size = PacketSize { packet: header.packet_len(), limit: self.options.max_packet_size };
        if handler.oversized(&message, size, self.received) == Ack::Withhold {
            self.is_withheld = true;
            return Ok(0);
        }
        match header.packet_len() - taken {
            0 => self.acknowledge(qos, id),
            left => self.skipped = Some(Skipped { left, qos, id }),
        }
        Ok(taken)
    }

    /// Drops the bytes of a skipped message, and acknowledges it at its end.
    fn skip(&mut self, buffer: &mut Buffer) {
        let Some(skipped) = &mut self.skipped else { return };
        let dropped = skipped.left.min(buffer.unhandled().len());
        buffer.consume(dropped);
        skipped.left -= dropped;
        if let Some(Skipped { left: 0, qos, id }) = self.skipped {
            self.skipped = None;
            self.acknowledge(qos, id);
        }
    }

    /// Has the handler write the records, and then sends the acknowledgements.
    fn commit(&mut self, handler: &mut dyn MessageHandler) {
        if !self.to_library.is_empty() {
            self.library.send(&self.to_library);
            self.to_library.clear();
        }
        self.has_acknowledged = false;
        if handler.commit() == Ack::Withhold {
            self.is_withheld = true;
        } else if !self.acknowledgements.is_empty() {
            self.connection.send(&self.acknowledgements);
            self.has_acknowledged = true;
        }
        self.acknowledgements.clear();
        self.connection.messages.store(self.messages, Ordering::Relaxed);
    }

    /// Sends DISCONNECT with a reason to an MQTT 5 broker.
    fn disconnect(&self, reason: ReasonCode) {
        if self.options.version == Version::V5 && self.deduplicator.is_some() {
            self.connection.send(&[PacketType::Disconnect.first_byte(), 1, reason.0]);
            // Ignore errors: the broker finds the connection closed.
            let _ = self.connection.writer.flush(Instant::now());
        }
    }
}

/// Returns the size of the packet at the start of `bytes`, if its header is complete.
fn packet_len(bytes: &[u8]) -> Option<usize> {
    FixedHeader::decode(bytes).ok().flatten().map(|header| header.packet_len())
}

/// Returns the limits in a CONNACK's properties.
fn limits(connack: &Connack<'_>) -> BrokerLimits {
    let mut limits = BrokerLimits::default();
    for property in connack.properties.iter() {
        match property {
            Property::SessionExpiryInterval(seconds) => {
                limits.session_expiry = Some(Duration::from_secs(seconds.into()));
            }
            Property::AssignedClientIdentifier(id) => limits.assigned_client_id = Some(id.to_owned()),
            Property::ServerKeepAlive(seconds) => {
                limits.server_keep_alive = Some(Duration::from_secs(seconds.into()));
            }
            Property::ReceiveMaximum(count) => limits.receive_maximum = count,
            Property::MaximumQos(qos) => limits.maximum_qos = qos,
            Property::RetainAvailable(is_available) => limits.retain_available = is_available,
            Property::MaximumPacketSize(size) => limits.maximum_packet_size = Some(size),
            Property::WildcardSubscriptionAvailable(is_available) => limits.wildcard_subscriptions = is_available,
            Property::SubscriptionIdentifiersAvailable(is_available) => limits.subscription_identifiers = is_available,
            Property::SharedSubscriptionAvailable(is_available) => limits.shared_subscriptions = is_available,
            Property::SubscriptionIdentifier(_)
            | Property::ServerReference(_)
            | Property::ReasonString(_)
            | Property::Other => {}
        }
    }
    limits
}
