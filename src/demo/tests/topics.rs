//! Topics and filters that the broker accepts or refuses.

use super::client::{CLEAN_START, TestClient, WILL, will};
use super::{VERSIONS, assert_serves, demo, idle_demo};
use crate::demo::CallBehavior;
use crate::protocol::topic::MAX_TOPIC_BYTES;
use crate::transport::codec::Version;

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
