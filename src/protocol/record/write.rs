//! Writes records and connection changes as JSON lines.
//!
//! Lines are built by hand, without serde: the keys are constant, most strings need no escapes, and payloads are copied.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;

use super::{ConnectionChange, ConnectionStatus, Content, Payload, Record};
use crate::protocol::event::Event;
use crate::protocol::{scan, timestamp};

impl Record<'_> {
    /// Appends the record as a JSON line, including the line end.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        push_time(out, "{\"received\":", self.received);
        match &self.content {
            Content::Event(Event { topic, .. }) => {
                for piece in
                    [",\"category\":\"", topic.category().as_str(), "\",\"action\":\"", topic.action.as_str(), "\""]
                {
                    out.extend_from_slice(piece.as_bytes());
                }
                push_string(out, ",\"from\":", topic.from);
                if let Some(to) = topic.to() {
                    push_string(out, ",\"to\":", to);
                }
            }
            Content::Malformed(error) => push_string(out, ",\"error\":", error),
            Content::Other => {}
        }
        push_string(out, ",\"topic\":", self.topic);
        out.extend_from_slice(b",\"qos\":");
        out.push(b'0' + self.qos);
        out.extend_from_slice(if self.retain { b",\"retain\":true" } else { b",\"retain\":false" });
        match self.payload {
            Payload::Json(json) => {
                out.extend_from_slice(b",\"payload\":");
                push_on_one_line(out, json.as_bytes());
            }
            Payload::Text(content) => push_string(out, ",\"payload_text\":", content),
            Payload::Binary(bytes) => push_string(out, ",\"payload_base64\":", &BASE64.encode(bytes)),
            Payload::Missing => {}
        }
        out.extend_from_slice(b"}\n");
    }
}

impl ConnectionStatus<'_> {
    /// Appends the change as a JSON line, including the line end.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        push_time(out, "{\"received\":", self.received);
        push_string(out, ",\"status\":", self.change.as_str());
        if let ConnectionChange::Gap { from, until } = self.change {
            push_time(out, ",\"from\":", from);
            push_time(out, ",\"until\":", until);
        }
        if let Some(reason) = &self.reason {
            push_string(out, ",\"reason\":", reason);
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Appends JSON, with line ends replaced by spaces.
fn push_on_one_line(out: &mut Vec<u8>, json: &[u8]) {
    let mut rest = json;
    while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
        out.extend_from_slice(&rest[..end]);
        out.push(b' ');
        rest = &rest[end + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends `key`, which is JSON already, and a time.
fn push_time(out: &mut Vec<u8>, key: &str, at: Timestamp) {
    out.extend_from_slice(key.as_bytes());
    out.push(b'"');
    timestamp::write(out, at);
    out.push(b'"');
}

/// Appends `key`, which is JSON already, and a string.
fn push_string(out: &mut Vec<u8>, key: &str, content: &str) {
    out.extend_from_slice(key.as_bytes());
    if scan::unescaped_len(content.as_bytes()) == content.len() {
        out.push(b'"');
        out.extend_from_slice(content.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, content).expect("writing to a Vec never fails");
    }
}
