//! A session: one subscription that survives lost connections. It has its own thread.
//!
//! The thread connects, subscribes, and reports what happens as [`SessionEvent`]s. After a lost connection it reconnects
//! with exponential backoff, as often as [`Retries`] allows. A connection must last for [`STABLE_AFTER`] before the backoff
//! starts over. If the first connection fails, the session ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::{Canceller, Client, ClientEvent, Connected, Granted, OnEnded, Purpose};
use super::error::{ConnectError, ConnectFailures, ConnectionEnd, SubscribeError};
use super::gate::Gate;
use super::moment::Moment;
use super::options::Options;
use super::relay::SharedHandler;
use super::subscription::Subscription;

/// The first pause before reconnecting.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause before reconnecting.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a connection must last before the backoff starts over.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// How long closing the connection may take.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What a session reports.
#[derive(Debug)]
pub(crate) enum SessionEvent {
    /// The broker accepted the connection.
    Connected(Connected),
    /// The broker granted the subscription, perhaps in part. Messages that are published from now on arrive.
    Ready {
        granted: Granted,
        /// When the SUBACK was read. Messages published before may be missing.
        since: Moment,
    },
    /// The retained messages of [`Subscription::listing`] are handled.
    Settled,
    /// The connection was lost. No message that was published before `complete_until` is missing, if the subscription was
    /// granted.
    Lost {
        end: ConnectionEnd,
        complete_until: Option<Moment>,
        /// The number of preceding connections that ended early for the same reason.
        repetitions: u32,
        /// Whether the connection delivered no message, or ended because the broker violated a protocol, which the same
        /// message may cause again.
        was_useless: bool,
        /// Whether the session ends, because no reconnect is allowed.
        is_final: bool,
    },
    /// Reconnecting failed, for a new reason.
    Retrying(SessionError),
    /// The connection has lasted for [`STABLE_AFTER`].
    Stable,
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SessionError {
    Connect(ConnectFailures),
    Subscribe(SubscribeError),
    /// The connection was lost, and no more reconnects are allowed.
    Lost(ConnectionEnd),
}

/// The limit of consecutive reconnects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retries {
    Unlimited,
    /// At most this many.
    AtMost(u32),
}

impl Retries {
    /// Returns whether another reconnect is allowed after `tries`.
    fn allow(self, tries: u32) -> bool {
        match self {
            Self::Unlimited => true,
            Self::AtMost(most) => tries < most,
        }
    }
}

/// A running session. It ends when [`Session::stop`] is called or when it fails.
pub(crate) struct Session {
    canceller: Canceller,
    gate: Arc<Gate>,
}

impl Session {
    /// Starts the thread, which calls `report` with each event, and `end` at the end: with an error, or with `Ok` if the
    /// session was stopped.
    pub(crate) fn start(
        options: Options,
        subscription: Subscription,
        retries: Retries,
        handler: SharedHandler,
        report: impl FnMut(SessionEvent) + Send + 'static,
        end: impl FnOnce(Result<(), SessionError>) + Send + 'static,
    ) -> Self {
        let gate: Arc<Gate> = Arc::default();
        let on_ended: OnEnded = Arc::new(|_| {});
        let has_listing = subscription.listing.is_some();
        let client = Client::new(options, Purpose::Receive, subscription, handler, gate.clone(), on_ended);
        let canceller = client.canceller();
        let worker = SessionWorker {
            client,
            has_listing,
            retries,
            report,
            pauses: Pauses::new(),
            tries: 0,
            short_lived: None,
            granted: None,
        };
        std::thread::spawn(move || end(worker.run()));
        Self { canceller, gate }
    }

    /// Stops handling messages, and closes the connection in the background. Returns whether there is a connection to close,
    /// which takes a moment.
    pub(crate) fn stop(&self) -> bool {
        let is_connected = self.gate.close();
        self.canceller.cancel();
        is_connected
    }
}

/// The session's thread.
struct SessionWorker<R> {
    client: Client,
    /// Whether there is a filter whose retained messages are listed.
    has_listing: bool,
    retries: Retries,
    report: R,
    pauses: Pauses,
    /// The number of reconnects since the last one that succeeded.
    tries: u32,
    /// If the last connection ended early: its reason, and the number of connections before it that ended for the same
    /// reason.
    short_lived: Option<(ConnectionEnd, u32)>,
    /// The last grant.
    granted: Option<Granted>,
}

/// How the session ends: with an error, or with `Ok` if it was stopped.
type SessionEnd = Result<(), SessionError>;

impl<R: FnMut(SessionEvent)> SessionWorker<R> {
    fn run(mut self) -> Result<(), SessionError> {
        let Err(end) = self.run_connections();
        self.client.disconnect(DISCONNECT_TIMEOUT);
        end
    }

    /// Connects, subscribes and reconnects until the session ends.
    fn run_connections(&mut self) -> Result<std::convert::Infallible, SessionEnd> {
        let connected = self.client.connect().map_err(|failure| session_end(SessionError::Connect(failure)))?;
        let is_resumed = connected.accepted.session_present;
        (self.report)(SessionEvent::Connected(connected));
        // Always subscribe: the kept session may have the filters of an earlier run.
        let mut subscribed = self.client.subscribe();
        loop {
            let (end, complete_until) = match subscribed {
                Ok(granted) => self.stay_ready(granted)?,
                // A resumed session may have delivered messages already, so treat this as a lost connection.
                Err(SubscribeError::Ended(end)) if is_resumed => (end, self.client.complete_until()),
                Err(error) => return Err(session_end(SessionError::Subscribe(error))),
            };
            subscribed = Ok(self.recover(end, complete_until)?);
        }
    }

    /// Reports the subscription as ready, and waits until the connection ends. Returns the reason, and the time up to which
    /// all published messages have arrived.
    fn stay_ready(&mut self, granted: Granted) -> Result<(ConnectionEnd, Option<Moment>), SessionEnd> {
        self.granted = Some(granted.clone());
        let since = self.client.read_at().unwrap_or_else(Moment::now);
        (self.report)(SessionEvent::Ready { granted, since });
        let stable = Instant::now() + STABLE_AFTER;
        match self.settle().unwrap_or_else(|| self.await_end(stable)) {
            ClientEvent::Ended(end) => Ok((end, self.client.complete_until().map(|moment| moment.max(since)))),
            ClientEvent::Cancelled => Err(Ok(())),
        }
    }

    /// Waits until all retained messages of a listing are handled. Returns the event that ended the wait early, if any.
    fn settle(&mut self) -> Option<ClientEvent> {
        if !self.has_listing {
            return None;
        }
        let end = self.client.settle();
        if end.is_none() {
            (self.report)(SessionEvent::Settled);
        }
        end
    }

    /// Waits until the connection ends or the session is stopped. Reports the connection as stable at `stable`.
    fn await_end(&mut self, stable: Instant) -> ClientEvent {
        if let Some(event) = self.client.await_end(Some(stable)) {
            return event;
        }
        (self.pauses, self.short_lived) = (Pauses::new(), None);
        (self.report)(SessionEvent::Stable);
        self.client.await_end(None).unwrap_or(ClientEvent::Cancelled)
    }

    /// Reconnects until the subscription is granted again.
    fn recover(&mut self, end: ConnectionEnd, complete_until: Option<Moment>) -> Result<Granted, SessionEnd> {
        let is_violation = end.is_violation();
        let was_useless = is_violation || self.client.messages() == 0;
        let repetitions = match &self.short_lived {
            Some((before, count)) if *before == end => count + 1,
            _ => 0,
        };
        if !is_violation || repetitions == 0 {
            self.tries = 0;
        }
        self.short_lived = Some((end.clone(), repetitions));
        let is_final = !self.retries.allow(self.tries);
        (self.report)(SessionEvent::Lost { end: end.clone(), complete_until, repetitions, was_useless, is_final });
        let mut last = SessionError::Lost(end);
        loop {
            if !self.retries.allow(self.tries) {
                return Err(Err(last));
            }
            self.tries += 1;
            if !self.client.abandon() {
                return Err(Ok(()));
            }
            if self.client.pause(self.pauses.next()) {
                return Err(Ok(()));
            }
            match self.reconnect() {
                Ok(granted) => return Ok(granted),
                Err(error) if !may_succeed_later(&error) => return Err(session_end(error)),
                Err(error) if error != last => {
                    last = error;
                    (self.report)(SessionEvent::Retrying(last.clone()));
                }
                Err(_) => {}
            }
        }
    }

    /// Connects, and subscribes if the broker did not keep the session.
    fn reconnect(&mut self) -> Result<Granted, SessionError> {
        let connected = self.client.connect().map_err(SessionError::Connect)?;
        let is_resumed = connected.accepted.session_present;
        (self.report)(SessionEvent::Connected(connected));
        match self.granted.clone().filter(|_| is_resumed) {
            Some(granted) => Ok(Granted { denied: Vec::new(), ..granted }),
            None => self.client.subscribe().map_err(SessionError::Subscribe),
        }
    }
}

/// Converts an error to the end of the session: `Ok` if the session was cancelled.
fn session_end(error: SessionError) -> SessionEnd {
    match error {
        SessionError::Subscribe(SubscribeError::Cancelled) => Ok(()),
        SessionError::Connect(failures) if failures.last.error == ConnectError::Cancelled => Ok(()),
        error => Err(error),
    }
}

/// Returns whether another attempt may succeed later.
fn may_succeed_later(error: &SessionError) -> bool {
    match error {
        SessionError::Connect(failures) => failures.last.error.may_succeed_elsewhere(),
        SessionError::Subscribe(SubscribeError::Refused { denied, .. }) => {
            denied.iter().all(|(_, reason)| reason.code.is_transient())
        }
        SessionError::Subscribe(SubscribeError::Ended(_) | SubscribeError::Unanswered(_)) | SessionError::Lost(_) => {
            true
        }
        SessionError::Subscribe(SubscribeError::Unsupported(_) | SubscribeError::Cancelled) => false,
    }
}

/// Exponential backoff. Each pause is shortened at random by up to one half, so that many clients do not reconnect at the
/// same time.
struct Pauses(Duration);

impl Pauses {
    fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    fn next(&mut self) -> Duration {
        let pause = self.0.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.0 = LONGEST_PAUSE.min(self.0 * 2);
        pause
    }
}

/// How a client that is not part of a [`Session`] reconnects: with growing pauses, until a connection lasts.
pub(crate) struct Recovery {
    pauses: Pauses,
    /// When the last connection was ready.
    ready: Instant,
}

impl Recovery {
    /// Makes the state of a client that is ready now.
    pub(crate) fn new() -> Self {
        Self { pauses: Pauses::new(), ready: Instant::now() }
    }

    /// Reconnects a client, and subscribes again. Returns the client, which may have been lost again.
    ///
    /// `report` is called with what happens meanwhile.
    ///
    /// # Errors
    /// If the broker does not accept the client any more. Without an error if the client was cancelled.
    pub(crate) fn run(
        mut self,
        client: Client,
        end: ConnectionEnd,
        report: impl FnMut(SessionEvent),
    ) -> (Client, Self, Result<Granted, Option<SessionError>>) {
        if self.ready.elapsed() >= STABLE_AFTER {
            self.pauses = Pauses::new();
        }
        let retries = Retries::Unlimited;
        let mut worker = SessionWorker {
            client,
            retries,
            report,
            pauses: self.pauses,
            tries: 0,
            short_lived: None,
            granted: None,
            has_listing: false,
        };
        let result = worker.recover(end, None).map_err(Result::err);
        let SessionWorker { client, pauses, .. } = worker;
        (client, Self { pauses, ready: Instant::now() }, result)
    }
}

/// Discards the session that the broker keeps for the client identifier.
///
/// # Errors
/// As [`Client::connect`].
pub(crate) fn forget(options: Options, handler: SharedHandler) -> Result<(), ConnectFailures> {
    let no_filters = Subscription { filters: Vec::new(), qos: 0, listing: None, group: None, allow_partial: false };
    let clean = Options { session_expiry: None, ..options };
    let mut client = Client::new(clean, Purpose::Receive, no_filters, handler, Arc::default(), Arc::new(|_| {}));
    client.connect()?;
    client.disconnect(DISCONNECT_TIMEOUT);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_stay_there() {
        let mut pauses = Pauses::new();
        for longest in [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000] {
            let (pause, longest) = (pauses.next(), Duration::from_millis(longest));
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?} of {longest:?}");
        }
    }
}
