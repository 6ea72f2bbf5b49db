//! Words about the run, on standard error: what is being done, warnings, errors and their hints.

use std::fmt;
use std::io::Write as _;

use super::escape::escaped;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Warnings and errors alone.
    Quiet,
    /// What an operator wants to know.
    Normal,
    /// What somebody who looks for a fault wants to know.
    Verbose,
}

/// Says what the run wants to tell. What comes from outside is made safe: each call prints one line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    verbosity: Verbosity,
}

impl Report {
    /// Says as much as `verbosity` asks for.
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        Self { verbosity }
    }

    /// Whether nothing but warnings and errors is wanted.
    pub(crate) fn is_quiet(self) -> bool {
        self.verbosity == Verbosity::Quiet
    }

    /// What is only worth saying when somebody looks for a fault.
    pub(crate) fn detail(self, text: impl fmt::Display) {
        if self.verbosity >= Verbosity::Verbose {
            say("rtcomm: ", text);
        }
    }

    /// The ordinary course of the run.
    pub(crate) fn note(self, text: impl fmt::Display) {
        if self.verbosity >= Verbosity::Normal {
            say("rtcomm: ", text);
        }
    }

    /// What the run goes on from, and the operator should know.
    #[expect(clippy::unused_self, reason = "said as the others are, and never silenced")]
    pub(crate) fn warn(self, text: impl fmt::Display) {
        say("rtcomm: warning: ", text);
    }

    /// What ended the run, and what to check.
    #[expect(clippy::unused_self, reason = "said as the others are, and never silenced")]
    pub(crate) fn error(self, error: &anyhow::Error) {
        say("rtcomm: error: ", format_args!("{error:#}"));
        if let Some(hint) = crate::exit::hint_of(error) {
            say("  hint: ", hint);
        }
    }
}

/// How many characters of a line are shown: enough for all that we say, not for all that the network may make us quote.
const LONGEST: usize = 1_000;

/// Writes one line at once, so that lines of several threads do not mix. Standard error may be closed: then there is
/// nobody to tell.
fn say(head: &str, text: impl fmt::Display) {
    let text = text.to_string();
    let shown = text.char_indices().nth(LONGEST).map_or(text.as_str(), |(end, _)| &text[..end]);
    let cut = if shown.len() < text.len() { "…" } else { "" };
    let line = format!("{head}{}{cut}\n", escaped(shown));
    let _ = std::io::stderr().write_all(line.as_bytes());
}
