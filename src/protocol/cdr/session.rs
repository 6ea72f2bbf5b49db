//! The state of a session that has not ended.

use std::borrow::Cow;
use std::iter;

use jiff::Timestamp;

use super::times::{EventTime, Times};
use crate::protocol::event::Event;
use crate::protocol::fields::Field;
use crate::protocol::record::{CallRecord, Missing, SessionOutcome};
use crate::protocol::topic::Action;

/// Maximum number of later events of a session that are compared with those that follow. A session has a few.
const MAX_HASHES: usize = 4_096;

/// Maximum number of answering endpoints of a session.
const MAX_ANSWERED_BY: usize = 64;

/// A session of which at least one event was seen, but not its end.
#[derive(Debug)]
pub(super) struct OpenSession {
    /// Its place in the order of first events.
    pub(super) number: u64,
    texts: Texts,
    answered_by: Vec<Box<str>>,
    first_received: Timestamp,
    last_received: Timestamp,
    /// When its start was received.
    start: Option<Timestamp>,
    /// The hash of its first event. Most sessions have only one event before the last one.
    first_hash: u64,
    /// Hashes of its later events without copies.
    later_hashes: Vec<u64>,
    modified: u64,
    duplicates: u64,
    has_gap: bool,
}

/// The texts of a session in one allocation, because most of the time is spent on memory if many sessions are open.
#[derive(Debug)]
struct Texts {
    /// The texts one after another. A text that is not known is empty.
    content: Box<str>,
    /// The end of each text in `content`.
    ends: [usize; TEXTS],
}

/// Number of texts of a session.
const TEXTS: usize = 5;

/// A text of a session: its place in [`Texts`].
#[derive(Debug, Clone, Copy)]
enum Text {
    Id,
    From,
    To,
    AppContext,
    /// The server's timestamp of the start.
    Started,
}

impl Texts {
    fn new(texts: [&str; TEXTS]) -> Self {
        let mut end = 0;
        let ends = texts.map(|text| {
            end += text.len();
            end
        });
        Self { content: texts.concat().into(), ends }
    }

    fn get(&self, text: Text) -> &str {
        let index = text as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.content[start..self.ends[index]]
    }

    /// Returns a text if it is known.
    fn known(&self, text: Text) -> Option<&str> {
        Some(self.get(text)).filter(|text| !text.is_empty())
    }

    fn set(&mut self, text: Text, value: &str) {
        let mut texts = [Text::Id, Text::From, Text::To, Text::AppContext, Text::Started].map(|it| self.get(it));
        texts[text as usize] = value;
        *self = Self::new(texts);
    }
}

/// The event that ended a session.
pub(super) struct EndEvent<'a> {
    time: EventTime<'a>,
    reason: Option<String>,
    is_failure: bool,
    /// Whether the start of a session that fails now would have been seen.
    is_start_visible: bool,
}

impl<'a> EndEvent<'a> {
    pub(super) fn new(received: Timestamp, event: &Event<'a>, is_start_visible: bool) -> Self {
        Self {
            time: event_time(received, event),
            reason: text_of(event.fields.reason).map(Cow::into_owned),
            is_failure: event.topic.action == Action::Failed,
            is_start_visible,
        }
    }
}

impl OpenSession {
    /// Makes a session from the first event that was seen of it, and notes its start if that is the event. The caller counts
    /// changes.
    pub(super) fn new(number: u64, received: Timestamp, event: &Event<'_>, hash: u64) -> Self {
        let Event { topic, fields } = event;
        let is_started = topic.action == Action::Started;
        let [id, app_context] =
            [fields.sig_sess_id, fields.app_context].map(|field| text_of(field).unwrap_or_default());
        let time = event_time(received, event);
        let started = time.server().filter(|_| is_started).unwrap_or_default();
        Self {
            number,
            texts: Texts::new([&id, topic.from, topic.to().unwrap_or_default(), &app_context, started]),
            answered_by: Vec::new(),
            first_received: received,
            last_received: received,
            start: is_started.then_some(received),
            first_hash: hash,
            later_hashes: Vec::new(),
            modified: 0,
            duplicates: 0,
            has_gap: false,
        }
    }

    /// Returns when its first event was received.
    pub(super) fn first_received(&self) -> Timestamp {
        self.first_received
    }

    pub(super) fn has_id(&self) -> bool {
        self.texts.known(Text::Id).is_some()
    }

    /// Returns whether its start was seen.
    pub(super) fn is_started(&self) -> bool {
        self.start.is_some()
    }

    /// Returns the hashes of its events.
    pub(super) fn hashes(&self) -> impl Iterator<Item = u64> {
        iter::once(self.first_hash).chain(self.later_hashes.iter().copied())
    }

    /// Adds a later event. Returns `false`, and counts a duplicate, if the event is a copy. The caller handles what `started` and
    /// `modified` mean.
    pub(super) fn add(&mut self, received: Timestamp, event: &Event<'_>, hash: u64) -> bool {
        if self.hashes().any(|it| it == hash) {
            self.duplicates += 1;
            return false;
        }
        if self.later_hashes.len() < MAX_HASHES {
            self.later_hashes.push(hash);
        }
        self.last_received = received;
        let to = event.topic.to().unwrap_or_default();
        let is_new = self.texts.get(Text::To) != to && !self.answered_by.iter().any(|it| **it == *to);
        if is_new && self.answered_by.len() < MAX_ANSWERED_BY {
            self.answered_by.push(to.into());
        }
        if self.texts.known(Text::AppContext).is_none()
            && let Some(app_context) = text_of(event.fields.app_context)
        {
            self.texts.set(Text::AppContext, &app_context);
        }
        true
    }

    /// Notes its start. Of several, the first counts.
    pub(super) fn start(&mut self, received: Timestamp, event: &Event<'_>) {
        if self.start.is_none() {
            self.start = Some(received);
            self.texts.set(Text::Started, event_time(received, event).server().unwrap_or_default());
        }
    }

    pub(super) fn modify(&mut self) {
        self.modified += 1;
    }

    pub(super) fn add_gap(&mut self) {
        self.has_gap = true;
    }

    /// Returns the record of a session that has ended.
    pub(super) fn ended(self, end: EndEvent<'_>) -> CallRecord {
        let outcome = match (end.is_failure, &self.start) {
            (false, _) => SessionOutcome::Completed,
            (true, None) => SessionOutcome::Failed,
            (true, Some(_)) => SessionOutcome::Dropped,
        };
        // A call that fails at once has no start. If it was modified before, it had one.
        let has_no_start = outcome == SessionOutcome::Failed && end.is_start_visible && self.modified == 0;
        let is_start_missing = self.start.is_none() && !has_no_start;
        self.record(outcome, is_start_missing, Some(end.time), end.reason)
    }

    /// Returns the record of a session without an end: `Open` or `Lost`.
    pub(super) fn unended(self, outcome: SessionOutcome) -> CallRecord {
        let is_start_missing = self.start.is_none();
        self.record(outcome, is_start_missing, None, None)
    }

    fn record(
        self,
        outcome: SessionOutcome,
        is_start_missing: bool,
        end: Option<EventTime<'_>>,
        reason: Option<String>,
    ) -> CallRecord {
        let is_ended = end.is_some();
        let texts = &self.texts;
        let started = texts.known(Text::Started).map(Cow::Borrowed);
        let start = self.start.map(|received| EventTime::new(received, started));
        let Times { clock, started, ended, duration } = Times::of(start, end);
        let missing = [
            (Missing::Start, is_start_missing),
            (Missing::End, !is_ended),
            (Missing::Gap, self.has_gap),
            (Missing::Id, !self.has_id()),
        ];
        CallRecord {
            outcome,
            session_id: texts.known(Text::Id).map(str::to_owned),
            from: texts.get(Text::From).to_owned(),
            to: texts.get(Text::To).to_owned(),
            answered_by: self.answered_by.into_iter().map(str::into_string).collect(),
            app_context: texts.known(Text::AppContext).map(str::to_owned),
            started,
            ended,
            duration,
            clock,
            reason,
            modified: self.modified,
            duplicates: self.duplicates,
            incomplete: missing.into_iter().filter(|(_, is_missing)| *is_missing).map(|(missing, _)| missing).collect(),
            first_received: Some(self.first_received),
            last_received: Some(self.last_received),
        }
    }
}

fn event_time<'a>(received: Timestamp, event: &Event<'a>) -> EventTime<'a> {
    EventTime::new(received, event.fields.timestamp.map(Field::text))
}

/// Returns a field's text if it is not empty.
pub(super) fn text_of(field: Option<Field<'_>>) -> Option<Cow<'_, str>> {
    field.and_then(Field::non_empty_text)
}
