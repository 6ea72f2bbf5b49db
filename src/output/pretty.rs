//! One line for people: columns that line up, nothing cut off, nothing that a terminal would obey.
//!
//! `TIME  KIND  STATE  PARTIES  APPLICATION  DETAIL`, where an event's kind is its category and its state its action.
//! The line is the same on a terminal and in a pipe, but for colour. Cells are padded to a width that fits usual values;
//! a longer value pushes the rest of its line.

use std::borrow::Cow;

use colored::{Color, Colorize as _};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr as _;
use uuid::Uuid;

use super::escape::escaped;
use crate::protocol::event::Event;
use crate::protocol::fields::{Field, Fields};
use crate::protocol::record::{Change, Content, Payload, Record, Status};
use crate::protocol::topic::{Action, Category, Root};
use crate::protocol::{call, presence};

/// How wide each column is at least, in terminal cells; the last one is not padded.
const WIDTHS: [usize; 5] = [23, 12, 9, 36, 16];

/// What a cell shows where there is nothing to show.
const NOTHING: &str = "-";

/// Prints records for people.
#[derive(Debug)]
pub(crate) struct Pretty {
    color: bool,
    zone: TimeZone,
    sphere: Root,
}

/// The cells of a line, from left to right after the time.
struct Row<'a> {
    kind: Cow<'a, str>,
    state: Cow<'a, str>,
    tone: Tone,
    parties: Cow<'a, str>,
    context: Cow<'a, str>,
    detail: Cow<'a, str>,
}

/// What a row's state is like; decides its colour.
#[derive(Clone, Copy)]
enum Tone {
    Good,
    Change,
    End,
    Bad,
    Plain,
}

impl Pretty {
    /// Prints times in the operator's zone. Documents below `sphere` are shown as presence.
    pub(crate) fn new(color: bool, sphere: Root) -> Self {
        // The decision is ours, not made from the environment a second time.
        colored::control::set_override(true);
        Self { color, zone: TimeZone::system(), sphere }
    }

    /// Appends a record's line, its line end included.
    pub(crate) fn record(&self, record: &Record<'_>, out: &mut Vec<u8>) {
        let mut row = match &record.content {
            Content::Event(event) => event_row(event),
            Content::Malformed(error) => malformed_row(error, record),
            Content::Other => self.other_row(record),
        };
        if record.retain {
            row.detail.to_mut().push_str(" (retained)");
        }
        self.line(record.received, &row, out);
    }

    /// Appends the line of what became of the connection, its line end included.
    pub(crate) fn status(&self, status: &Status<'_>, out: &mut Vec<u8>) {
        self.line(status.received, &status_row(status), out);
    }

    fn line(&self, received: Timestamp, row: &Row<'_>, out: &mut Vec<u8>) {
        let time = received.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string();
        let cells =
            [Cow::Owned(time), escaped(&row.kind), escaped(&row.state), escaped(&row.parties), escaped(&row.context)];
        for (column, (cell, width)) in cells.iter().zip(WIDTHS).enumerate() {
            let padding = width.saturating_sub(cell.width()) + 2;
            let cell = match column {
                0 => self.painted(cell, Color::BrightBlack),
                2 => self.toned(cell, row.tone),
                _ => Cow::Borrowed(&**cell),
            };
            out.extend_from_slice(cell.as_bytes());
            out.extend(std::iter::repeat_n(b' ', padding));
        }
        out.extend_from_slice(escaped(&row.detail).as_bytes());
        out.push(b'\n');
    }

    fn painted<'a>(&self, cell: &'a str, color: Color) -> Cow<'a, str> {
        if self.color { cell.color(color).to_string().into() } else { cell.into() }
    }

    fn toned<'a>(&self, cell: &'a str, tone: Tone) -> Cow<'a, str> {
        match tone {
            Tone::Good => self.painted(cell, Color::Green),
            Tone::Change => self.painted(cell, Color::Yellow),
            Tone::End => self.painted(cell, Color::Cyan),
            Tone::Bad => self.painted(cell, Color::Red),
            Tone::Plain => cell.into(),
        }
    }

    /// A message from elsewhere: what the protocol knows of it, else its topic and payload.
    fn other_row<'a>(&self, record: &Record<'a>) -> Row<'a> {
        let below_sphere = self.sphere.strip(record.topic).is_some();
        let fields = match record.payload {
            Payload::Json(json) => Fields::read_text(json).unwrap_or_default(),
            Payload::Text("") if below_sphere => return gone_row(record.topic),
            Payload::Text(_) | Payload::Binary(_) => Fields::default(),
        };
        match fields.method.map(Field::text).as_deref() {
            Some(call::METHOD) => request_row(&fields),
            Some(call::RESPONSE) => reply_row(record.topic, &fields),
            Some(presence::METHOD) => presence_row(record.topic, &fields),
            _ => Row {
                kind: "message".into(),
                state: NOTHING.into(),
                tone: Tone::Plain,
                parties: record.topic.into(),
                context: shown(fields.app_context),
                detail: payload_text(record),
            },
        }
    }
}

fn event_row<'a>(event: &Event<'a>) -> Row<'a> {
    let Event { topic, fields } = event;
    let parties = match topic.to() {
        Some(to) => format!("{} → {to}", topic.from).into(),
        None => topic.from.into(),
    };
    let subject = match topic.category() {
        Category::Registration => shown(fields.reg_topic),
        Category::Session => short_id(fields.sig_sess_id),
    };
    Row {
        kind: topic.category().as_str().into(),
        state: topic.action.as_str().into(),
        tone: match topic.action {
            Action::Started => Tone::Good,
            Action::Modified => Tone::Change,
            Action::Stopped => Tone::End,
            Action::Failed => Tone::Bad,
        },
        parties,
        context: shown(fields.app_context),
        detail: text_of(fields.reason).unwrap_or(subject),
    }
}

fn status_row<'a>(status: &'a Status<'_>) -> Row<'a> {
    let span = match status.change {
        Change::Gap { from, until } => format!("{from:.3} to {until:.3}").into(),
        Change::Connected | Change::Disconnected | Change::Ready => NOTHING.into(),
    };
    Row {
        kind: "connection".into(),
        state: status.change.as_str().into(),
        tone: match status.change {
            Change::Connected | Change::Ready => Tone::Good,
            Change::Disconnected | Change::Gap { .. } => Tone::Bad,
        },
        parties: span,
        context: NOTHING.into(),
        detail: status.reason.as_deref().unwrap_or(NOTHING).into(),
    }
}

fn malformed_row<'a>(error: &'a str, record: &Record<'a>) -> Row<'a> {
    Row {
        kind: "malformed".into(),
        state: NOTHING.into(),
        tone: Tone::Bad,
        parties: record.topic.into(),
        context: NOTHING.into(),
        detail: format!("{error}: {}", payload_text(record)).into(),
    }
}

fn request_row<'a>(fields: &Fields<'a>) -> Row<'a> {
    let session = text_of(fields.session_id).map(|id| format!(", session {id}")).unwrap_or_default();
    Row {
        kind: "call".into(),
        state: "request".into(),
        tone: Tone::Change,
        parties: format!("{} → {}", shown(fields.caller), shown(fields.callee)).into(),
        context: shown(fields.app_context),
        detail: format!("{}, reply to {}{session}", short_id(fields.trans_id), shown(fields.from_topic)).into(),
    }
}

fn reply_row<'a>(topic: &'a str, fields: &Fields<'a>) -> Row<'a> {
    let result = shown(fields.result);
    let reason = text_of(fields.reason).map(|reason| format!(", {reason}")).unwrap_or_default();
    Row {
        kind: "reply".into(),
        tone: if result == "SUCCESS" { Tone::Good } else { Tone::Bad },
        state: result,
        parties: NOTHING.into(),
        context: shown(fields.app_context),
        detail: format!("{} {}{reason}, on {topic}", shown(fields.orig), short_id(fields.trans_id)).into(),
    }
}

fn presence_row<'a>(topic: &'a str, fields: &Fields<'a>) -> Row<'a> {
    let alias = text_of(fields.alias).map(|alias| format!("{alias}, ")).unwrap_or_default();
    Row {
        kind: "presence".into(),
        state: shown(fields.state),
        tone: Tone::Good,
        parties: last_level(topic).into(),
        context: shown(fields.app_context),
        detail: format!("{alias}{}", shown(fields.address_topic)).into(),
    }
}

fn gone_row(topic: &str) -> Row<'_> {
    Row {
        kind: "presence".into(),
        state: "gone".into(),
        tone: Tone::End,
        parties: last_level(topic).into(),
        context: NOTHING.into(),
        detail: NOTHING.into(),
    }
}

fn last_level(topic: &str) -> &str {
    topic.rsplit('/').next().unwrap_or(topic)
}

/// A field's text, where it has any.
fn text_of(field: Option<Field<'_>>) -> Option<Cow<'_, str>> {
    field.map(Field::text).filter(|text| !text.is_empty())
}

fn shown(field: Option<Field<'_>>) -> Cow<'_, str> {
    text_of(field).unwrap_or(NOTHING.into())
}

/// An ID's text: of a UUID the first group, enough to tell a few apart; anything else whole.
fn short_id(field: Option<Field<'_>>) -> Cow<'_, str> {
    let id = shown(field);
    if Uuid::try_parse(&id).is_ok_and(|_| id.len() == 36) { id[..8].to_owned().into() } else { id }
}

/// The payload as text: JSON as it came, other text quoted, bytes counted and quoted with escapes.
fn payload_text<'a>(record: &Record<'a>) -> Cow<'a, str> {
    match record.payload {
        Payload::Json(json) if json.contains(['\n', '\r']) => json.trim_ascii().replace(['\n', '\r'], " ").into(),
        Payload::Json(json) => json.trim_ascii().into(),
        Payload::Text("") => "(empty)".into(),
        Payload::Text(text) => format!("\"{text}\"").into(),
        Payload::Binary(bytes) => format!("{} bytes \"{}\"", bytes.len(), bytes.escape_ascii()).into(),
    }
}
