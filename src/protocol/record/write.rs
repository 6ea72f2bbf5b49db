//! Writes records, connection changes and absences as JSON lines.
//!
//! Lines are built by hand, without serde: the keys are constant, most strings need no escapes, and payloads are copied as
//! they are.

use std::io::{self, Write};

use base64::engine::general_purpose::STANDARD as BASE64;
use base64::write::EncoderWriter;
use jiff::Timestamp;

use super::absence::ABSENT;
use super::{Absence, ConnectionChange, ConnectionStatus, Content, Payload, Record};
use crate::protocol::event::Event;
use crate::protocol::presence::CATEGORY as PRESENCE;
use crate::protocol::{scan, timestamp};

impl Record<'_> {
    /// Appends the record as a JSON line, including the line end.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        self.write_line_to(out).expect("writing to a Vec never fails");
    }

    /// Writes the record as a JSON line, including the line end. A payload that needs no changes is one write of all its
    /// bytes.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write_line_to(&self, out: &mut impl Write) -> io::Result<()> {
        write_time(out, "{\"received\":", self.received)?;
        match &self.content {
            Content::Event(Event { topic, .. }) => {
                write_category(out, topic.category().as_str(), topic.action.as_str())?;
                write_string(out, ",\"from\":", topic.from)?;
                if let Some(to) = topic.to() {
                    write_string(out, ",\"to\":", to)?;
                }
            }
            Content::Presence(presence) => {
                write_category(out, PRESENCE, presence.action())?;
                write_string(out, ",\"from\":", presence.from)?;
            }
            Content::Malformed(error) => write_string(out, ",\"error\":", error)?,
            Content::Other => {}
        }
        write_string(out, ",\"topic\":", self.topic)?;
        out.write_all(b",\"qos\":")?;
        out.write_all(&[b'0' + self.qos])?;
        out.write_all(if self.retain { b",\"retain\":true" } else { b",\"retain\":false" })?;
        match self.payload {
            Payload::Json(json) => {
                out.write_all(b",\"payload\":")?;
                write_on_one_line(out, json.as_bytes())?;
            }
            Payload::Text(content) => write_string(out, ",\"payload_text\":", content)?,
            Payload::Binary(bytes) => {
                out.write_all(b",\"payload_base64\":\"")?;
                EncoderWriter::new(&mut *out, &BASE64).write_all(bytes)?;
                out.write_all(b"\"")?;
            }
            Payload::Missing => {}
        }
        out.write_all(b"}\n")
    }
}

impl ConnectionStatus<'_> {
    /// Appends the change as a JSON line, including the line end.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        self.write_line_to(out).expect("writing to a Vec never fails");
    }

    fn write_line_to(&self, out: &mut impl Write) -> io::Result<()> {
        write_time(out, "{\"received\":", self.received)?;
        write_string(out, ",\"status\":", self.change.as_str())?;
        if let ConnectionChange::Gap { from, until } = self.change {
            write_time(out, ",\"from\":", from)?;
            write_time(out, ",\"until\":", until)?;
        }
        if let Some(reason) = &self.reason {
            write_string(out, ",\"reason\":", reason)?;
        }
        out.write_all(b"}\n")
    }
}

impl Absence<'_> {
    /// Appends the absence as a JSON line, including the line end.
    pub fn write_line(&self, out: &mut Vec<u8>) {
        self.write_line_to(out).expect("writing to a Vec never fails");
    }

    fn write_line_to(&self, out: &mut impl Write) -> io::Result<()> {
        write_time(out, "{\"received\":", self.received)?;
        write_string(out, ",\"status\":", ABSENT)?;
        write_string(out, ",\"from\":", &self.from)?;
        out.write_all(b"}\n")
    }
}

fn write_category(out: &mut impl Write, category: &str, action: &str) -> io::Result<()> {
    for piece in [",\"category\":\"", category, "\",\"action\":\"", action, "\""] {
        out.write_all(piece.as_bytes())?;
    }
    Ok(())
}

/// Writes JSON, with line ends replaced by spaces.
fn write_on_one_line(out: &mut impl Write, json: &[u8]) -> io::Result<()> {
    let mut rest = json;
    while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
        out.write_all(&rest[..end])?;
        out.write_all(b" ")?;
        rest = &rest[end + 1..];
    }
    out.write_all(rest)
}

/// Writes `key`, which is JSON already, and a time.
fn write_time(out: &mut impl Write, key: &str, at: Timestamp) -> io::Result<()> {
    out.write_all(key.as_bytes())?;
    out.write_all(b"\"")?;
    timestamp::write(out, at)?;
    out.write_all(b"\"")
}

/// Writes `key`, which is JSON already, and a string.
pub(in crate::protocol) fn write_string(out: &mut impl Write, key: &str, content: &str) -> io::Result<()> {
    out.write_all(key.as_bytes())?;
    if scan::unescaped_len(content.as_bytes()) == content.len() {
        out.write_all(b"\"")?;
        out.write_all(content.as_bytes())?;
        out.write_all(b"\"")
    } else {
        serde_json::to_writer(out, content).map_err(io::Error::from)
    }
}
