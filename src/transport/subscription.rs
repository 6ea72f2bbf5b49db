//! What a client subscribes to.

use super::codec::Version;
use super::dedup::Deduplicator;
use crate::protocol::topic::TopicFilter;

/// What a client subscribes to.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) filters: Vec<TopicFilter>,
    /// The highest quality of service to receive messages with: 0, 1 or 2.
    pub(crate) qos: u8,
    /// The group that shares the subscription: each message goes to one of its members.
    pub(crate) group: Option<String>,
    /// Whether to accept a partial grant.
    pub(crate) allow_partial: bool,
}

impl Subscription {
    /// Returns how to recognize copies of a message. With MQTT 5 the broker numbers them, if it can (`can_number`). Not with
    /// MQTT 3.1.1, nor in a group, where each copy may go to another member.
    pub(super) fn deduplicator(&self, version: Version, can_number: bool) -> Deduplicator {
        let is_numbered = version == Version::V5 && self.group.is_none() && can_number;
        Deduplicator::new(&self.filters, is_numbered)
    }
}
