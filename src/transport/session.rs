//! A subscription kept alive over many connections, by a thread of its own.
//!
//! The thread connects, subscribes, waits for every answer, and tells what happens as [`Stage`]s. After a loss it tries
//! again for as long as it is wanted, ever more slowly. The first connection fails at once where it cannot be made.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::broker::Options;
use super::mqtt::{Ack, Client, Handler, Hooks, Loss, OnLost, Purpose, Subscription, Version};
use crate::exit::{Failure, Status};
use crate::protocol::topic::TopicFilter;

/// The first pause before trying again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause before trying again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the session tells.
#[derive(Debug)]
pub(crate) enum Stage {
    /// A connection stands.
    Connected {
        /// The MQTT version that it speaks.
        version: Version,
        /// Whether the broker had kept the session.
        is_resumed: bool,
    },
    /// Every filter is subscribed to: what is published from now on arrives.
    Ready {
        /// But for these, which the broker refuses.
        denied: Vec<TopicFilter>,
    },
    /// The connection was lost; with the reason.
    Lost(String),
    /// Trying again failed for a reason that was not told yet.
    Retrying(Failure),
}

/// How often a lost connection is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retries {
    /// Until it succeeds.
    Unlimited,
    /// So many times in a row.
    AtMost(u32),
}

/// What is asked of the session's thread.
enum Order {
    /// To mend the connection, which was lost for this reason.
    Mend(String),
    Stop,
}

/// What is called when the session is over; by whoever finds that out first.
type End = Mutex<Option<Box<dyn FnOnce(Result<(), Failure>) + Send>>>;

fn end_with(end: &End, why: Result<(), Failure>) {
    let end = end.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(end) = end {
        end(why);
    }
}

/// A running session; it ends when [`Session::stop`] is called or when it fails.
pub(crate) struct Session {
    orders: Sender<Order>,
}

impl Session {
    /// Starts the thread. `tell` is called there with each stage, and `end` at last: with an error where the session
    /// cannot go on, without one when it has stopped, or when the handler has withheld an acknowledgement. The thread may
    /// be waiting then for the MQTT library, which does not return any more.
    pub(crate) fn start(
        options: Options,
        subscription: Subscription,
        retries: Retries,
        handler: Handler,
        tell: impl FnMut(Stage) + Send + 'static,
        end: impl FnOnce(Result<(), Failure>) + Send + 'static,
    ) -> Self {
        let (orders, inbox) = channel();
        let losses = orders.clone();
        let end: Arc<End> = Arc::new(Mutex::new(Some(Box::new(end))));
        let still = end.clone();
        let on_lost: OnLost = Arc::new(move |loss| match loss {
            // Where the thread is gone already nobody needs to know of a loss.
            Loss::Connection(reason) => drop(losses.send(Order::Mend(reason))),
            Loss::Standstill(why) => end_with(&still, why),
        });
        let hooks = Hooks { handler, on_lost };
        std::thread::spawn(move || {
            let why = Keeper { inbox, retries, tell }.run(&options, &subscription, &hooks);
            end_with(&end, why);
        });
        Self { orders }
    }

    /// Asks the session to say goodbye.
    pub(crate) fn stop(&self) {
        // Where the thread is gone already the session is over.
        let _ = self.orders.send(Order::Stop);
    }
}

/// The thread's own view.
struct Keeper<T> {
    inbox: Receiver<Order>,
    retries: Retries,
    tell: T,
}

/// Whether to go on.
enum Next {
    Again,
    Stop,
}

impl<T: FnMut(Stage)> Keeper<T> {
    /// Returns when it was asked to stop.
    fn run(mut self, options: &Options, subscription: &Subscription, hooks: &Hooks) -> Result<(), Failure> {
        let mut client = Client::connect(options, subscription, &Purpose::Receive, hooks)?;
        let end = self.keep(&mut client);
        client.disconnect(GOODBYE);
        end
    }

    /// Subscribes, and mends what breaks.
    fn keep(&mut self, client: &mut Client) -> Result<(), Failure> {
        self.tell_connected(client);
        // What a kept session subscribed to may be another run's wish.
        let denied = client.subscribe()?;
        (self.tell)(Stage::Ready { denied });
        loop {
            match self.inbox.recv() {
                Ok(Order::Mend(reason)) => {
                    (self.tell)(Stage::Lost(reason.clone()));
                    if let Next::Stop = self.recover(client, &reason)? {
                        return Ok(());
                    }
                }
                Ok(Order::Stop) | Err(_) => return Ok(()),
            }
        }
    }

    fn tell_connected(&mut self, client: &Client) {
        (self.tell)(Stage::Connected { version: client.version(), is_resumed: client.is_resumed() });
    }

    /// Tries until the subscription stands again.
    fn recover(&mut self, client: &mut Client, reason: &str) -> Result<Next, Failure> {
        let mut last = Failure::unreachable(format!("lost the broker: {reason}"));
        let mut pauses = pauses();
        let mut tries = 0;
        while self.retries.allow(tries) {
            tries += 1;
            if let Next::Stop = self.rest(pauses.next().unwrap_or(LONGEST_PAUSE)) {
                return Ok(Next::Stop);
            }
            match self.mend(client) {
                Ok(denied) => {
                    (self.tell)(Stage::Ready { denied });
                    return Ok(Next::Again);
                }
                Err(failure) if failure.status() != Status::Unreachable => return Err(failure),
                Err(failure) => {
                    client.disconnect(GOODBYE);
                    if failure.to_string() != last.to_string() {
                        last = failure;
                        (self.tell)(Stage::Retrying(last.clone()));
                    }
                }
            }
        }
        Err(last)
    }

    /// Connects, and subscribes where the broker does not remember what to.
    fn mend(&mut self, client: &mut Client) -> Result<Vec<TopicFilter>, Failure> {
        client.reconnect()?;
        self.tell_connected(client);
        if client.is_resumed() { Ok(Vec::new()) } else { client.subscribe() }
    }

    /// Waits, unless it is asked to stop. A loss that is told meanwhile is the one that is being mended.
    fn rest(&self, pause: Duration) -> Next {
        let until = Instant::now() + pause;
        loop {
            match self.inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Order::Mend(_)) => {}
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return Next::Stop,
                Err(RecvTimeoutError::Timeout) => return Next::Again,
            }
        }
    }
}

impl Retries {
    /// Whether one more try is allowed after `tries`.
    fn allow(self, tries: u32) -> bool {
        match self {
            Self::Unlimited => true,
            Self::AtMost(most) => tries < most,
        }
    }
}

/// Ever longer pauses, each shortened by up to a half at random, so that many clients do not come back at the same time.
fn pauses() -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(FIRST_PAUSE), |pause| Some(LONGEST_PAUSE.min(*pause * 2)))
        .map(|pause| pause.mul_f64(0.5 + fastrand::f64() / 2.0))
}

/// Makes the broker forget the session that it keeps for the options' client identifier.
///
/// # Errors
/// As [`Client::connect`].
pub(crate) fn forget(options: &Options) -> Result<(), Failure> {
    let hooks = Hooks { handler: Arc::new(|_| Ack::Send), on_lost: Arc::new(|_| {}) };
    let nothing = Subscription { filters: Vec::new(), qos: 0, group: None, allow_partial: false };
    let clean = Options { kept: None, ..options.clone() };
    Client::connect(&clean, &nothing, &Purpose::Receive, &hooks)?.disconnect(GOODBYE);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_stay_there() {
        for (pause, longest) in pauses().zip([200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]) {
            let longest = Duration::from_millis(longest);
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?} of {longest:?}");
        }
    }
}
