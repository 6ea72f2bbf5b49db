//! The flags of `rtcomm tail`.

use std::path::PathBuf;

use clap::Args;

use super::definition::CommandDefinition;
use super::format::FormatArgs;
use super::groups::{CallRecordArgs, ConnectionArgs, DeliveryArgs, DisplayArgs, FilterArgs, TopicArgs, WindowArgs};
use super::time::TimeArg;
use super::values::LineCount;
use crate::protocol::topic::TopicFilter;

/// `rtcomm tail`.
#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// Recorded JSON lines; without FILE, live messages
    ///
    /// `-` is standard input.
    ///
    /// Several files are merged by time.
    #[arg(value_name = "FILE", help_heading = None)]
    pub(crate) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    #[command(flatten)]
    pub(crate) calls: CallRecordArgs,

    /// Start with the last N records that match
    ///
    /// [default: all; 10 with --follow]
    #[arg(short = 'n', long, value_name = "N|all", requires = "files", allow_hyphen_values = true, help_heading = WindowArgs::HEADING)]
    pub(crate) lines: Option<LineCount>,

    /// Wait for appended lines
    ///
    /// Also after truncation and rotation.
    #[arg(short, long, requires = "files", help_heading = WindowArgs::HEADING)]
    pub(crate) follow: bool,

    /// Skip records before this time: 1h (ago), 04:34, today
    ///
    /// Or a date, '2026-11-23 04:34', yesterday, or RFC 3339. Times without a zone are local.
    #[arg(long, value_name = "WHEN", requires = "files", allow_hyphen_values = true, help_heading = WindowArgs::HEADING)]
    pub(crate) since: Option<TimeArg>,

    /// Skip records after this time
    #[arg(long, value_name = "WHEN", requires = "files", allow_hyphen_values = true, help_heading = WindowArgs::HEADING)]
    pub(crate) until: Option<TimeArg>,

    #[command(flatten)]
    pub(crate) format: FormatArgs,

    /// Replace names by pseudonyms (needs --json)
    ///
    /// The recording can be shared then.
    #[arg(long, requires = "files", conflicts_with_all = ["cdr", "summary", "pretty"],
          help_heading = DisplayArgs::HEADING, hide_short_help = true)]
    pub(crate) anonymize: bool,

    /// Live: print the topic filters, and do not connect
    #[arg(long, conflicts_with = "files", help_heading = DisplayArgs::HEADING, hide_short_help = true)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) display: DisplayArgs,

    #[command(flatten)]
    pub(crate) window: WindowArgs,

    #[command(flatten)]
    pub(crate) delivery: DeliveryArgs,

    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    #[command(flatten)]
    pub(crate) topics: TopicArgs,

    /// Live: subscribe to this topic filter (repeatable)
    ///
    /// [default: everything under the root, and other topics that are named or discovered]
    #[arg(
        long = "topic",
        value_name = "FILTER",
        conflicts_with = "files",
        help_heading = "Connection",
        hide_short_help = true
    )]
    pub(crate) filters: Vec<TopicFilter>,
}

impl CommandDefinition for TailArgs {
    const NAME: &'static str = "tail";
    const ABOUT: &'static str = "Print recorded JSON lines, or every live message under the root";
    const EXAMPLES: &'static [&'static str] = &[
        "rtcomm tail events.jsonl --failed          # what failed, from a recording",
        "rtcomm tail -f events.jsonl                # follow a file that grows",
        "rtcomm tail                                # every live message",
    ];

    fn display(&self) -> DisplayArgs {
        self.display
    }
}
