//! Draws `docs/rtcomm.svg`, README's picture: a terminal with real runs of the program.
//!
//! Times, durations, ports and random IDs differ between runs, so fixed ones replace them. Everything else is what the program
//! prints to a terminal. If `UPDATE` is set in the environment, the picture is written, otherwise compared.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use unicode_width::UnicodeWidthStr as _;

use crate::support::{Broker, shell};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rtcomm.svg");

/// The day that is shown for the run, and that of the recording.
const DAY: &str = "2026-11-23";

/// The terminal, in cells.
const COLUMNS: usize = 110;

/// The size of a cell, and the margin around the text, in pixels.
const CELL: (f64, f64) = (8.4, 19.0);
const MARGIN: f64 = 16.0;

/// The command lines that are shown. The first one runs while [`EVENTS`] are published.
const COMMANDS: [&str; 3] = [
    "rtcomm watch --session --endpoint iggy_pop --count 5",
    "rtcomm call iggy_pop david_bowie",
    "rtcomm tail monday.jsonl --cdr",
];

/// Events of sessions: action, endpoints, application, session and reason.
const EVENTS: [(&str, &str, &str, &str, &str, &str); 5] = [
    ("started", "iggy_pop", "david_bowie", "XYZ video app", "6c246c70", ""),
    ("started", "debbie_harry", "iggy_pop", "ABC support line", "b8e3a5c2", ""),
    ("modified", "iggy_pop", "david_bowie", "XYZ video app", "6c246c70", ""),
    ("failed", "iggy_pop", "björk", "XYZ video app", "0f6c9f3e", "callee is busy"),
    ("stopped", "iggy_pop", "david_bowie", "XYZ video app", "6c246c70", ""),
];

/// Calls of a day: who called whom, for how many seconds, how it ended, and why.
const CALLS: [(&str, &str, i64, &str, &str); 5] = [
    ("iggy_pop", "david_bowie", 342, "stopped", ""),
    ("patti_smith", "joan_jett", 65, "stopped", ""),
    ("iggy_pop", "björk", 0, "failed", "no answer"),
    ("david_bowie", "iggy_pop", 4207, "stopped", ""),
    ("patti_smith", "david_bowie", 31, "failed", "media timeout"),
];

#[test]
fn the_picture_in_readme_shows_what_the_program_prints() {
    let dir = TempDir::new().expect("a temporary directory");
    fs::write(dir.path().join("monday.jsonl"), recording()).expect("it can be written");
    let broker = Broker::demo();
    let mut fixed = FixedValues::default();
    let mut lines = Vec::new();
    for command in COMMANDS {
        lines.push(vec![Span { style: Style::default(), text: format!("$ {command}") }]);
        let printed = on_a_terminal(command, dir.path(), &broker);
        lines.extend(printed.lines().map(|line| spans(line, &mut fixed)));
    }
    let fresh = svg(&lines);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(FILE, fresh).expect("the repository can be written to");
        return;
    }
    let committed = fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        committed == fresh,
        "docs/rtcomm.svg is stale: run `make man`, and commit what changed. It should be:\n{fresh}"
    );
}

/// The payload of an event. An empty reason is left out.
fn payload(app: &str, session: &str, reason: &str) -> Value {
    let mut payload = json!({ "method": "RTCOMM_EVENT_FIRED", "appContext": app, "sigSessID": session });
    if !reason.is_empty() {
        payload["reason"] = reason.into();
    }
    payload
}

/// A recording of [`CALLS`].
fn recording() -> String {
    let start: jiff::Timestamp = "2026-11-23T09:00:00Z".parse().expect("a time");
    let mut events = Vec::new();
    for (number, (from, to, seconds, end, reason)) in (0..).zip(CALLS) {
        let began = start + jiff::SignedDuration::from_mins(37 * number);
        let ended = began + jiff::SignedDuration::from_secs(seconds);
        let times = if seconds == 0 { vec![(end, ended)] } else { vec![("started", began), (end, ended)] };
        for (action, at) in times {
            let reason = if action == end { reason } else { "" };
            let payload =
                payload("XYZ video app", &format!("{:08x}-2d0b-4c35-8a53-0d9d5b1f5f10", 0x6a1f_9f3e + number), reason);
            let topic = format!("/rtcomm/event/session/{action}/{from}/{to}");
            let record = json!({
                "received": at.to_string(), "category": "session", "action": action, "from": from, "to": to, "topic": topic,
                "qos": 1, "retain": false, "payload": payload,
            });
            events.push((at, record.to_string()));
        }
    }
    events.sort();
    events.into_iter().fold(String::new(), |text, (_, line)| text + &line + "\n")
}

/// What a command prints to a terminal.
fn on_a_terminal(command: &str, dir: &Path, broker: &Broker) -> String {
    let inside = format!("stty cols {COLUMNS} rows 40 && exec {command}");
    let mut run = shell(r#"exec script -qefc "$INSIDE" /dev/null"#).env("INSIDE", inside).env("TERM", "xterm");
    run.command.current_dir(dir);
    let process = run.at(broker).start();
    if command.starts_with("rtcomm watch") {
        process.wait_for_stdout("ready", |text| text.contains("rtcomm: ready"));
        let mut server = broker.client();
        for (action, from, to, app, session, reason) in EVENTS {
            let payload = payload(app, &format!("{session}-2d0b-4c35-8a53-0d9d5b1f5f10"), reason);
            server.publish(&format!("/rtcomm/event/session/{action}/{from}/{to}"), payload.to_string());
        }
    }
    process.end().has_status(0).stdout
}

/// How a piece of text is drawn.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Style {
    is_bold: bool,
    is_dim: bool,
    /// A color of the terminal's palette, 0 to 15.
    color: Option<u8>,
}

impl Style {
    /// Follows the parameters of an SGR sequence [ECMA-48, 8.3.117].
    fn select(&mut self, parameters: &str) {
        for parameter in parameters.split(';') {
            match parameter.parse().unwrap_or(0) {
                0 => *self = Self::default(),
                1 => self.is_bold = true,
                2 => self.is_dim = true,
                22 => (self.is_bold, self.is_dim) = (false, false),
                code @ 30..=37 => self.color = Some(code - 30),
                39 => self.color = None,
                code @ 90..=97 => self.color = Some(code - 90 + 8),
                code => panic!("the picture knows no SGR {code}"),
            }
        }
    }

    /// The attributes of a `tspan`.
    fn attributes(self) -> String {
        const PALETTE: [&str; 16] = [
            "#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4", "#6e7681",
            "#ffa198", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#ffffff",
        ];
        let fill = |color: u8| format!(r#" fill="{}""#, PALETTE[usize::from(color)]);
        let mut attributes = self.color.map(fill).unwrap_or_default();
        if self.is_bold {
            attributes += r#" font-weight="bold""#;
        }
        if self.is_dim {
            attributes += r#" opacity="0.6""#;
        }
        attributes
    }
}

/// A piece of a line.
struct Span {
    style: Style,
    text: String,
}

/// The pieces of a line that a terminal gets.
fn spans(line: &str, fixed: &mut FixedValues) -> Vec<Span> {
    let mut style = Style::default();
    let mut spans = Vec::new();
    // What a terminal overwrites is not to be seen: a line that was drawn and erased again.
    let line = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
    for (nth, piece) in line.split("\u{1b}[").enumerate() {
        let mut text = piece;
        if nth > 0 {
            let end = piece.find(|c: char| c.is_ascii_alphabetic()).expect("a control sequence ends");
            if &piece[end..=end] == "m" {
                style.select(&piece[..end]);
            }
            text = &piece[end + 1..];
        }
        if !text.is_empty() {
            spans.push(Span { style, text: fixed.replace_in(text) });
        }
    }
    spans
}

/// Replaces what differs between runs.
#[derive(Default)]
struct FixedValues {
    /// The last date, if it is that of the run.
    today: Option<String>,
    /// Number of times that were replaced.
    times: u32,
}

impl FixedValues {
    fn replace_in(&mut self, text: &str) -> String {
        text.split_inclusive(|c: char| c.is_whitespace() || "(),".contains(c))
            .map(|word| {
                let value = word.trim_end_matches(|c: char| c.is_whitespace() || "(),".contains(c));
                self.replace(value) + &word[value.len()..]
            })
            .collect()
    }

    fn replace(&mut self, value: &str) -> String {
        let shape: String = value.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        // The recording's own days and times stay.
        let is_todays = self.today.is_some();
        if let Some(start) = value.find("127.0.0.1:") {
            return format!("{}127.0.0.1:1883", &value[..start]);
        }
        match shape.as_str() {
            "0000-00-00" => {
                self.today = (value != DAY).then(|| value.to_owned());
                DAY.to_owned()
            }
            "00:00:00.000" if is_todays => {
                let millis = 695 + 300 * self.times;
                self.times += 1;
                format!("17:15:{:02}.{:03}", millis / 1000 + 1, millis % 1000)
            }
            "0ms" | "00ms" | "000ms" => "206ms".to_owned(),
            _ => value.to_owned(),
        }
    }
}

/// Draws a terminal with these lines.
fn svg(lines: &[Vec<Span>]) -> String {
    let (cell_width, cell_height) = CELL;
    let columns = f64::from(u32::try_from(COLUMNS).expect("a few"));
    let rows = f64::from(u32::try_from(lines.len()).expect("a few"));
    let (width, height) = (columns * cell_width + 2.0 * MARGIN, rows * cell_height + 2.0 * MARGIN);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="14">
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
"##
    );
    for (row, line) in (1..).zip(lines) {
        let y = MARGIN + f64::from(row) * cell_height - 5.0;
        write!(svg, r##"<text y="{y:.0}" fill="#e6edf3" xml:space="preserve">"##).expect("a String takes all");
        let mut column = 0;
        for Span { style, text } in line {
            for piece in pieces(text) {
                let x = MARGIN + f64::from(u32::try_from(column).expect("a few")) * cell_width;
                let shown = piece.trim_end().replace('&', "&amp;").replace('<', "&lt;");
                write!(svg, r#"<tspan x="{x:.1}"{}>{shown}</tspan>"#, style.attributes()).expect("a String takes all");
                column += piece.width();
            }
        }
        svg.push_str("</text>\n");
    }
    svg + "</svg>\n"
}

/// Splits a text behind its gaps of several blanks. Each piece gets its own place, so that a font with other widths does not
/// move the columns.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let gap = rest.find("  ").map_or(rest.len(), |gap| {
            let blanks = rest[gap..].bytes().take_while(|byte| *byte == b' ').count();
            gap + blanks
        });
        let piece;
        (piece, rest) = rest.split_at(gap);
        (!piece.is_empty()).then_some(piece)
    })
}
