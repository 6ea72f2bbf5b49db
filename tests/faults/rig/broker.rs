//! mosquitto with room for everything that waits during a fault.

use super::{Load, rtcomm_at};
use crate::support::mosquitto::Mosquitto;
use crate::support::{Rtcomm, TIMEOUT};

/// Messages wait in any number, and none is held back until the previous one is acknowledged.
const UNLIMITED: &str = "max_queued_messages 0\nset_tcp_nodelay true\n";

/// What waits is kept when the broker stops, and every second besides.
pub(crate) const PERSISTENT: &str = "persistence true\nautosave_interval 1\n";

impl Mosquitto {
    /// Open to everybody.
    pub(crate) fn unlimited() -> Self {
        Self::unlimited_with("allow_anonymous true\n")
    }

    /// With these lines in its configuration.
    pub(crate) fn unlimited_with(settings: &str) -> Self {
        Self::start(&format!("{UNLIMITED}{settings}"))
    }

    /// By way of another program, listening at an address that is known there.
    pub(crate) fn unlimited_within(within: &[&str], address: &str, settings: &str) -> Self {
        Self::start_within(within, address, &format!("{UNLIMITED}{settings}"))
    }

    /// A run of `rtcomm` at this broker.
    pub(crate) fn rtcomm(&self, words: &str) -> Rtcomm {
        rtcomm_at(words, &self.url())
    }

    /// Publishes `count` events, and waits until the broker has them all.
    pub(crate) fn publish(&self, count: u64) {
        Load::to(self.address(), 0..count).start().finish(TIMEOUT);
    }
}
