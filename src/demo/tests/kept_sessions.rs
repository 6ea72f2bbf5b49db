//! Sessions that outlive their connections.

use std::ops::Range;
use std::thread;
use std::time::Instant;

use uuid::Uuid;

use super::client::{NO_MATCHING_SUBSCRIBERS, TestClient};
use super::{POLL_INTERVAL, TIMEOUT, VERSIONS, demo, idle_demo};
use crate::demo::CallBehavior;
use crate::transport::codec::Version;

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
