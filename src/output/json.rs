//! JSON lines: one object per line, UTF-8, without color, the same on a terminal and in a pipe.
//!
//! The lines of records are written and read by [`protocol::record`](crate::protocol::record). The result of a call is a
//! line too:
//!
//! ```json
//! {"outcome":"success","caller":"a","callee":"b","transID":"…","sessionID":"…","elapsed_ms":12.3,"response":{}}
//! ```
//!
//! `outcome` is `success`, `failure`, `timeout`, `no_responder`, `denied`, `unreachable` or `unknown`; all but `success`
//! have a `reason`, except a `failure` without one. `sessionID` is present if the request has one, and `response` (the
//! reply's own bytes) if there was a reply. A line of a batch that is not a request gives
//! `{"outcome":"invalid","reason":"…","line":7}`.

use std::fmt::Display;

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::protocol::call::{CallResult, INVALID, Outcome};
use crate::protocol::record::{ConnectionStatus, Record};

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
    #[serde(rename = "transID")]
    trans_id: Uuid,
    #[serde(rename = "sessionID", skip_serializing_if = "Option::is_none")]
    session_id: Option<Uuid>,
    elapsed_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a RawValue>,
}

/// Returns the line of a call's result, including the line end.
pub(crate) fn call_result(result: &CallResult<impl Display>) -> String {
    let CallResult { request, outcome, elapsed } = result;
    let response = match outcome {
        Outcome::Answered { response, .. } => Some(response.replace(['\n', '\r'], " ")),
        Outcome::Unanswered(..) => None,
    };
    let line = CallLine {
        outcome: outcome.name(),
        reason: outcome.reason(),
        caller: request.caller.as_str(),
        callee: request.callee.as_str(),
        trans_id: request.trans_id,
        session_id: request.session_id,
        elapsed_ms: (elapsed.as_secs_f64() * 10_000.0).round() / 10.0,
        response: response.as_deref().and_then(|json| serde_json::from_str(json).ok()),
    };
    serde_json::to_string(&line).expect("text and numbers always serialize") + "\n"
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
