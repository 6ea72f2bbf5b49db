//! JSON lines: one object per line, UTF-8, without color, the same on a terminal and in a pipe.
//!
//! The lines of records are written and read by [`protocol::record`](crate::protocol::record). The result of a call is a
//! line too:
//!
//! ```json
//! {"outcome":"success","caller":"a","callee":"b","transID":"…","sessionID":"…","elapsed_ms":12.3,"response":{},"session":{}}
//! ```
//!
//! `outcome` is `success`, `failure`, `timeout`, `no_responder`, `denied`, `unreachable` or `unknown`; all but `success`
//! have a `reason`, except a `failure` without one. `appContext` and `sessionID` are present if the request has them,
//! `response` (the reply's own bytes) if there was a reply, and `session` (a call record) if the call was followed and its
//! session had events. A reply that some parsers reject, such as one with a lone surrogate, is
//! `response_text`. A line of a batch that is not a request gives `{"outcome":"invalid","reason":"…","line":7}`.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};

use memchr::memchr2;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::protocol::call::{CallResult, INVALID, Outcome, WaitLimit};
use crate::protocol::record::{CallRecord, ConnectionStatus, Payload, Record};

/// Appends a record.
pub(crate) fn record(record: &Record<'_>, out: &mut Vec<u8>) {
    record.write_line(out);
}

/// Appends a change of the connection.
pub(crate) fn status(status: &ConnectionStatus<'_>, out: &mut Vec<u8>) {
    status.write_line(out);
}

#[derive(Serialize)]
struct CallLine<'a> {
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    caller: &'a str,
    callee: &'a str,
    #[serde(rename = "appContext", skip_serializing_if = "Option::is_none")]
    app_context: Option<&'a str>,
    #[serde(rename = "transID")]
    trans_id: Uuid,
    #[serde(rename = "sessionID", skip_serializing_if = "Option::is_none")]
    session_id: Option<Uuid>,
    elapsed_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
}

/// Returns the line of a call's result, including the line end.
pub(crate) fn call_result(result: &CallResult<impl Display>) -> String {
    let mut line = Vec::new();
    write_call_result(result, &mut line).expect("writing to a Vec never fails");
    String::from_utf8(line).expect("JSON is UTF-8")
}

/// Writes the line of a call's result, including the line end. A large response is not copied.
///
/// # Errors
/// If `out` cannot be written to.
pub(crate) fn write_call_result(result: &CallResult<impl Display>, out: &mut impl Write) -> io::Result<()> {
    let CallResult { request, outcome, elapsed, session, limit } = result;
    let response = match outcome {
        Outcome::Answered { response, .. } if memchr2(b'\n', b'\r', response.as_bytes()).is_some() => {
            Some(Cow::Owned(response.replace(['\n', '\r'], " ")))
        }
        Outcome::Answered { response, .. } => Some(Cow::Borrowed(response.as_str())),
        Outcome::Unanswered(..) => None,
    };
    let (response, response_text) = match response.as_deref().map(|text| Payload::of(text.as_bytes())) {
        Some(Payload::Json(json)) => (serde_json::from_str(json).ok(), None),
        Some(Payload::Text(text)) => (None, Some(text)),
        Some(Payload::Binary(_) | Payload::Missing) | None => (None, None),
    };
    let line = CallLine {
        outcome: outcome.name(),
        reason: outcome.reason(),
        caller: request.caller.as_str(),
        callee: request.callee.as_str(),
        app_context: request.app_context.as_deref(),
        trans_id: request.trans_id,
        session_id: request.session_id,
        elapsed_ms: (elapsed.as_secs_f64() * 10_000.0).round() / 10.0,
        response,
        response_text,
        session: session.as_ref().and_then(call_record),
        limit: limit.map(WaitLimit::as_str),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

/// Returns a call record as a JSON object.
fn call_record(record: &CallRecord) -> Option<Box<RawValue>> {
    let mut line = Vec::new();
    record.write_line(&mut line);
    serde_json::from_slice(&line).ok()
}

/// Returns the output for a line of a batch that is not a request. `line` counts from 1.
pub(crate) fn invalid_request(line: u64, reason: &str) -> String {
    #[derive(Serialize)]
    struct InvalidLine<'a> {
        outcome: &'static str,
        reason: &'a str,
        line: u64,
    }
    let invalid = InvalidLine { outcome: INVALID, reason, line };
    serde_json::to_string(&invalid).expect("text and numbers always serialize") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::call::{Request, Verdict};
    use std::time::Duration;

    #[test]
    fn a_reply_that_some_parsers_reject_is_text() {
        let result = |response: &str| CallResult::<String> {
            request: Request {
                trans_id: Uuid::nil(),
                caller: "a".parse().expect("an endpoint"),
                callee: "b".parse().expect("an endpoint"),
                from_topic: "t".parse().expect("a topic"),
                session_id: None,
                app_context: None,
            },
            outcome: Outcome::Answered { verdict: Verdict::Success, response: response.to_owned() },
            elapsed: Duration::ZERO,
            session: None,
            limit: None,
        };
        let line = call_result(&result("{\"result\":\n\"SUCCESS\"}"));
        assert!(line.ends_with(",\"response\":{\"result\": \"SUCCESS\"}}\n"), "{line}");
        let line = call_result(&result(r#"{"x":"\ud83d"}"#));
        assert!(line.ends_with(",\"response_text\":\"{\\\"x\\\":\\\"\\\\ud83d\\\"}\"}\n"), "{line}");
    }
}
