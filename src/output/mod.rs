//! What the tool shows: records on standard output, words about the run on standard error.
//!
//! A [`Printer`] writes records in one [`Format`]; formats live in a file each ([`json`], [`pretty`]). It collects lines
//! and writes them when it is told to, or when many have come together.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::exit::Status;
use crate::protocol::record::{self, Entry, Record};

mod clock;
pub(crate) mod escape;
pub(crate) mod json;
pub(crate) mod outcome;
pub(crate) mod pretty;
pub(crate) mod report;
pub(crate) mod target;

/// Past how many bytes the printer writes without being told to.
const FULL: usize = 64 * 1024;

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Also in a pipe
    Always,
    /// Nowhere
    Never,
}

/// What a record looks like.
#[derive(Debug)]
pub(crate) enum Format {
    /// One JSON object a line, never coloured.
    Json,
    /// One line for people.
    Pretty(pretty::Pretty),
}

/// Writes records to `W`, many at a time.
#[derive(Debug)]
pub(crate) struct Printer<W> {
    out: W,
    format: Format,
    pending: Vec<u8>,
}

impl<W: Write> Printer<W> {
    /// A printer that has nothing to write yet.
    pub(crate) fn new(out: W, format: Format) -> Self {
        Self { out, format, pending: Vec::with_capacity(2 * FULL) }
    }

    /// Takes a record.
    ///
    /// # Errors
    /// Where enough lines had come together to be written, and could not be.
    pub(crate) fn record(&mut self, record: &Record<'_>) -> io::Result<()> {
        match &mut self.format {
            Format::Json => json::record(record, &mut self.pending),
            Format::Pretty(pretty) => pretty.record(record, &mut self.pending),
        }
        self.write_if_full()
    }

    /// Takes what became of the connection.
    ///
    /// # Errors
    /// As [`Printer::record`].
    pub(crate) fn status(&mut self, status: &record::Status<'_>) -> io::Result<()> {
        match &mut self.format {
            Format::Json => json::status(status, &mut self.pending),
            Format::Pretty(pretty) => pretty.status(status, &mut self.pending),
        }
        self.write_if_full()
    }

    /// Takes what was read from `line`: as JSON it is that very line again.
    ///
    /// # Errors
    /// As [`Printer::record`].
    pub(crate) fn recorded(&mut self, line: &[u8], entry: &Entry<'_>) -> io::Result<()> {
        match (&self.format, entry) {
            (Format::Json, _) => {
                self.pending.extend_from_slice(line);
                self.pending.push(b'\n');
                self.write_if_full()
            }
            (Format::Pretty(_), Entry::Message(line)) => self.record(&line.record()),
            (Format::Pretty(_), Entry::Status(status)) => self.status(status),
        }
    }

    /// Where the lines go.
    pub(crate) fn out(&mut self) -> &mut W {
        &mut self.out
    }

    /// Hands every pending line to the kernel.
    ///
    /// # Errors
    /// Where the lines could not be written; what was not is still pending.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let result = write_all(&mut self.out, &self.pending);
        match result {
            Ok(()) => {
                self.pending.clear();
                // An uncommonly long line took more.
                self.pending.shrink_to(2 * FULL);
                self.out.flush()
            }
            Err((written, error)) => {
                self.pending.drain(..written);
                Err(error)
            }
        }
    }

    fn write_if_full(&mut self) -> io::Result<()> {
        if self.pending.len() >= FULL { self.flush() } else { Ok(()) }
    }
}

/// Writes all of `bytes`; an error comes with how many of them went out before it.
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

/// Standard output without a buffer or lock of its own: printers have theirs.
///
/// # Errors
/// Where it is closed.
pub(crate) fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Writes a text that is all there is to say, and ends with success: also where the reader went away.
///
/// # Errors
/// Where standard output cannot be written to.
pub(crate) fn print(text: &str) -> Result<Status> {
    match stdout().and_then(|mut out| out.write_all(text.as_bytes())) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(Status::Success),
    }
}

/// Cuts a duration to what people read.
pub(crate) fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_millis().try_into().unwrap_or(u64::MAX))
}

/// Whether to colour what goes to `stream`.
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

    /// Takes a few bytes, then fails.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.room);
            if n == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= n;
            self.taken.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_could_not_be_written_is_still_pending_and_never_written_twice() {
        let mut printer = Printer::new(Narrow { taken: vec![], room: 3 }, Format::Json);
        printer.pending.extend_from_slice(b"abcdef");
        assert!(printer.flush().is_err() && !printer.pending.is_empty());
        printer.out.room = 100;
        printer.flush().expect("room enough");
        assert_eq!((printer.out.taken.as_slice(), printer.pending.is_empty()), (&b"abcdef"[..], true));
    }
}
