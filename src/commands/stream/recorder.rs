//! Where live messages end: filtered, printed, counted.
//!
//! Messages are printed into memory as they are handled, on the relay's reader thread. At the end of what was read they are
//! written, all at once, and only then acknowledged.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use jiff::Timestamp;

use super::StreamEvent;
use crate::output::Printer;
use crate::output::report::Report;
use crate::output::target::Target;
use crate::protocol::filter::Filter;
use crate::protocol::record::{ConnectionStatus, Content, Message, Payload, Record};
use crate::protocol::topic::{Root, TopicFilter};
use crate::transport::relay::{Ack, MessageHandler, PacketSize, Publish};

/// Which messages are printed.
pub(crate) enum Scope {
    /// Events that pass the filter; other messages are reported.
    Events(Filter),
    /// Everything if the filter is open, else the events that pass it.
    Messages(Filter),
}

impl Scope {
    /// What the topic of a message matches that may be printed or reported; `None` if any topic may.
    fn topics(&self, events: &Root) -> Option<Vec<TopicFilter>> {
        let (Self::Events(filter) | Self::Messages(filter)) = self;
        (!filter.matches_everything()).then(|| filter.subscriptions(events))
    }
}

/// What was seen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    pub(super) seen: u64,
    pub(super) printed: u64,
    pub(super) undecodable: u64,
}

/// Notifies the command's thread.
type Notify = Arc<dyn Fn(StreamEvent) + Send + Sync>;

/// Prints records; shared by the thread that brings messages and those that report on the connection.
#[derive(Clone)]
pub(super) struct Recorder {
    state: Arc<Mutex<State>>,
    notify: Notify,
}

struct State {
    printer: Printer<Target>,
    events: Root,
    scope: Scope,
    /// What a message must match to be looked into.
    topics: Option<Vec<TopicFilter>>,
    report: Report,
    /// How many records are still to be printed, if that is limited.
    left: Option<u64>,
    counters: Counters,
}

impl Recorder {
    /// Prints below `events` what is in `scope`, at most `count` records.
    pub(super) fn new(
        printer: Printer<Target>,
        events: Root,
        scope: Scope,
        count: Option<u64>,
        report: Report,
        notify: impl Fn(StreamEvent) + Send + Sync + 'static,
    ) -> Self {
        let topics = scope.topics(&events);
        let counters = Counters::default();
        let state = State { printer, events, scope, topics, report, left: count, counters };
        Self { state: Arc::new(Mutex::new(state)), notify: Arc::new(notify) }
    }

    /// Prints a change of the connection.
    pub(super) fn status(&self, status: &ConnectionStatus<'_>) {
        let mut state = self.lock();
        let printed = state.printer.status(status).and_then(|()| state.printer.flush());
        drop(state);
        self.notify_of(printed);
    }

    /// Continues in a new file of the same name. On a thread of its own: the old file may be blocked.
    pub(super) fn reopen(&self) {
        let recorder = self.clone();
        thread::spawn(move || {
            let mut state = recorder.lock();
            let reopened = state.printer.flush().and_then(|()| state.printer.out().reopen());
            drop(state);
            recorder.notify_of(reopened);
        });
    }

    /// Writes what is left, and then reports what was seen. On a thread of its own: the reader of the output may have
    /// stopped, and what waits then was not acknowledged.
    pub(super) fn finish(&self) {
        let recorder = self.clone();
        thread::spawn(move || {
            let mut state = recorder.lock();
            let written = state.printer.flush();
            let counters = state.counters;
            drop(state);
            match written {
                Ok(()) => (recorder.notify)(StreamEvent::Finished(counters)),
                Err(error) => (recorder.notify)(StreamEvent::CannotWrite(error)),
            }
        });
    }

    fn notify_of(&self, written: io::Result<()>) {
        if let Err(error) = written {
            (self.notify)(StreamEvent::CannotWrite(error));
        }
    }

    /// Withholds acknowledgements if records cannot be written.
    fn acknowledge(&self, written: io::Result<()>) -> Ack {
        match written {
            Ok(()) => Ack::Send,
            Err(error) => {
                (self.notify)(StreamEvent::CannotWrite(error));
                Ack::Withhold
            }
        }
    }

    /// Locks. A thread that panicked while it held the lock left nothing half done that matters at the end of a run.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MessageHandler for Recorder {
    /// Withholds the acknowledgement of a message that comes after the last requested record.
    fn message(&mut self, message: &Publish<'_>, received: Timestamp) -> Ack {
        let mut state = self.lock();
        if state.left == Some(0) {
            return Ack::Withhold;
        }
        state.counters.seen += 1;
        if !state.may_matter(message.topic) {
            return Ack::Send;
        }
        let written = state.take(message, received);
        drop(state);
        self.acknowledge(written)
    }

    fn oversized(&mut self, message: &Publish<'_>, size: PacketSize, received: Timestamp) -> Ack {
        let mut state = self.lock();
        if state.left == Some(0) {
            return Ack::Withhold;
        }
        state.counters.seen += 1;
        let written =
            if state.may_matter(message.topic) { state.take_oversized(message, size, received) } else { Ok(()) };
        drop(state);
        self.acknowledge(written)
    }

    fn commit(&mut self) -> Ack {
        let mut state = self.lock();
        let written = state.printer.flush();
        let is_full = state.left == Some(0);
        drop(state);
        if is_full && written.is_ok() {
            (self.notify)(StreamEvent::Full);
        }
        self.acknowledge(written)
    }
}

impl State {
    /// Whether a message may be printed or reported, judged by its topic alone.
    fn may_matter(&self, topic: &str) -> bool {
        self.topics.as_ref().is_none_or(|topics| topics.iter().any(|it| it.matches(topic)))
    }

    /// Prints a message if it is wanted.
    fn take(&mut self, message: &Publish<'_>, received: Timestamp) -> io::Result<()> {
        let Publish { topic, qos, retain, payload, .. } = *message;
        let record = Record::of(&self.events, &Message { received, topic, qos, retain, payload });
        let is_wanted = match (&record.content, &self.scope) {
            (Content::Event(event), Scope::Events(filter) | Scope::Messages(filter)) => filter.matches(event),
            (Content::Malformed(error), Scope::Events(_)) => {
                self.counters.undecodable += 1;
                self.report.warn(format_args!("skipped a message on {topic}: {error}"));
                false
            }
            (Content::Other, Scope::Events(_)) => {
                self.counters.undecodable += 1;
                self.report.warn(format_args!("skipped a message on {topic}: its topic is not below the event root"));
                false
            }
            (Content::Malformed(_) | Content::Other, Scope::Messages(filter)) => filter.matches_everything(),
        };
        if is_wanted { self.print(&record) } else { Ok(()) }
    }

    /// Reports that a message was too large, as any message that cannot be read is.
    fn take_oversized(&mut self, message: &Publish<'_>, size: PacketSize, received: Timestamp) -> io::Result<()> {
        let Publish { topic, qos, retain, .. } = *message;
        let PacketSize { packet, limit } = size;
        let error = format!("the message takes {packet} bytes, and --max-packet-size accepts {limit}");
        self.report.warn(format_args!("dropped a message on {topic}: {error}"));
        self.counters.undecodable += 1;
        match &self.scope {
            Scope::Messages(filter) if filter.matches_everything() => {
                let content = Content::Malformed(error.into());
                self.print(&Record { received, topic, qos, retain, content, payload: Payload::Missing })
            }
            _ => Ok(()),
        }
    }

    fn print(&mut self, record: &Record<'_>) -> io::Result<()> {
        self.printer.record(record)?;
        self.counters.printed += 1;
        self.left = self.left.map(|left| left - 1);
        Ok(())
    }
}
