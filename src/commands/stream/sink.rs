//! Where live messages end: judged, printed, counted.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;

use super::News;
use crate::output::Printer;
use crate::output::report::Report;
use crate::output::target::Target;
use crate::protocol::filter::Filter;
use crate::protocol::record::{self, Content, Message, Record};
use crate::protocol::topic::Root;
use crate::transport::mqtt::{Handler, Packet};

/// How long a line of a message that needs no acknowledgement may wait for others before it is written.
const LINGER: Duration = Duration::from_millis(3);

/// Which messages are printed.
pub(crate) enum Scope {
    /// Events that pass the filter; what is no event is reported.
    Events(Filter),
    /// Everything, where the filter is open; else the events that pass it.
    Messages(Filter),
}

/// What was seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) seen: u64,
    pub(super) printed: u64,
    pub(super) undecodable: u64,
}

/// The latest message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latest {
    /// When the stream began.
    pub(super) began: Timestamp,
    /// When the message came, if one did.
    pub(super) received: Option<Timestamp>,
    /// How long it took until it was written.
    pub(super) took: Duration,
}

/// Judges messages and prints records; shared by the thread that brings messages, the one that writes what lingers, and
/// those that tell how it goes.
#[derive(Clone)]
pub(super) struct Sink {
    state: Arc<Mutex<State>>,
    flusher: Thread,
    tell: Tell,
}

/// Tells the command's thread.
type Tell = Arc<dyn Fn(News) + Send + Sync>;

struct State {
    printer: Printer<Target>,
    events: Root,
    scope: Scope,
    report: Report,
    /// How many records are still to be printed, where that is limited.
    left: Option<u64>,
    tally: Tally,
    latest: Latest,
}

impl Sink {
    /// Prints below `events` what is in `scope`, `count` records at the most.
    pub(super) fn start(
        printer: Printer<Target>,
        events: Root,
        scope: Scope,
        count: Option<u64>,
        report: Report,
        tell: impl Fn(News) + Send + Sync + 'static,
    ) -> Self {
        let latest = Latest { began: Timestamp::now(), received: None, took: Duration::ZERO };
        let state = State { printer, events, scope, report, left: count, tally: Tally::default(), latest };
        let state = Arc::new(Mutex::new(state));
        let tell: Tell = Arc::new(tell);
        let flusher = {
            let (state, tell) = (state.clone(), tell.clone());
            thread::spawn(move || flush_what_lingers(&state, &tell)).thread().clone()
        };
        Self { state, flusher, tell }
    }

    /// What the transport hands messages to. It never returns from a message that must not be acknowledged: one that
    /// could not be written, or one beyond the last that was asked for.
    pub(super) fn handler(&self) -> Handler {
        let Self { state, flusher, tell } = self.clone();
        Arc::new(move |packet| {
            let mut state = lock(&state);
            if state.left == Some(0) {
                drop(state);
                park_for_good(&tell);
            }
            let was_pending = state.printer.has_pending();
            match state.take(packet) {
                Ok(()) if state.left == Some(0) => tell(News::Full),
                Ok(()) if state.printer.has_pending() && !was_pending => flusher.unpark(),
                Ok(()) => {}
                Err(error) => {
                    drop(state);
                    tell(News::CannotWrite(error));
                    park_for_good(&tell);
                }
            }
        })
    }

    /// Prints what became of the connection.
    pub(super) fn status(&self, status: &record::Status<'_>) {
        let mut state = lock(&self.state);
        let printed = state.printer.status(status).and_then(|()| state.printer.flush());
        drop(state);
        if let Err(error) = printed {
            (self.tell)(News::CannotWrite(error));
        }
    }

    /// The latest message.
    pub(super) fn latest(&self) -> Latest {
        lock(&self.state).latest
    }

    /// Goes on in a new file of the same name.
    pub(super) fn reopen(&self) -> Result<()> {
        let mut state = lock(&self.state);
        state.printer.flush()?;
        state.printer.out().reopen()
    }

    /// Writes what is left, unless somebody is still at it at `until`: then the reader has stopped (`None`).
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn finish(&self, until: Option<Instant>) -> io::Result<Option<Tally>> {
        let (done, result) = std::sync::mpsc::channel();
        let state = self.state.clone();
        thread::spawn(move || {
            let mut state = lock(&state);
            let flushed = state.printer.flush();
            // Where nobody waits any longer the process ends.
            let _ = done.send(flushed.map(|()| state.tally));
        });
        let patience = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        match result.recv_timeout(patience) {
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Some(Tally::default())),
            Ok(tally) => tally.map(Some),
            Err(_) => Ok(None),
        }
    }
}

impl State {
    /// Prints a message where it is wanted. What is acknowledged to the broker is written before this returns.
    fn take(&mut self, packet: Packet<'_>) -> io::Result<()> {
        let Packet { topic, payload, qos, retain } = packet;
        let received = Timestamp::now();
        self.latest.received = Some(received);
        self.tally.seen += 1;
        let record = Record::of(&self.events, &Message { received, topic, qos, retain, payload });
        let is_wanted = match (&record.content, &self.scope) {
            (Content::Event(event), Scope::Events(filter) | Scope::Messages(filter)) => filter.matches(event),
            (Content::Malformed(error), Scope::Events(_)) => {
                self.tally.undecodable += 1;
                self.report.warn(format_args!("skipped a message on {topic}: {error}"));
                false
            }
            (Content::Other, Scope::Events(_)) => false,
            (Content::Malformed(_) | Content::Other, Scope::Messages(filter)) => filter.is_open(),
        };
        if is_wanted {
            self.printer.record(&record)?;
            self.tally.printed += 1;
            self.left = self.left.map(|left| left - 1);
        }
        if qos > 0 || self.left == Some(0) {
            self.printer.flush()?;
        }
        self.latest.took = Timestamp::now().duration_since(received).try_into().unwrap_or_default();
        Ok(())
    }
}

/// Writes, a moment after the first of them came, the lines of messages that need no acknowledgement.
fn flush_what_lingers(state: &Mutex<State>, tell: &Tell) {
    loop {
        thread::park();
        thread::sleep(LINGER);
        if let Err(error) = lock(state).printer.flush() {
            tell(News::CannotWrite(error));
            return;
        }
    }
}

/// Never returns: the message at hand is not acknowledged, and the process ends soon.
fn park_for_good(tell: &Tell) -> ! {
    tell(News::Parked);
    loop {
        thread::park();
    }
}

/// Locks. A thread that panicked while it held the lock left nothing half done that matters at the end of a run.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
