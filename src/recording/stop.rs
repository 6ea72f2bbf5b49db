//! A request to stop, checked before every line and during every wait.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Stops a reader from another thread. Clones share one request, which is permanent.
///
/// The flag is checked before each line. The pipe wakes a wait in poll(2).
#[derive(Debug, Clone)]
pub(crate) struct Stop(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    requested: AtomicBool,
    wake: PipeWriter,
    woken: PipeReader,
}

impl Stop {
    /// Makes a stop without a request.
    ///
    /// # Errors
    /// If the process cannot open more files.
    pub(crate) fn new() -> io::Result<Self> {
        let (woken, wake) = io::pipe()?;
        Ok(Self(Arc::new(Shared { requested: AtomicBool::new(false), wake, woken })))
    }

    /// Requests the stop. Further calls have no effect.
    pub(crate) fn stop(&self) {
        if !self.0.requested.swap(true, Ordering::Relaxed) {
            // The byte stays in the pipe, so later waits end at once too. This cannot fail: the pipe is empty and open.
            let _ = (&self.0.wake).write_all(&[0]);
        }
    }

    /// Returns whether the stop was requested.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.requested.load(Ordering::Relaxed)
    }

    /// Waits until the stop is requested or `limit` has passed.
    pub(super) fn pause(&self, limit: Duration) -> io::Result<()> {
        wait(&mut [self.poll_fd()], Some(limit))
    }

    /// Waits until `input` is readable, the stop is requested or `limit` has passed.
    ///
    /// Returns whether `input` is readable. This includes its end and errors, which the read will return.
    pub(super) fn await_input(&self, input: &File, limit: Option<Duration>) -> io::Result<bool> {
        let mut fds = [PollFd::new(input, PollFlags::IN), self.poll_fd()];
        wait(&mut fds, limit)?;
        Ok(!fds[0].revents().is_empty())
    }

    fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(&self.0.woken, PollFlags::IN)
    }
}

/// Returns whether `input` can be read without blocking, including its end and errors.
pub(super) fn is_readable(input: &File) -> io::Result<bool> {
    let mut fds = [PollFd::new(input, PollFlags::IN)];
    wait(&mut fds, Some(Duration::ZERO))?;
    Ok(!fds[0].revents().is_empty())
}

/// Calls poll(2). A signal ends the wait early, with nothing ready.
fn wait(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<()> {
    let limit = limit.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
    match poll(fds, limit.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
