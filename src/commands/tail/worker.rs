//! The thread that reads recordings and prints their records.

use std::io;

use super::last_records::LastRecords;
use super::merge_input::MergeInput;
use super::record_printer::{ReadError, RecordPrinter};
use super::selection::{RecordSearch, Selection, for_each_entry};
use super::skipped::SkippedLines;
use crate::commands::recording_error::{describe_change, input_failure};
use crate::exit::{Failure, Status};
use crate::output::report::Report;
use crate::protocol::record::Entry;
use crate::recording::{FileChange, Input, Item, Merge, Reader, Start, Stop};

/// Reads inputs, merged by time, and prints their records.
pub(super) struct RecordingWorker {
    pub(super) inputs: Vec<Input>,
    pub(super) follow: bool,
    /// Number of records to start with, the last ones, or `None` for all.
    pub(super) last: Option<u64>,
    /// Number of records to leave out before the first: the line of the first of the last records contains more.
    pub(super) surplus: u64,
    pub(super) selection: Selection,
    pub(super) printer: RecordPrinter,
    pub(super) report: Report,
    pub(super) stop: Stop,
    /// The status of the first error of an input.
    pub(super) failed: Option<Status>,
}

/// What was printed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printed {
    /// Number of records.
    pub(super) records: u64,
    /// The status of the first error of an input. It has already been reported.
    pub(super) failed: Option<Status>,
}

impl RecordingWorker {
    /// Prints until the inputs end, a stop is requested or the limit is reached.
    ///
    /// # Errors
    /// If the output cannot be written. Errors of inputs are reported.
    pub(super) fn run(mut self) -> io::Result<Printed> {
        let mut inputs = std::mem::take(&mut self.inputs);
        match inputs.pop() {
            Some(input) if inputs.is_empty() => {
                let end = self.read_one(input);
                self.report(end)?;
            }
            input => {
                inputs.extend(input);
                self.read_merged(inputs)?;
            }
        }
        self.printer.finish()?;
        Ok(Printed { records: self.printer.printed(), failed: self.failed })
    }

    /// Reports the error of an input.
    ///
    /// # Errors
    /// If the output cannot be written.
    fn report(&mut self, end: Result<(), ReadError>) -> io::Result<()> {
        match end {
            Ok(()) => Ok(()),
            Err(ReadError::Input(failure)) => {
                self.printer.flush()?;
                self.failed = self.failed.or(Some(failure.status()));
                self.report.error(&failure.into());
                Ok(())
            }
            Err(ReadError::Output(error)) => Err(error),
        }
    }

    /// Opens an input, at its last records if they are requested and it can be read from there on.
    fn open(&self, input: Input) -> Result<(Reader, SkippedLines), ReadError> {
        let name = input.to_string();
        let mut search = RecordSearch::new(&self.selection);
        let start = match self.last {
            Some(count) => Start::Last(count, &mut search),
            None => Start::Everything,
        };
        let reader = Reader::open(input, start, self.follow, self.stop.clone());
        let reader = reader.map_err(|error| ReadError::Input(input_failure(&error)))?;
        Ok((reader, SkippedLines::new(name, self.report, search.has_record())))
    }

    fn read_one(&mut self, input: Input) -> Result<(), ReadError> {
        let (reader, skipped) = self.open(input)?;
        match (self.last, reader.last_count()) {
            (None, _) => self.read(reader, skipped, None),
            (Some(count), Some(found)) => {
                self.surplus = found.saturating_sub(count);
                self.read(reader, skipped, None)
            }
            (Some(count), None) => {
                let mut last = LastRecords::new(count);
                let end = self.read(reader, skipped, Some(&mut last));
                self.print_last(last)?;
                end
            }
        }
    }

    /// Reads several inputs as one, in the order of the times of their records.
    ///
    /// # Errors
    /// If the output cannot be written. Errors of inputs are reported.
    fn read_merged(&mut self, inputs: Vec<Input>) -> io::Result<()> {
        let mut sources = Vec::new();
        for input in inputs {
            match self.open(input) {
                Ok((reader, skipped)) => {
                    let prefilter = self.selection.prefilter().cloned();
                    let stop = self.stop.clone();
                    sources.push(MergeInput::new(sources.len(), reader, prefilter, skipped, self.report, stop));
                }
                Err(error) => self.report(Err(error))?,
            }
        }
        let mut last = self.last.map(LastRecords::new);
        let mut merge = Merge::new(sources);
        while !self.printer.is_full() {
            let end = match merge.next_source(&mut self.printer) {
                Ok(None) => break,
                Ok(Some(MergeInput { number, reader, skipped, line, place, .. })) => {
                    self.printer.select_source(*number);
                    self.take_line(line, || reader.line_number(*place), skipped, last.as_mut())
                }
                Err(error) => Err(error),
            };
            self.report(end)?;
        }
        for mut source in merge.into_sources() {
            source.finish();
        }
        let end = last.map_or(Ok(()), |last| self.print_last(last));
        self.report(end)
    }

    fn print_last(&mut self, last: LastRecords) -> Result<(), ReadError> {
        for line in last.into_lines() {
            if let Ok(entry) = Entry::parse(&line) {
                self.print_entry(&line, &entry)?;
            }
        }
        Ok(())
    }

    fn print_entry(&mut self, line: &[u8], entry: &Entry<'_>) -> Result<(), ReadError> {
        if self.surplus > 0 && self.selection.counts(entry) {
            self.surplus -= 1;
            return Ok(());
        }
        self.printer.print(line, entry).map_err(ReadError::Output)
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
                Ok(None) => return skipped.finish_input().map_err(ReadError::Input),
                Err(error) => break Err(ReadError::Input(input_failure(&error))),
            }
            if self.printer.is_full() {
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
        last: Option<&mut LastRecords>,
    ) -> Result<(), ReadError> {
        match item {
            // jq skips such lines too.
            Item::Line(line) if line.bytes.trim_ascii().is_empty() => {}
            Item::Line(line) => self.take_line(line.bytes, || line.number(), skipped, last)?,
            Item::TooLong { number } => skipped.skip_line(number, "too long"),
            Item::Idle => {
                self.printer.idle(self.follow).map_err(ReadError::Output)?;
                skipped.on_idle();
            }
            Item::FileChange(FileChange::Nuls { count }) => skipped.skip_nuls(count),
            Item::FileChange(change) => {
                self.report.info(format_args!("{}: {}", skipped.name(), describe_change(&change)));
            }
        }
        Ok(())
    }

    /// Prints the records of a line, or keeps them in `last`. `number` returns the number of the line.
    fn take_line(
        &mut self,
        line: &[u8],
        number: impl Fn() -> io::Result<u64>,
        skipped: &mut SkippedLines,
        mut last: Option<&mut LastRecords>,
    ) -> Result<(), ReadError> {
        if skipped.has_record() && self.printer.pass(line, &self.selection).map_err(ReadError::Output)? {
            return Ok(());
        }
        for_each_entry(line, |bytes, entry| {
            match (entry, &mut last) {
                (Ok(entry), last) => {
                    skipped.on_record();
                    match last {
                        _ if !self.selection.includes(entry) => {
                            self.printer.read_unprinted(bytes, entry, &self.selection);
                        }
                        Some(last) => {
                            self.printer.read_unprinted(bytes, entry, &self.selection);
                            last.push(bytes, self.selection.counts(entry));
                        }
                        None => self.print_entry(bytes, entry)?,
                    }
                }
                (Err(error), _) if skipped.is_reported() => {
                    let number = number().map_err(|error| {
                        let message = format!("cannot read {}: {error}", skipped.name());
                        ReadError::Input(Failure::new(Status::Failure, message))
                    })?;
                    skipped.skip_line(number, error);
                }
                (Err(_), _) => skipped.skip_unreported(),
            }
            Ok(())
        })
    }
}
