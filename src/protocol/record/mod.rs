//! A message as one JSON line: written and read.
//!
//! The line of an event, with its keys in this order (`to` for sessions only):
//!
//! ```json
//! {"received":"2026-11-23T03:34:12.798558Z","category":"session","action":"failed","from":"a","to":"b","topic":"/rtcomm/event/session/failed/a/b","qos":1,"retain":false,"payload":{}}
//! ```
//!
//! A presence document has the category `presence`, and the action `present` or `gone`. A message below the event root that
//! is not an event has `"error":"…"` in place of `category` to `to`. A message from any other topic has neither. The payload
//! keeps its bytes. It is written as `payload` if it is JSON that every parser can
//! read (its line ends are outside strings, and become spaces), as `payload_text` if it is other UTF-8, and as
//! `payload_base64` otherwise. JSON with a lone surrogate or with more than 60 levels is not readable by every parser.
//!
//! A stream can also contain changes of its connection, as [`ConnectionStatus`] lines:
//!
//! ```json
//! {"received":"2026-11-23T03:34:15.1Z","status":"gap","from":"2026-11-23T03:34:12.8Z","until":"2026-11-23T03:34:15.1Z","reason":"the connection broke"}
//! ```
//!
//! A recording can also contain call records, as [`CallRecord`] lines, and [`Absence`] lines:
//!
//! ```json
//! {"received":"2026-11-23T03:34:15.1Z","status":"absent","from":"a"}
//! ```
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | a message and what it is |
//! | `connection` | a change of the connection |
//! | `absence` | an endpoint without documents |
//! | `call_record` | one session: written and read |
//! | `write` | appends lines |
//! | `read` | parses lines |

use std::borrow::Cow;

use jiff::Timestamp;

use super::event::{Event, EventError};
use super::fields::{Fields, is_json, text_of};
use super::ijson::is_readable_payload;
use super::presence::Presence;
use super::topic::{EventTopic, TopicError, Topics};

mod absence;
mod call_record;
mod connection;
mod read;
mod write;

pub use absence::Absence;
pub(super) use call_record::seconds;
pub use call_record::{CallClock, CallRecord, Missing, SessionOutcome};
pub use connection::{ConnectionChange, ConnectionStatus};
pub use read::{Entry, LineError, RecordedMessage, leading_time, received_of, split_values};
pub(super) use write::write_string;

/// A message as the broker delivered it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// When this client received it.
    pub received: Timestamp,
    /// Its topic.
    pub topic: &'a str,
    /// The quality of service of the delivery: 0, 1 or 2.
    pub qos: u8,
    /// Whether it is a retained message, sent because of a new subscription.
    pub retain: bool,
    /// Its payload.
    pub payload: &'a [u8],
}

/// The class of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// An event.
    Event(Event<'a>),
    /// A presence document below the sphere, or its removal.
    Presence(Presence<'a>),
    /// A message below the event root that is not an event; with the reason.
    Malformed(Cow<'a, str>),
    /// Any other message, such as a third-party call.
    Other,
}

impl<'a> Content<'a> {
    fn malformed(error: &EventError) -> Self {
        Self::Malformed(error.to_string().into())
    }

    /// Determines what a message is whose topic is not the topic of an event.
    fn of_no_event(error: TopicError, topics: &Topics, topic: &'a str, payload: &'a [u8]) -> Self {
        match (Presence::decode(topics.sphere(), topic, payload), error) {
            (Ok(presence), _) => Self::Presence(presence),
            (Err(_), TopicError::OutsideRoot) => Self::Other,
            (Err(_), error) => Self::malformed(&EventError::Topic(error)),
        }
    }
}

/// A payload, in the form that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a> {
    /// JSON that every parser can read.
    Json(&'a str),
    /// Other UTF-8, including JSON that some parsers reject, or no bytes at all.
    Text(&'a str),
    /// Bytes that are not UTF-8.
    Binary(&'a [u8]),
    /// No payload, because the message was too large to be received.
    Missing,
}

impl<'a> Payload<'a> {
    /// Returns the number of bytes of the payload.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an empty payload is not different from others")]
    pub fn len(&self) -> usize {
        match self {
            Self::Json(text) | Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Missing => 0,
        }
    }

    /// Determines the form of a payload.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Self {
        text_of(bytes).map_or(Self::Binary(bytes), Self::of_text)
    }

    fn of_text(text: &'a str) -> Self {
        if is_json(text) { Self::of_json(text) } else { Self::Text(text) }
    }

    fn of_json(json: &'a str) -> Self {
        if is_readable_payload(json) { Self::Json(json) } else { Self::Text(json) }
    }
}

/// A classified message. Records are filtered, printed and recorded.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// When this client received it.
    pub received: Timestamp,
    /// Its topic.
    pub topic: &'a str,
    /// The quality of service of the delivery: 0, 1 or 2.
    pub qos: u8,
    /// Whether it is a retained message.
    pub retain: bool,
    /// Its class: event, malformed or other.
    pub content: Content<'a>,
    /// Its payload.
    pub payload: Payload<'a>,
}

impl<'a> Record<'a> {
    /// Classifies a message of a deployment with these topics.
    #[must_use]
    pub fn of(topics: &Topics, message: &Message<'a>) -> Self {
        let Message { received, topic, qos, retain, payload } = *message;
        let (content, payload) = match EventTopic::parse(&topics.events, topic) {
            Ok(event_topic) => decode(event_topic, payload),
            Err(error) => (Content::of_no_event(error, topics, topic, payload), Payload::of(payload)),
        };
        Self { received, topic, qos, retain, content, payload }
    }

    /// Returns the event, if the message is one.
    #[must_use]
    pub fn event(&self) -> Option<&Event<'a>> {
        match &self.content {
            Content::Event(event) => Some(event),
            Content::Presence(_) | Content::Malformed(_) | Content::Other => None,
        }
    }
}

/// Decodes a payload that came on the topic of an event.
fn decode<'a>(topic: EventTopic<'a>, payload: &'a [u8]) -> (Content<'a>, Payload<'a>) {
    let text = match text_of(payload) {
        Ok(text) => text,
        Err(error) => return (Content::malformed(&EventError::Payload(error)), Payload::Binary(payload)),
    };
    let event =
        Fields::read_text(text).map_err(EventError::Payload).and_then(|fields| Event::with_fields(topic, fields));
    match event {
        Ok(event) => (Content::Event(event), Payload::of_json(text)),
        Err(error) => (Content::malformed(&error), Payload::of_text(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::fields::Field;
    use crate::protocol::topic::Root;
    use proptest::prelude::*;

    fn topics() -> Topics {
        Topics::from("/rtcomm".parse::<Root>().expect("a root"))
    }

    fn line_of(topic: &str, payload: &[u8]) -> String {
        let received = "2026-11-23T03:34:12.798558Z".parse().expect("a time");
        let message = Message { received, topic, qos: 1, retain: false, payload };
        let mut line = Vec::new();
        Record::of(&topics(), &message).write_line(&mut line);
        String::from_utf8(line).expect("a line is UTF-8")
    }

    fn written_again(line: &str) -> String {
        let mut again = Vec::new();
        match Entry::parse(line.as_bytes()).expect("a record") {
            Entry::Message(line) => line.record().write_line(&mut again),
            Entry::Connection(status) => status.write_line(&mut again),
            Entry::Absence(absence) => absence.write_line(&mut again),
            Entry::Call(call) => call.write_line(&mut again),
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
    fn a_malformed_event_has_an_error_and_a_message_from_elsewhere_has_none() {
        let malformed = line_of("/rtcomm/event/session/start/a/b", b"ring ring");
        assert!(malformed.contains(r#"Z","error":"unknown action \"start\""#), "{malformed}");
        assert!(malformed.ends_with(",\"payload_text\":\"ring ring\"}\n"), "{malformed}");
        let elsewhere = line_of("/rtcomm/sphere/a", b"\xff\x00");
        assert!(elsewhere.contains(r#"Z","topic":"/rtcomm/sphere/a","qos":1"#), "{elsewhere}");
        assert!(elsewhere.ends_with(",\"payload_base64\":\"/wA=\"}\n"), "{elsewhere}");
    }

    #[test]
    fn a_document_is_a_line_with_its_keys_in_order() {
        let present = line_of("/rtcomm/sphere/agents/iggy_pop", br#"{"method":"DOCUMENT", "state":"busy"}"#);
        assert_eq!(
            present,
            concat!(
                r#"{"received":"2026-11-23T03:34:12.798558Z","category":"presence","action":"present","from":"iggy_pop","#,
                r#""topic":"/rtcomm/sphere/agents/iggy_pop","qos":1,"retain":false,"#,
                r#""payload":{"method":"DOCUMENT", "state":"busy"}}"#,
                "\n"
            )
        );
        let gone = line_of("/rtcomm/sphere/iggy_pop", b"");
        assert!(gone.contains(r#""category":"presence","action":"gone","from":"iggy_pop","topic":"#), "{gone}");
        assert!(gone.ends_with(",\"payload_text\":\"\"}\n"), "{gone}");
        let surrogate = line_of("/rtcomm/sphere/iggy_pop", br#"{"method":"DOCUMENT","alias":"\ud800"}"#);
        assert!(surrogate.contains(r#""action":"present""#) && surrogate.contains("payload_text"), "{surrogate}");
        for line in [present, gone, surrogate] {
            let Ok(Entry::Message(message)) = Entry::parse(line.as_bytes()) else { panic!("a message: {line}") };
            let record = message.record();
            let Content::Presence(presence) = record.content else { panic!("a document: {line}") };
            assert_eq!((presence.from, presence.document.is_some()), ("iggy_pop", line.contains("present")));
            assert_eq!(written_again(&line), line);
        }
    }

    #[test]
    fn a_damaged_document_is_an_error() {
        let line = line_of("/rtcomm/sphere/iggy_pop", br#"{"method":"DOCUMENT"}"#);
        for (from, to, error) in [
            ("present", "started", LineError::Invalid("action")),
            ("\"present\"", "\"gone\"", LineError::Invalid("payload")),
            ("\"payload\":{", "\"payload_text\":\"x\",\"x\":{", LineError::Invalid("payload_text")),
            ("\"iggy_pop\",", "\"\",", LineError::Invalid("from")),
        ] {
            let damaged = line.replace(from, to);
            assert_eq!(Entry::parse(damaged.as_bytes()).err(), Some(error), "{damaged}");
        }
    }

    #[test]
    fn an_absence_is_written_and_read_back() {
        let received = "2026-11-23T03:34:15Z".parse().expect("a time");
        let mut line = Vec::new();
        Absence { received, from: "Danko \"J\"".into() }.write_line(&mut line);
        let line = String::from_utf8(line).expect("a line is UTF-8");
        assert_eq!(
            line,
            "{\"received\":\"2026-11-23T03:34:15.000000Z\",\"status\":\"absent\",\"from\":\"Danko \\\"J\\\"\"}\n"
        );
        assert_eq!(written_again(&line), line);
        let error = Entry::parse(br#"{"received":"2026-11-23T03:34:15Z","status":"absent"}"#).expect_err("not whole");
        assert_eq!(error, LineError::Missing("from"));
    }

    #[test]
    fn an_error_in_the_topic_comes_before_one_in_the_payload() {
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
    fn json_that_some_parsers_reject_is_written_as_text() {
        let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
        for value in [r#""cut \ud83d""#, &deep] {
            let event = format!(r#"{{"method":"RTCOMM_EVENT_FIRED","reason":"busy","x":{value}}}"#);
            for (topic, payload) in [
                ("/rtcomm/event/session/failed/a/b", event.as_str()),
                ("/rtcomm/event/session/failed/a/b", value),
                ("/rtcomm/sphere/a", value),
            ] {
                let line = line_of(topic, payload.as_bytes());
                let text = serde_json::to_string(payload).expect("a string");
                assert!(line.ends_with(&format!(",\"payload_text\":{text}}}\n")), "{line}");
                assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), "{line}");
                assert_eq!(line.contains("\"error\""), topic.contains("event") && payload == value, "{line}");
                assert_eq!(written_again(&line), line);
            }
            let line = line_of("/rtcomm/event/session/failed/a/b", event.as_bytes());
            let Ok(Entry::Message(message)) = Entry::parse(line.as_bytes()) else { panic!("a message: {line}") };
            let record = message.record();
            assert!(record.event().expect("an event").fields.reason.is_some_and(|it| it.is("busy")), "{line}");
        }
        let pair = line_of("/rtcomm/sphere/a", br#"["\ud83d\ude00"]"#);
        assert!(pair.contains(r#""payload":["\ud83d\ude00"]"#), "{pair}");
    }

    #[test]
    fn a_line_that_some_parsers_reject_is_written_anew() {
        let head = r#"{"received":"2026-11-23T03:34:12.798558Z","category":"session","action":"failed","from":"a","to":"b","topic":"t","qos":1,"retain":false,"#;
        let payload = r#"{"method":"RTCOMM_EVENT_FIRED","reason":"\ud83d"}"#;
        let line = format!("{head}\"payload\":{payload}}}");
        let entry = Entry::parse(line.as_bytes()).expect("a record");
        assert!(!entry.is_readable());
        let text = serde_json::to_string(payload).expect("a string");
        assert_eq!(written_again(&line), format!("{head}\"payload_text\":{text}}}\n"));
        let readable = format!(r#"{head}"payload":{{"reason":"\u00e9"}}}}"#);
        assert!(Entry::parse(readable.as_bytes()).is_ok_and(|entry| entry.is_readable()));
        for (line, error) in [
            (line.replace("\"t\"", r#""\ud83d""#), LineError::Invalid("topic")),
            (
                r#"{"received":"2026-11-23T03:34:12Z","status":"ready","reason":"\ud83d"}"#.to_owned(),
                LineError::Unreadable,
            ),
            (format!(r#"{head}"payload_text":"ring ring"}}"#), LineError::Invalid("payload_text")),
            (format!(r#"{head}"payload_text":"[]"}}"#), LineError::Invalid("payload_text")),
        ] {
            assert_eq!(Entry::parse(line.as_bytes()).err(), Some(error), "{line}");
        }
    }

    #[test]
    fn a_connection_change_is_written_and_read_back() {
        let time = |text: &str| text.parse().expect("a time");
        let received = time("2026-11-23T03:34:15Z");
        let gap = ConnectionChange::Gap { from: time("2026-11-23T03:34:12.5Z"), until: received };
        for (change, reason) in [
            (ConnectionChange::Connected, None),
            (ConnectionChange::Ready, None),
            (ConnectionChange::Settled, None),
            (ConnectionChange::Disconnected, Some("b\u{e9}\n")),
            (gap, Some("x")),
        ] {
            let mut line = Vec::new();
            ConnectionStatus { received, change, reason: reason.map(Cow::Borrowed) }.write_line(&mut line);
            let line = String::from_utf8(line).expect("a line is UTF-8");
            assert_eq!(written_again(&line), line);
        }
        let error = Entry::parse(br#"{"received":"2026-11-23T03:34:15Z","status":"gap","from":"x"}"#)
            .expect_err("not a valid gap");
        assert_eq!(error, LineError::Invalid("from"));
    }

    #[test]
    fn the_time_of_a_line_is_known_without_the_rest() {
        let time = "2026-11-23T03:34:12.798558Z".parse().ok();
        for (line, received) in [
            (r#"{"received":"2026-11-23T03:34:12.798558Z","status":"ready"}"#, time),
            (r#"{"received":"2026-11-23T03:34:12.798558Z","st"#, time),
            (r#"{"status":"ready", "received": "2026-11-23T04:34:12.798558+01:00"}"#, time),
            (r#"{"received":"soon","status":"ready"}"#, None),
            (r#"{"status":"ready"}"#, None),
            (r#"{"cdr":"open","from":"a","to":"b"}"#, None),
            ("", None),
        ] {
            assert_eq!(received_of(line.as_bytes()), received, "{line}");
        }
    }

    #[test]
    fn the_last_payload_of_a_line_counts() {
        let line = |payloads: &str| {
            format!(
                r#"{{"received":"2026-11-23T03:34:12Z","category":"registration","action":"started","from":"a","topic":"t","qos":0,"retain":false,{payloads}}}"#
            )
        };
        let line = line(r#""payload":{"reason":"first","appContext":"x"},"payload":{"reason":"second"}"#);
        let Ok(Entry::Message(message)) = Entry::parse(line.as_bytes()) else { panic!("a message: {line}") };
        let record = message.record();
        let fields = record.event().expect("an event").fields;
        assert_eq!((fields.reason.map(Field::text).as_deref(), fields.app_context), (Some("second"), None));
    }

    #[test]
    fn a_null_payload_is_kept() {
        let line = line_of("/rtcomm/sphere/a", b"null");
        assert!(line.ends_with(",\"payload\":null}\n"), "{line}");
        assert_eq!(written_again(&line), line);
    }

    #[test]
    fn the_error_of_a_damaged_line_names_the_key() {
        let whole = r#"{"received":"2026-11-23T03:34:12Z","topic":"a","qos":0,"retain":false,"payload_text":"x"}"#;
        assert!(Entry::parse(whole.as_bytes()).is_ok());
        for (from, to, error) in [
            ("\"received\":\"2026-11-23T03:34:12Z\",", "", LineError::Missing("received")),
            ("2026-11", "yesterday", LineError::Invalid("received")),
            ("\"a\"", "7", LineError::Invalid("topic")),
            ("\"qos\":0", "\"qos\":3", LineError::Invalid("qos")),
            ("false", "\"no\"", LineError::Invalid("retain")),
            ("payload_text", "pay", LineError::Missing("payload")),
            ("payload_text\":\"x", "payload_base64\":\"*", LineError::Invalid("payload_base64")),
            ("\"topic\"", "\"category\":\"x\",\"topic\"", LineError::Invalid("category")),
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
        fn a_line_that_is_read_and_written_stays_the_same(
            topic in prop_oneof![
                "/rtcomm/event/session/failed/[^/+#\0]{1,6}/[^/+#\0]{1,6}",
                "/rtcomm/event/registration/started/[^/+#\0]{1,6}",
                "/rtcomm/sphere/[^+#\0]{1,6}",
                "[^+#\0]{1,12}",
            ],
            payload in prop_oneof![
                "[^\r\n]*".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..40),
                "[a-z0-9\u{80}-\u{10ffff}]*".prop_map(|text| format!(r#"{{"method":"RTCOMM_EVENT_FIRED","x":"{text}"}}"#).into_bytes()),
                "[a-z\"]*".prop_map(|text| format!(r#"{{"method":"DOCUMENT","x":"{text}"}}"#).into_bytes()),
            ],
        ) {
            // Whitespace around a JSON payload is written, but it is not part of the payload that is read.
            let line = line_of(&topic, payload.trim_ascii());
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(written_again(&line), line);
        }
    }
}
