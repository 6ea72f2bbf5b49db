//! What a client subscribes to.

use super::codec::Version;
use super::dedup::Deduplicator;
use super::relay::Limits;
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
    /// How copies are told apart. With MQTT 5 the broker numbers them, if it can. MQTT 3.1.1 does not have that, and each
    /// copy of a group's message may go to another member.
    pub(super) fn deduplicator(&self, version: Version, limits: &Limits) -> Deduplicator {
        let is_numbered = version == Version::V5 && self.group.is_none() && limits.subscription_identifiers;
        Deduplicator::new(&self.filters, is_numbered)
    }
}
