//! The thread that reads recordings and prints their records.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};

use super::last_records::LastRecords;
use super::selection::{RecordSearch, Selection, for_each_entry};
use super::skipped::SkippedLines;
use crate::exit::{Status, status_of};
use crate::output::Printer;
use crate::output::report::Report;
use crate::output::target::Target;
use crate::protocol::record::Entry;
use crate::recording::{FileChange, Input, Item, Reader, Start, Stop};

/// Reads inputs, one after the other, and prints their records.
pub(super) struct Worker {
    pub(super) inputs: Vec<Input>,
    pub(super) follow: bool,
    /// Number of records to start with, the last ones, or `None` for all.
    pub(super) last: Option<u64>,
    /// Number of records to leave out before the first: the line of the first of the last records contains more.
    pub(super) surplus: u64,
    pub(super) selection: Selection,
    pub(super) output: Output,
    pub(super) report: Report,
    pub(super) stop: Stop,
}

/// What was printed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printed {
    /// Number of messages.
    pub(super) messages: u64,
    /// The status of the first error of an input. It has already been reported.
    pub(super) failed: Option<Status>,
}

/// An input, or what is left of it to print.
enum Part {
    Unopened(Input),
    Opened {
        name: String,
        reader: Box<Reader>,
        /// Whether a line is known to be a record.
        has_record: bool,
    },
    /// An input that was read to its end.
    Read {
        records: LastRecords,
        end: Result<(), ReadError>,
    },
}

/// Why reading and printing an input ended early.
enum ReadError {
    /// The input cannot be read. Others may be.
    Input(anyhow::Error),
    /// The output cannot be written.
    Output(anyhow::Error),
}

impl Worker {
    /// Prints until the inputs end, a stop is requested or the limit is reached.
    ///
    /// # Errors
    /// If the output cannot be written. Errors of inputs are reported.
    pub(super) fn run(mut self) -> Result<Printed> {
        let inputs = std::mem::take(&mut self.inputs);
        let parts = match self.last {
            Some(count) => self.find_last(inputs, count),
            None => inputs.into_iter().map(Part::Unopened).collect(),
        };
        let mut failed = None;
        for part in parts {
            match self.print(part) {
                Ok(()) => {}
                Err(ReadError::Input(error)) => {
                    self.output.flush()?;
                    self.report.error(&error);
                    failed = failed.or(Some(status_of(&error)));
                }
                Err(ReadError::Output(error)) => return Err(error),
            }
        }
        self.output.flush()?;
        Ok(Printed { messages: self.output.printed, failed })
    }

    /// Finds where the last records begin, from the last input to the first.
    fn find_last(&mut self, inputs: Vec<Input>, count: u64) -> VecDeque<Part> {
        let mut parts = VecDeque::new();
        let mut missing = count;
        for input in inputs.into_iter().rev() {
            if missing == 0 && !parts.is_empty() {
                break;
            }
            let name = input.to_string();
            let mut search = RecordSearch::new(&self.selection);
            let start = Start::Last(missing, &mut search);
            let reader = match Reader::open(input, start, self.follow, self.stop.clone()) {
                Ok(reader) => reader,
                Err(error) => {
                    let end = Err(ReadError::Input(error));
                    parts.push_front(Part::Read { records: LastRecords::new(0), end });
                    continue;
                }
            };
            if let Some(found) = reader.last_count() {
                self.surplus = found.saturating_sub(missing);
                missing = missing.saturating_sub(found);
                parts.push_front(Part::Opened { name, reader: Box::new(reader), has_record: search.has_record() });
            } else {
                let mut records = LastRecords::new(missing);
                let skipped = SkippedLines::new(name, self.report, false);
                let end = self.read(reader, skipped, Some(&mut records));
                missing -= records.count();
                parts.push_front(Part::Read { records, end });
            }
        }
        parts
    }

    fn print(&mut self, part: Part) -> Result<(), ReadError> {
        match part {
            Part::Unopened(_) if self.is_over() => Ok(()),
            Part::Unopened(input) => {
                let skipped = SkippedLines::new(input.to_string(), self.report, false);
                let reader = Reader::open(input, Start::Everything, self.follow, self.stop.clone());
                self.read(reader.map_err(ReadError::Input)?, skipped, None)
            }
            Part::Opened { .. } if self.is_over() => Ok(()),
            Part::Opened { name, reader, has_record } => {
                self.read(*reader, SkippedLines::new(name, self.report, has_record), None)
            }
            Part::Read { records, end } => {
                for line in records.into_lines() {
                    if let Ok(entry) = Entry::parse(&line) {
                        self.print_entry(&line, &entry)?;
                    }
                }
                end
            }
        }
    }

    fn print_entry(&mut self, line: &[u8], entry: &Entry<'_>) -> Result<(), ReadError> {
        if self.surplus > 0 && self.selection.counts(entry) {
            self.surplus -= 1;
            return Ok(());
        }
        self.output.print(line, entry).map_err(ReadError::Output)
    }

    fn is_over(&self) -> bool {
        self.output.is_full() || self.stop.is_stopped()
    }

    /// Reads an input to its end, and prints its records, or keeps them in `last`.
    fn read(
        &mut self,
        mut reader: Reader,
        mut skipped: SkippedLines,
        mut last: Option<&mut LastRecords>,
    ) -> Result<(), ReadError> {
        let end = loop {
            if let Some(prefilter) = self.selection.prefilter()
                && skipped.has_record()
                && !reader.has_prefilter()
            {
                let prefilter = prefilter.clone();
                reader.set_prefilter(move |lines| prefilter.find(lines));
            }
            match reader.next_item() {
                Ok(Some(item)) => self.take(item, &mut skipped, last.as_deref_mut())?,
                Ok(None) if self.stop.is_stopped() => break Ok(()),
                Ok(None) => return skipped.finish_input().map_err(|failure| ReadError::Input(failure.into())),
                Err(error) => break Err(ReadError::Input(error)),
            }
            if self.output.is_full() {
                break Ok(());
            }
        };
        skipped.finish();
        end
    }

    fn take(
        &mut self,
        item: Item<'_>,
        skipped: &mut SkippedLines,
        mut last: Option<&mut LastRecords>,
    ) -> Result<(), ReadError> {
        match item {
            // jq skips such lines too.
            Item::Line(line) if line.bytes.trim_ascii().is_empty() => {}
            Item::Line(line) => for_each_entry(line.bytes, |bytes, entry| {
                match (entry, &mut last) {
                    (Ok(entry), last) => {
                        skipped.on_record();
                        match last {
                            _ if !self.selection.includes(&entry) => {}
                            Some(last) => last.push(bytes, self.selection.counts(&entry)),
                            None => self.print_entry(bytes, &entry)?,
                        }
                    }
                    (Err(error), _) if skipped.is_reported() => {
                        let number = line.number().map_err(|error| ReadError::Input(error.into()))?;
                        skipped.skip_line(number, error);
                    }
                    (Err(_), _) => skipped.skip_unreported(),
                }
                Ok(())
            })?,
            Item::TooLong { number } => skipped.skip_line(number, "too long"),
            Item::Idle => {
                self.output.flush().map_err(ReadError::Output)?;
                skipped.on_idle();
            }
            Item::FileChange(FileChange::Nuls { count }) => skipped.skip_nuls(count),
            Item::FileChange(change) => self.report.info(format_args!("{}: {change}", skipped.name())),
        }
        Ok(())
    }
}

/// Where records are printed.
pub(super) struct Output {
    printer: Printer<Target>,
    /// Number of printed messages. Connection changes do not count.
    printed: u64,
    /// Maximum number of printed messages.
    limit: Option<u64>,
    /// Whether the file is to be opened again, because it was renamed.
    is_renamed: Arc<AtomicBool>,
    cannot_write: String,
}

impl Output {
    /// Prints at most `limit` messages. If `is_renamed` is set, the file is opened again before the next record.
    pub(super) fn new(
        printer: Printer<Target>,
        limit: Option<u64>,
        is_renamed: Arc<AtomicBool>,
        cannot_write: String,
    ) -> Self {
        Self { printer, printed: 0, limit, is_renamed, cannot_write }
    }

    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.printed >= limit)
    }

    fn print(&mut self, line: &[u8], entry: &Entry<'_>) -> Result<()> {
        if self.is_full() {
            return Ok(());
        }
        let written = self.reopen_if_renamed().and_then(|()| self.printer.recorded_line(line, entry));
        written.context(self.cannot_write.clone())?;
        self.printed += u64::from(matches!(entry, Entry::Message(_)));
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let written = self.reopen_if_renamed().and_then(|()| self.printer.flush());
        written.context(self.cannot_write.clone())
    }

    fn reopen_if_renamed(&mut self) -> io::Result<()> {
        if self.is_renamed.swap(false, Ordering::Relaxed) {
            self.printer.flush()?;
            self.printer.out().reopen()?;
        }
        Ok(())
    }
}
