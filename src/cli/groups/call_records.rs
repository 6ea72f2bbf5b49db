//! Flags for call records.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;

use super::DisplayArgs;
use crate::cli::values::{duration, number, summary_by};
use crate::exit::Failure;
use crate::protocol::cdr::SummaryBy;

/// Flags for call records.
#[derive(Debug, Args)]
#[command(next_help_heading = DisplayArgs::HEADING)]
pub(crate) struct CallRecordArgs {
    /// Print one record per call, at its end
    #[arg(long)]
    cdr: bool,

    /// Print totals of all calls, by endpoint, app or reason
    #[arg(long, value_name = "BY", num_args = 0..=1, require_equals = true, default_missing_value = "all",
          value_parser = summary_by(), hide_possible_values = true)]
    summary: Option<SummaryBy>,

    /// Print only the N rows with the most calls, and the total
    #[arg(long, value_name = "N", requires = "summary", value_parser = number::<NonZeroUsize>, allow_hyphen_values = true,
          hide_short_help = true)]
    top: Option<NonZeroUsize>,

    /// A call whose end is not seen for this long is lost [default: 12h]
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true, hide_short_help = true)]
    max_age: Option<Duration>,
}

/// The meaning of the flags for call records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CallRecordSettings {
    /// The flag that requests call records.
    pub(crate) flag: &'static str,
    /// Print a summary instead of records: what its rows have in common, and their maximum number.
    pub(crate) summary: Option<(SummaryBy, Option<usize>)>,
    /// How long the end of a call may take.
    pub(crate) max_age: Duration,
}

impl CallRecordArgs {
    /// Default of `--max-age`.
    const MAX_AGE: Duration = Duration::from_hours(12);

    /// Returns the settings, or `None` if no call records are requested.
    ///
    /// # Errors
    /// If a flag has no effect.
    pub(crate) fn settings(&self) -> Result<Option<CallRecordSettings>, Failure> {
        let flag = match self {
            Self { cdr: true, .. } => "--cdr",
            Self { summary: Some(_), .. } => "--summary",
            Self { max_age: Some(_), .. } => {
                return Err(Failure::usage("--max-age is for call records").hint("add --cdr or --summary"));
            }
            Self { .. } => return Ok(None),
        };
        let summary = self.summary.map(|by| (by, self.top.map(NonZeroUsize::get)));
        Ok(Some(CallRecordSettings { flag, summary, max_age: self.max_age.unwrap_or(Self::MAX_AGE) }))
    }
}
