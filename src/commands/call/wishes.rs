//! The input of a batch: its lines, and the requests that they ask for.

use std::fs::Metadata;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use uuid::Uuid;

use super::client::Waker;
use crate::output::report::Report;
use crate::protocol::call::Request;
use crate::protocol::topic::{EndpointId, TopicName};
use crate::recording::{Input, Item, Reader, Start, Stop};

/// How many lines are read ahead.
const AHEAD: usize = 1_024;

/// A line of the input.
pub(super) enum Line {
    Whole(Vec<u8>),
    /// One that is too long for a request.
    TooLong,
}

/// What a line of the input asks for.
#[derive(Deserialize)]
struct Wish {
    caller: String,
    callee: String,
    /// The lines that tell of outcomes have the other name: they may be what is placed again.
    #[serde(alias = "sessionID")]
    session_id: Option<Uuid>,
    app_context: Option<String>,
}

impl Wish {
    /// Reads a line, or says what is wrong with it.
    fn read(line: &Line) -> Result<Self, String> {
        let Line::Whole(line) = line else { return Err("the line is too long".to_owned()) };
        match line.trim_ascii_start().first() {
            None => Err("the line is empty".to_owned()),
            Some(b'{') => {
                serde_json::from_slice(line).map_err(|error| format!("the line is no request: {}", told(&error)))
            }
            // An array is not looked into: serde would take its items for the values of the keys, in their order.
            Some(_) => Err("the line is no request: a request is a JSON object".to_owned()),
        }
    }
}

/// What is wrong with a line, and where in it; without serde's number of the line, which is 1 in any line of the input.
fn told(error: &serde_json::Error) -> String {
    let column = error.column();
    let text = error.to_string();
    match text.strip_suffix(&format!(" at line {} column {column}", error.line())) {
        Some(what) => format!("{what} at column {column}"),
        None => text,
    }
}

/// Makes requests of lines.
pub(super) struct Parser {
    pub(super) from_topic: TopicName,
    /// The application that is meant where a line names none.
    pub(super) app_context: Option<String>,
}

impl Parser {
    pub(super) fn request(&self, line: &Line) -> Result<Request, String> {
        let Wish { caller, callee, session_id, app_context } = Wish::read(line)?;
        let endpoint = |key: &str, id: &str| {
            id.parse::<EndpointId>().map_err(|error| format!("\"{key}\" is no endpoint ID: {error}"))
        };
        Ok(Request {
            trans_id: Uuid::new_v4(),
            caller: endpoint("caller", &caller)?,
            callee: endpoint("callee", &callee)?,
            from_topic: self.from_topic.clone(),
            session_id,
            app_context: app_context.or_else(|| self.app_context.clone()),
        })
    }
}

/// Opens the input, and what ends its reading.
pub(super) fn open(input: &Input) -> Result<(Stop, Reader)> {
    let stop = Stop::new().context("cannot set up reading")?;
    let reader = Reader::open(input.clone(), Start::Everything, false, stop.clone())?;
    Ok((stop, reader))
}

/// How many lines a file has; of anything else that is not known, and it is not opened: what comes out of a pipe comes
/// out once.
pub(super) fn count_lines(input: &Input) -> Option<u64> {
    let Input::File(path) = input else { return None };
    path.metadata().ok().filter(Metadata::is_file)?;
    let (_, mut reader) = open(input).ok()?;
    let mut count = 0;
    while next_line(&mut reader).ok()?.is_some() {
        count += 1;
    }
    Some(count)
}

/// What the thread that reads leaves out, and tells of it.
struct Skip {
    lines: u64,
    report: Report,
    /// Where reading was ended early, how many lines there are is not known.
    stop: Stop,
}

/// Reads the lines on a thread of their own, but for the first `skip`; rings when there is one, and at the end. The last is
/// the error where they cannot be read.
pub(super) fn read_ahead(
    reader: Reader,
    skip: u64,
    report: Report,
    stop: Stop,
    waker: Waker,
) -> Receiver<Result<Line>> {
    let (lines, read) = sync_channel(AHEAD);
    let skip = Skip { lines: skip, report, stop };
    thread::spawn(move || read_lines(reader, &skip, lines, &waker));
    read
}

fn read_lines(mut reader: Reader, skip: &Skip, lines: SyncSender<Result<Line>>, waker: &Waker) {
    hand_over_lines(&mut reader, skip, &lines, waker);
    // Whoever is woken by the last ring must find the end.
    drop(lines);
    waker.wake();
}

/// Hands the lines over until there is none, the last of them the error where it cannot be read, or until nobody wants
/// them.
fn hand_over_lines(reader: &mut Reader, skip: &Skip, lines: &SyncSender<Result<Line>>, waker: &Waker) {
    let mut number = 0;
    while let Some(line) = next_line(reader).transpose() {
        let is_last = line.is_err();
        number += 1;
        if number <= skip.lines && !is_last {
            continue;
        }
        if lines.send(line).is_err() || is_last {
            return;
        }
        waker.wake();
    }
    if !skip.stop.is_stopped() {
        warn_of_skip(skip.lines, number, skip.report);
    }
}

/// Says so where more lines are left out than the input has: another input may have been meant.
pub(super) fn warn_of_skip(skip: u64, lines: u64, report: Report) {
    if skip > lines {
        report.warn(format_args!("--skip {skip} leaves nothing: the input has only {lines} lines"));
    }
}

/// The next line of the input.
pub(super) fn next_line(reader: &mut Reader) -> Result<Option<Line>> {
    loop {
        match reader.next_item()? {
            None => return Ok(None),
            Some(Item::Line(line)) => return Ok(Some(Line::Whole(line.bytes.to_vec()))),
            Some(Item::TooLong { .. }) => return Ok(Some(Line::TooLong)),
            Some(Item::Idle | Item::FileChange(_)) => {}
        }
    }
}
