//! The retained messages of the embedded broker.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use rmqtt::retain::RetainStorage;
use rmqtt::types::{Retain, TopicFilter as BrokerFilter, TopicName};

use crate::protocol::topic::TopicFilter;
use crate::sync::lock;

/// One message per topic, in the order of the topics.
///
/// rmqtt's own store is a tree of topic levels, which overflows the stack for a topic of many levels.
#[derive(Default)]
pub(super) struct RetainedMessages(Mutex<BTreeMap<TopicName, Retain>>);

#[async_trait]
impl RetainStorage for RetainedMessages {
    fn enable(&self) -> bool {
        true
    }

    /// Stores a message, or removes the one of its topic if the payload is empty [MQTT-3.3.1-6].
    async fn set(&self, topic: &TopicName, message: Retain, _expiry: Option<Duration>) -> Result<()> {
        let mut messages = lock(&self.0);
        if message.publish.payload.is_empty() {
            messages.remove(topic);
        } else {
            messages.insert(topic.clone(), message);
        }
        Ok(())
    }

    /// Returns the messages for a new subscription.
    ///
    /// rmqtt sends them without a subscription identifier. So that [`hooks`](super::hooks) can add it, the filter is in
    /// `target_clientid`, which rmqtt does not read here.
    async fn get(&self, filter: &BrokerFilter) -> Result<Vec<(TopicName, Retain)>> {
        let parsed: TopicFilter = filter.parse()?;
        let messages = lock(&self.0);
        let matching = messages.iter().filter(|(topic, _)| parsed.matches(topic));
        Ok(matching
            .map(|(topic, message)| {
                let mut message = message.clone();
                message.publish.target_clientid = Some(filter.clone());
                (topic.clone(), message)
            })
            .collect())
    }

    async fn count(&self) -> isize {
        lock(&self.0).len().try_into().unwrap_or(isize::MAX)
    }

    async fn max(&self) -> isize {
        isize::MAX
    }
}
