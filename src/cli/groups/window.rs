//! Flags that end the command after a count or a time.

use std::num::NonZeroU64;
use std::time::Duration;

use clap::Args;

use crate::cli::values::{duration, number};
use crate::exit::Status;

/// Flags that end the command by itself.
#[derive(Debug, Args)]
#[command(next_help_heading = WindowArgs::HEADING)]
pub(crate) struct WindowArgs {
    /// Exit after N printed records
    #[arg(short, long, value_name = "N", value_parser = number::<NonZeroU64>, allow_hyphen_values = true)]
    pub(crate) count: Option<NonZeroU64>,

    /// Exit after this time
    ///
    /// The status is 124 if --count was not reached, 5 if there was no subscription, or else 0.
    #[arg(long = "for", id = "for_duration", value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) duration: Option<Duration>,

    /// Exit with 7 if nothing matched
    #[arg(long, hide_short_help = true)]
    pub(crate) fail_empty: bool,
}

impl WindowArgs {
    /// The heading of the flags for the first and the last record, in help.
    pub(in crate::cli) const HEADING: &'static str = "Window";

    /// Ends the run after `most` records, if `--count` does not end it before.
    pub(crate) fn limit_count(&mut self, most: usize) {
        let most = u64::try_from(most).ok().and_then(NonZeroU64::new);
        self.count = self.count.into_iter().chain(most).min();
    }

    /// Returns the status of a run that ended normally. `printed` is `None` if the number of records is unknown.
    pub(crate) fn at_end(&self, printed: Option<u64>) -> Status {
        if self.fail_empty && printed == Some(0) { Status::Empty } else { Status::Success }
    }

    /// Returns the status of a run that ended at its deadline.
    pub(crate) fn at_deadline(&self, printed: Option<u64>) -> Status {
        let is_short = |count: NonZeroU64| printed.is_none_or(|printed| printed < count.get());
        match self.at_end(printed) {
            Status::Success if self.count.is_some_and(is_short) => Status::Deadline,
            status => status,
        }
    }
}
