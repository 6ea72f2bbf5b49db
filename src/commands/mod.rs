//! The commands: each module reads as the story of its command. Beside them [`connection`] and [`stream`], which several
//! share.

use anyhow::Result;

use crate::cli::Command;
use crate::exit::Status;
use crate::output::report::Report;
use crate::output::{ColorChoice, Format, pretty::Pretty, use_color};
use crate::protocol::topic::Topics;

mod call;
mod connect_error;
mod connection;
#[cfg(feature = "demo")]
mod demo;
mod stream;
mod tail;
mod transport_error;
mod watch;

/// How the run talks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Voice {
    /// Words about the run.
    pub(crate) report: Report,
    /// When to use colour.
    pub(crate) color: ColorChoice,
}

impl Voice {
    /// The format of records on standard output: JSON, or lines for people.
    fn format(self, json: bool, topics: &Topics) -> Format {
        format(json, use_color(self.color, &std::io::stdout()), topics)
    }

    /// The format of records in a file, where nothing is coloured unless it is asked for.
    fn file_format(self, json: bool, topics: &Topics) -> Format {
        format(json, self.color == ColorChoice::Always, topics)
    }
}

fn format(json: bool, color: bool, topics: &Topics) -> Format {
    if json { Format::Json } else { Format::Pretty(Pretty::new(color, topics.sphere())) }
}

/// Runs a command.
///
/// # Errors
/// Where it cannot do what was asked; `exit::status_of` gives the error's status.
pub(crate) fn run(command: Command, voice: Voice) -> Result<Status> {
    match command {
        Command::Watch(args) => watch::run(*args, voice),
        Command::Call(args) => call::run(*args, voice),
        Command::Tail(args) => tail::run(*args, voice),
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(*args, voice),
    }
}
