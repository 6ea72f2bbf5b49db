//! `rtcomm tail`: prints recorded lines, or every live message under the root.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::connection::{self, Prompt};
use super::stream::{self, Scope, Stream};
use super::ui::Ui;
use crate::cli::{LineCount, TailArgs, WindowArgs};
use crate::event_loop::{EventLoop, LoopEvent, deadline_in};
use crate::exit::Status;
use crate::output::report::Report;
use crate::output::{self, Printer};
use crate::protocol::filter::{Filter, Prefilter};
use crate::protocol::record::Entry;
use crate::recording::{Input, Item, Reader, Start, Stop};

/// Number of lines printed before following a file, without `--lines`.
const FOLLOW_LINES: u64 = 10;

const CANNOT_WRITE: &str = "cannot write to standard output";

/// Maximum time to write the remaining output after the end is decided.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Prints the recorded lines of a file, or live messages without a file.
///
/// # Errors
/// If the usage is wrong, the file cannot be read, the broker is unreachable or refuses the client, or the output cannot
/// be written to.
pub(crate) fn run(mut args: TailArgs, ui: Ui) -> Result<Status> {
    match args.file.take() {
        Some(file) => print_recording(file, args, ui),
        None => print_live(args, ui),
    }
}

fn print_live(args: TailArgs, ui: Ui) -> Result<Status> {
    let TailArgs {
        file: _,
        lines: _,
        follow: _,
        since: _,
        until: _,
        filters,
        json,
        dry_run,
        filter,
        window,
        delivery,
        connection,
        topics,
    } = args;
    let filter = filter.filter()?;
    let topics = topics.topics();
    let options = connection::options(connection, Prompt::unless(dry_run))?;
    let filters = if filters.is_empty() { vec![topics.root.everything()] } else { filters };
    if dry_run {
        return stream::print_filters(&filters, delivery.share.as_deref());
    }
    let format = match delivery.output {
        Some(_) => ui.file_format(json, &topics),
        None => ui.format(json, &topics),
    };
    Stream { options, filters, events: topics.events, scope: Scope::Messages(filter), format, window }
        .deliver(delivery, ui.report)
}

fn print_recording(file: PathBuf, args: TailArgs, ui: Ui) -> Result<Status> {
    let TailArgs {
        file: _,
        lines,
        follow,
        since,
        until,
        filters: _,
        json,
        dry_run: _,
        filter,
        window,
        delivery: _,
        connection: _,
        topics,
    } = args;
    let now = Timestamp::now().to_zoned_datetime(TimeZone::system());
    let selection = Selection {
        filter: filter.filter()?,
        since: since.map(|time| time.first(&now)),
        until: until.map(|time| time.last(&now)),
    };
    let start = match lines {
        Some(LineCount::All) => Start::Everything,
        Some(LineCount::Last(count)) => Start::Last(count),
        None if follow => Start::Last(FOLLOW_LINES),
        None => Start::Everything,
    };
    let stop = Stop::new().context("cannot set up reading")?;
    let input = Input::from(file);
    let name = input.to_string();
    let mut reader = Reader::open(input, start, follow, stop.clone())?;
    let prefilter = selection.filter.prefilter();
    if let Some(prefilter) = prefilter.clone() {
        reader.set_prefilter(move |lines| prefilter.find(lines));
    }
    let stdout = output::stdout().context(CANNOT_WRITE)?;
    let event_loop = EventLoop::new()?;
    event_loop.watch_reader(&stdout)?;
    let worker = Worker {
        name,
        reader,
        prefilter,
        selection,
        printer: Printer::new(stdout, ui.format(json, &topics.topics())),
        printed: 0,
        limit: window.count.map(Into::into),
        report: ui.report,
    };
    let send = event_loop.sender();
    thread::spawn(move || send(ignore_broken_pipe(worker.run())));
    wait(&event_loop, &stop, &window)
}

/// Waits for the end of the input, or for an event that ends the run earlier.
fn wait(event_loop: &EventLoop<Result<Option<u64>>>, stop: &Stop, window: &WindowArgs) -> Result<Status> {
    let signal = match event_loop.next(window.duration.and_then(deadline_in)) {
        Some(LoopEvent::ReaderGone) => return Ok(Status::Success),
        Some(LoopEvent::Custom(printed)) => return Ok(window.at_end(printed?)),
        Some(LoopEvent::Signal(signal)) => Some(signal.status()),
        None => None,
    };
    stop.stop();
    // If the worker does not finish in time, the reader of standard output is blocked.
    let printed = match event_loop.next(deadline_in(SHUTDOWN_TIMEOUT)) {
        Some(LoopEvent::Custom(printed)) => printed?,
        _ => None,
    };
    Ok(signal.unwrap_or_else(|| window.at_deadline(printed)))
}

/// Returns the number of printed records, or `None` if the pipe is closed, which is not an error.
fn ignore_broken_pipe(printed: Result<u64>) -> Result<Option<u64>> {
    match printed {
        Err(error)
            if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            Ok(None)
        }
        printed => printed.map(Some),
    }
}

/// Which records are printed.
struct Selection {
    filter: Filter,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Selection {
    /// Returns whether an entry is printed. Connection changes pass every filter, because they affect all messages.
    fn includes(&self, entry: &Entry<'_>) -> bool {
        let Self { filter, since, until } = self;
        let received = entry.received();
        since.is_none_or(|since| received >= since)
            && until.is_none_or(|until| received <= until)
            && match entry {
                _ if filter.matches_everything() => true,
                Entry::Message(message) => message.record().event().is_some_and(|event| filter.matches(event)),
                Entry::Connection(_) => true,
            }
    }
}

/// The thread that reads and prints.
struct Worker {
    /// The input's name in messages.
    name: String,
    reader: Reader,
    prefilter: Option<Prefilter>,
    selection: Selection,
    printer: Printer<File>,
    printed: u64,
    /// Maximum number of printed records.
    limit: Option<u64>,
    report: Report,
}

impl Worker {
    /// Prints until the input ends, a stop is requested or the limit is reached. Returns the number of printed records.
    fn run(mut self) -> Result<u64> {
        while let Some(item) = self.reader.next_item()? {
            match item {
                Item::Line(line) if self.prefilter.as_ref().is_some_and(|it| !it.may_match(line.bytes)) => {}
                Item::Line(line) => match Entry::parse(line.bytes) {
                    Ok(entry) if self.selection.includes(&entry) => {
                        self.printer.recorded_line(line.bytes, &entry).context(CANNOT_WRITE)?;
                        self.printed += u64::from(matches!(entry, Entry::Message(_)));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        let number = line.number()?;
                        self.report.warn(format_args!("skipped {} line {number}: {error}", self.name));
                    }
                },
                Item::TooLong { number } => {
                    self.report.warn(format_args!("skipped {} line {number}: too long", self.name));
                }
                Item::Idle => self.printer.flush().context(CANNOT_WRITE)?,
                Item::FileChange(change) => self.report.info(format_args!("{}: {change}", self.name)),
            }
            if self.limit.is_some_and(|limit| self.printed >= limit) {
                break;
            }
        }
        self.printer.flush().context(CANNOT_WRITE)?;
        Ok(self.printed)
    }
}
