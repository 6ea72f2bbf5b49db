//! The flags for the format of records: JSON lines, or lines for people.

use clap::Args;

use super::groups::DisplayArgs;

/// Flags for the format of records.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = DisplayArgs::HEADING)]
pub(crate) struct FormatArgs {
    /// Print JSON lines
    #[arg(long)]
    json: bool,

    /// Print lines for people, also with --output [default: JSON lines with --output]
    #[arg(long, conflicts_with = "json", hide_short_help = true)]
    pretty: bool,
}

impl FormatArgs {
    /// Returns whether records are JSON lines. `has_output` is whether `--output` names a file.
    pub(crate) fn is_json(self, has_output: bool) -> bool {
        self.json || has_output && !self.pretty
    }
}
