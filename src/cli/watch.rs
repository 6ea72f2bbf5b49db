//! The flags of `rtcomm watch`.

use clap::Args;

use super::definition::CommandDefinition;
use super::format::FormatArgs;
use super::groups::{CallRecordArgs, ConnectionArgs, DeliveryArgs, DisplayArgs, FilterArgs, TopicArgs, WindowArgs};

/// `rtcomm watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    #[command(flatten)]
    pub(crate) presence: PresenceArgs,

    #[command(flatten)]
    pub(crate) calls: CallRecordArgs,

    #[command(flatten)]
    pub(crate) format: FormatArgs,

    /// Print the topic filters, and do not connect
    #[arg(long, help_heading = DisplayArgs::HEADING)]
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
}

/// Flags that end the command with presence documents.
#[derive(Debug, Args)]
#[command(next_help_heading = WindowArgs::HEADING)]
pub(crate) struct PresenceArgs {
    /// With --presence: exit after all that are registered
    #[arg(long, requires = "presence", conflicts_with_all = ["gone", "registration", "session"])]
    pub(crate) now: bool,

    /// With --presence: wait until all of --from are gone
    ///
    /// Prints a record for each of them.
    #[arg(long, requires_all = ["presence", "from"], conflicts_with_all = ["registration", "session"])]
    pub(crate) gone: bool,
}

impl CommandDefinition for WatchArgs {
    const NAME: &'static str = "watch";
    const ABOUT: &'static str = "Print live Rtcomm events";
    const EXAMPLES: &'static [&'static str] = &[
        "rtcomm watch --failed                      # everything that fails",
        "rtcomm watch --presence --now              # who is registered",
        "rtcomm watch --cdr                         # one line per call, at its end",
    ];

    fn display(&self) -> DisplayArgs {
        self.display
    }
}
