//! Pairs the events of each session, and returns a record when its end is known.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry as MapEntry, RandomState};
use std::hash::BuildHasher as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use memchr::memchr2;
use uuid::Uuid;

use super::age_queue::AgeQueue;
use super::by_hash::ByHash;
use super::ended::EndedCache;
use super::session::{EndEvent, OpenSession, text_of};
use crate::protocol::event::Event;
use crate::protocol::record::{CallRecord, ConnectionChange, ConnectionStatus, Entry, Payload, Record, SessionOutcome};
use crate::protocol::topic::{Action, Category};

/// Builds call records from a stream of entries.
///
/// Memory is bounded by the open sessions, and a cache of ended sessions and events. The clock is the time at which entries
/// were received, so a recording gives the records that the live stream gave.
#[derive(Debug)]
pub struct CallRecorder {
    max_age: SignedDuration,
    /// The open sessions by the hashes of their keys.
    sessions: ByHash<Box<OpenSession>>,
    /// The open sessions in the order of first events.
    by_age: AgeQueue,
    ended: EndedCache,
    hashing: RandomState,
    next_number: u64,
    /// The time since which the input has no gap.
    complete_since: Option<Timestamp>,
    /// The number of the source of the next entries.
    source: usize,
    /// For each source, a loss of the connection whose gap is not known yet. Events can come before the record of the gap.
    outages: Vec<Option<Outage>>,
    /// Records that were not returned yet.
    records: VecDeque<CallRecord>,
    /// Whether the input has ended, so that open sessions become records.
    is_finished: bool,
    gaps: u64,
    /// Earlier gaps are not counted.
    gaps_since: Timestamp,
    late_events: u64,
}

/// A time without a connection.
#[derive(Debug, Clone, Copy)]
struct Outage {
    /// When it ended, if it has. Sessions that began later are not affected.
    until: Option<Timestamp>,
}

impl Outage {
    /// Returns whether a session was open during the outage. It has not ended before.
    fn affects(self, session: &OpenSession) -> bool {
        self.until.is_none_or(|until| session.first_received() < until)
    }
}

/// Identifies a session: the hash of what its events have in common.
///
/// The hash is keyed with a random number, so that nobody can choose IDs with equal hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SessionKey {
    hash: u64,
    /// Whether it is the hash of an ID, not of FROM, TO and application.
    has_id: bool,
}

impl SessionKey {
    fn of(event: &Event<'_>, hashing: &RandomState) -> Self {
        if let Some(id) = text_of(event.fields.sig_sess_id) {
            // UUIDs have several formats.
            let hash = match Uuid::try_parse(&id) {
                Ok(id) => hashing.hash_one(id.as_u128()),
                Err(_) => hashing.hash_one(&*id),
            };
            return Self { hash, has_id: true };
        }
        let parties = (event.topic.from, event.topic.to(), text_of(event.fields.app_context));
        Self { hash: hashing.hash_one(parties), has_id: false }
    }
}

impl CallRecorder {
    /// Makes a recorder. A session that is open for longer than `max_age` is lost.
    #[must_use]
    pub fn new(max_age: Duration) -> Self {
        Self {
            max_age: max_age.try_into().unwrap_or(SignedDuration::MAX),
            sessions: ByHash::default(),
            by_age: AgeQueue::default(),
            ended: EndedCache::default(),
            hashing: RandomState::new(),
            next_number: 0,
            complete_since: None,
            source: 0,
            outages: vec![None],
            records: VecDeque::new(),
            is_finished: false,
            gaps: 0,
            gaps_since: Timestamp::MIN,
            late_events: 0,
        }
    }

    /// Reads the next entry. A call record in the input is returned as it is.
    pub fn entry(&mut self, entry: &Entry<'_>) {
        match entry {
            Entry::Message(message) => self.message(&message.record()),
            Entry::Connection(status) => self.connection(status),
            Entry::Absence(absence) => self.pass(absence.received),
            Entry::Call(call) => self.records.push_back((**call).clone()),
        }
    }

    /// Reads the next message. Only events of sessions have an effect, apart from the time that has passed.
    pub fn message(&mut self, record: &Record<'_>) {
        let received = whole_micros(record.received);
        self.pass(received);
        if let (Some(event), Payload::Json(payload) | Payload::Text(payload)) = (record.event(), record.payload)
            && event.topic.category() == Category::Session
        {
            self.session_event(received, event, record.topic, payload);
        }
    }

    /// Reads the time of a message that is not part of a call.
    pub fn pass(&mut self, received: Timestamp) {
        let received = whole_micros(received);
        self.advance(received);
        self.begin(received);
    }

    /// Reads a change of the connection. A gap marks the sessions that are open.
    pub fn connection(&mut self, status: &ConnectionStatus<'_>) {
        let received = whole_micros(status.received);
        self.advance(received);
        let outage = &mut self.outages[self.source];
        match status.change {
            ConnectionChange::Settled => {}
            ConnectionChange::Disconnected => *outage = Some(Outage { until: None }),
            ConnectionChange::Connected => {
                if let Some(outage) = outage {
                    outage.until = Some(received);
                }
            }
            ConnectionChange::Ready => {
                *outage = None;
                self.begin(received);
            }
            ConnectionChange::Gap { until, .. } => {
                *outage = None;
                self.gaps += u64::from(until >= self.gaps_since);
                self.complete_since = self.complete_since.max(Some(until));
                let gap = Outage { until: Some(until) };
                self.sessions.values_mut().filter(|session| gap.affects(session)).for_each(|session| session.add_gap());
            }
        }
    }

    /// Ends the sessions that are lost at this time. Entries do this too.
    pub fn advance(&mut self, now: Timestamp) {
        let Ok(oldest) = now.checked_sub(self.max_age) else { return };
        while let Some(hash) = self.by_age.pop_before(oldest, &self.sessions) {
            if let Some(session) = self.sessions.remove(&hash) {
                let has_id = session.has_id();
                self.close(hash, *session, |session| session.unended(SessionOutcome::Lost));
                if !has_id {
                    // A later end between the same endpoints belongs to this session.
                    self.ended.insert(hash);
                }
            }
        }
    }

    /// Chooses the source of the next entries among several that are merged, by its number. Without this, there is one.
    pub fn select_source(&mut self, number: usize) {
        if self.outages.len() <= number {
            self.outages.resize(number + 1, None);
        }
        self.source = number;
    }

    /// Notes that the input reaches back to this time, although its first entries are not read.
    pub fn reach_back(&mut self, received: Timestamp) {
        self.begin(whole_micros(received));
    }

    /// Counts only gaps that ended at this time or later.
    pub fn count_gaps_since(&mut self, since: Timestamp) {
        self.gaps_since = since;
    }

    /// Ends the input. The sessions that have not ended become the last records, in the order of their first events.
    pub fn finish(&mut self) {
        self.is_finished = true;
    }

    /// Returns the next record whose end is known.
    pub fn next_record(&mut self) -> Option<CallRecord> {
        self.records.pop_front().or_else(|| if self.is_finished { self.next_open() } else { None })
    }

    /// Removes the session whose first event is the oldest, and returns its record.
    fn next_open(&mut self) -> Option<CallRecord> {
        let hash = self.by_age.pop_before(Timestamp::MAX, &self.sessions)?;
        Some(self.sessions.remove(&hash)?.unended(SessionOutcome::Open))
    }

    /// Returns the number of gaps in the input, since [`CallRecorder::count_gaps_since`].
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Returns the number of sessions that have not ended.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.sessions.len()
    }

    #[cfg(test)]
    pub(super) fn queued_sessions(&self) -> usize {
        self.by_age.len()
    }

    /// Returns the number of events that were dropped because the record of their session was complete.
    #[must_use]
    pub fn late_events(&self) -> u64 {
        self.late_events
    }

    /// Notes that the input is complete from this time on, if it has not begun before.
    fn begin(&mut self, now: Timestamp) {
        self.complete_since.get_or_insert(now);
    }

    fn session_event(&mut self, received: Timestamp, event: &Event<'_>, topic: &str, payload: &str) {
        let key = SessionKey::of(event, &self.hashing);
        let event_hash = self.hash_of(topic, payload);
        if self.is_late(key, event, event_hash) {
            self.late_events += 1;
            self.forget_lost_pair(key, event, event_hash);
            return;
        }
        let action = event.topic.action;
        if action == Action::Started && !key.has_id {
            self.replace_pair(key, event_hash);
        }
        let session = match self.sessions.entry(key.hash) {
            MapEntry::Occupied(entry) => {
                let session = entry.into_mut();
                if !session.add(received, event, event_hash) {
                    return;
                }
                session
            }
            MapEntry::Vacant(entry) => {
                self.next_number += 1;
                self.by_age.push(received, self.next_number, key.hash);
                entry.insert(Box::new(OpenSession::new(self.next_number, received, event, event_hash)))
            }
        };
        match action {
            Action::Started => session.start(received, event),
            Action::Modified => session.modify(),
            Action::Stopped | Action::Failed => {
                let end = EndEvent::new(received, event, self.covers_max_age(received));
                if let Some(session) = self.sessions.remove(&key.hash) {
                    self.close(key.hash, *session, |session| session.ended(end));
                }
            }
        }
        self.by_age.compact(&self.sessions);
    }

    /// Returns whether the record of an event's session is complete, so that the event has no effect.
    fn is_late(&self, key: SessionKey, event: &Event<'_>, event_hash: u64) -> bool {
        let is_open = self.sessions.contains_key(&key.hash);
        if key.has_id {
            return !is_open && self.ended.contains(key.hash);
        }
        // Without an ID, the copy of an event is recognized by its content. Without a timestamp, the same content can also
        // be a new event.
        let is_new_session = event.topic.action == Action::Started;
        let may_be_new = event.fields.timestamp.is_none() && (is_new_session || is_open);
        let is_copy = self.ended.contains(event_hash) && !may_be_new;
        is_copy || (!is_new_session && !is_open && self.ended.contains(key.hash))
    }

    /// Notes the late end of a lost session without an ID. A further end between the same endpoints is that of another session.
    fn forget_lost_pair(&mut self, key: SessionKey, event: &Event<'_>, event_hash: u64) {
        let is_end = matches!(event.topic.action, Action::Stopped | Action::Failed);
        if is_end && !key.has_id && self.ended.contains(key.hash) {
            self.ended.remove(key.hash);
            self.ended.insert(event_hash);
        }
    }

    /// Ends an open session without an ID if a new one begins between the same endpoints: its end was not seen.
    fn replace_pair(&mut self, key: SessionKey, event_hash: u64) {
        self.ended.remove(key.hash);
        let open = self.sessions.get(&key.hash);
        if open.is_some_and(|open| open.is_started() && open.hashes().all(|it| it != event_hash))
            && let Some(session) = self.sessions.remove(&key.hash)
        {
            self.close(key.hash, *session, |session| session.unended(SessionOutcome::Lost));
        }
    }

    /// Returns the record of a session that is no longer open, and remembers the session.
    fn close(&mut self, hash: u64, mut session: OpenSession, record: impl FnOnce(OpenSession) -> CallRecord) {
        if session.has_id() {
            self.ended.insert(hash);
        } else {
            session.hashes().for_each(|hash| self.ended.insert(hash));
        }
        if self.outages.iter().flatten().any(|outage| outage.affects(&session)) {
            session.add_gap();
        }
        self.records.push_back(record(session));
    }

    /// Returns whether the input reaches back over the maximum age without a gap.
    fn covers_max_age(&self, now: Timestamp) -> bool {
        let is_complete = self.outages.iter().all(Option::is_none);
        is_complete && self.complete_since.is_some_and(|since| now.duration_since(since) >= self.max_age)
    }

    /// Returns the hash of a message's topic and payload. Line ends count as spaces, because recordings have those.
    fn hash_of(&self, topic: &str, payload: &str) -> u64 {
        let payload = payload.trim_ascii();
        match memchr2(b'\n', b'\r', payload.as_bytes()) {
            None => self.hashing.hash_one((topic, payload)),
            Some(_) => self.hashing.hash_one((topic, payload.replace(['\n', '\r'], " ").as_str())),
        }
    }
}

/// Truncates a time to the precision of recorded lines.
fn whole_micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}
