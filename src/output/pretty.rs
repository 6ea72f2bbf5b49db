//! Pretty output: one line per record, for people.
//!
//! An event's kind is its category, and its state is its action. In a pipe, lines are full and in aligned columns; on a
//! terminal they fit its width. Text from the network is escaped, and credentials in URLs are masked.
//!
//! | file | contents |
//! | --- | --- |
//! | `row` | the cells of a line |
//! | `fixed` | the layout in a pipe |
//! | `fitted`, `shortening` | the layout on a terminal |
//! | `call_record` | call records and their summary |
//! | `presence` | presence documents and absences |

use std::borrow::Cow;
use std::fmt::Display;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::clock::Clock;
use super::color::{Palette, Style, painted};
use super::escape::escaped;
use super::{EMPTY_CELL, whole_millis};
use crate::protocol::call::{self, CallResult, Outcome, Verdict};
use crate::protocol::event::Event;
use crate::protocol::fields::{Field, Fields};
use crate::protocol::presence::METHOD as DOCUMENT;
use crate::protocol::record::{ConnectionChange, ConnectionStatus, Content, Payload, Record};
use crate::protocol::topic::{Action, Category, Root};

pub(super) mod call_record;
mod fitted;
mod fixed;
mod presence;
mod row;
mod shortening;

use fitted::Fitted;
use row::{Brief, Detail, Kind, LineTime, Parties, Row};

/// Where lines are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Medium {
    /// In a pipe or a file.
    Pipe,
    /// On a terminal, with a function that returns its width in columns.
    Terminal(fn() -> usize),
}

/// Formats records for people.
#[derive(Debug)]
pub(crate) struct Pretty {
    /// The colors of times and states, `None` for lines without color.
    palette: Option<Box<Palette>>,
    clock: Clock,
    sphere: Root,
    /// The layout on a terminal.
    fitted: Option<Fitted>,
}

impl Pretty {
    /// Formats times in the local zone. Documents below `sphere` are shown as presence.
    pub(crate) fn new(medium: Medium, color: bool, sphere: Root) -> Self {
        let fitted = match medium {
            Medium::Pipe => None,
            Medium::Terminal(columns) => Some(Fitted::new(columns)),
        };
        Self { palette: color.then(|| Box::new(Palette::new())), clock: Clock::new(TimeZone::system()), sphere, fitted }
    }

    /// Appends a record as a line, including the line end.
    pub(crate) fn record(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        let mut row = match &record.content {
            Content::Event(event) => event_row(event),
            Content::Presence(presence) => self.presence_row(record.topic, presence),
            Content::Malformed(error) => malformed_row(error, record),
            Content::Other => self.other_row(record),
        };
        if record.retain {
            row.detail.note = presence::retained_note(&record.content);
        }
        self.line(record.received, &row, out);
    }

    /// Appends a change of the connection as a line, including the line end.
    pub(crate) fn status(&mut self, status: &ConnectionStatus<'_>, out: &mut Vec<u8>) {
        self.line(status.received, &status_row(status), out);
    }

    fn line(&mut self, received: Timestamp, row: &Row<'_>, out: &mut Vec<u8>) {
        self.write(LineTime::At(received), row, out);
    }

    fn write(&mut self, time: LineTime<'_>, row: &Row<'_>, out: &mut Vec<u8>) {
        let Self { palette, clock, fitted, .. } = self;
        match fitted {
            None => fixed::write(palette.as_deref(), clock, time, row, out),
            Some(fitted) => fitted.write(palette.as_deref(), clock, time, row, out),
        }
    }

    /// Returns the row of a message that is not an event: a call, a reply, presence, or topic and payload.
    fn other_row<'a>(&self, record: &Record<'a>) -> Row<'a> {
        let below_sphere = self.sphere.strip(record.topic).is_some();
        let fields = match record.payload {
            Payload::Json(json) => Fields::read_text(json).unwrap_or_default(),
            Payload::Text("") if below_sphere => return presence::row(last_level(record.topic), None),
            Payload::Text(_) | Payload::Binary(_) | Payload::Missing => Fields::default(),
        };
        match fields.method.map(Field::text).as_deref() {
            Some(call::METHOD) => request_row(&fields),
            Some(call::RESPONSE) => reply_row(record.topic, &fields),
            Some(DOCUMENT) => presence::row(last_level(record.topic), Some(&fields)),
            _ => Row {
                kind: Kind::Message,
                state: EMPTY_CELL.into(),
                style: Style::Plain,
                parties: record.topic.into(),
                context: fields.app_context.and_then(Field::non_empty_text),
                detail: payload_text(record).into(),
            },
        }
    }
}

fn event_row<'a>(event: &Event<'a>) -> Row<'a> {
    let Event { topic, fields } = event;
    let parties = match topic.to() {
        Some(to) => Parties::FromTo(topic.from.into(), to.into()),
        None => topic.from.into(),
    };
    let reason = fields.reason.and_then(Field::non_empty_text);
    let detail = match topic.category() {
        Category::Registration => registration_detail(reason, fields.reg_topic.and_then(Field::non_empty_text)),
        Category::Session => Detail {
            text: reason,
            id: fields.sig_sess_id.and_then(Field::non_empty_text).map(short_id),
            ..Detail::default()
        },
    };
    Row {
        kind: topic.category().into(),
        state: topic.action.as_str().into(),
        style: match topic.action {
            Action::Started => Style::Success,
            Action::Modified => Style::Change,
            Action::Stopped => Style::End,
            Action::Failed => Style::Failure,
        },
        parties,
        context: fields.app_context.and_then(Field::non_empty_text),
        detail,
    }
}

/// Returns the reason, or the registered topic, of which the last level is enough.
fn registration_detail<'a>(reason: Option<Cow<'a, str>>, topic: Option<Cow<'a, str>>) -> Detail<'a> {
    let brief = match (&reason, &topic) {
        (None, Some(Cow::Borrowed(topic))) => Some(Brief { text: Some(last_level(topic).into()), id: None }),
        _ => None,
    };
    Detail { text: reason.or(topic), brief, ..Detail::default() }
}

fn status_row<'a>(status: &'a ConnectionStatus<'_>) -> Row<'a> {
    Row {
        kind: Kind::Connection,
        state: status.change.as_str().into(),
        style: match status.change {
            ConnectionChange::Connected | ConnectionChange::Ready | ConnectionChange::Settled => Style::Success,
            ConnectionChange::Disconnected | ConnectionChange::Gap { .. } => Style::Failure,
        },
        parties: match status.change {
            ConnectionChange::Gap { from, until } => Parties::Period(from, until),
            ConnectionChange::Connected
            | ConnectionChange::Disconnected
            | ConnectionChange::Ready
            | ConnectionChange::Settled => EMPTY_CELL.into(),
        },
        context: None,
        detail: status.reason.as_deref().map(Detail::from).unwrap_or_default(),
    }
}

fn malformed_row<'a>(error: &'a str, record: &Record<'a>) -> Row<'a> {
    Row {
        kind: Kind::Malformed,
        state: EMPTY_CELL.into(),
        style: Style::Failure,
        parties: record.topic.into(),
        context: None,
        detail: Detail {
            text: Some(format!("{error}: {}", payload_text(record)).into()),
            brief: Some(Brief { text: Some(error.into()), id: None }),
            ..Detail::default()
        },
    }
}

fn request_row<'a>(fields: &Fields<'a>) -> Row<'a> {
    let trans_id = fields.trans_id.and_then(Field::non_empty_text).map(short_id);
    let session =
        fields.session_id.and_then(Field::non_empty_text).map(|id| format!(", session {id}")).unwrap_or_default();
    let id = trans_id.as_deref().unwrap_or(EMPTY_CELL);
    Row {
        kind: Kind::Call,
        state: "request".into(),
        style: Style::Change,
        parties: Parties::FromTo(text_or_dash(fields.caller), text_or_dash(fields.callee)),
        context: fields.app_context.and_then(Field::non_empty_text),
        detail: Detail {
            text: Some(format!("{id}, reply to {}{session}", text_or_dash(fields.from_topic)).into()),
            brief: Some(Brief { text: None, id: trans_id }),
            ..Detail::default()
        },
    }
}

fn reply_row<'a>(topic: &'a str, fields: &Fields<'a>) -> Row<'a> {
    let result = text_or_dash(fields.result);
    let trans_id = fields.trans_id.and_then(Field::non_empty_text).map(short_id);
    let id = trans_id.as_deref().unwrap_or(EMPTY_CELL);
    let reason = fields.reason.and_then(Field::non_empty_text);
    let comma = if reason.is_some() { ", " } else { "" };
    let text =
        format!("{} {id}{comma}{}, on {topic}", text_or_dash(fields.orig), reason.as_deref().unwrap_or_default());
    Row {
        kind: Kind::Reply,
        style: if result == "SUCCESS" { Style::Success } else { Style::Failure },
        state: result,
        parties: EMPTY_CELL.into(),
        context: fields.app_context.and_then(Field::non_empty_text),
        detail: Detail {
            text: Some(text.into()),
            brief: Some(Brief { text: reason, id: trans_id }),
            ..Detail::default()
        },
    }
}

fn last_level(topic: &str) -> &str {
    topic.rsplit('/').next().unwrap_or(topic)
}

fn text_or_dash(field: Option<Field<'_>>) -> Cow<'_, str> {
    field.and_then(Field::non_empty_text).unwrap_or(EMPTY_CELL.into())
}

/// Returns the first group of a UUID, which is enough to distinguish a few, or any other ID as it is.
fn short_id(id: Cow<'_, str>) -> Cow<'_, str> {
    if id.len() == 36 && Uuid::try_parse(&id).is_ok() { prefix_of(id, 8) } else { id }
}

/// Returns the first bytes of an ASCII text.
fn prefix_of(text: Cow<'_, str>, len: usize) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..len]),
        Cow::Owned(mut text) => {
            text.truncate(len);
            Cow::Owned(text)
        }
    }
}

/// Returns the payload as text: JSON as it is, other text quoted, bytes with their number and escaped.
fn payload_text<'a>(record: &Record<'a>) -> Cow<'a, str> {
    match record.payload {
        Payload::Json(json) if json.contains(['\n', '\r']) => json.trim_ascii().replace(['\n', '\r'], " ").into(),
        Payload::Json(json) => json.trim_ascii().into(),
        Payload::Text("") => "(empty)".into(),
        Payload::Text(text) => format!("\"{text}\"").into(),
        Payload::Binary(bytes) => format!("{} bytes \"{}\"", bytes.len(), bytes.escape_ascii()).into(),
        Payload::Missing => "(missing)".into(),
    }
}

/// Returns the line of a call's result, including the line end.
pub(crate) fn call_result(result: &CallResult<impl Display>, color: bool) -> String {
    let CallResult { request, outcome, elapsed, .. } = result;
    let (state, style, reason) = match (outcome, outcome.reason()) {
        (Outcome::Answered { verdict: Verdict::Success, .. }, _) => ("placed", Style::Success, String::new()),
        (_, Some(reason)) => ("failed", Style::Failure, format!(": {reason}")),
        (_, None) => ("failed", Style::Failure, ": the service gave no reason".to_owned()),
    };
    let session = request.session_id.map(|id| format!(", session {id}")).unwrap_or_default();
    let elapsed = humantime::format_duration(whole_millis(*elapsed));
    let parties = format!("{} → {}", request.caller, request.callee);
    format!("{}: {}{} ({elapsed}{session})\n", escaped(&parties), painted(state, style, color), escaped(&reason))
}
