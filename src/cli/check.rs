//! The flags of `rtcomm check`.

use std::time::Duration;

use clap::Args;

use super::definition::CommandDefinition;
use super::groups::{ConnectionArgs, DisplayArgs, TopicArgs};
use super::range::Threshold;
use super::values::duration;

/// `rtcomm check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Exit with 1 if a value is outside a range, such as connect=0.5
    ///
    /// NAME is connect or query (seconds), servers or registered. RANGE has the syntax of monitoring plugins: 10 is 0 to 10,
    /// 10: is 10 or more, ~:10 is 10 or less, 10:20 is 10 to 20, and @10:20 everything else. Repeatable.
    #[arg(short, long, value_name = "NAME=RANGE", help_heading = "Thresholds", allow_hyphen_values = true)]
    pub(crate) warning: Vec<Threshold>,

    /// Exit with 2 if a value is outside a range
    #[arg(short, long, value_name = "NAME=RANGE", help_heading = "Thresholds", allow_hyphen_values = true)]
    pub(crate) critical: Vec<Threshold>,

    /// Maximum time of the whole check
    #[arg(short, long, value_name = "DURATION", default_value = "30s", value_parser = duration, allow_hyphen_values = true,
          help_heading = "Thresholds")]
    pub(crate) timeout: Duration,

    /// Print a JSON line, with all services
    #[arg(long, help_heading = DisplayArgs::HEADING)]
    pub(crate) json: bool,

    /// Print shell assignments of the topics that the server names
    ///
    /// They are not exported: put `set -a` before them and `set +a` after them, or write them to an EnvironmentFile. The line of
    /// the check goes to standard error, unless it is OK.
    #[arg(long, conflicts_with = "json", help_heading = DisplayArgs::HEADING)]
    pub(crate) env: bool,

    #[command(flatten)]
    pub(crate) display: DisplayArgs,

    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    #[command(flatten)]
    pub(crate) topics: TopicArgs,
}

/// What `check` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckOutput {
    /// The line of a monitoring plugin.
    Line,
    /// A JSON line.
    Json,
    /// Shell assignments of the topics. The line goes to standard error, unless it is OK.
    Assignments,
}

impl CheckOutput {
    /// Returns what these flags request.
    pub(crate) fn new(json: bool, env: bool) -> Self {
        match (json, env) {
            (true, _) => Self::Json,
            (_, true) => Self::Assignments,
            _ => Self::Line,
        }
    }
}

impl CommandDefinition for CheckArgs {
    const NAME: &'static str = "check";
    const ABOUT: &'static str = "Check broker and server for a monitoring system";
    const EXAMPLES: &'static [&'static str] = &[
        "rtcomm check                                      # one line, status 0 to 3",
        "rtcomm check -w connect=5 -c servers=1:           # with thresholds",
        "set -a; eval \"$(rtcomm check --env)\"; set +a      # use the server's topics",
    ];

    const WITHOUT: &'static [&'static str] = &["discover", "event_root", "call_topic"];

    fn display(&self) -> DisplayArgs {
        self.display
    }
}
