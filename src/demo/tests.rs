//! Tests of the demo with clients over real sockets.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{CallBehavior, Demo, Listen, Options, start};
use crate::exit::hint_of;
use crate::protocol::topic::{MAX_TOPIC_BYTES, Root, Topics};
use crate::transport::codec::{self, FixedHeader, Inbound, PacketType, Version, put_binary, put_length};

const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

/// Flags of CONNECT [MQTT-5, 3.1.2.3].
const CLEAN_START: u8 = 0b10;
const WILL: u8 = 0b100;

/// The property that keeps a session of MQTT 5 for 100 seconds after the connection.
const SESSION_EXPIRY: &[u8] = &[5, 0x11, 0, 0, 0, 100];

/// A reason code of PUBACK.
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;

/// How often to look for a change.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Longer than any step takes.
const TIMEOUT: Duration = Duration::from_secs(10);

fn options(calls: CallBehavior) -> Options {
    let root: Root = "/rtcomm".parse().expect("a root");
    Options {
        listen: Listen::At(([127, 0, 0, 1], 0).into()),
        interval: Duration::from_millis(20),
        seed: 1,
        calls,
        topics: Topics::from(root),
    }
}

fn demo(calls: CallBehavior) -> Demo {
    start(options(calls)).expect("a demo on any free port")
}

/// A demo in which nothing happens by itself.
fn idle_demo() -> Demo {
    let interval = Duration::from_hours(1);
    start(Options { interval, ..options(CallBehavior::Answer) }).expect("a demo on any free port")
}

/// A packet: its first byte, and the bytes after the fixed header.
struct Packet {
    first: u8,
    body: Vec<u8>,
}

impl Packet {
    fn new(kind: PacketType, body: Vec<u8>) -> Self {
        Self { first: kind.first_byte(), body }
    }

    fn kind(&self) -> Option<PacketType> {
        PacketType::of(self.first)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.first];
        put_length(&mut bytes, self.body.len());
        bytes.extend(&self.body);
        bytes
    }

    fn read(from: &mut impl Read) -> io::Result<Self> {
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
struct Received {
    topic: String,
    payload: Vec<u8>,
    qos: u8,
    retain: bool,
    /// The packet identifier, or 0 for QoS 0.
    id: u16,
    subscriptions: Vec<u32>,
}

impl Received {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).expect("JSON")
    }

    fn text(&self) -> String {
        String::from_utf8(self.payload.clone()).expect("UTF-8")
    }
}

/// A minimal MQTT client.
struct TestClient {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    version: Version,
}

impl TestClient {
    fn connect(address: SocketAddr, version: Version) -> Self {
        Self::connect_with(address, version, CLEAN_START, &Uuid::new_v4().to_string(), &[])
    }

    /// Connects with these flags, client ID and the bytes after it in CONNECT.
    fn connect_with(address: SocketAddr, version: Version, flags: u8, id: &str, more: &[u8]) -> Self {
        let mut client = Self::send_connect(address, version, flags, id, more);
        assert_eq!(client.read().expect("an answer").body[..2], [0, 0], "CONNACK");
        client
    }

    /// Connects with a session that outlives the connection. Returns whether the broker still had it.
    fn connect_kept(address: SocketAddr, version: Version, id: &str) -> (Self, bool) {
        Self::connect_kept_for(SESSION_EXPIRY, address, version, id)
    }

    fn connect_kept_for(expiry: &[u8], address: SocketAddr, version: Version, id: &str) -> (Self, bool) {
        let mut client = Self::open(address, version);
        client.write(&client.connect_packet(0, expiry, id, &[]));
        let connack = client.read().expect("an answer");
        assert_eq!(connack.body[1], 0, "CONNACK");
        (client, connack.body[0] == 1)
    }

    fn send_connect(address: SocketAddr, version: Version, flags: u8, id: &str, more: &[u8]) -> Self {
        let mut client = Self::open(address, version);
        client.write(&client.connect_packet(flags, &[0], id, more));
        client
    }

    fn open(address: SocketAddr, version: Version) -> Self {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        let reader = BufReader::new(stream.try_clone().expect("a socket"));
        Self { stream, reader, version }
    }

    fn connect_packet(&self, flags: u8, properties: &[u8], id: &str, more: &[u8]) -> Packet {
        let (level, properties) = if self.version == Version::V5 { (5, properties) } else { (4, &[][..]) };
        let mut body = Vec::new();
        put_binary(&mut body, b"MQTT");
        body.extend([level, flags, 0, 60]);
        body.extend(properties);
        put_binary(&mut body, id.as_bytes());
        body.extend(more);
        Packet::new(PacketType::Connect, body)
    }

    fn no_properties(&self) -> &'static [u8] {
        if self.version == Version::V5 { &[0] } else { &[] }
    }

    fn write(&mut self, packet: &Packet) {
        // If the broker has closed the connection, the next read fails.
        self.stream.write_all(&packet.encode()).ok();
    }

    fn read(&mut self) -> io::Result<Packet> {
        Packet::read(&mut self.reader)
    }

    /// Subscribes with QoS 0.
    fn subscribe(&mut self, filter: &str) {
        assert_eq!(self.subscribe_with(filter, 0, self.no_properties()), 0);
    }

    /// Subscribes, and returns the return code.
    fn subscribe_with(&mut self, filter: &str, qos: u8, properties: &[u8]) -> u8 {
        self.write(&subscribe_packet(filter, qos, properties));
        let suback = self.read().expect("an answer");
        assert_eq!(suback.kind(), Some(PacketType::Suback));
        suback.body[suback.body.len() - 1]
    }

    /// Publishes with QoS 0.
    fn publish(&mut self, topic: &str, payload: &str) {
        self.publish_with(0, topic, payload, self.no_properties());
    }

    /// Publishes with QoS 1, and returns the reason code. Without one, it is 0.
    fn publish_acknowledged(&mut self, topic: &str, payload: &str) -> u8 {
        self.publish_with(0b10, topic, payload, self.no_properties());
        let puback = self.read().expect("an answer");
        assert_eq!(puback.kind(), Some(PacketType::Puback));
        puback.body.get(2).copied().unwrap_or(0)
    }

    fn publish_with(&mut self, flags: u8, topic: &str, payload: &str, properties: &[u8]) {
        self.write(&publish_packet(flags, topic, payload, properties));
    }

    fn receive(&mut self) -> Received {
        let packet = self.read().expect("a message");
        self.decode(&packet)
    }

    fn decode(&self, packet: &Packet) -> Received {
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

    fn acknowledge(&mut self, message: &Received) {
        self.write(&Packet::new(PacketType::Puback, message.id.to_be_bytes().to_vec()));
    }

    /// Returns the next message that meets a condition, and skips others.
    fn receive_where(&mut self, condition: impl Fn(&Received) -> bool) -> Received {
        loop {
            let received = self.receive();
            if condition(&received) {
                return received;
            }
        }
    }

    /// Asserts that the broker has sent nothing else: the answer to a ping is next.
    fn assert_nothing_received(&mut self) {
        self.write(&Packet::new(PacketType::Pingreq, Vec::new()));
        assert_eq!(self.read().expect("an answer").kind(), Some(PacketType::Pingresp));
    }

    /// Requests a call. `more` adds or replaces keys of the request.
    fn request_call(&mut self, more: &Value) {
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
    fn break_off(mut self) {
        self.stream.shutdown(Shutdown::Write).expect("it is connected");
        io::copy(&mut self.reader, &mut io::sink()).ok();
    }

    /// Waits for the broker to close the connection; returns whether it did.
    fn is_closed(&mut self) -> bool {
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
fn publish_packet(flags: u8, topic: &str, payload: &str, properties: &[u8]) -> Packet {
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
fn will(version: Version, topic: &str) -> Vec<u8> {
    will_with(if version == Version::V5 { &[0] } else { &[] }, topic)
}

fn will_with(properties: &[u8], topic: &str) -> Vec<u8> {
    let mut will = properties.to_vec();
    put_binary(&mut will, topic.as_bytes());
    put_binary(&mut will, b"gone");
    will
}

/// Asserts that clients of both versions exchange messages.
fn assert_serves(address: SocketAddr) {
    for (from, to) in [(Version::V311, Version::V5), (Version::V5, Version::V311)] {
        let topic = Uuid::new_v4().to_string();
        let mut subscriber = TestClient::connect(address, to);
        subscriber.subscribe(&topic);
        TestClient::connect(address, from).publish(&topic, "still here");
        assert_eq!(subscriber.receive().payload, b"still here");
    }
}

#[test]
fn one_address_serves_every_version() {
    let demo = demo(CallBehavior::Answer);
    assert_serves(demo.address());
    for connect in [
        // MQTT 3.1, and without keep alive.
        &b"\x10\x0f\0\x06MQIsdp\x03\x02\0\x3c\0\x01c"[..],
        b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c",
        b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01c",
    ] {
        let mut client = TestClient::open(demo.address(), Version::V311);
        client.stream.write_all(connect).expect("sent");
        assert_eq!(client.read().expect("CONNACK").body[..2], [0, 0], "{connect:?}");
        client.assert_nothing_received();
    }
    assert_serves(demo.address());
}

#[test]
fn an_explicit_address_in_use_is_an_error_and_the_default_changes_its_port() {
    let running = demo(CallBehavior::Answer);
    let taken = running.address();
    let error = start(Options { listen: Listen::At(taken), ..options(CallBehavior::Answer) })
        .expect_err("the address is in use");
    assert!(error.to_string().contains(&taken.to_string()), "{error:#}");
    assert!(hint_of(&error).is_some_and(|it| it.contains("--listen")), "{error:#}");
    let first = start(Options { listen: Listen::Default, ..options(CallBehavior::Answer) }).expect("1883 or another");
    let second = start(Options { listen: Listen::Default, ..options(CallBehavior::Answer) }).expect("another");
    assert_ne!(first.address(), second.address());
}

#[test]
fn a_root_that_the_broker_does_not_support_is_an_error() {
    for root in ["$SYS/rtcomm", &"x/".repeat(200)] {
        let mut options = options(CallBehavior::Answer);
        options.topics = Topics::from(root.parse::<Root>().expect("a root"));
        let error = start(options).expect_err(root).to_string();
        assert!(error.contains(root), "{error}");
    }
}

/// Topics that must not be published to. The last has as many levels as fit into a packet.
fn forbidden_topics() -> Vec<String> {
    let mut topics = ["", "+", "a/#", "a#", "a\0b"].map(str::to_owned).to_vec();
    topics.extend([129, 10_000, MAX_TOPIC_BYTES + 1].map(|levels| "/".repeat(levels - 1)));
    topics
}

#[test]
fn a_forbidden_topic_harms_no_other_client() {
    let demo = idle_demo();
    let mut witness = TestClient::connect(demo.address(), Version::V5);
    witness.subscribe("#");
    for version in VERSIONS {
        for topic in forbidden_topics() {
            // QoS 0, QoS 1, and QoS 0 retained.
            for flags in [0, 0b10, 0b1] {
                let mut client = TestClient::connect(demo.address(), version);
                client.publish_with(flags, &topic, "x", client.no_properties());
                assert!(client.is_closed(), "{version} {} bytes", topic.len());
            }
            let mut client = TestClient::send_connect(
                demo.address(),
                version,
                CLEAN_START | WILL,
                "a client",
                &will(version, &topic),
            );
            assert_ne!(client.read().expect("CONNACK").body[1], 0, "{version} {} bytes", topic.len());
        }
    }
    witness.assert_nothing_received();
    assert_serves(demo.address());
}

#[test]
fn a_forbidden_filter_is_refused() {
    let demo = demo(CallBehavior::Answer);
    let mut filters = ["a#", "#/a", "a\0b", "$share//a", "$share/+/a"].map(str::to_owned).to_vec();
    for start in ["", "$share/g/"] {
        filters.extend([1_000, MAX_TOPIC_BYTES - start.len()].map(|len| format!("{start}{}", "/".repeat(len))));
    }
    for version in VERSIONS {
        for filter in &filters {
            let mut client = TestClient::connect(demo.address(), version);
            assert!(client.subscribe_with(filter, 0, client.no_properties()) >= 0x80, "{version} {filter:?}");
        }
    }
    assert_serves(demo.address());
}

#[test]
fn every_other_topic_and_client_id_is_accepted() {
    let demo = demo(CallBehavior::Answer);
    let deepest = "/".repeat(127);
    for version in VERSIONS {
        for topic in ["über/alles", "/", "a//b", "a/$b", "$x/y", "a b", &deepest] {
            // The same client ID again takes over the session.
            let id = format!("{topic}+#{version}");
            drop(TestClient::connect_with(demo.address(), version, CLEAN_START, &id, &[]));
            let mut client = TestClient::connect(demo.address(), version);
            client.subscribe(topic);
            client.publish(topic, "x");
            assert_eq!(client.receive().topic, topic, "{version}");
        }
    }
}

#[test]
fn properties_that_others_must_reject_close_the_connection() {
    let demo = demo(CallBehavior::Answer);
    let mut witness = TestClient::connect(demo.address(), Version::V5);
    witness.subscribe("t");
    for properties in [
        // A user property and a content type with NUL, and a subscription identifier.
        &b"\x09\x26\0\x01k\0\x03v\0v"[..],
        b"\x05\x03\0\x02c\0",
        b"\x02\x0b\x01",
    ] {
        let mut client = TestClient::connect(demo.address(), Version::V5);
        client.publish_with(0, "t", "x", properties);
        assert!(client.is_closed(), "{properties:?}");
    }
    witness.assert_nothing_received();
}

#[test]
fn messages_and_wills_with_properties_reach_clients_of_both_versions() {
    const USER_PROPERTY: &[u8] = b"\x07\x26\0\x01k\0\x01v";
    let demo = idle_demo();
    let mut subscribers = VERSIONS.map(|version| TestClient::connect(demo.address(), version));
    for subscriber in &mut subscribers {
        subscriber.subscribe("über");
    }
    let more = will_with(USER_PROPERTY, "über");
    let mut client = TestClient::connect_with(demo.address(), Version::V5, CLEAN_START | WILL, "a client", &more);
    client.publish_with(0, "über", "x", USER_PROPERTY);
    client.assert_nothing_received();
    client.break_off();
    for subscriber in &mut subscribers {
        assert_eq!([subscriber.receive().text(), subscriber.receive().text()], ["x", "gone"]);
    }
}

#[test]
fn a_client_that_accepts_topic_aliases_receives_whole_topics() {
    let demo = idle_demo();
    let mut client = TestClient::open(demo.address(), Version::V5);
    // A topic alias maximum of 9.
    client.write(&client.connect_packet(CLEAN_START, b"\x03\x22\0\x09", "a client", &[]));
    assert_eq!(client.read().expect("CONNACK").body[1], 0);
    client.subscribe("t/+");
    for n in [0, 1, 0, 1] {
        let topic = format!("t/{n}");
        client.publish(&topic, "x");
        assert_eq!(client.receive().topic, topic);
    }
    // An alias that the broker did not offer reaches nobody.
    client.publish_with(0, "t/0", "x", b"\x03\x23\0\x01");
    assert_eq!(client.read().expect("a message").body, b"\0\x03t/0\0x");
}

#[test]
fn packets_that_only_a_broker_sends_close_the_connection() {
    let demo = demo(CallBehavior::Answer);
    for version in VERSIONS {
        for first in [0x00, 0x20, 0x90, 0xb0, 0xd0] {
            let mut client = TestClient::connect(demo.address(), version);
            client.write(&Packet { first, body: vec![0, 1, 0] });
            assert!(client.is_closed(), "{version} {first:#x}");
        }
    }
    assert_serves(demo.address());
}

#[test]
fn the_qos_of_a_message_is_kept() {
    let demo = demo(CallBehavior::Answer);
    for version in VERSIONS {
        let mut client = TestClient::connect(demo.address(), version);
        assert_eq!(client.subscribe_with("t", 1, client.no_properties()), 1);
        client.publish("t", "x");
        assert_eq!(client.receive().qos, 0);
        let mut publisher = TestClient::connect(demo.address(), version);
        assert_eq!(publisher.publish_acknowledged("t", "x"), 0);
        assert_eq!(client.receive().qos, 1);
    }
}

#[test]
fn messages_at_full_speed_all_arrive() {
    // More bytes than a broker usually keeps for a slow client.
    const COUNT: usize = 50_000;
    let demo = demo(CallBehavior::Answer);
    let mut subscriber = TestClient::connect(demo.address(), Version::V5);
    subscriber.subscribe("t");
    let mut publisher = TestClient::connect(demo.address(), Version::V311);
    let packets: Vec<u8> =
        (0..COUNT).flat_map(|n| publish_packet(0, "t", &format!("{n:0400}"), &[]).encode()).collect();
    let publishing = thread::spawn(move || publisher.stream.write_all(&packets).map(|()| publisher));
    for n in 0..COUNT {
        assert_eq!(subscriber.receive().text(), format!("{n:0400}"));
    }
    publishing.join().expect("no panic").expect("sent");
}

#[test]
fn a_kept_session_receives_what_was_published_meanwhile_in_order() {
    let demo = demo(CallBehavior::Answer);
    for version in VERSIONS {
        let id = Uuid::new_v4().to_string();
        let (mut client, is_kept) = TestClient::connect_kept(demo.address(), version, &id);
        assert!(!is_kept);
        assert_eq!(client.subscribe_with(&id, 1, client.no_properties()), 1);
        let mut publisher = TestClient::connect(demo.address(), version);
        let mut publish = |range: Range<u32>| {
            for n in range {
                assert_eq!(publisher.publish_acknowledged(&id, &n.to_string()), 0);
            }
        };
        publish(0..5);
        let first = client.receive();
        client.acknowledge(&first);
        // The others are sent, and not acknowledged.
        for n in 1..5 {
            assert_eq!(client.receive().text(), n.to_string());
        }
        client.break_off();
        publish(5..10);
        let (mut client, is_kept) = TestClient::connect_kept(demo.address(), version, &id);
        assert!(is_kept);
        for n in 1..10 {
            let message = client.receive();
            assert_eq!(message.text(), n.to_string(), "{version}");
            client.acknowledge(&message);
        }
    }
}

#[test]
fn a_kept_session_ends_at_its_expiry() {
    const ONE_SECOND: &[u8] = &[5, 0x11, 0, 0, 0, 1];
    let demo = idle_demo();
    let connect = || TestClient::connect_kept_for(ONE_SECOND, demo.address(), Version::V5, "a client");
    let mut publisher = TestClient::connect(demo.address(), Version::V5);
    let (mut client, _) = connect();
    assert_eq!(client.subscribe_with("t", 1, client.no_properties()), 1);
    client.break_off();
    assert_eq!(publisher.publish_acknowledged("t", "x"), 0);
    let deadline = Instant::now() + TIMEOUT;
    while publisher.publish_acknowledged("t", "x") != NO_MATCHING_SUBSCRIBERS {
        assert!(Instant::now() < deadline, "the session has ended");
        thread::sleep(POLL_INTERVAL);
    }
    assert!(!connect().1);
}

#[test]
fn each_message_goes_to_one_member_of_a_shared_subscription() {
    let demo = demo(CallBehavior::Answer);
    for version in VERSIONS {
        let topic = Uuid::new_v4().to_string();
        let filter = format!("$share/group/{topic}");
        let mut members = [(); 3].map(|()| TestClient::connect(demo.address(), version));
        for member in &mut members {
            member.subscribe(&filter);
        }
        let mut publisher = TestClient::connect(demo.address(), version);
        for n in 0..60 {
            assert_eq!(publisher.publish_acknowledged(&topic, &n.to_string()), 0);
        }
        let mut received = Vec::new();
        for member in &mut members {
            member.write(&Packet::new(PacketType::Pingreq, Vec::new()));
            let before = received.len();
            loop {
                let packet = member.read().expect("an answer");
                if packet.kind() == Some(PacketType::Pingresp) {
                    break;
                }
                received.push(member.decode(&packet).text().parse::<u32>().expect("a number"));
            }
            assert!(received.len() > before, "each member has its share");
        }
        received.sort_unstable();
        assert_eq!(received, (0..60).collect::<Vec<_>>());
    }
}

#[test]
fn a_shared_subscription_in_a_kept_session_is_kept() {
    let demo = demo(CallBehavior::Answer);
    for version in VERSIONS {
        let id = Uuid::new_v4().to_string();
        let (mut client, _) = TestClient::connect_kept(demo.address(), version, &id);
        assert_eq!(client.subscribe_with(&format!("$share/group/{id}"), 1, client.no_properties()), 1);
        drop(client);
        assert_eq!(TestClient::connect(demo.address(), version).publish_acknowledged(&id, "x"), 0);
        let (mut client, is_kept) = TestClient::connect_kept(demo.address(), version, &id);
        assert!(is_kept);
        assert_eq!(client.receive().text(), "x");
    }
}

#[test]
fn a_client_may_connect_again_at_any_time() {
    let demo = demo(CallBehavior::Answer);
    for version in VERSIONS {
        let connect = || TestClient::connect_with(demo.address(), version, CLEAN_START, "a client", &[]);
        // After a broken connection, and instead of one that is still there.
        (0..200).for_each(|_| drop(connect()));
        let mut replaced = connect();
        let mut client = connect();
        client.subscribe("t");
        client.publish("t", "x");
        assert_eq!(client.receive().text(), "x");
        while replaced.read().is_ok() {}
    }
}

/// rmqtt's own router stops for good within a second of this.
#[test]
fn members_of_a_shared_subscription_may_leave_at_any_time() {
    let demo = demo(CallBehavior::Answer);
    let address = demo.address();
    let deadline = Instant::now() + Duration::from_secs(1);
    let mut stayer = TestClient::connect(address, Version::V5);
    stayer.subscribe("$share/group/t");
    let publishers = [(); 2].map(|()| {
        thread::spawn(move || {
            let mut publisher = TestClient::connect(address, Version::V311);
            while Instant::now() < deadline {
                publisher.stream.write_all(&publish_packet(0, "t", "x", &[]).encode().repeat(100)).expect("sent");
                publisher.assert_nothing_received();
            }
        })
    });
    // Reads, so that the broker does not wait for this client.
    let reading = thread::spawn(move || while stayer.read().is_ok() {});
    while Instant::now() < deadline {
        let mut leaver = TestClient::connect(address, Version::V5);
        leaver.subscribe("$share/group/t");
    }
    for publisher in publishers {
        publisher.join().expect("the broker answers");
    }
    assert_serves(address);
    drop(demo);
    reading.join().expect("no panic");
}

#[test]
fn a_publisher_is_told_that_nobody_subscribes() {
    let demo = demo(CallBehavior::Answer);
    let mut client = TestClient::connect(demo.address(), Version::V5);
    assert_eq!(client.publish_acknowledged("nobody/here", "x"), NO_MATCHING_SUBSCRIBERS);
    // The simulated server subscribes.
    assert_eq!(client.publish_acknowledged("/rtcomm/callControl", "x"), 0);
    let mut subscriber = TestClient::connect(demo.address(), Version::V311);
    subscriber.subscribe("nobody/+");
    assert_eq!(client.publish_acknowledged("nobody/here", "x"), 0);
    subscriber.break_off();
    let deadline = Instant::now() + TIMEOUT;
    while client.publish_acknowledged("nobody/here", "x") != NO_MATCHING_SUBSCRIBERS {
        assert!(Instant::now() < deadline, "the subscription has ended");
        thread::sleep(POLL_INTERVAL);
    }
}

#[test]
fn a_retained_message_is_sent_to_new_subscriptions_that_are_not_shared() {
    let demo = demo(CallBehavior::Answer);
    let mut publisher = TestClient::connect(demo.address(), Version::V311);
    publisher.publish_with(0b1, "t/1", "kept", &[]);
    publisher.publish_with(0b1, "end", "the end", &[]);
    publisher.assert_nothing_received();
    let mut client = TestClient::connect(demo.address(), Version::V5);
    // Subscription identifiers 7 and 8.
    client.subscribe_with("t/+", 0, b"\x02\x0b\x07");
    let message = client.receive();
    assert_eq!((message.text().as_str(), message.retain, message.subscriptions.as_slice()), ("kept", true, &[7][..]));
    client.subscribe_with("$share/group/t/#", 0, b"\x02\x0b\x08");
    client.subscribe("end");
    assert_eq!(client.receive().text(), "the end", "the next message");
    publisher.publish_with(0b1, "t/1", "", &[]);
    assert_eq!(client.receive().text(), "", "live, and not stored");
    let mut client = TestClient::connect(demo.address(), Version::V311);
    client.subscribe("t/+");
    client.subscribe("end");
    assert_eq!(client.receive().text(), "the end", "the next message");
}

#[test]
fn connections_without_mqtt_are_closed() {
    let demo = demo(CallBehavior::Answer);
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\0\x01", &[0xff; 64]] {
        let mut client = TestClient::open(demo.address(), Version::V311);
        client.stream.write_all(garbage).expect("sent");
        assert!(client.is_closed(), "{garbage:?}");
    }
    // An incomplete CONNECT delays only its sender.
    let _half = TcpStream::connect(demo.address()).and_then(|mut it| it.write_all(b"\x10\x0d\0").map(|()| it));
    assert_serves(demo.address());
}

#[test]
fn a_will_is_published_after_a_broken_connection_and_not_after_disconnect() {
    let demo = demo(CallBehavior::Answer);
    for version in VERSIONS {
        let topic = Uuid::new_v4().to_string();
        let mut subscriber = TestClient::connect(demo.address(), version);
        subscriber.subscribe(&topic);
        let with_will =
            |id| TestClient::connect_with(demo.address(), version, CLEAN_START | WILL, id, &will(version, &topic));
        let mut polite = with_will("polite");
        polite.write(&Packet::new(PacketType::Disconnect, Vec::new()));
        drop(polite);
        TestClient::connect(demo.address(), version).publish(&topic, "no will so far");
        drop(with_will("rude"));
        assert_eq!(subscriber.receive().payload, b"no will so far");
        assert_eq!(subscriber.receive().payload, b"gone");
    }
}

#[test]
fn events_are_not_retained_and_presence_is() {
    let demo = demo(CallBehavior::Answer);
    let mut client = TestClient::connect(demo.address(), Version::V311);
    client.subscribe("/rtcomm/event/#");
    let event = client.receive();
    assert!(!event.retain);
    assert_eq!(event.json()["method"], "RTCOMM_EVENT_FIRED");
    assert_eq!(event.json()["timestamp"].as_str().map(str::len), Some("2014-08-01 17:32:07.735".len()));
    // An event is published before its documents, and after those of earlier events.
    client.receive();
    let mut client = TestClient::connect(demo.address(), Version::V5);
    client.subscribe("/rtcomm/sphere/#");
    let document = client.receive();
    assert!(document.retain);
    assert_eq!(document.json()["method"], "DOCUMENT");
}

#[test]
fn an_endpoint_that_unregisters_removes_its_presence_document() {
    let demo = demo(CallBehavior::Answer);
    let mut watcher = TestClient::connect(demo.address(), Version::V311);
    watcher.subscribe("/rtcomm/sphere/#");
    // If the endpoint registers again before the second subscription, the next one is observed.
    let is_removed = (0..20).any(|_| {
        let empty = watcher.receive_where(|it| it.payload.is_empty());
        let mut late = TestClient::connect(demo.address(), Version::V5);
        late.subscribe(&empty.topic);
        !late.receive().retain
    });
    assert!(is_removed);
}

#[test]
fn a_call_is_answered_and_its_session_is_published() {
    let demo = demo(CallBehavior::Answer);
    let mut client = TestClient::connect(demo.address(), Version::V311);
    client.subscribe("reply/#");
    client.subscribe("/rtcomm/event/session/#");
    client.request_call(&json!({ "transID": 100, "sessionID": 200, "fromTopic": "reply/me" }));
    let mut next_of_call = || {
        client.receive_where(|it| {
            it.topic == "reply/me" || it.json()["sigSessID"] == "200" && !it.topic.contains("/modified/")
        })
    };
    assert_eq!(next_of_call().topic, "/rtcomm/event/session/started/iggy_pop/david_bowie");
    let expected = json!({
        "method": "RESPONSE", "orig": "3PCC_PLACE_CALL", "rtcommVer": "v1.0.0", "transID": 100, "result": "SUCCESS",
    });
    assert_eq!(next_of_call().json(), expected);
    assert_eq!(next_of_call().topic, "/rtcomm/event/session/stopped/iggy_pop/david_bowie");
}

#[test]
fn impossible_requests_fail_with_a_reason() {
    let demo = demo(CallBehavior::Answer);
    let mut client = TestClient::connect(demo.address(), Version::V5);
    client.subscribe("reply");
    for (more, reason) in [
        (json!({ "calleeEndpoint": "nobody" }), "nobody is not registered"),
        (json!({ "calleeEndpoint": "iggy_pop" }), "iggy_pop cannot call itself"),
        (json!({ "calleeEndpoint": null }), "calleeEndpoint is missing"),
        (json!({ "method": "3PCC_HANG_UP" }), "method is not 3PCC_PLACE_CALL"),
        (json!({ "appContext": "chess" }), "iggy_pop is not registered for chess"),
    ] {
        client.request_call(&more);
        let reply = client.receive().json();
        assert_eq!((&reply["result"], &reply["reason"]), (&json!("FAILURE"), &json!(reason)));
    }
}

#[test]
fn requests_without_a_reply_address_are_ignored() {
    let demo = demo(CallBehavior::Answer);
    let mut client = TestClient::connect(demo.address(), Version::V311);
    client.subscribe("#");
    for payload in ["", "no JSON", "[]", "{}", "\u{0}"] {
        client.publish("/rtcomm/callControl", payload);
    }
    for topic in ["+", "a/#", "", "a\0", &"/".repeat(200)] {
        client.request_call(&json!({ "fromTopic": topic, "transID": "ignored" }));
    }
    client.request_call(&json!({ "transID": null }));
    client.request_call(&json!({}));
    let is_reply =
        |it: &Received| serde_json::from_slice::<Value>(&it.payload).is_ok_and(|it| it["method"] == "RESPONSE");
    let reply = client.receive_where(is_reply);
    assert_eq!((reply.topic.as_str(), &reply.json()["transID"]), ("reply", &json!("t")));
}

#[test]
fn the_service_misbehaves_on_request() {
    let failing = demo(CallBehavior::Fail);
    let mut client = TestClient::connect(failing.address(), Version::V311);
    client.subscribe("reply");
    client.subscribe("/rtcomm/event/session/#");
    client.request_call(&json!({ "sessionID": "s" }));
    let event = client.receive_where(|it| it.topic == "reply" || it.json()["sigSessID"] == "s");
    assert_eq!(event.topic, "/rtcomm/event/session/failed/iggy_pop/david_bowie");
    let reply = client.receive_where(|it| it.topic == "reply").json();
    assert_eq!((&reply["result"], &reply["reason"]), (&json!("FAILURE"), &event.json()["reason"]));

    let delay = Duration::from_millis(400);
    let slow = demo(CallBehavior::Delay(delay));
    let mut client = TestClient::connect(slow.address(), Version::V311);
    client.subscribe("reply");
    client.subscribe("/rtcomm/event/#");
    let requested = Instant::now();
    client.request_call(&json!({}));
    assert_ne!(client.receive().topic, "reply");
    client.receive_where(|it| it.topic == "reply");
    assert!(requested.elapsed() >= delay);

    let silent = demo(CallBehavior::Silent);
    let mut client = TestClient::connect(silent.address(), Version::V311);
    client.subscribe("reply");
    client.request_call(&json!({}));
    client.stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    assert!(client.read().is_err());
}

#[test]
fn a_sender_may_append_its_name_to_the_call_topic() {
    let demo = demo(CallBehavior::Answer);
    let mut client = TestClient::connect(demo.address(), Version::V5);
    client.subscribe("reply");
    client.publish("/rtcomm/callControl/me", r#"{"method":"3PCC_PLACE_CALL","transID":"t","fromTopic":"reply"}"#);
    assert_eq!(client.receive().json()["reason"], "callerEndpoint is missing");
}

#[test]
fn a_service_query_returns_the_topics() {
    let demo = demo(CallBehavior::Silent);
    let mut client = TestClient::connect(demo.address(), Version::V5);
    client.subscribe("reply");
    let query = r#"{"rtcommVer":"v1.0.0","method":"SERVICE_QUERY","transID":"q","fromTopic":"reply"}"#;
    client.publish("/rtcomm/management/iggy_pop", query);
    let reply = client.receive().json();
    assert_eq!((&reply["orig"], &reply["result"]), (&json!("SERVICE_QUERY"), &json!("SUCCESS")));
    assert_eq!(reply["services"]["RTCOMM_CONNECTOR_SERVICE"]["eventMonitoringTopic"], "/rtcomm/event");
    assert_eq!(reply["services"]["RTCOMM_CALL_CONTROL_SERVICE"]["topic"], "/rtcomm/callControl");
    let queues = json!([{ "endpointID": "support", "topic": "/rtcomm/callQueue/support" }]);
    assert_eq!(reply["services"]["RTCOMM_CALL_QUEUE_SERVICE"], json!({ "queues": queues }));
}

#[test]
fn call_behaviors_are_parsed() {
    assert_eq!("answer".parse(), Ok(CallBehavior::Answer));
    assert_eq!("fail".parse(), Ok(CallBehavior::Fail));
    assert_eq!("silent".parse(), Ok(CallBehavior::Silent));
    assert_eq!("delay=2s".parse(), Ok(CallBehavior::Delay(Duration::from_secs(2))));
    for wrong in ["", "no", "delay", "delay=", "delay=soon"] {
        assert!(wrong.parse::<CallBehavior>().expect_err(wrong).contains("'delay=2s'"));
    }
}

#[test]
fn a_dropped_demo_stops_publishing() {
    let demo = demo(CallBehavior::Answer);
    let mut client = TestClient::connect(demo.address(), Version::V311);
    client.subscribe("/rtcomm/event/#");
    drop(demo);
    client.stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    while client.read().is_ok() {}
}
