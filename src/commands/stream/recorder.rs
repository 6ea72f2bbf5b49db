//! Handles live messages: filters, prints and counts them.
//!
//! The relay's reader thread prints the messages of one read into memory. Then it writes them all at once, and only then
//! acknowledges them.
//!
//! | file | contents |
//! | --- | --- |
//! | `presence` | presence documents: which are known, and which are printed |

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::StreamEvent;
use crate::commands::call_records::CallRecords;
use crate::output::Printer;
use crate::output::report::Report;
use crate::output::target::Target;
use crate::protocol::filter::Filter;
use crate::protocol::record::{ConnectionStatus, Content, Message, Payload, Record};
use crate::protocol::topic::{TopicFilter, Topics};
use crate::sync::lock;
use crate::transport::relay::{Ack, MessageHandler, PacketSize, Publish};

mod presence;

pub(crate) use presence::PresenceMode;
use presence::PresenceTracker;

/// Minimum and maximum interval for ending the calls that are lost.
const MIN_CALL_INTERVAL: Duration = Duration::from_millis(100);
const MAX_CALL_INTERVAL: Duration = Duration::from_secs(10);

/// How long a message may take from the socket to the recorder. No call is lost before it is read.
const CALL_GRACE: Duration = Duration::from_secs(1);

/// How long a stream may be silent before a hint is given.
const SILENCE_HINT_DELAY: Duration = Duration::from_secs(10);

/// Which messages are printed.
pub(crate) enum Scope {
    /// Events and documents that pass the filter; other messages are reported.
    Events(Filter),
    /// All messages without a filter, or the events and documents that pass the filter.
    Messages(Filter),
    /// Records of calls in place of their events; other messages are reported.
    Calls(Box<CallRecords>),
}

impl Scope {
    /// Returns the topic filters that cover everything in scope.
    pub(crate) fn subscriptions(&self, topics: &Topics) -> Vec<TopicFilter> {
        match self {
            Self::Events(filter) | Self::Messages(filter) => filter.subscriptions(topics),
            Self::Calls(calls) => calls.subscriptions(topics),
        }
    }

    /// Returns the topic filters of messages that may be printed or reported; `None` for all topics.
    fn relevant(&self, topics: &Topics) -> Option<Vec<TopicFilter>> {
        match self {
            Self::Events(filter) | Self::Messages(filter) if filter.matches_everything() => None,
            Self::Events(_) | Self::Messages(_) | Self::Calls(_) => Some(self.subscriptions(topics)),
        }
    }

    /// Returns whether presence documents are in scope by request.
    pub(crate) fn selects_presence(&self) -> bool {
        match self {
            Self::Events(filter) | Self::Messages(filter) => filter.selects_presence(),
            Self::Calls(_) => false,
        }
    }

    /// Returns what to report if no message comes.
    fn silence_hint(&self) -> Option<&'static str> {
        match self {
            Self::Events(filter) if filter.selects_only_registrations() => Some(
                "no registration event so far; servers of protocol v1.0.0 publish presence documents instead: try rtcomm \
                 watch --presence",
            ),
            Self::Events(_) | Self::Messages(_) | Self::Calls(_) => None,
        }
    }
}

/// What a recorder prints.
pub(super) struct RecorderOptions {
    pub(super) topics: Topics,
    pub(super) scope: Scope,
    /// What is printed of presence documents, if they are watched.
    pub(super) presence: Option<PresenceMode>,
    /// Maximum number of records.
    pub(super) count: Option<u64>,
    /// Whether connection changes are printed.
    pub(super) prints_status: bool,
}

/// Numbers of messages.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    pub(super) seen: u64,
    pub(super) printed: u64,
    pub(super) undecodable: u64,
}

/// Sends an event to the command's thread.
type Notify = Arc<dyn Fn(StreamEvent) + Send + Sync>;

/// Prints records. Shared by the reader thread and the session's thread.
#[derive(Clone)]
pub(super) struct Recorder {
    state: Arc<Mutex<State>>,
    /// Whether changes of the connection have an effect. If not, they need not wait for a blocked output.
    uses_status: bool,
    /// Whether a hint is given if no message comes.
    has_silence_hint: bool,
    notify: Notify,
}

struct State {
    printer: Printer<Target>,
    topics: Topics,
    scope: Scope,
    /// Follows presence documents, if they are watched.
    presence: Option<PresenceTracker>,
    /// Topic filters of the messages to decode; `None` for all.
    relevant: Option<Vec<TopicFilter>>,
    /// What to report if no message comes. `None` once it is reported.
    silence_hint: Option<&'static str>,
    report: Report,
    /// Whether connection changes are printed.
    prints_status: bool,
    /// Number of records left to print, if limited.
    left: Option<u64>,
    counters: Counters,
}

impl Recorder {
    /// Makes a recorder.
    pub(super) fn new(
        printer: Printer<Target>,
        options: RecorderOptions,
        report: Report,
        notify: impl Fn(StreamEvent) + Send + Sync + 'static,
    ) -> Self {
        let RecorderOptions { topics, scope, presence, count, prints_status } = options;
        let uses_status = prints_status || presence.is_some() || matches!(scope, Scope::Calls(_));
        let state = State {
            relevant: scope.relevant(&topics),
            silence_hint: scope.silence_hint(),
            printer,
            topics,
            scope,
            presence: presence.map(PresenceTracker::new),
            report,
            prints_status,
            left: count,
            counters: Counters::default(),
        };
        let has_silence_hint = state.silence_hint.is_some();
        Self { state: Arc::new(Mutex::new(state)), uses_status, has_silence_hint, notify: Arc::new(notify) }
    }

    /// Handles a connection change, and prints it if that is requested.
    pub(super) fn status(&self, status: &ConnectionStatus<'_>) {
        if !self.uses_status {
            return;
        }
        self.update(|state| {
            if let Scope::Calls(calls) = &mut state.scope {
                calls.connection(status);
            }
            state.print_calls()?;
            if state.prints_status { state.printer.status(status) } else { Ok(()) }
        });
    }

    /// Begins a list of all retained documents: the connection was lost.
    pub(super) fn begin_listing(&self) {
        if self.uses_status
            && let Some(presence) = &mut self.lock().presence
        {
            presence.begin_listing();
        }
    }

    /// Ends the list of all retained documents. Prints what is known from then on.
    pub(super) fn end_listing(&self) {
        self.update(|state| state.end_listing(Timestamp::now()));
        (self.notify)(StreamEvent::Listed);
    }

    /// Reports a hint if no message has come after [`SILENCE_HINT_DELAY`].
    pub(super) fn watch_for_silence(&self) {
        if self.has_silence_hint {
            let recorder = self.clone();
            thread::spawn(move || {
                thread::sleep(SILENCE_HINT_DELAY);
                recorder.lock().report_silence();
            });
        }
    }

    /// Ends the calls that are lost, at regular intervals for as long as the process runs. Without calls, returns at once.
    pub(super) fn end_lost_calls(&self) {
        let Scope::Calls(calls) = &self.lock().scope else { return };
        let interval = calls.max_age().div_f64(10.0).clamp(MIN_CALL_INTERVAL, MAX_CALL_INTERVAL);
        let recorder = self.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(interval);
                recorder.update(|state| {
                    if let (Scope::Calls(calls), Ok(now)) = (&mut state.scope, Timestamp::now().checked_sub(CALL_GRACE))
                    {
                        calls.advance(now);
                    }
                    state.print_calls()
                });
            }
        });
    }

    /// Prints something that is not a message, and writes it.
    fn update(&self, print: impl FnOnce(&mut State) -> io::Result<()>) {
        let mut state = self.lock();
        let was_full = state.left == Some(0);
        let written = print(&mut state).and_then(|()| state.printer.flush());
        let is_full = state.left == Some(0) && !was_full;
        drop(state);
        match written {
            Ok(()) if is_full => (self.notify)(StreamEvent::Full),
            written => self.notify_of(written),
        }
    }

    /// Reopens the output file. Uses a thread of its own, because writing to the old file may block.
    pub(super) fn reopen(&self) {
        let recorder = self.clone();
        thread::spawn(move || {
            let mut state = recorder.lock();
            let reopened = state.printer.flush().and_then(|()| state.printer.out().reopen());
            drop(state);
            recorder.notify_of(reopened);
        });
    }

    /// Writes the rest, and then sends [`StreamEvent::Finished`]. Uses a thread of its own, because writing may block.
    ///
    /// Records that are never written were not acknowledged.
    pub(super) fn finish(&self) {
        let recorder = self.clone();
        thread::spawn(move || {
            let mut state = recorder.lock();
            let written = state.finish().and_then(|()| state.printer.flush());
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

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl MessageHandler for Recorder {
    /// Prints a message. Withholds the acknowledgement after the last record of `--count`.
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
    /// Returns whether a message with this topic may be printed or reported.
    fn may_matter(&self, topic: &str) -> bool {
        self.relevant.as_ref().is_none_or(|filters| filters.iter().any(|it| it.matches(topic)))
    }

    /// Prints a message if it is in scope.
    fn take(&mut self, message: &Publish<'_>, received: Timestamp) -> io::Result<()> {
        let Publish { topic, qos, retain, payload, .. } = *message;
        let message = Message { received, topic, qos, retain, payload };
        let record = Record::of(&self.topics, &message);
        let is_selected = match (&record.content, &mut self.scope) {
            (Content::Event(event), Scope::Events(filter) | Scope::Messages(filter)) => filter.matches(event),
            (Content::Event(_), Scope::Calls(calls)) => {
                calls.message(&record);
                return self.print_calls();
            }
            (Content::Presence(presence), Scope::Events(filter)) if filter.selects_presence() => {
                return self.take_presence(presence, &message, &record);
            }
            (Content::Presence(presence), Scope::Messages(filter)) => {
                filter.matches_everything() || filter.matches_presence(presence)
            }
            (Content::Malformed(error), Scope::Events(_) | Scope::Calls(_)) => {
                let error = error.to_string();
                self.skip(topic, &error);
                false
            }
            (Content::Presence(_), Scope::Events(_) | Scope::Calls(_)) => false,
            (Content::Other, Scope::Events(_) | Scope::Calls(_)) => {
                let error = self.why_not_presence(&message);
                self.skip(topic, error.as_deref().unwrap_or("its topic is not below the event root"));
                false
            }
            (Content::Malformed(_) | Content::Other, Scope::Messages(filter)) => filter.matches_everything(),
        };
        if is_selected { self.print(&record) } else { Ok(()) }
    }

    /// Reports a message that cannot be decoded.
    fn skip(&mut self, topic: &str, error: &str) {
        self.counters.undecodable += 1;
        self.report.warn(format_args!("skipped a message on '{topic}': {error}"));
    }

    /// Reports the hint for a stream without messages, once.
    fn report_silence(&mut self) {
        if let Some(hint) = self.silence_hint.take_if(|_| self.counters.seen == 0) {
            self.report.info(hint);
        }
    }

    /// Reports a message that is too large, like any message that cannot be decoded.
    fn take_oversized(&mut self, message: &Publish<'_>, size: PacketSize, received: Timestamp) -> io::Result<()> {
        let Publish { topic, qos, retain, .. } = *message;
        let PacketSize { packet, limit } = size;
        let error = format!("the message takes {packet} bytes, and --max-packet-size accepts {limit}");
        self.report.warn(format_args!("dropped a message on '{topic}': {error}"));
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
        self.count(1);
        Ok(())
    }

    /// Prints the records of calls whose end is known.
    fn print_calls(&mut self) -> io::Result<()> {
        let Scope::Calls(calls) = &mut self.scope else { return Ok(()) };
        let printed = calls.print(&mut self.printer, self.left)?;
        self.count(printed);
        Ok(())
    }

    /// Prints what is only known at the end. Messages that still come have no effect.
    fn finish(&mut self) -> io::Result<()> {
        self.report_silence();
        self.printer.finish();
        let Scope::Calls(calls) = &mut self.scope else { return Ok(()) };
        calls.advance(Timestamp::now());
        let printed = calls.finish(&mut self.printer, self.left)?;
        self.count(printed);
        self.left = Some(0);
        Ok(())
    }

    fn count(&mut self, printed: u64) {
        self.counters.printed += printed;
        self.left = self.left.map(|left| left - printed);
    }
}
