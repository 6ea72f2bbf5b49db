//! Stops the handling of messages at the end of a run, for all connections of a session.
//!
//! The command closes the gate. The buffer that is being handled is finished, written and acknowledged; no other buffer is
//! begun. So every printed message is acknowledged, and every other message is neither.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Instant;

use crate::sync::lock;

/// Open until [`Gate::close`]. See the module.
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
    /// Whether there is a connection that the broker has accepted.
    is_connected: bool,
}

impl Gate {
    /// Begins to handle a buffer, until [`Gate::leave`]. Returns `false` if the gate is closed.
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

    /// Closes the gate. Returns whether there is a connection, or the current buffer may establish one: then a DISCONNECT
    /// must follow.
    pub(crate) fn close(&self) -> bool {
        let mut state = self.lock();
        state.is_closed = true;
        state.is_connected || state.is_busy
    }

    /// Waits until no buffer is being handled or `deadline` passes.
    pub(super) fn await_idle(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        drop(self.changed.wait_timeout_while(self.lock(), left, |state| state.is_busy));
    }

    /// Returns whether a buffer is being handled. Nothing is read meanwhile.
    pub(super) fn is_busy(&self) -> bool {
        self.lock().is_busy
    }

    /// Returns whether there is a connection that the broker has accepted.
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
