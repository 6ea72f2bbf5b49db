//! Locking a mutex that another thread may have poisoned.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, even if a thread has panicked while it held the lock.
///
/// Use it if every change under the lock is complete in itself, so that a panic leaves valid data. In release builds a
/// panic ends the process; this matters only in tests.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
