//! A request to stop, seen before every line and in every wait.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Ends a reader's work from another thread. Clones share one request, which is never taken back.
///
/// The flag is what is asked before each line; the pipe is what makes a wait in poll(2) end at once.
#[derive(Debug, Clone)]
pub(crate) struct Stop(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    requested: AtomicBool,
    wake: PipeWriter,
    woken: PipeReader,
}

impl Stop {
    /// A stop that nobody has requested yet.
    ///
    /// # Errors
    /// Where the process can open no further files.
    pub(crate) fn new() -> io::Result<Self> {
        let (woken, wake) = io::pipe()?;
        Ok(Self(Arc::new(Shared { requested: AtomicBool::new(false), wake, woken })))
    }

    /// Requests the stop. Once is enough; more does no harm.
    pub(crate) fn stop(&self) {
        if !self.0.requested.swap(true, Ordering::Relaxed) {
            // Nobody takes the byte out, so later waits end at once too. It cannot fail: the pipe is empty, and open.
            let _ = (&self.0.wake).write_all(&[0]);
        }
    }

    /// Whether the stop was requested.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.requested.load(Ordering::Relaxed)
    }

    /// Waits until the stop is requested or `limit` has passed.
    pub(super) fn pause(&self, limit: Duration) -> io::Result<()> {
        wait(&mut [self.poll_fd()], Some(limit))
    }

    /// Waits until `input` can be read without blocking, the stop is requested or `limit` has passed (never, where
    /// there is none), and says whether `input` can be read. Its end and its errors count: the read will tell them.
    pub(super) fn await_input(&self, input: &File, limit: Option<Duration>) -> io::Result<bool> {
        let mut fds = [PollFd::new(input, PollFlags::IN), self.poll_fd()];
        wait(&mut fds, limit)?;
        Ok(!fds[0].revents().is_empty())
    }

    fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(&self.0.woken, PollFlags::IN)
    }
}

/// Whether `input` can be read without blocking; its end and its errors count.
pub(super) fn is_ready(input: &File) -> io::Result<bool> {
    let mut fds = [PollFd::new(input, PollFlags::IN)];
    wait(&mut fds, Some(Duration::ZERO))?;
    Ok(!fds[0].revents().is_empty())
}

/// poll(2); a signal ends it early, with nothing ready.
fn wait(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<()> {
    let limit = limit.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
    match poll(fds, limit.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
