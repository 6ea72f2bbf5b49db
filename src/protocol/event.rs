//! An event: its topic and the known keys of its payload (protocol, sections 2 and 3).

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
    /// The known keys of the payload.
    pub fields: Fields<'a>,
}

/// Why a message below the event root is not an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventError {
    /// The topic is not the topic of an event.
    Topic(TopicError),
    /// The payload is not a JSON object.
    Payload(FieldsError),
    /// The payload has no `method`.
    NoMethod,
    /// The payload has another `method`; with the beginning of it.
    Method(String),
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(error) => error.fmt(f),
            Self::Payload(error) => error.fmt(f),
            Self::NoMethod => write!(f, "payload has no method; expected {METHOD}"),
            Self::Method(method) => write!(f, "method is {method:?}, not {METHOD}"),
        }
    }
}

impl std::error::Error for EventError {}

impl<'a> Event<'a> {
    /// Decodes a message below `root` as an event.
    ///
    /// # Errors
    /// If the topic or the payload is not an event's. The topic is checked first.
    pub fn decode(root: &Root, topic: &'a str, payload: &'a [u8]) -> Result<Self, EventError> {
        let topic = EventTopic::parse(root, topic).map_err(EventError::Topic)?;
        Self::with_fields(topic, Fields::read(payload).map_err(EventError::Payload)?)
    }

    /// Makes an event from its parsed topic and payload.
    ///
    /// # Errors
    /// If the payload's `method` is not an event's.
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
    fn an_event_has_the_parts_of_its_topic_and_payload() {
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
    fn the_error_says_why_a_message_is_not_an_event() {
        let topic = "/rtcomm/event/registration/started/iggy_pop";
        for (topic, payload, error) in [
            (topic, "", "payload is empty"),
            (topic, "[]", "payload is JSON but not an object"),
            (topic, "{}", "payload has no method; expected RTCOMM_EVENT_FIRED"),
            (topic, r#"{"method":"DOCUMENT"}"#, r#"method is "DOCUMENT", not RTCOMM_EVENT_FIRED"#),
            (topic, r#"{"method":7}"#, r#"method is "7", not RTCOMM_EVENT_FIRED"#),
            (
                "/rtcomm/event/session/start/a/b",
                "{}",
                r#"unknown action "start": expected started, modified, stopped or failed"#,
            ),
        ] {
            assert_eq!(decode(topic, payload).expect_err(payload).to_string(), error);
        }
        let long = decode(topic, &format!(r#"{{"method":"{}"}}"#, "é".repeat(1_000_000)))
            .expect_err("not an event")
            .to_string();
        assert_eq!(long, format!("method is \"{}…\", not RTCOMM_EVENT_FIRED", "é".repeat(100)));
        let not_json = decode(topic, "start").expect_err("not JSON").to_string();
        assert!(not_json.starts_with("payload is not JSON: "), "{not_json}");
    }
}
