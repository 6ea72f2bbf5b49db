//! Events for the client's thread: from the broker's reader, the input thread and signals.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use uuid::Uuid;

use crate::commands::cancellation::Cancellation;
use crate::protocol::event::Event;
use crate::protocol::fields::Field;
use crate::protocol::record::{Message, Record};
use crate::protocol::topic::{Category, Root, TopicFilter, Topics};
use crate::sync::lock;
use crate::transport::client::{Canceller, Client};
use crate::transport::error::ConnectionEnd;
use crate::transport::relay::{Ack, LargeMessage, MessageHandler, PacketSize, Publish, Published};
use crate::transport::session::{Recovery, SessionError};
use crate::transport::url::BrokerUrl;

/// A message from another thread to the client's.
pub(super) enum Incoming {
    /// A message on the reply topic.
    Reply { payload: Vec<u8>, retained: bool },
    /// A message on the reply topic that is too large. Its size in bytes.
    Oversized(usize),
    /// An event of a followed session.
    Event(EventMessage),
    /// The outcome of publishing the request with this transaction ID.
    Published(Uuid, Published),
    /// The connection was lost.
    Lost(ConnectionEnd),
    /// The attempts to reconnect have ended.
    Recovered(Box<Recovered>),
    /// [`Waker::wake`] was called.
    Woken,
}

/// The end of the attempts to reconnect.
pub(super) struct Recovered {
    pub(super) client: Client,
    pub(super) recovery: Recovery,
    /// The broker that the client is subscribed at, or why it is not. `None` if it was cancelled.
    pub(super) result: Result<BrokerUrl, Option<SessionError>>,
}

/// An event of a followed session.
#[derive(Debug)]
pub(super) struct EventMessage {
    /// Its `sigSessID`.
    pub(super) session_id: Uuid,
    received: Timestamp,
    topic: String,
    qos: u8,
    payload: Vec<u8>,
}

impl EventMessage {
    /// Returns it as a record.
    pub(super) fn record(&self, topics: &Topics) -> Record<'_> {
        let Self { session_id: _, received, topic, qos, payload } = self;
        Record::of(topics, &Message { received: *received, topic, qos: *qos, retain: false, payload })
    }
}

/// Wakes a client's thread from another thread.
#[derive(Clone)]
pub(super) struct Waker {
    incoming: Sender<Incoming>,
    cancellation: Cancellation,
}

impl Waker {
    /// Makes the client's next event [`CallEvent::Woken`](super::client::CallEvent::Woken).
    pub(super) fn wake(&self) {
        // Ignore a closed channel: the client has ended.
        let _ = self.incoming.send(Incoming::Woken);
    }

    /// Wakes the client's thread, and cancels its connection attempt, if any.
    pub(super) fn cancel(&self) {
        self.cancellation.cancel();
        self.wake();
    }

    /// Makes [`Waker::cancel`] cancel this connection attempt, also if it was called before.
    pub(super) fn watch(&self, canceller: Canceller) {
        self.cancellation.watch(canceller);
    }

    /// Returns the sending end of the channel.
    pub(super) fn incoming(&self) -> Sender<Incoming> {
        self.incoming.clone()
    }
}

/// The receiving end of a client's messages. Made before the client, so that its [`Waker`] works during connecting.
pub(super) struct EventReceiver {
    pub(super) waker: Waker,
    pub(super) incoming: Receiver<Incoming>,
}

impl EventReceiver {
    /// Makes a receiver and its waker.
    pub(super) fn new() -> Self {
        let (sender, incoming) = channel();
        Self { waker: Waker { incoming: sender, cancellation: Cancellation::default() }, incoming }
    }

    /// Returns the waker.
    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

/// The IDs of the followed sessions, each with the transaction IDs of its calls. Shared with the thread that reads from the
/// broker.
pub(super) type FollowedIds = Arc<Mutex<HashMap<Uuid, Vec<Uuid>>>>;

/// Sends replies, and events of followed sessions, to the client's thread.
pub(super) struct CallHandler {
    pub(super) incoming: Sender<Incoming>,
    /// Matches the topics of replies.
    pub(super) replies: TopicFilter,
    /// Maximum size of a reply in bytes.
    pub(super) max_payload: usize,
    /// The root of the event topics, if calls are followed.
    pub(super) events: Option<Root>,
    pub(super) followed: FollowedIds,
}

impl CallHandler {
    fn reply(&self, message: &Publish<'_>) -> Incoming {
        match message.payload.len() {
            size if size > self.max_payload => Incoming::Oversized(size),
            _ => Incoming::Reply { payload: message.payload.to_vec(), retained: message.retain },
        }
    }

    /// Returns an event of a followed session. Other events are dropped here, so that they take no memory.
    fn event(&self, message: &Publish<'_>, received: Timestamp) -> Option<Incoming> {
        // A retained event belongs to an earlier session.
        if message.retain {
            return None;
        }
        let event = Event::decode(self.events.as_ref()?, message.topic, message.payload).ok()?;
        if event.topic.category() != Category::Session {
            return None;
        }
        let session_id = event.fields.sig_sess_id.map(Field::text).and_then(|id| Uuid::try_parse(&id).ok())?;
        lock(&self.followed).contains_key(&session_id).then(|| {
            Incoming::Event(EventMessage {
                session_id,
                received,
                topic: message.topic.to_owned(),
                qos: message.qos,
                payload: message.payload.to_vec(),
            })
        })
    }
}

impl MessageHandler for CallHandler {
    fn message(&mut self, message: &Publish<'_>, received: Timestamp) -> Ack {
        let incoming =
            if self.replies.matches(message.topic) { Some(self.reply(message)) } else { self.event(message, received) };
        if let Some(incoming) = incoming {
            // Ignore a closed channel: the client has ended.
            let _ = self.incoming.send(incoming);
        }
        Ack::Send
    }

    /// A reply can be as large as `--max-payload`, so it is not copied.
    fn takes_large_messages(&self) -> bool {
        true
    }

    fn large_message(&mut self, message: LargeMessage, received: Timestamp) -> Ack {
        if message.payload.len() > self.max_payload || !self.replies.matches(&message.topic) {
            return self.message(&message.as_publish(), received);
        }
        // Ignore a closed channel: the client has ended.
        let _ = self.incoming.send(Incoming::Reply { payload: message.payload, retained: message.retain });
        Ack::Send
    }

    fn oversized(&mut self, _: &Publish<'_>, size: PacketSize, _: Timestamp) -> Ack {
        let _ = self.incoming.send(Incoming::Oversized(size.packet));
        Ack::Send
    }

    fn commit(&mut self) -> Ack {
        Ack::Send
    }
}
