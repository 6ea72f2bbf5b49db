//! `rtcomm tail`: recorded lines, or every live message under the root.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::Voice;
use super::connection::{self, Asking};
use super::stream::{self, Scope, Stream};
use crate::cli::{Lines, TailArgs, When, WindowArgs};
use crate::exit::Status;
use crate::inbox::{Inbox, Notice, deadline_in};
use crate::output::report::Report;
use crate::output::{self, Printer};
use crate::protocol::filter::{Filter, Prefilter};
use crate::protocol::record::Entry;
use crate::recording::{Input, Item, Reader, Start, Stop};

/// How many lines a followed file begins with, where nothing is said.
const FOLLOW_FROM: u64 = 10;

/// What was being done where writing fails.
const CANNOT_WRITE: &str = "cannot write to standard output";

/// How long the end may take once it is decided: what is left to write.
const PATIENCE: Duration = Duration::from_secs(1);

/// Prints recorded lines where a file is given, else live messages.
///
/// # Errors
/// Wrong usage; a file that cannot be read; a broker that cannot be reached or refuses us; standard output that cannot
/// be written to.
pub(crate) fn run(mut args: TailArgs, voice: Voice) -> Result<Status> {
    match args.file.take() {
        Some(file) => recorded(file, args, voice),
        None => live(args, voice),
    }
}

fn live(args: TailArgs, voice: Voice) -> Result<Status> {
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
    let options = connection::options(connection, Asking::unless(dry_run))?;
    let filters = if filters.is_empty() { vec![topics.root.everything()] } else { filters };
    if dry_run {
        return stream::print_filters(&filters, delivery.share.as_deref());
    }
    let format = match delivery.output {
        Some(_) => voice.file_format(json, &topics),
        None => voice.format(json, &topics),
    };
    Stream { options, filters, events: topics.events, scope: Scope::Messages(filter), format, window }
        .deliver(delivery, voice.report)
}

fn recorded(file: PathBuf, args: TailArgs, voice: Voice) -> Result<Status> {
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
    let now = Timestamp::now();
    let seen = |when: Option<When>| when.map(|when| when.seen_from(now));
    let wanted = Selection { filter: filter.filter()?, since: seen(since), until: seen(until) };
    let start = match lines {
        Some(Lines::All) => Start::Everything,
        Some(Lines::Last(count)) => Start::Last(count),
        None if follow => Start::Last(FOLLOW_FROM),
        None => Start::Everything,
    };
    let stop = Stop::new().context("cannot set up reading")?;
    let input = Input::from(file);
    let name = input.to_string();
    let mut reader = Reader::open(input, start, follow, stop.clone())?;
    let prefilter = wanted.filter.prefilter();
    if let Some(prefilter) = prefilter.clone() {
        reader.set_prefilter(move |lines| prefilter.find(lines));
    }
    let stdout = output::stdout().context("cannot write to standard output")?;
    let inbox = Inbox::open()?;
    inbox.watch_reader(&stdout)?;
    let printer = Printer::new(stdout, voice.format(json, &topics.topics()));
    let left = window.count.map(Into::into);
    let run = Run { name, reader, sink: Sink { prefilter, wanted, printer, printed: 0 }, left, report: voice.report };
    let news = inbox.news();
    thread::spawn(move || news(unless_reader_is_gone(run.print())));
    wait(&inbox, &stop, &window)
}

/// Waits for the end of the input or what ends the run before it.
fn wait(inbox: &Inbox<Result<Option<u64>>>, stop: &Stop, window: &WindowArgs) -> Result<Status> {
    let signal = match inbox.next(window.duration.and_then(deadline_in)) {
        Some(Notice::ReaderGone) => return Ok(Status::Success),
        Some(Notice::News(printed)) => return Ok(window.at_end(printed?)),
        Some(Notice::Signal(signal)) => Some(signal.status()),
        None => None,
    };
    stop.stop();
    // What the thread cannot write within our patience its reader does not want.
    let printed = match inbox.next(deadline_in(PATIENCE)) {
        Some(Notice::News(printed)) => printed?,
        _ => None,
    };
    Ok(signal.unwrap_or_else(|| window.at_deadline(printed)))
}

/// How many records were printed, where that can be known: not where the reader went away, which is no error.
fn unless_reader_is_gone(printed: Result<u64>) -> Result<Option<u64>> {
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
    /// Whether an entry is printed. What became of the connection says something about every selection of messages.
    fn includes(&self, entry: &Entry<'_>) -> bool {
        let Self { filter, since, until } = self;
        let received = entry.received();
        since.is_none_or(|since| received >= since)
            && until.is_none_or(|until| received <= until)
            && match entry {
                _ if filter.matches_everything() => true,
                Entry::Message(line) => line.record().event().is_some_and(|event| filter.matches(event)),
                Entry::Connection(_) => true,
            }
    }
}

/// The thread that reads and prints.
struct Run {
    name: String,
    reader: Reader,
    sink: Sink,
    left: Option<u64>,
    report: Report,
}

/// Where lines go.
struct Sink {
    wanted: Selection,
    prefilter: Option<Prefilter>,
    printer: Printer<File>,
    printed: u64,
}

impl Run {
    /// Prints until the input ends, reading is stopped or enough is printed; returns how many records were printed.
    fn print(mut self) -> Result<u64> {
        while let Some(item) = self.reader.next_item()? {
            match item {
                Item::Line(line) if !self.sink.may_want(line.bytes) => {}
                Item::Line(line) => match Entry::parse(line.bytes) {
                    Ok(entry) => self.sink.take(line.bytes, &entry)?,
                    Err(error) => {
                        let number = line.number()?;
                        self.report.warn(format_args!("{} line {number}: {error}; skipped", self.name));
                    }
                },
                Item::TooLong { number } => {
                    self.report.warn(format_args!("{} line {number}: it is too long; skipped", self.name));
                }
                Item::Idle => self.sink.printer.flush().context(CANNOT_WRITE)?,
                Item::FileChange(notice) => self.report.info(format_args!("{}: {notice}", self.name)),
            }
            if self.left.is_some_and(|count| self.sink.printed >= count) {
                break;
            }
        }
        self.sink.printer.flush().context(CANNOT_WRITE)?;
        Ok(self.sink.printed)
    }
}

impl Sink {
    /// Whether a line is worth reading: cheap, and never no for a record that is wanted.
    fn may_want(&self, line: &[u8]) -> bool {
        self.prefilter.as_ref().is_none_or(|prefilter| prefilter.may_match(line))
    }

    /// Prints what a line tells, where it is wanted.
    fn take(&mut self, line: &[u8], entry: &Entry<'_>) -> Result<()> {
        if self.wanted.includes(entry) {
            self.printer.recorded_line(line, entry).context(CANNOT_WRITE)?;
            self.printed += u64::from(matches!(entry, Entry::Message(_)));
        }
        Ok(())
    }
}
