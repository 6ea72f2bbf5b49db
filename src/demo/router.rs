//! The subscriptions of all clients, and the receivers of a message.
//!
//! Replaces rmqtt's router, which holds a lock of its hash map while it waits. That stops the whole broker if a client
//! unsubscribes while a message goes to a shared subscription. It also refuses topics such as `a/$b`.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use rmqtt::context::ServerContext;
use rmqtt::router::Router;
use rmqtt::subscribe::SharedSubscription;
use rmqtt::types::{
    AllRelationsMap, ClientId, HashMap as BrokerMap, Id, NodeId, Route, SubRelation, SubRelations, SubRelationsMap,
    SubsSearchParams, SubsSearchResult, SubscriptioRelationsCollector, SubscriptionOptions, TopicName,
};
use rmqtt::utils::Counter;
use tokio::time::sleep;

use crate::protocol::topic::TopicFilter;
use crate::sync::lock;

/// The subscribers of a filter. A client has one subscription per filter, shared or not.
type Subscribers = HashMap<ClientId, (Id, SubscriptionOptions)>;

/// Maximum time for the session of a client to move to a new connection: 100 ms.
const MAX_SESSION_POLLS: u32 = 100;
const SESSION_POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Selects the receivers of each message.
pub(super) struct SubscriptionRouter {
    context: ServerContext,
    subscriptions: Mutex<HashMap<TopicFilter, Subscribers>>,
    /// Always empty: rmqtt reads it only for a feature that is not enabled.
    relations: AllRelationsMap,
}

impl SubscriptionRouter {
    pub(super) fn new(context: ServerContext) -> Self {
        Self { context, subscriptions: Mutex::default(), relations: AllRelationsMap::default() }
    }

    /// Chooses the member of a shared subscription that receives a message. Prefers members that are connected.
    async fn choose(&self, mut members: Vec<(Id, SubscriptionOptions)>) -> Option<(Id, SubscriptionOptions)> {
        let mut connected = Vec::new();
        for (index, (id, _)) in members.iter().enumerate() {
            if self.is_online(id.node_id, &id.client_id).await {
                connected.push(index);
            }
        }
        let index = fastrand::choice(connected).or_else(|| fastrand::choice(0..members.len()))?;
        Some(members.swap_remove(index))
    }

    /// Waits while the session of a receiver moves to a new connection: rmqtt would lose the message.
    async fn wait_for_sessions(&self, receivers: &[SubRelation]) {
        let shared = self.context.extends.shared().await;
        let is_ready = |client_id: &ClientId| {
            let entry = shared.entry(Id::from(self.context.node.id(), client_id.clone()));
            entry.tx().is_some_and(|channel| !channel.is_closed())
        };
        for _ in 0..MAX_SESSION_POLLS {
            if receivers.iter().all(|(_, client_id, ..)| is_ready(client_id)) {
                return;
            }
            sleep(SESSION_POLL_INTERVAL).await;
        }
        // A session that does not return has ended.
        let mut subscriptions = lock(&self.subscriptions);
        for (_, client_id, ..) in receivers.iter().filter(|(_, client_id, ..)| !is_ready(client_id)) {
            subscriptions.retain(|_, subscribers| {
                subscribers.remove(client_id);
                !subscribers.is_empty()
            });
        }
    }
}

#[async_trait]
impl Router for SubscriptionRouter {
    async fn add(&self, topic_filter: &str, id: Id, options: SubscriptionOptions) -> Result<()> {
        let filter = topic_filter.parse()?;
        lock(&self.subscriptions).entry(filter).or_default().insert(id.client_id.clone(), (id, options));
        Ok(())
    }

    async fn remove(&self, topic_filter: &str, id: Id) -> Result<bool> {
        let filter = topic_filter.parse()?;
        let mut subscriptions = lock(&self.subscriptions);
        let Some(subscribers) = subscriptions.get_mut(&filter) else { return Ok(false) };
        // A new session of the same client may have subscribed in the meantime.
        let is_own = subscribers.get(&id.client_id).is_some_and(|(subscriber, _)| *subscriber == id);
        if is_own {
            subscribers.remove(&id.client_id);
        }
        if subscribers.is_empty() {
            subscriptions.remove(&filter);
        }
        Ok(is_own)
    }

    async fn matches(&self, publisher: Id, topic: &TopicName) -> Result<SubRelationsMap> {
        let mut receivers = SubscriptioRelationsCollector::default();
        let mut groups: HashMap<_, Vec<_>> = HashMap::new();
        for (filter, subscribers) in lock(&self.subscriptions).iter().filter(|(filter, _)| filter.matches(topic)) {
            for (id, options) in subscribers.values() {
                match options.shared_group() {
                    _ if options.no_local() == Some(true) && *id == publisher => {}
                    None => receivers.add(&filter.as_str().into(), id.client_id.clone(), options.clone(), None),
                    Some(group) => {
                        let members = groups.entry((filter.clone(), group.clone())).or_default();
                        members.push((id.clone(), options.clone()));
                    }
                }
            }
        }
        for ((filter, _), members) in groups {
            if let Some((id, options)) = self.choose(members).await {
                receivers.add(&filter.as_str().into(), id.client_id.clone(), options, None);
            }
        }
        let receivers: SubRelations = receivers.into();
        self.wait_for_sessions(&receivers).await;
        Ok(SubRelationsMap::from_iter([(self.context.node.id(), receivers)]))
    }

    async fn is_online(&self, node_id: NodeId, client_id: &str) -> bool {
        let entry = self.context.extends.shared().await.entry(Id::from(node_id, client_id.into()));
        match entry.session() {
            Some(session) => session.connected().await.unwrap_or(false),
            None => false,
        }
    }

    /// Returns the filters that match a topic.
    async fn get(&self, topic: &str) -> Result<Vec<Route>> {
        let node_id = self.context.node.id();
        let subscriptions = lock(&self.subscriptions);
        let filters = subscriptions.keys().filter(|filter| filter.matches(topic));
        Ok(filters.map(|filter| Route { node_id, topic: filter.as_str().into() }).collect())
    }

    fn relations(&self) -> &AllRelationsMap {
        &self.relations
    }

    // The rest is for rmqtt's statistics and its cluster.

    async fn gets(&self, _limit: usize) -> Vec<Route> {
        Vec::new()
    }

    async fn query_subscriptions(&self, _parameters: &SubsSearchParams) -> Vec<SubsSearchResult> {
        Vec::new()
    }

    async fn topics_tree(&self) -> usize {
        0
    }

    fn topics(&self) -> Counter {
        Counter::new()
    }

    fn routes(&self) -> Counter {
        Counter::new()
    }

    fn merge_topics(&self, _topics: &BrokerMap<NodeId, Counter>) -> Counter {
        Counter::new()
    }

    fn merge_routes(&self, _routes: &BrokerMap<NodeId, Counter>) -> Counter {
        Counter::new()
    }

    async fn list_topics(&self, _count: usize) -> Vec<String> {
        Vec::new()
    }

    async fn list_relations(&self, _count: usize) -> Vec<serde_json::Value> {
        Vec::new()
    }
}

/// Enables shared subscriptions. The router chooses the receivers.
pub(super) struct SharedSubscriptions;

impl SharedSubscription for SharedSubscriptions {
    fn is_supported(&self) -> bool {
        true
    }
}
