//! An MQTT broker inside this process: rmqtt, for MQTT 3.1, 3.1.1 and 5 on one port.
//!
//! rmqtt handles connections and sessions. [`hooks`] decides what clients may publish and subscribe to,
//! [`router`](super::router) selects the receivers of a message, and [`retained`](super::retained) stores messages.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures_channel::mpsc::unbounded;
use rmqtt::codec::v5::PublishProperties;
use rmqtt::context::ServerContext;
use rmqtt::net::{Builder, Listener};
use rmqtt::server::MqttServer;
use rmqtt::session::{Session, SessionState};
use rmqtt::types::{
    CodecPublish, ConnectInfo, From as Origin, Id, ListenerConfig, Message, QoS, Rx, SessionSubs, SessionTx, Subscribe,
};
use tokio::runtime::{self, Runtime};
use tokio::time::timeout_at;
use uuid::Uuid;

use super::error::DemoError;
use super::hooks::{self, MAX_MESSAGE_LEN};
use super::retained::RetainedMessages;
use super::router::{SharedSubscriptions, SubscriptionRouter};
use crate::protocol::topic::TopicFilter;

/// The default address of MQTT brokers and of `--broker`.
pub(crate) const DEFAULT_ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1883));

/// Maximum length of a packet in bytes: a message, its topic and its other properties.
const MAX_PACKET_LEN: u32 = MAX_MESSAGE_LEN + 1024 * 1024;

/// Maximum number of messages that wait for a disconnected or slow client. Small messages take about 750 bytes each.
const MAX_QUEUED_MESSAGES: usize = 250_000;

/// Maximum number of messages to a client that it has not acknowledged, and vice versa.
const MAX_INFLIGHT: NonZeroU16 = NonZeroU16::new(1000).expect("it is not 0");

/// Session expiry of MQTT 3.1.1 clients, which cannot set one: longer than a demo runs.
const SESSION_EXPIRY_BEFORE_MQTT_5: Duration = Duration::from_hours(365 * 24);

/// The only listener of rmqtt.
const LISTENER_ID: u16 = 1;

/// The address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// 127.0.0.1:1883, or any free port if that one is in use.
    Default,
    /// Exactly this address, because clients may already use it. Port 0 is any free port.
    At(SocketAddr),
}

impl Listen {
    fn bind(self) -> Result<Listener, DemoError> {
        let (address, bound) = match self {
            Listen::At(address) => (address, bind(address)),
            Listen::Default => (DEFAULT_ADDRESS, bind_default()),
        };
        bound.map_err(|error| DemoError::Listen { address, error })
    }
}

fn bind_default() -> Result<Listener> {
    bind(DEFAULT_ADDRESS).or_else(|error| match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::AddrInUse) => bind((Ipv4Addr::LOCALHOST, 0).into()),
        _ => Err(error),
    })
}

fn bind(address: SocketAddr) -> Result<Listener> {
    Builder::new()
        .laddr(address)
        // Without it, the port of an ended demo stays in use for a minute.
        .reuseaddr(Some(true))
        .nodelay(true)
        // Has rmqtt call the hook that checks wills.
        .allow_anonymous(false)
        .max_packet_size(MAX_PACKET_LEN)
        .max_inflight(MAX_INFLIGHT)
        .max_mqueue_len(MAX_QUEUED_MESSAGES)
        .max_topic_aliases(0)
        // MQTT 5 forbids to send again over the same connection.
        .message_retry_interval(Duration::ZERO)
        .session_expiry_interval(SESSION_EXPIRY_BEFORE_MQTT_5)
        // Messages do not expire unless the sender sets an expiry.
        .message_expiry_interval(Duration::ZERO)
        .bind()
}

/// A message that the broker delivered to this process.
pub(super) struct BrokerMessage {
    /// Its topic.
    pub(super) topic: String,
    /// Its payload.
    pub(super) payload: Vec<u8>,
}

/// A running broker, and the MQTT client in this process, which needs no socket. Dropping it stops the broker.
pub(super) struct EmbeddedBroker {
    address: SocketAddr,
    runtime: Runtime,
    context: ServerContext,
    client: Id,
    messages: Rx,
}

impl EmbeddedBroker {
    /// Starts the broker, with the subscriptions of the client in this process. Returns once others can connect.
    pub(super) fn start(listen: Listen, filters: &[TopicFilter]) -> Result<EmbeddedBroker, DemoError> {
        // One thread keeps publishers from outrunning their subscribers.
        let runtime =
            runtime::Builder::new_multi_thread().worker_threads(1).thread_name("demo-broker").enable_all().build()?;
        let (address, context, client, messages) = runtime.block_on(async {
            let listener = listen.bind()?;
            let address = listener.local_addr()?;
            let context = new_context().await;
            let (client, messages) = connect_local_client(&context, listener.cfg.clone(), filters).await?;
            let server = MqttServer::new(context.clone()).listener_by_id(listener, LISTENER_ID).build();
            tokio::spawn(server.run());
            Ok::<_, DemoError>((address, context, client, messages))
        })?;
        Ok(EmbeddedBroker { address, runtime, context, client, messages })
    }

    /// Returns the address of the broker.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Publishes a message with QoS 1.
    pub(super) fn publish(&self, topic: &str, payload: String, retain: bool) -> Result<()> {
        let publish = CodecPublish {
            dup: false,
            retain,
            qos: QoS::AtLeastOnce,
            topic: topic.into(),
            packet_id: None,
            payload: payload.into(),
            properties: Some(PublishProperties::default()),
        };
        let origin = Origin::from_system(self.client.clone());
        let context = self.context.clone();
        // On the broker's own thread, where no session changes at the same time.
        let publishing = self
            .runtime
            .spawn(async move { SessionState::forwards(&context, origin, publish.into(), false, None).await });
        self.runtime.block_on(publishing)?
    }

    /// Returns the next message to the client in this process, or `None` at the deadline.
    ///
    /// # Errors
    /// If the broker is gone.
    pub(super) fn receive_until(&mut self, deadline: Instant) -> Result<Option<BrokerMessage>, DemoError> {
        let Self { runtime, messages, .. } = self;
        loop {
            match runtime.block_on(async { timeout_at(deadline.into(), messages.recv()).await }) {
                Ok(Ok(Message::Forward(_, publish))) => {
                    let topic = publish.topic.to_string();
                    return Ok(Some(BrokerMessage { topic, payload: publish.take_payload().into() }));
                }
                Ok(received) => drop(received.map_err(|_| DemoError::BrokerGone)?),
                Err(_) => return Ok(None),
            }
        }
    }
}

async fn new_context() -> ServerContext {
    // It would refuse clients while the machine is busy.
    let context = ServerContext::new().busy_check_enable(false).build().await;
    let extensions = &context.extends;
    *extensions.router_mut().await = Box::new(SubscriptionRouter::new(context.clone()));
    *extensions.retain_mut().await = Box::new(RetainedMessages::default());
    *extensions.shared_subscription_mut().await = Box::new(SharedSubscriptions);
    hooks::register(&context).await;
    context
}

/// Adds a session without a connection: what it receives goes to a channel.
async fn connect_local_client(
    context: &ServerContext,
    config: ListenerConfig,
    filters: &[TopicFilter],
) -> Result<(Id, Rx)> {
    // A random ID, because a second client with the same ID would end this session.
    let client_id = format!("rtcomm-demo-{}", Uuid::new_v4());
    let id = Id::new(context.node.id(), LISTENER_ID, None, None, client_id.into(), None);
    let connect = Arc::new(ConnectInfo::from(id.clone()));
    let fitter = context.extends.fitter_mgr().await.create(connect.clone(), id.clone(), config.clone());
    // A new session, in which nothing waits for a slow connection.
    let (queue_len, inflight, connect_time) = (0, NonZeroU16::MIN, 0);
    let (is_resumed, is_superuser, is_connected) = (false, false, true);
    let session = Session::new(
        id.clone(),
        context.clone(),
        queue_len,
        config,
        fitter,
        None,
        inflight,
        connect_time,
        connect,
        is_resumed,
        is_superuser,
        is_connected,
        connect_time,
        SessionSubs::new(),
        None,
        None,
    )
    .await?;
    let (sender, receiver) = unbounded();
    let mut entry = context.extends.shared().await.entry(id.clone());
    entry.set(session, SessionTx::new(sender)).await?;
    for filter in filters {
        entry.subscribe(&Subscribe::from_v3(&filter.as_str().into(), QoS::AtLeastOnce, false, false)?).await?;
    }
    Ok((id, receiver))
}
