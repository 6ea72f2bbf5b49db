//! Third-party call control (3PCC): a client asks a server to connect two endpoints (protocol, section 4).
//!
//! A request goes to the service's topic and names the topic where it wants its answer. Whether something that arrives
//! there is the answer is decided here ([`Request::reply`]); waiting for it is not.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use super::VERSION;
use super::fields::{Field, Fields, FieldsError};
use super::topic::{EndpointId, TopicName};

/// The `method` of a request, and the `orig` of its answer.
pub const METHOD: &str = "3PCC_PLACE_CALL";

/// The `method` of an answer.
pub const RESPONSE: &str = "RESPONSE";

/// The request to connect two endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// This transaction's ID.
    pub trans_id: Uuid,
    /// The endpoint that is to place the call.
    pub caller: EndpointId,
    /// The endpoint that is to be called.
    pub callee: EndpointId,
    /// Where the answer is to be published.
    pub from_topic: TopicName,
    /// The ID that the resulting session is to have.
    pub session_id: Option<Uuid>,
    /// The application whose registrations are meant.
    pub app_context: Option<String>,
}

/// A request as it stands in a payload.
#[derive(Serialize)]
struct Wire<'a> {
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

/// What the service answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The call is placed.
    Success,
    /// It is not; with the service's reason where it gave one.
    Failure(Option<Cow<'a, str>>),
    /// A `result` that the protocol does not know, as it came (missing: empty). No success.
    Other(Cow<'a, str>),
}

/// Why a message on the reply topic is not this request's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotOurs {
    /// It was retained: an answer to somebody's earlier request.
    Retained,
    /// It is no message of the protocol.
    Payload(FieldsError),
    /// Its `method` is not `RESPONSE`.
    Method,
    /// It answers another method.
    Orig,
    /// It answers another transaction.
    TransId,
}

impl fmt::Display for NotOurs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retained => f.write_str("it was retained, so it answers an earlier request"),
            Self::Payload(error) => error.fmt(f),
            Self::Method => write!(f, "method is not {RESPONSE}"),
            Self::Orig => write!(f, "orig is not {METHOD}"),
            Self::TransId => f.write_str("transID is another transaction's"),
        }
    }
}

impl std::error::Error for NotOurs {}

impl Request {
    /// The payload to publish: one JSON object, keys in the order of the protocol's table.
    #[must_use]
    pub fn payload(&self) -> String {
        let wire = Wire {
            method: METHOD,
            version: VERSION,
            trans_id: self.trans_id,
            caller: self.caller.as_str(),
            callee: self.callee.as_str(),
            from_topic: self.from_topic.as_str(),
            session_id: self.session_id,
            app_context: self.app_context.as_deref(),
        };
        serde_json::to_string(&wire).expect("text and UUIDs always serialize")
    }

    /// Reads a message from the reply topic.
    ///
    /// # Errors
    /// Where it is not this request's answer: says what is another's.
    pub fn reply<'a>(&self, payload: &'a [u8], retained: bool) -> Result<Answer<'a>, NotOurs> {
        if retained {
            return Err(NotOurs::Retained);
        }
        let fields = Fields::read(payload).map_err(NotOurs::Payload)?;
        let is = |field: Option<Field<'_>>, text: &str| field.is_some_and(|it| it.is(text));
        if !is(fields.method, RESPONSE) {
            Err(NotOurs::Method)
        } else if !is(fields.orig, METHOD) {
            Err(NotOurs::Orig)
        } else if !fields.trans_id.is_some_and(|it| is_same_id(it, &self.trans_id.to_string())) {
            Err(NotOurs::TransId)
        } else {
            Ok(Answer::from_fields(&fields))
        }
    }
}

/// Whether an ID that came back is the one that was sent, as text or as number.
fn is_same_id(came: Field<'_>, sent: &str) -> bool {
    came.is(sent)
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

    fn reply(payload: &str) -> Result<Answer<'_>, NotOurs> {
        request().reply(payload.as_bytes(), false)
    }

    const ID: &str = "00000000-0000-0000-0000-000000000007";

    #[test]
    fn a_request_is_written_in_the_tables_order() {
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
    fn answers_are_read() {
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
    fn what_is_not_ours_says_why() {
        for (payload, error) in [
            ("pong", None),
            (r#"{"method":"3PCC_PLACE_CALL"}"#, Some(NotOurs::Method)),
            (r#"{"method":"RESPONSE","orig":"SERVICE_QUERY"}"#, Some(NotOurs::Orig)),
            (r#"{"method":"RESPONSE","orig":"3PCC_PLACE_CALL","transID":"x"}"#, Some(NotOurs::TransId)),
            (r#"{"method":"RESPONSE","orig":"3PCC_PLACE_CALL"}"#, Some(NotOurs::TransId)),
        ] {
            let came = reply(payload).expect_err(payload);
            match error {
                Some(error) => assert_eq!(came, error),
                None => assert!(matches!(came, NotOurs::Payload(_)), "{came}"),
            }
        }
        let ours = format!(r#"{{"method":"RESPONSE","orig":"3PCC_PLACE_CALL","transID":"{ID}","result":"SUCCESS"}}"#);
        assert_eq!(request().reply(ours.as_bytes(), true), Err(NotOurs::Retained));
    }

    #[test]
    fn an_id_may_come_back_as_text_or_as_number() {
        let number = Fields::read(br#"{"transID":100}"#).expect("an object").trans_id.expect("an ID");
        let text = Fields::read(br#"{"transID":"100"}"#).expect("an object").trans_id.expect("an ID");
        assert!(is_same_id(number, "100") && is_same_id(text, "100") && !is_same_id(text, "1000"));
    }
}
