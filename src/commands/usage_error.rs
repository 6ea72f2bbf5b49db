//! Errors in the arguments, in this tool's format; also prints help and version.

use clap::error::ErrorKind;

use super::ui::CANNOT_WRITE;
use crate::cli::ReadError;
use crate::exit::{Failure, Status};
use crate::output::report::{Report, Verbosity};
use crate::output::{ColorChoice, ignore_broken_pipe, use_color};

/// Prints the help or version text, or what is wrong with the arguments or the profile.
pub(crate) fn print_read_error(error: ReadError, color: ColorChoice) -> Status {
    let report = Report::new(Verbosity::Quiet, use_color(color, &std::io::stderr()));
    match error {
        ReadError::Arguments(error) => print_clap_error(&error, report),
        ReadError::Profile(failure) => {
            let status = failure.status();
            report.error(&failure.into());
            status
        }
    }
}

fn print_clap_error(error: &clap::Error, report: Report) -> Status {
    if error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        report.error(&usage_failure(&error.render().to_string()).into());
        return Status::Usage;
    }
    let printed = error.print();
    if error.use_stderr() {
        return Status::Usage;
    }
    match ignore_broken_pipe(printed) {
        Ok(()) => Status::Success,
        Err(error) => {
            report.error(&anyhow::Error::new(error).context(CANNOT_WRITE));
            Status::Failure
        }
    }
}

/// Converts clap's message to an error with a hint: the first paragraph, and the tips or the usage.
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
