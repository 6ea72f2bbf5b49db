//! An MQTT broker and a simulated Rtcomm server in this process, for trying and testing without a server.
//!
//! | module | contents |
//! | --- | --- |
//! | [`error`] | why a demo failed |
//! | [`embedded_broker`] | starts the MQTT broker rmqtt, and connects the server to it |
//! | [`hooks`] | what clients may publish and subscribe to |
//! | [`router`] | the subscriptions, and the receivers of a message |
//! | [`retained`] | the retained messages |
//! | [`simulation`] | simulated endpoints and calls: pure, and deterministic for a seed |
//! | [`simulated_server`] | publishes the simulation, and replies to requests |

mod embedded_broker;
mod error;
mod hooks;
mod retained;
mod router;
mod simulated_server;
mod simulation;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;

use self::embedded_broker::EmbeddedBroker;
pub(crate) use self::embedded_broker::{DEFAULT_ADDRESS, Listen};
pub(crate) use self::error::DemoError;
use self::simulated_server::SimulatedServer;
use crate::protocol::topic::{TopicName, Topics};

/// Options of a demo.
#[derive(Clone, Debug)]
pub(crate) struct DemoOptions {
    /// Where the broker listens.
    pub(crate) listen: Listen,
    /// Time between two events.
    pub(crate) interval: Duration,
    /// Seed of the simulation.
    pub(crate) seed: u64,
    /// How the service replies to call requests.
    pub(crate) calls: CallBehavior,
    /// The topics to publish to.
    pub(crate) topics: Topics,
}

/// How the service replies to call requests. All but `Answer` are faults, for testing scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallBehavior {
    /// Reply according to the simulation.
    Answer,
    /// Let every call fail.
    Fail,
    /// Do not reply.
    Silent,
    /// Reply according to the simulation, after this time: the callee is slow to answer.
    Delay(Duration),
}

/// Addresses of ICE servers, as in a real deployment: the second one has credentials.
const ICE_URL: &str = "stun:localhost:3478,turn:demo@localhost:3478:credential:not-a-secret";

/// Returns the topic of an endpoint with this registration number.
fn registered_topic(topics: &Topics, number: u32) -> String {
    format!("{}/{number}", topics.root)
}

/// Returns the reply to a service query.
fn services(topics: &Topics) -> serde_json::Value {
    json!({
        "RTCOMM_CONNECTOR_SERVICE": {
            "topic": topics.root.child("connector").as_str(),
            "sphereTopic": topics.sphere().as_str(),
            "iceURL": ICE_URL,
            "eventMonitoringTopic": topics.events.as_str(),
        },
        "RTCOMM_CALL_CONTROL_SERVICE": { "topic": topics.calls.as_str() },
        "RTCOMM_CALL_QUEUE_SERVICE": {
            "queues": [{ "endpointID": "support", "topic": topics.root.child("callQueue").child("support").as_str() }],
        },
    })
}

/// Rejects topics below `$`, which are reserved for brokers [MQTT-4.7.2-1], and topics of too many levels.
fn check_topics(topics: &Topics) -> Result<(), DemoError> {
    let deepest_event = topics.events.child("session").child("started").child("from").child("to");
    let all = [topics.sphere().child("x").to_topic(), deepest_event.to_topic(), topics.calls.clone()];
    let is_supported = |topic: &TopicName| hooks::has_allowed_depth(topic.as_str()) && !topic.as_str().starts_with('$');
    match all.into_iter().find(|topic| !is_supported(topic)) {
        None => Ok(()),
        Some(topic) => Err(DemoError::UnsupportedTopic(topic)),
    }
}

/// A running demo. Dropping it stops the server and the broker.
#[derive(Debug)]
pub(crate) struct Demo {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<Result<(), DemoError>>>,
}

/// Starts a demo, and returns once clients can connect and call.
///
/// # Errors
/// If the address is in use, or the broker does not support a root.
pub(crate) fn start(options: DemoOptions) -> Result<Demo, DemoError> {
    let DemoOptions { listen, interval, seed, calls, topics } = options;
    check_topics(&topics)?;
    let broker = EmbeddedBroker::start(listen, &[topics.calls.and_below(), topics.management().everything()])?;
    let address = broker.address();
    let server = SimulatedServer::new(broker, seed, topics, calls, interval);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let server = thread::Builder::new().name("demo-server".to_owned()).spawn(move || server.run(&stopped))?;
    Ok(Demo { address, stop, server: Some(server) })
}

impl Demo {
    /// Returns the address of the broker.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the demo fails. Without a failure, waits until the process ends.
    ///
    /// # Errors
    /// If the server failed.
    pub(crate) fn wait(mut self) -> Result<(), DemoError> {
        self.server.take().map_or(Ok(()), |server| server.join().map_err(|_| DemoError::ServerPanicked)?)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            server.join().ok();
        }
    }
}
