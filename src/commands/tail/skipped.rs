//! Warnings about lines that are not records.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::exit::{Failure, Status};
use crate::output::report::Report;

/// Maximum number of lines that are reported one by one. A file that is not a recording may have millions.
const MAX_WARNINGS: u64 = 3;

/// Interval for reporting the number of further lines while a file is followed.
const COUNT_INTERVAL: Duration = Duration::from_mins(1);

/// Reports the lines of an input that are not records: the first ones, and then their number.
pub(super) struct SkippedLines {
    /// The input's name in messages.
    name: String,
    report: Report,
    /// Whether a line was a record.
    has_record: bool,
    skipped: u64,
    /// Warnings held back until a line is a record. If none is, one sentence says more.
    held: Vec<String>,
    /// Number of lines that were counted, but not reported.
    unreported: u64,
    last_count: Instant,
}

impl SkippedLines {
    /// `has_record`: whether a line is already known to be a record.
    pub(super) fn new(name: String, report: Report, has_record: bool) -> Self {
        let last_count = Instant::now();
        Self { name, report, has_record, skipped: 0, held: Vec::new(), unreported: 0, last_count }
    }

    /// Returns the input's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether a line was a record.
    pub(super) fn has_record(&self) -> bool {
        self.has_record
    }

    /// Notes that a line is a record.
    pub(super) fn on_record(&mut self) {
        if !self.has_record {
            self.has_record = true;
            self.report_held();
        }
    }

    /// Returns whether the next line that is skipped is reported by itself, so that its number is needed.
    pub(super) fn is_reported(&self) -> bool {
        self.skipped < MAX_WARNINGS
    }

    /// Reports or counts a line that was skipped.
    pub(super) fn skip_line(&mut self, number: u64, why: impl Display) {
        self.skip(format!("skipped {} line {number}: {why}", self.name));
    }

    /// Reports or counts NUL bytes that were skipped.
    pub(super) fn skip_nuls(&mut self, count: u64) {
        let bytes = if count == 1 { "byte" } else { "bytes" };
        self.skip(format!("skipped {count} NUL {bytes} of {}", self.name));
    }

    /// Counts a line that was skipped.
    pub(super) fn skip_unreported(&mut self) {
        self.skipped += 1;
        self.unreported += 1;
    }

    fn skip(&mut self, warning: String) {
        if !self.is_reported() {
            return self.skip_unreported();
        }
        self.skipped += 1;
        self.held.push(warning);
        if self.has_record {
            self.report_held();
        }
    }

    /// Reports what is held back, before a wait that may be long.
    pub(super) fn on_idle(&mut self) {
        self.report_held();
        if self.unreported > 0 && self.last_count.elapsed() >= COUNT_INTERVAL {
            self.report_count();
        }
    }

    /// Reports the rest, at the end of the run.
    pub(super) fn finish(&mut self) {
        self.report_held();
        if self.unreported > 0 {
            self.report_count();
        }
    }

    /// Reports the rest, at the end of the input.
    ///
    /// # Errors
    /// If there were lines, and none was a record.
    pub(super) fn finish_input(&mut self) -> Result<(), Failure> {
        if self.skipped > 0 && !self.has_record {
            let name = &self.name;
            let message = format!("{name} is not a recording; was it written with --json?");
            return Err(Failure::new(Status::Failure, message));
        }
        self.finish();
        Ok(())
    }

    fn report_held(&mut self) {
        for warning in self.held.drain(..) {
            self.report.warn(warning);
        }
    }

    fn report_count(&mut self) {
        let lines = if self.unreported == 1 { "line" } else { "lines" };
        self.report.warn(format_args!("skipped {} more {lines} of {}", self.unreported, self.name));
        self.unreported = 0;
        self.last_count = Instant::now();
    }
}
