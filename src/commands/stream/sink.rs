//! Where live messages end: judged, printed, counted.
//!
//! A message that is acknowledged (QoS 1 or 2) is judged and written where it arrives, before the MQTT library goes on. One
//! that is not (QoS 0) is only put aside there, for another thread to judge and write a moment later together with those
//! that came meanwhile; where too many wait, the thread that brings them helps, and the broker has to wait.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use jiff::Timestamp;

use super::News;
use crate::output::Printer;
use crate::output::report::Report;
use crate::output::target::Target;
use crate::protocol::filter::Filter;
use crate::protocol::record::{self, Content, Message, Record};
use crate::protocol::topic::{Root, TopicFilter};
use crate::transport::mqtt::{Ack, Handler, Packet};

/// How long a message that is not acknowledged may wait for others before it is judged and written.
const LINGER: Duration = Duration::from_millis(2);

/// How many bytes of such messages may wait.
const WAITING: usize = 128 * 1024;

/// Which messages are printed.
pub(crate) enum Scope {
    /// Events that pass the filter; what is no event is reported.
    Events(Filter),
    /// Everything, where the filter is open; else the events that pass it.
    Messages(Filter),
}

impl Scope {
    /// What the topic of a message that may be printed or reported matches; `None` where that is any.
    fn topics(&self, events: &Root) -> Option<Vec<TopicFilter>> {
        let (Self::Events(filter) | Self::Messages(filter)) = self;
        (!filter.matches_everything()).then(|| filter.subscriptions(events))
    }
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

/// Messages that are not acknowledged, put aside.
#[derive(Debug, Default)]
struct Waiting {
    heads: Vec<Head>,
    /// Their topics and payloads, one after the other.
    bytes: Vec<u8>,
}

/// What a message that was put aside is, but for its bytes.
#[derive(Debug)]
struct Head {
    received: Timestamp,
    topic: usize,
    payload: usize,
    retain: bool,
}

impl Waiting {
    fn put(&mut self, message: &Message<'_>) {
        let Message { received, topic, retain, payload, .. } = *message;
        self.heads.push(Head { received, topic: topic.len(), payload: payload.len(), retain });
        self.bytes.extend_from_slice(topic.as_bytes());
        self.bytes.extend_from_slice(payload);
    }

    /// Forgets the messages, and gives back the room that an uncommonly large one took.
    fn clear(&mut self) {
        self.heads.clear();
        self.bytes.clear();
        self.bytes.shrink_to(2 * WAITING);
    }

    /// The messages, in the order in which they came.
    fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        let mut rest = self.bytes.as_slice();
        self.heads.iter().map_while(move |head| {
            let (topic, after) = rest.split_at_checked(head.topic)?;
            let (payload, after) = after.split_at_checked(head.payload)?;
            rest = after;
            let topic = std::str::from_utf8(topic).ok()?;
            Some(Message { received: head.received, topic, qos: 0, retain: head.retain, payload })
        })
    }
}

/// Judges messages and prints records; shared by the thread that brings messages, the one that writes those that were put
/// aside, and those that tell how it goes.
#[derive(Clone)]
pub(super) struct Sink {
    state: Arc<Mutex<State>>,
    waiting: Arc<Mutex<Waiting>>,
    /// How many messages were not looked into, because their topics say enough. They count, but leave no other trace: a
    /// gap may be told as longer than it was for them.
    passed_over: Arc<AtomicU64>,
    writer: Thread,
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
    /// Whether the latest message is not known to be written.
    is_behind: bool,
    /// Room for the messages that are put aside while others are written.
    spare: Waiting,
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
        let (tally, spare) = (Tally::default(), Waiting::default());
        let state = State { printer, events, scope, report, left: count, tally, latest, is_behind: false, spare };
        let state = Arc::new(Mutex::new(state));
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let tell: Tell = Arc::new(tell);
        let writer = {
            let (state, waiting, tell) = (state.clone(), waiting.clone(), tell.clone());
            thread::spawn(move || write_what_waits(&state, &waiting, &tell)).thread().clone()
        };
        Self { state, waiting, passed_over: Arc::default(), writer, tell }
    }

    /// What the transport hands messages to. It withholds the acknowledgement of a message that could not be written, and
    /// of one beyond the last that was asked for.
    pub(super) fn handler(&self) -> Handler {
        let sink = self.clone();
        let topics = {
            let state = lock(&self.state);
            state.scope.topics(&state.events)
        };
        Arc::new(move |packet| {
            let Packet { topic, payload, qos, retain } = packet;
            // Where it is acknowledged there is more to mind than its topic: whether enough are printed.
            if qos == 0 && topics.as_ref().is_some_and(|topics| !topics.iter().any(|it| it.matches(topic))) {
                sink.passed_over.fetch_add(1, Ordering::Relaxed);
                return Ack::Send;
            }
            let message = Message { received: Timestamp::now(), topic, qos, retain, payload };
            if qos > 0 {
                sink.write(Some(&message))
            } else if sink.put_aside(&message) {
                sink.write(None)
            } else {
                Ack::Send
            }
        })
    }

    /// Puts a message aside; whether too many wait now.
    fn put_aside(&self, message: &Message<'_>) -> bool {
        let mut waiting = lock(&self.waiting);
        let is_first = waiting.heads.is_empty();
        waiting.put(message);
        let is_full = waiting.bytes.len() > WAITING;
        drop(waiting);
        if is_first {
            self.writer.unpark();
        }
        is_full
    }

    /// Writes what was put aside, and then the message.
    fn write(&self, message: Option<&Message<'_>>) -> Ack {
        let mut state = lock(&self.state);
        let written = state.take_waiting(&self.waiting).and_then(|()| {
            if state.left == Some(0) && message.is_some() {
                return Ok(Ack::Withhold);
            }
            message.map_or(Ok(()), |message| state.take(message))?;
            state.flush()?;
            Ok(Ack::Send)
        });
        let is_full = state.left == Some(0);
        drop(state);
        if is_full {
            (self.tell)(News::Full);
        }
        written.unwrap_or_else(|error| {
            (self.tell)(News::CannotWrite(error));
            Ack::Withhold
        })
    }

    /// Prints what became of the connection.
    pub(super) fn status(&self, status: &record::ConnectionStatus<'_>) {
        let mut state = lock(&self.state);
        let printed = state.take_waiting(&self.waiting);
        let printed = printed.and_then(|()| state.printer.status(status)).and_then(|()| state.flush());
        drop(state);
        if let Err(error) = printed {
            (self.tell)(News::CannotWrite(error));
        }
    }

    /// The latest message.
    pub(super) fn latest(&self) -> Latest {
        lock(&self.state).latest
    }

    /// Goes on in a new file of the same name. On a thread of its own: the old file may be blocked.
    pub(super) fn reopen(&self) {
        let sink = self.clone();
        thread::spawn(move || {
            let mut state = lock(&sink.state);
            let reopened = state.take_waiting(&sink.waiting).and_then(|()| state.flush());
            if let Err(error) = reopened.and_then(|()| state.printer.out().reopen()) {
                drop(state);
                (sink.tell)(News::CannotWrite(error));
            }
        });
    }

    /// Writes what is left, and tells when that is done. On a thread of its own: its reader may have stopped, and what
    /// waits then was not acknowledged.
    pub(super) fn finish(&self) {
        let sink = self.clone();
        thread::spawn(move || {
            let mut state = lock(&sink.state);
            let written = state.take_waiting(&sink.waiting).and_then(|()| state.flush());
            let Tally { seen, printed, undecodable } = state.tally;
            let tally = Tally { seen: seen + sink.passed_over.load(Ordering::Relaxed), printed, undecodable };
            drop(state);
            (sink.tell)(match written {
                Ok(()) => News::Finished(tally),
                Err(error) => News::CannotWrite(error),
            });
        });
    }
}

impl State {
    /// Prints the messages that were put aside, until enough are printed.
    fn take_waiting(&mut self, waiting: &Mutex<Waiting>) -> io::Result<()> {
        let mut batch = std::mem::take(&mut self.spare);
        std::mem::swap(&mut *lock(waiting), &mut batch);
        let result = batch.messages().try_for_each(|message| self.take(&message));
        batch.clear();
        self.spare = batch;
        result
    }

    /// Prints a message where it is wanted, unless enough are printed.
    fn take(&mut self, message: &Message<'_>) -> io::Result<()> {
        if self.left == Some(0) {
            return Ok(());
        }
        self.latest.received = Some(message.received);
        self.is_behind = true;
        self.tally.seen += 1;
        let record = Record::of(&self.events, message);
        let is_wanted = match (&record.content, &self.scope) {
            (Content::Event(event), Scope::Events(filter) | Scope::Messages(filter)) => filter.matches(event),
            (Content::Malformed(error), Scope::Events(_)) => {
                self.tally.undecodable += 1;
                self.report.warn(format_args!("skipped a message on {}: {error}", message.topic));
                false
            }
            (Content::Other, Scope::Events(_)) => {
                self.tally.undecodable += 1;
                self.report.warn(format_args!(
                    "skipped a message on {}: its topic is not below the event root",
                    message.topic
                ));
                false
            }
            (Content::Malformed(_) | Content::Other, Scope::Messages(filter)) => filter.matches_everything(),
        };
        if is_wanted {
            self.printer.record(&record)?;
            self.tally.printed += 1;
            self.left = self.left.map(|left| left - 1);
        }
        Ok(())
    }

    /// Writes all that is to be written, and notes how long it took since the latest message came.
    fn flush(&mut self) -> io::Result<()> {
        self.printer.flush()?;
        if let Some(received) = self.latest.received.filter(|_| std::mem::take(&mut self.is_behind)) {
            self.latest.took = Timestamp::now().duration_since(received).try_into().unwrap_or_default();
        }
        Ok(())
    }
}

/// Judges and writes, a moment after the first of them came, the messages that were put aside.
fn write_what_waits(state: &Mutex<State>, waiting: &Mutex<Waiting>, tell: &Tell) {
    loop {
        thread::sleep(LINGER);
        // While messages keep coming nobody need wake this thread: that takes longer than to put one aside.
        if lock(waiting).heads.is_empty() {
            thread::park();
            continue;
        }
        let mut state = lock(state);
        let written = state.take_waiting(waiting).and_then(|()| state.flush());
        let is_full = state.left == Some(0);
        drop(state);
        match written {
            Ok(()) if is_full => tell(News::Full),
            Ok(()) => {}
            Err(error) => {
                tell(News::CannotWrite(error));
                return;
            }
        }
    }
}

/// Locks. A thread that panicked while it held the lock left nothing half done that matters at the end of a run.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
