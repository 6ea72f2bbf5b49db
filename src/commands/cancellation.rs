//! Work on a thread of its own, which a signal or a deadline cancels.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::event_loop::{EventLoop, LoopEvent, Signal};
use crate::sync::lock;
use crate::transport::client::Canceller;

/// Maximum time to disconnect.
pub(super) const DISCONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Cancels what the work waits for.
#[derive(Clone, Default)]
pub(super) struct Cancellation(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_cancelled: bool,
    /// Cancels the current client.
    canceller: Option<Canceller>,
}

impl Cancellation {
    /// Cancels this client in place of an earlier one, also if the work is cancelled already.
    pub(super) fn watch(&self, canceller: Canceller) {
        let mut state = lock(&self.0);
        if state.is_cancelled {
            canceller.cancel();
        }
        state.canceller = Some(canceller);
    }

    /// Cancels the work.
    pub(super) fn cancel(&self) {
        let mut state = lock(&self.0);
        state.is_cancelled = true;
        if let Some(canceller) = &state.canceller {
            canceller.cancel();
        }
    }

    /// Returns whether the work is cancelled.
    pub(super) fn is_cancelled(&self) -> bool {
        lock(&self.0).is_cancelled
    }
}

/// How the wait for the work ended.
pub(super) enum WorkEnd<T> {
    /// It is done.
    Done(T),
    /// A signal arrived.
    Signal(Signal),
    /// The deadline passed.
    Deadline,
}

/// Runs work until it is done, a signal arrives or the deadline passes.
///
/// # Errors
/// If signals cannot be handled.
pub(super) fn run<T: Send + 'static>(
    deadline: Option<Instant>,
    work: impl FnOnce(&Cancellation) -> T + Send + 'static,
) -> Result<WorkEnd<T>> {
    let event_loop = EventLoop::new()?;
    let cancellation = Cancellation::default();
    let send = event_loop.sender();
    thread::spawn({
        let cancellation = cancellation.clone();
        move || send(work(&cancellation))
    });
    let end = loop {
        match event_loop.next(deadline) {
            Some(LoopEvent::Custom(result)) => return Ok(WorkEnd::Done(result)),
            Some(LoopEvent::Signal(signal)) => break WorkEnd::Signal(signal),
            Some(LoopEvent::ReaderGone) => {}
            None => break WorkEnd::Deadline,
        }
    };
    cancellation.cancel();
    // The work ends when its connection is closed.
    let _ = event_loop.await_shutdown(DISCONNECT_TIMEOUT, |event| match event {
        LoopEvent::Custom(_) => Some(()),
        LoopEvent::ReaderGone | LoopEvent::Signal(_) => None,
    });
    Ok(end)
}
