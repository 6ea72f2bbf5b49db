//! A subscription kept alive over many connections, by a thread of its own.
//!
//! The thread connects, subscribes, waits for every answer, and tells what happens as [`Stage`]s. After a loss it tries
//! again for as long as it is wanted, ever more slowly. The first connection fails at once where it cannot be made.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::broker::Options;
use super::mqtt::{Acknowledgements, Client, Handler, OnLost};
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
    /// A connection stands; with the MQTT version that it speaks.
    Connected(&'static str),
    /// Every filter is subscribed to: what is published from now on arrives.
    Ready,
    /// The connection was lost; with the reason. The session tries again.
    Lost(String),
    /// Trying again failed for a reason that was not told yet.
    Retrying(Failure),
    /// The session is over: this cannot work.
    Failed(Failure),
    /// The session is over, as was asked.
    Stopped,
}

/// What is asked of the session's thread.
enum Order {
    Lost(String),
    Stop,
}

/// A running session; it ends when [`Session::stop`] is called or it [`Stage::Failed`].
pub(crate) struct Session {
    orders: Sender<Order>,
}

/// What a session subscribes to.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    /// To these filters.
    pub(crate) filters: Vec<TopicFilter>,
    /// With this quality of service at the most: 0, 1 or 2.
    pub(crate) qos: u8,
}

impl Session {
    /// Starts the thread. `tell` is called there, and must not block for long.
    pub(crate) fn start(
        options: Options,
        subscription: Subscription,
        handler: Handler,
        tell: impl Fn(Stage) + Send + 'static,
    ) -> Self {
        let (orders, inbox) = channel();
        let losses = orders.clone();
        // Where the thread is gone already nobody needs to know of a loss.
        let on_lost: OnLost = Arc::new(move |reason| drop(losses.send(Order::Lost(reason))));
        std::thread::spawn(move || {
            let end = Keeper { options, subscription, handler, on_lost, inbox, tell: &tell }.run();
            tell(end.map_or_else(Stage::Failed, |()| Stage::Stopped));
        });
        Self { orders }
    }

    /// Asks the session to unsubscribe by saying goodbye; [`Stage::Stopped`] tells when it has.
    pub(crate) fn stop(&self) {
        // Where the thread is gone already the session is over.
        let _ = self.orders.send(Order::Stop);
    }
}

/// The thread's own view.
struct Keeper<'a, T> {
    options: Options,
    subscription: Subscription,
    handler: Handler,
    on_lost: OnLost,
    inbox: Receiver<Order>,
    tell: &'a T,
}

/// Whether to go on.
enum Next {
    Again,
    Stop,
}

impl<T: Fn(Stage)> Keeper<'_, T> {
    /// Returns when it was asked to stop.
    fn run(self) -> Result<(), Failure> {
        let client = Client::connect(&self.options, Acknowledgements::Plain, &self.handler, &self.on_lost)?;
        (self.tell)(Stage::Connected(client.version()));
        self.subscribe(&client)?;
        (self.tell)(Stage::Ready);
        loop {
            match self.inbox.recv() {
                Ok(Order::Lost(reason)) => {
                    (self.tell)(Stage::Lost(reason));
                    if let Next::Stop = self.recover(&client)? {
                        return Ok(());
                    }
                }
                Ok(Order::Stop) | Err(_) => {
                    client.disconnect(GOODBYE);
                    return Ok(());
                }
            }
        }
    }

    fn subscribe(&self, client: &Client) -> Result<(), Failure> {
        client.subscribe(&self.subscription.filters, self.subscription.qos, &self.handler)
    }

    /// Tries until the subscription stands again.
    fn recover(&self, client: &Client) -> Result<Next, Failure> {
        let mut pause = FIRST_PAUSE;
        let mut told = String::new();
        loop {
            if let Next::Stop = self.rest(jittered(pause)) {
                return Ok(Next::Stop);
            }
            pause = LONGEST_PAUSE.min(pause * 2);
            match client.reconnect().and_then(|()| self.subscribe(client)) {
                Ok(()) => {
                    (self.tell)(Stage::Ready);
                    return Ok(Next::Again);
                }
                Err(failure) if failure.status() != Status::Unreachable => return Err(failure),
                Err(failure) => {
                    client.disconnect(GOODBYE);
                    let reason = failure.to_string();
                    if reason != told {
                        told = reason;
                        (self.tell)(Stage::Retrying(failure));
                    }
                }
            }
        }
    }

    /// Waits, unless it is asked to stop. A loss that is told meanwhile is the one that is being mended.
    fn rest(&self, pause: Duration) -> Next {
        let until = std::time::Instant::now() + pause;
        loop {
            let left = until.saturating_duration_since(std::time::Instant::now());
            match self.inbox.recv_timeout(left) {
                Ok(Order::Lost(_)) => {}
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return Next::Stop,
                Err(RecvTimeoutError::Timeout) => return Next::Again,
            }
        }
    }
}

/// A pause of half to the whole of `pause`, so that many clients do not come back at the same time.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}
