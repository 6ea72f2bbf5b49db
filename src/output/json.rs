//! JSON lines: one object a line, UTF-8, never coloured, the same on a terminal and in a pipe.
//!
//! A record's line is `protocol::record`'s, which reads it again as well. The outcome of a call is a line of its own:
//!
//! ```json
//! {"outcome":"success","caller":"a","callee":"b","transID":"…","sessionID":"…","elapsed_ms":12.3,"response":{}}
//! ```
//!
//! `outcome` is `success`, `failure` (with `reason`), `timeout`, `no_responder`, `denied`, `unreachable` or `unknown`
//! (these with `reason` too: why). `sessionID` stands there where one was asked for, `response` (the service's own
//! bytes) where one came. A line of a batch that is no request gives `{"outcome":"invalid","reason":"…","line":7}`.

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::outcome::{Called, INVALID, Outcome};
use crate::protocol::record::{Record, Status};

/// Appends a record's line.
pub(crate) fn record(record: &Record<'_>, out: &mut Vec<u8>) {
    record.write_line(out);
}

/// Appends the line of what became of the connection.
pub(crate) fn status(status: &Status<'_>, out: &mut Vec<u8>) {
    status.write_line(out);
}

#[derive(Serialize)]
struct Line<'a> {
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

/// The line of a call's outcome, its line end included.
pub(crate) fn called(called: &Called) -> String {
    let Called { request, outcome, elapsed } = called;
    let response = match outcome {
        Outcome::Answered { response, .. } => Some(response.replace(['\n', '\r'], " ")),
        Outcome::Unanswered(..) => None,
    };
    let line = Line {
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

/// The line for a line of a batch that is no request: which it is, from 1, and why.
pub(crate) fn invalid(line: u64, reason: &str) -> String {
    #[derive(Serialize)]
    struct Invalid<'a> {
        outcome: &'static str,
        reason: &'a str,
        line: u64,
    }
    let invalid = Invalid { outcome: INVALID, reason, line };
    serde_json::to_string(&invalid).expect("text and numbers always serialize") + "\n"
}
