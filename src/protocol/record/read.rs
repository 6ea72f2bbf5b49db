//! Reads JSON lines back as records, connection changes, absences and call records.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::value::RawValue;

use super::absence::ABSENT;
use super::{Absence, CallRecord, ConnectionChange, ConnectionStatus, Content, Payload, Record};
use crate::protocol::event::Event;
use crate::protocol::fields::{Field, Fields, KeyTable as _, key_table};
use crate::protocol::ijson::{is_readable_line, is_readable_payload};
use crate::protocol::presence::{self, Presence};
use crate::protocol::topic::{Action, Category, EventTopic, Subject};
use crate::protocol::{scan, timestamp};

key_table! {
    /// The values of a line's keys.
    struct LineKeys, nulls kept:

    cdr: "cdr",
    received: "received",
    status: "status",
    until: "until",
    reason: "reason",
    category: "category",
    action: "action",
    from: "from",
    to: "to",
    error: "error",
    topic: "topic",
    qos: "qos",
    retain: "retain",
    payload: "payload",
    payload_text: "payload_text",
    payload_base64: "payload_base64",
}

/// A line's keys, and the fields of its payload if the scanner could read them.
#[derive(Default)]
struct ParsedLine<'a> {
    keys: LineKeys<'a>,
    /// Whether every parser can read the line.
    is_readable: bool,
    fields: Fields<'a>,
    /// Whether `fields` are those of the payload.
    has_fields: bool,
}

impl<'a> ParsedLine<'a> {
    fn parse(line: &'a str) -> Result<Self, LineError> {
        if let Some(line) = Self::scan(line) {
            return Ok(line);
        }
        let keys = serde_json::from_str(line).map_err(|error| LineError::NotAnObject(error.to_string()))?;
        Ok(Self { keys, is_readable: is_readable_line(line), ..Self::default() })
    }

    /// Scans the line and its payload in one pass. Returns `None` if the scanner gives up.
    fn scan(line: &'a str) -> Option<Self> {
        const PAYLOAD: &str = "payload";
        // The scanner accepts no escapes and little nesting.
        let mut parsed = Self { is_readable: true, ..Self::default() };
        let Self { keys, fields, has_fields, .. } = &mut parsed;
        scan::object(line, |member| match member.parent {
            None => {
                if member.key == PAYLOAD {
                    // If there are two payloads, `fields` is a mix of both.
                    *has_fields = member.json.starts_with('{') && keys.payload.is_none();
                }
                keys.set(member.key, member.json);
            }
            Some(PAYLOAD) => fields.set(member.key, member.json),
            Some(_) => {}
        })?;
        Some(parsed)
    }
}

/// Why a line is not a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineError {
    /// The line is not UTF-8.
    NotUtf8,
    /// The line is not a JSON object; with the parser's message.
    NotAnObject(String),
    /// A key is missing.
    Missing(&'static str),
    /// A key has an invalid value.
    Invalid(&'static str),
    /// A line without a payload contains a lone surrogate or is nested deeply.
    Unreadable,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("not UTF-8"),
            Self::NotAnObject(message) => write!(f, "not a JSON object: {message}"),
            Self::Missing(key) => write!(f, "\"{key}\" is missing"),
            Self::Invalid(key) => write!(f, "\"{key}\" has an invalid value"),
            Self::Unreadable => f.write_str("a lone surrogate or too many levels"),
        }
    }
}

impl std::error::Error for LineError {}

/// A recorded line.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "nearly all are messages, and a box would be an allocation for each")]
pub enum Entry<'a> {
    /// A message.
    Message(RecordedMessage<'a>),
    /// A change of the connection.
    Connection(ConnectionStatus<'a>),
    /// An endpoint without documents.
    Absence(Absence<'a>),
    /// A call record.
    Call(Box<CallRecord>),
}

impl<'a> Entry<'a> {
    /// Returns when the message was received, or when the change was noticed.
    ///
    /// For a call record, this is when its last event was received, if known.
    #[must_use]
    pub fn received(&self) -> Option<Timestamp> {
        match self {
            Self::Message(message) => Some(message.received),
            Self::Connection(status) => Some(status.received),
            Self::Absence(absence) => Some(absence.received),
            Self::Call(call) => call.last_received,
        }
    }

    /// Returns whether every JSON parser can read the line. If not, write the record anew.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        match self {
            Self::Message(message) => message.is_readable,
            Self::Connection(_) | Self::Absence(_) | Self::Call(_) => true,
        }
    }

    /// Parses a line, with or without its line end. Skips unknown keys, and accepts keys in any order.
    ///
    /// # Errors
    /// If a key is missing or invalid, or if the line is not a JSON object.
    pub fn parse(line: &'a [u8]) -> Result<Self, LineError> {
        let text = std::str::from_utf8(line).map_err(|_| LineError::NotUtf8)?;
        let line = ParsedLine::parse(text)?;
        match (line.keys.cdr, line.keys.status) {
            (Some(_), _) | (_, Some(_)) if !line.is_readable => Err(LineError::Unreadable),
            (Some(_), _) => CallRecord::parse(text).map(|call| Self::Call(Box::new(call))),
            (None, Some(status)) if status.is(ABSENT) => Absence::from_keys(&line.keys).map(Self::Absence),
            (None, Some(status)) => ConnectionStatus::from_keys(status, &line.keys).map(Self::Connection),
            (None, None) => RecordedMessage::from_line(&line).map(Self::Message),
        }
    }
}

/// Returns when the entry of a line was received, as [`Entry::received`] does.
///
/// If a line begins with the time, the rest is not read, and may be invalid.
#[must_use]
pub fn received_of(line: &[u8]) -> Option<Timestamp> {
    leading_time(line).or_else(|| Entry::parse(line).ok()?.received())
}

/// Returns the time with which a line begins if this crate wrote it. Nothing else is read, so the line may be invalid.
#[must_use]
pub fn leading_time(line: &[u8]) -> Option<Timestamp> {
    let rest = line.strip_prefix(b"{\"received\":\"")?;
    let text = &rest[..memchr::memchr(b'"', rest)?];
    timestamp::read(std::str::from_utf8(text).ok()?)
}

/// Splits a line that has several JSON values, as if a line end is missing between two files that were joined.
///
/// The last item is an error if the rest of the line is not JSON.
pub fn split_values(line: &[u8]) -> impl Iterator<Item = Result<&[u8], LineError>> {
    let values = serde_json::Deserializer::from_slice(line).into_iter::<&RawValue>();
    values.map(|value| match value {
        Ok(value) => Ok(value.get().as_bytes()),
        Err(error) => Err(LineError::NotAnObject(error.to_string())),
    })
}

impl<'a> ConnectionStatus<'a> {
    fn from_keys(status: Field<'a>, keys: &LineKeys<'a>) -> Result<Self, LineError> {
        let change = match &*status.text() {
            "connected" => ConnectionChange::Connected,
            "disconnected" => ConnectionChange::Disconnected,
            "ready" => ConnectionChange::Ready,
            "settled" => ConnectionChange::Settled,
            "gap" => ConnectionChange::Gap {
                from: required("from", keys.from, time_of)?,
                until: required("until", keys.until, time_of)?,
            },
            _ => return Err(LineError::Invalid("status")),
        };
        Ok(Self {
            received: required("received", keys.received, time_of)?,
            change,
            reason: keys.reason.and_then(string_of),
        })
    }
}

impl<'a> Absence<'a> {
    fn from_keys(keys: &LineKeys<'a>) -> Result<Self, LineError> {
        Ok(Self {
            received: required("received", keys.received, time_of)?,
            from: required("from", keys.from, endpoint_of)?,
        })
    }
}

/// A message read from a line. [`RecordedMessage::record`] returns it as a [`Record`].
#[derive(Debug, Clone)]
pub struct RecordedMessage<'a> {
    received: Timestamp,
    topic: Cow<'a, str>,
    qos: u8,
    retain: bool,
    content: RecordedContent<'a>,
    payload: RecordedPayload<'a>,
    fields: Option<Fields<'a>>,
    is_readable: bool,
}

/// [`Content`], with owned strings if the line has escapes.
#[derive(Debug, Clone)]
enum RecordedContent<'a> {
    Event { action: Action, from: Cow<'a, str>, to: Option<Cow<'a, str>> },
    Presence { from: Cow<'a, str>, is_gone: bool },
    Malformed(Cow<'a, str>),
    Other,
}

/// [`Payload`], with owned data if the line has escapes or base64.
#[derive(Debug, Clone)]
enum RecordedPayload<'a> {
    Json(&'a str),
    Text(Cow<'a, str>),
    Binary(Vec<u8>),
    Missing,
}

impl<'a> RecordedMessage<'a> {
    fn from_line(line: &ParsedLine<'a>) -> Result<Self, LineError> {
        let ParsedLine { keys, is_readable, fields, has_fields } = line;
        let payload = RecordedPayload::from_keys(keys, *is_readable)?;
        Ok(Self {
            received: required("received", keys.received, time_of)?,
            topic: required("topic", keys.topic, string_of)?,
            qos: required("qos", keys.qos, |it| it.json().parse().ok().filter(|qos| *qos <= 2))?,
            retain: required("retain", keys.retain, |it| it.json().parse().ok())?,
            content: RecordedContent::from_keys(keys, &payload)?,
            payload,
            fields: has_fields.then_some(*fields),
            is_readable: *is_readable,
        })
    }

    /// Returns the message as a record. Reads the payload of an event or document if parsing the line did not.
    #[must_use]
    pub fn record(&self) -> Record<'_> {
        let content = match &self.content {
            RecordedContent::Event { action, from, to } => {
                let subject = to.as_deref().map_or(Subject::Registration, |to| Subject::Session { to });
                let topic = EventTopic { subject, action: *action, from };
                Content::Event(Event { topic, fields: self.fields() })
            }
            RecordedContent::Presence { from, is_gone } => {
                Content::Presence(Presence { from, document: (!is_gone).then(|| self.fields()) })
            }
            RecordedContent::Malformed(error) => Content::Malformed(Cow::Borrowed(error)),
            RecordedContent::Other => Content::Other,
        };
        let payload = match &self.payload {
            RecordedPayload::Json(json) => Payload::Json(json),
            RecordedPayload::Text(text) => Payload::Text(text),
            RecordedPayload::Binary(bytes) => Payload::Binary(bytes),
            RecordedPayload::Missing => Payload::Missing,
        };
        let Self { received, qos, retain, .. } = *self;
        Record { received, topic: &self.topic, qos, retain, content, payload }
    }

    fn fields(&self) -> Fields<'_> {
        match (self.fields, &self.payload) {
            (Some(fields), _) => fields,
            (None, RecordedPayload::Json(json)) => Fields::read_text(json).unwrap_or_default(),
            (None, RecordedPayload::Text(text)) => Fields::read_text(text).unwrap_or_default(),
            (None, RecordedPayload::Binary(_) | RecordedPayload::Missing) => Fields::default(),
        }
    }
}

impl<'a> RecordedContent<'a> {
    fn from_keys(keys: &LineKeys<'a>, payload: &RecordedPayload<'a>) -> Result<Self, LineError> {
        if let Some(error) = keys.error {
            return string_of(error).map(Self::Malformed).ok_or(LineError::Invalid("error"));
        }
        match keys.category {
            None => Ok(Self::Other),
            Some(category) if category.is(presence::CATEGORY) => Self::presence(keys, payload),
            Some(category) => Self::event(category, keys, payload),
        }
    }

    fn event(category: Field<'a>, keys: &LineKeys<'a>, payload: &RecordedPayload<'a>) -> Result<Self, LineError> {
        let category = Category::from_level(&category.text()).ok_or(LineError::Invalid("category"))?;
        let action = required("action", keys.action, |it| Action::from_level(&it.text()))?;
        let from = required("from", keys.from, endpoint_of)?;
        let to = match category {
            Category::Registration => None,
            Category::Session => Some(required("to", keys.to, endpoint_of)?),
        };
        payload.check_object()?;
        Ok(Self::Event { action, from, to })
    }

    fn presence(keys: &LineKeys<'a>, payload: &RecordedPayload<'a>) -> Result<Self, LineError> {
        let [present, gone] = Presence::ACTIONS;
        let action = required("action", keys.action, |it| [present, gone].into_iter().find(|action| it.is(action)))?;
        let from = required("from", keys.from, endpoint_of)?;
        match payload {
            RecordedPayload::Text(text) if action == gone && text.is_empty() => {}
            _ if action == gone => return Err(LineError::Invalid("payload")),
            payload => payload.check_object()?,
        }
        Ok(Self::Presence { from, is_gone: action == gone })
    }
}

impl<'a> RecordedPayload<'a> {
    /// Returns the payload of a line. If the line `is_readable`, so is the payload.
    fn from_keys(keys: &LineKeys<'a>, is_readable: bool) -> Result<Self, LineError> {
        if let Some(json) = keys.payload.map(Field::json) {
            let is_json = is_readable || is_readable_payload(json);
            Ok(if is_json { Self::Json(json) } else { Self::Text(Cow::Borrowed(json)) })
        } else if let Some(text) = keys.payload_text {
            string_of(text).map(Self::Text).ok_or(LineError::Invalid("payload_text"))
        } else if keys.payload_base64.is_none() && keys.error.is_some() {
            // A message that was too large to be received has no payload.
            Ok(Self::Missing)
        } else {
            let decode = |it: Field<'_>| BASE64.decode(it.text().as_ref()).ok();
            required("payload", keys.payload_base64, decode).map(Self::Binary).map_err(|error| match error {
                LineError::Invalid(_) => LineError::Invalid("payload_base64"),
                missing => missing,
            })
        }
    }
}

impl RecordedPayload<'_> {
    /// Returns an error if the payload is not a JSON object. Some parsers may reject the object.
    fn check_object(&self) -> Result<(), LineError> {
        match self {
            Self::Json(json) if json.starts_with('{') => Ok(()),
            Self::Json(_) => Err(LineError::Invalid("payload")),
            Self::Text(text) if Fields::read_text(text).is_ok() => Ok(()),
            Self::Text(_) => Err(LineError::Invalid("payload_text")),
            Self::Binary(_) | Self::Missing => Err(LineError::Missing("payload")),
        }
    }
}

/// Returns the content of a field if it is an endpoint's ID: a string that is not empty.
fn endpoint_of(field: Field<'_>) -> Option<Cow<'_, str>> {
    string_of(field).filter(|id| !id.is_empty())
}

/// Returns the content of a field if it is a string of valid Unicode.
pub(super) fn string_of(field: Field<'_>) -> Option<Cow<'_, str>> {
    // For a lone surrogate, this is the JSON text.
    let text = field.text();
    (field.json().starts_with('"') && text.len() < field.json().len()).then_some(text)
}

/// Returns the value of a field if it is an RFC 3339 time.
fn time_of(field: Field<'_>) -> Option<Timestamp> {
    timestamp::read(&field.text())
}

/// Reads a key's value, or returns an error that names the key.
pub(super) fn required<'a, T>(
    key: &'static str,
    field: Option<Field<'a>>,
    read: impl FnOnce(Field<'a>) -> Option<T>,
) -> Result<T, LineError> {
    read(field.ok_or(LineError::Missing(key))?).ok_or(LineError::Invalid(key))
}
