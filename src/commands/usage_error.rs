//! Errors in the arguments, in this tool's format; also prints help and version.

use clap::error::ErrorKind;

use super::ui::CANNOT_WRITE;
use crate::exit::{Failure, Status};
use crate::output::ignore_broken_pipe;
use crate::output::report::{Report, Verbosity};

/// Prints the help or version text, or what is wrong with the arguments.
pub(crate) fn print_clap_error(error: &clap::Error) -> Status {
    if error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        Report::new(Verbosity::Quiet).error(&usage_failure(&error.render().to_string()).into());
        return Status::Usage;
    }
    let printed = error.print();
    if error.use_stderr() {
        return Status::Usage;
    }
    match ignore_broken_pipe(printed) {
        Ok(()) => Status::Success,
        Err(error) => {
            Report::new(Verbosity::Quiet).error(&anyhow::Error::new(error).context(CANNOT_WRITE));
            Status::Failure
        }
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
