//! Asks the servers of a root which services they offer, for `check` and `--discover`.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::cancellation::{Cancellation, DISCONNECT_TIMEOUT};
use super::transport_error::{
    connect_failures, denies_connection, denies_subscription, describe_end, is_misconfigured, publish_failure,
    subscribe_failure,
};
use crate::exit::{Failure, Status};
use crate::output::report::Report;
use crate::protocol::service::{ServiceAnswer, ServiceQuery, Services};
use crate::protocol::topic::{EndpointId, TopicName, Topics};
use crate::transport::client::{Client, Purpose};
use crate::transport::error::{ConnectFailures, SubscribeError};
use crate::transport::options::Options;
use crate::transport::relay::{Ack, MessageHandler, PacketSize, Publish, Published};
use crate::transport::subscription::Subscription;
use crate::transport::url::BrokerUrl;

/// Maximum time to wait for an answer (protocol, section 7).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for answers of other servers after the first.
const OTHER_ANSWERS_TIMEOUT: Duration = Duration::from_millis(300);

/// How often to look whether the query is cancelled.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The quality of service of the subscription to answers.
const ANSWER_QOS: u8 = 1;

/// What a query found out.
pub(super) struct Queried {
    /// The broker that accepted the connection.
    pub(super) broker: BrokerUrl,
    /// How long it took to connect.
    pub(super) connected_in: Duration,
    /// The answers, or the reason why no answer came.
    pub(super) answers: Result<Answers, QueryError>,
}

/// Why a query failed, and the error for the user.
pub(super) struct QueryError {
    pub(super) cause: QueryErrorCause,
    pub(super) failure: Failure,
}

/// Why a query failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueryErrorCause {
    /// The options are wrong, such as a file without a certificate.
    Configuration,
    /// There is no connection to the broker, or it was lost.
    Unreachable,
    /// The broker refuses the client, a subscription or the query.
    Refused,
    /// No server answers.
    NoAnswer,
    /// A signal or a deadline ended the query.
    Cancelled,
}

impl QueryError {
    /// Makes the error.
    pub(super) fn new(cause: QueryErrorCause, failure: Failure) -> Self {
        Self { cause, failure }
    }

    /// Makes the error of a connection that no broker accepts. Warns of the brokers that were tried before the last.
    pub(super) fn of_connecting(failures: &ConnectFailures, options: &Options, report: Report) -> Self {
        let cause = match &failures.last.error {
            error if is_misconfigured(error) => QueryErrorCause::Configuration,
            error if denies_connection(error) => QueryErrorCause::Refused,
            _ => QueryErrorCause::Unreachable,
        };
        Self::new(cause, connect_failures(failures, options, report))
    }

    /// Makes the error of a subscription.
    pub(super) fn of_subscribing(error: &SubscribeError, broker: &BrokerUrl) -> Self {
        let is_denied = denies_subscription(error);
        let cause = if is_denied { QueryErrorCause::Refused } else { QueryErrorCause::Unreachable };
        Self::new(cause, subscribe_failure(error, broker))
    }
}

/// The answers to a query: at least one.
pub(super) struct Answers {
    /// How long the first one took.
    pub(super) elapsed: Duration,
    /// Number of answers, refusals included.
    pub(super) count: u64,
    /// The services of the first answer with services, and those of the first that differs from it.
    pub(super) services: Vec<Services>,
    /// The first refusal.
    pub(super) refusal: Option<RefusedQuery>,
    /// What differs between the first two answers that differ. All refusals are equal.
    pub(super) difference: Option<String>,
}

/// A server's refusal of a query.
pub(super) struct RefusedQuery {
    topic: TopicName,
    reason: String,
}

impl RefusedQuery {
    /// Returns the error for the user.
    pub(super) fn failure(&self) -> Failure {
        let Self { topic, reason } = self;
        Failure::new(Status::ServiceFailure, format!("a server refuses the service query on {topic}: {reason}"))
    }
}

impl Answers {
    /// Makes the collection of answers, of which the first took this long.
    fn new(elapsed: Duration) -> Self {
        Self { elapsed, count: 0, services: Vec::new(), refusal: None, difference: None }
    }

    /// Adds an answer to the query on this topic.
    fn add(&mut self, answer: ServiceAnswer, topic: &TopicName) {
        self.count += 1;
        match answer {
            ServiceAnswer::Services(services) => match &self.services[..] {
                [] => self.services.push(services),
                [first] => {
                    if let Some(difference) = first.difference(&services) {
                        self.services.push(services);
                        self.difference.get_or_insert(difference);
                    }
                }
                _ => {}
            },
            ServiceAnswer::Refused(reason) => {
                self.refusal.get_or_insert(RefusedQuery { topic: topic.clone(), reason });
            }
        }
        if let (None, [services, ..], Some(RefusedQuery { reason, .. })) =
            (&self.difference, &self.services[..], &self.refusal)
        {
            let services = services.masked();
            self.difference = Some(format!("one refuses the service query: {reason}; one names {services}"));
        }
    }
}

/// Events for the thread that waits.
enum QueryEvent {
    Answer(ServiceAnswer),
    Published(Published),
    /// The connection was lost, with the reason.
    Lost(String),
}

/// Connects, queries the services below a root and disconnects.
///
/// # Errors
/// If there is no connection. If there is no answer, the result has the error.
pub(super) fn query(
    options: &Options,
    topics: &Topics,
    report: Report,
    cancellation: &Cancellation,
) -> Result<Queried, QueryError> {
    let (sender, events) = channel();
    let reply_topic = topics.root.child("reply").child(&Uuid::new_v4().to_string()).to_topic();
    let query = ServiceQuery { trans_id: Uuid::new_v4(), from_topic: reply_topic };
    let filters = vec![query.from_topic.and_below()];
    let subscription = Subscription { filters, qos: ANSWER_QOS, listing: None, group: None, allow_partial: false };
    let handler = AnswerHandler { query: query.clone(), events: sender.clone() };
    let lost = sender.clone();
    let mut client = Client::new(
        options.clone(),
        Purpose::Request,
        subscription,
        Arc::new(Mutex::new(handler)),
        Arc::default(),
        // Ignore a closed channel: the query has ended.
        Arc::new(move |end| drop(lost.send(QueryEvent::Lost(describe_end(end))))),
    );
    cancellation.watch(client.canceller());
    let began = Instant::now();
    let connected = client.connect().map_err(|failures| QueryError::of_connecting(&failures, options, report))?;
    let connected_in = began.elapsed();
    let answers = match client.subscribe() {
        Ok(_) => {
            let topic = topics.management().child(sender_of(options).as_str()).to_topic();
            // Before the call: the answer may come before it returns.
            let asked = Instant::now();
            client
                .publish(&topic, query.payload(), move |published| drop(sender.send(QueryEvent::Published(published))));
            let wait = Wait { broker: &connected.broker, topic: &topic, asked, events, cancellation };
            wait.run()
        }
        Err(error) => Err(QueryError::of_subscribing(&error, &connected.broker)),
    };
    client.disconnect(DISCONNECT_TIMEOUT);
    Ok(Queried { broker: connected.broker, connected_in, answers })
}

/// Returns the endpoint ID to query as: the client identifier, if it is valid in a topic (protocol, section 5).
fn sender_of(options: &Options) -> EndpointId {
    let fallback = || "rtcomm".parse().expect("a valid endpoint ID");
    options.client_id.parse().unwrap_or_else(|_| fallback())
}

/// Sends the answers to the thread that waits.
struct AnswerHandler {
    query: ServiceQuery,
    events: Sender<QueryEvent>,
}

impl MessageHandler for AnswerHandler {
    fn message(&mut self, message: &Publish<'_>, _: Timestamp) -> Ack {
        if let Some(answer) = self.query.answer(message.payload, message.retain) {
            // Ignore a closed channel: the query has ended.
            let _ = self.events.send(QueryEvent::Answer(answer));
        }
        Ack::Send
    }

    fn oversized(&mut self, _: &Publish<'_>, size: PacketSize, _: Timestamp) -> Ack {
        let PacketSize { packet, limit } = size;
        let why = format!("the answer takes {packet} bytes, and --max-packet-size accepts {limit}");
        let _ = self.events.send(QueryEvent::Answer(ServiceAnswer::Refused(why)));
        Ack::Send
    }

    fn commit(&mut self) -> Ack {
        Ack::Send
    }
}

/// What is needed to wait for answers.
struct Wait<'a> {
    broker: &'a BrokerUrl,
    /// The topic of the query.
    topic: &'a TopicName,
    /// When the query was published.
    asked: Instant,
    events: Receiver<QueryEvent>,
    cancellation: &'a Cancellation,
}

impl Wait<'_> {
    /// Waits for the first answer and then for those of other servers.
    fn run(self) -> Result<Answers, QueryError> {
        let mut deadline = self.asked + ANSWER_TIMEOUT;
        let mut answers: Option<Answers> = None;
        while let Some(event) = self.next(deadline)? {
            match event {
                QueryEvent::Answer(answer) => {
                    let answers = answers.get_or_insert_with(|| {
                        deadline = Instant::now() + OTHER_ANSWERS_TIMEOUT;
                        Answers::new(self.asked.elapsed())
                    });
                    answers.add(answer, self.topic);
                }
                QueryEvent::Published(published) => self.check_published(&published)?,
                QueryEvent::Lost(reason) if answers.is_none() => {
                    let failure = Failure::unreachable(format!("lost {}: {reason}", self.broker));
                    return Err(QueryError::new(QueryErrorCause::Unreachable, failure));
                }
                QueryEvent::Lost(_) => break,
            }
        }
        answers.ok_or_else(|| self.no_answer("no server answers the service query on"))
    }

    /// Returns the next event, or `None` at the deadline.
    fn next(&self, deadline: Instant) -> Result<Option<QueryEvent>, QueryError> {
        loop {
            if self.cancellation.is_cancelled() {
                let failure = Failure::new(Status::Failure, "the service query was cancelled");
                return Err(QueryError::new(QueryErrorCause::Cancelled, failure));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left.min(POLL_INTERVAL)) {
                Ok(event) => return Ok(Some(event)),
                Err(RecvTimeoutError::Timeout) if left > POLL_INTERVAL => {}
                Err(_) => return Ok(None),
            }
        }
    }

    fn check_published(&self, published: &Published) -> Result<(), QueryError> {
        let Self { broker, topic, .. } = self;
        match published {
            // QueryEvent::Lost follows those that were not sent.
            Published::Accepted | Published::Lost | Published::NotSent => Ok(()),
            Published::NoMatchingSubscribers => {
                Err(self.no_answer("no server answers the service query: nobody subscribes to"))
            }
            Published::Denied(_) | Published::TooLarge { .. } => {
                let access_hint = "check the broker's access list for this user and client identifier";
                let failure = publish_failure(published, broker, topic, access_hint);
                failure.map_or(Ok(()), |failure| Err(QueryError::new(QueryErrorCause::Refused, failure)))
            }
        }
    }

    /// Makes the error of a query without an answer. The topic of the query follows `what`.
    fn no_answer(&self, what: &str) -> QueryError {
        let message = format!("{what} {} at {}", self.topic, self.broker);
        let failure = Failure::new(Status::Deadline, message)
            .hint("check that the server is running, and --root; or name the topics: --event-root, --call-topic");
        QueryError::new(QueryErrorCause::NoAnswer, failure)
    }
}
