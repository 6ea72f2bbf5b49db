//! Encodes and decodes MQTT 3.1.1 and 5 packets. The program under test does not use this codec.
//!
//! It depends only on `std`, so that benches can include this file.

use std::fmt;
use std::io::{self, Read, Write};

pub(crate) const CONNECT: u8 = 0x10;
pub(crate) const CONNACK: u8 = 0x20;
pub(crate) const PUBLISH: u8 = 0x30;
pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const PUBREC: u8 = 0x50;
pub(crate) const PUBREL: u8 = 0x60;
pub(crate) const PUBCOMP: u8 = 0x70;
pub(crate) const SUBSCRIBE: u8 = 0x80;
pub(crate) const SUBACK: u8 = 0x90;
pub(crate) const UNSUBSCRIBE: u8 = 0xa0;
pub(crate) const UNSUBACK: u8 = 0xb0;
pub(crate) const PINGREQ: u8 = 0xc0;
pub(crate) const PINGRESP: u8 = 0xd0;
pub(crate) const DISCONNECT: u8 = 0xe0;
pub(crate) const AUTH: u8 = 0xf0;

/// The protocol level of MQTT 5 in a CONNECT.
const LEVEL_5: u8 = 5;

/// A Remaining Length has at most four bytes [MQTT 5, 2.1.4].
const MAX_LENGTH_BITS: u32 = 28;

/// Identifiers of MQTT 5 properties [MQTT 5, 2.2.2.2].
pub(crate) mod property {
    pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
    pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
    pub(crate) const CONTENT_TYPE: u8 = 0x03;
    pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
    pub(crate) const SUBSCRIPTION_ID: u8 = 0x0b;
    pub(crate) const SESSION_EXPIRY: u8 = 0x11;
    pub(crate) const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub(crate) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(crate) const SERVER_REFERENCE: u8 = 0x1c;
    pub(crate) const REASON_STRING: u8 = 0x1f;
    pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(crate) const TOPIC_ALIAS: u8 = 0x23;
    pub(crate) const MAXIMUM_QOS: u8 = 0x24;
    pub(crate) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(crate) const USER_PROPERTY: u8 = 0x26;
    pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub(crate) const WILDCARDS_AVAILABLE: u8 = 0x28;
    pub(crate) const SUBSCRIPTION_IDS_AVAILABLE: u8 = 0x29;
    pub(crate) const SHARED_AVAILABLE: u8 = 0x2a;
}

/// A version of MQTT. Displayed as `--mqtt-version` expects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V3_1_1,
    V5,
}

pub(crate) const VERSIONS: [Version; 2] = [Version::V5, Version::V3_1_1];

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3_1_1 => "3.1.1",
            Self::V5 => "5",
        })
    }
}

pub(crate) type PacketId = [u8; 2];

/// A packet: the first byte, and everything after the Remaining Length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) first: u8,
    pub(crate) body: Vec<u8>,
}

impl Packet {
    pub(crate) fn new(first: u8, body: impl Into<Vec<u8>>) -> Self {
        Self { first, body: body.into() }
    }

    /// Creates a CONNACK. `code` is a reason code of MQTT 5 or a return code of MQTT 3.1.1.
    pub(crate) fn connack(version: Version, session_present: bool, code: u8, properties: &Properties) -> Self {
        Self::new(CONNACK, [&[u8::from(session_present), code][..], &properties.encode(version)].concat())
    }

    pub(crate) fn suback(version: Version, id: PacketId, codes: &[u8], properties: &Properties) -> Self {
        Self::new(SUBACK, [&id[..], &properties.encode(version), codes].concat())
    }

    /// Creates a PUBACK. MQTT 3.1.1 has no reason codes.
    pub(crate) fn puback(version: Version, id: PacketId, reason: u8) -> Self {
        let reason = if version == Version::V5 && reason != 0 { &[reason][..] } else { &[] };
        Self::new(PUBACK, [&id[..], reason].concat())
    }

    /// Creates a DISCONNECT of MQTT 5.
    pub(crate) fn disconnect(reason: u8, properties: &Properties) -> Self {
        Self::new(DISCONNECT, [&[reason][..], &properties.encode(Version::V5)].concat())
    }

    pub(crate) fn kind(&self) -> u8 {
        self.first & 0xf0
    }

    /// Returns the packet identifier of a SUBSCRIBE or of an acknowledgement.
    pub(crate) fn id(&self) -> PacketId {
        [self.body[0], self.body[1]]
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        [&[self.first][..], &encode_varint(self.body.len()), &self.body].concat()
    }

    pub(crate) fn write(&self, mut to: impl Write) -> io::Result<()> {
        to.write_all(&self.encode())
    }

    pub(crate) fn read(mut from: impl Read) -> io::Result<Self> {
        let (mut header, mut byte) = (Vec::with_capacity(5), [0]);
        let (header_len, packet_len) = loop {
            from.read_exact(&mut byte)?;
            header.push(byte[0]);
            if let Some(lengths) = packet_lengths(&header)? {
                break lengths;
            }
        };
        let mut body = vec![0; packet_len - header_len];
        from.read_exact(&mut body)?;
        Ok(Self { first: header[0], body })
    }
}

/// Returns the lengths of the fixed header and of the packet at the start of `bytes`; `None` if the header is incomplete.
pub(crate) fn packet_lengths(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let (mut remaining, mut bits) = (0, 0);
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        remaining |= usize::from(byte & 0x7f) << bits;
        bits += 7;
        if byte & 0x80 == 0 {
            return Ok(Some((at + 1, at + 1 + remaining)));
        }
        if bits >= MAX_LENGTH_BITS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a Remaining Length of five bytes"));
        }
    }
    Ok(None)
}

/// The properties of an MQTT 5 packet, encoded without their length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Properties(Vec<u8>);

impl Properties {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn byte(mut self, id: u8, value: u8) -> Self {
        self.0.extend([id, value]);
        self
    }

    pub(crate) fn two_bytes(mut self, id: u8, value: u16) -> Self {
        self.0.push(id);
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn four_bytes(mut self, id: u8, value: u32) -> Self {
        self.0.push(id);
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn varint(mut self, id: u8, value: usize) -> Self {
        self.0.push(id);
        self.0.extend(encode_varint(value));
        self
    }

    pub(crate) fn text(mut self, id: u8, value: &str) -> Self {
        self.0.push(id);
        self.0.extend(string(value));
        self
    }

    /// Encodes the properties with their length in MQTT 5; returns no bytes in MQTT 3.1.1.
    pub(crate) fn encode(&self, version: Version) -> Vec<u8> {
        match version {
            Version::V3_1_1 => Vec::new(),
            Version::V5 => [encode_varint(self.0.len()), self.0.clone()].concat(),
        }
    }

    /// Returns the value of a numeric property.
    pub(crate) fn number(&self, searched: u8) -> Option<u32> {
        let (_, value) = self.entries().find(|(id, _)| *id == searched)?;
        Some(if searched == property::SUBSCRIPTION_ID {
            u32::try_from(Reader(value).varint()).expect("28 bits")
        } else {
            value.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
        })
    }

    fn entries(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut reader = Reader(&self.0);
        std::iter::from_fn(move || {
            let id = *reader.0.first()?;
            reader.take(1);
            let value = reader.0;
            let size = match id {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2a => 1,
                0x13 | 0x21..=0x23 => 2,
                0x02 | 0x11 | 0x18 | 0x27 => 4,
                0x0b => encode_varint(Reader(value).varint()).len(),
                0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => 2 + Reader(value).two_bytes(),
                0x26 => {
                    let name = 2 + Reader(value).two_bytes();
                    name + 2 + Reader(&value[name..]).two_bytes()
                }
                _ => panic!("{id:#x} is not a property of MQTT 5"),
            };
            Some((id, reader.take(size)))
        })
    }
}

/// A CONNECT packet.
#[derive(Debug, Clone)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    pub(crate) flags: u8,
    pub(crate) keep_alive: u16,
    pub(crate) properties: Properties,
    pub(crate) client_id: String,
    pub(crate) user_name: Option<String>,
    pub(crate) password: Option<Vec<u8>>,
}

impl Connect {
    /// Decodes a CONNECT. Panics unless it is well-formed and has no will: the program under test sends none.
    pub(crate) fn parse(packet: &Packet) -> Self {
        assert_eq!(packet.first, CONNECT, "a CONNECT");
        let mut reader = Reader(&packet.body);
        let protocol = reader.string();
        assert_eq!(protocol, "MQTT", "the protocol's name");
        let version = if reader.take(1) == [LEVEL_5] { Version::V5 } else { Version::V3_1_1 };
        let flags = reader.take(1)[0];
        assert_eq!(flags & 0x3d, 0, "no will and no reserved flag");
        let keep_alive = u16::try_from(reader.two_bytes()).expect("two bytes");
        let properties = reader.properties(version);
        let client_id = reader.string();
        let user_name = (flags & 0x80 != 0).then(|| reader.string());
        let password = (flags & 0x40 != 0).then(|| reader.binary().to_vec());
        assert!(reader.0.is_empty(), "nothing behind the payload");
        Self { version, flags, keep_alive, properties, client_id, user_name, password }
    }
}

/// One filter of a SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) text: String,
    pub(crate) qos: u8,
    /// The Subscription Identifier of its SUBSCRIBE.
    pub(crate) identifier: Option<u32>,
}

/// A SUBSCRIBE packet.
#[derive(Debug, Clone)]
pub(crate) struct Subscribe {
    pub(crate) id: PacketId,
    pub(crate) filters: Vec<Filter>,
}

impl Subscribe {
    /// Decodes a SUBSCRIBE. Panics unless it is well-formed.
    pub(crate) fn parse(version: Version, packet: &Packet) -> Self {
        assert_eq!(packet.first, SUBSCRIBE | 2, "a SUBSCRIBE");
        let mut reader = Reader(&packet.body);
        reader.take(2);
        let identifier = reader.properties(version).number(property::SUBSCRIPTION_ID);
        let mut filters = Vec::new();
        while !reader.0.is_empty() {
            let text = reader.string();
            filters.push(Filter { text, qos: reader.take(1)[0] & 3, identifier });
        }
        Self { id: packet.id(), filters }
    }
}

impl Filter {
    /// Returns whether a topic matches. Of a shared subscription, only the part after the group is compared.
    pub(crate) fn matches(&self, topic: &str) -> bool {
        let filter = self.text.strip_prefix("$share/").and_then(|rest| Some(rest.split_once('/')?.1));
        let mut levels = topic.split('/');
        for expected in filter.unwrap_or(&self.text).split('/') {
            match (expected, levels.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (expected, Some(level)) if expected == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

/// A message, published or received.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
}

impl Message {
    /// Creates a message with QoS 1 that is not retained.
    pub(crate) fn new(topic: &str, payload: impl AsRef<[u8]>) -> Self {
        Self { topic: topic.to_owned(), payload: payload.as_ref().to_vec(), qos: 1, retain: false }
    }

    pub(crate) fn retained(self) -> Self {
        Self { retain: true, ..self }
    }

    pub(crate) fn with_qos(self, qos: u8) -> Self {
        Self { qos, ..self }
    }

    /// Encodes the message as a PUBLISH of MQTT 3.1.1.
    pub(crate) fn packet(&self, id: PacketId) -> Packet {
        self.encode(Version::V3_1_1, id, &Properties::none())
    }

    /// Encodes the message as a PUBLISH. `id` is not used with QoS 0.
    pub(crate) fn encode(&self, version: Version, id: PacketId, properties: &Properties) -> Packet {
        let id = if self.qos > 0 { &id[..] } else { &[] };
        let body = [&string(&self.topic)[..], id, &properties.encode(version), &self.payload].concat();
        Packet::new(PUBLISH | self.qos << 1 | u8::from(self.retain), body)
    }

    /// Decodes a PUBLISH. Returns the message and its packet identifier.
    pub(crate) fn parse(version: Version, packet: &Packet) -> (Self, Option<PacketId>) {
        let qos = packet.first >> 1 & 3;
        let mut reader = Reader(&packet.body);
        let topic = reader.string();
        let id = (qos > 0).then(|| reader.take(2).try_into().expect("two bytes"));
        reader.properties(version);
        (Self { topic, payload: reader.0.to_vec(), qos, retain: packet.first & 1 == 1 }, id)
    }

    /// Decodes a PUBLISH of MQTT 3.1.1.
    pub(crate) fn of(packet: &Packet) -> (Self, Option<PacketId>) {
        Self::parse(Version::V3_1_1, packet)
    }
}

/// Encodes a UTF-8 string.
pub(crate) fn string(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

/// Encodes binary data: two bytes of length, then the data.
pub(crate) fn binary(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).expect("at most 65535 bytes").to_be_bytes()[..], bytes].concat()
}

/// Encodes a Variable Byte Integer.
pub(crate) fn encode_varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Reads fields from the front. Panics if a field is incomplete.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn two_bytes(&mut self) -> usize {
        let bytes = self.take(2);
        usize::from(bytes[0]) << 8 | usize::from(bytes[1])
    }

    fn varint(&mut self) -> usize {
        let mut number = 0;
        for bits in (0..MAX_LENGTH_BITS).step_by(7) {
            let byte = self.take(1)[0];
            number |= usize::from(byte & 0x7f) << bits;
            if byte & 0x80 == 0 {
                return number;
            }
        }
        panic!("a Variable Byte Integer of five bytes");
    }

    fn binary(&mut self) -> &'a [u8] {
        let length = self.two_bytes();
        self.take(length)
    }

    fn string(&mut self) -> String {
        String::from_utf8(self.binary().to_vec()).expect("MQTT strings are UTF-8")
    }

    fn properties(&mut self, version: Version) -> Properties {
        match version {
            Version::V3_1_1 => Properties::none(),
            Version::V5 => {
                let length = self.varint();
                Properties(self.take(length).to_vec())
            }
        }
    }
}

#[test]
fn a_written_packet_is_read_again() {
    for version in VERSIONS {
        for size in [0, 1, 100, 127, 128, 20_000] {
            let message = Message::new("a/b", vec![b'x'; size]);
            let properties =
                Properties::none().text(property::CONTENT_TYPE, "text").varint(property::SUBSCRIPTION_ID, 200);
            let packet = message.encode(version, [1, 2], &properties);
            let again = Packet::read(&packet.encode()[..]).expect("a whole packet");
            assert_eq!(again, packet);
            let (read, id) = Message::parse(version, &again);
            assert_eq!((read.topic.as_str(), read.payload.len(), id), ("a/b", size, Some([1, 2])));
            assert_eq!(properties.number(property::SUBSCRIPTION_ID), Some(200));
        }
    }
}

#[test]
fn a_filter_matches_as_in_the_standard() {
    // [MQTT 5, 4.7.1]
    for (filter, topic, matches) in [
        ("sport/#", "sport", true),
        ("sport/#", "sport/a/b", true),
        ("#", "a/b", true),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("a/+/c", "a/b/c", true),
        ("a/b", "a/b/c", false),
        ("$share/g/a/+", "a/b", true),
    ] {
        let filter = Filter { text: filter.to_owned(), qos: 0, identifier: None };
        assert_eq!(filter.matches(topic), matches, "{filter:?} and {topic}");
    }
}
