//! What can end a run or is worth telling while it lasts, in one place to wait at.
//!
//! The thread that runs a command does nothing but wait here; what blocks (the network, standard output) blocks other
//! threads, so that a signal or a deadline is always heard.

use std::ffi::c_int;
use std::fs::File;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::Status;

/// How long the end may take where somebody does not want to wait any longer: what is not blocked is told by then.
pub(crate) const HURRY: Duration = Duration::from_millis(50);

/// A signal that asks the run to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: a service manager, `kill`.
    Terminate,
}

impl Signal {
    /// What a run that it ended exits with.
    pub(crate) fn status(self) -> Status {
        match self {
            Self::Interrupt => Status::Interrupted,
            Self::Terminate => Status::Terminated,
        }
    }
}

/// Something that any command may have to react to, or the command's own news.
#[derive(Debug)]
pub(crate) enum Notice<T> {
    /// A signal came.
    Signal(Signal),
    /// The reader of standard output went away.
    ReaderGone,
    /// The command's own.
    News(T),
}

/// Where a command waits.
pub(crate) struct Inbox<T> {
    sender: Sender<Notice<T>>,
    receiver: Receiver<Notice<T>>,
}

impl<T: Send + 'static> Inbox<T> {
    /// An inbox that hears of signals from now on.
    ///
    /// # Errors
    /// Where the system does not let us handle signals.
    pub(crate) fn open() -> Result<Self> {
        let (sender, receiver) = channel();
        let inbox = Self { sender, receiver };
        inbox.hear(&[SIGINT, SIGTERM], |signal| {
            Notice::Signal(if signal == SIGINT { Signal::Interrupt } else { Signal::Terminate })
        })?;
        Ok(inbox)
    }

    /// Hears from now on of SIGHUP, as news of the command's own; without this it ends the process, as it does by
    /// default.
    ///
    /// # Errors
    /// As [`Inbox::open`].
    pub(crate) fn hear_hangup(&self, news: fn() -> T) -> Result<()> {
        self.hear(&[SIGHUP], move |_| Notice::News(news()))
    }

    fn hear(&self, signals: &[c_int], notice: impl Fn(c_int) -> Notice<T> + Send + 'static) -> Result<()> {
        let mut signals = Signals::new(signals).context("cannot handle signals")?;
        let told = self.sender.clone();
        thread::spawn(move || {
            for signal in signals.forever() {
                if told.send(notice(signal)).is_err() {
                    return;
                }
            }
        });
        Ok(())
    }

    /// Hears from now on that the reader of `output` goes away, even while nothing is written.
    ///
    /// # Errors
    /// Where `output` cannot be watched.
    pub(crate) fn watch_reader(&self, output: &File) -> Result<()> {
        let output = output.try_clone().context("cannot watch standard output")?;
        let told = self.sender.clone();
        thread::spawn(move || {
            // No event is asked for, so that poll returns for what it always tells: the other end hung up.
            while let Err(rustix::io::Errno::INTR) = poll(&mut [PollFd::new(&output, PollFlags::empty())], None) {}
            let _ = told.send(Notice::ReaderGone);
        });
        Ok(())
    }

    /// Somebody's way of sending the command's own news. Nobody minds when the command has ended.
    pub(crate) fn news(&self) -> impl Fn(T) + Clone + Send + Sync + 'static {
        let sender = self.sender.clone();
        move |news| drop(sender.send(Notice::News(news)))
    }

    /// Waits for the next notice; `None` when `deadline` passes first.
    pub(crate) fn next(&self, deadline: Option<Instant>) -> Option<Notice<T>> {
        let Some(deadline) = deadline else {
            return self.receiver.recv().ok();
        };
        self.receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }
}

/// The time `duration` from now; `None` where that is further away than the clock reaches.
pub(crate) fn deadline_in(duration: Duration) -> Option<Instant> {
    Instant::now().checked_add(duration)
}
