//! Minimal clients, which do little more than use a socket. They are upper bounds for any program. The bench runs itself as
//! each of them.

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Result, ensure};

use crate::broker::{request, subscribe};
use crate::mqtt::{Message, PUBACK, PUBLISH, Packet, Properties, Version, packet_lengths};

/// The number of bytes per read.
const CAPACITY: usize = 128 * 1024;

/// The topics of all events.
pub(crate) const EVENTS: &str = "/rtcomm/event/#";

/// Receives `count` messages with QoS 0, and only finds where each packet ends.
pub(crate) fn frame(port: u16, count: u32) -> Result<()> {
    let mut frames = Frames::new(subscribe(port, "raw", EVENTS, 0)?);
    let mut received = 0;
    while received < count {
        received += frames.read(|_| ())?;
    }
    Ok(())
}

/// Receives `len` bytes of messages with QoS 0, and drops them.
pub(crate) fn discard(port: u16, len: usize) -> Result<()> {
    let mut stream = subscribe(port, "raw", EVENTS, 0)?;
    let (mut buffer, mut received) = (vec![0; CAPACITY], 0);
    while received < len {
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "the broker closed the connection after {received} of {len} bytes");
        received += read;
    }
    Ok(())
}

/// Receives `count` messages with QoS 1, and acknowledges each of them in a separate write.
pub(crate) fn acknowledge(port: u16, count: u32) -> Result<()> {
    let stream = subscribe(port, "raw", EVENTS, 1)?;
    let mut frames = Frames::new(stream.try_clone()?);
    let (mut received, mut written) = (0, Ok(()));
    while received < count {
        received += frames.read(|packet| {
            if written.is_ok() {
                written = acknowledge_one(&stream, packet);
            }
        })?;
    }
    written
}

fn acknowledge_one(stream: &TcpStream, packet: &[u8]) -> Result<()> {
    let (header_len, _) = packet_lengths(packet)?.unwrap_or_default();
    let body = &packet[header_len..];
    let topic_len = usize::from(body[0]) << 8 | usize::from(body[1]);
    let id = &body[2 + topic_len..][..2];
    Ok((&*stream).write_all(&[PUBACK, 2, id[0], id[1]])?)
}

/// Reads packets into one buffer.
struct Frames {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The length of the incomplete packet in the buffer.
    len: usize,
}

impl Frames {
    fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: vec![0; CAPACITY], len: 0 }
    }

    /// Reads once. Returns the number of complete packets.
    fn read(&mut self, mut each: impl FnMut(&[u8])) -> Result<u32> {
        let read = self.stream.read(&mut self.buffer[self.len..])?;
        ensure!(read > 0, "the broker closed the connection");
        let bytes = &self.buffer[..self.len + read];
        let (mut start, mut packets) = (0, 0);
        while let Some((_, packet_len)) = packet_lengths(&bytes[start..bytes.len().min(start + 5)])?
            && let Some(packet) = bytes.get(start..start + packet_len)
        {
            each(packet);
            start += packet_len;
            packets += 1;
        }
        let end = bytes.len();
        self.buffer.copy_within(start..end, 0);
        self.len = end - start;
        Ok(packets)
    }
}

/// Places `count` calls with QoS 0, of which up to `jobs` wait for their replies.
pub(crate) fn call(port: u16, jobs: u32, count: u32) -> Result<()> {
    const REPLIES: &str = "/rtcomm/reply/raw";
    let stream = subscribe(port, "raw", REPLIES, 0)?;
    let mut reader = BufReader::with_capacity(CAPACITY, &stream);
    let (mut placed, mut answered, mut requests) = (0, 0, Vec::new());
    while answered < count {
        while placed < count && placed - answered < jobs {
            let message = Message::new("/rtcomm/callControl", request(placed, REPLIES)).with_qos(0);
            requests.extend(message.encode(Version::V3_1_1, [0, 0], &Properties::none()).encode());
            placed += 1;
        }
        (&stream).write_all(&requests)?;
        requests.clear();
        // Send the next requests when all replies of a read are counted.
        loop {
            answered += u32::from(Packet::read(&mut reader)?.kind() == PUBLISH);
            if reader.buffer().is_empty() {
                break;
            }
        }
    }
    Ok(())
}
