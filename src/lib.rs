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
//! | `cli` `inbox` | what was typed, what can happen meanwhile |
//! | `output` `recording` `transport` `demo` | where bytes go to and come from |
//! | `protocol` `exit` | what they mean, and how a run ends |

use std::ffi::OsString;
use std::io;

use clap::error::ErrorKind;

use cli::{Cli, DisplayArgs};
use commands::Voice;
use exit::{Failure, status_of};
use output::report::{Report, Verbosity};

pub use exit::Status;

mod cli;
mod commands;
#[cfg(feature = "demo")]
mod demo;
mod exit;
mod inbox;
#[doc(hidden)]
pub mod internals;
mod output;
pub mod protocol;
mod recording;
mod transport;

/// Runs the tool with its arguments, the program's name first, and says how it ended. What is to be said has been said.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> Status {
    let Cli { command, display } = match Cli::read(args) {
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
    if answer.use_stderr() && answer.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        Report::new(Verbosity::Quiet).error(&usage_failure(&answer.render().to_string()).into());
        return Status::Usage;
    }
    match answer.print() {
        _ if answer.use_stderr() => Status::Usage,
        // Where nobody reads there is nobody to tell.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Report::new(Verbosity::Quiet).error(&anyhow::Error::new(error).context("cannot write to standard output"));
            Status::Failure
        }
        _ => Status::Success,
    }
}

/// The parser's words, in the form of every other error: its first paragraph, and of the others the one that helps most.
fn usage_failure(text: &str) -> Failure {
    let mut paragraphs = text.trim().split("\n\n").map(|lines| lines.split_whitespace().collect::<Vec<_>>().join(" "));
    let message = paragraphs.next().unwrap_or_default();
    let rest: Vec<String> = paragraphs.collect();
    let find = |head: &str| rest.iter().find_map(|text| text.strip_prefix(head));
    let hint = match (find("tip: "), find("Usage: ")) {
        (Some(tip), _) => tip.to_owned(),
        (None, Some(usage)) => format!("usage: {usage}"),
        (None, None) => "try --help".to_owned(),
    };
    Failure::usage(message.trim_start_matches("error: ")).hint(hint)
}

fn voice(display: &DisplayArgs) -> Voice {
    let verbosity = match display {
        DisplayArgs { quiet: true, .. } => Verbosity::Quiet,
        DisplayArgs { verbose: true, .. } => Verbosity::Verbose,
        DisplayArgs { .. } => Verbosity::Normal,
    };
    Voice { report: Report::new(verbosity), color: display.color }
}
