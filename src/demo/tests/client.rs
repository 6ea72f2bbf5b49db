//! A minimal MQTT client, which can also send what a proper client would not.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::{Value, json};
use uuid::Uuid;

use super::TIMEOUT;
use crate::transport::codec::{self, FixedHeader, Inbound, PacketType, Version, put_binary, put_length};

/// Flags of CONNECT [MQTT-5, 3.1.2.3].
pub(super) const CLEAN_START: u8 = 0b10;
pub(super) const WILL: u8 = 0b100;

/// The property that keeps a session of MQTT 5 for 100 seconds after the connection.
const SESSION_EXPIRY: &[u8] = &[5, 0x11, 0, 0, 0, 100];

/// A reason code of PUBACK.
pub(super) const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;

/// A packet: its first byte, and the bytes after the fixed header.
pub(super) struct Packet {
    pub(super) first: u8,
    pub(super) body: Vec<u8>,
}

impl Packet {
    /// Makes a packet of this type.
    pub(super) fn new(kind: PacketType, body: Vec<u8>) -> Self {
        Self { first: kind.first_byte(), body }
    }

    /// Returns the type, unless it is reserved.
    pub(super) fn kind(&self) -> Option<PacketType> {
        PacketType::of(self.first)
    }

    /// Returns the bytes to send.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.first];
        put_length(&mut bytes, self.body.len());
        bytes.extend(&self.body);
        bytes
    }

    /// Reads a whole packet.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut header = Vec::new();
        loop {
            let mut byte = [0];
            from.read_exact(&mut byte)?;
            header.extend(byte);
            if let Some(header) = FixedHeader::decode(&header).expect("a packet of a broker") {
                let mut body = vec![0; header.remaining];
                from.read_exact(&mut body)?;
                return Ok(Self { first: header.first, body });
            }
        }
    }
}

/// A message that a client received.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: u8,
    pub(super) retain: bool,
    /// The packet identifier, or 0 for QoS 0.
    pub(super) id: u16,
    pub(super) subscriptions: Vec<u32>,
}

impl Received {
    /// Returns the payload as JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).expect("JSON")
    }

    /// Returns the payload as a text.
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.payload.clone()).expect("UTF-8")
    }
}

/// A minimal MQTT client.
pub(super) struct TestClient {
    pub(super) stream: TcpStream,
    pub(super) reader: BufReader<TcpStream>,
    pub(super) version: Version,
}

impl TestClient {
    /// Connects with a random client ID and a clean session.
    pub(super) fn connect(address: SocketAddr, version: Version) -> Self {
        Self::connect_with(address, version, CLEAN_START, &Uuid::new_v4().to_string(), &[])
    }

    /// Connects with these flags, client ID and the bytes after it in CONNECT.
    pub(super) fn connect_with(address: SocketAddr, version: Version, flags: u8, id: &str, more: &[u8]) -> Self {
        let mut client = Self::send_connect(address, version, flags, id, more);
        assert_eq!(client.read().expect("an answer").body[..2], [0, 0], "CONNACK");
        client
    }

    /// Connects with a session that outlives the connection. Returns whether the broker still had it.
    pub(super) fn connect_kept(address: SocketAddr, version: Version, id: &str) -> (Self, bool) {
        Self::connect_kept_for(SESSION_EXPIRY, address, version, id)
    }

    /// As [`TestClient::connect_kept`], with this session expiry property.
    pub(super) fn connect_kept_for(expiry: &[u8], address: SocketAddr, version: Version, id: &str) -> (Self, bool) {
        let mut client = Self::open(address, version);
        client.write(&client.connect_packet(0, expiry, id, &[]));
        let connack = client.read().expect("an answer");
        assert_eq!(connack.body[1], 0, "CONNACK");
        (client, connack.body[0] == 1)
    }

    /// Sends a CONNECT, and does not wait for the answer.
    pub(super) fn send_connect(address: SocketAddr, version: Version, flags: u8, id: &str, more: &[u8]) -> Self {
        let mut client = Self::open(address, version);
        client.write(&client.connect_packet(flags, &[0], id, more));
        client
    }

    /// Opens a connection, and sends nothing.
    pub(super) fn open(address: SocketAddr, version: Version) -> Self {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        let reader = BufReader::new(stream.try_clone().expect("a socket"));
        Self { stream, reader, version }
    }

    /// Makes a CONNECT. `properties` are left out with MQTT 3.1.1.
    pub(super) fn connect_packet(&self, flags: u8, properties: &[u8], id: &str, more: &[u8]) -> Packet {
        let (level, properties) = if self.version == Version::V5 { (5, properties) } else { (4, &[][..]) };
        let mut body = Vec::new();
        put_binary(&mut body, b"MQTT");
        body.extend([level, flags, 0, 60]);
        body.extend(properties);
        put_binary(&mut body, id.as_bytes());
        body.extend(more);
        Packet::new(PacketType::Connect, body)
    }

    /// Returns the encoding of no properties.
    pub(super) fn no_properties(&self) -> &'static [u8] {
        if self.version == Version::V5 { &[0] } else { &[] }
    }

    /// Sends a packet.
    pub(super) fn write(&mut self, packet: &Packet) {
        // If the broker has closed the connection, the next read fails.
        self.stream.write_all(&packet.encode()).ok();
    }

    /// Receives a packet.
    pub(super) fn read(&mut self) -> io::Result<Packet> {
        Packet::read(&mut self.reader)
    }

    /// Subscribes with QoS 0.
    pub(super) fn subscribe(&mut self, filter: &str) {
        assert_eq!(self.subscribe_with(filter, 0, self.no_properties()), 0);
    }

    /// Subscribes, and returns the return code.
    pub(super) fn subscribe_with(&mut self, filter: &str, qos: u8, properties: &[u8]) -> u8 {
        self.write(&subscribe_packet(filter, qos, properties));
        let suback = self.read().expect("an answer");
        assert_eq!(suback.kind(), Some(PacketType::Suback));
        suback.body[suback.body.len() - 1]
    }

    /// Publishes with QoS 0.
    pub(super) fn publish(&mut self, topic: &str, payload: &str) {
        self.publish_with(0, topic, payload, self.no_properties());
    }

    /// Publishes with QoS 1, and returns the reason code. Without one, it is 0.
    pub(super) fn publish_acknowledged(&mut self, topic: &str, payload: &str) -> u8 {
        self.publish_with(0b10, topic, payload, self.no_properties());
        let puback = self.read().expect("an answer");
        assert_eq!(puback.kind(), Some(PacketType::Puback));
        puback.body.get(2).copied().unwrap_or(0)
    }

    /// Publishes with these flags of the fixed header, and does not wait for the answer.
    pub(super) fn publish_with(&mut self, flags: u8, topic: &str, payload: &str, properties: &[u8]) {
        self.write(&publish_packet(flags, topic, payload, properties));
    }

    /// Receives a message. Any other packet is a failure.
    pub(super) fn receive(&mut self) -> Received {
        let packet = self.read().expect("a message");
        self.decode(&packet)
    }

    /// Decodes a PUBLISH.
    pub(super) fn decode(&self, packet: &Packet) -> Received {
        match codec::decode(self.version, packet.first, &packet.body) {
            Ok(Inbound::Publish(publish)) => Received {
                topic: publish.topic.to_owned(),
                payload: publish.payload.to_vec(),
                qos: publish.qos,
                retain: publish.retain,
                id: publish.id,
                subscriptions: publish.properties.subscription_identifiers().collect(),
            },
            _ => panic!("no message: {:#x} {:?}", packet.first, packet.body),
        }
    }

    /// Sends a PUBACK.
    pub(super) fn acknowledge(&mut self, message: &Received) {
        self.write(&Packet::new(PacketType::Puback, message.id.to_be_bytes().to_vec()));
    }

    /// Returns the next message that meets a condition, and skips others.
    pub(super) fn receive_where(&mut self, condition: impl Fn(&Received) -> bool) -> Received {
        loop {
            let received = self.receive();
            if condition(&received) {
                return received;
            }
        }
    }

    /// Asserts that the broker has sent nothing else: the answer to a ping is next.
    pub(super) fn assert_nothing_received(&mut self) {
        self.write(&Packet::new(PacketType::Pingreq, Vec::new()));
        assert_eq!(self.read().expect("an answer").kind(), Some(PacketType::Pingresp));
    }

    /// Requests a call. `more` adds or replaces keys of the request.
    pub(super) fn request_call(&mut self, more: &Value) {
        let mut request = json!({
            "method": "3PCC_PLACE_CALL", "rtcommVer": "v1.0.0", "transID": "t", "fromTopic": "reply",
            "callerEndpoint": "iggy_pop", "calleeEndpoint": "david_bowie",
        });
        let (Some(request_keys), Some(more)) = (request.as_object_mut(), more.as_object()) else {
            panic!("requests are objects")
        };
        request_keys.extend(more.clone());
        self.publish("/rtcomm/callControl", &request.to_string());
    }

    /// Ends the connection without DISCONNECT, and waits for the broker to close its side.
    pub(super) fn break_off(mut self) {
        self.stream.shutdown(Shutdown::Write).expect("it is connected");
        io::copy(&mut self.reader, &mut io::sink()).ok();
    }

    /// Waits for the broker to close the connection; returns whether it did.
    pub(super) fn is_closed(&mut self) -> bool {
        match self.reader.read(&mut [0; 64]) {
            Ok(len) => len == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

/// Makes a SUBSCRIBE.
fn subscribe_packet(filter: &str, qos: u8, properties: &[u8]) -> Packet {
    let mut body = vec![0, 1];
    body.extend(properties);
    put_binary(&mut body, filter.as_bytes());
    body.push(qos);
    Packet::new(PacketType::Subscribe, body)
}

/// Makes a PUBLISH. With QoS 1 or 2 its packet identifier is 1.
pub(super) fn publish_packet(flags: u8, topic: &str, payload: &str, properties: &[u8]) -> Packet {
    let mut body = Vec::new();
    put_binary(&mut body, topic.as_bytes());
    if flags & 0b110 != 0 {
        body.extend([0, 1]);
    }
    body.extend(properties);
    body.extend(payload.as_bytes());
    Packet { first: PacketType::Publish.first_byte() | flags, body }
}

/// Returns the part of a CONNECT that describes a will.
pub(super) fn will(version: Version, topic: &str) -> Vec<u8> {
    will_with(if version == Version::V5 { &[0] } else { &[] }, topic)
}

/// As [`will`], with these properties.
pub(super) fn will_with(properties: &[u8], topic: &str) -> Vec<u8> {
    let mut will = properties.to_vec();
    put_binary(&mut will, topic.as_bytes());
    put_binary(&mut will, b"gone");
    will
}
