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

use super::clock::Clock;
use super::escape::{escaped, is_plain};
use crate::protocol::event::Event;
use crate::protocol::fields::{Field, Fields};
use crate::protocol::record::{Change, Content, Payload, Record, Status};
use crate::protocol::topic::{Action, Category, Root};
use crate::protocol::{call, presence};

/// How wide each column is at least, in terminal cells; the last one is not padded.
const WIDTHS: [usize; 5] = [23, 12, 9, 36, 16];

/// What a cell shows where there is nothing to show.
const NOTHING: &str = "-";

/// What stands between FROM and TO, and its width in terminal cells.
const ARROW: &str = " → ";
const ARROW_WIDTH: usize = 3;

/// Prints records for people.
#[derive(Debug)]
pub(crate) struct Pretty {
    /// What is written around times and states; `None` for plain lines.
    paint: Option<Box<Paint>>,
    clock: Clock,
    sphere: Root,
}

/// What a terminal is told before and after a text to colour it.
type Around = (String, String);

/// Every colour that is used. Found out once, so that a line needs no memory of its own.
#[derive(Debug)]
struct Paint {
    time: Around,
    good: Around,
    change: Around,
    end: Around,
    bad: Around,
}

impl Paint {
    fn new() -> Self {
        // The decision is ours, not made from the environment a second time.
        colored::control::set_override(true);
        let around = |color| {
            let text = "x".color(color).to_string();
            let (before, after) = text.split_once('x').unwrap_or_default();
            (before.to_owned(), after.to_owned())
        };
        Self {
            time: around(Color::BrightBlack),
            good: around(Color::Green),
            change: around(Color::Yellow),
            end: around(Color::Cyan),
            bad: around(Color::Red),
        }
    }

    fn state(&self, tone: Tone) -> Option<&Around> {
        match tone {
            Tone::Good => Some(&self.good),
            Tone::Change => Some(&self.change),
            Tone::End => Some(&self.end),
            Tone::Bad => Some(&self.bad),
            Tone::Plain => None,
        }
    }
}

/// The cells of a line, from left to right after the time.
struct Row<'a> {
    kind: Cow<'a, str>,
    state: Cow<'a, str>,
    tone: Tone,
    parties: Parties<'a>,
    context: Cow<'a, str>,
    detail: Cow<'a, str>,
}

/// Who takes part, or what stands in that column instead.
enum Parties<'a> {
    One(Cow<'a, str>),
    FromTo(Cow<'a, str>, Cow<'a, str>),
}

impl<'a, T: Into<Cow<'a, str>>> From<T> for Parties<'a> {
    fn from(text: T) -> Self {
        Self::One(text.into())
    }
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
        Self { paint: color.then(|| Box::new(Paint::new())), clock: Clock::new(TimeZone::system()), sphere }
    }

    /// Appends a record's line, its line end included.
    pub(crate) fn record(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
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
    pub(crate) fn status(&mut self, status: &Status<'_>, out: &mut Vec<u8>) {
        self.line(status.received, &status_row(status), out);
    }

    fn line(&mut self, received: Timestamp, row: &Row<'_>, out: &mut Vec<u8>) {
        let Row { kind, state, tone, parties, context, detail } = row;
        let [time_width, kind_width, state_width, parties_width, context_width] = WIDTHS;
        let time = self.clock.time(received);
        let paint = self.paint.as_deref();
        let taken = put_painted(out, time, paint.map(|paint| &paint.time));
        pad(out, time_width, taken);
        let taken = put(out, kind);
        pad(out, kind_width, taken);
        let taken = put_painted(out, state, paint.and_then(|paint| paint.state(*tone)));
        pad(out, state_width, taken);
        let taken = match parties {
            Parties::One(one) => put(out, one),
            Parties::FromTo(from, to) => {
                let from = put(out, from);
                out.extend_from_slice(ARROW.as_bytes());
                from + ARROW_WIDTH + put(out, to)
            }
        };
        pad(out, parties_width, taken);
        let taken = put(out, context);
        pad(out, context_width, taken);
        put(out, detail);
        out.push(b'\n');
    }

    /// A message from elsewhere: what the protocol knows of it, else its topic and payload.
    fn other_row<'a>(&self, record: &Record<'a>) -> Row<'a> {
        let below_sphere = self.sphere.strip(record.topic).is_some();
        let fields = match record.payload {
            Payload::Json(json) => Fields::read_text(json).unwrap_or_default(),
            Payload::Text("") if below_sphere => return gone_row(record.topic),
            Payload::Text(_) | Payload::Binary(_) | Payload::Missing => Fields::default(),
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

/// Appends a cell's text, made safe; returns its width in terminal cells.
fn put(out: &mut Vec<u8>, text: &str) -> usize {
    if is_plain(text) {
        out.extend_from_slice(text.as_bytes());
        return text.len();
    }
    let text = escaped(text);
    out.extend_from_slice(text.as_bytes());
    width(&text)
}

/// The same, in colour where there is one.
fn put_painted(out: &mut Vec<u8>, text: &str, around: Option<&Around>) -> usize {
    let (before, after) = around.map_or(("", ""), |(before, after)| (before, after));
    out.extend_from_slice(before.as_bytes());
    let taken = put(out, text);
    out.extend_from_slice(after.as_bytes());
    taken
}

/// Fills a column that is `width` cells wide, of which `taken` are taken, and the space between columns.
fn pad(out: &mut Vec<u8>, width: usize, taken: usize) {
    out.resize(out.len() + width.saturating_sub(taken) + 2, b' ');
}

/// The width of a safe text in terminal cells.
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
        parties: Parties::FromTo(shown(fields.caller), shown(fields.callee)),
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
    if id.len() == 36 && Uuid::try_parse(&id).is_ok() { shortened(id, 8) } else { id }
}

/// The first bytes of an ASCII text.
fn shortened(text: Cow<'_, str>, len: usize) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..len]),
        Cow::Owned(mut text) => {
            text.truncate(len);
            Cow::Owned(text)
        }
    }
}

/// The payload as text: JSON as it came, other text quoted, bytes counted and quoted with escapes.
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
