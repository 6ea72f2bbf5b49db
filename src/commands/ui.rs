//! What every command needs to talk to the user: text on standard output, messages on standard error, and color.
//!
//! Also what signals and errors of the event loop mean to the user.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::cli::DisplayArgs;
use crate::event_loop::{EventLoopError, Signal};
use crate::exit::{Failure, Status};
use crate::output::pretty::{Medium, Pretty};
use crate::output::report::{Report, Verbosity};
use crate::output::target::{OpenError, Target};
use crate::output::{self, ColorChoice, Format, use_color};
use crate::protocol::topic::Topics;

/// Context of an error on standard output.
pub(super) const CANNOT_WRITE: &str = "cannot write to standard output";

/// Writes a text to standard output. A closed pipe is a success.
///
/// # Errors
/// If standard output cannot be written to.
pub(super) fn print(text: &str) -> Result<Status> {
    let written = output::stdout().and_then(|mut out| out.write_all(text.as_bytes()));
    output::ignore_broken_pipe(written).context(CANNOT_WRITE)?;
    Ok(Status::Success)
}

/// Opens the file of `--output`. With `is_synced`, records are synced to disk.
///
/// # Errors
/// If it cannot be opened for appending.
pub(super) fn open_output(path: PathBuf, is_synced: bool) -> Result<Target, Failure> {
    let what = format!("cannot open '{}' for appending", path.display());
    Target::file(path, is_synced).map_err(|error| match error {
        OpenError::File(error) => Failure::cannot_open(what, &error),
        OpenError::SyncDirectory(error) => {
            Failure::cannot_open(format_args!("{what}: cannot sync its directory"), &error)
        }
    })
}

impl Signal {
    /// Returns the exit status of a run that the signal ended.
    pub(super) fn status(self) -> Status {
        match self {
            Self::Interrupt => Status::Interrupted,
            Self::Terminate => Status::Terminated,
        }
    }
}

impl From<EventLoopError> for anyhow::Error {
    fn from(error: EventLoopError) -> Self {
        let (error, context) = match error {
            EventLoopError::Signals(error) => (error, "cannot handle signals"),
            EventLoopError::Output(error) => (error, "cannot watch standard output"),
        };
        Self::new(error).context(context)
    }
}

/// The user interface of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ui {
    /// Prints messages about the run.
    pub(crate) report: Report,
    /// When to use color.
    pub(crate) color: ColorChoice,
}

impl From<&DisplayArgs> for Ui {
    fn from(args: &DisplayArgs) -> Self {
        let verbosity = match args {
            DisplayArgs { quiet: true, .. } => Verbosity::Quiet,
            DisplayArgs { verbose: true, .. } => Verbosity::Verbose,
            DisplayArgs { .. } => Verbosity::Normal,
        };
        let report = Report::new(verbosity, use_color(args.color, &io::stderr()));
        Self { report, color: args.color }
    }
}

impl Ui {
    /// Returns whether standard output is colored.
    pub(super) fn uses_color(self) -> bool {
        use_color(self.color, &io::stdout())
    }

    /// Returns the format of records on standard output.
    pub(super) fn format(self, json: bool, topics: &Topics) -> Format {
        if json {
            return Format::Json;
        }
        let medium = if io::stdout().is_terminal() { Medium::Terminal(output::terminal_columns) } else { Medium::Pipe };
        Format::Pretty(Pretty::new(medium, self.uses_color(), topics.sphere().clone()))
    }

    /// Returns the format of records in a file, which is colored only with `--color always`.
    pub(super) fn file_format(self, json: bool, topics: &Topics) -> Format {
        if json {
            return Format::Json;
        }
        Format::Pretty(Pretty::new(Medium::Pipe, self.color == ColorChoice::Always, topics.sphere().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_loop_that_cannot_be_set_up_is_an_error_with_its_reason() {
        for (error, message) in [
            (EventLoopError::Signals as fn(io::Error) -> _, "cannot handle signals: some reason"),
            (EventLoopError::Output, "cannot watch standard output: some reason"),
        ] {
            let error = anyhow::Error::from(error(io::Error::other("some reason")));
            assert_eq!(format!("{error:#}"), message);
        }
    }
}
