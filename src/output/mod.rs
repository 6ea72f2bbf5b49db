//! The tool's output: records on standard output, messages about the run on standard error.
//!
//! A [`Printer`] writes records in one [`Format`]. It buffers lines until it is flushed or the buffer is full.
//!
//! | module | contents |
//! | --- | --- |
//! | [`json`] | JSON lines |
//! | [`pretty`] | lines for people |
//! | [`summary_table`] | the summary of call records for people |
//! | [`presence_table`] | the registered endpoints for people |
//! | [`clock`] | local times |
//! | [`color`] | colors |
//! | [`width`] | the width of text on a terminal |
//! | [`escape`] | makes text from the network safe for terminals |
//! | [`report`] | messages on standard error |
//! | [`target`] | standard output or a file |

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::termios::tcgetwinsize;

use clock::Clock;

use crate::protocol::anonymize::Anonymizer;
use crate::protocol::cdr::SummaryRow;
use crate::protocol::record::{self, Absence, CallRecord, Entry, Record};

mod clock;
mod color;
pub(crate) mod escape;
pub(crate) mod json;
pub(crate) mod presence_table;
pub(crate) mod pretty;
pub(crate) mod report;
mod summary_table;
pub(crate) mod target;
mod width;

/// Number of buffered bytes at which the printer writes on its own.
const BUFFER_LIMIT: usize = 64 * 1024;

/// The text of an empty cell in lines and tables for people.
const EMPTY_CELL: &str = "-";

/// When to use color.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Everywhere, including pipes.
    Always,
    /// Never.
    Never,
}

/// The format of records.
#[derive(Debug)]
pub(crate) enum Format {
    /// One JSON object per line, without color.
    Json,
    /// Aligned lines for people.
    Pretty(pretty::Pretty),
    /// A table of presence documents for people, written at the end. It contains nothing else.
    PresenceTable(presence_table::PresenceTable),
}

impl Format {
    /// Returns a table for presence documents in place of lines for people.
    pub(crate) fn into_presence_table(self) -> Self {
        match self {
            Self::Pretty(pretty) => Self::PresenceTable(pretty.into_presence_table()),
            other => other,
        }
    }
}

/// Writes records to `W`, many at once.
#[derive(Debug)]
pub(crate) struct Printer<W> {
    out: W,
    format: Format,
    buffer: Vec<u8>,
}

impl<W: Write> Printer<W> {
    /// Makes a printer with an empty buffer.
    pub(crate) fn new(out: W, format: Format) -> Self {
        Self { out, format, buffer: Vec::with_capacity(2 * BUFFER_LIMIT) }
    }

    /// Prints a record.
    ///
    /// # Errors
    /// If the buffer is full and cannot be written.
    pub(crate) fn record(&mut self, record: &Record<'_>) -> io::Result<()> {
        match &mut self.format {
            Format::Json if record.payload.len() > BUFFER_LIMIT => {
                let Self { out, buffer, .. } = self;
                return record.write_line_to(&mut WriteThrough { out, buffer });
            }
            Format::Json => json::record(record, &mut self.buffer),
            Format::Pretty(pretty) => pretty.record(record, &mut self.buffer),
            Format::PresenceTable(table) => table.add(record),
        }
        self.write_if_full()
    }

    /// Prints a change of the connection.
    ///
    /// # Errors
    /// See [`Printer::record`].
    pub(crate) fn status(&mut self, status: &record::ConnectionStatus<'_>) -> io::Result<()> {
        match &mut self.format {
            Format::Json => json::status(status, &mut self.buffer),
            Format::Pretty(pretty) => pretty.status(status, &mut self.buffer),
            Format::PresenceTable(_) => {}
        }
        self.write_if_full()
    }

    /// Prints an absence.
    ///
    /// # Errors
    /// See [`Printer::record`].
    pub(crate) fn absence(&mut self, absence: &Absence<'_>) -> io::Result<()> {
        match &mut self.format {
            Format::Json => absence.write_line(&mut self.buffer),
            Format::Pretty(pretty) => pretty.absence(absence, &mut self.buffer),
            Format::PresenceTable(_) => {}
        }
        self.write_if_full()
    }

    /// Prints what a format prints at the end. Writes nothing yet.
    pub(crate) fn finish(&mut self) {
        if let Format::PresenceTable(table) = &mut self.format {
            table.write(&mut self.buffer);
        }
    }

    /// Prints a call record.
    ///
    /// # Errors
    /// See [`Printer::record`].
    pub(crate) fn call(&mut self, call: &CallRecord) -> io::Result<()> {
        match &mut self.format {
            Format::Json => call.write_line(&mut self.buffer),
            Format::Pretty(pretty) => pretty.call(call, &mut self.buffer),
            Format::PresenceTable(_) => {}
        }
        self.write_if_full()
    }

    /// Prints the rows of a summary: JSON lines, or a table.
    ///
    /// # Errors
    /// See [`Printer::record`].
    pub(crate) fn summary(&mut self, rows: &[SummaryRow]) -> io::Result<()> {
        match &mut self.format {
            Format::Json => rows.iter().for_each(|row| row.write_line(&mut self.buffer)),
            Format::Pretty(pretty) => pretty.summary(rows, &mut self.buffer),
            Format::PresenceTable(_) => {}
        }
        self.write_if_full()
    }

    /// Prints a recorded line and its parsed entry.
    ///
    /// JSON output is the line itself, byte for byte. Only a line that some parsers cannot read is written anew.
    ///
    /// # Errors
    /// See [`Printer::record`].
    pub(crate) fn recorded_line(&mut self, line: &[u8], entry: &Entry<'_>) -> io::Result<()> {
        match (&self.format, entry) {
            (Format::Json, entry) if entry.is_readable() => {
                self.buffer.extend_from_slice(line);
                self.buffer.push(b'\n');
                self.write_if_full()
            }
            (_, Entry::Message(message)) => self.record(&message.record()),
            (_, Entry::Connection(status)) => self.status(status),
            (_, Entry::Absence(absence)) => self.absence(absence),
            (_, Entry::Call(call)) => self.call(call),
        }
    }

    /// Prints a recorded line as JSON, with pseudonyms in place of names.
    ///
    /// # Errors
    /// See [`Printer::record`].
    pub(crate) fn anonymized_line(
        &mut self,
        line: &[u8],
        entry: &Entry<'_>,
        anonymizer: &mut Anonymizer,
    ) -> io::Result<()> {
        let mut written = Vec::new();
        let line = match entry {
            Entry::Message(message) if !entry.is_readable() => {
                message.record().write_line(&mut written);
                written.trim_ascii_end()
            }
            _ => line,
        };
        // An entry is parsed from UTF-8 only.
        anonymizer.write(std::str::from_utf8(line).unwrap_or_default(), &mut self.buffer);
        self.buffer.push(b'\n');
        self.write_if_full()
    }

    /// Returns the underlying writer.
    pub(crate) fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Writes all buffered lines.
    ///
    /// # Errors
    /// If writing fails. Bytes that were not written stay in the buffer.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let result = write_all(&mut self.out, &self.buffer);
        match result {
            Ok(()) => {
                self.buffer.clear();
                // Release the memory of an unusually long line.
                self.buffer.shrink_to(2 * BUFFER_LIMIT);
                self.out.flush()
            }
            Err((written, error)) => {
                self.buffer.drain(..written);
                Err(error)
            }
        }
    }

    fn write_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() >= BUFFER_LIMIT { self.flush() } else { Ok(()) }
    }
}

/// Buffers what is small and writes what is large, so that a large payload is not copied.
struct WriteThrough<'a, W> {
    out: &'a mut W,
    buffer: &'a mut Vec<u8>,
}

impl<W: Write> Write for WriteThrough<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER_LIMIT {
            self.flush()?;
        }
        if bytes.len() > BUFFER_LIMIT {
            return self.out.write(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = write_all(self.out, self.buffer);
        let count = written.as_ref().map_or_else(|(written, _)| *written, |()| self.buffer.len());
        self.buffer.drain(..count);
        written.map_err(|(_, error)| error)
    }
}

/// Writes all of `bytes`. An error comes with the number of bytes written before it.
fn write_all(out: &mut impl Write, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

/// The width of a terminal that does not report one.
const DEFAULT_COLUMNS: usize = 80;

/// Returns the present width of the terminal that standard output goes to.
pub(crate) fn terminal_columns() -> usize {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => DEFAULT_COLUMNS,
    }
}

/// Returns standard output without a buffer or a lock; printers have their own.
///
/// # Errors
/// If it is closed.
pub(crate) fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Treats a closed pipe as success: the reader has read enough.
///
/// # Errors
/// Any other error.
pub(crate) fn ignore_broken_pipe(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Formats a time as lines for people do: local, with milliseconds.
pub(crate) fn local_time(at: Timestamp) -> String {
    Clock::new(TimeZone::system()).time(at).to_owned()
}

/// Formats a duration for people: `79ms`, `7.5s`, `3m 12s`.
pub(crate) fn duration_text(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ 0..1_000 => format!("{millis}ms"),
        millis @ 1_000..60_000 => format!("{}.{}s", millis / 1_000, millis / 100 % 10),
        _ => humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string(),
    }
}

/// Truncates a duration to milliseconds.
pub(crate) fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_millis().try_into().unwrap_or(u64::MAX))
}

/// Returns whether output to `stream` is colored.
pub(crate) fn use_color(choice: ColorChoice, stream: &impl IsTerminal) -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            stream.is_terminal() && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::topic::{Root, Topics};

    #[test]
    fn a_large_payload_is_written_as_a_small_one_is() {
        let topics = Topics::from("/rtcomm".parse::<Root>().expect("a root"));
        let large = format!("{{\"pad\":\"{}\"}}", "x".repeat(3 * BUFFER_LIMIT));
        for payload in [large.as_bytes(), large.replace(',', "\n").as_bytes(), &vec![0xff; 3 * BUFFER_LIMIT][..], b"{}"]
        {
            let topic = "/rtcomm/event/session/started/a/b";
            let received = jiff::Timestamp::UNIX_EPOCH;
            let message = record::Message { received, topic, qos: 1, retain: false, payload };
            let record = Record::of(&topics, &message);
            let mut expected = Vec::new();
            (0..2).for_each(|_| record.write_line(&mut expected));
            let mut printer = Printer::new(Vec::new(), Format::Json);
            (0..2).for_each(|_| printer.record(&record).expect("a Vec takes everything"));
            printer.flush().expect("a Vec takes everything");
            assert!(*printer.out() == expected, "{} bytes", payload.len());
            assert!(printer.buffer.capacity() <= 3 * BUFFER_LIMIT, "the payload is not copied");
        }
    }

    /// Accepts some bytes, then fails.
    struct LimitedWriter {
        written: Vec<u8>,
        room: usize,
    }

    impl Write for LimitedWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.room);
            if n == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= n;
            self.written.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn after_an_error_the_rest_is_written_once() {
        let mut printer = Printer::new(LimitedWriter { written: vec![], room: 3 }, Format::Json);
        printer.buffer.extend_from_slice(b"abcdef");
        assert!(printer.flush().is_err() && !printer.buffer.is_empty());
        printer.out.room = 100;
        printer.flush().expect("enough room");
        assert_eq!((printer.out.written.as_slice(), printer.buffer.is_empty()), (&b"abcdef"[..], true));
    }
}
