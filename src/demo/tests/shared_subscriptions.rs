//! Shared subscriptions: each message goes to one member of a group.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::client::{Packet, TestClient, publish_packet};
use super::{VERSIONS, assert_serves, demo};
use crate::demo::CallBehavior;
use crate::transport::codec::{PacketType, Version};

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
