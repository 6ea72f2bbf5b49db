//! Pretty output: one line per record, in aligned columns.
//!
//! The columns are `TIME  KIND  STATE  PARTIES  APPLICATION  DETAIL`. An event's kind is its category, and its state is its
//! action. A line is the same on a terminal and in a pipe, except for color. Nothing is cut off: cells are padded to a
//! usual width, and a longer value moves the rest of its line. Text from the network is escaped, and credentials in URLs are
//! masked.

use std::borrow::Cow;
use std::fmt::Display;

use colored::{Color, Colorize as _};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use unicode_width::UnicodeWidthStr as _;
use uuid::Uuid;

use super::clock::Clock;
use super::escape::{escaped, is_printable_ascii};
use super::whole_millis;
use crate::protocol::call::{self, CallResult, Outcome, Verdict};
use crate::protocol::credentials::masked;
use crate::protocol::event::Event;
use crate::protocol::fields::{Field, Fields};
use crate::protocol::presence::METHOD as DOCUMENT;
use crate::protocol::record::{ConnectionChange, ConnectionStatus, Content, Payload, Record};
use crate::protocol::topic::{Action, Category, Root};

pub(super) mod call_record;
mod presence;

/// Minimum width of each column in terminal cells. The last column is not padded.
const WIDTHS: [usize; 5] = [23, 12, 9, 36, 16];

/// The text of an empty cell.
const EMPTY_CELL: &str = "-";

/// The separator of FROM and TO, and its width in terminal cells.
const ARROW: &str = " → ";
const ARROW_WIDTH: usize = 3;

/// Formats records for people.
#[derive(Debug)]
pub(crate) struct Pretty {
    /// The colors of times and states, `None` for lines without color.
    palette: Option<Box<Palette>>,
    clock: Clock,
    sphere: Root,
}

/// The ANSI escape sequences before and after a colored text.
type AnsiPair = (String, String);

/// The escape sequences of all colors. Computed once, so that formatting a line does not allocate.
#[derive(Debug)]
struct Palette {
    time: AnsiPair,
    success: AnsiPair,
    change: AnsiPair,
    end: AnsiPair,
    failure: AnsiPair,
}

impl Palette {
    fn new() -> Self {
        // `use_color` has already considered the environment.
        colored::control::set_override(true);
        let ansi_pair = |color| {
            let text = "x".color(color).to_string();
            let (before, after) = text.split_once('x').unwrap_or_default();
            (before.to_owned(), after.to_owned())
        };
        Self {
            time: ansi_pair(Color::BrightBlack),
            success: ansi_pair(Color::Green),
            change: ansi_pair(Color::Yellow),
            end: ansi_pair(Color::Cyan),
            failure: ansi_pair(Color::Red),
        }
    }

    fn state(&self, style: Style) -> Option<&AnsiPair> {
        match style {
            Style::Success => Some(&self.success),
            Style::Change => Some(&self.change),
            Style::End => Some(&self.end),
            Style::Failure => Some(&self.failure),
            Style::Plain => None,
        }
    }
}

/// The cells of a line, from left to right after the time.
struct Row<'a> {
    kind: Cow<'a, str>,
    state: Cow<'a, str>,
    style: Style,
    parties: Parties<'a>,
    context: Cow<'a, str>,
    detail: Cow<'a, str>,
}

/// The content of the PARTIES column: the endpoints, or another text.
enum Parties<'a> {
    One(Cow<'a, str>),
    FromTo(Cow<'a, str>, Cow<'a, str>),
}

impl<'a, T: Into<Cow<'a, str>>> From<T> for Parties<'a> {
    fn from(text: T) -> Self {
        Self::One(text.into())
    }
}

/// The meaning of a state; decides its color.
#[derive(Clone, Copy)]
enum Style {
    Success,
    Change,
    End,
    Failure,
    Plain,
}

impl Pretty {
    /// Formats times in the local zone. Documents below `sphere` are shown as presence.
    pub(crate) fn new(color: bool, sphere: Root) -> Self {
        Self { palette: color.then(|| Box::new(Palette::new())), clock: Clock::new(TimeZone::system()), sphere }
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
            row.detail.to_mut().push_str(presence::retained_note(&record.content));
        }
        self.line(record.received, &row, out);
    }

    /// Appends a change of the connection as a line, including the line end.
    pub(crate) fn status(&mut self, status: &ConnectionStatus<'_>, out: &mut Vec<u8>) {
        self.line(status.received, &status_row(status), out);
    }

    fn line(&mut self, received: Timestamp, row: &Row<'_>, out: &mut Vec<u8>) {
        write_row(self.palette.as_deref(), self.clock.time(received), row, out);
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
                kind: "message".into(),
                state: EMPTY_CELL.into(),
                style: Style::Plain,
                parties: record.topic.into(),
                context: text_or_dash(fields.app_context),
                detail: payload_text(record),
            },
        }
    }
}

/// Appends a line, including the line end.
fn write_row(palette: Option<&Palette>, time: &str, row: &Row<'_>, out: &mut Vec<u8>) {
    let Row { kind, state, style, parties, context, detail } = row;
    let [time_width, kind_width, state_width, parties_width, context_width] = WIDTHS;
    let used = push_colored(out, time, palette.map(|palette| &palette.time));
    pad(out, time_width, used);
    let used = push_cell(out, kind);
    pad(out, kind_width, used);
    let used = push_colored(out, &masked(state), palette.and_then(|palette| palette.state(*style)));
    pad(out, state_width, used);
    let used = match parties {
        Parties::One(one) => push_cell(out, &masked(one)),
        Parties::FromTo(from, to) => {
            let from = push_cell(out, &masked(from));
            out.extend_from_slice(ARROW.as_bytes());
            from + ARROW_WIDTH + push_cell(out, &masked(to))
        }
    };
    pad(out, parties_width, used);
    let used = push_cell(out, &masked(context));
    pad(out, context_width, used);
    push_cell(out, &masked(detail));
    out.push(b'\n');
}

/// Appends a cell's text, escaped, and returns its width in terminal cells.
fn push_cell(out: &mut Vec<u8>, text: &str) -> usize {
    if is_printable_ascii(text) {
        out.extend_from_slice(text.as_bytes());
        return text.len();
    }
    let text = escaped(text);
    out.extend_from_slice(text.as_bytes());
    width(&text)
}

/// Appends a cell like [`push_cell`], colored if `color` is given.
fn push_colored(out: &mut Vec<u8>, text: &str, color: Option<&AnsiPair>) -> usize {
    let (before, after) = color.map_or(("", ""), |(before, after)| (before, after));
    out.extend_from_slice(before.as_bytes());
    let used = push_cell(out, text);
    out.extend_from_slice(after.as_bytes());
    used
}

/// Pads a column of `width` cells, of which `used` are used, and adds the space between columns.
fn pad(out: &mut Vec<u8>, width: usize, used: usize) {
    out.resize(out.len() + width.saturating_sub(used) + 2, b' ');
}

/// Returns the width of an escaped text in terminal cells.
fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

fn event_row<'a>(event: &Event<'a>) -> Row<'a> {
    let Event { topic, fields } = event;
    let parties = match topic.to() {
        Some(to) => Parties::FromTo(topic.from.into(), to.into()),
        None => topic.from.into(),
    };
    let subject = match topic.category() {
        Category::Registration => text_or_dash(fields.reg_topic),
        Category::Session => short_id(fields.sig_sess_id),
    };
    Row {
        kind: topic.category().as_str().into(),
        state: topic.action.as_str().into(),
        style: match topic.action {
            Action::Started => Style::Success,
            Action::Modified => Style::Change,
            Action::Stopped => Style::End,
            Action::Failed => Style::Failure,
        },
        parties,
        context: text_or_dash(fields.app_context),
        detail: text_of(fields.reason).unwrap_or(subject),
    }
}

fn status_row<'a>(status: &'a ConnectionStatus<'_>) -> Row<'a> {
    let span = match status.change {
        ConnectionChange::Gap { from, until } => format!("{from:.3} to {until:.3}").into(),
        ConnectionChange::Connected
        | ConnectionChange::Disconnected
        | ConnectionChange::Ready
        | ConnectionChange::Settled => EMPTY_CELL.into(),
    };
    Row {
        kind: "connection".into(),
        state: status.change.as_str().into(),
        style: match status.change {
            ConnectionChange::Connected | ConnectionChange::Ready | ConnectionChange::Settled => Style::Success,
            ConnectionChange::Disconnected | ConnectionChange::Gap { .. } => Style::Failure,
        },
        parties: span,
        context: EMPTY_CELL.into(),
        detail: status.reason.as_deref().unwrap_or(EMPTY_CELL).into(),
    }
}

fn malformed_row<'a>(error: &'a str, record: &Record<'a>) -> Row<'a> {
    Row {
        kind: "malformed".into(),
        state: EMPTY_CELL.into(),
        style: Style::Failure,
        parties: record.topic.into(),
        context: EMPTY_CELL.into(),
        detail: format!("{error}: {}", payload_text(record)).into(),
    }
}

fn request_row<'a>(fields: &Fields<'a>) -> Row<'a> {
    let session = text_of(fields.session_id).map(|id| format!(", session {id}")).unwrap_or_default();
    Row {
        kind: "call".into(),
        state: "request".into(),
        style: Style::Change,
        parties: Parties::FromTo(text_or_dash(fields.caller), text_or_dash(fields.callee)),
        context: text_or_dash(fields.app_context),
        detail: format!("{}, reply to {}{session}", short_id(fields.trans_id), text_or_dash(fields.from_topic)).into(),
    }
}

fn reply_row<'a>(topic: &'a str, fields: &Fields<'a>) -> Row<'a> {
    let result = text_or_dash(fields.result);
    let reason = text_of(fields.reason).map(|reason| format!(", {reason}")).unwrap_or_default();
    Row {
        kind: "reply".into(),
        style: if result == "SUCCESS" { Style::Success } else { Style::Failure },
        state: result,
        parties: EMPTY_CELL.into(),
        context: text_or_dash(fields.app_context),
        detail: format!("{} {}{reason}, on {topic}", text_or_dash(fields.orig), short_id(fields.trans_id)).into(),
    }
}

fn last_level(topic: &str) -> &str {
    topic.rsplit('/').next().unwrap_or(topic)
}

/// Returns a field's text if it is not empty.
fn text_of(field: Option<Field<'_>>) -> Option<Cow<'_, str>> {
    field.map(Field::text).filter(|text| !text.is_empty())
}

fn text_or_dash(field: Option<Field<'_>>) -> Cow<'_, str> {
    text_of(field).unwrap_or(EMPTY_CELL.into())
}

/// Returns the first group of a UUID, which is enough to distinguish a few, or any other ID as it is.
fn short_id(field: Option<Field<'_>>) -> Cow<'_, str> {
    let id = text_or_dash(field);
    if id.len() == 36 && Uuid::try_parse(&id).is_ok() { shortened(id, 8) } else { id }
}

/// Returns the first bytes of an ASCII text.
fn shortened(text: Cow<'_, str>, len: usize) -> Cow<'_, str> {
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
pub(crate) fn call_result(result: &CallResult<impl Display>) -> String {
    let CallResult { request, outcome, elapsed } = result;
    let status = match (outcome, outcome.reason()) {
        (Outcome::Answered { verdict: Verdict::Success, .. }, _) => "placed".to_owned(),
        (_, Some(reason)) => format!("failed: {reason}"),
        (_, None) => "failed: the service gave no reason".to_owned(),
    };
    let session = request.session_id.map(|id| format!(", session {id}")).unwrap_or_default();
    let elapsed = humantime::format_duration(whole_millis(*elapsed));
    let line = format!("{} → {}: {status} ({elapsed}{session})", request.caller, request.callee);
    format!("{}\n", escaped(&line))
}
