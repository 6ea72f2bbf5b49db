//! Connections: versions, addresses, and clients that violate MQTT or reconnect.

use std::io::Write as _;
use std::net::TcpStream;

use super::client::{CLEAN_START, Packet, TestClient};
use super::{VERSIONS, assert_serves, demo};
use crate::demo::CallBehavior;
use crate::transport::codec::Version;

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
