//! What clients of the embedded broker may publish and subscribe to, and corrections of what rmqtt sends.
//!
//! rmqtt checks neither topics nor the strings of properties, so a client could send others what they must reject.

use std::time::Duration;

use async_trait::async_trait;
use rmqtt::codec::types::QoS;
use rmqtt::codec::v5::{PublishAckReason, PublishProperties, SubscribeAckReason, UserProperties};
use rmqtt::context::ServerContext;
use rmqtt::hook::{Handler, HookResult, Parameter, ReturnType, Type};
use rmqtt::inflight::{MomentStatus, OutInflightMessage};
use rmqtt::session::Session;
use rmqtt::types::{
    AuthResult, ConnectInfo, From as Origin, Publish, PublishAclResult, PublishResult, Subscribe, SubscribeReturn,
    SubscriptionOptions,
};
use tokio::time::sleep;

use crate::protocol::topic::{TopicFilter, TopicName};

/// Maximum length of payload and user properties in bytes. Messages of Rtcomm have some hundred bytes.
pub(super) const MAX_MESSAGE_LEN: u32 = 16 * 1024 * 1024;

/// Maximum number of levels in a topic or filter.
const MAX_TOPIC_LEVELS: usize = 128;

/// Bytes of a user property besides its texts: its identifier, and two lengths.
const USER_PROPERTY_OVERHEAD: usize = 5;

/// Maximum wait for an earlier session of a client to end: 10 ms.
const MAX_SESSION_POLLS: u32 = 10;
const SESSION_POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Returns whether the broker handles a topic or filter of that many levels.
pub(super) fn has_allowed_depth(topic: &str) -> bool {
    topic.split('/').count() <= MAX_TOPIC_LEVELS
}

/// Registers the hooks.
pub(super) async fn register(context: &ServerContext) {
    let hooks = context.extends.hook_mgr().register();
    for kind in [
        Type::ClientAuthenticate,
        Type::ClientSubscribeCheckAcl,
        Type::MessagePublishCheckAcl,
        Type::MessageExpiryCheck,
        Type::MessageDelivered,
        Type::OfflineInflightMessages,
    ] {
        hooks.add(kind, Box::new(Hooks(context.clone()))).await;
    }
    hooks.start().await;
}

struct Hooks(ServerContext);

#[async_trait]
impl Handler for Hooks {
    async fn hook(&self, parameter: &Parameter, _: Option<HookResult>) -> ReturnType {
        let result = match parameter {
            Parameter::ClientAuthenticate(connect) => {
                wait_for_earlier_session(&self.0, connect).await;
                Some(HookResult::AuthResult(check_will(connect)))
            }
            Parameter::ClientSubscribeCheckAcl(_, subscribe) => check_filter(subscribe),
            Parameter::MessagePublishCheckAcl(session, publish) => check_publish(session, publish).await,
            Parameter::MessageExpiryCheck(session, _, publish) => drop_retained_if_shared(session, publish).await,
            Parameter::MessageDelivered(session, origin, publish) => prepare_delivery(session, origin, publish).await,
            Parameter::OfflineInflightMessages(session, _) => {
                reverse_inflight(session).await;
                None
            }
            _ => None,
        };
        (true, result)
    }
}

/// Waits a little for a session of the same client to end, whose connection may have ended just now.
///
/// Otherwise rmqtt could ask a session to end that ends by itself, get no answer, and refuse the client.
async fn wait_for_earlier_session(context: &ServerContext, connect: &ConnectInfo) {
    let earlier = context.extends.shared().await.entry(connect.id().clone());
    for _ in 0..MAX_SESSION_POLLS {
        if !earlier.exist() {
            return;
        }
        sleep(SESSION_POLL_INTERVAL).await;
    }
}

/// Refuses a client whose will must not be published.
fn check_will(connect: &ConnectInfo) -> AuthResult {
    let is_allowed = match connect {
        ConnectInfo::V3(_, connect) => connect.last_will.as_ref().is_none_or(|will| is_allowed_topic(&will.topic)),
        ConnectInfo::V5(_, connect) => connect.last_will.as_ref().is_none_or(|will| {
            let texts = [&will.content_type, &will.response_topic];
            is_allowed_topic(&will.topic)
                && texts.into_iter().flatten().all(|text| is_allowed_text(text))
                && is_allowed_content(&will.user_properties, will.message.len())
        }),
    };
    if is_allowed { AuthResult::Allow(false, None) } else { AuthResult::NotAuthorized }
}

/// Refuses a malformed filter, or one of too many levels.
fn check_filter(subscribe: &Subscribe) -> Option<HookResult> {
    let Subscribe { topic_filter, opts } = subscribe;
    let filter = match opts.shared_group() {
        Some(group) => format!("$share/{group}/{topic_filter}"),
        None => topic_filter.to_string(),
    };
    if filter.parse::<TopicFilter>().is_ok() && has_allowed_depth(topic_filter) {
        return None;
    }
    Some(HookResult::SubscribeAclResult(SubscribeReturn::new_failure(SubscribeAckReason::TopicFilterInvalid)))
}

/// Closes the connection for a message that others must reject, and reports to a publisher that nobody subscribes.
///
/// A retained message is stored without a subscriber, so that it is not refused.
async fn check_publish(session: &Session, publish: &Publish) -> Option<HookResult> {
    let (reason, disconnect) = if !is_allowed_publish(publish) {
        (PublishAckReason::TopicNameInvalid, true)
    } else if publish.qos != QoS::AtMostOnce && !publish.retain && !has_subscribers(session, publish).await {
        (PublishAckReason::NoMatchingSubscribers, false)
    } else {
        return None;
    };
    let result = PublishResult::reason_code(reason, None, disconnect);
    Some(HookResult::PublishAclResult(PublishAclResult(result)))
}

async fn has_subscribers(session: &Session, publish: &Publish) -> bool {
    let routes = session.scx.extends.router().await.get(&publish.topic).await;
    routes.is_ok_and(|routes| !routes.is_empty())
}

fn is_allowed_publish(publish: &Publish) -> bool {
    let has_allowed_properties = |properties: &PublishProperties| {
        let texts = [&properties.content_type, &properties.response_topic];
        // Only a broker sends subscription identifiers [MQTT-3.3.4-6].
        properties.subscription_ids.is_empty()
            && texts.into_iter().flatten().all(|text| is_allowed_text(text))
            && is_allowed_content(&properties.user_properties, publish.payload.len())
    };
    let none = PublishProperties::default();
    is_allowed_topic(&publish.topic) && has_allowed_properties(publish.properties.as_ref().unwrap_or(&none))
}

fn is_allowed_topic(topic: &str) -> bool {
    topic.parse::<TopicName>().is_ok() && has_allowed_depth(topic)
}

/// Returns whether a text has no NUL, which MQTT forbids [MQTT-1.5.4-2].
fn is_allowed_text(text: &str) -> bool {
    !text.contains('\0')
}

/// Returns whether a message is short enough to be sent to every client, and its user properties have no NUL.
fn is_allowed_content(properties: &UserProperties, payload_len: usize) -> bool {
    let properties_len: usize =
        properties.iter().map(|(key, value)| key.len() + value.len() + USER_PROPERTY_OVERHEAD).sum();
    payload_len + properties_len <= MAX_MESSAGE_LEN as usize
        && properties.iter().all(|(key, value)| is_allowed_text(key) && is_allowed_text(value))
}

/// Returns the subscription that a retained message is sent for. See [`retained`](super::retained).
async fn subscription_of_retained(session: &Session, publish: &Publish) -> Option<SubscriptionOptions> {
    let filter = publish.target_clientid.as_ref()?;
    session.subscriptions().await.ok()?.read().await.get(filter).cloned()
}

/// Drops a retained message to a shared subscription, which must not receive it (MQTT 5, 4.8.2).
async fn drop_retained_if_shared(session: &Session, publish: &Publish) -> Option<HookResult> {
    let subscription = subscription_of_retained(session, publish).await?;
    subscription.has_shared_group().then_some(HookResult::MessageExpiry)
}

/// Prepares a message for sending: records it as unacknowledged, and adds the subscription identifier if it is retained.
///
/// rmqtt records it after sending, so that it would lose the message if the connection breaks meanwhile.
async fn prepare_delivery(session: &Session, origin: &Origin, publish: &Publish) -> Option<HookResult> {
    let status = match publish.qos {
        QoS::AtMostOnce => None,
        QoS::AtLeastOnce => Some(MomentStatus::UnAck),
        QoS::ExactlyOnce => Some(MomentStatus::UnReceived),
    };
    if let Some(status) = status {
        let message = OutInflightMessage::new(status, origin.clone(), publish.clone());
        session.out_inflight().write().await.push_back(message);
    }
    let identifier = subscription_of_retained(session, publish).await?.subscription_identifier()?;
    let mut publish = publish.clone();
    publish.properties.get_or_insert_default().subscription_ids = vec![identifier];
    Some(HookResult::Publish(publish))
}

/// Reverses the unacknowledged messages of a client that disconnected.
///
/// When it reconnects, rmqtt sends the last of them first, instead of in the original order [MQTT-4.6.0-1].
async fn reverse_inflight(session: &Session) {
    let mut inflight = session.out_inflight().write().await;
    for message in inflight.to_inflight_messages().into_iter().rev() {
        inflight.push_back(message);
    }
}
