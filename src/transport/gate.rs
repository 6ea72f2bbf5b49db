//! Decides whether messages are still handled, for all connections of a session.
//!
//! Who ends a run closes the gate: a buffer that is being handled is finished, written and acknowledged, and none is begun
//! after it. So what was printed is acknowledged, and what is not acknowledged was not printed.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Instant;

use crate::sync::lock;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    /// Whether a buffer is being handled.
    is_busy: bool,
    /// Whether the broker has accepted a connection that still stands.
    is_connected: bool,
}

impl Gate {
    /// Begins to handle a buffer; `false` if nothing is handled any more. [`Gate::leave`] ends it.
    pub(super) fn enter(&self) -> bool {
        let mut state = self.lock();
        state.is_busy = !state.is_closed;
        state.is_busy
    }

    /// Ends the handling of a buffer.
    pub(super) fn leave(&self) {
        self.lock().is_busy = false;
        self.changed.notify_all();
    }

    /// Lets no buffer be begun from now on. Returns whether a connection stands, or is about to with the buffer that is being
    /// handled: it is to be ended in order.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.lock();
        state.is_closed = true;
        state.is_connected || state.is_busy
    }

    /// Waits until no buffer is being handled, or until `deadline`.
    pub(super) fn await_idle(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        drop(self.changed.wait_timeout_while(self.lock(), left, |state| state.is_busy));
    }

    /// Whether a buffer is being handled: nothing is read meanwhile.
    pub(super) fn is_busy(&self) -> bool {
        self.lock().is_busy
    }

    /// Whether the broker has accepted a connection that still stands.
    pub(super) fn is_connected(&self) -> bool {
        self.lock().is_connected
    }

    pub(super) fn set_connected(&self, is_connected: bool) {
        self.lock().is_connected = is_connected;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}
