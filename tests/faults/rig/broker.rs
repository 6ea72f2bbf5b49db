//! mosquitto without queue limits, so that messages can wait during a fault.

use super::{Load, rtcomm_at};
use crate::support::mosquitto::Mosquitto;
use crate::support::{Rtcomm, TIMEOUT};

/// Queues are unlimited, and messages are sent without Nagle's algorithm.
const UNLIMITED: &str = "max_queued_messages 0\nset_tcp_nodelay true\n";

/// Queued messages are saved when the broker stops, and every second.
pub(crate) const PERSISTENT: &str = "persistence true\nautosave_interval 1\n";

impl Mosquitto {
    /// Starts mosquitto for anonymous clients.
    pub(crate) fn unlimited() -> Self {
        Self::unlimited_with("allow_anonymous true\n")
    }

    /// Starts mosquitto with these settings.
    pub(crate) fn unlimited_with(settings: &str) -> Self {
        Self::start(&format!("{UNLIMITED}{settings}"))
    }

    /// Starts mosquitto through another program, such as ip(8), with a listener at this address.
    pub(crate) fn unlimited_within(within: &[&str], address: &str, settings: &str) -> Self {
        Self::start_within(within, address, &format!("{UNLIMITED}{settings}"))
    }

    /// Creates a run of `rtcomm` at this broker.
    pub(crate) fn rtcomm(&self, words: &str) -> Rtcomm {
        rtcomm_at(words, &self.url())
    }

    /// Publishes `count` events, and waits until the broker has acknowledged them all.
    pub(crate) fn publish(&self, count: u64) {
        Load::to(self.address(), 0..count).start().finish(TIMEOUT);
    }
}
