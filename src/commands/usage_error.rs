//! Errors in the arguments, in this tool's format; also prints help and version.

use clap::error::ErrorKind;

use super::check;
use super::ui::CANNOT_WRITE;
use crate::cli::{CheckOutput, CliError};
use crate::exit::{Failure, Status};
use crate::output::report::{Report, Verbosity};
use crate::output::{ColorChoice, ignore_broken_pipe, use_color};

/// Prints the help or version text, or what is wrong with the arguments or the profile. `check` is the output of `check` if the
/// arguments name that command, whose errors have its format.
pub(crate) fn print_read_error(error: CliError, color: ColorChoice, check: Option<CheckOutput>) -> Status {
    let report = Report::new(Verbosity::Quiet, use_color(color, &std::io::stderr()));
    let failure = match error {
        CliError::Arguments(error) => match print_help(&error, report) {
            Some(status) => return status,
            None => usage_failure(&error.render().to_string()),
        },
        CliError::Profile(failure) => failure,
    };
    if let Some(output) = check {
        return check::print_unknown(&failure, output, report);
    }
    let status = failure.status();
    report.error(&failure.into());
    status
}

/// Prints the help or version text. Returns `None` if something else is wrong.
fn print_help(error: &clap::Error, report: Report) -> Option<Status> {
    if error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return None;
    }
    let printed = error.print();
    if error.use_stderr() {
        return Some(Status::Usage);
    }
    Some(match ignore_broken_pipe(printed) {
        Ok(()) => Status::Success,
        Err(error) => {
            report.error(&anyhow::Error::new(error).context(CANNOT_WRITE));
            Status::Failure
        }
    })
}

/// Converts clap's message to an error with a hint: the first paragraph, and the tips or the usage.
///
/// It splits the rendered text, because clap's context lacks the message, the wording of tips, and the usage of errors that
/// this tool makes.
fn usage_failure(text: &str) -> Failure {
    let (message, rest) = text.trim().split_once("\n\n").unwrap_or((text, ""));
    let message: Vec<&str> = message.trim_start_matches("error: ").split_whitespace().collect();
    let lines = |prefix: &'static str| rest.lines().filter_map(move |line| line.trim_start().strip_prefix(prefix));
    let tips: Vec<&str> = lines("tip: ").collect();
    let hint = match lines("Usage: ").next() {
        _ if !tips.is_empty() => tips.join("; "),
        Some(usage) => format!("usage: {usage}"),
        None => "try --help".to_owned(),
    };
    Failure::usage(message.join(" ")).hint(hint)
}
