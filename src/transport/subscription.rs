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
    /// The filter whose retained messages are listed completely before [`Client::settle`] returns. Its quality of service
    /// is 0: a broker limits how many messages with a higher one it queues, and drops the rest of the list.
    ///
    /// [`Client::settle`]: super::client::Client::settle
    pub(crate) listing: Option<TopicFilter>,
    /// The group that shares the subscription: each message goes to one of its members.
    pub(crate) group: Option<String>,
    /// Whether to accept a partial grant.
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

    /// Returns how to recognize copies of a message. With MQTT 5 the broker numbers them, if it can (`can_number`). Not with
    /// MQTT 3.1.1, nor in a group, where each copy may go to another member.
    pub(super) fn deduplicator(&self, version: Version, can_number: bool) -> Deduplicator {
        let is_numbered = version == Version::V5 && self.group.is_none() && can_number;
        Deduplicator::new(&self.filters, is_numbered)
    }
}
