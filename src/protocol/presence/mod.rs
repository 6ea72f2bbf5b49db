//! Presence documents: which endpoints are registered, from protocol v1.0.0 on (protocol, section 6).
//!
//! An endpoint publishes a retained document at `SPHERE/[.../]ENDPOINT`, and an empty retained payload when it leaves.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | documents, and messages below the sphere |
//! | `directory` | the existing documents, and their changes between two listings |

use std::fmt;

use serde::Serialize;

use super::fields::{Fields, FieldsError};
use super::topic::Root;
use super::{VERSION, excerpt};

mod directory;

pub use directory::Directory;

/// The `method` of a presence document.
pub const METHOD: &str = "DOCUMENT";

/// The value of `category` in the JSON line of a document.
pub const CATEGORY: &str = "presence";

/// A presence document. Publish it retained, at the endpoint's topic below the sphere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document<'a> {
    /// The topic where the endpoint listens, such as `/rtcomm/2123928217`.
    pub address_topic: &'a str,
    /// The application that the endpoint is registered for.
    pub app_context: &'a str,
    /// The endpoint's state, such as `available`.
    pub state: &'a str,
    /// The endpoint's display name.
    pub alias: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DocumentPayload<'a> {
    #[serde(rename = "rtcommVer")]
    version: &'static str,
    method: &'static str,
    r#type: &'static str,
    from_topic: Option<&'a str>,
    address_topic: &'a str,
    app_context: &'a str,
    state: &'a str,
    alias: &'a str,
    user_defines: [(); 0],
}

impl Document<'_> {
    /// Returns the payload: one JSON object, keys in the order of the protocol's example.
    #[must_use]
    pub fn payload(&self) -> String {
        let payload = DocumentPayload {
            version: VERSION,
            method: METHOD,
            r#type: "ENDPOINT",
            from_topic: None,
            address_topic: self.address_topic,
            app_context: self.app_context,
            state: self.state,
            alias: self.alias,
            user_defines: [],
        };
        serde_json::to_string(&payload).expect("text always serializes")
    }
}

/// The state of an endpoint, as a message below the sphere reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence<'a> {
    /// The endpoint: the last level of the topic.
    pub from: &'a str,
    /// The known keys of its document; `None` if the endpoint is gone.
    pub document: Option<Fields<'a>>,
}

/// Why a message below the sphere is not about an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PresenceError {
    /// The topic is not below the sphere, or its last level is empty.
    Topic,
    /// The payload is neither empty nor a JSON object.
    Payload(FieldsError),
    /// The document has no `method`.
    NoMethod,
    /// The document has another `method`; with the beginning of it.
    Method(String),
}

impl fmt::Display for PresenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic => f.write_str("topic has no endpoint below the sphere"),
            Self::Payload(error) => error.fmt(f),
            Self::NoMethod => write!(f, "payload has no method; expected {METHOD}"),
            Self::Method(method) => write!(f, "method is {method:?}, not {METHOD}"),
        }
    }
}

impl std::error::Error for PresenceError {}

impl<'a> Presence<'a> {
    /// The values of `action` in a JSON line: the document exists, or was removed.
    pub const ACTIONS: [&'static str; 2] = ["present", "gone"];

    /// Decodes a message below `sphere`. An empty payload means that the endpoint is gone.
    ///
    /// # Errors
    /// If the topic or the payload is not that of a document. The topic is checked first.
    pub fn decode(sphere: &Root, topic: &'a str, payload: &'a [u8]) -> Result<Self, PresenceError> {
        let from = endpoint_of(sphere, topic).ok_or(PresenceError::Topic)?;
        if payload.is_empty() {
            return Ok(Self { from, document: None });
        }
        let fields = Fields::read(payload).map_err(PresenceError::Payload)?;
        match fields.method {
            Some(method) if method.is(METHOD) => Ok(Self { from, document: Some(fields) }),
            Some(method) => Err(PresenceError::Method(excerpt(&method.text()))),
            None => Err(PresenceError::NoMethod),
        }
    }

    /// Returns the value of `action` in a JSON line.
    #[must_use]
    pub fn action(&self) -> &'static str {
        let [present, gone] = Self::ACTIONS;
        if self.document.is_some() { present } else { gone }
    }
}

/// Returns the endpoint of a topic below the sphere: the last level, unless it is empty.
fn endpoint_of<'t>(sphere: &Root, topic: &'t str) -> Option<&'t str> {
    sphere.strip(topic)?.rsplit('/').next().filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::fields::Field;
    use super::*;

    fn decode<'a>(topic: &'a str, payload: &'a str) -> Result<Presence<'a>, PresenceError> {
        Presence::decode(&"/rtcomm/sphere".parse().expect("a root"), topic, payload.as_bytes())
    }

    #[test]
    fn a_document_has_the_keys_of_the_protocol_in_order() {
        let document = Document {
            address_topic: "/rtcomm/2123928217",
            app_context: "XYZ video app",
            state: "available",
            alias: "John Smith",
        };
        assert_eq!(
            document.payload(),
            r#"{"rtcommVer":"v1.0.0","method":"DOCUMENT","type":"ENDPOINT","fromTopic":null,"addressTopic":"/rtcomm/2123928217","appContext":"XYZ video app","state":"available","alias":"John Smith","userDefines":[]}"#
        );
    }

    #[test]
    fn the_endpoint_is_the_last_level_of_the_topic() {
        for (topic, from) in [
            ("/rtcomm/sphere/iggy_pop", Some("iggy_pop")),
            ("/rtcomm/sphere/agents/night/Danko Jones", Some("Danko Jones")),
            ("/rtcomm/sphere/", None),
            ("/rtcomm/sphere/agents/", None),
            ("/rtcomm/sphere", None),
            ("/rtcomm/spheres/iggy_pop", None),
        ] {
            assert_eq!(decode(topic, "").ok().map(|presence| presence.from), from, "{topic}");
        }
    }

    #[test]
    fn a_document_is_present_and_an_empty_payload_is_gone() {
        let topic = "/rtcomm/sphere/agents/iggy_pop";
        let present = decode(topic, r#"{"method":"DOCUMENT","state":"busy"}"#).expect("a document");
        let state = present.document.and_then(|document| document.state);
        assert_eq!((present.action(), state.map(Field::text).as_deref()), ("present", Some("busy")));
        assert_eq!(decode(topic, "").expect("no document").action(), "gone");
    }

    #[test]
    fn the_error_says_why_a_message_is_not_a_document() {
        let topic = "/rtcomm/sphere/iggy_pop";
        for (topic, payload, error) in [
            ("/rtcomm/sphere/", "[]", "topic has no endpoint below the sphere"),
            (topic, "[]", "payload is JSON but not an object"),
            (topic, " ", "payload is not JSON: EOF while parsing a value at line 1 column 1"),
            (topic, "{}", "payload has no method; expected DOCUMENT"),
            (topic, r#"{"method":"REFER"}"#, r#"method is "REFER", not DOCUMENT"#),
        ] {
            assert_eq!(decode(topic, payload).expect_err(payload).to_string(), error);
        }
    }
}
