//! A subscription kept alive over many connections, by a thread of its own.
//!
//! The thread connects, subscribes, waits for every answer, and reports what happens as [`SessionEvent`]s. After a loss it
//! reconnects for as long as it is allowed to, ever more slowly; a connection must last before the next loss is treated as
//! the first. The first connection fails at once if it cannot be made.

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

/// How long a connection must last before the pauses start over.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// How long the end of a connection may take.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What happens to a session.
#[derive(Debug)]
pub(crate) enum SessionEvent {
    /// The broker accepted the connection.
    Connected(Connected),
    /// Every filter is subscribed to, but for the refused ones: what is published from now on arrives.
    Ready {
        granted: Granted,
        /// When the SUBACK was read: nothing is promised of what was published before.
        since: Moment,
    },
    /// The retained messages of the filter that is to be listed are handled.
    Settled,
    /// The connection was lost. If it had been ready, nothing is missing that was published before `complete_until`.
    Lost {
        end: ConnectionEnd,
        complete_until: Option<Moment>,
        /// How many connections in a row ended soon and for this reason before this one.
        repetitions: u32,
        /// Whether it delivered nothing, or always ends at the same message.
        was_useless: bool,
        /// Whether no reconnect is allowed, so that the session ends.
        is_final: bool,
    },
    /// Reconnecting failed for a reason that was not reported yet.
    Retrying(SessionError),
    /// The connection has lasted.
    Stable,
}

/// Why a session cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SessionError {
    Connect(ConnectFailures),
    Subscribe(SubscribeError),
    /// The connection was lost, and no more reconnects are allowed.
    Lost(ConnectionEnd),
}

/// How often to reconnect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retries {
    Unlimited,
    /// So many times in a row.
    AtMost(u32),
}

impl Retries {
    /// Whether one more reconnect is allowed after `tries`.
    fn allow(self, tries: u32) -> bool {
        match self {
            Self::Unlimited => true,
            Self::AtMost(most) => tries < most,
        }
    }
}

/// A running session; it ends when [`Session::stop`] is called or when it fails.
pub(crate) struct Session {
    canceller: Canceller,
    gate: Arc<Gate>,
}

impl Session {
    /// Starts the thread. `report` is called there with each event, and `end` at last: with an error if the session cannot go
    /// on, without one if it was stopped.
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
        let worker = Worker {
            client,
            has_listing,
            retries,
            report,
            pauses: Pauses::new(),
            tries: 0,
            short: None,
            granted: None,
        };
        std::thread::spawn(move || end(worker.run()));
        Self { canceller, gate }
    }

    /// Has no further message handled, and ends the connection in order. Returns whether there is one, which takes a moment.
    pub(crate) fn stop(&self) -> bool {
        let is_connected = self.gate.close();
        self.canceller.cancel();
        is_connected
    }
}

/// The session's thread.
struct Worker<R> {
    client: Client,
    /// Whether there is a filter whose retained messages are listed.
    has_listing: bool,
    retries: Retries,
    report: R,
    pauses: Pauses,
    /// How many reconnects were tried since one succeeded.
    tries: u32,
    /// Why the last connection ended, if it did not last, and how many before it did so for the same reason.
    short: Option<(ConnectionEnd, u32)>,
    /// What the broker granted last, if it did.
    granted: Option<Granted>,
}

/// How a step ends the session, if it does: without an error if it was stopped.
type Stopped = Result<(), SessionError>;

impl<R: FnMut(SessionEvent)> Worker<R> {
    fn run(mut self) -> Result<(), SessionError> {
        let Err(end) = self.keep_alive();
        self.client.disconnect(DISCONNECT_TIMEOUT);
        end
    }

    /// Connects, subscribes and reconnects until the session ends.
    fn keep_alive(&mut self) -> Result<std::convert::Infallible, Stopped> {
        let connected = self.client.connect().map_err(|failure| stopped(SessionError::Connect(failure)))?;
        let is_resumed = connected.accepted.session_present;
        (self.report)(SessionEvent::Connected(connected));
        // What a kept session is subscribed to may be what another run wanted.
        let mut subscribed = self.client.subscribe();
        loop {
            let (end, complete_until) = match subscribed {
                Ok(granted) => self.stay_ready(granted)?,
                // A kept session has delivered already: its connection is lost as any other is.
                Err(SubscribeError::Ended(end)) if is_resumed => (end, self.client.proof()),
                Err(error) => return Err(stopped(SessionError::Subscribe(error))),
            };
            subscribed = Ok(self.recover(end, complete_until)?);
        }
    }

    /// Waits until a connection that is ready ends; returns how, and up to when the stream is complete.
    fn stay_ready(&mut self, granted: Granted) -> Result<(ConnectionEnd, Option<Moment>), Stopped> {
        self.granted = Some(granted.clone());
        let since = self.client.read_at().unwrap_or_else(Moment::now);
        (self.report)(SessionEvent::Ready { granted, since });
        let stable = Instant::now() + STABLE_AFTER;
        match self.settle().unwrap_or_else(|| self.await_end(stable)) {
            ClientEvent::Ended(end) => Ok((end, self.client.proof().map(|proof| proof.max(since)))),
            ClientEvent::Cancelled => Err(Ok(())),
        }
    }

    /// Waits until all retained messages have come, if a filter is to be listed. Returns what ends the wait before.
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

    /// Waits until the connection ends or the session is stopped. Reports that the connection has lasted until `stable`.
    fn await_end(&mut self, stable: Instant) -> ClientEvent {
        if let Some(event) = self.client.await_end(Some(stable)) {
            return event;
        }
        (self.pauses, self.short) = (Pauses::new(), None);
        (self.report)(SessionEvent::Stable);
        self.client.await_end(None).unwrap_or(ClientEvent::Cancelled)
    }

    /// Reconnects until the subscription stands again.
    fn recover(&mut self, end: ConnectionEnd, complete_until: Option<Moment>) -> Result<Granted, Stopped> {
        let is_poisoned = matches!(end, ConnectionEnd::Protocol(_));
        let was_useless = is_poisoned || self.client.messages() == 0;
        let repetitions = match &self.short {
            Some((before, count)) if *before == end => count + 1,
            _ => 0,
        };
        if !is_poisoned || repetitions == 0 {
            self.tries = 0;
        }
        self.short = Some((end.clone(), repetitions));
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
                Err(error) if !may_succeed_later(&error) => return Err(stopped(error)),
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

/// How an error ends the session: not at all if it is that the session was stopped.
fn stopped(error: SessionError) -> Stopped {
    match error {
        SessionError::Subscribe(SubscribeError::Cancelled) => Ok(()),
        SessionError::Connect(failures) if failures.last.error == ConnectError::Cancelled => Ok(()),
        error => Err(error),
    }
}

/// Whether the same reconnect may succeed a moment later.
fn may_succeed_later(error: &SessionError) -> bool {
    match error {
        SessionError::Connect(failures) => failures.last.error.may_differ_elsewhere(),
        SessionError::Subscribe(SubscribeError::Refused { denied, .. }) => {
            denied.iter().all(|(_, reason)| reason.code.is_transient())
        }
        SessionError::Subscribe(SubscribeError::Ended(_) | SubscribeError::Unanswered(_)) | SessionError::Lost(_) => {
            true
        }
        SessionError::Subscribe(SubscribeError::Unsupported(_) | SubscribeError::Cancelled) => false,
    }
}

/// Ever longer pauses, each shortened by up to a half at random, so that many clients do not return at the same time.
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

/// Makes the broker forget the session that it keeps for the options' client identifier.
///
/// # Errors
/// As [`Client::connect`].
pub(crate) fn forget(options: Options, handler: SharedHandler) -> Result<(), ConnectFailures> {
    let nothing = Subscription { filters: Vec::new(), qos: 0, listing: None, group: None, allow_partial: false };
    let clean = Options { session_expiry: None, ..options };
    let mut client = Client::new(clean, Purpose::Receive, nothing, handler, Arc::default(), Arc::new(|_| {}));
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
