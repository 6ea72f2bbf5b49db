//! Decodes MQTT 3.1.1 and 5 control packets in place, and validates them completely.
//!
//! The broker is not trusted: a packet that [`decode`] accepts is well-formed, is one that a server may send, and is safe
//! for a library that does not validate.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | fixed header, packets of a server, our acknowledgements |
//! | `fault` | what is wrong with a packet |
//! | `properties` | MQTT 5 properties (MQTT 5, 2.2.2) |
//! | `reason` | reason codes and their names (MQTT 5, 2.4) |

mod fault;
mod properties;
mod reason;
#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use fault::{Fault, ProtocolError};
pub(crate) use properties::{Properties, Property};
pub(crate) use reason::ReasonCode;

/// The continuation bit of a variable byte integer (MQTT 5, 1.5.5).
const CONTINUES: u8 = 0x80;

/// The maximum length of a variable byte integer, in bytes.
const MAX_LENGTH_BYTES: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V311,
    V5,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5",
        })
    }
}

/// The type of a control packet (MQTT 5, 2.1.2): the upper half of its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PacketType {
    Connect = 1,
    Connack,
    Publish,
    Puback,
    Pubrec,
    Pubrel,
    Pubcomp,
    Subscribe,
    Suback,
    Unsubscribe,
    Unsuback,
    Pingreq,
    Pingresp,
    Disconnect,
    Auth,
}

impl PacketType {
    const ALL: [Self; 15] = [
        Self::Connect,
        Self::Connack,
        Self::Publish,
        Self::Puback,
        Self::Pubrec,
        Self::Pubrel,
        Self::Pubcomp,
        Self::Subscribe,
        Self::Suback,
        Self::Unsubscribe,
        Self::Unsuback,
        Self::Pingreq,
        Self::Pingresp,
        Self::Disconnect,
        Self::Auth,
    ];

    /// Returns the type in a packet's first byte; `None` for the reserved type 0.
    pub(crate) fn of(first: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| *it as u8 == first >> 4)
    }

    /// Returns the first byte of a packet of this type with the fixed flags (MQTT 5, 2.1.3).
    pub(crate) const fn first_byte(self) -> u8 {
        let flags = match self {
            Self::Pubrel | Self::Subscribe | Self::Unsubscribe => 2,
            _ => 0,
        };
        (self as u8) << 4 | flags
    }
}

impl fmt::Display for PacketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "CONNECT",
            Self::Connack => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::Puback => "PUBACK",
            Self::Pubrec => "PUBREC",
            Self::Pubrel => "PUBREL",
            Self::Pubcomp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::Suback => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::Unsuback => "UNSUBACK",
            Self::Pingreq => "PINGREQ",
            Self::Pingresp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        })
    }
}

/// The fixed header of a packet (MQTT 5, 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FixedHeader {
    /// Type and flags.
    pub(crate) first: u8,
    /// The size of this header in bytes: 2 to 5.
    pub(crate) len: usize,
    /// The number of bytes after the header.
    pub(crate) remaining: usize,
}

impl FixedHeader {
    /// Decodes the header at the start of `bytes`. Returns `None` if more bytes are needed.
    ///
    /// # Errors
    /// If the type is the reserved 0, or the length takes more than 4 bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let Some((&first, mut rest)) = bytes.split_first() else { return Ok(None) };
        let Some(packet) = PacketType::of(first) else {
            return Err(ProtocolError::ReservedType);
        };
        let before = rest.len();
        match take_length(&mut rest) {
            Ok(remaining) => Ok(Some(Self { first, len: 1 + before - rest.len(), remaining })),
            Err(_) if before < MAX_LENGTH_BYTES => Ok(None),
            Err(_) => Err(ProtocolError::new(packet, Fault::LengthTooLong)),
        }
    }

    /// Returns the size of the whole packet in bytes.
    pub(crate) fn packet_len(&self) -> usize {
        self.len + self.remaining
    }
}

/// Takes the next `N` bytes.
pub(crate) fn take_array<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], Fault> {
    let (array, rest) = from.split_first_chunk().ok_or(Fault::EndsEarly)?;
    *from = rest;
    Ok(*array)
}

/// Takes the next `len` bytes.
pub(crate) fn take<'a>(from: &mut &'a [u8], len: usize) -> Result<&'a [u8], Fault> {
    let (taken, rest) = from.split_at_checked(len).ok_or(Fault::EndsEarly)?;
    *from = rest;
    Ok(taken)
}

/// Takes binary data: a length of two bytes, then the bytes (MQTT 5, 1.5.6).
pub(crate) fn take_binary<'a>(from: &mut &'a [u8]) -> Result<&'a [u8], Fault> {
    let len = u16::from_be_bytes(take_array(from)?);
    take(from, len.into())
}

/// Takes a string: UTF-8 without NUL [MQTT-1.5.4-1] [MQTT-1.5.4-2].
pub(crate) fn take_string<'a>(from: &mut &'a [u8]) -> Result<&'a str, Fault> {
    let text = std::str::from_utf8(take_binary(from)?).map_err(|_| Fault::StringNotUtf8)?;
    if memchr::memchr(0, text.as_bytes()).is_some() { Err(Fault::NulInString) } else { Ok(text) }
}

/// Takes a variable byte integer: 0 to 268,435,455 (MQTT 5, 1.5.5).
pub(crate) fn take_length(from: &mut &[u8]) -> Result<usize, Fault> {
    let mut length = 0;
    for (at, byte) in from.iter().take(MAX_LENGTH_BYTES).enumerate() {
        length |= usize::from(byte & !CONTINUES) << (7 * at);
        if byte & CONTINUES == 0 {
            *from = &from[at + 1..];
            return Ok(length);
        }
    }
    Err(Fault::InvalidLength)
}

/// Takes a packet's properties as bytes: a variable byte integer with their length, then the bytes.
pub(crate) fn take_properties<'a>(from: &mut &'a [u8]) -> Result<&'a [u8], Fault> {
    let len = take_length(from)?;
    take(from, len).map_err(|_| Fault::PropertiesTooLong)
}

/// Appends binary data: a length of two bytes, then the bytes. Data beyond 65,535 bytes is cut, so callers check the size.
pub(crate) fn put_binary(to: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    to.extend(len.to_be_bytes());
    to.extend(&bytes[..len.into()]);
}

/// Appends a variable byte integer.
pub(crate) fn put_length(to: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = length.to_le_bytes()[0] & !CONTINUES;
        length >>= 7;
        if length == 0 {
            return to.push(low);
        }
        to.push(low | CONTINUES);
    }
}

/// Appends an acknowledgement of success: PUBACK, PUBREC or PUBCOMP.
pub(crate) fn put_acknowledgement(to: &mut Vec<u8>, packet: PacketType, id: u16) {
    to.extend([packet.first_byte(), 2]);
    to.extend(id.to_be_bytes());
}

/// Returns a CONNACK that accepts, without a session and without properties.
pub(crate) fn plain_connack(version: Version) -> &'static [u8] {
    match version {
        Version::V311 => &[0x20, 2, 0, 0],
        Version::V5 => &[0x20, 3, 0, 0, 0],
    }
}

/// Returns a SUBACK that refuses one filter.
pub(crate) fn failed_suback(version: Version, id: u16) -> Vec<u8> {
    let mut packet = vec![PacketType::Suback.first_byte()];
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    put_length(&mut packet, 2 + properties.len() + 1);
    packet.extend(id.to_be_bytes());
    packet.extend(properties);
    packet.push(ReasonCode::UNSPECIFIED.0);
    packet
}

pub(crate) const PINGRESP: [u8; 2] = [PacketType::Pingresp.first_byte(), 0];

pub(crate) const PINGREQ: [u8; 2] = [PacketType::Pingreq.first_byte(), 0];

/// A packet that a server may send to a client that publishes with QoS 0 or 1 and never unsubscribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inbound<'a> {
    Connack(Connack<'a>),
    Publish(Publish<'a>),
    Puback(Acknowledgement<'a>),
    Pubrel { id: u16 },
    Suback(Suback<'a>),
    Pingresp,
    Disconnect { reason: ReasonCode, properties: Properties<'a> },
}

/// A CONNACK: the answer to a CONNECT (MQTT 5, 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connack<'a> {
    pub(crate) session_present: bool,
    /// With MQTT 3.1.1, its return code: 0 to 5 (MQTT 3.1.1, 3.2.2.3).
    pub(crate) reason: ReasonCode,
    /// Empty with MQTT 3.1.1.
    pub(crate) properties: Properties<'a>,
}

/// A PUBLISH: a message (MQTT 5, 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    pub(crate) topic: &'a str,
    /// 0, 1 or 2.
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// The packet identifier: 0 with QoS 0, else 1 to 65,535.
    pub(crate) id: u16,
    /// Empty with MQTT 3.1.1.
    pub(crate) properties: Properties<'a>,
    pub(crate) payload: &'a [u8],
}

/// A PUBACK: the answer to a publication with QoS 1 (MQTT 5, 3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Acknowledgement<'a> {
    pub(crate) id: u16,
    pub(crate) reason: ReasonCode,
    pub(crate) properties: Properties<'a>,
}

/// A SUBACK: the answer to a SUBSCRIBE (MQTT 5, 3.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Suback<'a> {
    pub(crate) id: u16,
    pub(crate) properties: Properties<'a>,
    /// One reason code per filter, at least one. The return codes of MQTT 3.1.1 have the same meaning.
    pub(crate) codes: &'a [u8],
}

/// Decodes and validates a server's packet. `first` is its first byte, `body` everything after the fixed header.
///
/// # Errors
/// If the packet is malformed, or a server may not send it to us.
pub(crate) fn decode(version: Version, first: u8, body: &[u8]) -> Result<Inbound<'_>, ProtocolError> {
    let Some(packet) = PacketType::of(first) else {
        return Err(ProtocolError::ReservedType);
    };
    let wrong = |fault| Err(ProtocolError::new(packet, fault));
    if packet != PacketType::Publish && first != packet.first_byte() {
        return wrong(Fault::WrongFlags);
    }
    let malformed = |fault| ProtocolError::new(packet, fault);
    match packet {
        PacketType::Publish => publish(version, first, body).map_err(malformed).map(Inbound::Publish),
        PacketType::Connack => connack(version, body).map_err(malformed).map(Inbound::Connack),
        PacketType::Puback => acknowledgement(version, packet, body).map_err(malformed).map(Inbound::Puback),
        PacketType::Pubrel => {
            acknowledgement(version, packet, body).map_err(malformed).map(|pubrel| Inbound::Pubrel { id: pubrel.id })
        }
        PacketType::Suback => suback(version, body).map_err(malformed).map(Inbound::Suback),
        PacketType::Pingresp if body.is_empty() => Ok(Inbound::Pingresp),
        PacketType::Pingresp => wrong(Fault::NotEmpty),
        PacketType::Disconnect if version == Version::V5 => disconnect(body).map_err(malformed),
        PacketType::Disconnect | PacketType::Connect | PacketType::Subscribe => wrong(Fault::ClientOnly),
        PacketType::Unsubscribe | PacketType::Pingreq => wrong(Fault::ClientOnly),
        PacketType::Pubrec | PacketType::Pubcomp => wrong(Fault::NoQos2Publication),
        PacketType::Unsuback => wrong(Fault::AnswersNoUnsubscribe),
        PacketType::Auth if version == Version::V5 => wrong(Fault::NoAuthenticationMethod),
        PacketType::Auth => wrong(Fault::NotInMqtt311),
    }
}

fn connack(version: Version, mut body: &[u8]) -> Result<Connack<'_>, Fault> {
    let [flags, code] = take_array(&mut body)?;
    if flags > 1 {
        return Err(Fault::ReservedFlags);
    }
    let properties = match version {
        Version::V5 => Properties::decode(PacketType::Connack, &mut body)?,
        Version::V311 => Properties::default(),
    };
    if !body.is_empty() {
        return Err(Fault::TooLong);
    }
    let reason = match version {
        Version::V5 => ReasonCode::checked(PacketType::Connack, code)?,
        Version::V311 if code <= 5 => ReasonCode(code),
        Version::V311 => return Err(Fault::ReservedReturnCode),
    };
    // [MQTT-3.2.2-6]
    if flags == 1 && code != 0 {
        return Err(Fault::RefusedWithSession);
    }
    Ok(Connack { session_present: flags == 1, reason, properties })
}

/// Returns whether a CONNACK's body refuses the connection as in MQTT 3.1.1. Brokers without MQTT 5 support answer so.
pub(crate) fn is_old_connack(body: &[u8]) -> bool {
    matches!(body, [0, 1..=5])
}

fn publish(version: Version, first: u8, mut body: &[u8]) -> Result<Publish<'_>, Fault> {
    let (qos, retain) = (first >> 1 & 3, first & 1 == 1);
    if qos == 3 {
        return Err(Fault::Qos3);
    }
    if first & 0x08 != 0 && qos == 0 {
        // [MQTT-3.3.1-2]
        return Err(Fault::DuplicateWithQos0);
    }
    let topic = topic_name(&mut body)?;
    let id = if qos > 0 { packet_identifier(&mut body)? } else { 0 };
    let properties = match version {
        Version::V5 => Properties::decode(PacketType::Publish, &mut body)?,
        Version::V311 => Properties::default(),
    };
    Ok(Publish { topic, qos, retain, id, properties, payload: body })
}

/// Takes the topic of a PUBLISH. It must not be empty, because we allow no topic aliases, nor contain wildcards
/// [MQTT-3.3.2-2].
fn topic_name<'a>(body: &mut &'a [u8]) -> Result<&'a str, Fault> {
    let bytes = take_binary(body)?;
    let topic = std::str::from_utf8(bytes).map_err(|_| Fault::TopicNotUtf8)?;
    if memchr::memchr3(0, b'+', b'#', bytes).is_some() {
        let has_nul = memchr::memchr(0, bytes).is_some();
        return Err(if has_nul { Fault::NulInTopic } else { Fault::WildcardInTopic });
    }
    if topic.is_empty() { Err(Fault::NoTopic) } else { Ok(topic) }
}

/// Decodes topic and packet identifier of an incomplete PUBLISH. Returns `None` if more bytes are needed.
///
/// # Errors
/// If [`decode`] would reject the topic or the packet identifier.
pub(crate) fn publish_head(first: u8, body: &[u8]) -> Result<Option<(&str, u16)>, ProtocolError> {
    let qos = first >> 1 & 3;
    let topic_len = match body.first_chunk() {
        Some(len) => usize::from(u16::from_be_bytes(*len)),
        None => return Ok(None),
    };
    let id_len = if qos > 0 { 2 } else { 0 };
    if body.len() < 2 + topic_len + id_len {
        return Ok(None);
    }
    let mut rest = body;
    let head = topic_name(&mut rest).and_then(|topic| match qos {
        0 => Ok((topic, 0)),
        1 | 2 => packet_identifier(&mut rest).map(|id| (topic, id)),
        _ => Err(Fault::Qos3),
    });
    head.map(Some).map_err(|fault| ProtocolError::new(PacketType::Publish, fault))
}

/// Takes a packet identifier, which is never 0 [MQTT-2.2.1-3].
fn packet_identifier(body: &mut &[u8]) -> Result<u16, Fault> {
    match u16::from_be_bytes(take_array(body)?) {
        0 => Err(Fault::PacketIdentifierZero),
        id => Ok(id),
    }
}

fn acknowledgement(version: Version, packet: PacketType, mut body: &[u8]) -> Result<Acknowledgement<'_>, Fault> {
    let id = packet_identifier(&mut body)?;
    let (mut reason, mut properties) = (ReasonCode::SUCCESS, Properties::default());
    if version == Version::V5 && !body.is_empty() {
        let [code] = take_array(&mut body)?;
        reason = ReasonCode::checked(packet, code)?;
        // The property length may be omitted if there are no properties (MQTT 5, 3.4.2.2.1).
        if !body.is_empty() {
            properties = Properties::decode(packet, &mut body)?;
        }
    }
    if body.is_empty() { Ok(Acknowledgement { id, reason, properties }) } else { Err(Fault::TooLong) }
}

fn suback(version: Version, mut body: &[u8]) -> Result<Suback<'_>, Fault> {
    let id = packet_identifier(&mut body)?;
    let properties = match version {
        Version::V5 => Properties::decode(PacketType::Suback, &mut body)?,
        Version::V311 => Properties::default(),
    };
    if body.is_empty() {
        return Err(Fault::NoReturnCodes);
    }
    for code in body {
        match version {
            Version::V5 => drop(ReasonCode::checked(PacketType::Suback, *code)?),
            // [MQTT-3.9.3-2]
            Version::V311 if matches!(code, 0..=2 | 0x80) => {}
            Version::V311 => return Err(Fault::ReservedReturnCode),
        }
    }
    Ok(Suback { id, properties, codes: body })
}

fn disconnect(mut body: &[u8]) -> Result<Inbound<'_>, Fault> {
    let (mut reason, mut properties) = (ReasonCode::SUCCESS, Properties::default());
    if !body.is_empty() {
        let [code] = take_array(&mut body)?;
        reason = ReasonCode::checked(PacketType::Disconnect, code)?;
        if !body.is_empty() {
            properties = Properties::decode(PacketType::Disconnect, &mut body)?;
        }
    }
    if body.is_empty() { Ok(Inbound::Disconnect { reason, properties }) } else { Err(Fault::TooLong) }
}
