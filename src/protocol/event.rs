//! One event: what its topic says and what its payload says (protocol, sections 2 and 3).

use std::fmt;

use super::excerpt;
use super::fields::{Fields, FieldsError};
use super::topic::{EventTopic, Root, TopicError};

/// The `method` of every event.
pub const METHOD: &str = "RTCOMM_EVENT_FIRED";

/// An event, borrowed from the message that carried it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// Category, action and endpoints.
    pub topic: EventTopic<'a>,
    /// What the payload tells.
    pub fields: Fields<'a>,
}

/// Why a message below the event root is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventError {
    /// The topic is none that an event can have.
    Topic(TopicError),
    /// The payload is no JSON object.
    Payload(FieldsError),
    /// The payload has no `method`.
    NoMethod,
    /// The payload's `method` is another one; its beginning.
    Method(String),
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(error) => error.fmt(f),
            Self::Payload(error) => error.fmt(f),
            Self::NoMethod => write!(f, "payload has no method; an event's is {METHOD}"),
            Self::Method(method) => write!(f, "method is {method:?}, not {METHOD}"),
        }
    }
}

impl std::error::Error for EventError {}

impl<'a> Event<'a> {
    /// Reads an event from a message below `root`.
    ///
    /// # Errors
    /// Says what about the topic or the payload is not an event's. The topic is judged first.
    pub fn decode(root: &Root, topic: &'a str, payload: &'a [u8]) -> Result<Self, EventError> {
        let topic = EventTopic::parse(root, topic).map_err(EventError::Topic)?;
        Self::with_fields(topic, Fields::read(payload).map_err(EventError::Payload)?)
    }

    /// As [`Event::decode`], where the payload is known to be UTF-8.
    pub(super) fn decode_text(root: &Root, topic: &'a str, payload: &'a str) -> Result<Self, EventError> {
        let topic = EventTopic::parse(root, topic).map_err(EventError::Topic)?;
        Self::with_fields(topic, Fields::read_text(payload).map_err(EventError::Payload)?)
    }

    /// Puts an event together from what was read of its topic and its payload.
    ///
    /// # Errors
    /// Where the payload's `method` is not an event's.
    pub fn with_fields(topic: EventTopic<'a>, fields: Fields<'a>) -> Result<Self, EventError> {
        match fields.method {
            Some(method) if method.is(METHOD) => Ok(Self { topic, fields }),
            Some(method) => Err(EventError::Method(excerpt(&method.text()))),
            None => Err(EventError::NoMethod),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::Field;
    use super::*;

    fn decode<'a>(topic: &'a str, payload: &'a str) -> Result<Event<'a>, EventError> {
        let root: Root = "/rtcomm/event".parse().expect("a root");
        Event::decode(&root, topic, payload.as_bytes())
    }

    #[test]
    fn an_event_carries_what_topic_and_payload_say() {
        let event = decode(
            "/rtcomm/event/session/failed/iggy_pop/david_bowie",
            r#"{"method":"RTCOMM_EVENT_FIRED","version":"1.0","reason":"busy","more":[1]}"#,
        )
        .expect("an event");
        assert_eq!(event.topic.to(), Some("david_bowie"));
        assert_eq!(event.fields.reason.map(Field::text).as_deref(), Some("busy"));
        assert_eq!(event.fields.app_context, None);
    }

    #[test]
    fn what_is_no_event_says_why() {
        let topic = "/rtcomm/event/registration/started/iggy_pop";
        for (topic, payload, error) in [
            (topic, "", "payload is empty"),
            (topic, "[]", "payload is JSON but no object"),
            (topic, "{}", "payload has no method; an event's is RTCOMM_EVENT_FIRED"),
            (topic, r#"{"method":"DOCUMENT"}"#, r#"method is "DOCUMENT", not RTCOMM_EVENT_FIRED"#),
            (topic, r#"{"method":7}"#, r#"method is "7", not RTCOMM_EVENT_FIRED"#),
            (
                "/rtcomm/event/session/start/a/b",
                "{}",
                r#"unknown action "start": none of started, modified, stopped, failed"#,
            ),
        ] {
            assert_eq!(decode(topic, payload).expect_err(payload).to_string(), error);
        }
        let long =
            decode(topic, &format!(r#"{{"method":"{}"}}"#, "é".repeat(1_000_000))).expect_err("no event").to_string();
        assert_eq!(long, format!("method is \"{}…\", not RTCOMM_EVENT_FIRED", "é".repeat(100)));
        let not_json = decode(topic, "start").expect_err("no JSON").to_string();
        assert!(not_json.starts_with("payload is not JSON: "), "{not_json}");
    }
}
