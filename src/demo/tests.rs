//! Tests of the demo with clients over real sockets.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::guard::ProtocolLevel;
use super::packet::{CONNECT, Kind, PUBLISH, Packet, put_string, take_array, take_properties, take_string};
use super::{CallBehavior, Demo, Listen, Options, start};
use crate::exit::hint_of;
use crate::protocol::topic::{Root, Topics};

const VERSIONS: [ProtocolLevel; 2] = [ProtocolLevel::V4, ProtocolLevel::V5];

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

/// A message that a client received.
#[derive(Debug)]
struct Received {
    topic: String,
    payload: Vec<u8>,
    retain: bool,
}

impl Received {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).expect("JSON")
    }
}

/// A minimal MQTT client.
struct TestClient {
    stream: TcpStream,
    version: ProtocolLevel,
}

impl TestClient {
    fn connect(address: SocketAddr, version: ProtocolLevel) -> Self {
        Self::connect_with(address, version, 0b10, &Uuid::new_v4().to_string(), &[])
    }

    /// Connects with these flags, client ID and the bytes after it in CONNECT.
    fn connect_with(address: SocketAddr, version: ProtocolLevel, flags: u8, id: &str, more: &[u8]) -> Self {
        let mut client = Self::send_connect(address, version, flags, id, more);
        assert_eq!(client.read().expect("an answer").body[..2], [0, 0], "CONNACK");
        client
    }

    fn send_connect(address: SocketAddr, version: ProtocolLevel, flags: u8, id: &str, more: &[u8]) -> Self {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        let mut client = Self { stream, version };
        let mut body = b"\0\x04MQTT".to_vec();
        body.extend([version as u8, flags, 0, 60]);
        body.extend(client.no_properties());
        put_string(&mut body, id.as_bytes());
        body.extend(more);
        client.write(CONNECT, body);
        client
    }

    fn no_properties(&self) -> &'static [u8] {
        if self.version == ProtocolLevel::V5 { &[0] } else { &[] }
    }

    fn write(&mut self, first: u8, body: Vec<u8>) {
        // If the broker has closed the connection, the next read fails.
        Packet { first, body }.write(&mut self.stream).ok();
    }

    fn read(&mut self) -> io::Result<Packet> {
        Packet::read(&mut self.stream, usize::MAX)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn subscribe(&mut self, filter: &str) {
        let mut body = vec![0, 1];
        body.extend(self.no_properties());
        put_string(&mut body, filter.as_bytes());
        body.push(0);
        self.write(0x82, body);
        assert_eq!(self.read().expect("SUBACK").first, 0x90);
    }

    fn publish(&mut self, topic: &str, payload: &str) {
        self.publish_with(topic, payload, self.no_properties());
    }

    fn publish_with(&mut self, topic: &str, payload: &str, properties: &[u8]) {
        let mut body = Vec::new();
        put_string(&mut body, topic.as_bytes());
        body.extend(properties);
        body.extend(payload.as_bytes());
        self.write(PUBLISH, body);
    }

    fn receive(&mut self) -> Received {
        let packet = self.read().expect("a message");
        assert_eq!(packet.kind(), Kind::Publish);
        let mut rest = packet.body.as_slice();
        let topic = take_string(&mut rest).expect("a topic");
        let topic = String::from_utf8(topic.to_vec()).expect("UTF-8");
        if packet.quality_of_service() > 0 {
            take_array::<2>(&mut rest).expect("a packet identifier");
        }
        if self.version == ProtocolLevel::V5 {
            take_properties(&mut rest).expect("properties");
        }
        Received { topic, payload: rest.to_vec(), retain: packet.first & 1 == 1 }
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

    /// Waits for the broker to close the connection; returns whether it did.
    fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0; 64]) {
            Ok(len) => len == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

/// Asserts that clients of both versions exchange messages.
fn assert_serves(address: SocketAddr) {
    for (from, to) in [(ProtocolLevel::V4, ProtocolLevel::V5), (ProtocolLevel::V5, ProtocolLevel::V4)] {
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
    let mut old = TcpStream::connect(demo.address()).expect("the broker listens");
    old.write_all(b"\x10\x0f\0\x06MQIsdp\x03\x02\0\x3c\0\x01c").expect("sent");
    let mut answer = [0; 4];
    old.read_exact(&mut answer).expect("CONNACK");
    assert_eq!(answer, [0x20, 2, 0, 0]);
}

#[test]
fn an_explicit_address_in_use_is_an_error_and_the_default_changes_its_port() {
    let taken = demo(CallBehavior::Answer).address();
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
    for root in ["écho", "$SYS/rtcomm"] {
        let mut options = options(CallBehavior::Answer);
        options.topics.root = root.parse().expect("a root");
        let error = start(options).expect_err(root).to_string();
        assert!(error.contains(root), "{error}");
    }
}

#[test]
fn packets_that_break_rumqttd_do_not_reach_it() {
    let demo = demo(CallBehavior::Answer);
    let address = demo.address();
    for version in VERSIONS {
        for _ in 0..3 {
            let mut refused = TestClient::send_connect(address, version, 0b10, "a/b", &[]);
            assert_ne!(refused.read().expect("CONNACK").body[1], 0);
        }
        let mut beyond_ascii = TestClient::connect(address, version);
        beyond_ascii.publish("über/alles", "x");
        assert!(beyond_ascii.is_closed());
    }
    let mut subscriber = TestClient::connect(address, ProtocolLevel::V4);
    subscriber.subscribe("p");
    TestClient::connect(address, ProtocolLevel::V5).publish_with("p", "x", b"\x07\x26\0\x01k\0\x01v");
    assert_eq!(subscriber.receive().payload, b"x");
    let mut confused = TestClient::connect(address, ProtocolLevel::V5);
    confused.write(0x20, vec![0, 0, 0]);
    assert!(confused.is_closed());
    assert_serves(address);
}

#[test]
fn connections_without_mqtt_are_closed() {
    let demo = demo(CallBehavior::Answer);
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x02\0\x01", &[0xff; 64]] {
        let stream = TcpStream::connect(demo.address()).expect("the broker listens");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        let mut client = TestClient { stream, version: ProtocolLevel::V4 };
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
        let mut will = if version == ProtocolLevel::V5 { vec![0] } else { Vec::new() };
        put_string(&mut will, topic.as_bytes());
        put_string(&mut will, b"gone");
        let with_will = |id| TestClient::connect_with(demo.address(), version, 0b110, id, &will);
        let mut polite = with_will("polite");
        polite.write(0xe0, Vec::new());
        assert!(polite.is_closed());
        TestClient::connect(demo.address(), version).publish(&topic, "no will so far");
        drop(with_will("rude"));
        assert_eq!(subscriber.receive().payload, b"no will so far");
        assert_eq!(subscriber.receive().payload, b"gone");
    }
}

#[test]
fn events_are_not_retained_and_presence_is() {
    let demo = demo(CallBehavior::Answer);
    let mut client = TestClient::connect(demo.address(), ProtocolLevel::V4);
    client.subscribe("/rtcomm/event/#");
    let event = client.receive();
    assert!(!event.retain);
    assert_eq!(event.json()["method"], "RTCOMM_EVENT_FIRED");
    assert_eq!(event.json()["timestamp"].as_str().map(str::len), Some("2014-08-01 17:32:07.735".len()));
    // An event is published before its documents, and after those of earlier events.
    client.receive();
    let mut client = TestClient::connect(demo.address(), ProtocolLevel::V5);
    client.subscribe("/rtcomm/sphere/#");
    let document = client.receive();
    assert!(document.retain);
    assert_eq!(document.json()["method"], "DOCUMENT");
}

#[test]
fn a_call_is_answered_and_its_session_is_published() {
    let demo = demo(CallBehavior::Answer);
    let mut client = TestClient::connect(demo.address(), ProtocolLevel::V4);
    client.subscribe("reply/#");
    let mut watcher = TestClient::connect(demo.address(), ProtocolLevel::V5);
    watcher.subscribe("/rtcomm/event/session/+/iggy_pop/david_bowie");
    client.request_call(&json!({ "transID": 100, "sessionID": 200, "fromTopic": "reply/me" }));
    let reply = client.receive();
    assert_eq!(reply.topic, "reply/me");
    let expected = json!({
        "method": "RESPONSE", "orig": "3PCC_PLACE_CALL", "rtcommVer": "v1.0.0", "transID": 100, "result": "SUCCESS",
    });
    assert_eq!(reply.json(), expected);
    for action in ["started", "stopped"] {
        let event = watcher.receive_where(|it| it.json()["sigSessID"] == "200");
        assert_eq!(event.topic, format!("/rtcomm/event/session/{action}/iggy_pop/david_bowie"));
    }
}

#[test]
fn impossible_requests_fail_with_a_reason() {
    let demo = demo(CallBehavior::Answer);
    let mut client = TestClient::connect(demo.address(), ProtocolLevel::V5);
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
    let mut client = TestClient::connect(demo.address(), ProtocolLevel::V4);
    client.subscribe("#");
    for payload in ["", "no JSON", "[]", "{}", "\u{0}"] {
        client.publish("/rtcomm/callControl", payload);
    }
    for topic in ["+", "a/#", "", "é", "a\0"] {
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
    let refusing = demo(CallBehavior::Fail);
    let mut client = TestClient::connect(refusing.address(), ProtocolLevel::V4);
    client.subscribe("reply");
    client.request_call(&json!({}));
    assert_eq!(client.receive().json()["result"], "FAILURE");

    let delay = Duration::from_millis(400);
    let slow = demo(CallBehavior::Delay(delay));
    let mut client = TestClient::connect(slow.address(), ProtocolLevel::V4);
    client.subscribe("reply");
    client.subscribe("/rtcomm/event/#");
    let requested = Instant::now();
    client.request_call(&json!({}));
    assert_ne!(client.receive().topic, "reply");
    client.receive_where(|it| it.topic == "reply");
    assert!(requested.elapsed() >= delay);

    let silent = demo(CallBehavior::Silent);
    let mut client = TestClient::connect(silent.address(), ProtocolLevel::V4);
    client.subscribe("reply");
    client.request_call(&json!({}));
    client.stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    assert!(client.read().is_err());
}

#[test]
fn a_sender_may_append_its_name_to_the_call_topic() {
    let demo = demo(CallBehavior::Answer);
    let mut client = TestClient::connect(demo.address(), ProtocolLevel::V5);
    client.subscribe("reply");
    client.publish("/rtcomm/callControl/me", r#"{"method":"3PCC_PLACE_CALL","transID":"t","fromTopic":"reply"}"#);
    assert_eq!(client.receive().json()["reason"], "callerEndpoint is missing");
}

#[test]
fn a_service_query_returns_the_topics() {
    let demo = demo(CallBehavior::Silent);
    let mut client = TestClient::connect(demo.address(), ProtocolLevel::V5);
    client.subscribe("reply");
    let query = r#"{"rtcommVer":"v1.0.0","method":"SERVICE_QUERY","transID":"q","fromTopic":"reply"}"#;
    client.publish("/rtcomm/management/iggy_pop", query);
    let reply = client.receive().json();
    assert_eq!((&reply["orig"], &reply["result"]), (&json!("SERVICE_QUERY"), &json!("SUCCESS")));
    assert_eq!(reply["services"]["RTCOMM_CONNECTOR_SERVICE"]["eventMonitoringTopic"], "/rtcomm/event");
    assert_eq!(reply["services"]["RTCOMM_CALL_CONTROL_SERVICE"]["topic"], "/rtcomm/callControl");
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
    let mut client = TestClient::connect(demo.address(), ProtocolLevel::V4);
    client.subscribe("/rtcomm/event/#");
    drop(demo);
    client.stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    while client.read().is_ok() {}
}
