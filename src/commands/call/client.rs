//! A connection for calls: subscribes to replies and events, publishes requests, and decides when a call is over.
//!
//! The order is SUBSCRIBE, SUBACK, PUBLISH. No request is published twice: a repeated request would place a second call.
//! Other threads send everything that happens to the thread that calls [`CallClient::next_event`].

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use jiff::Timestamp;
use uuid::Uuid;

use super::followed::{CallState, FollowedCall, FollowedResult};
use super::incoming::{CallHandler, EventMessage, EventReceiver, FollowedIds, Incoming, Recovered};
use super::reconnect::{CallOutage, ConnectedClient, ConnectionState, ReconnectContext, reconnect};
use super::result::{CallResult, CallTimes, NotSent, Outcome, answered, timed_out, unknown, unpublished, verdict};
use crate::commands::cancellation::DISCONNECT_TIMEOUT;
use crate::commands::transport_error::{
    connect_failures, denies_connection, denies_subscription, describe_end, forbidden_filters, session_failure,
    subscribe_failure, warn_if_insecure, warn_of_failures, warn_of_limits,
};
use crate::output::local_time;
use crate::output::report::Report;
use crate::protocol::call::{Request, WaitLimit};
use crate::protocol::fields::Fields;
use crate::protocol::record::{ConnectionChange, ConnectionStatus};
use crate::protocol::topic::{TopicFilter, TopicName, Topics};
use crate::sync::lock;
use crate::transport::client::{Client, Purpose};
use crate::transport::error::{ConnectionEnd, SubscribeError};
use crate::transport::moment::Moment;
use crate::transport::options::Options;
use crate::transport::relay::Published;
use crate::transport::session::Recovery;
use crate::transport::subscription::Subscription;
use crate::transport::url::BrokerUrl;

/// The quality of service of the subscriptions.
const QOS: u8 = 1;

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
    pub(super) times: CallTimes,
    pub(super) follow: Option<FollowConfig>,
    pub(super) report: Report,
}

/// How calls are followed to the ends of their sessions.
pub(super) struct FollowConfig {
    pub(super) topics: Topics,
    /// Covers the events of all sessions.
    pub(super) filters: Vec<TopicFilter>,
}

/// What [`CallClient::next_event`] returns.
pub(super) enum CallEvent {
    /// The service replied to a followed call, or an event of its session arrived. [`CallEvent::Finished`] may follow.
    Update(CallUpdate),
    /// A call has finished.
    Finished(Box<CallResult>),
    /// The connection was lost for good, with the reason. Pending calls will get no reply.
    Lost(String),
    /// [`Waker::wake`](super::incoming::Waker::wake) or [`Waker::cancel`](super::incoming::Waker::cancel) was called.
    Woken,
    /// The deadline has passed.
    Timeout,
}

/// An update of a followed call.
pub(super) enum CallUpdate {
    /// The reply.
    Reply(Box<CallResult>),
    /// An event of the session.
    Event(EventMessage),
}

/// A call that is not over.
struct PendingCall {
    request: Request,
    /// Start of the time that counts as elapsed.
    began: Instant,
    deadline: Option<Instant>,
    followed: Option<Box<FollowedCall>>,
}

/// A connection for calls.
pub(super) struct CallClient {
    connection: ConnectionState,
    config: CallConfig,
    broker: BrokerUrl,
    receiver: EventReceiver,
    pending: HashMap<Uuid, PendingCall>,
    deadlines: BTreeSet<(Instant, Uuid)>,
    followed: FollowedIds,
    /// What is not yet returned by [`CallClient::next_event`].
    events: VecDeque<CallEvent>,
}

impl CallClient {
    /// Connects, subscribes to the reply topic and the followed events, and waits for the SUBACK.
    ///
    /// # Errors
    /// If the broker is unreachable or refuses the client or a subscription. Nothing was sent.
    pub(super) fn connect(config: CallConfig, receiver: EventReceiver) -> Result<Self, NotSent> {
        let followed = FollowedIds::default();
        let mut client = client(&config, &receiver, followed.clone());
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
            return Err(not_subscribed(&error, &config, &broker));
        }
        let CallConfig { from_topic, call_topic, report, .. } = &config;
        report.debug(format_args!("subscribed to '{}', publishing to '{call_topic}'", from_topic.and_below()));
        Ok(Self {
            connection: ConnectionState::connected(client),
            config,
            broker,
            receiver,
            pending: HashMap::new(),
            deadlines: BTreeSet::new(),
            followed,
            events: VecDeque::new(),
        })
    }

    /// Returns the broker that accepted the connection.
    pub(super) fn broker(&self) -> &BrokerUrl {
        &self.broker
    }

    /// Returns the number of calls that are not over.
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Returns whether every call is over, and [`CallClient::next_event`] has returned its result.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.events.is_empty()
    }

    /// Returns whether requests can be published now.
    pub(super) fn is_connected(&self) -> bool {
        matches!(self.connection, ConnectionState::Connected(_))
    }

    /// Publishes a request. All times count from `began`.
    pub(super) fn place(&mut self, request: Request, began: Instant) {
        let (id, payload) = (request.trans_id, request.payload());
        let CallConfig { times, follow, call_topic, .. } = &self.config;
        let followed = follow.as_ref().map(|_| Box::new(FollowedCall::new(began, *times)));
        if let (Some(_), Some(session_id)) = (&followed, request.session_id) {
            lock(&self.followed).entry(session_id).or_default().push(id);
        }
        let deadline =
            followed.as_ref().map_or_else(|| began.checked_add(times.timeout), |followed| followed.deadline());
        self.deadlines.extend(deadline.map(|deadline| (deadline, id)));
        self.pending.insert(id, PendingCall { request, began, deadline, followed });
        let incoming = self.receiver.waker.incoming();
        // Ignore a closed channel: the client has ended.
        let then = move |published| drop(incoming.send(Incoming::Published(id, published)));
        match &self.connection {
            ConnectionState::Connected(connected) => connected.client.publish(call_topic, payload, then),
            ConnectionState::Lost(_) => then(Published::NotSent),
        }
    }

    /// Waits for the next event, until `deadline` if there is one.
    pub(super) fn next_event(&mut self, deadline: Option<Instant>) -> CallEvent {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            // What has arrived counts, even if a deadline has passed since.
            if let Ok(incoming) = self.receiver.incoming.try_recv() {
                self.handle(incoming);
                continue;
            }
            let now = Instant::now();
            self.expire(now);
            if !self.events.is_empty() {
                continue;
            }
            if deadline.is_some_and(|deadline| deadline <= now) {
                return CallEvent::Timeout;
            }
            let until = [deadline, self.next_deadline()].into_iter().flatten().min();
            let incoming = match until {
                None => self.receiver.incoming.recv().ok(),
                Some(until) => self.receiver.incoming.recv_timeout(until.saturating_duration_since(now)).ok(),
            };
            if let Some(incoming) = incoming {
                self.handle(incoming);
            }
        }
    }

    /// Ends all pending calls because of `event`. The outcome of a call without a reply is unknown.
    ///
    /// Also returns the results that [`CallClient::next_event`] has not returned yet.
    pub(super) fn abandon_all(&mut self, event: &str) -> Vec<CallResult> {
        let finished = std::mem::take(&mut self.events).into_iter().filter_map(|event| match event {
            CallEvent::Finished(result) => Some(result),
            CallEvent::Update(_) | CallEvent::Lost(_) | CallEvent::Woken | CallEvent::Timeout => None,
        });
        let ids: Vec<Uuid> = self.pending.keys().copied().collect();
        let abandoned = ids.into_iter().filter_map(|id| self.finish(id, |request| unknown(request, event)));
        finished.chain(abandoned).map(|result| *result).collect()
    }

    /// Disconnects from the broker.
    pub(super) fn close(self) {
        match self.connection {
            ConnectionState::Connected(mut connected) => connected.client.disconnect(DISCONNECT_TIMEOUT),
            ConnectionState::Lost(_) => self.receiver.waker.cancel(),
        }
    }

    fn handle(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Reply { payload, retained } => self.handle_reply(payload, retained),
            Incoming::Oversized(size) => self.log_ignored(format_args!("it has {size} bytes (--max-payload)")),
            Incoming::Event(event) => self.handle_event(event),
            Incoming::Published(id, published) => self.handle_published(id, published),
            Incoming::Lost(end) => self.handle_loss(end),
            Incoming::Recovered(recovered) => self.handle_recovery(*recovered),
            Incoming::Woken => self.events.push_back(CallEvent::Woken),
        }
    }

    fn handle_reply(&mut self, payload: Vec<u8>, retained: bool) {
        let id = Fields::read(&payload).ok().and_then(|it| Uuid::try_parse(&it.trans_id?.text()).ok());
        // Compare a message without a known transaction ID with any pending call, to log the mismatch.
        let pending = id.and_then(|id| self.pending.get(&id)).or_else(|| self.pending.values().next());
        let Some(PendingCall { request, followed, .. }) = pending else {
            self.log_ignored("no call is pending");
            return;
        };
        match request.reply(&payload, retained) {
            Ok(_) if followed.as_ref().is_some_and(|followed| followed.has_reply()) => {
                self.log_ignored("the call has its reply already");
            }
            Ok(answer) => {
                let (id, verdict) = (request.trans_id, verdict(&answer));
                self.conclude(id, answered(verdict, payload));
            }
            Err(mismatch) => self.log_ignored(mismatch),
        }
    }

    fn handle_event(&mut self, event: EventMessage) {
        let ids = lock(&self.followed).get(&event.session_id).cloned().unwrap_or_default();
        let Some(FollowConfig { topics, .. }) = &self.config.follow else { return };
        let record = event.record(topics);
        let mut changed = Vec::new();
        for id in ids {
            let followed = self.pending.get_mut(&id).and_then(|call| call.followed.as_mut());
            changed.extend(followed.map(|followed| (id, followed.event(Instant::now(), &record))));
        }
        self.events.push_back(CallEvent::Update(CallUpdate::Event(event)));
        for (id, state) in changed {
            self.update(id, state);
        }
    }

    fn handle_published(&mut self, id: Uuid, published: Published) {
        let CallConfig { call_topic, report, follow, .. } = &self.config;
        match published {
            Published::Accepted => report.debug(format_args!("the broker accepted the request {id}")),
            // Incoming::Lost follows.
            Published::NotSent if follow.is_none() => {}
            published => {
                if let Some(outcome) = unpublished(&published, &self.broker, call_topic) {
                    self.conclude(id, outcome);
                }
            }
        }
    }

    /// Adds the reply to a call, or the reason why no reply comes.
    fn conclude(&mut self, id: Uuid, outcome: Outcome) {
        let Some(PendingCall { request, began, followed, .. }) = self.pending.get_mut(&id) else { return };
        let Some(followed) = followed else {
            let result = self.finish(id, |_| outcome);
            self.events.extend(result.map(CallEvent::Finished));
            return;
        };
        if followed.has_reply() {
            return;
        }
        let elapsed = began.elapsed();
        let reply =
            CallResult { request: request.clone(), outcome: outcome.clone(), elapsed, session: None, limit: None };
        let state = followed.reply(Instant::now(), outcome, elapsed);
        if matches!(reply.outcome, Outcome::Answered { .. }) {
            self.events.push_back(CallEvent::Update(CallUpdate::Reply(Box::new(reply))));
        }
        self.update(id, state);
    }

    /// Ends a followed call that is over, or sets its next deadline.
    fn update(&mut self, id: Uuid, state: CallState) {
        if state == CallState::Over {
            let broker = self.broker.to_string();
            let result = self.finish(id, |request| timed_out(request, &broker, WaitLimit::Timeout));
            self.events.extend(result.map(CallEvent::Finished));
            return;
        }
        let Some(call) = self.pending.get_mut(&id) else { return };
        let next = call.followed.as_ref().and_then(|followed| followed.deadline());
        if let Some(last) = std::mem::replace(&mut call.deadline, next) {
            self.deadlines.remove(&(last, id));
        }
        self.deadlines.extend(next.map(|next| (next, id)));
    }

    /// Removes a call. `missing` makes the outcome of a call without one.
    fn finish(&mut self, id: Uuid, missing: impl FnOnce(&Request) -> Outcome) -> Option<Box<CallResult>> {
        let PendingCall { request, began, deadline, followed } = self.pending.remove(&id)?;
        if let Some(deadline) = deadline {
            self.deadlines.remove(&(deadline, id));
        }
        let elapsed = began.elapsed();
        let Some(followed) = followed else {
            let outcome = missing(&request);
            return Some(Box::new(CallResult { request, outcome, elapsed, session: None, limit: None }));
        };
        if let Some(session_id) = request.session_id {
            let mut sessions = lock(&self.followed);
            let ids = sessions.remove(&session_id).into_iter().flatten();
            let others: Vec<Uuid> = ids.filter(|other| *other != id).collect();
            if !others.is_empty() {
                sessions.insert(session_id, others);
            }
        }
        let FollowedResult { outcome, elapsed, session, limit } = followed.finish(|| missing(&request), elapsed);
        Some(Box::new(CallResult { request, outcome, elapsed, session, limit }))
    }

    fn next_deadline(&self) -> Option<Instant> {
        let of_calls = self.deadlines.first().map(|(deadline, _)| *deadline);
        [self.connection.deadline(), of_calls].into_iter().flatten().min()
    }

    /// Handles the deadlines that have passed.
    fn expire(&mut self, now: Instant) {
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now) {
            let broker = self.broker.to_string();
            let Some(PendingCall { request, began, followed: Some(followed), .. }) = self.pending.get_mut(&id) else {
                let result = self.finish(id, |request| timed_out(request, &broker, WaitLimit::Timeout));
                self.events.extend(result.map(CallEvent::Finished));
                continue;
            };
            let state = followed.expire(now, |limit| timed_out(request, &broker, limit), began.elapsed());
            self.update(id, state);
        }
        self.events.extend(self.connection.expire(now).map(CallEvent::Lost));
    }

    /// Reconnects if calls are followed.
    fn handle_loss(&mut self, end: ConnectionEnd) {
        let reason = describe_end(&end);
        if self.config.follow.is_none() {
            self.events.push_back(CallEvent::Lost(reason));
            return;
        }
        // Without a connection, this is the end of a failed attempt to reconnect.
        let Some(from) = self.connection.complete_until() else { return };
        self.config.report.warn(format_args!("lost {}: {reason}; reconnecting", self.broker));
        self.report_to_calls(ConnectionChange::Disconnected);
        let outage = CallOutage { from, reason, until: Instant::now().checked_add(self.config.times.timeout) };
        if let ConnectionState::Connected(lost) = std::mem::replace(&mut self.connection, ConnectionState::Lost(outage))
        {
            let ConnectedClient { client, recovery } = *lost;
            self.reconnect(client, recovery, end);
        }
    }

    fn reconnect(&self, client: Client, recovery: Recovery, end: ConnectionEnd) {
        let CallConfig { options, report, .. } = &self.config;
        let (broker, incoming) = (self.broker.clone(), self.receiver.waker.incoming());
        reconnect(
            client,
            recovery,
            end,
            ReconnectContext { options: options.clone(), broker, report: *report, incoming },
        );
    }

    fn handle_recovery(&mut self, recovered: Recovered) {
        let Recovered { client, recovery, result } = recovered;
        let ConnectionState::Lost(CallOutage { from, .. }) = &self.connection else { return };
        let from = *from;
        match result {
            // It was lost again, perhaps before this thread knew of the connection.
            Ok(_) if !client.is_connected() => self.reconnect(client, recovery, ConnectionEnd::Closed),
            Ok(broker) => {
                let until = client.read_at().map_or_else(Timestamp::now, Moment::to_wall).max(from);
                self.connection = ConnectionState::Connected(Box::new(ConnectedClient { client, recovery }));
                self.broker = broker;
                self.config.report.warn(format_args!(
                    "connected to {} again; replies and events from {} to {} may be missing",
                    self.broker,
                    local_time(from),
                    local_time(until)
                ));
                self.report_to_calls(ConnectionChange::Gap { from, until });
            }
            Err(Some(error)) => {
                let failure = session_failure(&error, &self.config.options, self.config.report);
                self.events.push_back(CallEvent::Lost(failure.to_string()));
            }
            Err(None) => self.events.push_back(CallEvent::Woken),
        }
    }

    /// Adds a change of the connection to all followed calls.
    fn report_to_calls(&mut self, change: ConnectionChange) {
        let status = ConnectionStatus { received: Timestamp::now(), change, reason: None };
        for followed in self.pending.values_mut().filter_map(|call| call.followed.as_mut()) {
            followed.connection(&status);
        }
    }

    fn log_ignored(&self, reason: impl std::fmt::Display) {
        self.config.report.debug(format_args!("ignored a message on the reply topic: {reason}"));
    }
}

/// Makes the error of a subscription to the reply topic and to the followed events.
fn not_subscribed(error: &SubscribeError, config: &CallConfig, broker: &BrokerUrl) -> NotSent {
    let failure = subscribe_failure(error, broker);
    let replies = config.from_topic.and_below();
    let forbidden: Vec<&TopicFilter> = forbidden_filters(error).collect();
    let failure = match forbidden.as_slice() {
        [] => failure,
        filters if filters.contains(&&replies) => {
            failure.hint("check the broker's access list for this user: a call subscribes to the topic for its reply")
        }
        [filter] => failure.hint(format!(
            "--follow needs permission to subscribe to '{filter}': check the broker's access list for this user, or call \
             without --follow"
        )),
        _ => failure.hint(
            "--follow needs permission to subscribe to these filters: check the broker's access list for this user, or call \
             without --follow",
        ),
    };
    NotSent::new(denies_subscription(error), failure)
}

/// Makes the client, which is not connected yet.
fn client(config: &CallConfig, receiver: &EventReceiver, followed: FollowedIds) -> Client {
    let CallConfig { options, from_topic, max_payload, follow, .. } = config;
    let handler = CallHandler {
        incoming: receiver.waker.incoming(),
        replies: from_topic.and_below(),
        max_payload: *max_payload,
        events: follow.as_ref().map(|follow| follow.topics.events.clone()),
        followed,
    };
    let lost = receiver.waker.incoming();
    let events = follow.iter().flat_map(|follow| follow.filters.clone());
    let filters = std::iter::once(from_topic.and_below()).chain(events).collect();
    // A larger packet cannot be a reply of at most max_payload bytes.
    let largest = u32::try_from(*max_payload).unwrap_or(u32::MAX).saturating_add(PACKET_OVERHEAD);
    let options = Options { max_packet_size: options.max_packet_size.min(largest), ..options.clone() };
    Client::new(
        options,
        Purpose::Request,
        Subscription { filters, qos: QOS, listing: None, group: None, allow_partial: false },
        Arc::new(Mutex::new(handler)),
        Arc::default(),
        // Ignore a closed channel: the client has ended.
        Arc::new(move |end| drop(lost.send(Incoming::Lost(end.clone())))),
    )
}
