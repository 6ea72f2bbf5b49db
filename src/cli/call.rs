//! The flags of `rtcomm call`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use uuid::Uuid;

use super::definition::CommandDefinition;
use super::groups::{ConnectionArgs, DisplayArgs, TopicArgs};
use super::values::{FollowLimit, Rate, duration, jobs, number};
use crate::protocol::topic::{EndpointId, Root};

/// `rtcomm call`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Call")]
pub(crate) struct CallArgs {
    /// Endpoint that places the call
    #[arg(help_heading = None, required_unless_present = "batch", conflicts_with = "batch")]
    pub(crate) caller: Option<EndpointId>,

    /// Endpoint to call
    #[arg(help_heading = None, required_unless_present = "batch", conflicts_with = "batch")]
    pub(crate) callee: Option<EndpointId>,

    /// Maximum time to wait for the reply
    ///
    /// It begins with the command, or with each request of a batch.
    #[arg(short, long, value_name = "DURATION", default_value = "45s", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) timeout: Duration,

    /// Wait until the session ends, at most for LIMIT
    ///
    /// Print each step, and exit with 0 if the session was stopped, or 3 if it failed.
    #[arg(long, value_name = "LIMIT", num_args = 0..=1, require_equals = true, default_missing_value = "none")]
    pub(crate) follow: Option<FollowLimit>,

    /// ID for the new session
    ///
    /// Its events have it as sigSessID.
    #[arg(long, value_name = "UUID", conflicts_with = "batch")]
    pub(crate) session_id: Option<Uuid>,

    /// Application of both endpoints
    ///
    /// Both must be registered for it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) app_context: Option<String>,

    /// Send as this endpoint: publish to TOPIC/ENDPOINT
    ///
    /// For brokers that restrict each client to its own topic.
    #[arg(long = "as", value_name = "ENDPOINT")]
    pub(crate) sender: Option<EndpointId>,

    /// Prefix of the reply topic, PREFIX/UUID [default: ROOT/reply]
    #[arg(long, value_name = "PREFIX", env = "RTCOMM_REPLY_PREFIX", hide_env_values = true, hide_short_help = true)]
    pub(crate) reply_prefix: Option<Root>,

    /// Ignore replies that are larger than this
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = number::<usize>, allow_hyphen_values = true,
          hide_short_help = true)]
    pub(crate) max_payload: usize,

    #[command(flatten)]
    pub(crate) batch: BatchArgs,

    /// Print the result as a JSON line; a batch always does
    #[arg(long, help_heading = DisplayArgs::HEADING)]
    pub(crate) json: bool,

    /// Print the request, and do not connect
    #[arg(long, help_heading = DisplayArgs::HEADING)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) display: DisplayArgs,

    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,

    #[command(flatten)]
    pub(crate) topics: TopicArgs,
}

impl CommandDefinition for CallArgs {
    const NAME: &'static str = "call";
    const ABOUT: &'static str = "Ask the server to connect two endpoints (3PCC), and wait for the reply";
    const EXAMPLES: &'static [&'static str] = &[
        "rtcomm call iggy_pop david_bowie           # place a call",
        "rtcomm call iggy_pop david_bowie --follow  # and wait until it ends",
        "rtcomm call --batch calls.jsonl --rate 5/s # place many, from a file",
    ];

    fn display(&self) -> DisplayArgs {
        self.display
    }
}

/// Flags for many calls.
#[derive(Debug, Args)]
#[command(next_help_heading = "Batch")]
pub(crate) struct BatchArgs {
    /// Place the calls in this file (`-` is standard input)
    ///
    /// It has one JSON object per line: {"caller":ID,"callee":ID}, optionally with "session_id" and "app_context".
    #[arg(long, value_name = "FILE")]
    pub(crate) batch: Option<PathBuf>,

    /// Maximum number of calls waiting for replies
    #[arg(long, value_name = "N", default_value = "64", requires = "batch", conflicts_with = "caller", value_parser = jobs, allow_hyphen_values = true)]
    pub(crate) jobs: usize,

    /// Maximum rate of calls, such as 50/s or 100/m
    #[arg(long, value_name = "N/UNIT", requires = "batch", conflicts_with = "caller", allow_hyphen_values = true)]
    pub(crate) rate: Option<Rate>,

    /// Skip the first N lines, to resume a batch
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        requires = "batch",
        conflicts_with = "caller",
        value_parser = number::<u64>,
        allow_hyphen_values = true
    )]
    pub(crate) skip: u64,
}
