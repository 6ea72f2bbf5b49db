//! The Rtcomm service protocol, and the command-line tool `rtcomm`.
//!
//! [`protocol`] is the public API: pure types for topics, events, filters, third-party calls and recorded lines. Everything
//! else is the tool, behind [`run`].
//!
//! ARCHITECTURE.md describes the modules, and the path of a message and of a call.

use std::ffi::OsString;

use cli::Cli;
use commands::Ui;
use exit::status_of;

pub use exit::{CheckStatus, Status};

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
mod sync;
mod transport;

/// Runs the tool, and returns its exit status. The first argument is the program's name.
///
/// Errors have already been printed.
#[must_use]
pub fn run(args: impl IntoIterator<Item = OsString>) -> Status {
    let args: Vec<OsString> = args.into_iter().collect();
    let Cli { command, display } = match Cli::read(args.clone(), commands::read_profile) {
        Ok(cli) => cli,
        Err(error) => return commands::print_read_error(error, cli::color_choice(&args), cli::check_output(&args)),
    };
    let ui = Ui::from(&display);
    commands::run(command, ui).unwrap_or_else(|error| {
        ui.report.error(&error);
        status_of(&error)
    })
}
