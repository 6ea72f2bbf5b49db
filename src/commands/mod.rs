//! The commands, a module each. Only here do errors become messages, hints and exit statuses.
//!
//! | module | contents |
//! | --- | --- |
//! | [`watch`] | live events |
//! | [`call`] | third-party calls |
//! | [`tail`] | recordings, or all live messages |
//! | [`check`] | broker and server for a monitoring system |
//! | [`demo`] | embedded broker and simulated server |
//! | [`documents`] | completions and man pages |
//! | [`stream`] | live messages, for `watch`, `tail` and `demo` |
//! | [`call_records`] | call records, for `watch` and `tail` |
//! | [`service_query`], [`discovery`] | which services and topics a server has |
//! | [`cancellation`] | work that a signal or a deadline cancels |
//! | [`connection`] | connection options from flags and environment |
//! | [`profile`] | reads profiles |
//! | [`transport_error`], [`connect_error`], [`protocol_error`] | errors of the transport as messages, hints and statuses |
//! | [`recording_error`] | errors of recordings as messages, hints and statuses |
//! | [`usage_error`] | errors in the arguments, help and version |
//! | [`ui`] | standard output, messages and color |

use anyhow::Result;

use crate::cli::Command;
use crate::exit::Status;

mod call;
mod call_records;
mod cancellation;
mod check;
mod connect_error;
mod connection;
#[cfg(feature = "demo")]
mod demo;
mod discovery;
mod documents;
mod profile;
mod protocol_error;
mod recording_error;
mod service_query;
mod stream;
mod tail;
mod transport_error;
mod ui;
mod usage_error;
mod watch;

pub(crate) use connect_error::broker_url_failure;
pub(crate) use profile::read as read_profile;
pub(crate) use ui::Ui;
pub(crate) use usage_error::print_read_error;

/// Runs a command.
///
/// # Errors
/// If the command fails; `exit::status_of` returns the error's status.
pub(crate) fn run(command: Command, ui: Ui) -> Result<Status> {
    match command {
        Command::Watch(args) => watch::run(*args, ui),
        Command::Call(args) => call::run(*args, ui),
        Command::Tail(args) => tail::run(*args, ui),
        Command::Check(args) => Ok(check::run(*args, ui)),
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(*args, ui),
        Command::Completions(args) => documents::print_completions(&args),
        Command::Man(args) => documents::show_page(&args),
    }
}
