//! The Rtcomm service protocol, and the command-line tool `rtcomm`.
//!
//! [`protocol`] is the public API: pure types for topics, events, filters, third-party calls and recorded lines. Everything
//! else is the tool, behind [`run`].
//!
//! The path of a message: MQTT packet → `protocol::record` (decode) → `protocol::filter` (select) → `output` → standard
//! output. The path of a call: request → publish → packet → `protocol::call` (match the reply) → result.
//!
//! | layer, from the top | contents |
//! | --- | --- |
//! | `commands` | one module per command |
//! | `cli`, `event_loop` | flags, and waiting for signals and events |
//! | `output`, `recording`, `transport`, `demo` | input and output |
//! | `protocol`, `exit` | message formats, and exit statuses |

use std::ffi::OsString;
use std::io;

use clap::error::ErrorKind;

use cli::{Cli, DisplayArgs};
use commands::Ui;
use exit::{Failure, status_of};
use output::report::{Report, Verbosity};

pub use exit::Status;

mod cli;
mod commands;
#[cfg(feature = "demo")]
mod demo;
mod event_loop;
mod exit;
#[doc(hidden)]
pub mod internals;
mod output;
pub mod protocol;
mod recording;
mod transport;

/// Runs the tool, and returns its exit status. The first argument is the program's name.
///
/// Errors have already been printed.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> Status {
    let Cli { command, display } = match Cli::read(args) {
        Ok(cli) => cli,
        Err(error) => return print_clap_error(&error),
    };
    let ui = ui(&display);
    commands::run(command, ui).unwrap_or_else(|error| {
        ui.report.error(&error);
        status_of(&error)
    })
}

/// Prints the help or version text, or what is wrong with the arguments.
fn print_clap_error(error: &clap::Error) -> Status {
    if error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        Report::new(Verbosity::Quiet).error(&usage_failure(&error.render().to_string()).into());
        return Status::Usage;
    }
    match error.print() {
        _ if error.use_stderr() => Status::Usage,
        // Ignore broken pipes: the reader is gone.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Report::new(Verbosity::Quiet).error(&anyhow::Error::new(error).context("cannot write to standard output"));
            Status::Failure
        }
        _ => Status::Success,
    }
}

/// Converts clap's message to an error with a hint: the first paragraph, and its tip or usage.
fn usage_failure(text: &str) -> Failure {
    let mut paragraphs = text.trim().split("\n\n").map(|lines| lines.split_whitespace().collect::<Vec<_>>().join(" "));
    let message = paragraphs.next().unwrap_or_default();
    let rest: Vec<String> = paragraphs.collect();
    let find = |prefix: &str| rest.iter().find_map(|text| text.strip_prefix(prefix));
    let hint = match (find("tip: "), find("Usage: ")) {
        (Some(tip), _) => tip.to_owned(),
        (None, Some(usage)) => format!("usage: {usage}"),
        (None, None) => "try --help".to_owned(),
    };
    Failure::usage(message.trim_start_matches("error: ")).hint(hint)
}

fn ui(display: &DisplayArgs) -> Ui {
    let verbosity = match display {
        DisplayArgs { quiet: true, .. } => Verbosity::Quiet,
        DisplayArgs { verbose: true, .. } => Verbosity::Verbose,
        DisplayArgs { .. } => Verbosity::Normal,
    };
    Ui { report: Report::new(verbosity), color: display.color }
}
