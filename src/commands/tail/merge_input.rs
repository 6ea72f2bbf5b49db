//! An input among several, which are merged by the times of their records.

use jiff::Timestamp;

use super::record_printer::{ReadError, RecordPrinter};
use super::skipped::SkippedLines;
use crate::commands::recording_error::{describe_change, input_failure};
use crate::output::report::Report;
use crate::protocol::filter::Prefilter;
use crate::protocol::record::received_of;
use crate::recording::{FileChange, Item, LinePlace, MergeSource, Reader, Stop};

/// An input, and the line that comes next from it.
pub(super) struct MergeInput {
    /// The input's number among all.
    pub(super) number: usize,
    pub(super) reader: Reader,
    prefilter: Option<Prefilter>,
    report: Report,
    stop: Stop,
    pub(super) skipped: SkippedLines,
    /// The current line.
    pub(super) line: Vec<u8>,
    /// The place of the current line in `reader`.
    pub(super) place: LinePlace,
    /// Whether it was read to its end.
    has_ended: bool,
    /// The time of the current line, or of the one before if it has none.
    received: Timestamp,
}

impl MergeInput {
    pub(super) fn new(
        number: usize,
        reader: Reader,
        prefilter: Option<Prefilter>,
        skipped: SkippedLines,
        report: Report,
        stop: Stop,
    ) -> Self {
        Self {
            number,
            reader,
            prefilter,
            report,
            stop,
            skipped,
            line: Vec::new(),
            place: LinePlace::default(),
            has_ended: false,
            received: Timestamp::MIN,
        }
    }

    /// Reports the rest, if the input was not read to its end.
    pub(super) fn finish(&mut self) {
        if !self.has_ended {
            self.skipped.finish();
        }
    }
}

impl MergeSource for MergeInput {
    type Context = RecordPrinter;
    type Error = ReadError;

    /// Reads the next line that is not empty.
    fn advance(&mut self, printer: &mut RecordPrinter) -> Result<Option<Timestamp>, ReadError> {
        loop {
            if self.skipped.has_record()
                && let Some(prefilter) = self.prefilter.take()
            {
                self.reader.set_prefilter(move |lines| prefilter.find(lines));
            }
            let item = self.reader.next_item();
            match item.map_err(|error| ReadError::Input(input_failure(&error)))? {
                Some(Item::Line(line)) if line.bytes.trim_ascii().is_empty() => {}
                Some(Item::Line(line)) => {
                    self.line.clear();
                    self.line.extend_from_slice(line.bytes);
                    self.place = line.place();
                    self.received = received_of(&self.line).unwrap_or(self.received);
                    return Ok(Some(self.received));
                }
                Some(Item::TooLong { number }) => self.skipped.skip_line(number, "too long"),
                Some(Item::Idle) => {
                    printer.idle(false).map_err(ReadError::Output)?;
                    self.skipped.on_idle();
                }
                Some(Item::FileChange(FileChange::Nuls { count })) => self.skipped.skip_nuls(count),
                Some(Item::FileChange(change)) => {
                    self.report.info(format_args!("{}: {}", self.skipped.name(), describe_change(&change)));
                }
                None if self.stop.is_stopped() => return Ok(None),
                None => {
                    self.has_ended = true;
                    let end = self.skipped.finish_input();
                    return end.map(|()| None).map_err(ReadError::Input);
                }
            }
        }
    }
}
