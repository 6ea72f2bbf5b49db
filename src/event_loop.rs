//! The event loop of a command: one place that waits for signals, deadlines and the command's own threads.
//!
//! The main thread of a command only waits here. Network and output block other threads, so signals and deadlines are
//! always handled.

use std::fs::File;
use std::io;
use std::mem;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::sync::lock;

/// Time left for shutdown after a second signal. Enough to finish everything that is not blocked.
pub(crate) const FORCED_EXIT_GRACE: Duration = Duration::from_millis(50);

/// Why an event loop cannot be set up. `commands` makes the message.
#[derive(Debug)]
pub(crate) enum EventLoopError {
    /// Signals cannot be handled.
    Signals(io::Error),
    /// The reader of the output cannot be watched.
    Output(io::Error),
}

/// A signal that ends the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: `kill`, or a service manager.
    Terminate,
}

/// An event of an [`EventLoop`].
#[derive(Debug)]
pub(crate) enum LoopEvent<T> {
    /// A signal arrived.
    Signal(Signal),
    /// The reader of standard output closed the pipe.
    ReaderGone,
    /// An event of the command's own.
    Custom(T),
}

/// Receives signals and the command's own events of type `T`.
pub(crate) struct EventLoop<T> {
    sender: Sender<LoopEvent<T>>,
    receiver: Receiver<LoopEvent<T>>,
}

impl<T: Send + 'static> EventLoop<T> {
    /// Makes an event loop that handles SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    /// If the signal handlers cannot be installed.
    pub(crate) fn new() -> Result<Self, EventLoopError> {
        let (sender, receiver) = channel();
        let events = Self { sender: sender.clone(), receiver };
        lock(&SIGNALS).start(move |signal| sender.send(LoopEvent::Signal(signal)).is_ok())?;
        Ok(events)
    }

    /// Turns each SIGHUP into an event. Without this, SIGHUP ends the process.
    ///
    /// # Errors
    /// See [`EventLoop::new`].
    pub(crate) fn on_hangup(&self, event: fn() -> T) -> Result<(), EventLoopError> {
        let mut hangups = Signals::new([SIGHUP]).map_err(EventLoopError::Signals)?;
        let sender = self.sender.clone();
        thread::spawn(move || {
            for _ in hangups.forever() {
                if sender.send(LoopEvent::Custom(event())).is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Reports [`LoopEvent::ReaderGone`] once the reader of `output` is gone, even if nothing is written.
    ///
    /// # Errors
    /// If `output` cannot be watched.
    pub(crate) fn watch_reader(&self, output: &File) -> Result<(), EventLoopError> {
        let output = output.try_clone().map_err(EventLoopError::Output)?;
        let sender = self.sender.clone();
        thread::spawn(move || {
            // Without requested events, poll returns only for a hangup or an error of the other end.
            while let Err(rustix::io::Errno::INTR) = poll(&mut [PollFd::new(&output, PollFlags::empty())], None) {}
            let _ = sender.send(LoopEvent::ReaderGone);
        });
        Ok(())
    }

    /// Returns a function that sends the command's own events. It has no effect after the command has ended.
    pub(crate) fn sender(&self) -> impl Fn(T) + Clone + Send + Sync + 'static {
        let sender = self.sender.clone();
        move |event| drop(sender.send(LoopEvent::Custom(event)))
    }

    /// Waits for the next event, and returns `None` at `deadline`.
    pub(crate) fn next(&self, deadline: Option<Instant>) -> Option<LoopEvent<T>> {
        let Some(deadline) = deadline else {
            return self.receiver.recv().ok();
        };
        self.receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }

    /// Waits during shutdown until `handle` returns a value for an event. Returns `None` after `timeout`, or
    /// [`FORCED_EXIT_GRACE`] after a further signal.
    pub(crate) fn await_shutdown<R>(
        &self,
        timeout: Duration,
        mut handle: impl FnMut(LoopEvent<T>) -> Option<R>,
    ) -> Option<R> {
        let mut deadline = deadline_in(timeout);
        loop {
            match self.next(deadline)? {
                LoopEvent::Signal(_) => deadline = deadline.min(deadline_in(FORCED_EXIT_GRACE)),
                event => {
                    if let Some(result) = handle(event) {
                        return Some(result);
                    }
                }
            }
        }
    }
}

impl<T> Drop for EventLoop<T> {
    /// Keeps the signals that were not handled.
    fn drop(&mut self) {
        let mut signals = lock(&SIGNALS);
        signals.receiver = None;
        signals.pending.extend(self.receiver.try_iter().filter_map(|event| match event {
            LoopEvent::Signal(signal) => Some(signal),
            LoopEvent::ReaderGone | LoopEvent::Custom(_) => None,
        }));
    }
}

/// Passes signals to the newest event loop. A command can have one after another: one to ask a server, then one for the run.
/// A signal that arrives in between is kept for the next loop.
static SIGNALS: Mutex<SignalRouter> =
    Mutex::new(SignalRouter { is_started: false, receiver: None, pending: Vec::new() });

struct SignalRouter {
    /// Whether signals are handled by a thread that passes them on.
    is_started: bool,
    /// Takes a signal. Returns `false` if its loop has ended.
    receiver: Option<Box<dyn Fn(Signal) -> bool + Send>>,
    /// Signals that arrived without a receiver.
    pending: Vec<Signal>,
}

impl SignalRouter {
    /// Handles SIGINT and SIGTERM from now on, and passes them to `receiver`.
    fn start(&mut self, receiver: impl Fn(Signal) -> bool + Send + 'static) -> Result<(), EventLoopError> {
        if !self.is_started {
            let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(EventLoopError::Signals)?;
            thread::spawn(move || {
                for signal in signals.forever() {
                    let signal = if signal == SIGINT { Signal::Interrupt } else { Signal::Terminate };
                    lock(&SIGNALS).pass(signal);
                }
            });
            self.is_started = true;
        }
        self.receive_with(receiver);
        Ok(())
    }

    fn receive_with(&mut self, receiver: impl Fn(Signal) -> bool + Send + 'static) {
        self.receiver = Some(Box::new(receiver));
        for signal in mem::take(&mut self.pending) {
            self.pass(signal);
        }
    }

    fn pass(&mut self, signal: Signal) {
        if !self.receiver.as_ref().is_some_and(|receiver| receiver(signal)) {
            self.receiver = None;
            self.pending.push(signal);
        }
    }
}

/// Ignores SIGHUP from now on: for a run that ends soon, with a status of its own.
///
/// # Errors
/// If the signal handler cannot be installed.
pub(crate) fn ignore_hangup() -> Result<(), EventLoopError> {
    signal_hook::flag::register(SIGHUP, Arc::default()).map_err(EventLoopError::Signals)?;
    Ok(())
}

/// Returns the time after `duration`, or `None` if the clock cannot represent it.
pub(crate) fn deadline_in(duration: Duration) -> Option<Instant> {
    Instant::now().checked_add(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_between_two_event_loops_is_passed_to_the_second() {
        let mut router = SignalRouter { is_started: true, receiver: None, pending: Vec::new() };
        let (first, received) = channel();
        router.receive_with(move |signal| first.send(signal).is_ok());
        router.pass(Signal::Interrupt);
        assert_eq!(received.try_iter().collect::<Vec<_>>(), [Signal::Interrupt]);
        drop(received);
        router.pass(Signal::Terminate);
        let (second, received) = channel();
        router.receive_with(move |signal| second.send(signal).is_ok());
        router.pass(Signal::Interrupt);
        assert_eq!(received.try_iter().collect::<Vec<_>>(), [Signal::Terminate, Signal::Interrupt]);
    }
}
