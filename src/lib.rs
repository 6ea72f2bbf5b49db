//! Rtcomm's service protocol, and the command-line tool that speaks it.
//!
//! [`protocol`] is for everybody: pure types for topics, events, filters, third-party calls and recorded lines. The rest
//! is the tool `rtcomm`, behind [`run`].
//!
//! The way of a message: MQTT packet → `protocol::record` (what is it?) → `protocol::filter` (is it wanted?) → `output`
//! → standard output. The way of a call: request → publish → packet → `protocol::call` (is it the reply?) → outcome.
//!
//! | floor | holds |
//! | --- | --- |
//! | `commands` | the story of each command |
//! | `cli` `inbox` `exit` | what was typed, what can happen meanwhile, how it ends |
//! | `output` `logfile` `transport` `demo` | where bytes go to and come from |
//! | `protocol` | what they mean |

use std::ffi::OsString;

use clap::Parser as _;

use cli::{Cli, DisplayArgs};
use commands::Voice;
use exit::status_of;
use output::report::{Report, Verbosity};

pub use exit::Status;

mod cli;
mod commands;
#[cfg(feature = "demo")]
mod demo;
mod exit;
mod inbox;
mod logfile;
mod output;
pub mod protocol;
mod transport;

/// Runs the tool with its arguments, the program's name first, and says how it ended. What is to be said has been said.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> Status {
    let Cli { command, display } = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(answer) => return show(&answer),
    };
    let voice = voice(&display);
    commands::run(command, voice).unwrap_or_else(|error| {
        voice.report.error(&error);
        status_of(&error)
    })
}

/// Shows help and version, which were asked for, or what was wrong with the arguments.
fn show(answer: &clap::Error) -> Status {
    // Where nobody reads there is nobody to tell.
    let _ = answer.print();
    if answer.use_stderr() { Status::Usage } else { Status::Success }
}

fn voice(display: &DisplayArgs) -> Voice {
    let verbosity = match display {
        DisplayArgs { quiet: true, .. } => Verbosity::Quiet,
        DisplayArgs { verbose: true, .. } => Verbosity::Verbose,
        DisplayArgs { .. } => Verbosity::Normal,
    };
    Voice { report: Report::new(verbosity), color: display.color }
}
