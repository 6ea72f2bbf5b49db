//! The part of MQTT that a well-behaved peer on loopback needs: 3.1.1 and 5, without TLS.

use std::io::{self, Read};

pub(crate) const CONNECT: u8 = 1;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const SUBSCRIBE: u8 = 8;
pub(crate) const SUBACK: u8 = 9;
pub(crate) const PINGREQ: u8 = 12;
pub(crate) const DISCONNECT: u8 = 14;

pub(crate) const PINGRESP: [u8; 2] = [0xd0, 0];

/// The protocol level of MQTT 5 in a CONNECT.
const LEVEL_5: u8 = 5;

/// A packet as it stands in the reader's buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet<'a> {
    pub(crate) kind: u8,
    pub(crate) body: &'a [u8],
}

/// Cuts a stream into packets.
pub(crate) struct Packets<R> {
    inner: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> Packets<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, buffer: vec![0; 256 * 1024], start: 0, end: 0 }
    }

    /// Whether a whole packet has been read already.
    pub(crate) fn has_next(&self) -> bool {
        extent(&self.buffer[self.start..self.end]).is_some()
    }

    /// Waits for the next packet; `None` if the peer has closed.
    pub(crate) fn next(&mut self) -> io::Result<Option<Packet<'_>>> {
        let (head, size) = loop {
            if let Some(extent) = extent(&self.buffer[self.start..self.end]) {
                break extent;
            }
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end == self.buffer.len() {
                self.buffer.resize(2 * self.end, 0);
            }
            match self.inner.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(None),
                Ok(n) => self.end += n,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error),
            }
        };
        let packet = &self.buffer[self.start..self.start + size];
        self.start += size;
        Ok(Some(Packet { kind: packet[0] >> 4, body: &packet[head..] }))
    }
}

/// Length of the fixed header and of the whole packet at the beginning of `bytes`; `None` if it is incomplete.
fn extent(bytes: &[u8]) -> Option<(usize, usize)> {
    let (length, size) = varint(bytes.get(1..)?)?;
    let whole = 1 + size + length;
    (bytes.len() >= whole).then_some((1 + size, whole))
}

/// A number in MQTT's variable length, and how many bytes it takes.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut number = 0;
    for (i, byte) in bytes.iter().take(4).enumerate() {
        number |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((number, i + 1));
        }
    }
    None
}

fn push_varint(out: &mut Vec<u8>, mut number: usize) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(length(text));
    out.extend_from_slice(text);
}

fn length(text: &[u8]) -> [u8; 2] {
    u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes()
}

fn number(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.first_chunk()?))
}

/// What a CONNECT says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connect {
    pub(crate) is_v5: bool,
    /// How many messages of QoS 1 may be unacknowledged.
    pub(crate) receive_maximum: usize,
}

impl Connect {
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let name = usize::from(number(body)?);
        let level = *body.get(2 + name)?;
        // Level, flags and keepalive come before the properties.
        let is_v5 = level >= LEVEL_5;
        let maximum = if is_v5 { receive_maximum(body.get(2 + name + 4..)?) } else { None };
        Some(Self { is_v5, receive_maximum: maximum.unwrap_or(u16::MAX).into() })
    }

    pub(crate) fn connack(self) -> &'static [u8] {
        if self.is_v5 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] }
    }
}

/// Finds the Receive Maximum among a CONNECT's properties.
fn receive_maximum(bytes: &[u8]) -> Option<u16> {
    let (size, head) = varint(bytes)?;
    let mut left = bytes.get(head..head + size)?;
    while let Some((&property, value)) = left.split_first() {
        let text = |at: usize| value.get(at..).and_then(number).map(|size| at + 2 + usize::from(size));
        let size = match property {
            0x21 => return number(value),
            0x11 | 0x27 => 4,
            0x22 => 2,
            0x17 | 0x19 => 1,
            0x15 | 0x16 => text(0)?,
            0x26 => text(text(0)?)?,
            _ => return None,
        };
        left = value.get(size..)?;
    }
    None
}

/// Grants a SUBSCRIBE; with the answer comes the highest quality of service that was asked for, 1 at the most.
pub(crate) fn suback(is_v5: bool, body: &[u8]) -> Option<(Vec<u8>, u8)> {
    let mut left = body.get(2..)?;
    if is_v5 {
        let (size, head) = varint(left)?;
        left = left.get(head + size..)?;
    }
    let mut codes = Vec::new();
    while !left.is_empty() {
        let end = 2 + usize::from(number(left)?);
        codes.push((left.get(end)? & 3).min(1));
        left = &left[end + 1..];
    }
    let mut answer = body[..2].to_vec();
    answer.extend(is_v5.then_some(0));
    answer.extend_from_slice(&codes);
    let mut packet = vec![SUBACK << 4];
    push_varint(&mut packet, answer.len());
    packet.extend(answer);
    Some((packet, codes.into_iter().max()?))
}

/// Appends a PUBLISH, with a packet identifier at QoS 1.
pub(crate) fn push_publish(out: &mut Vec<u8>, is_v5: bool, id: Option<u16>, topic: &str, payload: &[u8]) {
    out.push(PUBLISH << 4 | if id.is_some() { 1 << 1 } else { 0 });
    let size = 2 + topic.len() + if id.is_some() { 2 } else { 0 } + usize::from(is_v5) + payload.len();
    push_varint(out, size);
    push_text(out, topic.as_bytes());
    out.extend(id.into_iter().flat_map(u16::to_be_bytes));
    out.extend(is_v5.then_some(0));
    out.extend_from_slice(payload);
}

/// The payload of a PUBLISH of MQTT 3.1.1 and QoS 0.
pub(crate) fn payload(packet: Packet<'_>) -> Option<&[u8]> {
    packet.body.get(2 + usize::from(number(packet.body)?)..)
}

/// A CONNECT of MQTT 3.1.1 with a clean session and no keepalive.
pub(crate) fn connect(client_id: &str) -> Vec<u8> {
    let mut body = b"\0\x04MQTT\x04\x02\0\0".to_vec();
    push_text(&mut body, client_id.as_bytes());
    with_head(CONNECT << 4, &body)
}

/// A SUBSCRIBE of MQTT 3.1.1.
pub(crate) fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1];
    push_text(&mut body, filter.as_bytes());
    body.push(qos);
    with_head(SUBSCRIBE << 4 | 2, &body)
}

fn with_head(head: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![head];
    push_varint(&mut packet, body.len());
    packet.extend_from_slice(body);
    packet
}
