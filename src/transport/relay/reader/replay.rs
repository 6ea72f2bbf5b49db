//! Feeds arbitrary bytes to the reader, for the fuzz target and its tests.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::{
    Ack, Buffer, LibraryAnswers, MessageHandler, PacketSize, Publish, Reader, RelayOptions, RelayedConnection, Version,
    packet_len,
};
use crate::protocol::topic::TopicFilter;
use crate::transport::stream::BrokerStream;
use crate::transport::subscription::Subscription;

/// The packet identifiers of pending publications and SUBSCRIBEs.
const PUBLICATIONS: [u16; 2] = [1, 2];
const SUBSCRIPTIONS: [u16; 2] = [3, 4];

/// What the reader did with the input.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// The handled messages: topic, QoS and payload. A message that exceeds the size limit has no payload.
    pub messages: Vec<(String, u8, Option<Vec<u8>>)>,
    /// The packets sent to the broker.
    pub acknowledgements: Vec<u8>,
    /// The packets forwarded to the library, except the CONNACK.
    pub to_library: Vec<u8>,
    /// The relay's events and the outcomes of publications.
    pub events: Vec<String>,
    /// Why the connection ended, if it ended.
    pub end: Option<String>,
}

/// Handles each of `pieces` as the result of one read, until the connection ends.
///
/// # Errors
/// If no socket can be created.
pub(crate) fn replay<'a>(
    version: Version,
    max_packet_size: usize,
    filters: &[TopicFilter],
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> io::Result<Replayed> {
    let (reported, events) = channel();
    let subscription =
        Subscription { filters: filters.to_vec(), qos: 2, listing: None, group: None, allow_partial: true };
    let report = reported.clone();
    let options = RelayOptions {
        version,
        keepalive: Duration::from_mins(1),
        max_packet_size,
        subscription: Arc::new(subscription),
        handler: Arc::new(Mutex::new(Replayed::default())),
        gate: Arc::default(),
        unreleased: Arc::default(),
        acknowledges_at_once: false,
        report: Box::new(move |event| drop(report.send(format!("{event:?}")))),
    };
    let (stream, writer) = BrokerStream::plain(closed_socket()?, None).split();
    let connection = Arc::new(RelayedConnection::new(writer, &options));
    let mut requests = connection.requests();
    for id in PUBLICATIONS {
        let reported = reported.clone();
        let on_outcome = move |published| drop(reported.send(format!("{id}: {published:?}")));
        requests.unacknowledged.insert(id, Box::new(on_outcome));
    }
    requests.subscribing.extend(SUBSCRIPTIONS.map(|id| (id, format!("filter/{id}"))));
    drop(requests);
    let library = Arc::new(LibraryAnswers::new(version, closed_socket()?));
    let mut reader = Reader::new(connection, library, stream, options);
    let (mut buffer, mut replayed) = (Buffer::new(), Replayed::default());
    for mut piece in pieces {
        while !piece.is_empty() && replayed.end.is_none() {
            fill(&mut buffer, &mut piece);
            let handled = reader.handle(&mut buffer, &mut replayed);
            replayed.acknowledgements.extend_from_slice(&reader.acknowledgements);
            replayed.to_library.extend_from_slice(&reader.to_library);
            reader.commit(&mut replayed);
            replayed.end = handled.err().map(|end| format!("{end:?}"));
        }
    }
    drop((reader, reported));
    replayed.events = events.iter().collect();
    Ok(replayed)
}

/// Copies as many bytes into the buffer as a read would.
fn fill(buffer: &mut Buffer, piece: &mut &[u8]) {
    let room = buffer.room(packet_len(buffer.unhandled()));
    let (now, later) = piece.split_at(piece.len().min(room.len()));
    room[..now.len()].copy_from_slice(now);
    buffer.fill(now.len());
    *piece = later;
}

/// Returns a socket whose peer is closed, so that sending never blocks.
fn closed_socket() -> io::Result<TcpStream> {
    let (socket, _peer) = UnixStream::pair()?;
    Ok(OwnedFd::from(socket).into())
}

impl MessageHandler for Replayed {
    fn message(&mut self, message: &Publish<'_>, _received: Timestamp) -> Ack {
        self.messages.push((message.topic.to_owned(), message.qos, Some(message.payload.to_vec())));
        Ack::Send
    }

    fn oversized(&mut self, message: &Publish<'_>, _size: PacketSize, _received: Timestamp) -> Ack {
        self.messages.push((message.topic.to_owned(), message.qos, None));
        Ack::Send
    }

    fn commit(&mut self) -> Ack {
        Ack::Send
    }
}
