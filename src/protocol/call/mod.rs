//! Third-party call control (3PCC): a client asks a server to connect two endpoints (protocol, section 4).
//!
//! A request goes to the service's topic, and names the topic for the reply. [`Request::reply`] decides whether a message
//! on that topic is the reply. This module does not wait or send.
//!
//! | file | contents |
//! | --- | --- |
//! | `mod` | request and reply |
//! | `result` | the result of a call |

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use super::VERSION;
use super::fields::{Field, Fields, FieldsError};
use super::topic::{EndpointId, TopicName};

mod result;

pub use result::{CallResult, INVALID, NoReplyCause, Outcome, Verdict, WaitLimit};

/// The `method` of a request, and the `orig` of its reply.
pub const METHOD: &str = "3PCC_PLACE_CALL";

/// The `method` of a reply.
pub const RESPONSE: &str = "RESPONSE";

/// A request to connect two endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The ID of this transaction.
    pub trans_id: Uuid,
    /// The endpoint that places the call.
    pub caller: EndpointId,
    /// The endpoint that is called.
    pub callee: EndpointId,
    /// The topic for the reply.
    pub from_topic: TopicName,
    /// The requested ID of the new session.
    pub session_id: Option<Uuid>,
    /// The application that both endpoints must be registered for.
    pub app_context: Option<String>,
}

/// The payload of a request.
#[derive(Serialize)]
struct RequestPayload<'a> {
    method: &'static str,
    #[serde(rename = "rtcommVer")]
    version: &'static str,
    #[serde(rename = "transID")]
    trans_id: Uuid,
    #[serde(rename = "callerEndpoint")]
    caller: &'a str,
    #[serde(rename = "calleeEndpoint")]
    callee: &'a str,
    #[serde(rename = "fromTopic")]
    from_topic: &'a str,
    #[serde(rename = "sessionID", skip_serializing_if = "Option::is_none")]
    session_id: Option<Uuid>,
    #[serde(rename = "appContext", skip_serializing_if = "Option::is_none")]
    app_context: Option<&'a str>,
}

/// The service's answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The call is placed.
    Success,
    /// The call is not placed; with the service's reason, if it gave one.
    Failure(Option<Cow<'a, str>>),
    /// An unknown `result`, or an empty text if it is missing. Not a success.
    Other(Cow<'a, str>),
}

/// Why a message on the reply topic is not the reply to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyMismatch {
    /// It is retained: the reply to an earlier request.
    Retained,
    /// It is not a message of the protocol.
    Payload(FieldsError),
    /// Its `method` is not `RESPONSE`.
    Method,
    /// It replies to another method.
    Orig,
    /// It replies to another transaction.
    TransId,
}

impl fmt::Display for ReplyMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retained => f.write_str("it is retained, so it replies to an earlier request"),
            Self::Payload(error) => error.fmt(f),
            Self::Method => write!(f, "method is not {RESPONSE}"),
            Self::Orig => write!(f, "orig is not {METHOD}"),
            Self::TransId => f.write_str("transID belongs to another transaction"),
        }
    }
}

impl std::error::Error for ReplyMismatch {}

impl Request {
    /// Returns the payload: one JSON object, keys in the order of the protocol's table.
    #[must_use]
    pub fn payload(&self) -> String {
        let payload = RequestPayload {
            method: METHOD,
            version: VERSION,
            trans_id: self.trans_id,
            caller: self.caller.as_str(),
            callee: self.callee.as_str(),
            from_topic: self.from_topic.as_str(),
            session_id: self.session_id,
            app_context: self.app_context.as_deref(),
        };
        serde_json::to_string(&payload).expect("text and UUIDs always serialize")
    }

    /// Reads a message from the reply topic.
    ///
    /// # Errors
    /// If the message is not the reply to this request.
    pub fn reply<'a>(&self, payload: &'a [u8], retained: bool) -> Result<Answer<'a>, ReplyMismatch> {
        if retained {
            return Err(ReplyMismatch::Retained);
        }
        let fields = Fields::read(payload).map_err(ReplyMismatch::Payload)?;
        let is = |field: Option<Field<'_>>, text: &str| field.is_some_and(|it| it.is(text));
        if !is(fields.method, RESPONSE) {
            Err(ReplyMismatch::Method)
        } else if !is(fields.orig, METHOD) {
            Err(ReplyMismatch::Orig)
        } else if !is(fields.trans_id, &self.trans_id.to_string()) {
            Err(ReplyMismatch::TransId)
        } else {
            Ok(Answer::from_fields(&fields))
        }
    }
}

impl<'a> Answer<'a> {
    /// Reads `result` and `reason`.
    #[must_use]
    pub fn from_fields(fields: &Fields<'a>) -> Self {
        match fields.result.map(Field::text).unwrap_or_default() {
            result if result == "SUCCESS" => Self::Success,
            result if result == "FAILURE" => Self::Failure(fields.reason.map(Field::text)),
            result => Self::Other(result),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            trans_id: Uuid::from_u128(7),
            caller: "iggy_pop".parse().expect("an endpoint ID"),
            callee: "david_bowie".parse().expect("an endpoint ID"),
            from_topic: "/rtcomm/reply/x".parse().expect("a topic"),
            session_id: None,
            app_context: None,
        }
    }

    fn reply(payload: &str) -> Result<Answer<'_>, ReplyMismatch> {
        request().reply(payload.as_bytes(), false)
    }

    const ID: &str = "00000000-0000-0000-0000-000000000007";

    #[test]
    fn a_request_has_the_keys_of_the_protocol_in_order() {
        let optional =
            Request { session_id: Some(Uuid::from_u128(9)), app_context: Some("a \"b\"".into()), ..request() };
        assert_eq!(
            request().payload(),
            r#"{"method":"3PCC_PLACE_CALL","rtcommVer":"v1.0.0","transID":"00000000-0000-0000-0000-000000000007","callerEndpoint":"iggy_pop","calleeEndpoint":"david_bowie","fromTopic":"/rtcomm/reply/x"}"#
        );
        assert!(
            optional
                .payload()
                .ends_with(r#","sessionID":"00000000-0000-0000-0000-000000000009","appContext":"a \"b\""}"#)
        );
    }

    #[test]
    fn a_reply_is_read() {
        let head = format!(r#""method":"RESPONSE","orig":"3PCC_PLACE_CALL","transID":"{ID}""#);
        assert_eq!(reply(&format!(r#"{{{head},"result":"SUCCESS","x":1}}"#)), Ok(Answer::Success));
        assert_eq!(
            reply(&format!(r#"{{{head},"result":"FAILURE","reason":"b\u00fcsy"}}"#)),
            Ok(Answer::Failure(Some("büsy".into())))
        );
        assert_eq!(reply(&format!(r#"{{{head},"result":"FAILURE"}}"#)), Ok(Answer::Failure(None)));
        assert_eq!(reply(&format!(r#"{{{head},"result":"MAYBE"}}"#)), Ok(Answer::Other("MAYBE".into())));
        assert_eq!(reply(&format!("{{{head}}}")), Ok(Answer::Other("".into())));
    }

    #[test]
    fn the_error_says_why_a_message_is_not_the_reply() {
        for (payload, expected) in [
            ("pong", None),
            (r#"{"method":"3PCC_PLACE_CALL"}"#, Some(ReplyMismatch::Method)),
            (r#"{"method":"RESPONSE","orig":"SERVICE_QUERY"}"#, Some(ReplyMismatch::Orig)),
            (r#"{"method":"RESPONSE","orig":"3PCC_PLACE_CALL","transID":"x"}"#, Some(ReplyMismatch::TransId)),
            (r#"{"method":"RESPONSE","orig":"3PCC_PLACE_CALL"}"#, Some(ReplyMismatch::TransId)),
        ] {
            let error = reply(payload).expect_err(payload);
            match expected {
                Some(expected) => assert_eq!(error, expected),
                None => assert!(matches!(error, ReplyMismatch::Payload(_)), "{error}"),
            }
        }
        let ours = format!(r#"{{"method":"RESPONSE","orig":"3PCC_PLACE_CALL","transID":"{ID}","result":"SUCCESS"}}"#);
        assert_eq!(request().reply(ours.as_bytes(), true), Err(ReplyMismatch::Retained));
    }

    #[test]
    fn a_transaction_id_may_be_text_or_a_number() {
        let fields = |payload: &'static [u8]| Fields::read(payload).expect("an object").trans_id.expect("an ID");
        let (number, text) = (fields(br#"{"transID":100}"#), fields(br#"{"transID":"100"}"#));
        assert!(number.is("100") && text.is("100") && !text.is("1000"));
    }
}
