//! Places calls over one connection with one reply topic, and matches the replies to them.
//!
//! The order is SUBSCRIBE, SUBACK, PUBLISH, and nothing is ever published twice: a repeated request places a second call.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::result::{CallResult, Outcome};
use crate::commands::transport_error::{
    connect_failures, describe_end, describe_refusal, subscribe_failure, warn_if_insecure, warn_of_failures,
    warn_of_limits,
};
use crate::exit::{Failure, Status};
use crate::output::report::Report;
use crate::protocol::call::{Answer, NoReplyCause, Request, Verdict};
use crate::protocol::fields::Fields;
use crate::protocol::topic::TopicName;
use crate::transport::client::{Canceller, Client, Purpose};
use crate::transport::options::Options;
use crate::transport::relay::{Ack, MessageHandler, PacketSize, Publish, Published};
use crate::transport::subscription::Subscription;
use crate::transport::url::BrokerUrl;

/// How long the end of the connection may take.
pub(super) const DISCONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// The quality of service that replies are subscribed to with.
const QOS: u8 = 1;

/// How many bytes a packet takes at most besides its payload: a topic, and properties that hold little.
const PACKET_OVERHEAD: u32 = 128 * 1024;

/// Where and how calls are placed.
pub(super) struct CallConfig {
    pub(super) options: Options,
    /// The topic that requests are published to.
    pub(super) to: TopicName,
    /// The topic that replies are published to.
    pub(super) from_topic: TopicName,
    /// How many bytes a reply may have.
    pub(super) max_payload: usize,
    pub(super) report: Report,
}

/// What the client's threads report to the one that waits.
enum ClientEvent {
    /// A message on the reply topic.
    Reply { payload: Vec<u8>, retained: bool },
    /// A message on the reply topic that is larger than a reply may be: so many bytes.
    Oversized(usize),
    /// The outcome of the publication of a request.
    Published(Uuid, Published),
    /// The connection was lost; with the reason.
    Lost(String),
    /// [`Waker::wake`] was called.
    Woken,
}

/// What happened to the calls.
pub(super) enum CallEvent {
    /// A call has ended.
    Ended(Box<CallResult>),
    /// The connection was lost, with the reason: the calls that wait will never be answered over it.
    Lost(String),
    /// Somebody woke the thread that waits.
    Woken,
    /// The deadline has passed.
    Timeout,
}

/// Wakes the thread that waits for calls.
#[derive(Clone)]
pub(super) struct Waker {
    events: Sender<ClientEvent>,
    connecting: Arc<Mutex<Connecting>>,
}

/// What a connection that is being made needs to be cancelled.
#[derive(Default)]
struct Connecting {
    is_cancelled: bool,
    canceller: Option<Canceller>,
}

impl Waker {
    pub(super) fn wake(&self) {
        // If nobody waits any longer nobody needs to be woken.
        let _ = self.events.send(ClientEvent::Woken);
    }

    /// Wakes the thread, also while it connects: it gives up.
    pub(super) fn cancel(&self) {
        let mut connecting = lock(&self.connecting);
        connecting.is_cancelled = true;
        if let Some(canceller) = &connecting.canceller {
            canceller.cancel();
        }
        drop(connecting);
        self.wake();
    }

    /// Has [`Waker::cancel`] cancel this client's connection from now on.
    fn watch(&self, canceller: Canceller) {
        let mut connecting = lock(&self.connecting);
        if connecting.is_cancelled {
            canceller.cancel();
        }
        connecting.canceller = Some(canceller);
    }
}

/// Receives a client's events. It exists before the client, so that it can be woken from the start.
pub(super) struct EventReceiver {
    waker: Waker,
    events: Receiver<ClientEvent>,
}

impl EventReceiver {
    pub(super) fn new() -> Self {
        let (sender, events) = channel();
        Self { waker: Waker { events: sender, connecting: Arc::default() }, events }
    }

    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

/// Hands replies to the thread that waits.
struct ReplyHandler {
    events: Sender<ClientEvent>,
    max_payload: usize,
}

impl MessageHandler for ReplyHandler {
    fn message(&mut self, message: &Publish<'_>, _: Timestamp) -> Ack {
        let event = match message.payload.len() {
            size if size > self.max_payload => ClientEvent::Oversized(size),
            _ => ClientEvent::Reply { payload: message.payload.to_vec(), retained: message.retain },
        };
        // If the client is closed already nobody needs the reply.
        let _ = self.events.send(event);
        Ack::Send
    }

    fn oversized(&mut self, _: &Publish<'_>, size: PacketSize, _: Timestamp) -> Ack {
        let _ = self.events.send(ClientEvent::Oversized(size.packet));
        Ack::Send
    }

    fn commit(&mut self) -> Ack {
        Ack::Send
    }
}

/// A call whose reply has not come.
struct PendingCall {
    request: Request,
    sent: Instant,
}

/// A connection that calls are placed over.
pub(super) struct CallClient {
    client: Client,
    config: CallConfig,
    broker: BrokerUrl,
    receiver: EventReceiver,
    pending: HashMap<Uuid, PendingCall>,
}

impl CallClient {
    /// Connects, subscribes to the reply topic and waits for the broker's answer.
    ///
    /// # Errors
    /// If the broker cannot be reached or refuses: nothing was sent.
    pub(super) fn connect(config: CallConfig, receiver: EventReceiver) -> Result<Self, Failure> {
        let events = &receiver.waker.events;
        let handler = ReplyHandler { events: events.clone(), max_payload: config.max_payload };
        let ended = events.clone();
        let filters = vec![config.from_topic.and_below()];
        let replies = Subscription { filters, qos: QOS, group: None, allow_partial: false };
        // What is larger cannot be a reply that is accepted.
        let largest = u32::try_from(config.max_payload).unwrap_or(u32::MAX).saturating_add(PACKET_OVERHEAD);
        let options =
            Options { max_packet_size: config.options.max_packet_size.min(largest), ..config.options.clone() };
        let mut client = Client::new(
            options,
            Purpose::Request,
            replies,
            Arc::new(Mutex::new(handler)),
            Arc::default(),
            // If the client is closed already nobody needs to know.
            Arc::new(move |end| drop(ended.send(ClientEvent::Lost(describe_end(end))))),
        );
        receiver.waker.watch(client.canceller());
        let connected =
            client.connect().map_err(|failures| connect_failures(&failures, &config.options, config.report))?;
        warn_of_failures(&connected.failures, &config.options, config.report);
        warn_if_insecure(&config.options, &connected.broker, config.report);
        warn_of_limits(&config.options, &connected, config.report);
        let broker = connected.broker;
        if let Err(error) = client.subscribe() {
            client.disconnect(DISCONNECT_TIMEOUT);
            return Err(subscribe_failure(&error, &broker));
        }
        let CallConfig { from_topic, to, report, .. } = &config;
        report.debug(format_args!("subscribed to {}, publishing to {to}", from_topic.and_below()));
        Ok(Self { client, config, broker, receiver, pending: HashMap::new() })
    }

    /// The broker that accepted the connection.
    pub(super) fn broker(&self) -> &BrokerUrl {
        &self.broker
    }

    /// How many calls wait for their replies.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Sends a request. Its time runs from `began`.
    pub(super) fn place(&mut self, request: Request, began: Instant) {
        let (id, payload) = (request.trans_id, request.payload());
        self.pending.insert(id, PendingCall { request, sent: began });
        let events = self.receiver.waker.events.clone();
        // If the client is closed already nobody needs the outcome.
        self.client.publish(&self.config.to, payload, move |published| {
            drop(events.send(ClientEvent::Published(id, published)));
        });
    }

    /// Waits for the next event, until `deadline` if there is one.
    pub(super) fn next_event(&mut self, deadline: Option<Instant>) -> CallEvent {
        loop {
            let event = match deadline {
                None => self.receiver.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => self.receiver.events.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            };
            let event = match event {
                Ok(ClientEvent::Reply { payload, retained }) => self.replied(&payload, retained),
                Ok(ClientEvent::Oversized(size)) => {
                    self.ignored(format_args!("it has {size} bytes (--max-payload)"));
                    None
                }
                Ok(ClientEvent::Published(id, published)) => self.published(id, published),
                Ok(ClientEvent::Lost(reason)) => Some(CallEvent::Lost(reason)),
                Ok(ClientEvent::Woken) => Some(CallEvent::Woken),
                Err(_) => Some(CallEvent::Timeout),
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    /// Gives up a call: its deadline has passed. `None` if it has ended before.
    pub(super) fn give_up(&mut self, id: Uuid) -> Option<Box<CallResult>> {
        let broker = self.broker.to_string();
        self.end(id, |request| timed_out(request, &broker, true))
    }

    /// Gives up every call that waits: whether it is placed remains unknown, because of `what`.
    pub(super) fn give_up_all(&mut self, what: &str) -> Vec<CallResult> {
        let ids: Vec<Uuid> = self.pending.keys().copied().collect();
        ids.into_iter().filter_map(|id| self.end(id, |request| unknown(request, what))).map(|it| *it).collect()
    }

    /// Disconnects from the broker.
    pub(super) fn close(mut self) {
        self.client.disconnect(DISCONNECT_TIMEOUT);
    }

    fn replied(&mut self, payload: &[u8], retained: bool) -> Option<CallEvent> {
        let id = Fields::read(payload).ok().and_then(|it| Uuid::try_parse(&it.trans_id?.text()).ok());
        // A message that names no call of ours is compared with any of them, to report what about it is wrong.
        let pending = id.and_then(|id| self.pending.get(&id)).or_else(|| self.pending.values().next());
        let Some(PendingCall { request, .. }) = pending else {
            self.ignored("no call waits for it");
            return None;
        };
        match request.reply(payload, retained) {
            Ok(answer) => {
                let outcome = answered(&answer, payload);
                let id = request.trans_id;
                self.end(id, |_| outcome).map(CallEvent::Ended)
            }
            Err(why) => {
                self.ignored(why);
                None
            }
        }
    }

    fn published(&mut self, id: Uuid, published: Published) -> Option<CallEvent> {
        let CallConfig { to, report, .. } = &self.config;
        let broker = &self.broker;
        match published {
            Published::Accepted => {
                report.debug(format_args!("the broker took the request {id}"));
                None
            }
            Published::Denied(reason) => {
                let said = describe_refusal(&reason);
                let failure = Failure::refused(format!("{broker} refuses the publication to {to}: {said}"))
                    .hint("check the broker's access list for this user; --as publishes to TOPIC/ENDPOINT");
                self.end(id, |_| Outcome::Unanswered(NoReplyCause::Denied, failure)).map(CallEvent::Ended)
            }
            Published::TooLarge { size, largest } => {
                let failure = Failure::refused(format!(
                    "{broker} accepts no publication to {to} of {size} bytes: its maximum packet size is {largest}"
                ))
                .hint("ask the broker's operator to raise the limit");
                self.end(id, |_| Outcome::Unanswered(NoReplyCause::Denied, failure)).map(CallEvent::Ended)
            }
            Published::NoMatchingSubscribers => {
                let failure = Failure::new(Status::NoResponder, format!("nobody subscribes to {to} at {broker}"))
                    .hint("is the call service running, and is this its topic? check --call-topic and --root");
                self.end(id, |_| Outcome::Unanswered(NoReplyCause::NoResponder, failure)).map(CallEvent::Ended)
            }
            // The connection has ended, which is reported next.
            Published::Lost | Published::NotSent => None,
        }
    }

    fn end(&mut self, id: Uuid, outcome: impl FnOnce(&Request) -> Outcome) -> Option<Box<CallResult>> {
        let PendingCall { request, sent } = self.pending.remove(&id)?;
        let outcome = outcome(&request);
        Some(Box::new(CallResult { request, outcome, elapsed: sent.elapsed() }))
    }

    fn ignored(&self, why: impl std::fmt::Display) {
        self.config.report.debug(format_args!("ignored a message on the reply topic: {why}"));
    }
}

/// Locks. Nothing that is done under this lock can be left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn answered(answer: &Answer<'_>, payload: &[u8]) -> Outcome {
    let verdict = match answer {
        Answer::Success => Verdict::Success,
        Answer::Failure(reason) => Verdict::Failure(reason.as_ref().map(ToString::to_string)),
        Answer::Other(result) if result.is_empty() => Verdict::Failure(Some("the reply has no result".to_owned())),
        Answer::Other(result) => Verdict::Failure(Some(format!("the reply's result is {result}"))),
    };
    Outcome::Answered { verdict, response: String::from_utf8_lossy(payload).into_owned() }
}

/// The outcome of what failed before the request went out.
pub(super) fn not_sent(failure: Failure) -> Outcome {
    let why = if failure.status() == Status::Refused { NoReplyCause::Denied } else { NoReplyCause::Unreachable };
    Outcome::Unanswered(why, failure)
}

/// The outcome of a call whose deadline passed, after its request was sent or before.
pub(super) fn timed_out(request: &Request, broker: &str, is_sent: bool) -> Outcome {
    let failure = if is_sent {
        let id = request.trans_id;
        Failure::new(Status::Deadline, format!("no 3PCC service response from {broker} in time (transID {id})")).hint(
            "the caller may not have answered, or nobody serves the topic, or the broker dropped the request, which only \
             MQTT 5 brokers say. The call may still be placed; --timeout waits longer",
        )
    } else {
        Failure::new(Status::Deadline, format!("{broker} took too long: nothing was sent"))
            .hint("--timeout waits longer")
    };
    Outcome::Unanswered(NoReplyCause::Timeout, failure)
}

/// The outcome of a call of which nothing more will be heard, because of `what`.
pub(super) fn unknown(request: &Request, what: &str) -> Outcome {
    let id = request.trans_id;
    let failure = Failure::new(
        Status::Failure,
        format!("{what} before the reply came: the call may have been placed (transID {id})"),
    )
    .hint("look for the session's events before you place it again");
    Outcome::Unanswered(NoReplyCause::Unknown, failure)
}
