//! Flags for color and messages.

use clap::Args;

use crate::cli::values::switch;
use crate::output::ColorChoice;

/// Flags for color and messages, for every command.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = DisplayArgs::HEADING)]
pub(crate) struct DisplayArgs {
    /// When to use color
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        env = "RTCOMM_COLOR",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) color: ColorChoice,

    /// Print only warnings and errors
    #[arg(short, long, env = "RTCOMM_QUIET", hide_env_values = true, value_parser = switch)]
    pub(crate) quiet: bool,

    /// Print more messages about the run
    #[arg(short, long, env = "RTCOMM_VERBOSE", hide_env_values = true, hide_short_help = true, value_parser = switch)]
    pub(crate) verbose: bool,
}

impl DisplayArgs {
    /// The heading of the flags for the output, in help.
    pub(in crate::cli) const HEADING: &'static str = "Output";
}
