//! A message as one JSON line, and back.
//!
//! The line of an event, keys in this order (`to` only where there is one):
//!
//! ```json
//! {"received":"2026-11-23T03:34:12.798558Z","category":"session","action":"failed","from":"a","to":"b","topic":"/rtcomm/event/session/failed/a/b","qos":1,"retain":false,"payload":{}}
//! ```
//!
//! A message below the event root that is no event has `"error":"…"` in the place of `category` to `to`; a message from
//! elsewhere has neither. The payload keeps its own bytes: as `payload` where it is valid JSON (its line ends, which
//! stand outside strings, become spaces), as `payload_text` where it is other UTF-8, else as `payload_base64`.
//!
//! Between the messages of a stream may stand what became of its connection, a [`Status`]:
//!
//! ```json
//! {"received":"2026-11-23T03:34:15.1Z","status":"gap","from":"2026-11-23T03:34:12.8Z","until":"2026-11-23T03:34:15.1Z","reason":"the connection broke"}
//! ```

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;

use super::event::{Event, EventError};
use super::fields::{Field, Fields, Vocabulary, is_json, text_of, vocabulary};
use super::topic::{Action, Category, EventTopic, Root, Subject};
use super::{scan, stamp};

/// A message as it came from the broker.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// When it was received here.
    pub received: Timestamp,
    /// Its topic.
    pub topic: &'a str,
    /// The quality of service that it was delivered with: 0, 1 or 2.
    pub qos: u8,
    /// Whether the broker had kept it and delivered it because of a new subscription.
    pub retain: bool,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// What a message is, from the point of view of the event root.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are events, and a box would be an allocation for each")]
pub enum Content<'a> {
    /// An event.
    Event(Event<'a>),
    /// It stands below the event root and is no event; with what is wrong.
    Malformed(Cow<'a, str>),
    /// It stands elsewhere: a third-party call, a presence document, anything.
    Other,
}

impl Content<'_> {
    fn malformed(error: &EventError) -> Self {
        Self::Malformed(error.to_string().into())
    }
}

/// A payload in the form in which it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Valid JSON.
    Json(&'a str),
    /// Other UTF-8; also no bytes at all.
    Text(&'a str),
    /// Anything else.
    Binary(&'a [u8]),
    /// It was too large to be received.
    Missing,
}

impl<'a> Payload<'a> {
    /// Finds the form.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Self {
        text_of(bytes).map_or(Self::Binary(bytes), Self::of_text)
    }

    fn of_text(text: &'a str) -> Self {
        if is_json(text) { Self::Json(text) } else { Self::Text(text) }
    }
}

/// A message and what it is: what is filtered, printed and recorded.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// When it was received.
    pub received: Timestamp,
    /// Its topic.
    pub topic: &'a str,
    /// The quality of service that it was delivered with: 0, 1 or 2.
    pub qos: u8,
    /// Whether the broker had kept it.
    pub retain: bool,
    /// What it is.
    pub content: Content<'a>,
    /// Its payload.
    pub payload: Payload<'a>,
}

impl<'a> Record<'a> {
    /// Finds out what a message is.
    #[must_use]
    pub fn of(event_root: &Root, message: &Message<'a>) -> Self {
        let Message { received, topic, qos, retain, payload } = *message;
        let (content, payload) = if event_root.strip(topic).is_none() {
            (Content::Other, Payload::of(payload))
        } else {
            match text_of(payload) {
                Ok(text) => match Event::decode_text(event_root, topic, text) {
                    Ok(event) => (Content::Event(event), Payload::Json(text)),
                    Err(error) => (Content::malformed(&error), Payload::of_text(text)),
                },
                Err(error) => {
                    let error = EventTopic::parse(event_root, topic)
                        .map_or_else(EventError::Topic, |_| EventError::Payload(error));
                    (Content::malformed(&error), Payload::Binary(payload))
                }
            }
        };
        Self { received, topic, qos, retain, content, payload }
    }

    /// The event, where it is one.
    #[must_use]
    pub fn event(&self) -> Option<&Event<'a>> {
        match &self.content {
            Content::Event(event) => Some(event),
            Content::Malformed(_) | Content::Other => None,
        }
    }

    /// Appends the record's line, its line end included.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        time(out, "{\"received\":", self.received);
        match &self.content {
            Content::Event(Event { topic, .. }) => {
                for piece in
                    [",\"category\":\"", topic.category().as_str(), "\",\"action\":\"", topic.action.as_str(), "\""]
                {
                    out.extend_from_slice(piece.as_bytes());
                }
                string(out, ",\"from\":", topic.from);
                if let Some(to) = topic.to() {
                    string(out, ",\"to\":", to);
                }
            }
            Content::Malformed(error) => string(out, ",\"error\":", error),
            Content::Other => {}
        }
        string(out, ",\"topic\":", self.topic);
        out.extend_from_slice(b",\"qos\":");
        out.push(b'0' + self.qos);
        out.extend_from_slice(if self.retain { b",\"retain\":true" } else { b",\"retain\":false" });
        match self.payload {
            Payload::Json(json) => {
                out.extend_from_slice(b",\"payload\":");
                one_line(out, json.as_bytes());
            }
            Payload::Text(content) => string(out, ",\"payload_text\":", content),
            Payload::Binary(bytes) => string(out, ",\"payload_base64\":", &BASE64.encode(bytes)),
            Payload::Missing => {}
        }
        out.extend_from_slice(b"}\n");
    }
}

/// What became of a stream's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status<'a> {
    /// When it was noticed.
    pub received: Timestamp,
    /// What happened.
    pub change: Change,
    /// Why, where there is a reason.
    pub reason: Option<Cow<'a, str>>,
}

/// A change of a stream's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The broker accepted us.
    Connected,
    /// The connection is gone.
    Disconnected,
    /// Every filter is subscribed to.
    Ready,
    /// Messages may be missing that were published in this span.
    Gap {
        /// The last time that the stream is known to have been whole.
        from: Timestamp,
        /// When it was whole again.
        until: Timestamp,
    },
}

impl Change {
    /// The word for it in a line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Ready => "ready",
            Self::Gap { .. } => "gap",
        }
    }
}

impl Status<'_> {
    /// Appends the status' line, its line end included.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        time(out, "{\"received\":", self.received);
        string(out, ",\"status\":", self.change.as_str());
        if let Change::Gap { from, until } = self.change {
            time(out, ",\"from\":", from);
            time(out, ",\"until\":", until);
        }
        if let Some(reason) = &self.reason {
            string(out, ",\"reason\":", reason);
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Appends JSON with its line ends as spaces.
fn one_line(out: &mut Vec<u8>, json: &[u8]) {
    let mut rest = json;
    while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
        out.extend_from_slice(&rest[..end]);
        out.push(b' ');
        rest = &rest[end + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends a key that is already JSON, and a time.
fn time(out: &mut Vec<u8>, key: &str, at: Timestamp) {
    out.extend_from_slice(key.as_bytes());
    out.push(b'"');
    stamp::write(out, at);
    out.push(b'"');
}

/// Appends a key that is already JSON, and a string.
fn string(out: &mut Vec<u8>, key: &str, content: &str) {
    out.extend_from_slice(key.as_bytes());
    if scan::plain(content.as_bytes()) == content.len() {
        out.push(b'"');
        out.extend_from_slice(content.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, content).expect("a Vec takes all that is written to it");
    }
}

vocabulary! {
    /// A line's keys, as they stand.
    struct Keys, nulls kept:

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

/// A line's keys and, of a payload that was easily read, what it says.
#[derive(Default)]
struct WholeLine<'a> {
    keys: Keys<'a>,
    fields: Option<Fields<'a>>,
}

impl<'a> Vocabulary<'a> for WholeLine<'a> {
    fn slot(&mut self, key: &str) -> Option<&mut Option<Field<'a>>> {
        self.keys.slot(key)
    }

    fn keeps(json: &str) -> bool {
        Keys::keeps(json)
    }

    fn inner(&mut self, key: &str) -> Option<&mut Option<Fields<'a>>> {
        (key == "payload").then_some(&mut self.fields)
    }
}

impl<'a> WholeLine<'a> {
    fn read(line: &'a str) -> Result<Self, LineError> {
        if let Some(line) = scan::object(line) {
            return Ok(line);
        }
        let keys = serde_json::from_str(line).map_err(|error| LineError::NotAnObject(error.to_string()))?;
        Ok(Self { keys, fields: None })
    }
}

/// Why a line is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineError {
    /// It is not UTF-8.
    NotUtf8,
    /// It is no JSON object; with the parser's words.
    NotAnObject(String),
    /// A key is missing.
    Missing(&'static str),
    /// A key's value is not what it must be.
    Wrong(&'static str),
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("it is not UTF-8"),
            Self::NotAnObject(why) => write!(f, "it is no JSON object: {why}"),
            Self::Missing(key) => write!(f, "it has no \"{key}\""),
            Self::Wrong(key) => write!(f, "its \"{key}\" is not what it must be"),
        }
    }
}

impl std::error::Error for LineError {}

/// What a recorded line tells.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "nearly all are messages, and a box would be an allocation for each")]
pub enum Entry<'a> {
    /// A message.
    Message(Line<'a>),
    /// What became of the connection.
    Status(Status<'a>),
}

impl<'a> Entry<'a> {
    /// When it was received, or noticed.
    #[must_use]
    pub fn received(&self) -> Timestamp {
        match self {
            Self::Message(line) => line.received,
            Self::Status(status) => status.received,
        }
    }

    /// Reads a line, with or without its line end. Unknown keys are passed over; the order of keys is free.
    ///
    /// # Errors
    /// Says what is missing or wrong.
    pub fn parse(line: &'a [u8]) -> Result<Self, LineError> {
        let line = std::str::from_utf8(line).map_err(|_| LineError::NotUtf8)?;
        let line = WholeLine::read(line)?;
        match line.keys.status {
            Some(status) => Status::read(status, &line.keys).map(Self::Status),
            None => Line::read(&line).map(Self::Message),
        }
    }
}

impl<'a> Status<'a> {
    fn read(status: Field<'a>, keys: &Keys<'a>) -> Result<Self, LineError> {
        let change = match &*status.text() {
            "connected" => Change::Connected,
            "disconnected" => Change::Disconnected,
            "ready" => Change::Ready,
            "gap" => Change::Gap {
                from: required("from", keys.from, time_of)?,
                until: required("until", keys.until, time_of)?,
            },
            _ => return Err(LineError::Wrong("status")),
        };
        Ok(Self {
            received: required("received", keys.received, time_of)?,
            change,
            reason: keys.reason.and_then(string_of),
        })
    }
}

/// A recorded line that was read; [`Line::record`] shows it as the message that it tells of.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    received: Timestamp,
    topic: Cow<'a, str>,
    qos: u8,
    retain: bool,
    content: LineContent<'a>,
    payload: LinePayload<'a>,
    fields: Option<Fields<'a>>,
}

/// [`Content`], as far as it must own what escapes hide in the line.
#[derive(Debug, Clone)]
enum LineContent<'a> {
    Event { action: Action, from: Cow<'a, str>, to: Option<Cow<'a, str>> },
    Malformed(Cow<'a, str>),
    Other,
}

#[derive(Debug, Clone)]
enum LinePayload<'a> {
    Json(&'a str),
    Text(Cow<'a, str>),
    Binary(Vec<u8>),
    Missing,
}

impl<'a> Line<'a> {
    fn read(line: &WholeLine<'a>) -> Result<Self, LineError> {
        let WholeLine { keys, fields } = line;
        let payload = LinePayload::read(keys)?;
        Ok(Self {
            received: required("received", keys.received, time_of)?,
            topic: required("topic", keys.topic, string_of)?,
            qos: required("qos", keys.qos, |it| it.json().parse().ok().filter(|qos| *qos <= 2))?,
            retain: required("retain", keys.retain, |it| it.json().parse().ok())?,
            content: LineContent::read(keys, &payload)?,
            payload,
            fields: *fields,
        })
    }

    /// The record that the line tells of. An event's payload is read here, where it was not on the way.
    #[must_use]
    pub fn record(&self) -> Record<'_> {
        let content = match &self.content {
            LineContent::Event { action, from, to } => {
                let fields = match (self.fields, &self.payload) {
                    (Some(fields), _) => fields,
                    (None, LinePayload::Json(json)) => Fields::read_text(json).unwrap_or_default(),
                    (None, LinePayload::Text(_) | LinePayload::Binary(_) | LinePayload::Missing) => Fields::default(),
                };
                let subject = to.as_deref().map_or(Subject::Registration, |to| Subject::Session { to });
                Content::Event(Event { topic: EventTopic { subject, action: *action, from }, fields })
            }
            LineContent::Malformed(error) => Content::Malformed(Cow::Borrowed(error)),
            LineContent::Other => Content::Other,
        };
        let payload = match &self.payload {
            LinePayload::Json(json) => Payload::Json(json),
            LinePayload::Text(text) => Payload::Text(text),
            LinePayload::Binary(bytes) => Payload::Binary(bytes),
            LinePayload::Missing => Payload::Missing,
        };
        let Self { received, qos, retain, .. } = *self;
        Record { received, topic: &self.topic, qos, retain, content, payload }
    }
}

impl<'a> LineContent<'a> {
    fn read(keys: &Keys<'a>, payload: &LinePayload<'a>) -> Result<Self, LineError> {
        if let Some(error) = keys.error {
            return string_of(error).map(Self::Malformed).ok_or(LineError::Wrong("error"));
        }
        if keys.category.is_none() {
            return Ok(Self::Other);
        }
        let id = |it: Field<'a>| string_of(it).filter(|id| !id.is_empty());
        let category = required("category", keys.category, |it| Category::from_level(&it.text()))?;
        let action = required("action", keys.action, |it| Action::from_level(&it.text()))?;
        let from = required("from", keys.from, id)?;
        let to = match category {
            Category::Registration => None,
            Category::Session => Some(required("to", keys.to, id)?),
        };
        match payload {
            LinePayload::Json(json) if json.starts_with('{') => Ok(Self::Event { action, from, to }),
            LinePayload::Json(_) => Err(LineError::Wrong("payload")),
            LinePayload::Text(_) | LinePayload::Binary(_) | LinePayload::Missing => Err(LineError::Missing("payload")),
        }
    }
}

impl<'a> LinePayload<'a> {
    fn read(keys: &Keys<'a>) -> Result<Self, LineError> {
        if let Some(json) = keys.payload {
            Ok(Self::Json(json.json()))
        } else if let Some(text) = keys.payload_text {
            string_of(text).map(Self::Text).ok_or(LineError::Wrong("payload_text"))
        } else if keys.payload_base64.is_none() && keys.error.is_some() {
            // A message that was too large to be received has none.
            Ok(Self::Missing)
        } else {
            let decode = |it: Field<'_>| BASE64.decode(it.text().as_ref()).ok();
            required("payload", keys.payload_base64, decode).map(Self::Binary).map_err(|error| match error {
                LineError::Wrong(_) => LineError::Wrong("payload_base64"),
                missing => missing,
            })
        }
    }
}

/// The content of a field that must be a string.
fn string_of(field: Field<'_>) -> Option<Cow<'_, str>> {
    field.json().starts_with('"').then(|| field.text())
}

/// The time that a field tells, in RFC 3339.
fn time_of(field: Field<'_>) -> Option<Timestamp> {
    stamp::read(&field.text())
}

/// A key's value; where it is missing or `read` refuses it, the error that names the key.
fn required<'a, T>(
    key: &'static str,
    field: Option<Field<'a>>,
    read: impl FnOnce(Field<'a>) -> Option<T>,
) -> Result<T, LineError> {
    read(field.ok_or(LineError::Missing(key))?).ok_or(LineError::Wrong(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn root() -> Root {
        "/rtcomm/event".parse().expect("a root")
    }

    fn line_of(topic: &str, payload: &[u8]) -> String {
        let received = "2026-11-23T03:34:12.798558Z".parse().expect("a time");
        let message = Message { received, topic, qos: 1, retain: false, payload };
        let mut line = Vec::new();
        Record::of(&root(), &message).write_line(&mut line);
        String::from_utf8(line).expect("a line is UTF-8")
    }

    fn written_again(line: &str) -> String {
        let mut again = Vec::new();
        match Entry::parse(line.as_bytes()).expect("a record") {
            Entry::Message(line) => line.record().write_line(&mut again),
            Entry::Status(status) => status.write_line(&mut again),
        }
        String::from_utf8(again).expect("a line is UTF-8")
    }

    #[test]
    fn an_event_is_a_line_with_its_keys_in_order() {
        assert_eq!(
            line_of("/rtcomm/event/session/failed/iggy_pop/david_bowie", br#"{"method":"RTCOMM_EVENT_FIRED"}"#),
            concat!(
                r#"{"received":"2026-11-23T03:34:12.798558Z","category":"session","action":"failed","from":"iggy_pop","#,
                r#""to":"david_bowie","topic":"/rtcomm/event/session/failed/iggy_pop/david_bowie","qos":1,"retain":false,"#,
                r#""payload":{"method":"RTCOMM_EVENT_FIRED"}}"#,
                "\n"
            )
        );
        let registration = line_of("/rtcomm/event/registration/started/a", br#"{"method":"RTCOMM_EVENT_FIRED"}"#);
        assert!(registration.contains(r#""from":"a","topic":"#), "{registration}");
    }

    #[test]
    fn what_is_no_event_says_why_and_what_is_from_elsewhere_says_nothing() {
        let malformed = line_of("/rtcomm/event/session/start/a/b", b"ring ring");
        assert!(malformed.contains(r#"Z","error":"unknown action \"start\""#), "{malformed}");
        assert!(malformed.ends_with(",\"payload_text\":\"ring ring\"}\n"), "{malformed}");
        let elsewhere = line_of("/rtcomm/sphere/a", b"\xff\x00");
        assert!(elsewhere.contains(r#"Z","topic":"/rtcomm/sphere/a","qos":1"#), "{elsewhere}");
        assert!(elsewhere.ends_with(",\"payload_base64\":\"/wA=\"}\n"), "{elsewhere}");
    }

    #[test]
    fn of_a_message_that_is_wrong_in_both_the_topic_is_told_and_its_bytes_are_kept() {
        for (topic, error) in [
            ("/rtcomm/event/session/start/a/b", r#"unknown action \"start\""#),
            ("/rtcomm/event/registration/started/a", "payload is not UTF-8 from byte 1 on"),
        ] {
            let line = line_of(topic, b"{\xff");
            assert!(line.contains(&format!(r#""error":"{error}"#)), "{line}");
            assert!(line.ends_with(",\"payload_base64\":\"e/8=\"}\n"), "{line}");
        }
    }

    #[test]
    fn a_payload_keeps_its_bytes() {
        let payload = r#"{"z":12345678901234567890, "a":1.0e400,"method":"RTCOMM_EVENT_FIRED","z":"\u00e9é𝄞","e":{}}"#;
        let line = line_of("/rtcomm/event/registration/started/a", payload.as_bytes());
        assert!(line.ends_with(&format!(",\"payload\":{payload}}}\n")), "{line}");
        assert_eq!(written_again(&line), line);
        let spread = line_of("/rtcomm/sphere/a", b"{\r\n \"a\": 1\n}\n");
        assert!(spread.ends_with(",\"payload\":{   \"a\": 1 } }\n"), "{spread}");
    }

    #[test]
    fn what_became_of_the_connection_is_a_line_too() {
        let time = |text: &str| text.parse().expect("a time");
        let received = time("2026-11-23T03:34:15Z");
        let gap = Change::Gap { from: time("2026-11-23T03:34:12.5Z"), until: received };
        for (change, reason) in [
            (Change::Connected, None),
            (Change::Ready, None),
            (Change::Disconnected, Some("b\u{e9}\n")),
            (gap, Some("x")),
        ] {
            let mut line = Vec::new();
            Status { received, change, reason: reason.map(Cow::Borrowed) }.write_line(&mut line);
            let line = String::from_utf8(line).expect("a line is UTF-8");
            assert_eq!(written_again(&line), line);
        }
        let error =
            Entry::parse(br#"{"received":"2026-11-23T03:34:15Z","status":"gap","from":"x"}"#).expect_err("no gap");
        assert_eq!(error, LineError::Wrong("from"));
    }

    #[test]
    fn a_null_payload_is_a_payload() {
        let line = line_of("/rtcomm/sphere/a", b"null");
        assert!(line.ends_with(",\"payload\":null}\n"), "{line}");
        assert_eq!(written_again(&line), line);
    }

    #[test]
    fn a_damaged_line_says_what_is_wrong() {
        let whole = r#"{"received":"2026-11-23T03:34:12Z","topic":"a","qos":0,"retain":false,"payload_text":"x"}"#;
        assert!(Entry::parse(whole.as_bytes()).is_ok());
        for (from, to, error) in [
            ("\"received\":\"2026-11-23T03:34:12Z\",", "", LineError::Missing("received")),
            ("2026-11", "yesterday", LineError::Wrong("received")),
            ("\"a\"", "7", LineError::Wrong("topic")),
            ("\"qos\":0", "\"qos\":3", LineError::Wrong("qos")),
            ("false", "\"no\"", LineError::Wrong("retain")),
            ("payload_text", "pay", LineError::Missing("payload")),
            ("payload_text\":\"x", "payload_base64\":\"*", LineError::Wrong("payload_base64")),
            ("\"topic\"", "\"category\":\"x\",\"topic\"", LineError::Wrong("category")),
            ("\"topic\"", "\"category\":\"session\",\"topic\"", LineError::Missing("action")),
        ] {
            let damaged = whole.replace(from, to);
            assert_eq!(Entry::parse(damaged.as_bytes()).err(), Some(error), "{damaged}");
        }
        assert_eq!(Entry::parse(b"\xff").err(), Some(LineError::NotUtf8));
        for line in [&whole[..40], "", "[]", "12"] {
            let error = Entry::parse(line.as_bytes()).expect_err(line);
            assert!(matches!(error, LineError::NotAnObject(_)), "{error} for {line}");
        }
    }

    proptest! {
        #[test]
        fn writing_what_was_read_gives_the_line_back(
            topic in prop_oneof![
                "/rtcomm/event/session/failed/[^/+#\0]{1,6}/[^/+#\0]{1,6}",
                "/rtcomm/event/registration/started/[^/+#\0]{1,6}",
                "[^+#\0]{1,12}",
            ],
            payload in prop_oneof![
                "[^\r\n]*".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..40),
                "[a-z0-9\u{80}-\u{10ffff}]*".prop_map(|text| format!(r#"{{"method":"RTCOMM_EVENT_FIRED","x":"{text}"}}"#).into_bytes()),
            ],
        ) {
            let line = line_of(&topic, &payload);
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(written_again(&line), line);
        }
    }
}
