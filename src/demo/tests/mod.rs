//! Tests of the demo with clients over real sockets.
//!
//! | file | tests |
//! | --- | --- |
//! | `start_and_stop` | options, addresses, and the end of a demo |
//! | `connections` | versions, and clients that violate MQTT or reconnect |
//! | `topics` | topics and filters that the broker accepts or refuses |
//! | `messages` | messages and wills: properties, quality of service, retained messages |
//! | `kept_sessions` | sessions that outlive their connections |
//! | `shared_subscriptions` | groups of clients that share messages |
//! | `simulated_server` | events, presence documents, and replies to requests |
//! | `client` | no tests: the MQTT client that the others use |

mod client;
mod connections;
mod kept_sessions;
mod messages;
mod shared_subscriptions;
mod simulated_server;
mod start_and_stop;
mod topics;

use std::net::SocketAddr;
use std::time::Duration;

use uuid::Uuid;

use self::client::TestClient;
use super::{CallBehavior, Demo, DemoOptions, Listen, start};
use crate::protocol::topic::{Root, Topics};
use crate::transport::codec::Version;

const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

/// How often to look for a change.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Longer than any step takes.
const TIMEOUT: Duration = Duration::from_secs(10);

fn options(calls: CallBehavior) -> DemoOptions {
    let root: Root = "/rtcomm".parse().expect("a root");
    DemoOptions {
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
    start(DemoOptions { interval, ..options(CallBehavior::Answer) }).expect("a demo on any free port")
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
