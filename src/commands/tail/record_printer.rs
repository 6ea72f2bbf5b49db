//! Prints selected records: as they are, with pseudonyms, or as call records.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::selection::Selection;
use crate::commands::call_records::CallRecords;
use crate::exit::Failure;
use crate::output::Printer;
use crate::output::target::Target;
use crate::protocol::anonymize::Anonymizer;
use crate::protocol::record::Entry;

/// Why reading and printing an input ended early.
pub(super) enum ReadError {
    /// The input cannot be read. Others may be.
    Input(Failure),
    /// The output cannot be written.
    Output(io::Error),
}

/// Prints selected records.
pub(super) struct RecordPrinter {
    printer: Printer<Target>,
    mode: Mode,
    /// Number of printed records. Connection changes do not count.
    printed: u64,
    /// Maximum number of printed records.
    limit: Option<u64>,
    /// Whether the file is to be opened again, because it was renamed.
    is_renamed: Arc<AtomicBool>,
}

/// What is printed.
pub(super) enum Mode {
    /// The records themselves.
    Records,
    /// The lines of the records with pseudonyms in place of names.
    Anonymized(Box<Anonymizer>),
    /// The calls that the records are about.
    Calls(Box<CallRecords>),
}

impl RecordPrinter {
    /// Prints at most `limit` records. If `is_renamed` is set, the file is opened again before the next record.
    pub(super) fn new(printer: Printer<Target>, mode: Mode, limit: Option<u64>, is_renamed: Arc<AtomicBool>) -> Self {
        Self { printer, mode, printed: 0, limit, is_renamed }
    }

    /// Returns the number of printed records.
    pub(super) fn printed(&self) -> u64 {
        self.printed
    }

    /// Returns whether no further record is printed.
    pub(super) fn is_full(&self) -> bool {
        self.left() == Some(0)
    }

    fn left(&self) -> Option<u64> {
        self.limit.map(|limit| limit.saturating_sub(self.printed))
    }

    /// Reads a selected record, and prints it or the calls that end with it.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(super) fn print(&mut self, line: &[u8], entry: &Entry<'_>) -> io::Result<()> {
        if self.is_full() {
            return Ok(());
        }
        self.reopen_if_renamed()?;
        let left = self.left();
        self.printed += match &mut self.mode {
            Mode::Calls(calls) => {
                calls.entry(entry);
                calls.print(&mut self.printer, left)?
            }
            Mode::Records => {
                self.printer.recorded_line(line, entry)?;
                count(entry)
            }
            Mode::Anonymized(anonymizer) => {
                self.printer.anonymized_line(line, entry, anonymizer)?;
                count(entry)
            }
        };
        Ok(())
    }

    /// Reads only the time of a line, if nothing else of it matters to the calls. Returns whether that was possible.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(super) fn pass(&mut self, line: &[u8], selection: &Selection) -> io::Result<bool> {
        let left = self.left();
        let Mode::Calls(calls) = &mut self.mode else { return Ok(false) };
        let Some(received) = calls.time_of_other_line(line) else { return Ok(false) };
        if selection.begins_after(received) {
            calls.reach_back(received);
        } else if selection.includes_time(received) {
            calls.pass(received);
            self.printed += calls.print(&mut self.printer, left)?;
        }
        Ok(true)
    }

    /// Reads a record that is not printed, or not yet.
    pub(super) fn read_unprinted(&mut self, line: &[u8], entry: &Entry<'_>, selection: &Selection) {
        match &mut self.mode {
            Mode::Records => {}
            Mode::Anonymized(anonymizer) => {
                if let Ok(line) = std::str::from_utf8(line) {
                    anonymizer.collect(line);
                }
            }
            Mode::Calls(calls) => {
                if let Some(received) = entry.received().filter(|received| selection.begins_after(*received)) {
                    calls.reach_back(received);
                }
            }
        }
    }

    /// Chooses the input that the next records come from, by its number.
    pub(super) fn select_source(&mut self, number: usize) {
        if let Mode::Calls(calls) = &mut self.mode {
            calls.select_source(number);
        }
    }

    /// Writes what was printed, before a wait. If a followed file `is_at_end`, its last calls are known.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(super) fn idle(&mut self, is_at_end: bool) -> io::Result<()> {
        let left = self.left();
        if let (Mode::Calls(calls), true) = (&mut self.mode, is_at_end) {
            self.printed += calls.release(&mut self.printer, left)?;
        }
        self.flush()
    }

    /// Prints what is only known at the end, and writes everything.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let left = self.left();
        if let Mode::Calls(calls) = &mut self.mode {
            self.printed += calls.finish(&mut self.printer, left)?;
        }
        self.flush()
    }

    /// Writes what was printed.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.reopen_if_renamed()?;
        self.printer.flush()
    }

    fn reopen_if_renamed(&mut self) -> io::Result<()> {
        if self.is_renamed.load(Ordering::Relaxed) {
            self.is_renamed.store(false, Ordering::Relaxed);
            self.printer.flush()?;
            self.printer.out().reopen()?;
        }
        Ok(())
    }
}

/// Returns how much an entry counts. Connection changes do not.
fn count(entry: &Entry<'_>) -> u64 {
    u64::from(!matches!(entry, Entry::Connection(_)))
}
