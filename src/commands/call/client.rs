//! A connection for calls: subscribes to the reply topic, publishes requests and matches replies to them.
//!
//! The order is SUBSCRIBE, SUBACK, PUBLISH. No request is published twice: a repeated request would place a second call.
//! Other threads send everything that happens to the thread that calls [`CallClient::next_event`].

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::result::{CallResult, NotSent, Outcome};
use crate::commands::transport_error::{
    connect_failures, denies_connection, denies_subscription, describe_end, describe_refusal, subscribe_failure,
    warn_if_insecure, warn_of_failures, warn_of_limits,
};
use crate::exit::{Failure, Status};
use crate::output::report::Report;
use crate::protocol::call::{Answer, NoReplyCause, Request, Verdict};
use crate::protocol::fields::Fields;
use crate::protocol::topic::TopicName;
use crate::sync::lock;
use crate::transport::client::{Canceller, Client, Purpose};
use crate::transport::options::Options;
use crate::transport::relay::{Ack, MessageHandler, PacketSize, Publish, Published};
use crate::transport::subscription::Subscription;
use crate::transport::url::BrokerUrl;

/// Maximum time to disconnect.
pub(super) const DISCONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// The quality of service of the subscription to replies.
const REPLY_QOS: u8 = 1;

/// Maximum number of bytes in a packet besides its payload: the topic and small properties.
const PACKET_OVERHEAD: u32 = 128 * 1024;

/// Where and how calls are placed.
pub(super) struct CallConfig {
    pub(super) options: Options,
    /// The topic of the call service, for requests.
    pub(super) call_topic: TopicName,
    /// The topic for replies (`fromTopic`).
    pub(super) from_topic: TopicName,
    /// Maximum size of a reply in bytes.
    pub(super) max_payload: usize,
    pub(super) report: Report,
}

/// A message from another thread to the client's.
enum Incoming {
    /// A message on the reply topic.
    Reply { payload: Vec<u8>, retained: bool },
    /// A message on the reply topic that is too large. Its size in bytes.
    Oversized(usize),
    /// The outcome of publishing the request with this transaction ID.
    Published(Uuid, Published),
    /// The connection was lost, with the reason.
    Lost(String),
    /// [`Waker::wake`] was called.
    Woken,
}

/// What [`CallClient::next_event`] returns.
pub(super) enum CallEvent {
    /// A call has finished.
    Finished(Box<CallResult>),
    /// The connection was lost, with the reason. Pending calls will get no reply.
    Lost(String),
    /// [`Waker::wake`] or [`Waker::cancel`] was called.
    Woken,
    /// The deadline has passed.
    Timeout,
}

/// Wakes a client's thread from another thread.
#[derive(Clone)]
pub(super) struct Waker {
    incoming: Sender<Incoming>,
    connect: Arc<Mutex<ConnectState>>,
}

/// What is needed to cancel a connection attempt.
#[derive(Default)]
struct ConnectState {
    is_cancelled: bool,
    canceller: Option<Canceller>,
}

impl Waker {
    /// Makes [`CallClient::next_event`] return [`CallEvent::Woken`].
    pub(super) fn wake(&self) {
        // Ignore a closed channel: the client has ended.
        let _ = self.incoming.send(Incoming::Woken);
    }

    /// Wakes the client's thread, and cancels its connection attempt, if any.
    pub(super) fn cancel(&self) {
        let mut connect = lock(&self.connect);
        connect.is_cancelled = true;
        if let Some(canceller) = &connect.canceller {
            canceller.cancel();
        }
        drop(connect);
        self.wake();
    }

    /// Makes [`Waker::cancel`] cancel this connection attempt, also if it was called before.
    fn watch(&self, canceller: Canceller) {
        let mut connect = lock(&self.connect);
        if connect.is_cancelled {
            canceller.cancel();
        }
        connect.canceller = Some(canceller);
    }
}

/// The receiving end of a client's messages. Made before the client, so that its [`Waker`] works during connecting.
pub(super) struct EventReceiver {
    waker: Waker,
    incoming: Receiver<Incoming>,
}

impl EventReceiver {
    /// Makes a receiver and its waker.
    pub(super) fn new() -> Self {
        let (sender, incoming) = channel();
        Self { waker: Waker { incoming: sender, connect: Arc::default() }, incoming }
    }

    /// Returns the waker.
    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

/// Sends messages on the reply topic to the client's thread.
struct ReplyHandler {
    incoming: Sender<Incoming>,
    max_payload: usize,
}

impl MessageHandler for ReplyHandler {
    fn message(&mut self, message: &Publish<'_>, _: Timestamp) -> Ack {
        let reply = match message.payload.len() {
            size if size > self.max_payload => Incoming::Oversized(size),
            _ => Incoming::Reply { payload: message.payload.to_vec(), retained: message.retain },
        };
        // Ignore a closed channel: the client has ended.
        let _ = self.incoming.send(reply);
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

/// A call that waits for its reply.
struct PendingCall {
    request: Request,
    /// Start of the time that counts as elapsed.
    began: Instant,
}

/// A connection for calls.
pub(super) struct CallClient {
    client: Client,
    config: CallConfig,
    broker: BrokerUrl,
    receiver: EventReceiver,
    pending: HashMap<Uuid, PendingCall>,
}

impl CallClient {
    /// Connects, subscribes to the reply topic and waits for the SUBACK.
    ///
    /// # Errors
    /// If the broker is unreachable or refuses the client or the subscription. Nothing was sent.
    pub(super) fn connect(config: CallConfig, receiver: EventReceiver) -> Result<Self, NotSent> {
        let incoming = &receiver.waker.incoming;
        let handler = ReplyHandler { incoming: incoming.clone(), max_payload: config.max_payload };
        let lost = incoming.clone();
        let filters = vec![config.from_topic.and_below()];
        let replies = Subscription { filters, qos: REPLY_QOS, listing: None, group: None, allow_partial: false };
        // A larger packet cannot be a reply of at most max_payload bytes.
        let largest = u32::try_from(config.max_payload).unwrap_or(u32::MAX).saturating_add(PACKET_OVERHEAD);
        let options =
            Options { max_packet_size: config.options.max_packet_size.min(largest), ..config.options.clone() };
        let mut client = Client::new(
            options,
            Purpose::Request,
            replies,
            Arc::new(Mutex::new(handler)),
            Arc::default(),
            // Ignore a closed channel: the client has ended.
            Arc::new(move |end| drop(lost.send(Incoming::Lost(describe_end(end))))),
        );
        receiver.waker.watch(client.canceller());
        let connected = client.connect().map_err(|failures| {
            let failure = connect_failures(&failures, &config.options, config.report);
            NotSent::new(denies_connection(&failures.last.error), failure)
        })?;
        warn_of_failures(&connected.failures, &config.options, config.report);
        warn_if_insecure(&config.options, &connected.broker, config.report);
        warn_of_limits(&config.options, &connected, config.report);
        let broker = connected.broker;
        if let Err(error) = client.subscribe() {
            client.disconnect(DISCONNECT_TIMEOUT);
            return Err(NotSent::new(denies_subscription(&error), subscribe_failure(&error, &broker)));
        }
        let CallConfig { from_topic, call_topic, report, .. } = &config;
        report.debug(format_args!("subscribed to {}, publishing to {call_topic}", from_topic.and_below()));
        Ok(Self { client, config, broker, receiver, pending: HashMap::new() })
    }

    /// Returns the broker that accepted the connection.
    pub(super) fn broker(&self) -> &BrokerUrl {
        &self.broker
    }

    /// Returns the number of calls that wait for their replies.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Publishes a request. Elapsed time counts from `began`.
    pub(super) fn place(&mut self, request: Request, began: Instant) {
        let (id, payload) = (request.trans_id, request.payload());
        self.pending.insert(id, PendingCall { request, began });
        let incoming = self.receiver.waker.incoming.clone();
        // Ignore a closed channel: the client has ended.
        self.client.publish(&self.config.call_topic, payload, move |published| {
            drop(incoming.send(Incoming::Published(id, published)));
        });
    }

    /// Waits for the next event, until `deadline` if there is one.
    pub(super) fn next_event(&mut self, deadline: Option<Instant>) -> CallEvent {
        loop {
            let received = match deadline {
                None => self.receiver.incoming.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => {
                    self.receiver.incoming.recv_timeout(deadline.saturating_duration_since(Instant::now()))
                }
            };
            let event = match received {
                Ok(Incoming::Reply { payload, retained }) => self.handle_reply(&payload, retained),
                Ok(Incoming::Oversized(size)) => {
                    self.log_ignored(format_args!("it has {size} bytes (--max-payload)"));
                    None
                }
                Ok(Incoming::Published(id, published)) => self.handle_published(id, published),
                Ok(Incoming::Lost(reason)) => Some(CallEvent::Lost(reason)),
                Ok(Incoming::Woken) => Some(CallEvent::Woken),
                Err(_) => Some(CallEvent::Timeout),
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    /// Ends a call whose deadline has passed. Returns `None` if it has finished before.
    pub(super) fn time_out(&mut self, id: Uuid) -> Option<Box<CallResult>> {
        let broker = self.broker.to_string();
        self.finish(id, |request| timed_out(request, &broker, true))
    }

    /// Ends all pending calls with an unknown outcome, because of `event`.
    pub(super) fn abandon_all(&mut self, event: &str) -> Vec<CallResult> {
        let ids: Vec<Uuid> = self.pending.keys().copied().collect();
        ids.into_iter().filter_map(|id| self.finish(id, |request| unknown(request, event))).map(|it| *it).collect()
    }

    /// Disconnects from the broker.
    pub(super) fn close(mut self) {
        self.client.disconnect(DISCONNECT_TIMEOUT);
    }

    fn handle_reply(&mut self, payload: &[u8], retained: bool) -> Option<CallEvent> {
        let id = Fields::read(payload).ok().and_then(|it| Uuid::try_parse(&it.trans_id?.text()).ok());
        // Compare a message without a known transaction ID with any pending call, to log the mismatch.
        let pending = id.and_then(|id| self.pending.get(&id)).or_else(|| self.pending.values().next());
        let Some(PendingCall { request, .. }) = pending else {
            self.log_ignored("no call is pending");
            return None;
        };
        match request.reply(payload, retained) {
            Ok(answer) => {
                let outcome = answered(&answer, payload);
                let id = request.trans_id;
                self.finish(id, |_| outcome).map(CallEvent::Finished)
            }
            Err(mismatch) => {
                self.log_ignored(mismatch);
                None
            }
        }
    }

    fn handle_published(&mut self, id: Uuid, published: Published) -> Option<CallEvent> {
        let CallConfig { call_topic, report, .. } = &self.config;
        let broker = &self.broker;
        let (cause, failure) = match published {
            Published::Accepted => {
                report.debug(format_args!("the broker accepted the request {id}"));
                return None;
            }
            // Incoming::Lost follows.
            Published::Lost | Published::NotSent => return None,
            Published::Denied(reason) => {
                let reason = describe_refusal(&reason);
                let failure = Failure::refused(format!("{broker} refuses the publication to {call_topic}: {reason}"))
                    .hint("check the broker's access list for this user; --as publishes to TOPIC/ENDPOINT");
                (NoReplyCause::Denied, failure)
            }
            Published::TooLarge { size, largest } => {
                let failure = Failure::refused(format!(
                    "{broker} accepts no publication of {size} bytes to {call_topic}: its maximum packet size is {largest}"
                ))
                .hint("ask the broker's operator to raise the limit");
                (NoReplyCause::Denied, failure)
            }
            Published::NoMatchingSubscribers => {
                let message = format!("nobody subscribes to {call_topic} at {broker}");
                let failure = Failure::new(Status::NoResponder, message)
                    .hint("check that the call service is running, and check --call-topic and --root");
                (NoReplyCause::NoResponder, failure)
            }
        };
        self.finish(id, |_| Outcome::Unanswered(cause, failure)).map(CallEvent::Finished)
    }

    fn finish(&mut self, id: Uuid, outcome: impl FnOnce(&Request) -> Outcome) -> Option<Box<CallResult>> {
        let PendingCall { request, began } = self.pending.remove(&id)?;
        let outcome = outcome(&request);
        Some(Box::new(CallResult { request, outcome, elapsed: began.elapsed() }))
    }

    fn log_ignored(&self, reason: impl std::fmt::Display) {
        self.config.report.debug(format_args!("ignored a message on the reply topic: {reason}"));
    }
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

/// Returns the outcome of a call whose deadline has passed, before or after its request was sent.
pub(super) fn timed_out(request: &Request, broker: &str, is_sent: bool) -> Outcome {
    let failure = if is_sent {
        let id = request.trans_id;
        Failure::new(Status::Deadline, format!("no 3PCC service response from {broker} in time (transID {id})")).hint(
            "the caller may not have answered, nobody may serve the topic, or the broker may have dropped the request: only \
             MQTT 5 brokers report that. The call may still be placed. --timeout waits longer",
        )
    } else {
        Failure::new(Status::Deadline, format!("{broker} did not accept the client in time: nothing was sent"))
            .hint("--timeout waits longer")
    };
    Outcome::Unanswered(NoReplyCause::Timeout, failure)
}

/// Returns the outcome of a call whose reply cannot arrive any more, because of `event`.
pub(super) fn unknown(request: &Request, event: &str) -> Outcome {
    let id = request.trans_id;
    let message = format!("{event} before the reply arrived: the call may have been placed (transID {id})");
    let failure = Failure::new(Status::Failure, message).hint("check the session's events before you place it again");
    Outcome::Unanswered(NoReplyCause::Unknown, failure)
}
