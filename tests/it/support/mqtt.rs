//! As much MQTT 3.1.1 as it takes to publish any bytes and to answer requests, written down from the standard: the peers
//! of the program under test must not share its MQTT library.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};

use super::PATIENCE;

pub(crate) const CONNECT: u8 = 0x10;
pub(crate) const CONNACK: u8 = 0x20;
pub(crate) const PUBLISH: u8 = 0x30;
pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const SUBSCRIBE: u8 = 0x80;
pub(crate) const SUBACK: u8 = 0x90;
pub(crate) const PINGREQ: u8 = 0xc0;
pub(crate) const PINGRESP: u8 = 0xd0;
pub(crate) const DISCONNECT: u8 = 0xe0;

/// One packet: the first byte, and what follows the remaining length.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) first: u8,
    pub(crate) body: Vec<u8>,
}

impl Packet {
    pub(crate) fn new(first: u8, body: impl Into<Vec<u8>>) -> Self {
        Self { first, body: body.into() }
    }

    pub(crate) fn kind(&self) -> u8 {
        self.first & 0xf0
    }

    pub(crate) fn write(&self, mut to: impl Write) -> io::Result<()> {
        let mut bytes = vec![self.first];
        let mut length = self.body.len();
        loop {
            let low = u8::try_from(length & 0x7f).expect("seven bits");
            length >>= 7;
            bytes.push(if length > 0 { low | 0x80 } else { low });
            if length == 0 {
                break;
            }
        }
        bytes.extend_from_slice(&self.body);
        to.write_all(&bytes)
    }

    pub(crate) fn read(mut from: &TcpStream) -> io::Result<Self> {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        let first = byte[0];
        let (mut length, mut bits) = (0, 0);
        loop {
            from.read_exact(&mut byte)?;
            length |= usize::from(byte[0] & 0x7f) << bits;
            bits += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        from.read_exact(&mut body)?;
        Ok(Self { first, body })
    }

    /// The packet identifier of a SUBSCRIBE or of an acknowledgement.
    pub(crate) fn id(&self) -> [u8; 2] {
        [self.body[0], self.body[1]]
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
    /// With QoS 1, not retained.
    pub(crate) fn new(topic: &str, payload: impl AsRef<[u8]>) -> Self {
        Self { topic: topic.to_owned(), payload: payload.as_ref().to_vec(), qos: 1, retain: false }
    }

    pub(crate) fn retained(self) -> Self {
        Self { retain: true, ..self }
    }

    pub(crate) fn with_qos(self, qos: u8) -> Self {
        Self { qos, ..self }
    }

    pub(crate) fn packet(&self, id: [u8; 2]) -> Packet {
        let mut body = string(&self.topic);
        if self.qos > 0 {
            body.extend(id);
        }
        body.extend_from_slice(&self.payload);
        Packet::new(PUBLISH | self.qos << 1 | u8::from(self.retain), body)
    }

    /// Reads a PUBLISH of MQTT 3.1.1, and the identifier that it is to be acknowledged with.
    pub(crate) fn of(packet: &Packet) -> (Self, Option<[u8; 2]>) {
        let qos = packet.first >> 1 & 3;
        let length = usize::from(u16::from_be_bytes(packet.id()));
        let (topic, rest) = packet.body[2..].split_at(length);
        let topic = String::from_utf8(topic.to_vec()).expect("topics are UTF-8");
        let (id, payload) = if qos > 0 { (Some([rest[0], rest[1]]), &rest[2..]) } else { (None, rest) };
        (Self { topic, payload: payload.to_vec(), qos, retain: packet.first & 1 == 1 }, id)
    }
}

/// A text as MQTT writes it.
pub(crate) fn string(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).expect("a short text").to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Somebody else at a broker.
pub(crate) struct Client {
    stream: TcpStream,
    last_id: u16,
    received: VecDeque<Message>,
}

impl Client {
    pub(crate) fn connect(port: u16) -> Self {
        Self::connect_as(port, "MQTT", 4, None)
    }

    pub(crate) fn connect_with_password(port: u16, user: &str, password: &str) -> Self {
        Self::connect_as(port, "MQTT", 4, Some((user, password)))
    }

    /// Speaks MQTT 3.1, as browsers do: the same packets, announced by another name.
    pub(crate) fn connect_3_1(port: u16) -> Self {
        Self::connect_as(port, "MQIsdp", 3, None)
    }

    fn connect_as(port: u16, protocol: &str, level: u8, credentials: Option<(&str, &str)>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let id = format!("peer{}x{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the broker accepts connections");
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a TCP socket");
        // A clean session, a keep alive of an hour.
        let flags = if credentials.is_some() { 0xc2 } else { 2 };
        let mut body = [string(protocol), vec![level, flags], 3600_u16.to_be_bytes().to_vec(), string(&id)].concat();
        if let Some((user, password)) = credentials {
            body.extend([string(user), string(password)].concat());
        }
        let mut client = Self { stream, last_id: 0, received: VecDeque::new() };
        client.send(&Packet::new(CONNECT, body));
        let answer = client.wait_for(CONNACK);
        assert_eq!(answer.body, [0, 0], "the broker takes an ordinary client");
        client
    }

    /// Publishes with QoS 1; the broker has it when this returns.
    pub(crate) fn publish(&mut self, topic: &str, payload: impl AsRef<[u8]>) {
        self.send_message(&Message::new(topic, payload));
    }

    pub(crate) fn send_message(&mut self, message: &Message) {
        let id = self.next_id();
        self.send(&message.packet(id));
        if message.qos > 0 {
            let answer = self.wait_for(PUBACK);
            assert_eq!(answer.id(), id, "the broker acknowledges in order");
        }
    }

    pub(crate) fn subscribe(&mut self, filter: &str) {
        let body = [self.next_id().to_vec(), string(filter), vec![1]].concat();
        self.send(&Packet::new(SUBSCRIBE | 2, body));
        let answer = self.wait_for(SUBACK);
        assert!(answer.body[2] <= 2, "the broker grants '{filter}'");
    }

    /// The next message on one of the subscriptions.
    pub(crate) fn next(&mut self) -> Message {
        self.next_until_closed().expect("the broker sends a message in time")
    }

    /// The same; `None` once the broker is gone.
    pub(crate) fn next_until_closed(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.received.pop_front() {
                return Some(message);
            }
            let packet = Packet::read(&self.stream).ok()?;
            self.take(&packet);
        }
    }

    fn next_id(&mut self) -> [u8; 2] {
        self.last_id += 1;
        self.last_id.to_be_bytes()
    }

    fn send(&self, packet: &Packet) {
        packet.write(&self.stream).expect("the broker reads");
    }

    fn read(&self) -> Packet {
        Packet::read(&self.stream).expect("the broker answers in time")
    }

    fn wait_for(&mut self, kind: u8) -> Packet {
        loop {
            let packet = self.read();
            if packet.kind() == kind {
                return packet;
            }
            self.take(&packet);
        }
    }

    fn take(&mut self, packet: &Packet) {
        if packet.kind() == PUBLISH {
            let (message, id) = Message::of(packet);
            self.received.push_back(message);
            if let Some(id) = id {
                self.send(&Packet::new(PUBACK, id));
            }
        }
    }
}
