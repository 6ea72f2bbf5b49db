//! The input of a batch: reads its lines ahead on a thread of its own, and turns each into a request.

use std::fs::Metadata;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use uuid::Uuid;

use super::incoming::Waker;
use crate::commands::recording_error::input_failure;
use crate::output::report::Report;
use crate::protocol::call::Request;
use crate::protocol::topic::{EndpointId, TopicName};
use crate::recording::{Input, Item, Reader, Start, Stop};

/// Maximum number of lines that are read ahead.
const READ_AHEAD: usize = 1_024;

/// A line of the input.
pub(super) enum InputLine {
    /// A complete line, without its line end.
    Complete(Vec<u8>),
    /// A line that is too long to be a request.
    TooLong,
}

/// The content of a line: a JSON object.
#[derive(Deserialize)]
struct BatchLine {
    caller: String,
    callee: String,
    /// The aliases are the keys of call results, which can be placed again.
    #[serde(alias = "sessionID")]
    session_id: Option<Uuid>,
    #[serde(alias = "appContext")]
    app_context: Option<String>,
}

impl BatchLine {
    /// Parses a line.
    ///
    /// # Errors
    /// If the line is not a request; returns the reason.
    fn parse(line: &InputLine) -> Result<Self, String> {
        let InputLine::Complete(line) = line else { return Err("the line is too long".to_owned()) };
        match line.trim_ascii_start().first() {
            None => Err("the line is empty".to_owned()),
            Some(b'{') => serde_json::from_slice(line)
                .map_err(|error| format!("the line is not a valid request: {}", describe(&error))),
            // Reject arrays here: serde would assign their items to the keys, in order.
            Some(_) => Err("the line is not a valid request: it must be a JSON object".to_owned()),
        }
    }
}

/// Describes a JSON error with its column. Leaves out serde's line number, which is always 1 here.
fn describe(error: &serde_json::Error) -> String {
    let column = error.column();
    let text = error.to_string();
    match text.strip_suffix(&format!(" at line {} column {column}", error.line())) {
        Some(message) => format!("{message} at column {column}"),
        None => text,
    }
}

/// Turns lines into requests.
pub(super) struct Parser {
    /// The topic for replies.
    pub(super) from_topic: TopicName,
    /// The application for lines without `app_context`.
    pub(super) app_context: Option<String>,
    /// Whether a line without `session_id` gets a new one.
    pub(super) needs_session_id: bool,
}

impl Parser {
    /// Parses a line as a request with a new transaction ID.
    ///
    /// # Errors
    /// If the line is not a request; returns the reason.
    pub(super) fn request(&self, line: &InputLine) -> Result<Request, String> {
        let BatchLine { caller, callee, session_id, app_context } = BatchLine::parse(line)?;
        let endpoint = |key: &str, id: &str| {
            id.parse::<EndpointId>().map_err(|error| format!("\"{key}\" is not a valid endpoint ID: {error}"))
        };
        Ok(Request {
            trans_id: Uuid::new_v4(),
            caller: endpoint("caller", &caller)?,
            callee: endpoint("callee", &callee)?,
            from_topic: self.from_topic.clone(),
            session_id: session_id.or_else(|| self.needs_session_id.then(Uuid::new_v4)),
            app_context: app_context.or_else(|| self.app_context.clone()),
        })
    }
}

/// Opens the input. The returned [`Stop`] ends reading.
///
/// # Errors
/// If the input cannot be opened.
pub(super) fn open(input: &Input) -> Result<(Stop, Reader)> {
    let stop = Stop::new().context("cannot set up reading")?;
    let reader = Reader::open(input.clone(), Start::Everything, false, stop.clone());
    let reader = reader.map_err(|error| input_failure(&error))?;
    Ok((stop, reader))
}

/// Opens a regular file for one more reading. Returns `None` for any other input, because a pipe can be read only once.
pub(super) fn reopen(input: &Input) -> Option<Reader> {
    let Input::File(path) = input else { return None };
    path.metadata().ok().filter(Metadata::is_file)?;
    open(input).ok().map(|(_, reader)| reader)
}

/// Counts the lines of a regular file. Returns `None` for any other input.
pub(super) fn count_lines(input: &Input) -> Option<u64> {
    let mut reader = reopen(input)?;
    let mut count = 0;
    while next_line(&mut reader).ok()?.is_some() {
        count += 1;
    }
    Some(count)
}

/// The lines to skip, and how to report that there are too few.
struct Skip {
    lines: u64,
    report: Report,
    /// If it is set, reading ended early and the number of lines is unknown.
    stop: Stop,
}

/// Reads the lines after the first `skip` on a thread of its own.
///
/// Wakes the receiving thread after each line and at the end. If reading fails, the error is the last item.
pub(super) fn read_ahead(
    reader: Reader,
    skip: u64,
    report: Report,
    stop: Stop,
    waker: Waker,
) -> Receiver<Result<InputLine>> {
    let (sender, lines) = sync_channel(READ_AHEAD);
    let skip = Skip { lines: skip, report, stop };
    thread::spawn(move || read_lines(reader, &skip, sender, &waker));
    lines
}

fn read_lines(mut reader: Reader, skip: &Skip, sender: SyncSender<Result<InputLine>>, waker: &Waker) {
    send_lines(&mut reader, skip, &sender, waker);
    // Drop the sender before waking the receiver, so that the receiver sees the end.
    drop(sender);
    waker.wake();
}

/// Sends lines until the input ends, reading fails or the receiver is gone.
fn send_lines(reader: &mut Reader, skip: &Skip, sender: &SyncSender<Result<InputLine>>, waker: &Waker) {
    let mut number = 0;
    while let Some(line) = next_line(reader).transpose() {
        let is_last = line.is_err();
        number += 1;
        if number <= skip.lines && !is_last {
            continue;
        }
        if sender.send(line).is_err() || is_last {
            return;
        }
        waker.wake();
    }
    if !skip.stop.is_stopped() {
        warn_of_skip(skip.lines, number, skip.report);
    }
}

/// Warns if `--skip` exceeds the number of lines: the user may have named the wrong input.
pub(super) fn warn_of_skip(skip: u64, lines: u64, report: Report) {
    if skip > lines {
        report.warn(format_args!("--skip {skip} skips everything: the input has only {lines} lines"));
    }
}

/// Reads the next line of the input.
///
/// # Errors
/// If reading fails.
pub(super) fn next_line(reader: &mut Reader) -> Result<Option<InputLine>> {
    loop {
        match reader.next_item().map_err(|error| input_failure(&error))? {
            None => return Ok(None),
            Some(Item::Line(line)) => return Ok(Some(InputLine::Complete(line.bytes.to_vec()))),
            Some(Item::TooLong { .. }) => return Ok(Some(InputLine::TooLong)),
            Some(Item::Idle | Item::FileChange(_)) => {}
        }
    }
}
