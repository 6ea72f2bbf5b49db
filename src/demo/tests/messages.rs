//! Messages and wills: properties, quality of service, retained messages.

use std::io::Write as _;
use std::thread;
use std::time::Instant;

use uuid::Uuid;

use super::client::{CLEAN_START, NO_MATCHING_SUBSCRIBERS, Packet, TestClient, WILL, publish_packet, will, will_with};
use super::{POLL_INTERVAL, TIMEOUT, VERSIONS, demo, idle_demo};
use crate::demo::CallBehavior;
use crate::transport::codec::{PacketType, Version};

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
