//! Messages about the run, on standard error: progress, warnings, errors and hints.

use std::fmt;
use std::io::Write as _;

use super::color::{Style, painted};
use super::escape::escaped;
use crate::protocol::credentials::masked;

/// Which messages are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Warnings and errors.
    Quiet,
    /// Also the normal course of the run.
    Normal,
    /// Also details for troubleshooting.
    Verbose,
}

/// Prints messages to standard error. Each call prints one line, with text from outside escaped and without credentials.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    verbosity: Verbosity,
    color: bool,
}

impl Report {
    /// Makes a report that prints the messages of `verbosity`, with errors in color or not.
    pub(crate) fn new(verbosity: Verbosity, color: bool) -> Self {
        Self { verbosity, color }
    }

    /// Returns whether only warnings and errors are printed.
    pub(crate) fn is_quiet(self) -> bool {
        self.verbosity == Verbosity::Quiet
    }

    /// Prints a detail for troubleshooting.
    pub(crate) fn debug(self, text: impl fmt::Display) {
        if self.verbosity >= Verbosity::Verbose {
            print_message("rtcomm: ", text);
        }
    }

    /// Prints a message about the normal course of the run.
    pub(crate) fn info(self, text: impl fmt::Display) {
        if self.verbosity >= Verbosity::Normal {
            print_message("rtcomm: ", text);
        }
    }

    /// Prints a command for the user to copy, in the normal course of the run.
    #[cfg(feature = "demo")]
    pub(crate) fn example(self, command: impl fmt::Display) {
        if self.verbosity >= Verbosity::Normal {
            print_line("    ", command);
        }
    }

    /// Prints a warning. The run continues.
    #[expect(clippy::unused_self, reason = "called like the other methods, but never silenced")]
    pub(crate) fn warn(self, text: impl fmt::Display) {
        print_message("rtcomm: warning: ", text);
    }

    /// Prints the error that ended the run, and its hint.
    pub(crate) fn error(self, error: &anyhow::Error) {
        print_message(&format!("rtcomm: {} ", painted("error:", Style::Error, self.color)), format_args!("{error:#}"));
        if let Some(hint) = crate::exit::hint_of(error) {
            print_line("  hint: ", hint);
        }
    }
}

/// Writes a message that may quote text from the network: without credentials.
fn print_message(prefix: &str, text: impl fmt::Display) {
    print_line(prefix, masked(&text.to_string()));
}

/// Maximum number of characters per line. Errors may quote megabytes from the network.
const MAX_CHARS: usize = 1_000;

/// Writes a line with one system call, so that lines of several threads do not mix.
///
/// Ignores errors: if standard error is closed, nobody reads it.
fn print_line(prefix: &str, text: impl fmt::Display) {
    let text = text.to_string();
    let shown = text.char_indices().nth(MAX_CHARS).map_or(text.as_str(), |(end, _)| &text[..end]);
    let ellipsis = if shown.len() < text.len() { "…" } else { "" };
    let line = format!("{prefix}{}{ellipsis}\n", escaped(shown));
    let _ = std::io::stderr().write_all(line.as_bytes());
}
