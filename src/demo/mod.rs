//! `rtcomm demo`: an MQTT broker and a simulated Rtcomm server in this process, so that everything can be tried, taught
//! and tested with nothing installed.
//!
//! | module | holds |
//! | --- | --- |
//! | [`broker`] | rumqttd on one address; the only file that names it |
//! | [`guard`] | which packets may reach it |
//! | [`packet`] | those packets as bytes |
//! | [`world`] | who registers and calls whom: pure, and the same for the same seed |
//! | [`server`] | the world as events and presence documents, and the service that answers requests |

mod broker;
mod guard;
mod packet;
mod server;
#[cfg(test)]
mod tests;
mod world;

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::json;

use self::broker::Broker;
pub(crate) use self::broker::{DEFAULT_ADDRESS, Listen};
use self::server::Server;
use crate::exit::Failure;
use crate::protocol::topic::{TopicName, Topics};

/// What a demo is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Where the broker listens.
    pub(crate) listen: Listen,
    /// How long it is from one event to the next.
    pub(crate) interval: Duration,
    /// Which story the world tells.
    pub(crate) seed: u64,
    /// How the service treats requests for calls.
    pub(crate) calls: Calls,
    /// Where everything is published.
    pub(crate) topics: Topics,
}

/// How the service treats requests for calls. All but one are misbehaviour, for people to test their scripts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// As the world stands.
    Answer,
    /// With FAILURE.
    Fail,
    /// Not at all.
    Silent,
    /// As the world stands, after this long.
    Delay(Duration),
}

impl FromStr for Calls {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "answer" => Ok(Self::Answer),
            "fail" => Ok(Self::Fail),
            "silent" => Ok(Self::Silent),
            _ => match text.strip_prefix("delay=").map(humantime::parse_duration) {
                Some(Ok(delay)) => Ok(Self::Delay(delay)),
                Some(Err(error)) => Err(format!("no duration after 'delay=': {error}; write it as in 'delay=2s'")),
                None => Err("it is none of 'answer', 'fail', 'silent' and 'delay=2s'".to_owned()),
            },
        }
    }
}

/// The topic that an endpoint registers.
fn registered_topic(topics: &Topics, number: u32) -> String {
    format!("{}/{number}", topics.root)
}

/// What a service query is answered with.
fn services(topics: &Topics) -> serde_json::Value {
    json!({
        "RTCOMM_CONNECTOR_SERVICE": {
            "topic": topics.root.child("connector").as_str(),
            "sphereTopic": topics.sphere().as_str(),
            "iceURL": "stun:localhost:3478",
            "eventMonitoringTopic": topics.events.as_str(),
        },
        "RTCOMM_CALL_CONTROL_SERVICE": { "topic": topics.calls.as_str() },
        "RTCOMM_CALL_QUEUE_SERVICE": { "queues": [] },
    })
}

/// Refuses what rumqttd cannot carry, or, below `$`, does not deliver.
fn check(topics: &Topics) -> Result<(), Failure> {
    let all = [topics.sphere().to_topic(), topics.events.child("x").to_topic(), topics.calls.clone()];
    let is_carried = |topic: &TopicName| guard::can_carry(topic) && !topic.as_str().starts_with('$');
    match all.iter().find(|topic| !is_carried(topic)) {
        None => Ok(()),
        Some(topic) => Err(Failure::usage(format!("the demo's broker has no topics like '{topic}'"))
            .hint("choose a root that begins with '/' or an ASCII letter")),
    }
}

/// A demo at work. The server stops when this is dropped; the broker stays until the process ends.
#[derive(Debug)]
pub(crate) struct Demo {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<Result<()>>>,
}

/// Starts a demo, and returns once clients can connect and call.
///
/// # Errors
/// Where the address is taken, or a root is none that the broker can serve.
pub(crate) fn start(options: Options) -> Result<Demo> {
    let Options { listen, interval, seed, calls, topics } = options;
    check(&topics)?;
    let broker = Broker::start(listen)?;
    let address = broker.address();
    let server = Server::new(broker.into_link(), seed, topics, calls, interval)?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let server = thread::Builder::new().name("demo-server".to_owned()).spawn(move || server.run(&stopped))?;
    Ok(Demo { address, stop, server: Some(server) })
}

impl Demo {
    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for what should not happen: that the demo breaks. Whoever wants it to end, ends the process.
    ///
    /// # Errors
    /// Says what broke.
    pub(crate) fn wait(mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), |server| server.join().map_err(|_| anyhow!("the simulated server broke"))?)
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
