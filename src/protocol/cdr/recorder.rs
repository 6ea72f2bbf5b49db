//! Pairs the events of each session, and returns a record when its end is known.

use std::collections::hash_map::{Entry as MapEntry, RandomState};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::BuildHasher as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use memchr::memchr2;
use uuid::Uuid;

use super::ended::EndedCache;
use super::session::{EndEvent, OpenSession, text_of};
use crate::protocol::event::Event;
use crate::protocol::fields::Field;
use crate::protocol::record::{CallRecord, ConnectionChange, ConnectionStatus, Entry, Payload, Record, SessionOutcome};
use crate::protocol::topic::{Action, Category};

/// Builds call records from a stream of entries.
///
/// Memory is bounded by the open sessions, and a cache of what has ended. The clock is the time at which entries were
/// received, so a recording gives the records that the live stream gave.
#[derive(Debug)]
pub struct CallRecorder {
    max_age: SignedDuration,
    sessions: HashMap<SessionKey, OpenSession>,
    /// The keys of `sessions` in the order of first events.
    by_age: BTreeMap<(Timestamp, u64), SessionKey>,
    ended: EndedCache,
    hashing: RandomState,
    next_number: u64,
    /// Since when the input has no gap, and so contains every event.
    complete_since: Option<Timestamp>,
    /// Records that were not returned yet.
    records: VecDeque<CallRecord>,
    gaps: u64,
    late_events: u64,
}

/// What the events of a session have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum SessionKey {
    /// A session ID that is a UUID, in any of its formats.
    Uuid(u128),
    /// Any other session ID.
    Id(Box<str>),
    /// FROM, TO and application of a session without an ID.
    Parties(Box<(String, String, Option<Box<str>>)>),
}

impl SessionKey {
    fn of(event: &Event<'_>) -> Self {
        if let Some(id) = event.fields.sig_sess_id.map(Field::text).filter(|id| !id.is_empty()) {
            return Uuid::try_parse(&id).map_or_else(|_| Self::Id(id.into()), |id| Self::Uuid(id.as_u128()));
        }
        let to = event.topic.to().unwrap_or_default();
        let app_context = text_of(event.fields.app_context);
        Self::Parties(Box::new((event.topic.from.to_owned(), to.to_owned(), app_context)))
    }

    fn is_id(&self) -> bool {
        !matches!(self, Self::Parties(_))
    }
}

impl CallRecorder {
    /// Makes a recorder. A session that is open for longer than `max_age` is lost.
    #[must_use]
    pub fn new(max_age: Duration) -> Self {
        Self {
            max_age: max_age.try_into().unwrap_or(SignedDuration::MAX),
            sessions: HashMap::new(),
            by_age: BTreeMap::new(),
            ended: EndedCache::default(),
            hashing: RandomState::new(),
            next_number: 0,
            complete_since: None,
            records: VecDeque::new(),
            gaps: 0,
            late_events: 0,
        }
    }

    /// Reads the next entry. A call record in the input is returned as it is.
    pub fn entry(&mut self, entry: &Entry<'_>) {
        match entry {
            Entry::Message(message) => self.message(&message.record()),
            Entry::Connection(status) => self.connection(status),
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

    /// Reads a message that is not part of any call: only the time has passed.
    pub fn pass(&mut self, received: Timestamp) {
        let received = whole_micros(received);
        self.advance(received);
        self.begin(received);
    }

    /// Reads a change of the connection. A gap marks the sessions that are open.
    pub fn connection(&mut self, status: &ConnectionStatus<'_>) {
        let received = whole_micros(status.received);
        self.advance(received);
        match status.change {
            ConnectionChange::Ready => self.begin(received),
            ConnectionChange::Gap { until, .. } => {
                self.gaps += 1;
                self.complete_since = self.complete_since.max(Some(until));
                self.sessions.values_mut().for_each(OpenSession::add_gap);
            }
            ConnectionChange::Connected | ConnectionChange::Disconnected => {}
        }
    }

    /// Ends the sessions that are lost at this time. Entries do this too.
    pub fn advance(&mut self, now: Timestamp) {
        let Ok(oldest) = now.checked_sub(self.max_age) else { return };
        while let Some(first) = self.by_age.first_entry()
            && first.key().0 < oldest
        {
            let key = first.remove();
            if let Some(session) = self.sessions.remove(&key) {
                self.close(&key, session, |session| session.unended(SessionOutcome::Lost));
                if !key.is_id() {
                    // A later end between the same endpoints belongs to this session.
                    self.ended.insert(self.hashing.hash_one(&key));
                }
            }
        }
    }

    /// Ends the input. The sessions that have not ended become records in the order of their first events.
    pub fn finish(&mut self) {
        for (_, key) in std::mem::take(&mut self.by_age) {
            if let Some(session) = self.sessions.remove(&key) {
                self.records.push_back(session.unended(SessionOutcome::Open));
            }
        }
    }

    /// Returns the next record whose end is known.
    pub fn next_record(&mut self) -> Option<CallRecord> {
        self.records.pop_front()
    }

    /// Returns the number of gaps in the input.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Returns the number of sessions that have not ended.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.sessions.len()
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
        let key = SessionKey::of(event);
        let hash = self.hash_of(topic, payload);
        if self.is_late(&key, event, hash) {
            self.late_events += 1;
            return;
        }
        let action = event.topic.action;
        if action == Action::Started && !key.is_id() {
            self.replace_pair(&key, hash);
        }
        let session = match self.sessions.entry(key.clone()) {
            MapEntry::Occupied(session) => session.into_mut(),
            MapEntry::Vacant(vacant) => {
                let session = OpenSession::new(self.next_number, received, event);
                self.next_number += 1;
                self.by_age.insert(session.age_key(), key.clone());
                vacant.insert(session)
            }
        };
        if !session.add(received, event, hash) {
            return;
        }
        match action {
            Action::Started => session.start(received, event),
            Action::Modified => session.modify(),
            Action::Stopped | Action::Failed => {
                let end = EndEvent::new(received, event, self.covers_max_age(received));
                if let Some(session) = self.sessions.remove(&key) {
                    self.by_age.remove(&session.age_key());
                    self.close(&key, session, |session| session.ended(end));
                }
            }
        }
    }

    /// Returns whether the record of an event's session is complete, so that the event has no effect.
    fn is_late(&self, key: &SessionKey, event: &Event<'_>, hash: u64) -> bool {
        if key.is_id() {
            return self.ended.contains(self.hashing.hash_one(key));
        }
        // Without an ID, the copy of an event is recognized by its content. Without a timestamp, the same content can also
        // be a new event.
        let is_new_session = event.topic.action == Action::Started;
        let is_open = self.sessions.contains_key(key);
        let may_be_new = event.fields.timestamp.is_none() && (is_new_session || is_open);
        let is_copy = self.ended.contains(hash) && !may_be_new;
        is_copy || (!is_new_session && !is_open && self.ended.contains(self.hashing.hash_one(key)))
    }

    /// Ends an open session without an ID if a new one begins between the same endpoints: its end was not seen.
    fn replace_pair(&mut self, key: &SessionKey, hash: u64) {
        self.ended.remove(self.hashing.hash_one(key));
        let is_replaced = |session: &OpenSession| session.is_started() && !session.hashes().contains(&hash);
        if self.sessions.get(key).is_some_and(is_replaced)
            && let Some(session) = self.sessions.remove(key)
        {
            self.by_age.remove(&session.age_key());
            self.close(key, session, |session| session.unended(SessionOutcome::Lost));
        }
    }

    /// Returns the record of a session that is no longer open, and remembers the session.
    fn close(&mut self, key: &SessionKey, session: OpenSession, record: impl FnOnce(OpenSession) -> CallRecord) {
        if session.has_id() {
            self.ended.insert(self.hashing.hash_one(key));
        } else {
            session.hashes().iter().for_each(|hash| self.ended.insert(*hash));
        }
        self.records.push_back(record(session));
    }

    /// Returns whether the input reaches back over the maximum age without a gap.
    fn covers_max_age(&self, now: Timestamp) -> bool {
        self.complete_since.is_some_and(|since| now.duration_since(since) >= self.max_age)
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
