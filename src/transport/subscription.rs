//! The subscription of a client.

use super::codec::Version;
use super::dedup::Deduplicator;
use crate::protocol::topic::TopicFilter;

/// The filters that a client subscribes to, and how.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) filters: Vec<TopicFilter>,
    /// The highest quality of service for received messages: 0, 1 or 2.
    pub(crate) qos: u8,
    /// The filter whose retained messages are all handled before [`Client::settle`] returns. It has QoS 0, because brokers
    /// limit how many messages of a higher QoS they queue, and would drop the rest of the list.
    ///
    /// [`Client::settle`]: super::client::Client::settle
    pub(crate) listing: Option<TopicFilter>,
    /// The group of a shared subscription: each message goes to one of its members.
    pub(crate) group: Option<String>,
    /// Whether a partial grant is acceptable.
    pub(crate) allow_partial: bool,
}

impl Subscription {
    /// Returns whether this filter is the one whose retained messages are listed.
    pub(super) fn is_listing(&self, filter: &TopicFilter) -> bool {
        self.listing.as_ref() == Some(filter)
    }

    /// Returns the quality of service to subscribe to this filter with.
    pub(super) fn qos_of(&self, filter: &TopicFilter) -> u8 {
        if self.is_listing(filter) { 0 } else { self.qos }
    }

    /// Returns the rule that recognizes copies of a message. Subscription identifiers need MQTT 5 and a broker that supports
    /// them (`can_number`). They are not used in a group, where each copy may go to another member.
    pub(super) fn deduplicator(&self, version: Version, can_number: bool) -> Deduplicator {
        let is_numbered = version == Version::V5 && self.group.is_none() && can_number;
        Deduplicator::new(&self.filters, is_numbered)
    }
}
