//! The cells of a line, before they are laid out.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::output::clock::Clock;
use crate::output::color::Style;
use crate::output::escape::escaped;
use crate::protocol::credentials::masked;
use crate::protocol::topic::Category;

/// The time of a line.
#[derive(Clone, Copy)]
pub(super) enum LineTime<'a> {
    At(Timestamp),
    /// A date and a time of an unknown zone, or any other text.
    Text(&'a str),
}

impl<'a> LineTime<'a> {
    /// Returns the time in the clock's zone.
    pub(super) fn text(self, clock: &'a mut Clock) -> &'a str {
        match self {
            Self::At(at) => clock.time(at),
            Self::Text(text) => text,
        }
    }
}

/// The cells of a line, from left to right after the time.
pub(super) struct Row<'a> {
    pub(super) kind: Kind,
    pub(super) state: Cow<'a, str>,
    /// The color of the state.
    pub(super) style: Style,
    pub(super) parties: Parties<'a>,
    /// The application.
    pub(super) context: Option<Cow<'a, str>>,
    pub(super) detail: Detail<'a>,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Registration,
    Session,
    Call,
    Reply,
    Presence,
    Message,
    Malformed,
    Connection,
}

impl From<Category> for Kind {
    fn from(category: Category) -> Self {
        match category {
            Category::Registration => Self::Registration,
            Category::Session => Self::Session,
        }
    }
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Registration => Category::Registration.as_str(),
            Self::Session => Category::Session.as_str(),
            Self::Call => "call",
            Self::Reply => "reply",
            Self::Presence => "presence",
            Self::Message => "message",
            Self::Malformed => "malformed",
            Self::Connection => "connection",
        }
    }

    /// Returns the name for a narrow terminal.
    pub(super) fn short(self) -> &'static str {
        match self {
            Self::Registration => "reg",
            Self::Session => "ses",
            Self::Call => "call",
            Self::Reply => "rep",
            Self::Presence => "pre",
            Self::Message => "msg",
            Self::Malformed => "bad",
            Self::Connection => "con",
        }
    }
}

/// Returns the short form of a state for a narrow terminal, or any other text as it is.
pub(super) fn short_state(state: &str) -> &str {
    match state {
        "started" => "start",
        "modified" => "modif",
        "stopped" => "stop",
        "failed" => "fail",
        "available" => "avail",
        "completed" => "done",
        "dropped" => "drop",
        "request" => "req",
        "connected" => "up",
        "disconnected" => "down",
        "SUCCESS" => "ok",
        "FAILURE" => "fail",
        state => state,
    }
}

/// The endpoints, or the text that is shown instead of them.
pub(super) enum Parties<'a> {
    One(Cow<'a, str>),
    FromTo(Cow<'a, str>, Cow<'a, str>),
    Period(Timestamp, Timestamp),
}

impl<'a, T: Into<Cow<'a, str>>> From<T> for Parties<'a> {
    fn from(text: T) -> Self {
        Self::One(text.into())
    }
}

/// The last cell: a text, then an ID.
#[derive(Default)]
pub(super) struct Detail<'a> {
    pub(super) text: Option<Cow<'a, str>>,
    pub(super) id: Option<Cow<'a, str>>,
    /// What replaces both on a terminal without room for them.
    pub(super) brief: Option<Brief<'a>>,
    pub(super) note: Note,
}

/// The most important text and an ID.
pub(super) struct Brief<'a> {
    pub(super) text: Option<Cow<'a, str>>,
    pub(super) id: Option<Cow<'a, str>>,
}

impl<'a, T: Into<Cow<'a, str>>> From<T> for Detail<'a> {
    fn from(text: T) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }
}

/// What a line adds about its message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Note {
    #[default]
    None,
    /// The broker had retained it.
    Retained,
    /// It was noticed after a reconnect.
    WhileDisconnected,
}

impl Note {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Retained => " (retained)",
            Self::WhileDisconnected => " (while disconnected)",
        }
    }

    /// Returns the text for a narrow terminal.
    pub(super) fn short(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Retained => " (r)",
            Self::WhileDisconnected => " (d)",
        }
    }
}

/// Returns a text from the network as it is shown: escaped, and without credentials.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    match masked(text) {
        Cow::Borrowed(text) => escaped(text),
        Cow::Owned(text) => Cow::Owned(escaped(&text).into_owned()),
    }
}
