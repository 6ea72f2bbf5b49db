//! `tail FILE`: turns flags into a worker, and waits for its end, the deadline or a signal.

use std::fs::Metadata;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::record_printer::{Mode, RecordPrinter};
use super::selection::Selection;
use super::worker::{Printed, RecordingWorker};
use crate::cli::{CallRecordSettings, DeliveryArgs, LineCount, TailArgs, WindowArgs};
use crate::commands::call_records::CallRecords;
use crate::commands::recording_error::input_failure;
use crate::commands::ui::{CANNOT_WRITE, Ui, open_output};
use crate::event_loop::{EventLoop, LoopEvent, deadline_in};
use crate::exit::{Failure, Status};
use crate::output::report::Report;
use crate::output::target::Target;
use crate::output::{Format, Printer, ignore_broken_pipe};
use crate::protocol::anonymize::Anonymizer;
use crate::protocol::cdr::CallSelection;
use crate::protocol::filter::Filter;
use crate::protocol::topic::Topics;
use crate::recording::{Input, InputError, InputErrorKind, SourceError, Stop};

/// Number of records printed before following a file, without `--lines`.
const FOLLOW_RECORDS: u64 = 10;

/// Maximum time to write the remaining output after the end is decided.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// What the worker and signals report.
enum TailEvent {
    /// The file that records go to was renamed.
    Rotated,
    /// The worker has ended.
    Ended(io::Result<Printed>),
}

/// Prints the records of files, merged by time.
///
/// # Errors
/// If the usage is wrong, a file cannot be read, or the output cannot be written to.
pub(super) fn run(args: TailArgs, ui: Ui) -> Result<Status> {
    let TailArgs {
        files,
        lines,
        follow,
        since,
        until,
        filters: _,
        format,
        anonymize,
        dry_run: _,
        display: _,
        filter,
        calls,
        window,
        delivery,
        connection: _,
        topics,
    } = args;
    let now = Timestamp::now().to_zoned_datetime(TimeZone::system());
    let period = Period { since: since.map(|time| time.first(&now)), until: until.map(|time| time.last(&now)) };
    let DeliveryArgs { output, fsync, .. } = delivery;
    let json = format.is_json(output.is_some());
    let topics = topics.topics();
    let last = match lines {
        Some(LineCount::All) => None,
        Some(LineCount::Last(count)) => Some(count),
        None => follow.then_some(FOLLOW_RECORDS),
    };
    let plan = match calls.settings()? {
        Some(settings) => {
            // What goes on while a file is followed is not needed for a summary of everything.
            let last = last.filter(|_| lines.is_some() || settings.summary.is_none());
            Plan::calls(&settings, filter.call_selection(settings.flag)?, period, last)
        }
        None if anonymize && !json => {
            let failure = Failure::usage("--anonymize needs --json");
            return Err(failure.hint("it writes a recording, which consists of JSON lines").into());
        }
        None if anonymize => Plan::records(filter.filter()?, period, last).anonymized(&topics),
        None => Plan::records(filter.filter()?, period, last),
    };
    let stop = Stop::new().context("cannot set up reading")?;
    let inputs: Vec<Input> = files.into_iter().map(Input::from).collect();
    check(&inputs, follow, output.as_deref(), &stop)?;
    let (target, format) = match output {
        Some(path) => (open_output(path, fsync)?, ui.file_format(json, &topics)),
        None => (Target::stdout().context(CANNOT_WRITE)?, ui.format(json, &topics)),
    };
    RecordedRun { inputs, follow, plan, stop, window }.print(target, format, ui.report)
}

/// The times of the records to print, both included.
#[derive(Clone, Copy)]
struct Period {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

/// Which records to print, and as what.
struct Plan {
    selection: Selection,
    /// Number of records to start with, the last ones, or `None` for all.
    last: Option<u64>,
    mode: Mode,
}

impl Plan {
    /// Makes a plan that prints the records that match `filter`.
    fn records(filter: Filter, Period { since, until }: Period, last: Option<u64>) -> Self {
        Self { selection: Selection::new(filter, since, until), last, mode: Mode::Records }
    }

    /// Makes the plan print pseudonyms in place of names. They are collected from all records, also from those that are not printed.
    fn anonymized(self, topics: &Topics) -> Self {
        let mode = Mode::Anonymized(Box::new(Anonymizer::new(topics.clone())));
        Self { selection: self.selection.without_prefilter(), mode, ..self }
    }

    /// Makes a plan that prints call records or their summary. All records are read; `last` limits the calls.
    fn calls(
        settings: &CallRecordSettings,
        selection: CallSelection,
        Period { since, until }: Period,
        last: Option<u64>,
    ) -> Self {
        let mut calls = CallRecords::new(settings, selection);
        if let Some(last) = last {
            calls.keep_last(last);
        }
        let since = since.map(|since| calls.since(since));
        let selection = Selection::new(Filter::default(), since, until);
        Self { selection, last: None, mode: Mode::Calls(Box::new(calls)) }
    }
}

/// What the command needs once the flags are checked.
struct RecordedRun {
    inputs: Vec<Input>,
    follow: bool,
    plan: Plan,
    stop: Stop,
    window: WindowArgs,
}

impl RecordedRun {
    /// Starts the worker, and waits for its end, the deadline or a signal.
    ///
    /// # Errors
    /// If signals cannot be handled, or records cannot be written.
    fn print(self, target: Target, format: Format, report: Report) -> Result<Status> {
        let Self { inputs, follow, plan: Plan { selection, last, mode }, stop, window } = self;
        let event_loop = EventLoop::new()?;
        match &target {
            Target::Stdout(stdout) => event_loop.watch_reader(stdout)?,
            Target::File { .. } => event_loop.on_hangup(|| TailEvent::Rotated)?,
        }
        let cannot_write = format!("cannot write to {target}");
        let is_renamed = Arc::new(AtomicBool::new(false));
        let limit = window.count.map(Into::into);
        let printer = RecordPrinter::new(Printer::new(target, format), mode, limit, is_renamed.clone());
        let worker = RecordingWorker {
            inputs,
            follow,
            last,
            surplus: 0,
            selection,
            printer,
            report,
            stop: stop.clone(),
            failed: None,
        };
        let send = event_loop.sender();
        thread::spawn(move || send(TailEvent::Ended(worker.run())));
        wait(&event_loop, &stop, &is_renamed, &window).context(cannot_write)
    }
}

/// Checks all inputs before anything is printed.
fn check(inputs: &[Input], follow: bool, output: Option<&Path>, stop: &Stop) -> Result<()> {
    if follow && inputs.len() > 1 {
        return Err(Failure::usage("cannot follow several files").hint("give --follow one FILE").into());
    }
    for input in inputs {
        input.check(follow, stop).map_err(|error| input_failure(&error))?;
    }
    let output = output.and_then(|path| path.metadata().ok()).filter(Metadata::is_file);
    if let Some(output) = output
        && let Some(input) = inputs.iter().find(|input| input.is_same_file(&output))
    {
        let error = InputError { input: input.clone(), kind: InputErrorKind::Open(SourceError::IsOutput) };
        return Err(input_failure(&error).into());
    }
    Ok(())
}

/// Waits for the end of the inputs, or for an event that ends the run earlier.
///
/// # Errors
/// If records cannot be written.
fn wait(
    event_loop: &EventLoop<TailEvent>,
    stop: &Stop,
    is_renamed: &AtomicBool,
    window: &WindowArgs,
) -> io::Result<Status> {
    let deadline = window.duration.and_then(deadline_in);
    let signal = loop {
        match event_loop.next(deadline) {
            Some(LoopEvent::ReaderGone) => return Ok(Status::Success),
            Some(LoopEvent::Custom(TailEvent::Rotated)) => is_renamed.store(true, Ordering::Relaxed),
            Some(LoopEvent::Custom(TailEvent::Ended(printed))) => {
                let printed = unless_reader_gone(printed)?;
                let failed = printed.and_then(|printed| printed.failed);
                return Ok(failed.unwrap_or_else(|| window.at_end(printed.map(|printed| printed.records))));
            }
            Some(LoopEvent::Signal(signal)) => break Some(signal.status()),
            None => break None,
        }
    };
    stop.stop();
    // If the worker does not finish in time, the reader of standard output is blocked.
    let end = event_loop.await_shutdown(SHUTDOWN_TIMEOUT, |event| match event {
        LoopEvent::Custom(TailEvent::Ended(printed)) => Some(unless_reader_gone(printed)),
        LoopEvent::ReaderGone => Some(Ok(None)),
        LoopEvent::Custom(TailEvent::Rotated) | LoopEvent::Signal(_) => None,
    });
    let printed = end.unwrap_or(Ok(None))?;
    Ok(signal.unwrap_or_else(|| window.at_deadline(printed.map(|printed| printed.records))))
}

/// Returns `None` if the reader of standard output is gone, which is not an error.
fn unless_reader_gone(printed: io::Result<Printed>) -> io::Result<Option<Printed>> {
    match printed {
        Ok(printed) => Ok(Some(printed)),
        Err(error) => ignore_broken_pipe(Err(error)).map(|()| None),
    }
}
