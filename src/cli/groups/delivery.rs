//! Flags for the subscription and the output of records.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};

use super::DisplayArgs;
use crate::cli::values::{client_id, file_to_write, number, qos, seconds, share_group};

/// Flags for subscription and output.
#[derive(Debug, Args)]
#[command(next_help_heading = "Delivery")]
#[expect(clippy::struct_excessive_bools, reason = "independent flags")]
pub(crate) struct DeliveryArgs {
    /// Subscribe with this quality of service: 0, 1 or 2
    #[arg(long, value_name = "QOS", default_value_t = 1, value_parser = qos,
          allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) qos: u8,

    /// Have the broker keep a session with this name, and store messages between runs
    #[arg(long, value_name = "NAME", value_parser = client_id, hide_short_help = true)]
    pub(crate) durable: Option<String>,

    /// How long the broker keeps the session after a disconnect (MQTT 5 only)
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = seconds, allow_hyphen_values = true,
          hide_short_help = true)]
    pub(crate) durable_expiry: Duration,

    /// Delete the session with this name from the broker, and exit
    #[arg(long, value_name = "NAME", value_parser = client_id, conflicts_with = "durable", hide_short_help = true)]
    pub(crate) durable_delete: Option<String>,

    /// Share the messages with all clients of this group (shared subscription)
    #[arg(long, value_name = "GROUP", value_parser = share_group, hide_short_help = true)]
    pub(crate) share: Option<String>,

    /// Accept a partial grant: continue if the broker refuses some of several subscriptions
    #[arg(long, hide_short_help = true)]
    pub(crate) allow_partial: bool,

    /// Append JSON lines to this file
    ///
    /// SIGHUP reopens it.
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(file_to_write),
          help_heading = DisplayArgs::HEADING)]
    pub(crate) output: Option<PathBuf>,

    /// Sync the file to disk before acknowledging a message
    #[arg(long, requires = "output", hide_short_help = true, help_heading = DisplayArgs::HEADING)]
    pub(crate) fsync: bool,

    /// Exit with 5 if the connection is lost
    #[arg(long, conflicts_with = "max_retries", hide_short_help = true)]
    pub(crate) no_reconnect: bool,

    /// Exit with 5 after N failed reconnects in a row [default: no limit]
    #[arg(long, value_name = "N", value_parser = number::<u32>, allow_hyphen_values = true, hide_short_help = true)]
    pub(crate) max_retries: Option<u32>,

    /// Also print connection changes as records: connected, ready, settled, disconnected, gap
    #[arg(long, hide_short_help = true, help_heading = DisplayArgs::HEADING)]
    pub(crate) status_events: bool,
}
