//! The state of a session that has not ended.

use std::borrow::Cow;

use jiff::Timestamp;

use super::times::{EventTime, Times};
use crate::protocol::event::Event;
use crate::protocol::fields::Field;
use crate::protocol::record::{CallRecord, Missing, SessionOutcome};
use crate::protocol::topic::Action;

/// Maximum number of events of a session that are compared with later ones. A session has a few.
const MAX_HASHES: usize = 4_096;

/// Maximum number of answering endpoints of a session.
const MAX_ANSWERED_BY: usize = 64;

/// A session of which at least one event was seen, but not its end.
#[derive(Debug)]
pub(super) struct OpenSession {
    /// Its place in the order of first events.
    pub(super) number: u64,
    id: Option<Box<str>>,
    from: Box<str>,
    to: Box<str>,
    answered_by: Vec<Box<str>>,
    app_context: Option<Box<str>>,
    first_received: Timestamp,
    last_received: Timestamp,
    start: Option<EventTime>,
    /// Hashes of its events without copies.
    hashes: Vec<u64>,
    modified: u64,
    duplicates: u64,
    has_gap: bool,
}

/// The event that ended a session.
pub(super) struct EndEvent {
    time: EventTime,
    reason: Option<String>,
    is_failure: bool,
    /// Whether the start of a session that fails now would have been seen.
    is_start_visible: bool,
}

impl EndEvent {
    pub(super) fn new(received: Timestamp, event: &Event<'_>, is_start_visible: bool) -> Self {
        Self {
            time: event_time(received, event),
            reason: text_of(event.fields.reason).map(Cow::into_owned),
            is_failure: event.topic.action == Action::Failed,
            is_start_visible,
        }
    }
}

impl OpenSession {
    /// Makes a session from the first event that was seen of it. The event itself is not yet part of it.
    pub(super) fn new(number: u64, received: Timestamp, event: &Event<'_>) -> Self {
        Self {
            number,
            id: text_of(event.fields.sig_sess_id).map(Into::into),
            from: event.topic.from.into(),
            to: event.topic.to().unwrap_or_default().into(),
            answered_by: Vec::new(),
            app_context: text_of(event.fields.app_context).map(Into::into),
            first_received: received,
            last_received: received,
            start: None,
            hashes: Vec::new(),
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
        self.id.is_some()
    }

    /// Returns whether its start was seen.
    pub(super) fn is_started(&self) -> bool {
        self.start.is_some()
    }

    /// Returns the hashes of its events.
    pub(super) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Adds an event. Returns `false`, and counts a duplicate, if the event is a copy. The caller handles what `started` and
    /// `modified` mean.
    pub(super) fn add(&mut self, received: Timestamp, event: &Event<'_>, hash: u64) -> bool {
        if self.hashes.contains(&hash) {
            self.duplicates += 1;
            return false;
        }
        if self.hashes.len() < MAX_HASHES {
            self.hashes.push(hash);
        }
        self.last_received = received;
        let to = event.topic.to().unwrap_or_default();
        let is_new = *self.to != *to && !self.answered_by.iter().any(|it| **it == *to);
        if is_new && self.answered_by.len() < MAX_ANSWERED_BY {
            self.answered_by.push(to.into());
        }
        if self.app_context.is_none() {
            self.app_context = text_of(event.fields.app_context).map(Into::into);
        }
        true
    }

    /// Notes its start. Of several, the first counts.
    pub(super) fn start(&mut self, received: Timestamp, event: &Event<'_>) {
        self.start.get_or_insert_with(|| event_time(received, event));
    }

    pub(super) fn modify(&mut self) {
        self.modified += 1;
    }

    pub(super) fn add_gap(&mut self) {
        self.has_gap = true;
    }

    /// Returns the record of a session that has ended.
    pub(super) fn ended(self, end: EndEvent) -> CallRecord {
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
        end: Option<EventTime>,
        reason: Option<String>,
    ) -> CallRecord {
        let is_ended = end.is_some();
        let Times { clock, started, ended, duration } = Times::of(self.start, end);
        let missing = [
            (Missing::Start, is_start_missing),
            (Missing::End, !is_ended),
            (Missing::Gap, self.has_gap),
            (Missing::Id, self.id.is_none()),
        ];
        CallRecord {
            outcome,
            session_id: self.id.map(str::into_string),
            from: self.from.into_string(),
            to: self.to.into_string(),
            answered_by: self.answered_by.into_iter().map(str::into_string).collect(),
            app_context: self.app_context.map(str::into_string),
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

fn event_time(received: Timestamp, event: &Event<'_>) -> EventTime {
    EventTime::new(received, event.fields.timestamp.map(Field::text).as_deref())
}

/// Returns a field's text if it is not empty.
pub(super) fn text_of(field: Option<Field<'_>>) -> Option<Cow<'_, str>> {
    field.map(Field::text).filter(|text| !text.is_empty())
}
