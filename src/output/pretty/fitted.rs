//! The layout of lines on a terminal: each fits the width, from 40 columns on.
//!
//! A date that differs from the previous one is on a line of its own. Each cell has a share of the width, and unused width
//! goes to cells that need more. A text that is still too long is shortened in the middle.

use std::borrow::Cow;

use super::row::{Brief, Detail, Kind, LineTime, Parties, Row, short_state, shown};
use super::shortening::{Ending, Names};
use crate::output::clock::Clock;
use crate::output::color::{Palette, Style};
use crate::output::width::{shortened, width, width_up_to};

/// Narrower terminals are treated as if they had this width.
const MIN_WIDTH: usize = 40;

/// Minimum width for the full names of categories.
const WIDE: usize = 110;

/// Minimum width for milliseconds, the application, and IDs of more than 4 digits.
const MEDIUM: usize = 72;

/// Maximum widths of names and of the application, unless one needs more.
const MAX_PARTIES: usize = 36;
const MAX_CONTEXT: usize = 16;

/// Minimum width of the application if other cells need more. With less room, it is left out.
const MIN_CONTEXT: usize = 8;

const DATE_LEN: usize = "2026-11-23".len();

/// Lays out lines for a terminal.
#[derive(Debug)]
pub(super) struct Fitted {
    /// Returns the width of the terminal, which may change at any time.
    pub(super) columns: fn() -> usize,
    /// The date of the last line.
    date: String,
}

impl Fitted {
    /// Lays out lines for a terminal with a width that `columns` returns.
    pub(super) fn new(columns: fn() -> usize) -> Self {
        Self { columns, date: String::new() }
    }

    /// Returns the present width of the terminal.
    pub(super) fn columns(&self) -> usize {
        (self.columns)().max(MIN_WIDTH)
    }

    /// Appends a line, including the line end, and before it the date if it has changed.
    pub(super) fn write(
        &mut self,
        palette: Option<&Palette>,
        clock: &mut Clock,
        time: LineTime<'_>,
        row: &Row<'_>,
        out: &mut Vec<u8>,
    ) {
        let layout = Layout::for_width(self.columns());
        let time = shown(time.text(clock));
        let time = match split_time(&time) {
            Some((date, time)) => {
                self.change_date(date, palette, out);
                time.get(..layout.time).unwrap_or(time).into()
            }
            None => shortened(&time, layout.time),
        };
        let mut line = Line { out, palette };
        line.push_padded(&time, layout.time + layout.gap, Style::Time);
        layout.push_subject(row, &mut line);
        for (cell, width) in layout.cells(row, &self.date, clock) {
            line.push_padded(&cell, width, Style::Plain);
        }
        line.end();
    }

    fn change_date(&mut self, date: &str, palette: Option<&Palette>, out: &mut Vec<u8>) {
        if self.date != date {
            date.clone_into(&mut self.date);
            let mut line = Line { out, palette };
            line.push_padded(date, 0, Style::Time);
            line.end();
        }
    }
}

/// Splits `2026-11-23 04:34:12.798` into date and time.
fn split_time(text: &str) -> Option<(&str, &str)> {
    let (date, time) = text.split_at_checked(DATE_LEN)?;
    let is_time = date.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) && time.is_ascii();
    time.strip_prefix([' ', 'T']).filter(|_| is_time).map(|time| (date, time))
}

/// A line that is being written.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    palette: Option<&'a Palette>,
}

impl Line<'_> {
    /// Appends an escaped text, padded to a width.
    fn push_padded(&mut self, text: &str, padded_width: usize, style: Style) {
        let color = self.palette.and_then(|palette| palette.of(style)).filter(|_| !text.is_empty());
        let (before, after) = color.map_or(("", ""), |(before, after)| (before, after));
        for piece in [before, text, after] {
            self.out.extend_from_slice(piece.as_bytes());
        }
        let padding = padded_width.saturating_sub(width(text));
        self.out.resize(self.out.len() + padding, b' ');
    }

    /// Ends the line, without the padding at its end.
    fn end(self) {
        let length = self.out.trim_ascii_end().len();
        self.out.truncate(length);
        self.out.push(b'\n');
    }
}

/// The indexes of the last three cells. All but the last include the space after them.
const PARTIES: usize = 0;
const CONTEXT: usize = 1;
const DETAIL: usize = 2;

/// How the width of a terminal is divided.
struct Layout {
    /// Width of the time.
    time: usize,
    /// Width of category and state.
    subject: usize,
    /// Full names of categories, in a column of their own.
    is_wide: bool,
    /// Width of the space between two cells.
    gap: usize,
    /// Number of digits of a UUID.
    id_digits: usize,
    /// Between a text and an ID.
    separator: &'static str,
    /// Short notes.
    has_short_notes: bool,
    /// Between FROM and TO.
    arrow: &'static str,
    /// The last three cells' shares of the width.
    shares: [usize; 3],
}

impl Layout {
    fn for_width(width: usize) -> Self {
        let is_wide = width >= WIDE;
        let is_medium = width >= MEDIUM;
        let gap = if is_wide { 2 } else { 1 };
        let time = if is_medium { "04:34:12.798".len() } else { "04:34:12".len() };
        let subject = match (is_wide, is_medium) {
            (true, _) => "registration".len() + gap + "completed".len(),
            (false, true) => "reg modified".len(),
            (false, false) => "reg start".len(),
        };
        let rest = width - time - gap - subject - gap;
        let context = if is_medium { (rest / 3).min(MAX_CONTEXT + gap) } else { 0 };
        let parties = if is_medium { (rest - rest / 3 - context).min(MAX_PARTIES + gap) } else { rest / 2 };
        Self {
            time,
            subject,
            is_wide,
            gap,
            id_digits: if is_medium { 8 } else { 4 },
            separator: if is_medium { ", " } else { " " },
            has_short_notes: !is_medium,
            arrow: if is_wide { " → " } else { "→" },
            shares: [parties, context, rest - parties - context],
        }
    }

    /// Appends category and state.
    fn push_subject(&self, row: &Row<'_>, line: &mut Line<'_>) {
        let kind = if self.is_wide { row.kind.as_str() } else { row.kind.short() };
        let kind_width = if self.is_wide { Kind::Registration.as_str().len() + self.gap } else { kind.len() + 1 };
        let room = self.subject - kind_width;
        let state = shown(&row.state);
        let is_too_wide = width_up_to(room, &state) > room;
        let state = if is_too_wide { shortened(short_state(&state), room) } else { Cow::Borrowed(&*state) };
        line.push_padded(kind, kind_width, Style::Plain);
        line.push_padded(&state, room + self.gap, row.style);
    }

    /// Returns the texts of the last three cells, and the widths to pad them to.
    fn cells(&self, row: &Row<'_>, date: &str, clock: &mut Clock) -> [(String, usize); 3] {
        let names = self.names(&row.parties, date, clock);
        let context = row.context.as_deref().map(shown).unwrap_or_default();
        let Detail { text, id, brief, note } = &row.detail;
        let note = if self.has_short_notes { note.short() } else { note.text() };
        let mut ending = self.ending(text.as_deref(), id.as_deref(), note);
        let limit: usize = self.shares.iter().sum();
        let padded = |width: usize| if width == 0 { 0 } else { width + self.gap };
        let mut wanted =
            [padded(names.width_up_to(limit)), padded(width_up_to(limit, &context)), ending.width_up_to(limit)];
        if let Parties::Period(..) = row.parties {
            // A shortened period is unreadable, so the detail is shortened first.
            wanted[DETAIL] = wanted[DETAIL].min(limit.saturating_sub(wanted[PARTIES]));
        }
        let mut widths = self.divide(wanted);
        if let Some(Brief { text, id }) = brief.as_ref().filter(|_| widths[DETAIL] < wanted[DETAIL]) {
            ending = self.ending(text.as_deref(), id.as_deref(), note);
            wanted[DETAIL] = ending.width_up_to(limit);
            widths = self.divide(wanted);
        }
        if widths[CONTEXT] < wanted[CONTEXT].min(MIN_CONTEXT + self.gap) {
            wanted[CONTEXT] = 0;
            widths = self.divide(wanted);
        }
        let [names_room, context_room] = [PARTIES, CONTEXT].map(|cell| widths[cell].saturating_sub(self.gap));
        [
            (names.fit(names_room), widths[PARTIES]),
            (shortened(&context, context_room).into_owned(), widths[CONTEXT]),
            (ending.fit(widths[DETAIL]), 0),
        ]
    }

    fn names<'a>(&self, parties: &'a Parties<'_>, date: &str, clock: &mut Clock) -> Names<'a> {
        match parties {
            Parties::One(one) => Names { first: shown(one), second: None },
            Parties::FromTo(from, to) => Names { first: shown(from), second: Some((self.arrow, shown(to))) },
            Parties::Period(from, until) => {
                let times = [from, until].map(|at| clock.time(*at).to_owned());
                let texts = times.each_ref().map(|time| match split_time(time) {
                    Some((day, time)) if day == date => time.get(..self.time).unwrap_or(time),
                    _ => time.get(..DATE_LEN + 1 + self.time).unwrap_or(time),
                });
                Names { first: texts.join(" to ").into(), second: None }
            }
        }
    }

    fn ending<'a>(&self, text: Option<&'a str>, id: Option<&str>, note: &str) -> Ending<'a> {
        let is_hex = |id: &str| id.len() > self.id_digits && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = id.map(|id| if is_hex(id) { &id[..self.id_digits] } else { id });
        let separator = if text.is_some() && id.is_some() { self.separator } else { "" };
        Ending {
            text: text.map(shown).unwrap_or_default(),
            end: format!("{separator}{}{note}", id.map(shown).unwrap_or_default()),
        }
    }

    /// Divides the width among the last three cells: each gets its share, and unused width goes to others.
    ///
    /// Width is taken from the last cell first, because it is not padded: so cells stay aligned with those of other lines as
    /// long as possible. Names and details are more important than the application.
    fn divide(&self, wanted: [usize; 3]) -> [usize; 3] {
        let mut widths = self.shares;
        for to in [PARTIES, DETAIL, CONTEXT] {
            for from in [DETAIL, CONTEXT, PARTIES] {
                let kept = if from == CONTEXT { wanted[from].min(MIN_CONTEXT + self.gap) } else { wanted[from] };
                let missing = wanted[to].saturating_sub(widths[to]);
                let moved = missing.min(widths[from].saturating_sub(kept));
                widths[from] -= moved;
                widths[to] += moved;
            }
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;
    use crate::output::pretty::{Medium, Pretty};
    use crate::protocol::record::Entry;

    /// A line of every kind.
    const RECORDED: &str = include_str!("../../../tests/data/recorded.jsonl");

    fn pretty(columns: fn() -> usize) -> Pretty {
        let root = "/rtcomm/sphere".parse().expect("a root");
        Pretty { clock: Clock::new(TimeZone::UTC), ..Pretty::new(Medium::Terminal(columns), false, root) }
    }

    /// Returns the lines of a record.
    fn lines(pretty: &mut Pretty, json: &str) -> Vec<String> {
        let mut out = Vec::new();
        match Entry::parse(json.as_bytes()).expect("a record") {
            Entry::Message(message) => pretty.record(&message.record(), &mut out),
            Entry::Connection(status) => pretty.status(&status, &mut out),
            Entry::Call(call) => pretty.call(&call, &mut out),
            Entry::Absence(absence) => pretty.absence(&absence, &mut out),
        }
        String::from_utf8(out).expect("UTF-8").lines().map(str::to_owned).collect()
    }

    fn event(from: &str, to: &str, app: &str, reason: &str) -> String {
        let payload = serde_json::json!({
            "method": "RTCOMM_EVENT_FIRED", "appContext": app, "reason": reason,
            "sigSessID": "6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10",
        });
        let topic = format!("/rtcomm/event/session/failed/{from}/{to}");
        serde_json::json!({
            "received": "2026-11-23T03:34:12.798558Z", "category": "session", "action": "failed", "from": from, "to": to,
            "topic": topic, "qos": 1, "retain": false, "payload": payload,
        })
        .to_string()
    }

    #[test]
    fn each_record_has_one_line_that_fits() {
        static WIDTH: AtomicUsize = AtomicUsize::new(0);
        let mut pretty = pretty(|| WIDTH.load(Ordering::Relaxed));
        let first = RECORDED.lines().next().expect("a line");
        assert_eq!(lines(&mut pretty, first).len(), 2, "the date, then the record");
        for columns in 40..=200 {
            WIDTH.store(columns, Ordering::Relaxed);
            for json in RECORDED.lines() {
                let shown = lines(&mut pretty, json);
                assert_eq!(shown.len(), 1, "{shown:?}");
                assert!(width(&shown[0]) <= columns, "{columns} columns: {}", shown[0]);
            }
        }
    }

    #[test]
    fn reason_and_session_are_both_shown() {
        let json = event("iggy_pop", "david_bowie", "XYZ video app", "media negotiation failed");
        for (columns, expected) in [
            (pretty(|| 40), "03:34:12 ses fail  ig…p→da…e med…ed 6a1f"),
            (pretty(|| 72), "03:34:12.798 ses failed   iggy_pop→david_bowie XYZ …app med…ed, 6a1f9f3e"),
            (pretty(|| 80), "03:34:12.798 ses failed   iggy_pop→david_bowie XYZ …app media n…failed, 6a1f9f3e"),
            (
                pretty(|| 130),
                "03:34:12.798  session       failed     iggy_pop → david_bowie                XYZ video app     media negotiation failed, 6a1f9f3e",
            ),
        ] {
            let mut pretty = columns;
            assert_eq!(lines(&mut pretty, &json).last().map(String::as_str), Some(expected));
        }
    }

    #[test]
    fn a_changed_date_has_a_line_of_its_own() {
        let mut pretty = pretty(|| 80);
        let mut dates = Vec::new();
        for time in ["2026-11-23T23:59:59Z", "2026-11-24T00:00:00Z", "2026-11-24T00:00:01Z", "2026-11-23T00:00:00Z"] {
            let json = event("a", "b", "", "").replace("2026-11-23T03:34:12.798558Z", time);
            let shown = lines(&mut pretty, &json);
            dates.push((shown.len() == 2).then(|| shown[0].clone()));
        }
        let date = |text: &str| Some(text.to_owned());
        assert_eq!(dates, [date("2026-11-23"), date("2026-11-24"), None, date("2026-11-23")]);
    }

    #[test]
    fn a_call_record_of_the_server_has_its_date_too() {
        let mut pretty = pretty(|| 80);
        let json = r#"{"cdr":"completed","sigSessID":"6a1f9f3e-2d0b-4c35-8a53-0d9d5b1f5f10","from":"iggy_pop","to":"björk","appContext":"XYZ","ended":"2026-11-23 04:37:24.9","duration_s":192.102,"clock":"server","modified":2,"duplicates":1,"incomplete":["gap"]}"#;
        assert_eq!(
            lines(&mut pretty, json),
            ["2026-11-23", "04:37:24.9   call done    iggy_pop→björk     XYZ              3m 12s, 6a1f9f3e"]
        );
        let json = r#"{"cdr":"lost","from":"a","to":"b","incomplete":["start","end","gap","id"]}"#;
        let shown = lines(&mut pretty, json);
        assert!(shown.len() == 1 && shown[0].starts_with("-            call lost    a→b "), "{shown:?}");
    }

    #[test]
    fn a_gap_is_shown_in_local_time() {
        let json = r#"{"received":"2026-11-23T03:35:02.5Z","status":"gap","from":"2026-11-23T03:35:00Z","until":"2026-11-23T03:35:02.5Z","reason":"the connection broke"}"#;
        for (mut pretty, expected) in [
            (pretty(|| 40), "03:35:02 con gap   03:35:00 to 03:35:02"),
            (
                pretty(|| 90),
                "03:35:02.500 con gap      03:35:00.000 to 03:35:02.500                the connection broke",
            ),
        ] {
            assert_eq!(lines(&mut pretty, json).last().map(String::as_str), Some(expected));
        }
    }

    proptest! {
        #[test]
        fn any_text_fits(
            from in "[a-z日é❤️👩‍💻\u{301}]{1,30}",
            to in "[A-Z日é❤️👩‍💻\u{301}]{1,30}",
            app in "[a-z 日❤️\u{1b}]{0,30}",
            reason in "[a-z 日❤️\n]{0,60}",
        ) {
            for (mut pretty, columns) in [(pretty(|| 40), 40), (pretty(|| 80), 80), (pretty(|| 120), 120)] {
                let shown = lines(&mut pretty, &event(&from, &to, &app, &reason));
                prop_assert_eq!(shown.len(), 2);
                prop_assert!(width(&shown[1]) <= columns, "{} columns: {}", columns, shown[1]);
                let id = if columns == 40 { "6a1f" } else { "6a1f9f3e" };
                prop_assert!(shown[1].ends_with(id), "{}", shown[1]);
            }
        }
    }
}
